"""How runs end: C7 (nothing escapes), C1 (calls never awaited), U3 (what is left running), E4 (whose error it is)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import inspect
import logging
from collections.abc import Callable
from typing import Any

import pytest

from romancy_nb.core import context
from romancy_nb.core import events as ev
from romancy_nb.errors import UnawaitedCall, WrongPlace

from .driver import StepFailed, act, call, here, note, replay, run

BASE_ERRORS = [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, StopAsyncIteration, asyncio.CancelledError]


def line_of(function: Callable[..., Any], text: str) -> str:
    lines, first = inspect.getsourcelines(function)
    return f"{__file__}:{next(first + i for i, line in enumerate(lines) if text in line)}"


@pytest.mark.parametrize("error", BASE_ERRORS)
@pytest.mark.parametrize("after_a_call", [False, True])
@pytest.mark.parametrize("colour", ["async", "def"])
def test_c7_whatever_a_body_raises_ends_its_run_only(
    error: type[BaseException], after_a_call: bool, colour: str
) -> None:
    async def body() -> None:
        if after_a_call:
            await act("a")
        raise error("bye")

    def body_def() -> None:
        if after_a_call:
            call("a")
        raise error("bye")

    function = body if colour == "async" else body_def
    world = run(function)
    ended = world.ended.error
    assert isinstance(ended, error) or (isinstance(ended, RuntimeError) and isinstance(ended.__cause__, error))
    assert not world.ended.reported
    assert replay(function, world.rows).rows == []


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_c7_what_would_end_a_process_ends_the_run_also_from_a_task_that_nobody_awaits(
    error: type[BaseException],
) -> None:
    async def child() -> None:
        await act("b")
        raise error("bye")

    async def body() -> None:
        kept = asyncio.create_task(child())
        try:
            await act("never_done", str(kept))
        finally:
            await act("cleanup")

    async def plain() -> None:
        kept = asyncio.create_task(child())
        try:
            await asyncio.Event().wait()
        finally:
            await act("cleanup", kept.get_name())

    world = run(plain)
    assert isinstance(world.ended.error, error)
    assert [name for name, _ in world.executed] == ["b", "cleanup"]
    assert replay(plain, world.rows).rows == []


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("colour", ["async", "def"])
def test_c7_what_a_child_task_raises_ends_the_run(error: type[BaseException], colour: str) -> None:
    async def child() -> None:
        await act("b")
        raise error("bye")

    async def body() -> None:
        await asyncio.gather(act("a"), child())

    def child_def() -> None:
        call("b")
        raise error("bye")

    def body_def() -> None:
        here().gather([lambda: call("a"), child_def])

    assert isinstance(run(body if colour == "async" else body_def).ended.error, error)


def test_c7_a_generatorexit_of_a_branch_cannot_be_caught_for_good_and_ends_the_run() -> None:
    seen: list[str] = []

    def child() -> None:
        call("b")
        raise GeneratorExit

    def body() -> Any:
        try:
            here().gather([child])
        except GeneratorExit:
            seen.append("caught")  # Python hands a GeneratorExit on to every coroutine around it

    assert isinstance(run(body).ended.error, GeneratorExit)
    assert seen == ["caught"]


def test_c7_an_exception_in_a_callback_is_told_and_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> Any:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        return await act("a")

    with caplog.at_level(logging.WARNING):
        assert run(body).result == 0
    assert "ZeroDivisionError" in caplog.text


def _refusals() -> dict[str, Callable[[Any], Any]]:
    return {
        "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(print),
        "run_in_executor": lambda loop: loop.run_in_executor(None, print),
        "run_until_complete": lambda loop: loop.run_until_complete(None),
        "run_forever": lambda loop: loop.run_forever(),
        "stop": lambda loop: loop.stop(),
        "close": lambda loop: loop.close(),
        "signals": lambda loop: loop.add_signal_handler(2, print),
        "reader": lambda loop: loop.add_reader(0, print),
        "socket": lambda loop: loop.sock_recv(None, 1),
        "connection": lambda loop: loop.create_connection(None, "h", 1),
        "pipe": lambda loop: loop.connect_read_pipe(None, None),
        "task factory": lambda loop: loop.set_task_factory(lambda loop, coro: None),
        "future of a thread": lambda loop: asyncio.wrap_future(concurrent.futures.Future()),
    }


@pytest.mark.parametrize("what", _refusals())
def test_c7_what_reaches_outside_names_the_users_line_and_the_cure(what: str) -> None:
    request = _refusals()[what]
    code = request.__code__

    async def body() -> None:
        request(asyncio.get_running_loop())

    error = run(body).ended.error
    assert isinstance(error, WrongPlace)
    assert f"{__file__}:{code.co_firstlineno} uses" in str(error)
    assert "Workflow code must be repeatable: " in str(error)


def test_c7_to_thread_names_the_line_of_the_workflow() -> None:
    async def body() -> None:
        await asyncio.to_thread(print)

    assert line_of(body, "to_thread") in str(run(body).ended.error)


# -- C1 ------------------------------------------------------------------------------------------------------------------------


def test_c1_a_call_that_is_never_awaited_fails_the_run_naming_its_line() -> None:
    async def body() -> Any:
        await act("a")
        act("forgotten", 1)
        return await act("b")

    error = run(body).ended.error
    assert isinstance(error, UnawaitedCall)
    assert f"{line_of(body, 'forgotten')} calls activity forgotten and never awaits it, so it did not run" in str(error)


@pytest.mark.filterwarnings("error::RuntimeWarning", "error::pytest.PytestUnraisableExceptionWarning")
def test_c1_several_are_counted() -> None:
    async def body() -> None:
        for i in range(200):
            act("forgotten", i)

    assert "(and 199 more)" in str(run(body).ended.error)
    gc.collect()


def test_c1_a_call_whose_task_was_cancelled_before_it_started_is_none() -> None:
    async def body() -> Any:
        task = asyncio.create_task(act("cancelled"))
        task.cancel()
        asyncio.ensure_future(act("left_over"))  # noqa: RUF006
        return "fine"

    world = run(body)
    assert world.result == "fine" and world.executed == []


def test_c1_another_error_of_the_run_goes_first() -> None:
    async def body() -> None:
        act("forgotten")
        raise KeyError("slip")

    assert isinstance(run(body).ended.error, KeyError)


def test_c1_ten_thousand_calls_at_once_are_watched_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    real = context._waits_to_start
    monkeypatch.setattr(context, "_waits_to_start", lambda made: looks.append(1) or real(made))

    async def body() -> Any:
        return len(await asyncio.gather(*[act("many", i) for i in range(10_000)]))

    from .driver import World

    world = World(body)
    world.begin()
    assert len(world.open) == 10_000 and len(looks) < 50_000
    assert world.execution is not None
    world.execution.put_down()


# -- U3, E4 ----------------------------------------------------------------------------------------------------------------------


def test_u3_what_is_left_running_is_cancelled_and_may_clean_up_before_the_run_ends() -> None:
    async def background() -> None:
        try:
            await act("long")
        finally:
            await act("cleanup")

    async def body() -> Any:
        kept = asyncio.create_task(background())
        await asyncio.sleep(0)
        return kept.get_name()

    world = run(body)
    assert [name for name, _ in world.executed] == ["cleanup"]
    assert [e.call for _, e in world.rows if e.kind == ev.CALL_CANCELLED] == ["0.0:0"]


def test_u3_timers_left_over_are_cancelled() -> None:
    async def body() -> None:
        asyncio.get_running_loop().call_later(60, print)

    assert [e.kind for _, e in run(body).rows[1:]] == [ev.TIMER_STARTED, ev.TIMER_CANCELLED]


def test_c3_asynchronous_generators_left_open_clean_up_before_the_run_ends_and_a_failing_one_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def stream(name: str) -> Any:
        try:
            yield 1
        finally:
            await act(name)

    kept: list[Any] = []

    async def body() -> Any:
        kept[:] = [stream("fail_closing"), stream("closing")]
        for each in kept:
            await anext(each)
        return "result"

    world = run(body)
    assert world.result == "result"
    assert [name for name, _ in world.executed] == ["fail_closing", "closing"]
    assert "StepFailed" in caplog.text
    assert replay(body, world.rows).rows == []


def test_e4_an_error_of_an_activity_is_reported_also_as_a_cause_or_in_a_group() -> None:
    async def direct() -> None:
        await act("fail")

    async def cause() -> None:
        try:
            await act("fail")
        except StepFailed as error:
            raise ValueError("wrapped") from error

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(act("fail"))

    async def own() -> None:
        await act("a")
        raise ValueError("slip")

    async def mixed() -> None:
        async def slip() -> None:
            raise ValueError("slip")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(slip())
            tasks.create_task(act("fail"))

    assert [run(each).ended.reported for each in (direct, cause, group, own, mixed)] == [True, True, True, False, False]


def test_a_side_effect_is_called_once_and_may_not_ask_for_calls() -> None:
    def body() -> Any:
        return note("look", lambda: call("inside"))

    error = run(body).ended.error
    assert isinstance(error, WrongPlace) and "inside side effect look" in str(error)


def test_a_def_sleep_that_is_cancelled_cancels_its_timer() -> None:
    def body() -> None:
        here().gather([lambda: here().sleep(60), lambda: call("fail")])

    world = run(body)
    assert isinstance(world.ended.error, StepFailed)
    assert ev.TIMER_CANCELLED in [e.kind for _, e in world.rows]


def test_five_thousand_branches_are_cancelled_in_linear_time() -> None:
    from .driver import World

    async def body() -> Any:
        try:
            async with asyncio.timeout(5):
                await asyncio.gather(*[act("many", i) for i in range(5000)], *[asyncio.sleep(9) for _ in range(5000)])
        except TimeoutError:
            return await act("late")

    world = World(body)
    report = world.begin()
    assert len(report.calls) == 5000 and len(report.timers) == 5001
    report = world.deliver("0:0")
    assert len(report.cancelled_calls) == 5000 and len(report.cancelled_timers) == 5000
    assert [opened.place for opened in report.calls] == ["0:1"] and report.timers == []
    assert world.execution is not None
    world.execution.put_down()


def test_a_call_issued_and_cancelled_in_one_activation_is_not_executed_but_both_are_recorded() -> None:
    async def body() -> Any:
        task = asyncio.create_task(act("brief"))
        await asyncio.sleep(0)
        task.cancel()
        return await act("end")

    from .driver import World

    world = World(body)
    report = world.begin()
    assert [opened.command.name for opened in report.calls] == ["end"]
    assert [row.kind for row in report.rows] == [ev.ACTIVITY_SCHEDULED, ev.CALL_CANCELLED, ev.ACTIVITY_SCHEDULED]
    world.execution.put_down() if world.execution else None
