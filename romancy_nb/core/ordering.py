"""Argument order for tasks that asyncio makes in the order of a set (C4).

``asyncio.as_completed`` iterates ``set(arguments)``, so bare coroutines would become tasks in the order of their memory
addresses, and paths with them. Here all of them become tasks at once, in argument order. Where the arguments have no order
(a set) or are used up already (a generator), they are put in order by what they are: function and arguments. Equal ones are
interchangeable, and a call is recognised by its inputs (C6).
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import gc
from collections.abc import Collection, Container, Set
from types import CodeType, FrameType
from typing import Any

from romancy_nb.core.events import Event

__all__ = ["arguments", "creator", "identity", "is_as_completed", "is_wait_for", "sort_by_place"]

_tasks: Any = asyncio.tasks
_WAIT_FOR: CodeType = asyncio.tasks.wait_for.__code__
_ENSURE = {asyncio.tasks.ensure_future.__code__}
if hasattr(_tasks, "_ensure_future"):  # up to 3.11
    _ENSURE.add(_tasks._ensure_future.__code__)
_AS_COMPLETED: CodeType = (
    _tasks._AsCompletedIterator.__init__.__code__  # from 3.13 on
    if hasattr(_tasks, "_AsCompletedIterator")
    else _tasks.as_completed.__code__
)
_PLAIN = (str, int, float, complex, bytes, bool, type(None))


def creator(frame: FrameType | None) -> CodeType | None:
    """Return the code of the function for which ``ensure_future``, running in *frame*, wants a task; else None."""
    found = _asking(frame)
    return found.f_code if found is not None else None


def _asking(frame: FrameType | None) -> FrameType | None:
    if frame is None or frame.f_code not in _ENSURE:
        return None
    while frame is not None and (frame.f_code in _ENSURE or frame.f_code.co_name == "<setcomp>"):
        frame = frame.f_back
    return frame


def is_wait_for(code: CodeType) -> bool:
    """Is it ``asyncio.wait_for``, which makes a helper task for the very coroutine that it was given?"""
    return code is _WAIT_FOR


def is_as_completed(code: CodeType) -> bool:
    """Is it ``asyncio.as_completed``?"""
    return code is _AS_COMPLETED


def identity(coro: Any) -> int:
    """Return what stands for *coro*: itself, or the awaitable object that ``ensure_future`` wrapped in it."""
    frame = getattr(coro, "cr_frame", None) or getattr(coro, "gi_frame", None)  # gi: up to 3.11
    if frame is not None and frame.f_code.co_name == "_wrap_awaitable":
        return id(frame.f_locals.get("awaitable"))
    return id(coro)


def arguments(frame: FrameType, coro: Any) -> list[Any]:
    """Return the bare awaitables that the ``as_completed`` which wants a task for *coro* was given, in order.

    Args:
        frame: where ``ensure_future`` runs.
        coro: what it wants a task for.
    """
    asking = _asking(frame)
    assert asking is not None
    known = asking.f_locals
    given = known.get("aws", known.get("fs"))
    if not isinstance(given, Collection):  # a generator, used up by now: what it gave is in the set being iterated
        given = next((held for held in gc.get_referrers(coro) if type(held) is set and len(held) > 1), [coro])
    found = sorted(given, key=_what_it_is) if isinstance(given, Set) else list(given)
    return [each for each in found if not asyncio.isfuture(each)]


def _what_it_is(awaitable: Any) -> tuple[str, str]:
    frame = getattr(awaitable, "cr_frame", None)
    known = frame.f_locals if frame is not None else getattr(awaitable, "__dict__", {})
    return (getattr(awaitable, "__qualname__", type(awaitable).__qualname__), _brief(dict(known), 4))


def _brief(value: Any, depth: int) -> str:
    """Describe *value* without addresses and without running code of its class."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if depth and isinstance(value, dict):
        return (
            "{" + ",".join(f"{_brief(k, depth - 1)}:{_brief(v, depth - 1)}" for k, v in list(value.items())[:50]) + "}"
        )
    if depth and isinstance(value, (list, tuple)):
        return "[" + ",".join(_brief(each, depth - 1) for each in value[:50]) + "]"
    if depth and isinstance(value, (set, frozenset)):
        return "<" + ",".join(sorted(_brief(each, depth - 1) for each in value)) + ">"
    known = getattr(value, "__dict__", None)
    kind = type(value)
    if kind.__module__.startswith("romancy_nb") or not depth or not isinstance(known, dict):
        return f"{kind.__qualname__} {getattr(value, 'name', '')}"
    return f"{kind.__qualname__} {_brief(known, depth - 1)}"


def sort_by_place(rows: list[Event], since: int, kinds: Container[str]) -> None:
    """Put those of *rows* from *since* on that are of *kinds* in the order of their places, in the slots they have (C4)."""
    where = [i for i in range(since, len(rows)) if rows[i].kind in kinds]
    for i, row in zip(where, sorted((rows[i] for i in where), key=lambda row: row.call), strict=True):
        rows[i] = row
