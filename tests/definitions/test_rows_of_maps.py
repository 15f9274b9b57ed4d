"""How rows become calls: frames, dicts, models and tuples, one parameter and several, and what is refused."""

from __future__ import annotations

import dataclasses
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest

from romancy_nb.definitions.rows import Rows
from romancy_nb.definitions.signature import Signature
from romancy_nb.errors import WrongArguments


def two(a: int, b: str = "x") -> None: ...
def one(text: str) -> None: ...
def whole(row: dict[str, Any]) -> None: ...
def rest(a: int, **more: Any) -> None: ...


class Model(pydantic.BaseModel):
    a: int
    b: str = "m"


@dataclasses.dataclass
class Data:
    a: int
    b: str = "d"


def model(item: Model) -> None: ...


def calls(function: Any, rows: Any, columns: Any = None) -> list[Any]:
    return Rows(rows, columns).calls(Signature.of(function, what=f"activity {function.__name__}"))


def test_a_dict_a_dataclass_and_a_model_give_the_arguments_by_name() -> None:
    rows = [{"a": 1}, Data(2), Model(a=3)]
    assert calls(two, rows) == [((), {"a": 1}), ((), {"a": 2, "b": "d"}), ((), {"a": 3, "b": "m"})]


def test_a_tuple_gives_them_by_position_and_anything_else_is_the_one_argument() -> None:
    assert calls(two, [(1, "y"), (2,)]) == [((1, "y"), {}), ((2,), {})]
    assert calls(one, ["a", "b"]) == [(("a",), {}), (("b",), {})]
    assert calls(model, [Model(a=1)]) == [((Model(a=1),), {})]
    assert calls(whole, [{"p": 1, "q": 2}]) == [(({"p": 1, "q": 2},), {})]
    assert calls(one, [{"text": "by name"}]) == [((), {"text": "by name"})]


def test_a_generator_is_read_once() -> None:
    rows = Rows(str(n) for n in range(3))
    assert len(rows) == 3 and rows.values == ["0", "1", "2"]


FRAMES = [
    pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=[7, 9]),
    pl.DataFrame({"a": [1, 2], "b": ["x", None]}),
    pa.table({"a": [1, 2], "b": ["x", None]}),
]


@pytest.mark.parametrize("frame", FRAMES, ids=["pandas", "polars", "arrow"])
def test_the_rows_of_a_data_frame_are_pythons_own_values_by_name(frame: Any) -> None:
    found = calls(rest, frame)
    assert found == [((), {"a": 1, "b": "x"}), ((), {"a": 2, "b": None})]
    assert type(found[0][1]["a"]) is int


def test_what_is_missing_in_a_pandas_frame_is_none_and_among_floats_nan() -> None:
    frame = pd.DataFrame(
        {
            "a": pd.array([1, None], dtype="Int64"),
            "when": pd.to_datetime(["2026-01-02", None]),
            "f": [0.5, np.nan],
            "s": pd.array(["t", None], dtype="string"),
        }
    )
    first, second = Rows(frame).values
    assert first == {"a": 1, "when": pd.Timestamp("2026-01-02"), "f": 0.5, "s": "t"}
    assert second["a"] is None and second["when"] is None and second["s"] is None and np.isnan(second["f"])


def test_an_array_or_column_is_pythons_own_values() -> None:
    for column in (np.array([1, 2]), pd.Series([1, 2]), pl.Series([1, 2]), pa.array([1, 2])):
        values = Rows(column).values
        assert values == [1, 2] and type(values[0]) is int, type(column)


def test_a_column_that_is_no_parameter_is_an_error_that_names_both() -> None:
    frame = pd.DataFrame({"a": [1], "extra": [2], "b": ["x"]})
    with pytest.raises(WrongArguments, match=r"^Column 'extra' is no parameter of activity two.*two\(a: ") as e:
        calls(two, frame)
    assert "columns=['a', 'b']" in str(e.value)
    assert calls(two, frame, ["a", "b"]) == [((), {"a": 1, "b": "x"})]
    assert calls(rest, frame) == [((), {"a": 1, "extra": 2, "b": "x"})]


def test_a_frame_for_a_function_of_one_parameter_gives_that_column_or_the_whole_row() -> None:
    frame = pl.DataFrame({"text": ["x"], "id": [1]})
    assert calls(one, frame, ["text"]) == [((), {"text": "x"})]
    assert calls(one, frame, "text") == [((), {"text": "x"})]
    assert calls(whole, frame) == [(({"text": "x", "id": 1},), {})]
    for wrong in (frame, pl.DataFrame({"txt": ["x"]})):
        with pytest.raises(WrongArguments, match="no parameter of activity one"):
            calls(one, wrong)


@pytest.mark.parametrize(
    ("function", "rows", "says"),
    [
        (two, [(1,), (1, "x", 2)], "Row 1: .*takes 2 positional arguments, and 3 were given"),
        (two, [{"b": "x"}], "Row 0: .*lacks `a`"),
        (two, [(1,), (2,), {"c": 1}], "Row 2: Column 'c' is no parameter"),
        (one, "abc", "this is a str. Put it into a list"),
        (one, {"text": ["a"]}, "this is a dict"),
        (one, 5, "this is an int"),
    ],
)
def test_rows_that_do_not_go_with_the_function_are_refused_and_named(function: Any, rows: Any, says: str) -> None:
    with pytest.raises(WrongArguments, match=says):
        calls(function, rows)


def test_a_column_that_is_chosen_and_not_there_is_named() -> None:
    with pytest.raises(WrongArguments, match="no column 'z'; they have 'a', 'b'"):
        Rows(FRAMES[0], ["z"])
    with pytest.raises(WrongArguments, match="'z'"):
        calls(two, [{"a": 1}], ["z"])


def test_rows_of_no_frame_have_columns_by_the_names_of_their_parameters() -> None:
    signature = Signature.of(two, what="activity two")
    assert Rows([(1, "x"), (2,), {"a": 3}]).columns(signature) == {"a": [1, 2, 3], "b": ["x", None, None]}
    dates = Rows([date(2026, 1, 1)]).columns(Signature.of(one, what="activity one"))
    assert dates == {"text": [date(2026, 1, 1)]}
