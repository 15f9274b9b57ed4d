"""The calls of a run while its rows are being read: each takes the rows of its own, one by one, as they are committed.

Nothing is read twice: ``Calls.take`` says which calls a row has changed, so whoever draws a run of a thousand steps looks
at one of them when one row comes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.core.replay import UNDO
from romancy_nb.journal.protocol import Row
from romancy_nb.widgets import preview
from romancy_nb.words import clip

__all__ = ["AT_ONCE", "EXECUTED", "KINDS", "Call", "Calls", "Try", "is_ok"]

KINDS: Final = {
    ev.ACTIVITY_SCHEDULED: "activity",
    ev.TIMER_STARTED: "timer",
    ev.SIDE_EFFECT: "side_effect",
    ev.CHILD_STARTED: "child",
    ev.COMPENSATION_SCHEDULED: "compensation",
    ev.WAIT_STARTED: "wait",
    ev.SUBSCRIBED: "channel",
    ev.MESSAGE_PUBLISHED: "publish",
    ev.COMPENSATION_ARMED: "armed",
}
"""What a step is called that an intent of this kind opens; a wait for a person is a ``question``."""
EXECUTED: Final = frozenset({ev.ACTIVITY_SCHEDULED, ev.COMPENSATION_SCHEDULED})
AT_ONCE: Final = frozenset({ev.SIDE_EFFECT, ev.SUBSCRIBED, ev.MESSAGE_PUBLISHED, ev.COMPENSATION_ARMED})
"""The intents that are done as soon as they are journaled."""
_FAILED: Final = frozenset({ev.ACTIVITY_FAILED, ev.CHILD_FAILED, ev.COMPENSATION_FAILED})
_DELIVERED: Final = frozenset({ev.CHILD_COMPLETED, ev.CHILD_FAILED, ev.EVENT_RECEIVED, ev.TIMER_FIRED})
_OUTCOMES: Final = frozenset(
    {
        ev.ACTIVITY_COMPLETED,
        ev.ACTIVITY_FAILED,
        ev.COMPENSATION_COMPLETED,
        ev.COMPENSATION_FAILED,
        ev.OUTCOME_RECORDED,
    }
)
_NOTHING: Final[Mapping[str, Any]] = {}
_TAKEN: Final = frozenset({ev.RUN_STARTED, ev.RUN_RESUMED, ev.RUN_COMPENSATING})
_CANCELS: Final = frozenset({ev.CALL_CANCELLED, ev.TIMER_CANCELLED, ev.CHILD_CANCELLED, ev.WAIT_CANCELLED})


@dataclass(slots=True)
class Try:
    """An attempt while it is being read."""

    number: int
    started: int
    owner: str
    finished: int | None = None
    outcome: str = ""
    error: str = ""


@dataclass(slots=True)
class Call:
    """A call while it is being read.

    Attributes:
        seq: number of the row of its intent.
        intent: that row.
        owner: who owned the run when it was asked for, or its last attempt began.
        tries: its attempts so far.
        outcome: the row that answered it.
        outcome_seq: the number of that row.
        cancelled: µs when the code gave it up.
        next_at: µs when the next attempt is due.
        outputs: what it printed and displayed.
        decided: what a person decided about an undo.
        refused: why what had arrived for it was put aside, each time.
        attributes: what its attempts say of themselves (``attributes`` in the meta of the rows that end them), each time.
        deadline: µs when its wait ends, by the ``timeout=`` that it has; its timer is no step of its own.
        kind: what its step is called.
        undoes: place of the call that it undoes, or nothing; also of an undo that the code makes itself.
    """

    seq: int
    intent: Event
    owner: str
    tries: list[Try] = field(default_factory=list)
    outcome: Event | None = None
    outcome_seq: int = 0
    cancelled: int | None = None
    next_at: int | None = None
    outputs: list[dict[str, Any]] = field(default_factory=list)
    decided: str = ""
    refused: list[str] = field(default_factory=list)
    attributes: list[dict[str, Any]] = field(default_factory=list)
    deadline: int | None = None
    kind: str = field(init=False)
    undoes: str = field(init=False)

    def __post_init__(self) -> None:
        kind = KINDS[self.intent.kind]
        self.kind = "question" if kind == "wait" and self.meta.get("what") == "ask" else kind
        undo = self.intent.kind == ev.COMPENSATION_SCHEDULED
        self.undoes = self.intent.call.removeprefix(UNDO) if undo else str(self.meta.get("undoes", ""))

    @property
    def meta(self) -> Mapping[str, Any]:
        """The small facts of the intent."""
        return self.intent.meta or _NOTHING

    @property
    def limits(self) -> tuple[str, ...]:
        """Names of the limits that its attempts wait for."""
        return tuple(clip(str(each["name"])) for each in (self.intent.meta or {}).get("limit", ()))

    @property
    def is_open(self) -> bool:
        """Can it still change with what becomes of the run?"""
        return self.outcome is None and self.cancelled is None and self.intent.kind not in AT_ONCE

    def attempt(self, event: Event) -> Try:
        """Find the open attempt with the event's number, or add it."""
        number = event.attempt or (self.tries[-1].number if self.tries else 1)
        for known in reversed(self.tries):
            if known.number == number and known.finished is None and known.outcome in {"", "abandoned"}:
                return known
        started = event.at if self.tries or event.kind == ev.ATTEMPT_STARTED else self.intent.at
        if event.kind != ev.ATTEMPT_STARTED and self.tries:
            started = self.next_at or self.tries[-1].finished or self.tries[-1].started
        self.tries.append(Try(number, min(started, event.at), self.owner))
        return self.tries[-1]

    def end(self, event: Event, outcome: str) -> None:
        """Close the attempt that *event* tells the end of."""
        attempt = self.attempt(event)
        attempt.finished, attempt.outcome = event.at, outcome
        attempt.error = preview.failure(event.payload) if outcome == "failed" else ""

    def end_late(self, event: Event) -> None:
        """An attempt that was left running, or whose call was cancelled, came to an end after all."""
        for known in reversed(self.tries or [self.attempt(event)]):
            if known.finished is None and event.attempt in {0, known.number}:
                ok = bool((event.meta or {}).get("ok"))
                known.finished = event.at
                known.outcome = known.outcome or ("ok" if ok else "failed")
                known.error = "" if ok else preview.failure(event.payload)
                return

    def take(self, seq: int, event: Event, owner: str) -> None:
        """Know of one more event of its own."""
        kind = event.kind
        if kind == ev.ATTEMPT_STARTED:
            self.owner = owner
            self.attempt(event).owner = owner
            self.next_at = None
        elif kind == ev.ATTEMPT_FAILED:
            self._note(event)
            self.end(event, "failed")
            next_at = (event.meta or {}).get("next_at")
            self.next_at = int(next_at) if next_at else None
        elif kind == ev.ATTEMPT_OUTPUT:
            self.outputs += json.loads(event.payload.text) if event.payload is not None else []
        elif kind == ev.ATTEMPT_ABANDONED:
            self.attempt(event).outcome = "abandoned"
        elif kind == ev.LATE_OUTCOME:
            if self.intent.kind != ev.CHILD_STARTED:
                self.end_late(event)
        elif kind in _DELIVERED:
            self._note(event)
            self.outcome, self.outcome_seq = event, seq
        elif kind == ev.COMPENSATION_RESOLVED:
            action = str((event.meta or {}).get("action", ""))
            self.decided = "" if action == "retry" else action
            self.outcome = None if action == "retry" else self.outcome
        elif kind in _OUTCOMES:
            self._answered(seq, event)
        elif kind in _CANCELS and self.outcome is None:
            self.cancelled = event.at

    def _answered(self, seq: int, event: Event) -> None:
        ok = is_ok(event)
        if self.outcome is not None and is_ok(self.outcome) == ok:
            return  # it was recorded before and is only delivered now: it happened then
        last = self.tries[-1] if self.tries else None
        told = last is not None and last.outcome == "failed" and last.number == event.attempt and not ok
        if not told:  # else the row of the attempt itself has said so
            self._note(event)
        self.outcome, self.outcome_seq = event, seq
        if ok or last is None or last.outcome != "failed" or last.number != event.attempt:
            self.end(event, "ok" if ok else "failed")

    def _note(self, event: Event) -> None:
        attributes = (event.meta or {}).get("attributes")
        if isinstance(attributes, dict) and attributes:
            self.attributes.append(attributes)


class Calls:
    """All calls of a run by place, as far as its rows have been read.

    Attributes:
        by_place: the calls in the order in which they were asked for.
        owner: who owns the run.
        open: places of the calls that are not over: what becomes of the run decides what is shown of them.
        voids: how often a resume took something back, after which the calls are not those from before with more in them.
    """

    def __init__(self) -> None:
        self.by_place: dict[str, Call] = {}
        self.owner = ""
        self.open: dict[str, None] = {}
        self.voids = 0
        self._awaiting: dict[str, dict[str, None]] = {}

    def take(self, row: Row) -> str | None:
        """Read one more row; return the place of the call that it changed, if it did."""
        event, place = row.event, row.event.call
        if event.kind in _TAKEN:
            self.owner = str((event.meta or {}).get("owner", self.owner))
            void = (event.meta or {}).get("void_from")
            if isinstance(void, int):
                self._declare_void(void)
            return None
        if event.kind == ev.TIMER_STARTED and (wait := self._limited_by(place)) is not None:
            due = (event.meta or {}).get("due")
            wait.deadline = int(due) if isinstance(due, int | float) else None
            return wait.intent.call
        if event.kind in KINDS:
            if event.kind == ev.SUBSCRIBED and not place:
                return None  # carried over from the run before
            self.by_place[place] = Call(row.seq, event, self.owner)
            if event.kind == ev.WAIT_STARTED:
                self._awaiting.setdefault(event.name, {})[place] = None
        elif event.kind == ev.EVENT_REFUSED:
            return self._refused(event)
        elif (call := self.by_place.get(place)) is not None:
            call.take(row.seq, event, self.owner)
        else:
            return None
        self._sort_in(place)
        return place

    def _limited_by(self, place: str) -> Call | None:
        """The open wait whose ``timeout=`` the timer at *place* is: the task that waits can have begun it for nothing else."""
        task, _, ordinal = place.rpartition(":")
        if not (ordinal.isascii() and ordinal.isdigit() and len(ordinal) < 10):
            return None
        wait = self.by_place.get(f"{task}:{int(ordinal) - 1}")
        return wait if wait is not None and wait.intent.kind == ev.WAIT_STARTED and wait.is_open else None

    def _sort_in(self, place: str) -> None:
        call = self.by_place[place]
        if call.is_open:
            self.open[place] = None
        else:
            self.open.pop(place, None)
            if call.intent.kind == ev.WAIT_STARTED:
                self._awaiting.get(call.intent.name, {}).pop(place, None)

    def _refused(self, event: Event) -> str | None:
        """What had arrived did not fit what awaits it: the first open wait for that name."""
        names = (event.name, ev.ANY_CHANNEL) if event.name.startswith(ev.CHANNEL) else (event.name,)
        for place in self._waits(names):
            self.by_place[place].refused.append(clip(str((event.meta or {}).get("why", ""))))
            return place
        return None

    def _waits(self, names: tuple[str, ...]) -> Iterator[str]:
        for name in names:
            yield from self._awaiting.get(name, {})

    def _declare_void(self, void: int) -> None:
        """A resume took back what stands from row *void* on: a failure that is tried again stays as a failed attempt."""
        self.voids += 1
        for place, call in list(self.by_place.items()):
            if call.seq >= void:
                del self.by_place[place]
            elif call.outcome is not None and call.outcome_seq >= void:
                call.outcome, call.outcome_seq = None, 0
        self.open = {place: None for place, call in self.by_place.items() if call.is_open}
        self._awaiting = {}
        for place in self.open:
            intent = self.by_place[place].intent
            if intent.kind == ev.WAIT_STARTED:
                self._awaiting.setdefault(intent.name, {})[place] = None


def is_ok(event: Event) -> bool:
    """Did it go well?"""
    if event.kind == ev.OUTCOME_RECORDED:
        return bool((event.meta or {}).get("ok"))
    return event.kind not in _FAILED
