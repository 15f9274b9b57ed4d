"""Undo from the engine's side: compensations in reverse order, one after the other, journaled each (U1, U2).

The plan comes from the run's rows (``core.saga``), so a process that takes a half-done undo up again needs the definitions
of the compensations and nothing else: no workflow code runs, and nothing goes forward any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core import saga
from romancy_nb.core.commands import ActivityCommand, Delivery, OpenCall
from romancy_nb.core.events import Event
from romancy_nb.core.replay import UNDO, Numbered
from romancy_nb.definitions import registry
from romancy_nb.definitions.fingerprint import fingerprint
from romancy_nb.definitions.undo import undo_inputs
from romancy_nb.errors import ActivityError, CompensationFailed, RunCancelled, RunPaused, RunTimedOut
from romancy_nb.payloads.failures import decode_failure
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import children, endings, keys, outside, recurring
from romancy_nb.runtime.inbox import Finished

if TYPE_CHECKING:
    from romancy_nb.runtime.live import LiveRun
    from romancy_nb.runtime.state import State

__all__ = ["begin", "came_late", "go_on", "has_late_effect", "is_undo", "outcome", "pause", "verdict"]


def begin(engine: State, run: LiveRun, why: str, **facts: Any) -> None:
    """The run is not to go forward any more: undo what it did, and end it.

    Args:
        why: "failed", "cancelled" or "asked" (a person wants it undone).
        facts: what else the decision's row tells: reason, by.
    """
    for delivery in run.sent + run.pending:  # what completed and the code never got is undone with the rest
        if delivery.kind in ev.OUTCOMES and delivery.place not in run.noted:
            engine.record(run, [endings.recorded(delivery)])
    outside.put_back(run, run.sent + run.pending)
    run.sent, run.pending = [], []
    engine.commit_now()
    rows: list[Numbered] = [(row.seq, row.event) for row in engine.journal.load(run.key)]
    run.undo = children.undo_plan(engine, rows)
    run.undo_meta = {"why": why, **{key: value for key, value in facts.items() if value}}
    engine.put_down(run)
    run.ended = None
    if (
        not run.undo.steps and why != "asked"
    ):  # what a person asks for may follow the run's end, and is journaled as begun
        _finish(engine, run)
        return
    meta = {**run.undo_meta, "owner": engine.token, "epoch": run.epoch}
    engine.record(run, [Event(ev.RUN_COMPENSATING, now_us(), payload=run.error_payload, meta=meta)])
    run.status = "compensating"
    go_on(engine, run)


def go_on(engine: State, run: LiveRun) -> None:
    """Have the next compensation executed, or end the run when there is none."""
    assert run.undo is not None
    step = run.undo.next()
    if step is None:
        _finish(engine, run)
        return
    if step.child:
        children.undo(engine, run, step)
        return
    target = registry.find("compensation", step.name, step.module)
    if target is None:
        message = (
            f"Instance {run.instance} is being undone, and compensation {step.name} (for {step.of_name}, call {step.of}) is "
            f"not defined here. Run the cell that defines it, then rn.instance({run.instance!r}).resume()."
        )
        pause(engine, run, "missing", RunPaused(message))
        return
    assert step.inputs is not None
    inputs = step.inputs if step.whole else undo_inputs(step.inputs, step.facts, step.result)
    code = fingerprint(target.function).digest
    limits = target.limits(False) if target.limits is not None else ()  # an undo does not fail for want of a limit
    fresh = not step.begun
    if fresh:
        step.begun, step.first_at = True, now_us()
        meta = {"limit": list(limits)} if limits else None
        scheduled = Event(
            ev.COMPENSATION_SCHEDULED, step.first_at, step.place, step.name, code=code, payload=inputs, meta=meta
        )
        engine.record(run, [scheduled])
    command = ActivityCommand(step.name, "", inputs, lambda: code, target, "never", extra=run.secrets.get(step.of))
    call = OpenCall(
        step.place,
        command,
        attempts=step.attempts,
        failed=step.failed,
        failures=step.failures,
        next_at=step.next_at,
        first_at=step.first_at,
        fresh=fresh,
        scope=keys.undo_scope(step.place, run.number),
        limits=limits,
        queues=bool(limits),
    )
    run.calls[call.place] = call
    engine.execute(run, call)


def outcome(engine: State, run: LiveRun, delivery: Delivery) -> None:
    """A compensation has come to its end."""
    assert run.undo is not None
    step = run.undo.find(delivery.place)
    run.calls.pop(delivery.place, None)
    if step is None:
        return
    ok = delivery.kind == ev.ACTIVITY_COMPLETED
    kind = ev.COMPENSATION_COMPLETED if ok else ev.COMPENSATION_FAILED
    step.status = "completed" if ok else "failed"
    now = now_us()
    rows = [Event(kind, delivery.at, delivery.place, attempt=delivery.attempt, payload=delivery.payload)]
    if ok:
        engine.record(run, rows)
        go_on(engine, run)
        return
    step.error = delivery.payload
    rows.append(Event(ev.RUN_COMPENSATION_FAILED, now, payload=delivery.payload, meta={"place": step.of}))
    engine.record(run, rows)
    run.status = "compensation_failed"
    run.outcome = (None, _gave_up(run.instance, step, delivery.payload, run.undo))
    endings.close(engine, run)


def came_late(engine: State, run: LiveRun) -> None:
    """An activity that was given up has completed while the run is undone: that is undone as well, next of all (U1)."""
    if run.undo is not None and run.status == "compensating":
        engine.commit_now()
        run.undo = children.undo_plan(engine, [(row.seq, row.event) for row in engine.journal.load(run.key)])


def has_late_effect(engine: State, key: int) -> bool:
    """Has something completed after the run was undone, so that it stands?"""
    rows: list[Numbered] = [(row.seq, row.event) for row in engine.journal.load(key, parts=False)]
    return saga.is_undoing(rows) and children.undo_plan(engine, rows).next() is not None


def pause(engine: State, run: LiveRun, reason: str, error: BaseException) -> None:
    """Let go of the undo: it goes on when somebody resumes the instance.

    Args:
        reason: "interrupt" (Stop), "missing" (a compensation is not defined here) or "child" (the undo of a child rests).
    """
    engine.record(run, [Event(ev.RUN_UNDO_PAUSED, now_us(), meta={"reason": reason, "message": str(error)})])
    run.status = "paused"
    for place in run.calls:
        engine.limits.drop((run.key, place))
    waiters, run.waiters = run.waiters, []
    for waiter in waiters:
        engine.tell_after_commit(run, waiter, Finished(error=error))


def _finish(engine: State, run: LiveRun) -> None:
    plan, facts = run.undo, run.undo_meta
    assert plan is not None
    why = facts.get("why")
    if why == "recur":  # it was to be undone before it goes on
        assert run.error_payload is not None
        recurring.next_run(engine, run, run.error_payload, dict(facts["wish"]))
        return
    meta = {key: value for key, value in facts.items() if key in {"reason", "by", "timeout"}}
    if plan.kept:
        meta["kept"] = plan.kept
    if why == "cancelled":
        kind, run.status = ev.RUN_CANCELLED, "cancelled"
    elif plan.steps or why == "asked":
        kind, run.status = ev.RUN_COMPENSATED, "compensated"
    else:
        kind, run.status = ev.RUN_FAILED, "failed"
    row = Event(kind, now_us(), payload=run.error_payload, meta=meta or None)
    engine.record(run, [row])
    run.outcome = (None, verdict(run.instance, row, plan, run.error))
    endings.close(engine, run)


def verdict(instance: str, end: Event, plan: saga.Plan, live: BaseException | None = None) -> BaseException:
    """Return what those are told who wait for a run that ended in this way.

    Args:
        instance: its id.
        end: its last row.
        plan: what was undone.
        live: the error itself, where this process has it.
    """
    facts = end.meta or {}
    error: BaseException
    if end.kind == ev.RUN_COMPENSATION_FAILED:
        step = plan.find(str(facts.get("place", "")))
        return _gave_up(instance, step, end.payload, plan)
    if end.kind == ev.RUN_CANCELLED:
        reason = str(facts.get("reason", ""))
        by = f" by {facts['by']}" if facts.get("by") else ""
        what = f"Instance {instance} was cancelled{by}{f': {reason}' if reason else ''}. {_undone(plan)}".strip()
        error = (RunTimedOut if facts.get("timeout") else RunCancelled)(
            f"{what} To run it anew: start it with new=True."
        )
        return error
    if live is not None:
        error = live
    elif end.payload is not None:
        error = decode_failure(end.payload)
    else:
        return RunCancelled(f"Instance {instance} was undone on request. {_undone(plan)}")
    if end.kind == ev.RUN_COMPENSATED:
        error.add_note(f"Instance {instance} was undone. {_undone(plan)}")
    return error


def _undone(plan: saga.Plan) -> str:
    done = [step for step in plan.done() if step.status == "completed"]
    decided = len(plan.done()) - len(done)
    names = ", ".join(step.of_name for step in done)
    said = f"Undone: {names}." if done else "There was nothing to undo." if not decided else ""
    if decided:
        said = f"{said} {decided} decided by a person.".strip()
    if plan.kept:
        behind = f" (behind {plan.pivot}, a point of no return)" if plan.pivot else ""
        said += f" Not undone: {', '.join(plan.kept)}{behind}."
    return said


def _gave_up(instance: str, step: saga.Step | None, payload: Payload | None, plan: saga.Plan) -> CompensationFailed:
    cause = decode_failure(payload) if payload is not None else None
    name, of = (step.name, f"{step.of_name}, call {step.of}") if step is not None else ("?", "?")
    left = sum(each.status == "pending" for each in plan.steps)
    more = f" {left} further undo{'s wait' if left != 1 else ' waits'} behind it." if left else ""
    seq = step.seq if step is not None else 0
    if step is not None and step.child:
        name, of = f"of child {step.child}", f"{step.of_name}, call {step.of}"
    kind = (cause.original if isinstance(cause, ActivityError) else "") or type(cause).__name__
    told = f"{kind.removeprefix('builtins.')}: {cause}".rstrip(".")
    error = CompensationFailed(
        f"Compensation {name} (for {of}) of instance {instance} failed for good: {told}.{more} A "
        f'person decides: rn.instance({instance!r}).compensate({seq}, "retry"), or "skip" (leave the effect), or "done" '
        "(undone by hand); a note=... is kept."
    )
    error.__cause__ = cause
    return error


def is_undo(place: str) -> bool:
    """Does this place belong to an undo?"""
    return place.startswith(UNDO)
