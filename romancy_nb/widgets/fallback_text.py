"""The text timeline: for terminals, diffs, logs and whoever reads a notebook file without a browser."""

from __future__ import annotations

import textwrap
from typing import Final

from romancy_nb.widgets.axis import Axis, axis_of, segments
from romancy_nb.widgets.marks import (
    MARKS,
    Gap,
    called,
    legend,
    look_of,
    note,
    run_mark,
    shown_rows,
    spent,
    summary,
    title,
)
from romancy_nb.widgets.outputs import in_brief
from romancy_nb.widgets.snapshot import Snapshot, Step
from romancy_nb.words import duration, fit, utc, width

__all__ = ["FOLDED", "NO_STEPS", "bar", "text"]

NO_STEPS: Final = "This workflow called no activity."
_FILL: Final = {
    "ok": "█",
    "journal": "░",
    "failed": "×",
    "running": "▓",
    "unknown": "?",
    "cancelled": "·",
    "wait": "─",
    "undo": "◂",
}
FOLDED: Final = "┊"
"""Stands where idle time was folded; a wait that goes across it has ``≈`` there."""
_ACROSS: Final = "≈"
_LOWEST: Final = 60
_TIME: Final = 12


def text(view: Snapshot, width: int = 100, rows: int = 60) -> str:
    """Return the timeline of *view* as text, at most *width* columns wide (60 at the least).

    A run of more than *rows* steps shows its first and last rows, and between them some that failed, may have run
    or are still open; a line in place of the others says how many they are and how they ended.
    """
    lines = _head(view, max(width, _LOWEST))
    if view.steps:
        lines += ["", *_rows(view, max(width, _LOWEST), rows), "", *_legend(view)]
    else:
        lines.append(NO_STEPS)
    return "\n".join(line.rstrip() for line in lines)


def bar(step: Step, axis: Axis, as_of: int, columns: int) -> str:
    """Return the bar of one step in *columns* characters."""
    cells = [" "] * columns
    pieces = segments(step, axis, as_of)
    for piece in pieces:
        first = _column(piece.left, columns)
        last = max(first, _column(piece.right - 0.5 / columns, columns))
        cells[first : last + 1] = _FILL[piece.look] * (last + 1 - first)
    for left, right, _ in axis.marks():
        middle = (left + right) / 2
        across = any(piece.left < middle < piece.right for piece in pieces)
        cells[_column(middle, columns)] = _ACROSS if across else FOLDED
    return "".join(cells)


def _column(share: float, columns: int) -> int:
    return min(columns - 1, max(0, int(share * columns)))


def _head(view: Snapshot, columns: int) -> list[str]:
    lines = [f"{run_mark(view.status)} {view.workflow} · {view.words} · {title(view)} · {' · '.join(summary(view))}"]
    if width(lines[0]) > columns:
        lines = [
            f"{run_mark(view.status)} {view.workflow} · {view.words} · {title(view)}",
            f"  {' · '.join(summary(view))}",
        ]
    lines.append(f"  {view.instance} · started {utc(view.started)}")
    for line in (view.problem, view.hint):
        lines += textwrap.wrap(line, columns, initial_indent="  ", subsequent_indent="  ")
    if view.output not in {"", "None"}:
        lines.append(f"  → {view.output}")
    return [fit(line, columns) for line in lines]


def _rows(view: Snapshot, columns: int, limit: int) -> list[str]:
    axis = axis_of(view)
    shown = shown_rows(view.steps, limit)
    remark = min(28, max([width(note(row)) for row in shown if isinstance(row, Step)] + [0]))
    room = columns - 2 - _TIME - remark - 3
    names = [width(_label(row)) for row in shown if isinstance(row, Step)]
    label = min(max(names), max(18, room * 11 // 20))
    track = room - label
    lines = []
    for row in shown:
        if isinstance(row, Gap):
            lines.append(f"  … {row.words}")
            continue
        mark = MARKS[look_of(row)]
        drawn = bar(row, axis, view.as_of, track)
        took = spent(row, view.as_of)
        lines.append(f"{mark} {fit(_label(row), label)} {drawn} {took:>{_TIME - 1}}  {note(row)}")
        if brief := in_brief(row.outputs):
            lines.append(f"{'  ' * min(row.depth, 8)}  │ {brief}")
    return [fit(line, columns) for line in lines]


def _label(step: Step) -> str:
    return "  " * min(step.depth, 8) + called(step)


def _legend(view: Snapshot) -> list[str]:
    said = "  ".join(f"{mark} {meaning}" for mark, meaning in legend(view))
    folds = ", ".join(duration(us) for _, _, us in axis_of(view).marks())
    return [said, f"{FOLDED} folded, nothing ran: {folds}"] if folds else [said]
