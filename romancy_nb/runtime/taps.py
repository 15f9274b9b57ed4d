"""Taps: who follows a run is given its rows as they become durable, and what its activities report of themselves.

A tap costs a run that nobody follows the question whether anybody follows one. Whoever follows is given rows behind the commit that
made them durable, on the engine's thread, and puts them where a thread of its own takes them from. What other processes write comes
by no tap; a hole in the numbers of the rows tells who follows to read the history again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from romancy_nb.clock import monotonic
from romancy_nb.core import events as ev
from romancy_nb.journal.protocol import Row

__all__ = ["Report", "Reports", "Taps", "Told"]

PACE_US: Final = 200_000
"""µs between two words to whoever follows that an activity has got further."""

Told = Callable[[str, Any], object]
"""Is told ``("rows", [Row, …])``, ``("begun", instance)`` (it has a new run), ``("report", key of the run)`` or ``("forgotten", key
of the run)``; returns at once."""


class Taps:
    """Who follows which runs of one engine. Changed and asked on any thread: each change makes the table anew."""

    def __init__(self) -> None:
        self._runs: dict[int, tuple[str, Told]] = {}
        self._change = threading.Lock()
        self.reports = Reports(self._stirred)

    def __bool__(self) -> bool:
        return bool(self._runs)

    def watch(self, run: int, instance: str, told: Told) -> None:
        """Have *told* told of what becomes of the run with this key, and of later runs of *instance*."""
        with self._change:
            self._runs = {**self._runs, run: (instance, told)}

    def watched(self, run: int) -> bool:
        """Is anybody told of the run with this key?"""
        return run in self._runs

    def unwatch(self, run: int) -> None:
        """Tell nobody any more."""
        with self._change:
            self._runs = {key: each for key, each in self._runs.items() if key != run}

    def passed(self, rows: Sequence[Row], refused: Collection[int] = ()) -> None:
        """These rows are durable, but for those of the runs that were *refused*."""
        watched = self._runs
        found: dict[int, list[Row]] = {}
        for row in rows:
            if row.run in watched and row.run not in refused:
                found.setdefault(row.run, []).append(row)
            elif row.seq == 1 and row.event.kind == ev.RUN_STARTED:
                for instance, told in watched.values():
                    if instance == row.event.call:
                        told("begun", instance)
        for key, those in found.items():
            watched[key][1]("rows", those)

    def forgotten(self, runs: Collection[int]) -> None:
        """What these runs recorded was removed: what is known of them is to be read again."""
        watched = self._runs
        for run in runs:
            if run in watched:
                watched[run][1]("forgotten", run)

    def _stirred(self, run: int) -> None:
        found = self._runs.get(run)
        if found is not None:
            found[1]("report", run)


Report = tuple[float, float | None, str, int, int, float]
"""How far an activity says it is: done, of how much in all, in words; when it said so, when it first did, and how much was done
then. Times are µs of a clock that only goes on."""


class Reports:
    """The newest report of each step that is at work. Written by activities on their own threads: each is one assignment."""

    def __init__(self, stirred: Callable[[int], object]) -> None:
        self._newest: dict[int, dict[str, Report]] = {}
        self._said: dict[int, int] = {}
        self._stirred = stirred

    def report(self, run: int, place: str, done: float, total: float | None, text: str) -> None:
        """Take what an activity reports, as often as it likes."""
        now = round(monotonic() * 1_000_000)
        steps = self._newest.get(run)
        if steps is None:
            steps = self._newest.setdefault(run, {})
        before = steps.get(place)
        first_at, first_done = before[4:] if before is not None and done >= before[5] else (now, done)
        steps[place] = (done, total, text, now, first_at, first_done)
        if now - self._said.get(run, 0) >= PACE_US:
            self._said[run] = now
            self._stirred(run)

    def of(self, run: int) -> dict[str, Report]:
        """Return what the steps of a run report now, by place."""
        return dict(self._newest.get(run, ()))

    def over(self, run: int, place: str) -> None:
        """The attempt has ended."""
        steps = self._newest.get(run)
        if steps is not None:
            steps.pop(place, None)
            if not steps:
                self._newest.pop(run, None)
                self._said.pop(run, None)
