"""The view model of one run: what every display shows, as plain data.

``snapshot(rows, now=…)`` reads a run's history and returns a ``Snapshot``. The live display, the static HTML, the text
timeline and the JSON for programs all render this one object and look at nothing else. Who looks at a run while it goes on
has a ``reading.Reading`` make it, row by row.

What is saved in a file must be a pure function of history (N7). So *now* only matters while a living process advances
the run, and ``Snapshot.saved()`` leaves out what only held for the call being shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.core.transitions import STATUS_AFTER
from romancy_nb.journal.protocol import Row
from romancy_nb.widgets import preview
from romancy_nb.widgets.costs import Cost
from romancy_nb.widgets.counts import Counts, Totals
from romancy_nb.widgets.reading import Reading
from romancy_nb.widgets.steps import Attempt, Progress, Reported, Step
from romancy_nb.words import clip

__all__ = [
    "VERSION",
    "Attempt",
    "Cost",
    "Counts",
    "Progress",
    "Reported",
    "RunLine",
    "Snapshot",
    "Step",
    "anchor_of",
    "snapshot",
    "view_of",
    "words_of",
]

VERSION: Final = 2
"""Of the shape of ``Snapshot.as_dict()`` and ``history_json()``; raised when a field changes its meaning."""

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
class RunLine:
    """A run of the instance, in a line: what the tabs of a timeline show.

    Attributes:
        number: from 1.
        status: as that of a ``Snapshot``.
        reason: why the run exists, as the journal has it.
        started: µs.
        finished: µs; None while it has not ended.
    """

    number: int
    status: str
    reason: str
    started: int
    finished: int | None

    @property
    def words(self) -> str:
        """The status in plain words."""
        return words_of(self.status)


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
        steps: in the order of the workflow's own structure, what undoes something last.
        cost: what the steps that this run executed cost, where they say so.
        undoable: is there something that an undo of the run would undo?
        live: does a process advance it?
        recorded: µs, when its last event was recorded.
        runs: the runs of the instance, if whoever asked gave them.
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
    cost: Cost | None = None
    undoable: bool = False
    live: bool = False
    recorded: int = 0
    runs: tuple[RunLine, ...] = ()

    @property
    def anchor(self) -> str:
        """The name under which a page finds the living display of it; a pure function of history (N7)."""
        return anchor_of(self.instance, self.number)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able data."""
        return asdict(self)

    def saved(self) -> Snapshot:
        """Return the snapshot as a file keeps it: without what was true only of the call being shown (N7).

        A run that waits may do so for days, in a file that says the same all the time: it is shown as of its last event.
        """
        if self.status == "waiting" and self.as_of != self.recorded:
            return replace(self, as_of=self.recorded).saved()
        if all(step.origin_now is None and step.progress is None for step in self.steps):
            return self
        steps = tuple(replace(step, origin_now=None, progress=None) for step in self.steps)
        totals = Totals(steps)
        return replace(self, steps=steps, counts=totals.counts, saved_us=totals.saved_us)


def anchor_of(instance: str, number: int) -> str:
    """Return what a display of this run is found by when it comes to life; a pure function of history (N7)."""
    return f"timeline:{instance}:{number}"


def snapshot(
    rows: Sequence[Row],
    *,
    now: int,
    alive: bool = True,
    executed_since: int | None = None,
    runs: Sequence[RunLine] = (),
    progress: Mapping[str, Reported] | None = None,
    whole: bool = False,
) -> Snapshot:
    """Return the view of the run whose history is *rows*.

    Args:
        rows: all rows of one run, in order; the first is ``run_started``.
        now: the present, in µs. It matters only while a living process advances the run.
        alive: does a process that owns the run live? Without one, a running run is *interrupted*.
        executed_since: the last ``seq`` that was there before the call being shown (0: none). Then each step's
            ``origin_now`` says whether it was read from the journal in that call, or executed by it.
        runs: the runs of the instance, for the tabs.
        progress: what running steps have reported, by place.
        whole: have more than a preview of inputs and results, too.

    Raises:
        ValueError: *rows* does not begin with ``run_started``.
    """
    return view_of(Reading(rows, executed_since, whole=whole), now=now, alive=alive, runs=runs, progress=progress)


def view_of(
    reading: Reading,
    *,
    now: int,
    alive: bool = True,
    runs: Sequence[RunLine] = (),
    progress: Mapping[str, Reported] | None = None,
    steps: bool = True,
) -> Snapshot:
    """Return the view of what *reading* has read; the arguments are those of ``snapshot``.

    Without *steps* it is about the run alone: who reads on looks at the steps that changed.
    """
    start, last = reading.first, reading.last
    facts = start.meta or {}
    status = STATUS_AFTER[last.kind]
    undoing = status == "compensating"
    live = status in {"running", "compensating"} and last.kind != ev.RUN_UNDO_PAUSED and alive
    ended = last.kind in ev.RUN_ENDS
    reading.steps(live, ended, progress)
    counts = reading.totals.counts
    if facts.get("kind") == "notebook":  # it has no end; between cells it waits
        live = live and bool(counts.running or counts.waiting)
        status = "running" if live else "waiting"
    elif undoing:
        status = status if live else "interrupted"
    else:
        status = _shown_status(status, live, counts)
    number, reason = int(facts.get("number", 1)), clip(str(facts.get("reason", "")))
    finished = last.at if ended else None
    return Snapshot(
        version=VERSION,
        instance=clip(start.call),
        workflow=clip(start.name),
        number=number,
        reason=reason,
        cause=clip(str(facts.get("cause", ""))),
        status=status,
        words=_words(status, facts.get("kind") == "notebook" and not live, undoing and not live),
        hint=_hint(last, status) if not undoing or live else _UNDO_INTERRUPTED,
        problem=_problem(last, status),
        notebook=clip(str(facts["notebook"])) if facts.get("notebook") else None,
        started=start.at,
        finished=finished,
        as_of=max(now, reading.recorded) if live else reading.recorded,
        input=preview.inputs(start.payload),
        output=preview.value(last.payload) if last.kind == ev.RUN_COMPLETED else "",
        counts=counts,
        saved_us=reading.totals.saved_us,
        steps=reading.in_order() if steps else (),
        cost=reading.totals.cost,
        undoable=reading.undoable,
        live=live,
        recorded=reading.recorded,
        # of the run itself its history knows better than who was asked a while ago
        runs=tuple(
            replace(run, status=status, reason=reason, finished=finished) if run.number == number else run
            for run in runs
        ),
    )


def words_of(status: str) -> str:
    """Return the status of a run in plain words (N9)."""
    return _WORDS.get(status, status)


def _words(status: str, between_cells: bool, undo_interrupted: bool) -> str:
    if between_cells:
        return "between cells"
    return "undo interrupted" if undo_interrupted else _WORDS.get(status, status)


def _shown_status(status: str, live: bool, counts: Counts) -> str:
    if status != "running":
        return status
    if not live:
        return "interrupted"
    return "waiting" if not counts.running and (counts.waiting or counts.in_doubt) else "running"


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
