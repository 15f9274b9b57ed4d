"""How an instance stands, as the engine's thread finds it: its newest run, its status, why it has no result now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy_nb.core import events as ev
from romancy_nb.core.ledger import NOTEBOOK
from romancy_nb.core.transitions import ACTIVE
from romancy_nb.definitions import schedules
from romancy_nb.errors import InstanceNotFound, RunPaused, RunProblem
from romancy_nb.journal.protocol import Head, Row
from romancy_nb.payloads.failures import add_note, decode_failure
from romancy_nb.runtime import ownership, parting
from romancy_nb.runtime.inbox import Finished, Waiter
from romancy_nb.runtime.takeup import TakeUp

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine

__all__ = ["called", "head_of", "join", "rows_of", "status_here", "status_of"]


def head_of(engine: Engine, instance: str) -> Head:
    """Return what the journal knows of the newest run.

    Raises:
        InstanceNotFound: nothing.
    """
    head = engine.journal.heads([instance]).get(instance)
    if head is None:
        raise InstanceNotFound(
            f"No instance {instance!r} in {engine.journal.where}. `rn.instances()` lists what there is; another journal is "
            "opened with rn.connect(path)."
        )
    return head


def status_of(engine: Engine, instance: str) -> tuple[str, int]:
    """Return status and number of the newest run, as a person reads them."""
    here = status_here(engine, instance)
    if here is not None:
        return here, engine.newest[instance].number
    head = head_of(engine, instance)
    if head.workflow == NOTEBOOK:
        return "waiting", head.number
    if head.status in ACTIVE and not ownership.alive(head.owner, engine.other_engines()):
        return "interrupted", head.number
    return head.status, head.number


def status_here(engine: Engine, instance: str) -> str | None:
    """Return the same of a run that is in this engine's memory; None: it is not. Asks the journal nothing."""
    live = engine.newest.get(instance)
    if live is None:
        return None
    if live.ledger is not None:
        return "running" if live.calls else "waiting"
    if live.replay_only:
        return None
    rests = not (live.calls or live.pending or live.busy) and (live.timers or live.outside)
    if live.status == "running" and rests:
        return "waiting"
    return "interrupted" if live.undo is not None and live.status == "paused" else live.status


def join(engine: Engine, instance: str, latch: Waiter) -> Finished | None:
    """Wait with *latch* for a run that is advanced here; else say how it stands. None: wait."""
    live = engine.newest.get(instance)
    if live is not None and live.ledger is not None:
        return Finished(error=_no_result(instance))
    if live is not None and not live.finished and live.status != "paused":
        if latch not in live.waiters:
            live.waiters.append(latch)
        return None
    if live is not None and live.trouble is not None:
        return Finished(error=live.trouble)
    head = head_of(engine, instance)
    if head.workflow == NOTEBOOK:
        return Finished(error=_no_result(instance))
    outcome = TakeUp(engine).outcome(head.run)
    if outcome is not None:
        return outcome
    if head.status in ACTIVE:
        if ownership.alive(head.owner, engine.other_engines()):
            return None
        told = _why_undo_rests(engine, head) if head.status == "compensating" else ""
        problem: RunProblem = RunPaused(
            told or f"Instance {instance} was interrupted and nobody runs it. Call {_again(head)} to go on."
        )
    elif head.status == "stuck":
        problem = parting.recorded(instance, head.workflow, (row.event for row in engine.journal.load(head.run)))
    elif head.status == "paused":
        slip = _why_paused(engine, head)
        if slip is not None:
            return Finished(error=slip)
        problem = RunPaused(f"Instance {instance} is paused. Call {_again(head)} to go on.")
    else:
        problem = RunProblem(f"Instance {instance} is {head.status}.")
    return Finished(error=problem)


def _no_result(instance: str) -> RunProblem:
    return RunProblem(f"Instance {instance} is a notebook: its cells have results, and it has none. See .steps().")


def _why_paused(engine: Engine, head: Head) -> BaseException | None:
    """Return the error or the doubt that paused the run: who waits is told what who waited live was told."""
    for row in reversed(engine.journal.load(head.run)):
        event = row.event
        if event.kind == ev.RUN_PAUSED:
            reason = (event.meta or {}).get("reason")
            if reason not in {"error", "doubt", "child"} or event.payload is None:
                return None
            error = decode_failure(event.payload)
            if reason == "doubt" or isinstance(error, RunProblem):
                return error  # it says itself what to do next
            add_note(error, f"Instance {head.instance} is paused. Mend the code and call {_again(head)} to go on.")
            return error
    return None


def _why_undo_rests(engine: Engine, head: Head) -> str:
    """Return what was said when the undo was let go of: it was stopped, or lacks a compensation."""
    last = engine.journal.load(head.run, parts=False)[-1].event
    return str((last.meta or {}).get("message", "")) if last.kind == ev.RUN_UNDO_PAUSED else ""


def called(workflow: str) -> str:
    """Return what a person calls to go on with a run of *workflow*: maps and schedules are runs of workflows of ours."""
    if workflow == schedules.NAME:
        return "the same .schedule(...)"
    return f"rn.map({workflow.removeprefix('map.')}, ...)" if workflow.startswith("map.") else workflow


def _again(head: Head) -> str:
    call = called(head.workflow)
    return f"{call}{'(...)' if call == head.workflow else ''} again, or `.resume()`,"


def rows_of(engine: Engine, instance: str) -> list[Row]:
    live = engine.newest.get(instance)
    key = live.key if live is not None else head_of(engine, instance).run
    return engine.journal.load(key, parts=False)
