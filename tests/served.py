"""Python programs and the command line, each in a process of its own, without half a second of imports each time.

A server that has everything imported forks a child for each run. Such a child is a process as any other: it can be killed, it has
its own folder, environment and output, and it ends as Python ends.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["cli", "environment", "program", "serve", "warm"]

ROOT = Path(__file__).parents[1]


def environment(**more: str) -> dict[str, str]:
    """What a program of a test has in its environment: nothing that says where this process keeps its journal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROMANCY_", "JPY_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def cli(cwd: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run ``romancy-nb`` with *arguments* in the folder *cwd*, with *more* in its environment."""
    return _server().run([], arguments, cwd, environment(**more))


def program(file: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program in its own folder."""
    return _server().run([str(file)], arguments, file.parent, environment(**more))


class _Server:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "import served; served._serve()"],
            env=environment(PYTHONPATH=os.pathsep.join((str(ROOT), str(Path(__file__).parent)))),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()

    def run(
        self, file: list[str], arguments: Iterable[str], cwd: Path, env: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        arguments = list(arguments)
        with tempfile.TemporaryDirectory(prefix="served-") as room, self._lock:
            out, err = Path(room, "out"), Path(room, "err")
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.write(json.dumps([file, arguments, str(cwd), env, str(out), str(err)]) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(arguments, code, out.read_text("utf-8"), err.read_text("utf-8"))


@functools.cache
def _server() -> _Server:
    """The server of this process; it ends when its input does, with us."""
    return _Server()


# -- in the server ---------------------------------------------------------------------------------------------------------


def warm() -> None:
    """Import what every program needs, and no more threads than one."""
    import duckdb  # noqa: F401
    import greenlet  # noqa: F401

    import romancy_nb.journal.on_duckdb
    import romancy_nb.notebook.output
    import romancy_nb.runtime.launch  # noqa: F401


def serve(be: Callable[..., object]) -> None:
    """Fork a child for each line of input, which is ``be(*line)`` and ends itself, and print its exit code."""
    assert threading.active_count() == 1, "a thread would not survive the fork"
    replies = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            be(*job)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=replies, flush=True)


def _serve() -> None:
    import nbformat  # noqa: F401

    import romancy_nb.cli  # noqa: F401

    warm()
    serve(_be)


def _be(file: list[str], arguments: list[str], cwd: str, env: dict[str, str], out: str, err: str) -> None:
    for number, name in enumerate((os.devnull, out, err)):
        opened = os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[0] = cwd
    code = 1
    try:
        code = _run(file, arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code)  # what Python does after that costs more than the rest, and nobody sees it


def _run(file: list[str], arguments: list[str]) -> int:
    if file:
        import __main__

        sys.argv = [*file, *arguments]
        del __main__.__dict__["served"]
        __main__.__file__ = file[0]
        exec(compile(Path(file[0]).read_text("utf-8"), file[0], "exec"), __main__.__dict__)
        return 0
    from romancy_nb.cli import main

    sys.argv = ["romancy-nb", *arguments]
    return main(arguments)
