"""A notebook file, read for the timelines in it.

The file may come from anywhere, so nothing in it is believed: not that it is JSON, not that a list is a list, and no text is
free of what a terminal would obey.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from romancy_nb.errors import RomancyError
from romancy_nb.widgets.fallback import HISTORY_MIME
from romancy_nb.words import clip

__all__ = ["Found", "is_file", "named", "read"]

_MOST: Final = 256 * 1024 * 1024
_TEXT: Final = 200_000


@dataclass(frozen=True, slots=True)
class Found:
    """One timeline in a notebook.

    Attributes:
        cell: the number of its cell, from 1, as they follow each other in the file.
        cell_id: the cell's id, or empty.
        count: what stands in the cell's brackets, ``In [3]``; None where it has none.
        source: the cell's first line that says something.
        history: the history JSON, as it stands there.
        text: the saved text timeline, or empty.
    """

    cell: int
    cell_id: str
    count: int | None
    source: str
    history: Any
    text: str


def is_file(wanted: str) -> bool:
    """Return whether *wanted* names a notebook and no instance: a file that is there, or what ends like one."""
    try:
        return wanted.endswith(".ipynb") or Path(wanted).is_file()
    except (OSError, ValueError):  # too long for a path, or a zero in it
        return False


def read(path: Path) -> tuple[int, list[Found]]:
    """Return how many cells the notebook at *path* has, and the timelines in it.

    Raises:
        RomancyError: there is no such file, it cannot be read, or it is no notebook.
    """
    book = _parsed(path, _content(path))
    cells = book.get("cells")
    if not isinstance(cells, list):
        raise RomancyError(f"{named(path)} is no notebook: it has no list of cells.")
    return len(cells), [found for number, cell in enumerate(cells, 1) for found in _in_cell(number, cell)]


def named(path: Path) -> str:
    """Return the path as messages have it: names of files, too, may hold what a terminal obeys."""
    return clip(str(path), 400)


def _content(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _MOST:
            raise RomancyError(
                f"{named(path)} has {size // 2**20:,} MB; a notebook of more than {_MOST // 2**20} MB is not read. Clear outputs "
                "that you do not need, and save it again."
            )
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise RomancyError(f"There is no file {named(path)}.") from None
    except OSError as problem:
        raise RomancyError(f"{named(path)} cannot be read: {problem.strerror or problem}.") from None
    except UnicodeDecodeError:
        raise RomancyError(f"{named(path)} is no notebook: it is not text in UTF-8.") from None


def _parsed(path: Path, content: str) -> dict[str, Any]:
    """Return the notebook in today's format, whichever it was written in.

    What nbformat finds wrong with a notebook is no reason to show nothing of it.
    """
    try:
        import nbformat  # noqa: F401
    except ModuleNotFoundError:
        raise RomancyError(
            'To read a notebook file, nbformat is needed: pip install "romancy_nb[demo]". In Jupyter\'s own environment it is '
            "there already."
        ) from None
    try:
        book = json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise RomancyError(f"{named(path)} is no notebook: it is not JSON ({problem}).") from None
    if not isinstance(book, dict) or not isinstance(book.get("nbformat"), int):
        raise RomancyError(f"{named(path)} is no notebook: it is JSON, but does not say which notebook format it has.")
    if book["nbformat"] > 4:
        raise RomancyError(
            f"{named(path)} has notebook format {book['nbformat']}, which is newer than this version of romancy_nb: it reads "
            "up to 4."
        )
    try:
        return book if book["nbformat"] == 4 else _converted(book)
    except Exception as problem:  # whatever a broken old notebook makes of nbformat's converters
        raise RomancyError(
            f"{named(path)} cannot be brought into today's notebook format: {type(problem).__name__}: {clip(str(problem))}"
        ) from None


def _converted(book: dict[str, Any]) -> dict[str, Any]:
    from nbformat import converter, from_dict

    node = from_dict(book)  # type: ignore[no-untyped-call]
    made: dict[str, Any] = converter.convert(node, 4)  # type: ignore[no-untyped-call]
    return made


def _in_cell(number: int, cell: Any) -> Iterator[Found]:
    if not isinstance(cell, dict) or not isinstance(cell.get("outputs"), list):
        return
    count = cell.get("execution_count")
    for output in cell["outputs"]:
        data = output.get("data") if isinstance(output, dict) else None
        if isinstance(data, dict) and HISTORY_MIME in data:
            yield Found(
                cell=number,
                cell_id=cell["id"] if isinstance(cell.get("id"), str) else "",
                count=count if isinstance(count, int) else None,
                source=_first_line(_joined(cell.get("source"))),
                history=data[HISTORY_MIME],
                text=_joined(data.get("text/plain"))[:_TEXT],
            )


def _joined(text: Any) -> str:
    """A text as notebooks have it: one, or a list of lines."""
    if isinstance(text, list):
        return "".join(line for line in text if isinstance(line, str))
    return text if isinstance(text, str) else ""


def _first_line(source: str) -> str:
    lines = [line.strip() for line in source[:_TEXT].splitlines()]
    return next((line for line in lines if line and not line.startswith("#")), "")
