"""Take what runs recorded out of a journal, and give its space back (D5).

The events stay, with their names, times and digests; inputs, results and errors go. First that is one transaction in the
file itself. Then the file is copied into a fresh one, because DuckDB gives no space back by itself, and the fresh one is
renamed into its place: a process killed on the way leaves the one or the other, whole.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.journal import rows
from romancy_nb.journal.migrate import CATALOG, quoted
from romancy_nb.payloads.payload import FORGOTTEN, code_digest, content_digest

if TYPE_CHECKING:
    import duckdb

__all__ = ["compact", "forget", "forgotten_body"]

_FIELDS: Final = 9  # tabs in a body
_TOLD: Final = frozenset({"message", "expected", "asked", "names"})
"""Facts of an event that repeat what its payload says, or the user's code."""


def forgotten_body(body: str, at: int | None = None) -> str:
    """Return an event's *body* without its payload.

    Args:
        body: as ``rows.encode`` makes it.
        at: for the first event of a run: when it was forgotten, in microseconds.
    """
    *front, meta, _, text = body.split("\t", _FIELDS)
    facts = {key: value for key, value in json.loads(meta).items() if key not in _TOLD} if meta else {}
    if at is not None:
        facts["forgotten"] = at
    if text:
        digest = text[1:] if text[0] == "@" else content_digest(text.encode())
        text = json.dumps({FORGOTTEN: digest}, separators=(",", ":"))
    told = json.dumps(facts, ensure_ascii=False, separators=(",", ":")) if facts else ""
    return "\t".join([*front, told, "", text])


def forget(connection: duckdb.DuckDBPyConnection, runs: Collection[int], at: int) -> None:
    """Take the payloads of *runs* out of the open journal, in one transaction.

    Args:
        connection: to the journal.
        runs: their keys.
        at: now, in microseconds.
    """
    wanted = sorted(runs)
    found = connection.execute(
        "select run, seq, kind, body from romancy.history_rows where run in (select unnest(?::bigint[]))", [wanted]
    ).fetchall()
    bodies = [body for *_, body in found]
    gone = set().union(*rows.references(bodies, parts=True), _codes(bodies))
    gone -= _referred_elsewhere(connection, wanted) if gone else set()
    new = [(run, seq, forgotten_body(body, at if kind == "run_started" else None)) for run, seq, kind, body in found]
    connection.execute("begin")
    try:
        connection.execute("create temp table forgotten (run bigint, seq integer, body varchar)")
        appender: Any = connection.appender("temp.forgotten")
        appender.append_rows(new)
        appender.flush()
        del appender
        connection.execute(
            "update romancy.history_rows set body = f.body from temp.forgotten f "
            "where history_rows.run = f.run and history_rows.seq = f.seq"
        )
        connection.execute("drop table temp.forgotten")
        for table in ("outcomes", "inbox"):
            connection.execute(f"delete from romancy.{table} where run in (select unnest(?::bigint[]))", [wanted])
        connection.execute(
            "delete from romancy.stored_payloads where digest in (select unnest(?::varchar[]))", [sorted(gone)]
        )
        connection.execute("commit")
    except BaseException:
        with suppress(Exception):
            connection.execute("rollback")
        raise


def _codes(bodies: list[str]) -> set[str]:
    """Digests of the code that is kept of what *bodies* call: a text in it may be what is to be forgotten."""
    return {code_digest(name, code) for name, code in rows.codes(bodies)}


def _referred_elsewhere(connection: duckdb.DuckDBPyConnection, runs: list[int]) -> set[str]:
    """Digests of payloads that other runs refer to."""
    cursor = connection.cursor()
    cursor.execute(f"use {CATALOG}")
    cursor.execute("select body from romancy.history_rows where run not in (select unnest(?::bigint[]))", [runs])
    found: set[str] = set()
    while chunk := cursor.fetchmany(20_000):
        texts, binary = rows.references([body for (body,) in chunk], parts=True)
        found |= texts | binary | _codes([body for (body,) in chunk])
    cursor.close()
    return found


def compact(path: Path, config: dict[str, Any]) -> Path:
    """Copy the closed journal at *path* into a fresh file beside it, and return that file.

    Everything in the database is copied, the user's own tables too.

    Args:
        path: of the journal; nobody has it open.
        config: for DuckDB.
    """
    import duckdb

    fresh = path.with_name(path.name + ".compact")
    fresh.unlink(missing_ok=True)
    Path(f"{fresh}.wal").unlink(missing_ok=True)
    version = config["storage_compatibility_version"]
    with duckdb.connect(
        config={key: value for key, value in config.items() if key != "storage_compatibility_version"}
    ) as connection:
        connection.execute(f"attach {quoted(path)} as journal")
        connection.execute(f"attach {quoted(fresh)} as fresh (storage_version {quoted(version)})")
        connection.execute("copy from database journal to fresh")
        connection.execute("checkpoint fresh")
        connection.execute("detach fresh")
        connection.execute("detach journal")
    return fresh
