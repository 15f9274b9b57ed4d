"""marimo: a call's timeline is its cell's output, and an instance that is shown by itself lives there (N8).

While a cell is busy, marimo hears nothing from the page, so the timeline of a call is static HTML that is drawn again as the run
goes on. An instance that is displayed after its cell is the hub's widget, with the static form inside, which an export keeps.

marimo knows in which cell something is written by the thread that writes. So what comes from threads of ours goes through a
*pen*: a thread of marimo's own kind, begun in the cell.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from romancy_nb import settings
from romancy_nb.notebook import live_timeline
from romancy_nb.runtime.observers import Console
from romancy_nb.widgets import fallback, hub
from romancy_nb.widgets.snapshot import anchor_of
from romancy_nb.widgets.timeline import Timeline

if TYPE_CHECKING:
    from romancy_nb.runtime.instance import Instance
    from romancy_nb.widgets.snapshot import Snapshot

__all__ = ["MarimoCell", "display", "running"]

log = logging.getLogger("romancy_nb")

_OVER = frozenset({"completed", "failed", "cancelled", "compensated", "compensation_failed"})


def running() -> bool:
    """Is this code of a marimo notebook that a page shows, or that is being exported?"""
    marimo = sys.modules.get("marimo")
    with suppress(Exception):  # half imported, or a version without it
        return marimo is not None and bool(marimo.running_in_notebook())
    return False


class _Pen:
    """Writes for others in the context of the cell that made it."""

    def __init__(self) -> None:
        import marimo

        self._works: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = marimo.Thread(target=self._loop, name="romancy pen", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], None]) -> None:
        """Have *work* done, after all that was given before."""
        self._works.put(work)

    def finish(self) -> None:
        """Wait until all is written; nothing is, afterwards."""
        self._works.put(None)
        self._thread.join(5)

    def soon(self, work: Callable[[], None]) -> None:
        """Do what may take long, on a thread that need not write."""
        threading.Thread(target=work, name="romancy page", daemon=True).start()

    in_order = do

    def _loop(self) -> None:
        while not self._thread.should_exit:  # its cell is run again
            try:
                work = self._works.get(timeout=1)
            except Empty:
                continue
            if work is None:
                return
            with suppress(Exception):  # what cannot be drawn now is drawn the next time
                work()


class _Piece:
    """One place in a cell's output."""

    def __init__(self) -> None:
        self._order = threading.Lock()
        self._place = _length()
        self._over = False
        self._pen = _Pen()

    def draw(self, view: Snapshot) -> None:
        """Draw the run as it is. Called on the publisher's thread."""
        with self._order:
            if not self._over:
                self._pen.do(partial(self._write, fallback.html(view, pictures=False)))

    def end(self, timeline: Timeline) -> None:
        """Leave what history says."""
        with self._order:
            self._over = True
        self._pen.finish()
        self._write(fallback.html(timeline.view.saved(), pictures=False))

    def _write(self, html: str) -> None:
        import marimo

        marimo.output.replace_at_index(marimo.Html(html), self._place)


def _length() -> int:
    """How many pieces the cell's output has: what else the cell has put there stays."""
    from marimo._runtime.context import get_context

    context = get_context().execution_context
    return len(context.output) if context is not None else 0


class MarimoCell(Console):
    """A call in a cell of marimo."""

    def __init__(self) -> None:
        super().__init__()
        self._piece: _Piece | None = None

    @property
    def attached(self) -> bool:
        return True

    def shows(self, instance: Instance[Any]) -> None:
        try:
            if settings.get("show"):
                self._piece = _Piece()
                live_timeline.provider.follow(self._piece, instance.id, instance.run)
        except Exception as problem:  # the timeline is never worth the result
            log.info("the timeline of %s cannot be shown: %s", instance.id, problem)

    def ended(self, instance: Instance[Any], error: BaseException | None) -> None:
        super().ended(instance, error)
        piece, self._piece = self._piece, None
        if piece is None:
            return
        try:
            live_timeline.provider.leave(piece)
            piece.end(instance.timeline())
        except Exception as problem:
            log.info("the timeline of %s cannot be shown: %s", instance.id, problem)


def display(instance: Instance[Any]) -> Any:
    """Return what marimo displays of *instance*: what lives while its run may go on, else the static timeline."""
    timeline: Timeline = instance.timeline()
    if timeline.view.status in _OVER or not running():
        return timeline
    with suppress(Exception):  # without anywidget, or with a marimo that has other threads: static
        pen = _Pen()
        hub.serve("timeline", live_timeline.provider)
        anchor = anchor_of(instance.id, timeline.view.number)
        widget = hub.view(anchor, pen, still=fallback.html(timeline.view))
        if widget is not None:
            _through(pen, widget)
            return widget
    return timeline


def _through(pen: _Pen, widget: Any) -> None:
    """Have what the widget sends written by *pen*, whoever sends it."""
    send = widget.send
    widget.send = lambda message: pen.do(partial(send, message))
