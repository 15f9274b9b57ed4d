"""The door: one execution of one run's code, driven by deliveries, answering with reports.

An ``Execution`` is built on the thread that will run it. ``begin`` starts the code and replays the run's history, if it
has one; ``deliver`` hands it what came meanwhile, one event at a time, each followed by running until idle (C5);
``put_down`` unwinds it without any effect (X3). Between those calls it does nothing at all.

The laws, tested under these names in tests/core:

- L1 replay is a fixed point: replaying a history that was not touched adds no row to it;
- L2 extension: delivering one more event only appends rows;
- L3 purity: the rows depend on the code, the history and the deliveries, and on nothing else.
"""

from __future__ import annotations

import contextvars
import heapq
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from romancy_nb.core import events as ev
from romancy_nb.core.calls import CallFuture
from romancy_nb.core.commands import ActivityCommand, Delivery, Ended, OpenCall, OpenTimer, Outcome, Report
from romancy_nb.core.context import Ambient
from romancy_nb.core.events import Event
from romancy_nb.core.loop import WorkflowLoop
from romancy_nb.core.ordering import sort_by_place
from romancy_nb.core.replay import Call, History, Kept, Key, Numbered, Pool, delivered
from romancy_nb.core.tasks import Timer, WorkflowFuture, WorkflowTask
from romancy_nb.core.undertaker import Undertaker
from romancy_nb.errors import HistoryMismatch, RunPutDown
from romancy_nb.payloads.payload import NULL, Payload

__all__ = ["Body", "Execution"]

Body = Callable[[Ambient], Coroutine[Any, Any, Payload]]
"""Makes the coroutine of the workflow: it runs the user's function and returns the encoded result."""

_CANCELLED = frozenset({ev.CALL_CANCELLED, ev.TIMER_CANCELLED})


class Execution:
    """One execution of a run's code.

    Args:
        body: makes the workflow's coroutine.
        rows: the run's history so far; the first row is ``run_started``.
        pool: what earlier runs know, for a new run of the same instance.

    Attributes:
        ambient: the run as its code sees it.
        ended: how the code ended, once it has.
        show: is given what activities put out, where it stands in history; None: nobody looks (N4).
    """

    def __init__(self, body: Body, rows: Sequence[Numbered], pool: Pool | None = None) -> None:
        self._history = History(rows)
        self._pool = pool
        start = self._history.start
        facts = start.meta or {}
        self._clock = int(facts.get("clock", start.at))
        self.loop = WorkflowLoop(now=self._clock / 1_000_000)  # type: ignore[abstract]  # the rest of it is set by name
        self.ambient = Ambient(
            self.loop,
            instance_id=start.call,
            workflow_name=start.name,
            run=int(facts.get("number", 1)),
            seed=int(facts.get("seed", 0)),
        )
        self.loop.ambient = self.ambient
        self.loop.awaited = lambda: bool(self._calls or self._timers)
        self.loop.on_unordered = self._unordered
        self.loop.on_timer = self._timer_started
        self.loop.on_timer_cancelled = self._timer_cancelled
        self.ambient.schedule = self._schedule
        self.ambient.record_side_effect = self._side_effect
        self.ended: Ended | None = None
        self.show: Callable[[Payload], object] | None = None
        self._undertaker = Undertaker(self.loop, self.ambient)
        self._body = body
        self._root: WorkflowTask | None = None
        self._closing = False
        self._swept = False
        self._caught_up = False
        self._anew = False
        self._mismatch: HistoryMismatch | None = None
        self._present = 0
        self._report = Report()
        self._unordered_from = 0
        self._occurrences: dict[tuple[str, str, str], int] = {}
        self._calls: dict[str, CallFuture] = {}
        self._timers: dict[str, tuple[Timer, int]] = {}
        self._places: set[str] = set()
        self._reused: list[tuple[tuple[int, int, int], str, Kept]] = []
        if pool is not None:
            pool.claim(self._history)

    # -- the door ------------------------------------------------------------------------------------------------------

    def begin(self, present: int) -> Report:
        """Start the code and bring it to where its history ends. *present* is in microseconds."""
        report = self._open(present)
        with self.loop.running():
            self.ambient.replaying = self._history.knows or bool(self._pool)
            self._root = self.loop._new_task(self._body(self.ambient), self.loop.root, None, contextvars.Context())
            self._run()
            shows = self._history.shows
            for seq, event in self._history.replaying():
                if self._mismatch is not None:
                    break
                self._show(shows.get(seq, ()) if shows else ())
                self._replay(event)
            if self._mismatch is None:
                self._catch_up()
            if self._mismatch is None:
                self._answer_reused()
                self._deliver_recorded()
        report.calls = self._open_calls()
        report.timers = [OpenTimer(p, due) for p, (_, due) in self._timers.items()]
        return self._close()

    def deliver(self, deliveries: Sequence[Delivery], present: int) -> Report:
        """Deliver one event after the other, running until idle after each (C5). *present* is in microseconds."""
        self._open(present)
        if not self.loop.dead:
            with self.loop.running():
                for delivery in deliveries:
                    self._deliver(delivery)
                    self._answer_reused()
        return self._close()

    def put_down(self) -> None:
        """Unwind the code on its own thread without any effect (X3). Harmless when repeated."""
        self._undertaker.put_down(self.ended.error if self.ended is not None else None)
        self._root = None
        self._calls.clear()
        self._timers.clear()
        self._reused.clear()

    # -- running -------------------------------------------------------------------------------------------------------

    def _open(self, present: int) -> Report:
        self._present = max(present, self._clock)
        self._report = Report()
        return self._report

    def _close(self) -> Report:
        report = self._report
        if self._mismatch is not None:
            return Report(mismatch=self._mismatch)
        report.calls = [call for call in report.calls if call.place in self._calls]  # not those cancelled since
        report.timers = [timer for timer in report.timers if timer.place in self._timers]
        report.ended = self.ended
        return report

    def _run(self) -> None:
        self.loop.run_until_idle()
        root = self._root
        if self.ended is not None or self._mismatch is not None or root is None:
            return
        if root.done() or self.loop.escaped is not None:
            self._finish(root)

    def _finish(self, root: WorkflowTask) -> None:
        """The body has returned: what it left running is cancelled and may clean up; then the run ends (U3).

        So it is when SystemExit or KeyboardInterrupt left a task, which would end a whole process elsewhere (C7).
        """
        loop = self.loop
        if not self._closing:
            self._closing = True
            for task in list(loop.tasks.values()):
                if not task.done():
                    task.cancel()
            loop.run_until_idle()
        if self._mismatch is not None or any(not task.done() for task in loop.tasks.values()):
            return
        if not self._swept:
            self._swept = True
            if any(generator.ag_frame is not None for generator in loop.generators):
                loop._new_task(loop.shutdown_asyncgens(), loop.root.child(), None, contextvars.Context())
                self._run()
                return
        for timer, _ in list(self._timers.values()):
            timer.cancel()
        if self._mismatch is None:
            self.ended = self._result(root)

    def _result(self, root: WorkflowTask) -> Ended:
        try:
            if self.loop.escaped is not None:
                root._log_traceback = False
                raise self.loop.escaped
            payload = root.result()
            self.ambient.check_awaited()
            return Ended(payload=payload)
        except BaseException as error:
            self.ambient.note_unawaited(error)
            self.ambient.check_awaited_quietly()
            return Ended(error=error, reported=self.ambient.is_reported(error))

    def _show(self, outputs: Iterable[Payload | None]) -> None:
        for output in outputs if self.show is not None else ():
            self.show(output)  # type: ignore[misc, arg-type]

    def _advance(self, at: int) -> None:
        """Move the run's clock; it never goes back (C5)."""
        self._clock = max(self._clock, at)
        self.loop.now = self._clock / 1_000_000

    # -- replay --------------------------------------------------------------------------------------------------------

    def _replay(self, event: Event) -> None:
        at = event.at
        if at > self._clock:
            self._clock = at
            self.loop.now = at / 1_000_000
        place = event.call
        if event.kind == ev.TIMER_FIRED:
            entry = self._timers.pop(place, None)
            if entry is None:
                self._part(self._history.not_awaited(self._history.calls[place], self._closing))
                return
            self.loop.fire(entry[0])
        else:
            future = self._calls.pop(place, None)
            if future is None or future.done():
                self._part(self._history.not_awaited(self._history.calls[place], self._closing))
                return
            self._report.replayed += 1
            if not (event.meta and event.meta.get("reused")):
                self._anew = True
            self._resolve(future, event.kind == ev.ACTIVITY_COMPLETED, event.payload, None)
        self._run()

    def _catch_up(self) -> None:
        """History is at its end: the code must have asked for all of it, and given up what was given up in it."""
        unasked = self._history.unasked()
        if unasked is not None:
            self._part(self._history.not_asked(unasked))
            return
        for call in self._history.calls.values():
            place = call.intent.call
            if call.cancelled and (place in self._calls or place in self._timers):
                self._part(self._history.cancelled_otherwise(call))
                return
        self._caught_up = True
        self._show(self._history.shows.get(0, ()))
        self.ambient.silent = False
        self.ambient.replaying = bool(self._reused)

    def _deliver_recorded(self) -> None:
        """Deliver the outcomes that were recorded while the code could not take them (S1)."""
        waiting = [call for call in self._history.calls.values() if call.waiting is not None and call.outcome is None]
        for call in sorted(waiting, key=lambda call: call.waiting_seq):
            place = call.intent.call
            if place in self._calls and call.waiting is not None:  # else it was cancelled: the record of it is enough
                event = delivered(call.waiting)
                again = Delivery(event.kind, place, event.at, event.attempt, event.payload, shows=call.unshown)
                self._deliver(again)
                self._answer_reused()

    def _open_calls(self) -> list[OpenCall]:
        """The calls without an outcome, those of history with what is known of their attempts."""
        found = []
        for future in self._calls.values():
            if future.done():
                continue
            call = future.call
            opened = self._opened(future)
            if call is not None:
                opened.attempts, opened.failed, opened.next_at = call.attempts, call.failed, call.next_at
                opened.failures = call.failures
                opened.first_at, opened.fresh, opened.unshown = call.intent.at, False, call.unshown
            found.append(opened)
        return found

    def _opened(self, future: CallFuture) -> OpenCall:
        """A call to execute that this run has only just made; a doubt of an earlier run goes on with it (A5)."""
        command = future.command
        opened = OpenCall(future.place, command, future.occurrence, first_at=self._present)
        key = (ev.ACTIVITY_SCHEDULED, command.name, command.digest, future.occurrence)
        if command.at_most_once and self._pool is not None and self._pool.in_doubt(key):
            opened.attempts, opened.fresh = 1, False
        return opened

    def _part(self, mismatch: HistoryMismatch) -> None:
        """Code and history parted: from here on nothing that this execution asks for happens."""
        if self._mismatch is None:
            self._mismatch = mismatch
        self.loop.dead = True

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _occurrence(self, kind: str, name: str, digest: str) -> int:
        """Count equal calls in the order in which they are issued."""
        known = (kind, name, digest)
        occurrence = self._occurrences.get(known, 0)
        self._occurrences[known] = occurrence + 1
        return occurrence

    def _find(self, place: str, kind: str, name: str, digest: str, occurrence: int, text: str = "") -> Call | None:
        """Find the call in this run's history. None: it is new. Raises RunPutDown when code and history part here."""
        if self._caught_up:
            return None
        call = self._history.find(place, kind, name, digest, occurrence)
        if call is None:
            if self._history.knows and not self._history.goes_on():
                self._part(self._history.mismatch(place, kind, name, text))
                raise RunPutDown
            return None
        if call.intent.call != place:
            self._report.moved.append(f"{name} moved from {call.intent.call} to {place}")
        return call

    def _new_place(self, place: str) -> str:
        while place in self._places or place in self._history.calls:
            place += "+"
        self._places.add(place)
        return place

    def _schedule(self, command: ActivityCommand) -> WorkflowFuture:
        if self.loop.dead:
            self.loop.on_refused()
        owner = self.loop.here()
        place, kind, name, digest = owner.place(), ev.ACTIVITY_SCHEDULED, command.name, command.digest
        occurrence = self._occurrence(kind, name, digest)
        call = self._find(place, kind, name, digest, occurrence, command.payload.text)
        if call is not None:
            place = call.intent.call
            future = CallFuture(self, place, owner, command)
            future.call = call
            future.occurrence = call.occurrence
        else:
            place = self._new_place(place)
            future = CallFuture(self, place, owner, command)
            future.occurrence = occurrence
            self._issue(future, (kind, name, digest, occurrence))
        self._calls[place] = future
        return future

    def _issue(self, future: CallFuture, key: Key) -> None:
        """A call that this run has not made before: answered by an earlier run (R2, R4, R8), or executed."""
        command, place = future.command, future.place
        meta: dict[str, Any] = {}
        if key[3]:
            meta["occurrence"] = key[3]
        if command.at_most_once:
            meta["delivery"] = "at_most_once"
        code = command.code()
        kept = None
        if self._pool is not None and command.reuse != "never" and not (command.reuse == "prefix" and self._anew):
            kept = self._pool.take(place, key, lambda: code)
        at = self._present
        if kept is not None:
            meta["reused"] = list(kept.origin)
            at = kept.call.intent.at
            heapq.heappush(self._reused, (kept.order, place, kept))
        elif self._caught_up:
            self._report.calls.append(self._opened(future))
        self._report.rows.append(
            Event(
                ev.ACTIVITY_SCHEDULED, at, place, command.name, command.digest, code, 0, command.payload, meta or None
            )
        )

    def call_cancelled(self, future: CallFuture) -> None:
        """The code no longer wants this call's outcome."""
        place = future.place
        if self.loop.dead or self._calls.pop(place, None) is None:
            return
        self._given_up(place, future.call, Event(ev.CALL_CANCELLED, self._present, place))
        self._report.cancelled_calls.append(place)

    def _given_up(self, place: str, call: Call | None, row: Event) -> None:
        """The code cancelled a call or timer: journal it, unless history has it already."""
        if self._reused:
            self._reused = [entry for entry in self._reused if entry[1] != place]
            heapq.heapify(self._reused)
        if self._caught_up or call is None:
            self._report.rows.append(row)
        elif not call.cancelled:
            self._part(self._history.cancelled_otherwise(call))

    def _unordered(self, begins: bool) -> None:
        """Put the cancellations of a step that has no order of its own in the order of their places (C4)."""
        rows = self._report.rows
        if begins:
            self._unordered_from = len(rows)
            return
        sort_by_place(rows, self._unordered_from, _CANCELLED)

    def _answer_reused(self) -> None:
        """Deliver what earlier runs answer, first in the old history first, before anything new may happen (R4)."""
        while self._reused and self._mismatch is None:
            self.ambient.replaying = True
            _, place, kept = heapq.heappop(self._reused)
            outcome = kept.call.outcome
            assert outcome is not None
            meta = {"reused": list((outcome.meta or {}).get("reused", (kept.run, kept.call.outcome_seq)))}
            self._report.reused += 1
            self._advance(outcome.at)
            if outcome.kind == ev.TIMER_FIRED:
                timer, _ = self._timers.pop(place)
                self._report.rows.append(Event(ev.TIMER_FIRED, outcome.at, place, meta=meta))
                self.loop.fire(timer)
            else:
                future = self._calls.pop(place)
                outputs = kept.outputs(place)
                self._report.rows += outputs
                self._show(row.payload for row in outputs)
                row = Event(
                    ev.ACTIVITY_COMPLETED, outcome.at, place, "", "", "", outcome.attempt, outcome.payload, meta
                )
                self._report.rows.append(row)
                self._resolve(future, True, outcome.payload, None)
            self._run()
        self.ambient.replaying = False

    def _deliver(self, delivery: Delivery) -> None:
        """Journal one event and let the code see it."""
        if self._mismatch is not None:
            return
        place = delivery.place
        ok = delivery.kind == ev.ACTIVITY_COMPLETED
        if delivery.kind == ev.TIMER_FIRED:
            entry = self._timers.pop(place, None)
            if entry is None:
                return  # cancelled meanwhile
            self._advance(delivery.at)
            self._report.rows.append(Event(ev.TIMER_FIRED, self._clock, place))
            self.loop.fire(entry[0])
        else:
            future = self._calls.pop(place, None)
            if future is None or future.done():
                self._report.rows.append(delivery.late())
                return
            self._anew = True
            self._advance(delivery.at)
            self._show(delivery.shows)
            self._report.rows.append(
                Event(delivery.kind, self._clock, place, attempt=delivery.attempt, payload=delivery.payload)
            )
            self._resolve(future, ok, delivery.payload, delivery.live)
        self._run()

    def _resolve(self, future: CallFuture, ok: bool, payload: Payload | None, live: BaseException | None) -> None:
        self.loop.owned_by(future.owner)
        future.set_result(Outcome(ok, payload or NULL, live))

    # -- timers and side effects -----------------------------------------------------------------------------------------

    def _timer_started(self, timer: Timer) -> None:
        kind, name, digest = ev.TIMER_STARTED, "sleep", f"{timer.delay:.6f}"
        occurrence = self._occurrence(kind, name, digest)
        call = self._find(timer.place, kind, name, digest, occurrence, f"{timer.delay:g} s")
        if call is not None:
            timer.place = call.intent.call
            self._timers[timer.place] = (timer, int((call.intent.meta or {}).get("due", 0)))
            return
        timer.place = place = self._new_place(timer.place)
        at, due = self._present, self._present + round(timer.delay * 1_000_000)
        meta: dict[str, Any] = {"occurrence": occurrence} if occurrence else {}
        kept = self._pool.take(place, (kind, name, digest, occurrence), str) if self._pool is not None else None
        if kept is not None:
            meta["reused"] = list(kept.origin)
            at, due = kept.call.intent.at, int((kept.call.intent.meta or {}).get("due", due))
            heapq.heappush(self._reused, (kept.order, place, kept))
        elif self._caught_up:
            self._report.timers.append(OpenTimer(place, due))
        meta |= {"due": due, "delay": timer.delay}
        self._report.rows.append(Event(kind, at, place, name, digest, meta=meta))
        self._timers[place] = (timer, due)

    def _timer_cancelled(self, timer: Timer) -> None:
        place = timer.place
        if self.loop.dead or self._timers.pop(place, None) is None:
            return
        self._given_up(place, self._history.calls.get(place), Event(ev.TIMER_CANCELLED, self._present, place))
        self._report.cancelled_timers.append(place)

    def _side_effect(self, name: str, produce: Callable[[], Outcome]) -> Outcome:
        place, kind = self.loop.here().place(), ev.SIDE_EFFECT
        occurrence = self._occurrence(kind, name, "")
        call = self._find(place, kind, name, "", occurrence)
        if call is not None:
            event = call.intent
            return Outcome(bool((event.meta or {}).get("ok", True)), event.payload or NULL)
        kept = self._pool.take(place, (kind, name, "", occurrence), str) if self._pool is not None else None
        meta: dict[str, Any] = {"occurrence": occurrence} if occurrence else {}
        at = self._present
        if kept is not None:
            event = kept.call.intent
            outcome = Outcome(bool((event.meta or {}).get("ok", True)), event.payload or NULL)
            at, meta["reused"] = event.at, list(kept.origin)
        else:
            outcome = produce()
        meta["ok"] = outcome.ok
        self._report.rows.append(Event(kind, at, self._new_place(place), name, payload=outcome.payload, meta=meta))
        return outcome
