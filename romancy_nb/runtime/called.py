"""One call as its rows tell of it: intent, attempts, outcome, outputs. What a click on a step shows is made from this."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.journal.protocol import Row
from romancy_nb.payloads.payload import Payload

__all__ = ["Called", "Try", "read_call"]

_INTENTS: Final = ev.INTENTS | {ev.COMPENSATION_SCHEDULED}
_FAILED: Final = frozenset({ev.ACTIVITY_FAILED, ev.CHILD_FAILED, ev.COMPENSATION_FAILED})
_ENDS: Final = _FAILED | {
    ev.ACTIVITY_COMPLETED,
    ev.CHILD_COMPLETED,
    ev.COMPENSATION_COMPLETED,
    ev.OUTCOME_RECORDED,
    ev.EVENT_RECEIVED,
    ev.TIMER_FIRED,
}
_GIVEN_UP: Final = frozenset({ev.CALL_CANCELLED, ev.TIMER_CANCELLED, ev.WAIT_CANCELLED, ev.CHILD_CANCELLED})
_EXECUTED: Final = frozenset({ev.ACTIVITY_SCHEDULED, ev.COMPENSATION_SCHEDULED})


@dataclass(slots=True)
class Try:
    """One attempt. Times are µs; *outcome*: ``ok``, ``failed``, ``abandoned``, ``not executed``, or empty: nobody knows."""

    number: int
    started: int
    finished: int | None = None
    outcome: str = ""
    error: Payload | None = None


@dataclass(slots=True)
class Called:
    """One call.

    Attributes:
        seq: number of its intent.
        intent: the row that opened it.
        tries: its attempts, in order.
        outcome: what it came to; None while it is open.
        cancelled: µs when the code gave it up.
        next_at: µs when the next attempt may start.
        outputs: what it printed and displayed, as Jupyter has outputs.
        decisions: what people decided about it: (action, note, by, µs).
    """

    seq: int
    intent: Event
    tries: list[Try] = field(default_factory=list)
    outcome: Event | None = None
    outcome_seq: int = 0
    cancelled: int | None = None
    next_at: int = 0
    outputs: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[tuple[str, str, str, int]] = field(default_factory=list)

    @property
    def meta(self) -> dict[str, Any]:
        """The facts of its intent."""
        return dict(self.intent.meta or {})

    @property
    def ok(self) -> bool:
        """Has it completed?"""
        if self.intent.kind == ev.SIDE_EFFECT:
            return bool(self.meta.get("ok", True))
        if self.outcome is None:
            return False
        return _is_ok(self.outcome)

    @property
    def result(self) -> Payload | None:
        """What it returned."""
        if self.intent.kind == ev.SIDE_EFFECT:
            return self.intent.payload if self.ok else None
        return self.outcome.payload if self.outcome is not None and self.ok else None

    @property
    def error(self) -> Payload | None:
        """What it failed with; of a call that is tried again, what it failed with last."""
        if self.intent.kind == ev.SIDE_EFFECT:
            return None if self.ok else self.intent.payload
        if self.outcome is not None:
            return None if self.ok else self.outcome.payload
        return next((each.error for each in reversed(self.tries) if each.error is not None), None)

    @property
    def inputs(self) -> Payload | None:
        """What it was given."""
        without = {ev.SIDE_EFFECT, ev.WAIT_STARTED, ev.TIMER_STARTED}
        return None if self.intent.kind in without else self.intent.payload

    @property
    def finished(self) -> int | None:
        """µs when it was over; None while it is open."""
        if self.intent.kind in {ev.SIDE_EFFECT, ev.SUBSCRIBED, ev.MESSAGE_PUBLISHED, ev.COMPENSATION_ARMED}:
            return self.intent.at
        return self.outcome.at if self.outcome is not None else self.cancelled


def read_call(rows: Sequence[Row], place: str) -> Called | None:
    """Read the call at *place* off *rows*; None: it is not there, or a resume took it back."""
    call: Called | None = None
    for row in rows:
        event = row.event
        if event.kind == ev.RUN_RESUMED:
            void = (event.meta or {}).get("void_from")
            if isinstance(void, int) and call is not None:
                call = _without(call, void)
        elif event.call != place:
            continue
        elif event.kind in _INTENTS:
            call = Called(row.seq, event)
        elif call is not None:
            _take(call, row.seq, event)
    if call is not None and call.intent.kind in _EXECUTED:
        _complete(call)
    return call


def _without(call: Called, void: int) -> Called | None:
    """A failure that is tried again stays as a failed attempt."""
    if call.seq >= void:
        return None
    if call.outcome is not None and call.outcome_seq >= void:
        call.outcome, call.outcome_seq = None, 0
    return call


def _take(call: Called, seq: int, event: Event) -> None:
    kind, meta = event.kind, event.meta or {}
    if kind == ev.ATTEMPT_STARTED:
        call.tries.append(Try(event.attempt, event.at))
        call.next_at = 0
    elif kind == ev.ATTEMPT_FAILED:
        outcome = "not executed" if meta.get("not_executed") else "failed"
        _end(call, event, outcome)
        call.next_at = int(meta.get("next_at") or 0)
    elif kind == ev.ATTEMPT_ABANDONED:
        _open(call, event).outcome = "abandoned"
    elif kind == ev.LATE_OUTCOME:
        last = _open(call, event)
        last.finished, last.outcome = event.at, last.outcome or ("ok" if meta.get("ok") else "failed")
        last.error = None if meta.get("ok") else event.payload
    elif kind == ev.ATTEMPT_OUTPUT:
        call.outputs += _outputs(event)
    elif kind == ev.COMPENSATION_RESOLVED:
        action = str(meta.get("action", ""))
        call.decisions.append((action, str(meta.get("note", "")), str(meta.get("by", "")), event.at))
        call.outcome = None if action == "retry" else call.outcome
    elif kind in _GIVEN_UP:
        call.cancelled = event.at if call.outcome is None else call.cancelled
    elif kind in _ENDS:
        _outcome(call, seq, event)


def _outcome(call: Called, seq: int, event: Event) -> None:
    if call.outcome is not None and _is_ok(call.outcome) == _is_ok(event):
        if event.payload is not None:
            call.outcome = event._replace(at=call.outcome.at)  # it was recorded before, and is only delivered now
        return
    call.outcome, call.outcome_seq = event, seq
    meta = event.meta or {}
    if event.kind == ev.OUTCOME_RECORDED and "by" in meta:
        call.decisions.append(("resolved", str(meta.get("note", "")), str(meta["by"]), event.at))
    if call.intent.kind not in _EXECUTED or "reused" in meta or "reused" in call.meta:
        return
    last = call.tries[-1] if call.tries else None
    if _is_ok(event) or last is None or last.outcome != "failed" or last.number != event.attempt:
        _end(call, event, "ok" if _is_ok(event) else "failed")


def _is_ok(event: Event) -> bool:
    if event.kind == ev.OUTCOME_RECORDED:
        return bool((event.meta or {}).get("ok"))
    return event.kind not in _FAILED


def _open(call: Called, event: Event) -> Try:
    """The attempt that *event* tells of; the first one of a call has no row of its own."""
    number = event.attempt or (call.tries[-1].number if call.tries else 1)
    for known in reversed(call.tries):
        if known.number == number and known.finished is None:
            return known
    started = call.intent.at if not call.tries else call.next_at or call.tries[-1].finished or call.tries[-1].started
    call.tries.append(Try(number, min(started, event.at)))
    return call.tries[-1]


def _end(call: Called, event: Event, outcome: str) -> None:
    attempt = _open(call, event)
    attempt.finished, attempt.outcome = event.at, outcome
    attempt.error = event.payload if outcome == "failed" else None


def _complete(call: Called) -> None:
    """The first attempt counts from the intent on, where no row says otherwise."""
    if "reused" in call.meta:
        return
    queues = call.meta.get("limit") or call.meta.get("delivery") == "at_most_once"
    if (not call.tries and not queues) or (call.tries and call.tries[0].number == 2):
        call.tries.insert(0, Try(1, call.intent.at))


def _outputs(event: Event) -> list[dict[str, Any]]:
    try:
        found = json.loads(event.payload.text) if event.payload is not None else []
    except ValueError:
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
