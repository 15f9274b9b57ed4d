"""An effect that can be counted: each call of an activity appends one line to a file, synced to disk."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import romancy_nb as rn


def write(name: str, **more: object) -> None:
    """Have an effect: one line with the activity's idempotency key, durable before this returns."""
    here = rn.context()
    line = {"name": name, "key": here.idempotency_key, "attempt": here.attempt, **more}
    fd = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(fd, json.dumps(line).encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)


def read(path: Path) -> list[dict[str, object]]:
    """Return the lines so far."""
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except FileNotFoundError:
        return []


def by_key(path: Path) -> Counter[str]:
    return Counter(str(line["key"]) for line in read(path))
