"""C8: a run starts in an empty context, on its own loop, and leaves a notebook's own loop as it was."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from romancy_nb.core.activation import Execution
from romancy_nb.core.context import ambient
from romancy_nb.errors import WrongPlace

from .corpus import CORPUS
from .driver import START, STEP, World, act, body_of, call, here, run, seeded

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="empty")


def test_c8_a_run_starts_in_an_empty_context_and_changes_none_outside() -> None:
    async def body() -> Any:
        seen = VARIABLE.get()
        VARIABLE.set("changed inside")
        return seen

    VARIABLE.set("of the caller")
    assert run(body).result == "empty"
    assert VARIABLE.get() == "of the caller"
    VARIABLE.set("empty")


def test_c8_a_def_workflow_keeps_its_context_variables_over_calls_and_branches_have_copies() -> None:
    def body() -> Any:
        VARIABLE.set("mine")
        call("a")

        def branch() -> str:
            before = VARIABLE.get()
            VARIABLE.set("branch")
            call("b")
            return before + "/" + VARIABLE.get()

        return [here().gather([branch, branch]), VARIABLE.get()]

    assert run(body).result == [["mine/branch", "mine/branch"], "mine"]


@pytest.mark.parametrize("name", sorted(CORPUS))
def test_c8_inside_a_running_asyncio_loop_it_works_and_leaves_that_loop_intact(name: str) -> None:
    async def cell() -> str:
        loop, task, hooks = asyncio.get_running_loop(), asyncio.current_task(), sys.get_asyncgen_hooks()
        world = World(CORPUS[name], seeded(1))
        report = world.begin()
        while report.ended is None:
            assert asyncio.get_running_loop() is loop
            assert asyncio.current_task() is task
            assert sys.get_asyncgen_hooks() == hooks
            await asyncio.sleep(0)
            report = world.deliver(world.choose())
        assert world.execution is not None
        world.execution.put_down()
        assert (asyncio.get_running_loop(), asyncio.current_task(), sys.get_asyncgen_hooks()) == (loop, task, hooks)
        async with asyncio.timeout(5):
            await asyncio.sleep(0.001)
        assert ambient() is None
        return world.outcome()

    assert asyncio.run(cell()) == run(CORPUS[name], seeded(1)).outcome()


def test_c8_a_loop_inside_a_loop_has_its_own_current_task() -> None:
    async def body() -> Any:
        found = asyncio.current_task()
        assert found is not None
        return [found.get_name(), type(asyncio.get_running_loop()).__name__, len(asyncio.all_tasks())]

    async def cell() -> Any:
        return run(body).result

    assert asyncio.run(cell()) == ["task 0", "WorkflowLoop", 1]


def test_c8_two_runs_can_be_activated_in_turn_on_one_thread() -> None:
    worlds = [World(CORPUS["nested_gathers"], seeded(i)) for i in range(2)]
    for world in worlds:
        world.begin()
    while any(world.report is not None and world.report.ended is None for world in worlds):
        for world in worlds:
            if world.report is not None and world.report.ended is None:
                world.deliver(world.choose())
    assert [w.rows for w in worlds] == [run(CORPUS["nested_gathers"], seeded(i)).rows for i in range(2)]


def test_c8_a_call_driven_on_another_loop_is_refused_with_the_cure() -> None:
    async def body() -> Any:
        made = act("a")
        found: list[BaseException] = []

        def elsewhere() -> None:
            try:
                asyncio.run(_drive(made))
            except BaseException as error:
                found.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return str(found[0])

    assert "Await activity calls in the workflow itself" in run(body).result


async def _drive(coro: Any) -> Any:
    return await coro


def test_no_ambient_on_another_thread_or_outside() -> None:
    found: list[Any] = []

    async def body() -> Any:
        thread = threading.Thread(target=lambda: found.append(ambient()))
        thread.start()
        thread.join()
        return ambient() is here()

    assert run(body).result is True
    assert found == [None] and ambient() is None


def test_blocking_in_an_async_workflow_names_the_line() -> None:
    async def body() -> None:
        found = here()
        found.wait(found.loop.create_future())

    error = run(body).ended.error
    assert isinstance(error, WrongPlace) and "Await the call instead" in str(error)


def test_c5_now_is_the_time_of_the_last_delivered_event() -> None:
    async def body() -> Any:
        times = [here().now()]
        for i in range(3):
            await act("a", i)
            times.append(here().now())
        assert [t.timestamp() for t in times] == [START / 1e6 + i for i in range(4)]
        return asyncio.get_running_loop().time() == times[-1].timestamp()

    assert run(body).result is True
    assert datetime.fromtimestamp(START / 1e6, UTC).year == 2023


def test_c5_the_clock_never_goes_back_when_an_older_completion_is_delivered_later() -> None:
    from romancy_nb.core import events as ev
    from romancy_nb.core.commands import Delivery

    from .driver import dump

    seen: list[float] = []

    async def branch(i: int) -> None:
        await act("a", i)
        seen.append(here().now().timestamp())

    async def body() -> None:
        await asyncio.gather(branch(0), branch(1))

    execution = Execution(body_of(body), World(body).rows)
    execution.begin(START)
    newer, older = START + 9 * STEP, START + 3 * STEP
    report = execution.deliver(
        [
            Delivery(ev.ACTIVITY_COMPLETED, "0.0:0", newer, 1, dump(0)),
            Delivery(ev.ACTIVITY_COMPLETED, "0.1:0", older, 1, dump(0)),
        ],
        newer,
    )
    assert seen == [newer / 1e6, newer / 1e6]
    assert [row.at for row in report.rows] == [newer, newer]


def test_replaying_is_true_until_history_is_at_its_end() -> None:
    seen: list[bool] = []

    async def body() -> None:
        for i in range(3):
            seen.append(here().replaying)
            await act("a", i)
        seen.append(here().replaying)

    world = run(body)
    assert seen == [False] * 4
    seen.clear()
    Execution(body_of(body), world.rows[:5]).begin(START)
    assert seen == [True, True, True]


def test_uuid4_and_random_depend_on_the_place_and_the_seed_only() -> None:
    async def body() -> Any:
        return [str(here().uuid4()), here().random(), await act("a"), str(here().uuid4())]

    first, second = run(body).result, run(body).result
    assert first == second and first[0] != first[3] and 0 <= first[1] < 1
    from .driver import started

    assert run(body, rows=[(1, started(seed=6))]).result[0] != first[0]
