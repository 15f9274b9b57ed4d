"""Programs as processes of their own, against one journal, one ledger and one signal file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ledger

import romancy_nb as rn

HERE = Path(__file__).parent


class Processes:
    """Starts programs against one journal, ledger and signal file; ends those that are left."""

    def __init__(self, folder: Path, head: str) -> None:
        self.ledger = folder / "ledger"
        self.go = folder / "go"
        self.journal = folder / "journal.duckdb"
        self.program = folder / "program.py"
        self.program.write_text(head)
        self.all: list[subprocess.Popen[str]] = []

    def start(self, source: str) -> subprocess.Popen[str]:
        paths = os.pathsep.join([str(Path(rn.__file__).parent.parent), str(HERE), str(self.program.parent)])
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", "from program import *\n" + textwrap.dedent(source)],
            env=os.environ
            | {
                "ROMANCY_JOURNAL": str(self.journal),
                "LEDGER": str(self.ledger),
                "GO": str(self.go),
                "PYTHONPATH": paths,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.all.append(process)
        return process

    def end(self) -> None:
        """End those that are left."""
        for process in self.all:
            if process.poll() is None:
                process.kill()
                process.wait()

    def lines(self) -> dict[str, int]:
        """How often each effect happened."""
        found: dict[str, int] = {}
        for line in ledger.read(self.ledger):
            found[str(line["name"])] = found.get(str(line["name"]), 0) + 1
        return found


def until(true: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds:g} s")


def result(process: subprocess.Popen[str]) -> Any:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    return json.loads(out.splitlines()[-1])
