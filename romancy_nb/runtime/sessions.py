"""``ctx.session``: an attempt's writes to the journal's own database commit with its outcome, or not at all (S1, S2).

The session is a connection of its own with one transaction. It is begun on first use, on the activity's thread; the first
thing in it is a placeholder for the outcome, so that a write to another attached database fails at the user's own statement.
The engine's thread ends it: a completed attempt that still counts is put into the placeholder and committed, everything else is
rolled back. So the process may die anywhere: either both are there, or neither is.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.core.events import Event
from romancy_nb.definitions.ambient import ACTIVITY, ActivityFacts
from romancy_nb.errors import SessionError
from romancy_nb.journal import statements
from romancy_nb.journal.protocol import Journal

if TYPE_CHECKING:
    from romancy_nb.runtime.dispatcher import Attempt

__all__ = ["Result", "Session"]

_OURS: Final = re.compile(r'\bromancy"?\s*\.', re.IGNORECASE)
_READS: Final = frozenset({"SELECT", "EXPLAIN", "CALL", "RELATION"})
_WRITES: Final = frozenset(
    {"INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "COPY", "VACUUM", "ANALYZE", "CREATE_FUNC", "MERGE_INTO", "PREPARE",
     "EXECUTE"}
)  # fmt: skip


class Result:
    """What a statement of a session answered."""

    def __init__(self, session: Session, cursor: Any) -> None:
        self._session = session
        self._cursor = cursor

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all (further) rows."""
        found: list[tuple[Any, ...]] = self._session._use(self._cursor.fetchall)
        return found

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row, or None."""
        found: tuple[Any, ...] | None = self._session._use(self._cursor.fetchone)
        return found

    def df(self) -> Any:
        """Return the rows as a pandas DataFrame."""
        return self._session._use(self._cursor.df)

    def arrow(self) -> Any:
        """Return the rows as a pyarrow Table."""
        found = self._session._use(self._cursor.arrow)
        return found.read_all() if hasattr(found, "read_all") else found


class Session:
    """The journal's own database, for the time of one attempt. From ``rn.context().session``.

    What is written through it and the record of the step are one transaction. Your tables live in the default schema; the
    journal's views can be read as ``romancy.steps`` and so on.

    Example:
        >>> @rn.activity  # doctest: +SKIP
        ... def book_keeping(order: str, amount: float) -> None:
        ...     session = rn.context().session
        ...     session.execute("create table if not exists ledger (order_id varchar, amount double)")
        ...     session.execute("insert into ledger values (?, ?)", [order, amount])
    """

    def __init__(self, journal: Journal, attempt: Attempt) -> None:
        self._journal = journal
        self._attempt = attempt
        self._facts: ActivityFacts = attempt.facts
        self._connection = journal.session()
        self._lock = threading.Lock()
        self._over = False
        self._begun = False

    def execute(self, sql: str, parameters: Sequence[Any] | None = None) -> Result:
        """Execute one statement (or several without parameters) and return what the last one answered.

        Args:
            sql: DuckDB's SQL.
            parameters: for its ``?``.

        Raises:
            SessionError: it would end the transaction, leave the database, or write to the journal's own tables; or the
                attempt is over.
            duckdb.Error: as DuckDB says it. Unless you catch it, it fails the attempt, which is retried by its policy.
        """
        self._check(sql)

        def work() -> Result:
            self._begin()
            cursor = self._connection.execute(sql, list(parameters)) if parameters else self._connection.execute(sql)
            return Result(self, cursor)

        found: Result = self._use(work)
        return found

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Execute one statement once for each of *parameters*."""
        self._check(sql)

        def work() -> None:
            self._begin()
            self._connection.executemany(sql, [list(each) for each in parameters])

        self._use(work)

    def append(self, table: str, frame: Any) -> None:
        """Append a data frame (pandas, polars, pyarrow) to *table*, by the names of its columns."""

        def work() -> None:
            self._begin()
            self._connection.register("romancy_frame", frame)
            try:
                name = ".".join(f'"{part}"' for part in table.split("."))
                self._connection.execute(f"insert into {name} by name select * from romancy_frame")
            finally:
                self._connection.unregister("romancy_frame")

        self._check(f"insert into {table} values (1)")
        self._use(work)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _use(self, work: Any) -> Any:
        if ACTIVITY.get() is not self._facts:
            raise self._refuse(
                "is used outside the attempt that it belongs to. Ask for rn.context().session where you need it"
            )
        with self._lock:
            if self._over:
                raise self._refuse("is over: the attempt was abandoned or has ended, and what it wrote was rolled back")
            return work()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._connection.execute("begin")
            place = [self._attempt.run, self._attempt.place]
            self._connection.execute("insert into romancy.outcomes values (?, ?, '')", place)

    def _check(self, sql: str) -> None:
        for kind, text in statements.kinds(sql):
            if kind not in _READS | _WRITES:
                raise self._refuse(
                    f"does not take {kind.replace('_', ' ')} statements: the engine begins and ends its transaction, together with "
                    "the step's record"
                )
            if kind in _WRITES and _OURS.search(text):
                raise self._refuse("does not write to the schema `romancy`, which is the journal itself")

    def _refuse(self, why: str) -> SessionError:
        return SessionError(f"The session of activity {self._attempt.activity.name} ({self._facts.instance_id}) {why}.")

    # -- the engine's side -------------------------------------------------------------------------------------------

    def commit(self, event: Event) -> None:
        """Commit what was written, with *event* as the outcome. On the engine's thread, after the attempt has ended.

        Raises:
            duckdb.Error: it cannot be committed; nothing of it is.
        """
        with self._lock:
            self._over = True
            try:
                if self._begun:
                    self._journal.settle(self._connection, self._attempt.run, event)
            finally:
                self._close()

    def roll_back(self) -> None:
        """Take back what was written; an attempt that still runs meets ``SessionError`` at its next statement."""
        if not self._lock.acquire(blocking=False):
            with suppress(Exception):
                self._connection.interrupt()  # an abandoned attempt is in the middle of a statement
            self._lock.acquire()
        try:
            self._over = True
            if self._begun:
                with suppress(Exception):
                    self._connection.execute("rollback")
            self._close()
        finally:
            self._lock.release()

    def _close(self) -> None:
        with suppress(Exception):
            self._connection.close()
