"""Calls of limited activities from the engine's side: they wait for their turn, and are let in once a turn (A8)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from romancy_nb.clock import now_us
from romancy_nb.core.commands import OpenCall
from romancy_nb.definitions import limits
from romancy_nb.runtime.dispatcher import Attempt

if TYPE_CHECKING:
    from romancy_nb.runtime.calls import Calls
    from romancy_nb.runtime.limits import Ticket
    from romancy_nb.runtime.live import LiveRun

__all__ = ["facts", "goes_on", "join", "let_in"]

log = logging.getLogger("romancy_nb")


def join(engine: Calls, run: LiveRun, call: OpenCall) -> None:
    """Have the next attempt of *call* wait for its turn: ``let_in`` begins it, in this turn if there is room."""
    engine.limits.join((run.key, call.place), call.limits, now_us(), (run, call))


def let_in(engine: Calls) -> None:
    """Begin the attempts whose turn has come. Called once a turn, when all that it brings is known, before its commit."""
    queues = engine.limits
    if queues.pending:  # begun in a turn that could not be written, or stopped before they were dispatched
        coming = {act.ticket for act in engine._after if isinstance(act, Attempt)}
        for ticket in [ticket for ticket in queues.pending if ticket not in coming]:
            queues.leave(ticket)

    def wanted(ticket: Ticket) -> bool:
        run, call = _of(ticket)
        live = engine.live.get(run.key) is run and not run.finished and run.status != "paused"
        return live and run.calls.get(call.place) is call

    now = now_us()
    for ticket in queues.admit(now, limits.find, wanted):
        run, call = _of(ticket)
        # what it waited is no part of the time that its retry policy allows
        call.first_at = call.first_at + now - ticket.since if call.attempts else now
        engine.begin_attempt(run, call, ticket)
    due, alarm = queues.due, queues.alarm
    if due is not None and (alarm is None or due < alarm or alarm <= now):
        queues.alarm = due
        engine._timers.set((0, "", "turn"), due)


def _of(ticket: Ticket) -> tuple[LiveRun, OpenCall]:
    run, call = ticket.item
    return run, call


def facts(call: OpenCall) -> dict[str, Any] | None:
    """Return what the row of an attempt's start says of its limits: nothing, unless other figures count than its intent has."""
    now = [found.facts() if (found := limits.find(each["name"])) else dict(each) for each in call.limits]
    return {"limit": now} if now != list(call.limits) else None


def goes_on(attempt: Attempt) -> None:
    """An attempt was given up and cannot be stopped: its effect goes on, and so it keeps its place."""
    names = attempt.ticket.names if attempt.ticket is not None else ()
    bounded = [name for name in names if (found := limits.find(name)) is None or found.concurrency is not None]
    if bounded:
        log.warning(
            "activity %s of %s (call %s): attempt %d was abandoned and is still executing; until it ends it keeps its place in "
            "limit %s.",
            attempt.activity.name,
            attempt.facts.instance_id,
            attempt.place,
            attempt.number,
            " and ".join(bounded),
        )
