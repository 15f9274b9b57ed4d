"""What earlier runs of an instance may answer to a new one (R2), where it is a chain of turns (``rn.recur``), too.

A turn is answered by earlier runs of its own. A chain that was undone is begun anew with the first turn of which anything was
undone. Each turn that is done anew names the one that it repeats ("over" in its first row), and that one answers it with what still
stands; a turn that the undone chain did not come to is answered by nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.core.pool import Pool
from romancy_nb.core.replay import UNDO, Numbered
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import starts

if TYPE_CHECKING:
    from romancy_nb.runtime.state import State

__all__ = ["Anew", "History", "anew", "answering", "next_over", "own", "pool"]

History = tuple[int, list[Numbered]]
"""A run's key, and its rows."""

_OF_A_TURN_BEFORE: Final = re.compile(rf"{UNDO}(\d+)/")
"""The place of an undo that a later turn's run has taken over, up to the number of the run that made the call."""


@dataclass(frozen=True, slots=True)
class Anew:
    """How a chain that was undone is begun anew.

    Attributes:
        payload, digest: inputs of the first turn that was undone.
        facts: what the new run's first row tells of its place in the chain.
        histories: what may answer the new run, newest first.
    """

    payload: Payload
    digest: str
    facts: dict[str, Any]
    histories: list[History]


def answering(engine: State, instance: str, meta: Mapping[str, Any], below: int) -> list[History]:
    """Return the histories that may answer a run of *instance*, newest first.

    Args:
        meta: of the first row of that run, or of an earlier one of the same turn.
        below: its number.
    """
    return _of_turn(engine, instance, int(meta.get("since", 1)), below) + _repeated(engine, instance, meta)


def own(engine: State, instance: str, below: int) -> list[History]:
    """Return what may answer the next run of the newest turn of *instance*; at least that turn's newest run."""
    found = _of_turn(engine, instance, engine.journal.heads([instance])[instance].since, below)
    return found + _repeated(engine, instance, found[0][1][0][1].meta or {})


def _repeated(engine: State, instance: str, meta: Mapping[str, Any]) -> list[History]:
    """Return the histories of the turns that the one whose first row tells *meta* does anew."""
    found: list[History] = []
    while "over" in meta:
        turn, last = meta["over"]
        undo = _undo_rows(engine, instance, last)
        repeated = _of_turn(engine, instance, turn, last + 1, undo)
        if not repeated:
            break
        found += repeated
        meta = repeated[-1][1][0][1].meta or {}
    return found


def pool(histories: list[History], redo: frozenset[str]) -> Pool:
    """Return what *histories* know, but for what was forgotten and activities that a person wants executed again."""
    kept = [each for each in histories if not starts.is_forgotten(each[1])]
    return Pool([(key, [(s, e) for s, e in rows if e.name not in redo]) for key, rows in kept])


def anew(engine: State, instance: str, rows: list[Numbered], number: int) -> Anew | None:
    """Return how the chain begins anew, or None if the newest run has undone nothing of the turns before its own.

    Args:
        rows: of the newest run.
        number: of the run that is to begin.
    """
    undone = {int(found[1]) for _, event in rows if (found := _carried(event))}
    if not undone:
        return None
    head = engine.journal.runs(instance, min(undone))[0]
    first = engine.journal.load(head.run)[0].event
    if first.payload is None:  # forgotten
        return None
    place = {"since": number, "over": [head.since, number - 1]}
    called = (rows[0][1].meta or {}).get("called")
    turn = (first.meta or {}).get("turn")
    facts = {**place, **({"called": called} if called else {}), **({"turn": turn} if turn else {})}
    return Anew(first.payload, first.digest, facts, answering(engine, instance, place, number))


def next_over(engine: State, instance: str, meta: Mapping[str, Any]) -> list[int] | None:
    """Return what the turn after one that is done anew repeats: [its first run's number, the last run's of that chain].

    Args:
        meta: of the first row of the turn that has ended.
    """
    if "over" not in meta:
        return None
    turn, last = meta["over"]
    later = [head.since for head in engine.journal.runs(instance, turn) if turn < head.since <= last]
    return [later[0], last] if later else None


def _carried(event: Event) -> re.Match[str] | None:
    return _OF_A_TURN_BEFORE.match(event.call) if event.kind == ev.COMPENSATION_SCHEDULED else None


def _of_turn(engine: State, instance: str, since: int, below: int, undo: tuple[Numbered, ...] = ()) -> list[History]:
    """Return the histories of one turn, newest first, with what a later turn's run has undone of each."""
    if below <= since:  # it is the first of its turn
        return []
    heads = [head for head in engine.journal.runs(instance, since) if head.since == since and head.number < below]
    return [(head.run, _load(engine, head.run) + _undone(head.number, undo)) for head in reversed(heads)]


def _undo_rows(engine: State, instance: str, number: int) -> tuple[Numbered, ...]:
    head = engine.journal.runs(instance, number)[0]
    return tuple(row for row in _load(engine, head.run) if _carried(row[1]))


def _undone(number: int, undo: tuple[Numbered, ...]) -> list[Numbered]:
    """Return those of the rows that tell of an undo in run *number*, with the places that the calls have there."""
    mark = f"{UNDO}{number}/"
    return [
        (seq, event._replace(call=UNDO + event.call.removeprefix(mark)))
        for seq, event in undo
        if event.call.startswith(mark)
    ]


def _load(engine: State, key: int) -> list[Numbered]:
    return [(row.seq, row.event) for row in engine.journal.load(key)]
