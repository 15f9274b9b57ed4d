"""The timeline in the output of a cell: there as soon as the run is known, alive while it goes on, then what history says.

It stands directly below the line that says what the call does, above what the workflow prints: there it is seen however much comes
below it, and nothing that is printed moves it. While a page looks, the page draws the living one inside of it; what the file holds
is static at every moment (N7).
"""

from __future__ import annotations

import threading
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from romancy_nb import settings
from romancy_nb.notebook import identity, pages
from romancy_nb.notebook.outlet import CellOutlet
from romancy_nb.widgets import fallback
from romancy_nb.widgets.snapshot import anchor_of

if TYPE_CHECKING:
    from romancy_nb.runtime.instance import Instance
    from romancy_nb.widgets.snapshot import Snapshot
    from romancy_nb.widgets.timeline import Timeline

__all__ = ["ShownRun", "show", "show_by_itself", "timeline_of"]


class ShownRun:
    """The timeline of one run, in one cell."""

    def __init__(
        self,
        instance: Instance[Any],
        number: int,
        outlet: CellOutlet,
        bundle: dict[str, Any],
        *,
        pictures: bool = False,
    ) -> None:
        self.instance, self.number = instance, number
        self._outlet = outlet
        self._order = threading.Lock()
        self._over = False
        self._last = bundle
        self._pictures = pictures
        self._looked_at = outlet.within(pages.look)
        # where nothing without a view arrives (VS Code, Colab), it has one until its last update
        view: tuple[dict[str, Any], Any] = ({}, None)
        if self._looked_at:
            view = outlet.within(lambda: pages.view_of(anchor_of(instance.id, number)))
        self._view, self._widget = view
        bundle = {**self._view, **bundle}
        self._display = outlet.place(bundle, {})
        if self._looked_at:
            from romancy_nb.notebook import live_timeline

            live_timeline.provider.follow(self, instance.id, number)

    def draw(self, view: Snapshot) -> None:
        """Draw it as the run is just now. Called on the publisher's thread."""
        with self._order:
            if not self._over:
                self._replace(fallback.mimebundle(view, live=view.status == "running", pictures=self._pictures))

    def end(self, timeline: Timeline) -> None:
        """Leave what history says; nothing changes it any more.

        Where a page may look it shows that already, and the cell does not wait until the static form is drawn.
        """
        with self._order:
            self._over = True
        if self._looked_at and pages.open_now():
            from romancy_nb.notebook import live_timeline

            live_timeline.provider.leave(self, partial(self._settle, timeline.view))
        else:
            self._settle(timeline.view)

    def _settle(self, view: Snapshot) -> None:
        """Draw it for the last time."""
        with self._order:
            self._view = {}
            self._replace(fallback.mimebundle(view, pictures=self._pictures))
        if self._widget is not None:
            self._widget.close()

    def update(self, timeline: Timeline) -> None:
        """Draw it now; it goes on being followed."""
        with self._order:
            if not self._over:
                self._replace(fallback.mimebundle(timeline.view, pictures=self._pictures))

    def _replace(self, bundle: dict[str, Any]) -> None:
        bundle = {**self._view, **bundle}
        if bundle != self._last:
            self._last = bundle
            self._outlet.replace(self._display, bundle, {})


def show_by_itself(instance: Instance[Any]) -> bool:
    """Show the timeline of an instance that a cell displays, and follow it; False where nobody looks."""
    if identity.cell_id() is None or getattr(identity.shell(), "kernel", None) is None:
        return False
    timeline = timeline_of(instance, for_page=pages.look())
    ShownRun(instance, timeline.view.number, CellOutlet(), fallback.mimebundle(timeline.view), pictures=True)
    return True


def timeline_of(instance: Instance[Any], *, for_page: bool = False) -> Timeline:
    """Return the timeline of *instance* as it is now; what is followed is not read again, nor what is read *for_page* by a page."""
    if not pages.open_now() or settings.get("embed") == "full":
        found: Timeline = instance.timeline()
        return found
    from romancy_nb.notebook import live_timeline

    return live_timeline.provider.timeline(instance, offer=for_page)


def show(instance: Instance[Any], outlet: CellOutlet) -> ShownRun:
    """Show the run of *instance* that a cell has just begun or found, without asking the journal."""
    live = instance._engine.newest.get(instance.id)
    number = live.number if live is not None else instance.run
    said = f"{instance.workflow_name}: the run has begun"
    html = (
        f'<div data-romancy-live="{escape(anchor_of(instance.id, number))}" '
        f'style="font-size:13px;opacity:0.75">{escape(said)}</div>'
    )
    return ShownRun(instance, number, outlet, {"text/plain": said, "text/html": html})
