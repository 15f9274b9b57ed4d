"""Deterministic helpers for workflow code: time, chance, waiting, and several things at once.

In a workflow they answer from the run's history; outside of one they are their plain counterparts, so that workflow code
can be tried as ordinary Python.
"""

from __future__ import annotations

import asyncio
import random as _random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

from romancy_nb.core.commands import Outcome
from romancy_nb.core.context import ambient
from romancy_nb.core.tasks import LAST
from romancy_nb.definitions.seconds import Seconds, checked_seconds
from romancy_nb.errors import WrongArguments, WrongPlace
from romancy_nb.payloads.codec import decode, encode
from romancy_nb.payloads.failures import decode_failure, encode_failure

__all__ = ["gather", "now", "random", "side_effect", "sleep", "sleep_until", "uuid4"]

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")


def now() -> datetime:
    """Return the run's time (aware, UTC): that of the last event it saw. The same on every replay."""
    found = ambient()
    return found.now() if found is not None else datetime.now(UTC)


def uuid4() -> uuid.UUID:
    """Return a random UUID that is the same on every replay."""
    found = ambient()
    return found.uuid4() if found is not None else uuid.uuid4()


def random() -> float:
    """Return a random number in [0, 1) that is the same on every replay."""
    found = ambient()
    return found.random() if found is not None else _random.random()


def side_effect(function: Callable[[], T]) -> T:
    """Call *function* once and journal what it returns (or raises); on replay it is not called again.

    For small, quick looks at the world (an environment variable, a file's time). It runs in the workflow's own thread and
    is not retried; everything longer is an activity.

    >>> host = rn.side_effect(platform.node)  # doctest: +SKIP
    """
    found = ambient()
    if found is None:
        return function()
    name = getattr(function, "__qualname__", type(function).__name__)

    def produce() -> Outcome:
        try:
            return Outcome(True, encode(function(), what=f"the result of side effect {name}"))
        except Exception as error:
            return Outcome(False, encode_failure(error))

    outcome = found.side_effect(name, produce)
    if not outcome.ok:
        raise decode_failure(outcome.payload)
    value: T = decode(outcome.payload, what=f"the result of side effect {name}")
    return value


def sleep(seconds: Seconds) -> Any:
    """Sleep durably: a crash or restart does not start the time anew. Blocks in ``def`` code, is awaited in ``async def``.

    Args:
        seconds: or a timedelta.

    Raises:
        WrongArguments: it is no span of time, or ends after the year 9999.
    """
    found = ambient()
    if found is not None:
        found.check()
    seconds = checked_seconds(seconds, now().timestamp(), "rn.sleep")
    if found is None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return time.sleep(max(0.0, seconds))
        return asyncio.sleep(seconds)
    if not found.is_sync():
        return asyncio.sleep(seconds)
    return found.sleep(seconds)


def sleep_until(when: datetime) -> Any:
    """Sleep durably until *when*; at once when that has passed. Blocks in ``def`` code, is awaited in ``async def``.

    Args:
        when: with a time zone: another kernel, in another place, must wake up at the same moment.

    Raises:
        WrongArguments: it is no datetime, has no time zone, or lies after the year 9999.

    Example:
        >>> rn.sleep_until(datetime(2027, 1, 1, 9, tzinfo=ZoneInfo("Europe/Vienna")))  # doctest: +SKIP
    """
    if not isinstance(when, datetime):
        raise WrongArguments(f"rn.sleep_until takes a datetime; this is {when!r}. For seconds there is rn.sleep.")
    if when.utcoffset() is None:
        raise WrongArguments(
            f"rn.sleep_until takes a datetime with a time zone; {when.isoformat()} has none. Write for instance "
            f'{when.isoformat()} with tzinfo=ZoneInfo("Europe/Vienna"), or datetime.now(UTC) + timedelta(hours=1).'
        )
    if when.timestamp() > LAST:
        raise WrongArguments(f"rn.sleep_until({when.isoformat()}): it takes a time before the year 9999 is over.")
    return sleep(max(0.0, (when - now()).total_seconds()))


@overload
def gather(a: Callable[[], A], b: Callable[[], B], /) -> tuple[A, B]: ...
@overload
def gather(a: Callable[[], A], b: Callable[[], B], c: Callable[[], C], /) -> tuple[A, B, C]: ...
@overload
def gather(a: Callable[[], A], b: Callable[[], B], c: Callable[[], C], d: Callable[[], D], /) -> tuple[A, B, C, D]: ...
@overload
def gather(
    a: Callable[[], A], b: Callable[[], B], c: Callable[[], C], d: Callable[[], D], e: Callable[[], E], /
) -> tuple[A, B, C, D, E]: ...
@overload
def gather(*calls: Callable[[], T]) -> tuple[T, ...]: ...
def gather(*calls: Callable[[], Any]) -> tuple[Any, ...]:
    """Run several calls at the same time in a ``def`` workflow and return their results in order (C2).

    Args:
        *calls: callables without arguments: ``activity.bind(...)`` or a ``lambda``.

    Raises:
        TypeError: something else was given; it shows the wrong and the right line.
        Whatever the first failing call raises; the others go on and their results are kept.

    Example:
        >>> a, b = rn.gather(reserve.bind("left"), reserve.bind("right"))  # doctest: +SKIP
    """
    for position, call in enumerate(calls):
        if asyncio.iscoroutine(call):
            call.close()
            raise TypeError(
                f"rn.gather is for `def` workflows (argument {position} is a coroutine). Use asyncio.gather here."
            )
        if not callable(call):
            raise TypeError(
                f"rn.gather takes calls that have not been made, but argument {position} is a {type(call).__name__}: that call "
                "has already run. Instead of rn.gather(reserve('a'), …) write rn.gather(reserve.bind('a'), …)."
            )
    found = ambient()
    if found is None:
        return tuple(call() for call in calls)
    if not found.is_sync():
        raise WrongPlace("rn.gather is for `def` workflows. In an `async def` workflow use asyncio.gather(...).")
    return tuple(found.gather(list(calls)))
