"""Making a journal, recognising one, and bringing an old one up to date.

A journal is made whole under another name and then renamed, so a process killed on the way leaves no half of one. Files
are looked at here *before* DuckDB opens them and while we hold the lock (D1), and a file that is not ours is left as it
is.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.errors import (
    JournalBusy,
    JournalDamaged,
    JournalError,
    JournalNewer,
    JournalUnwritable,
    NotAJournal,
    RomancyError,
)
from romancy_nb.journal import sql

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "CATALOG",
    "CONFIG",
    "HeldByDuckDB",
    "apply_migrations",
    "check_header",
    "create",
    "explain",
    "latest",
    "prepare_folder",
    "put_in_place",
    "quoted",
]

CONFIG: Final[dict[str, Any]] = {
    # the previous line of DuckDB must be able to read what this one writes
    "storage_compatibility_version": "v1.5.0",
    # nothing is fetched from the network, ever; json and icu are built in
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    # `select * from rows` must not find a Python variable called rows
    "python_enable_replacements": "false",
    # measured: one thread begins and ends an instance in 21 ms instead of 25, commits 10 % faster, and answers our small
    # queries faster too; nothing here is large enough to share
    "threads": "1",
}
CATALOG: Final = "journal"
"""What the journal's file is called in DuckDB. (A duckdb shell calls the default file, journal.duckdb, the same.)"""
_MAGIC: Final = b"DUCK"


class HeldByDuckDB(JournalBusy):
    """Something that does not know our lock has the file open: a duckdb shell, or a connection in this process."""


def latest() -> int:
    """The version of the schema that this code writes."""
    return len(sql.migrations("duckdb"))


def prepare_folder(path: Path) -> None:
    """Make the folder of the journal at *path*; a ``.romancy`` folder ignores itself in git.

    Raises:
        JournalUnwritable: it cannot be made.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if folder.name == ".romancy" and not ignore.exists():
            ignore.write_text("*\n", "utf-8")
    except OSError as error:
        raise _unwritable(path, f"{error.strerror or error}") from error


def check_header(path: Path) -> bool:
    """Look at the file before DuckDB does. Returns False when there is nothing yet (no file, or an empty one).

    Raises:
        NotAJournal: it is no DuckDB database.
        JournalUnwritable: it may not be read and written.
    """
    try:
        with path.open("rb+") as file:
            head = file.read(12)
    except FileNotFoundError:
        return False
    except IsADirectoryError as error:
        raise NotAJournal(f"{path} is a folder. Name a file in it: {path / 'journal.duckdb'}.") from error
    except OSError as error:
        raise _unwritable(path, f"{error.strerror or error}") from error
    if not head:
        return False
    if head[8:12] != _MAGIC:
        raise NotAJournal(
            f"{path} is not a journal: it is not a DuckDB database at all. It was left as it is. "
            "Move it away, or keep the journal elsewhere: rn.connect('other.duckdb')."
        )
    return True


def create(path: Path) -> None:
    """Make a new journal at *path*, whole or not at all.

    Raises:
        JournalUnwritable: a read-only folder, a full disk.
    """
    import duckdb

    fresh = path.with_name(path.name + ".new")
    try:
        fresh.unlink(missing_ok=True)
        Path(f"{fresh}.wal").unlink(missing_ok=True)
        orphan = Path(f"{path}.wal")
        if orphan.exists():  # of a journal that somebody deleted: it must not be replayed into this one
            orphan.replace(f"{orphan}.orphan")
        with duckdb.connect(str(fresh), config=CONFIG) as connection:
            apply_migrations(connection, path, None)
        put_in_place(fresh, path)
    except OSError as error:
        raise _unwritable(path, f"{error.strerror or error}") from error
    except duckdb.Error as error:
        fresh.unlink(missing_ok=True)
        raise explain(error, path) from error


def put_in_place(fresh: Path, path: Path) -> None:
    """Rename *fresh* to *path*, durably."""
    fresh.replace(path)
    _sync_folder(path.parent)


def apply_migrations(connection: duckdb.DuckDBPyConnection, path: Path, stop_at: int | None = None) -> None:
    """Check that the open database is ours (or empty) and bring its schema up to this code's, in one transaction.

    Args:
        connection: the database.
        path: what to call it in messages.
        stop_at: for tests: the last migration to apply.

    Raises:
        NotAJournal: it is somebody else's database.
        JournalNewer: it was written by a newer romancy_nb.
    """
    queries = sql.queries("duckdb")
    there = connection.execute(queries["schemas"]).fetchall()
    have, writer = 0, ""
    if ("romancy", "journal_meta") in there:
        facts = dict(connection.execute(queries["schema_version"]).fetchall())
        have, writer = int(facts.get("schema_version", 0)), facts.get("written_by", "")
    elif there:
        names = ", ".join(sorted({f"{schema}.{name}" if name else schema for schema, name in there})[:5])
        raise NotAJournal(
            f"{path} is a DuckDB database, but not a journal: it holds {names}. It was left as it is. "
            "Keep the journal in a file of its own: rn.connect('journal.duckdb') or ROMANCY_JOURNAL."
        )
    want = latest() if stop_at is None else stop_at
    if have > latest():
        raise JournalNewer(
            f"{path} was written by romancy_nb {writer or '(unknown)'} (journal version {have}); this is romancy_nb "
            f"{_our_version()}, which knows journals up to version {latest()}. Nothing was changed. "
            "Update here: pip install -U romancy_nb."
        )
    if have >= want:
        return
    connection.execute("begin")
    try:
        for number, text in sql.migrations("duckdb").items():
            if have < number <= want:
                connection.execute(text)
        if want == latest():
            connection.execute(sql.text("duckdb", "schema.sql"))
        connection.execute("delete from romancy.journal_meta where key in ('schema_version', 'written_by')")
        connection.execute(
            "insert into romancy.journal_meta values ('schema_version', ?), ('written_by', ?)",
            [str(want), _our_version()],
        )
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise


def explain(error: Exception, path: Path, doing: str = "") -> RomancyError:
    """Turn an error of DuckDB into the one that a person can act on; *doing* says at what it happened."""
    text = str(error).strip()
    low = text.lower()
    where = f"{path}{f', {doing}' if doing else ''}"
    if "could not set lock" in low or "being used by another process" in low:
        return HeldByDuckDB(
            f"The journal {path} is open in a program that does not share it (a duckdb shell, another tool). "
            f"Close it there and try again. DuckDB says: {_short(text)}"
        )
    if "different configuration" in low or "unique file handle conflict" in low:
        return HeldByDuckDB(
            f"This process has {path} open with duckdb.connect(). Close that connection: a journal is read with "
            "rn.sql(...)."
        )
    if "no space left" in low or "disk quota" in low or "file too large" in low:
        return JournalUnwritable(
            f"The disk is full: the journal {where} could not be written. What was journaled before is safe. "
            f"Make room, then go on. DuckDB says: {_short(text)}"
        )
    if "permission denied" in low or "read-only file system" in low or "read-only mode" in low:
        return _unwritable(path, _short(text))
    if "not a valid duckdb database" in low:
        return NotAJournal(f"{path} is not a DuckDB database. It was left as it is.")
    if "version number" in low or "newer version of duckdb" in low:
        return JournalNewer(
            f"{path} was written by a newer DuckDB than the one installed here. Nothing was changed. "
            f"Update here: pip install -U duckdb. DuckDB says: {_short(text)}"
        )
    if any(
        sign in low for sign in ("corrupt", "could not read", "checksum", "deseriali", "internal error", "wal file")
    ):
        return JournalDamaged(
            f"The journal {where}, cannot be read; the file was left as it is. Restore it from a copy, or move it away "
            f"and start a new one. DuckDB says: {_short(text)}"
        )
    return JournalError(f"The journal {where}: {_short(text)}")


def quoted(text: object) -> str:
    """Return *text* as SQL writes it."""
    return "'" + str(text).replace("'", "''") + "'"


def _unwritable(path: Path, reason: str) -> JournalUnwritable:
    return JournalUnwritable(
        f"The journal {path} cannot be written ({reason}). Make the folder and the file writable, or keep the journal "
        "elsewhere: rn.connect('/some/path/journal.duckdb') or the environment variable ROMANCY_JOURNAL."
    )


def _short(text: str) -> str:
    first = text.split("\n", 1)[0]
    return first if len(first) <= 300 else first[:299] + "…"


def _our_version() -> str:
    try:
        return version("romancy_nb")
    except PackageNotFoundError:
        return "unknown"


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    if os.name != "posix":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
