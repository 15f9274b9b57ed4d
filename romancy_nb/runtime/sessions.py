"""``ctx.session``: an attempt's writes to the journal's own database commit with its outcome, or not at all (S1, S2).

The session is a connection of its own with one transaction. It is begun on first use, on the activity's thread; the first
thing in it is a placeholder for the outcome, so that a write to another attached database fails at the user's own statement.
The engine's thread ends it: a completed attempt that still counts is put into the placeholder and committed, everything else is
rolled back. So the process may die anywhere: either both are there, or neither is.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.clock import monotonic
from romancy_nb.core.events import Event
from romancy_nb.definitions.ambient import ACTIVITY, ActivityFacts
from romancy_nb.errors import SessionError
from romancy_nb.journal.protocol import Journal
from romancy_nb.journal.statements import refusal

if TYPE_CHECKING:
    from romancy_nb.runtime.dispatcher import Attempt

__all__ = ["Result", "Session"]

_PATIENCE: Final = 0.3
"""Seconds that the engine waits for a statement to let go; after that, whoever executes it cleans up behind it."""


class Result:
    """What a statement of a session answered. It stays what it is when the next statement is executed."""

    def __init__(self, session: Session, cursor: Any) -> None:
        self._session = session
        self._cursor: Any = cursor
        self._kept: Iterator[tuple[Any, ...]] | None = None
        self.columns: tuple[str, ...] = tuple(str(column[0]) for column in cursor.description or ())
        """The names of its columns."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all (further) rows."""
        found: list[tuple[Any, ...]] = self._session._use(lambda: list(self._rows()))
        return found

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row, or None."""
        found: tuple[Any, ...] | None = self._session._use(
            lambda: self._cursor.fetchone() if self._kept is None else next(self._kept, None)
        )
        return found

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while (row := self.fetchone()) is not None:
            yield row

    def df(self) -> Any:
        """Return the rows as a pandas DataFrame. Before the session's next statement."""
        return self._session._use(lambda: self._still("df").df())

    def arrow(self) -> Any:
        """Return the rows as a pyarrow Table. Before the session's next statement."""

        def work() -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # DuckDB says that it copies; a table that outlives the session has to
                return self._still("arrow").to_arrow_table()

        return self._session._use(work)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._cursor.fetchall()) if self._kept is None else self._kept

    def _keep(self) -> None:
        """The connection is about to answer something else: what was not fetched yet is kept here."""
        if self._kept is None:
            self._kept = iter(self._cursor.fetchall() if self.columns else ())
            self._cursor = None

    def _still(self, what: str) -> Any:
        if self._kept is not None:
            raise self._session._refuse(
                f"has executed another statement since: call .{what}() on a result before the next one. Its rows are still "
                "there for .fetchall()"
            )
        return self._cursor


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
        self._connection: Any = journal.session()
        self._lock = threading.Lock()
        self._over = False
        self._begun = False
        self._latest: Any = None  # a weak reference: a result that nobody keeps need not be read
        self.closed = False

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] | None = None) -> Result:
        """Execute one statement (or several without parameters) and return what the last one answered.

        Args:
            sql: DuckDB's SQL.
            parameters: for its ``?``, or by name for its ``$name``.

        Raises:
            SessionError: it would end the transaction, leave the database, or write to the journal's own tables; or the
                attempt is over.
            duckdb.Error: as DuckDB says it. Unless you catch it, it fails the attempt, which is retried by its policy.
        """
        self._check(sql)

        def work() -> Result:
            self._begin()
            cursor = self._connection.execute(sql, parameters) if parameters else self._connection.execute(sql)
            found = Result(self, cursor)
            self._latest = weakref.ref(found)
            return found

        found: Result = self._use(work)
        return found

    def sql(self, query: str, parameters: Sequence[Any] | dict[str, Any] | None = None) -> Result:
        """The same as ``execute``, by the name that DuckDB's own users know."""
        return self.execute(query, parameters)

    def register(self, name: str, frame: Any) -> None:
        """Let statements of this session read a data frame (pandas, polars, pyarrow) as a view called *name*."""

        def work() -> None:
            self._begin()
            self._connection.register(name, frame)

        self._use(work)

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Execute one statement once for each of *parameters*."""
        self._check(sql)

        def work() -> None:
            self._begin()
            self._connection.executemany(sql, [list(each) for each in parameters])

        self._use(work)

    def append(self, table: str, frame: Any) -> None:
        """Append a data frame (pandas, polars, pyarrow) to *table*, by the names of its columns.

        Args:
            table: as it stands in SQL: with its schema if need be, in double quotes if its name needs them.
            frame: whose columns are all columns of the table.
        """

        def work() -> None:
            self._begin()
            self._connection.register("romancy_frame", frame)
            try:
                self._connection.execute(f"insert into {table} by name select * from romancy_frame")
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
            try:
                if self._over:
                    raise self._refuse(
                        "is over: the attempt was abandoned or has ended, and what it wrote was rolled back"
                    )
                return work()
            finally:
                if self._over:
                    self._undo()  # the engine gave it up in the middle of this statement

    def _begin(self) -> None:
        latest = self._latest() if self._latest is not None else None
        if latest is not None:
            latest._keep()
        if not self._begun:
            self._begun = True
            self._connection.execute("begin")
            place = [self._attempt.run, self._attempt.place]
            # an outcome of an earlier attempt can be there only when its event was declared void: a run that is retried
            self._connection.execute(
                "insert into romancy.outcomes values (?, ?, '') on conflict (run, call) do update set body = ''", place
            )

    def _check(self, sql: str) -> None:
        if (why := refusal(sql)) is not None:
            raise self._refuse(why)

    def _refuse(self, why: str) -> SessionError:
        return SessionError(f"The session of activity {self._attempt.activity.name} ({self._facts.instance_id}) {why}.")

    # -- the engine's side -------------------------------------------------------------------------------------------

    def commit(self, event: Event) -> None:
        """Commit what was written, with *event* as the outcome. On the engine's thread, after the attempt has ended.

        Raises:
            SessionError: a statement of it is still executed.
            duckdb.Error: it cannot be committed; unless the disk failed, nothing of it is.
        """
        if not self._lock.acquire(timeout=_PATIENCE):
            self.roll_back()
            raise self._refuse("was still executing a statement, on another thread, when its activity had returned")
        try:
            self._over = True
            if self._begun:
                self._journal.settle(self._connection, self._attempt.run, event)
        finally:
            self._close()
            self._lock.release()

    def roll_back(self) -> None:
        """Take back what was written; an attempt that still runs meets ``SessionError`` at its next statement.

        An attempt in the middle of a statement that cannot be interrupted does not hold up the engine: the statement's own
        thread rolls back behind it, and until then ``closed`` is False.
        """
        self._over = True
        until = monotonic() + _PATIENCE
        while not self._lock.acquire(timeout=0.02):
            with suppress(Exception):
                self._connection.interrupt()
            if monotonic() > until:
                return
        try:
            self._undo()
        finally:
            self._lock.release()

    @property
    def over(self) -> bool:
        """True once it was given up or committed."""
        return self._over

    def _undo(self) -> None:
        if self._begun and not self.closed:
            with suppress(Exception):
                self._connection.execute("rollback")
        self._close()

    def _close(self) -> None:
        latest, self._latest = self._latest and self._latest(), None
        with suppress(Exception):
            self._connection.close()
        # whoever still has the session or a result, be it a thread that ends with the process, does not keep the database
        self._connection = None
        if latest is not None:
            latest._cursor = None
        self.closed = True
