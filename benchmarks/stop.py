"""How long Stop takes: from the interrupt of a real kernel's process until the cell has ended with the run paused durably.

A ``def`` activity that blocks, an ``async def`` one, workflow code that spins, and a burst of 2,000 concurrent activities.
"""

from __future__ import annotations

import os
from pathlib import Path
from queue import Empty
from time import monotonic, sleep
from typing import Any

from side_by_side import folder, show

DEFINITIONS = """
%load_ext romancy_nb
import asyncio, time
import romancy_nb as rn
once = rn.RetryPolicy(max_attempts=1)

@rn.activity(retry=once)
def blocks(x: int) -> int:
    print("begun", flush=True)
    time.sleep(60)
    return x

@rn.activity(retry=once)
async def awaits(x: int) -> int:
    print("begun", flush=True)
    await asyncio.sleep(60)
    return x

@rn.activity(retry=once)
def quick(x: int) -> int:
    time.sleep(0.001)
    return x

@rn.workflow
def blocking(x: int) -> int: return blocks(x)

@rn.workflow
async def awaiting(x: int) -> int: return await awaits(x)

@rn.workflow
def spinning(x: int) -> int:
    quick(x)
    print("begun", flush=True)
    while True: pass

@rn.workflow
def burst(x: int) -> int:
    print("begun", flush=True)
    return sum(rn.gather(*[quick.bind(i) for i in range(x, x + 2000)]))
"""
CASES = {
    "a def activity that blocks": "blocking({})",
    "an async def activity": "await awaiting({})",
    "workflow code that spins": "spinning({})",
    "a burst of 2,000 activities": "burst({}000)",
}
PRESS_AFTER = 0.1
"""Seconds from the first output to Stop: the burst is under way by then."""


class Kernel:
    """A fresh kernel whose output is read as it comes."""

    def __init__(self, where: Path) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(cwd=str(where))

    def run(self, code: str, stop_at: str | None = None) -> tuple[float, str]:
        """Run a cell; press Stop when it prints *stop_at*. Return the seconds from then until idle, and what was shown."""
        message, shown, pressed = self.client.execute(code), "", monotonic()
        while True:
            try:
                told: dict[str, Any] = self.client.get_iopub_msg(timeout=60)
            except Empty:
                raise AssertionError(shown) from None
            if told["parent_header"].get("msg_id") != message:
                continue
            content = told["content"]
            shown += str(content.get("text", "")) + str(content.get("evalue", ""))
            if stop_at is not None and stop_at in shown:
                sleep(PRESS_AFTER)
                stop_at, pressed = None, monotonic()
                self.manager.interrupt_kernel()
            if content.get("execution_state") == "idle":
                return monotonic() - pressed, shown


def main() -> None:
    os.environ.pop("ROMANCY_JOURNAL", None)
    where = folder()
    (where / ".git").mkdir()
    kernel = Kernel(where)
    try:
        kernel.run(DEFINITIONS)
        for title, call in CASES.items():
            taken = []
            for number in range(1, 8):
                seconds, shown = kernel.run(call.format(number), stop_at="begun")
                assert "Paused" in shown, shown
                taken.append(seconds)
            show(f"Stop: {title} (goal: 300 ms)", taken)
    finally:
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    main()
