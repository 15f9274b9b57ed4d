"""What is to be undone, read off a run's history (U1, U2).

``plan`` is a pure function of the rows: a process that takes a half-done undo up again, on another machine or in another
year, comes to the same list and goes on exactly where it stopped. Code that the workflow ran itself to undo something
(``rn.saga``) counts as done.

The order is the reverse of the order in which the calls completed. What may have had its effect and has no outcome comes
first, the latest intent first: nobody knows when it happened, but not before everything that completed before it was asked
for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.core.family import is_owned
from romancy_nb.core.pool import says_nothing
from romancy_nb.core.replay import UNDO, Call, Numbered, collect, without_void
from romancy_nb.payloads.payload import Payload

__all__ = ["Plan", "Step", "is_undoing", "may_have_happened", "note_progress", "plan"]


@dataclass(slots=True)
class Step:
    """One undo.

    Attributes:
        of: place of the call that it undoes.
        of_name: name of that activity.
        name: of the compensation.
        order: where it stands; the greatest is undone first.
        doubtful: nobody knows whether the call had its effect.
        module: where that compensation was defined.
        inputs: of the call; those of the undo are picked from them, unless *whole*.
        whole: *inputs* are the undo's own (``rn.compensate_with``).
        facts: how the undo is bound to the call, as the intent has it.
        result: what the call returned.
        seq: of the call's intent.
        child: id of the child instance that is undone by its own plan; *name* and *of_name* are its workflow's then.
        retried: a person wants another try, and it has not come to an end since.
        begun, status: how far the undo is: "pending", "completed", "failed", "skip", "done".
        attempts, failed, failures, next_at, first_at: as in an ``OpenCall``.
    """

    of: str
    of_name: str
    name: str
    order: tuple[bool, int]
    doubtful: bool = False
    module: str = "__main__"
    inputs: Payload | None = None
    whole: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    result: Payload | None = None
    seq: int = 0
    child: str = ""
    retried: bool = False
    begun: bool = False
    status: str = "pending"
    attempts: int = 0
    failed: int = 0
    failures: int = 0
    next_at: int = 0
    first_at: int = 0
    error: Payload | None = None

    @property
    def place(self) -> str:
        """The place of the undo itself."""
        return UNDO + self.of


@dataclass(slots=True)
class Plan:
    """What a run has to undo, in the order in which it is undone.

    Attributes:
        steps: all of it, also what is undone already.
        kept: names of activities whose effect stands although they could be undone: behind a pivot, or in doubt.
        pivot: name of the last point of no return, if one was passed.
    """

    steps: list[Step] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    pivot: str = ""

    def next(self) -> Step | None:
        """Return the first step that is not over."""
        return next((step for step in self.steps if step.status in {"pending", "failed"}), None)

    def find(self, place: str) -> Step | None:
        """Return the step with this place, its own or that of the call."""
        return next((step for step in self.steps if place in {step.place, step.of}), None)

    def done(self) -> list[Step]:
        """Return what is undone or was decided by a person."""
        return [step for step in self.steps if step.status in {"completed", "skip", "done"}]


def is_undoing(rows: Sequence[Numbered]) -> bool:
    """Has the undo of this run been decided, so that nothing of it goes forward any more (U1)?"""
    return any(event.kind == ev.RUN_COMPENSATING for _, event in reversed(rows))


def plan(rows: Sequence[Numbered]) -> Plan:
    """Return what the run with these *rows* has to undo."""
    calls, _ = collect(without_void(rows))
    late = {event.call: (seq, event) for seq, event in rows if event.kind == ev.LATE_OUTCOME and _ok(event)}
    failed = {event.call for _, event in rows if event.kind == ev.LATE_OUTCOME and not _ok(event)}
    ended = {place: _end_of(call, late.get(place)) for place, call in calls.items()}
    by_code = {
        str(undoes)
        for place, call in calls.items()
        if (undoes := (call.intent.meta or {}).get("undoes")) and ended[place] is not None
    }
    passed, pivot = _pivot(calls, ended)
    unsure = {event.call for _, event in rows if _leaves_doubt(event)}
    found = Plan(pivot=pivot)
    for place, call in calls.items():
        step = _step(call, ended[place])
        if step is None or place in by_code:
            continue
        if step.child:
            if step.doubtful and (call.outcome is not None or place in failed):
                continue  # it has undone what it did by itself
            if step.doubtful or step.order[1] > passed:  # a child that has not ended is stopped first, then undone
                found.steps.append(step)
            else:
                found.kept.append(step.of_name)
            continue
        if not step.doubtful and step.order[1] <= passed:
            found.kept.append(step.of_name)
        elif not step.doubtful:
            found.steps.append(step)
        elif place in unsure or may_have_happened(call):
            if ((call.intent.meta or {}).get("undo") or {}).get("if") == "started":
                found.steps.append(step)
            else:
                found.kept.append(step.of_name)
    found.steps.sort(key=lambda step: step.order, reverse=True)
    note_progress(found, rows)
    return found


def _ok(event: Event) -> bool:
    return bool((event.meta or {}).get("ok"))


def _end_of(call: Call, late: Numbered | None) -> tuple[int, Payload | None] | None:
    """Return when the call completed, and with which result; None: it did not."""
    if call.intent.kind == ev.COMPENSATION_ARMED:
        return call.seq, None
    if call.outcome is not None and call.outcome.kind in {ev.ACTIVITY_COMPLETED, ev.CHILD_COMPLETED}:
        return call.outcome_seq, call.outcome.payload
    if call.outcome is None and call.waiting is not None and _ok(call.waiting):
        return call.waiting_seq, call.waiting.payload
    return (late[0], late[1].payload) if late is not None else None


def _pivot(calls: Mapping[str, Call], ended: Mapping[str, tuple[int, Payload | None] | None]) -> tuple[int, str]:
    """Return when the last point of no return was passed, and its name."""
    passed, name = 0, ""
    for place, call in calls.items():
        end = ended[place]
        if end is not None and end[0] > passed and (call.intent.meta or {}).get("pivot"):
            passed, name = end[0], call.intent.name
    return passed, name


def _step(call: Call, end: tuple[int, Payload | None] | None) -> Step | None:
    intent = call.intent
    if "shared" in (intent.meta or {}):  # what it would undo is the effect of the instance that was forked (R17)
        return None
    if intent.kind == ev.COMPENSATION_ARMED:
        module = str((intent.meta or {}).get("in", "__main__"))
        at = (False, call.seq)
        return Step(
            intent.call, intent.name, intent.name, at, module=module, inputs=intent.payload, whole=True, seq=call.seq
        )
    facts = intent.meta or {}
    if intent.kind == ev.CHILD_STARTED and is_owned(facts):
        at = (False, end[0]) if end is not None else (True, call.seq)
        child = str(facts.get("instance", ""))
        return Step(intent.call, intent.name, intent.name, at, end is None, seq=call.seq, child=child)
    undo = facts.get("undo")
    if not undo:
        return None
    return Step(
        intent.call,
        intent.name,
        str(undo["name"]),
        (False, end[0]) if end is not None else (True, call.seq),
        doubtful=end is None,
        module=str(undo.get("in", "__main__")),
        inputs=intent.payload,
        facts=undo,
        result=end[1] if end is not None else None,
        seq=call.seq,
    )


def _was_begun(call: Call) -> bool:
    """May it have been begun? The intent of an ``at_least_once`` call that need not wait counts as the start (A1)."""
    at_most_once = (call.intent.meta or {}).get("delivery") == "at_most_once"
    return call.attempts > 0 or not (at_most_once or call.limits)


def may_have_happened(call: Call) -> bool:
    """Is it in doubt: begun, and nobody recorded how it ended?"""
    return call.outcome is None and call.waiting is None and not 0 < call.attempts == call.failed and _was_begun(call)


def _leaves_doubt(event: Event) -> bool:
    """Did an attempt end so that nobody knows whether it had its effect: abandoned, timed out, or never heard of again?"""
    if event.kind == ev.ATTEMPT_ABANDONED:
        return True
    return event.kind in {ev.ATTEMPT_FAILED, ev.ACTIVITY_FAILED, ev.OUTCOME_RECORDED} and says_nothing(event.payload)


def note_progress(found: Plan, rows: Iterable[Numbered]) -> None:
    """Bring the steps to where their own rows end."""
    steps = {step.place: step for step in found.steps}
    for _, event in rows:
        step = steps.get(event.call)
        if step is None:
            continue
        kind = event.kind
        if kind == ev.COMPENSATION_SCHEDULED:
            step.begun, step.first_at = True, event.at
        elif kind == ev.ATTEMPT_STARTED:
            step.attempts = max(step.attempts, event.attempt)
        elif kind == ev.ATTEMPT_FAILED:
            step.attempts = max(step.attempts, event.attempt)
            step.failed, step.next_at = event.attempt, int((event.meta or {}).get("next_at", 0))
            step.failures += 1
        elif kind == ev.COMPENSATION_COMPLETED or (kind == ev.OUTCOME_RECORDED and _ok(event)):
            step.status = "completed"
        elif kind in {ev.COMPENSATION_FAILED, ev.OUTCOME_RECORDED}:
            step.status, step.error, step.retried = "failed", event.payload, False
            step.attempts = step.failed = max(step.attempts, event.attempt)
        elif kind == ev.COMPENSATION_RESOLVED:
            action = str((event.meta or {}).get("action", ""))
            if action == "retry":
                step.status, step.failures, step.next_at, step.first_at = "pending", 0, 0, event.at
                step.retried = True
            else:
                step.status = action
