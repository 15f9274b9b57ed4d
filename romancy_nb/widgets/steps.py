"""The steps of a run, read off its rows: one step per call, in the order of the workflow's own structure.

A call's place says where it stands (``"0.2:1"``: call 1 of task ``0.2``). The steps of a task follow each other by
ordinal, and the steps of a task that it started stand between the calls that surrounded the start. So the order shown
is the one of the code, and two branches that ran at the same time never shuffle each other's rows.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.core.replay import UNDO
from romancy_nb.journal.protocol import Row
from romancy_nb.widgets import preview
from romancy_nb.words import clip, duration

__all__ = ["Attempt", "Step", "read_steps"]

_KINDS: Final = {
    ev.ACTIVITY_SCHEDULED: "activity",
    ev.TIMER_STARTED: "timer",
    ev.SIDE_EFFECT: "side_effect",
    ev.COMPENSATION_SCHEDULED: "compensation",
}
_FAILED: Final = frozenset({ev.ACTIVITY_FAILED, ev.COMPENSATION_FAILED})
_OUTCOMES: Final = _FAILED | {ev.ACTIVITY_COMPLETED, ev.COMPENSATION_COMPLETED, ev.OUTCOME_RECORDED}
_EXECUTED: Final = frozenset({ev.ACTIVITY_SCHEDULED, ev.COMPENSATION_SCHEDULED})
_TAKEN: Final = frozenset({ev.RUN_STARTED, ev.RUN_RESUMED, ev.RUN_COMPENSATING})
_CANCELS: Final = frozenset({ev.CALL_CANCELLED, ev.TIMER_CANCELLED})
_DEEPEST: Final = 100  # tasks deeper than this are shown at this depth
_PLACE: Final = re.compile(r"(\d+(?:\.\d+)*):(\d+)(\+*)")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a step.

    Attributes:
        number: from 1.
        started: µs.
        finished: µs; None when nobody recorded its end.
        outcome: ``ok``, ``failed``, ``running``, ``cancelled``, ``abandoned`` (left running when its call went
            on without it) or ``unknown`` (it may have run).
        error: preview of the error, else empty.
    """

    number: int
    started: int
    finished: int | None
    outcome: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a run.

    Attributes:
        seq: number of the event that opened it; steps are named by it.
        call: its place, such as ``0:3``.
        depth: 0 for the workflow itself, 1 for a branch that it started, …
        kind: ``activity``, ``timer``, ``side_effect`` or ``compensation`` (an undo by the engine).
        name: of the activity, timer or helper.
        status: ``running``, ``completed``, ``failed``, ``waiting``, ``in_doubt`` or ``cancelled``.
        origin: ``executed``, or ``reused`` when an earlier run's result answered it.
        origin_now: what it was in the call being shown: ``journal`` or ``now``; None where nobody asked.
        attempts: the attempts that this run knows of, in order.
        tries: how many attempts it took (also for a reused step, whose attempts stand in the earlier run).
        started: µs.
        finished: µs; None while it is open.
        due: µs when a timer, or the next attempt, is due; else None.
        input: preview of the inputs.
        output: preview of the result.
        error: preview of the error.
        outputs: what it printed and displayed, as Jupyter has outputs.
        undoes: place of the call that it undoes, or empty; also of an undo that the code made itself.
        decided: what a person decided about an undo: ``skip`` or ``done``; or empty.
    """

    seq: int
    call: str
    depth: int
    kind: str
    name: str
    status: str
    origin: str
    origin_now: str | None
    attempts: tuple[Attempt, ...]
    tries: int
    started: int
    finished: int | None
    due: int | None
    input: str
    output: str
    error: str
    outputs: tuple[dict[str, Any], ...] = ()
    undoes: str = ""
    decided: str = ""

    @property
    def from_journal(self) -> bool:
        """True when its result was read from the journal: an earlier run's, or this run's in a repeated call."""
        return self.origin == "reused" or self.origin_now == "journal"

    def spent(self, as_of: int) -> int | None:
        """Return how long it took, or has taken up to *as_of*, in µs; None when nobody knows."""
        if self.finished is not None:
            return max(0, self.finished - self.started)
        return None if self.status in {"in_doubt", "cancelled"} else max(0, as_of - self.started)


@dataclass(slots=True)
class _Try:
    """An attempt while it is being read."""

    number: int
    started: int
    owner: str
    finished: int | None = None
    outcome: str = ""
    error: str = ""


@dataclass(slots=True)
class _Call:
    """A call while it is being read."""

    seq: int
    intent: Event
    owner: str
    tries: list[_Try] = field(default_factory=list)
    outcome: Event | None = None
    outcome_seq: int = 0
    cancelled: int | None = None
    next_at: int | None = None
    outputs: list[dict[str, Any]] = field(default_factory=list)
    decided: str = ""

    @property
    def meta(self) -> dict[str, Any]:
        return dict(self.intent.meta or {})

    def attempt(self, event: Event) -> _Try:
        """Find the open attempt with the event's number, or add it."""
        number = event.attempt or (self.tries[-1].number if self.tries else 1)
        for known in reversed(self.tries):
            if known.number == number and known.finished is None and known.outcome in {"", "abandoned"}:
                return known
        started = event.at if self.tries or event.kind == ev.ATTEMPT_STARTED else self.intent.at
        if event.kind != ev.ATTEMPT_STARTED and self.tries:
            started = self.next_at or self.tries[-1].finished or self.tries[-1].started
        self.tries.append(_Try(number, min(started, event.at), self.owner))
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


def read_steps(rows: Sequence[Row], *, live: bool, ended: bool, executed_since: int | None) -> list[Step]:
    """Return the steps of a run in the order of its code.

    Args:
        rows: the run's history in order.
        live: a living process advances the run, so what is open is being worked on.
        ended: the run has ended; what is still open will never be answered.
        executed_since: the last row that was there before the call being shown; None where nobody asks.
    """
    calls, owner = _read(rows)
    steps = {place: _step(call, owner, live, ended, executed_since) for place, call in calls.items()}
    return [steps[place] for place in _in_order(calls)]


def _read(rows: Iterable[Row]) -> tuple[dict[str, _Call], str]:
    """Read the calls by place, and who owns the run at the end."""
    calls: dict[str, _Call] = {}
    owner = ""
    for row in rows:
        event = row.event
        if event.kind in _TAKEN:
            owner = str((event.meta or {}).get("owner", owner))
            void = (event.meta or {}).get("void_from")
            if isinstance(void, int):
                _declare_void(calls, void)
        elif event.kind in _KINDS:
            calls[event.call] = _Call(row.seq, event, owner)
        elif (call := calls.get(event.call)) is not None:
            _take(call, row.seq, event, owner)
    return calls, owner


def _declare_void(calls: dict[str, _Call], void: int) -> None:
    """A resume took back what stands from row *void* on: a failure that is tried again stays as a failed attempt."""
    for place, call in list(calls.items()):
        if call.seq >= void:
            del calls[place]
        elif call.outcome is not None and call.outcome_seq >= void:
            call.outcome, call.outcome_seq = None, 0


def _take(call: _Call, seq: int, event: Event, owner: str) -> None:
    """Let *call* know of one more event of its own."""
    kind = event.kind
    if kind == ev.ATTEMPT_STARTED:
        call.owner = owner
        call.attempt(event).owner = owner
        call.next_at = None
    elif kind == ev.ATTEMPT_FAILED:
        call.end(event, "failed")
        next_at = (event.meta or {}).get("next_at")
        call.next_at = int(next_at) if next_at else None
    elif kind == ev.ATTEMPT_OUTPUT:
        call.outputs += json.loads(event.payload.text) if event.payload is not None else []
    elif kind == ev.ATTEMPT_ABANDONED:
        call.attempt(event).outcome = "abandoned"
    elif kind == ev.LATE_OUTCOME:
        call.end_late(event)
    elif kind == ev.COMPENSATION_RESOLVED:
        action = str((event.meta or {}).get("action", ""))
        call.decided = "" if action == "retry" else action
        call.outcome = None if action == "retry" else call.outcome
    elif kind in _OUTCOMES:
        if call.outcome is not None and _is_ok(call.outcome) == _is_ok(event):
            return  # it was recorded before and is only delivered now: it happened then
        call.outcome, call.outcome_seq = event, seq
        ok = _is_ok(event)
        last = call.tries[-1] if call.tries else None
        if ok or last is None or last.outcome != "failed" or last.number != event.attempt:
            call.end(event, "ok" if ok else "failed")
    elif kind == ev.TIMER_FIRED:
        call.outcome, call.outcome_seq = event, seq
    elif kind in _CANCELS and call.outcome is None:
        call.cancelled = event.at


def _is_ok(event: Event) -> bool:
    if event.kind == ev.OUTCOME_RECORDED:
        return bool((event.meta or {}).get("ok"))
    return event.kind not in _FAILED


def _status(call: _Call, owner: str, live: bool, ended: bool) -> str:
    kind = call.intent.kind
    if kind == ev.SIDE_EFFECT:
        return "completed" if call.meta.get("ok", True) else "failed"
    if call.outcome is not None:
        return "completed" if _is_ok(call.outcome) else "failed"
    if call.cancelled is not None:
        return "cancelled"
    if kind == ev.TIMER_STARTED:
        return "cancelled" if ended else "waiting"
    once = call.meta.get("delivery") == "at_most_once"
    last = call.tries[-1] if call.tries else None
    queued = last.outcome == "failed" if last else once or "reused" in call.meta
    if queued:
        return "cancelled" if ended else "waiting"
    if not live or ended:
        return "in_doubt"
    # Another process began it and was lost. At most once means that nobody begins it again (A1, A2).
    return "in_doubt" if once and call.owner != owner else "running"


def _attempts(call: _Call, status: str) -> tuple[Attempt, ...]:
    """The attempts as they are shown; of those without an end, only the last one can be running."""
    if call.intent.kind not in _EXECUTED:
        return ()
    tries = call.tries
    if not tries and status in {"running", "in_doubt"}:
        tries = [_Try(1, call.intent.at, call.owner)]
    elif tries and tries[0].number > 1 and "reused" not in call.meta:
        tries = [_Try(1, call.intent.at, call.owner), *tries] if tries[0].number == 2 else tries
    shown = []
    for attempt in tries:
        outcome, finished = attempt.outcome, attempt.finished
        if not outcome and attempt is tries[-1] and status == "cancelled":
            outcome, finished = "cancelled", call.cancelled
        elif not outcome:
            outcome = "running" if attempt is tries[-1] and status == "running" else "unknown"
        shown.append(Attempt(attempt.number, attempt.started, finished, outcome, attempt.error))
    return tuple(shown)


def _step(call: _Call, owner: str, live: bool, ended: bool, since: int | None) -> Step:
    intent, meta, outcome = call.intent, call.meta, call.outcome
    status = _status(call, owner, live, ended)
    is_activity, is_effect = intent.kind in _EXECUTED, intent.kind == ev.SIDE_EFFECT
    attempts = _attempts(call, status)
    reused = "reused" in meta
    answered = call.outcome_seq if outcome is not None else call.seq if is_effect else 0
    result = intent.payload if is_effect else outcome.payload if outcome is not None else None
    finished = intent.at if is_effect else outcome.at if outcome is not None else call.cancelled
    due = meta.get("due") if intent.kind == ev.TIMER_STARTED else call.next_at if status == "waiting" else None
    return Step(
        seq=call.seq,
        call=intent.call,
        depth=min(_path_of(intent.call)[0].count("."), _DEEPEST - 1),
        kind=_KINDS[intent.kind],
        name=clip(intent.name) or "?",
        status=status,
        origin="reused" if reused else "executed",
        origin_now=None if since is None else "journal" if reused or 0 < answered <= since else "now",
        attempts=attempts,
        tries=max((a.number for a in attempts), default=0),
        started=intent.at,
        finished=None if finished is None else max(finished, intent.at),
        due=int(due) if due else None,
        input=preview.inputs(intent.payload) if is_activity else _delay(meta),
        output=preview.value(result) if status == "completed" and result is not None else "",
        error=preview.failure(result) if status == "failed" else "",
        outputs=tuple(call.outputs),
        undoes=str(meta.get("undoes", ""))
        if intent.kind != ev.COMPENSATION_SCHEDULED
        else intent.call.removeprefix(UNDO),
        decided=call.decided,
    )


def _delay(meta: dict[str, Any]) -> str:
    delay = meta.get("delay")
    return duration(int(delay * 1_000_000)) if isinstance(delay, int | float) else ""


# -- order -----------------------------------------------------------------------------------------------------------


def _path_of(place: str) -> tuple[str, int, int]:
    """Split a place into task path, ordinal and repeat. What has another form stands at the end of the root task."""
    found = _PLACE.fullmatch(place)
    return (found[1], int(found[2]), len(found[3])) if found else ("0", 1 << 30, 0)


@dataclass(slots=True)
class _Task:
    first: int  # the earliest event in it and in what it started
    own: list[tuple[int, int, int, str]] = field(default_factory=list)  # (ordinal, repeat, seq, place)
    children: dict[int, _Task] = field(default_factory=dict)

    def walk(self) -> list[str]:
        """Its places, the children's between the calls before and after which they began."""
        self.own.sort()
        seqs = sorted(item[2] for item in self.own)
        parts = [(2 * index + 1, 0, [item[3]]) for index, item in enumerate(self.own)]
        for number, child in self.children.items():
            parts.append((2 * bisect_left(seqs, child.first), number, child.walk()))
        return [place for _, _, places in sorted(parts, key=lambda part: part[:2]) for place in places]


def _in_order(calls: dict[str, _Call]) -> list[str]:
    root = _Task(0)
    for place, call in calls.items():
        path, ordinal, repeat = _path_of(place)
        task = root
        for number in path.split(".")[1:_DEEPEST]:
            task = task.children.setdefault(int(number), _Task(call.seq))
            task.first = min(task.first, call.seq)
        task.own.append((ordinal, repeat, call.seq, place))
    return root.walk()
