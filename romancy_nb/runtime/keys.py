"""The idempotency key of a call (A4): the same for all its attempts, on every kernel, until a person wants it executed anew.

What makes it is told by history alone, so that whoever looks at a step later finds the very key that its activity was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from romancy_nb.core.replay import UNDO

__all__ = ["generation_of", "key_of", "turn_of", "undo_scope"]


def key_of(
    instance: str,
    name: str,
    digest: str,
    occurrence: int,
    generation: str,
    *,
    number: int,
    undoes: str = "",
    scope: str = "",
) -> str:
    """Return the key of one call.

    Args:
        instance: its id.
        name: of the activity or compensation.
        digest: of its inputs.
        occurrence: how many equal calls the run had made before.
        generation: see ``generation_of``.
        number: of the run.
        undoes: place of the call that this one, made by a block of the code, undoes. The run's own undo of the same call has the
            same key.
        scope: what tells it from equal calls otherwise: of a notebook's other cells, of what is undone.
    """
    identity = [instance, name, digest, str(occurrence), generation]
    if undoes:
        identity = [instance, name, "", "0", "0", f"{UNDO}{undoes}", str(number)]
    elif scope:
        identity.append(scope)
    return blake2b("\0".join(identity).encode(), digest_size=16).hexdigest()


def generation_of(name: str, number: int, redo: frozenset[str], turn: int, undone: int) -> str:
    """Return what tells the call from equal ones of earlier runs: only what a person chose makes it another call.

    Args:
        name: of the activity.
        number: of the run.
        redo: names of activities that a person wanted executed again in this run.
        turn: of the chain (``rn.recur``).
        undone: how often earlier runs have undone this very call.
    """
    generation = str(number) if name in redo else "0"
    if turn > 1:
        generation += f"t{turn}"
    return generation + (f"u{undone}" if undone else "")


def undo_scope(place: str, number: int) -> str:
    """Return the scope of the undo at *place*, which begins with "undo:"."""
    return f"{place}\0{number}"


def turn_of(first: Mapping[str, Any] | None) -> int:
    """Return which turn of its chain a run is, or does anew, from the facts of its first row."""
    return int((first or {}).get("turn", 1))
