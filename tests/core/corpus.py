"""Shapes of workflows, each a small program that the laws are checked on. Deterministic but for the order of completions."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from .driver import StepFailed, act, call, here, note

try:
    import anyio
except ImportError:  # pragma: no cover
    anyio = None  # type: ignore[assignment]

CORPUS: dict[str, Callable[[], Any]] = {}


def shape(function: Callable[[], Any]) -> Callable[[], Any]:
    CORPUS[function.__name__] = function
    return function


# -- one after the other ---------------------------------------------------------------------------------------------------


@shape
async def sequential() -> Any:
    return [await act("a", i) for i in range(5)]


@shape
def sequential_def() -> Any:
    return [call("a", i) for i in range(5)]


@shape
async def equal_calls() -> Any:
    return [await act("draw", 1) for _ in range(4)]


@shape
async def nothing_at_all() -> Any:
    return 1


async def _helper(depth: int) -> int:
    if depth == 0:
        return int(await act("leaf", depth))
    return int(await act("down", depth)) + await _helper(depth - 1)


@shape
async def recursion() -> Any:
    return await _helper(4)


def _fib(n: int) -> int:
    return int(call("one", n)) if n < 2 else sum(here().gather([lambda: _fib(n - 1), lambda: _fib(n - 2)]))


@shape
def recursion_with_gather_def() -> Any:
    return _fib(4)


# -- several at once -------------------------------------------------------------------------------------------------------


async def _branch(name: str, steps: int) -> Any:
    return [await act(name, i) for i in range(steps)]


@shape
async def gather_branches() -> Any:
    return await asyncio.gather(*[_branch(f"b{i}", 2) for i in range(3)])


@shape
async def nested_gathers() -> Any:
    async def outer(i: int) -> Any:
        await act("before", i)
        return await asyncio.gather(*[_branch(f"n{i}{j}", 2) for j in range(2)])

    return await asyncio.gather(outer(0), outer(1), act("beside"))


@shape
async def gather_of_equal_calls() -> Any:
    return await asyncio.gather(*[act("same", 1) for _ in range(3)], _branch("same", 2))


@shape
def gather_def() -> Any:
    return here().gather([lambda: call("x"), lambda: call("y") + call("z"), functools.partial(call, "w", 3)])


@shape
def nested_gather_def() -> Any:
    def branch(i: int) -> Any:
        first = call("first", i)
        return [first, here().gather([lambda: call("in", [i, 0]), lambda: call("in", [i, 1])]), call("last", i)]

    return here().gather([lambda: branch(0), lambda: branch(1)])


@shape
async def gather_with_exceptions() -> Any:
    got = await asyncio.gather(act("a"), act("fail"), _branch("c", 2), return_exceptions=True)
    return [str(each) for each in got]


@shape
async def gather_fails_and_siblings_go_on() -> Any:
    slow = asyncio.ensure_future(_branch("slow", 3))
    try:
        await asyncio.gather(slow, act("fail"))
    except StepFailed:
        await act("handled")
    return await slow


@shape
async def task_group() -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_branch(f"t{i}", 2)) for i in range(3)]
    return [task.result() for task in tasks]


@shape
async def task_group_with_a_failing_sibling() -> Any:
    async def cleaning(i: int) -> None:
        try:
            await _branch(f"s{i}", 3)
        finally:
            await act("clean", i)

    try:
        async with asyncio.TaskGroup() as group:
            for i in range(6):
                group.create_task(cleaning(i))
            group.create_task(act("fail"))
    except* StepFailed as errors:
        failed = len(errors.exceptions)
    return await act("caught", failed)


# -- races -----------------------------------------------------------------------------------------------------------------


@shape
async def first_completed() -> Any:
    tasks = {asyncio.create_task(_branch(f"r{i}", 2), name=str(i)) for i in range(3)}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return await act("winner", sorted(task.get_name() for task in done))


@shape
async def loop_over_first_completed() -> Any:
    pending: set[asyncio.Task[Any]] = {asyncio.create_task(act("p", i)) for i in range(4)}
    seen = []
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            seen.append(await act("after", task.result()))
    return seen


@shape
async def loop_over_a_set_of_tasks() -> Any:
    tasks = {asyncio.create_task(_branch("m", i + 1)) for i in range(5)}
    await asyncio.wait(tasks)
    return [await act("seen", len(task.result())) for task in tasks]


@shape
async def as_completed_list() -> Any:
    return [await act("got", await each) for each in asyncio.as_completed([act("c", i) for i in range(4)])]


@shape
async def as_completed_set() -> Any:
    return [await act("got", await each) for each in asyncio.as_completed({_branch("c", i + 1) for i in range(4)})]


@shape
async def as_completed_generator() -> Any:
    made = (act("c", i) for i in range(6))
    given = made if sys.version_info >= (3, 12) else iter(list(made))  # 3.11 takes a generator for a coroutine
    return [await act("got", await each) for each in asyncio.as_completed(given)]


@shape
async def as_completed_with_timeout() -> Any:
    got = []
    try:
        for each in asyncio.as_completed([act("c", i) for i in range(3)], timeout=30):
            got.append(await each)
    except TimeoutError:
        got.append("timeout")
    return got


class _Awaitable:
    def __init__(self, arg: int) -> None:
        self.arg = arg

    def __await__(self) -> Any:
        return act("awaitable", self.arg).__await__()


@shape
async def as_completed_awaitables() -> Any:
    return [await each for each in asyncio.as_completed([_Awaitable(i) for i in range(4)])]


# -- time ------------------------------------------------------------------------------------------------------------------


@shape
async def sleeps() -> Any:
    await asyncio.sleep(10)
    await asyncio.sleep(0)
    await asyncio.gather(asyncio.sleep(3), asyncio.sleep(2), _branch("s", 2))
    return str(here().now())


@shape
def sleep_def() -> Any:
    here().sleep(5)
    here().gather([lambda: here().sleep(1), lambda: call("a")])
    return str(here().now())


@shape
async def timeout_around_calls() -> Any:
    try:
        async with asyncio.timeout(20):
            return await _branch("in", 3)
    except TimeoutError:
        return await act("late")


@shape
async def wait_for_around_a_call() -> Any:
    got = []
    for i in range(3):
        try:
            got.append(await asyncio.wait_for(_branch("w", 2), 20 + i))
        except TimeoutError:
            got.append(await act("gave_up", i))
    got.append(await act("end"))
    return got


@shape
async def nested_timeouts() -> Any:
    seen = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(50):
            for i in range(3):
                try:
                    async with asyncio.timeout(5):
                        seen.append(await act("inner", i))
                except TimeoutError:
                    seen.append("inner")
            seen.append(await asyncio.wait_for(asyncio.gather(act("x"), act("y")), 8))
    return seen


@shape
async def wait_with_timeout() -> Any:
    tasks = [asyncio.create_task(act("t", i)) for i in range(3)]
    done, pending = await asyncio.wait(tasks, timeout=4)
    for task in pending:
        task.cancel()
    return [len(done), len(pending), await act("end")]


# -- cancelling and catching -------------------------------------------------------------------------------------------------


@shape
async def cancelled_branch() -> Any:
    async def branch() -> None:
        try:
            await _branch("victim", 10)
        except asyncio.CancelledError:
            await act("clean")
            raise

    task = asyncio.create_task(branch())
    await act("decide")
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return await act("end")


@shape
async def shielded() -> Any:
    inner = asyncio.ensure_future(_branch("shielded", 2))
    try:
        async with asyncio.timeout(3):
            await asyncio.shield(inner)
    except TimeoutError:
        await act("timeout")
    return await inner


@shape
async def catching_exception_everywhere() -> Any:
    seen = []
    for name in ("a", "fail_b", "c"):
        try:
            seen.append(await act(name))
        except Exception as error:
            seen.append(str(error))
            try:
                await act("fail_again")
            except Exception:
                seen.append(await act("recovered"))
    return seen


@shape
async def catching_base_exception() -> Any:
    seen = []
    for i in range(3):
        try:
            seen.append(await act("step", i))
        except BaseException:
            seen.append("never")
            raise
        finally:
            await act("finally", i)
    return seen


@shape
async def fails_at_the_end() -> Any:
    await act("a")
    await asyncio.gather(_branch("b", 3), act("fail"))


@shape
def fails_def() -> Any:
    call("a")
    try:
        call("fail")
    finally:
        call("cleanup")


@shape
async def raises_its_own() -> Any:
    await act("a")
    raise KeyError("slip")


@shape
async def fire_and_forget() -> Any:
    kept = [asyncio.create_task(_branch("background", 5))]
    await act("a")
    kept.append(asyncio.create_task(act("never_started")))
    return await act("b")


@shape
async def fire_and_forget_that_cleans_up() -> Any:
    async def background() -> None:
        try:
            await _branch("background", 9)
        finally:
            await act("cleanup")

    kept = asyncio.create_task(background())
    await act("a")
    return str(kept.done())


# -- generators --------------------------------------------------------------------------------------------------------------


async def _stream(name: str, count: int) -> AsyncIterator[Any]:
    try:
        for i in range(count):
            yield await act(name, i)
    finally:
        await act("closed", name)


@shape
async def async_generators() -> Any:
    return [value async for value in _stream("g", 3)]


@shape
async def async_generators_left_open() -> Any:
    kept = []
    for name in ("one", "two"):
        stream = _stream(name, 9)
        kept.append(stream)
        async for value in stream:
            if value:
                break
    return await act("end", len(kept))


def _steps(count: int) -> Iterator[Any]:
    try:
        for i in range(count):
            yield call("gen", i)
    finally:
        call("gen_closed", count)


@shape
def sync_generators() -> Any:
    first = list(_steps(2))
    for value in _steps(9):
        if value == 1:
            break
    return [first, call("end")]


# -- between tasks -------------------------------------------------------------------------------------------------------------


@shape
async def queue_between_tasks() -> Any:
    queue: asyncio.Queue[Any] = asyncio.Queue(2)

    async def producer(i: int) -> None:
        for value in await _branch(f"made{i}", 2):
            await queue.put([i, value])

    async def consumer(got: list[Any]) -> None:
        while True:
            got.append(await act("eat", await queue.get()))
            queue.task_done()

    got: list[Any] = []
    eaters = [asyncio.create_task(consumer(got)) for _ in range(2)]
    await asyncio.gather(producer(0), producer(1))
    await queue.join()
    for eater in eaters:
        eater.cancel()
    return got


@shape
async def event_lock_semaphore() -> Any:
    event, lock, gate = asyncio.Event(), asyncio.Lock(), asyncio.Semaphore(2)
    log: list[Any] = []

    async def worker(i: int) -> None:
        async with gate:
            await act("in_gate", i)
            async with lock:
                log.append(await act("in_lock", i))
        if i == 1:
            event.set()

    async def waiter() -> None:
        await event.wait()
        log.append(await act("after_event"))

    await asyncio.gather(waiter(), *[worker(i) for i in range(4)])
    return log


@shape
async def callbacks_that_make_tasks() -> Any:
    made: list[asyncio.Task[Any]] = []
    done = asyncio.get_running_loop().create_future()

    def one_more(task: asyncio.Task[Any]) -> None:
        made.append(asyncio.ensure_future(act("follow", task.result())))
        if len(made) == 3:
            done.set_result(None)

    async def starter(i: int) -> None:
        asyncio.create_task(act("start", i)).add_done_callback(one_more)
        await act("own", i)

    await asyncio.gather(*[starter(i) for i in range(3)])
    await done
    return sorted(await asyncio.gather(*made))


@shape
async def polling_with_sleep_zero() -> Any:
    task = asyncio.create_task(act("a"))
    while not task.done():
        await asyncio.sleep(0)
    return [task.result(), await act("b")]


# -- helpers -------------------------------------------------------------------------------------------------------------------


@shape
async def chance_and_time() -> Any:
    async def branch(i: int) -> Any:
        first = str(here().uuid4())
        await act("a", first)
        return [here().random(), await act("b", here().random()), str(here().now())]

    return await asyncio.gather(branch(0), branch(1), branch(2))


@shape
async def side_effects() -> Any:
    seen = []

    async def branch(i: int) -> None:
        seen.append(note("look", lambda: i))
        await act("a", i)
        seen.append(note("look", lambda: 10 + i))

    await asyncio.gather(branch(0), branch(1))
    return seen


if anyio is not None:

    @shape
    async def anyio_task_group() -> Any:
        got: list[Any] = []

        async def child(i: int) -> None:
            got.append(await act("any", i))
            await anyio.sleep(1)
            got.append(await act("more", i))

        async with anyio.create_task_group() as group:
            for i in range(3):
                group.start_soon(child, i)
        return len(got)

    @shape
    async def anyio_cancelled_with_shielded_cleanup() -> Any:
        async def child(i: int) -> None:
            try:
                await _branch(f"any{i}", 4)
            finally:
                with anyio.CancelScope(shield=True):
                    await act("clean", i)

        with anyio.move_on_after(2):
            async with anyio.create_task_group() as group:
                for i in range(3):
                    group.start_soon(child, i)
        return await act("end")

    @shape
    async def anyio_failing_sibling() -> Any:
        try:
            async with anyio.create_task_group() as group:
                for i in range(4):
                    group.start_soon(_branch, f"any{i}", 3)
                group.start_soon(functools.partial(act, "fail"))
        except BaseExceptionGroup as errors:
            return await act("caught", len(errors.exceptions))


SMALL = ["gather_branches", "first_completed", "nested_gather_def", "as_completed_generator", "shielded", "task_group"]
"""Shapes small enough to go through every order of completions."""
