"""The code of a run has ended and everything that it issued has settled: complete, pause, fail or undo (U1, E4)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.errors import TerminalError
from romancy_nb.runtime import endings, undoing

if TYPE_CHECKING:
    from romancy_nb.runtime.live import LiveRun
    from romancy_nb.runtime.state import State

__all__ = ["finish"]


def finish(engine: State, run: LiveRun) -> None:
    """Journal how the run ended, or begin its undo, and tell who waits."""
    ended = run.ended
    assert ended is not None
    if run.replay_only:
        endings.close(engine, run)
        return
    if run.cancelled or (run.cancelling is not None and ended.error is not None):  # whatever the code made of it (U3)
        if isinstance(ended.error, asyncio.CancelledError):
            run.error_payload = None
        undoing.begin(engine, run, "cancelled", **(run.cancelling or {}))
        return
    if ended.error is None:
        run.status, run.outcome = "completed", (ended.payload, None)
        engine.record(run, [Event(ev.RUN_COMPLETED, now_us(), payload=ended.payload)])
        endings.close(engine, run)
        return
    on_failure = run.workflow.options.on_failure
    slip = not ended.reported and not isinstance(ended.error, TerminalError)
    if (slip and on_failure is None and run.attached) or on_failure == "pause":
        endings.pause(engine, run, "error", ended.error)
        return
    run.error = ended.error
    if run.armed:
        undoing.begin(engine, run, "failed")
        return
    run.status, run.outcome = "failed", (None, ended.error)
    engine.record(run, [Event(ev.RUN_FAILED, now_us(), payload=run.error_payload)])
    endings.close(engine, run)
