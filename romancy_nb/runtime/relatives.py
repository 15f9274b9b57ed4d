"""Which instances stand above and below one: read off their histories, on the engine's thread (R13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy_nb.core import events as ev

if TYPE_CHECKING:
    from romancy_nb.journal.protocol import Head
    from romancy_nb.runtime.state import State

__all__ = ["children", "parent"]


def parent(engine: State, instance: str) -> Head | None:
    """Return the instance whose workflow began this one as its child, or None."""
    head = engine.journal.heads([instance]).get(instance)
    if head is None:
        return None
    first = engine.journal.load(head.run, parts=False)[0].event
    above = str(((first.meta or {}).get("parent") or {}).get("instance", ""))
    return engine.journal.heads([above]).get(above)


def children(engine: State, instance: str) -> list[Head]:
    """Return the children that the newest run of an instance began, in order."""
    head = engine.journal.heads([instance]).get(instance)
    if head is None:
        return []
    begun = [row.event for row in engine.journal.load(head.run, parts=False) if row.event.kind == ev.CHILD_STARTED]
    ids = list(dict.fromkeys(str((event.meta or {}).get("instance")) for event in begun))
    heads = engine.journal.heads(ids)
    return [heads[each] for each in ids if each in heads]
