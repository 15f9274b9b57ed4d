"""What can reach the engine thread. Everything comes through one ``SimpleQueue``.

``SimpleQueue.put`` takes no lock that a signal handler or a garbage collection on the same thread could already hold, so
the main thread, interrupted anywhere, cannot block the engine (X4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from romancy_nb.clock import monotonic
from romancy_nb.journal.protocol import Letter
from romancy_nb.payloads.payload import Payload

if TYPE_CHECKING:
    from romancy_nb.core.activation import Execution
    from romancy_nb.core.commands import Report
    from romancy_nb.core.ledger import Asked
    from romancy_nb.definitions.ambient import Request
    from romancy_nb.definitions.children import Wanted
    from romancy_nb.runtime.dispatcher import Attempt
    from romancy_nb.runtime.hosts import Host
    from romancy_nb.runtime.live import LiveRun
    from romancy_nb.runtime.observers import Outlet
    from romancy_nb.runtime.questions import Question

__all__ = [
    "Activated",
    "Ask",
    "AttemptEnded",
    "Awaits",
    "CellCalls",
    "Child",
    "ChildTold",
    "Finished",
    "Found",
    "Inbox",
    "Interrupt",
    "Left",
    "LetGo",
    "Paused",
    "Posted",
    "Redefined",
    "Resting",
    "Start",
    "Stop",
    "Tell",
    "Waiter",
    "Withdrawn",
]


@dataclass(frozen=True, slots=True)
class Found:
    """Told to a waiter once the engine knows what its call does: see ``starts``."""

    run: LiveRun
    what: str
    """One of the names of ``transitions.Action``."""
    line: str
    """The line for the person (R11)."""


@dataclass(frozen=True, slots=True)
class Posted:
    """Another process put a letter into the journal's inbox (U3)."""

    letter: Letter


@dataclass(frozen=True, slots=True)
class Redefined:
    """A limit has other figures now: calls that wait for it may have their turn (A8)."""

    limit: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Told to a waiter when the run has come to an end, or cannot go on."""

    payload: Payload | None = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Paused:
    """Answer to ``Interrupt``: what the journal knows now."""

    done: int
    in_flight: tuple[str, ...]
    instance_id: str
    what: str = "paused"
    """Or "followed": somebody else's call started the run, which goes on; "nothing": none was begun, or it has ended."""
    busy: str = ""
    """Why it is not durable yet: the journal is held elsewhere."""


class Awaits(NamedTuple):
    """An event, and who awaits it: the instance to which it is sent."""

    instance: str
    workflow: str
    name: str


@dataclass(frozen=True, slots=True)
class Resting:
    """Told to a cell that waits: every branch of the run waits for something outside (N5).

    Attributes:
        questions: what it asks people, or a child of it does.
        events: that it or a child of it awaits besides.
        due: when its next timer is due (µs); None: it has none.
    """

    run: LiveRun
    questions: tuple[Question, ...]
    events: tuple[Awaits, ...]
    due: int | None


@dataclass(frozen=True, slots=True)
class Left:
    """Answer to ``LetGo``: the run goes on in the background."""


class Waiter(Protocol):
    """Somebody who waits for a run. ``tell`` may be called from any thread and returns at once."""

    def tell(self, message: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Tell:
    """A message that goes out once the turn's rows are durable."""

    run: LiveRun
    waiter: Waiter
    message: Any


@dataclass(slots=True)
class Start:
    """A workflow is called."""

    request: Request
    code: str
    reads: dict[str, str]
    waiter: Waiter
    host: Host | None = None
    """Where to activate it: the waiting cell; None: an activation thread."""
    attached: bool = False
    """Is a person there (E4)?"""
    notebook: str | None = None
    cell: str | None = None
    output: Outlet | None = None
    """The output of the cell that made the call; None where prints go where they always go."""
    progress: Callable[[str], None] | None = None
    """Shows how far a map in its code is."""
    resume: bool = False
    """Asked for by ``Instance.resume``: a cancelled or finished run is told so instead of being run anew."""
    strict: bool = False
    """Only this very run is to go on, with whatever code there is; where they part it is stuck, and no new run is made (R7)."""
    since: float = field(default_factory=monotonic)
    next_look: float = 0.0
    follows: str = ""
    """The instance, while another process advances it."""
    abandoned: bool = False
    """Who made the call does not wait for it any more, and it has not begun."""
    whose: str | None = None
    """The notebook that the record is of, where that is another one (R12)."""
    forgot: bool = False
    """What the instance had recorded was removed (D5)."""
    child: bool = False
    """It is called by its parent (R13): a record that was cancelled does not stand in the way of a new run of that."""
    apart: str | None = None
    """The notebook that has the instance of this call, with other code: this call has one of its own."""


@dataclass(slots=True, eq=False)
class Child:
    """A child that a run of this engine began, and what is to be done about it: see ``children``. It is a ``Waiter``.

    Attributes:
        inbox: of the engine.
        run: key of the parent's run.
        place: of its call there; of its undo, while it is undone.
        instance: its id.
        owned: it is cancelled and undone with its parent, which does not end before it.
        wanted: what the code asked for; None where nothing is to be begun.
    """

    inbox: SimpleQueue[Any]
    run: int
    place: str
    instance: str
    owned: bool = True
    wanted: Wanted | None = None
    fresh: bool = False
    """Its intent is of this activation."""
    start: Start | None = None
    """Its call, once made."""
    begun: bool = False
    """It is known to be in the journal."""
    left: bool = False
    """The code gave it up: it is to end, and nobody gets its outcome."""
    undoes: bool = False
    """It is being undone with its parent."""
    asked: Literal["", "posted", "asked", "done"] = ""
    """How far its cancellation is, where it is not advanced here: its owner has a letter, or it is being taken up for that."""

    def tell(self, message: Any) -> None:
        """Have the engine look after it; *message* is what a ``Waiter`` is told, or None."""
        self.inbox.put(ChildTold(self, message))


@dataclass(frozen=True, slots=True)
class ChildTold:
    """Something is to be done about a child, or has become of it."""

    child: Child
    message: Any


@dataclass(frozen=True, slots=True)
class Activated:
    """An activation came to an end."""

    run: LiveRun
    generation: int
    report: Report
    error: Payload | None
    host: Host
    execution: Execution | None


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt of an activity came to an end. ``retry_in`` is in seconds; None: the call is over."""

    attempt: Attempt
    at: int
    ok: bool
    payload: Payload | None
    live: BaseException | None = None
    retry_in: float | None = None
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop was pressed in the cell that made the call *start*."""

    start: Start
    waiter: Waiter


@dataclass(frozen=True, slots=True)
class LetGo:
    """A cell does not wait any longer for a run that rests; it gets ``Left``, unless the run goes on just then."""

    run: LiveRun
    waiter: Waiter
    host: Host | None = None
    """Where the run is activated while that cell waits."""
    then: Waiter | None = None
    """Who waits for the run from then on, in that cell's place."""


@dataclass(slots=True)
class Ask:
    """Run *work* on the engine thread, with the journal held; its result goes to *reply*."""

    work: Callable[[Any], Any]
    reply: SimpleQueue[tuple[bool, Any]]
    since: float = field(default_factory=monotonic)


@dataclass(slots=True)
class CellCalls:
    """A cell of a durable notebook calls an activity (R14)."""

    instance: str
    asked: Asked
    waiter: Waiter
    host: Host | None
    output: Outlet | None
    since: float = field(default_factory=monotonic)
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Stop was pressed in a cell that waits for these calls."""

    calls: tuple[CellCalls, ...]
    waiter: Waiter


@dataclass(frozen=True, slots=True)
class Stop:
    """Put everything down and end the engine thread."""

    reply: SimpleQueue[None]


Inbox = SimpleQueue
