"""What a person waits for at every cell, measured inside a real Jupyter kernel, around the cell's own code.

%load_ext after the import; a cell that defines ten activities; re-running a finished workflow of 100 steps, as a cell of a
function, as a cell's body, and as cells of a durable notebook; and what capturing output costs an activity that prints nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from side_by_side import folder, show

TIMER = """
import time, IPython
_shell, _times = IPython.get_ipython(), []
def _before(info): _times.append(time.perf_counter())
def _after(result): _times[-1] = time.perf_counter() - _times[-1]
_shell.events.register("pre_run_cell", _before)
_shell.events.callbacks["post_run_cell"].append(_after)
"""
TEN = "%%romancy_activity\n" + "\n".join(f"def act{n}(x):\n    y = x + {n}\n    return y" for n in range(10))
STEP = "@rn.activity\ndef step(n: int) -> int: return n + 1"
FUNCTION = "%%romancy_workflow --run 1\ndef hundred(n: int) -> int:\n    for _ in range(100):\n        n = step(n)\n    return n"
BODY = "%%romancy_workflow walk start=1\nn = start\nfor _ in range(100):\n    n = step(n)\nn"
PLAIN = "n = 1\nfor _ in range(100):\n    n = step(n)\nn"


class Kernel:
    """A fresh kernel whose cells time themselves: parsing and execution, without the way there and back."""

    def __init__(self, where: Path) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(cwd=str(where))
        self.run(TIMER)

    def run(self, code: str) -> str:
        shown: list[str] = []

        def heard(message: dict[str, Any]) -> None:
            content = message["content"]
            shown.append(str(content.get("text", "")) + "\n".join(content.get("traceback", [])))

        reply = self.client.execute_interactive(code, output_hook=heard, timeout=60)
        assert reply["content"]["status"] == "ok", "".join(shown)
        return "".join(shown)

    def timed(self, code: str) -> float:
        """Seconds that the cell took."""
        self.run(code)
        return float(self.run("print(_times[-2])").split()[-1])

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def main() -> None:
    os.environ.pop("ROMANCY_JOURNAL", None)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode
    where = folder()
    (where / ".git").mkdir()
    loads: list[float] = []
    for _ in range(3):
        kernel = Kernel(where)
        kernel.run("import romancy_nb as rn")
        loads.append(kernel.timed("%load_ext romancy_nb"))
        kernel.close()
    show("%load_ext after the import (goal: 250 ms)", loads)
    kernel = Kernel(where)
    try:
        kernel.run("%load_ext romancy_nb")
        kernel.run("import romancy_nb as rn\n" + STEP)
        show(
            "a cell of ten activities (goal: 10 ms)",
            [kernel.timed(TEN.replace("y = x", f"y = {n} + x")) for n in range(7)],
        )
        for name, code in (
            ("a workflow cell of 100 steps, run again (goal: 50 ms)", FUNCTION),
            ("the same as a cell's body", BODY),
        ):
            kernel.timed(code)
            show(name, [kernel.timed(code) for _ in range(7)])
        kernel.run("rn.durable_notebook('bench');")
        kernel.timed(PLAIN)
        show("the same as a cell of a durable notebook", [kernel.timed(PLAIN) for _ in range(7)])
    finally:
        kernel.close()
    shutil.rmtree(where)


if __name__ == "__main__":
    main()
