"""A run that pages and cells follow: what they are told of it, and when it is looked at again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from romancy_nb.clock import monotonic, now_us
from romancy_nb.notebook.shared_reading import SharedReading
from romancy_nb.runtime import launch, looking

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine
    from romancy_nb.runtime.reported import Report
    from romancy_nb.runtime.taps import Told
    from romancy_nb.widgets.hub import Send
    from romancy_nb.widgets.snapshot import Snapshot

__all__ = ["FORGOTTEN", "LOOK", "SHARE", "Cell", "Followed"]

LOOK: Final = 1.0
"""Seconds between two looks at a run of another process, and between two drawings where no page looks."""
BRIEFLY: Final = 1.0
"""Seconds that a look waits for a journal that is held elsewhere: all others are not told meanwhile."""
RARELY: Final = 10.0
"""Seconds between two drawings of the static form while a page shows the living one."""
FORGOTTEN: Final = 200.0
"""Seconds after which a page that says nothing of itself has gone."""
SHARE: Final = 20
"""Drawing the static form takes at most one part in so many of the time."""


class Cell(Protocol):
    """A static form in a cell's output, which follows a run."""

    def draw(self, view: Snapshot) -> None:
        """Show this. Called on the publisher's thread."""


@dataclass(eq=False)
class Followed:
    """A run that somebody looks at. It is the publisher's thread's, but for the reading, which cells share.

    Attributes:
        run: key of the run.
        number: of it, from 1.
        pages: by anchor, where to send.
        n: number of the last message.
        seen: when a page last said that it looks.
        cells: static forms that follow it, with the time of their next drawing.
        changed: is there something to tell?
        told: number of the last row that all its pages were told of; others read on in what is shared.
        stale: does the history have to be read again?
        beside: does another run of its instance stand otherwise?
        file: the journal's file as it was when it was looked at; a run that rests may be taken up by another process.
        forgotten: was what it recorded removed, so that pages have to be told all of it again?
        reported: what its steps report in another process, when that was last looked for.
    """

    engine: Engine
    run: int
    instance: str
    number: int
    following: SharedReading
    here: bool
    pages: dict[str, Send] = field(default_factory=dict)
    n: int = 0
    seen: float = field(default_factory=monotonic)
    cells: dict[Cell, float] = field(default_factory=dict)
    changed: bool = True
    undrawn: bool = True
    told: int = 0
    stale: bool = False
    beside: bool = False
    forgotten: bool = False
    reported: dict[str, Report] = field(default_factory=dict)
    file: tuple[int, ...] = ()
    look: float = field(default_factory=lambda: monotonic() + LOOK)
    over: bool = False

    def opened(self, anchor: str, send: Send, told: Told, forgets: int) -> None:
        """A page looks at it: send it the whole, and from now on what changes."""
        self.changed = True
        self.publish(told, forgets)  # what this page is told at once, the others are told as a change
        if not self.pages:
            self._refresh()
        self.pages[anchor], self.seen, self.over = send, monotonic(), False
        self._tell_whole({anchor: send})

    def _tell_whole(self, pages: dict[str, Send]) -> None:
        known = self.following.seq
        view = self.following.whole(now_us())
        if self.following.seq != self.told:  # somebody read on just now
            pages = self.pages
        self.told, self.over = known, not view["live"]
        for anchor, send in list(pages.items()):
            send({"kind": "whole", "anchor": anchor, "what": "timeline", "n": self.n, "view": view})

    def publish(self, told: Told, forgets: int) -> None:
        """Tell pages what has changed, and draw the static forms that are due; *told* and *forgets* are for a reading."""
        now = monotonic()
        if self.stale or self.beside or (self.look <= now and self._may_be_other()):
            self._read(told, forgets)
        known = self.following.seq
        if known != self.told:
            self.changed = self.undrawn = True
        if self.forgotten:
            self.forgotten = False
            self._tell_whole(self.pages)
        elif self.changed and self.pages:
            self._refresh()
            delta = self.following.delta(now_us())
            if delta is not None:
                self.n += 1
                for anchor, send in list(self.pages.items()):
                    send({"kind": "delta", "anchor": anchor, "n": self.n, **delta})
                self.over = not delta["set"].get("live", not self.over)
        self.changed, self.told = False, known
        if self.pages and now - self.seen > FORGOTTEN:
            for anchor, send in self.pages.items():
                send({"kind": "closed", "anchor": anchor})
            self.pages.clear()
        self._draw()

    def failed(self) -> None:
        """It could not be told or drawn just now: that is tried again after a while, and not before."""
        self.stale, self.look = True, monotonic() + LOOK
        self.cells = {cell: max(at, self.look) for cell, at in self.cells.items()}

    def left(self) -> None:
        """The journal was let go of: what went on here has been put down, and what goes on elsewhere is seen no more."""
        if self.here:
            self.here = self.following.alive = False
            self.changed = self.undrawn = self.over = True

    def _draw(self) -> None:
        """Draw the static forms that are due."""
        begun = monotonic()
        due = [cell for cell, at in self.cells.items() if at <= begun]
        if not due or not self.undrawn:
            return
        self._refresh()
        view = self.following.snapshot(now_us())
        for cell in due:
            cell.draw(view)
        took = monotonic() - begun
        following = max(RARELY if self.pages else LOOK, took * SHARE)
        self.cells.update(dict.fromkeys(due, begun + following))
        self.undrawn = view.live
        if view.finished is not None:
            self.cells.clear()

    def _read(self, told: Told, forgets: int) -> None:
        """Look into the journal: it is a run of another process, or rows came from elsewhere."""
        self.look = monotonic() + LOOK
        known, stale = self.following.seq, self.stale
        found = self.engine.ask(
            lambda engine: looking.again(engine, self.instance, self.run, None if stale else known, told),
            timeout=BRIEFLY,
        )
        if self.forgotten:
            self.following = SharedReading(found.rows, found.runs, found.alive, forgets)
        self.stale = self.beside = False
        self.here = found.here
        if (
            self.following.now_runs(found.runs)
            or found.alive != self.following.alive
            or found.progress != self.reported
        ):
            self.changed = self.undrawn = True
        self.reported = found.progress
        self.following.alive = found.alive
        if found.rows:
            self.read_again(found)

    def read_again(self, found: looking.Found) -> None:
        """Take what was found of it."""
        self.following.take(found.rows)
        self.following.now_runs(found.runs)
        self.following.alive, self.here, self.reported = found.alive, found.here, found.progress
        self.changed = self.undrawn = True

    def _may_be_other(self) -> bool:
        """May another process have advanced it? Of one that rests only the file is looked at, and not while it is in use here."""
        if not self.over:
            return not self.here
        self.look = monotonic() + LOOK
        if self.engine is not launch.connected() or self.engine.journal.held:
            return False
        before, self.file = self.file, looking.file_of(self.engine.journal.where)
        if before[2:3] != self.file[2:3]:  # the file was made anew: something was forgotten
            self.stale = self.forgotten = True
        return self.file != before

    def _refresh(self) -> None:
        """What is no history: how far steps and maps are."""
        self.following.progress = self.engine.taps.reports.of(self.run) if self.here else self.reported
        run = self.engine.live.get(self.run)
        self.following.batch = run.batch.as_dict() if run is not None and run.batch is not None else None
