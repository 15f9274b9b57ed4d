"""A notebook executed in a real Jupyter kernel that the caller may kill at any moment.

nbclient does the executing, on a thread, so that the main thread is free to watch, to kill, and to hear Ctrl-C. (In the
main thread nbclient would take Ctrl-C for itself.)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

__all__ = ["KernelRun"]


class _ThisPython(KernelSpecManager):  # type: ignore[misc, unused-ignore]
    """Knows one kernel: this very interpreter. What is installed as "python3" may be another one, or nothing."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3 (this interpreter)", language="python")


class _Client(NotebookClient):  # type: ignore[misc, unused-ignore]
    """nbclient with that kernel, whose manager stays within our reach."""

    def create_kernel_manager(self) -> Any:
        self.km = self.manager = AsyncKernelManager(kernel_spec_manager=_ThisPython(), kernel_name="python3")
        return self.km


class KernelRun:
    """One execution of *notebook*, which receives its outputs in place, in a new kernel with working directory *cwd*.

    Attributes:
        killed: ``kill`` was called while it ran.
    """

    def __init__(self, notebook: NotebookNode, *, cwd: Path, env: Mapping[str, str]) -> None:
        self.killed = False
        self._client = _Client(notebook, timeout=None, startup_timeout=120)
        self._failure: Exception | None = None
        self._started = threading.Event()
        self._client.on_notebook_start = lambda **_: self._started.set()
        self._words: list[str] = []
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self._thread = threading.Thread(target=self._execute, args=(cwd, dict(env)), name="notebook", daemon=True)
        self._thread.start()

    def _execute(self, cwd: Path, env: dict[str, str]) -> None:
        try:
            self._client.execute(cwd=str(cwd), env=env, stdout=subprocess.DEVNULL, stderr=self._said)
        except Exception as failure:
            self._failure = failure

    @property
    def running(self) -> bool:
        """Is the notebook still being executed?"""
        return self._thread.is_alive()

    def wait_started(self, timeout: float) -> bool:
        """Wait until the kernel answers. False when it did not, or ended before."""
        while self.running and timeout > 0 and not self._started.wait(0.05):
            timeout -= 0.05
        return self._started.is_set()

    @property
    def pid(self) -> int | None:
        """The kernel's process, while there is one."""
        process = self._process()
        return None if process is None else process.pid

    def _process(self) -> subprocess.Popen[bytes] | None:
        manager = getattr(self._client, "manager", None)
        return getattr(getattr(manager, "provisioner", None), "process", None)

    def kill(self) -> None:
        """Kill the kernel's process: SIGKILL, which no code in the kernel gets to see."""
        process = self._process()
        if process is not None and process.poll() is None:
            self.killed = True
            process.kill()

    def stop(self) -> None:
        """Make sure that neither the kernel nor the execution goes on. Harmless when both have ended."""
        while self.running:
            self.kill()  # again and again: it may only just be starting
            self._thread.join(0.1)
        self.kill()
        self._last_words()
        self._said.close()

    def failure(self) -> str | None:
        """Why the execution ended early, in words; None when it did not."""
        match self._failure:
            case None:
                return None
            case CellExecutionError(ename=name, evalue=value):
                return f"A cell failed with {name}: {value}"
            case DeadKernelError():
                return f"The kernel died. {self._last_words()}".strip()
            case other:
                return f"{type(other).__name__}: {other} {self._last_words()}".strip()

    def _last_words(self) -> str:
        """What the kernel's process wrote to its standard error, the end of it."""
        if not self._said.closed:
            self._said.seek(0)
            self._words = self._said.read().decode("utf-8", "replace").strip().splitlines()[-15:]
        return "\n".join(["Its last words:", *self._words]) if self._words else ""
