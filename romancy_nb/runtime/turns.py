"""What a turn makes durable, what it does after that, and what becomes of it when it cannot be written (X5)."""

from __future__ import annotations

import logging
from secrets import randbits

from romancy_nb.clock import monotonic
from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.errors import JournalError, NotJournalable, RomancyError
from romancy_nb.journal.protocol import Batch, Row
from romancy_nb.runtime import endings
from romancy_nb.runtime.dispatcher import Attempt
from romancy_nb.runtime.inbox import Finished, Posted, Tell, Waiter
from romancy_nb.runtime.live import LiveRun
from romancy_nb.runtime.state import State

__all__ = ["Turns"]

log = logging.getLogger("romancy_nb")


class Turns(State):
    """The layer that writes."""

    def record(self, run: LiveRun, events: list[Event]) -> None:
        if run.unsaved and events:  # in order, behind what could not be written yet
            run.unsaved += [kept for event in events if (kept := endings.as_record(event)) is not None]
            return
        if events:
            self._touched[run.key] = run
        for event in events:
            self._rows.append(Row(run.key, run.next_seq, event))
            run.next_seq += 1

    def _commit(self) -> None:
        """Make the turn durable, then let it have its effects."""
        if self._rows or self._taken or self._posted:
            self.hold()
            taken = [letter.id for letter in self._taken]
            batch = Batch(randbits(62), self._rows, taken=taken, posted=self._posted, texts=self._texts)
            refused: dict[int, RomancyError] = {}
            try:
                self.journal.commit(batch)
            except JournalError as error:
                # its outcome may be unknown: ask, and if it did not get in, try once more on a fresh connection (X5)
                log.warning("a commit failed and is tried once more: %s", error)
                for session in self.sessions:  # the file is not let go of with one open; their attempts are tried again
                    session.roll_back()
                self.journal.release()
                self.hold()
                if not self.journal.committed(batch.turn):
                    self.journal.commit(batch)
            except RomancyError:
                refused = self._commit_apart()
            self._rows, self._taken, self._posted, touched, self._touched = [], [], [], self._touched, {}
            self._texts = {}
            for key, reason in refused.items():
                self._fail_run(touched[key], [row for row in batch.rows if row.run == key], reason)
            if self.taps:
                self.taps.passed(batch.rows, refused)
        after, self._after = self._after, []
        for act in after:
            if isinstance(act, Attempt):
                self._dispatch(act)
            elif isinstance(act, Tell):
                act.waiter.tell(act.message)
            else:
                act()
        if after:
            self._dispatcher.flush()

    def _commit_apart(self) -> dict[int, RomancyError]:
        """The batch was refused because of what is in it: commit each run's rows by themselves (X5).

        Returns the runs that were refused, with the reason.
        """
        runs: dict[int, list[Row]] = {}
        for row in self._rows:
            runs.setdefault(row.run, []).append(row)
        letters: dict[int, list[int]] = {}
        for letter in self._taken:
            letters.setdefault(self._took.get(letter.id, 0), []).append(letter.id)
        others = [each for key, found in letters.items() if key not in runs for each in found]
        if self._posted or others:  # who sent was told that it is kept, or is about to be
            self.journal.commit(Batch(randbits(62), taken=others, posted=self._posted))
        refused: dict[int, RomancyError] = {}
        for key, rows in runs.items():
            try:
                self.journal.commit(Batch(randbits(62), rows, taken=letters.get(key, []), texts=self._texts))
            except JournalError:
                raise
            except RomancyError as error:
                refused[key] = error
                for each in letters.get(key, []):
                    self._took.pop(each, None)  # it is in the inbox still, and comes again
            else:
                self._rows = [row for row in self._rows if row.run != key]
        return refused

    def commit_now(self) -> None:
        """Make what this turn has so far durable, before history is loaded."""
        self.hold()
        self._commit()

    def _journal_failed(self, error: JournalError) -> None:
        """The journal cannot be written: nothing is dispatched, no one is told of success, and outcomes stay in memory.

        They are written with the first turn that can be (X5); the runs wait for somebody to call them again.
        """
        rows, touched = self._drop_turn()
        if self.stopped:
            return
        log.error("%s", error)
        for key, run in touched.items():
            self._fail_run(run, [row for row in rows if row.run == key], error)

    def _drop_turn(self) -> tuple[list[Row], dict[int, LiveRun]]:
        """Forget what this turn was to write. Letters that it took up come again, unless they have left the journal's inbox."""
        rows, touched, taken = self._rows, self._touched, self._taken
        self._rows, self._touched, self._taken, self._posted = [], {}, [], []
        self.channels.stale = True
        for letter in taken:
            self._took.pop(letter.id, None)
            self._in_question.add(letter.id)
            self.inbox.put(Posted(letter))
        return rows, touched

    def _fail_run(self, run: LiveRun, rows: list[Row], error: RomancyError) -> None:
        """What the turn had to say of *run* could not be written: it is put down, and its outcomes are kept in memory."""
        outcomes = [event for row in rows if (event := endings.as_record(row.event)) is not None]
        waiting = [d for d in [*run.sent, *run.pending] if d.kind in ev.OUTCOMES and d.place not in run.noted]
        outcomes += [endings.recorded(delivery) for delivery in waiting]
        run.sent, run.pending = [], []
        run.trouble = error
        self.put_down(run)
        run.host, run.status, run.ended, run.opening, run.build = None, "paused", None, [], None
        run.finished = False
        if not isinstance(error, NotJournalable):
            run.unsaved += outcomes
        if run.unsaved and not self._unsaved_since:
            self._unsaved_since = monotonic()
        for waiter in self._drop_acts(run):
            waiter.tell(Finished(error=error))
        if (rows and rows[0].seq == 1) or run.replay_only:  # nobody knows of it
            self.forget(run)
        else:
            self.live[run.key] = run
            self.newest.setdefault(run.instance, run)

    def _drop_acts(self, run: LiveRun) -> list[Waiter]:
        """Nothing that the turn was to do for *run* is done. Returns who waits for it, who now has to be told something else."""
        told = [act.waiter for act in self._after if isinstance(act, Tell) and act.run is run]
        self._after = [
            act
            for act in self._after
            if not (isinstance(act, Tell) and act.run is run) and not (isinstance(act, Attempt) and act.run == run.key)
        ]
        waiters, run.waiters = [*run.waiters, *told], []
        return list(dict.fromkeys(waiters))

    def _save_unsaved(self) -> None:
        """Try again to write what an earlier turn could not."""
        if self._unsaved_since and monotonic() - self._unsaved_since > 1.0:
            for run in list(self.live.values()):
                if run.unsaved:
                    self.save(run)

    def save(self, run: LiveRun) -> None:
        """Write the outcomes of *run* that an earlier turn could not.

        Raises:
            JournalError: it cannot be done now either; they are kept.
        """
        self._unsaved_since = monotonic()
        self.hold()
        self._commit()
        history = self.journal.load(run.key, parts=False)
        known = {row.event.call for row in history if row.event.kind in {ev.ACTIVITY_COMPLETED, ev.ACTIVITY_FAILED}}
        events = [event for event in run.unsaved if event.kind != ev.OUTCOME_RECORDED or event.call not in known]
        run.next_seq, run.unsaved = history[-1].seq + 1, []
        self.record(run, events)
        self._commit()
        if not any(other.unsaved for other in self.live.values()):
            self._unsaved_since = 0.0

    def _give_up_turn(self, bug: BaseException) -> None:
        """An error of ours: the runs of this turn are put down and whoever waits is told; the journal is as it was."""
        rows, touched = self._drop_turn()
        error = RomancyError(f"internal error of romancy_nb: {bug!r}. Nothing recorded is lost.")
        for key, run in touched.items():
            self._fail_run(run, [row for row in rows if row.run == key], error)
