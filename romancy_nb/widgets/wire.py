"""A timeline as JSON for the browser: the view of a run, version 2, and each of its rows.

It is a pure function of the snapshot. Times are µs since 1970; what grows with the present alone (running bars, "so far")
is left to the browser's own clock, so that a view changes when something has happened and not because time went by.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from romancy_nb.widgets import actions, costs
from romancy_nb.widgets.marks import called, heading, look_of, look_of_branch, note, note_of_branch, tallies
from romancy_nb.widgets.places import Order
from romancy_nb.widgets.snapshot import VERSION, Attempt, Snapshot
from romancy_nb.widgets.steps import Step
from romancy_nb.widgets.structure import Branch, branch_of, ordered, undone_by

__all__ = ["branch_json", "head_json", "row_json", "view_json"]

Json = dict[str, Any]
_ATTEMPTS: Final = 20


def view_json(view: Snapshot) -> Json:
    """Return *view* with all its rows."""
    order, steps = ordered(view.steps), {step.call: step for step in view.steps}
    undone, state = undone_by(view.steps), actions.state(view)
    rows = []
    for row in order.ids():
        if order.is_heading(row):
            rows.append(branch_json(branch_of(row, order, steps), order))
        else:
            rows.append(row_json(steps[row], order, undone.get(row, ""), state))
    return {**head_json(view), "rows": rows}


def head_json(view: Snapshot) -> Json:
    """Return everything about the run but its rows."""
    return {
        "v": VERSION,
        "instance": view.instance,
        "workflow": view.workflow,
        "number": view.number,
        "runs": [{**asdict(run), "words": run.words} for run in view.runs],
        "status": view.status,
        "words": view.words,
        "hint": view.hint,
        "problem": view.problem,
        "live": view.live,
        "started": view.started,
        "finished": view.finished,
        "as_of": view.as_of,
        "input": view.input,
        "output": view.output,
        "summary": tallies(view),
        "counts": asdict(view.counts),
        "saved_us": view.saved_us,
        "cost": costs.words(view.cost),
        "actions": actions.of_run(view),
        "notebook": view.notebook,
    }


def row_json(step: Step, order: Order, undone: str, state: str) -> Json:
    """Return the row of one step.

    Args:
        step: it.
        order: where it stands.
        undone: place of what undoes it, or empty.
        state: of the run (``actions.state``).
    """
    progress = step.progress
    return {
        "id": step.call,
        "seq": step.seq,
        "parent": order.parent(step.call),
        "depth": step.depth,
        "lane": step.lane,
        "kind": step.kind,
        "name": step.name,
        "label": called(step),
        "status": step.status,
        "look": look_of(step),
        "note": note(step),
        "started": step.started,
        "finished": step.finished,
        "due": step.due,
        "attempts": [_attempt(each) for each in step.attempts[-_ATTEMPTS:]],
        "progress": None if progress is None else asdict(progress),
        "cost": costs.words(step.cost),
        "undoes": step.undoes,
        "undone_by": undone,
        "decided": step.decided,
        "child": step.child,
        "actions": actions.of_step(step, state),
    }


def _attempt(attempt: Attempt) -> list[Any]:
    return [attempt.number, attempt.started, attempt.finished, attempt.outcome]


def branch_json(branch: Branch, order: Order) -> Json:
    """Return the row that stands above a concurrent branch."""
    return {
        "id": branch.id,
        "seq": None,
        "parent": order.parent(branch.id),
        "depth": branch.depth,
        "lane": "forward",
        "kind": "branch",
        "name": "branch",
        "label": heading(branch),
        "status": branch.status,
        "look": look_of_branch(branch),
        "note": note_of_branch(branch),
        "started": branch.started,
        "finished": branch.finished,
        "due": None,
        "attempts": [],
        "progress": None,
        "cost": costs.words(branch.cost),
        "undoes": "",
        "undone_by": "",
        "decided": "",
        "child": "",
        "actions": [],
    }
