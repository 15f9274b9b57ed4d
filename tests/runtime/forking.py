"""Real processes, quickly: a server that has everything imported forks a child for each run of a program.

``Zygote(program)`` starts the server; ``run`` forks, waits, and returns exit code and output. A child that is killed is
killed as any process is; only the half second of imports is saved.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import served

HERE = Path(__file__).parent


class Zygote:
    """The server for one program, a file with a function ``main(arguments)``. Used from one thread at a time."""

    def __init__(self, program: Path) -> None:
        paths = [str(HERE.parent.parent), str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(program)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()

    def run(self, arguments: list[str], environment: dict[str, str], output: Path) -> tuple[int, str]:
        """Run ``main(arguments)`` in a process of its own; returns its exit code (negative: the signal) and its output."""
        with self._lock:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.write(json.dumps([arguments, environment, str(output)]) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
        return code, output.read_text()

    def close(self) -> None:
        self._process.communicate("")

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()


class Zygotes:
    """Servers for one program, as many as run it at once. What was closed is begun anew by the next run."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._started: list[Zygote] = []
        self._free: list[Zygote] = []

    def run(self, arguments: list[str], environment: dict[str, str], output: Path) -> tuple[int, str]:
        """As ``Zygote.run``, on a server that nobody uses just now."""
        try:
            zygote = self._free.pop()  # one at a time gets it: a list's own methods are atomic
        except IndexError:
            zygote = Zygote(self._program)
            self._started.append(zygote)
        found = zygote.run(arguments, environment, output)
        self._free.append(zygote)  # one that failed is not used again
        return found

    def close(self) -> None:
        self._free.clear()
        while self._started:
            self._started.pop().close()


def serve(program: Path) -> None:
    served.warm()
    spec = importlib.util.spec_from_file_location("program", program)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["program"] = module
    spec.loader.exec_module(module)
    served.serve(functools.partial(_be_child, module))


def _be_child(module: Any, arguments: list[str], environment: dict[str, str], output: str) -> None:
    code = 1
    try:
        fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.environ.update(environment)
        module.main(arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
