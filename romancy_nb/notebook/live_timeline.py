"""Timelines that live: one thread follows the runs that pages and cells show, and tells them five times a second at the most.

The engine gives it rows as they become durable (``runtime/taps.py``); a run of another process is looked for in the journal once a
second, as long as somebody looks. A cell's static form is drawn again rarely while a page shows the living one, so that a file that
is saved in the middle is true; where no page does, it is what the person sees, and is drawn every second.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from romancy_nb.clock import monotonic, now_us
from romancy_nb.errors import RomancyError
from romancy_nb.notebook import identity, timeline_asks
from romancy_nb.notebook.shared_reading import SharedReading
from romancy_nb.runtime import launch, looking
from romancy_nb.widgets.timeline import Timeline, runs_of

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine
    from romancy_nb.runtime.instance import Instance
    from romancy_nb.runtime.reported import Report
    from romancy_nb.widgets.hub import Send
    from romancy_nb.widgets.snapshot import Snapshot

__all__ = ["Cell", "Publisher", "instance_of", "provider"]

log = logging.getLogger("romancy_nb")

PACE: Final = 0.2
"""Seconds between two updates of what is shown."""
LOOK: Final = 1.0
"""Seconds between two looks at a run of another process, and between two drawings where no page looks."""
RARELY: Final = 10.0
"""Seconds between two drawings of the static form while a page shows the living one."""
FORGOTTEN: Final = 200.0
"""Seconds after which a page that says nothing of itself has gone."""
OFFERED: Final = 20.0
"""Seconds that what was read for a static form is kept for the page that will show it."""
AT_EXIT: Final = 3.0
"""Seconds that a process which ends waits for what is to stay of its cells."""
SENT: Final = 0.1
"""Seconds in which a message is sent."""
_AT_ONCE: Final = frozenset({"open", "leave", "settle"})
"""What is not kept waiting until the next update is due."""
SHARE: Final = 20
"""Drawing the static form takes at most one part in so many of the time."""


def instance_of(anchor: str) -> tuple[str, int | None]:
    """Return the instance and the number of the run that *anchor* names; no number: the newest."""
    named = anchor.removeprefix("timeline:")
    instance, _, number = named.rpartition(":")
    return (instance, int(number)) if instance and number.isdecimal() else (named, None)


class Cell(Protocol):
    """A static form in a cell's output, which follows a run."""

    def draw(self, view: Snapshot) -> None:
        """Show this. Called on the publisher's thread."""


@dataclass(eq=False)
class _Shown:
    """A run that somebody looks at.

    Attributes:
        run: key of the run.
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


class _Offer(NamedTuple):
    """A run that was read for a static form, until *end* (monotonic seconds)."""

    engine: Engine
    following: SharedReading
    end: float


class Publisher:
    """Follows runs. What it knows is its own thread's; others put what they want into its inbox, and find runs that are read."""

    def __init__(self) -> None:
        self._inbox: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._shown: dict[tuple[int, int], _Shown] = {}
        self._offers: dict[tuple[int, int], _Offer] = {}
        self._forgets: dict[int, int] = {}  # by key of the run, how often what it recorded was removed
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._start = threading.Lock()

    # -- on other threads ----------------------------------------------------------

    def tell(self, what: str, content: Any) -> None:
        """Put something into the inbox; at once."""
        if what == "forgotten":  # from here on nobody is shown it, however long the publisher sleeps
            self._forgets[content] = self._forgets.get(content, 0) + 1
        self._inbox.put((what, content))
        if what in _AT_ONCE:
            self._hurry.set()

    def open(self, anchor: str, send: Send) -> bool:
        """A page looks at *anchor*."""
        return self.watch(anchor, *instance_of(anchor), send)

    def watch(self, anchor: str, instance: str, number: int | None, send: Send) -> bool:
        """A page looks at *anchor*, which shows (more than) this run: *send* is given the whole of it, then what changes."""
        looked = self._found(instance, number)
        if looked is None:
            return False
        self._begin()
        self.tell("open", (anchor, send, *looked))
        return True

    def close(self, anchor: str) -> None:
        self.tell("close", anchor)

    def here(self, anchor: str) -> None:
        """A page still looks at *anchor*."""
        self.tell("here", anchor)

    def follow(self, cell: Cell, instance: str, number: int) -> None:
        """Draw *cell* as the run goes on; nothing is asked for it before a second is over, since most runs have ended by then."""
        self._begin()
        self.tell("follow", (cell, instance, number, monotonic() + LOOK))

    def leave(self, cell: Cell, last: Callable[[], None] = lambda: None) -> None:
        """Draw *cell* no more, and call *last* on the publisher's thread, which draws what is to stay."""
        self._begin()
        self.tell("leave", (cell, last))

    def settle(self) -> None:
        """Wait until what is to stay of the cells that were left is drawn, but not for long."""
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            drawn = threading.Event()
            self.tell("settle", drawn)
            drawn.wait(AT_EXIT)

    def timeline(self, instance: Instance[Any], *, offer: bool = False) -> Timeline:
        """Return the timeline of the newest run; what is known of it here is not read again.

        With *offer*, what was read is kept a while for the page that will show it.
        """
        engine = instance._engine
        found, following = self._look(engine, instance.id, None, watch=offer)
        if offer:
            self._begin()
            self.tell("offer", (found.run, _Offer(engine, following, monotonic() + OFFERED)))
        runs = runs_of(instance) if found.number > 1 else []
        return Timeline(following.snapshot(now_us(), found.alive, runs))

    def ask(self, anchor: str, what: str, arguments: dict[str, Any]) -> Any:
        """Answer a page's question about *anchor*."""
        return timeline_asks.answer(instance_of(anchor), what, arguments)

    def _begin(self) -> None:
        with self._start:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._main, name="romancy publisher", daemon=True)
                self._thread.start()

    def _found(self, instance: str, number: int | None) -> tuple[Engine, looking.Found, SharedReading] | None:
        try:
            engine = launch.looked_at()
            return engine, *self._look(engine, instance, number)
        except RomancyError as problem:
            log.debug("a run of %s is not shown: %s", instance, problem)
            return None

    def _look(
        self, engine: Engine, instance: str, number: int | None, *, watch: bool = True
    ) -> tuple[looking.Found, SharedReading]:
        """Look at a run, and read of it what is not known yet."""
        known: list[SharedReading] = []
        forgets = 0

        def seq(run: int) -> int:
            nonlocal forgets
            forgets = self._forgets.get(run, 0)
            for each in (self._shown.get((id(engine), run)), self._offers.get((id(engine), run))):
                if each is not None and each.following.forgets == forgets:
                    known.append(each.following)
                    return known[0].seq
            return 0

        told = self.tell if watch else None
        found = engine.ask(lambda engine: looking.find(engine, instance, number, told, seq))
        if not known:
            return found, SharedReading(found.rows, found.runs, found.alive, forgets)
        if found.rows and known[0].take(found.rows):
            self.tell("taken", found.run)  # those who follow it are told by the publisher, which will find nothing new
        return found, known[0]

    # -- on its own ----------------------------------------------------------

    def _main(self) -> None:
        waiting: list[tuple[Cell, str, int, float]] = []
        last = 0.0
        while True:
            item = self._next(self._wait(waiting))
            left = last + PACE - monotonic()
            if left > 0 and item is not None:
                self._hurry.wait(left)
            self._hurry.clear()
            while item is not None:
                with suppress(Exception):
                    self._take(item, waiting)
                item = self._next(0)
            last = monotonic()
            with suppress(Exception):
                self._begin_cells(waiting)
            for key, shown in list(self._shown.items()):
                try:
                    self._publish(shown)
                except Exception as problem:  # the journal may be held or let go of just now: the next time tells
                    log.debug("the timeline of %s is not shown: %s", shown.instance, problem)
                    shown.stale, shown.look = True, monotonic() + LOOK
                if not shown.pages and not shown.cells:
                    del self._shown[key]
                    self._unwatch(shown.engine, shown.run)
            for key, offer in list(self._offers.items()):
                if offer.end <= monotonic():
                    del self._offers[key]
                    self._unwatch(offer.engine, key[1])

    def _unwatch(self, engine: Engine, run: int) -> None:
        if (id(engine), run) not in self._shown and (id(engine), run) not in self._offers:
            engine.taps.unwatch(run)

    def _next(self, timeout: float | None) -> tuple[str, Any] | None:
        try:
            return self._inbox.get(timeout=timeout) if timeout is None or timeout > 0 else self._inbox.get_nowait()
        except Empty:
            return None

    def _wait(self, waiting: list[tuple[Cell, str, int, float]]) -> float | None:
        """Seconds until something is to be done that nobody tells."""
        due = [*(each[3] for each in waiting), *(offer.end for offer in self._offers.values())]
        for shown in self._shown.values():
            if shown.over:
                due.append(shown.look)
                continue
            if shown.undrawn:
                due += shown.cells.values()
            due.append(shown.look if not shown.here or shown.stale or shown.beside else shown.seen + FORGOTTEN)
        return max(0.01, min(due) - monotonic()) if due else None

    def _take(self, item: tuple[str, Any], waiting: list[tuple[Cell, str, int, float]]) -> None:
        what, content = item
        if what == "rows":
            for shown in self._of(content[0].run):
                shown.stale = not shown.following.take(content) or shown.stale
                shown.changed = shown.undrawn = shown.here = shown.following.alive = True
        elif what in {"report", "taken"}:
            for shown in self._of(content):
                shown.changed = shown.undrawn = True
        elif what == "offer":
            run, offer = content
            if offer.following.forgets == self._forgets.get(run, 0):
                self._offers[id(offer.engine), run] = offer
        elif what == "forgotten":
            self._offers = {key: offer for key, offer in self._offers.items() if key[1] != content}
            for shown in self._of(content):
                shown.stale = shown.forgotten = True
        elif what == "runs":
            for shown in self._shown.values():
                shown.beside = shown.beside or shown.instance == content
        elif what == "open":
            anchor, send, *looked = content
            self._opened(anchor, send, self._known(*looked))
        elif what in {"close", "here"}:
            for shown in self._shown.values():
                if content in shown.pages:
                    shown.seen = monotonic()
                    if what == "close":
                        del shown.pages[content]
        elif what == "follow":
            waiting.append(content)
        elif what == "leave":
            cell, last = content
            waiting[:] = [each for each in waiting if each[0] is not cell]
            for shown in self._shown.values():
                shown.cells.pop(cell, None)
            last()
        elif what == "settle":
            content.set()

    def _of(self, run: int) -> list[_Shown]:
        return [shown for (_, key), shown in self._shown.items() if key == run]

    def _known(self, engine: Engine, found: looking.Found, following: SharedReading) -> _Shown:
        shown = self._shown.get((id(engine), found.run))
        if shown is None:
            shown = _Shown(engine, found.run, found.instance, following, found.here)
            shown.file = looking.file_of(engine.journal.where)
            self._shown[id(engine), found.run] = shown
            _read_again(shown, found)
            if following.forgets != self._forgets.get(found.run, 0):
                shown.stale = shown.forgotten = True
            # the last one who looked may have left meanwhile: then what came since was told to nobody
            shown.stale = shown.stale or not engine.taps.watched(found.run)
        elif found.rows and found.rows[-1].seq > shown.following.seq:
            _read_again(shown, found)
        return shown

    def _opened(self, anchor: str, send: Send, shown: _Shown) -> None:
        shown.changed = True
        self._publish(shown)  # what this page is told at once, the others are told as a change
        if not shown.pages:
            _refresh(shown)
        shown.pages[anchor], shown.seen, shown.over = send, monotonic(), False
        self._tell_whole(shown, {anchor: send})

    def _tell_whole(self, shown: _Shown, pages: dict[str, Send]) -> None:
        known = shown.following.seq
        view = shown.following.whole(now_us())
        if shown.following.seq != shown.told:  # somebody read on just now
            pages = shown.pages
        shown.told, shown.over = known, not view["live"]
        for anchor, send in list(pages.items()):
            send({"kind": "whole", "anchor": anchor, "what": "timeline", "n": shown.n, "view": view})

    def _begin_cells(self, waiting: list[tuple[Cell, str, int, float]]) -> None:
        now = monotonic()
        due = [each for each in waiting if each[3] <= now]
        waiting[:] = [each for each in waiting if each[3] > now]
        for cell, instance, number, _ in due:
            looked = self._found(instance, number)
            if looked is not None:
                self._known(*looked).cells[cell] = now

    def _publish(self, shown: _Shown) -> None:
        now = monotonic()
        if shown.stale or shown.beside or (shown.look <= now and _may_be_other(shown)):
            self._read(shown)
        known = shown.following.seq
        if known != shown.told:
            shown.changed = shown.undrawn = True
        if shown.forgotten:
            shown.forgotten = False
            self._tell_whole(shown, shown.pages)
        elif shown.changed and shown.pages:
            _refresh(shown)
            delta = shown.following.delta(now_us())
            if delta is not None:
                shown.n += 1
                for anchor, send in list(shown.pages.items()):
                    send({"kind": "delta", "anchor": anchor, "n": shown.n, **delta})
                shown.over = not delta["set"].get("live", not shown.over)
        shown.changed, shown.told = False, known
        if shown.pages and now - shown.seen > FORGOTTEN:
            for anchor, send in shown.pages.items():
                send({"kind": "closed", "anchor": anchor})
            shown.pages.clear()
        self._draw(shown)

    def _draw(self, shown: _Shown) -> None:
        """Draw the static forms that are due."""
        begun = monotonic()
        due = [cell for cell, at in shown.cells.items() if at <= begun]
        if not due or not shown.undrawn:
            return
        _refresh(shown)
        view = shown.following.snapshot(now_us())
        for cell in due:
            cell.draw(view)
        took = monotonic() - begun
        following = max(RARELY if shown.pages else LOOK, took * SHARE)
        shown.cells.update(dict.fromkeys(due, begun + following))
        shown.undrawn = view.live
        if view.finished is not None:
            shown.cells.clear()

    def _read(self, shown: _Shown) -> None:
        """Look into the journal: it is a run of another process, or rows came from elsewhere."""
        shown.look = monotonic() + LOOK
        known, stale = shown.following.seq, shown.stale
        forgets = self._forgets.get(shown.run, 0)
        found = shown.engine.ask(
            lambda engine: looking.again(engine, shown.instance, shown.run, None if stale else known, self.tell)
        )
        if shown.forgotten:
            shown.following = SharedReading(found.rows, found.runs, found.alive, forgets)
        shown.stale = shown.beside = False
        shown.here = found.here
        if (
            shown.following.now_runs(found.runs)
            or found.alive != shown.following.alive
            or found.progress != shown.reported
        ):
            shown.changed = shown.undrawn = True
        shown.reported = found.progress
        shown.following.alive = found.alive
        if found.rows:
            _read_again(shown, found)


def _read_again(shown: _Shown, found: looking.Found) -> None:
    shown.following.take(found.rows)
    shown.following.now_runs(found.runs)
    shown.following.alive, shown.here, shown.reported = found.alive, found.here, found.progress
    shown.changed = shown.undrawn = True


def _may_be_other(shown: _Shown) -> bool:
    """May another process have advanced it? Of one that rests only the file is looked at, and not while it is in use here."""
    if not shown.over:
        return not shown.here
    shown.look = monotonic() + LOOK
    if shown.engine is not launch.connected() or shown.engine.journal.held:
        return False
    before, shown.file = shown.file, looking.file_of(shown.engine.journal.where)
    if before[2:3] != shown.file[2:3]:  # the file was made anew: something was forgotten
        shown.stale = shown.forgotten = True
    return shown.file != before


def _refresh(shown: _Shown) -> None:
    """What is no history: how far steps and maps are."""
    shown.following.progress = shown.engine.taps.reports.of(shown.run) if shown.here else shown.reported
    run = shown.engine.live.get(shown.run)
    shown.following.batch = run.batch.as_dict() if run is not None and run.batch is not None else None


provider = Publisher()
"""The one of this kernel."""


@atexit.register
def _at_exit() -> None:
    """The kernel ends. A large message that is not copied would be sent from memory that is no more."""
    if provider._thread is None:
        return
    with suppress(Exception):
        identity.shell().kernel.session.copy_threshold = sys.maxsize
    provider.settle()
    threading.Event().wait(SENT)  # what was sent just before was not copied
