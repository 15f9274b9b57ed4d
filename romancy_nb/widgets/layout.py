"""Which rows the static forms of a timeline show, and where: branches, the undo lane, and what of a long run is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from romancy_nb.widgets import costs
from romancy_nb.widgets.axis import axis_of
from romancy_nb.widgets.marks import MARKS, MEANING, called, look_of, note
from romancy_nb.widgets.snapshot import Snapshot
from romancy_nb.widgets.steps import Step
from romancy_nb.widgets.structure import Branch, rows_of, undone_by
from romancy_nb.words import count

__all__ = ["Gap", "Heading", "Lane", "Layout", "Line", "shown_rows"]

UNDO_LANE: Final = "Undo, last first"
_LONG: Final = 8  # steps: a longer branch is folded


@dataclass(frozen=True, slots=True)
class Gap:
    """Rows that are not shown."""

    steps: int
    words: str


@dataclass(frozen=True, slots=True)
class Heading:
    """The row above a concurrent branch.

    Attributes:
        branch: it.
        folded: do its steps stand in this row, and not in rows of their own?
    """

    branch: Branch
    folded: bool

    @property
    def status(self) -> str:
        """As that of a step."""
        return self.branch.status


@dataclass(frozen=True, slots=True)
class Lane:
    """The row above what undoes something."""

    words: str


Row = Step | Heading
Line = Step | Heading | Gap | Lane


class Layout:
    """The rows of *view* and their axis: made once for all its static forms.

    Attributes:
        axis: the axis on which they are drawn.
    """

    def __init__(self, view: Snapshot) -> None:
        self.axis = axis_of(view)
        self._names = {step.call: step.name for step in view.steps}
        by_place = {step.call: step for step in view.steps}
        self._undone = {
            of
            for of, by in undone_by(view.steps).items()
            if by_place[by].status == "completed" or by_place[by].decided == "done"
        }
        self._forward = _rows([step for step in view.steps if step.lane == "forward"])
        self._undo: list[Row] = [step for step in view.steps if step.lane == "undo"]

    def lines(self, limit: int) -> list[Line]:
        """Return the rows from top to bottom, at most about *limit* of them; a third is there for what undoes something."""
        forward, undo = self._forward, self._undo
        room = limit - min(len(undo), limit // 3)
        lines: list[Line] = [*shown_rows(forward, room)]
        if undo:
            lines += [Lane(UNDO_LANE), *shown_rows(undo, max(limit // 3, limit - len(forward)))]
        return lines

    def label(self, row: Step) -> str:
        """Return the step as it is called, and what it undoes."""
        undoes = self._names.get(row.undoes, "")
        return f"{called(row)}, undoes {undoes}" if undoes else called(row)

    def note(self, row: Step) -> str:
        """Return what there is to say about a step: how it stands, whether it was undone, what it cost."""
        undone = "undone" if row.call in self._undone else ""
        return ", ".join(part for part in (note(row), undone, costs.words(row.cost)) if part)


def _rows(steps: Sequence[Step]) -> list[Row]:
    """The steps with their headings; those of a long branch stand in its heading."""
    rows: list[Row] = []
    inside: set[str] = set()
    for row in rows_of(steps):
        if isinstance(row, Step):
            if row.call not in inside:
                rows.append(row)
        elif row.steps[0].call not in inside:
            folded = len(row.steps) > _LONG
            rows.append(Heading(row, folded))
            if folded:
                inside.update(step.call for step in row.steps)
    return rows


def shown_rows(steps: Sequence[Row], limit: int) -> list[Row | Gap]:
    """Return which rows of *steps* are shown: all of them, or at most *limit* with a ``Gap`` for each stretch left out.

    Of a long run the first and the last rows are kept, and between them the first few that failed, may have run, are
    running or wait (up to a sixth of the rows). A gap says how many rows it stands for and how those ended.
    """
    if len(steps) <= limit:
        return [*steps]
    limit = max(limit, 6)
    notable = [i for i, step in enumerate(steps) if step.status not in {"completed", "cancelled"}][: limit // 6]
    room = limit - 2 * len(notable) - 1
    head, tail = room - room // 2, len(steps) - room // 2
    kept = sorted({*range(head), *range(tail, len(steps)), *notable})
    rows: list[Row | Gap] = []
    reached = 0
    for index in [*kept, len(steps)]:
        if index > reached:
            rows.append(_gap(steps[reached:index]))
        if index < len(steps):
            rows.append(steps[index])
        reached = index + 1
    return rows


def _gap(rows: Sequence[Row]) -> Gap:
    steps = [
        step for row in rows for step in ([row] if isinstance(row, Step) else row.branch.steps if row.folded else ())
    ]
    kinds = Counter(look_of(step) for step in steps)
    if not steps:
        return Gap(0, "…")
    told = ", ".join(f"{kinds[look]:,} {MEANING[look]}" for look in MARKS if kinds[look])
    return Gap(len(steps), f"{count(len(steps), 'more step')}: {told}")
