"""How far a map is, in one line: ``score: 1,203 of 5,000 done, 3 failed, 41/s, about 1 min 32 s left``."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from romancy_nb.clock import monotonic
from romancy_nb.words import duration

__all__ = ["PACE", "Counting", "Meter"]

PACE: Final = 0.2
"""Seconds between two lines."""
WINDOW: Final = 10.0
"""Seconds over which the pace of the work is measured."""


class Meter:
    """Turns counts into lines, five a second at the most.

    Args:
        show: is given each line, which stands in the place of the one before.
    """

    def __init__(self, show: Callable[[str], object]) -> None:
        self._show = show
        self._name = ""
        self._shown = 0.0
        self._seen: deque[tuple[float, int]] = deque()
        self._last = ("", 0, 0, 0)
        self._waits = False

    def __call__(self, name: str, done: int, failed: int, total: int) -> None:
        """Take what is done so far. Cheap: called once a row."""
        now = monotonic()
        self._last = (name, done, failed, total)
        if name != self._name or (self._seen and done < self._seen[-1][1]):
            self._name, self._shown = name, now - PACE / 2  # what is over in no time needs no line
            self._seen.clear()
            self._seen.append((now, done))
        left = self._shown + PACE - now
        if left > 0:
            self._show_later(left)
        else:
            self._draw(now)

    def _show_later(self, after: float) -> None:
        """The next row may take long: what is known by then stands there meanwhile."""
        if not self._waits:
            self._waits = True
            timer = threading.Timer(after, self._show_last)
            timer.daemon = True
            timer.start()

    def _show_last(self) -> None:
        self._waits = False
        with suppress(Exception):  # where it is shown may be gone; it is not worth a word
            self._draw(monotonic())

    def _draw(self, now: float) -> None:
        name, done, failed, total = self._last
        self._shown = now
        self._seen.append((now, done))
        while now - self._seen[0][0] > WINDOW and len(self._seen) > 2:
            self._seen.popleft()
        self._show(self.line(name, done, failed, total))

    def line(self, name: str, done: int, failed: int, total: int) -> str:
        """Return the line for these counts."""
        text = f"{name}: {done:,} of {total:,} done"
        if failed:
            text += f", {failed:,} failed"
        (first, before), (last, now) = self._seen[0], self._seen[-1]
        if now > before and last > first:
            pace = (now - before) / (last - first)
            text += f", {pace:,.0f}/s" if pace >= 10 else f", {pace:.1f}/s"
            if done < total:
                text += f", about {duration(max(1_000_000, round((total - done) / pace * 1_000_000)))} left"
        return text


class Counting:
    """The newest counts of the map that a run makes, for its timeline; each goes on to *meter*, where one draws."""

    def __init__(self, meter: Meter | None) -> None:
        self._meter = meter
        self._last: tuple[str, int, int, int] | None = None
        self._since = (0.0, 0)

    def __call__(self, name: str, done: int, failed: int, total: int) -> None:
        if self._last is None or self._last[0] != name or done < self._last[1]:
            self._since = (monotonic(), done)
        self._last = (name, done, failed, total)
        if self._meter is not None:
            self._meter(name, done, failed, total)

    def as_dict(self) -> dict[str, Any] | None:
        """Return how far the map is that is at work, in the shape of a step's own report; None: none is."""
        if self._last is None or self._last[1] >= self._last[3]:
            return None
        name, done, failed, total = self._last
        since, first = self._since
        rate = (done - first) / (monotonic() - since) if done > first and monotonic() > since else None
        return {
            "done": done,
            "total": total,
            "text": f"{name}, {failed:,} failed" if failed else name,
            "rate": rate,
            "left_us": round((total - done) / rate * 1_000_000) if rate else None,
        }
