"""How runs pause, get stuck, get lost and are closed: the rows for it, and what their waiters are told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core.commands import Delivery
from romancy_nb.core.events import Event
from romancy_nb.core.transitions import TERMINAL
from romancy_nb.errors import (
    HistoryMismatch,
    JournalError,
    RomancyError,
    RunHeldElsewhere,
    RunPaused,
    RunProblem,
)
from romancy_nb.payloads.failures import encode_failure
from romancy_nb.runtime import channels, parting
from romancy_nb.runtime.inbox import AttemptEnded, Finished, Paused

if TYPE_CHECKING:
    from romancy_nb.journal.protocol import Journal
    from romancy_nb.runtime.capture import Part
    from romancy_nb.runtime.dispatcher import Attempt
    from romancy_nb.runtime.live import LiveRun
    from romancy_nb.runtime.state import State

__all__ = [
    "InDoubt",
    "as_record",
    "close",
    "closed",
    "disconnected",
    "forked",
    "gone",
    "lost",
    "output",
    "pause",
    "recorded",
    "stick",
    "stopped",
]


class InDoubt(RomancyError):
    """An activity was started and nobody recorded how it ended."""


def close(engine: State, run: LiveRun) -> None:
    """The run is over: tell who waits what it came to, and let go of it."""
    run.finished = True
    if run.status in TERMINAL and not run.replay_only:
        channels.give_back(engine, run)
    payload, error = run.outcome or (None, None)
    waiters, run.waiters = run.waiters, []
    for waiter in waiters:
        engine.tell_after_commit(run, waiter, Finished(payload, error))
    engine.forget(run)


def pause(engine: State, run: LiveRun, reason: str, error: BaseException | None) -> None:
    """Stop the run on purpose: its execution is put down, and the same call takes it up again.

    Args:
        reason: "interrupt" (Stop), "error" (a slip in the workflow's code, or on_failure="pause"), "doubt", "child" (one of its
            children cannot go on).
    """
    payload = run.error_payload if error is not None and run.ended is not None else None
    if error is not None and payload is None:
        payload = encode_failure(error)
    meta: dict[str, object] = {"reason": reason}
    if run.ended is not None and run.ended.reported:
        meta["reported"] = True
    engine.record(run, [*run.opening, Event(ev.RUN_PAUSED, now_us(), payload=payload, meta=meta)])
    run.opening = []
    engine.put_down(run)
    run.status, run.host, run.ended = "paused", None, None
    run.calls = {place: call for place, call in run.calls.items() if place not in run.unwanted}
    told = error if error is not None else RunPaused(f"Instance {run.instance} was stopped. The same call resumes it.")
    waiters, run.waiters = run.waiters, []
    for waiter in waiters:
        engine.tell_after_commit(run, waiter, Finished(error=told))


def stick(engine: State, run: LiveRun, mismatch: HistoryMismatch, edited: str) -> None:
    """Code and history parted, and this run goes on only with code that fits: it is stuck, nothing is lost (C6).

    Args:
        edited: what was edited since the run began, in words.
    """
    meta = parting.facts(mismatch, edited)
    engine.record(run, [*run.opening, Event(ev.RUN_STUCK, now_us(), meta=meta)])
    run.opening = []
    run.status, run.outcome = "stuck", (None, parting.problem(run.instance, run.workflow.name, meta))
    close(engine, run)


def gone(where: str) -> str:
    """Say that the journal's file is not there any more."""
    return (
        f"The journal {where} was deleted or replaced while this process had it open, so what it held is gone. "
        "From here on the file of that name is used, a new one if there is none."
    )


def lost(run: LiveRun, journal: Journal) -> RunProblem:
    """Return the error for those who wait for a run that another process took up, or whose journal was deleted."""
    if not journal.heads([run.instance]):
        return RunProblem(
            f"{run.instance} is not in the journal {journal.where} any more: the file was deleted or replaced while it ran. "
            "What was recorded before is gone. Call it again: it begins anew."
        )
    return RunHeldElsewhere(
        f"Instance {run.instance} was taken up by another process. Call the workflow again to follow it."
    )


def disconnected(run: LiveRun) -> RunProblem:
    """Return the error for those who wait for a run of an engine that is being stopped."""
    return RunPaused(
        f"Instance {run.instance} was put down because the journal was disconnected. The same call resumes it."
    )


def closed(where: str) -> JournalError:
    """Return the error for those who use what belongs to a journal that was disconnected."""
    return JournalError(
        f"The journal {where} was disconnected. Nothing recorded is lost: rn.connect() opens it again, and rn.instance(id) "
        "or the same call finds the instance."
    )


def forked(where: str) -> JournalError:
    """Return the error for who calls in a forked child of a process that has the journal open."""
    return JournalError(
        f"Process {os.getpid()} was forked from one that has the journal {where} open. Its engine does not live here, and DuckDB's "
        "files cannot be shared across a fork. Call workflows in the parent, in its threads, or in a process of its own: "
        'multiprocessing.get_context("spawn"), or subprocess.'
    )


def stopped(paused: Paused | None, run: LiveRun | None) -> str:
    """Say what Stop came to and how to go on."""
    again = "Run the same call again to go on from here."
    which = run.instance if run is not None else "the run"
    if paused is None:
        return f"Stopped at once, before the journal had {which} as paused. What completed is kept. {again}"
    if paused.what == "nothing" and run is not None:
        return f"Stopped when {which} had just ended, and that is recorded. The same call tells how it ended."
    if paused.what == "nothing":
        return "Stopped before the run began. Nothing was executed."
    if paused.what == "followed":
        return f"Stopped waiting. Instance {paused.instance_id} goes on in the background."
    done = (
        f"{paused.done} executed step{'s' if paused.done != 1 else ''} of this call recorded"
        if paused.done
        else "nothing lost"
    )
    named = [*paused.in_flight[:3], *([f"{len(paused.in_flight) - 3} more"] if len(paused.in_flight) > 3 else [])]
    flying = f" In flight: {', '.join(named)}; what it comes to is recorded." if named else ""
    if paused.busy:
        return f"Stopped {paused.instance_id}; it is written down as soon as the journal is free. {paused.busy} {again}"
    return f"Paused {paused.instance_id}: {done}.{flying} {again}"


def as_record(event: Event) -> Event | None:
    """Return what has to survive of an event whose turn could not be written: outcomes, because they cannot be had again."""
    if event.kind in {ev.OUTCOME_RECORDED, ev.LATE_OUTCOME, ev.ATTEMPT_FAILED, ev.ATTEMPT_OUTPUT}:
        return event
    if event.kind in {ev.ACTIVITY_COMPLETED, ev.ACTIVITY_FAILED} and not (event.meta or {}).get("reused"):
        meta = {"ok": event.kind == ev.ACTIVITY_COMPLETED}
        return Event(ev.OUTCOME_RECORDED, event.at, event.call, "", "", "", event.attempt, event.payload, meta)
    return None


def recorded(delivery: Delivery) -> Event:
    """Return the row that keeps an outcome which cannot be delivered yet (S1)."""
    meta = {"ok": delivery.kind == ev.ACTIVITY_COMPLETED}
    return Event(ev.OUTCOME_RECORDED, delivery.at, delivery.place, "", "", "", delivery.attempt, delivery.payload, meta)


def output(attempt: Attempt, part: Part) -> Event:
    """Return the row of what an attempt put out (N4)."""
    meta: dict[str, object] = {"attempt": attempt.number}
    if part.live:
        meta["live"] = True
    return Event(ev.ATTEMPT_OUTPUT, now_us(), attempt.place, payload=part.payload, meta=meta)


def late(item: AttemptEnded) -> Event:
    """Return the row of an outcome that came when nobody wanted it any more (A3)."""
    attempt = item.attempt
    return Event(ev.LATE_OUTCOME, item.at, attempt.place, "", "", "", attempt.number, item.payload, {"ok": item.ok})
