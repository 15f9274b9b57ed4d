"""An instance's timeline as an object that shows itself."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from typing import Any, Final

from romancy_nb.clock import now_us
from romancy_nb.widgets import fallback
from romancy_nb.widgets.snapshot import RunLine, Snapshot, snapshot

__all__ = ["Timeline", "columns", "runs_of"]

_WIDE: Final = 100


class Timeline:
    """The newest run of an instance: HTML in a notebook, text in a terminal, JSON for programs.

    Attributes:
        view: the view model that all forms are drawn from.
    """

    def __init__(self, view: Snapshot) -> None:
        self.view = view

    @classmethod
    def of(cls, instance: Any, *, whole: bool = False) -> Timeline:
        """Return the timeline of *instance* as its journal has it now; *whole*: with more than previews of values."""
        found = instance._look()
        runs = runs_of(instance, found.number)
        told = found.progress
        return cls(snapshot(found.rows, now=now_us(), alive=found.alive, runs=runs, progress=told, whole=whole))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle = fallback.mimebundle(self.view)
        return {**bundle, "text/plain": str(self)} if columns() else bundle

    def _mime_(self) -> tuple[str, str]:
        """What marimo shows, where others choose among several forms."""
        return "text/html", fallback.html(self.view.saved())

    def __str__(self) -> str:
        return fallback.text(self.view, columns() or _WIDE)

    __repr__ = __str__


def columns() -> int:
    """How wide the terminal is, but for its last column, behind which some begin a new line; 0 where no terminal is."""
    try:
        terminal = sys.stdout.isatty()
    except (AttributeError, ValueError):  # no stream, or one that was closed
        return 0
    return shutil.get_terminal_size().columns - 1 if terminal else 0


def runs_of(instance: Any, newest: int) -> list[RunLine]:
    """Return the runs of *instance* as its journal has them, for the tabs; none where the *newest* is the first."""
    if newest == 1:
        return []
    return [
        RunLine(
            number=int(run["run"]),
            status=str(run["status"]),
            reason=str(run["reason"] or ""),
            started=_us(run["started_at"]),
            finished=None if run["finished_at"] is None else _us(run["finished_at"]),
        )
        for run in instance.runs().dicts()
    ]


def _us(moment: datetime) -> int:
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
