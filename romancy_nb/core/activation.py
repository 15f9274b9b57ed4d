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
from romancy_nb.core.calls import CallFuture, OutsideFuture
from romancy_nb.core.commands import Delivery, Ended, OpenCall, Outcome, Report
from romancy_nb.core.context import Ambient
from romancy_nb.core.events import Event
from romancy_nb.core.issuing import Issuing
from romancy_nb.core.pool import Pool
from romancy_nb.core.replay import Numbered, delivered
from romancy_nb.core.tasks import WorkflowTask
from romancy_nb.core.undertaker import Undertaker
from romancy_nb.payloads.payload import NULL, Payload

__all__ = ["Body", "Execution"]

Body = Callable[[Ambient], Coroutine[Any, Any, Payload]]
"""Makes the coroutine of the workflow: it runs the user's function and returns the encoded result."""


class Execution(Issuing):
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
        super().__init__(rows, pool)
        self.ended: Ended | None = None
        self.show: Callable[[Payload], object] | None = None
        self._undertaker = Undertaker(self.loop, self.ambient)
        self._body = body
        self._root: WorkflowTask | None = None
        self._closing = False
        self._swept = False

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
        report.timers = [self._opened_timer(timer, due) for timer, due in self._timers.values()]
        report.outside = [self._opened_outside(future) for future in self._outside.values() if not future.done()]
        report.tells = report.tells or any(each.command.facts.get("what") == "message" for each in report.outside)
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
        self._outside.clear()
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
        report.outside = [each for each in report.outside if each.place in self._outside]
        report.ended = self.ended
        report.armed = self._armed
        report.cancelled = self._cancelled is not None
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
        if self._recurs is not None and self._cancelled is None and self.loop.escaped is None:
            root._log_traceback = False
            self.ambient.check_awaited_quietly()
            return Ended(recurs=self._recurs)
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
        if event.kind == ev.CANCEL_DELIVERED:
            self._cancel(str((event.meta or {}).get("reason", "")))
        elif event.kind == ev.TIMER_FIRED:
            entry = self._timers.pop(place, None)
            if entry is None:
                self._part(self._history.not_awaited(self._history.calls[place], self._closing))
                return
            self.loop.fire(entry[0])
        elif event.kind in ev.OUTSIDE:
            outside = self._outside.pop(place, None)
            if outside is None or outside.done():
                self._part(self._history.not_awaited(self._history.calls[place], self._closing))
                return
            self._report.replayed += event.kind != ev.EVENT_RECEIVED
            self._came(outside, event.kind, event.payload, None)
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
            if call.cancelled and (place in self._calls or place in self._timers or place in self._outside):
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
                opened.first_at, opened.fresh, opened.unshown = call.intent.at + call.queued, False, call.unshown
            found.append(opened)
        return found

    # -- deliveries ----------------------------------------------------------------------------------------------------

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
            elif outcome.kind in ev.OUTSIDE:
                outside = self._outside.pop(place)
                told = {k: v for k, v in (outcome.meta or {}).items() if k != "arrived"}
                row = Event(outcome.kind, outcome.at, place, payload=outcome.payload, meta={**told, **meta})
                self._report.rows.append(row)
                self._came(outside, outcome.kind, outcome.payload, None)
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
        if delivery.kind == ev.CANCEL_DELIVERED:
            if self.ended is not None or self._cancelled is not None:
                return
            self._advance(delivery.at)
            self._report.rows.append(Event(ev.CANCEL_DELIVERED, self._clock, meta={"reason": delivery.reason}))
            self._cancel(delivery.reason)
        elif delivery.kind == ev.TIMER_FIRED:
            entry = self._timers.pop(place, None)
            if entry is None:
                return  # cancelled meanwhile
            self._advance(delivery.at)
            self._report.rows.append(Event(ev.TIMER_FIRED, self._clock, place))
            self.loop.fire(entry[0])
        elif delivery.kind in ev.OUTSIDE:
            outside = self._outside.pop(place, None)
            if outside is None or outside.done():
                return  # given up meanwhile; an event goes to the next that awaits it
            self._anew = True
            self._advance(delivery.at)
            facts = dict(delivery.facts) if delivery.facts else None
            self._report.rows.append(Event(delivery.kind, self._clock, place, payload=delivery.payload, meta=facts))
            self._came(outside, delivery.kind, delivery.payload, delivery.live)
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
        self._settled += 1
        future.settled = self._settled if ok else 0
        if ok and future.command.pivot:
            self.ambient.pivoted = self._settled
        future.set_result(Outcome(ok, payload or NULL, live))

    def _came(self, future: OutsideFuture, kind: str, payload: Payload | None, live: BaseException | None) -> None:
        """Something from outside has come: the code that awaits it goes on."""
        self.loop.owned_by(future.owner)
        self._settled += 1
        ok = kind != ev.CHILD_FAILED
        future.settled = self._settled if ok else 0
        future.set_result(Outcome(ok, payload or NULL, live))

    def _cancel(self, reason: str) -> None:
        """Have the code get CancelledError where it waits (U3)."""
        self._cancelled = reason
        self.ambient.cancelled = True
        if self._root is not None and not self._root.done():
            self._root.cancel(reason)
