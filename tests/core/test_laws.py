"""The laws L1, L2, L3, and "run straight = put down and rebuilt after every delivery", over the whole corpus."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from romancy_nb.core.activation import Execution

from .corpus import CORPUS, SMALL
from .driver import START, body_of, in_order, replay, run, seeded

SEEDS = range(6)
every_shape = pytest.mark.parametrize("name", CORPUS)


@every_shape
def test_every_shape_ends(name: str) -> None:
    for seed in SEEDS:
        run(CORPUS[name], seeded(seed)).outcome()


@every_shape
def test_l1_replaying_any_prefix_that_ends_on_a_turn_adds_no_row_and_asks_for_exactly_the_open_calls(name: str) -> None:
    for seed in SEEDS:
        world = run(CORPUS[name], seeded(seed))
        for length, still_open in world.boundaries:
            execution = Execution(body_of(CORPUS[name]), world.rows[:length])
            report = execution.begin(START + 10**12)
            assert report.mismatch is None
            assert report.rows == []
            assert not report.moved
            if report.ended is None:
                assert {c.place for c in report.calls} | {t.place for t in report.timers} == still_open
                assert not any(c.fresh for c in report.calls)
            execution.put_down()


@every_shape
def test_l2_delivering_one_more_event_only_appends_rows(name: str) -> None:
    world = run(CORPUS[name], seeded(1))
    lengths = [length for length, _ in world.boundaries]
    for length in lengths:
        longer = run(CORPUS[name], seeded(1)).rows
        assert longer[:length] == world.rows[:length]
    assert lengths == sorted(lengths)


@every_shape
def test_l3_the_rows_depend_on_code_history_and_deliveries_only(name: str) -> None:
    for seed in SEEDS:
        first, second = run(CORPUS[name], seeded(seed)), run(CORPUS[name], seeded(seed))
        assert first.rows == second.rows
        assert first.outcome() == second.outcome()


@every_shape
def test_run_straight_equals_put_down_and_rebuilt_after_every_delivery(name: str) -> None:
    for seed in SEEDS:
        straight = run(CORPUS[name], seeded(seed))
        rebuilt = run(CORPUS[name], seeded(seed), rebuild=True)
        assert straight.rows == rebuilt.rows
        assert straight.outcome() == rebuilt.outcome()


@pytest.mark.parametrize("name", SMALL)
def test_every_order_of_completions(name: str) -> None:
    function: Callable[[], Any] = CORPUS[name]
    for order in itertools.product(range(3), repeat=3):
        straight = run(function, in_order(order))
        rebuilt = run(function, in_order(order), rebuild=True)
        assert (straight.rows, straight.outcome()) == (rebuilt.rows, rebuilt.outcome())


@given(name=st.sampled_from(sorted(CORPUS)), order=st.lists(st.integers(0, 5), max_size=25))
@settings(max_examples=80, deadline=None)
def test_any_order_of_completions(name: str, order: list[int]) -> None:
    straight = run(CORPUS[name], in_order(order))
    rebuilt = run(CORPUS[name], in_order(order), rebuild=True)
    assert (straight.rows, straight.outcome()) == (rebuilt.rows, rebuilt.outcome())
    last = replay(CORPUS[name], straight.rows)
    assert last.rows == [] and last.ended is not None
