"""The view model of one run: what every display shows, as plain data.

``snapshot(rows, now=…)`` reads a run's history and returns a ``Snapshot``. The live widget, the static HTML, the text
timeline and the JSON for programs all render this one object and look at nothing else.

What is saved in a file must be a pure function of history (N7). So *now* only matters while a living process advances
the run, and ``Snapshot.saved()`` leaves out what only held for the call being shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.journal.protocol import Row
from romancy_nb.widgets import preview
from romancy_nb.widgets.steps import Attempt, Step, read_steps
from romancy_nb.words import clip

__all__ = ["VERSION", "Attempt", "Counts", "Snapshot", "Step", "history_json", "snapshot"]

VERSION: Final = 1
"""Of the shape of ``Snapshot.as_dict()`` and ``history_json()``; raised when a field changes its meaning."""

_FILE_LIMIT: Final = 20_000
_NESTING: Final = 8  # how deep nbformat's one-space indentation has become where it writes our JSON

_STATUS: Final = {
    ev.RUN_STARTED: "running",
    ev.RUN_RESUMED: "running",
    ev.RUN_PAUSED: "paused",
    ev.RUN_STUCK: "stuck",
    ev.RUN_COMPLETED: "completed",
    ev.RUN_FAILED: "failed",
    ev.RUN_CANCELLED: "cancelled",
    ev.RUN_COMPENSATING: "compensating",
    ev.RUN_UNDO_PAUSED: "compensating",
    ev.RUN_COMPENSATED: "compensated",
    ev.RUN_COMPENSATION_FAILED: "compensation_failed",
}
_WORDS: Final = {
    "stuck": "code no longer fits its history",
    "interrupted": "interrupted",
    "compensating": "being undone",
    "compensated": "undone",
    "compensation_failed": "undo incomplete",
    "recurred": "goes on in a new run",
}
_PAUSES: Final = {
    "interrupt": "Stopped by hand.",
    "doubt": "A step may have run, and it must not run twice.",
    "error": "The workflow's own code raised an error.",
}
_HINTS: Final = {
    "paused": "Run the cell again: it goes on from here.",
    "interrupted": "Run the cell again: it goes on from here.",
    "stuck": "Nothing is lost. Put the code back, or run the cell again as it is: what is unchanged is kept, the rest is executed.",
    "failed": "Run the cell again: what completed is kept.",
    "cancelled": "To start over: new=True.",
    "compensated": "Run the cell again: what was undone is executed anew, the rest is kept.",
    "compensation_failed": "A person decides: %romancy compensate ID tries it again, or skips it, or notes it as done.",
}
_DOUBT: Final = "Say what became of it, with %romancy resolve or Instance.resolve(...). Then run the cell again."
_UNDO_INTERRUPTED: Final = "Run the cell again: the undo goes on from here."


@dataclass(frozen=True, slots=True)
class Counts:
    """How many steps there are of each sort. A step may count in several; ``steps`` is how many there are.

    ``executed`` and ``from_journal`` are activities and side effects that were begun here, or answered by the journal;
    ``undone`` counts compensations that completed, which count nowhere else.
    """

    steps: int
    executed: int
    from_journal: int
    running: int
    failed: int
    retried: int
    waiting: int
    in_doubt: int
    cancelled: int
    undone: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One run at one moment.

    Attributes:
        version: of this shape.
        instance: the instance id.
        workflow: its name.
        number: of the run, from 1.
        reason: why this run exists, as the journal has it.
        cause: what was edited, where that made a new run; or empty.
        status: ``running``, ``waiting``, ``paused``, ``interrupted``, ``stuck``, ``completed``, ``failed``,
            ``cancelled``, …
        words: the status in plain words (N9).
        hint: what to do next, or empty.
        problem: why it is paused, stuck, failed or cancelled; or empty.
        notebook: path of the notebook it was started from, or None.
        started: µs.
        finished: µs; None while it has not ended.
        as_of: µs, the present of this snapshot: now for a run that is being advanced, else its last event.
        input: preview of the inputs.
        output: preview of the result.
        counts: of the steps.
        saved_us: how long the steps from the journal once took, in µs.
        steps: in the order of the workflow's own structure.
    """

    version: int
    instance: str
    workflow: str
    number: int
    reason: str
    cause: str
    status: str
    words: str
    hint: str
    problem: str
    notebook: str | None
    started: int
    finished: int | None
    as_of: int
    input: str
    output: str
    counts: Counts
    saved_us: int
    steps: tuple[Step, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able data."""
        return asdict(self)

    def saved(self) -> Snapshot:
        """Return the snapshot as a file keeps it: without what was true only of the call being shown (N7)."""
        if all(step.origin_now is None for step in self.steps):
            return self
        steps = tuple(replace(step, origin_now=None) for step in self.steps)
        return replace(self, steps=steps, counts=_counted(steps), saved_us=_saved_time(steps))


def snapshot(rows: Sequence[Row], *, now: int, alive: bool = True, executed_since: int | None = None) -> Snapshot:
    """Return the view of the run whose history is *rows*.

    Args:
        rows: all rows of one run, in order; the first is ``run_started``.
        now: the present, in µs. It matters only while a living process advances the run.
        alive: does a process that owns the run live? Without one, a running run is *interrupted*.
        executed_since: the last ``seq`` that was there before the call being shown (0: none). Then each step's
            ``origin_now`` says whether it was read from the journal in that call, or executed by it.

    Raises:
        ValueError: *rows* does not begin with ``run_started``.
    """
    if not rows or rows[0].event.kind != ev.RUN_STARTED:
        raise ValueError("a run's history begins with run_started")
    start, last = rows[0].event, _last_change(rows)
    facts = start.meta or {}
    status = _STATUS[last.kind]
    undoing = status == "compensating"
    live = status in {"running", "compensating"} and last.kind != ev.RUN_UNDO_PAUSED and alive
    ended = last.kind in ev.RUN_ENDS
    steps = tuple(read_steps(rows, live=live, ended=ended, executed_since=executed_since))
    if facts.get("kind") == "notebook":  # it has no end; between cells it waits
        live = live and any(step.status in {"running", "waiting"} for step in steps)
        status = "running" if live else "waiting"
    elif undoing:
        status = status if live else "interrupted"
    else:
        status = _shown_status(status, live, steps)
    # that a kernel opened it is nothing to be seen: a second Run All saves the bytes of the first (N8)
    recorded = max(row.event.at for row in rows if row.event.kind != ev.RUN_RESUMED)
    return Snapshot(
        version=VERSION,
        instance=clip(start.call),
        workflow=clip(start.name),
        number=int(facts.get("number", 1)),
        reason=clip(str(facts.get("reason", ""))),
        cause=clip(str(facts.get("cause", ""))),
        status=status,
        words=_words(status, facts.get("kind") == "notebook" and not live, undoing and not live),
        hint=_hint(last, status) if not undoing or live else _UNDO_INTERRUPTED,
        problem=_problem(last, status),
        notebook=clip(str(facts["notebook"])) if facts.get("notebook") else None,
        started=start.at,
        finished=last.at if ended else None,
        as_of=max(now, recorded) if live else recorded,
        input=preview.inputs(start.payload),
        output=preview.value(last.payload) if last.kind == ev.RUN_COMPLETED else "",
        counts=_counted(steps),
        saved_us=_saved_time(steps),
        steps=steps,
    )


def _words(status: str, between_cells: bool, undo_interrupted: bool) -> str:
    if between_cells:
        return "between cells"
    return "undo interrupted" if undo_interrupted else _WORDS.get(status, status)


def _last_change(rows: Sequence[Row]) -> Event:
    """The last event that changed the run's own status."""
    return next(row for row in rows[::-1] if row.event.kind in _STATUS).event


def _shown_status(status: str, live: bool, steps: Sequence[Step]) -> str:
    if status != "running":
        return status
    if not live:
        return "interrupted"
    still_open = [step for step in steps if step.status in {"running", "waiting", "in_doubt"}]
    waits = still_open and all(step.status != "running" for step in still_open)
    return "waiting" if waits else "running"


def _hint(last: Event, status: str) -> str:
    if status == "paused" and (last.meta or {}).get("reason") == "doubt":
        return _DOUBT
    return _HINTS.get(status, "")


def _problem(last: Event, status: str) -> str:
    meta = last.meta or {}
    if status == "stuck":
        expected, asked = clip(str(meta.get("expected") or "")), clip(str(meta.get("asked") or ""))
        edited = f" Edited: {clip(str(meta['edited']))}." if meta.get("edited") else ""
        if expected or asked:
            return (
                f"History holds {expected or 'no further call'}; the code asks for {asked or 'nothing there'}.{edited}"
            )
        return clip(str(meta.get("message", "")))
    if (
        status in {"paused", "failed", "compensating", "compensated", "compensation_failed"}
        and last.payload is not None
    ):
        return preview.failure(last.payload)
    if status == "paused":
        reason = str(meta.get("reason", ""))
        return _PAUSES.get(reason, clip(reason))
    return clip(str(meta.get("reason") or "")) if status == "cancelled" else ""


def _counted(steps: Sequence[Step]) -> Counts:
    undone = sum(1 for step in steps if step.undoes and step.status == "completed")
    steps = [step for step in steps if not step.undoes or step.status in {"failed", "running", "waiting", "in_doubt"}]
    work = [step for step in steps if step.kind != "timer" and not step.undoes]
    fresh = [step for step in work if not step.from_journal]
    return Counts(
        steps=len(steps),
        executed=sum(1 for s in fresh if s.kind == "side_effect" or (s.attempts and s.status != "in_doubt")),
        from_journal=sum(1 for s in work if s.from_journal),
        running=sum(1 for s in steps if s.status == "running"),
        failed=sum(1 for s in steps if s.status == "failed"),
        retried=sum(1 for s in fresh if s.tries > 1),
        waiting=sum(1 for s in steps if s.status == "waiting"),
        in_doubt=sum(1 for s in steps if s.status == "in_doubt"),
        cancelled=sum(1 for s in steps if s.status == "cancelled"),
        undone=undone,
    )


def _saved_time(steps: Sequence[Step]) -> int:
    return sum(step.spent(0) or 0 for step in steps if step.from_journal and step.finished is not None)


# -- for programs ----------------------------------------------------------------------------------------------------


def history_json(view: Snapshot) -> dict[str, Any]:
    """Return *view* for programs, at most 20 kB as a notebook file writes it (N7).

    Empty fields are left out. Of a long run the first and the last steps are kept; ``omitted`` then says how many stand
    between them, after how many of ``steps``.
    """
    view = view.saved()
    steps = view.steps
    head: list[dict[str, Any]] = []
    tail: list[dict[str, Any]] = []
    document = {"schema": "romancy.history", **_without_empty(asdict(replace(view, steps=())))}
    room = _FILE_LIMIT - _size(document) - 200
    first, last = 0, len(steps) - 1
    while first <= last:
        from_head = len(head) <= len(tail)
        step = _without_empty(asdict(replace(steps[first if from_head else last], outputs=())))
        step["attempts"] = [_without_empty(a) for a in step.get("attempts", [])[-_ATTEMPTS_KEPT:]]
        if not _says_more_than_step(step):
            del step["attempts"]
        room -= _size(step)
        if room < 0:
            break
        if from_head:
            head.append(step)
            first += 1
        else:
            tail.append(step)
            last -= 1
    document["steps"] = head + tail[::-1]
    if first <= last:
        document["omitted"] = {"after": len(head), "steps": last - first + 1}
    return document


_ATTEMPTS_KEPT: Final = 5


def _says_more_than_step(step: dict[str, Any]) -> bool:
    attempts = step["attempts"]
    return len(attempts) > 1 or bool(attempts and attempts[0]["outcome"] not in {"ok", "running"})


def _without_empty(document: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in document.items() if item not in (None, "", [], ())}


def _size(document: dict[str, Any]) -> int:
    text = json.dumps(document, ensure_ascii=False, indent=1)
    return len(text.encode()) + (text.count("\n") + 1) * (_NESTING + 2) + 2
