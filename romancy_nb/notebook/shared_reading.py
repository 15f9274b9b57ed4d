"""A run that a cell and the pages that show it follow together: one reading, of which one thread at a time asks something."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from romancy_nb.journal.protocol import Row
from romancy_nb.widgets.following import Following
from romancy_nb.widgets.snapshot import RunLine, Snapshot

__all__ = ["SharedReading"]


class SharedReading(Following):
    """A ``Following`` for several threads.

    Attributes:
        forgets: how often what the run recorded had been removed when it was read.
    """

    def __init__(
        self, rows: Iterable[Row], runs: Iterable[Sequence[Any]] = (), alive: bool = True, forgets: int = 0
    ) -> None:
        self._lock = threading.RLock()
        self.forgets = forgets
        super().__init__(rows, runs, alive)

    def take(self, rows: Sequence[Row]) -> bool:
        with self._lock:
            return super().take(rows)

    def snapshot(self, now: int, alive: bool | None = None, runs: Sequence[RunLine] | None = None) -> Snapshot:
        with self._lock:
            return super().snapshot(now, alive, runs)

    def whole(self, now: int) -> dict[str, Any]:
        with self._lock:
            return super().whole(now)

    def delta(self, now: int) -> dict[str, Any] | None:
        with self._lock:
            return super().delta(now)
