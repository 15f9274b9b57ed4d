"""What workflow code asks for, and what one activation of it reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

from romancy_nb.core.events import ACTIVITY_COMPLETED, LATE_OUTCOME, Event
from romancy_nb.errors import HistoryMismatch, RunRecurs
from romancy_nb.payloads.payload import Payload

__all__ = [
    "ActivityCommand",
    "Delivery",
    "Ended",
    "Limits",
    "OpenCall",
    "OpenOutside",
    "OpenTimer",
    "Outcome",
    "OutsideCommand",
    "Report",
]

Limits = Sequence[Mapping[str, Any]]
"""Limits that a call waits for (A8), as its intent has them: name, and concurrency and per_second where they are set."""


@dataclass(slots=True)  # not frozen: that would triple what it costs to make one, and one is made at every call
class ActivityCommand:
    """Schedule an activity.

    Attributes:
        name: the activity's name.
        digest: canonical digest of the inputs.
        payload: the inputs.
        code: gives the activity's fingerprint; asked only when the call is new (R6).
        target: the activity object; the core hands it through to whoever executes it.
        reuse: "inputs", "prefix" or "never" (R8).
        at_most_once: its delivery (A1).
        extra: in-memory inputs that are not journaled (secrets), handed through.
        context: the context variables of the call, for the activity to run in a copy of (C8).
        undo: the compensation that is armed with the call (U2), as it is journaled.
        pivot: nothing that completed before it is undone once it has completed.
        undoes: the place of the call that this one undoes (``rn.saga``).
        limits: says which limits the call waits for; given True, it raises where one is not defined, as for a new call. None: none.
        keeps: an earlier run's result is used although the activity was edited since (R5).
    """

    name: str
    digest: str
    payload: Payload
    code: Callable[[], str]
    target: Any
    reuse: str = "inputs"
    at_most_once: bool = False
    extra: Any = None
    context: Context | None = None
    undo: dict[str, Any] | None = None
    pivot: bool = False
    undoes: str = ""
    limits: Callable[[bool], Limits] | None = None
    keeps: bool = False


@dataclass(slots=True)
class OutsideCommand:
    """Await something that comes from outside and is no activity: an event, or the end of a child workflow.

    Attributes:
        kind: of the intent, ``wait_started`` or ``child_started``.
        name: of the event or workflow.
        digest: of what is awaited; equal ones answer each other in a new run (R3).
        payload: what the intent's row keeps: the question, the inputs.
        facts: the meta of the intent's row.
        target: handed through to who brings it: the type of the event, the request for the child.
        code: gives the fingerprint of the child.
    """

    kind: str
    name: str
    digest: str
    payload: Payload | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    target: Any = None
    code: Callable[[], str] = str


@dataclass(slots=True)  # not frozen, as above
class Outcome:
    """What a call came to, as its caller gets it. ``live`` is the attempt's own exception, where this process has it (E1)."""

    ok: bool
    payload: Payload
    live: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """An outcome, a timer or a cancellation on its way to the code.

    Attributes:
        at: in microseconds.
        shows: what the attempts put out.
        reason: of a cancellation.
        facts: the meta of the row.
    """

    kind: str
    place: str
    at: int
    attempt: int = 0
    payload: Payload | None = None
    live: BaseException | None = None
    shows: tuple[Payload, ...] = ()
    reason: str = ""
    facts: Mapping[str, Any] | None = None

    def late(self) -> Event:
        """Return the row of an outcome that nobody wants any more (A3)."""
        meta = {"ok": self.kind == ACTIVITY_COMPLETED}
        return Event(LATE_OUTCOME, self.at, self.place, "", "", "", self.attempt, self.payload, meta)


@dataclass(slots=True)
class OpenCall:
    """A call without an outcome: somebody has to execute it, or to go on executing it."""

    place: str
    command: ActivityCommand
    occurrence: int = 0
    attempts: int = 0
    """How many attempts history says were started."""
    failed: int = 0
    """How many attempts history says failed; the rest are in doubt."""
    failures: int = 0
    """How many attempts failed: what the retry policy counts."""
    next_at: int = 0
    """When the next attempt may start (µs), 0 for at once."""
    first_at: int = 0
    """When the call was scheduled (µs)."""
    fresh: bool = True
    """True when the intent is of this activation: nothing can have happened yet."""
    scope: str = ""
    """Tells it from equal calls of other cells, for the idempotency key (A4)."""
    cell: str = ""
    """Key of the cell that waits for it, in a durable notebook (R14)."""
    host: Any = None
    """The cell that waits for it, where that is not the run's."""
    output: Any = None
    """Leads what it prints to that cell."""
    unshown: tuple[Payload, ...] = ()
    """What earlier attempts put out and no cell has shown: it is shown with the outcome."""
    limits: Limits = ()
    """The limits that its attempts wait for (A8)."""
    queues: bool = False
    """Its intent says that it waits for limits: the start of its first attempt, too, has a row of its own."""

    @property
    def in_doubt(self) -> bool:
        """Has history an attempt that may have had its effect?

        The intent counts as the first of an "at_least_once" call that need not wait for its turn (A1).
        """
        pending = self.command.at_most_once or self.queues
        return not self.fresh and (self.attempts > self.failed or not (self.attempts or pending))


@dataclass(frozen=True, slots=True)
class OpenTimer:
    """A timer that has not fired. ``due`` is in microseconds.

    Attributes:
        deadline: it only limits how long a person has for an answer.
    """

    place: str
    due: int
    deadline: bool = False


@dataclass(slots=True)
class OpenOutside:
    """Something awaited from outside that has not come.

    Attributes:
        facts: the meta of its intent's row: for a child, the id that it has.
        fresh: True when the intent is of this activation.
    """

    place: str
    command: OutsideCommand
    occurrence: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    at: int = 0
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    """How the code ended: with a result, or with an error.

    Attributes:
        payload: the result; None when it raised.
        error: the exception; None when it returned.
        reported: True when the error came from an activity (directly, as a cause or in a group), False for a slip of the
            workflow's own code (E4).
        recurs: set when it goes on in a new run, whatever it returned or raised.
    """

    payload: Payload | None = None
    error: BaseException | None = None
    reported: bool = False
    recurs: RunRecurs | None = None


@dataclass(slots=True)
class Report:
    """What an activation came to.

    Attributes:
        rows: new events in order, without their numbers.
        calls: activity calls to execute.
        timers: timers to watch.
        outside: what is awaited from outside, in the order in which it was asked for.
        cancelled_calls: places whose outcome the code no longer wants.
        cancelled_timers: places of timers that need not be watched any more.
        cancelled_outside: places where nothing from outside is awaited any more.
        moved: calls that were found in another place than history has them (C6), as short texts.
        replayed: how many calls got their outcome from this run's history, in this activation.
        reused: how many got it from an earlier run's.
        kept: activities that were edited since and are answered from the record all the same: their effect stands (R5).
        ended: set when the code has ended.
        mismatch: set when code and history parted; then nothing else of the report counts.
        secrets: inputs of undos that are not journaled, by place.
        armed: has the code made a call that can be undone, since it began?
        cancelled: has the code been cancelled?
        tells: has it subscribed to a channel, published, or awaited a message?
    """

    rows: list[Event] = field(default_factory=list)
    calls: list[OpenCall] = field(default_factory=list)
    timers: list[OpenTimer] = field(default_factory=list)
    outside: list[OpenOutside] = field(default_factory=list)
    cancelled_calls: list[str] = field(default_factory=list)
    cancelled_timers: list[str] = field(default_factory=list)
    cancelled_outside: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    replayed: int = 0
    reused: int = 0
    kept: list[str] = field(default_factory=list)
    secrets: dict[str, Any] = field(default_factory=dict)
    ended: Ended | None = None
    mismatch: HistoryMismatch | None = None
    armed: bool = False
    cancelled: bool = False
    tells: bool = False
