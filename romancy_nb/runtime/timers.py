"""Timers by due time, with cheap cancelling."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

__all__ = ["Key", "Timers"]

Key = tuple[int, str, str]
"""Run key, place of the call, and what is due there: "timer", "retry", "limit" …; key 0: of no run, the engine is to wake."""


class Timers:
    """A heap of (due, order of creation, key). Times are in microseconds since 1970.

    A cancelled timer stays in the heap until it comes up; setting a key anew replaces it.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Key]] = []
        self._valid: dict[Key, int] = {}
        self._created = 0

    def set(self, key: Key, due: int) -> None:
        self._created += 1
        self._valid[key] = self._created
        heapq.heappush(self._heap, (due, self._created, key))
        self._tidy()

    def cancel(self, key: Key) -> None:
        self._valid.pop(key, None)
        self._tidy()

    def _tidy(self) -> None:
        """Throw out what was cancelled or replaced once that is most of the heap."""
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._valid):
            self._heap = [entry for entry in self._heap if self._valid.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)

    def next_due(self) -> int | None:
        while self._heap and self._valid.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: int) -> Iterator[tuple[Key, int]]:
        """Yield (key, due) of all that are due, in order of due time, then of creation (C5)."""
        while (due := self.next_due()) is not None and due <= now:
            _, _, key = heapq.heappop(self._heap)
            del self._valid[key]
            yield key, due
