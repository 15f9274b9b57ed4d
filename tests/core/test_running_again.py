"""A new run of an instance reuses what earlier ones know (R2, R3, R4, R8, chain of runs)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.core.pool import Pool

from .corpus import CORPUS
from .driver import CODES, START, STEP, World, act, again, call, dump, here, in_order, note, replay, run, seeded


@pytest.fixture(autouse=True)
def _codes() -> Iterator[None]:
    CODES.clear()
    yield
    CODES.clear()


async def chain() -> Any:
    return [await act(name, name) for name in ("a", "b", "c", "d")]


def names(world: World) -> list[str]:
    return [name for name, _ in world.executed]


@pytest.mark.parametrize("name", CORPUS)
def test_the_same_code_again_executes_only_what_did_not_complete_and_is_a_fixed_point(name: str) -> None:
    for seed in range(4):
        first = run(CORPUS[name], seeded(seed))
        second = again(CORPUS[name], first, pick=seeded(seed))
        completed = {e.call for _, e in first.rows if e.kind == ev.ACTIVITY_COMPLETED}
        if not any(e.kind in {ev.ACTIVITY_FAILED, ev.CALL_CANCELLED} for _, e in first.rows):
            assert second.executed == []
            assert second.outcome() == first.outcome()
        reused = sum(1 for _, e in second.rows if e.kind == ev.ACTIVITY_COMPLETED and (e.meta or {}).get("reused"))
        assert reused <= len(completed)
        assert replay(CORPUS[name], second.rows).rows == []
        pool = Pool([(1, first.rows)])
        assert replay(CORPUS[name], second.rows, pool).rows == []


def test_an_edited_step_executes_again_and_the_rest_is_reused() -> None:
    first = run(chain)
    CODES["b"] = "v2"
    second = again(chain, first)
    assert names(second) == ["b"]
    assert second.result == first.result


def test_reused_rows_name_the_run_and_row_they_come_from_and_keep_their_times() -> None:
    first = run(chain)
    second = again(chain, first)
    for (seq, old), (_, new) in zip(first.rows[1:], second.rows[1:], strict=True):
        assert (new.kind, new.call, new.at, new.payload) == (old.kind, old.call, old.at, old.payload)
        assert (new.meta or {})["reused"] == [1, seq]


def test_a_step_whose_inputs_changed_executes_again() -> None:
    async def edited() -> Any:
        return [await act("a", "a"), await act("b", "other"), await act("c", "c")]

    assert names(again(edited, run(chain))) == ["b"]


def test_a_moved_step_is_reused_wherever_it_stands() -> None:
    async def edited() -> Any:
        return [await act("new"), *await asyncio.gather(*[act(name, name) for name in ("d", "b", "a")])]

    assert names(again(edited, run(chain))) == ["new"]


def test_equal_calls_are_matched_by_place_and_each_record_answers_once() -> None:
    async def twice() -> Any:
        return [await act("draw", 1), await act("draw", 1)]

    async def thrice() -> Any:
        return [*await twice(), await act("draw", 1)]

    counter = iter(range(100))
    first = run(twice, results=lambda name, arg: (True, next(counter)))
    second = again(thrice, first, results=lambda name, arg: (True, 99))
    assert (first.result, second.result) == ([0, 1], [0, 1, 99])
    third = again(thrice, first, second)
    assert (third.result, third.executed) == ([0, 1, 99], [])


@pytest.mark.parametrize("rebuild", [False, True])
def test_a_record_that_answered_a_moved_call_does_not_answer_the_one_in_its_old_place(rebuild: bool) -> None:
    async def once() -> Any:
        return await act("draw", 1)

    async def edited() -> Any:
        moved = await asyncio.create_task(act("draw", 1))
        await asyncio.create_task(act("between", 1))
        await asyncio.create_task(act("between", 2))
        return [moved, await act("draw", 1)]

    first = run(once, results=lambda name, arg: (True, "old"))
    second = again(edited, first, results=lambda name, arg: (True, "new"), rebuild=rebuild)
    assert second.result == ["old", "new"] and names(second) == ["between", "between", "draw"]


def test_r4_the_order_is_that_of_the_newest_history_and_not_that_of_the_recorded_times() -> None:
    seen: list[str] = []

    async def branch(name: str) -> None:
        await act(name)
        seen.append(name)

    async def one_by_one() -> None:
        await branch("x")
        await branch("y")

    async def at_once() -> None:
        await asyncio.gather(branch("y"), branch("x"))

    first = run(one_by_one)
    CODES["x"] = "v2"
    second = again(one_by_one, first)  # x is new, y keeps its old time
    assert names(second) == ["x"]
    seen.clear()
    third = again(at_once, first, second)
    assert third.executed == [] and seen == ["x", "y"]


def test_r4_reused_outcomes_come_in_the_old_order_although_branches_are_concurrent() -> None:
    seen: list[str] = []

    async def branch(name: str) -> None:
        for i in range(3):
            seen.append(await act(name, f"{name}{i}"))

    async def workflow() -> Any:
        await asyncio.gather(*[branch(name) for name in "xyz"])

    for seed in range(10):
        seen.clear()
        first = run(workflow, seeded(seed))
        order = list(seen)
        seen.clear()
        again(workflow, first, pick=seeded(99))
        assert seen == order


def test_r4_the_old_order_holds_although_run_two_has_old_rows_after_newer_ones() -> None:
    async def slow_first() -> Any:
        seen.clear()

        async def branch(name: str, steps: int) -> None:
            for i in range(steps):
                seen.append(await act(f"{name}{i}"))

        await asyncio.gather(branch("x", 2), branch("y", 2))

    seen: list[str] = []
    first = run(slow_first, in_order([1, 1, 0, 0]))
    CODES["x0"] = "v2"
    second = again(slow_first, first)
    order = list(seen)
    third = again(slow_first, first, second)
    assert third.executed == [] and seen == order


def test_r4_nothing_new_is_dispatched_before_what_is_reused_was_delivered() -> None:
    async def race() -> Any:
        tasks = {asyncio.create_task(act(name)) for name in ("known", "unknown")}
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return [task.result() for task in done]

    first = run(race, in_order([0]))
    second = again(race, first)
    assert second.executed == []
    assert second.turns == 0  # it ended in its first activation


def test_never_executes_again_and_prefix_only_after_something_new() -> None:
    async def workflow() -> Any:
        await act("first", reuse="prefix")
        await act("middle")
        await act("looks", reuse="never")
        await act("last", reuse="prefix")

    first = run(workflow)
    assert names(again(workflow, first)) == ["looks", "last"]
    CODES["middle"] = "v2"
    assert names(again(workflow, first)) == ["middle", "looks", "last"]


def test_prefix_decides_alike_when_the_run_is_put_down_and_rebuilt() -> None:
    async def workflow() -> Any:
        await act("edited")
        await act("between")
        await act("last", reuse="prefix")

    first = run(workflow)
    CODES["edited"] = "v2"
    straight, rebuilt = again(workflow, first), again(workflow, first, rebuild=True)
    assert straight.rows == rebuilt.rows
    assert names(straight) == names(rebuilt) == ["edited", "last"]


def test_prefix_knows_after_a_rebuild_that_something_was_executed_anew() -> None:
    delay = [5]

    async def workflow() -> Any:
        await act("edited")
        await asyncio.sleep(delay[0])
        await act("last", reuse="prefix")

    first = run(workflow)
    CODES["edited"], delay[0] = "v2", 6
    straight, rebuilt = again(workflow, first), again(workflow, first, rebuild=True)
    assert straight.rows == rebuilt.rows
    assert names(straight) == names(rebuilt) == ["edited", "last"]


def test_a_new_call_that_lost_its_race_before_it_was_dispatched_does_not_end_the_prefix() -> None:
    async def workflow() -> Any:
        tasks = {asyncio.create_task(act(name)) for name in ("known", "unknown")}
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return await act("last", reuse="prefix")

    first = run(workflow, in_order([0, 0]))
    assert again(workflow, first).executed == []


def test_failed_calls_are_not_reused() -> None:
    async def workflow() -> Any:
        await act("a")
        await act("fail")

    first = run(workflow)
    second = again(workflow, first, results=lambda name, arg: (True, "mended"))
    assert names(second) == ["fail"] and second.ended.error is None


def test_an_outcome_that_was_recorded_and_never_delivered_is_reused() -> None:
    first = run(chain)
    rows = [
        *first.rows[:4],
        (5, Event(ev.OUTCOME_RECORDED, START + 9, "0:1", attempt=1, payload=dump("b!"), meta={"ok": True})),
    ]
    first.rows = rows
    second = again(chain, first)
    assert names(second) == ["c", "d"]
    assert second.result[1] == "b!"


def test_a_chain_of_three_runs_reuses_from_all_and_names_the_first_origin() -> None:
    first = run(chain)
    CODES["b"] = "v2"
    second = again(chain, first)
    CODES["c"] = "v2"
    third = again(chain, first, second)
    assert names(third) == ["c"]
    origins = {e.name: (e.meta or {}).get("reused") for _, e in third.rows if e.kind == ev.ACTIVITY_SCHEDULED}
    assert {name: origin and origin[0] for name, origin in origins.items()} == {"a": 1, "b": 2, "c": None, "d": 1}
    CODES["c"] = "v1"  # edited back: the oldest run still knows it
    fourth = again(chain, first, second, third)
    assert names(fourth) == []


def test_timers_that_fired_and_side_effects_are_reused() -> None:
    looks: list[int] = []

    async def workflow() -> Any:
        value = note("look", lambda: looks.append(1) or len(looks))
        await asyncio.sleep(3600)
        return [value, await act("end", value)]

    first = run(workflow)
    second = again(workflow, first)
    assert second.turns == 0 and looks == [1] and second.result == first.result


def test_a_timer_that_had_not_fired_is_started_anew() -> None:
    async def workflow() -> Any:
        await asyncio.gather(asyncio.sleep(100), act("a"))

    first = World(workflow)
    first.run(limit=1)
    now = START + 50 * STEP
    second = World(workflow, earlier=[(1, first.rows)], now=now)
    report = second.begin()
    assert [timer.due for timer in report.timers] == [now + 100 * STEP]


def test_r3_now_is_the_old_time_until_a_call_executed_anew_and_the_present_after_it() -> None:
    times: list[float] = []

    async def workflow() -> Any:
        times.append(here().now().timestamp())
        for name in ("a", "b", "c"):
            await act(name)
            times.append(here().now().timestamp())

    first = run(workflow)
    old = list(times)
    CODES["b"] = "v2"
    times.clear()
    later = START + 10**9
    again(workflow, first, now=later)
    assert times[:2] == old[:2]
    assert times[2] == (later + STEP) / 1e6
    assert times[3] == times[2]  # the clock never goes back to c's old time


def test_uuid4_and_random_are_the_same_in_a_new_run_that_inherits_the_seed() -> None:
    world = run(CORPUS["chance_and_time"])
    assert again(CORPUS["chance_and_time"], world).result == world.result


def test_without_a_pool_a_resumed_second_run_replays_as_with_it() -> None:
    first = run(chain)
    CODES["b"] = "v2"
    second = again(chain, first)
    for length, _ in second.boundaries:
        with_pool = replay(chain, second.rows[:length], Pool([(1, first.rows)]))
        without = replay(chain, second.rows[:length])
        assert with_pool.rows == without.rows == []
        assert [c.place for c in with_pool.calls] == [c.place for c in without.calls]


def test_def_workflows_reuse_in_gather_too() -> None:
    def workflow() -> Any:
        return here().gather([lambda: [call("a"), call("b")], lambda: call("c")])

    first = run(workflow, seeded(3))
    CODES["b"] = "v2"
    assert names(again(workflow, first)) == ["b"]
