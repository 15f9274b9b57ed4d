"""Looking at a run that somebody follows: its rows, the runs beside it, and who advances it. On the engine's thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from romancy_nb.core import events as ev
from romancy_nb.core.transitions import ACTIVE
from romancy_nb.journal.protocol import Head, Row
from romancy_nb.runtime import reported
from romancy_nb.runtime.reported import Report
from romancy_nb.runtime.standing import head_of

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine
    from romancy_nb.runtime.taps import Told

__all__ = ["Found", "RunFacts", "again", "file_of", "find"]


class RunFacts(NamedTuple):
    """A run of an instance in a line; times in µs."""

    number: int
    status: str
    reason: str
    started: int
    finished: int | None


@dataclass(frozen=True, slots=True)
class Found:
    """A run as it is just now.

    Attributes:
        run: its key.
        number: of the run, from 1.
        rows: its history; empty where nothing is new.
        runs: the runs of its instance, oldest first.
        alive: does a process advance it?
        here: does this one?
        progress: what its running steps report, by place.
    """

    run: int
    number: int
    instance: str
    rows: list[Row]
    runs: tuple[RunFacts, ...]
    alive: bool
    here: bool
    progress: dict[str, Report]


def find(
    engine: Engine,
    instance: str,
    number: int | None,
    told: Told | None = None,
    known: Callable[[int], int] = lambda run: 0,
) -> Found:
    """Return a run of *instance*, the newest where *number* is None; from here on *told* is told of what becomes of it.

    Its rows come only where there are more than are *known* of the run with this key.

    Raises:
        InstanceNotFound: there is no such run.
    """
    head = head_of(engine, instance)
    heads = engine.journal.runs(instance)
    found = head if number is None else next((each for each in heads if each.number == number), head)
    if told is not None:
        engine.taps.watch(found.run, instance, told, [each.run for each in heads])
    rows = engine.journal.load(found.run, parts=False) if found.last_seq > known(found.run) else []
    return _found(engine, found, heads, rows)


def again(engine: Engine, instance: str, run: int, known: int | None, told: Told | None = None) -> Found:
    """Look at a run once more; its rows only where there are more than *known*, or where that is None."""
    heads = engine.journal.runs(instance)
    if told is not None:
        engine.taps.watch(run, instance, told, [each.run for each in heads])
    head = next((each for each in heads if each.run == run), None) or engine.journal.run_heads([run])[run]
    rows = engine.journal.load(run, parts=False) if known is None or head.last_seq > known else []
    return _found(engine, head, heads, rows)


def _found(engine: Engine, head: Head, heads: list[Head], rows: list[Row]) -> Found:
    facts = tuple(RunFacts(each.number, _status(engine, each), "", each.started, _end(each)) for each in heads)
    here = _here(engine, head)
    elsewhere = not here and engine.held_elsewhere(head)
    told = reported.read(engine.journal.where, head.owner, head.run) if elsewhere else engine.taps.reports.of(head.run)
    return Found(head.run, head.number, head.instance, rows, facts, here or elsewhere, here, told)


def _here(engine: Engine, head: Head) -> bool:
    run = engine.live.get(head.run)
    return run is not None and not run.finished and not run.replay_only and run.status != "paused"


def _status(engine: Engine, head: Head) -> str:
    alive = head.status not in ACTIVE or _here(engine, head) or engine.held_elsewhere(head)
    return head.status if alive else "interrupted"


def _end(head: Head) -> int | None:
    return head.updated if f"run_{head.status}" in ev.RUN_ENDS else None


def file_of(where: str) -> tuple[int, ...]:
    """What tells whether anybody has written to the journal; empty where it is no file. On any thread."""
    found: list[int] = []
    for path in (where, f"{where}.wal"):
        with suppress(OSError):
            stat = Path(path).stat()
            found += [stat.st_mtime_ns, stat.st_size, stat.st_ino]
    return tuple(found)
