"""What comes out of the journal is what went in: equal, and of the same type."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from romancy_nb.payloads.codec import decode, encode
from romancy_nb.payloads.payload import Payload

from .things import (
    Color,
    Frozen,
    Level,
    Line,
    Loose,
    Loud,
    Open,
    Order,
    Pair,
    Point,
    Rights,
    Special,
    Tree,
    Word,
    back,
)

BERLIN = ZoneInfo("Europe/Berlin")

VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**64,
    -(10**5000),
    1.0,
    -0.0,
    math.inf,
    -math.inf,
    1e300,
    "",
    "tab\tline\nnull\0 é 😀 \u2028",
    "\ud800 alone",
    "\ud83d\ude00",
    "x" * 1_000_000,
    [],
    {},
    (),
    set(),
    [1, [2, (3, [4])]],
    {"a": {"b": (1, 2)}},
    {1: "one", (1, 2): "pair", None: "none", False: 0},
    {"$type": "tuple", "items": [1]},
    {"$part": 0},
    {"a": {"$value": 1}},
    {"\ud800": 1},
    {1, 2, "a"},
    frozenset({(1, 2)}),
    b"",
    b"\x00\xff" * 10,
    b"long" * 1000,
    bytearray(b"ab"),
    bytearray(b"ab" * 1000),
    3 + 4j,
    complex(-0.0, math.inf),
    Decimal("1.10"),
    Decimal("NaN"),
    Fraction(1, 3),
    UUID(int=5),
    Path("a/b"),
    Path("odd\udcff"),
    PurePosixPath("/x"),
    PureWindowsPath("C:/x"),
    date(2024, 2, 29),
    datetime(2024, 5, 1, 12, 0, 0, 5),
    datetime(2024, 5, 1, tzinfo=UTC),
    datetime(2024, 5, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    datetime(2024, 5, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
    datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
    datetime(2024, 10, 27, 2, 30, fold=1),
    time(12, 30, tzinfo=BERLIN),
    time(1, 2, 3, 4),
    timedelta(days=-1, microseconds=1),
    timedelta(days=999999999, microseconds=999999),
    timezone(timedelta(hours=1), "CET"),
    BERLIN,
    range(1, 10, 3),
    slice(None, 5),
    ...,
    deque([1, (2,)], maxlen=5),
    OrderedDict([("b", 1), ("a", 2)]),
    Counter("abca"),
    defaultdict(list, {"a": [1]}),
    SimpleNamespace(a=(1,)),
    Color.RED,
    Color.BLUE,
    Level.HIGH,
    Word.YES,
    Rights.READ | Rights.WRITE,
    Rights(0),
    Point(1, 2.0),
    Frozen(name="n", tags=("a", "b")),
    Tree(1, [Tree(2)]),
    Pair(1, (2,)),
    Loose(1, {2}),
    Line(item="pen", price=1.5),
    Special(item="pen", price=1),
    Order(id=UUID(int=1), lines=[Line(item="a", price=1.0)]),
    Open(a=1, other=(1, 2)),
]


def same(left: Any, right: Any) -> bool:
    """Equal and of the same types, all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        pairs = zip(left.items(), right.items(), strict=True)
        return len(left) == len(right) and all(same(a, c) and same(b, d) for (a, b), (c, d) in pairs)
    if isinstance(left, (list, tuple, deque)):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, (float, Decimal, complex)):
        return repr(left) == repr(right)
    return bool(left == right)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_equal_and_of_its_type_alone_and_inside_others(value: Any) -> None:
    assert same(back(value), value)
    assert same(back({"a": [value, (value,)]}), {"a": [value, (value,)]})


def test_the_text_is_one_line_of_json_that_utf8_can_hold() -> None:
    for value in VALUES:
        text = encode({"k": value}, what="the result").text
        assert "\n" not in text
        assert "\t" not in text
        text.encode()
        if value != -(10**5000):
            json.loads(text, parse_constant=pytest.fail)


def test_a_nan_is_still_a_nan() -> None:
    assert math.isnan(back([math.nan])[0])


def test_an_aware_time_keeps_its_zone_and_its_fold() -> None:
    restored = back(datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1))
    assert restored.tzinfo is BERLIN
    assert restored.fold == 1
    assert back(datetime(2024, 5, 1, tzinfo=timezone(timedelta(hours=1), "CET"))).tzname() == "CET"


def test_a_deque_keeps_its_length_and_a_defaultdict_its_factory() -> None:
    assert back(deque([1], maxlen=3)).maxlen == 3
    assert back(defaultdict(set)).default_factory is set


def test_restoring_runs_no_constructor() -> None:
    loud = Loud(3, 1.0)
    assert loud.double == 12.0
    made = Loud.made
    restored = back(loud)
    assert Loud.made == made
    assert vars(restored) == {"x": 3, "y": 1.0, "area": 6, "note": "set beside the fields"}


def test_a_model_keeps_extras_private_attributes_and_what_was_set() -> None:
    value = Open(a=1, b=2)
    value._secret_state.append(7)
    restored = back(value)
    assert restored == value
    assert restored._secret_state == [7]
    assert restored.model_fields_set == {"a", "b"}
    assert back(Special(item="a", price=1.0)).model_fields_set == {"item", "price"}


def test_nothing_is_shared_with_what_was_given() -> None:
    value = {"rows": [1]}
    restored = back(value)
    value["rows"].append(2)
    assert restored == {"rows": [1]}


@pytest.mark.parametrize(
    ("wrap", "levels"),
    [(lambda v: [v], 499), (lambda v: (v,), 499), (lambda v: {"a": v}, 499), (lambda v: {1: v}, 400)],
    ids=["list", "tuple", "dict", "dict with odd keys"],
)
def test_hundreds_of_levels_are_kept(wrap: Any, levels: int) -> None:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    limit = sys.getrecursionlimit()
    restored = back(value)
    for _ in range(levels):
        restored = next(iter(restored.values() if isinstance(restored, dict) else restored))
    assert restored == 1
    assert sys.getrecursionlimit() == limit


def test_bytes_over_a_kilobyte_stand_beside_the_document() -> None:
    payload = encode({"pdf": b"x" * 5000}, what="the result")
    assert json.loads(payload.text) == {"pdf": {"$part": 0, "codec": "bytes", "size": 5000}}
    assert payload.parts[0].data == b"x" * 5000


def test_equal_sets_are_equal_texts() -> None:
    assert encode({"b", "a"}, what="r").text == encode({"a", "b"}, what="r").text == '{"$type":"set","items":["a","b"]}'


def test_what_was_written_by_hand_with_spaces_is_read_too() -> None:
    assert decode(Payload(' {"a": [1, 2]} '), what="the result") == {"a": [1, 2]}


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=()))
    | st.binary(max_size=1100)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(UTC) | st.just(BERLIN))
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.sampled_from([Color.BLUE, Level.LOW, Word.YES])
)
keys = st.text(max_size=5) | st.sampled_from(["$type", "$part", "$value", "items", "fields"])
hashable = st.integers() | st.text(max_size=5) | st.tuples(st.integers(), st.text(max_size=2))
nested = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(hashable, inner, max_size=3)
        | st.sets(hashable, max_size=3)
        | st.builds(Point, inner, inner)
        | st.builds(Pair, inner, inner)
        | st.builds(Open, a=st.integers(), b=inner)
    ),
    max_leaves=15,
)


@settings(deadline=None, max_examples=300)
@given(nested)
def test_whatever_is_nested_comes_back(value: Any) -> None:
    assert same(back(value), value)
    for annotation in (dict[str, Any], list[int], Point, Pair, Open, Point | Open, int | None, tuple[Any, ...], str):
        assert same(back(value, annotation), value)
