"""What a map comes to: one result a row, in the order of the rows, and which rows failed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import Any, Final, Generic, TypeVar, overload

from romancy_nb.definitions.annotations import short
from romancy_nb.definitions.rows import Rows
from romancy_nb.definitions.signature import Signature
from romancy_nb.payloads.redact import is_secret

__all__ = ["Batch", "FailedRow", "Failure"]

T_co = TypeVar("T_co", covariant=True)

_SHOWN: Final = 10
"""Rows that a batch shows of itself."""


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row whose step or instance failed.

    Attributes:
        index: its number among the rows, from 0.
        row: as it was given; that of a data frame as a dict.
        error: what was raised.
        instance_id: where it failed.
        step: place of its step in that instance's run; "": the row is an instance, or its values do not fit.
    """

    index: int
    row: Any
    error: BaseException
    instance_id: str
    step: str = ""

    def __repr__(self) -> str:
        return f"<FailedRow {self.index}: {_text(self.error)}>"


@dataclass(frozen=True, slots=True)
class Failure:
    """What a row that failed came to: the error, and the place of its step."""

    error: BaseException
    step: str = ""


class Batch(Generic[T_co]):
    """What ``rn.map`` and ``workflow.map`` return: the results in the order of the rows. It shows itself as a small table.

    A sequence of results: ``len``, indexing and iteration are those of ``results``.

    Attributes:
        name (str): of the activity or workflow.
        results: a value for each row; None for one that failed.
        failed: the rows that failed, in order.
        ok (bool): did none fail?

    ``left`` is how many rows were not begun, because others had failed before.
    """

    def __init__(
        self,
        name: str,
        signature: Signature,
        rows: Rows,
        results: Sequence[T_co | None],
        failures: Mapping[int, Failure],
        instances: Callable[[int], str],
        again: Callable[[Batch[T_co]], Any],
        left: int = 0,
    ) -> None:
        self.name = name
        self.rows = rows
        self.results: list[T_co | None] = list(results)
        self._signature = signature
        self._failures = failures
        self._instances = instances
        self._again = again
        self._left = left
        self.failed = [
            FailedRow(index, rows.values[index], each.error, instances(index), each.step)
            for index, each in sorted(failures.items())
        ]

    @property
    def ok(self) -> bool:
        return not self.failed

    # -- a sequence ----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[T_co | None]:
        return iter(self.results)

    @overload
    def __getitem__(self, index: int) -> T_co | None: ...
    @overload
    def __getitem__(self, index: slice) -> list[T_co | None]: ...
    def __getitem__(self, index: int | slice) -> T_co | list[T_co | None] | None:
        return self.results[index]

    def __await__(self) -> Generator[None, None, Batch[T_co]]:
        """Awaiting one gives it: ``await rn.map(...)`` reads alike wherever it stands."""
        return self
        yield

    # -- what failed ---------------------------------------------------------------------------------------------------

    def retry(self) -> Batch[T_co]:
        """Run the rows that failed again, alone, and return the whole batch as it is then.

        What succeeded is not executed, also when the activity or workflow was mended since; what failed is executed with the
        code as it is now. In an ``async def`` workflow it is awaited.

        >>> batch = batch.retry()  # doctest: +SKIP
        """
        if self.ok:
            return self
        again: Batch[T_co] = self._again(self)
        return again

    def raise_failed(self) -> Batch[T_co]:
        """Raise an ``ExceptionGroup`` of the errors if rows failed; else return the batch.

        Raises:
            ExceptionGroup: rows failed.
        """
        if self.failed:
            raise self.group()
        return self

    def group(self) -> BaseExceptionGroup[BaseException]:
        """Return the errors as one."""
        return BaseExceptionGroup(self.summary(), [each.error for each in self.failed])

    def summary(self) -> str:
        """Return it in one line: ``score: 5,000 rows, 4,997 completed, 3 failed``."""
        done = len(self) - len(self.failed) - self._left
        rows = f"{len(self):,} row{'' if len(self) == 1 else 's'}"
        rest = ((len(self.failed), "failed"), (self._left, "not begun"))
        return f"{self.name}: {rows}, {done:,} completed" + "".join(f", {many:,} {what}" for many, what in rest if many)

    # -- as a table ----------------------------------------------------------------------------------------------------

    def df(self, *, expand: bool = False) -> Any:
        """Return a data frame: the rows' columns, then result, status ("completed", "failed"), error, instance_id.

        It is of the kind that the rows were given in, with the index of theirs; a pandas one for all other rows.

        Args:
            expand: where all results are dicts, dataclasses or models: their fields as columns instead of ``result``.

        Raises:
            ImportError: pandas is missing; it says how to get it.
        """
        own = self._own_columns(expand)
        if type(self.rows.frame).__module__.startswith("polars"):
            import polars as pl

            return self.rows.frame.with_columns([_series(pl, name, values) for name, values in own.items()])
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("`.df()` needs pandas: pip install 'romancy_nb[frames]'") from error
        frame = self.rows.frame
        if frame is not None and type(frame).__module__.startswith("pandas"):
            ours = pd.DataFrame({name: pd.Series(values, index=frame.index) for name, values in own.items()})
            return pd.concat([frame, ours], axis=1)
        if frame is not None:
            return pd.concat([frame.to_pandas(), pd.DataFrame(own)], axis=1)
        return pd.DataFrame({**self._row_columns(), **own})

    def arrow(self, *, expand: bool = False) -> Any:
        """Return the same as a pyarrow Table.

        Raises:
            ImportError: pyarrow is missing; it says how to get it.
        """
        try:
            import pyarrow as pa
        except ImportError as error:
            raise ImportError("`.arrow()` needs pyarrow: pip install 'romancy_nb[frames]'") from error
        frame, own = self.rows.frame, self._own_columns(expand)
        if frame is None:
            table = pa.table({name: _array(pa, values) for name, values in self._row_columns().items()})
        elif isinstance(frame, pa.Table):
            table = frame
        elif type(frame).__module__.startswith("polars"):
            table = frame.to_arrow()
        else:
            table = pa.Table.from_pandas(frame)
        for name, values in own.items():
            table = table.append_column(name, _array(pa, values))
        return table

    def _row_columns(self) -> dict[str, list[Any]]:
        return self.rows.columns(self._signature)

    def _own_columns(self, expand: bool) -> dict[str, list[Any]]:
        """What stands beside the rows' columns; a name that these have already gets a ``_`` behind it."""
        frame = self.rows.frame
        taken = (
            set(self._row_columns()) if frame is None else set(getattr(frame, "column_names", None) or frame.columns)
        )
        failed = {each.index: each for each in self.failed}
        columns = (self._expanded() if expand else None) or {"result": self.results}
        columns = {
            **columns,
            "status": ["failed" if index in failed else "completed" for index in range(len(self))],
            "error": [_text(failed[index].error) if index in failed else None for index in range(len(self))],
            "instance_id": [self._instances(index) for index in range(len(self))],
        }
        named: dict[str, list[Any]] = {}
        for name, values in columns.items():
            free = name
            while free in taken or free in named:
                free += "_"
            named[free] = list(values)
        return named

    def _expanded(self) -> dict[str, list[Any]] | None:
        found = [_fields(each) for each in self.results]
        failed = {each.index for each in self.failed}
        if any(each is None and index not in failed for index, each in enumerate(found)) or not any(found):
            return None
        names = list(dict.fromkeys(str(name) for each in found for name in each or ()))
        return {name: [each.get(name) if each is not None else None for each in found] for name in names}

    # -- how it shows itself -------------------------------------------------------------------------------------------

    def _shown(self) -> list[tuple[str, str, str]]:
        """Rows to show, those that failed first: number, row, what became of it."""
        failed = {each.index: each for each in self.failed}
        rest = (index for index in range(len(self)) if index not in failed)
        first = [*failed, *islice(rest, _SHOWN)][:_SHOWN]
        return [
            (
                str(index),
                short(_without_secrets(self.rows.values[index])),
                _text(failed[index].error) if index in failed else short(self.results[index]),
            )
            for index in first
        ]

    def _left_out(self, shown: int) -> str:
        left = len(self) - shown
        if not left:
            return ""
        failed = max(0, len(self.failed) - shown)
        return f"… {left:,} more rows" + (f", {failed:,} of them failed" if failed else "")

    def __repr__(self) -> str:
        shown = self._shown()
        failed = {str(each.index) for each in self.failed}
        lines = [self.summary(), *(f"  {'✗' if at in failed else '✓'} {at}: {row} → {end}" for at, row, end in shown)]
        return "\n".join([*lines, *filter(None, [self._left_out(len(shown)), self._advice()])])

    def _advice(self) -> str:
        return "Failed rows alone, again: .retry()   All of it: .df()   Errors: .failed" if self.failed else ""

    def _repr_html_(self) -> str:
        shown = self._shown()
        failed = {str(each.index) for each in self.failed}
        cell = 'style="text-align:left;vertical-align:top;padding:2px 8px"'  # marimo has no room of its own between columns
        body = "".join(
            f"<tr><td {cell}>{at}</td><td {cell}>{'✗ failed' if at in failed else '✓'}</td>"
            f"<td {cell}>{escape(row)}</td><td {cell}>{escape(end)}</td></tr>"
            for at, row, end in shown
        )
        under = "".join(f"<div>{escape(line)}</div>" for line in (self._left_out(len(shown)), self._advice()) if line)
        head = f"<tr><th {cell}>row</th><th {cell}></th><th {cell}>values</th><th {cell}>result</th></tr>"
        return (
            f"<div><strong>{escape(self.summary())}</strong></div>"
            f"<table><thead>{head}</thead><tbody>{body}</tbody></table>{under}"
        )


def _without_secrets(row: Any) -> Any:
    """What is shown of a row: a batch is saved with the notebook (D5)."""
    fields = _fields(row)
    if fields is None or not any(is_secret(str(name), type(value)) for name, value in fields.items()):
        return row
    return {name: "…" if is_secret(str(name), type(value)) else value for name, value in fields.items()}


def _text(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _fields(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    fields = getattr(type(value), "model_fields", None)
    return {name: getattr(value, name) for name in fields} if isinstance(fields, dict) else None


def _series(pl: Any, name: str, values: list[Any]) -> Any:
    try:
        return pl.Series(name, values, strict=True)
    except Exception:  # values of several kinds, or of one that polars does not know
        return pl.Series(name, values, dtype=pl.Object)


def _array(pa: Any, values: list[Any]) -> Any:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return pa.array([None if each is None else str(each) for each in values])
