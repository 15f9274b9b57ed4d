"""Code and history part: named readably, moved calls recognised (C6), and nothing executed from there on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from romancy_nb.core import events as ev
from romancy_nb.core.activation import Execution
from romancy_nb.core.events import Event

from .driver import START, act, body_of, call, note, parting, replay, run

SEEN: list[str] = []


async def three() -> Any:
    return [await act("reserve", "x"), await act("charge", 5), await act("ship", "y")]


@pytest.fixture(autouse=True)
def _clear() -> None:
    SEEN.clear()


def test_another_name_shows_both_calls_with_their_inputs() -> None:
    async def edited() -> Any:
        return [await act("reserve", "x"), await act("charge_twice", 5)]

    error = parting(edited, run(three).rows)
    assert error.expected == "activity charge with 5 (call 0:1)"
    assert error.asked == "activity charge_twice with 5 (call 0:1)"
    assert "history holds activity charge with 5 (call 0:1); the code asks for activity charge_twice" in str(error)
    assert "Likely causes" in str(error)


def test_another_input_shows_both_inputs() -> None:
    async def edited() -> Any:
        return [await act("reserve", "x"), await act("charge", 6), await act("ship", "y")]

    error = parting(edited, run(three).rows)
    assert (error.expected, error.asked) == ("activity charge with 5 (call 0:1)", "activity charge with 6 (call 0:1)")


def test_long_inputs_are_cut() -> None:
    async def edited() -> Any:
        await act("reserve", "z" * 500)

    assert len(str(parting(edited, run(three).rows).asked)) < 130


def test_a_missing_call_is_named() -> None:
    async def edited() -> Any:
        await act("reserve", "x")
        await act("ship", "y")

    assert "charge" in str(parting(edited, run(three).rows).expected)


def test_an_extra_call_is_named_and_history_says_it_holds_no_further_call() -> None:
    async def edited() -> Any:
        await three()
        await act("extra")

    error = parting(edited, run(three).rows)
    assert error.expected is None
    assert "history holds no further call; the code asks for activity extra" in str(error)


def test_an_extra_call_beside_an_open_one_parts_too() -> None:
    async def one() -> Any:
        await act("a")

    async def two() -> Any:
        await asyncio.gather(act("a"), act("b"))

    world = run(one)
    assert parting(two, world.rows[:2]).asked == "activity b with 0 (call 0.1:0)"


def test_code_that_ends_too_early_says_so() -> None:
    async def edited() -> Any:
        await act("reserve", "x")

    assert "ends before that call" in str(parting(edited, run(three).rows))


def test_code_that_no_longer_waits_for_a_call_says_so() -> None:
    async def old() -> Any:
        await asyncio.gather(act("a"), act("b"))

    async def edited() -> Any:
        task = asyncio.ensure_future(act("a"))
        other = asyncio.ensure_future(act("b"))
        await asyncio.sleep(0)
        await task
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)

    assert "was not cancelled; the code cancels it" in str(parting(edited, run(old).rows))


def test_a_call_that_history_cancelled_and_the_code_does_not_parts_instead_of_executing_again() -> None:
    async def old() -> Any:
        task, other = asyncio.ensure_future(act("a")), asyncio.ensure_future(act("b"))
        await task
        other.cancel()
        await act("end")

    async def edited() -> Any:
        task, other = asyncio.ensure_future(act("a")), asyncio.ensure_future(act("b"))
        await task
        await act("end")
        await other

    world = run(old)
    last = max(seq for seq, event in world.rows if event.name == "end")
    assert "was cancelled; the code goes on waiting" in str(parting(edited, world.rows[:last]))


def test_calls_in_another_order_part_at_the_first_outcome() -> None:
    async def edited() -> Any:
        return [await act("charge", 5), await act("reserve", "x"), await act("ship", "y")]

    assert "the outcome of activity reserve" in str(parting(edited, run(three).rows))


def test_another_delay_is_a_readable_difference_of_timers() -> None:
    async def old() -> Any:
        await asyncio.sleep(5)

    async def edited() -> Any:
        await asyncio.sleep(7)

    error = parting(edited, run(old).rows)
    assert (error.expected, error.asked) == ("a timer of 5 s (call 0:0)", "a timer of 7 s (call 0:0)")


def test_another_side_effect_is_named_without_its_result() -> None:
    def old() -> Any:
        return note("look", lambda: "secret")

    def edited() -> Any:
        return note("peek", lambda: "secret")

    error = parting(edited, run(old).rows)
    assert (error.expected, error.asked) == ("side effect look (call 0:0)", "side effect peek (call 0:0)")


def test_a_run_that_ended_without_calls_parts_from_code_that_makes_one() -> None:
    async def old() -> Any:
        return 1

    rows = [*run(old).rows, (2, Event(ev.RUN_COMPLETED, START))]
    parting(three, rows)


def test_a_run_that_was_paused_or_resumed_before_its_first_call_may_still_make_it() -> None:
    rows = [*run(nothing).rows[:1], (2, Event(ev.RUN_PAUSED, START)), (3, Event(ev.RUN_RESUMED, START))]
    report = replay(three, rows)
    assert report.mismatch is None
    assert [opened.command.name for opened in report.calls] == ["reserve"]


async def nothing() -> None:
    """Also the workflow that does nothing."""


# -- moved calls -------------------------------------------------------------------------------------------------------------


def test_a_call_that_moved_into_a_task_is_recognised_and_noted() -> None:
    async def edited() -> Any:
        first = await asyncio.create_task(act("reserve", "x"))
        return [first, await act("charge", 5), await act("ship", "y")]

    world = run(three)
    report = replay(edited, world.rows)
    assert report.mismatch is None and report.rows == [] and report.ended is not None
    assert report.moved == [
        "reserve moved from 0:0 to 0.0:0",
        "charge moved from 0:1 to 0:0",
        "ship moved from 0:2 to 0:1",
    ]


def test_equal_calls_in_shuffled_places_are_interchangeable() -> None:
    def body(*args: int) -> Any:
        async def workflow() -> Any:
            return await asyncio.gather(*[act("a", arg) for arg in args])

        return workflow

    world = run(body(1, 1, 2))
    report = replay(body(2, 1, 1), world.rows)
    assert report.mismatch is None and report.rows == [] and report.moved


def test_a_moved_open_call_keeps_its_place_and_occurrence() -> None:
    async def edited() -> Any:
        return await asyncio.create_task(act("reserve", "x"))

    report = replay(edited, run(three).rows[:2])
    assert [(c.place, c.occurrence, c.fresh) for c in report.calls] == [("0:0", 0, False)]


def test_the_occurrence_of_a_replayed_call_is_the_recorded_one_even_where_equal_calls_are_issued_in_another_order() -> (
    None
):
    async def late(turns: int) -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await act("same")

    def body(first: int, second: int) -> Any:
        async def workflow() -> Any:
            await asyncio.gather(late(first), late(second))

        return workflow

    rows = [(1, run(body(0, 1)).rows[0][1]), *run(body(0, 1)).rows[1:3]]
    before = {c.place: c.occurrence for c in replay(body(0, 1), rows).calls}
    after = {c.place: c.occurrence for c in replay(body(1, 0), rows).calls}
    assert before == after == {"0.0:0": 0, "0.1:0": 1}


# -- after parting -------------------------------------------------------------------------------------------------------------


def test_after_parting_nothing_is_asked_for_and_no_other_task_goes_on() -> None:
    async def other() -> Any:
        await asyncio.sleep(0)
        SEEN.append("another task went on")

    async def edited() -> Any:
        task = asyncio.create_task(other())
        try:
            await act("renamed", "x")
        finally:
            await act("cleanup")
            await task

    parting(edited, run(three).rows)
    assert SEEN == []


@pytest.mark.parametrize("colour", ["async", "def"])
def test_after_parting_code_that_swallows_everything_is_stopped(colour: str) -> None:
    async def stubborn() -> Any:
        while True:
            try:
                await act("renamed")
            except BaseException:
                pass

    def stubborn_def() -> Any:
        while True:
            try:
                call("renamed")
            except BaseException:
                pass

    parting(stubborn if colour == "async" else stubborn_def, run(three).rows)


def test_deliveries_to_a_parted_execution_come_to_nothing() -> None:
    async def edited() -> Any:
        await act("renamed")

    execution = Execution(body_of(edited), run(three).rows)
    assert execution.begin(START).mismatch is not None
    report = execution.deliver([], START)
    assert report.mismatch is not None and not report.rows
    execution.put_down()
