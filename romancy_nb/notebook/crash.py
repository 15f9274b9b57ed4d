"""``%romancy crash``: kill this kernel in the middle of a workflow, to see for yourself what survives (N9)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from IPython.core.error import UsageError

from romancy_nb import testing
from romancy_nb.core import events as ev
from romancy_nb.journal.protocol import Batch
from romancy_nb.words import count

__all__ = ["arm", "disarm", "typed"]

_armed: list[contextlib.ExitStack] = []


def typed(options: Mapping[str, Any]) -> None:
    """Do what ``%romancy crash`` with these *options* says."""
    __tracebackhide__ = True
    if options.get("off"):
        print("Taken back." if disarm() else "Nothing was to crash.")
        return
    after = options.get("after", "0")
    if not after.isdecimal():
        raise UsageError(f"%romancy crash --after N takes a whole number of steps, not {after!r}.")
    arm(int(after), ask=not options.get("yes"))


def arm(after: int, *, ask: bool) -> None:
    """Kill this process, as a power cut would, at a step of a workflow.

    Args:
        after: how many steps are to be executed and recorded before; 0: it dies as the next step begins.
        ask: have the person confirm first.

    Raises:
        UsageError: nobody can be asked here.
    """
    when = (
        f"when {count(after, 'more step')} {'has' if after == 1 else 'have'} been executed"
        if after
        else ("as the next step begins")
    )
    if ask and not _confirmed(f"This kernel will be killed {when}, and all its variables are lost. Go ahead? [y/N] "):
        print("Nothing will be killed.")
        return
    disarm()
    left = after

    def strike(_: int, batch: Batch) -> None:
        nonlocal left
        if after == 0:
            if any(row.event.kind == ev.ACTIVITY_SCHEDULED and not _reused(row.event) for row in batch.rows):
                testing.die()
            return
        left -= sum(row.event.kind == ev.ACTIVITY_COMPLETED and not _reused(row.event) for row in batch.rows)
        if left <= 0:
            testing.die()

    stack = contextlib.ExitStack()
    stack.enter_context(testing.on_commit(after=strike))
    _armed.append(stack)
    print(
        f"This kernel dies {when}. Then restart it and run all cells: what was recorded comes from the journal. "
        "(%romancy crash --off takes this back.)"
    )


def disarm() -> bool:
    """Take it back. Returns whether there was something to take back."""
    was = bool(_armed)
    while _armed:
        _armed.pop().close()
    return was


def _reused(event: ev.Event) -> bool:
    return bool((event.meta or {}).get("reused"))


def _confirmed(question: str) -> bool:
    try:
        return input(question).strip().lower() in {"y", "yes"}
    except (RuntimeError, EOFError):  # no frontend that could ask: papermill, nbconvert
        raise UsageError(
            "Nobody can be asked here whether this kernel may be killed. Say so: %romancy crash --yes"
        ) from None
