"""What a call shows in the notebook: the line that says what happened, and the timeline (N8)."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from romancy_nb import settings
from romancy_nb.notebook import attending, heads, held, identity, in_marimo, pages, shown
from romancy_nb.notebook.asked import how_to_answer, show_questions
from romancy_nb.notebook.in_marimo import MarimoCell
from romancy_nb.notebook.outlet import CellOutlet, TerminalOutlet, settle_all
from romancy_nb.notebook.shown import ShownRun
from romancy_nb.runtime import streams
from romancy_nb.runtime.inbox import Resting
from romancy_nb.runtime.instance import Instance
from romancy_nb.runtime.observers import Console, Observer, Outlet, redraw

__all__ = ["Card", "display", "greet", "observer", "unload"]

log = logging.getLogger("romancy_nb")

_PATIENCE = 5.0  # seconds that a cell waits for the last line of a run that it has waited for


class Card:
    """A notebook cell: a line first, the timeline at the end."""

    attached = True

    def __init__(self) -> None:
        self._outlet: CellOutlet | None = None
        self._drawn = 0  # columns of the line of progress, in a terminal
        self._over = False
        self._resting: Resting | None = None
        self._shown: ShownRun | None = None

    def found(self, instance: Instance[Any], action: str, line: str) -> None:
        self.notice(line)
        attending.watch(instance, self.cell())
        if self.cell().headless:
            events = identity.shell().events
            if _see_them_through not in events.callbacks["post_execute"]:
                events.register("post_execute", _see_them_through)

    def shows(self, instance: Instance[Any]) -> None:
        try:
            if settings.get("show"):
                self._shown = shown.show(instance, self.cell())
        except Exception as problem:
            # the timeline is never worth the result
            self.notice(f"(The timeline cannot be shown: {problem})")

    def ended(self, instance: Instance[Any], error: BaseException | None) -> None:
        attending.leave(self.cell())
        try:
            timeline = shown.timeline_of(instance)
            self._settle(timeline)
            if self._shown is not None:
                self._shown.end(timeline)
        except Exception as problem:
            self.notice(f"(The timeline cannot be shown: {problem})")

    def waits(self, instance: Instance[Any], resting: Resting) -> bool:
        """Show what it waits for, and free the kernel: the answer may come from a form below the cell."""
        attending.leave(self.cell())
        if self._shown is not None:
            with suppress(Exception):
                self._shown.update(shown.timeline_of(instance))
        if resting != self._resting:  # else something had come just then, and it waits for the same as before
            show_questions(self.cell(), resting)
        self._resting = resting
        return True

    def left(self, instance: Instance[Any]) -> None:
        """The engine's thread may not wait for itself: history is asked on another one."""
        with suppress(Exception):
            self.cell().release()  # before whoever waits for the run in the cell shows its result

        def work() -> None:
            try:
                timeline = shown.timeline_of(instance)
                if self._shown is not None:
                    self._shown.end(timeline)
                if self._resting is None:
                    self._settle(timeline)
                elif line := heads.gone_on(timeline.view):
                    self.cell().settle(line)
                    self.cell().settle_now()
            except Exception as problem:
                log.debug("the head of %s stays as it is: %s", instance.id, problem)

        thread = threading.Thread(target=work, name="romancy head", daemon=True)
        if self.cell().headless:
            _leaving.append(thread)
        thread.start()

    def notice(self, line: str) -> None:
        self.cell().say(line)

    @property
    def frees_kernel(self) -> bool:
        return True

    def progress(self, line: str) -> None:
        if not self._over:
            self.cell().progress(line)

    def batch_ended(self, line: str) -> None:
        self._over = True
        self.cell().progress("")
        if line:
            self.cell().settle_with(line)

    def provenance(self) -> tuple[str | None, str | None]:
        return identity.notebook_path(), identity.cell_id()

    def folder(self) -> Path | None:
        return identity.folder()

    def output(self) -> Outlet | None:
        """Threads and loops of ours print into the calling cell, not into the one that runs by then (N4)."""
        attending.keep_alive()
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


_leaving: list[threading.Thread] = []
"""Those that write the last line of runs that have ended, where what is written after the cell is not in its file."""


def _see_them_through() -> None:
    """Called when a cell has run: what runs have come to that it waited for is in its output before it ends."""
    while _leaving:
        _leaving.pop().join(_PATIENCE)


class Terminal(Card):
    """IPython in a terminal: the same as text."""

    def found(self, instance: Instance[Any], action: str, line: str) -> None:
        self.notice(line)

    def shows(self, instance: Instance[Any]) -> None:
        pass

    def waits(self, instance: Instance[Any], resting: Resting) -> bool:
        for line in how_to_answer(resting):
            self.notice(line)
        return True

    def ended(self, instance: Instance[Any], error: BaseException | None) -> None:
        self.batch_ended("")
        if settings.get("show"):
            print(instance.timeline())

    def left(self, instance: Instance[Any]) -> None:
        pass

    def notice(self, line: str) -> None:
        print(line)

    def progress(self, line: str) -> None:
        if self._over:
            return
        self._drawn = redraw(sys.stdout, line, self._drawn)

    def batch_ended(self, line: str) -> None:
        self._over = True
        if self._drawn:
            self._drawn = redraw(sys.stdout, "", self._drawn) and 0
        if line:
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
    attending.stop()
    pages.close()
    held.end()
    streams.detach()
    shell = identity.shell()
    for event, callback in (("pre_run_cell", settle_all), ("post_execute", _see_them_through)):
        if shell is not None and callback in shell.events.callbacks[event]:
            shell.events.unregister(event, callback)


def display(instance: Instance[Any]) -> bool:
    """Show an instance that is a cell's value; False where it is to be shown like any other value."""
    return shown.show_by_itself(instance)


def observer() -> Observer:
    """Return who shows a call that is made here."""
    running = identity.shell()
    if running is None:
        return MarimoCell() if in_marimo.running() else Console()
    return Card() if getattr(running, "kernel", None) is not None else Terminal()
