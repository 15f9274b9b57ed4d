"""The output of one cell, for what comes from other threads and after the cell has ended (N4, N7).

ipykernel adds a message to the cell that is named in a context variable of the stream or the publisher, and on its other
threads to whichever cell runs just then. So everything here is written in a context of its own, in which these variables
name the cell that made the call.

A call's output begins with a *head*: one display with an id. While the call is on, it says what the call does and shows
what its steps put out that stands nowhere else yet; a thread of its own updates it five times a second at the most. In the
end it says what history says, so that the file is the same however often the cell is run.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from secrets import token_hex
from typing import Any, Final, Protocol

from romancy_nb.clock import monotonic
from romancy_nb.notebook import heads, held, identity
from romancy_nb.runtime import streams
from romancy_nb.runtime.capture import Capture
from romancy_nb.runtime.observers import Outlet

__all__ = ["CellOutlet", "Settles", "TerminalOutlet", "settle_all", "settle_later"]

PACE: Final = 0.2
"""Seconds between two updates of a head."""
READ: Final = 20.0
"""Seconds for a person to read what a call did, before its head says what history says."""

_dirty: SimpleQueue[CellOutlet] = SimpleQueue()
_publishers: list[threading.Thread] = []
_unsettled: dict[Settles, float] = {}
"""What is over, with the time at which it was."""
_timers: list[threading.Timer] = []


class Settles(Protocol):
    """Something in a cell's output that is live for a while, and in the end what history says."""

    def settle_now(self) -> None:
        """Let it say what history says."""


class CellOutlet:
    """The output of the cell that runs when this is made."""

    through = False

    def __init__(self) -> None:
        self._streams: dict[str, Any] = {"stdout": sys.stdout, "stderr": sys.stderr}
        self._publisher: Any = getattr(identity.shell(), "display_pub", None)
        # not what IPython puts there for the time of a cell
        self._write = {name: partial(type(stream).write, stream) for name, stream in self._streams.items()}
        self._cells: list[tuple[ContextVar[Any], Any]] = []
        for place in (*self._streams.values(), self._publisher):
            variable = getattr(place, "_parent_header", None)
            if isinstance(variable, ContextVar):
                self._cells.append((variable, place.parent_header))
        # up to ipykernel 6 the publisher has one cell for all threads, and hooks that are a thread's own
        hooked = hasattr(self._publisher, "register_hook") and hasattr(self._publisher, "parent_header")
        known = isinstance(getattr(self._publisher, "_parent_header", None), ContextVar)
        self._header: Any = getattr(self._publisher, "parent_header", None) if hooked and not known else None
        self._order = threading.RLock()
        self._last = ""
        self.cell = identity.cell_id()
        self._context = copy_context()
        self._head = ""
        self._lines: list[str] = []
        self._progress = ""
        self._passing = ""
        self._shown: heads.Bundle = ({"text/plain": ""}, {})
        self._finally = ""
        self._captures: dict[Capture, None] = {}
        self._waits = False
        self._held: held.Held | None = None
        self._tells_held = False  # the head shows what is held back
        if held.nobody_reads():
            self._held = held.Held(self._send, self._ordered)
            held.begin(self._held)

    # -- what the runtime asks for ----------------------------------------------------------

    def enter(self) -> None:
        for variable, cell in self._cells:
            variable.set(cell)

    def show(self, outputs: list[dict[str, Any]]) -> None:
        _show(self, outputs)

    def prints(self, name: str, text: str) -> None:
        """Write to a stream; what the other one holds back goes first, so that their order in the file is no accident."""
        with self._order:
            if self._held is not None and not self._held.over:
                self._held.add(name, text)
                self._update_soon()
                return
            if self._last and self._last != name:
                self._in_cell(self._streams[self._last].flush)
            self._last = name
            self._in_cell(self._write[name], text)

    def _send(self, name: str, text: str) -> None:
        """Make one message of *text*, whatever stands in the streams' buffers."""
        if self._tells_held:
            self._tells_held = False
            self._update([])
            self._update_soon()
        for stream in self._streams.values():
            self._in_cell(stream.flush)
        self._in_cell(self._write[name], text)
        self._in_cell(self._streams[name].flush)

    def _ordered(self, work: Callable[[], None]) -> None:
        with self._order:
            work()

    def displays(self, *args: Any, **options: Any) -> None:
        with self._order:
            self.release()
            self._display(*args, **options)

    def _display(self, *args: Any, **options: Any) -> None:
        if self._header is None:
            self._in_cell(self._publisher.publish, *args, **options)
            return
        self._publisher.register_hook(self._redirected)
        try:
            self._in_cell(self._publisher.publish, *args, **options)
        finally:
            self._publisher.unregister_hook(self._redirected)

    def _redirected(self, message: dict[str, Any]) -> dict[str, Any]:
        message["parent_header"] = self._header
        return message

    def touched(self, capture: Capture) -> None:
        self._captures[capture] = None
        self._update_soon()

    def left(self, capture: Capture) -> None:
        if capture in self._captures:
            self._captures.pop(capture, None)
            self._update_soon()

    def _in_cell(self, function: Callable[..., Any], *args: Any, anywhere: bool = False, **options: Any) -> None:
        """Call *function* for this cell, or, where its place is given by a display's id, from any."""

        def work() -> None:
            if not anywhere:
                self.enter()
            streams.THROUGH.set(True)
            function(*args, **options)

        with self._order:
            Context().run(work)

    # -- displays of their own, to be found again ------------------------------------------

    def place(self, data: dict[str, Any], metadata: dict[str, Any]) -> str:
        """Display something in this cell, and return the id by which it is replaced."""
        display = f"romancy-{token_hex(8)}"
        self.displays(data, metadata, transient={"display_id": display})
        return display

    def replace(self, display: str, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Display something else in the place of what has this id, from whatever thread and at whatever time."""
        transient = {"display_id": display}
        self._in_cell(self._publisher.publish, data, metadata, anywhere=True, transient=transient, update=True)

    def within(self, function: Callable[[], Any]) -> Any:
        """Call *function* as in the thread and at the time of this cell, for what ipykernel finds through context variables."""
        return self._context.copy().run(function)

    # -- the head ----------------------------------------------------------

    def say(self, line: str) -> None:
        """Show *line* in the head; the first makes the head."""
        self._lines.append(line)
        if self._head:
            self._update(self._unseen())
        else:
            self._head = f"romancy-{token_hex(8)}"
            self._publish(heads.said(self._lines), update=False)

    def progress(self, line: str) -> None:
        """Show *line*, below the others, in the place of the one before; the display's thread draws it."""
        self._progress = line
        if line and not self._head:
            self.say(line)
            self._lines.clear()  # it is the progress that made the head
        else:
            self._update_soon()

    def settle_with(self, line: str) -> None:
        """Let the head say *line*, in the end for good; made now where there is none."""
        if not self._head:
            self.say(line)
        self.settle(line)

    def passing(self, line: str) -> None:
        """Show *line* below the others, in the place of the last one that was shown so; nothing takes it away."""
        if line != self._passing:
            self._passing = line
            self._update_soon()

    def alive(self) -> None:
        """Publish once more what is there, so that whoever watches the kernel sees that it is in use."""
        if self._head:
            self._publish(self._shown, update=True)
        else:  # of a display that nobody has: it changes nothing
            data, metadata = self._shown
            transient = {"display_id": "romancy-alive"}
            self._in_cell(self._publisher.publish, data, metadata, anywhere=True, transient=transient, update=True)

    def settle(self, line: str, *, later: bool = False) -> None:
        """From now on the head says *line*, which follows from history.

        A person reads first what the call did: where a frontend is there (it sends the cell's id), the head changes when the
        next cell is run, or after ``READ`` seconds. *later* asks for that everywhere.
        """
        with self._order:  # what the display's thread is just drawing goes first
            self.release()
            self._finally = line
            self._captures.clear()
            if self.headless and not later:
                self.settle_now()
            else:
                self._update([])
                settle_later(self)

    def release(self) -> None:
        """Send what is held back: nothing more comes, and what the cell shows next stands below it."""
        with self._order:
            if self._held is not None:
                self._held.release()

    @property
    def headless(self) -> bool:
        """Does nobody read along, so that the output has to be at once as the file is to have it?"""
        return self.cell is None

    def settle_now(self) -> None:
        """Let the head say what history says."""
        if self._head:
            self._publish(heads.settled(self._finally), update=True)

    def refresh(self) -> None:
        """Draw the head again, unless the call is over."""
        self._waits = False
        unseen = self._unseen()
        with self._order:
            if not self._finally:
                if self._held is not None and (text := self._held.text[-heads.TEXT :]):
                    unseen.insert(0, ("so far", [{"output_type": "stream", "text": text}]))
                    self._tells_held = True
                self._update(unseen)

    def _unseen(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """What running steps hold. Never asked with the order held: an attempt that writes takes both the other way round."""
        return [(capture.name, held) for capture in list(self._captures) if (held := capture.unseen())]

    def _update(self, unseen: list[tuple[str, list[dict[str, Any]]]]) -> None:
        if self._head:
            lines = [*self._lines, *(each for each in (self._progress, self._passing) if each)]
            self._publish(heads.said(lines, unseen), update=True)

    def _publish(self, bundle: tuple[dict[str, str], dict[str, str]], *, update: bool) -> None:
        data, metadata = self._shown = bundle
        if not update:
            with self._order:  # what a run in the background has printed by now is held back, and stands below
                self._display(data, metadata, transient={"display_id": self._head})
        else:  # it is found by the id, and nbclient listens only to messages for the cell that runs just then
            self.replace(self._head, data, metadata)

    def _update_soon(self) -> None:
        if not self._waits and self._head and not self._finally:
            self._waits = True
            if not _publishers:
                _publishers.append(threading.Thread(target=_update_heads, name="romancy display", daemon=True))
                _publishers[0].start()
            _dirty.put(self)


class TerminalOutlet:
    """IPython in a terminal: prints are there at once, wherever they come from; what the journal holds is printed again."""

    through = True

    def __init__(self) -> None:
        self._publisher: Any = getattr(identity.shell(), "display_pub", None)

    def enter(self) -> None:
        pass

    def show(self, outputs: list[dict[str, Any]]) -> None:
        _show(self, outputs)

    def prints(self, name: str, text: str) -> None:
        stream: Any = getattr(sys, name)
        type(stream).write(stream, text)

    def displays(self, *args: Any, **options: Any) -> None:
        def work() -> None:
            streams.THROUGH.set(True)
            self._publisher.publish(*args, **options)

        Context().run(work)

    def touched(self, capture: Capture) -> None:
        pass

    def left(self, capture: Capture) -> None:
        pass


def _show(outlet: Outlet, outputs: list[dict[str, Any]]) -> None:
    for output in outputs:
        kind = output["output_type"]
        if kind == "stream":
            outlet.prints(output["name"], output["text"])
        else:
            transient, update = output.get("transient") or {}, kind == "update_display_data"
            outlet.displays(output["data"], output.get("metadata") or {}, transient=transient, update=update)


def _update_heads() -> None:
    """Update the heads of which something changed, a moment after it did."""
    pause: SimpleQueue[None] = SimpleQueue()
    while True:
        changed = [_dirty.get()]
        with suppress(Empty):
            pause.get(timeout=PACE)
        while not _dirty.empty():
            changed.append(_dirty.get())
        for outlet in changed:
            with suppress(Exception):  # a head that cannot be drawn is not worth a word: what it shows comes anyway
                outlet.refresh()


def settle_later(thing: Settles) -> None:
    """Have *thing* settled when the next cell is run, or after ``READ`` seconds."""
    _unsettled[thing] = monotonic()
    _settle_soon(READ)


def _settle_soon(after: float) -> None:
    if not _timers:
        _timers.append(threading.Timer(after, _settle_what_was_read))
        _timers[0].daemon = True
        _timers[0].start()


def _settle_what_was_read() -> None:
    _timers.clear()
    for thing, since in sorted(_unsettled.items(), key=lambda item: item[1]):
        left = since + READ - monotonic()
        if left > 0:
            _settle_soon(left)
            return
        _unsettled.pop(thing, None)
        with suppress(Exception):
            thing.settle_now()


def settle_all(*_: Any) -> None:
    """Let everything that is over say what history says. Called when a cell is about to run."""
    while _timers:
        _timers.pop().cancel()
    for thing in list(_unsettled):
        _unsettled.pop(thing, None)
        thing.settle_now()
