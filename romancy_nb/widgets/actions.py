"""What can be done with a run and with each of its rows, by how they stand: a table, no more.

Whether it really can be done is decided where it is done; what is refused there says why.
"""

from __future__ import annotations

from typing import Final

from romancy_nb.widgets.snapshot import Snapshot
from romancy_nb.widgets.steps import Step

__all__ = ["of_run", "of_step", "state"]

_OF_RUN: Final[dict[str, tuple[str, ...]]] = {
    "running": ("cancel", "send"),
    "waiting": ("cancel", "send"),
    "paused": ("resume", "cancel", "send"),
    "interrupted": ("resume", "cancel", "send"),
    "stuck": ("resume", "cancel", "send"),
    "failed": ("resume", "compensate"),
    "completed": ("compensate",),
    "compensation_failed": ("compensate",),
}
"""By the status of the run. ``compensate`` only where there is something to undo, as where an undo gave up there is."""
_GAVE_UP: Final = ("retry", "skip", "done")
_GOING_ON: Final = frozenset({"running", "waiting"})
_NEVER_FORWARD: Final = frozenset({"compensating", "compensated", "compensation_failed", "cancelled", "recurred"})


def of_run(view: Snapshot) -> list[str]:
    """Return what can be done with the run."""
    offered = _OF_RUN.get(view.status, ())
    if state(view) == "history":
        offered = ()
    elif view.status == "interrupted" and view.words == "undo interrupted":
        offered = ("resume",)
    elif view.words == "between cells":  # a durable notebook goes on with its next cell
        offered = ("send",)
    undoable = view.undoable or view.status == "compensation_failed"
    return [name for name in offered if name != "compensate" or undoable]


def state(view: Snapshot) -> str:
    """Return what decides over its rows: ``history`` (there is a newer run), ``rests`` (nothing goes on in it, and it may be taken
    up), ``back`` (it is undone or given up, and never goes forward again) or ``goes on``."""
    if any(run.number > view.number for run in view.runs):
        return "history"
    if view.status in _NEVER_FORWARD or view.words == "undo interrupted":
        return "back"
    return "goes on" if view.status in _GOING_ON else "rests"


def of_step(step: Step, state: str) -> list[str]:
    """Return what can be done with a row of a run in this *state*."""
    offered: list[str] = []
    if state == "history":
        return ["code"]
    if step.kind == "compensation":
        if step.status == "failed" and not step.decided:
            offered += _GAVE_UP
    elif step.status == "failed" and step.kind in {"activity", "child"} and state == "rests":
        offered.append("retry")
    elif step.status == "waiting" and step.kind in {"question", "wait"}:
        offered.append("answer" if step.kind == "question" else "send")
    elif step.status == "in_doubt" and step.kind == "activity" and state == "rests":
        offered.append("resolve")
    if step.status == "completed" and step.lane == "forward":
        offered.append("fork")
    return [*offered, "code"]
