"""A fork: the history of one run up to a step, as the beginning of another instance (R16, R17).

Rows in, rows out. What was delivered before that step is taken over, with the results that a person edited; what had been asked
for and had no outcome yet takes the outcome that it came to, or is open in the fork. The effects of what is taken over belong to
the original: the fork arms no undo for them, and its children among them are linked only. So nothing that becomes of the fork
undoes anything of the original.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.core.family import child_id
from romancy_nb.core.pool import undone
from romancy_nb.core.replay import Call, Numbered, collect, without_void
from romancy_nb.errors import RunProblem
from romancy_nb.payloads.payload import Payload

__all__ = ["Origin", "editable", "find", "forked", "next_step"]

_OVER_AT_ONCE: Final = frozenset({ev.SIDE_EFFECT, ev.COMPENSATION_ARMED, ev.SUBSCRIBED, ev.MESSAGE_PUBLISHED})
_GIVEN_UP: Final = frozenset({ev.CALL_CANCELLED, ev.TIMER_CANCELLED, ev.WAIT_CANCELLED, ev.CHILD_CANCELLED})
_ANSWERED: Final = frozenset({ev.ACTIVITY_COMPLETED, ev.CHILD_COMPLETED, ev.EVENT_RECEIVED})
_OF_EVENTS: Final = frozenset({ev.EVENT_ARRIVED, ev.EVENT_REFUSED})
_DROPPED: Final = frozenset(
    {"parent", "ancestors", "since", "turn", "called", "carries", "over", "redo", "cause", "apart_from", "line"}
)
"""Facts of a run that the fork does not share: whose child it is, its place in a chain of turns, why it began."""
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Origin:
    """What is forked, and into what.

    Attributes:
        key, instance, number: of the run that is forked.
        at: number of the step that is the first to be done anew; one past the last row for none.
        fork: id of the new instance.
        now: the present, in µs.
    """

    key: int
    instance: str
    number: int
    at: int
    fork: str
    now: int


def find(rows: Sequence[Numbered], step: int | str) -> Call:
    """Return the step that *step* names: its number, its place, or the name of what it calls.

    Raises:
        RunProblem: there is none, or several have that name.
    """
    calls, _ = collect(without_void(rows))
    steps = [call for call in calls.values() if step in {call.seq, call.intent.call}]
    if not steps and isinstance(step, str):
        names = [call for call in calls.values() if step in {call.intent.name, call.intent.name.rpartition(".")[2]}]
        if len(names) > 1:
            shown = ", ".join(f"step {call.seq} ({call.describe()})" for call in names[:_SHOWN])
            raise RunProblem(f"{len(names)} steps are called {step!r}: {shown}. Say which, by its number.")
        steps = names
    if steps:
        return steps[0]
    for seq, event in rows:
        if step in {seq, event.call} and event.kind == ev.COMPENSATION_SCHEDULED:
            raise RunProblem(f"Step {step} is an undo. What is undone goes on nowhere: fork before it.")
    known = [f"{call.seq} {call.intent.name}" for call in calls.values()]
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    told = f"Its steps are {', '.join(known[:_SHOWN])}{more}." if known else "It has no steps."
    raise RunProblem(f"There is no step {step!r}. {told} `.steps()` lists them.")


def editable(call: Call) -> Event:
    """Return the row that holds the result of *call*, which a person wants to replace.

    Raises:
        RunProblem: it has none.
    """
    kind = call.intent.kind
    if kind == ev.SIDE_EFFECT and (call.intent.meta or {}).get("ok", True):
        return call.intent
    outcome = call.outcome
    if outcome is None and call.waiting is not None and (call.waiting.meta or {}).get("ok"):
        outcome = call.waiting._replace(kind=ev.ACTIVITY_COMPLETED)
    if outcome is not None and outcome.kind in _ANSWERED:
        return outcome
    shown = call.describe()
    if kind == ev.TIMER_STARTED or kind in _OVER_AT_ONCE - {ev.SIDE_EFFECT}:
        raise RunProblem(f"Step {call.seq}, {shown}, has no result that could be edited.")
    failed = outcome is not None or kind == ev.SIDE_EFFECT
    what = "failed" if failed else "was cancelled" if call.cancelled else "has not completed"
    raise RunProblem(
        f"Step {call.seq}, {shown}, {what}, so it has no result to edit. fork(at={call.seq}) does it anew instead."
    )


def next_step(rows: Sequence[Numbered], call: Call) -> int:
    """Return the number of the first step that was asked for when the result of *call* was known; the end, if none was."""
    known = call.outcome_seq or call.waiting_seq or call.seq
    calls, _ = collect(without_void(rows))
    return min((each.seq for each in calls.values() if each.seq > known), default=rows[-1][0] + 1)


def forked(
    rows: Sequence[Numbered], edits: Mapping[str, Payload], origin: Origin, facts: Mapping[str, Any]
) -> list[Event]:
    """Return the rows with which the fork begins, the first being its ``run_started``.

    Args:
        rows: of the run that is forked.
        edits: results by the place of their call.
        origin: which step of which run.
        facts: what is true of the process and code that begin the fork, for the meta of its first row.

    Raises:
        RunProblem: it cannot be forked there; the message says why.
    """
    return _Forking(rows, edits, origin).rows(facts)


class _Forking:
    def __init__(self, rows: Sequence[Numbered], edits: Mapping[str, Payload], origin: Origin) -> None:
        self._rows = without_void(rows)
        self._edits, self._origin = edits, origin
        self._calls, _ = collect(self._rows)
        self._known = {place: call for place, call in self._calls.items() if call.seq < origin.at}
        before = [(seq, event) for seq, event in self._rows if seq < origin.at]
        self._by_code = undone([row for row in before if row[1].kind == ev.ACTIVITY_SCHEDULED])
        self._moment = max((event.at for _, event in before if event.kind in ev.INTENTS | ev.DELIVERED), default=0)
        self._check(rows, before)

    def rows(self, facts: Mapping[str, Any]) -> list[Event]:
        made: list[Event] = []
        arrivals: dict[int, int] = {}
        for seq, event in self._rows[1:]:
            if seq >= self._origin.at:
                break
            kept = self._kept(seq, event, arrivals)
            if kept is not None:
                made.append(kept)
                if kept.kind == ev.EVENT_ARRIVED:
                    arrivals[seq] = len(made) + 1
        made += self._came_later()
        return [self._start(facts, len(made) + 1), *made]

    # -- the first row ---------------------------------------------------------------------------------------------------

    def _start(self, facts: Mapping[str, Any], last: int) -> Event:
        first, origin = self._rows[0][1], self._origin
        inherited = {name: fact for name, fact in (first.meta or {}).items() if name not in _DROPPED}
        meta = {
            **inherited,
            **{name: fact for name, fact in facts.items() if name != "code"},
            "number": 1,
            "reason": "fork",
            "cause": f"forked from {origin.instance}, run {origin.number}, "
            + ("at its end" if origin.at > self._rows[-1][0] else f"at step {origin.at}"),
            "epoch": 1,
            "forked_from": [origin.instance, origin.number, origin.at],
            "fork_rows": last,
        }
        code = str(facts.get("code", first.code))
        return first._replace(at=origin.now, call=origin.fork, code=code, meta=meta)

    # -- rows before the step ----------------------------------------------------------------------------------------------

    def _kept(self, seq: int, event: Event, arrivals: Mapping[int, int]) -> Event | None:
        kind, call = event.kind, self._known.get(event.call)
        if kind in _OF_EVENTS or (kind == ev.SUBSCRIBED and not event.call):
            return _renumbered(event, arrivals)
        if call is None:
            return None
        if kind in ev.INTENTS:
            return self._intent(call)
        if kind in ev.DELIVERED:
            kept = _renumbered(self._edited(event), arrivals)
            return kept._replace(meta={**(kept.meta or {}), "reused": self._named(event, seq)})
        if kind == ev.ATTEMPT_OUTPUT:
            return _marked(event) if self._is_answered(call) else None
        return event if kind in _GIVEN_UP else None

    def _intent(self, call: Call) -> Event:
        event, meta = call.intent, dict(call.intent.meta or {})
        if not self._is_over(call):
            return self._open(call, meta)
        meta["reused"] = self._named(event, call.seq)
        if event.kind == ev.CHILD_STARTED:
            meta["linked"] = True
        elif event.call not in self._by_code and ("undo" in meta or event.kind == ev.COMPENSATION_ARMED):
            meta.pop("undo", None)
            meta["shared"] = True
        if event.call in self._edits:
            meta["edited"] = True
            if event.kind == ev.SIDE_EFFECT:
                event = event._replace(payload=self._edits[event.call])
        return event._replace(meta=meta)

    def _open(self, call: Call, meta: dict[str, Any]) -> Event:
        """What has no outcome that counts: the fork does it, by itself."""
        event, origin = call.intent, self._origin
        meta.pop("reused", None)
        if event.kind == ev.TIMER_STARTED:  # what was left of it then is left of it now
            meta["due"] = origin.now + max(0, int(meta.get("due", 0)) - self._moment)
        elif event.kind == ev.CHILD_STARTED and "linked" not in meta:
            meta["instance"] = child_id(event.name, origin.fork, 1, event.call)
        return event._replace(meta=meta or None)

    def _edited(self, event: Event) -> Event:
        payload = self._edits.get(event.call)
        if payload is None or event.kind not in _ANSWERED:
            return event
        return event._replace(payload=payload, meta={**(event.meta or {}), "edited": True})

    def _named(self, event: Event, seq: int) -> list[int]:
        """Whose row it is: of a call that the original had reused itself, that of the first."""
        return list((event.meta or {}).get("reused", (self._origin.key, seq)))

    # -- what was under way at the step ------------------------------------------------------------------------------------

    def _is_over(self, call: Call) -> bool:
        """Is there an outcome of the call that counts in the fork?"""
        settled = call.outcome is not None and call.outcome_seq < self._origin.at
        return call.intent.kind in _OVER_AT_ONCE or settled or self._was_given_up(call) or self._later(call) is not None

    def _is_answered(self, call: Call) -> bool:
        return self._is_over(call) and not self._was_given_up(call)

    def _was_given_up(self, call: Call) -> bool:
        return (
            any(
                event.kind in _GIVEN_UP and event.call == call.intent.call and seq < self._origin.at
                for seq, event in self._rows
            )
            if call.cancelled
            else False
        )

    def _later(self, call: Call) -> Event | None:
        """The result that a call which was under way at the step came to later."""
        outcome = call.outcome
        if outcome is not None and call.outcome_seq >= self._origin.at:
            return outcome if outcome.kind in {ev.ACTIVITY_COMPLETED, ev.CHILD_COMPLETED} else None
        if outcome is None and call.waiting is not None and (call.waiting.meta or {}).get("ok") and not call.cancelled:
            return call.waiting
        return None

    def _came_later(self) -> list[Event]:
        """The outcomes that are delivered to the fork as soon as its code has come to the step.

        That of a child follows from the child, which is linked.
        """
        made: list[Event] = []
        later = [(call, found) for call in self._known.values() if (found := self._later(call)) is not None]
        for call, found in sorted(later, key=lambda each: each[0].outcome_seq or each[0].waiting_seq):
            if found.kind == ev.CHILD_COMPLETED:
                continue
            made += [_marked(event) for seq, event in call.outputs or () if seq >= self._origin.at]
            event = self._edited(found._replace(kind=ev.ACTIVITY_COMPLETED))
            meta = {"ok": True, **({"edited": True} if event is not found and (event.meta or {}).get("edited") else {})}
            made.append(event._replace(kind=ev.OUTCOME_RECORDED, meta=meta))
        return made

    # -- what is refused ---------------------------------------------------------------------------------------------------

    def _check(self, rows: Sequence[Numbered], before: Sequence[Numbered]) -> None:
        origin = self._origin
        if any(event.kind == ev.CANCEL_DELIVERED for _, event in before):
            raise RunProblem(
                f"Instance {origin.instance} was cancelled before that step, which belongs to its clean-up. Fork before it was."
            )
        gone = undone(rows) - self._by_code - set(self._edits)
        for place, call in self._known.items():
            shown = f"Step {call.seq}, {call.describe()},"
            if place in gone and self._is_answered(call):
                raise RunProblem(
                    f"{shown} was undone, so its result counts for nothing. Fork at that step or before: fork(at={call.seq})."
                )
            if self._is_over(call):
                continue
            if (call.intent.meta or {}).get("undoes"):
                raise RunProblem(f"{shown} is an undo that has not completed. Fork before or behind it.")
            once = (call.intent.meta or {}).get("delivery") == "at_most_once"
            if once and call.attempts > call.failed and call.outcome is None:
                raise RunProblem(
                    f"{shown} is in doubt: it was begun, it must not run twice, and nobody knows how it ended. Say so first: "
                    f"rn.instance({origin.instance!r}).resolve({call.seq}, ...). Or fork there: fork(at={call.seq})."
                )


def _renumbered(event: Event, arrivals: Mapping[int, int]) -> Event:
    """Have the row name the row of the event's arrival by its number in the fork."""
    number = (event.meta or {}).get("arrived")
    if number is None:
        return event
    meta = {name: fact for name, fact in (event.meta or {}).items() if name != "arrived"}
    if number in arrivals:
        meta["arrived"] = arrivals[number]
    return event._replace(meta=meta)


def _marked(event: Event) -> Event:
    return event._replace(meta={**(event.meta or {}), "reused": True})
