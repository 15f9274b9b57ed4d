"""The timelines of a notebook file, for a terminal and for programs."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from romancy_nb.errors import RomancyError
from romancy_nb.shown import book
from romancy_nb.shown.book import Found
from romancy_nb.shown.restored import NotHistory, Restored, restored
from romancy_nb.widgets.fallback import text
from romancy_nb.widgets.marks import MARKS, run_mark
from romancy_nb.words import clean, clip, count, fit

__all__ = ["as_json", "chosen", "printed"]

_WIDE: Final = 100
_SAVED_LINES: Final = 200
_COLOURS: Final = {
    "ok": "32",
    "failed": "31",
    "running": "34",
    "waiting": "33",
    "in_doubt": "35",
    "cancelled": "2",
    "journal": "2",
    "undo": "33",
}


def chosen(path: Path, cell: int | None) -> list[Found]:
    """Return the timelines in the notebook at *path*, or in one of its cells.

    Raises:
        RomancyError: the file cannot be read, or has no such cell.
    """
    cells, found = book.read(path)
    if cell is None:
        return found
    if not 1 <= cell <= cells:
        raise RomancyError(f"{book.named(path)} has {count(cells, 'cell')}; --cell takes a number from 1.")
    return [each for each in found if each.cell == cell]


def as_json(found: Sequence[Found]) -> str:
    """Return *found* for programs. Only ASCII, so that a terminal has nothing to obey."""
    return json.dumps([_facts(each) for each in found], indent=2)


def _facts(found: Found) -> dict[str, Any]:
    problem = None
    try:
        restored(found.history)
    except NotHistory as reason:
        problem = str(reason)
    return {
        "cell": found.cell,
        "cell_id": found.cell_id,
        "execution_count": found.count,
        "history": found.history,
        "problem": problem,
    }


def printed(path: Path, found: Sequence[Found], cell: int | None) -> str:
    """Return *found* as people read it, as wide as the terminal and coloured where it shows colours."""
    if not found:
        where = f"Cell {cell} of {book.named(path)}" if cell else book.named(path)
        return f"{where} holds no timeline: no workflow was called there, or the outputs were cleared."
    columns = shutil.get_terminal_size((_WIDE, 24)).columns if sys.stdout.isatty() else _WIDE
    return "\n\n".join("\n".join(_section(each, columns)) for each in found)


def _section(found: Found, columns: int) -> Iterator[str]:
    ran = f" [{found.count}]" if found.count is not None else ""
    yield _bold(fit(f"── cell {found.cell}{ran}  {clip(found.source, max(columns, 20))}", columns).rstrip())
    try:
        run = restored(found.history)
    except NotHistory as problem:
        yield from textwrap.wrap(f"This history cannot be read. {problem}", columns)
        yield from _saved_text(found.text, columns)
        return
    yield from _coloured(text(run.view, width=columns).splitlines(), run_mark(run.view.status))
    yield from _left_out(run, columns)


def _left_out(run: Restored, columns: int) -> list[str]:
    if not run.omitted:
        return []
    said = (
        f"{count(run.omitted, 'step')} between the first {run.after:,} and the last are not in the file. Where the journal is, "
        f"romancy-nb show {run.view.instance} has them all."
    )
    return textwrap.wrap(said, columns, initial_indent="⋮ ", subsequent_indent="  ")


def _saved_text(saved: str, columns: int) -> Iterator[str]:
    lines = saved.splitlines()
    if not lines:
        return
    yield "What was saved beside it as text:"
    yield from (fit(clean(line[: 4 * columns]), columns).rstrip() for line in lines[:_SAVED_LINES])
    if len(lines) > _SAVED_LINES:
        yield f"… {count(len(lines) - _SAVED_LINES, 'more line')}"


# -- colours -----------------------------------------------------------------------------------------------------------


def _colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _bold(line: str) -> str:
    return f"\x1b[1m{line}\x1b[0m" if _colours() else line


def _coloured(lines: list[str], head: str) -> list[str]:
    """Colour the mark at the beginning of a row; every row begins with one, and nothing else does."""
    if not _colours():
        return lines
    by_mark = {mark: _COLOURS[look] for look, mark in MARKS.items()}
    shown = [_bold(lines[0]) if lines[0].startswith(head) else lines[0]]
    for line in lines[1:]:
        colour = by_mark.get(line[:1])
        shown.append(f"\x1b[{colour}m{line[0]}\x1b[0m{line[1:]}" if colour else line)
    return shown
