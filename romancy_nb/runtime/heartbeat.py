"""Keep an idle event loop waking ten times a second while somebody awaits a run on it.

An asyncio loop that waits for nothing but its selector sees Stop only when it next wakes, which can take minutes
(measured on ipykernel 6 and 7). One timer a loop serves however many awaits there are.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["heartbeat"]

BEAT = 0.1
_waiting: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, int] = weakref.WeakKeyDictionary()


@contextmanager
def heartbeat() -> Iterator[None]:
    """Within this the running loop wakes every 0.1 s."""
    loop = asyncio.get_running_loop()
    _waiting[loop] = _waiting.get(loop, 0) + 1
    if _waiting[loop] == 1:
        loop.call_later(BEAT, _beat, loop)
    try:
        yield
    finally:
        _waiting[loop] -= 1


def _beat(loop: asyncio.AbstractEventLoop) -> None:
    if _waiting.get(loop):
        loop.call_later(BEAT, _beat, loop)
    else:
        _waiting.pop(loop, None)
