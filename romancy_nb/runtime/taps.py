"""Taps: who follows a run is given its rows as they become durable, and what its activities report of themselves.

A tap costs a run that nobody follows the question whether anybody follows one. Whoever follows is given rows behind the commit that
made them durable, on the engine's thread, and puts them where a thread of its own takes them from. What other processes write comes
by no tap; a hole in the numbers of the rows tells who follows to read the history again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

from romancy_nb.clock import monotonic
from romancy_nb.core import events as ev
from romancy_nb.core.transitions import STATUS_AFTER
from romancy_nb.journal.protocol import Row
from romancy_nb.runtime.ownership import Owner
from romancy_nb.runtime.reported import Report, ReportFile

__all__ = ["Report", "Reports", "Taps", "Told"]

Told = Callable[[str, Any], object]
"""Is told ``("rows", [Row, …])``, ``("runs", instance)`` (another run of it has begun, or stands otherwise), ``("report", key of
the run)``, ``("forgotten", key of the run)`` or ``("left", key of the run)`` (the engine is over); returns at once."""


class Taps:
    """Who follows which runs of one engine. Changed and asked on any thread: each change makes the table anew.

    Args:
        where: the journal, beside whose file other processes find what steps report.
        owner: token of the engine.
    """

    def __init__(self, where: str = "", owner: Owner = "") -> None:
        self._runs: dict[int, tuple[str, Told]] = {}
        self._beside: dict[int, str] = {}
        self._change = threading.Lock()
        self._file = ReportFile(where, owner, lambda: self.reports.all())
        self.reports = Reports(self._stirred, self._file.changed)

    def __bool__(self) -> bool:
        return bool(self._runs)

    def watch(self, run: int, instance: str, told: Told, beside: Collection[int] = ()) -> None:
        """Have *told* told of what becomes of the run with this key, and how other runs of *instance* stand: those with the keys
        *beside*, and later ones."""
        with self._change:
            self._runs = {**self._runs, run: (instance, told)}
            self._beside = {**self._beside, **dict.fromkeys(beside, instance)}

    def watched(self, run: int) -> bool:
        """Is anybody told of the run with this key?"""
        return run in self._runs

    def unwatch(self, run: int) -> None:
        """Tell nobody any more."""
        with self._change:
            self._runs = {key: each for key, each in self._runs.items() if key != run}
            watched = {instance for instance, _ in self._runs.values()}
            self._beside = {key: instance for key, instance in self._beside.items() if instance in watched}

    def passed(self, rows: Sequence[Row], refused: Collection[int] = ()) -> None:
        """These rows are durable, but for those of the runs that were *refused*."""
        watched = self._runs
        found: dict[int, list[Row]] = {}
        for row in rows:
            if row.run in watched and row.run not in refused:
                found.setdefault(row.run, []).append(row)
            if row.event.kind in STATUS_AFTER and row.run not in refused:
                self._stands_otherwise(row, watched)
        for key, those in found.items():
            watched[key][1]("rows", those)

    def _stands_otherwise(self, row: Row, watched: dict[int, tuple[str, Told]]) -> None:
        """Tell those who follow other runs of its instance."""
        if row.event.kind == ev.RUN_STARTED:
            instance = row.event.call
        elif row.run in self._beside:
            instance = self._beside[row.run]
        else:
            return
        others = [told for key, (each, told) in watched.items() if each == instance and key != row.run]
        if others:
            with self._change:
                self._beside = {**self._beside, row.run: instance}
            for told in others:
                told("runs", instance)

    def forgotten(self, runs: Collection[int]) -> None:
        """What these runs recorded was removed: what is known of them is to be read again."""
        watched = self._runs
        for run in runs:
            if run in watched:
                watched[run][1]("forgotten", run)

    def close(self) -> None:
        """The engine is over: nobody is told anything any more, here or in other processes."""
        self._file.close()
        for run, (_, told) in self._runs.items():
            told("left", run)

    def _stirred(self, run: int) -> None:
        found = self._runs.get(run)
        if found is not None:
            found[1]("report", run)


class Reports:
    """The newest report of each step that is at work. Written by activities on their own threads: each is one assignment.

    Args:
        stirred: is told the key of a run whose reports nobody has asked for since one has changed.
        changed: is told that there are reports.
    """

    def __init__(self, stirred: Callable[[int], object], changed: Callable[[], object] = lambda: None) -> None:
        self._newest: dict[int, dict[str, Report]] = {}
        self._unread: set[int] = set()
        self._stirred = stirred
        self._changed = changed

    def report(self, run: int, place: str, done: float, total: float | None, text: str) -> None:
        """Take what an activity reports, as often as it likes; what says no number is left out, since no step fails of it."""
        try:
            done, total, text = float(done), None if total is None else float(total), str(text)
        except (TypeError, ValueError, OverflowError):
            return
        now = round(monotonic() * 1_000_000)
        steps = self._newest.get(run)
        if steps is None:
            steps = self._newest.setdefault(run, {})
        before = steps.get(place)
        first_at, first_done = before[4:] if before is not None and done >= before[5] else (now, done)
        steps[place] = (done, total, text, now, first_at, first_done)
        if run not in self._unread:  # else whoever was told before has this one as well, when they come to ask
            self._unread.add(run)
            self._stirred(run)
        self._changed()

    def of(self, run: int) -> dict[str, Report]:
        """Return what the steps of a run report now, by place."""
        self._unread.discard(run)
        return dict(self._newest.get(run, ()))

    def all(self) -> dict[int, dict[str, Report]]:
        """Return what all steps report now, by run and place."""
        return {run: dict(steps) for run, steps in list(self._newest.items())}

    def over(self, run: int, place: str) -> None:
        """The attempt has ended."""
        steps = self._newest.get(run)
        if steps is not None:
            steps.pop(place, None)
            if not steps:
                self._newest.pop(run, None)
                self._unread.discard(run)
