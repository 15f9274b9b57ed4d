"""The queues of limits as data: any sequence of calls, ends and new figures keeps what a limit promises (A8)."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from romancy_nb.definitions.limits import Limit
from romancy_nb.runtime.limits import Key, Limits, Ticket

NAMES = ("a", "b", "c")
S = 1_000_000


def asks(*names: str, **figures: Any) -> list[dict[str, Any]]:
    return [{"name": name, **figures} for name in names]


class Queues(RuleBasedStateMachine):
    """What the engine may do with the queues, in any order, beside a model that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits()
        self.figures = {name: Limit(name, 2) for name in NAMES}
        self.now = 1_000 * S
        self.number = 0
        self.order: list[Key] = []
        self.inside: list[Ticket] = []
        self.unwanted: set[Key] = set()
        self.began: dict[str, list[int]] = {name: [] for name in NAMES}
        self.highest = dict.fromkeys(NAMES, 0.0)

    def find(self, name: str) -> Limit | None:
        return self.figures.get(name)

    @rule(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    def join(self, names: list[str]) -> None:
        self.number += 1
        key = (self.number % 5, str(self.number))
        self.limits.join(key, asks(*names), self.now)
        self.order.append(key)

    @precondition(lambda self: self.order)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.order))
        self.limits.drop(key)
        self.order.remove(key)

    @precondition(lambda self: self.order)
    @rule(data=st.data())
    def no_longer_wanted(self, data: st.DataObject) -> None:
        self.unwanted.add(data.draw(st.sampled_from(self.order)))

    @rule()
    def admit(self) -> None:
        names = {key: set(self.limits._waiting[key].names) for key in self.order}
        let_in: list[Key] = []
        for ticket in self.limits.admit(self.now, self.find, lambda ticket: ticket.key not in self.unwanted):
            assert ticket.key not in self.unwanted and ticket in self.limits.pending
            let_in.append(ticket.key)
            for other in self.order[: self.order.index(ticket.key)]:
                left = other in let_in or other in self.unwanted
                assert left or not names[other] & names[ticket.key], "overtaken"
            self.inside.append(ticket)
            for name in ticket.names:
                self.began[name].append(self.now)
        assert let_in == [key for key in self.order if key in let_in]
        self.order = [key for key in self.order if key in self.limits._waiting]
        self.check_that_nobody_waits_without_a_reason()

    def check_that_nobody_waits_without_a_reason(self) -> None:
        if not self.order:
            assert self.limits.due is None
            return
        first = self.limits._waiting[self.order[0]]
        full = [
            name
            for name in first.names
            if (most := self.figures[name].concurrency) is not None and self.limits.held(name) >= most
        ]
        assert full or self.limits.due is not None, "the first waits for nothing"
        assert self.limits.due is None or self.limits.due > self.now

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), dispatched=st.booleans())
    def leave(self, data: st.DataObject, dispatched: bool) -> None:
        ticket = data.draw(st.sampled_from(self.inside))
        if dispatched:
            self.limits.begun(ticket)
        self.limits.leave(ticket)
        self.limits.leave(ticket)  # told twice, it leaves once
        self.inside.remove(ticket)

    @rule(seconds=st.floats(0, 5))
    def pass_time(self, seconds: float) -> None:
        self.now += int(seconds * S)

    @rule()
    def set_the_clock_back(self) -> None:
        self.now -= 3600 * S
        self.began = {name: [] for name in NAMES}

    @precondition(lambda self: self.limits.due is not None)
    @rule()
    def wait_for_the_next(self) -> None:
        assert self.limits.due is not None
        if self.limits.due > self.now:
            self.now = self.limits.due
            held = {name: self.limits.held(name) for name in NAMES}
            before = len(self.inside)
            self.admit()
            moved = len(self.inside) > before or not self.order
            assert moved or any(held.values()) or self.limits.due is not None

    @rule(
        name=st.sampled_from(NAMES),
        concurrency=st.none() | st.integers(1, 4),
        rate=st.none() | st.sampled_from([0.5, 3.0, 40.0]),
    )
    def redefine(self, name: str, concurrency: int | None, rate: float | None) -> None:
        self.figures[name] = Limit(name, concurrency, rate)
        self.began[name] = []

    @invariant()
    def places_are_those_of_who_is_inside(self) -> None:
        for name in NAMES:
            assert self.limits.held(name) == sum(name in ticket.names for ticket in self.inside)
            assert self.limits.waiting(name) == [key for key in self.order if name in self.limits._waiting[key].names]
        assert set(self.limits.pending) <= set(self.inside)

    @invariant()
    def no_rate_is_broken(self) -> None:
        for name, times in self.began.items():
            rate = self.figures[name].per_second
            for first in range(len(times)) if rate else ():
                for last in range(first, len(times)):
                    allowed = max(1.0, rate * 0.1) + (times[last] - times[first]) / S * rate
                    assert last - first + 1 <= allowed + 1e-6, (name, rate, times)

    def teardown(self) -> None:
        """Whatever happened: when everybody has left, nothing is kept."""
        for ticket in self.inside:
            self.limits.leave(ticket)
        for key in self.order:
            self.limits.drop(key)
        assert not self.limits and not self.limits.pending and not self.limits._waiting
        assert all(not gate.held and not gate.queue for gate in self.limits._gates.values())


TestQueues = Queues.TestCase
TestQueues.settings = hypothesis_settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(st.lists(st.floats(0, 0.4), max_size=60), st.sampled_from([0.7, 5.0, 25.0, 300.0]))
def test_a_rate_is_kept_and_reached(pauses: list[float], rate: float) -> None:
    limits, now, began = Limits(), 7 * S, []
    for number in range(50):
        limits.join((1, str(number)), asks("api", per_second=rate), now)
    for pause in [0.0, *pauses]:
        now += int(pause * S)
        began += [now] * len(limits.admit(now, lambda name: None))
    limits.pending.clear()
    while limits:
        assert limits.admit(now, lambda name: None) == []
        assert limits.due is not None
        now = max(now, limits.due)
        for ticket in limits.admit(now, lambda name: None):
            limits.begun(ticket)
            began.append(now)
    assert len(began) == 50
    burst = max(1.0, rate / 10)
    for first in range(50):
        for last in range(first, 50):
            assert last - first + 1 <= burst + (began[last] - began[first]) / S * rate + 1e-6
    if not pauses:
        assert (began[-1] - began[0]) / S <= 50 / rate + 0.01


def test_a_call_that_waits_already_keeps_its_place() -> None:
    limits = Limits()
    one = limits.join((1, "x"), asks("a", concurrency=1), 0)
    limits.join((1, "y"), asks("a", concurrency=1), 0)
    assert limits.join((1, "x"), asks("a", concurrency=1), 5) is one
    assert limits.waiting("a") == [(1, "x"), (1, "y")]


def test_recorded_figures_count_where_the_limit_is_not_defined() -> None:
    limits = Limits()
    for number in range(5):
        limits.join((1, str(number)), asks("a", concurrency=2), 0)
    assert len(limits.admit(0, lambda name: None)) == 2
    assert len(limits.admit(0, lambda name: Limit("a", 3))) == 1


@pytest.mark.parametrize("calls", [20_000])
def test_a_long_queue_costs_the_same_for_each_call(calls: int) -> None:
    looked = 0

    def count(ticket: Ticket) -> bool:
        nonlocal looked
        looked += 1
        return True

    limits = Limits()
    for number in range(calls):
        limits.join((1, str(number)), asks("a", concurrency=8), 0)
    done = 0
    while limits:
        for ticket in limits.admit(0, lambda name: None, count):
            limits.leave(ticket)
            done += 1
    assert done == calls and looked < 3 * calls
    assert math.isclose(limits.held("a"), 0)
