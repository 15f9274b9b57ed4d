"""A notebook executed in a kernel of its own by nbclient, on a thread, so that the main thread hears Ctrl-C.

(In the main thread nbclient would take Ctrl-C for itself, and end the kernel at once.)
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

__all__ = ["Stopped", "execute"]


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why the execution did not come to the end of the notebook.

    Attributes:
        name: of the error's class.
        says: its message, in short.
        cell: number of the code cell, from 1; 0: none had begun.
        by_hand: Ctrl-C was pressed.
        answer: what the kernel answered to the question that it is asked when a cell waits.
    """

    name: str
    says: str
    cell: int
    by_hand: bool
    answer: str = ""


class _ThisPython(KernelSpecManager):  # type: ignore[misc, unused-ignore]
    """Knows one kernel: this very interpreter. What is installed as "python3" may be another one, or nothing."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3 (this interpreter)", language="python")


class _ByHand(Exception):
    """Ctrl-C was pressed between two cells."""


def execute(
    notebook: NotebookNode, folder: Path, env: Mapping[str, str], kernel: str | None, question: str
) -> Stopped | None:
    """Execute *notebook*, which receives its outputs in place. Returns None when all of it has run.

    Args:
        notebook: as nbformat read it.
        folder: the kernel's working directory.
        env: its environment.
        kernel: name of an installed kernel; None: this interpreter.
        question: an expression that the kernel evaluates when a cell ended because its run waits.
    """
    one = _Execution(notebook, kernel, question)
    worker = threading.Thread(target=one.run, args=(folder, dict(env)), name="notebook", daemon=True)
    worker.start()
    while not one.over.is_set():  # a join that is interrupted takes the thread for ended (Python 3.11)
        try:
            one.over.wait(0.1)
        except KeyboardInterrupt:
            one.stop()
    return one.stopped


class _Execution:
    """One execution, on the thread of ``run``; ``stop`` is for another one."""

    def __init__(self, notebook: NotebookNode, kernel: str | None, question: str) -> None:
        specs = {} if kernel is not None else {"kernel_spec_manager": _ThisPython()}
        self._manager = AsyncKernelManager(kernel_name=kernel or "python3", **specs)
        self._client = NotebookClient(
            notebook, km=self._manager, timeout=None, startup_timeout=120, record_timing=False
        )
        self._client.on_cell_execute = self._begins
        self._client.on_cell_error = self._failed
        self._question = question
        self._loop: asyncio.AbstractEventLoop | None = None
        self._interrupts = 0
        self._cell = 0
        self._answer = ""
        self.stopped: Stopped | None = None
        self.over = threading.Event()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by run()

    def run(self, folder: Path, env: dict[str, str]) -> None:
        try:
            asyncio.run(self._execute(folder, env))
        except CellExecutionError as error:
            self._ended(error.ename, error.evalue)
        except DeadKernelError:
            self._ended("DeadKernelError", f"The kernel died. {self._last_words()}".strip())
        except _ByHand:
            self._ended("KeyboardInterrupt", "Nothing was running just then.")
        except Exception as error:  # a kernel that is not installed, that does not start
            self._ended(type(error).__name__, f"{type(error).__name__}: {error} {self._last_words()}".strip())
        finally:
            self._said.close()
            self.over.set()

    def _last_words(self) -> str:
        """What the kernel's process wrote to its standard error, the end of it."""
        self._said.seek(0)
        words = self._said.read().decode("utf-8", "replace").strip().splitlines()[-15:]
        return "\n".join(["Its last words:", *words]) if words else ""

    def _ended(self, name: str, says: str) -> None:
        said = says if name in {"Waiting", "DeadKernelError"} or says.startswith(name) else f"{name}: {says}"
        self.stopped = Stopped(name, said, self._cell, self._interrupts > 0, self._answer)

    async def _execute(self, folder: Path, env: dict[str, str]) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self._client.async_execute(cwd=str(folder), env=env, stdout=subprocess.DEVNULL, stderr=self._said)
        finally:
            self._loop = None
            if await self._manager.is_alive():
                await self._manager.shutdown_kernel(now=True)

    async def _begins(self, **_: Any) -> None:
        if self._interrupts:
            raise _ByHand
        self._cell += 1

    async def _failed(self, *, execute_reply: Mapping[str, Any], **_: Any) -> None:
        """A cell ended with an error; while the kernel is there, ask it what is waited for."""
        if execute_reply["content"].get("ename") != "Waiting":
            return
        client: Any = self._client.kc
        message = client.execute("", silent=True, store_history=False, user_expressions={"found": self._question})
        reply = await self._client.async_wait_for_reply(message)
        found = ((reply or {}).get("content", {}).get("user_expressions") or {}).get("found", {})
        self._answer = found.get("data", {}).get("text/plain", "")

    def stop(self) -> None:
        """The first time: the Stop button. Then: end the kernel."""
        self._interrupts += 1
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it has just ended
                asyncio.run_coroutine_threadsafe(self._end(self._interrupts > 1), loop)

    async def _end(self, kill: bool) -> None:
        if kill:
            await self._manager.shutdown_kernel(now=True)
        else:
            await self._manager.interrupt_kernel()
