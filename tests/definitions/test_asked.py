"""What a question may ask for, and which answers it takes: by the type, and by the journaled schema alone."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal, Optional, TypedDict

import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from romancy_nb.definitions import misfits
from romancy_nb.definitions.asked import question_schema, validate_answer
from romancy_nb.definitions.misfits import check_against_schema
from romancy_nb.definitions.plainfit import fits_plainly
from romancy_nb.errors import DefinitionError, EventRefused, RomancyError
from romancy_nb.payloads.codec import ANY


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


@dataclasses.dataclass
class Money:
    amount: float
    currency: str = "EUR"


class Address(TypedDict, total=False):
    street: str
    moved: dt.date


class Decision(BaseModel):
    model_config = ConfigDict(extra="forbid")

    pet: Cat | Dog
    when: dt.datetime
    price: Money | None = None
    tags: list[Annotated[str, Field(min_length=2)]] = []


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


TYPES: list[Any] = [
    bool,
    int,
    Annotated[int, Field(ge=1, lt=9)],
    float,
    decimal.Decimal,
    str,
    Annotated[str, Field(min_length=2, pattern="^a")],
    Literal["a", 1],
    Colour,
    dt.date,
    dt.datetime,
    dt.time,
    Optional[int],  # noqa: UP045
    Money,
    Address,
    list[Address],
    Address | None,
    Decision,
    Cat | Dog,
    list[Money],
    set[Colour],
    tuple[int, str],
    dict[str, int],
    Tree,
    None,
    Any,
]


@pytest.mark.parametrize("asked", TYPES, ids=str)
def test_every_type_that_a_person_can_answer_has_a_schema_that_is_json(asked: Any) -> None:
    schema = question_schema(asked)
    assert json.loads(json.dumps(schema)) == schema
    assert question_schema(asked) == schema


def test_the_schema_is_the_same_in_every_process() -> None:
    code = (
        "import enum, json\nfrom typing import Literal\nfrom romancy_nb.definitions.asked import question_schema\n"
        "from pydantic import BaseModel\nclass A(BaseModel):\n    b: set[Literal['x', 'y']]\n    c: int | str | None = None\n"
        "print(json.dumps(question_schema(list[A])))"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(made) == 1


def test_anything_may_be_asked_for() -> None:
    assert question_schema(ANY) == {}
    assert validate_answer(ANY, {"a": 1}) == {"a": 1}
    assert check_against_schema({}, object()) == [] == check_against_schema(None, 3)


class Frame:
    pass


@pytest.mark.parametrize("asked", [Frame, list[Frame], Callable[[int], int], "Nowhere", 3])
def test_what_no_person_can_answer_is_refused_where_it_is_asked(asked: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Nobody can be asked for .*Ask for bool, numbers, text"):
        question_schema(asked)


def test_a_data_frame_cannot_be_asked_for() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DefinitionError, match=r"Nobody can be asked for DataFrame: there is no form for"):
        question_schema(pandas.DataFrame)


def test_a_secret_cannot_be_asked_for_since_answers_are_journaled() -> None:
    class Login(BaseModel):
        user: str
        key: SecretStr

    with pytest.raises(DefinitionError, match="secrets never are"):
        question_schema(Login)


def test_a_default_that_json_cannot_say_makes_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    class Odd(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)

        at: complex = 1j
        count: int = 2

    assert question_schema(Odd)["properties"]["count"]["default"] == 2
    assert not recwarn.list


# -- answers -------------------------------------------------------------------------------------------------------------

GOOD: list[tuple[Any, Any, Any]] = [
    (bool, True, True),
    (int, 7, 7),
    (float, 7, 7.0),
    (decimal.Decimal, "1.50", decimal.Decimal("1.50")),
    (Colour, "red", Colour.RED),
    (Literal["a", 1], 1, 1),
    (dt.date, "2026-11-21", dt.date(2026, 11, 21)),
    (dt.datetime, "2026-11-21T17:02", dt.datetime(2026, 11, 21, 17, 2)),
    (dt.datetime, "2026-11-21T17:02:00+01:00", dt.datetime(2026, 11, 21, 16, 2, tzinfo=dt.UTC)),
    (dt.time, "17:02", dt.time(17, 2)),
    (Optional[int], None, None),  # noqa: UP045
    (Money, {"amount": 2}, Money(2.0)),
    (Address, {"moved": "2026-11-21"}, {"moved": dt.date(2026, 11, 21)}),
    (list[Money], [{"amount": 1.5, "currency": "CHF"}], [Money(1.5, "CHF")]),
    (set[Colour], ["red", "blue"], {Colour.RED, Colour.BLUE}),
    (tuple[int, str], [1, "a"], (1, "a")),
    (Cat | Dog, {"kind": "dog", "name": "Rex"}, Dog(kind="dog", name="Rex")),
]


@pytest.mark.parametrize(
    ("asked", "value", "expected"), GOOD, ids=[f"{number}: {row[0]}" for number, row in enumerate(GOOD)]
)
def test_an_answer_in_json_becomes_a_value_of_the_type(asked: Any, value: Any, expected: Any) -> None:
    assert check_against_schema(question_schema(asked), value) == []
    found = validate_answer(asked, value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("asked", "value"),
    [(Colour, Colour.RED), (Money, Money(3.0)), (Decision, None), (dt.date, dt.date(2026, 1, 1))],
    ids=str,
)
def test_an_instance_is_an_answer_too(asked: Any, value: Any) -> None:
    value = value or Decision(pet=Cat(kind="cat", lives=9), when=dt.datetime(2026, 1, 1))
    assert validate_answer(asked, value) == value


def test_a_list_may_hold_instances_and_json() -> None:
    assert validate_answer(list[Money], [Money(1.0), {"amount": 2}]) == [Money(1.0), Money(2.0)]


BAD: list[tuple[Any, Any, list[tuple[str, str]]]] = [
    (bool, "yes", [("", "must be yes or no (true, false)")]),
    (bool, 1, [("", "must be yes or no (true, false)")]),
    (int, "7", [("", "must be a whole number")]),
    (int, 1.5, [("", "must be a whole number")]),
    (float, "2", [("", "must be a number")]),
    (Annotated[int, Field(ge=1)], 0, [("", "must be at least 1")]),
    (Annotated[int, Field(gt=1)], 1, [("", "must be more than 1")]),
    (Annotated[int, Field(le=1)], 2, [("", "must be at most 1")]),
    (Annotated[float, Field(lt=1)], 1.0, [("", "must be less than 1")]),
    (Annotated[int, Field(multiple_of=5)], 7, [("", "must be a multiple of 5")]),
    (Annotated[str, Field(min_length=2)], "a", [("", "must have at least 2 characters")]),
    (Annotated[str, Field(max_length=1)], "ab", [("", "must have at most 1 character")]),
    (Annotated[str, Field(pattern="^a")], "b", [("", "must match the pattern ^a")]),
    (Annotated[list[int], Field(min_length=1)], [], [("", "must have at least 1 entry")]),
    (dt.date, "tomorrow", [("", "must be a date like 2026-11-21")]),
    (dt.date, "2026-02-30", [("", "must be a date like 2026-11-21")]),
    (dt.datetime, "2026-11-21", [("", "must be a date and time like 2026-11-21T17:02")]),
    (dt.time, "25:00", [("", "must be a time like 17:02")]),
    (int | str, [], [("", "must be a whole number or text")]),
    (Optional[int], "a", [("", "must be a whole number")]),  # noqa: UP045
    (Money, {}, [("amount", "is required")]),
    (Money, 3, [("", "must have fields, as in {…}")]),
    (Address, {"moved": "x"}, [("moved", "must be a date like 2026-11-21")]),
    (list[Money], [{"amount": 1}, {"amount": "a"}], [("1.amount", "must be a number")]),
    (Cat | Dog, {"kind": "cat", "lives": 0}, [("lives", "must be at least 1")]),
    (Cat | Dog, {"kind": "fish"}, [("kind", "must be cat or dog")]),
    (
        Decision,
        {"pet": {"kind": "dog"}, "when": "x", "tags": ["a"], "more": 1},
        [
            ("more", "is not a field of this"),
            ("pet.name", "is required"),
            ("tags.0", "must have at least 2 characters"),
            ("when", "must be a date and time like 2026-11-21T17:02"),
        ],
    ),
]


@pytest.mark.parametrize(("asked", "value", "expected"), BAD, ids=str)
def test_what_does_not_fit_is_told_by_field_and_in_the_same_words_with_and_without_the_type(
    asked: Any, value: Any, expected: list[tuple[str, str]]
) -> None:
    assert sorted(check_against_schema(question_schema(asked), value)) == expected
    with pytest.raises(EventRefused) as caught:
        validate_answer(asked, value)
    assert sorted(caught.value.problems) == expected


@pytest.mark.parametrize("asked", [asked for asked, *_ in (*GOOD, *BAD)], ids=str)
def test_what_fits_plainly_fits(asked: Any) -> None:
    schema = question_schema(asked)
    for value in [value for _, value, _ in (*GOOD, *BAD)]:
        if fits_plainly(schema, value):
            assert list(misfits._validator(schema).iter_errors(value)) == []


def test_no_library_is_imported_to_find_that_usual_values_fit() -> None:
    program = """
import sys
from datetime import date
from typing import Literal
from pydantic import BaseModel, Field
from romancy_nb.definitions.asked import question_schema
from romancy_nb.definitions.misfits import check_against_schema
class Line(BaseModel):
    amount: int = Field(ge=0)
    on: date | None = None
class Order(BaseModel):
    lines: list[Line] = Field(min_length=1)
    more: dict[str, float] = {}
    kind: Literal["new", "old"]
value = {"lines": [{"amount": 1, "on": "2026-11-21"}, {"amount": 2}], "more": {"a": 1.5}, "kind": "new"}
assert check_against_schema(question_schema(Order), value) == []
assert "jsonschema" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_refusal_has_one_line_for_each_field() -> None:
    with pytest.raises(EventRefused) as caught:
        validate_answer(Decision, {"pet": {"kind": "cat", "lives": 0}, "tags": ["a"]})
    assert str(caught.value).splitlines() == [
        "The answer was refused:",
        "  when is required",
        "  tags.0 must have at least 2 characters",
        "  pet.lives must be at least 1",
    ]
    assert isinstance(caught.value, RomancyError) and isinstance(caught.value, ValueError)


def test_a_validator_of_the_persons_own_speaks_for_itself() -> None:
    class Even(BaseModel):
        number: int

        @pydantic.field_validator("number")
        @classmethod
        def even(cls, value: int) -> int:
            if value % 2:
                raise ValueError("an odd number will not do")
            return value

    with pytest.raises(EventRefused) as caught:
        validate_answer(Even, {"number": 3})
    assert caught.value.problems == (("number", "an odd number will not do"),)


def test_a_choice_of_many_names_some_of_them() -> None:
    many = enum.Enum("Many", {f"m{i}": f"m{i}" for i in range(500)})  # type: ignore[misc]
    ((_, why),) = check_against_schema(question_schema(many), "x")
    assert why.startswith("must be one of m0, m1, ") and why.endswith("… (488 more)")


def test_a_pattern_that_only_the_types_engine_knows_is_left_to_it() -> None:
    assert check_against_schema({"type": "string", "pattern": r"\p{L}+"}, "x") == []


def test_what_is_not_a_number_is_no_whole_number() -> None:
    assert check_against_schema({"type": "integer"}, float("nan")) == [("", "must be a whole number")]
