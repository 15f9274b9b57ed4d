"""The order of a run's rows, by the places of its calls.

A call's place says where it stands (``"0.2:1"``: call 1 of task ``0.2``). The steps of a task follow each other by
ordinal, and the steps of a task that it started stand between the calls that surrounded the start. So the order shown
is the one of the code, and two branches that ran at the same time never shuffle each other's rows. What undoes something
stands below all that, in the order in which it was begun.

A place gets its position when it is first seen, and keeps it: a row more costs a look at its own task.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

__all__ = ["BRANCH", "Order", "depth_of"]

BRANCH: Final = "branch:"
"""Stands before the path of a task where its heading is named."""
_DEEPEST: Final = 100  # tasks deeper than this are shown at this depth
_PLACE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})*):([0-9]{1,9})(\+*)")
_FORWARD, _UNDO = (0, 0), (1, 0)
_Key = tuple[tuple[int, int], ...]


def depth_of(place: str) -> int:
    """Return how many tasks stand around the call at *place*."""
    return min(_path_of(place)[0].count("."), _DEEPEST - 1)


def _path_of(place: str) -> tuple[str, int, int]:
    """Split a place into task path, ordinal and repeat. What has another form stands at the end of the root task."""
    found = _PLACE.fullmatch(place)
    return (found[1], int(found[2]), len(found[3])) if found else ("0", 1 << 30, 0)


@dataclass(slots=True)
class _Task:
    """A task of the workflow's code.

    Attributes:
        path: ``0.2``.
        parent: the task that started it.
        key: where it stands.
        own: (ordinal, repeat, seq, place) of its calls.
        first: the earliest event in it and in what it started.
        tasks: what it started, by number.
    """

    path: str
    parent: _Task | None
    key: _Key
    first: int = 0
    own: list[tuple[int, int, int, str]] = field(default_factory=list)
    tasks: dict[int, _Task] = field(default_factory=dict)

    @property
    def is_branch(self) -> bool:
        """Does it get a heading: is there more than one thing in it?"""
        return self.parent is not None and len(self.own) + len(self.tasks) > 1

    @property
    def heading(self) -> str:
        return BRANCH + self.path


class Order:
    """The rows of a run in their order: places of calls, and before the calls of a concurrent branch its heading."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, bool]] = {}  # place: (seq, does it undo something)
        self._moved: set[str] = set()
        self._clear()

    def _clear(self) -> None:
        self._root = _Task("0", None, (_FORWARD,))
        self._task_of: dict[str, _Task] = {}
        self._tasks: dict[str, _Task] = {BRANCH + "0": self._root}
        self._sorted: list[tuple[_Key, str]] = []
        self._ids: list[str] | None = None
        self._stale = False

    def add(self, place: str, seq: int, undoes: bool) -> None:
        """Take one more call, asked for by row *seq*."""
        again = place in self._seen
        self._seen[place] = (seq, undoes)
        if again:
            self._stale = True
        if not self._stale:
            self._insert(place, seq, undoes)

    def forget(self) -> None:
        """Forget everything."""
        self._seen.clear()
        self._clear()

    def ids(self) -> list[str]:
        """Return all rows in order: the same list until there is another one; not to be changed."""
        self._settle()
        if self._ids is None:
            self._ids = [each for _, each in self._sorted]
        return self._ids

    def moved(self) -> set[str]:
        """Return the rows that have come, or have got another parent, since this was last asked for."""
        self._settle()
        moved, self._moved = self._moved, set()
        return moved

    def parent(self, row: str) -> str:
        """Return the heading under which *row* stands, or nothing."""
        return next(self.headings(row), "")

    def headings(self, row: str) -> Iterator[str]:
        """Yield the headings above *row*, the nearest first."""
        self._settle()
        known = self._tasks.get(row)
        task = known.parent if known is not None else self._task_of.get(row)
        while task is not None:
            if task.is_branch:
                yield task.heading
            task = task.parent

    def within(self, heading: str) -> Iterator[str]:
        """Yield the places of the calls in a branch, in its order."""
        self._settle()
        return (row for row in self._below(self._tasks[heading]) if row not in self._tasks)

    def _below(self, task: _Task) -> Iterator[str]:
        """Every row in *task*, its heading included."""
        for index in range(bisect_left(self._sorted, (task.key, "")), len(self._sorted)):
            key, row = self._sorted[index]
            if key[: len(task.key)] != task.key:
                return
            yield row

    def has(self, row: str) -> bool:
        """Is there such a row?"""
        self._settle()
        task = self._tasks.get(row)
        return row in self._seen if task is None else task.is_branch

    def is_heading(self, row: str) -> bool:
        """Is *row* the heading of a branch?"""
        return row in self._tasks

    def depth(self, heading: str) -> int:
        """Return at which depth a heading stands: one less than what is under it."""
        return max(0, self._tasks[heading].path.count(".") - 1)

    # -- putting in --------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Place everything anew, where a call came that belongs before another one of its task."""
        if not self._stale:
            return
        before = dict(self._seen)
        self._clear()
        paths = {place: _path_of(place) for place in before}
        by_seq = sorted(before, key=lambda place: before[place][0])
        for place in by_seq:  # tasks and their first events, as they were seen
            if not before[place][1]:
                task = self._task(paths[place][0], before[place][0])
                task.own.append((*paths[place][1:], before[place][0], place))
        self._place_all(self._root)
        for place in by_seq:
            if before[place][1]:
                self._put((_UNDO, (before[place][0], 0)), place)
        self._sorted.sort()
        self._moved |= {each for _, each in self._sorted}

    def _place_all(self, root: _Task) -> None:
        tasks = [root]
        while tasks:
            task = tasks.pop()
            task.own.sort()
            seqs = sorted(item[2] for item in task.own)
            for index, (_, _, _, place) in enumerate(task.own):
                self._task_of[place] = task
                self._sorted.append(((*task.key, (2 * index + 1, 0)), place))
            for number, child in task.tasks.items():
                child.key = (*task.key, (2 * bisect_left(seqs, child.first), number))
                tasks.append(child)
            if task.is_branch:
                self._sorted.append((task.key, task.heading))

    def _task(self, path: str, seq: int) -> _Task:
        task = self._root
        for number in map(int, path.split(".")[1:_DEEPEST]):
            child = task.tasks.get(number)
            if child is None:
                key = (*task.key, (2 * len(task.own), number))
                child = task.tasks[number] = _Task(f"{task.path}.{number}", task, key, seq)
                self._tasks[child.heading] = child
            task = child
        return task

    def _insert(self, place: str, seq: int, undoes: bool) -> None:
        if undoes:
            self._put((_UNDO, (seq, 0)), place)
            return
        path, ordinal, repeat = _path_of(place)
        branches = self._branches(path)
        task = self._task(path, seq)
        item = (ordinal, repeat, seq, place)
        if task.own and (item < task.own[-1] or seq < max(task.own[-1][2], task.first)):
            self._stale = True
            return
        task.own.append(item)
        self._task_of[place] = task
        self._put((*task.key, (2 * len(task.own) - 1, 0)), place)
        while task.parent is not None:
            if task.is_branch and task.heading not in branches:
                self._put(task.key, task.heading)
                self._moved.update(self._below(task))
            task = task.parent

    def _branches(self, path: str) -> set[str]:
        """The headings that there are above a task."""
        found, task = set(), self._root
        for number in path.split(".")[1:_DEEPEST]:
            child = task.tasks.get(int(number))
            if child is None:
                break
            if child.is_branch:
                found.add(child.heading)
            task = child
        return found

    def _put(self, key: _Key, row: str) -> None:
        self._moved.add(row)
        self._ids = None
        if not self._sorted or self._sorted[-1] < (key, row):
            self._sorted.append((key, row))
        else:
            insort(self._sorted, (key, row))
