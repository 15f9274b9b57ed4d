"""What tests of faults share: waiting, pressing Stop, and a workflow that shows that the process is usable."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn

ROOT = Path(rn.__file__).parent.parent
SLACK = max(1.0, 1.5 * os.getloadavg()[0] / (os.cpu_count() or 1))
"""Limits in seconds are for a machine that does nothing else."""
FAST = rn.RetryPolicy(max_attempts=3, initial=0.01, jitter=0)


def until(true: Callable[[], Any], seconds: float = 5.0) -> Any:
    """Poll until *true* is, and return what it says."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.005)
    raise AssertionError(f"not within {seconds:g} s")


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "romancy_nb"]


@contextmanager
def stop_after(condition: Callable[[], Any], again: float | None = None) -> Iterator[list[float]]:
    """Press Stop once *condition* holds; yields a list that gets the time at which it was pressed."""
    pressed: list[float] = []

    def press() -> None:
        until(condition, 10)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
        if again is not None:
            time.sleep(again)
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield pressed
    finally:
        try:
            thread.join()
        except KeyboardInterrupt:  # nobody was there any more to take it
            thread.join()


def script(source: str, **environment: str) -> subprocess.Popen[str]:
    """Run *source* in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@rn.activity
def plain(value: int) -> int:
    return value


@rn.workflow
def usable(value: int) -> int:
    return plain(value) + 1
