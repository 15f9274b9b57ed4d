"""History against commands: what a run already knows, found again call by call.

Two books are kept. ``History`` is the run's own past: the code has to ask for the same calls again, and gets the same
outcomes in the same order. ``Pool`` (in ``pool``) is what earlier runs of the instance know.

A call is found by its place first. If that does not fit, one with the same name, inputs and occurrence is taken and noted
as moved; a call that fits nowhere is a mismatch (C6). *Occurrence* counts equal calls (same kind, name and inputs) in the
order they were issued, so a key is unique within a run.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from romancy_nb.core import events as ev
from romancy_nb.core.commands import Limits
from romancy_nb.core.events import Event
from romancy_nb.errors import HistoryMismatch
from romancy_nb.payloads.payload import Payload

__all__ = [
    "UNDO",
    "Call",
    "History",
    "Key",
    "Numbered",
    "attempt_of",
    "collect",
    "delivered",
    "describe",
    "without_void",
]

_WORDS: Final = {
    ev.SIDE_EFFECT: "side effect",
    ev.COMPENSATION_ARMED: "undo",
    ev.WAIT_STARTED: "wait for event",
    ev.CHILD_STARTED: "child workflow",
    ev.SUBSCRIBED: "subscription to channel",
    ev.MESSAGE_PUBLISHED: "message to channel",
}
_GIVEN_UP: Final = frozenset({ev.CALL_CANCELLED, ev.TIMER_CANCELLED, ev.WAIT_CANCELLED, ev.CHILD_CANCELLED})

Key = tuple[str, str, str, int]
"""(kind of intent, name, digest of inputs, occurrence)"""
Numbered = tuple[int, Event]
"""An event with its number in the run."""
UNDO: Final = "undo:"
"""Stands before the place of a call in the rows of its undo."""


@dataclass(slots=True)
class Call:
    """One call as history has it."""

    seq: int
    intent: Event
    outcome: Event | None = None
    outcome_seq: int = 0
    waiting: Event | None = None
    """An outcome that was recorded and not delivered yet (S1)."""
    waiting_seq: int = 0
    cancelled: bool = False
    attempts: int = 0
    failed: int = 0
    failures: int = 0
    next_at: int = 0
    matched: bool = False
    outputs: list[Numbered] | None = None
    """What its attempts printed and displayed."""
    queued: int = 0
    """Microseconds that its attempts waited for limits (A8)."""

    @property
    def unshown(self) -> tuple[Payload, ...]:
        """What it put out and is shown with its outcome."""
        return tuple(e.payload for _, e in self.outputs or () if e.payload is not None and not _is_live(e))

    @property
    def limits(self) -> Limits:
        """The limits that it waits for, as its intent has them."""
        found: Limits = (self.intent.meta or {}).get("limit", ())
        return found

    @property
    def occurrence(self) -> int:
        meta = self.intent.meta
        return int(meta.get("occurrence", 0)) if meta else 0

    @property
    def key(self) -> Key:
        return (self.intent.kind, self.intent.name, self.intent.digest, self.occurrence)

    def describe(self) -> str:
        """Return the call as a person reads it."""
        event = self.intent
        shown = event.payload is not None and event.kind == ev.ACTIVITY_SCHEDULED
        text = event.payload.text if shown and event.payload is not None else ""
        if event.kind == ev.TIMER_STARTED:
            text = f"{(event.meta or {}).get('delay', 0):g} s"
        return describe(event.kind, event.name, event.call, text)


def describe(kind: str, name: str, place: str, text: str = "") -> str:
    """Return a call as a person reads it: ``activity reserve with "a" (call 0:3)``."""
    shown = text if len(text) <= 80 else text[:77] + "…"
    if kind == ev.TIMER_STARTED:
        return f"a timer of {shown} (call {place})"
    what = _WORDS.get(kind, "activity")
    return f"{what} {name}{f' with {shown}' if shown else ''} (call {place})"


def collect(rows: Iterable[Numbered]) -> tuple[dict[str, Call], list[Numbered]]:
    """Read calls by place and deliveries in order off *rows*."""
    calls: dict[str, Call] = {}
    deliveries: list[Numbered] = []
    intents, delivered = ev.INTENTS, ev.DELIVERED
    for row in rows:
        seq, event = row
        kind = event.kind
        if kind in intents:
            if event.call:  # a subscription may be of the run before
                calls[event.call] = Call(seq, event)
            continue
        call = calls.get(event.call)
        if call is None:
            if kind == ev.CANCEL_DELIVERED:
                deliveries.append(row)
            continue
        if kind in delivered:
            call.outcome, call.outcome_seq, call.waiting = event, seq, None
            deliveries.append(row)
        else:
            _note(call, seq, event)
    return calls, deliveries


def _note(call: Call, seq: int, event: Event) -> None:
    """Keep what a row that is not delivered says of its call."""
    kind = event.kind
    if kind == ev.OUTCOME_RECORDED:
        call.waiting, call.waiting_seq = event, seq
    elif kind == ev.ATTEMPT_STARTED:
        call.attempts = max(call.attempts, event.attempt)
        if call.limits:
            call.queued += max(0, event.at - (call.next_at or call.intent.at))
    elif kind == ev.ATTEMPT_FAILED:
        call.attempts = max(call.attempts, event.attempt)
        call.failed = max(call.failed, event.attempt)
        facts = event.meta or {}
        call.failures += not facts.get("not_executed")  # a person said so
        call.next_at = int(facts.get("next_at", 0))
    elif kind == ev.ATTEMPT_OUTPUT:
        call.outputs = [*(call.outputs or ()), (seq, event)]
    elif kind in _GIVEN_UP:
        call.cancelled = True


def attempt_of(event: Event) -> dict[str, int]:
    """Return which attempt a row of output is of, as the meta of another such row has it."""
    return {"attempt": int((event.meta or {}).get("attempt", 1))}


def _is_live(event: Event) -> bool:
    return bool((event.meta or {}).get("live"))


class History:
    """The past of one run, as its own code must repeat it.

    Args:
        rows: its events in order, the first being ``run_started``.

    Attributes:
        start: the ``run_started`` event.
        deliveries: what was delivered, in order.
        calls: by place.
        shows: what activities put out, by the number of the delivery before which it stands; 0: after the last one.
        knows: False for a run whose code has only just started: then every call is new.
    """

    def __init__(self, rows: Sequence[Numbered]) -> None:
        self.start = rows[0][1]
        self.calls, self.deliveries = collect(without_void(rows))
        self.knows = bool(self.calls) or rows[-1][1].kind in ev.RUN_ENDS
        self._left = len(self.deliveries)
        self._may_go_on = _slipped(rows) or _is_forked(rows)
        self._equal: dict[tuple[str, str, str], list[Call]] | None = None
        spoke = [call for call in self.calls.values() if call.outputs]
        self.shows = self._shown(spoke) if spoke else {}

    def _shown(self, spoke: list[Call]) -> dict[int, list[Payload]]:
        """Put what was shown live where it stood, and the rest with the outcome of its call (N4)."""
        found: dict[int, list[Payload]] = {}
        numbers = [seq for seq, _ in self.deliveries]
        live = sorted((seq, e.payload) for call in spoke for seq, e in call.outputs or () if e.payload and _is_live(e))
        for seq, payload in live:
            after = bisect_left(numbers, seq)
            found.setdefault(numbers[after] if after < len(numbers) else 0, []).append(payload)
        for call in spoke:
            if call.outcome is not None and call.unshown:
                found.setdefault(call.outcome_seq, []).extend(call.unshown)
        return found

    def replaying(self) -> Iterator[Numbered]:
        """Yield what was delivered, in order."""
        for row in self.deliveries:
            self._left -= 1
            yield row

    def goes_on(self) -> bool:
        """May the code, at this point, ask for more than history holds?

        So it is where it last stopped with an error of its own and was mended (E4): it has seen everything, and now does what
        stood behind the error. And so it is where a fork begins (R16): what its last delivery led to is done anew.
        """
        return self._may_go_on and not self._left and self.unasked() is None

    def holds(self, place: str, name: str, digest: str) -> bool:
        """Is this call recorded, and was not asked for yet?"""
        call = self.calls.get(place)
        return call is not None and not call.matched and call.intent.name == name and call.intent.digest == digest

    def find(self, place: str, kind: str, name: str, digest: str, occurrence: int) -> Call | None:
        """Return the recorded call that the code asks for now, or None; marks it as found. It may have moved (C6)."""
        call = self.calls.get(place)
        if call is not None and not call.matched:
            intent = call.intent
            if intent.digest == digest and intent.name == name and intent.kind == kind:
                call.matched = True
                return call
        return self._find_moved((kind, name, digest), occurrence)

    def expects(self, place: str, kind: str, name: str, digest: str) -> bool:
        """Did the code ask for this call between what was delivered last and what is delivered next?"""
        call = self.calls.get(place)
        if call is None or call.matched or call.key[:3] != (kind, name, digest):
            call = next(iter(self._free((kind, name, digest))), None)
        return call is not None and (not self._left or call.seq < self.deliveries[-self._left][0])

    def _find_moved(self, known: tuple[str, str, str], occurrence: int) -> Call | None:
        """Find the equal call that nobody asked for yet: that of the same occurrence, else the first of them."""
        free = self._free(known)
        found = next((call for call in free if call.occurrence == occurrence), free[0] if free else None)
        if found is not None:
            found.matched = True
        return found

    def _free(self, known: tuple[str, str, str]) -> list[Call]:
        """The equal calls that nobody asked for yet."""
        if self._equal is None:
            self._equal = {}
            for call in self.calls.values():
                self._equal.setdefault(call.key[:3], []).append(call)
        return [call for call in self._equal.get(known, ()) if not call.matched]

    def unasked(self) -> Call | None:
        """Return the first recorded call that the code has not asked for, or None."""
        return min((c for c in self.calls.values() if not c.matched), key=lambda c: c.seq, default=None)

    def mismatch(self, place: str, kind: str, name: str, text: str) -> HistoryMismatch:
        """Return the error for a call that fits nowhere."""
        there = self.calls.get(place)
        if there is None or there.matched:
            there = self.unasked()
        asked = describe(kind, name, place, text)
        expected = there.describe() if there is not None else None
        return _mismatch(f"history holds {expected or 'no further call'}; the code asks for {asked}", expected, asked)

    def not_asked(self, call: Call) -> HistoryMismatch:
        """Return the error for a recorded call that the code does not make any more."""
        expected = call.describe()
        return _mismatch(f"history holds {expected}; the code does not make that call", expected, None)

    def not_awaited(self, call: Call, ended: bool) -> HistoryMismatch:
        """Return the error for an outcome in history that the code is not waiting for."""
        expected = f"the outcome of {call.describe()}"
        if not call.matched:
            done = "ends before that call" if ended else "does not make that call"
        else:
            done = "ends before that" if ended else "is not waiting for it any more"
        return _mismatch(f"history holds {expected}; the code {done}", expected, None)

    def cancelled_otherwise(self, call: Call) -> HistoryMismatch:
        """Return the error for a call that was cancelled in history and is not now, or the other way round."""
        shown = call.describe()
        if call.cancelled:
            return _mismatch(
                f"in history {shown} was cancelled; the code goes on waiting for it", f"cancelled: {shown}", shown
            )
        return _mismatch(f"in history {shown} was not cancelled; the code cancels it", shown, f"cancelled: {shown}")


def _mismatch(what: str, expected: str | None, asked: str | None) -> HistoryMismatch:
    return HistoryMismatch(
        f"The workflow's code no longer fits its history: {what}. Likely causes: the code changed, another version of "
        "Python or of a package, a loop over a set of strings, or time.time(), random and the like in workflow code "
        "(use rn.now(), rn.random(), rn.uuid4() or rn.side_effect()).",
        expected=expected,
        asked=asked,
        what=what,
    )


def _slipped(rows: Sequence[Numbered]) -> bool:
    """Did the code stop with an error of its own, and do nothing since (E4)?"""
    for _, event in reversed(rows):
        reason = (event.meta or {}).get("reason") if event.kind == ev.RUN_PAUSED else None
        if reason is not None and reason != "deadline":
            return bool(reason == "error")
        if event.kind not in {ev.RUN_RESUMED, ev.RUN_PAUSED}:
            return False
    return False


def _is_forked(rows: Sequence[Numbered]) -> bool:
    """Has a fork done nothing yet beyond the history that it began with?"""
    last = (rows[0][1].meta or {}).get("fork_rows")
    beyond = ev.INTENTS | ev.DELIVERED | ev.RUN_ENDS | _GIVEN_UP | {ev.CANCEL_DELIVERED}
    return last is not None and all(event.kind not in beyond for _, event in rows[last:])


def without_void(rows: Sequence[Numbered]) -> Sequence[Numbered]:
    """Leave out what a later resume declared void: the failure that it retries (see ``transitions.retry_point``).

    The failure may have been recorded before it could be delivered; that record goes with it.
    """
    if not any(event.kind == ev.RUN_RESUMED for _, event in rows):
        return rows
    kept: list[Numbered] = []
    for seq, event in rows:
        void = (event.meta or {}).get("void_from") if event.kind == ev.RUN_RESUMED else None
        if void is not None:
            failed = {e.call for s, e in kept if s >= void and e.kind == ev.ACTIVITY_FAILED}
            kept = [(s, e) for s, e in kept if s < void and not (e.kind == ev.OUTCOME_RECORDED and e.call in failed)]
        kept.append((seq, event))
    return kept


def delivered(event: Event) -> Event:
    """Return a recorded outcome as the event that its delivery is (S1)."""
    kind = ev.ACTIVITY_COMPLETED if (event.meta or {}).get("ok") else ev.ACTIVITY_FAILED
    return Event(kind, event.at, event.call, attempt=event.attempt, payload=event.payload)
