"""A run that is followed: its rows as they come, and what a page has to be told of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from romancy_nb.journal.protocol import Row
from romancy_nb.widgets.deltas import Deltas
from romancy_nb.widgets.reading import Reading
from romancy_nb.widgets.snapshot import RunLine, Snapshot, view_of
from romancy_nb.widgets.steps import Reported

__all__ = ["Following"]

Json = dict[str, Any]


class Following:
    """One run as far as it is known here.

    Args:
        rows: its history.
        runs: number, status, reason, start and end of each run of its instance, for the tabs.
        alive: does a process advance it?

    Attributes:
        progress: what its running steps report, by place.
        batch: how far the map is that it makes just now; or None.
    """

    def __init__(self, rows: Iterable[Row], runs: Iterable[Sequence[Any]] = (), alive: bool = True) -> None:
        self._deltas = Deltas(Reading(rows))
        self.alive = alive
        self._runs: tuple[RunLine, ...] = ()
        self.now_runs(runs)
        self.progress: Mapping[str, Reported] = {}
        self.batch: Json | None = None
        self._batch: Json | None = None

    @property
    def seq(self) -> int:
        """Number of the last row that is known."""
        return self._deltas.reading.seq

    def now_runs(self, runs: Iterable[Sequence[Any]]) -> bool:
        """These are the runs of its instance now. Returns whether they are others, or stand otherwise."""
        lines = tuple(RunLine(*each) for each in runs)
        others, self._runs = lines != self._runs, lines
        return others

    def take(self, rows: Sequence[Row]) -> bool:
        """Take the rows that come next; what is known already is left out.

        Returns:
            False: some are missing in between, and the history has to be read again.
        """
        if rows and rows[0].seq > self.seq + 1:
            return False
        self._deltas.reading.take(rows)
        return True

    def snapshot(self, now: int, alive: bool | None = None, runs: Sequence[RunLine] | None = None) -> Snapshot:
        """Return the view of it, for the forms that need no page; *alive* and *runs* where the caller knows them better."""
        return view_of(
            self._deltas.reading,
            now=now,
            alive=self.alive if alive is None else alive,
            runs=self._runs if runs is None else runs,
            progress=self.progress,
        )

    def whole(self, now: int) -> Json:
        """Return all of it, as pages are told."""
        self._batch = self.batch
        view = self._deltas.whole(now=now, alive=self.alive, runs=self._runs, progress=self.progress)
        return {**view, "progress": self.batch}

    def delta(self, now: int) -> Json | None:
        """Return what is other than when this or ``whole`` was last asked for; None: nothing that a page would not know."""
        delta = self._deltas.next(now=now, alive=self.alive, runs=self._runs, progress=self.progress)
        if self.batch != self._batch:
            self._batch = self.batch
            delta = delta or {"set": {}, "rows": {}, "order": None, "append": None, "gone": []}
            delta["set"]["progress"] = self.batch
        return delta
