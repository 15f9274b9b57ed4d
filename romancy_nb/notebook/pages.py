"""The pages that look at this kernel: the hub is opened when something is first displayed to a person (N7).

Where nobody looks (a notebook that is executed without a frontend) there is no hub, and nothing is sent to anybody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

from romancy_nb.notebook import frontends, identity
from romancy_nb.widgets import hub

__all__ = ["close", "look", "open_now", "view_of"]


class _Threads:
    """Where a page's messages are handled, whatever a cell does meanwhile."""

    def __init__(self) -> None:
        self._works: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def soon(self, work: Callable[[], None]) -> None:
        threading.Thread(target=copy_context().run, args=(work,), name="romancy page", daemon=True).start()

    def in_order(self, work: Callable[[], None]) -> None:
        self._works.put(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="romancy pages", daemon=True)
            self._thread.start()

    def _loop(self) -> None:
        while True:
            work = self._works.get()
            with suppress(Exception):  # what a page cannot be told it asks for again
                work()


_threads = _Threads()


def look() -> bool:
    """Open the hub, if a page may look; called in a cell that displays something. Cheap when it is open.

    Returns:
        May what is displayed come to life?
    """
    if hub.connected():
        return True
    if identity.cell_id() is None and not frontends.needs_view():
        return False
    with suppress(Exception):  # a frontend without comms is shown what is static
        from romancy_nb.notebook import comparing, live_instances, live_timeline

        hub.serve("timeline", live_timeline.provider)
        hub.serve("instances", live_instances.provider)
        hub.serve("compare", comparing.provider)
        return hub.connect(_threads)
    return False


def view_of(anchor: str) -> tuple[dict[str, Any], Any]:
    """Return what a display of *anchor* carries beside its static forms, and its widget; empty where the hub does without."""
    return frontends.view_of(anchor, _threads) if frontends.needs_view() else ({}, None)


def open_now() -> bool:
    """Is the hub open?"""
    return hub.connected()


def close() -> None:
    """The extension is taken out: pages show what is static."""
    with suppress(Exception):
        hub.disconnect()
