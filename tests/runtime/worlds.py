"""A journal and a ledger, and processes that run a program against them until one is killed: what all crash tests share."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from forking import Zygotes

from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.journal.protocol import Row

W = TypeVar("W", bound="World")


@dataclass
class World:
    """One journal and one ledger, and processes that run a program against them. A module of tests names its program.

    Attributes:
        zygotes: servers of the program.
        folder: of its files.
        what: the program's argument.
    """

    zygotes: ClassVar[Zygotes]

    folder: Path
    what: str = "sync"

    def run(self, crash: str = "") -> tuple[int, Any]:
        """Run the program once; returns its exit code, and its result unless it was killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {
            "ROMANCY_JOURNAL": str(self.folder / "journal.duckdb"),
            "LEDGER": str(self.ledger),
            "COUNT": str(self.folder / "commits"),
            "CRASH": crash or "::",
        }
        code, output = self.zygotes.run([self.what], environment, self.folder / "output")
        if code not in (0, -signal.SIGKILL):
            raise AssertionError(f"{self.what} {crash or 'straight'}: exit {code}\n{output[-3000:]}")
        return code, json.loads(output.splitlines()[-1]) if code == 0 else None

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    @property
    def commits(self) -> int:
        return int((self.folder / "commits").read_text())

    @contextmanager
    def journal(self) -> Iterator[tuple[DuckDBJournal, list[str]] | None]:
        """Hold the journal, which no process does just now: it and the ids of its instances; None: there is none yet."""
        path = self.folder / "journal.duckdb"
        if not path.exists():
            yield None
            return
        journal = DuckDBJournal(path)
        journal.acquire(10)
        try:
            yield journal, [row[0] for row in journal.query("select instance_id from instances").rows]
        finally:
            journal.release()

    def histories(self, *, never_back: bool = False) -> dict[str, list[Row]]:
        """The newest runs' histories, by instance; *never_back* says that no instance that was being undone went forward.

        Stop may come when the code has failed and what is in flight still settles; that run is paused, and called again it is
        tried again (R1), in a run of its own if its code has done more after the failure.
        """
        with self.journal() as found:
            if found is None:
                return {}
            journal, ids = found
            heads = journal.heads(ids)
            if never_back:
                numbers = {name: head.number for name, head in heads.items()}
                left = {
                    status
                    for name, number, status in journal.query("select instance_id, run, status from runs").rows
                    if number < numbers[name]
                }
                assert left <= {"paused"}, f"an instance went forward again:\n{(self.folder / 'output').read_text()}"
            return {name: journal.load(head.run) for name, head in heads.items()}


def taken(*case: str) -> bool:
    """Is this case among the half that is tried by default?"""
    return os.environ.get("ROMANCY_CRASHES") == "all" or random.Random(" ".join(case)).random() < 0.5


def at_some(jobs: list[tuple[W, str]], finish: Callable[[W, str], None]) -> None:
    """Crash each world where its job says and see it *finish*, two at a time.

    Some of the jobs are done, others for each list of them, so that tests take different places; all with ``ROMANCY_CRASHES=all``.
    """
    if os.environ.get("ROMANCY_CRASHES") != "all":
        seed = "".join(f"{world.what} {crash};" for world, crash in jobs)
        jobs = random.Random(seed).sample(jobs, min(len(jobs), max(1, len(jobs) // 16)))
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(finish, world, crash) for world, crash in jobs]:
            future.result()


def check_undone(done: list[str], stands: Collection[str], crash: str) -> None:
    """Assert of a ledger's lines that each effect ``do-x`` was followed by its undo ``un-x``, but for those in *stands*."""
    for name in set(done):
        if name.startswith("do-") and name not in stands:
            undo = "un-" + name.removeprefix("do-")
            assert undo in done, f"{crash}: {name} was never undone: {done}"
            assert done.index(undo) > max(at for at, each in enumerate(done) if each == name), (
                f"{crash}: {name} happened after its undo: {done}"
            )
