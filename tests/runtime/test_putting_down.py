"""Disconnecting and Stop: everybody who waits is told, and the same call goes on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from faulty import SLACK, stop_after, until, usable

import romancy_nb as rn
from romancy_nb import errors

pytestmark = pytest.mark.usefixtures("and_afterwards_the_process_is_usable")


# -- putting down ------------------------------------------------------------------------------------------------------


def test_disconnect_while_running_and_the_same_call_goes_on(journal: Path) -> None:
    calls: list[str] = []
    go, waiting = threading.Event(), threading.Event()

    @rn.activity
    def one() -> int:
        calls.append("one")
        return 1

    @rn.activity
    async def two() -> int:
        calls.append("two")
        waiting.set()
        while not go.is_set():
            await asyncio.sleep(0.005)
        return 2

    @rn.workflow
    def flow() -> int:
        return one() + two.sync()

    handle = flow.start()
    assert waiting.wait(5)
    rn.disconnect()
    with pytest.raises(errors.RomancyError):
        handle.result(5)
    with pytest.raises(errors.RomancyError):
        _ = handle.status
    go.set()
    assert flow() == 3
    assert calls[:1] == ["one"] and calls.count("one") == 1


def test_disconnect_tells_everybody_who_waits(journal: Path) -> None:
    go, waiting = threading.Event(), threading.Event()

    @rn.activity
    def holds() -> int:
        waiting.set()
        go.wait(10)
        return 1

    @rn.workflow
    def flow() -> int:
        return holds()

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(flow), pool.submit(lambda: flow.start().result())]
        assert waiting.wait(5)
        rn.disconnect()
        for call in calls:
            with pytest.raises(errors.RomancyError):
                call.result(5)
        go.set()


def test_what_is_asked_behind_a_disconnect_is_refused_and_does_not_take_the_file_again(journal: Path) -> None:
    handle = usable.start(0)
    assert handle.result(10) == 1
    engine = handle._engine
    entered, gate = threading.Event(), threading.Event()

    def hold_up(_: Any) -> None:
        entered.set()
        gate.wait(10)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        held = pool.submit(engine.ask, hold_up)
        assert entered.wait(10)
        ended = pool.submit(rn.disconnect)
        until(lambda: engine.inbox.qsize() == 1)
        asked = pool.submit(engine.ask, lambda engine: None)
        until(lambda: engine.inbox.qsize() == 2)
        gate.set()
        for each in (held, ended):
            each.result(10)
        with pytest.raises(errors.RomancyError):
            asked.result(10)
    assert not engine.journal.held


def test_connecting_elsewhere_puts_the_runs_down_and_both_journals_go_on(journal: Path, tmp_path: Path) -> None:
    calls: list[str] = []
    go, waiting = threading.Event(), threading.Event()

    @rn.activity
    async def holds() -> int:
        calls.append("holds")
        waiting.set()
        while not go.is_set():
            await asyncio.sleep(0.005)
        return 1

    @rn.workflow
    def flow() -> int:
        return holds.sync()

    flow.start()
    assert waiting.wait(5)
    rn.connect(tmp_path / "other.duckdb")
    go.set()
    assert flow() == 1
    rn.connect(journal)
    assert flow() == 1
    assert len(rn.instances()) == 1


def test_a_result_that_does_not_come_is_a_timeout_and_the_run_goes_on(journal: Path) -> None:
    go = threading.Event()

    @rn.activity
    def holds() -> int:
        go.wait(10)
        return 1

    @rn.workflow
    def flow() -> int:
        return holds()

    handle = flow.start()
    with pytest.raises(TimeoutError, match=r"0\.1"):
        handle.result(timeout=0.1)
    go.set()
    assert handle.result(5) == 1


def test_an_instance_can_be_awaited(journal: Path) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(*(usable.start(n) for n in range(3)))

    assert asyncio.run(main()) == [1, 2, 3]


# -- Stop --------------------------------------------------------------------------------------------------------------


def test_stop_pauses_at_once_and_the_next_call_waits_for_what_still_runs(journal: Path) -> None:
    calls: list[str] = []
    running, go = threading.Event(), threading.Event()

    @rn.activity
    def one() -> int:
        calls.append("one")
        return 1

    @rn.activity
    def stubborn() -> int:
        calls.append("stubborn")
        running.set()
        while not go.is_set():
            try:
                go.wait(0.05)
            except KeyboardInterrupt:
                calls.append("interrupted")
        return 2

    @rn.workflow
    def flow() -> int:
        return one() + stubborn()

    rn.connect()
    with stop_after(running.is_set) as pressed, pytest.raises(errors.RunInterrupted, match="stubborn"):
        flow()
    assert time.monotonic() - pressed[0] < 5 * SLACK
    assert rn.instances()[0].status == "paused"
    again = flow.start()
    threading.Timer(0.2, go.set).start()
    assert again.result(5) == 3
    assert [call for call in calls if call != "interrupted"] == ["one", "stubborn"]


def test_an_outcome_that_comes_while_the_run_is_paused_is_kept(journal: Path) -> None:
    calls: list[str] = []
    running, go = threading.Event(), threading.Event()

    @rn.activity
    def stubborn() -> int:
        calls.append("stubborn")
        running.set()
        while not go.is_set():
            try:
                go.wait(0.05)
            except KeyboardInterrupt:
                pass
        return 2

    @rn.workflow
    def flow() -> int:
        return stubborn()

    rn.connect()
    with stop_after(running.is_set), pytest.raises(errors.RunInterrupted):
        flow()
    handle = rn.instances()[0]
    go.set()
    until(lambda: [row for row in handle.history().dicts() if row["kind"] == "outcome_recorded"])
    rn.disconnect()
    assert flow() == 2
    assert calls == ["stubborn"]


def test_stop_twice_lets_go_at_once_and_nothing_is_lost(journal: Path) -> None:
    running, go = threading.Event(), threading.Event()
    calls: list[str] = []

    @rn.activity
    def one() -> int:
        calls.append("one")
        return 1

    @rn.activity
    def sleeps() -> int:
        running.set()
        if not go.is_set():
            time.sleep(1.0)
        return 2

    @rn.workflow
    def flow() -> int:
        return one() + sleeps()

    rn.connect()
    with stop_after(running.is_set, again=0.02) as pressed, pytest.raises(KeyboardInterrupt):
        flow()
        until(lambda: False, 2)
    assert time.monotonic() - pressed[0] < 5 * SLACK
    go.set()
    assert flow() == 3
    assert calls == ["one"]


def test_stop_of_a_follower_leaves_the_run_alone(journal: Path) -> None:
    running, go = threading.Event(), threading.Event()

    @rn.activity
    def holds() -> int:
        running.set()
        go.wait(10)
        return 1

    @rn.workflow
    def flow() -> int:
        return holds()

    handle = flow.start()
    assert running.wait(5)
    waiting = time.monotonic() + 0.2
    with stop_after(lambda: time.monotonic() > waiting), pytest.raises(errors.RunInterrupted, match="background"):
        flow()
    assert handle.status == "running"
    go.set()
    assert handle.result(5) == 1


def test_stop_breaks_an_activity_that_runs_in_this_thread(journal: Path) -> None:
    running, calls = threading.Event(), []

    @rn.activity(executor="main", retry=1)
    def here() -> str:
        calls.append(threading.current_thread() is threading.main_thread())
        running.set()
        if len(calls) == 1:
            time.sleep(10)
        return "done"

    @rn.workflow
    def flow() -> str:
        return here()

    rn.connect()
    with stop_after(running.is_set) as pressed, pytest.raises(errors.RunInterrupted):
        flow()
    assert time.monotonic() - pressed[0] < 5 * SLACK
    assert flow() == "done"
    assert calls == [True, True]
