"""Tables of instances that live: one thread looks once a second whether anything changed, as long as a page shows one.

A page is told how many there are and that something changed; it asks for the rows that it shows, which are put in order once and
read page by page. What costs is paced: looking takes at most one part in twenty of the time.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.clock import monotonic, now_us
from romancy_nb.errors import InstanceNotFound, RomancyError
from romancy_nb.runtime import launch, listing, looking
from romancy_nb.runtime.filters import Filter
from romancy_nb.runtime.listing import Listing
from romancy_nb.widgets import table

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine
    from romancy_nb.widgets.hub import Send

__all__ = ["FORGOTTEN", "PACE", "Tables", "provider"]

PACE: Final = 1.0
"""Seconds between two looks."""
FORGOTTEN: Final = 200.0
"""Seconds after which a page that says nothing of itself has gone."""
_SHARE: Final = 20
_PAGE: Final = 200
"""Rows that a page may ask for at once."""
_FIRST: Final = 60
_KEPT: Final = 8
"""Orders that are kept, so that scrolling does not sort."""


@dataclass(eq=False)
class _Open:
    """A table that pages look at."""

    send: Send
    n: int = 0
    seen: float = field(default_factory=monotonic)


class Tables:
    """Answers for the anchors that begin with ``instances:``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of what follows; never held while the engine is asked
        self._open: dict[str, _Open] = {}
        self._listing = Listing()
        self._engine: Engine | None = None
        self._stamp = 0
        self._looked = -PACE
        self._file: object = None
        self._orders: OrderedDict[str, tuple[int, list[listing.Fact], dict[str, Any]]] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    # -- what the hub asks -------------------------------------------------------------------------------------------

    def open(self, anchor: str, send: Send) -> bool:
        if launch.connected() is None:
            return False
        with self._lock:
            shown = self._open.setdefault(anchor, _Open(send))
            shown.send, shown.seen = send, monotonic()
        view = self.rows(anchor, {"limit": _FIRST})
        view |= {
            "v": 1,
            "states": {name: list(told) for name, told in table.STATES.items()},
            "groups": list(table.GROUPS),
        }
        with self._lock:
            n = shown.n
        send({"kind": "whole", "anchor": anchor, "what": "instances", "n": n, "view": view})
        self._begin()
        return True

    def close(self, anchor: str) -> None:
        with self._lock:
            self._open.pop(anchor, None)
        self._wake.set()

    def here(self, anchor: str) -> None:
        """A page still looks."""
        with self._lock:
            if anchor in self._open:
                self._open[anchor].seen = monotonic()

    def ask(self, anchor: str, what: str, arguments: dict[str, Any]) -> Any:
        if what == "rows":
            return self.rows(anchor, arguments)
        if what == "open":
            name = str(arguments.get("id", ""))
            with self._lock:
                known = name in self._listing.facts
            if not known:
                raise InstanceNotFound(f"There is no instance {name!r} any more.")
            return {"anchor": f"timeline:{name}"}
        raise ValueError(f"A table of instances does not know {what!r}.")

    # -- rows --------------------------------------------------------------------------------------------------------

    def rows(self, anchor: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return a page of rows with all counts: *arguments* are ``offset``, ``limit``, ``filter`` and ``sort``."""
        offset = max(0, int(arguments.get("offset") or 0))
        limit = min(_PAGE, max(0, int(arguments.get("limit") or _FIRST)))
        chosen = Filter.of_json(arguments.get("filter") or {})
        sort = str(arguments.get("sort") or "")
        key = json.dumps([anchor, chosen.anchor(), sort])

        def read(engine: Engine) -> dict[str, Any]:
            self._up_to_date(engine)
            kept = self._orders.get(key)
            if kept is None or kept[0] != self._stamp:
                kept = self._orders[key] = (self._stamp, *self._ordered(engine, anchor, chosen, sort))
                while len(self._orders) > _KEPT:
                    self._orders.popitem(last=False)
            self._orders.move_to_end(key)
            stamp, facts, counts = kept
            rows = listing.rows(engine, facts[offset : offset + limit], now_us())
            return {"rows": rows, "offset": offset, "total": len(facts), "counts": counts, "stamp": stamp}

        found: dict[str, Any] = launch.looked_at().ask(read)
        return found

    def _ordered(
        self, engine: Engine, anchor: str, chosen: Filter, sort: str
    ) -> tuple[list[listing.Fact], dict[str, Any]]:
        """Runs on the engine's thread, as all that touches the listing does."""
        whole, rest = Filter.of_anchor(anchor), Filter(since=chosen.since, until=chosen.until, text=chosen.text)
        base = self._listing.chosen(engine, whole, rest)
        facts = [fact for fact in base if Filter(chosen.states, chosen.workflows).takes(fact, ())]
        counts = Listing.counted(facts)
        return Listing.ordered(facts, sort, now_us()), {
            "groups": counts["groups"],
            "states": Listing.counted(f for f in base if Filter((), chosen.workflows).takes(f, ()))["states"],
            "workflows": Listing.counted(f for f in base if Filter(chosen.states).takes(f, ()))["workflows"],
        }

    def _up_to_date(self, engine: Engine) -> bool:
        """Look at the journal, unless somebody did just now; say whether anything changed. Runs on the engine's thread."""
        if engine is not self._engine:
            self._engine, self._listing = engine, Listing()
        elif monotonic() - self._looked < PACE / 2:
            return False
        changed = self._listing.refresh(engine)
        self._looked = monotonic()
        if changed:
            self._stamp += 1
        return bool(changed)

    # -- looking -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._main, name="romancy instances", daemon=True)
                self._thread.start()

    def _main(self) -> None:
        pause, told = PACE, self._stamp
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            with self._lock:
                late = monotonic() - FORGOTTEN
                self._open = {anchor: shown for anchor, shown in self._open.items() if shown.seen > late}
                if not self._open:
                    self._thread = None
                    return
            began = monotonic()
            with suppress(RomancyError):  # the journal is held elsewhere, or was disconnected: look again
                self._look()
            if told != self._stamp:
                told = self._stamp
                self._tell()
            pause = max(PACE, _SHARE * (monotonic() - began))

    def _look(self) -> None:
        """Look at the file first: what is not in use and as it was has not changed."""
        engine = launch.connected()
        if engine is None:
            return
        file = looking.file_of(engine.journal.where)
        quiet = engine is self._engine and not engine.journal.held and file == self._file
        if not quiet or self._looked + 10 * PACE < monotonic():
            engine.ask(self._up_to_date)
            self._file = file

    def _tell(self) -> None:
        with self._lock:
            shown = list(self._open.items())
        for anchor, each in shown:
            each.n += 1
            each.send({"kind": "delta", "anchor": anchor, "n": each.n, "set": {"stamp": self._stamp}})


provider: Final = Tables()
