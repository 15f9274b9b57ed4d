"""From a schema to the fields of a form, each kind of them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
from typing import Annotated, Any, Literal, Optional, TypedDict

import pytest
from pydantic import BaseModel, Field

from romancy_nb.definitions.asked import question_schema, validate_answer
from romancy_nb.definitions.misfits import check_against_schema
from romancy_nb.widgets.fields import FormField, bounds, example, expects, field_of, parts_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    """Where to send it."""

    street: str = Field(min_length=1, max_length=40, title="Street and number", description="as on the bell")
    zip_code: Annotated[str, Field(pattern=r"^\d{5}$")]
    colour: Colour = Colour.BLUE
    note: str = Field(default="", max_length=2000)


@dataclasses.dataclass
class Money:
    amount: float
    currency: Literal["EUR", "CHF"] = "EUR"


class Parcel(TypedDict, total=False):
    weight: float
    sent: dt.date


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


KINDS: list[tuple[Any, str]] = [
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "long text"),
    (Annotated[str, Field(max_length=20)], "text"),
    (Annotated[str, Field(max_length=2000)], "long text"),
    (Literal["a", "b", 3, None], "choice"),
    (Colour, "choice"),
    (Colour | Literal["none"], "choice"),
    (set[Colour], "choices"),
    (dt.date, "date"),
    (dt.time, "time"),
    (dt.datetime, "datetime"),
    (list[int], "list"),
    (list[Address], "list"),
    (tuple[int, str], "tuple"),
    (Address, "object"),
    (Money, "object"),
    (Parcel, "object"),
    (Optional[Address], "optional"),  # noqa: UP045
    (int | None, "optional"),
    (Cat | Dog, "union"),
    (Annotated[Cat | Dog, Field(discriminator="kind")], "union"),
    (Literal["x"], "constant"),
    (dict[str, int], "json"),
    (Any, "json"),
]


@pytest.mark.parametrize(("asked", "kind"), KINDS, ids=str)
def test_every_type_has_its_kind_of_field_with_an_example_that_fits(asked: Any, kind: str) -> None:
    schema = question_schema(asked)
    made = field_of(schema)
    assert made.kind == kind
    assert expects(made)
    assert json.dumps(made.data())
    if kind != "json":
        fitting = example(made)
        assert check_against_schema(schema, fitting) in (
            [],
            [("zip_code", r"must match the pattern ^\d{5}$")],
        ) or "Address" in str(asked)


def test_a_model_has_labels_help_bounds_and_defaults() -> None:
    made = field_of(question_schema(Address))
    street, zip_code, colour, note = made.fields
    assert made.help == "Where to send it."
    assert (street.label, street.help, street.required) == ("Street and number", "as on the bell", True)
    assert street.limits == {"minLength": 1, "maxLength": 40}
    assert expects(street) == "text, 1 to 40 characters"
    assert (zip_code.label, zip_code.limits) == ("Zip Code", {"pattern": r"^\d{5}$"})
    assert (colour.kind, colour.label, colour.choices) == ("choice", "Colour", ("red", "blue"))
    assert (colour.required, colour.has_default, colour.default) == (False, True, "blue")
    assert note.kind == "long text"


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"ge": 1, "le": 9}, "a whole number, 1 to 9"),
        ({"gt": 0, "le": 9}, "a whole number, more than 0, at most 9"),
        ({"lt": 9}, "a whole number, less than 9"),
        ({"multiple_of": 5}, "a whole number, a multiple of 5"),
    ],
)
def test_bounds_are_said_in_words_and_kept_by_the_example(limits: dict[str, int], said: str) -> None:
    asked = Annotated[int, Field(**limits)]  # type: ignore[arg-type]
    made = field_of(question_schema(asked))
    assert expects(made) == said
    validate_answer(asked, example(made))


@pytest.mark.parametrize("limits", [{"gt": 0, "lt": 1}, {"ge": 0.2, "le": 0.4}, {"lt": -5}, {"le": 0}])
def test_examples_of_fractions_keep_to_their_bounds(limits: dict[str, float]) -> None:
    asked = Annotated[float, Field(**limits)]  # type: ignore[arg-type]
    validate_answer(asked, example(field_of(question_schema(asked))))


def test_one_of_something_is_said_in_the_singular() -> None:
    assert bounds({"minLength": 1}) == ["at least 1 character"]
    assert bounds({"minItems": 2, "maxItems": 2}) == ["exactly 2 entries"]


def test_nested_fields_are_walked_through_in_order_with_their_depth() -> None:
    class Order(BaseModel):
        paid: Money | None = None
        lines: list[Money] = []

    walked = [(depth, each.name) for depth, each in parts_of(field_of(question_schema(Order)))]
    assert walked == [
        (0, ""),
        (1, "paid"),
        (2, "amount"),
        (2, "currency"),
        (1, "lines"),
        (2, "amount"),
        (2, "currency"),
    ]


def test_a_type_that_contains_itself_ends_where_it_begins_again() -> None:
    made = field_of(question_schema(Tree))
    assert made.kind == "object"
    assert made.fields[1].fields[0].kind == "json"


def test_a_choice_of_very_many_is_cut_where_it_is_said_and_whole_where_it_is_chosen() -> None:
    many = enum.Enum("Many", {f"m{i}": f"m{i}" for i in range(1000)})  # type: ignore[misc]
    made = field_of(question_schema(many))
    assert len(made.choices) == 1000
    assert expects(made).endswith("… and 988 more")


def test_decimals_are_asked_for_as_numbers_or_text() -> None:
    assert field_of(question_schema(decimal.Decimal)).kind in {"number", "union"}


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"type": "fish"},
        {"type": ["integer", "null"]},
        {"$ref": "#/$defs/Nowhere"},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {"anyOf": []},
        {"anyOf": [{"type": "null"}]},
        {"enum": []},
        {"type": "integer", "minimum": "many", "maximum": float("nan")},
        {"type": "object", "properties": [1, 2]},
        {"type": "object", "properties": {str(i): {} for i in range(5000)}},
        {"type": "array", "items": 3},
        {"type": "array", "prefixItems": []},
        {"title": 7, "description": ["x"], "type": "string"},
    ],
)
def test_a_strange_schema_never_breaks_a_form(schema: dict[str, Any] | None) -> None:
    made = field_of(schema)
    assert isinstance(made, FormField)
    assert expects(made)
    json.dumps([made.data(), example(made)])
