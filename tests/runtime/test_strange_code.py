"""Code that does what nobody expects: each is one clear error in its own run, and the process is usable afterwards."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty import SLACK, plain, stop_after, texts, until, usable

import romancy_nb as rn
from romancy_nb import errors

pytestmark = pytest.mark.usefixtures("and_afterwards_the_process_is_usable")


# -- strange code ------------------------------------------------------------------------------------------------------


class Odd(BaseException):
    pass


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Picky(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Odd("odd"), StopIteration(1), StopAsyncIteration()]
)
@pytest.mark.parametrize("colour", ["def", "async"])
def test_what_an_activity_raises_that_is_no_exception_arrives_as_activity_error(
    journal: Path, error: BaseException, colour: str
) -> None:
    def raising() -> int:
        raise error

    async def raising_async() -> int:
        raise error

    if colour == "async" and isinstance(error, (StopIteration, StopAsyncIteration)):
        pytest.skip("Python itself turns it into RuntimeError")
    act = rn.activity(retry=1)(raising if colour == "def" else raising_async)

    @rn.workflow
    def flow() -> str:
        try:
            act.sync()
        except errors.ActivityError as caught:
            return caught.original
        return "nothing"

    assert flow.start().result(5).rpartition(".")[2] == type(error).__name__


def test_exceptions_with_broken_text_or_constructor_arrive_as_themselves(journal: Path) -> None:
    @rn.activity(retry=1)
    def untold() -> int:
        raise NoText("x")

    @rn.activity(retry=1)
    def picky() -> int:
        raise Picky(7, reason="why not")

    @rn.workflow
    def flow() -> list[Any]:
        found: list[Any] = []
        for act in (untold, picky):
            try:
                act()
            except (NoText, Picky) as caught:
                found.append([type(caught).__name__, getattr(caught, "code", None)])
        return found

    assert flow.start().result(5) == [["NoText", None], ["Picky", 7]]


def test_sys_exit_in_an_activity_ends_neither_pool_nor_process(journal: Path) -> None:
    @rn.activity(retry=1)
    def leave() -> int:
        sys.exit(3)

    @rn.workflow
    def flow() -> int:
        return leave()

    with pytest.raises(errors.ActivityError, match="3"):
        flow()


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), Odd("odd"), StopIteration(1), NoText()])
@pytest.mark.parametrize("colour", ["def", "async"])
def test_whatever_a_workflow_raises_ends_that_run_only(journal: Path, error: BaseException, colour: str) -> None:
    @rn.workflow
    def flow() -> int:
        raise error

    @rn.workflow
    async def flow_async() -> int:
        raise error

    other = usable.start(5)
    handle = (flow if colour == "def" else flow_async).start()
    with pytest.raises(BaseException):
        handle.result(5)
    assert handle.status == "failed"
    assert other.result(5) == 6


def test_a_generator_function_is_refused_or_its_result_is_no_lazy_generator(journal: Path) -> None:
    def numbers() -> Iterator[int]:
        yield 1

    try:
        act = rn.activity(retry=1)(numbers)
    except errors.DefinitionError:
        return

    @rn.workflow
    def flow() -> Any:
        return act()

    with pytest.raises(errors.NotJournalable):
        flow()


def test_a_workflow_inside_an_activity_is_a_clear_error(journal: Path) -> None:
    @rn.activity(retry=1)
    def calls() -> int:
        return usable(1)

    @rn.workflow
    def through() -> int:
        return calls()

    with pytest.raises(errors.WrongPlace, match="usable"):
        through.start().result(5)


def test_asyncio_run_in_a_workflow_is_a_clear_error(journal: Path) -> None:
    async def nothing() -> int:
        return 1

    @rn.workflow
    def flow() -> int:
        work = nothing()
        try:
            return asyncio.run(work)
        finally:
            work.close()

    with pytest.raises(RuntimeError):
        flow.start().result(5)


def test_deep_recursion_of_a_def_workflow_fails_that_run_only(journal: Path) -> None:
    def down(n: int) -> int:
        return down(n + 1)

    @rn.workflow
    def flow() -> int:
        return down(0)

    with pytest.raises(RecursionError):
        flow.start().result(10)


def test_recursion_with_calls_at_the_bottom_works(journal: Path) -> None:
    def down(n: int) -> int:
        return plain(n) if n == 300 else down(n + 1)

    @rn.workflow
    def flow() -> int:
        return down(0)

    assert flow.start().result(10) == 300


# -- code that does not let go -----------------------------------------------------------------------------------------


def test_a_spinning_workflow_is_named_with_its_line_and_holds_up_nobody(
    journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    free = threading.Event()

    @rn.workflow
    def spin() -> int:
        plain(1)
        while not free.is_set():
            pass
        return 1

    handle = spin.start()
    others = [usable.start(n) for n in range(6)]
    started = time.monotonic()
    try:
        assert [other.result(5) for other in others] == list(range(1, 7))
        until(lambda: [text for text in texts(caplog) if f"{Path(__file__).name}:" in text and "spin" in text], 3)
        assert time.monotonic() - started < 4.0 * SLACK
    finally:
        free.set()
    assert handle.result(5) == 1


def test_runs_on_the_stuck_thread_go_on_elsewhere(journal: Path) -> None:
    free = threading.Event()

    @rn.activity
    async def nap(value: int) -> int:
        await asyncio.sleep(0.3)
        return value

    @rn.workflow
    def waits(value: int) -> int:
        return nap.sync(value) + nap.sync(value + 1)

    @rn.workflow
    def spin() -> int:
        while not free.is_set():
            pass
        return 1

    others = [waits.start(n) for n in range(8)]
    handle = spin.start()
    try:
        assert [other.result(8) for other in others] == [2 * n + 1 for n in range(8)]
        late = [step for other in others for step in other.history().dicts() if step["kind"] == "late_outcome"]
        assert not late
    finally:
        free.set()
    assert handle.result(5) == 1


def test_stop_breaks_a_spinning_workflow_of_this_thread(journal: Path) -> None:
    spinning = threading.Event()

    @rn.workflow
    def spin() -> int:
        plain(1)
        spinning.set()
        while True:
            pass

    rn.connect()
    with stop_after(spinning.is_set) as pressed, pytest.raises(errors.RunInterrupted):
        spin()
    assert time.monotonic() - pressed[0] < 5 * SLACK
    assert rn.instances()[0].status == "paused"


def test_an_async_activity_that_blocks_its_loop_delays_the_async_ones_only(journal: Path) -> None:
    free, blocked = threading.Event(), threading.Event()

    @rn.activity
    async def blocks() -> int:
        blocked.set()
        free.wait(5)
        return 1

    @rn.workflow
    def flow() -> int:
        return blocks.sync()

    handle = flow.start()
    assert blocked.wait(5)
    assert usable.start(1).result(5) == 2
    free.set()
    assert handle.result(5) == 1
