"""What the engine keeps in memory, and what its layers may ask of each other.

The engine is built in layers, each a file of its own: ``State``, ``Turns`` (what is made durable), ``Calls`` (activities),
``Parking`` (runs that wait long), ``Activations`` (workflow code) and ``Engine`` (the loop and its inbox). A layer uses
what is below it; the few things that a lower layer needs of a higher one are declared here.
"""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict, deque
from queue import SimpleQueue
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from romancy_nb.clock import monotonic
from romancy_nb.core.commands import OpenCall
from romancy_nb.core.events import Event
from romancy_nb.core.transitions import ACTIVE
from romancy_nb.journal.protocol import Head, Journal, Letter, Row
from romancy_nb.runtime import ownership
from romancy_nb.runtime.channels import Channels
from romancy_nb.runtime.dispatcher import Dispatcher
from romancy_nb.runtime.hosts import ThreadHost
from romancy_nb.runtime.inbox import Ask, Start, Tell, Waiter
from romancy_nb.runtime.limits import Limits
from romancy_nb.runtime.live import LiveRun
from romancy_nb.runtime.takeup import TakeUp
from romancy_nb.runtime.taps import Taps
from romancy_nb.runtime.timers import Timers

if TYPE_CHECKING:
    from romancy_nb.runtime.dispatcher import Attempt
    from romancy_nb.runtime.sessions import Session

__all__ = ["ENGINES", "State"]

THREADS = 2
"""Activation threads to begin with; a stuck one is replaced."""

_REMEMBERED = 10_000
"""Letters of which it is remembered that they were taken; one is read twice within a turn or two."""

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
        limits: who waits for which limit, and who holds a place in it.
        taps: who follows which runs, and what activities report of themselves.
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
        self.limits = Limits()
        self.taps = Taps(journal.where, self.token)
        self._timers = Timers()
        self._dispatcher = Dispatcher(self.inbox)
        self._hosts = [ThreadHost(f"romancy workflow {n}") for n in range(THREADS)]
        self._next_host = itertools.cycle(range(1 << 30))
        self._rows: list[Row] = []
        self._taken: list[Letter] = []
        self._took: OrderedDict[int, int] = OrderedDict()  # letters that were taken, and the runs they were for
        self._in_question: set[int] = set()  # letters of a turn of which nobody knows whether it got in
        self._posted: list[Letter] = []
        self._texts: dict[str, str] = {}  # code of activities that is kept with the next commit
        self.code_kept: set[tuple[str, str]] = set()  # name and fingerprint of code that is kept, or is not to be had
        self.channels = Channels()
        self._successors: dict[int, str] = {}
        self._next_look = 0.0
        self._after: list[Any] = []
        self._backlog: deque[Any] = deque()
        self._todo: deque[Any] = deque()
        self._touched: dict[int, LiveRun] = {}
        self._ready: dict[int, LiveRun] = {}
        self._busy: dict[int, LiveRun] = {}
        self._resting: OrderedDict[int, LiveRun] = OrderedDict()  # not parked; who was active last stands last
        self._waking: dict[int, LiveRun] = {}  # parked, and something has come for them
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
        self._resting.pop(run.key, None)

    def other_engines(self) -> frozenset[str]:
        """Engines of this process that are alive besides this one."""
        return frozenset(e.nonce for e in ENGINES if e is not self and not e.stopped)

    def advanced(self, instance: str) -> LiveRun | None:
        """Return the newest run of *instance* if this process advances it just now."""
        run = self.newest.get(instance)
        return None if run is None or run.finished or run.replay_only or run.status == "paused" else run

    def held_elsewhere(self, head: Head) -> bool:
        """Does another living process advance the run?"""
        return head.status in ACTIVE and ownership.alive(head.owner, self.other_engines())

    def add_rows(self, rows: list[Row]) -> None:
        """Write *rows* with this turn: of runs that nobody advances."""
        self._rows += rows

    def unwritten(self) -> list[Row]:
        """What this turn is going to write."""
        return self._rows

    def next_seq(self, head: Head) -> int:
        """Return the number of the next row of a run that nobody advances; this turn may have some of it already."""
        return max([head.last_seq, *(row.seq for row in self._rows if row.run == head.run)]) + 1

    def take(self, letter: Letter, run: int) -> None:
        """Take *letter* out of the journal's inbox with this turn; what it brings are rows of *run*."""
        if letter in self._posted:  # by this very turn
            self._posted.remove(letter)
            return
        self._taken.append(letter)
        self._took[letter.id] = run
        if len(self._took) > _REMEMBERED:
            self._took.popitem(last=False)

    def is_taken(self, letter: Letter) -> bool:
        """Was *letter* taken already? It is read again when the file comes back before this turn is written, and then queued.

        Raises:
            JournalError: only the journal knows, and it cannot be asked.
        """
        if letter.id in self._in_question:
            self.hold()
            self._in_question.discard(letter.id)
            if all(each.id != letter.id for each in self.journal.letters()):
                self._took[letter.id] = letter.run
        return letter.id in self._took

    def post(self, letter: Letter) -> None:
        """Put *letter* into the journal's inbox with this turn."""
        self._posted.append(letter)

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

    def clear_timer(self, run: LiveRun, what: str) -> None:
        """What was to be looked after with ``set_timer`` is not any more."""
        self._timers.cancel((run.key, "", what))

    def recurred(self, key: int, instance: str) -> None:
        """The run with this key goes on in a new one: what is still addressed to it is for that."""
        self._successors[key] = instance
        if len(self._successors) > 1_000:
            del self._successors[next(iter(self._successors))]

    def addressed(self, key: int) -> LiveRun | None:
        """Return the run that is advanced here and that a letter to the run with this key is for."""
        return self.live.get(key) or self.newest.get(self._successors.get(key, ""))

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

    def offer(self, run: LiveRun, name: str) -> None:
        raise NotImplementedError

    def move(self, run: LiveRun) -> None:
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
