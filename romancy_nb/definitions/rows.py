"""The rows of a batch, and how each becomes a call: ``rn.map(activity, rows)``, ``workflow.map(rows)``.

::

    a row of a data frame, a dict, a model    keyword arguments by name
    a tuple                                   positional arguments
    anything else                             the one argument

A function with one parameter takes a dict or model as that argument, unless the row is of a frame that has a column of the
parameter's name, or a dict with that one key.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter
from typing import Any, Final

from romancy_nb.definitions.signature import Signature
from romancy_nb.errors import WrongArguments

__all__ = ["Call", "Rows"]

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments of one call: positional ones, and those by name."""

_SCALARS: Final = (str, int, float, bool, bytes)


class Rows:
    """The rows of one batch: read once, kept in order.

    Args:
        source: an iterable, or a data frame of pandas, polars or pyarrow.
        columns: of a frame or of dicts: those to use.

    Attributes:
        values: the rows; those of a frame as dicts.
        frame: the data frame that they are of; None: they are of none.

    Raises:
        WrongArguments: it is nothing that has rows.
    """

    def __init__(self, source: Any, columns: Sequence[str] | None = None) -> None:
        self.frame: Any = source if _kind(source) else None
        self._columns = [columns] if isinstance(columns, str) else list(columns) if columns is not None else None
        if self.frame is not None:
            names, self.values = _READ[_kind(source)](source)
            self._check_columns(names)
        else:
            self.values = list(_iterable(source))

    def _check_columns(self, names: Sequence[str]) -> None:
        missing = [name for name in self._columns or () if name not in names]
        if missing:
            raise WrongArguments(f"The rows have no column {missing[0]!r}; they have {', '.join(map(repr, names))}.")

    def __len__(self) -> int:
        return len(self.values)

    def calls(self, signature: Signature) -> list[Call]:
        """Return the arguments of each row's call, bound to their parameters' names but not checked by type.

        Raises:
            WrongArguments: a row does not go with the parameters; it names the row, and both sides.
        """
        one = _only(signature)
        calls: list[Call] = []
        for position, row in enumerate(self.values):
            call = self._call(row, signature, one)
            try:
                signature.bind(*call)
            except WrongArguments as error:
                spare = self._spare(call, signature)
                where = "" if spare and self.frame is not None else f"Row {position}: "
                raise WrongArguments(f"{where}{spare or error}") from None
            calls.append(call)
        return calls

    def _call(self, row: Any, signature: Signature, one: Parameter | None) -> Call:
        if isinstance(row, tuple) and one is None:
            return row, {}
        named = _fields_of(row)
        if named is None:
            return (row if isinstance(row, tuple) and len(row) == 1 else (row,)), {}
        if self._columns is not None and isinstance(row, Mapping):
            if missing := [name for name in self._columns if name not in named]:
                raise WrongArguments(f"A row has no {missing[0]!r}; it has {', '.join(map(repr, named))}.")
            named = {name: named[name] for name in self._columns}
        if one is None:
            return (), {str(name): value for name, value in named.items()}
        by_name = isinstance(row, Mapping) and one.name in named and (self.frame is not None or len(named) == 1)
        if by_name or (self.frame is not None and signature.fields[one.name].annotation in _SCALARS):
            return (), {str(name): value for name, value in named.items()}
        return (named if isinstance(row, Mapping) else row,), {}

    def _spare(self, call: Call, signature: Signature) -> str:
        """Say which columns are no parameters, where that is what is wrong."""
        spare = [name for name in call[1] if name not in signature.parameters]
        if not spare or any(each.kind is Parameter.VAR_KEYWORD for each in signature.parameters.values()):
            return ""
        fit = [name for name in call[1] if name in signature.parameters]
        chosen = f"columns=[{', '.join(map(repr, fit or list(signature.parameters)))}]"
        which = f"Column {spare[0]!r} is" if len(spare) == 1 else f"Columns {', '.join(map(repr, spare))} are"
        plural = "no parameter" if len(spare) == 1 else "no parameters"
        return f"{which} {plural} of {signature.what}, which is called as {signature.text}. Choose with {chosen}."

    def columns(self, signature: Signature) -> dict[str, list[Any]]:
        """Return the rows by column, for rows that are of no frame."""
        named = [_fields_of(row) for row in self.values]
        positional = list(signature.parameters)
        rows: list[Mapping[str, Any]] = []
        for row, fields in zip(self.values, named, strict=True):
            if fields is not None:
                rows.append(fields)
            else:
                given = row if isinstance(row, tuple) else (row,)
                names = [*positional[: len(given)], *(f"argument {i}" for i in range(len(positional), len(given)))]
                rows.append(dict(zip(names, given, strict=True)))
        names = list(dict.fromkeys(str(name) for row in rows for name in row))
        return {name: [row.get(name) for row in rows] for name in names}


def _only(signature: Signature) -> Parameter | None:
    """The one parameter that there is, where there is one."""
    parameters = list(signature.parameters.values())
    variadic = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return parameters[0] if len(parameters) == 1 and parameters[0].kind not in variadic else None


def _fields_of(row: Any) -> Mapping[str, Any] | None:
    """The fields of a dict, dataclass or pydantic model by name; None: it is none of these."""
    if isinstance(row, Mapping):
        return row
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {each.name: getattr(row, each.name) for each in dataclasses.fields(row)}
    fields = getattr(type(row), "model_fields", None)
    if isinstance(fields, dict):
        return {name: getattr(row, name) for name in fields}
    return None


def _iterable(source: Any) -> Iterable[Any]:
    if isinstance(source, (str, bytes, Mapping)) or not isinstance(source, Iterable):
        hint = " Put it into a list: [rows]." if isinstance(source, (str, bytes, Mapping)) else ""
        kind = type(source).__name__
        article = "an" if kind[:1].lower() in "aeiou" else "a"
        raise WrongArguments(f"Rows are a list, a generator or a data frame, and this is {article} {kind}.{hint}")
    plain = getattr(source, "tolist", None) or getattr(source, "to_list", None) or getattr(source, "to_pylist", None)
    values = plain() if callable(plain) else source  # an array or a column: Python's own values
    return values if isinstance(values, Iterable) else [values]


# -- data frames -------------------------------------------------------------------------------------------------------


def _kind(source: Any) -> str:
    """Which library's data frame it is; "" when it is none. Nothing is imported for that."""
    for library, name in (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table")):
        found = getattr(sys.modules.get(library), name, None)
        if found is not None and isinstance(source, found):
            return library
    return ""


def _read_pandas(frame: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """What is missing is None, except among floats, where it is nan."""
    names = [str(name) for name in frame.columns]
    if len(set(names)) != len(names):
        raise WrongArguments(f"The data frame has two columns of one name: {', '.join(names)}.")
    columns = []
    for position in range(len(names)):
        column = frame.iloc[:, position]
        values = column.tolist()
        if not (type(column.dtype).__module__.startswith("numpy") and column.dtype.kind == "f") and column.hasnans:
            values = [None if gone else each for each, gone in zip(values, column.isna().tolist(), strict=True)]
        columns.append(values)
    return names, [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] or [{}] * len(frame)


def _read_polars(frame: Any) -> tuple[list[str], list[dict[str, Any]]]:
    return list(frame.columns), list(frame.iter_rows(named=True))


def _read_arrow(table: Any) -> tuple[list[str], list[dict[str, Any]]]:
    return list(table.column_names), table.to_pylist()


_READ: Final[dict[str, Callable[[Any], tuple[list[str], list[dict[str, Any]]]]]] = {
    "pandas": _read_pandas,
    "polars": _read_polars,
    "pyarrow": _read_arrow,
}
