"""Attempts: their time, what is tried again, their key, and executors of the user's own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty import FAST, script, texts, until

import romancy_nb as rn
from romancy_nb import errors

pytestmark = pytest.mark.usefixtures("and_afterwards_the_process_is_usable")


# -- time ------------------------------------------------------------------------------------------------------------


def test_an_async_attempt_over_its_time_is_cancelled(journal: Path) -> None:
    ended = []

    @rn.activity(retry=1, timeout=0.1)
    async def slow() -> int:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("cancelled")
        return 1

    @rn.workflow
    def flow() -> int:
        return slow.sync()

    with pytest.raises(errors.AttemptTimeout, match="slow.*0.1"):
        flow.start().result(5)
    assert ended == ["cancelled"]


def test_a_def_attempt_over_its_time_is_abandoned_and_its_late_outcome_recorded(
    journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    free = threading.Event()

    @rn.activity(retry=1, timeout=0.1)
    def slow() -> int:
        free.wait(10)
        return 42

    @rn.workflow
    def flow() -> int:
        return slow()

    handle = flow.start()
    with pytest.raises(errors.AttemptTimeout, match="abandoned"):
        handle.result(5)
    free.set()
    kinds = lambda: [row["kind"] for row in handle.history().dicts()]  # noqa: E731
    until(lambda: "late_outcome" in kinds())
    assert "attempt_abandoned" in kinds()
    assert any("recorded as late" in text for text in texts(caplog))


def test_attempts_are_recorded_and_what_is_hopeless_is_not_tried_again(journal: Path) -> None:
    calls: list[str] = []

    @rn.activity(retry=FAST)
    def flaky() -> int:
        calls.append("flaky")
        if calls.count("flaky") < 3:
            raise ValueError("not yet")
        return rn.context().attempt

    @rn.activity(retry=rn.RetryPolicy(initial=0.01, give_up_on=(KeyError,)))
    def given_up() -> int:
        calls.append("given_up")
        raise KeyError("no")

    @rn.activity(retry=FAST)
    def terminal() -> int:
        calls.append("terminal")
        raise rn.TerminalError("never")

    @rn.workflow
    def flow() -> int:
        for act in (given_up, terminal):
            try:
                act()
            except (KeyError, rn.TerminalError):
                pass
        return flaky()

    handle = flow.start()
    assert handle.result(5) == 3
    assert calls == ["given_up", "terminal", "flaky", "flaky", "flaky"]
    failed = [row for row in handle.history().dicts() if row["kind"] == "attempt_failed"]
    assert [row["attempt"] for row in failed] == [1, 2]


def test_the_idempotency_key_is_one_per_call(journal: Path) -> None:
    keys: list[str] = []

    @rn.activity(retry=FAST)
    def note(value: int) -> str:
        keys.append(rn.context().idempotency_key)
        if len(keys) in (1, 2):
            raise ValueError
        return keys[-1]

    @rn.workflow
    def flow(n: int) -> list[str]:
        return [note(1), note(1), note(2)]

    first = flow.start(1).result(5)
    assert keys[:3] == [first[0]] * 3
    second = flow.start(2).result(5)
    assert len({*first, *second}) == 6


# -- executors ---------------------------------------------------------------------------------------------------------

_PROCESSES = concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
_THREADS = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine")


@rn.activity(executor=_PROCESSES, retry=1)
def in_a_process(value: int) -> list[int]:
    if value < 0:
        raise ValueError("negative")
    return [value, os.getpid()]


@rn.activity(executor=_THREADS, retry=1)
def in_my_thread() -> str:
    return threading.current_thread().name


@pytest.fixture
def pools() -> Iterator[None]:
    yield
    _PROCESSES.shutdown()
    _THREADS.shutdown()


def test_executors_of_the_user_execute_and_fail_as_they_should(journal: Path, pools: None) -> None:
    @rn.workflow
    def flow() -> list[Any]:
        try:
            in_a_process(-1)
        except ValueError as error:
            return [in_a_process(3), in_my_thread(), str(error)]
        return []

    (value, pid), thread, error = flow.start().result(20)
    assert value == 3 and pid != os.getpid()
    assert thread.startswith("mine")
    assert error == "negative"


def test_a_call_that_is_cancelled_before_it_begins_does_not_hold_up_the_end(journal: Path) -> None:
    """Found by the random programs: a task that is cancelled before its first step never says that it has ended."""

    @rn.activity
    async def never() -> int:
        await asyncio.sleep(60)
        return 1

    @rn.activity
    async def busy() -> int:
        time.sleep(0.02)  # the activities' loop is late
        return 1

    @rn.workflow
    async def flow(number: int) -> str:
        try:
            async with asyncio.timeout(0.004):
                await asyncio.gather(busy(), *(never() for _ in range(5)))
        except TimeoutError:
            return "too long"
        return "in time"

    handles = [flow.start(n) for n in range(20)]
    assert [handle.result(20) for handle in handles] == ["too long"] * 20


def test_an_activity_leaves_the_interpreter_as_it_was_so_that_a_profiler_works(journal: Path) -> None:
    # taking an asynchronous exception back with NULL leaves "something is pending" set: 3.11 hangs in cProfile then
    process = script(
        """
        import cProfile
        import romancy_nb as rn

        @rn.activity
        def one(n: int) -> int:
            return n

        @rn.workflow
        def flow(n: int) -> int:
            return one(n)

        flow(1)
        profile = cProfile.Profile()
        profile.enable()
        flow(2)
        profile.disable()
        print("profiled")
        """,
        ROMANCY_JOURNAL=str(journal),
    )
    try:
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "profiled" in said
