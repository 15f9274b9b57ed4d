"""A comparison in a notebook: where a page looks it comes to life, like a timeline (N7), and follows the runs that go on."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from romancy_nb.clock import monotonic
from romancy_nb.notebook import live_timeline
from romancy_nb.widgets import compare as of_widgets

if TYPE_CHECKING:
    from romancy_nb.widgets.hub import Send

__all__ = ["Living", "compare", "provider"]

log = logging.getLogger("romancy_nb")


def _engine() -> Any:
    from romancy_nb.runtime import launch

    return launch.looked_at()


class Living(of_widgets.Provider):
    """Tells pages again what they show when one of the two runs has changed.

    Who follows timelines says when that is, as often as it tells pages of them. A comparison is made of two whole histories, so it
    takes its time: on a thread of its own, which is there while something changes, and works a small part of the time.
    """

    def __init__(self, publisher: live_timeline.Publisher) -> None:
        super().__init__(_engine)
        self._publisher = publisher
        self._changed: dict[str, Send] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def open(self, anchor: str, send: Send) -> bool:
        if not super().open(anchor, send):
            return False

        def changed(message: dict[str, Any]) -> None:
            if message["kind"] == "closed":
                send(message)
            else:
                self._change(anchor, send)

        found = self._shown[anchor]
        for view in (found.here, found.there):
            if view.finished is None:
                self._publisher.watch(anchor, view.instance, view.number, changed)
        return True

    def close(self, anchor: str) -> None:
        super().close(anchor)
        self._publisher.close(anchor)

    def here(self, anchor: str) -> None:
        """A page still looks at *anchor*."""
        self._publisher.here(anchor)

    def _change(self, anchor: str, send: Send) -> None:
        with self._lock:
            self._changed[anchor] = send
            if self._thread is None:
                self._thread = threading.Thread(target=self._main, name="romancy comparisons", daemon=True)
                self._thread.start()

    def _main(self) -> None:
        pause = threading.Event()
        while True:
            with self._lock:
                changed, self._changed = self._changed, {}
                if not changed:
                    self._thread = None
                    return
            begun = monotonic()
            for anchor, send in changed.items():
                self._tell_again(anchor, send)
            pause.wait(max(live_timeline.PACE, live_timeline.SHARE * (monotonic() - begun)))

    def _tell_again(self, anchor: str, send: Send) -> None:
        runs = of_widgets.find(anchor)
        if runs is None or anchor not in self._shown:
            return
        try:
            self.tell(anchor, runs, send)
        except Exception as problem:  # the journal may be held or let go of just now
            log.debug("%s is not shown anew: %s", anchor, problem)
            with self._lock:
                self._changed.setdefault(anchor, send)


provider = Living(live_timeline.provider)
"""Answers the pages of this kernel that show a comparison."""


class _Shown(of_widgets.Comparison):
    """A comparison that tells the pages of this kernel when it is displayed."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from romancy_nb.notebook import pages

        pages.look()
        return super()._repr_mimebundle_(include, exclude)


def compare(one: Any, other: Any = None) -> of_widgets.Comparison:
    """Compare two instances, or two runs of one. See ``Instance.diff``."""
    return _Shown.of(one, other)
