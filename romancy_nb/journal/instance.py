"""DuckDB itself, kept for as long as a journal object lives; the file is attached to it while we hold the lock.

Making an instance costs 12 ms and ending one another 4 to 11; attaching a file to one that is there costs 1 ms. DuckDB's own
lock on the file lasts from attach to detach, and a detach checkpoints, as closing does.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from romancy_nb.journal import migrate

if TYPE_CHECKING:
    import duckdb

__all__ = ["Instance", "keep_for_ever"]


class Instance:
    """One DuckDB without a file of its own. It is made when it is first needed, and anew after ``end``."""

    def __init__(self, path: Path) -> None:
        """*path* is the journal's."""
        self._path = path
        self._root: duckdb.DuckDBPyConnection | None = None
        self._attached = False
        self._lent = False

    def attach(self) -> None:
        """Open the journal's file.

        Raises:
            duckdb.Error: as DuckDB says it.
        """
        # without a version: the file keeps the one that it was made with
        self._duckdb().execute(f"attach {migrate.quoted(self._path)} as {migrate.CATALOG} (type duckdb)")
        self._attached = True

    def cursor(self, *, lend: bool = False) -> duckdb.DuckDBPyConnection:
        """A connection for which the journal is the default database.

        Args:
            lend: to somebody else, who may use it still when we detach.
        """
        cursor = self._duckdb().cursor()
        cursor.execute(f"use {migrate.CATALOG}")
        self._lent = self._lent or lend
        return cursor

    def detach(self) -> None:
        """Close the file, if it is open; what DuckDB says at this point is of no use to anybody.

        While anything of it is in use (a transaction, a result that is not read to its end), DuckDB keeps the file open and
        locked, and closes it behind the last of them.
        """
        attached, self._attached = self._attached, False
        if attached and self._root is not None:
            try:
                self._root.execute(f"detach {migrate.CATALOG}")
            except Exception:
                self.end()

    def see_it_given_back(self) -> None:
        """Is who had a cursor done with the file? Till then nobody may even look at it, or DuckDB's lock is gone (D1).

        Raises:
            HeldByDuckDB: it is still in use.
        """
        if not self._lent:
            return
        try:
            self._duckdb().execute(f"attach {migrate.quoted(self._path)} as lent (type duckdb, read_only)")
            self._duckdb().execute("detach lent")
        except Exception as error:
            if "unique file handle conflict" in str(error).lower():
                raise migrate.HeldByDuckDB(
                    f"The journal {self._path} is still in use in this process: by an activity's session that is ending, or "
                    "by a connection of duckdb.connect(). Close that one: a journal is read with rn.sql(...)."
                ) from error
            self.end()  # whatever else it is, opening it says so
        self._lent = False

    def end(self) -> None:
        """Throw it away, and with it whatever state it is in."""
        root, self._root, self._attached = self._root, None, False
        if root is not None:
            with suppress(Exception):
                root.close()

    def abandon(self) -> None:
        """In a forked child: it is the parent's."""
        keep_for_ever(self._root)
        self._root, self._attached, self._lent = None, False, False

    def _duckdb(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        if self._root is None:
            # what does not fit into memory goes where it would go if the file had been opened by itself
            self._root = duckdb.connect(config={**migrate.CONFIG, "temp_directory": f"{self._path}.tmp"})
        return self._root


def keep_for_ever(thing: Any) -> None:
    """In a forked child: do not touch the parent's database, not even by collecting *thing* as garbage."""
    if thing is not None and sys.implementation.name == "cpython":
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))  # its destructor would write a checkpoint
