"""The engine: one thread, one transaction a turn.

A turn is: take what is in the inbox; have it delivered to the runs concerned; write all resulting events of all those runs
in one commit; only then start the new activities and tell who waits. So the completion of step N and the intent of step
N+1 are one commit, a burst of completions is one commit, and nothing has an effect before its intent is durable.

What if the process dies here? Before the commit: nothing of the turn is known, and nothing of it was dispatched; outcomes
in memory are those of activities whose intent is durable, so they are in doubt and run again with the same idempotency
key. After the commit: everything is known. There is no third place.

The engine thread never runs user code: workflow code is activated on hosts (``hosts``), activities are executed by the
``dispatcher``. An activation that takes long holds up no other run: the turn waits for activations only for a moment
(``GRACE``), and outcomes for a run whose code is busy are recorded at once, so that they are not lost meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from contextlib import suppress
from math import inf
from queue import Empty, SimpleQueue
from typing import Any

from romancy_nb.clock import monotonic, now_us
from romancy_nb.core import events as ev
from romancy_nb.definitions import limits
from romancy_nb.errors import JournalBusy, JournalError, RomancyError, RunPaused
from romancy_nb.journal.protocol import Journal
from romancy_nb.runtime import cancelling, channels, children, endings, family, queueing, resting, undoing
from romancy_nb.runtime.activations import SLOW
from romancy_nb.runtime.dispatcher import Attempt
from romancy_nb.runtime.inbox import (
    Activated,
    Ask,
    AttemptEnded,
    CellCalls,
    ChildTold,
    Finished,
    Interrupt,
    LetGo,
    Paused,
    Posted,
    Redefined,
    Start,
    Stop,
    Withdrawn,
)
from romancy_nb.runtime.live import LiveRun
from romancy_nb.runtime.notebooks import Notebooks
from romancy_nb.runtime.state import ENGINES

__all__ = ["Engine"]

log = logging.getLogger("romancy_nb")

GRACE = 0.005
"""Seconds that a turn waits for activations before it commits what there is."""
IDLE = 0.2
"""Seconds without work after which the journal file is released."""
AHEAD = 0.03
"""Seconds before a timer is due at which the journal file is taken, so that what follows from it need not wait for that."""
NEAR = 0.15
"""The file is not let go of for idleness when a timer is due so soon: writing it out may take as long on a busy disk."""
LOOK = 0.5
"""Seconds between looks at a released file: has another process posted something for a run that waits here?"""
PATIENCE = 10.0
"""Seconds that a person's call waits for a journal that is held elsewhere."""


class Engine(Notebooks):
    """Advances runs against one journal; the top layer: the thread, its inbox, and who holds the journal when.

    Args:
        journal: used by the engine's thread only.
        namespace: goes into derived ids (R12).
    """

    def __init__(self, journal: Journal, *, namespace: str = "") -> None:
        super().__init__(journal, namespace=namespace)
        ENGINES.add(self)
        self._taken_for = 0
        self._thread = threading.Thread(target=self._main, name="romancy engine", daemon=True)
        self._thread.start()

    def ask(self, work: Any, timeout: float | None = PATIENCE) -> Any:
        """Run ``work(engine)`` on the engine thread, with the journal held, and return what it returns.

        Args:
            work: called with the engine.
            timeout: seconds that the journal may be held elsewhere, at most ``PATIENCE``; None: however long.

        Raises:
            JournalBusy: the journal was held elsewhere for too long.
        """
        reply: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self.inbox.put(Ask(work, reply, inf if timeout is None else monotonic() - max(0.0, PATIENCE - timeout)))
        while True:
            try:
                ok, value = reply.get(timeout=1.0)
                break
            except Empty:
                if not self._thread.is_alive():
                    raise endings.closed(self.journal.where) from None
        if ok:
            return value
        raise value

    def stop_thread(self, ident: int) -> None:
        """Mark what a waiting cell's own thread executes as stopped. Called in a signal handler on that thread."""
        for attempt in list(self._dispatcher.flying.values()):
            if attempt.thread == ident:
                attempt.cancelled = attempt.interrupted = True
                attempt.thread = 0  # the signal handler itself raises there; a second exception would meet our own code

    def stop(self) -> None:
        """Put all runs down and end. What is in flight is left to finish or to die; nothing recorded is lost."""
        if not self.stopped:
            reply: SimpleQueue[None] = SimpleQueue()
            self.inbox.put(Stop(reply))
            try:
                reply.get(timeout=5)
            except Empty:
                log.warning("the engine did not stop within 5 s")

    def _main(self) -> None:
        while not self.stopped:
            try:
                self._turn()
            except JournalError as error:
                self._journal_failed(error)
            except Exception as bug:
                log.exception("internal error in the engine; the turn was given up")
                self._give_up_turn(bug)
        self._turn_away()

    def _turn_away(self) -> None:
        """The engine has ended: whoever still asks is told so."""
        error = endings.closed(self.journal.where)
        for start in self._following:
            start.waiter.tell(Finished(error=error))
        items = [*self._todo, *self._backlog]
        while True:
            for item in items:
                match item:
                    case Start() | CellCalls():
                        item.waiter.tell(Finished(error=error))
                    case Withdrawn():
                        item.waiter.tell(None)
                    case Ask():
                        item.reply.put((False, error))
                    case Interrupt():
                        item.waiter.tell(Paused(0, (), "", "nothing"))
                    case Stop():
                        item.reply.put(None)
            try:
                items = [self.inbox.get(timeout=5.0)]
            except Empty:
                return

    def _turn(self) -> None:
        self._todo.extend(self._take())
        while self._todo:  # what a failure leaves of it is handled in the next turn (X5)
            self._handle(self._todo.popleft())
            if self.stopped:  # what came behind is turned away: it must not take the file again
                return
        self._look_after_followed()
        self._save_unsaved()
        self._fire_timers()
        self._wake()
        self._activate_ready()
        self._let_activations_end()
        if self.limits:
            queueing.let_in(self)
        self._commit()
        self._watch_slow()

    def _take(self) -> list[Any]:
        """Wait for something to do and return all there is."""
        items = list(self._backlog)
        self._backlog.clear()
        try:
            items.append(self.inbox.get(timeout=0 if self._has_work(items) else self._pause()))
            while True:
                items.append(self.inbox.get_nowait())
        except Empty:
            pass
        if items:
            self._last_work = monotonic()
            self._park_in_crowd()
        elif self._too_many_rest():
            self._park()
        elif self.journal.held and not self.in_session() and (monotonic() - self._last_work >= IDLE):
            if self._until_due() > NEAR:
                self.journal.release()
        elif not self.journal.held and self._until_due() <= AHEAD:
            self._take_file_for_timer()
        elif self._next_look and monotonic() >= self._next_look and not self.journal.held and self.journal.foreign():
            self.hold()  # and see what others have posted
        if self.journal.held and not self.in_session() and self.journal.wanted():
            self.journal.release()
        return items

    def _has_work(self, items: list[Any]) -> bool:
        return bool(items or self._ready or self._waking or self._todo or self.limits.pending or self._too_many_rest())

    def _pause(self) -> float | None:
        """How long there is nothing to do but wait."""
        waits = []
        self._next_look = 0.0
        if self.journal.held:
            waits.append(IDLE / 4)
        elif any(run.ledger is None and not run.finished for run in self.live.values()):
            waits.append(LOOK)
            self._next_look = monotonic() + LOOK
        if self._busy:
            waits.append(SLOW / 4)
        left = self._until_due()
        if left < inf:
            ahead = 0.0 if self.journal.held or self._taken_for == self._timers.next_due() else AHEAD
            waits.append(max(0.0, left - ahead))
        if self._unsaved_since:
            waits.append(1.0)
        if self._following:
            waits.append(max(0.0, min(start.next_look for start in self._following) - monotonic()))
        return min(waits, default=None)

    def _until_due(self) -> float:
        """Seconds until the next timer is due."""
        due = self._timers.next_due()
        return inf if due is None else (due - now_us()) / 1_000_000

    def _take_file_for_timer(self) -> None:
        """A timer is due in a moment: have the file in hand by then. Once for each moment; if it fails, the timer finds out."""
        due = self._timers.next_due() or 0
        if due != self._taken_for:
            self._taken_for = due
            with suppress(JournalError):
                self.hold()

    def hold(self, item: Start | Ask | None = None) -> None:
        """Acquire the journal, however long it takes; meanwhile persons' calls time out and nothing is lost (D2).

        Raises:
            JournalBusy: *item*, for which it is wanted, has waited long enough.
        """
        if self.journal.held and self.journal.foreign():
            log.warning("%s", endings.gone(self.journal.where))
            self.journal.release()
        while not self.journal.held:
            try:
                changed = self.journal.acquire(0.1)
            except JournalBusy as busy:
                self._refuse_patient(busy)
                if item is not None and (monotonic() - item.since > PATIENCE or _abandoned(item)):
                    raise
                continue
            self.channels.stale = self.channels.stale or changed
            self.code_kept = set() if changed else self.code_kept
            if changed and self.live:
                begun = {row.run for row in self._rows if row.seq == 1}  # by this turn, so nobody can have them yet
                epochs = {
                    key: run.epoch
                    for key, run in self.live.items()
                    if not run.finished and not run.opening and key not in begun
                }
                for key in self.journal.moved(epochs):
                    self._lost(self.live[key])
                for letter in self.journal.letters():
                    self.inbox.put(Posted(letter))

    def _refuse_patient(self, busy: JournalBusy) -> None:
        """While the file is held elsewhere: tell the callers that have waited long enough."""
        try:
            while True:
                self._backlog.append(self.inbox.get_nowait())
        except Empty:
            pass
        kept: deque[Any] = deque()
        for item in self._backlog:
            if isinstance(item, Interrupt):
                run = self._started_by(item.start)
                flying = self._flying(run) if run is not None else []
                for attempt in flying:
                    self._stop_attempt(attempt)
                item.waiter.tell(self._paused(run, flying, busy=str(busy)))
            if _abandoned(item):
                continue
            if isinstance(item, (Start, Ask)) and monotonic() - item.since > PATIENCE:
                if isinstance(item, Start):
                    item.waiter.tell(Finished(error=busy))
                else:
                    item.reply.put((False, busy))
            else:
                kept.append(item)
        self._backlog = kept
        if any(isinstance(item, Stop) for item in kept):
            self.stopped = True
            for item in kept:
                if isinstance(item, Stop):
                    item.reply.put(None)
            raise JournalError("the engine was stopped while it waited for the journal")

    def _handle(self, item: Any) -> None:
        match item:
            case AttemptEnded():
                self._attempt_ended(item)
            case Activated():
                self._activated(item)
            case Start():
                self._start(item)
            case Interrupt():
                self._interrupt(item)
            case CellCalls():
                self._cell_calls(item)
            case Withdrawn():
                self._withdrawn(item)
            case ChildTold():
                family.told(self, item)
            case LetGo():
                resting.let_go(self, item)
            case Posted() if item.letter.kind == channels.QUEUED:
                self.hold()
                channels.distribute(self, str(item.letter.facts.get("channel", "")))
            case Posted():
                cancelling.take(self, item.letter)
            case Ask():
                self._answer(item)
            case Stop():
                self._stop(item)

    def _start(self, start: Start) -> None:
        if start.abandoned:
            return
        try:
            self.hold(start)
            if start.abandoned:
                return
            if self._rows:
                self._commit()  # what this turn knows must be in the history that is loaded
            self._take_up.start(start)
        except RomancyError as error:
            start.waiter.tell(Finished(error=error))
        except Exception as bug:  # whoever called must not wait for ever because of an error of ours
            log.exception("internal error while a workflow was called")
            start.waiter.tell(
                Finished(error=RomancyError(f"internal error of romancy_nb: {bug!r}. Nothing recorded is lost."))
            )

    def _answer(self, ask: Ask) -> None:
        try:
            self.hold(ask)
            if self._rows:
                self._commit()
            ask.reply.put((True, ask.work(self)))
        except Exception as error:
            if isinstance(error, JournalError) and self._rows:
                self._journal_failed(error)  # who asked is told that it was not written, so it must not be later
            ask.reply.put((False, error))

    def follow(self, start: Start) -> None:
        """Look once a second how a run is doing that another process advances."""
        start.next_look = monotonic() + 1.0
        self._following.append(start)

    def _look_after_followed(self) -> None:
        now = monotonic()
        due = [start for start in self._following if start.next_look <= now]
        if due:
            self._following = [start for start in self._following if start.next_look > now and not start.abandoned]
            for start in due:
                if start.since != inf:
                    start.since = now
                self._start(start)

    def _let_activations_end(self) -> None:
        """Wait a moment for the activations that are out, so that what they ask for joins this turn's commit."""
        until = monotonic() + GRACE
        while any(not run.slow for run in self._busy.values()):
            left = until - monotonic()
            if left <= 0:
                for run in self._busy.values():
                    run.slow = True
                    self.record(run, run.opening)
                    run.opening = []
                return
            try:
                item = self.inbox.get(timeout=left)
            except Empty:
                continue
            if isinstance(item, (AttemptEnded, Activated)):
                self._handle(item)
                self._activate_ready()
            else:
                self._backlog.append(item)

    def _interrupt(self, item: Interrupt) -> None:
        """Stop was pressed in the cell that waits: pause durably, whatever the code is doing."""
        run = self._started_by(item.start)
        if run is None or run.finished or run.status == "paused":
            if item.start in self._following:  # another process advances it
                self._following = [start for start in self._following if start is not item.start]
                item.waiter.tell(Paused(0, (), item.start.follows, "followed"))
                return
            followed = None
            for other in self.live.values():
                if item.start.waiter in other.waiters:
                    other.waiters.remove(item.start.waiter)
                    followed = other
            item.waiter.tell(self._paused(followed, [], "followed" if followed is not None else "nothing"))
            return
        stopped = [run, *children.below(self, run)]  # its children with it (U4)
        in_flight = [attempt for each in stopped for attempt in self._flying(each)]
        for each in stopped:
            self._stop_run(each)
        self.tell_after_commit(run, item.waiter, self._paused(run, in_flight))
        self._commit()

    def _stop_run(self, run: LiveRun) -> None:
        for attempt in self._flying(run):
            self._stop_attempt(attempt)
        for delivery in run.sent + run.pending:
            if delivery.kind in ev.OUTCOMES and delivery.place not in run.noted:
                self.record(run, [endings.recorded(delivery)])
        run.sent, run.pending = [], []
        if run.undo is not None:
            stopped = f"The undo of instance {run.instance} was stopped. The same call, or resume(), goes on with it."
            undoing.pause(self, run, "interrupt", RunPaused(stopped))
        else:
            endings.pause(self, run, "interrupt", None)

    def _started_by(self, start: Start) -> LiveRun | None:
        return next((run for run in self.live.values() if run.start is start), None)

    def _paused(self, run: LiveRun | None, flying: list[Attempt], what: str = "paused", busy: str = "") -> Paused:
        if run is None:
            return Paused(0, (), "", "nothing", busy)
        begun = [attempt for attempt in flying if attempt.started is not None]
        names = tuple(f"{attempt.activity.name} (call {attempt.place})" for attempt in begun)
        return Paused(max(0, run.executed - len(flying)), names, run.instance, what, busy)

    def _lost(self, run: LiveRun) -> None:
        """Another process took the run up while we had let go of the file (D3), or the file was deleted."""
        self.put_down(run)
        run.finished = True
        error = endings.lost(run, self.journal)
        self._rows = [row for row in self._rows if row.run != run.key]
        self._touched.pop(run.key, None)
        for waiter in self._drop_acts(run):
            waiter.tell(Finished(error=error))
        self.live.pop(run.key, None)

    def _stop(self, item: Stop) -> None:
        try:
            while True:
                self._todo.append(self.inbox.get_nowait())
        except Empty:
            pass
        for ended in [item for item in self._todo if isinstance(item, AttemptEnded)]:
            self._attempt_ended(ended)
        for activated in [item for item in self._todo if isinstance(item, Activated)]:
            if activated.execution is not None:
                activated.host.put(activated.execution.put_down)
        self._todo = deque(item for item in self._todo if not isinstance(item, (AttemptEnded, Activated)))
        for run in list(self.live.values()):
            for delivery in run.sent + run.pending:
                self._record_meanwhile(run, delivery)
            self.put_down(run)
            for waiter in run.waiters:
                waiter.tell(Finished(error=endings.disconnected(run)))
        self._after = [act for act in self._after if not isinstance(act, Attempt)]
        for attempt in self._dispatcher.flying.values():
            self._dispatcher.cancel(attempt)
        for session in self.sessions:  # their attempts are told when they come to their next statement
            session.roll_back()
        for key in [key for key, run in self.live.items() if run.unsaved]:
            self.save(self.live[key])
        self._commit()
        self.journal.release(for_good=True)
        for host in self._hosts:
            host.close()
        self._dispatcher.close()
        self.taps.close()
        self.stopped = True
        item.reply.put(None)


def _abandoned(item: Any) -> bool:
    return isinstance(item, Start) and item.abandoned


def _redefined(limit: str) -> None:
    """Wake the engines: they look at their queues in every turn."""
    for engine in list(ENGINES):
        engine.inbox.put(Redefined(limit))


limits.listeners.append(_redefined)
