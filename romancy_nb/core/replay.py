"""History against commands: what a run already knows, found again call by call.

Two books are kept. ``History`` is the run's own past: the code has to ask for the same calls again, and gets the same
outcomes in the same order. ``Pool`` is what earlier runs of the instance know: a new run may answer a call from it when
activity, code and inputs are the same (section "Running again" of docs/architecture.md).

A call is found by its place first. If that does not fit, one with the same name, inputs and occurrence is taken and noted
as moved; a call that fits nowhere is a mismatch (C6). *Occurrence* counts equal calls (same kind, name and inputs) in the
order they were issued, so a key is unique within a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.errors import HistoryMismatch

__all__ = ["Call", "History", "Key", "Numbered", "Pool", "describe"]

Key = tuple[str, str, str, int]
"""(kind of intent, name, digest of inputs, occurrence)"""
Numbered = tuple[int, Event]
"""An event with its number in the run."""

_OUTCOMES = {
    ev.ACTIVITY_COMPLETED: ev.ACTIVITY_SCHEDULED,
    ev.ACTIVITY_FAILED: ev.ACTIVITY_SCHEDULED,
    ev.TIMER_FIRED: ev.TIMER_STARTED,
}


@dataclass(slots=True)
class Call:
    """One call as history has it."""

    seq: int
    intent: Event
    key: Key
    outcome: Event | None = None
    outcome_seq: int = 0
    waiting: Event | None = None
    """An outcome that was recorded and not delivered yet (S1)."""
    cancelled: bool = False
    attempts: int = 0
    failed: int = 0
    failures: int = 0
    next_at: int = 0
    matched: bool = False


def describe(kind: str, name: str, place: str, text: str = "") -> str:
    """Return a call as a person reads it: ``reserve("a") (call 0:3)``."""
    what = {ev.TIMER_STARTED: "a timer of", ev.SIDE_EFFECT: "side effect"}.get(kind, "activity")
    shown = text if len(text) <= 80 else text[:77] + "…"
    return f"{what} {name}{f' with {shown}' if shown else ''} (call {place})"


def _collect(rows: Iterable[Numbered]) -> tuple[dict[str, Call], list[Numbered]]:
    """Read calls by place and deliveries in order off *rows*."""
    calls: dict[str, Call] = {}
    deliveries: list[Numbered] = []
    for seq, event in rows:
        kind = event.kind
        if kind in ev.INTENTS:
            occurrence = int((event.meta or {}).get("occurrence", 0))
            calls[event.call] = Call(seq, event, (kind, event.name, event.digest, occurrence))
            continue
        call = calls.get(event.call)
        if call is None:
            continue
        if kind in ev.DELIVERED:
            call.outcome, call.outcome_seq, call.waiting = event, seq, None
            deliveries.append((seq, event))
        elif kind == ev.OUTCOME_RECORDED:
            call.waiting = event
        elif kind == ev.ATTEMPT_STARTED:
            call.attempts = max(call.attempts, event.attempt)
        elif kind == ev.ATTEMPT_FAILED:
            call.attempts = max(call.attempts, event.attempt)
            call.failed = max(call.failed, event.attempt)
            call.failures += 1
            call.next_at = int((event.meta or {}).get("next_at", 0))
        elif kind in {ev.CALL_CANCELLED, ev.TIMER_CANCELLED}:
            call.cancelled = True
    return calls, deliveries


class History:
    """The past of one run, as its own code must repeat it.

    Args:
        rows: its events in order, the first being ``run_started``.

    Attributes:
        start: the ``run_started`` event.
        deliveries: what was delivered, in order.
        calls: by place.
        has_calls: False for a run that has only just started: then every call is new.
    """

    def __init__(self, rows: Sequence[Numbered]) -> None:
        self.start = rows[0][1]
        kept = _without_void(rows)
        self.calls, self.deliveries = _collect(kept)
        self.has_calls = len(rows) > 1
        self._by_key = {call.key: call for call in self.calls.values()}

    def find(self, place: str, key: Key) -> tuple[Call, bool] | None:
        """Return the recorded call that the code asks for now and whether it moved, or None; marks it as found."""
        call = self.calls.get(place)
        moved = False
        if call is None or call.matched or call.key[:3] != key[:3]:
            call = self._by_key.get(key)
            moved = True
            if call is None or call.matched:
                return None
        call.matched = True
        return call, moved

    def unasked(self) -> Call | None:
        """Return the first recorded call that the code has not asked for, or None."""
        return min((c for c in self.calls.values() if not c.matched), key=lambda c: c.seq, default=None)

    def mismatch(self, place: str, key: Key, text: str) -> HistoryMismatch:
        """Return the error for a call that fits nowhere."""
        there = self.calls.get(place) or self.unasked()
        asked = describe(key[0], key[1], place, text)
        if there is None:
            expected, holds = None, "no further call"
        else:
            event = there.intent
            expected = describe(event.kind, event.name, event.call, event.payload.text if event.payload else "")
            holds = expected
        return _mismatch(f"history holds {holds}; the code asks for {asked}", expected, asked)

    def not_asked(self, call: Call) -> HistoryMismatch:
        """Return the error for a recorded call that the code does not make any more."""
        event = call.intent
        expected = describe(event.kind, event.name, event.call, event.payload.text if event.payload else "")
        return _mismatch(f"history holds {expected}; the code does not make that call", expected, None)


def _mismatch(what: str, expected: str | None, asked: str | None) -> HistoryMismatch:
    return HistoryMismatch(
        f"The workflow's code no longer fits its history: {what}. Likely causes: the code changed, another version of "
        "Python or of a package, a loop over a set of strings, or time.time(), random and the like in workflow code "
        "(use rn.now(), rn.random(), rn.uuid4() or rn.side_effect()).",
        expected=expected,
        asked=asked,
    )


def _without_void(rows: Sequence[Numbered]) -> list[Numbered]:
    """Leave out what a later resume declared void: the failure that it retries (see ``transitions.retry_point``)."""
    kept: list[Numbered] = []
    for seq, event in rows:
        void = (event.meta or {}).get("void_from") if event.kind == ev.RUN_RESUMED else None
        if void is not None:
            kept = [(s, e) for s, e in kept if s < void]
        kept.append((seq, event))
    return kept


@dataclass(slots=True)
class _Kept:
    run: int
    call: Call
    code: str
    place: str


class Pool:
    """What earlier runs of the instance can answer (R2, R3, R8).

    Args:
        runs: (run key, its rows), newest first. The newest run that knows a call answers it.

    A call is answered when kind, name, inputs, occurrence and, for an activity, its code are the same, and it completed.
    """

    def __init__(self, runs: Sequence[tuple[int, Sequence[Numbered]]]) -> None:
        self._by_place: dict[str, _Kept] = {}
        self._by_key: dict[Key, list[_Kept]] = {}
        self._taken: set[tuple[int, int]] = set()
        known: set[tuple[Key, str]] = set()
        for run, rows in runs:
            calls, _ = _collect(rows)
            for place, call in calls.items():
                if call.outcome is None or call.outcome.kind == ev.ACTIVITY_FAILED:
                    if call.waiting is None or not (call.waiting.meta or {}).get("ok", False):
                        if call.intent.kind != ev.SIDE_EFFECT:
                            continue
                    else:  # recorded but never delivered: as good as delivered
                        call.outcome, call.outcome_seq = _as_delivered(call.waiting), call.seq + (1 << 30)
                kept = _Kept(run, call, call.intent.code, place)
                identity = (call.key, kept.code)
                if identity in known:
                    continue
                known.add(identity)
                self._by_place.setdefault(place, kept)
                self._by_key.setdefault(call.key, []).append(kept)

    def __len__(self) -> int:
        return sum(len(kept) for kept in self._by_key.values())

    def take(self, place: str, key: Key, code: Callable[[], str]) -> tuple[int, Call] | None:
        """Return (run key, recorded call) that answers this call, or None. Each recorded call answers once."""
        candidates = list(self._by_key.get(key, ()))
        here = self._by_place.get(place)
        if here is not None and here.call.key[:3] == key[:3]:
            candidates.insert(0, here)
        for kept in candidates:
            if (kept.run, kept.call.seq) in self._taken:
                continue
            if key[0] == ev.ACTIVITY_SCHEDULED and kept.code != code():
                continue
            self._taken.add((kept.run, kept.call.seq))
            return kept.run, kept.call
        return None


def _as_delivered(event: Event) -> Event:
    kind = ev.ACTIVITY_COMPLETED if (event.meta or {}).get("ok") else ev.ACTIVITY_FAILED
    return Event(kind, event.at, event.call, event.name, attempt=event.attempt, payload=event.payload)
