"""Limited activities when things end otherwise: Stop, kill -9, a full disk, random programs. Nothing is lost or kept (A8)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ledger
import pytest
from faulty import stop_after
from processes import Processes, until
from test_limits import Crowd, crowd, no_limits, queues, quiet, rows  # noqa: F401

import romancy_nb as rn
from romancy_nb import errors, testing
from romancy_nb.core import events as ev
from romancy_nb.core.invariants import check_history


@pytest.mark.parametrize("colour", ["def", "async def"])
def test_stop_in_a_burst_drops_what_waits_and_the_resume_begins_it(crowd: Crowd, colour: str) -> None:  # noqa: F811
    visit: Any = crowd.visit if colour == "def" else crowd.visit_async
    go: Any = rn.activity(name="visit", limit=rn.limit("door", concurrency=2), delivery="at_most_once")(visit)
    look: Any = rn.activity(name="look", limit="door")(visit)

    @rn.workflow
    def flow() -> Any:
        return rn.gather(*[lambda n=n: (go if n > 1 else look).sync(n) for n in range(30)])

    with stop_after(lambda: len(crowd.came) == 2), pytest.raises(errors.RunInterrupted):
        flow()
    handle = rn.instances()[0]
    assert handle.status == "paused"
    assert rn.sql("select status, count(*) from steps group by 1 order by 1").fetchall() == [
        ("in_doubt", 2),
        ("waiting", 28),
    ]
    assert rn.sql("select running, queued from limits").fetchall() == [(0, 0)]
    crowd.gate.set()
    until(quiet)
    assert flow() == list(range(30)) or flow() == tuple(range(30))
    assert crowd.most == 2
    assert sorted(crowd.came)[-28:] == list(range(2, 30)), "what is at most once was begun once"
    until(quiet)


def test_stop_before_the_attempts_that_were_let_in_begin_keeps_no_place(crowd: Crowd) -> None:  # noqa: F811
    go: Any = rn.activity(name="visit", limit=rn.limit("door", concurrency=2))(crowd.visit)

    @rn.workflow
    def flow() -> Any:
        return rn.gather(*[lambda n=n: go(n) for n in range(6)])

    pressed = threading.Event()

    def before(number: int, batch: Any) -> None:
        if not pressed.is_set() and any(row.event.kind == ev.ATTEMPT_STARTED for row in batch.rows):
            pressed.set()
            time.sleep(0.3)

    with testing.on_commit(before=before):
        with stop_after(pressed.is_set), pytest.raises((errors.RunInterrupted, KeyboardInterrupt)):
            flow()
        crowd.gate.set()
        until(quiet)
        assert list(flow()) == list(range(6))
    until(quiet)


HEAD = """
import asyncio, os, sys, threading, time
import ledger
import romancy_nb as rn
from romancy_nb import errors

door = rn.limit("door", concurrency=2)

def wait():
    while not os.path.exists(os.environ["GO"]):
        time.sleep(0.01)

@rn.activity(limit=door, delivery="at_most_once")
def once(n: int) -> int:
    ledger.write(f"once{n}")
    wait()
    return n

@rn.activity(limit=door, compensate_if="started", compensation=lambda_free)
def twice(n: int) -> int:
    ledger.write(f"twice{n}")
    wait()
    return n

@rn.workflow
def flow(kind: str) -> list:
    chosen = [once if kind == "once" or (kind == "mixed" and n > 1) else twice for n in range(8)]
    return list(rn.gather(*[each.bind(n) for n, each in enumerate(chosen)]))
""".replace(
    "@rn.activity(limit=door, compensate_if",
    """@rn.compensation
def undo(n: int) -> None:
    ledger.write(f"undo{n}")

@rn.activity(limit=door, compensate_if""",
).replace("lambda_free", "undo")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path, HEAD)
    yield found
    found.end()


@pytest.mark.crash
@pytest.mark.parametrize("kind", ["once", "mixed"])
def test_kill_9_with_calls_that_run_and_wait_leaves_only_those_that_ran_in_doubt(world: Processes, kind: str) -> None:
    first = world.start(f"flow({kind!r})")
    until(lambda: len(world.lines()) == 2)
    first.kill()
    first.wait()
    told = world.start(
        """
        i = rn.instances()[0]
        kinds = [row.event.kind for row in i.rows()]
        print(kinds.count("activity_scheduled"), kinds.count("attempt_started"))
        print(i.steps().df()["status"].value_counts().to_dict())
        """
    ).communicate(timeout=60)[0]
    assert told.splitlines()[0] == "8 2", told
    assert "'waiting': 6" in told.splitlines()[1], told
    world.go.touch()
    second = world.start(
        f"""
        try:
            print("result", flow({kind!r}))
        except errors.RomancyError as error:
            print(error)
        i = rn.instances()[0]
        for step in i.steps().dicts():
            if step["status"] == "in_doubt": i.resolve(step["call"], "executed", int(step["call"][2]))
        print("result", flow({kind!r}))
        """
    ).communicate(timeout=60)[0]
    assert second.splitlines()[-1] == "result [0, 1, 2, 3, 4, 5, 6, 7]", second
    effects = world.lines()
    if kind == "once":
        assert "is `at_most_once`, so it is not executed again" in second
        assert effects == {f"once{n}": 1 for n in range(8)}, "those in doubt were answered, the others begun once"
    else:
        assert second.splitlines()[0].startswith("result"), "nothing that only waited is in doubt"
        assert effects == {"twice0": 2, "twice1": 2, **{f"once{n}": 1 for n in range(2, 8)}}


@pytest.mark.crash
def test_what_only_waited_when_the_process_died_is_not_undone(world: Processes) -> None:
    first = world.start('flow("undoable")')
    until(lambda: len(world.lines()) == 2)
    first.kill()
    first.wait()
    world.go.touch()
    told = world.start(
        """
        i = rn.instances()[0]
        i.cancel("enough")
        try: i.result(30)
        except errors.RunCancelled as error: print(error)
        """
    ).communicate(timeout=60)[0]
    assert "cancelled" in told, told
    effects = ledger.read(world.ledger)
    assert {str(line["name"]) for line in effects} == {"twice0", "twice1", "undo0", "undo1"}


@pytest.mark.parametrize("number", range(1, 7))
def test_a_turn_that_could_not_be_written_keeps_no_place(crowd: Crowd, number: int) -> None:  # noqa: F811
    crowd.gate.set()

    @rn.activity(limit=rn.limit("door", concurrency=1))
    def visit(n: int) -> Any:
        return crowd.visit(n)

    @rn.workflow
    def flow() -> Any:
        return [visit(n) for n in range(3)]

    rn.connect()
    failing = {number, number + 1}
    full = testing.fail_commits(lambda: errors.JournalUnwritable("the disk is full"), failing)
    with full, contextlib.suppress(errors.JournalError):
        flow()
    until(quiet)

    def done() -> bool:
        try:
            return bool(flow() == [0, 1, 2])
        except errors.RomancyError:
            return False

    until(done)
    assert crowd.most == 1
    until(quiet)


@pytest.mark.parametrize("seed", range(8))
def test_random_programs_keep_the_limits_and_leave_nothing_behind(crowd: Crowd, seed: int) -> None:  # noqa: F811
    chance = random.Random(seed)
    crowd.gate.set()
    retry = rn.RetryPolicy(max_attempts=2, initial=0.002, jitter=0)
    rn.limit("door", concurrency=3)
    rn.limit("other", concurrency=2, per_second=300)

    def behave(how: str) -> None:
        if how == "fail":
            raise ConnectionError(how)

    @rn.activity(limit="door", retry=retry)
    def plain(n: int, how: str) -> int:
        crowd.enter(n)
        time.sleep(0.003)
        crowd.leave()
        behave(how)
        return n

    @rn.activity(limit=("door", "other"), retry=retry, timeout=0.02)
    async def awaited(n: int, how: str) -> int:
        crowd.enter(n)
        try:
            await asyncio.sleep(0.05 if how == "late" else 0.002)
        finally:
            crowd.leave()
        behave(how)
        return n

    @rn.activity(limit="door", retry=1, timeout=0.02)
    def late(n: int, how: str) -> int:
        crowd.enter(n)
        time.sleep(0.05 if how == "late" else 0.0)
        crowd.leave()
        return n

    @rn.workflow
    async def flow(number: int, plan: list[list[Any]]) -> Any:
        kinds = {"plain": plain, "awaited": awaited, "late": late}
        tasks = [asyncio.ensure_future(kinds[kind].aio(n, how)) for n, (kind, how) in enumerate(plan)]
        if number % 3 == 0:
            await asyncio.sleep(0.01)
            tasks[-1].cancel()
        return len(await asyncio.gather(*tasks, return_exceptions=number % 2 == 0))

    handles = []
    for number in range(12):
        plan = [
            [chance.choice(["plain", "awaited", "late"]), chance.choice(["", "", "", "fail", "late"])]
            for _ in range(chance.randint(1, 8))
        ]
        handles.append(flow.start(number, plan))
        what = chance.random()
        if what < 0.3:
            with contextlib.suppress(errors.RunProblem):
                chance.choice(handles).cancel("by chance")
        elif what < 0.5:
            rn.limit("door", concurrency=chance.randint(1, 3))
        time.sleep(chance.random() * 0.02)
    for handle in handles:
        with contextlib.suppress(errors.RomancyError, ConnectionError, asyncio.CancelledError):
            handle.result(timeout=30)
    until(quiet)
    assert crowd.most <= 3
    for handle in handles:
        check_history([(row.seq, row.event) for row in handle.rows()])
        begun = [(event.call, event.attempt) for event in rows(handle.id, ev.ATTEMPT_STARTED)]
        assert len(begun) == len(set(begun))
        for call, attempts in itertools.groupby(sorted(begun), key=lambda each: each[0]):
            assert [attempt for _, attempt in attempts] == list(range(1, sum(c == call for c, _ in begun) + 1))
    assert rn.sql("select sum(running) + sum(queued) from limits").fetchall() == [(0,)]
