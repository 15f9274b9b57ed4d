"""A run that this process advances: what the engine keeps of it in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from romancy_nb.core.commands import Delivery, Ended, OpenCall, OpenOutside, OpenTimer
from romancy_nb.core.events import Event
from romancy_nb.payloads.payload import Payload

if TYPE_CHECKING:
    from romancy_nb.core.activation import Execution
    from romancy_nb.core.ledger import Ledger
    from romancy_nb.core.pool import Pool
    from romancy_nb.core.replay import Key, Numbered
    from romancy_nb.core.saga import Plan
    from romancy_nb.definitions.workflow import Workflow
    from romancy_nb.runtime.dispatcher import Attempt
    from romancy_nb.runtime.hosts import Host
    from romancy_nb.runtime.inbox import Child, Start, Waiter
    from romancy_nb.runtime.observers import Outlet
    from romancy_nb.runtime.progress import Counting

__all__ = ["Build", "LiveRun"]


@dataclass(slots=True)
class Build:
    """What a host needs to build an execution: the history, and for a new run what earlier runs know."""

    rows: list[Numbered]
    pool: Pool | None = None


@dataclass(slots=True, eq=False)
class LiveRun:
    """One run, owned by this process.

    Attributes:
        key: of the run in the journal.
        generation: raised when an execution is put down; what an older one still says is ignored (X2).
        sent: deliveries that are with the host; they leave memory only when their commit is acknowledged (X5).
        pending: deliveries that wait for the host.
        calls: open activity calls by place.
    """

    key: int
    instance: str
    number: int
    workflow: Workflow[Any, Any]
    digest: str
    code: str
    make_body: Callable[[], Any]
    epoch: int = 1
    started: int = 0
    next_seq: int = 1
    status: str = "running"
    attached: bool = False
    host: Host | None = None
    execution: Execution | None = None
    generation: int = 0
    busy: bool = False
    busy_since: float = 0.0
    slow: bool = False
    build: Build | None = None
    pending: list[Delivery] = field(default_factory=list)
    sent: list[Delivery] = field(default_factory=list)
    calls: dict[str, OpenCall] = field(default_factory=dict)
    floors: list[Attempt] = field(default_factory=list)
    """Attempts that write to the cell directly (N4)."""
    timers: dict[str, OpenTimer] = field(default_factory=dict)
    outside: dict[str, OpenOutside] = field(default_factory=dict)
    """What its code awaits from outside, by place, in the order in which it asked."""
    awaiting: dict[str, deque[str]] = field(default_factory=dict)
    """Places that wait for an event, by its name."""
    asked: set[str] = field(default_factory=set)
    """Names of the events that answer questions which it has asked people."""
    arrivals: dict[str, deque[Numbered]] = field(default_factory=dict)
    """Events that have arrived and that nothing awaits yet, by name."""
    children: dict[str, Child] = field(default_factory=dict)
    """Children that have not come to their end, by the place of their call, or of their undo."""
    leaving: dict[str, Child] = field(default_factory=dict)
    """Children that its code gave up and that have not ended."""
    lineage: tuple[tuple[str, str], ...] = ()
    """The workflows above it, the topmost first."""
    waiters: list[Waiter] = field(default_factory=list)
    ended: Ended | None = None
    error_payload: Payload | None = None
    finished: bool = False
    outcome: tuple[Payload | None, BaseException | None] | None = None
    executed: int = 0
    replayed: int = 0
    reused: int = 0
    moved: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Edited activities whose recorded results were kept, because their effects stand (R5)."""
    pool: Pool | None = None
    """What earlier runs know."""
    opening: list[Event] = field(default_factory=list)
    """Rows that go in front of the next activation's: run_started, run_resumed."""
    start: Start | None = None
    """The call that took the run up, which a mismatch turns into a new run (R7)."""
    outlet: Outlet | None = None
    """The output of the cell that made that call (N4)."""
    parked: bool = False
    """It waits without an execution; when something comes for it, it is built again from history (``parking``)."""
    again: bool = False
    """It is rebuilt where nobody looks: what its code has printed before is not printed again."""
    replay_only: bool = False
    """The run has ended; its code is run against the journal for the result alone."""
    retrying: bool = False
    redo: frozenset[str] = frozenset()
    """Activities that a person chose to execute again in this run (A4)."""
    gap: int = 0
    """Microseconds in which nobody owned the run before this take-up (A7)."""
    noted: set[str] = field(default_factory=set)
    """Places whose outcome was recorded while the code was busy."""
    unwanted: set[str] = field(default_factory=set)
    """Places of calls that the code cancelled and that have not settled."""
    trouble: BaseException | None = None
    """Why it was put down when its rows could not be written."""
    first: Event | None = None
    """Its first row."""
    subscribed: dict[str, str] = field(default_factory=dict)
    """The channels that it has subscribed to, and how."""
    ledger: Ledger | None = None
    """A notebook's run has no code of its own; this finds and answers its calls (R14)."""
    asking: dict[str, list[Waiter]] = field(default_factory=dict)
    """Who waits for a notebook's call, by its place."""
    unsaved: list[Event] = field(default_factory=list)
    """Outcomes that could not be written yet (X5)."""

    armed: bool = False
    """It has made a call that can be undone."""
    error: BaseException | None = None
    """What ended its code, as it was raised here."""
    cancelling: dict[str, Any] | None = None
    """Somebody wants it cancelled: reason, by; whether its code knows is in ``cancelled``."""
    cancelled: bool = False
    settling: bool = False
    """It was taken up, and calls that its last owner had begun have not ended: a cancellation waits for them (A7)."""
    held: set[str] = field(default_factory=set)
    """Places of calls that are not tried again before the code has been told of its cancellation."""
    undo: Plan | None = None
    """It is being undone: nothing goes forward any more (U1)."""
    undo_meta: dict[str, Any] = field(default_factory=dict)
    undone: dict[Key, int] = field(default_factory=dict)
    """How often equal calls were undone in earlier runs: they are other calls now (A4)."""
    batch: Counting | None = None
    """How far the map is that its code makes just now."""
    secrets: dict[str, Any] = field(default_factory=dict)
    """Inputs of calls that are not journaled, by place: an undo may take them."""

    def put_back(self) -> None:
        """Deliveries that a put-down execution did not get to are pending again, in order."""
        self.pending[:0] = self.sent
        self.sent.clear()
