"""The journal in a DuckDB file.

How a turn is written: all its events are rows of one table, appended and flushed by DuckDB's native appender. In
autocommit mode that flush is one transaction with one fdatasync, all or nothing. Only a turn that brings something to
be kept apart (a binary part, a long text) begins and commits explicitly, which costs 0.3 ms more.

Whose file it is: ours from ``acquire`` to ``release`` (see ``locking.py``); for that time it is attached to a DuckDB that is
there already (see ``instance.py``). When anything goes wrong in between, that one is thrown away and made anew by whatever
needs it next; DuckDB's state after a failed write is not worth guessing about (X5).
"""

from __future__ import annotations

import json
import os
import time
import weakref
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from romancy_nb import clock
from romancy_nb.core.events import OUTCOME_RECORDED, WAIT_STARTED, Event
from romancy_nb.errors import JournalDamaged, JournalError, NotJournalable, RomancyError
from romancy_nb.journal import forgetting, letters, locking, migrate, rows, sql
from romancy_nb.journal.heads import HeadIndex
from romancy_nb.journal.instance import Instance, keep_for_ever
from romancy_nb.journal.locking import FileLock
from romancy_nb.journal.protocol import Batch, Head, Letter, Row, Table
from romancy_nb.journal.reading import answer
from romancy_nb.payloads.payload import Payload

if TYPE_CHECKING:
    import duckdb

__all__ = ["DuckDBJournal"]

_REMEMBERED: Final = 4096  # digests of payloads that are known to be stored
_RETRY_FOREIGN: Final = 0.05
_open: weakref.WeakSet[DuckDBJournal] = weakref.WeakSet()


class DuckDBJournal:
    """One journal file. Implements :class:`romancy_nb.journal.protocol.Journal`; used from one thread."""

    def __init__(self, path: str | os.PathLike[str], *, holder: Mapping[str, Any] | None = None) -> None:
        """Nothing is opened or created before ``acquire``.

        Args:
            path: the file. Symbolic links are followed, so that two names of one file are one journal.
            holder: facts about this process for those who find the file busy: pid, notebook, since.
        """
        self._path = Path(os.path.realpath(Path(path).expanduser()))
        facts: dict[str, Any] = {
            "pid": os.getpid(),
            "since": clock.from_us(clock.now_us()).isoformat(timespec="seconds"),
        }
        facts.update(holder or {})
        self._lock = FileLock(self._path, facts)
        self._instance = Instance(self._path)
        self._connection: duckdb.DuckDBPyConnection | None = None  # writes
        self._reader: duckdb.DuckDBPyConnection | None = None
        self._appender: Any = None
        self._apart: Any = None  # the appender of stored_payloads
        self._heads = HeadIndex(self._ask)
        self._stored: OrderedDict[tuple[str, bool], None] = OrderedDict()
        self._left_at: tuple[Any, ...] | None = None  # what the file looked like when we let go
        self._opened: tuple[int, int] | None = None  # which file it is that we have open
        self._queries = sql.queries("duckdb")
        _open.add(self)

    # -- holding -----------------------------------------------------------------------------------------------------

    @property
    def where(self) -> str:
        """The path, for messages."""
        return str(self._path)

    @property
    def held(self) -> bool:
        """True between ``acquire`` and ``release``."""
        return self._lock.held

    def acquire(self, wait: float | None) -> bool:
        """Take the file, waiting up to *wait* seconds (None: for ever); make or migrate it when needed.

        Returns True when somebody else may have written since the last ``release``.

        Raises:
            JournalBusy: it is still held elsewhere; the message names the holder.
            JournalNewer, NotAJournal, JournalDamaged, JournalUnwritable: what they say.
            JournalError: another object in this process has it.
        """
        if self.held:
            return False
        deadline = None if wait is None else clock.monotonic() + wait
        migrate.prepare_folder(self._path)
        while True:
            left = None if deadline is None else max(0.0, deadline - clock.monotonic())
            self._lock.take(left)
            try:
                foreign = self._look() != self._left_at or self._left_at is None
                self._open(check=foreign, known=not foreign)
            except migrate.HeldByDuckDB:
                # a shell that knows nothing of our lock has it: give way to others while we wait for that one
                self._close()
                self._lock.give_back()
                if deadline is not None and clock.monotonic() >= deadline:
                    raise
                time.sleep(_RETRY_FOREIGN)
                continue
            except BaseException:
                self._close()
                self._lock.give_back()
                raise
            if foreign:
                self._heads.stale = True
                self._stored.clear()
            return foreign

    def release(self, *, for_good: bool = False) -> None:
        """Close the file and let go of it. Harmless when not held."""
        if self.held:
            try:
                self._close()
                left, known = self._look(), self._opened is not None and locking.which(self._path) == self._opened
                self._left_at = left if known else None  # deleted or replaced, perhaps while it was being closed
            finally:
                self._lock.give_back()
        if for_good:
            self._instance.end()

    def wanted(self) -> bool:
        """True when another process waits for the file and we have had it for a tenth of a second. One ``os.stat``."""
        return self.held and self._lock.wanted()

    def foreign(self) -> bool:
        """True when the file is not the one that we know: deleted or replaced while we hold it, or written to since."""
        if not self.held:
            return self._left_at is None or self._look() != self._left_at
        return self._opened is not None and locking.which(self._path) != self._opened

    # -- writing -----------------------------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> None:
        """Write *batch* durably, all or nothing.

        Its fences are not looked at: while we hold the file nobody takes a run over.

        Raises:
            JournalUnwritable, JournalDamaged, JournalError: it may or may not be in; ask ``committed`` (X5).
            NotJournalable: a text in it cannot be stored (half a surrogate pair); it is not in.
        """
        if not batch.rows and not batch.taken and not batch.posted:
            return
        encoded = [rows.encode(row, batch.turn) for row in batch.rows]
        try:
            self._use()
            connection = self._connection
            assert connection is not None
            carried = [Row(0, 0, letter.event) for letter in batch.posted if letter.event is not None]
            apart = self._to_store([*batch.rows, *carried], batch.texts)
            if not apart and not batch.taken and not batch.posted:
                self._appender.append_rows(encoded)
                self._appender.flush()
            else:
                connection.execute("begin")
                if apart:
                    if self._apart is None:
                        self._apart = connection.appender("romancy.stored_payloads")
                    self._apart.append_rows(apart)
                    self._apart.flush()
                self._appender.append_rows(encoded)
                self._appender.flush()
                if batch.taken:
                    connection.execute(
                        "delete from romancy.inbox where id in (select unnest(?::bigint[]))", [batch.taken]
                    )
                if batch.posted:
                    values = [letters.as_values(letter) for letter in batch.posted]
                    connection.executemany("insert into romancy.inbox values (?, ?, ?, ?)", values)
                connection.execute("commit")
        except BaseException as error:
            self._drop()
            if isinstance(error, RomancyError) or not isinstance(error, Exception):
                raise
            if "surrogate" in str(error):
                raise NotJournalable(f"A text cannot be stored because it is not valid Unicode: {error}") from error
            raise migrate.explain(error, self._path, "writing") from error
        for digest, _, _, packing, _ in apart:
            self._remember(digest, packing == rows.TEXT)
        self._heads.follow(batch.rows)

    def committed(self, turn: int) -> bool:
        """Did the batch with this turn number get in?"""
        return bool(self._ask("turn", (str(turn),)))

    def forget(self, runs: Collection[int], at: int) -> int:
        """Take the payloads of *runs* out and give their space back; return how many bytes the file shrank by.

        Raises:
            JournalUnwritable, JournalDamaged, JournalError: it could not be done; the journal is as it was.
        """
        self._use()
        assert self._connection is not None
        before = self._path.stat().st_size
        try:
            forgetting.forget(self._connection, runs, at)
            self._drop()
            migrate.put_in_place(forgetting.compact(self._path, migrate.CONFIG), self._path)
            self._opened = locking.which(self._path)  # that it is another file is our doing
        except Exception as error:
            self._drop()
            raise migrate.explain(error, self._path, "forgetting") from error
        return before - self._path.stat().st_size

    def post(self, letter: Letter) -> None:
        """Put a letter into the inbox, durably.

        Raises:
            JournalUnwritable, JournalDamaged, JournalError: it could not be written.
        """
        self.commit(Batch(0, posted=[letter]))

    def letters(self) -> list[Letter]:
        """All that nobody has taken up yet, in the order in which they came."""
        found = [(id, run, kind, json.loads(facts)) for id, run, kind, facts in self._ask("inbox", ())]
        events = self._decoded({0: letters.bodies(found)}, True)[0]
        return letters.read(found, [row.event for row in events])

    def arrived(self, runs: Sequence[int], event_id: str) -> bool:
        """Has an event with this id arrived in one of *runs* (keys)?"""
        return bool(self._ask("arrived", (list(runs), event_id)))

    def run_heads(self, runs: Sequence[int]) -> dict[int, Head]:
        """The heads of those of *runs* (keys) that exist."""
        return self._heads.of_runs(runs)

    def subscriptions(self) -> list[tuple[int, str, str]]:
        """Run, channel and mode of every subscription there ever was, in the order in which they came."""
        return [(run, channel, mode or "broadcast") for run, channel, mode in self._ask("subscriptions", ())]

    def last_wait(self, run: int, name: str) -> Event | None:
        """The newest wait of *run* for events with this name, open or not."""
        found = [(0, WAIT_STARTED, body) for (body,) in self._ask("last_wait", (run, name))]
        texts, _ = rows.references([body for _, _, body in found], parts=False)
        return next((row.event for row in rows.decode(run, found, self._texts(texts) if texts else {}, None)), None)

    def asking(self, runs: Sequence[int]) -> list[tuple[int]]:
        """Which of *runs* have ever asked a person anything."""
        return [(key,) for (key,) in self._ask("asking", (list(runs),))] if runs else []

    # -- sessions ----------------------------------------------------------------------------------------------------

    def session(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the open database, for one attempt of an activity."""
        self._use()
        return self._instance.cursor(lend=True)

    def settle(self, session: duckdb.DuckDBPyConnection, run: int, event: Event) -> None:
        """Put an outcome into the transaction of *session*, whose placeholder is there already, and commit it.

        Raises:
            duckdb.Error: as the database says it: a conflict with another session, a full disk.
        """
        row = Row(run, 0, event)
        for item in self._to_store([row]):
            session.execute("insert into romancy.stored_payloads values (?, ?, ?, ?, ?)", item)
        body = rows.encode(row, 0)[3]
        session.execute("update romancy.outcomes set body = ? where run = ? and call = ?", [body, run, event.call])
        session.execute("commit")

    def outcomes(self, run: int) -> list[Event]:
        """What was settled in *run*, as outcome_recorded events."""
        found = [(0, OUTCOME_RECORDED, body) for (body,) in self._ask("outcomes", (run,)) if body]
        return [row.event for row in self._decoded({run: found}, True)[run]]

    # -- reading -----------------------------------------------------------------------------------------------------

    def heads(self, instances: Sequence[str]) -> dict[str, Head]:
        """The newest run of each of *instances* that exists."""
        return self._heads.newest(instances)

    def runs(self, instance: str, since: int = 1) -> list[Head]:
        """The runs of *instance* from number *since* on, oldest first."""
        return self._heads.of_instance(instance, since)

    def unfinished(self) -> list[Head]:
        """The newest run of every instance whose newest run has not ended."""
        return self._heads.unfinished()

    def known(self) -> list[str]:
        """The instances that are in memory, oldest first; does not open the journal. Any thread may call this."""
        return self._heads.known()

    def moved(self, epochs: Mapping[int, int]) -> set[int]:
        """Which of the runs in *epochs* (run key -> my epoch) were taken up by somebody else since, or are not there."""
        now = self._heads.epochs(epochs)
        return {run for run, epoch in epochs.items() if now.get(run, epoch + 1) > epoch}

    def load(self, run: int, *, parts: bool = True, place: str | None = None) -> list[Row]:
        """The history of *run* in order, or that of one call; with *parts* false, binary parts come without their data.

        Raises:
            JournalDamaged: a payload that an event refers to is not there.
        """
        found = self._ask("history", (run,)) if place is None else self._ask("of_call", (run, place))
        return self._decoded({run: found}, parts)[run]

    def histories(self, runs: Sequence[int]) -> dict[int, list[Row]]:
        """The histories of *runs* that exist.

        Raises:
            JournalDamaged: a payload that an event refers to is not there.
        """
        found: dict[int, list[tuple[Any, ...]]] = {}
        for run, *row in self._ask("histories", (list(runs),)):
            found.setdefault(run, []).append(tuple(row))
        return self._decoded(found, True)

    def results(self, runs: Sequence[int]) -> dict[int, Payload]:
        """What those of *runs* that have completed returned."""
        found = (
            {run: [(seq, kind, body)] for run, seq, kind, body in self._ask("results", (list(runs),))} if runs else {}
        )
        ends = self._decoded(found, True)
        return {run: rows[0].event.payload for run, rows in ends.items() if rows[0].event.payload is not None}

    def text(self, digest: str) -> str:
        """A JSON text that was kept beside the rows; empty: there is none."""
        return str(dict(self._ask("texts", ([digest],))).get(digest, ""))

    def part(self, digest: str) -> bytes:
        """The data of one binary part.

        Raises:
            JournalDamaged: it is not there.
        """
        return self._parts({digest})[digest]

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Answer one read-only statement over the public views, which need no schema in front.

        Raises:
            JournalError: it would write, it is not one statement, or DuckDB cannot answer it; the message says which.
        """
        return answer(self._use(), sql, parameters)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _use(self) -> duckdb.DuckDBPyConnection:
        """The connection that reads; both are opened anew after a failure."""
        if self._reader is None:
            if not self.held:
                raise JournalError(f"The journal {self._path} is not held: acquire() comes first.")
            self._open(check=False)
        assert self._reader is not None
        return self._reader

    def _open(self, *, check: bool, known: bool = False) -> None:
        """Open the file.

        Args:
            check: whether it is a journal, and up to date.
            known: it is as we left it, so its header need not be looked at.
        """
        import duckdb

        self._instance.see_it_given_back()
        if not known and not migrate.check_header(self._path):
            migrate.create(self._path)
            check = True
        try:
            self._instance.attach()
            self._opened = locking.which(self._path)
            self._connection = self._instance.cursor()
            if check:
                migrate.apply_migrations(self._connection, self._path)
            self._reader = self._instance.cursor()
            # each flush is planned like a query, and its plan has nothing to optimise: a tenth of a commit's time
            self._connection.execute("pragma disable_optimizer")
            self._appender = self._connection.appender("romancy.history_rows")
        except BaseException as error:
            self._close()
            told = migrate.explain(error, self._path, "opening") if isinstance(error, duckdb.Error) else None
            if isinstance(told, migrate.HeldByDuckDB):
                raise told from error
            self._instance.end()  # whatever it met in there must not be met again in another file of that name
            if told is not None:
                raise told from error
            raise

    def _close(self) -> None:
        """Close the file, if it is open."""
        # the appenders first: one that lives keeps the file open behind a closed connection
        self._appender = self._apart = None
        connections = self._reader, self._connection
        self._reader = self._connection = None
        for connection in connections:
            if connection is not None:
                with suppress(Exception):
                    connection.close()
        self._instance.detach()

    def _drop(self) -> None:
        """After a failure: close, and remember nothing that may not be so."""
        for appender in (self._apart, self._appender):
            if appender is not None:
                with suppress(Exception):
                    appender.clear()  # or its destructor would try to write the rest
        self._close()
        self._instance.end()
        self._heads.forget()
        self._stored.clear()

    def _ask(self, name: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        import duckdb

        connection = self._use()
        try:
            return connection.execute(self._queries[name], list(parameters)).fetchall()
        except duckdb.Error as error:
            self._drop()
            raise migrate.explain(error, self._path, "reading") from error

    def _to_store(
        self, batch: Sequence[Row], texts: Mapping[str, str] | None = None
    ) -> list[tuple[str, str, int, str, bytes]]:
        """The rows for stored_payloads that *batch* needs: each content once, and nothing that is stored already."""
        new: dict[tuple[str, bool], rows.Stored] = {}
        for item in rows.stored(batch, texts):
            key = (item.digest, item.text)
            if key in self._stored:
                self._stored.move_to_end(key)
            elif key not in new or new[key].data is None:
                new[key] = item
        if not new:
            return []
        for known in self._ask("known", ([digest for digest, _ in new],)):
            if new.pop(known, None) is not None:
                self._remember(*known)
        packed = []
        for item in new.values():
            if item.data is None:
                raise JournalError(
                    f"A payload names the part {item.digest}, whose data is neither given nor in {self._path}."
                )
            packed.append(rows.pack(item, item.data))
        return packed

    def _remember(self, digest: str, text: bool) -> None:
        self._stored[digest, text] = None
        self._stored.move_to_end((digest, text))
        if len(self._stored) > _REMEMBERED:
            self._stored.popitem(last=False)

    def _decoded(self, found: Mapping[int, Sequence[tuple[Any, ...]]], parts: bool) -> dict[int, list[Row]]:
        texts, binary = rows.references([body for each in found.values() for _, _, body in each], parts=parts)
        long_texts = self._texts(texts) if texts else {}
        data = self._parts(binary) if binary else {}
        return {run: rows.decode(run, each, long_texts, data if parts else None) for run, each in found.items()}

    def _texts(self, digests: set[str]) -> dict[str, str]:
        found: dict[str, str] = dict(self._ask("texts", (sorted(digests),)))
        self._complete(digests, found)
        return found

    def _parts(self, digests: set[str]) -> dict[str, bytes]:
        found = {digest: rows.unpack(packing, data) for digest, packing, data in self._ask("parts", (sorted(digests),))}
        self._complete(digests, found)
        return found

    def _complete(self, wanted: set[str], found: Mapping[str, Any]) -> None:
        if missing := wanted - found.keys():
            raise JournalDamaged(f"The journal {self._path} refers to payload {min(missing)}, which it does not hold.")

    def _look(self) -> tuple[Any, ...]:
        """What the file looks like from outside. ``stat`` does not open it (D1)."""
        return locking.look(self._path)

    def _abandon(self) -> None:
        """In a forked child: never touch the parent's database, not even by collecting it as garbage."""
        for thing in (self._appender, self._apart, self._reader, self._connection):
            keep_for_ever(thing)
        self._appender = self._apart = self._reader = self._connection = None
        self._instance.abandon()
        self._heads.forget()
        self._left_at = None


def _after_fork() -> None:
    for journal in list(_open):
        journal._abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
