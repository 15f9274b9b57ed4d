"""What can reach the engine thread. Everything comes through one ``SimpleQueue``.

``SimpleQueue.put`` takes no lock that a signal handler or a garbage collection on the same thread could already hold, so
the main thread, interrupted anywhere, cannot block the engine (X4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from romancy_nb.clock import monotonic
from romancy_nb.journal.protocol import Letter
from romancy_nb.payloads.payload import Payload

if TYPE_CHECKING:
    from romancy_nb.core.commands import Report
    from romancy_nb.core.ledger import Asked
    from romancy_nb.definitions.ambient import Request
    from romancy_nb.runtime.dispatcher import Attempt
    from romancy_nb.runtime.hosts import Host
    from romancy_nb.runtime.live import LiveRun
    from romancy_nb.runtime.observers import Outlet

__all__ = [
    "Activated",
    "Ask",
    "AttemptEnded",
    "CellCalls",
    "Finished",
    "Found",
    "Inbox",
    "Interrupt",
    "Paused",
    "Posted",
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
    apart: str | None = None
    """The notebook that has the instance of this call, with other code: this call has one of its own."""


@dataclass(frozen=True, slots=True)
class Activated:
    """An activation came to an end."""

    run: LiveRun
    generation: int
    report: Report
    error: Payload | None = None


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
