"""What cannot be kept is named with its place, its type and the ways out; codecs are one of them."""

from __future__ import annotations

import pickle
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from romancy_nb.errors import CannotRestore, NotJournalable
from romancy_nb.payloads import registry
from romancy_nb.payloads.codec import PickleCodec, canonical_digest, decode, encode, register_codec
from romancy_nb.payloads.payload import Part, Payload

from .things import Client, Pair, Point, UserId, back

THINGS = Client.__module__


@pytest.fixture(autouse=True)
def _no_codecs() -> Iterator[None]:
    before = dict(registry.CODECS)
    yield
    registry.CODECS.clear()
    registry.CODECS.update(before)


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    client: Any


CASES: list[tuple[Any, str]] = [
    ({"rows": [0, 1, 2, Holder(client=Client())]}, f"result['rows'][3].client, a {THINGS}.Client, "),
    (Client(), f"result, a {THINGS}.Client, "),
    ([(0, Point(threading.Lock()))], "result[0][1].x, a _thread.lock, "),  # type: ignore[arg-type]
    ({(1, 2): {3: Client()}}, "result[(1, 2)][3], a "),
    ({"a": {"b": np.array([object()])}}, "result['a']['b'], a numpy.ndarray, has dtype object"),
    ([UserId(3)], f"result[0], a {THINGS}.UserId, is a int of a class of its own"),
    ((x for x in "ab"), "result, a generator, can be read only once. Return list(...)"),
    (Pair(SecretStr("k")), "result.left, a pydantic.types.SecretStr, is a secret"),  # type: ignore[arg-type]
    (defaultdict(lambda: 0), "has the default factory"),
    (len, "result, a builtin_function_or_method, "),
]


@pytest.mark.parametrize(("value", "words"), CASES, ids=lambda x: type(x).__name__)
def test_the_error_names_the_place_and_the_type(value: Any, words: str) -> None:
    with pytest.raises(NotJournalable, match=re.escape(words)) as caught:
        encode(value, what="the result of activity reserve")
    assert str(caught.value).startswith("The result of activity reserve cannot be journaled: ")


def test_the_error_names_the_ways_out() -> None:
    with pytest.raises(NotJournalable, match=r"an id.*dataclass or a pydantic model.*rn\.register_codec.*PickleCodec"):
        encode(Client(), what="the result")


def test_an_annotation_does_not_hide_the_place() -> None:
    with pytest.raises(NotJournalable, match=re.escape("result['a'][1].client, a ")):
        encode({"a": [Holder(client=1), Holder(client=Client())]}, dict[str, list[Holder]], what="the result")


def test_a_cycle_is_called_a_cycle() -> None:
    endless: dict[str, Any] = {}
    endless["me"] = [endless]
    with pytest.raises(NotJournalable, match=r"contains itself at result\['me'\]\[0\]"):
        encode(endless, what="the result")


def test_what_is_nested_too_deep_is_refused() -> None:
    deep: Any = 1
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(NotJournalable, match="nested more than 500 levels deep"):
        encode(deep, what="the result")


def test_a_property_that_raises_is_no_crash() -> None:
    class Sly(dict):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            raise ZeroDivisionError("sly")

    with pytest.raises(NotJournalable):
        encode({"a": Sly()}, what="the result")


class Box:
    def __init__(self, held: int) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and other.held == self.held

    __hash__ = None  # type: ignore[assignment]


class BoxCodec:
    name = "box"

    def matches(self, value: Any) -> bool:
        return isinstance(value, Box)

    def encode(self, value: Any) -> bytes:
        return str(value.held).encode()

    def decode(self, data: bytes) -> Box:
        return Box(int(data))

    def digest(self, value: Any) -> str:
        return str(value.held % 10)


def test_a_registered_codec_keeps_its_values_anywhere() -> None:
    register_codec(BoxCodec())
    assert back({"a": (Box(1),)}) == {"a": (Box(1),)}
    payload = encode(Box(5), what="the result")
    assert payload.text == '{"$part":0,"codec":"box","size":1,"type":"' + f'{__name__}.Box"}}'
    assert canonical_digest(Box(1)) == canonical_digest(Box(11)) != canonical_digest(Box(2))


def test_without_its_codec_a_value_says_which_one_to_register() -> None:
    register_codec(BoxCodec())
    payload = encode(Box(5), what="the result")
    registry.CODECS.clear()
    with pytest.raises(CannotRestore, match="written by codec 'box', which is not registered here"):
        decode(payload, what="the result")


def test_pickle_runs_only_for_the_class_that_was_named() -> None:
    with pytest.raises(NotJournalable):
        encode(Box(1), what="the result")
    register_codec(PickleCodec(Box))
    payload = encode(Box(1), what="the result")
    assert payload.parts[0].codec == f"pickle:{__name__}.Box"
    assert decode(payload, what="the result") == Box(1)
    registry.CODECS.clear()
    with pytest.raises(CannotRestore, match=re.escape(f"register_codec(PickleCodec({__name__}.Box))")):
        decode(payload, what="the result")


def test_a_pickle_that_somebody_put_into_a_journal_is_never_loaded() -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return exec, ("raise SystemExit('boom')",)

    data = pickle.dumps(Bomb())
    for name in ("pickle", "pickle:os.system", "npy", "arrow"):
        payload = Payload('{"$part":0,"codec":"' + name + '","size":1}', (Part(name, "", data, len(data)),))
        with pytest.raises(CannotRestore):
            decode(payload, what="the result")


def test_a_codec_must_be_one() -> None:
    with pytest.raises(TypeError, match="is no codec"):
        register_codec(object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"$type":"tuple"}',
        '{"$part":5,"codec":"npy"}',
        '{"$new":1}',
        '{"$type":["a"]}',
        '{"$type":"date","value":7}',
        "nul",
    ],
)
def test_a_damaged_document_is_an_error_that_says_what_it_is(text: str) -> None:
    with pytest.raises(CannotRestore, match="The result of activity f cannot be restored"):
        decode(Payload(text), what="the result of activity f")


def test_a_part_whose_bytes_were_not_loaded_says_so() -> None:
    payload = encode(b"x" * 2000, what="the result")
    described = Payload(payload.text, (Part("bytes", payload.parts[0].digest, None, 2000),))
    with pytest.raises(CannotRestore, match="only the description"):
        decode(described, what="the result")
