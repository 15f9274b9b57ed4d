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
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from romancy_nb.clock import monotonic, now_us
from romancy_nb.errors import RomancyError
from romancy_nb.notebook import identity, timeline_asks
from romancy_nb.notebook.followed import FORGOTTEN, LOOK, SHARE, Cell, Followed
from romancy_nb.notebook.shared_reading import SharedReading
from romancy_nb.runtime import launch, looking
from romancy_nb.widgets.timeline import Timeline, runs_of

if TYPE_CHECKING:
    from romancy_nb.journal.protocol import Row
    from romancy_nb.runtime.engine import Engine
    from romancy_nb.runtime.instance import Instance
    from romancy_nb.widgets.hub import Send

__all__ = ["PACE", "SHARE", "Cell", "Publisher", "instance_of", "provider"]

log = logging.getLogger("romancy_nb")

PACE: Final = 0.2
"""Seconds between two updates of what is shown."""
SOON: Final = 2.0
"""Seconds more until a cell is first drawn where a page shows the living one."""
OFFERED: Final = 20.0
"""Seconds that what was read for a static form is kept for the page that will show it."""
AT_EXIT: Final = 3.0
"""Seconds that a process which ends waits for what is to stay of its cells."""
SENT: Final = 0.1
"""Seconds in which a message is sent."""
_AT_ONCE: Final = frozenset({"open", "leave", "settle"})
"""What is not kept waiting until the next update is due."""


def instance_of(anchor: str) -> tuple[str, int | None]:
    """Return the instance and the number of the run that *anchor* names; no number: the newest."""
    named = anchor.removeprefix("timeline:")
    instance, _, number = named.rpartition(":")
    return (instance, int(number)) if instance and number.isdecimal() else (named, None)


class _Offer(NamedTuple):
    """A run that was read for a static form, until *end* (monotonic seconds)."""

    engine: Engine
    following: SharedReading
    end: float


class Publisher:
    """Follows runs. What it knows is its own thread's; others put what they want into its inbox, and find runs that are read.

    Attributes:
        ends: the process ends: that journals are let go of is told to nobody.
    """

    def __init__(self) -> None:
        self.ends = False
        self._inbox: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._shown: dict[tuple[int, int], Followed] = {}
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
        return Timeline(following.snapshot(now_us(), found.alive, runs_of(instance, found.number)))

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
            for told in self._told(item):
                with suppress(Exception):
                    self._take(told, waiting)
            last = monotonic()
            with suppress(Exception):
                self._begin_cells(waiting)
            for key, shown in list(self._shown.items()):
                try:
                    shown.publish(self.tell, self._forgets.get(shown.run, 0))
                except Exception as problem:  # the journal may be held or let go of just now: the next time tells
                    log.debug("the timeline of %s is not shown: %s", shown.instance, problem)
                    shown.failed()
                if not shown.pages and not shown.cells:
                    del self._shown[key]
                    self._unwatch(shown.engine, shown.run)
            for key, offer in list(self._offers.items()):
                if offer.end <= monotonic():
                    del self._offers[key]
                    self._unwatch(offer.engine, key[1])

    def _told(self, item: tuple[str, Any] | None) -> Iterator[tuple[str, Any]]:
        """Yield all that was told by now, rows of one run that follow each other as one."""
        rows: list[Row] = []
        while item is not None:
            what, content = item
            if rows and (what != "rows" or content[0].run != rows[0].run):
                yield "rows", rows
                rows = []
            if what == "rows":
                rows.extend(content)
            else:
                yield item
            item = self._next(0)
        if rows:
            yield "rows", rows

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
            if not shown.here or shown.stale or shown.beside:
                due.append(shown.look)
            elif shown.pages:
                due.append(shown.seen + FORGOTTEN)
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
        elif what == "left":
            for shown in self._of(content):
                if shown.engine is not launch.connected() and not self.ends:
                    shown.left()
        elif what == "runs":
            for shown in self._shown.values():
                shown.beside = shown.beside or shown.instance == content
        elif what == "open":
            anchor, send, *looked = content
            for shown in self._shown.values():
                if shown.engine is not looked[0]:  # the page looked at it before another journal was connected
                    shown.pages.pop(anchor, None)
            shown = self._known(*looked)
            shown.opened(anchor, send, self.tell, self._forgets.get(shown.run, 0))
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

    def _of(self, run: int) -> list[Followed]:
        return [shown for (_, key), shown in self._shown.items() if key == run]

    def _known(self, engine: Engine, found: looking.Found, following: SharedReading) -> Followed:
        shown = self._shown.get((id(engine), found.run))
        if shown is None:
            shown = Followed(engine, found.run, found.instance, found.number, following, found.here)
            shown.file = looking.file_of(engine.journal.where)
            self._shown[id(engine), found.run] = shown
            shown.read_again(found)
            if following.forgets != self._forgets.get(found.run, 0):
                shown.stale = shown.forgotten = True
            # the last one who looked may have left meanwhile: then what came since was told to nobody
            shown.stale = shown.stale or not engine.taps.watched(found.run)
        elif found.rows and found.rows[-1].seq > shown.following.seq:
            shown.read_again(found)
        return shown

    def _begin_cells(self, waiting: list[tuple[Cell, str, int, float]]) -> None:
        now = monotonic()
        due = [each for each in waiting if each[3] <= now]
        waiting[:] = [each for each in waiting if each[3] > now]
        for cell, instance, number, _ in due:
            known = [each for each in self._shown.values() if (each.instance, each.number) == (instance, number)]
            if known and known[0].engine is launch.connected():
                known[0].cells[cell] = now + (SOON if known[0].pages else 0)
            elif (looked := self._found(instance, number)) is not None:
                self._known(*looked).cells[cell] = now


provider = Publisher()
"""The one of this kernel."""


@atexit.register
def _at_exit() -> None:
    """The kernel ends. A large message that is not copied would be sent from memory that is no more."""
    provider.ends = True
    if provider._thread is None:
        return
    with suppress(Exception):
        identity.shell().kernel.session.copy_threshold = sys.maxsize
    provider.settle()
    threading.Event().wait(SENT)  # what was sent just before was not copied
