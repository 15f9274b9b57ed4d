"""An annotation makes the JSON readable and never changes what comes back."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import pydantic
import pytest

from romancy_nb.errors import CannotRestore, NotJournalable
from romancy_nb.payloads.codec import decode, encode
from romancy_nb.payloads.payload import Payload

from .things import Color, Doubling, Frozen, Level, Line, Order, Pair, Point, Rights, Row, Special, Tree, back

Name = NewType("Name", str)
DAY = date(2024, 5, 1)

READABLE: list[tuple[Any, Any, Any]] = [
    (5, int, 5),
    (None, int | None, None),
    (DAY, date, "2024-05-01"),
    (datetime(2024, 5, 1, tzinfo=UTC), datetime, "2024-05-01T00:00:00+00:00"),
    (timedelta(seconds=90.5), timedelta, "PT90.5S"),
    ([UUID(int=1)], list[UUID], ["00000000-0000-0000-0000-000000000001"]),
    (Decimal("1.10"), Decimal, "1.10"),
    (Path("a/b"), Path, "a/b"),
    ((1, DAY), tuple[int, date], [1, "2024-05-01"]),
    ((1, 2, 3), tuple[int, ...], [1, 2, 3]),
    ({2, 1}, set[int], [1, 2]),
    (Color.RED, Color, "red"),
    (Level.HIGH, Level, 2),
    (Rights.READ | Rights.WRITE, Rights, 3),
    (Point(1, 2.0), Point, {"x": 1, "y": 2.0}),
    (Frozen(name="n", tags=("a",)), Frozen, {"name": "n", "tags": ["a"]}),
    (Tree(1, [Tree(2)]), Tree, {"value": 1, "children": [{"value": 2, "children": []}]}),
    (Pair(1, 2), Pair, {"left": 1, "right": 2}),
    ({"id": 1, "at": datetime(2024, 5, 1)}, Row, {"id": 1, "at": "2024-05-01T00:00:00"}),
    ([Line(item="a", price=1.0)], Sequence[Line], [{"item": "a", "price": 1.0}]),
    ({"a": DAY}, Mapping[str, date], {"a": "2024-05-01"}),
    (Line(item="a", price=1.0), Annotated[Line | None, ["unhashable"]], {"item": "a", "price": 1.0}),
    ("n", Name, "n"),
    ("a", Literal["a", "b"], "a"),
]


@pytest.mark.parametrize(("value", "annotation", "document"), READABLE, ids=lambda x: type(x).__name__)
def test_a_value_that_is_what_its_annotation_says_is_plain_json(value: Any, annotation: Any, document: Any) -> None:
    assert json.loads(encode(value, annotation, what="the result").text) == document
    assert back(value, annotation) == value
    assert type(back(value, annotation)) is type(value)


CONTRARY: list[tuple[Any, Any]] = [
    (1, float),
    (True, int),
    (1.0, int),
    ("5", int),
    (Level.HIGH, int),
    (None, int),
    (Line(item="a", price=1.0), dict),
    ({"item": "a", "price": 1.0}, Line),
    (Special(item="a", price=1.0), Line),
    (Line(item="a", price=1), Line),
    ([Special(item="a", price=1.0), Line(item="b", price=2.0)], list[Line]),
    ((1, 2), list[int]),
    ([1, 2], tuple[int, int]),
    ((1, 2, 3), tuple[int, int]),
    ({1: 2}, dict[str, int]),
    ({"$type": "x"}, dict[str, str]),
    (frozenset({1}), set[int]),
    ("2024-05-01", date),
    (datetime(2024, 5, 1, fold=1), datetime),
    (datetime(2024, 5, 1), date),
    ("red", Color),
    (Color.BLUE, Color),
    (Pair(1), tuple[int, Any]),
    (1, str | float),
    (DAY, str | date),
    ("2024-05-01", date | str),
    (Point(1), Line | Point),
    (Frozen(name="a"), Line | Point),
    (Doubling(n=1, anything=(Line(item="a", price=1.0), {1})), Doubling),
    (float("inf"), float),
    ("\ud800", str),
    (10**5000, int),
    ({"id": "no int", "more": (1,)}, Row),
    ("any", "AForwardReference"),
]


@pytest.mark.parametrize(("value", "annotation"), CONTRARY, ids=lambda x: type(x).__name__)
def test_a_value_that_contradicts_its_annotation_survives(value: Any, annotation: Any) -> None:
    restored = back(value, annotation)
    assert restored == value
    assert type(restored) is type(value)
    assert value == 10**5000 or repr(restored) == repr(value)


def test_validators_do_not_run_again() -> None:
    assert back(Doubling(n=1), Doubling).n == 2


def test_a_class_made_in_a_function_is_found_through_the_annotation_only() -> None:
    class Local(pydantic.BaseModel):
        n: int

    @dataclass
    class Other:
        n: int

    class Choice(enum.Enum):
        A = (1, 2)

    assert back([Local(n=1)], list[Local]) == [Local(n=1)]
    assert back(Other(1), Local | Other) == Other(1)
    assert back(Choice.A, Choice | None) is Choice.A
    with pytest.raises(NotJournalable, match="cannot be found by its name"):
        encode(Local(n=1), what="the result")


def test_a_class_that_was_defined_anew_is_restored_as_the_newest() -> None:
    module = ModuleType("a_notebook")
    sys.modules["a_notebook"] = module
    try:
        source = "from dataclasses import dataclass\n@dataclass\nclass Note:\n    text: str\n"
        exec(source, vars(module))
        payload = encode(module.Note("a"), what="the result")
        exec(source + "    stars: int = 5\n", vars(module))
        restored = decode(payload, what="the result")
        assert type(restored) is module.Note
        assert restored.stars == 5
        del module.Note
        with pytest.raises(CannotRestore, match=r"its class a_notebook\.Note is not defined here"):
            decode(payload, what="the result")
    finally:
        del sys.modules["a_notebook"]


def test_a_journal_never_imports_a_module() -> None:
    sys.modules.pop("this", None)
    with pytest.raises(CannotRestore, match="is not defined here"):
        decode(Payload('{"$type":"this.Zen","fields":{}}'), what="the result")
    assert "this" not in sys.modules


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "builtins.dict", "threading.Thread"])
def test_a_journal_names_only_classes_that_are_data(name: str) -> None:
    with pytest.raises(CannotRestore, match="is not defined here"):
        decode(Payload(json.dumps({"$type": name, "fields": {}})), what="the result")


def test_a_document_of_an_older_class_is_converted_by_pydantic() -> None:
    restored = decode(Payload('{"item":"a","price":"2.5"}'), Line, what="the result")
    assert restored == Line(item="a", price=2.5)


def test_what_stands_beside_the_fields_is_no_hindrance_to_that() -> None:
    text = '{"item":"a","price":"2.5","gift":true,"$unset":["gift"]}'
    assert decode(Payload(text), Special, what="the result") == Special(item="a", price=2.5)


def test_what_has_tags_is_never_taken_for_fields() -> None:
    name = f"{Line.__module__}.Line"
    tagged = json.dumps({"$type": name, "fields": {"item": 5, "price": 1.0}})
    for annotation in (Any, dict, Line):
        with pytest.raises(CannotRestore):
            decode(Payload(tagged), annotation, what="the result")


def test_what_no_longer_fits_says_so() -> None:
    with pytest.raises(CannotRestore, match=r"The result of activity f .*price"):
        decode(Payload('{"item":"a"}'), Line, what="the result of activity f")
    with pytest.raises(CannotRestore, match="no member 'green' any more"):
        decode(Payload('"green"'), Color, what="the result")
    with pytest.raises(CannotRestore, match="does not fit int"):
        decode(Payload('"abc"'), int, what="the result")


def test_a_nested_model_is_readable() -> None:
    order = Order(id=UUID(int=1), lines=[Line(item="a", price=1.0)], at=datetime(2024, 5, 1))
    text = encode(order, Order, what="the result").text
    assert text == (
        '{"id":"00000000-0000-0000-0000-000000000001","lines":[{"item":"a","price":1.0}],"at":"2024-05-01T00:00:00"}'
    )
