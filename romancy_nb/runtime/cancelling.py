"""Cancelling a run: a request that is journaled, then delivered to the code, then undone (U3)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from secrets import randbits
from typing import TYPE_CHECKING, Any, Literal

from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core.commands import Delivery, OpenCall
from romancy_nb.core.events import Event
from romancy_nb.core.replay import Numbered
from romancy_nb.errors import RunProblem
from romancy_nb.journal.protocol import Head, Letter
from romancy_nb.runtime import outside, ownership, undoing

if TYPE_CHECKING:
    from romancy_nb.runtime.live import LiveRun
    from romancy_nb.runtime.state import State

__all__ = ["GRACE", "SETTLE", "cancel", "deliver", "grace_is_over", "holds", "request", "requested", "settled", "take"]

log = logging.getLogger("romancy_nb")

GRACE = 60.0
"""Seconds that cancelled code has for cleaning up; then it is put down, and the undo begins."""
SETTLE = 60.0
"""Seconds that a run which is to be undone waits for what is still in flight (U1)."""


def request(engine: State, run: LiveRun, **facts: Any) -> None:
    """Journal that *run*, which is advanced here, is to be cancelled, and have its code told."""
    if run.cancelling is not None or run.undo is not None:
        return
    run.cancelling = {key: value for key, value in facts.items() if value}
    engine.record(run, [*run.opening, Event(ev.CANCEL_REQUESTED, now_us(), meta=run.cancelling)])
    run.opening = []
    if not run.settling:
        deliver(engine, run)


def take(engine: State, letter: Letter) -> None:
    """Another process asks for something, or has sent an event: take that up if the run is advanced here."""
    run = engine.addressed(letter.run)
    if (
        run is None
        or run.finished
        or run.replay_only
        or run.status == "paused"
        or run.unsaved
        or engine.is_taken(letter)
    ):
        return
    if letter.kind == "cancel":
        engine.take(letter, run.key)
        request(engine, run, **letter.facts)
    elif letter.event is not None:
        engine.take(letter, run.key)
        outside.arrive(engine, run, letter.event._replace(at=now_us()))


def holds(run: LiveRun, call: OpenCall) -> bool:
    """Is this call of a run that was taken up not to be tried again before the code has been told of its cancellation?"""
    return run.settling and run.cancelling is not None and not run.cancelled and not call.in_doubt


def settled(engine: State, run: LiveRun) -> None:
    """A run that was taken up has come to rest, or an outcome came: hand over what waited for the doubts to end (A7)."""
    if run.settling and not any(call.in_doubt for call in run.calls.values()):
        run.settling = False
        if run.cancelling is not None and not run.cancelled:
            deliver(engine, run)


def deliver(engine: State, run: LiveRun) -> None:
    """Hand a journaled request to the code."""
    assert run.cancelling is not None
    if run.ended is None:
        # before what came in meanwhile: the code is told where it waits, as it would have been had nothing interrupted it
        told = Delivery(ev.CANCEL_DELIVERED, "", now_us(), reason=str(run.cancelling.get("reason", "")))
        run.pending.insert(0, told)
        engine.make_ready(run)
        engine.set_timer(run, "grace", now_us() + int(GRACE * 1_000_000))


def requested(rows: Sequence[Numbered]) -> tuple[dict[str, Any] | None, bool]:
    """Return what the run's history says of a cancellation, and whether its code has been told already."""
    facts: dict[str, Any] | None = None
    for _, event in rows:
        if event.kind == ev.CANCEL_REQUESTED:
            facts = dict(event.meta or {})
        elif event.kind == ev.CANCEL_DELIVERED:
            return facts or {}, True
    return facts, False


def grace_is_over(engine: State, run: LiveRun) -> None:
    """The code did not come to an end: put it down and undo what it did."""
    if run.undo is not None or run.cancelling is None:
        return
    log.warning(
        "workflow %s (%s) was cancelled and has not come to an end within %g s: it is put down, and undone.",
        run.workflow.name,
        run.instance,
        GRACE,
    )
    engine.abandon_calls(run)
    undoing.begin(engine, run, "cancelled", **run.cancelling)


def cancel(engine: State, instance: str, head: Head, facts: dict[str, Any]) -> Literal["asked", "resume", "undo"]:
    """Cancel an instance, or say what the caller has to do for it: resume it, so that its code is told; or undo it at once.

    What another living process advances gets a letter, which that process takes up within half a second.

    Raises:
        RunProblem: it has ended otherwise, or is being undone for another reason.
    """
    live = engine.advanced(instance)
    if live is not None:
        if live.undo is not None and live.undo_meta.get("why") != "cancelled":
            raise _is_undone(instance, True)
        request(engine, live, **facts)
        return "asked"
    if head.status == "cancelled":
        return "asked"
    if head.status == "compensating":
        rows = engine.journal.load(head.run, parts=False)
        decided = next(row.event for row in rows if row.event.kind == ev.RUN_COMPENSATING)
        advanced = ownership.alive(head.owner, engine.other_engines())
        if (decided.meta or {}).get("why") != "cancelled":
            raise _is_undone(instance, advanced)
        return "asked" if advanced else "undo"
    if head.status in {"completed", "failed", "compensated", "compensation_failed", "recurred"}:
        stands = head.status in {"completed", "failed"}
        more = f" rn.instance({instance!r}).compensate() undoes what it did." if stands else ""
        raise RunProblem(f"Instance {instance} has ended: it is {head.status}, so there is nothing to cancel.{more}")
    if head.status in {"running", "waiting"} and ownership.alive(head.owner, engine.other_engines()):
        engine.journal.post(Letter(randbits(62), head.run, "cancel", facts))
        return "asked"
    return "undo" if head.status == "stuck" else "resume"


def _is_undone(instance: str, advanced: bool) -> RunProblem:
    how = (
        "Its result tells how it ends."
        if advanced
        else f"Nobody goes on with it just now: rn.instance({instance!r}).resume() does."
    )
    return RunProblem(f"Instance {instance} is being undone, and an undo cannot be cancelled. {how}")
