"""Who is whose child: the ids of children, and the chain above a run (R13)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final

__all__ = ["DEEPEST", "Ancestor", "chain", "child_id", "is_owned"]

DEEPEST: Final = 100
"""How many workflows may stand above one. One that goes deeper does not end by itself."""

Ancestor = tuple[str, str]
"""Name of a workflow and digest of its inputs."""


def child_id(workflow: str, parent: str, run: int, place: str) -> str:
    """Return the id of the child that a run of *parent* asks for at *place*.

    It follows from where the child is asked for, so whoever takes the parent up finds the child that was begun.

    >>> child_id("ship", "order-1", 1, "0:2") == child_id("ship", "order-1", 1, "0:2")
    True
    """
    text = "\0".join((parent, str(run), place, workflow))
    return f"{workflow}-{blake2b(text.encode(), digest_size=8).hexdigest()}"


def chain(recorded: Iterable[Iterable[str]]) -> tuple[Ancestor, ...]:
    """Return the chain of ancestors that a run's first row tells of, the topmost first."""
    return tuple((str(name), str(digest)) for name, digest in recorded)


def is_owned(facts: Mapping[str, Any]) -> bool:
    """Does the child whose intent has these *facts* belong to its parent: is it cancelled and undone with it?"""
    return not (facts.get("detach") or facts.get("linked"))
