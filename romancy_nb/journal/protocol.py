"""The engine's waist: the dozen verbs that it needs of a database, and nothing a dashboard would like.

All writing is one ``commit(batch)``. Reads for people go through ``query`` over the public views.
Implementations are used from one thread, the engine's.
"""

# pyright: reportReturnType=false
# (a verb's docstring is its whole body here; pyright wants "..." behind it, which ruff takes away)

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from romancy_nb.core.events import Event
from romancy_nb.payloads.payload import Payload

__all__ = ["Batch", "Head", "Journal", "Letter", "Row", "Table"]


class Row(NamedTuple):
    """An event with its place in the journal: *run* is the run's key (a 63-bit number), *seq* counts from 1 in it."""

    run: int
    seq: int
    event: Event


class Letter(NamedTuple):
    """What somebody else asks of a run that a living process advances; that process takes it up.

    Attributes:
        id: a number that no other letter has.
        run: the run's key.
        kind: ``"cancel"``, ``"event"``, ``"message"``.
        facts: what goes with it; JSON values.
        event: the row that is to be added to the run's history, where that is known already.
    """

    id: int
    run: int
    kind: str
    facts: dict[str, Any]
    event: Event | None = None


@dataclass(slots=True)
class Batch:
    """What one turn of the engine commits, all or nothing.

    Attributes:
        turn: a number that no other batch in this journal has; lets us ask after a failure whether it got in (X5).
        rows: the events, in order.
        fences: run key -> the epoch under which this process owns it.
        taken: ids of letters that were taken up: they leave the inbox.
        posted: letters to put into the inbox.
        texts: digest -> JSON text to be kept beside the rows, once: the code of activities.
    """

    turn: int
    rows: list[Row] = field(default_factory=list)
    fences: dict[int, int] = field(default_factory=dict)
    taken: list[int] = field(default_factory=list)
    posted: list[Letter] = field(default_factory=list)
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """What the journal knows of one run without reading its history.

    Attributes:
        run: the run's key.
        instance: the instance id.
        number: 1 for the instance's first run.
        workflow: its name.
        digest: of the inputs.
        code: the workflow's fingerprint.
        status: running, waiting, paused, stuck, completed, failed, cancelled … as the last event tells (never
            "interrupted": whether an owner lives is for the asker to judge).
        owner: token of the last process that took it up (see ``runtime.ownership``).
        epoch: how often it was taken up.
        started: µs.
        updated: µs, time of the last event.
        last_seq: the highest seq in the run.
        notebook: path of the notebook, if one was known.
        since: number of the run that began with the newest fresh history (``rn.recur``); 1 if there was none.
        called: does its first row name another call's inputs, because the instance has recurred? Then ``digest`` is of those.
    """

    run: int
    instance: str
    number: int
    workflow: str
    digest: str
    code: str
    status: str
    owner: str
    epoch: int
    started: int
    updated: int
    last_seq: int
    notebook: str | None = None
    since: int = 1
    called: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A materialised answer: column names, DuckDB type names, rows."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class Journal(Protocol):
    """One journal. ``acquire`` before use, ``release`` when idle; everything else needs it acquired."""

    @property
    def where(self) -> str:
        """What to call it in messages: the path or the URL without a password."""

    @property
    def held(self) -> bool:
        """True between ``acquire`` and ``release``."""

    def acquire(self, wait: float | None) -> bool:
        """Take hold of the database, waiting up to *wait* seconds (None: for ever); apply migrations to it if needed.

        Returns True when somebody else may have written since the last ``release`` (always True the first time).

        Raises:
            JournalBusy: it is still held elsewhere; the message names the holder.
            JournalNewer, NotAJournal, JournalDamaged, JournalUnwritable: what they say.
        """

    def release(self, *, for_good: bool = False) -> None:
        """Let go, so that other processes can use it. Harmless when not held.

        Args:
            for_good: and with it of all that makes it quick to come back.
        """

    def wanted(self) -> bool:
        """True when another process rang the bell since we acquired. Cheap: called once a turn."""

    def foreign(self) -> bool:
        """True when it is not as we know it: deleted or replaced while held, or written by others since we let go. Cheap."""

    def commit(self, batch: Batch) -> None:
        """Write *batch* durably, all or nothing."""

    def committed(self, turn: int) -> bool:
        """Did the batch with this turn number get in?"""

    def forget(self, runs: Collection[int], at: int) -> int:
        """Take the payloads of *runs* (keys) out for good; return how many bytes that gave back (D5)."""

    def heads(self, instances: Sequence[str]) -> dict[str, Head]:
        """The newest run of each of *instances* that exists."""

    def runs(self, instance: str, since: int = 1) -> list[Head]:
        """The runs of *instance* from number *since* on, oldest first."""

    def unfinished(self) -> list[Head]:
        """The newest run of every instance whose newest run has not ended (running, waiting, paused, stuck)."""

    def known(self) -> list[str]:
        """Ids of the instances that are in memory, oldest first. The one verb for any thread, held or not: it asks nothing."""

    def load(self, run: int, *, parts: bool = True, place: str | None = None) -> list[Row]:
        """The history of *run* in order. With *parts* false, binary parts come described, without their data.

        With a *place*, only the rows of that call come, and those that say who took the run up.
        """

    def results(self, runs: Sequence[int]) -> dict[int, Payload]:
        """What those of *runs* (keys) that have completed returned."""

    def histories(self, runs: Sequence[int]) -> dict[int, list[Row]]:
        """The histories of *runs* that exist, each in order: one question where ``load`` would ask many."""

    def session(self) -> Any:
        """A database connection of its own for one attempt of an activity (S1). Any thread may use it, one at a time."""

    def settle(self, session: Any, run: int, event: Event) -> None:
        """Put the outcome of an attempt into its *session*, and commit that: its writes and this, all or nothing."""

    def outcomes(self, run: int) -> list[Event]:
        """What was settled in *run*, as outcome_recorded events."""

    def text(self, digest: str) -> str:
        """A JSON text that was kept beside the rows; empty: there is none with this digest."""

    def part(self, digest: str) -> bytes:
        """The data of one binary part."""

    def moved(self, epochs: Mapping[int, int]) -> set[int]:
        """Which of the runs in *epochs* (run key -> my epoch) were taken up by somebody else since (D3), or are not there."""

    def post(self, letter: Letter) -> None:
        """Put a letter into the inbox, durably."""

    def letters(self) -> list[Letter]:
        """All that nobody has taken up yet, in the order in which they came."""

    def arrived(self, runs: Sequence[int], event_id: str) -> bool:
        """Has an event with this id arrived in one of *runs* (keys)?"""

    def run_heads(self, runs: Sequence[int]) -> dict[int, Head]:
        """The heads of those of *runs* (keys) that exist."""

    def subscriptions(self) -> list[tuple[int, str, str]]:
        """Run, channel and mode of every subscription there ever was, in the order in which they came."""

    def last_wait(self, run: int, name: str) -> Event | None:
        """The newest wait of *run* for events with this name, open or not."""

    def asking(self, runs: Sequence[int]) -> list[tuple[int]]:
        """Which of *runs* have ever asked a person anything."""

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Answer one read-only statement over the public views; anything else is refused."""
