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
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from romancy_nb.core import events as ev
from romancy_nb.core.commands import ActivityCommand, Delivery, Ended, OpenCall, OpenTimer, Outcome, Report
from romancy_nb.core.context import Ambient
from romancy_nb.core.events import Event
from romancy_nb.core.loop import Path, Timer, WorkflowFuture, WorkflowLoop, WorkflowTask
from romancy_nb.core.replay import Call, History, Key, Numbered, Pool
from romancy_nb.errors import HistoryMismatch, RunPutDown
from romancy_nb.payloads.payload import Payload

__all__ = ["Body", "Execution"]

Body = Callable[[Ambient], Coroutine[Any, Any, Payload]]
"""Makes the coroutine of the workflow: it runs the user's function and returns the encoded result."""


class CallFuture(WorkflowFuture):
    """The future of one activity call; knows its place in history and whose it is."""

    def __init__(self, execution: Execution, place: str, owner: Path, command: ActivityCommand) -> None:
        super().__init__(loop=execution.loop)
        self.execution = execution
        self.place = place
        self.owner = owner
        self.command = command
        self.occurrence = 0
        self.call: Call | None = None

    def cancel(self, msg: Any | None = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled:
            self.execution.call_cancelled(self)
        return cancelled


class Execution:
    """One execution of a run's code.

    Args:
        body: makes the workflow's coroutine.
        rows: the run's history so far; the first row is ``run_started``.
        pool: what earlier runs know, for a new run of the same instance.

    Attributes:
        ambient: the run as its code sees it.
        ended: how the code ended, once it has.
    """

    def __init__(self, body: Body, rows: Sequence[Numbered], pool: Pool | None = None) -> None:
        self._history = History(rows)
        self._pool = pool
        start = self._history.start
        facts = start.meta or {}
        self._clock = int(facts.get("clock", start.at))
        self.loop = WorkflowLoop(now=self._clock / 1_000_000)
        self.ambient = Ambient(
            self.loop,
            instance_id=start.call,
            workflow_name=start.name,
            run=int(facts.get("number", 1)),
            seed=int(facts.get("seed", 0)),
        )
        self.loop.ambient = self.ambient
        self.loop.on_timer = self._timer_started
        self.loop.on_timer_cancelled = self._timer_cancelled
        self.ambient.schedule = self._schedule
        self.ambient.record_side_effect = self._side_effect
        self.ended: Ended | None = None
        self._body = body
        self._root: WorkflowTask | None = None
        self._closing = False
        self._caught_up = False
        self._anew = False
        self._mismatch: HistoryMismatch | None = None
        self._present = 0
        self._report = Report()
        self._occurrences: dict[tuple[str, str, str], int] = {}
        self._calls: dict[str, CallFuture] = {}
        self._timers: dict[str, tuple[Timer, int]] = {}
        self._places: set[str] = set()
        self._reused: list[tuple[int, int, str, Call]] = []

    # -- the door ------------------------------------------------------------------------------------------------------

    def begin(self, present: int) -> Report:
        """Start the code and bring it to where its history ends. *present* is in microseconds."""
        report = self._open(present)
        with self.loop.running():
            self.ambient.replaying = bool(self._history.deliveries) or bool(self._pool)
            context = contextvars.Context()
            self._root = self.loop._new_task(self._body(self.ambient), self.loop.root, None, context)
            self._run()
            for _, event in self._history.deliveries:
                if self._mismatch is not None:
                    break
                self._replay(event)
            self._catch_up()
            if self._mismatch is None:
                self._answer_reused()
                self._deliver_recorded()
        report.calls = [] if self._mismatch else self._open_calls()
        report.timers = [OpenTimer(p, due) for p, (_, due) in self._timers.items()]
        return self._close()

    def deliver(self, deliveries: Sequence[Delivery], present: int) -> Report:
        """Deliver one event after the other, running until idle after each (C5). *present* is in microseconds."""
        self._open(present)
        with self.loop.running():
            for delivery in deliveries:
                self._deliver(delivery)
                self._answer_reused()
        return self._close()

    def put_down(self) -> None:
        """Unwind the code on its own thread without any effect (X3). Harmless when repeated."""
        self.loop.dead = True
        with self.loop.running():
            for code in list(self.ambient.greenlets):
                self.ambient.kill(code)
            for _, task in sorted(self.loop.tasks.items()):
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    _close(task.get_coro())
            self.loop.close_generators()
        self.ambient.check_awaited()
        self._calls.clear()
        self._timers.clear()

    # -- running -------------------------------------------------------------------------------------------------------

    def _open(self, present: int) -> Report:
        self._present = max(present, self._clock)
        self._report = Report()
        return self._report

    def _close(self) -> Report:
        report = self._report
        if self._mismatch is not None:
            report.mismatch = self._mismatch
        elif self.ended is not None:
            report.ended = self.ended
        return report

    def _run(self) -> None:
        self.loop.run_until_idle()
        root = self._root
        if self.ended is None and self._mismatch is None and root is not None and root.done():
            self._finish(root)

    def _finish(self, root: WorkflowTask) -> None:
        """The body has returned: what it left running is cancelled and may clean up; then the run ends (U3)."""
        if not self._closing:
            self._closing = True
            for _, task in sorted(self.loop.tasks.items()):
                if not task.done():
                    task.cancel()
            self.loop.run_until_idle()
        if any(not task.done() for task in self.loop.tasks.values()):
            return
        for timer, _ in list(self._timers.values()):
            timer.cancel()
        try:
            payload = root.result()
            self.ambient.check_awaited()
            self.ended = Ended(payload=payload)
        except BaseException as error:
            self.ambient.check_awaited_quietly()
            self.ended = Ended(error=error, reported=self.ambient.is_reported(error))

    def _advance(self, at: int) -> None:
        """Move the run's clock; it never goes back (C5)."""
        self._clock = max(self._clock, at)
        self.loop.now = self._clock / 1_000_000

    # -- replay --------------------------------------------------------------------------------------------------------

    def _replay(self, event: Event) -> None:
        self._advance(event.at)
        if event.kind == ev.TIMER_FIRED:
            entry = self._timers.pop(event.call, None)
            if entry is None:
                self._part(self._history.not_asked(self._history.calls[event.call]))
                return
            self._fire(entry[0])
        else:
            future = self._calls.pop(event.call, None)
            if future is None or future.done():
                self._part(self._history.not_asked(self._history.calls[event.call]))
                return
            self._report.replayed += 1
            self._resolve(future, event.kind == ev.ACTIVITY_COMPLETED, event.payload, None)
        self._run()

    def _catch_up(self) -> None:
        unasked = self._history.unasked() if self._mismatch is None else None
        if unasked is not None:
            self._part(self._history.not_asked(unasked))
        self._caught_up = True
        self.ambient.replaying = bool(self._reused)

    def _deliver_recorded(self) -> None:
        """Deliver the outcomes that were recorded while the code could not take them (S1)."""
        waiting = [call for call in self._history.calls.values() if call.waiting is not None and call.outcome is None]
        for call in sorted(waiting, key=lambda call: call.waiting.at if call.waiting else 0):
            event = call.waiting
            assert event is not None
            kind = ev.ACTIVITY_COMPLETED if (event.meta or {}).get("ok") else ev.ACTIVITY_FAILED
            self._deliver(Delivery(kind, call.intent.call, event.at, event.attempt, event.payload))
            self._answer_reused()

    def _open_calls(self) -> list[OpenCall]:
        """The calls without an outcome, those of history with what is known of their attempts."""
        found = []
        for place, future in self._calls.items():
            if future.done():
                continue
            call = future.call
            opened = OpenCall(place, future.command, future.occurrence, first_at=self._present)
            if call is not None:
                opened.attempts, opened.failed, opened.next_at = call.attempts, call.failed, call.next_at
                opened.failures = call.failures
                opened.first_at, opened.fresh = call.intent.at, False
            found.append(opened)
        return found

    def _part(self, mismatch: HistoryMismatch) -> None:
        """Code and history parted: from here on nothing that this execution asks for happens."""
        if self._mismatch is None:
            self._mismatch = mismatch
        self.loop.dead = True

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _key(self, kind: str, name: str, digest: str) -> Key:
        known = (kind, name, digest)
        occurrence = self._occurrences.get(known, 0)
        self._occurrences[known] = occurrence + 1
        return (*known, occurrence)

    def _find(self, place: str, key: Key, text: str = "") -> Call | None:
        """Find the call in this run's history. None: it is new. Raises RunPutDown when code and history part here."""
        found = self._history.find(place, key) if self._history.calls else None
        if found is None:
            if not self._caught_up and self._history.has_calls:
                self._part(self._history.mismatch(place, key, text))
                raise RunPutDown
            return None
        call, moved = found
        if moved:
            self._report.moved.append(f"{key[1]} moved from {call.intent.call} to {place}")
        return call

    def _new_place(self, place: str) -> str:
        while place in self._places or place in self._history.calls:
            place += "+"
        self._places.add(place)
        return place

    def _schedule(self, command: ActivityCommand) -> WorkflowFuture:
        owner = self.loop.here()
        place = owner.place()
        key = self._key(ev.ACTIVITY_SCHEDULED, command.name, command.digest)
        call = self._find(place, key, command.payload.text)
        if call is not None:
            future = CallFuture(self, call.intent.call, owner, command)
            future.call = call
        else:
            future = CallFuture(self, self._new_place(place), owner, command)
            self._issue(future, key)
        future.occurrence = key[3]
        self._calls[future.place] = future
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
        taken = None
        if self._pool and command.reuse != "never" and not (command.reuse == "prefix" and self._anew):
            taken = self._pool.take(place, key, lambda: code)
        at = self._present
        if taken is not None:
            run, call = taken
            meta["reused"] = (call.intent.meta or {}).get("reused", [run, call.seq])
            at = call.intent.at
            assert call.outcome is not None
            heapq.heappush(self._reused, (call.outcome.at, call.outcome_seq, place, call))
        else:
            self._anew = True
            if self._caught_up:
                self._report.calls.append(OpenCall(place, command, key[3], first_at=at))
        self._report.rows.append(
            Event(ev.ACTIVITY_SCHEDULED, at, place, command.name, command.digest, code, 0, command.payload, meta or None)
        )

    def call_cancelled(self, future: CallFuture) -> None:
        """The code no longer wants this call's outcome."""
        if self.loop.dead or self._calls.pop(future.place, None) is None:
            return
        self._reused = [entry for entry in self._reused if entry[2] != future.place]
        heapq.heapify(self._reused)
        if future.call is None or not future.call.cancelled:
            self._report.rows.append(Event(ev.CALL_CANCELLED, self._present, future.place))
        self._report.calls = [call for call in self._report.calls if call.place != future.place]
        self._report.cancelled_calls.append(future.place)

    def _answer_reused(self) -> None:
        """Deliver what earlier runs answer, first in the old history first, before anything new may happen (R4)."""
        while self._reused and self._mismatch is None:
            self.ambient.replaying = True
            at, _, place, call = heapq.heappop(self._reused)
            outcome = call.outcome
            assert outcome is not None
            meta = {"reused": (outcome.meta or {}).get("reused", True)}
            self._report.reused += 1
            self._advance(at)
            if outcome.kind == ev.TIMER_FIRED:
                entry = self._timers.pop(place, None)
                self._report.rows.append(Event(ev.TIMER_FIRED, at, place, meta=meta))
                if entry is not None:
                    self._fire(entry[0])
            else:
                future = self._calls.pop(place)
                self._report.rows.append(
                    Event(ev.ACTIVITY_COMPLETED, at, place, attempt=outcome.attempt, payload=outcome.payload, meta=meta)
                )
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
            self._report.rows.append(Event(ev.TIMER_FIRED, delivery.at, place))
            self._fire(entry[0])
        else:
            future = self._calls.pop(place, None)
            if future is None or future.done():
                late = Event(ev.LATE_OUTCOME, delivery.at, place, "", "", "", delivery.attempt, delivery.payload, {"ok": ok})
                self._report.rows.append(late)
                return
            self._advance(delivery.at)
            self._report.rows.append(
                Event(delivery.kind, delivery.at, place, attempt=delivery.attempt, payload=delivery.payload)
            )
            self._resolve(future, ok, delivery.payload, delivery.live)
        self._run()

    def _resolve(self, future: CallFuture, ok: bool, payload: Payload | None, live: BaseException | None) -> None:
        self.loop.owned_by(future.owner)
        future.set_result(Outcome(ok, payload or Payload("null"), live))

    # -- timers and side effects -----------------------------------------------------------------------------------------

    def _timer_started(self, timer: Timer) -> None:
        digest = f"{timer.delay:.6f}"
        key = self._key(ev.TIMER_STARTED, "sleep", digest)
        call = self._find(timer.place, key, f"{timer.delay:g} s")
        if call is not None:
            timer.place = call.intent.call
            self._timers[timer.place] = (timer, int((call.intent.meta or {}).get("due", 0)))
            return
        timer.place = place = self._new_place(timer.place)
        at, due = self._present, self._present + int(timer.delay * 1_000_000)
        meta: dict[str, Any] = {"occurrence": key[3]} if key[3] else {}
        taken = self._pool.take(place, key, str) if self._pool else None
        if taken is not None:
            run, recorded = taken
            assert recorded.outcome is not None
            meta["reused"] = (recorded.intent.meta or {}).get("reused", [run, recorded.seq])
            at, due = recorded.intent.at, int((recorded.intent.meta or {}).get("due", due))
            heapq.heappush(self._reused, (recorded.outcome.at, recorded.outcome_seq, place, recorded))
        elif self._caught_up:
            self._report.timers.append(OpenTimer(place, due))
        meta |= {"due": due, "delay": timer.delay}
        self._report.rows.append(Event(ev.TIMER_STARTED, at, place, "sleep", digest, meta=meta))
        self._timers[place] = (timer, due)

    def _timer_cancelled(self, timer: Timer) -> None:
        if self.loop.dead or self._timers.pop(timer.place, None) is None:
            return
        self._reused = [entry for entry in self._reused if entry[2] != timer.place]
        heapq.heapify(self._reused)
        call = self._history.calls.get(timer.place)
        if call is None or not call.cancelled:
            self._report.rows.append(Event(ev.TIMER_CANCELLED, self._present, timer.place))
        self._report.timers = [t for t in self._report.timers if t.place != timer.place]
        self._report.cancelled_timers.append(timer.place)

    def _fire(self, timer: Timer) -> None:
        self.loop.fire(timer)

    def _side_effect(self, name: str, produce: Callable[[], Outcome]) -> Outcome:
        place = self.loop.here().place()
        key = self._key(ev.SIDE_EFFECT, name, "")
        call = self._find(place, key)
        if call is None and self._pool is not None:
            taken = self._pool.take(place, key, str)
            if taken is not None:
                run, recorded = taken
                self._record_side_effect(place, key, recorded.intent, [run, recorded.seq])
                call = recorded
        if call is not None:
            event = call.intent
            return Outcome(bool((event.meta or {}).get("ok", True)), event.payload or Payload("null"))
        outcome = produce()
        event = Event(ev.SIDE_EFFECT, self._present, payload=outcome.payload, meta={"ok": outcome.ok})
        self._record_side_effect(place, key, event, None)
        return outcome

    def _record_side_effect(self, place: str, key: Key, event: Event, reused: list[int] | None) -> None:
        meta: dict[str, Any] = {"ok": (event.meta or {}).get("ok", True)}
        if key[3]:
            meta["occurrence"] = key[3]
        if reused:
            meta["reused"] = reused
        place = self._new_place(place)
        self._report.rows.append(Event(ev.SIDE_EFFECT, event.at, place, key[1], payload=event.payload, meta=meta))


def _close(coro: Any) -> None:
    """Close a coroutine however often it tries to go on waiting."""
    for _ in range(1000):
        try:
            coro.close()
            return
        except BaseException:
            continue
