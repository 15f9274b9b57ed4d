"""What a call shows in the notebook: the line that says what happened, and the timeline (N8)."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from romancy_nb import settings
from romancy_nb.notebook import heads, identity
from romancy_nb.notebook.outlet import CellOutlet, TerminalOutlet, settle_all
from romancy_nb.runtime import streams
from romancy_nb.runtime.instance import Instance
from romancy_nb.runtime.observers import Console, Observer, Outlet

__all__ = ["Card", "greet", "observer", "unload"]

log = logging.getLogger("romancy_nb")


class Card:
    """A notebook cell: a line first, the timeline at the end."""

    attached = True

    def __init__(self) -> None:
        self._outlet: CellOutlet | None = None

    def found(self, instance: Instance[Any], action: str, line: str) -> None:
        self.notice(line)

    def ended(self, instance: Instance[Any], error: BaseException | None) -> None:
        from IPython.display import display

        try:
            timeline = instance.timeline()
            self._settle(timeline)
            if settings.get("show"):
                display(timeline.below_its_output(), raw=True)  # type: ignore[no-untyped-call]
        except Exception as problem:
            # the timeline is never worth the result
            self.notice(f"(The timeline cannot be shown: {problem})")

    def left(self, instance: Instance[Any]) -> None:
        """The engine's thread may not wait for itself: history is asked on another one."""

        def work() -> None:
            try:
                self._settle(instance.timeline())
            except Exception as problem:
                log.debug("the head of %s stays as it is: %s", instance.id, problem)

        threading.Thread(target=work, name="romancy head", daemon=True).start()

    def notice(self, line: str) -> None:
        self.cell().say(line)

    def provenance(self) -> tuple[str | None, str | None]:
        return identity.notebook_path(), identity.cell_id()

    def folder(self) -> Path | None:
        return identity.folder()

    def output(self) -> Outlet | None:
        """Threads and loops of ours print into the calling cell, not into the one that runs by then (N4)."""
        return self.cell()

    def cell(self) -> CellOutlet:
        """Return the output of the cell for which this card is."""
        if self._outlet is None:
            _catch_displays()
            self._outlet = CellOutlet()
        return self._outlet

    def _settle(self, timeline: Any) -> None:
        line = heads.standing(timeline.view)
        if line and self._outlet is not None:
            self._outlet.settle(line)


class Terminal(Card):
    """IPython in a terminal: the same as text."""

    def ended(self, instance: Instance[Any], error: BaseException | None) -> None:
        if settings.get("show"):
            print(instance.timeline())

    def left(self, instance: Instance[Any]) -> None:
        pass

    def notice(self, line: str) -> None:
        print(line)

    def output(self) -> Outlet | None:
        _catch_displays()
        return TerminalOutlet()


def _catch_displays() -> None:
    """Whatever is displayed in an activity belongs to its step, and heads are settled when the next cell runs."""
    shell = identity.shell()
    streams.install()
    streams.attach_publisher(getattr(shell, "display_pub", None))
    if settle_all not in shell.events.callbacks["pre_run_cell"]:
        shell.events.register("pre_run_cell", settle_all)


def greet(text: str, lasting: str) -> None:
    """Show *text*; once the next cell is run, and in the file, *lasting* stands in its place (N7)."""
    told = observer()
    if isinstance(told, Terminal) or not isinstance(told, Card):
        print(text)
        return
    told.cell().say(text)
    told.cell().settle(lasting, later=True)


def unload() -> None:
    """Leave the shell, its streams and its publisher as they were."""
    settle_all()
    streams.detach()
    shell = identity.shell()
    if shell is not None and settle_all in shell.events.callbacks["pre_run_cell"]:
        shell.events.unregister("pre_run_cell", settle_all)


def observer() -> Observer:
    """Return who shows a call that is made here."""
    running = identity.shell()
    if running is None:
        return Console()
    return Card() if getattr(running, "kernel", None) is not None else Terminal()
