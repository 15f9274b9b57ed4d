"""Two inputs are the same exactly when their digests are (A6)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from romancy_nb.errors import NotJournalable
from romancy_nb.payloads.codec import canonical_digest

from .things import Client, Color, Line, Loud, Open, Pair, Point, Special, back

DIFFERENT: list[Any] = [
    1,
    1.0,
    True,
    "1",
    None,
    "None",
    0.0,
    -0.0,
    float("nan"),
    float("inf"),
    "nan",
    10**5000,
    [1],
    (1,),
    {1},
    frozenset({1}),
    {1: 1},
    {"1": 1},
    {True: 1},
    OrderedDict({"1": 1}),
    [[1], 2],
    [[1, 2]],
    {"a": None},
    {},
    [],
    (),
    "",
    b"",
    bytearray(),
    "\ud83d\ude00",
    "😀",
    {"$": ["tuple", 1]},
    {"$": ["tuple", 2]},
    {"$type": "tuple", "items": [1]},
    Point(1, 2.0),
    Pair(1, 2.0),
    {"x": 1, "y": 2.0},
    Color.RED,
    "red",
    Line(item="a", price=1.0),
    Special(item="a", price=1.0),
    {"item": "a", "price": 1.0},
]


def test_types_and_values_that_differ_have_digests_that_differ() -> None:
    digests = [canonical_digest(value) for value in DIFFERENT]
    assert len(set(digests)) == len(DIFFERENT)


def test_a_digest_says_its_version() -> None:
    digest = canonical_digest({"item_id": "item1", "n": 3})
    assert digest == "1:222a53c8293a11c7c6dbcc58c842f483"
    assert len(digest) == 34


def test_order_does_not_count_where_it_means_nothing() -> None:
    assert canonical_digest({"a": 1, "b": (2,)}) == canonical_digest({"b": (2,), "a": 1})
    assert canonical_digest({1: 1, 2: 2}) == canonical_digest({2: 2, 1: 1})
    assert canonical_digest(OrderedDict(a=1, b=2)) != canonical_digest(OrderedDict(b=2, a=1))


def test_every_nan_is_the_same() -> None:
    assert canonical_digest(float("nan")) == canonical_digest(-float("nan"))


def test_a_secret_takes_no_part() -> None:
    assert canonical_digest({"k": SecretStr("a")}) == canonical_digest({"k": SecretStr("b")})


def test_what_is_no_field_takes_no_part() -> None:
    one, other = Loud(1), Loud(1)
    assert one.double == 4
    assert canonical_digest(one) == canonical_digest(other)
    assert canonical_digest(Open(a=1, b=1)) != canonical_digest(Open(a=1, b=2))


def test_what_has_no_digest_is_named_with_its_place() -> None:
    with pytest.raises(NotJournalable, match=r"value\['rows'\]\[1\]\.x, a .*Client"):
        canonical_digest({"rows": [0, Point(Client())]})  # type: ignore[arg-type]


def test_a_cycle_has_no_digest() -> None:
    endless: list[Any] = [1]
    endless.append({"again": (endless,)})
    with pytest.raises(NotJournalable, match="contains itself"):
        canonical_digest(endless)


PROGRAM = """
import sys, datetime, uuid, decimal
from pathlib import PurePosixPath
from romancy_nb.payloads.canonical import digest
words = {"w%d" % i for i in range(50)}
value = {
    "words": words, "frozen": frozenset(words), "by": {w: 1 for w in words}, "pairs": {(w, 1): w for w in words},
    "at": datetime.datetime(2024, 5, 1, 2, 3, 4, 5, datetime.timezone.utc), "id": uuid.UUID(int=7), 1.5: 1e100,
    "d": decimal.Decimal("1.10"), "p": PurePosixPath("/a"), "bytes": b"abc", "text": "\\u00e9\\ud800", "n": [1e16, 0.1, 2**70],
}
print(digest(value), digest({"item_id": "item1", "n": 3}))
"""


def _digest_in(python: str, seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run([python, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_digest_is_the_same_in_every_process() -> None:
    assert len({_digest_in(sys.executable, seed) for seed in ("0", "1", "12345")}) == 1


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_a_digest_is_the_same_in_every_python(version: str) -> None:
    places = [f"/usr/bin/python{version}", shutil.which(f"python{version}") or ""]
    for python in places:
        if Path(python).is_file():
            try:
                found = _digest_in(python, "3")
            except subprocess.CalledProcessError:
                continue  # a shim without a Python behind it
            assert found == _digest_in(sys.executable, "4")
            return
    pytest.skip(f"no Python {version} here")


keys = st.text(max_size=5) | st.integers()
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(plain)
def test_a_value_keeps_its_digest_through_the_journal(value: Any) -> None:
    assert canonical_digest(back(value)) == canonical_digest(value)


@settings(deadline=None)
@given(st.dictionaries(keys, plain, max_size=5))
def test_a_dict_in_another_order_has_the_same_digest(value: dict[Any, Any]) -> None:
    assert canonical_digest(dict(reversed(value.items()))) == canonical_digest(value)
