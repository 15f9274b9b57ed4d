"""What the text and the HTML timeline share: symbols, notes, summary, and which rows of a long run are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from romancy_nb.widgets.snapshot import Snapshot, Step
from romancy_nb.words import clean, count, duration, utc

__all__ = ["MARKS", "Gap", "called", "legend", "look_of", "note", "run_mark", "shown_rows", "spent", "summary"]

MARKS: Final = {
    "ok": "✓",
    "journal": "↺",
    "failed": "✗",
    "running": "▶",
    "waiting": "◷",
    "in_doubt": "?",
    "cancelled": "⊘",
    "undo": "↩",
}
"""A symbol for each look of a step: they differ in shape, so colour is never needed."""
_MEANING: Final = {
    "ok": "executed",
    "journal": "from journal",
    "failed": "failed",
    "running": "running",
    "waiting": "waiting",
    "in_doubt": "may have run",
    "cancelled": "cancelled",
    "undo": "undoes",
}
_RUN_MARKS: Final = {
    "completed": "✓",
    "failed": "✗",
    "running": "▶",
    "waiting": "◷",
    "paused": "‖",
    "interrupted": "‖",
    "stuck": "≠",
    "cancelled": "⊘",
    "compensating": "↩",
    "compensated": "↩",
    "compensation_failed": "✗",
}
_REASONS: Final = {
    "": "",
    "start": "",
    "edited": "after an edit",
    "again": "started again",
    "retry": "after a failure",
    "parted": "since the code no longer fitted",
}


def look_of(step: Step) -> str:
    """Return which of ``MARKS`` a step has."""
    if step.status == "completed" and step.undoes:
        return "undo"
    if step.status == "completed":
        return "journal" if step.from_journal else "ok"
    return step.status


def run_mark(status: str) -> str:
    """Return the symbol of a run's status."""
    return _RUN_MARKS.get(status, "•")


def called(step: Step) -> str:
    """Return the step as a call: ``reserve(item="a")``."""
    return f"{step.name}({step.input})"


def spent(step: Step, as_of: int) -> str:
    """Return how long the step took, in words; empty where nobody knows."""
    us = step.spent(as_of)
    return "" if us is None or step.kind == "side_effect" else duration(us)


def note(step: Step) -> str:
    """Return what there is to say about a step in a few words, or nothing."""
    if step.decided:
        return "left as it is, by hand" if step.decided == "skip" else "undone by hand"
    if step.status == "in_doubt":
        return "may have run"
    if step.status == "waiting":
        if step.kind == "timer":
            return f"until {_due(step, step.due)}" if step.due else "waiting"
        return f"attempt {step.tries + 1} at {_due(step, step.due)}" if step.due else "waits its turn"
    if step.status == "failed":
        origin = "failed, from journal" if step.from_journal else "failed"
        return f"{origin}, {step.tries} attempts" if step.tries > 1 else origin
    if step.status == "cancelled":
        return "cancelled"
    if step.from_journal:
        return "from journal"
    if step.status == "running":
        return f"running, attempt {step.tries}" if step.tries > 1 else "running"
    return f"attempt {step.tries}" if step.tries > 1 else ""


def _due(step: Step, due: int) -> str:
    """The day is left out where it is the one on which the step began."""
    then = utc(due)
    return then if then[:10] != utc(step.started)[:10] else then[11:]


def summary(view: Snapshot) -> list[str]:
    """Return the counts that are worth a word, in order: ``["3 from journal", "2 executed", "saved 41 s", …]``."""
    counts = view.counts
    said = []
    if counts.from_journal:
        said.append(f"{counts.from_journal:,} from journal")
    if counts.executed or counts.from_journal:
        said.append(f"{counts.executed:,} executed")
    for number, word in (
        (counts.retried, "retried"),
        (counts.failed, "failed"),
        (counts.in_doubt, "may have run"),
        (counts.waiting, "waiting"),
        (counts.cancelled, "cancelled"),
        (counts.undone, "undone"),
    ):
        if number:
            said.append(f"{number:,} {word}")
    if view.saved_us:
        said.append(f"saved {duration(view.saved_us)}")
    end = view.finished if view.finished is not None else view.as_of
    verb = (
        "took" if view.finished is not None else "so far" if view.status in {"running", "waiting"} else "stopped after"
    )
    said.append(f"{verb} {duration(end - view.started)}")
    return said


def title(view: Snapshot) -> str:
    """Return ``run 2, after an edit``: which run this is and why there is one."""
    reason = _REASONS.get(view.reason, clean(view.reason.replace("_", " ")))
    return f"run {view.number}" + (f", {reason}" if reason else "")


def legend(view: Snapshot) -> list[tuple[str, str]]:
    """Return (symbol, meaning) of the looks that occur in *view*."""
    present = {look_of(step) for step in view.steps}
    return [(mark, _MEANING[look]) for look, mark in MARKS.items() if look in present]


@dataclass(frozen=True, slots=True)
class Gap:
    """Rows that are not shown."""

    steps: int
    words: str


def shown_rows(steps: Sequence[Step], limit: int) -> list[Step | Gap]:
    """Return which rows of *steps* are shown: all of them, or at most *limit* with a ``Gap`` for each stretch left out.

    Of a long run the first and the last rows are kept, and between them the first few that failed, may have run, are
    running or wait (up to a sixth of the rows). A gap says how many rows it stands for and how those ended.
    """
    if len(steps) <= limit:
        return list(steps)
    limit = max(limit, 6)
    notable = [i for i, step in enumerate(steps) if step.status not in {"completed", "cancelled"}][: limit // 6]
    room = limit - 2 * len(notable) - 1
    head, tail = room - room // 2, len(steps) - room // 2
    kept = sorted({*range(head), *range(tail, len(steps)), *notable})
    rows: list[Step | Gap] = []
    reached = 0
    for index in [*kept, len(steps)]:
        if index > reached:
            rows.append(_gap(steps[reached:index]))
        if index < len(steps):
            rows.append(steps[index])
        reached = index + 1
    return rows


def _gap(steps: Sequence[Step]) -> Gap:
    kinds = Counter(look_of(step) for step in steps)
    told = ", ".join(f"{kinds[look]:,} {_MEANING[look]}" for look in MARKS if kinds[look])
    return Gap(len(steps), f"{count(len(steps), 'more step')}: {told}")
