"""``romancy-nb demo``: the main job, run for real.

It starts the ledger service, executes the quickstart notebook in a real Jupyter kernel against it, kills that kernel
with SIGKILL while a request is on its way, executes the notebook again in a new kernel, and compares what the journal,
the ledger and the service say. The exit code is 0 only if every effect stands in the ledger exactly once.

Nothing outlives it: the service ends when this process does, kernels notice within a second, and Ctrl-C or SIGTERM end
both at once.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.demo import URL_VARIABLE, LedgerService
from romancy_nb.demo.ledger import read_entries
from romancy_nb.demo.report import Outcome, journaled, summary
from romancy_nb.errors import RomancyError

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from romancy_nb.demo.kernel import KernelRun

__all__ = ["DEFAULT_DIRECTORY", "KILL_AFTER", "play", "prepare"]

DEFAULT_DIRECTORY: Final = "romancy-demo"
KILL_AFTER: Final = 17
"""The effect after which the kernel is killed: the sixth order is then charged and not yet shipped."""

_MARKER = "README.txt"
_MARKER_TEXT = """Left behind by `romancy-nb demo`.

quickstart.ipynb          the notebook as the second kernel executed it: open it in Jupyter
quickstart-killed.ipynb   the same notebook as the first kernel left it when it was killed
orders.csv                the orders
ledger.jsonl              what the outside world saw, one effect a line
.romancy/journal.duckdb   the journal: romancy-nb ls --journal .romancy/journal.duckdb

Open quickstart.ipynb and choose Run All: nothing happens again. Delete the folder when you are done.
"""
_LIMIT = 300.0  # s for one execution; it takes a few


def play(directory: Path, *, kill_after: int = KILL_AFTER) -> int:
    """Play the demo in *directory* and print the report. Returns the exit code."""
    _need_jupyter()
    directory = directory.absolute()
    prepare(directory)
    with _ended_by_signals():
        service = LedgerService(directory / "ledger.jsonl")
        try:
            return _Play(directory, service).through(kill_after)
        finally:
            service.stop()


def _need_jupyter() -> None:
    missing = [name for name in ("ipykernel", "nbclient", "nbformat") if importlib.util.find_spec(name) is None]
    if missing:
        raise RomancyError(
            "The demo executes a notebook in a real Jupyter kernel, and for that this Python lacks "
            f"{', '.join(missing)}. Install what the demo needs with: pip install 'romancy_nb[demo]'"
        )


def prepare(directory: Path) -> None:
    """Make *directory* ready: new, empty, or an earlier demo, which is moved aside and not deleted."""
    try:
        if directory.exists() and any(directory.iterdir()):
            marker = directory / _MARKER
            if not (marker.is_file() and marker.read_text("utf-8", "replace").startswith(_MARKER_TEXT.splitlines()[0])):
                raise RomancyError(f"{directory} is not empty. Name a new folder for the demo with --dir.")
            aside = next(
                path for n in itertools.count(1) if not (path := directory.with_name(f"{directory.name}.{n}")).exists()
            )
            directory.rename(aside)
            print(f"The earlier demo in {directory.name} is now in {aside.name}.")
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("quickstart.ipynb", "orders.csv"):
            shutil.copyfile(_original(name), directory / name)
        (directory / _MARKER).write_text(_MARKER_TEXT, "utf-8")
    except OSError as problem:
        raise RomancyError(f"The demo cannot use {directory}: {problem.strerror or problem}") from problem


def _original(name: str) -> Path:
    """Where the packaged file is: beside this module in a wheel, in ``notebooks/`` in a checkout."""
    here = Path(__file__).resolve().parent
    for path in (here / name, here.parents[1] / "notebooks" / name):
        if path.is_file():
            return path
    raise RomancyError(f"The demo's {name} is missing from this installation of romancy_nb.")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: by an exception, so that everything is cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    former = [(number, signal.signal(number, leave)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in former:
            signal.signal(number, handler)


class _Play:
    """The demo in one directory against one service."""

    def __init__(self, directory: Path, service: LedgerService) -> None:
        self._directory = directory
        self._service = service
        self._notebook = directory / "quickstart.ipynb"
        self._journal = directory / ".romancy" / "journal.duckdb"

    def through(self, kill_after: int) -> int:
        """Play it from beginning to end."""
        print(f"The ledger service answers at {self._service.url} (process {self._service.pid}).\n")

        with self._execution("in a Jupyter kernel") as (run, notebook):
            self._follow(run, kill_after)
            if not run.killed:
                self._save(notebook, "quickstart.ipynb")
                return self._gave_up(run.failure() or f"It ended before effect {kill_after}: nothing was left to kill.")
        self._save(notebook, "quickstart-killed.ipynb")
        before = journaled(self._journal)
        print(f"  The journal holds {len(before.completed)} completed steps", end="")
        print(f", and one that may have run: {', '.join(before.open)}.\n" if before.open else ".\n")

        with self._execution("again, in a new kernel") as (run, notebook):
            self._follow(run, None)
            self._save(notebook, "quickstart.ipynb")
            if failure := run.failure():
                return self._gave_up(failure)
        print()
        outcome = Outcome.observe(self._directory, before, journaled(self._journal), self._service.url)
        print(summary(outcome))
        self._say_what_is_left()
        return 1 if any(outcome.faults()) else 0

    @contextmanager
    def _execution(self, how: str) -> Iterator[tuple[KernelRun, NotebookNode]]:
        """Start executing the notebook; whatever happens, neither kernel nor thread is left at the end."""
        import nbformat

        from romancy_nb.demo.kernel import KernelRun

        notebook: NotebookNode = nbformat.read(self._notebook, as_version=4)  # type: ignore[no-untyped-call, unused-ignore]
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        run = KernelRun(notebook, cwd=self._directory, env=self._environment())
        try:
            if run.wait_started(120):
                print(f"Executing {self._notebook.name} {how} (process {run.pid}) ...", flush=True)
            yield run, notebook
        finally:
            run.stop()

    def _environment(self) -> dict[str, str]:
        """The kernel's environment: what Jupyter would tell it of the notebook, and where the demo keeps its things."""
        return {
            **os.environ,
            URL_VARIABLE: self._service.url,
            "JPY_SESSION_NAME": str(self._notebook),
            "ROMANCY_JOURNAL": str(self._journal),
        }

    def _follow(self, run: KernelRun, kill_after: int | None) -> None:
        """Print the effects as they come to stand in the ledger, until the execution ends or, at one, is killed."""
        seen = len(read_entries(self._service.ledger))
        progress = _Progress()
        until = time.monotonic() + _LIMIT
        while run.running:
            entries = read_entries(self._service.ledger)
            for entry in entries[seen:]:
                progress.effect(entry)
            seen = len(entries)
            if kill_after is not None and seen >= kill_after:
                pid = run.pid
                run.kill()
                progress.end()
                print(f"  kill -9 {pid}: effect {seen} has just come to stand in the ledger.")
                run.stop()
                return
            if time.monotonic() > until:
                raise RomancyError(f"The notebook was not through after {_LIMIT:.0f} s.")
            time.sleep(0.01)
        for entry in read_entries(self._service.ledger)[seen:]:
            progress.effect(entry)
        progress.end()

    def _save(self, notebook: NotebookNode, name: str) -> None:
        import nbformat

        nbformat.write(notebook, self._directory / name)  # type: ignore[no-untyped-call, unused-ignore]

    def _gave_up(self, why: str) -> int:
        print(f"\nThe demo failed. {why}", file=sys.stderr)
        print(f"What there is of it is in {self._directory}.", file=sys.stderr)
        return 1

    def _say_what_is_left(self) -> None:
        folder, journal = (
            path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
            for path in (self._directory, self._journal)
        )
        print(f"\nTo look at, in {folder}:")
        print("  quickstart.ipynb          as the second kernel executed it; Run All in Jupyter: nothing happens again")
        print("  quickstart-killed.ipynb   as the kill left it")
        print(f"  .romancy/journal.duckdb   the journal: romancy-nb ls --journal {journal}")


class _Progress:
    """The effects as lines on the terminal, one line an order."""

    def __init__(self) -> None:
        self._order: str | None = None

    def effect(self, entry: dict[str, Any]) -> None:
        """Show one more effect."""
        if entry["order"] != self._order:
            self.end()
            self._order = entry["order"]
            print(f"  {self._order}", end="")
        print(f"  {entry['effect']}", end="", flush=True)

    def end(self) -> None:
        """End the line that is being written, if there is one."""
        if self._order is not None:
            print(flush=True)
        self._order = None
