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

import itertools
import logging
import threading
import weakref
from collections import deque
from hashlib import blake2b
from queue import Empty, SimpleQueue
from secrets import randbits, token_hex
from typing import Any

from romancy_nb.clock import monotonic, now_us
from romancy_nb.core import events as ev
from romancy_nb.core.commands import Delivery, OpenCall
from romancy_nb.core.events import Event
from romancy_nb.definitions.ambient import ActivityFacts
from romancy_nb.errors import HistoryMismatch, JournalBusy, JournalError, NotJournalable, RomancyError
from romancy_nb.journal.protocol import Batch, Journal, Row
from romancy_nb.payloads.failures import encode_failure
from romancy_nb.runtime import endings, ownership
from romancy_nb.runtime.dispatcher import Attempt, Dispatcher, timed_out
from romancy_nb.runtime.hosts import CellHost, ThreadHost, activate
from romancy_nb.runtime.inbox import Activated, Ask, AttemptEnded, Finished, Interrupt, Paused, Start, Stop, Tell, Waiter
from romancy_nb.runtime.live import LiveRun
from romancy_nb.runtime.takeup import TakeUp
from romancy_nb.runtime.timers import Timers

__all__ = ["Engine"]

log = logging.getLogger("romancy_nb")

GRACE = 0.005
"""Seconds that a turn waits for activations before it commits what there is."""
SLOW = 1.0
"""Seconds after which an activation is named with its line (X2)."""
IDLE = 0.2
"""Seconds without work after which the journal file is released."""
PATIENCE = 10.0
"""Seconds that a person's call waits for a journal that is held elsewhere."""
THREADS = 2
"""Activation threads to begin with; a stuck one is replaced."""


_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()
"""Engines of this process: tells a run that another journal's engine owns here from one that nobody owns."""


class Engine:
    """Advances runs against one journal.

    Args:
        journal: used by the engine's thread only.
        namespace: goes into derived ids (R12).
    """

    def __init__(self, journal: Journal, *, namespace: str = "") -> None:
        self.journal = journal
        self.namespace = namespace
        self.nonce = token_hex(4)
        self.token = ownership.my_token(self.nonce)
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.live: dict[int, LiveRun] = {}
        self.newest: dict[str, LiveRun] = {}
        self.stopped = False
        self._timers = Timers()
        self._dispatcher = Dispatcher(self.inbox)
        self._hosts = [ThreadHost(f"romancy workflow {n}") for n in range(THREADS)]
        self._next_host = itertools.cycle(range(1 << 30))
        self._rows: list[Row] = []
        self._after: list[Any] = []
        self._backlog: deque[Any] = deque()
        self._todo: deque[Any] = deque()
        self._touched: dict[int, LiveRun] = {}
        self._ready: dict[int, LiveRun] = {}
        self._busy: dict[int, LiveRun] = {}
        self._following: list[Start] = []
        self._take_up = TakeUp(self)
        self._last_work = monotonic()
        self._unsaved_since = 0.0
        _ENGINES.add(self)
        self._thread = threading.Thread(target=self._main, name="romancy engine", daemon=True)
        self._thread.start()

    # -- for other threads ----------------------------------------------------------

    def ask(self, work: Any, timeout: float | None = PATIENCE) -> Any:
        """Run ``work(engine)`` on the engine thread, with the journal held, and return what it returns.

        Raises:
            JournalBusy: the journal was held elsewhere for longer than *timeout* seconds.
        """
        reply: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self.inbox.put(Ask(work, reply))
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

    # -- the loop ----------------------------------------------------------

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
                    case Start():
                        item.waiter.tell(Finished(error=error))
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
        self._look_after_followed()
        self._save_unsaved()
        self._fire_timers()
        self._activate_ready()
        self._let_activations_end()
        self._commit()
        self._watch_slow()

    def _take(self) -> list[Any]:
        """Wait for something to do and return all there is."""
        items = list(self._backlog)
        self._backlog.clear()
        try:
            items.append(self.inbox.get(timeout=0 if items or self._ready or self._todo else self._pause()))
            while True:
                items.append(self.inbox.get_nowait())
        except Empty:
            pass
        if items:
            self._last_work = monotonic()
        elif self.journal.held and (monotonic() - self._last_work >= IDLE):
            self.journal.release()
        if self.journal.held and self.journal.wanted():
            self.journal.release()
        return items

    def _pause(self) -> float | None:
        """How long there is nothing to do but wait."""
        waits = []
        if self.journal.held:
            waits.append(IDLE / 4)
        if self._busy:
            waits.append(SLOW / 4)
        due = self._timers.next_due()
        if due is not None:
            waits.append(max(0.0, (due - now_us()) / 1_000_000))
        if self._unsaved_since:
            waits.append(1.0)
        if self._following:
            waits.append(max(0.0, min(start.next_look for start in self._following) - monotonic()))
        return min(waits, default=None)

    def hold(self, item: Start | Ask | None = None) -> None:
        """Acquire the journal, however long it takes; meanwhile persons' calls time out and nothing is lost (D2).

        Raises:
            JournalBusy: *item*, for which it is wanted, has waited long enough.
        """
        while not self.journal.held:
            try:
                changed = self.journal.acquire(0.1)
            except JournalBusy as busy:
                self._refuse_patient(busy)
                if item is not None and (monotonic() - item.since > PATIENCE or _abandoned(item)):
                    raise
                continue
            if changed and self.live:
                epochs = {key: run.epoch for key, run in self.live.items() if not run.finished and not run.opening}
                for key in self.journal.moved(epochs):
                    self._lost(self.live[key])

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
                    self._dispatcher.interrupt(attempt)
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

    def _answer(self, ask: Ask) -> None:
        try:
            self.hold(ask)
            if self._rows:
                self._commit()
            ask.reply.put((True, ask.work(self)))
        except Exception as error:
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
                start.since = now
                self._start(start)

    # -- activation ----------------------------------------------------------

    def host(self) -> ThreadHost:
        return self._hosts[next(self._next_host) % len(self._hosts)]

    def make_ready(self, run: LiveRun) -> None:
        """There is something for the run's code to see."""
        self._ready[run.key] = run

    def _activate_ready(self) -> None:
        now = monotonic()
        for key, run in list(self._ready.items()):
            if run.busy:
                continue
            del self._ready[key]
            if run.host is None or run.finished or not (run.build or run.pending):
                continue
            build, run.build = run.build, None
            run.sent, run.pending = run.pending, []
            run.busy, run.busy_since, run.slow = True, now, False
            self._busy[key] = run
            run.host.put(activate(run.host, run, run.generation, build, run.sent, self.inbox))

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

    def _activated(self, item: Activated) -> None:
        run, report = item.run, item.report
        if item.generation != run.generation:
            return
        run.busy = False
        self._busy.pop(run.key, None)
        if report.mismatch is not None:
            self.record(run, run.opening)
            run.opening = []
            self.put_down(run)
            self._take_up.parted(run, report.mismatch)
            return
        if run.replay_only and (report.ended is None or report.rows):
            self.put_down(run)
            self._take_up.parted(run, HistoryMismatch("The workflow's code no longer ends where its history does."))
            return
        self.record(run, run.opening)
        self.record(run, report.rows)
        run.opening, run.sent = [], []
        run.replayed += report.replayed
        run.reused += report.reused
        run.moved += report.moved
        for timer in report.timers:
            run.timers.add(timer.place)
            self._timers.set((run.key, timer.place, "timer"), timer.due)
        for place in report.cancelled_timers:
            run.timers.discard(place)
            self._timers.cancel((run.key, place, "timer"))
        for call in report.calls:
            run.calls[call.place] = call
            if not call.fresh:
                call.first_at += run.gap
                if run.retrying:  # a person asked for another try: a new budget, and nothing is in doubt
                    call.failures, call.failed, call.first_at = 0, call.attempts, now_us()
            if run.status != "paused":  # an earlier one of them is in doubt
                self._prepare(run, call)
        for place in report.cancelled_calls:
            self._call_unwanted(run, place)
        if run.status == "paused":
            return
        if report.ended is not None:
            run.ended, run.error_payload = report.ended, item.error
        self._end_if_settled(run)
        if run.pending:
            self.make_ready(run)

    def _watch_slow(self) -> None:
        """Name activations that take over a second, and free the runs that share their thread (X2)."""
        now = monotonic()
        for run in list(self._busy.values()):
            if run.host is None or now - run.busy_since < SLOW or not run.host.since:
                continue
            stuck = run.host
            if now - stuck.since >= SLOW and not getattr(stuck, "named", False):
                stuck.named = True  # type: ignore[attr-defined]
                log.warning(
                    "workflow %s (%s) has been running its own code for over %g s at %s. Workflow code should only "
                    "coordinate: make the slow part an activity.",
                    run.workflow.name,
                    run.instance,
                    SLOW,
                    stuck.line(),
                )
                if isinstance(stuck, ThreadHost):
                    self._replace(stuck, run)
            for delivery in run.sent:
                self._record_meanwhile(run, delivery)
            if run.sent:
                self._commit()

    def _replace(self, stuck: ThreadHost, culprit: LiveRun) -> None:
        """The other runs of a stuck thread are rebuilt on a new one."""
        fresh = ThreadHost("romancy workflow")
        self._hosts = [fresh if host is stuck else host for host in self._hosts]
        for run in self.live.values():
            if run.host is stuck and run is not culprit and not run.finished:
                self._take_up.rebuild(run, fresh)

    def _record_meanwhile(self, run: LiveRun, delivery: Delivery) -> None:
        """The code is busy: journal the outcome that waits for it, so that a crash does not lose it (S1)."""
        if delivery.kind != ev.TIMER_FIRED and delivery.place not in run.noted:
            run.noted.add(delivery.place)
            self.record(run, [_recorded(delivery)])

    # -- activities ----------------------------------------------------------

    def _prepare(self, run: LiveRun, call: OpenCall) -> None:
        """Decide when and how an open call is executed."""
        if (run.key, call.place) in self._dispatcher.flying:
            return  # a resume in the process that still executes it adopts it, and waits for its end (A2)
        in_doubt = not call.fresh and (call.attempts > call.failed or not (call.attempts or call.command.at_most_once))
        if call.command.at_most_once and in_doubt and call.attempts > call.failed:
            self._doubt(run, call)
            return
        if call.next_at > now_us():
            self._timers.set((run.key, call.place, "retry"), call.next_at)
            return
        number = max(call.attempts, 1 if in_doubt else 0) + 1
        if number > 1 or call.command.at_most_once:
            self.record(run, [Event(ev.ATTEMPT_STARTED, now_us(), call.place, attempt=number)])
        call.attempts = number
        attempt = Attempt(
            run.key, call.place, number, call.command, self._facts(run, call, number), call.failures, call.first_at
        )
        self._after.append(attempt)

    def _doubt(self, run: LiveRun, call: OpenCall) -> None:
        """A call that must not be repeated, and whose outcome nobody knows."""
        name = call.command.name
        error = endings.InDoubt(
            f"Activity {name} of {run.instance} (call {call.place}) was started and nobody recorded how it ended. It is "
            "`at_most_once`, so it is not executed again by itself."
        )
        if call.command.target.options.on_doubt == "fail":
            payload = encode_failure(error)
            self._deliver_later(run, Delivery(ev.ACTIVITY_FAILED, call.place, now_us(), call.attempts, payload, error))
        else:
            endings.pause(self, run, "doubt", error)

    def _facts(self, run: LiveRun, call: OpenCall, number: int) -> ActivityFacts:
        command = call.command
        identity = "\0".join((run.instance, command.name, command.digest, str(call.occurrence), "0"))
        key = blake2b(identity.encode(), digest_size=16).hexdigest()
        return ActivityFacts(
            run.instance,
            run.workflow.name,
            run.number,
            number,
            key,
            report_log=lambda text: log.info("%s %s: %s", run.instance, command.name, text),
            enter=run.start.output if run.start is not None else None,
        )

    def _dispatch(self, attempt: Attempt) -> None:
        run = self.live.get(attempt.run)
        if run is None or run.finished or attempt.place not in run.calls:
            return
        run.executed += 1
        cell = run.host.put if isinstance(run.host, CellHost) else None
        timeout = attempt.activity.options.timeout
        if timeout is not None and not attempt.activity.signature.is_async:
            self._timers.set((attempt.run, attempt.place, "limit"), now_us() + int(timeout * 1_000_000))
        self._dispatcher.dispatch(attempt, cell)

    def _attempt_ended(self, item: AttemptEnded) -> None:
        attempt = item.attempt
        if self._dispatcher.flying.get((attempt.run, attempt.place)) is attempt:
            del self._dispatcher.flying[attempt.run, attempt.place]
        run = self.live.get(attempt.run)
        if attempt.over and not item.interrupted:
            log.warning(
                "activity %s of %s (call %s): attempt %d, abandoned when its time was over, has %s; that is recorded as late "
                "and not used.",
                attempt.activity.name,
                attempt.facts.instance_id,
                attempt.place,
                attempt.number,
                "completed" if item.ok else "failed",
            )
        if run is None:
            if attempt.over and not item.interrupted:
                self._late_after_end(item)
            return
        if attempt.over:
            if not item.interrupted:
                self.record(run, [_late(item)])
            return
        self._timers.cancel((attempt.run, attempt.place, "limit"))
        call = run.calls.get(attempt.place)
        if item.interrupted or call is None:
            if call is None and not item.interrupted:
                self.record(run, [_late(item)])
            elif call is not None and attempt.place in run.unwanted:
                run.calls.pop(attempt.place, None)
            elif call is not None and run.status != "paused":
                call.fresh = False  # it was interrupted, and the run has been resumed since
                self._prepare(run, call)
            self._end_if_settled(run)
            return
        if item.retry_in is not None:
            self._failed_attempt(run, call, item)
            return
        kind = ev.ACTIVITY_COMPLETED if item.ok else ev.ACTIVITY_FAILED
        self._deliver_later(run, Delivery(kind, attempt.place, item.at, attempt.number, item.payload, item.live))

    def _late_after_end(self, item: AttemptEnded) -> None:
        """An abandoned attempt outlived its run: the record of what it came to still belongs to that run (A3)."""
        self.hold()
        self._commit()
        history = self.journal.load(item.attempt.run, parts=False)
        if history and history[-1].event.kind in {*ev.RUN_ENDS, ev.LATE_OUTCOME}:
            self._rows.append(Row(item.attempt.run, history[-1].seq + 1, _late(item)))
            self._commit()

    def _failed_attempt(self, run: LiveRun, call: OpenCall, item: AttemptEnded) -> None:
        """Journal a failed attempt and, while the run is live, wait for the next."""
        next_at = item.at + int((item.retry_in or 0.0) * 1_000_000)
        call.failed = call.attempts = item.attempt.number
        call.failures += 1
        call.next_at = next_at
        row = Event(
            ev.ATTEMPT_FAILED,
            item.at,
            call.place,
            attempt=item.attempt.number,
            payload=item.payload,
            meta={"next_at": next_at},
        )
        self.record(run, [row])
        if call.place in run.unwanted:
            run.calls.pop(call.place, None)
            self._end_if_settled(run)
        elif run.status != "paused":
            self._timers.set((run.key, call.place, "retry"), next_at)

    def _deliver_later(self, run: LiveRun, delivery: Delivery) -> None:
        """Hand an outcome to the run's code, or keep it where there is none just now."""
        if run.status == "paused" or run.host is None:
            run.calls.pop(delivery.place, None)
            self.record(run, [_recorded(delivery)])
            return
        if delivery.place in run.unwanted or run.ended is not None:
            run.calls.pop(delivery.place, None)
            meta = {"ok": delivery.kind == ev.ACTIVITY_COMPLETED}
            late = Event(
                ev.LATE_OUTCOME, delivery.at, delivery.place, "", "", "", delivery.attempt, delivery.payload, meta
            )
            self.record(run, [late])
            self._end_if_settled(run)
            return
        run.calls.pop(delivery.place, None)
        run.pending.append(delivery)
        self.make_ready(run)

    def _call_unwanted(self, run: LiveRun, place: str) -> None:
        """The code cancelled a call: an ``async def`` attempt is cancelled, a ``def`` one settles by itself (U3)."""
        if place not in run.calls:
            return
        run.unwanted.add(place)
        flying = self._dispatcher.flying.get((run.key, place))
        if flying is not None:
            self._dispatcher.cancel(flying)
        else:
            self._timers.cancel((run.key, place, "retry"))
            self._after = [
                a for a in self._after if not (isinstance(a, Attempt) and a.run == run.key and a.place == place)
            ]
            run.calls.pop(place, None)

    # -- timers ----------------------------------------------------------

    def _fire_timers(self) -> None:
        now = now_us()
        for (run_key, place, what), _due in self._timers.take_due(now):
            run = self.live.get(run_key)
            if run is None or run.finished or run.status == "paused":
                continue
            if what == "timer":
                run.timers.discard(place)
                run.pending.append(Delivery(ev.TIMER_FIRED, place, now))
                self.make_ready(run)
            elif what == "retry" and place in run.calls:
                self._prepare(run, run.calls[place])
            elif what == "limit":
                self._limit_reached(run, place)

    def _limit_reached(self, run: LiveRun, place: str) -> None:
        """A ``def`` attempt may have used up its time: it is abandoned, and its call goes on without it (A3)."""
        attempt = self._dispatcher.flying.get((run.key, place))
        if attempt is None:
            return
        limit = attempt.activity.options.timeout or 0.0
        spent = 0.0 if attempt.started is None else monotonic() - attempt.started
        if spent < limit:
            self._timers.set((run.key, place, "limit"), now_us() + int((limit - spent) * 1_000_000) + 1000)
            return
        self._dispatcher.abandon(attempt)
        row = Event(ev.ATTEMPT_ABANDONED, now_us(), place, attempt=attempt.number, meta={"reason": "timeout"})
        self.record(run, [row])
        ended = self._dispatcher._failed(attempt, timed_out(attempt))
        call = run.calls.get(place)
        if call is None:
            return
        if ended.retry_in is not None:
            self._failed_attempt(run, call, ended)
        else:
            self._deliver_later(
                run, Delivery(ev.ACTIVITY_FAILED, place, ended.at, attempt.number, ended.payload, ended.live)
            )

    # -- ends ----------------------------------------------------------

    def _end_if_settled(self, run: LiveRun) -> None:
        """The code has ended: once what it left in flight has settled, so does the run (U3)."""
        if run.ended is not None and not run.calls and not run.finished and not run.pending:
            endings.end(self, run)

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
        in_flight = self._flying(run)
        for attempt in in_flight:
            self._dispatcher.interrupt(attempt)
        for delivery in run.sent + run.pending:
            if delivery.kind != ev.TIMER_FIRED and delivery.place not in run.noted:
                self.record(run, [_recorded(delivery)])
        run.sent, run.pending = [], []
        endings.pause(self, run, "interrupt", None)
        in_flight += [act for act in self._after if isinstance(act, Attempt) and act.run == run.key]
        self.tell_after_commit(run, item.waiter, self._paused(run, in_flight))
        self._commit()
        for attempt in self._flying(run):
            if not attempt.interrupted:
                self._dispatcher.interrupt(attempt)

    def _started_by(self, start: Start) -> LiveRun | None:
        return next((run for run in self.live.values() if run.start is start), None)

    def _flying(self, run: LiveRun) -> list[Attempt]:
        return [attempt for (key, _), attempt in self._dispatcher.flying.items() if key == run.key]

    def _paused(self, run: LiveRun | None, flying: list[Attempt], what: str = "paused", busy: str = "") -> Paused:
        if run is None:
            return Paused(0, (), "", "nothing", busy)
        names = tuple(f"{attempt.activity.name} (call {attempt.place})" for attempt in flying)
        return Paused(max(0, run.executed - len(flying)), names, run.instance, what, busy)

    def put_down(self, run: LiveRun) -> None:
        """Let go of the run's execution: on its own thread, and nothing that it still says counts (X3)."""
        run.generation += 1
        run.busy = False
        self._busy.pop(run.key, None)
        self._ready.pop(run.key, None)
        execution, host, run.execution = run.execution, run.host, None
        for place in list(run.timers):
            self._timers.cancel((run.key, place, "timer"))
        for place in run.calls:
            self._timers.cancel((run.key, place, "retry"))
        run.timers.clear()
        if execution is not None and host is not None:
            host.put(execution.put_down)

    def _lost(self, run: LiveRun) -> None:
        """Another process took the run up while we had let go of the file (D3)."""
        self.put_down(run)
        run.finished = True
        error = endings.lost(run)
        for waiter in run.waiters:
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
        for key in [key for key, run in self.live.items() if run.unsaved]:
            self.save(self.live[key])
        self._commit()
        self.journal.release()
        for host in self._hosts:
            host.close()
        self.stopped = True
        item.reply.put(None)

    # -- the commit ----------------------------------------------------------

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
        if self._rows:
            self.hold()
            batch = Batch(randbits(62), self._rows)
            refused: dict[int, RomancyError] = {}
            try:
                self.journal.commit(batch)
            except JournalError as error:
                # its outcome may be unknown: ask, and if it did not get in, try once more on a fresh connection (X5)
                log.warning("a commit failed and is tried once more: %s", error)
                self.journal.release()
                self.hold()
                if not self.journal.committed(batch.turn):
                    self.journal.commit(batch)
            except RomancyError as error:
                refused = self._commit_apart(error)
            self._rows, touched, self._touched = [], self._touched, {}
            for key, reason in refused.items():
                self._fail_run(touched[key], [row for row in batch.rows if row.run == key], reason)
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

    def _commit_apart(self, refusal: RomancyError) -> dict[int, RomancyError]:
        """The batch was refused because of what is in it: commit each run's rows by themselves (X5).

        Returns the runs that were refused, with the reason.
        """
        runs: dict[int, list[Row]] = {}
        for row in self._rows:
            runs.setdefault(row.run, []).append(row)
        if len(runs) == 1:
            return dict.fromkeys(runs, refusal)
        refused: dict[int, RomancyError] = {}
        for key, rows in runs.items():
            try:
                self.journal.commit(Batch(randbits(62), rows))
            except JournalError:
                raise
            except RomancyError as error:
                refused[key] = error
            else:
                self._rows = [row for row in self._rows if row.run != key]
        return refused

    def commit_now(self) -> None:
        """Make what this turn has so far durable, before history is loaded."""
        self.hold()
        self._commit()

    def admit(self, run: LiveRun) -> None:
        """From here on this process advances *run*."""
        self.live[run.key] = run
        self.newest[run.instance] = run
        self.make_ready(run)

    def forget(self, run: LiveRun) -> None:
        """The run has ended: nothing of it is needed in memory any more."""
        if self.live.get(run.key) is run:
            del self.live[run.key]
        if self.newest.get(run.instance) is run:
            del self.newest[run.instance]

    def other_engines(self) -> frozenset[str]:
        """Engines of this process that are alive besides this one."""
        return frozenset(e.nonce for e in _ENGINES if e is not self and not e.stopped)

    def after_commit(self, act: Any) -> None:
        """Have *act* called (or an attempt dispatched) once this turn's rows are durable."""
        self._after.append(act)

    def tell_after_commit(self, run: LiveRun, waiter: Waiter, message: Any) -> None:
        """Tell *waiter* once this turn's rows are durable, or that those of *run* could not be written."""
        self._after.append(Tell(run, waiter, message))

    def _journal_failed(self, error: JournalError) -> None:
        """The journal cannot be written: nothing is dispatched, no one is told of success, and outcomes stay in memory.

        They are written with the first turn that can be (X5); the runs wait for somebody to call them again.
        """
        rows, self._rows = self._rows, []
        touched, self._touched = self._touched, {}
        if self.stopped:
            return
        log.error("%s", error)
        for key, run in touched.items():
            self._fail_run(run, [row for row in rows if row.run == key], error)

    def _fail_run(self, run: LiveRun, rows: list[Row], error: RomancyError) -> None:
        """What the turn had to say of *run* could not be written: it is put down, and its outcomes are kept in memory."""
        outcomes = [event for row in rows if (event := endings.as_record(row.event)) is not None]
        outcomes += [_recorded(d) for d in [*run.sent, *run.pending] if d.kind != ev.TIMER_FIRED and d.place not in run.noted]
        run.sent, run.pending = [], []
        run.trouble = error
        self.put_down(run)
        run.host, run.status, run.ended, run.opening, run.build = None, "paused", None, [], None
        run.finished = False
        if not isinstance(error, NotJournalable):
            run.unsaved += outcomes
        if run.unsaved and not self._unsaved_since:
            self._unsaved_since = monotonic()
        tells = [act for act in self._after if isinstance(act, Tell) and act.run is run]
        self._after = [
            act
            for act in self._after
            if not (isinstance(act, Tell) and act.run is run) and not (isinstance(act, Attempt) and act.run == run.key)
        ]
        waiters, run.waiters = [*run.waiters, *(tell.waiter for tell in tells)], []
        for waiter in dict.fromkeys(waiters):
            waiter.tell(Finished(error=error))
        if (rows and rows[0].seq == 1) or run.replay_only:  # nobody knows of it
            self.forget(run)
        else:
            self.live[run.key] = run
            self.newest.setdefault(run.instance, run)

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
        rows, self._rows = self._rows, []
        touched, self._touched = self._touched, {}
        error = RomancyError(f"internal error of romancy_nb: {bug!r}. Nothing recorded is lost.")
        for key, run in touched.items():
            self._fail_run(run, [row for row in rows if row.run == key], error)


def _abandoned(item: Any) -> bool:
    return isinstance(item, Start) and item.abandoned


def _recorded(delivery: Delivery) -> Event:
    meta = {"ok": delivery.kind == ev.ACTIVITY_COMPLETED}
    return Event(ev.OUTCOME_RECORDED, delivery.at, delivery.place, "", "", "", delivery.attempt, delivery.payload, meta)


def _late(item: AttemptEnded) -> Event:
    attempt = item.attempt
    return Event(ev.LATE_OUTCOME, item.at, attempt.place, "", "", "", attempt.number, item.payload, {"ok": item.ok})
