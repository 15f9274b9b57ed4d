"""Questions of people: one statement, nothing written, everything fetched before it is answered (D2).

What may run is decided twice: DuckDB's own parser says what kind of statement it is, and it then runs in a read-only
transaction, which also stops ``explain analyze insert …``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.clock import from_us
from romancy_nb.errors import JournalError
from romancy_nb.journal.migrate import CATALOG
from romancy_nb.journal.protocol import Table

if TYPE_CHECKING:
    import duckdb

__all__ = ["answer"]

_ZONED: Final = "TIMESTAMP WITH TIME ZONE"
_REMEDY: Final = (
    "rn.sql is read-only: one SELECT (or FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, EXPLAIN) over "
    "instances, runs, steps, attempts, compensations, limits, events."
)


def answer(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()) -> Table:
    """Answer *sql* on a cursor of its own.

    Raises:
        JournalError: it is not one read-only statement, or DuckDB cannot answer it.
    """
    import duckdb

    try:
        text = _one_question(sql)
        with connection.cursor() as cursor:
            cursor.execute(f"set search_path = '{CATALOG}.romancy,{CATALOG}.main'")
            cursor.execute("begin transaction read only")
            try:
                return _fetch(cursor, text, list(parameters))
            finally:
                with suppress(duckdb.Error):
                    cursor.execute("rollback")
    except duckdb.Error as error:
        text = str(error)
        if "read-only mode" in text:
            raise JournalError(f"Refused: the statement writes. {_REMEDY}") from None
        raise JournalError(text) from None


def _one_question(sql: str) -> str:
    import duckdb

    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise JournalError(f"Refused: {len(statements)} statements instead of one. {_REMEDY}")
    kind = statements[0].type.name
    if kind not in ("SELECT", "EXPLAIN"):
        raise JournalError(f"Refused: {kind} is not a question. {_REMEDY}")
    return statements[0].query.strip().rstrip(";")


def _fetch(cursor: duckdb.DuckDBPyConnection, text: str, parameters: list[Any]) -> Table:
    """Fetch the answer.

    DuckDB hands out times with a zone only where pytz is installed, which nobody else needs: we ask for microseconds.
    """
    columns, types = _shape(cursor, text, parameters)
    if not any(_ZONED in name for name in types):
        cursor.execute(text, parameters)
        columns, types = _described(cursor)
        return Table(columns, types, cursor.fetchall())
    picked = ", ".join(
        f"epoch_us(c{i})" if name == _ZONED else f"c{i}::varchar" if _ZONED in name else f"c{i}"
        for i, name in enumerate(types)
    )
    aliases = ", ".join(f"c{i}" for i in range(len(types)))
    cursor.execute(f"select {picked} from (\n{text}\n) as answer({aliases})", parameters)
    zoned = [name == _ZONED for name in types]
    found = [
        tuple(from_us(value) if zone and value is not None else value for value, zone in zip(row, zoned, strict=True))
        for row in cursor.fetchall()
    ]
    return Table(columns, types, found)


def _shape(
    cursor: duckdb.DuckDBPyConnection, text: str, parameters: list[Any]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Column names and types of the answer; none for what cannot stand in a subquery (EXPLAIN), which has no times."""
    import duckdb

    if text.lstrip()[:7].lower() == "explain":
        return (), ()
    try:
        cursor.execute(f"select * from (\n{text}\n) limit 0", parameters)
    except (duckdb.ParserException, duckdb.BinderException):
        return (), ()
    return _described(cursor)


def _described(cursor: duckdb.DuckDBPyConnection) -> tuple[tuple[str, ...], tuple[str, ...]]:
    description = cursor.description or []
    return tuple(str(column[0]) for column in description), tuple(str(column[1]) for column in description)
