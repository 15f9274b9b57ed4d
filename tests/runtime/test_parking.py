"""Runs that wait are parked and woken, and nobody can tell the difference."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Processes, until

import romancy_nb as rn
from romancy_nb import errors
from romancy_nb.runtime import launch, parking
from romancy_nb.runtime.inbox import Interrupt
from romancy_nb.runtime.instance import Latch
from romancy_nb.testing import JumpingClock

CALLS: list[str] = []
HOUR = 3600.0


@pytest.fixture(autouse=True)
def few_are_kept(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CALLS.clear()
    monkeypatch.setattr(parking, "KEEP", 2)


@pytest.fixture
def clock() -> Iterator[JumpingClock]:
    with JumpingClock() as jumping:
        yield jumping


@rn.activity(name="step")
def step(what: str) -> str:
    CALLS.append(what)
    return what.upper()


@rn.workflow(name="two_steps")
def two_steps(name: str, seconds: float) -> list[str]:
    first = step(f"{name}-before")
    rn.sleep(seconds)
    return [first, step(f"{name}-after")]


@rn.workflow(name="two_steps_async")
async def two_steps_async(name: str, seconds: float) -> list[str]:
    first = await step.aio(f"{name}-before")
    await asyncio.sleep(seconds)
    return [first, await step.aio(f"{name}-after")]


def parked() -> set[str]:
    found: set[str] = launch.current().ask(lambda engine: {run.instance for run in engine.live.values() if run.parked})
    return found


def built() -> int:
    """How many runs have an execution."""
    found: int = launch.current().ask(lambda engine: sum(run.execution is not None for run in engine.live.values()))
    return found


def park(flow: Any, *arguments: Any, **options: Any) -> Any:
    """Start *flow*, and others behind it until it is parked."""
    handle = flow.start(*arguments, **options)
    until(lambda: handle.status == "waiting")
    for number in range(parking.KEEP):
        other = two_steps.start(f"behind-{number}", 24 * HOUR)
        until(lambda other=other: other.status == "waiting")
    until(lambda: handle.id in parked())
    return handle


def wake(clock: JumpingClock) -> None:
    clock.jump(HOUR + 1)
    launch.current().ask(lambda engine: None)  # it looks at the clock when it has a reason to


@pytest.mark.parametrize("flow", [two_steps, two_steps_async])
def test_fifty_runs_wait_with_two_executions_and_all_of_them_wake(flow: Any, clock: JumpingClock) -> None:
    handles = [flow.start(f"n{number}", HOUR) for number in range(50)]
    until(lambda: len(parked()) == 48)
    assert built() == 2
    assert {handle.status for handle in handles} == {"waiting"}
    assert len(CALLS) == 50
    wake(clock)
    for number, handle in enumerate(handles):
        assert handle.result(20) == [f"N{number}-BEFORE", f"N{number}-AFTER"]
    assert len(CALLS) == len(set(CALLS)) == 100
    assert parked() == set()
    assert {handle.status for handle in handles} == {"completed"}


def test_those_that_were_active_last_are_kept() -> None:
    handles = []
    for number in range(6):
        handles.append(two_steps.start(f"n{number}", HOUR))
        until(lambda: handles[-1].status == "waiting")
    until(lambda: len(parked()) == 4)
    assert parked() == {handle.id for handle in handles[:4]}


def test_a_timer_that_falls_due_while_parked_wakes_it_and_only_it() -> None:
    slow = [two_steps.start(f"n{number}", HOUR) for number in range(6)]
    quick = park(two_steps, "quick", 1.5)
    assert quick.result(20) == ["QUICK-BEFORE", "QUICK-AFTER"]
    assert {handle.status for handle in slow} == {"waiting"}
    assert CALLS.count("quick-before") == 1


def test_a_run_with_several_timers_is_parked_again_and_again() -> None:
    @rn.workflow(name="several")
    async def several(count: int) -> list[int]:
        async def nap(number: int) -> int:
            await asyncio.sleep(0.4 * (number + 1))
            await step.aio(f"nap-{number}")
            return number

        return list(await asyncio.gather(*[nap(number) for number in range(count)]))

    others = [two_steps.start(f"n{number}", HOUR) for number in range(4)]
    handle = several.start(4)
    assert handle.result(30) == [0, 1, 2, 3]
    assert [call for call in CALLS if call.startswith("nap")] == ["nap-0", "nap-1", "nap-2", "nap-3"]
    assert {other.status for other in others} == {"waiting"}


def test_what_was_printed_is_not_printed_again(clock: JumpingClock, capsys: pytest.CaptureFixture[str]) -> None:
    @rn.workflow(name="says")
    def says() -> None:
        print("before the wait")
        rn.sleep(HOUR)
        print("after the wait")

    handle = park(says)
    wake(clock)
    handle.result(20)
    assert capsys.readouterr().out.split("\n") == ["before the wait", "after the wait", ""]


def test_what_clean_up_code_asks_for_or_says_happens_at_the_end_and_not_when_it_is_parked(
    clock: JumpingClock, capsys: pytest.CaptureFixture[str]
) -> None:
    @rn.workflow(name="cleans_up")
    def cleans_up() -> str:
        try:
            rn.sleep(HOUR)
        finally:
            print("cleaning up")
            step("clean-up")
        return "done"

    handle = park(cleans_up)
    put_down = threading.Event()
    for host in launch.current()._hosts:
        host.put(put_down.set)
        assert put_down.wait(5)
        put_down.clear()
    assert "clean-up" not in CALLS
    assert capsys.readouterr().out == ""
    wake(clock)
    assert handle.result(20) == "done"
    assert CALLS.count("clean-up") == 1
    assert capsys.readouterr().out == "cleaning up\n"


def test_a_parked_run_is_cancelled_and_undone() -> None:
    undone: list[str] = []

    @rn.compensation(name="take_back")
    def take_back(what: str) -> None:
        undone.append(what)

    @rn.activity(name="book", compensation=take_back)
    def book(what: str) -> str:
        return what

    @rn.workflow(name="trip")
    def trip() -> None:
        book("hotel")
        rn.sleep(HOUR)

    handle = park(trip)
    handle.cancel("changed my mind")
    with pytest.raises(errors.RomancyError, match="changed my mind"):
        handle.result(20)
    assert handle.status == "cancelled"
    assert undone == ["hotel"]


def test_stop_pauses_a_parked_run_durably_and_the_same_call_resumes_it(clock: JumpingClock) -> None:
    handle = park(two_steps, "stopped", HOUR)
    engine = launch.current()
    latch = Latch()
    engine.inbox.put(Interrupt(engine.newest[handle.id].start, latch))
    assert latch.get().what == "paused"
    assert handle.status == "paused"
    assert handle.id not in parked()
    clock.jump(HOUR + 1)
    assert two_steps.run("stopped", HOUR) == ["STOPPED-BEFORE", "STOPPED-AFTER"]
    assert CALLS.count("stopped-before") == 1


def test_nothing_in_a_parked_run_is_in_doubt() -> None:
    handle = park(two_steps, "certain", HOUR)
    with pytest.raises(errors.RunProblem, match="nothing in it waits for an answer"):
        handle.resolve("step", "executed", "x")
    assert handle.status == "waiting"


def test_a_deadline_that_passes_while_parked_counts(clock: JumpingClock) -> None:
    @rn.workflow(name="limited", timeout=HOUR / 2)
    def limited() -> None:
        rn.sleep(HOUR)

    handle = park(limited)
    clock.jump(HOUR / 2 + 1)
    launch.current().ask(lambda engine: None)
    with pytest.raises(errors.RomancyError, match="timeout"):
        handle.result(20)


def test_a_call_of_a_parked_run_waits_with_it(clock: JumpingClock) -> None:
    handle = park(two_steps, "called", HOUR)
    found: list[Any] = []
    caller = threading.Thread(target=lambda: found.append(two_steps.run("called", HOUR)))
    caller.start()
    until(lambda: launch.current().ask(lambda engine: len(engine.newest[handle.id].waiters) == 2))
    assert handle.id in parked()
    wake(clock)
    caller.join(20)
    assert found == [["CALLED-BEFORE", "CALLED-AFTER"]]
    assert CALLS.count("called-before") == 1


def test_disconnecting_puts_parked_runs_down_and_the_same_call_goes_on(clock: JumpingClock) -> None:
    handle = park(two_steps, "put-down", HOUR)
    rn.disconnect()
    with pytest.raises(errors.RomancyError):
        handle.result(1)
    clock.jump(HOUR + 1)
    assert two_steps.run("put-down", HOUR) == ["PUT-DOWN-BEFORE", "PUT-DOWN-AFTER"]
    assert CALLS.count("put-down-before") == 1


def test_a_workflow_that_is_defined_anew_while_its_run_is_parked_does_not_touch_the_run(clock: JumpingClock) -> None:
    def define(word: str) -> Any:
        @rn.workflow(name="greets")
        def greets(name: str) -> str:
            first = step(name)
            rn.sleep(HOUR)
            return f"{word} {first}"

        return greets

    handle = park(define("Hello"), "ann")
    again = define("Goodbye")
    wake(clock)
    assert handle.result(20) == "Hello ANN"
    assert again.run("ann") == "Goodbye ANN"
    assert CALLS.count("ann") == 1


def test_code_that_does_not_repeat_itself_is_stuck_and_nothing_is_begun_anew(clock: JumpingClock) -> None:
    moods = ["first", "second"]

    @rn.workflow(name="moody")
    def moody() -> None:
        step(moods[0])
        rn.sleep(HOUR)

    handle = park(moody)
    moods.reverse()
    wake(clock)
    with pytest.raises(errors.RomancyError):
        handle.result(20)
    assert handle.status == "stuck"
    assert "second" not in CALLS


def test_a_run_that_is_woken_counts_its_steps_once(clock: JumpingClock) -> None:
    handle = park(two_steps, "counted", HOUR)
    run = launch.current().ask(lambda engine: engine.newest[handle.id])
    wake(clock)
    handle.result(20)
    assert (run.executed, run.replayed, run.reused) == (2, 0, 0)


def test_a_second_run_that_is_parked_knows_what_the_first_one_did(clock: JumpingClock) -> None:
    def define(word: str) -> Any:
        @rn.workflow(name="reuses")
        def reuses() -> list[str]:
            kept = step("kept")
            rn.sleep(HOUR)
            return [kept, step(word), step("last")]

        return reuses

    first = define("one")
    handle = first.start(instance_id="reuses-1")
    until(lambda: handle.status == "waiting")
    wake(clock)
    assert handle.result(20) == ["KEPT", "ONE", "LAST"]
    second = define("two")
    handle = (
        park(second, instance_id="reuses-1") if handle.status == "waiting" else second.start(instance_id="reuses-1")
    )
    assert handle.result(20) == ["KEPT", "TWO", "LAST"]
    assert CALLS.count("kept") == CALLS.count("last") == 1


def test_histories_of_many_runs_are_those_that_each_has(journal: Path) -> None:
    handles = [two_steps.start(f"n{number}", HOUR) for number in range(5)]
    until(lambda: all(handle.status == "waiting" for handle in handles))

    def compare(engine: Any) -> None:
        keys = [run.key for run in engine.live.values()]
        assert engine.journal.histories([*keys, 7]) == {key: engine.journal.load(key) for key in keys}
        assert engine.journal.histories([]) == {}

    launch.current().ask(compare)


HEAD = """
import json, os, sys, time
import ledger
import romancy_nb as rn
from romancy_nb.runtime import launch, parking
from romancy_nb.runtime.inbox import Interrupt
from romancy_nb.runtime.instance import Latch
parking.KEEP = 2

@rn.activity
def step(what: str) -> str:
    ledger.write(what)
    return what

@rn.workflow
def naps(number: int, seconds: float) -> str:
    first = step(f"before-{number}")
    rn.sleep(seconds)
    return first + step(f"after-{number}")

def parked() -> int:
    return launch.current().ask(lambda engine: sum(run.parked for run in engine.live.values()))

"""


@pytest.fixture
def processes(tmp_path: Path) -> Any:
    world = Processes(tmp_path, HEAD)
    yield world
    world.end()


@pytest.mark.crash
def test_a_process_killed_with_parked_runs_loses_none_of_them(processes: Processes) -> None:
    first = processes.start(
        "for n in range(12): naps.start(n, 3.0)\nwhile parked() < 10: time.sleep(0.01)\nprint('parked'); time.sleep(60)"
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "parked\n"
    first.kill()
    first.wait()
    second = processes.start("print(json.dumps([naps.start(n, 3.0).result(30) for n in range(12)]))")
    out, _ = second.communicate(timeout=60)
    assert json.loads(out.splitlines()[-1]) == [f"before-{n}after-{n}" for n in range(12)]
    lines = processes.lines()
    assert sorted(lines) == sorted([f"before-{n}" for n in range(12)] + [f"after-{n}" for n in range(12)])


def test_a_parked_run_that_another_process_took_up_is_given_up_here(journal: Path) -> None:
    handle, other = park(two_steps, "taken", HOUR), two_steps.start("mine", HOUR)
    take_up = f"""
from romancy_nb.core.events import RUN_RESUMED, Event
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.journal.protocol import Batch, Row
journal = DuckDBJournal({str(journal)!r})
journal.acquire(20)
head = journal.heads([{handle.id!r}])[{handle.id!r}]
taken = Event(RUN_RESUMED, head.updated + 1, meta={{"owner": "another", "epoch": head.epoch + 1}})
journal.commit(Batch(77, [Row(head.run, head.last_seq + 1, taken)]))
journal.release()
"""
    subprocess.run(
        [sys.executable, "-c", take_up], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    with pytest.raises(errors.RunProblem):
        handle.result(20)
    assert handle.id not in parked()
    assert other.status == "waiting"


def test_a_run_that_moves_to_another_thread_while_it_is_built_leaves_nothing_on_the_first(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    building, go = threading.Event(), threading.Event()
    first: list[bool] = []

    @rn.workflow(name="slow_to_begin")
    def slow_to_begin() -> str:
        if not first:
            first.append(True)
            building.set()
            go.wait(10)
        rn.sleep(0.05)
        return step("moved")

    handle = slow_to_begin.start()
    assert building.wait(5)

    def move(engine: Any) -> None:
        run = engine.newest[handle.id]
        other = next(host for host in engine._hosts if host is not run.host)
        engine._take_up.rebuild(run, other)

    launch.current().ask(move)
    go.set()
    assert handle.result(20) == "MOVED"
    assert two_steps.start("both-threads", 0.0).result(20)
    assert two_steps.start("still-work", 0.0).result(20)
    assert CALLS.count("moved") == 1
    assert "internal error" not in caplog.text
