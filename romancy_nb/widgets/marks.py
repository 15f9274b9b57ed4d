"""What all forms of a timeline share: symbols, labels, notes and the summary."""

from __future__ import annotations

from typing import Final

from romancy_nb.widgets import costs
from romancy_nb.widgets.snapshot import Snapshot, Step
from romancy_nb.widgets.steps import Progress
from romancy_nb.widgets.structure import Branch
from romancy_nb.words import clean, count, duration, utc

__all__ = [
    "MARKS",
    "MEANING",
    "called",
    "heading",
    "legend",
    "look_of",
    "look_of_branch",
    "note",
    "note_of_branch",
    "other_runs",
    "progress_words",
    "run_mark",
    "spent",
    "summary",
    "tallies",
    "title",
]

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
MEANING: Final = {
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


def look_of_branch(branch: Branch) -> str:
    """Return which of ``MARKS`` the heading of a branch has."""
    if branch.status == "completed":
        return "journal" if all(step.from_journal for step in branch.steps) else "ok"
    return branch.status


def called(step: Step) -> str:
    """Return the step as it is called: ``reserve(item="a")``, or in words where it is no call of a function."""
    if step.kind == "question":
        return step.question or step.name
    if step.kind in _PHRASES:
        return _PHRASES[step.kind].format(name="any channel" if step.name == "*" else step.name, input=step.input)
    return f"{step.name}({step.input})"


_PHRASES: Final = {
    "wait": "wait for {name}",
    "channel": "subscribe to {name}",
    "publish": "publish to {name}: {input}",
    "armed": "undo from here on: {name}({input})",
}


def heading(branch: Branch) -> str:
    """Return the label of a branch: ``fetch(url="a") and 2 more``."""
    first, *rest = branch.steps
    return f"{called(first)} and {len(rest):,} more" if rest else called(first)


def note_of_branch(branch: Branch) -> str:
    """Return how far a branch is: ``2 of 3 steps done, 1 failed``."""
    done = sum(1 for step in branch.steps if step.status == "completed")
    failed = sum(1 for step in branch.steps if step.status == "failed")
    if done == len(branch.steps):
        return count(done, "step")
    return f"{done:,} of {count(len(branch.steps), 'step')} done" + (f", {failed:,} failed" if failed else "")


def progress_words(progress: Progress) -> str:
    """Return how far a step is: ``40 of 100, 12/s, 5 s left: loading``."""
    said = (
        f"{_plain(progress.done)} of {_plain(progress.total)}" if progress.total is not None else _plain(progress.done)
    )
    if progress.rate is not None:
        said += f", {_plain(progress.rate)}/s"
    if progress.left_us is not None:
        said += f", {duration(progress.left_us)} left"
    return f"{said}: {progress.text}" if progress.text else said


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:,.3g}"


def spent(step: Step, as_of: int) -> str:
    """Return how long the step took, in words; empty where nobody knows."""
    us = step.spent(as_of)
    return "" if us is None or step.at_once else duration(us)


def note(step: Step) -> str:
    """Return what there is to say about a step in a few words, or nothing."""
    if step.decided:
        return "left as it is, by hand" if step.decided == "skip" else "undone by hand"
    if step.status == "in_doubt":
        return "may have run"
    if step.kind in {"wait", "question"} and step.status in {"waiting", "completed"}:
        return _note_of_wait(step)
    if step.status == "waiting":
        if step.kind == "timer":
            return f"until {_due(step, step.due)}" if step.due else "waiting"
        again = f"attempt {step.tries + 1} at {_due(step, step.due)}" if step.due else ""
        if step.limits:
            behind = f"limit {' and '.join(step.limits)}"
            return f"{again} or later, {behind}" if again else f"waiting for {behind}"
        return again or "waits its turn"
    if step.status == "failed":
        origin = "failed, from journal" if step.from_journal else "failed"
        return f"{origin}, {step.tries} attempts" if step.tries > 1 else origin
    if step.status == "cancelled":
        return _note_of_none(step)
    if step.from_journal:
        return "edited by hand" if step.edited else "from journal"
    if step.status == "running":
        return f"running, attempt {step.tries}" if step.tries > 1 else "running"
    return f"attempt {step.tries}" if step.tries > 1 else ""


def _note_of_none(step: Step) -> str:
    """Why nothing came of it: nobody wanted it any more, or nothing came in time."""
    if step.kind not in {"wait", "question"} or not step.due or (step.finished or 0) < step.due:
        return "cancelled"
    return "nobody answered in time" if step.kind == "question" else "nothing came in time"


def _note_of_wait(step: Step) -> str:
    """Who answered, or until when an answer is awaited; and what did not fit."""
    asks = step.kind == "question"
    if step.status == "completed":
        how = " ".join(
            part for part in (f"by {step.by}" if step.by else "", f"via {step.via}" if step.via else "") if part
        )
        said = f"{'answered' if asks else 'received'} {how}".rstrip()
        said = f"{said}, from journal" if step.from_journal else said
    else:
        said = "waits for an answer" if asks else "waiting"
        said += f" until {_due(step, step.due)}" if step.due else ""
    if not step.refusals or step.status == "completed":
        return said
    return f"{said}; {count(step.refusals, 'answer' if asks else 'event')} did not fit: {step.refused}"


def _due(step: Step, due: int) -> str:
    """The day is left out where it is the one on which the step began."""
    then = utc(due)
    return then if then[:10] != utc(step.started)[:10] else then[11:]


def tallies(view: Snapshot) -> list[str]:
    """Return the counts that are worth a word, in order: ``["3 from journal", "2 executed", "saved 41 s", …]``."""
    counts = view.counts
    said = []
    executed = counts.executed - counts.executing
    if counts.from_journal:
        said.append(f"{counts.from_journal:,} from journal")
    if executed or counts.from_journal:
        said.append(f"{executed:,} executed")
    for number, word in (
        (counts.running, "running"),
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
    if view.cost is not None:
        said.append(f"cost {costs.words(view.cost)}")
    return said


def summary(view: Snapshot) -> list[str]:
    """Return ``tallies``, and how long the run took, or has taken so far."""
    end = view.finished if view.finished is not None else view.as_of
    verb = (
        "took" if view.finished is not None else "so far" if view.status in {"running", "waiting"} else "stopped after"
    )
    return [*tallies(view), f"{verb} {duration(end - view.started)}"]


def title(view: Snapshot) -> str:
    """Return ``run 2, after an edit``: which run this is and why there is one."""
    reason = _REASONS.get(view.reason, clean(view.reason.replace("_", " ")))
    if view.reason == "fork":
        reason = clean(view.cause) or "a fork"
    return f"run {view.number}" + (f", {reason}" if reason else "")


def legend(view: Snapshot) -> list[tuple[str, str]]:
    """Return (symbol, meaning) of the looks that occur in *view*."""
    present = {look_of(step) for step in view.steps}
    return [(mark, MEANING[look]) for look, mark in MARKS.items() if look in present]


def other_runs(view: Snapshot) -> str:
    """Return a line that names the other runs of the instance, in place of tabs; empty where there are none."""
    others = [run for run in view.runs if run.number != view.number]
    if not others:
        return ""
    named = ", ".join(f"run {run.number} {clean(run.words)}" for run in others[-_RUNS:])
    more = len(others) - _RUNS
    return f"Other runs: {named}" + (f", and {more:,} before" if more > 0 else "")


_RUNS: Final = 6
