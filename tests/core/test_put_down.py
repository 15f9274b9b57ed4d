"""X3: an execution that is put down has no effect, leaves nothing behind, and says nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from types import CoroutineType, FrameType
from typing import Any

import greenlet
import pytest

from romancy_nb.core import context, undertaker
from romancy_nb.core.activation import Execution
from romancy_nb.errors import RunPutDown

from .corpus import CORPUS
from .driver import START, World, act, body_of, call, here, in_order, run, seeded

EFFECTS: list[str] = []


def effect(name: str) -> None:
    """What clean-up code does: ask for something. It must not get through."""
    found = here()
    found.check()
    EFFECTS.append(name)


@contextlib.asynccontextmanager
async def resource(name: str) -> AsyncIterator[None]:
    await act("acquire", name)
    try:
        yield
    finally:
        await act("release", name)
        EFFECTS.append(f"released {name}")


async def stream() -> AsyncIterator[Any]:
    try:
        while True:
            yield await act("next")
    finally:
        await act("stream_closed")
        EFFECTS.append("stream closed")


def steps() -> Iterator[Any]:
    try:
        while True:
            yield call("step")
    finally:
        call("steps_closed")
        EFFECTS.append("steps closed")


async def effects_everywhere() -> None:
    async def branch(i: int) -> None:
        try:
            async with resource(f"r{i}"):
                async for _ in stream():
                    await asyncio.sleep(1)
        except BaseException:
            await act("caught", i)
            EFFECTS.append("caught")
            raise
        finally:
            with contextlib.suppress(Exception):
                await act("finally", i)
                EFFECTS.append("finally")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for i in range(3):
            group.create_task(branch(i))


def effects_everywhere_def() -> None:
    def branch(i: int) -> None:
        opened = steps()
        try:
            for _ in range(3):
                next(opened)
                here().sleep(1)
            for _ in steps():
                call("in_loop", i)
        except BaseException:
            call("caught", i)
            EFFECTS.append("caught")
        finally:
            call("finally", i)
            EFFECTS.append("finally")

    here().gather([lambda: branch(0), lambda: branch(1)])


async def swallows_everything() -> None:
    while True:
        try:
            await act("again")
        except BaseException:
            effect("async loop")


async def suppresses_everything() -> None:
    while True:
        with contextlib.suppress(BaseException):
            await act("again")


async def swallows_everything_twice() -> None:
    while True:
        try:
            while True:
                try:
                    await act("again")
                except BaseException:
                    pass
        except BaseException:
            pass


async def waits_whatever_happens() -> None:
    while True:
        try:
            await asyncio.get_running_loop().create_future()
        except BaseException:
            await asyncio.sleep(0)


def swallows_everything_def() -> None:
    while True:
        try:
            call("again")
        except BaseException:
            pass


async def closes_generators_of_its_own() -> None:
    kept = [stream(), stream()]
    for each in kept:
        await anext(each)
    coros = [act("never"), asyncio.sleep(3)]
    await asyncio.Event().wait()
    del coros


SHAPES: dict[str, Callable[[], Any]] = {
    function.__name__: function
    for function in (
        effects_everywhere,
        effects_everywhere_def,
        swallows_everything,
        suppresses_everything,
        waits_whatever_happens,
        swallows_everything_def,
        closes_generators_of_its_own,
    )
}


@pytest.fixture(autouse=True)
def _silence(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing is logged, warned of or printed, and nothing gets through, also when all is collected at last."""
    EFFECTS.clear()
    said: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, said.append
    trace = sys.gettrace()
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
            gc.collect()
    finally:
        sys.unraisablehook = before
    assert EFFECTS == []
    assert [str(each.message) for each in warned] == []
    assert [str(each.exc_value) for each in said] == []
    assert caplog.text == ""
    assert capsys.readouterr().err == ""
    assert sys.gettrace() is trace
    assert not undertaker._quiet and sys.unraisablehook is not undertaker._hook


def put_down(function: Callable[[], Any], turns: int, pick: Any = lambda count: 0) -> World:
    """Run *function* for some turns, then put it down; whatever it asks for while it dies is an error."""
    world = World(function, pick)
    world.run(limit=turns)
    assert world.execution is not None and world.report is not None
    rows, report = list(world.rows), world.report
    before = (len(report.rows), len(report.calls), len(report.timers))
    world.execution.put_down()
    assert world.rows == rows
    assert (len(report.rows), len(report.calls), len(report.timers)) == before
    return world


@pytest.mark.parametrize("name", SHAPES)
def test_a_run_put_down_at_any_await_has_no_effect_and_leaves_no_frame(name: str) -> None:
    for turns in range(25):
        for seed in range(7):
            world = put_down(SHAPES[name], turns, seeded(seed))
            execution = world.execution
            assert execution is not None and execution.ended is None
            execution.put_down()  # harmless when repeated
            gone = weakref.ref(execution.loop)
            world.execution = world.report = None
            world.open.clear()
            del execution
        gc.collect()
        assert gone() is None
    assert not [o for o in gc.get_objects() if isinstance(o, CoroutineType) and o.cr_frame is not None and _mine(o)]
    assert not [
        o for o in gc.get_objects() if isinstance(o, FrameType) and o.f_code.co_filename == __file__ and _stray(o)
    ]
    assert not [o for o in gc.get_objects() if isinstance(o, context.WorkflowGreenlet) and not o.dead]
    assert not context.STANDING


def _mine(coro: CoroutineType[Any, Any, Any]) -> bool:
    return coro.cr_code.co_filename == __file__


def _stray(frame: FrameType) -> bool:
    running = sys._getframe()
    while running is not None:
        if running is frame:
            return False
        running = running.f_back  # type: ignore[assignment]
    return frame.f_code.co_name in {"branch", "steps", "stream", "resource"}


@pytest.mark.parametrize("name", CORPUS)
def test_every_shape_of_the_corpus_can_be_put_down_at_every_turn(name: str) -> None:
    turns = run(CORPUS[name], seeded(2)).turns
    for length in range(turns):
        put_down(CORPUS[name], length, seeded(2))


def test_code_that_withstands_everything_is_left_standing_and_never_resumed() -> None:
    before = len(context.STANDING)
    put_down(swallows_everything_twice, 2)
    assert len(context.STANDING) == before + 1
    context.STANDING.clear()
    gc.collect()


def test_an_ambient_of_a_run_put_down_refuses_every_request() -> None:
    asked: list[str] = []

    async def body() -> None:
        found = here()
        requests: dict[str, Callable[[], Any]] = {
            "now": found.now,
            "uuid4": found.uuid4,
            "random": found.random,
            "side effect": lambda: found.side_effect("x", lambda: pytest.fail("it was executed")),
            "call": lambda: act("late"),
            "sleep": lambda: asyncio.get_running_loop().call_later(1, print),
            "task": lambda: asyncio.get_running_loop().create_task(asyncio.sleep(1)),
            "executor": lambda: asyncio.get_running_loop().run_in_executor(None, print),
        }
        try:
            await act("a")
        finally:
            for name, request in requests.items():
                with pytest.raises(RunPutDown):
                    request()
                asked.append(name)

    put_down(body, 0)
    assert len(asked) == 8


def test_an_error_kept_by_a_failed_run_does_not_run_the_finally_of_its_generators() -> None:
    def body() -> None:
        opened = steps()
        next(opened)
        raise KeyError("slip")

    world = run(body)
    assert world.execution is not None
    error = world.ended.error
    world.execution.put_down()
    del error
    world.execution = world.report = None
    gc.collect()


def test_tasks_not_started_yet_and_what_they_were_given_are_closed_without_a_warning() -> None:
    async def inner(i: int) -> None:
        await act("inner", i)

    async def outer(*given: Any) -> None:
        for each in given:
            await each

    async def edited() -> None:
        kept = [asyncio.ensure_future(outer(inner(i), act("x", i))) for i in range(3)]
        await act("renamed", len(kept))

    async def old() -> None:
        await act("a")

    execution = Execution(body_of(edited), run(old).rows)
    assert execution.begin(START).mismatch is not None
    execution.put_down()


def test_an_execution_that_never_began_can_be_put_down() -> None:
    async def body() -> None:
        await act("a")

    Execution(body_of(body), run(body).rows).put_down()


def test_many_runs_put_down_leave_as_many_greenlets_as_before() -> None:
    def body() -> None:
        here().gather([lambda: call("a"), lambda: call("b")])

    gc.collect()
    before = sum(isinstance(o, greenlet.greenlet) for o in gc.get_objects())
    for _ in range(1000):
        put_down(body, 0)
    gc.collect()
    assert sum(isinstance(o, greenlet.greenlet) for o in gc.get_objects()) <= before + 1


def test_left_open_async_generators_are_closed_in_creation_order_at_the_end_of_a_run() -> None:
    world = run(CORPUS["async_generators_left_open"], in_order([]))
    assert [arg for name, arg in world.executed if name == "closed"] == ["one", "two"]


def test_async_generators_are_closed_in_creation_order_when_a_run_is_put_down() -> None:
    closed: list[int] = []

    async def numbers(i: int) -> AsyncIterator[int]:
        try:
            yield i
        finally:
            closed.append(i)  # plain clean-up, such as closing a file, may happen

    async def body() -> None:
        kept = [numbers(i) for i in range(5)]
        for each in kept:
            await anext(each)
        await act("a", len(kept))

    put_down(body, 0)
    assert closed == [0, 1, 2, 3, 4]
