"""What is true of every history, as laws with tags. Pure functions; each raises ``AssertionError`` with the law's tag.

Tests check them over many programs and orders of completion, and ``doctor`` over a person's journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from romancy_nb.core import events as ev
from romancy_nb.core.family import is_owned
from romancy_nb.core.replay import UNDO, Numbered

__all__ = ["LAWS", "check_history"]

_OF_CALLS = frozenset(
    {
        *ev.DELIVERED,
        ev.ATTEMPT_STARTED,
        ev.ATTEMPT_FAILED,
        ev.ATTEMPT_OUTPUT,
        ev.ATTEMPT_ABANDONED,
        ev.OUTCOME_RECORDED,
        ev.LATE_OUTCOME,
        ev.CALL_CANCELLED,
        ev.TIMER_CANCELLED,
        ev.WAIT_CANCELLED,
        ev.CHILD_CANCELLED,
        ev.COMPENSATION_COMPLETED,
        ev.COMPENSATION_FAILED,
        ev.COMPENSATION_RESOLVED,
    }
)
_GIVEN_UP = frozenset({ev.CALL_CANCELLED, ev.TIMER_CANCELLED, ev.WAIT_CANCELLED, ev.CHILD_CANCELLED})
_KIND_OF = {
    ev.ACTIVITY_COMPLETED: ev.ACTIVITY_SCHEDULED,
    ev.ACTIVITY_FAILED: ev.ACTIVITY_SCHEDULED,
    ev.CALL_CANCELLED: ev.ACTIVITY_SCHEDULED,
    ev.TIMER_FIRED: ev.TIMER_STARTED,
    ev.TIMER_CANCELLED: ev.TIMER_STARTED,
    ev.EVENT_RECEIVED: ev.WAIT_STARTED,
    ev.WAIT_CANCELLED: ev.WAIT_STARTED,
    ev.CHILD_COMPLETED: ev.CHILD_STARTED,
    ev.CHILD_FAILED: ev.CHILD_STARTED,
    ev.CHILD_CANCELLED: ev.CHILD_STARTED,
    ev.COMPENSATION_COMPLETED: ev.COMPENSATION_SCHEDULED,
    ev.COMPENSATION_FAILED: ev.COMPENSATION_SCHEDULED,
    ev.COMPENSATION_RESOLVED: ev.COMPENSATION_SCHEDULED,
}


def i0_begins_with_start(rows: Sequence[Numbered]) -> None:
    """A history begins with run_started, has it once, and its numbers rise by one."""
    assert rows and rows[0][1].kind == ev.RUN_STARTED, "I0: the first row is not run_started"
    for (before, _), (seq, event) in pairwise(rows):
        assert event.kind != ev.RUN_STARTED, f"I0: a second run_started at {seq}"
        assert seq == before + 1, f"I0: row {seq} follows row {before}"


def i1_outcomes_have_intents(rows: Sequence[Numbered]) -> None:
    """Every outcome, attempt and cancellation belongs to an earlier intent of its kind."""
    intents: dict[str, str] = {}
    for seq, event in rows:
        if event.kind in ev.INTENTS or event.kind == ev.COMPENSATION_SCHEDULED:
            intents[event.call] = event.kind
        elif event.kind in _OF_CALLS:
            assert event.call in intents, f"I1: row {seq} ({event.kind}) belongs to no earlier intent ({event.call})"
            wanted = _KIND_OF.get(event.kind)
            assert wanted in {None, intents[event.call]}, f"I1: row {seq} is a {event.kind} of a {intents[event.call]}"


def i2_one_outcome_a_call(rows: Sequence[Numbered]) -> None:
    """A call has at most one delivered outcome, unless a resume declared the first one void; a cancelled call has none."""
    settled: dict[str, int] = {}
    for seq, event in rows:
        if event.kind == ev.RUN_RESUMED and event.meta and event.meta.get("void_from") is not None:
            void = event.meta["void_from"]
            settled = {call: at for call, at in settled.items() if at < void}
        elif event.kind in ev.DELIVERED or event.kind in _GIVEN_UP:
            before = settled.get(event.call)
            assert before is None, f"I2: call {event.call} was settled by row {before} and again by row {seq}"
            settled[event.call] = seq


def i3_nothing_after_the_end(rows: Sequence[Numbered]) -> None:
    """After the run's end nothing is delivered and nothing asked for, until it is resumed."""
    end: int | None = None
    for seq, event in rows:
        if event.kind in ev.RUN_ENDS:
            assert end is None, f"I3: the run ends at row {end} and again at row {seq}"
            end = seq
        elif event.kind in {ev.RUN_RESUMED, ev.RUN_COMPENSATING}:
            end = None
        elif event.kind in ev.DELIVERED or event.kind in ev.INTENTS:
            assert end is None, f"I3: row {seq} ({event.kind}) comes after the run's end at row {end}"


def i4_a_place_stands_once(rows: Sequence[Numbered]) -> None:
    """No two intents have the same place."""
    places: dict[str, int] = {}
    for seq, event in rows:
        if event.kind in ev.INTENTS and event.call:
            assert event.call not in places, (
                f"I4: place {event.call} stands at row {places[event.call]} and at row {seq}"
            )
            places[event.call] = seq


def i5_the_clock_never_goes_back(rows: Sequence[Numbered]) -> None:
    """What is delivered is not older than what was delivered before; only reused outcomes keep their old times."""
    clock = 0
    clocks = [(0, 0)]
    for seq, event in rows:
        if event.kind in ev.DELIVERED:
            reused = bool(event.meta and event.meta.get("reused"))
            assert reused or event.at >= clock, f"I5: row {seq} takes the clock back from {clock} to {event.at}"
            clock = max(clock, event.at)
            clocks.append((seq, clock))
        elif event.kind == ev.RUN_RESUMED and event.meta and event.meta.get("void_from") is not None:
            clocks = [entry for entry in clocks if entry[0] < event.meta["void_from"]]
            clock = clocks[-1][1]


def i6_equal_calls_are_counted(rows: Sequence[Numbered]) -> None:
    """Kind, name, inputs and occurrence together stand once."""
    keys: dict[tuple[str, str, str, int], int] = {}
    for seq, event in rows:
        if event.kind in ev.INTENTS and event.call:
            key = (event.kind, event.name, event.digest, int((event.meta or {}).get("occurrence", 0)))
            assert key not in keys, f"I6: rows {keys[key]} and {seq} are the same occurrence of {event.name}"
            keys[key] = seq


def i7_one_record_answers_once(rows: Sequence[Numbered]) -> None:
    """No two calls of a run are answered by the same recorded call."""
    origins: dict[tuple[int, int], int] = {}
    for seq, event in rows:
        reused = (event.meta or {}).get("reused") if event.kind in ev.INTENTS else None
        if reused:
            origin = (reused[0], reused[1])
            assert origin not in origins, f"I7: rows {origins[origin]} and {seq} are both answered by {origin}"
            origins[origin] = seq


def i8_what_is_undone_goes_back_only(rows: Sequence[Numbered]) -> None:
    """Once an undo has begun nothing is asked for or delivered; each undo is of an armed call, and completes once."""
    armed: set[str] = set()
    completed: set[str] = set()
    since: int | None = None
    for seq, event in rows:
        if event.kind == ev.RUN_COMPENSATING:
            since = since or seq
        elif event.kind in ev.INTENTS or event.kind in ev.DELIVERED or event.kind == ev.RUN_RESUMED:
            assert since is None, f"I8: row {seq} ({event.kind}) goes forward after the undo began at row {since}"
            owned = event.kind == ev.CHILD_STARTED and is_owned(event.meta or {})
            if event.kind == ev.COMPENSATION_ARMED or owned or (event.meta and event.meta.get("undo")):
                armed.add(UNDO + event.call)
        elif event.kind == ev.COMPENSATION_SCHEDULED:
            assert since is not None and (event.call in armed or "/" in event.call), (  # "/": of an earlier run
                f"I8: row {seq} undoes what was never armed ({event.call})"
            )
        elif event.kind == ev.COMPENSATION_COMPLETED:
            assert event.call not in completed, f"I8: row {seq} completes {event.call} a second time"
            completed.add(event.call)


def i9_an_event_is_received_once(rows: Sequence[Numbered]) -> None:
    """What a wait received had arrived before, under that name, and nobody else received it."""
    arrived: dict[int, str] = {}
    taken: dict[int, int] = {}
    waits: dict[str, str] = {}
    for seq, event in rows:
        if event.kind == ev.EVENT_ARRIVED:
            arrived[seq] = event.name
        elif event.kind == ev.WAIT_STARTED:
            waits[event.call] = event.name
        elif event.kind in {ev.EVENT_RECEIVED, ev.EVENT_REFUSED}:
            number = (event.meta or {}).get("arrived")
            if number is None:
                continue  # reused: it arrived in an earlier run, or straight from a channel's queue
            assert number in arrived, f"I9: row {seq} receives row {number}, which is no arrival"
            assert number not in taken, f"I9: rows {taken[number]} and {seq} both receive row {number}"
            taken[number] = seq


LAWS = (
    i0_begins_with_start,
    i1_outcomes_have_intents,
    i2_one_outcome_a_call,
    i3_nothing_after_the_end,
    i4_a_place_stands_once,
    i5_the_clock_never_goes_back,
    i6_equal_calls_are_counted,
    i7_one_record_answers_once,
    i8_what_is_undone_goes_back_only,
    i9_an_event_is_received_once,
)
"""All of them, in order of their tags."""


def check_history(rows: Sequence[Numbered]) -> None:
    """Check all laws on the history of one run.

    Raises:
        AssertionError: the tag of the first law that does not hold, and where.
    """
    for law in LAWS:
        law(rows)
