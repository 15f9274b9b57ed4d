"""Small helpers that make histories, journals and child processes for the tests of this room."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.journal.protocol import Batch, Row
from romancy_nb.payloads.payload import Part, Payload, content_digest

HERE = Path(__file__).parent
WRITER = HERE / "journal_writer.py"


def start(instance: str, at: int = 1_000_000, **meta: Any) -> Event:
    facts = {"number": 1, "reason": "first", "owner": "me", "epoch": 1, "notebook": "/n/a.ipynb"} | meta
    return Event(ev.RUN_STARTED, at, instance, "order", "d1", "c1", 0, Payload('{"item":"x"}'), facts)


def intent(call: str, at: int = 2_000_000, name: str = "reserve", **meta: Any) -> Event:
    return Event(ev.ACTIVITY_SCHEDULED, at, call, name, "d2", "c2", 0, Payload('["in"]'), meta or None)


def completed(call: str, at: int = 3_000_000, text: str = '"out"', attempt: int = 1, **meta: Any) -> Event:
    return Event(ev.ACTIVITY_COMPLETED, at, call, "reserve", attempt=attempt, payload=Payload(text), meta=meta or None)


def history(run: int, *events: Event, first: int = 1) -> list[Row]:
    return [Row(run, first + i, event) for i, event in enumerate(events)]


def turn(number: int, run: int, *events: Event, first: int = 1) -> Batch:
    return Batch(number, history(run, *events, first=first))


def part(data: bytes, codec: str = "npy") -> Part:
    return Part(codec, content_digest(data), data, len(data))


def child(code_or_path: str | Path, *arguments: Any, **popen: Any) -> subprocess.Popen[str]:
    """Start a Python that sees what we see; a Path is a script, a text is code."""
    script = [str(code_or_path)] if isinstance(code_or_path, Path) else ["-c", code_or_path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-u", *script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env=environment,
        **popen,
    )


def until(true: Callable[[], Any], seconds: float = 20) -> None:
    """Poll until something holds; fail after *seconds*."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
