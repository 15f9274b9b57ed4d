"""What the engine asks once a turn, answered from memory: the heads of runs.

A query for one instance in a journal of 100,000 events takes 10 ms, so the index keeps two things while the journal is
ours: which runs every instance has (one scan, the first time it matters), and a tally of every run that was asked for.
Both are fed by our own commits. When another process may have written, ``stale`` is set and the next question first
reads the rows that came in since, by row id: events are only ever appended. Should row ids have a hole, everything is
read again.

Nothing here is truth. Whatever is lost is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.journal.protocol import Head, Row
from romancy_nb.journal.rows import decode

__all__ = ["HeadIndex"]

_STATUS: Final = {ev.RUN_STARTED: "running", ev.RUN_RESUMED: "running", ev.RUN_UNDO_PAUSED: "compensating"}
_OPENS_OR_ENDS: Final = {
    ev.ACTIVITY_SCHEDULED: (1, 0),
    ev.ACTIVITY_COMPLETED: (-1, 0),
    ev.ACTIVITY_FAILED: (-1, 0),
    ev.CALL_CANCELLED: (-1, 0),
    ev.TIMER_STARTED: (0, 1),
    ev.TIMER_FIRED: (0, -1),
    ev.TIMER_CANCELLED: (0, -1),
    ev.WAIT_STARTED: (0, 1),
    ev.EVENT_RECEIVED: (0, -1),
    ev.WAIT_CANCELLED: (0, -1),
    ev.CHILD_STARTED: (0, 1),
    ev.CHILD_COMPLETED: (0, -1),
    ev.CHILD_FAILED: (0, -1),
    ev.CHILD_CANCELLED: (0, -1),
}
_TAKEN: Final = frozenset({ev.RUN_RESUMED, ev.RUN_COMPENSATING, ev.RUN_UNDO_PAUSED})
_MOST_ROWS: Final = 5_000
"""More foreign rows than this are not followed; the index starts anew."""

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Runs one of the named queries."""


def _status(kind: str) -> str:
    return _STATUS.get(kind) or kind.removeprefix("run_")


@dataclass(slots=True)
class _Tally:
    """One run, as far as its rows have been seen."""

    run: int
    instance: str
    number: int
    workflow: str
    digest: str
    code: str
    notebook: str | None
    started: int
    owner: str
    epoch: int
    status: str
    updated: int
    last_seq: int
    activities: int = 0  # open ones
    timers: int = 0
    since: int = 1
    called: bool = False

    @classmethod
    def of(cls, run: int, seq: int, start: Event) -> _Tally:
        meta = start.meta or {}
        return cls(
            run=run,
            instance=start.call,
            number=int(meta.get("number", 1)),
            workflow=start.name,
            digest=str(meta.get("called", start.digest)),
            code=start.code,
            notebook=meta.get("notebook"),
            started=start.at,
            owner=str(meta.get("owner", "")),
            epoch=int(meta.get("epoch", 1)),
            status="running",
            updated=start.at,
            last_seq=seq,
            since=int(meta.get("since", 1)),
            called="called" in meta,
        )

    @classmethod
    def counted(cls, run: int, kinds: Mapping[str, tuple[int, int, str]]) -> _Tally:
        """From how many events of each kind there are, and the seq and body of the last of each."""
        _, seq, body = kinds[ev.RUN_STARTED]
        tally = cls.of(run, seq, _event(ev.RUN_STARTED, body))
        for kind in sorted(_TAKEN & kinds.keys(), key=lambda kind: kinds[kind][1]):
            tally.taken(_event(kind, kinds[kind][2]))
        for kind, (count, _, _) in kinds.items():
            activity, timer = _OPENS_OR_ENDS.get(kind, (0, 0))
            tally.activities += activity * count
            tally.timers += timer * count
        _, tally.last_seq, last = max(kinds.values(), key=lambda found: found[1])
        tally.updated = int(last.split("\t", 1)[0])
        tally.status = _status(
            max((kind for kind in kinds if kind.startswith("run_")), key=lambda kind: kinds[kind][1])
        )
        return tally

    def taken(self, event: Event) -> None:
        """A process took the run up, or let go of its undo."""
        meta = event.meta or {}
        self.owner = str(meta.get("owner", self.owner)) if event.kind != ev.RUN_UNDO_PAUSED else ""
        self.epoch = int(meta.get("epoch", self.epoch))
        self.notebook = meta.get("notebook", self.notebook)

    def add(self, seq: int, event: Event) -> None:
        kind = event.kind
        self.last_seq = max(self.last_seq, seq)
        self.updated = event.at
        change = _OPENS_OR_ENDS.get(kind)
        if change is not None:
            self.activities += change[0]
            self.timers += change[1]
        elif kind.startswith("run_"):
            self.status = _status(kind)
            if kind in _TAKEN:
                self.taken(event)

    def head(self) -> Head:
        status = self.status
        if status == "running" and self.timers > 0 and self.activities <= 0:
            status = "waiting"
        return Head(
            self.run,
            self.instance,
            self.number,
            self.workflow,
            self.digest,
            self.code,
            status,
            self.owner,
            self.epoch,
            self.started,
            self.updated,
            self.last_seq,
            self.notebook,
            self.since,
            self.called,
        )


class HeadIndex:
    """The heads of the runs in one journal. *ask* answers named queries; the journal must be open when it is used."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._runs_of: dict[str, list[int]] | None = None  # complete when it is there
        self._tallies: dict[int, _Tally] = {}
        self._seen = 0  # rows of the journal that the index accounts for
        self.stale = False

    def forget(self) -> None:
        """Know nothing any more."""
        self._runs_of = None
        self._tallies.clear()
        self._seen = 0
        self.stale = False

    def follow(self, rows: Sequence[Row]) -> None:
        """*rows* were committed by us, and nobody else wrote in between."""
        if self._runs_of is None or self.stale:
            return  # they will be read with the rest
        self._seen += len(rows)
        for row in rows:
            self._add(row.run, row.seq, row.event)

    def newest(self, instances: Iterable[str]) -> dict[str, Head]:
        """The newest run of each of *instances* that exists."""
        runs_of = self._current()
        found = {instance: runs[-1] for instance in instances if (runs := runs_of.get(instance))}
        tallies = self._tally(found.values())
        return {instance: tallies[run].head() for instance, run in found.items()}

    def of_instance(self, instance: str, since: int = 1) -> list[Head]:
        """The runs of *instance* from number *since* on, oldest first."""
        runs = self._current().get(instance, [])[since - 1 :]
        tallies = self._tally(runs)
        return [tallies[run].head() for run in runs]

    def of_runs(self, runs: Iterable[int]) -> dict[int, Head]:
        """The heads of those of *runs* that exist."""
        self._current()
        wanted = list(runs)
        tallies = self._tally(wanted)
        return {run: tallies[run].head() for run in wanted if run in tallies}

    def epochs(self, runs: Iterable[int]) -> dict[int, int]:
        """How often those of *runs* that exist were taken up."""
        self._current()
        wanted = list(runs)
        tallies = self._tally(wanted)
        return {run: tallies[run].epoch for run in wanted if run in tallies}

    def unfinished(self) -> list[Head]:
        """The newest run of every instance, where it has not ended; oldest first."""
        runs_of = self._current()
        open_runs = {run for (run,) in self._ask("open_runs", ())}
        newest = [runs[-1] for runs in runs_of.values() if runs[-1] in open_runs]
        tallies = self._tally(newest)
        return sorted((tallies[run].head() for run in newest), key=lambda head: head.started)

    def known(self) -> list[str]:
        """The instances that are in memory, oldest first; asks the database nothing. Any thread may call this."""
        return list(self._runs_of or ())

    # -- inside ------------------------------------------------------------------------------------------------------

    def _current(self) -> dict[str, list[int]]:
        """Bring the index up to the journal, and return the runs of every instance."""
        if self.stale and self._runs_of is not None:
            count, end, first = self._ask("extent", ())[0]
            known = next(iter(self._runs_of.values()), [None])[0]
            another = known is not None and first != known  # somebody deleted the journal, and it was begun anew
            if another or count != end or count < self._seen or count - self._seen > _MOST_ROWS:
                self.forget()
            else:
                for run, seq, kind, body in self._ask("since", (self._seen,)):
                    self._add(run, seq, _event(kind, body))
                self._seen = count
        self.stale = False
        if self._runs_of is None:
            self._tallies.clear()
            self._runs_of = {}
            for run, instance in self._ask("starts", ()):
                self._runs_of.setdefault(instance, []).append(run)
            self._seen = self._ask("extent", ())[0][0]
        return self._runs_of

    def _add(self, run: int, seq: int, event: Event) -> None:
        if event.kind == ev.RUN_STARTED:
            assert self._runs_of is not None
            runs = self._runs_of.setdefault(event.call, [])
            if runs and (event.meta or {}).get("reason") == "recur":
                self._tallies.pop(runs[-1], None)  # nobody asks for it again, as a rule
            runs.append(run)
            self._tallies[run] = _Tally.of(run, seq, event)
        elif (tally := self._tallies.get(run)) is not None:
            tally.add(seq, event)

    def _tally(self, runs: Iterable[int]) -> dict[int, _Tally]:
        tallies = self._tallies
        missing = [run for run in runs if run not in tallies]
        if missing:
            counted: dict[int, dict[str, tuple[int, int, str]]] = {}
            one = len(missing) == 1
            for run, kind, count, seq, body in self._ask(
                "tally" if one else "tallies", (missing[0],) if one else (missing,)
            ):
                counted.setdefault(run, {})[kind] = (count, seq, body)
            for run, kinds in counted.items():
                if ev.RUN_STARTED in kinds:
                    tallies[run] = _Tally.counted(run, kinds)
        return tallies


def _event(kind: str, body: str) -> Event:
    """The event in *body* without its payload, which no head needs."""
    return decode(0, [(0, kind, "\t".join((*body.split("\t", 9)[:9], "")))], {}, None)[0].event
