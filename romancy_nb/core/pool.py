"""What earlier runs of an instance know: a new run may answer a call from it (R2, R3, R8).

A call is answered when kind, name, inputs, occurrence and, for an activity or a child, its code are the same, and it completed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.core.replay import UNDO, Call, History, Key, Numbered, attempt_of, collect, delivered, without_void
from romancy_nb.payloads.payload import Payload

__all__ = ["Kept", "Pool", "leaves_doubt", "says_nothing", "undone"]

_NOT_AWAITED: Final = frozenset({ev.SIDE_EFFECT, ev.SUBSCRIBED, ev.MESSAGE_PUBLISHED})
"""What is over as soon as it is recorded: the intent is the answer."""
_FAILED: Final = frozenset({ev.ACTIVITY_FAILED, ev.CHILD_FAILED})
_CODED: Final = frozenset({ev.ACTIVITY_SCHEDULED, ev.CHILD_STARTED})
"""What an edit of its own code makes another call."""
_DOUBTFUL: Final = ("romancy_nb.errors.AttemptTimeout", "romancy_nb.runtime.endings.InDoubt")
"""Errors that say nothing of whether the attempt had its effect, as they are journaled."""


@dataclass(slots=True)
class Kept:
    """What an earlier run knows of one call.

    Attributes:
        run: key of that run.
        call: as its history has it; ``outcome`` is set, except for side effects, whose result stands in the intent.
        order: where its outcome stands among those of all earlier runs (R4).
        origin: (run key, seq) of the intent that was first answered by executing; for one reused again, that of the first.
    """

    run: int
    call: Call
    order: tuple[int, int, int]
    origin: tuple[int, int]

    @property
    def marks(self) -> dict[str, bool]:
        """What goes on with the result: a person edited it, or its effect is that of the instance which was forked (R17)."""
        known = self.call.intent.meta or {}
        return {mark: True for mark in ("edited", "shared") if mark in known}

    def outputs(self, place: str) -> list[Event]:
        """Return the rows with which what the call once put out belongs to the history of a run that reuses it (N4)."""
        return [
            Event(ev.ATTEMPT_OUTPUT, e.at, place, payload=e.payload, meta={**attempt_of(e), "reused": True})
            for _, e in self.call.outputs or ()
        ]


class Pool:
    """What earlier runs of the instance can answer (R2, R3, R8).

    Args:
        runs: (run key, its rows), newest first. The newest run that knows a call answers it.

    Attributes:
        undone: how often a call was undone in these runs: what it did is gone, so it answers nothing (R9), and the next
            time it is another call to whoever keeps idempotency keys (A4).

    A call is answered when kind, name, inputs, occurrence and, for an activity, its code are the same, and it completed.
    """

    def __init__(self, runs: Sequence[tuple[int, Sequence[Numbered]]]) -> None:
        self._by_place: dict[str, list[Kept]] = {}
        self._by_key: dict[Key, list[Kept]] = {}
        self._taken: set[tuple[int, int]] = set()
        self._doubtful: dict[Key, bool] = {}
        self._children: dict[Key, str] = {}
        self._shared: set[Key] = set()
        self.undone: dict[Key, int] = {}
        gone_for_all: set[tuple[int, int]] = set()  # a run that reused it undid it: older runs' records answer neither
        for age, (run, rows) in enumerate(runs):
            calls, deliveries = collect(without_void(rows))
            clock = 0
            clocks: dict[int, int] = {}
            for seq, event in deliveries:
                clock = max(clock, event.at)
                clocks[seq] = clock
            gone = undone(rows)
            for place, call in calls.items():
                first = (call.intent.meta or {}).get("reused", (run, call.seq))
                origin = (int(first[0]), int(first[1]))
                if origin in gone_for_all:
                    continue
                if place in gone:
                    gone_for_all.add(origin)
                    self.undone[call.key] = self.undone.get(call.key, 0) + 1
                    self._doubtful.setdefault(call.key, False)  # whatever it did is gone
                    continue
                if call.intent.kind == ev.COMPENSATION_ARMED and "shared" in (call.intent.meta or {}):
                    self._shared.add(call.key)
                if call.intent.kind == ev.CHILD_STARTED:
                    self._children.setdefault(call.key, str((call.intent.meta or {}).get("instance", "")))
                if call.attempts or call.outcome is not None or call.waiting is not None:
                    self._doubtful.setdefault(call.key, _in_doubt(call))  # a newer run knows what became of it
                answer = _answer(call)
                if answer is None:
                    continue
                at = clocks.get(answer, clock)
                kept = Kept(run, call, (at, -age, answer), origin)
                self._by_place.setdefault(place, []).append(kept)
                self._by_key.setdefault(call.key, []).append(kept)
        self._size = sum(len(kept) for kept in self._by_key.values())

    def __len__(self) -> int:
        return self._size

    def in_doubt(self, key: Key) -> bool:
        """Was this call started in an earlier run, and nobody recorded how it ended (A5)?"""
        return self._doubtful.get(key, False)

    def child(self, key: Key) -> str:
        """Return the id of the child that an earlier run began with this very call, if it was not undone; else nothing."""
        return self._children.get(key, "")

    def is_shared(self, key: Key) -> bool:
        """Was this undo armed for an effect of the instance which was forked (R17)?"""
        return key in self._shared

    def standing(self) -> list[str]:
        """What can be undone, completed in an earlier run, and no call of this one was answered with: as a person reads it."""
        left = [
            kept.call
            for each in self._by_key.values()
            for kept in each
            if kept.origin not in self._taken and "undo" in (kept.call.intent.meta or {})
        ]
        return list(dict.fromkeys(call.describe().removeprefix("activity ") for call in left))

    def claim(self, history: History) -> None:
        """What a run has reused already answers none of its further calls."""
        for call in history.calls.values():
            origin = (call.intent.meta or {}).get("reused")
            if origin:
                self._taken.add((origin[0], origin[1]))

    def take(self, place: str, key: Key, code: Callable[[], str], *, keeps: bool = False) -> Kept | None:
        """Return the recorded call that answers this one, or None. Each recorded call answers once.

        Args:
            place: of the call.
            key: of the call.
            code: gives the fingerprint of the activity as it is now.
            keeps: it answers also if the activity was edited since, because its effect stands (R5).
        """
        here = [kept for kept in self._by_place.get(place, ()) if kept.call.key[:3] == key[:3]]
        candidates: list[Kept] = [*here, *self._by_key.get(key, ())]
        for kept in candidates:
            if kept.origin in self._taken:
                continue
            said = "edited" in kept.marks  # a person's word does not depend on the code
            if key[0] in _CODED and not keeps and not said and kept.call.intent.code != code():
                continue
            self._taken.add(kept.origin)
            return kept
        return None


def undone(rows: Sequence[Numbered]) -> set[str]:
    """Return the places of the calls whose undo was begun: their results are never used again (R9)."""
    by_code = {str((e.meta or {}).get("undoes", "")) for _, e in rows if e.kind == ev.ACTIVITY_SCHEDULED}
    by_engine = {e.call.removeprefix(UNDO) for _, e in rows if e.kind == ev.COMPENSATION_SCHEDULED}
    return (by_code | by_engine) - {""}


def _answer(call: Call) -> int | None:
    """Return the number of the row that holds the call's result, or None when it has no usable one."""
    if call.intent.kind in _NOT_AWAITED:
        return call.seq
    if call.waiting is not None and (call.waiting.meta or {}).get("ok", False):
        # recorded but never delivered: as good as delivered
        call.outcome, call.outcome_seq = delivered(call.waiting), call.waiting_seq
    if call.outcome is None or call.outcome.kind in _FAILED:
        return None
    return call.outcome_seq


def _in_doubt(call: Call) -> bool:
    """Was it started, and did nobody record how it ended? A failure that says no more than that leaves it so."""
    if call.waiting is not None:
        return False
    if call.outcome is None:
        return call.attempts > call.failed
    return call.outcome.kind == ev.ACTIVITY_FAILED and leaves_doubt(call.intent, call.outcome)


def leaves_doubt(intent: Event, failed: Event) -> bool:
    """Does this failure of a call that must not run twice leave open whether it had its effect (A1)?"""
    return (intent.meta or {}).get("delivery") == "at_most_once" and says_nothing(failed.payload)


def says_nothing(failure: Payload | None) -> bool:
    """Is this an error that says nothing of whether the attempt had its effect?"""
    return failure is not None and any(f'"{name}"' in failure.text for name in _DOUBTFUL)
