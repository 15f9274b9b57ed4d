"""The text timeline: for terminals, diffs, logs and whoever reads a notebook file without a browser."""

from __future__ import annotations

from typing import Final

from romancy_nb.widgets.axis import Axis, Segment, segments, segments_of_branch
from romancy_nb.widgets.layout import Gap, Heading, Lane, Layout
from romancy_nb.widgets.marks import (
    MARKS,
    heading,
    legend,
    look_of,
    look_of_branch,
    note_of_branch,
    other_runs,
    progress_words,
    run_mark,
    spent,
    summary,
    title,
)
from romancy_nb.widgets.outputs import in_brief
from romancy_nb.widgets.snapshot import Progress, Snapshot, Step
from romancy_nb.words import duration, fit, utc, width, wrapped

__all__ = ["FOLDED", "bar", "gauge", "no_steps", "text"]

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


def text(view: Snapshot, width: int = 100, rows: int = 60, *, layout: Layout | None = None) -> str:
    """Return the timeline of *view* as text, at most *width* columns wide (60 at the least).

    A run of more than *rows* steps shows its first and last rows, and between them some that failed, may have run
    or are still open; a line in place of the others says how many they are and how they ended. Whoever has the *layout* of
    *view* gives it.
    """
    lines = _head(view, max(width, _LOWEST))
    if view.steps:
        layout = layout or Layout(view)
        lines += ["", *_rows(view, layout, max(width, _LOWEST), rows), "", *_legend(view, layout.axis)]
    else:
        lines.append(no_steps(view))
    return "\n".join(line.rstrip() for line in lines)


def no_steps(view: Snapshot) -> str:
    """Return what is said in place of rows."""
    return "No activity was called yet." if view.finished is None else "This workflow called no activity."


def bar(row: Step | Heading, axis: Axis, as_of: int, columns: int) -> str:
    """Return the bar of one row in *columns* characters; a branch has one where its steps have none of their own."""
    cells = [" "] * columns
    pieces = pieces_of(row, axis, as_of)
    for piece in pieces:
        first = _column(piece.left, columns)
        last = max(first, _column(piece.right - 0.5 / columns, columns))
        cells[first : last + 1] = _FILL[piece.look] * (last + 1 - first)
    for left, right, _ in axis.marks():
        middle = (left + right) / 2
        across = any(piece.left < middle < piece.right for piece in pieces)
        cells[_column(middle, columns)] = _ACROSS if across else FOLDED
    return "".join(cells)


def pieces_of(row: Step | Heading, axis: Axis, as_of: int) -> list[Segment]:
    """Return what the bar of a row is made of."""
    if isinstance(row, Step):
        return segments(row, axis, as_of)
    return segments_of_branch(row.branch, axis, as_of) if row.folded else []


def gauge(progress: Progress, columns: int = 10) -> str:
    """Return how far a step is as a bar in characters; empty where it does not know of how much."""
    if not progress.total:
        return ""
    full = round(min(1.0, max(0.0, progress.done / progress.total)) * columns)
    return "▰" * full + "▱" * (columns - full)


def _column(share: float, columns: int) -> int:
    return min(columns - 1, max(0, int(share * columns)))


def _head(view: Snapshot, columns: int) -> list[str]:
    lines = [f"{run_mark(view.status)} {view.workflow} · {view.words} · {title(view)} · {' · '.join(summary(view))}"]
    if width(lines[0]) > columns:
        lines = [
            f"{run_mark(view.status)} {view.workflow} · {view.words} · {title(view)}",
            *wrapped(" · ".join(summary(view)), columns, "  "),
        ]
    lines.append(f"  {view.instance} · started {utc(view.started)}")
    for line in (view.problem, view.hint):
        lines += wrapped(line, columns, "  ")
    if view.output not in {"", "None"}:
        lines.append(f"  → {view.output}")
    if others := other_runs(view):
        lines += wrapped(others, columns, "  ")
    return [fit(line, columns) for line in lines]


def _rows(view: Snapshot, layout: Layout, columns: int, limit: int) -> list[str]:
    shown = layout.lines(limit)
    drawn = [row for row in shown if isinstance(row, Step | Heading)]
    remark = min(28, columns * 3 // 10, max([width(_note(row, layout)) for row in drawn] + [0]))
    room = columns - 2 - _TIME - remark - 3
    label = min(max([width(_label(row, layout)) for row in drawn] + [0]), max(18, room * 11 // 20))
    lines = []
    for row in shown:
        if isinstance(row, Gap):
            lines.append(f"  … {row.words}")
        elif isinstance(row, Lane):
            lines.append(f"── {row.words} " + "─" * (columns - len(row.words) - 4))
        else:
            lines.append(_line(row, layout, bar(row, layout.axis, view.as_of, room - label), label, view.as_of))
            lines += _below(row)
    return [fit(line, columns) for line in lines]


def _line(row: Step | Heading, layout: Layout, drawn: str, label: int, as_of: int) -> str:
    if isinstance(row, Step):
        mark, took = MARKS[look_of(row)], spent(row, as_of)
    else:
        mark, took = MARKS[look_of_branch(row.branch)], _took(row)
    return f"{mark} {fit(_label(row, layout), label)} {drawn} {took:>{_TIME - 1}}  {_note(row, layout)}"


def _took(row: Heading) -> str:
    finished = row.branch.finished
    return "" if finished is None else duration(finished - row.branch.started)


def _below(row: Step | Heading) -> list[str]:
    """What a step says and has put out, under its line."""
    if isinstance(row, Heading):
        return []
    inset, said = f"{'  ' * min(row.depth, 8)}  │ ", []
    if row.progress is not None:
        said.append(f"{gauge(row.progress)} {progress_words(row.progress)}".lstrip())
    if brief := in_brief(row.outputs):
        said.append(brief)
    return [inset + line for line in said]


def _label(row: Step | Heading, layout: Layout) -> str:
    if isinstance(row, Heading):
        return "  " * min(row.branch.depth, 8) + f"┬ {heading(row.branch)}"
    return "  " * min(row.depth, 8) + layout.label(row)


def _note(row: Step | Heading, layout: Layout) -> str:
    return note_of_branch(row.branch) if isinstance(row, Heading) else layout.note(row)


def _legend(view: Snapshot, axis: Axis) -> list[str]:
    said = "  ".join(f"{mark} {meaning}" for mark, meaning in legend(view))
    folds = ", ".join(duration(us) for _, _, us in axis.marks())
    return [said, f"{FOLDED} folded, nothing ran: {folds}"] if folds else [said]
