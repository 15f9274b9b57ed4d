"""The code of a run has ended and everything that it issued has settled: complete, pause, fail or undo (U1, E4)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.errors import TerminalError
from romancy_nb.runtime import endings, recurring, undoing

if TYPE_CHECKING:
    from romancy_nb.errors import RunRecurs
    from romancy_nb.runtime.live import LiveRun
    from romancy_nb.runtime.state import State

__all__ = ["finish", "pauses"]


def pauses(run: LiveRun) -> bool:
    """Will the run, whose code has ended, pause: did it slip while a person is there, or is it not to fail (E4)?"""
    ended = run.ended
    if ended is None or ended.error is None or run.replay_only or run.cancelled or run.cancelling is not None:
        return False
    on_failure = run.workflow.options.on_failure
    slip = not ended.reported and not isinstance(ended.error, TerminalError)
    return (slip and on_failure is None and run.attached) or on_failure == "pause"


def finish(engine: State, run: LiveRun) -> None:
    """Journal how the run ended, or begin its undo, and tell who waits."""
    ended = run.ended
    assert ended is not None
    if run.replay_only:
        endings.close(engine, run)
        return
    goes_on = ended.error is not None or ended.recurs is not None
    if run.cancelled or (run.cancelling is not None and goes_on):  # whatever the code made of it (U3)
        if isinstance(ended.error, asyncio.CancelledError):
            run.error_payload = None
        undoing.begin(engine, run, "cancelled", **(run.cancelling or {}))
        return
    if ended.recurs is not None:
        _recur(engine, run, ended.recurs)
        return
    if ended.error is None:
        run.status, run.outcome = "completed", (ended.payload, None)
        engine.record(run, [Event(ev.RUN_COMPLETED, now_us(), payload=ended.payload)])
        endings.close(engine, run)
        return
    if pauses(run):
        endings.pause(engine, run, "error", ended.error)
        return
    run.error = ended.error
    if run.armed or recurring.carries(run):
        undoing.begin(engine, run, "failed")
        return
    run.status, run.outcome = "failed", (None, ended.error)
    engine.record(run, [Event(ev.RUN_FAILED, now_us(), payload=run.error_payload)])
    endings.close(engine, run)


def _recur(engine: State, run: LiveRun, wish: RunRecurs) -> None:
    known, inputs = recurring.facts(wish), wish.request.inputs
    if wish.compensations == "run" and (run.armed or recurring.carries(run)):
        run.error_payload = inputs.payload
        undoing.begin(engine, run, "recur", wish=known)
    else:
        recurring.next_run(engine, run, inputs.payload, known, wish)
