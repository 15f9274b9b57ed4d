"""For tests, ours and yours: crash at a journal boundary, and a clock that jumps.

>>> from romancy_nb.testing import crash_at
>>> crash_at(commit=3, when="after")  # kill -9 right after the third commit  # doctest: +SKIP
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from romancy_nb import clock
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.journal.protocol import Batch

__all__ = ["JumpingClock", "crash_at", "crash_at_session", "die", "fail_commits", "on_commit"]


_for_ever: list[Any] = []  # a context manager that is collected ends its block


def die() -> None:
    """Kill this process as a power cut would: no clean-up runs."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the signal may take a moment to arrive; nothing may happen meanwhile


@contextmanager
def on_commit(
    before: Callable[[int, Batch], None] | None = None, after: Callable[[int, Batch], None] | None = None
) -> Iterator[None]:
    """Call *before* and *after* with the number (from 1) and the batch of each commit of this process."""
    original = DuckDBJournal.commit
    count = 0

    def commit(self: DuckDBJournal, batch: Batch) -> None:
        nonlocal count
        count += 1
        if before is not None:
            before(count, batch)
        original(self, batch)
        if after is not None:
            after(count, batch)

    DuckDBJournal.commit = commit  # type: ignore[method-assign]
    try:
        yield
    finally:
        DuckDBJournal.commit = original  # type: ignore[method-assign]


def crash_at(commit: int, when: Literal["before", "after", "within"]) -> None:
    """From now on kill this process at its *commit*-th commit: before it, after it, or somewhere within it."""

    def strike(number: int, batch: Batch) -> None:
        if number == commit:
            die()

    def soon(number: int, batch: Batch) -> None:
        if number == commit:
            threading.Timer(0.0002 * (number % 5), die).start()

    chosen = {"before": (strike, None), "after": (None, strike), "within": (soon, None)}[when]
    watching = on_commit(*chosen)
    watching.__enter__()
    _for_ever.append(watching)


def crash_at_session(number: int, when: Literal["before", "after"]) -> None:
    """From now on kill this process at the *number*-th commit of an activity's session: before it, or right after it."""
    original = DuckDBJournal.settle
    count = 0

    def settle(self: DuckDBJournal, session: Any, run: int, event: Any) -> None:
        nonlocal count
        count += 1
        if count == number and when == "before":
            die()
        original(self, session, run, event)
        if count == number:
            die()

    DuckDBJournal.settle = settle  # type: ignore[method-assign]


@contextmanager
def fail_commits(error: Callable[[], Exception], numbers: set[int]) -> Iterator[None]:
    """Let the commits with these numbers fail with *error*, before they write anything."""

    def before(number: int, batch: Batch) -> None:
        if number in numbers:
            raise error()

    with on_commit(before=before):
        yield


class JumpingClock:
    """A wall clock that you move: ``clock.jump(seconds)``. Use it as a context manager."""

    def __init__(self) -> None:
        self._ahead = 0
        self._before: Any = None

    def jump(self, seconds: float) -> None:
        self._ahead += int(seconds * 1_000_000_000)

    def __enter__(self) -> JumpingClock:
        self._before = clock._now_ns
        clock._now_ns = lambda: self._before() + self._ahead
        return self

    def __exit__(self, *exception: object) -> None:
        clock._now_ns = self._before
