"""What a person decides about an instance: cancel it, undo it, go on with an undo that gave up, settle a doubt."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core import saga
from romancy_nb.core.events import Event
from romancy_nb.core.replay import Call, Numbered, collect, without_void
from romancy_nb.core.transitions import TERMINAL
from romancy_nb.definitions import registry
from romancy_nb.definitions.options import WorkflowOptions
from romancy_nb.errors import ActivityError, RunHeldElsewhere, RunProblem, WrongArguments
from romancy_nb.journal.protocol import Head, Row
from romancy_nb.payloads.failures import encode_failure
from romancy_nb.runtime import cancelling, children, given, ownership, undoing
from romancy_nb.runtime.live import LiveRun
from romancy_nb.runtime.standing import head_of
from romancy_nb.runtime.takeup import TakeUp

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine

__all__ = ["cancel", "compensate", "go_on", "resolve", "undo"]

T = TypeVar("T")
_SHOWN: Final = 5
"""How many calls in doubt are named."""

Step = int | str | None
UndoAction = Literal["retry", "skip", "done"]
Doubt = Literal["executed", "not_executed", "failed"]


def cancel(engine: Engine, instance: str, reason: str) -> None:
    """Cancel an instance. See ``Instance.cancel``."""
    facts = {"reason": reason, "by": _who()}
    todo, name, code = _decide(engine, lambda engine: _cancel(engine, instance, facts))
    if todo == "asked":
        return
    workflow = registry.find("workflow", name)
    if todo == "resume" and workflow is not None and workflow.fingerprint().digest == code:
        from romancy_nb.runtime.launch import resume

        resume(engine, instance)
        return
    # its code is not here, or is not what it was: nothing of it is run, and what it did is undone
    _decide(engine, lambda engine: undo(engine, instance, "cancelled", facts))


def compensate(engine: Engine, instance: str, step: Step, action: str, note: str) -> None:
    """Undo an instance, or decide about an undo that gave up. See ``Instance.compensate``."""
    if action not in {"retry", "skip", "done"}:
        raise WrongArguments(f'compensate(action={action!r}): it takes "retry", "skip" or "done".')
    _decide(engine, lambda engine: _compensate(engine, instance, step, cast(UndoAction, action), note))


def resolve(engine: Engine, instance: str, step: Step, outcome: str, result: Any, note: str) -> None:
    """Settle a doubt. See ``Instance.resolve``."""
    if outcome not in {"executed", "not_executed", "failed"}:
        raise WrongArguments(f'resolve(outcome={outcome!r}): it takes "executed", "not_executed" or "failed".')
    _decide(engine, lambda engine: _resolve(engine, instance, step, cast(Doubt, outcome), result, note))


def _decide(engine: Engine, work: Callable[[Engine], T]) -> T:
    """Do *work* on the engine's thread; what it decides is journaled before this returns."""

    def durably(engine: Engine) -> T:
        value = work(engine)
        engine.commit_now()
        return value

    value: T = engine.ask(durably)
    return value


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a name for its user
        return ""


# -- on the engine's thread ----------------------------------------------------------


def _cancel(engine: Engine, instance: str, facts: dict[str, Any]) -> tuple[str, str, str]:
    head = head_of(engine, instance)
    todo = cancelling.cancel(engine, instance, head, facts)
    if todo == "resume":
        _append(engine, head, [Event(ev.CANCEL_REQUESTED, now_us(), meta=facts)])
    return todo, head.workflow, head.code


def undo(engine: Engine, instance: str, why: str, facts: dict[str, Any]) -> None:
    """Undo what a run did that nobody advances, without any of its code."""
    run, rows = _take(engine, instance)
    if saga.is_undoing(rows):
        TakeUp(engine).take_up_undo(run, rows)
        undoing.go_on(engine, run)
        return
    undoing.begin(engine, run, why, **facts)


def go_on(engine: Engine, instance: str, note: str) -> None:
    """Try once more what the undo of an instance gave up at. On the engine's thread."""
    _compensate(engine, instance, None, "retry", note)


def _compensate(engine: Engine, instance: str, step: Step, action: UndoAction, note: str) -> None:
    head = head_of(engine, instance)
    live = engine.newest.get(instance)
    if head.status in {"running", "waiting"} and _is_advanced(engine, head, live):
        raise RunProblem(
            f"Instance {instance} is {head.status}. To undo it, cancel it: rn.instance({instance!r}).cancel()."
        )
    if head.status == "compensating" and _is_advanced(engine, head, live):
        raise RunProblem(f"Instance {instance} is being undone already. Its result tells how it ends.")
    if head.status not in {"compensation_failed", "compensating"}:
        if step is not None:
            raise RunProblem(
                f"Instance {instance} is {head.status}: no undo of it has given up. compensate() without a step undoes all "
                "that it did."
            )
        if head.status in {"compensated", "cancelled"}:
            if children.undo_plan(engine, _load(engine, head)).next() is None:
                raise RunProblem(f"Instance {instance} is {head.status}: it has been undone.")
            undo(engine, instance, "asked", {})  # what completed after its end
            return
        if head.status in TERMINAL and not (plan := children.undo_plan(engine, _load(engine, head))).steps:
            kept = f" {', '.join(plan.kept)} stands: see `.steps()`." if plan.kept else ""
            raise RunProblem(
                f"Instance {instance} is {head.status}, and there is nothing to undo: no activity that it completed has a "
                f"compensation.{kept}"
            )
        undo(engine, instance, "asked", {"reason": note, "by": _who()})
        return
    rows = _load(engine, head)
    plan = children.undo_plan(engine, rows)
    found = _undo_step(plan, rows, step) if step is not None else plan.next()
    decides = head.status == "compensation_failed" or step is not None or action != "retry"
    if decides and (found is None or found.status != "failed"):
        which = "no undo" if step is None else f"no undo {step!r}"
        raise RunProblem(
            f'Instance {instance} has {which} that gave up, so there is nothing to decide. See rn.sql("from compensations"). '
            "compensate() alone goes on with an undo that was interrupted."
        )
    run, rows = _take(engine, instance)
    if found is not None and found.status == "failed":
        meta = {key: value for key, value in {"action": action, "note": note, "by": _who()}.items() if value}
        resolved = Event(ev.COMPENSATION_RESOLVED, now_us(), found.place, meta=meta)
        engine.record(run, [resolved])
        rows = [*rows, (run.next_seq - 1, resolved)]
    TakeUp(engine).take_up_undo(run, rows)
    undoing.go_on(engine, run)


def _undo_step(plan: saga.Plan, rows: Sequence[Numbered], step: int | str) -> saga.Step | None:
    """Find an undo by the number of the call or its own, by either place, or by either name or its last part."""
    if isinstance(step, int):
        place = next((event.call for seq, event in rows if seq == step), "")
        return plan.find(place)
    exact = [each for each in plan.steps if step in {each.name, each.of_name}]
    named = exact or [
        each for each in plan.steps if any(registry.answers_to(name, step) for name in (each.name, each.of_name))
    ]
    return plan.find(step) or next((each for each in named if each.status == "failed"), None)


def _resolve(engine: Engine, instance: str, step: Step, outcome: Doubt, result: Any, note: str) -> None:
    head = head_of(engine, instance)
    if _is_advanced(engine, head, engine.newest.get(instance)):
        raise RunProblem(f"Instance {instance} is {head.status}: nothing in it waits for an answer.")
    found = _doubtful(_load(engine, head), step)
    if len(found) != 1:
        which = "no call of it" if step is None else f"no call {step!r} of it"
        told = f"{len(found)} calls of it are" if found else f"{which} is"
        shown = f": {', '.join(call.describe() for call in found[:_SHOWN])}. Say which, by the call" if found else ""
        raise RunProblem(
            f"Instance {instance} is {head.status}, and {told} in doubt{shown}. `.steps()` shows its calls."
        )
    call = found[0]
    if engine.is_executing(head.run, call.intent.call):
        raise RunProblem(
            f"{call.describe()} is still being executed here, and its outcome is recorded when it comes (A2). Resume the instance "
            "to wait for it."
        )
    _append(
        engine,
        head,
        [_word(call, outcome, result, {key: text for key, text in (("note", note), ("by", _who())) if text})],
    )


def _word(call: Call, outcome: Doubt, result: Any, meta: dict[str, Any]) -> Event:
    """Return the row that says what became of a call in doubt, as a person has it."""
    place, at, attempt = call.intent.call, now_us(), max(1, call.attempts)
    if outcome == "not_executed":
        return Event(ev.ATTEMPT_FAILED, at, place, attempt=attempt, meta={**meta, "next_at": at, "not_executed": True})
    if outcome == "executed":
        payload = given.encoded(call.intent, result, f"the result given for activity {call.intent.name}")
    else:
        text = str(result or "a person says that it failed")
        payload = encode_failure(result if isinstance(result, BaseException) else ActivityError(text))
    meta = {"ok": outcome == "executed", **meta}
    return Event(ev.OUTCOME_RECORDED, at, place, attempt=attempt, payload=payload, meta=meta)


def _doubtful(rows: Sequence[Numbered], step: Step) -> list[Call]:
    """Return the calls in doubt that *step* may mean; without one, those that only a person can settle, if there are any."""
    calls, _ = collect(without_void(rows))
    found = [
        call
        for call in calls.values()
        if call.intent.kind == ev.ACTIVITY_SCHEDULED and saga.may_have_happened(call) and not call.cancelled
    ]
    if step is None:
        once = [call for call in found if (call.intent.meta or {}).get("delivery") == "at_most_once"]
        return once or found
    exact = [call for call in found if step in {call.seq, call.intent.call}]
    return exact or [call for call in found if registry.answers_to(call.intent.name, str(step))]


def _is_advanced(engine: Engine, head: Head, live: LiveRun | None) -> bool:
    """Does this process, or another living one, advance the run just now?"""
    if live is not None and not live.finished and live.status != "paused":
        return True
    return engine.held_elsewhere(head)


def _load(engine: Engine, head: Head) -> list[Numbered]:
    return [(row.seq, row.event) for row in engine.journal.load(head.run)]


def _append(engine: Engine, head: Head, events: list[Event]) -> None:
    """Add rows to a run that nobody advances."""
    live = engine.newest.get(head.instance)
    if live is not None and live.key == head.run and not live.finished:
        engine.record(live, events)
    else:
        engine.add_rows([Row(head.run, number, event) for number, event in enumerate(events, head.last_seq + 1)])
    engine.commit_now()


class _Workflow:
    """Stands for a workflow that is not defined here: an undo needs no more of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.options = WorkflowOptions()


def _take(engine: Engine, instance: str) -> tuple[LiveRun, list[Numbered]]:
    """Take a run up that nobody advances, for its undo alone.

    Raises:
        RunHeldElsewhere: somebody does.
    """
    head = head_of(engine, instance)
    live = engine.newest.get(instance)
    if _is_advanced(engine, head, live):
        raise RunHeldElsewhere(f"Instance {instance} is run by {ownership.describe(head.owner)}.")
    if live is not None:
        engine.put_down(live)
        engine.forget(live)
    head = TakeUp(engine).recover(head)
    workflow = registry.find("workflow", head.workflow) or _Workflow(head.workflow)
    run = LiveRun(head.run, instance, head.number, cast(Any, workflow), head.digest, head.code, lambda: None)
    run.next_seq, run.epoch, run.started = head.last_seq + 1, head.epoch + 1, head.started
    run.host = engine.host()
    engine.live[run.key] = engine.newest[instance] = run
    rows = _load(engine, head)
    run.first = rows[0][1]
    last = rows[-1][1]
    if last.kind in {ev.RUN_FAILED, ev.RUN_PAUSED}:
        run.error_payload = last.payload
    return run, rows
