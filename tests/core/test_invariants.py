"""Each law of ``core.invariants`` holds on what the core makes, and fails on a history that breaks it, with its tag."""

from __future__ import annotations

import pytest

from romancy_nb.core import events as ev
from romancy_nb.core import invariants
from romancy_nb.core.events import Event
from romancy_nb.core.invariants import LAWS, check_history
from romancy_nb.core.replay import Numbered

from .corpus import CORPUS
from .driver import START, run, seeded


def good() -> list[Numbered]:
    return list(run(CORPUS["wait_for_around_a_call"], seeded(0)).rows)


def numbered(events: list[Event]) -> list[Numbered]:
    return list(enumerate(events, start=1))


def first(kind: str) -> tuple[list[Event], int]:
    events = [event for _, event in good()]
    return events, next(i for i, event in enumerate(events) if event.kind == kind)


def test_the_laws_hold_on_every_shape() -> None:
    for function in CORPUS.values():
        check_history(run(function, seeded(0)).rows)


def _without_start() -> list[Numbered]:
    return numbered([event for _, event in good()][1:])


def _a_gap() -> list[Numbered]:
    rows = good()
    return [*rows[:2], *((seq + 1, event) for seq, event in rows[2:])]


def _outcome_without_intent() -> list[Numbered]:
    events, at = first(ev.ACTIVITY_COMPLETED)
    events[at] = events[at]._replace(call="7:7")
    return numbered(events)


def _outcome_of_another_kind() -> list[Numbered]:
    events, at = first(ev.ACTIVITY_COMPLETED)
    events[at] = events[at]._replace(kind=ev.TIMER_FIRED)
    return numbered(events)


def _two_outcomes() -> list[Numbered]:
    events, at = first(ev.ACTIVITY_COMPLETED)
    return numbered([*events[: at + 1], events[at], *events[at + 1 :]])


def _delivered_after_the_end() -> list[Numbered]:
    events, at = first(ev.ACTIVITY_COMPLETED)
    return numbered([*events[:at], Event(ev.RUN_FAILED, START), *events[at:]])


def _two_ends() -> list[Numbered]:
    return numbered([*(e for _, e in good()), Event(ev.RUN_COMPLETED, START), Event(ev.RUN_FAILED, START)])


def _a_place_twice() -> list[Numbered]:
    events, at = first(ev.ACTIVITY_SCHEDULED)
    return numbered([*events, events[at]._replace(name="other")])


def _the_clock_goes_back() -> list[Numbered]:
    events, at = first(ev.ACTIVITY_COMPLETED)
    later = next(i for i, e in enumerate(events) if i > at and e.kind in ev.DELIVERED)
    events[later] = events[later]._replace(at=START - 1)
    return numbered(events)


def _an_occurrence_twice() -> list[Numbered]:
    events, at = first(ev.ACTIVITY_SCHEDULED)
    return numbered([*events, events[at]._replace(call="0.9:0")])


def _a_record_answers_twice() -> list[Numbered]:
    events = [
        event._replace(meta={**(event.meta or {}), "reused": [1, 2]}) if event.kind == ev.ACTIVITY_SCHEDULED else event
        for _, event in good()
    ]
    return numbered(events)


@pytest.mark.parametrize(
    ("tag", "broken"),
    [
        ("I0", _without_start),
        ("I0", _a_gap),
        ("I1", _outcome_without_intent),
        ("I1", _outcome_of_another_kind),
        ("I2", _two_outcomes),
        ("I3", _delivered_after_the_end),
        ("I3", _two_ends),
        ("I4", _a_place_twice),
        ("I5", _the_clock_goes_back),
        ("I6", _an_occurrence_twice),
        ("I7", _a_record_answers_twice),
    ],
)
def test_a_history_that_breaks_a_law_is_refused_with_its_tag(tag: str, broken: object) -> None:
    assert callable(broken)
    with pytest.raises(AssertionError, match=f"^{tag}: "):
        check_history(broken())


def test_reused_outcomes_may_be_older_than_what_was_delivered_before() -> None:
    events, at = first(ev.ACTIVITY_COMPLETED)
    later = next(i for i, e in enumerate(events) if i > at and e.kind in ev.DELIVERED)
    events[later] = events[later]._replace(at=START - 1, meta={"reused": [1, 9]})
    invariants.i5_the_clock_never_goes_back(numbered(events))


def test_every_law_has_its_own_tag_and_number() -> None:
    assert [law.__name__.partition("_")[0] for law in LAWS] == [f"i{n}" for n in range(len(LAWS))]
    assert all(law.__doc__ for law in LAWS)
