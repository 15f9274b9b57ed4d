"""What the engine keeps in memory, and what its layers may ask of each other.

The engine is built in layers, each a file of its own: ``State``, ``Turns`` (what is made durable), ``Calls`` (activities),
``Activations`` (workflow code) and ``Engine`` (the loop and its inbox). A layer uses what is below it; the few things that
a lower layer needs of a higher one are declared here.
"""

from __future__ import annotations

import itertools
import weakref
from collections import deque
from queue import SimpleQueue
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from romancy_nb.clock import monotonic
from romancy_nb.core.commands import OpenCall
from romancy_nb.core.events import Event
from romancy_nb.journal.protocol import Journal, Letter, Row
from romancy_nb.runtime import ownership
from romancy_nb.runtime.dispatcher import Dispatcher
from romancy_nb.runtime.hosts import ThreadHost
from romancy_nb.runtime.inbox import Ask, Start, Tell, Waiter
from romancy_nb.runtime.live import LiveRun
from romancy_nb.runtime.takeup import TakeUp
from romancy_nb.runtime.timers import Timers

if TYPE_CHECKING:
    from romancy_nb.runtime.dispatcher import Attempt
    from romancy_nb.runtime.sessions import Session

__all__ = ["ENGINES", "State"]

THREADS = 2
"""Activation threads to begin with; a stuck one is replaced."""

ENGINES: weakref.WeakSet[State] = weakref.WeakSet()
"""Engines of this process: tells a run that another journal's engine owns here from one that nobody owns."""


class State:
    """One engine's memory.

    Attributes:
        journal: used by the engine's thread only.
        namespace: goes into derived ids (R12).
        token: names this engine as the owner of runs (D3).
        inbox: everything that reaches the engine.
        live: runs that this engine advances, by key.
        newest: the same by instance.
        sessions: those that activities have open; while there are any, the journal is not let go of.
    """

    def __init__(self, journal: Journal, *, namespace: str = "") -> None:
        self.journal = journal
        self.namespace = namespace
        self.nonce = token_hex(4)
        self.token = ownership.my_token(self.nonce)
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.live: dict[int, LiveRun] = {}
        self.newest: dict[str, LiveRun] = {}
        self.stopped = False
        self.sessions: set[Session] = set()
        self._timers = Timers()
        self._dispatcher = Dispatcher(self.inbox)
        self._hosts = [ThreadHost(f"romancy workflow {n}") for n in range(THREADS)]
        self._next_host = itertools.cycle(range(1 << 30))
        self._rows: list[Row] = []
        self._taken: list[int] = []
        self._next_look = 0.0
        self._after: list[Any] = []
        self._backlog: deque[Any] = deque()
        self._todo: deque[Any] = deque()
        self._touched: dict[int, LiveRun] = {}
        self._ready: dict[int, LiveRun] = {}
        self._busy: dict[int, LiveRun] = {}
        self._following: list[Start] = []
        self._take_up = TakeUp(self)
        self._last_work = monotonic()
        self._unsaved_since = 0.0

    def admit(self, run: LiveRun) -> None:
        """From here on this process advances *run*."""
        self.live[run.key] = run
        self.newest[run.instance] = run
        self.make_ready(run)

    def forget(self, run: LiveRun) -> None:
        """The run has ended: nothing of it is needed in memory any more."""
        if self.live.get(run.key) is run:
            del self.live[run.key]
        if self.newest.get(run.instance) is run:
            del self.newest[run.instance]

    def other_engines(self) -> frozenset[str]:
        """Engines of this process that are alive besides this one."""
        return frozenset(e.nonce for e in ENGINES if e is not self and not e.stopped)

    def add_rows(self, rows: list[Row]) -> None:
        """Write *rows* with this turn: of runs that nobody advances."""
        self._rows += rows

    def take(self, letter: Letter) -> None:
        """Take *letter* out of the journal's inbox with this turn."""
        self._taken.append(letter.id)

    def after_commit(self, act: Any) -> None:
        """Have *act* called (or an attempt dispatched) once this turn's rows are durable."""
        self._after.append(act)

    def tell_after_commit(self, run: LiveRun, waiter: Waiter, message: Any) -> None:
        """Tell *waiter* once this turn's rows are durable, or that those of *run* could not be written."""
        self._after.append(Tell(run, waiter, message))

    def make_ready(self, run: LiveRun) -> None:
        """There is something for the run's code to see."""
        self._ready[run.key] = run

    def set_timer(self, run: LiveRun, what: str, due: int) -> None:
        """Look after *run* itself at *due* (µs): its "deadline", the "grace" of its clean-up, what has to "settle"."""
        self._timers.set((run.key, "", what), due)

    def host(self) -> ThreadHost:
        return self._hosts[next(self._next_host) % len(self._hosts)]

    def in_session(self) -> bool:
        """Has any activity a session open? Then the journal is not let go of (D2)."""
        if self.sessions:
            self.sessions = {session for session in self.sessions if not session.closed}
        return bool(self.sessions)

    # -- declared here, done in a layer above ---------------------------------

    def ask(self, work: Any, timeout: float | None = None) -> Any:
        raise NotImplementedError

    def hold(self, item: Start | Ask | None = None) -> None:
        raise NotImplementedError

    def record(self, run: LiveRun, events: list[Event]) -> None:
        raise NotImplementedError

    def commit_now(self) -> None:
        raise NotImplementedError

    def save(self, run: LiveRun) -> None:
        raise NotImplementedError

    def put_down(self, run: LiveRun) -> None:
        raise NotImplementedError

    def execute(self, run: LiveRun, call: OpenCall) -> None:
        raise NotImplementedError

    def abandon_calls(self, run: LiveRun) -> None:
        raise NotImplementedError

    def follow(self, start: Start) -> None:
        raise NotImplementedError

    def _dispatch(self, attempt: Attempt) -> None:
        raise NotImplementedError

    def _end_if_settled(self, run: LiveRun) -> None:
        raise NotImplementedError
