"""Real Jupyter kernels for tests: run cells, look at what a person would see, press Stop, kill.

No kernelspec needs to be installed: the kernel is the interpreter that the test names.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager

__all__ = ["ROOT", "Cell", "Kernel", "eventually", "plain"]

ROOT = Path(__file__).parents[2]
DEADLINE = 40.0
"""Seconds after which a cell that does not answer fails its test."""

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


EFFECTS = """
def effect(name):
    fd = os.open(EFFECTS, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(fd, (name + "\\n").encode())
    os.close(fd)
once = rn.RetryPolicy(max_attempts=1)
"""
"""What tests' activities do: ``effect(name)`` writes a line to the file that EFFECTS names in the kernel."""


def plain(text: str) -> str:
    """Return *text* without its colours."""
    return _ANSI.sub("", text)


def eventually(condition: Callable[[], Any], what: str, within: float = DEADLINE) -> Any:
    """Wait until *condition* holds and return what it returned."""
    until = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < until, f"{what}: not within {within:g} s"
        time.sleep(0.01)
    return found


class _OnePython(KernelSpecManager):  # type: ignore[misc, unused-ignore]
    """Knows one kernel: the interpreter it was given."""

    python = ""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [self.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python", language="python")


@dataclass
class Cell:
    """One execution of a cell, and what it has put out so far.

    Attributes:
        stdout: prints, and the lines with which a call says what it does, in the order in which a person reads them.
        displays: mimebundles, in order; the result is the last.
        live: what running steps had put out when the head of the call was last updated.
        settled: what the head of the call says in the end.
        took: seconds from sending to the reply.
    """

    kernel: Kernel
    message: str
    sent: float = field(default_factory=time.monotonic)
    stdout: str = ""
    stderr: str = ""
    displays: list[dict[str, Any]] = field(default_factory=list)
    result: str | None = None
    ename: str = ""
    evalue: str = ""
    traceback: str = ""
    status: str = ""
    took: float = 0.0
    idle: bool = False
    live: str = ""
    settled: str = ""

    def take(self, message: dict[str, Any]) -> None:
        content, kind = message["content"], message["msg_type"]
        if kind == "stream":
            setattr(self, content["name"], getattr(self, content["name"]) + plain(content["text"]))
        elif kind in {"display_data", "update_display_data"} and "romancy" in content["metadata"]:
            # the cell that has the display, whichever cell the update came with
            owner = self.kernel.heads.setdefault(content["transient"]["display_id"], self)
            owner.take_head(content["metadata"]["romancy"], content["data"]["text/plain"])
        elif kind in {"display_data", "execute_result"}:
            self.displays.append(content["data"])
            display = (content.get("transient") or {}).get("display_id", "")
            if display.startswith("romancy-"):
                self.kernel.placed[display] = self.displays, len(self.displays) - 1
            if kind == "execute_result":
                self.result = content["data"].get("text/plain")
        elif kind == "update_display_data":
            if place := self.kernel.placed.get(content["transient"]["display_id"]):
                displays, index = place
                displays[index] = content["data"]
        elif kind == "error":
            self.ename, self.evalue = content["ename"], content["evalue"]
            self.traceback = plain("\n".join(content["traceback"]))
        elif kind == "status":
            self.idle = content["execution_state"] == "idle"

    def take_head(self, what: str, text: str) -> None:
        """The head of a call's output: its lines are read like prints."""
        if what == "line":
            new = [line for line in text.splitlines() if line not in self.stdout.splitlines()]
            self.stdout += "".join(f"{line}\n" for line in new)
        elif what == "live":
            self.live = text
        else:
            self.settled = text

    @property
    def text(self) -> str:
        """All that a person reads: prints, errors, and the text of displays."""
        shown = [str(bundle.get("text/plain", "")) for bundle in self.displays]
        return "\n".join([self.stdout, self.stderr, *shown, self.traceback])

    def until(self, text: str) -> Cell:
        """Wait until *text* stands in what the cell has printed."""
        eventually(
            lambda: self.kernel.listen() or text in self.stdout + self.stderr + self.live, f"{text!r} in the output"
        )
        return self

    def finish(self, within: float = DEADLINE) -> Cell:
        """Wait for the reply and for everything that was put out before it."""
        until = time.monotonic() + within
        while not self.status:
            assert time.monotonic() < until, f"the cell has not ended after {within:g} s: {self.text}"
            try:
                reply = self.kernel.client.get_shell_msg(timeout=0.05)
            except Empty:
                self.kernel.listen()
                continue
            known = self.kernel.cells.get(reply["parent_header"].get("msg_id", ""))
            if known is not None and reply["msg_type"] == "execute_reply":
                known.status, known.took = reply["content"]["status"], time.monotonic() - known.sent
        eventually(lambda: self.kernel.listen() or self.idle, "the kernel to be idle", 10)
        return self

    def ok(self) -> Cell:
        assert self.status == "ok", self.text
        return self


class Kernel:
    """A kernel of *python* with working directory *cwd*.

    Attributes:
        heads: cells by the id of the display with which a call's output begins.
        placed: displays of a cell by their id, as the list that has them and the position there.
        stray: output that belongs to no cell that was sent.
        effects: the file to which the test's activities write a line each time they are executed.
    """

    effects: Path

    def __init__(self, python: str, cwd: Path, **env: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROMANCY_", "JPY_"))}
        self.env = {
            **kept,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "IPYTHONDIR": str(cwd / ".ipython"),
            **env,
        }
        specs = type("_Specs", (_OnePython,), {"python": python})()
        self.manager = KernelManager(kernel_spec_manager=specs, kernel_name="python3")
        self.cwd = cwd
        self.cells: dict[str, Cell] = {}
        self.stray: list[dict[str, Any]] = []
        self.heads: dict[str, Cell] = {}
        self.placed: dict[str, tuple[list[dict[str, Any]], int]] = {}
        self._start()

    def _start(self) -> None:
        self.manager.start_kernel(cwd=str(self.cwd), env=self.env)
        self._connect()

    def _connect(self) -> None:
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    @property
    def pid(self) -> int:
        return int(self.manager.provisioner.process.pid)  # type: ignore[union-attr, unused-ignore]

    def send(self, code: str, *, cell_id: str | None = None) -> Cell:
        """Send a cell and return at once."""
        session, content = (
            self.client.session,
            {
                "code": code,
                "silent": False,
                "store_history": True,
                "user_expressions": {},
                "allow_stdin": False,
                "stop_on_error": True,
            },
        )
        message = session.msg("execute_request", content, metadata={"cellId": cell_id} if cell_id else {})
        cell = self.cells[message["header"]["msg_id"]] = Cell(self, message["header"]["msg_id"])
        self.client.shell_channel.send(message)
        return cell

    def run(self, code: str, *, cell_id: str | None = None, within: float = DEADLINE) -> Cell:
        """Run a cell to its end, whatever that is."""
        return self.send(code, cell_id=cell_id).finish(within)

    def ok(self, code: str, *, cell_id: str | None = None) -> Cell:
        """Run a cell that has to succeed."""
        return self.run(code, cell_id=cell_id).ok()

    def value(self, expression: str) -> Any:
        """Evaluate an expression of plain values."""
        return eval(self.ok(f"print(ascii(({expression})))").stdout)

    def listen(self) -> None:
        """Take what the kernel has published so far."""
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=0.002)
            except Empty:
                return
            cell = self.cells.get(message["parent_header"].get("msg_id", ""))
            if cell is not None:
                cell.take(message)
            elif message["msg_type"] in {"stream", "display_data"}:
                self.stray.append(message)

    def stop_button(self) -> float:
        """Press Stop; return when that was."""
        pressed = time.monotonic()
        self.manager.interrupt_kernel()
        return pressed

    def kill(self) -> None:
        """SIGKILL: no code in the kernel gets to see it."""
        os.kill(self.pid, signal.SIGKILL)
        self.client.stop_channels()
        eventually(lambda: not self.manager.is_alive(), "the kernel to be dead", 10)

    def again(self) -> Kernel:
        """A new kernel after ``kill``."""
        self.manager.restart_kernel(now=True)
        self._connect()
        self.cells.clear()
        return self

    def restart(self) -> Kernel:
        """Kernel > Restart, as the menu does it."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=False)
        self._connect()
        self.cells.clear()
        return self

    def done(self) -> list[str]:
        """What activities did so far, in order."""
        return self.effects.read_text().split() if self.effects.exists() else []

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
