"""Runs that wait for long are parked: their code is put down and built again from history when there is something for it.

An execution that waits costs 20 to 30 kB: its loop, tasks, frames and history. So of the runs that rest only those that were
active last are kept as they are; the others keep what makes them wake: their timers, who waits for them, and their place in the
engine. To wake one costs the loading and the replay of its own history, which is what a restart would do with it. Nothing is
written for parking, so the process may die at any time: a parked run is a waiting run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from romancy_nb.errors import JournalError
from romancy_nb.journal.protocol import Row
from romancy_nb.runtime.calls import Calls
from romancy_nb.runtime.hosts import ThreadHost
from romancy_nb.runtime.live import LiveRun

__all__ = ["KEEP", "Parking", "rests"]

KEEP = 256
"""So many resting runs, those that were active last, are not parked."""
PORTION: Final = 32
"""So many are parked in one go, while the engine has nothing else to do."""
CROWD: Final = 4
"""Where there are so many times more than ``KEEP``, the engine is never idle: then a few are parked in every turn."""
FEW: Final = 8
TOGETHER: Final = 128
"""So many are woken in one turn; their histories are one question to the journal."""


def rests(run: LiveRun) -> bool:
    """Does the run wait for nothing but what finds it by its place, with nothing of it under way?

    Args:
        run: which is not being activated just now.
    """
    waits = bool(run.timers or run.outside) and not run.leaving
    under_way = run.calls or run.pending or run.sent or run.opening or run.unsaved or run.unwanted or run.held
    stands = run.status == "running" and run.ended is None and not run.finished
    ends = run.cancelling is not None or run.undo is not None or run.settling or run.replay_only
    hosted = isinstance(run.host, ThreadHost) and run.execution is not None and not run.busy and run.build is None
    return waits and hosted and stands and not under_way and not ends


class Parking(Calls):
    """The layer that parks runs and wakes them."""

    def _came_to_rest(self, run: LiveRun) -> None:
        """An activation of *run* has ended."""
        if rests(run):
            self._resting[run.key] = run

    def _too_many_rest(self) -> bool:
        return len(self._resting) > KEEP

    def _park(self, portion: int = PORTION) -> None:
        """Park some of those that have rested longest, until few enough are left."""
        while portion > 0 and self._too_many_rest():
            key, run = self._resting.popitem(last=False)
            if self.live.get(key) is run and key not in self._ready and rests(run):
                self._park_one(run)
                portion -= 1

    def _park_in_crowd(self) -> None:
        """There is work; but if there always is, and ever more runs rest, some of them have to go."""
        if len(self._resting) > CROWD * KEEP:
            self._park(FEW)

    def _park_one(self, run: LiveRun) -> None:
        execution, host, run.execution = run.execution, run.host, None
        assert execution is not None
        assert host is not None
        run.generation += 1
        run.parked = True
        run.pool = None
        host.put(execution.put_down)

    def make_ready(self, run: LiveRun) -> None:
        if run.parked:
            self._waking[run.key] = run
        else:
            super().make_ready(run)

    def _wake(self) -> None:
        """Give histories to parked runs for which something has come; they are activated with this turn."""
        if not self._waking:
            return
        some = list(islice(self._waking.values(), TOGETHER))
        if any(run.key in self._touched for run in some):
            self.commit_now()  # what this turn knows of them must be in the histories
        try:
            self.hold()
            some = [run for run in some if run.parked]  # not those that another process has taken up
            histories = self.journal.histories([run.key for run in some])
        except JournalError:
            histories = {}  # what is wrong, and with which of them, is found out one by one
        for run in some:
            try:
                rows = histories.get(run.key) or self.journal.load(run.key)
                self._wake_one(run, rows)
            except JournalError as error:
                self._fail_run(run, [], error)

    def _wake_one(self, run: LiveRun, rows: Sequence[Row]) -> None:
        self._take_up.build_again(run, [(row.seq, row.event) for row in rows])
        self._unpark(run)
        super().make_ready(run)

    def _unpark(self, run: LiveRun) -> None:
        """It is not parked any more: it is being woken, or put down for good."""
        run.parked = False
        self._resting.pop(run.key, None)
        self._waking.pop(run.key, None)
