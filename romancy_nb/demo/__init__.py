"""The demo: a small service with a ledger, and a notebook that is killed in the middle and runs again.

``romancy-nb demo`` is ``play.py``; the service is ``ledger.py``. A person who opens the quickstart notebook by hand
gets the same service from ``start_ledger()``.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Final

from romancy_nb.errors import RomancyError

__all__ = ["URL_VARIABLE", "LedgerService", "start_ledger"]

URL_VARIABLE: Final = "ROMANCY_DEMO_URL"
"""Where the notebook finds the service. An environment variable, not a notebook variable: activities that read a
notebook variable would count as edited when the port changes, and would rightly be executed again."""

_PATIENCE = 30.0  # s for the service to start; a cold disk and a busy machine take their time

_of_this_kernel: list[LedgerService] = []


def start_ledger(ledger: str | os.PathLike[str] = "ledger.jsonl") -> str:
    """Make sure that a ledger service runs, and return its URL.

    If ``ROMANCY_DEMO_URL`` is set, somebody else (the demo) runs it. Otherwise it is started in a process of its own,
    with *ledger* as its file, and ends with this process, however this process ends. The ledger's file stays.
    """
    url = os.environ.get(URL_VARIABLE)
    if url:
        return url
    service = LedgerService(Path(ledger))
    _of_this_kernel.append(service)
    atexit.register(service.stop)
    os.environ[URL_VARIABLE] = service.url
    return service.url


class LedgerService:
    """A running ledger service in a process of its own.

    Attributes:
        ledger: its file.
        url: where it answers.
        pid: its process.
    """

    def __init__(self, ledger: Path, *, latency: float | None = None) -> None:
        self.ledger = ledger.absolute()
        # By path, not by module name: it needs the standard library only, and so starts wherever this package was
        # imported from. -P keeps its own folder off its import path.
        command = [sys.executable, "-P", str(Path(__file__).with_name("ledger.py")), "--until-stdin-closes"]
        if latency is not None:
            command += ["--latency", str(latency)]
        with tempfile.TemporaryDirectory(prefix="romancy-ledger-") as room, tempfile.TemporaryFile() as complaints:
            ready = Path(room, "ready.json")
            # Its standard input is a pipe from here that the system closes when this process is gone, SIGKILL included:
            # that is how it never outlives us. A session of its own, because Stop in Jupyter sends SIGINT to the
            # kernel's whole process group, and a Stop should not take the outside world down.
            self._process = subprocess.Popen(
                [*command, "--ledger", str(self.ledger), "--ready-file", str(ready)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                start_new_session=True,
            )
            try:
                self._await(ready, complaints)
                facts = json.loads(ready.read_text("utf-8"))
            except BaseException:
                self.stop()
                raise
        self.url: str = facts["url"]
        self.pid: int = facts["pid"]

    def _await(self, ready: Path, complaints: IO[bytes]) -> None:
        """Wait until the service says that it is ready."""
        until = time.monotonic() + _PATIENCE
        while not ready.exists():
            if self._process.poll() is not None:
                complaints.seek(0)
                said = complaints.read().decode("utf-8", "replace").strip() or f"exit code {self._process.returncode}"
                raise RomancyError(f"The demo's ledger service ended at once. It said: {said}")
            if time.monotonic() > until:
                raise RomancyError(f"The demo's ledger service did not answer within {_PATIENCE:.0f} s.")
            time.sleep(0.02)

    @property
    def running(self) -> bool:
        """Is its process there?"""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the service and wait until it has ended. Harmless when it has."""
        if self._process.stdin is not None:
            self._process.stdin.close()  # asks it to end
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
