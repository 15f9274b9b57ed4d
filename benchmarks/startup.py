"""Import; %load_ext to the first journaled result; kernel restart to the resumed result, in real Jupyter kernels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from side_by_side import folder, seconds, show

DEFINE = """
import time
begin = time.perf_counter()
%load_ext romancy_nb
import romancy_nb as rn
@rn.activity
def step(number: int) -> int: return number + 1
@rn.workflow
def three(name: int) -> int: return step(step(step(name)))
"""
CALL = "called = time.perf_counter(); three(1); done = time.perf_counter(); print(done - begin, done - called)"


def imported() -> float:
    """Seconds of `import romancy_nb` in a fresh process, less the interpreter's own start."""
    bare = seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    return seconds(lambda: subprocess.run([sys.executable, "-c", "import romancy_nb"], check=True)) - bare


def in_kernel(where: Path) -> tuple[float, float]:
    """Seconds from %load_ext to the result of a first call, and of the call alone, in a fresh kernel."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(cwd=str(where))
    try:
        texts: list[str] = []

        def heard(message: dict[str, object]) -> None:
            content = message["content"]
            if isinstance(content, dict) and content.get("name") == "stdout":
                texts.append(str(content["text"]))

        client.execute_interactive(DEFINE, output_hook=heard, timeout=30)
        texts.clear()
        client.execute_interactive(CALL, output_hook=heard, timeout=30)
        first, second = "".join(texts).strip().splitlines()[-1].split()
        return float(first), float(second)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def main() -> None:
    os.environ.pop("ROMANCY_JOURNAL", None)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode
    where = folder()
    imported()
    print("start-up")
    show("import romancy_nb (goal: 150 ms)", [imported() for _ in range(7)])
    (where / ".git").mkdir()
    first, again = [], []
    for _ in range(3):
        shutil.rmtree(where / ".romancy", ignore_errors=True)
        first.append(in_kernel(where)[0])
        again.append(in_kernel(where)[1])
    show("%load_ext to the first result (goal: 600 ms)", first)
    show("restart: the call that resumes (goal: 500 ms)", again)
    shutil.rmtree(where)


if __name__ == "__main__":
    main()
