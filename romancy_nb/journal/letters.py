"""Letters as rows of the inbox, and back. An event in a letter is kept as history keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from romancy_nb.core.events import Event
from romancy_nb.journal.protocol import Letter, Row
from romancy_nb.journal.rows import encode

__all__ = ["as_values", "bodies", "read"]

_EVENT: Final = "$event"
"""Where a letter's facts have its event: [kind, body]."""
_Found = tuple[int, int, str, dict[str, Any]]


def as_values(letter: Letter) -> tuple[int, int, str, str]:
    """Return *letter* as a row: id, run, kind, facts."""
    facts = dict(letter.facts)
    if letter.event is not None:
        facts[_EVENT] = [letter.event.kind, encode(Row(0, 0, letter.event), 0)[3]]
    return letter.id, letter.run, letter.kind, json.dumps(facts, ensure_ascii=False)


def bodies(found: Iterable[_Found]) -> list[tuple[int, str, str]]:
    """Return the events in the rows *found*, as history has them: (number, kind, body)."""
    return [(0, *facts[_EVENT]) for _, _, _, facts in found if _EVENT in facts]


def read(found: Iterable[_Found], events: Sequence[Event]) -> list[Letter]:
    """Return the rows *found* as letters; *events* are those of ``bodies``, decoded."""
    following = iter(events)
    return [
        Letter(id, run, kind, facts, next(following) if facts.pop(_EVENT, None) is not None else None)
        for id, run, kind, facts in found
    ]
