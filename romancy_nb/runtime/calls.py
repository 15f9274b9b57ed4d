"""Activities from the engine's side: when an open call is executed, and what becomes of each attempt (A1-A3)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from romancy_nb.clock import monotonic, now_us
from romancy_nb.core import events as ev
from romancy_nb.core.commands import ActivityCommand, Delivery, OpenCall
from romancy_nb.core.events import Event
from romancy_nb.definitions.ambient import ActivityFacts
from romancy_nb.definitions.told import told
from romancy_nb.errors import JournalError, SessionError
from romancy_nb.journal.protocol import Row
from romancy_nb.payloads.failures import encode_failure
from romancy_nb.payloads.payload import Payload, code_digest
from romancy_nb.runtime import cancelling, children, endings, keys, queueing, recurring, undoing
from romancy_nb.runtime.capture import CAPTURE, Capture, Part
from romancy_nb.runtime.dispatcher import Attempt, timed_out
from romancy_nb.runtime.hosts import CellHost
from romancy_nb.runtime.inbox import AttemptEnded
from romancy_nb.runtime.limits import Ticket
from romancy_nb.runtime.live import LiveRun
from romancy_nb.runtime.sessions import Session
from romancy_nb.runtime.turns import Turns

__all__ = ["Calls"]

log = logging.getLogger("romancy_nb")


class Calls(Turns):
    """The layer that has activities executed."""

    def execute(self, run: LiveRun, call: OpenCall) -> None:
        """Decide when and how an open call is executed."""
        flying = self._dispatcher.flying.get((run.key, call.place))
        if flying is not None:  # a resume in the process that still executes it adopts it, and waits for its end (A2)
            if (
                part := flying.capture.move(run.outlet)
            ) is not None:  # seen in the cell that was stopped, and not in this
                self.record(run, [endings.output(flying, part._replace(live=False))])
                call.unshown += (part.payload,)
            if flying.capture.floor:
                run.floors.append(flying)
            return
        if call.fresh:
            self._keep_code(call.command)
        in_doubt = call.in_doubt
        if call.command.at_most_once and in_doubt and call.attempts > call.failed:
            self._doubt(run, call)
            return
        if call.next_at > now_us():
            self._timers.set((run.key, call.place, "retry"), call.next_at)
        elif call.limits:
            queueing.join(self, run, call)
        else:
            self.begin_attempt(run, call)

    def begin_attempt(self, run: LiveRun, call: OpenCall, ticket: Ticket | None = None) -> None:
        """Have the next attempt of a call executed once this turn is durable."""
        number = max(call.attempts, 1 if call.in_doubt else 0) + 1
        if number > 1 or call.command.at_most_once or call.limits:
            meta = queueing.facts(call) if call.limits else None
            self.record(run, [Event(ev.ATTEMPT_STARTED, now_us(), call.place, attempt=number, meta=meta)])
        call.attempts = number
        attempt = Attempt(
            run.key, call.place, number, call.command, self._facts(run, call, number), call.failures, call.first_at
        )
        attempt.ticket = ticket
        if attempt.activity.options.executor in (None, "main"):  # elsewhere it may be another process
            attempt.facts.open_session = lambda: self._open_session(attempt)
        self._after.append(attempt)

    def _keep_code(self, command: ActivityCommand) -> None:
        """Keep the text of an activity with the first intent of it that this process makes: what is shown of its steps later."""
        try:
            known = command.name, command.code()
            if known not in self.code_kept:
                self.code_kept.add(known)
                text = told(command.name, command.target.function, known[1])
                if text is not None:
                    self._texts[code_digest(*known)] = text
        except Exception as error:  # nothing that is only shown may stop a step
            log.debug("the code of activity %s is not kept: %s", command.name, error)

    def _doubt(self, run: LiveRun, call: OpenCall) -> None:
        """A call that must not be repeated, and whose outcome nobody knows."""
        name = call.command.name
        settled = call.command.target.options.on_doubt in {"fail", "compensate"}
        error = endings.InDoubt(
            f"Activity {name} of {run.instance} (call {call.place}) was started and nobody recorded how it ended. It is "
            f"`at_most_once`, so it is not executed again by itself.{'' if settled else _ask(run.instance, call.place)}"
        )
        if settled:
            payload = encode_failure(error)
            self._deliver_later(run, Delivery(ev.ACTIVITY_FAILED, call.place, now_us(), call.attempts, payload, error))
        elif run.cancelling is not None and not run.cancelled:
            # nobody needs the answer any more: the code gives the call up, and the undo deals with the doubt (U1)
            if run.settling or not any(pending.kind == ev.CANCEL_DELIVERED for pending in run.pending):
                run.settling = False
                cancelling.deliver(self, run)
        else:
            endings.pause(self, run, "doubt", error)

    def _facts(self, run: LiveRun, call: OpenCall, number: int) -> ActivityFacts:
        command = call.command
        outlet = call.output or run.outlet
        undone = 0
        if run.undone:
            undone = run.undone.get((ev.ACTIVITY_SCHEDULED, command.name, command.digest, call.occurrence)) or 0
        key = keys.key_of(
            run.instance,
            command.name,
            command.digest,
            call.occurrence,
            keys.generation_of(command.name, run.number, run.redo, recurring.turn(run), undone),
            number=run.number,
            undoes=command.undoes or "",
            scope=call.scope,
        )
        return ActivityFacts(
            run.instance,
            run.workflow.name,
            run.number,
            number,
            key,
            report_progress=lambda done, total, text: self.taps.reports.report(run.key, call.place, done, total, text),
            report_log=lambda text: _say(run.instance, command.name, text),
            enter=outlet.enter if outlet is not None else None,
        )

    def _dispatch(self, attempt: Attempt) -> None:
        run = self.live.get(attempt.run)
        if run is None or run.finished or attempt.place not in run.calls:
            return
        attempt.start = run.start
        if attempt.withdrawn:
            return  # Stop was pressed while this turn was written: nothing more is begun, and the resume does (A2)
        run.executed += 1
        if attempt.ticket is not None:
            self.limits.begun(attempt.ticket)
        call = run.calls[attempt.place]
        # alone in its run (or its cell), its lines may go to the cell as they come; else they are shown with its outcome
        alone = len(run.calls) == 1 if run.ledger is None else self._alone(run, call)
        attempt.capture = Capture(call.output or run.outlet, alone, attempt.activity.name)
        if attempt.capture.floor:
            run.floors.append(attempt)
        waiting = call.host or run.host
        cell = waiting if isinstance(waiting, CellHost) else None
        timeout = attempt.activity.options.timeout
        if timeout is not None and not attempt.activity.signature.is_async:
            self._timers.set((attempt.run, attempt.place, "limit"), now_us() + int(timeout * 1_000_000))
        self._dispatcher.dispatch(attempt, cell, own=run.ledger is not None and timeout is None)

    def _attempt_ended(self, item: AttemptEnded) -> None:
        attempt = item.attempt
        if self._dispatcher.flying.get((attempt.run, attempt.place)) is attempt:
            del self._dispatcher.flying[attempt.run, attempt.place]
        if attempt.ticket is not None:
            self.limits.leave(attempt.ticket)
        self.taps.reports.over(attempt.run, attempt.place)
        run = self.live.get(attempt.run)
        if attempt.session is not None:
            item = self._end_session(run, item)
        unseen = self._keep_output(run, attempt) if run is not None and attempt.outputs else ()
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
                self.record(run, [endings.late(item)])
                if item.ok:
                    undoing.came_late(self, run)
            return
        self._timers.cancel((attempt.run, attempt.place, "limit"))
        call = run.calls.get(attempt.place)
        if item.interrupted or call is None:
            if call is None and not item.interrupted:
                self.record(run, [endings.late(item)])
                if item.ok:
                    undoing.came_late(self, run)
            elif call is not None and (attempt.place in run.unwanted or run.ledger is not None):
                run.calls.pop(attempt.place, None)
            elif call is not None and run.status != "paused" and not (run.start and run.start.abandoned):
                call.fresh = False  # it was interrupted, and the run has been resumed since
                self.execute(run, call)
            self._end_if_settled(run)
            return
        unseen = call.unshown + unseen
        if item.retry_in is not None:
            call.unshown = unseen
            self._failed_attempt(run, call, item)
            return
        kind = ev.ACTIVITY_COMPLETED if item.ok else ev.ACTIVITY_FAILED
        self._deliver_later(
            run, Delivery(kind, attempt.place, item.at, attempt.number, item.payload, item.live, unseen)
        )

    def _open_session(self, attempt: Attempt) -> Session:
        """On the activity's thread: the session is opened on ours, where the journal is held."""

        def open_now(engine: Calls) -> Session:
            run = engine.live.get(attempt.run)
            current = engine._dispatcher.flying.get((attempt.run, attempt.place)) is attempt
            if run is None or run.finished or not current or attempt.over or attempt.interrupted:
                raise SessionError(
                    f"Activity {attempt.activity.name} ({attempt.facts.instance_id}) cannot have a session any more: attempt "
                    f"{attempt.number} was abandoned, stopped, or its run was taken up by another process. Nothing was written."
                )
            attempt.session = Session(engine.journal, attempt)
            engine.sessions.add(attempt.session)
            return attempt.session

        opened: Session = self.ask(open_now, timeout=None)  # waiting for the file fails nothing (D2)
        return opened

    def _drop_session(self, attempt: Attempt) -> None:
        if attempt.session is not None:
            attempt.session.roll_back()

    def _stop_attempt(self, attempt: Attempt) -> None:
        """Stop: interrupt it, and take back what it wrote through a session."""
        self._dispatcher.interrupt(attempt)
        self._drop_session(attempt)

    def _end_session(self, run: LiveRun | None, item: AttemptEnded) -> AttemptEnded:
        """Commit what the attempt wrote, with its outcome, if that still counts; else take it back (S1).

        Returns what the attempt came to after that: one that cannot be committed has failed.
        """
        attempt, session = item.attempt, item.attempt.session
        assert session is not None
        attempt.session = None
        counts = run is not None and attempt.place in run.calls and attempt.place not in run.unwanted
        if not item.ok or attempt.over or session.over or not counts:
            session.roll_back()
            return replace(item, interrupted=True) if item.ok else item  # as if it had not been executed
        meta = {"ok": True}
        outcome = Event(ev.OUTCOME_RECORDED, item.at, attempt.place, "", "", "", attempt.number, item.payload, meta)
        try:
            session.commit(outcome)
        except Exception as error:
            assert run is not None
            try:
                if self._is_settled(attempt):
                    return item
            except JournalError as unknown:  # whoever takes the run up when the journal can be read finds out
                endings.pause(self, run, "doubt", unknown)
                return replace(item, interrupted=True)
            conflict = SessionError(
                f"What activity {attempt.activity.name} wrote could not be committed, so it counts as not executed: {error}"
            )
            conflict.__cause__ = error
            return self._dispatcher._failed(attempt, conflict)
        return item

    def _is_settled(self, attempt: Attempt) -> bool:
        """The commit of its session was reported as failed: did it get in all the same (X5)?"""
        found = self.journal.outcomes(attempt.run)
        return any(event.call == attempt.place and event.attempt == attempt.number for event in found)

    def _keep_output(self, run: LiveRun, attempt: Attempt) -> tuple[Payload, ...]:
        """Journal what an attempt put out; return what of it stands in no cell yet (N4)."""
        parts, attempt.outputs = attempt.outputs, []
        self._put_out(run, attempt, parts)
        return tuple(part.shows for part in parts if not part.live)

    def _put_out(self, run: LiveRun, attempt: Attempt, parts: Sequence[Part]) -> None:
        events = [endings.output(attempt, part) for part in parts]
        self.record(run, events)
        if run.ledger is not None:
            run.ledger.put_out(attempt.place, events)

    @staticmethod
    def _alone(run: LiveRun, call: OpenCall) -> bool:
        """Is it the only call that its cell waits for?"""
        return sum(each.cell == call.cell for each in run.calls.values()) == 1

    def _take_floor(self, run: LiveRun) -> None:
        """The run's code goes on: what an attempt beside it has shown so far stands before what the code prints now."""
        floors, run.floors = run.floors, []
        for attempt in floors:
            if self._dispatcher.flying.get((run.key, attempt.place)) is not attempt:
                continue
            if (part := attempt.capture.lose_floor()) is not None:
                self.record(run, [endings.output(attempt, part)])
            if attempt.capture.floor:
                run.floors.append(attempt)

    def _late_after_end(self, item: AttemptEnded) -> None:
        """An abandoned attempt outlived its run: the record of what it came to still belongs to that run (A3)."""
        self.hold()
        self._commit()
        history = self.journal.load(item.attempt.run, parts=False)
        if history and history[-1].event.kind in {*ev.RUN_ENDS, ev.LATE_OUTCOME}:
            rows = [*(endings.output(item.attempt, part) for part in item.attempt.outputs), endings.late(item)]
            for number, event in enumerate(rows, history[-1].seq + 1):
                self._rows.append(Row(item.attempt.run, number, event))
            self._commit()
            instance = item.attempt.facts.instance_id
            if item.ok and undoing.has_late_effect(self, item.attempt.run):
                log.warning(
                    "%s was undone before that, so this effect stands: rn.instance(%r).compensate()", instance, instance
                )

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
            cancelling.settled(self, run)

    def _deliver_later(self, run: LiveRun, delivery: Delivery) -> None:
        """Hand an outcome to the run's code, or keep it where there is none just now."""
        if run.status == "paused" or run.host is None:
            run.calls.pop(delivery.place, None)
            self.record(run, [endings.recorded(delivery)])
            return
        if undoing.is_undo(delivery.place):
            undoing.outcome(self, run, delivery)
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
        cancelling.settled(self, run)
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
            self.limits.drop((run.key, place))
            self._after = [
                a for a in self._after if not (isinstance(a, Attempt) and a.run == run.key and a.place == place)
            ]
            run.calls.pop(place, None)

    def is_executing(self, run: int, place: str) -> bool:
        """Does this process still execute an attempt of the call, whatever became of its run meanwhile (A2)?"""
        return (run, place) in self._dispatcher.flying

    def _flying(self, run: LiveRun) -> list[Attempt]:
        return [attempt for (key, _), attempt in self._dispatcher.flying.items() if key == run.key]

    def _fire_timers(self) -> None:
        now = now_us()
        for (run_key, place, what), _due in self._timers.take_due(now):
            run = self.live.get(run_key)
            if run is None or run.finished or run.status == "paused":
                continue
            self._last_work = monotonic()  # the file is wanted in a moment
            if what == "timer":
                run.timers.pop(place, None)
                run.pending.append(Delivery(ev.TIMER_FIRED, place, now))
                self.make_ready(run)
            elif what == "retry" and place in run.calls:
                self.execute(run, run.calls[place])
            elif what == "limit":
                self._limit_reached(run, place)
            elif what == "deadline":
                limit = run.workflow.options.timeout
                cancelling.request(self, run, reason=f"it took longer than its timeout of {limit:g} s", timeout=limit)
            elif what == "grace":
                cancelling.grace_is_over(self, run)
            elif what == "children":
                children.look_again(run)
            elif what == "settle" and run.ended is not None:
                self.abandon_calls(run)
                run.leaving.clear()
                self._end_if_settled(run)

    def abandon_calls(self, run: LiveRun) -> None:
        """What is in flight has had its time: what it comes to is recorded as late (A3)."""
        for attempt in self._flying(run):
            self._dispatcher.cancel(attempt)
            self._dispatcher.abandon(attempt)
            queueing.goes_on(attempt)
            self._drop_session(attempt)
            row = Event(ev.ATTEMPT_ABANDONED, now_us(), attempt.place, attempt=attempt.number, meta={"reason": "undo"})
            self.record(run, [row])
        for place in run.calls:
            self._timers.cancel((run.key, place, "retry"))
            self.limits.drop((run.key, place))
        run.calls.clear()

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
        queueing.goes_on(attempt)
        self._drop_session(attempt)
        attempt.capture.floor = False
        attempt.outputs = attempt.capture.take()
        unseen = self._keep_output(run, attempt)
        row = Event(ev.ATTEMPT_ABANDONED, now_us(), place, attempt=attempt.number, meta={"reason": "timeout"})
        self.record(run, [row])
        ended = self._dispatcher._failed(attempt, timed_out(attempt))
        call = run.calls.get(place)
        if call is None:
            return
        call.unshown += unseen
        if ended.retry_in is not None:
            self._failed_attempt(run, call, ended)
        else:
            failed = Delivery(
                ev.ACTIVITY_FAILED, place, ended.at, attempt.number, ended.payload, ended.live, call.unshown
            )
            self._deliver_later(run, failed)


def _say(instance: str, name: str, text: str) -> None:
    """A line of an activity's own: in its step, and where nobody sees that just now, in the log."""
    capture = CAPTURE.get()
    if capture is None or not capture.write("stdout", f"{text}\n"):
        log.info("%s %s: %s", instance, name, text)


def _ask(instance: str, place: str) -> str:
    """How a person answers a doubt, as sentences behind another."""
    answer = f"rn.instance({instance!r}).resolve({place!r}, "
    return (
        f' Find out whether it had its effect, and say so: {answer}"executed", RESULT), {answer}"not_executed") to have it '
        f'executed, or {answer}"failed", ERROR). Then the same call goes on.'
    )
