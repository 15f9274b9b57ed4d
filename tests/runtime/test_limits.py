"""Limited activities, in the real engine: never more at once than allowed, in order, and nothing is lost or kept (A8)."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import until

import romancy_nb as rn
from romancy_nb import errors
from romancy_nb.core import events as ev
from romancy_nb.core.invariants import check_history
from romancy_nb.definitions import limits
from romancy_nb.runtime.state import ENGINES
from romancy_nb.testing import JumpingClock


class Crowd:
    """Counts who is inside; each stays until the gate is open."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = self.most = 0
        self.came: list[Any] = []
        self.gate = threading.Event()

    def enter(self, who: Any) -> None:
        with self.lock:
            self.came.append(who)
            self.inside += 1
            self.most = max(self.most, self.inside)

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1

    def visit(self, who: Any) -> Any:
        self.enter(who)
        try:
            assert self.gate.wait(30)
            return who
        finally:
            self.leave()

    async def visit_async(self, who: Any) -> Any:
        self.enter(who)
        try:
            while not self.gate.is_set():
                await asyncio.sleep(0.002)
            return who
        finally:
            self.leave()


@pytest.fixture
def crowd(journal: Path) -> Iterator[Crowd]:
    found = Crowd()
    yield found
    found.gate.set()


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_limits", {})


def queues() -> Any:
    return next(engine for engine in ENGINES if not engine.stopped).limits


def quiet() -> bool:
    """Does nobody hold or wait for anything?"""
    found = queues()
    return not found and not any(gate.held or gate.queue for gate in found._gates.values())


def one_by_one(visit: Callable[[Any], Any], calls: int) -> None:
    assert rn.gather(*[lambda n=n: visit(n) for n in range(calls)]) == tuple(range(calls))


def rows(instance: str, kind: str) -> list[Any]:
    return [row.event for row in rn.instance(instance).rows() if row.event.kind == kind]


@pytest.mark.parametrize("colour", ["def", "async def"])
def test_never_more_at_once_than_allowed_in_the_order_in_which_they_were_asked_for(crowd: Crowd, colour: str) -> None:
    rn.limit("door", concurrency=3)
    visit: Any = crowd.visit if colour == "def" else crowd.visit_async
    go: Any = rn.activity(name="visit", limit="door")(visit)

    @rn.workflow
    def flow() -> list[int]:
        return list(rn.gather(*[lambda n=n: go.sync(n) for n in range(20)]))

    handle = flow.start()
    until(lambda: len(crowd.came) == 3)
    steps = rn.sql(f"select status, count(*) from steps where instance_id = '{handle.id}' group by 1 order by 1")
    assert steps.fetchall() == [("running", 3), ("waiting", 17)]
    assert rn.sql("select name, concurrency, per_second, running, queued from limits").fetchall() == [
        ("door", 3, None, 3, 17)
    ]
    assert "waiting for limit door" in str(handle.timeline())
    crowd.gate.set()
    assert handle.result(timeout=30) == list(range(20))
    assert crowd.most == 3
    assert sorted(crowd.came[:3]) == [0, 1, 2]  # threads begin as they please; their turns come in order
    assert [event.call for event in rows(handle.id, ev.ATTEMPT_STARTED)] == [f"0.{n}:0" for n in range(20)]
    assert rn.sql("select running, queued from limits").fetchall() == [(0, 0)]
    until(quiet)
    check_history([(row.seq, row.event) for row in handle.rows()])


def test_one_at_a_time_comes_in_order(crowd: Crowd) -> None:
    @rn.activity(limit=rn.limit("door", concurrency=1))
    def visit(n: int) -> int:
        return int(crowd.visit(n))

    @rn.workflow
    def flow() -> None:
        one_by_one(visit, 12)

    handle = flow.start()
    until(lambda: crowd.came == [0])
    crowd.gate.set()
    handle.result(timeout=30)
    assert crowd.came == list(range(12)) and crowd.most == 1


def test_it_is_shared_by_two_activities_and_two_workflows(crowd: Crowd) -> None:
    door = rn.limit("door", concurrency=2)

    @rn.activity(limit=door)
    def knock(n: int) -> Any:
        return crowd.visit(n)

    @rn.activity(limit=["door"])
    async def ring(n: int) -> Any:
        return await crowd.visit_async(n)

    @rn.activity
    def pass_by(n: int) -> int:
        return n

    @rn.workflow
    def one() -> None:
        one_by_one(knock, 4)

    @rn.workflow
    def other() -> int:
        one_by_one(ring.sync, 4)
        return pass_by(1)

    handles: list[Any] = [one.start(), other.start()]
    until(lambda: len(crowd.came) == 2)
    until(lambda: len(queues().waiting("door")) == 6)
    crowd.gate.set()
    for handle in handles:
        handle.result(timeout=30)
    assert crowd.most == 2 and len(crowd.came) == 8
    until(quiet)


def test_calls_with_several_limits_keep_all_of_them(crowd: Crowd) -> None:
    rn.limit("wide", concurrency=4)
    rn.limit("narrow", concurrency=2)

    @rn.activity(limit=("wide", "narrow"))
    def both(n: int) -> Any:
        return crowd.visit(n)

    @rn.activity(limit="wide")
    def one(n: int) -> Any:
        return crowd.visit(n)

    @rn.workflow
    def flow() -> None:
        rn.gather(*[lambda n=n: one(n) for n in range(2)], *[lambda n=n: both(n) for n in range(2, 8)])

    handle = flow.start()
    until(lambda: len(crowd.came) == 4)
    assert queues().held("wide") == 4 and queues().held("narrow") == 2
    crowd.gate.set()
    handle.result(timeout=30)
    assert crowd.most == 4
    until(quiet)


def test_500_calls_on_3_places(crowd: Crowd) -> None:
    crowd.gate.set()

    @rn.activity(limit=rn.limit("door", concurrency=3))
    async def visit(n: int) -> Any:
        return await crowd.visit_async(n)

    @rn.workflow
    async def flow() -> int:
        return sum(await asyncio.gather(*[visit(n) for n in range(500)]))

    assert flow.start().result(timeout=120) == sum(range(500))
    assert crowd.most <= 3 and crowd.came == list(range(500))
    until(quiet)


def test_attempts_begin_no_faster_than_the_rate(crowd: Crowd) -> None:
    began: list[float] = []

    @rn.activity(limit=rn.limit("api", per_second=8))
    def ask(n: int) -> int:
        began.append(time.monotonic())
        return n

    @rn.workflow
    def flow() -> None:
        one_by_one(ask, 6)

    flow.start().result(timeout=30)
    turns = [event.at for event in rows(rn.instances()[0].id, ev.ATTEMPT_STARTED)]
    gaps = [(after - before) / 1_000_000 for before, after in itertools.pairwise(turns)]
    assert all(gap >= 0.124 for gap in gaps), gaps
    assert began[-1] - began[0] >= 0.55  # five gaps of 0.125 s, and threads begin late now and then
    assert began[-1] - began[0] < 8


def test_a_rate_is_counted_by_the_engines_clock(crowd: Crowd) -> None:
    began: list[int] = []

    @rn.activity(limit=rn.limit("slow", per_second=1 / 3600))
    def ask(n: int) -> int:
        began.append(n)
        return n

    @rn.workflow
    def flow() -> None:
        one_by_one(ask, 4)

    with JumpingClock() as clock:
        handle = flow.start()
        for hours in range(1, 5):
            until(lambda hours=hours: len(began) == hours and len(queues().waiting("slow")) == 4 - hours)
            clock.jump(3601)
            rn.limit("elsewhere", concurrency=1)  # wakes the engine, which waits by the real clock
        handle.result(timeout=30)
    assert began == [0, 1, 2, 3]


def test_a_retry_waits_for_its_turn_behind_those_who_came_meanwhile(crowd: Crowd) -> None:
    crowd.gate.set()
    tried: list[int] = []

    @rn.activity(limit=rn.limit("door", concurrency=1), retry=rn.RetryPolicy(initial=0.001, jitter=0))
    def visit(n: int) -> int:
        tried.append(n)
        if tried == [0]:
            until(lambda: len(queues().waiting("door")) == 3)
            raise ConnectionError
        time.sleep(0.02)
        return n

    @rn.workflow
    def flow() -> None:
        one_by_one(visit, 4)

    handle = flow.start()
    handle.result(timeout=30)
    assert tried[:2] == [0, 1] and sorted(tried[1:]) == [0, 1, 2, 3] and tried[-1] == 0
    assert rn.sql("select attempts, status from steps where call = '0.0:0'").fetchall() == [(2, "completed")]
    until(quiet)


def test_time_in_the_queue_is_no_part_of_max_duration_nor_of_timeout(crowd: Crowd) -> None:
    rn.limit("door", concurrency=1)
    tries: list[str] = []

    @rn.activity(limit="door")
    def hold(n: int) -> Any:
        return crowd.visit(n)

    @rn.activity(limit="door", timeout=5, retry=rn.RetryPolicy(max_attempts=2, initial=0.01, max_duration=60))
    def flaky() -> str:
        tries.append("try")
        if len(tries) == 1:
            raise ConnectionError
        return "done"

    @rn.workflow
    def flow() -> Any:
        return rn.gather(lambda: hold(1), flaky.bind())[1]

    with JumpingClock() as clock:
        handle = flow.start()
        until(lambda: crowd.came == [1] and len(queues().waiting("door")) == 1)
        clock.jump(500)
        crowd.gate.set()
        assert handle.result(timeout=30) == "done"
    assert len(tries) == 2


def test_a_place_stays_taken_by_an_abandoned_attempt_until_it_ends(
    crowd: Crowd, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[int] = []

    @rn.activity(limit=rn.limit("door", concurrency=1), timeout=0.05, retry=1)
    def stuck() -> Any:
        return crowd.visit("stuck")

    @rn.activity(limit="door")
    def visit(n: int) -> int:
        done.append(n)
        return n

    @rn.workflow
    def flow() -> int:
        try:
            stuck()
        except errors.AttemptTimeout:
            pass
        return visit(1)

    handle = flow.start()
    until(lambda: queues().waiting("door"))
    assert crowd.inside == 1 and not done
    assert "keeps its place in limit door" in caplog.text
    crowd.gate.set()
    assert handle.result(timeout=30) == 1
    until(quiet)


def test_more_room_lets_in_those_who_wait_at_once(crowd: Crowd) -> None:
    @rn.activity(limit=rn.limit("door", concurrency=1))
    def visit(n: int) -> Any:
        return crowd.visit(n)

    @rn.workflow
    def flow() -> None:
        one_by_one(visit, 8)

    handle = flow.start()
    until(lambda: crowd.came == [0])
    rn.limit("door", concurrency=3)
    until(lambda: len(crowd.came) == 3)
    assert rn.sql("select concurrency, running, queued from limits").fetchall() == [(3, 3, 5)]
    rn.limit("door", concurrency=2)
    crowd.gate.set()
    handle.result(timeout=30)
    assert crowd.most == 3
    until(quiet)


def test_cancelling_drops_what_waits(crowd: Crowd) -> None:
    @rn.activity(limit=rn.limit("door", concurrency=1))
    async def visit(n: int) -> Any:
        return await crowd.visit_async(n)

    @rn.workflow
    async def flow() -> None:
        await asyncio.gather(*[visit(n) for n in range(50)])

    handle = flow.start()
    until(lambda: crowd.came == [0] and len(queues().waiting("door")) == 49)
    handle.cancel("enough")
    with pytest.raises(errors.RunCancelled):
        handle.result(timeout=30)
    assert crowd.came == [0]
    until(quiet)
    crowd.gate.set()
    assert visit_alone(visit) == 7


def visit_alone(visit: Any) -> Any:
    @rn.workflow(name="alone")
    def alone() -> Any:
        return visit.sync(7)

    return alone.start().result(timeout=30)


def test_a_losing_branch_gives_up_its_place_in_the_queue(crowd: Crowd) -> None:
    @rn.activity(limit=rn.limit("door", concurrency=1))
    async def visit(n: int) -> Any:
        return await crowd.visit_async(n)

    @rn.workflow
    async def flow() -> str:
        first = asyncio.ensure_future(visit(1))
        await asyncio.sleep(0)
        try:
            await asyncio.wait_for(visit(2), 0.05)
        except TimeoutError:
            first.cancel()
            return "gave up"
        return "?"

    assert flow.start().result(timeout=30) == "gave up"
    assert crowd.came == [1]
    until(quiet)


def test_disconnecting_leaves_what_waited_pending_and_the_next_engine_begins_it(crowd: Crowd) -> None:
    @rn.activity(limit=rn.limit("door", concurrency=1), delivery="at_most_once")
    async def visit(n: int) -> Any:
        return await crowd.visit_async(n)

    @rn.activity(limit="door")
    async def look(n: int) -> Any:
        return await crowd.visit_async(n)

    @rn.workflow
    async def flow() -> Any:
        return await asyncio.gather(look(0), *[visit(n) for n in range(1, 5)])

    handle = flow.start()
    until(lambda: crowd.came == [0] and len(queues().waiting("door")) == 4)
    rn.disconnect()
    crowd.gate.set()
    assert flow.run() == [0, 1, 2, 3, 4]
    assert crowd.came == [0, 0, 1, 2, 3, 4]
    starts = rows(handle.id, ev.ATTEMPT_STARTED)
    assert [(event.call, event.attempt) for event in starts][1:] == [
        ("0.0:0", 2), ("0.1:0", 1), ("0.2:0", 1), ("0.3:0", 1), ("0.4:0", 1),
    ]  # fmt: skip


def test_where_the_limit_is_not_defined_the_recorded_figures_count(crowd: Crowd) -> None:
    @rn.activity(limit=rn.limit("door", concurrency=2))
    async def visit(n: int) -> Any:
        return await crowd.visit_async(n)

    @rn.workflow
    async def flow() -> Any:
        return await asyncio.gather(*[visit(n) for n in range(6)])

    flow.start()
    until(lambda: len(crowd.came) == 2)
    rn.disconnect()
    limits._limits.clear()
    crowd.came.clear()
    crowd.most = 0
    until(lambda: crowd.inside == 0)
    handle = flow.start()
    until(lambda: len(crowd.came) == 2 and len(queues().waiting("door")) == 4)
    crowd.gate.set()
    assert handle.result(timeout=30) == list(range(6))
    assert crowd.most == 2


def test_a_limit_that_is_not_defined_is_named_in_the_call_which_goes_on_when_it_is(crowd: Crowd) -> None:
    crowd.gate.set()

    @rn.activity(limit="nowhere")
    def visit(n: int) -> Any:
        return crowd.visit(n)

    @rn.workflow
    def flow() -> Any:
        return visit(1)

    with pytest.raises(errors.DefinitionError, match=r'(?s)visit has limit="nowhere".*rn\.limit\("nowhere", conc'):
        flow.run()
    rn.limit("nowhere", concurrency=1)
    assert flow.run() == 1
    limits._limits.clear()
    assert flow.run() == 1, "what is recorded needs no limit"
    assert crowd.came == [1]


def test_code_that_catches_the_missing_limit_is_replayed_alike(crowd: Crowd) -> None:
    crowd.gate.set()

    @rn.activity(limit="nowhere")
    def visit(n: int) -> Any:
        return crowd.visit(n)

    @rn.activity
    def other() -> str:
        return "other"

    @rn.workflow
    def flow() -> str:
        try:
            visit(1)
        except errors.DefinitionError:
            return other()
        return "?"

    assert flow.run() == "other"
    assert flow.run() == "other"
    assert rn.instances()[0].run == 1


def test_an_undo_waits_for_its_turn_too(crowd: Crowd) -> None:
    rn.limit("door", concurrency=1)

    @rn.compensation(limit="door")
    def leave(n: int) -> None:
        crowd.came.append(f"undo {n}")

    @rn.activity(compensation=leave)
    def enter(n: int) -> int:
        return n

    @rn.activity(retry=1)
    def fail() -> None:
        raise ValueError("no")

    @rn.activity(limit="door")
    def hold(n: int) -> Any:
        return crowd.visit(n)

    @rn.workflow
    def flow() -> None:
        enter(1)
        fail()

    @rn.workflow
    def holder() -> None:
        hold(0)

    held = holder.start()
    until(lambda: crowd.came == [0])
    handle = flow.start()
    until(lambda: len(queues().waiting("door")) == 1)
    assert crowd.came == [0]
    assert "waiting for limit door" in str(handle.timeline())
    crowd.gate.set()
    held.result(timeout=30)
    with pytest.raises(ValueError, match="no"):
        handle.result(timeout=30)
    assert crowd.came == [0, "undo 1"]
    until(quiet)


def test_what_was_recorded_before_the_activity_had_a_limit_is_begun_anew_and_waits(crowd: Crowd) -> None:
    def define(**options: Any) -> Any:
        @rn.activity(**options)
        async def visit(n: int) -> Any:
            return await crowd.visit_async(n)

        @rn.workflow
        async def flow() -> Any:
            return await asyncio.gather(*[visit.aio(n) for n in range(3)])

        return flow

    flow = define()
    handle = flow.start()
    until(lambda: len(crowd.came) == 3)
    rn.disconnect()
    until(lambda: crowd.inside == 0)
    crowd.most = 0
    flow = define(limit=rn.limit("door", concurrency=1))
    handle = flow.start()
    until(lambda: crowd.inside == 1 and len(queues().waiting("door")) == 2)
    crowd.gate.set()
    assert handle.result(timeout=30) == [0, 1, 2]
    assert crowd.most == 1
    assert [event.attempt for event in rows(handle.id, ev.ATTEMPT_STARTED)] == [2, 2, 2]


def test_outside_a_workflow_nothing_waits(crowd: Crowd) -> None:
    @rn.activity(limit="nowhere")
    def plain(n: int) -> int:
        return n

    assert plain(3) == 3


def test_an_activity_without_a_limit_never_meets_the_queues(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    from romancy_nb.runtime import queueing

    def met(*_: Any) -> None:
        raise AssertionError("it did")

    for name in ("join", "let_in", "facts"):
        monkeypatch.setattr(queueing, name, met)

    @rn.activity
    def plain(n: int) -> int:
        return n

    @rn.workflow
    def flow() -> int:
        return sum(plain(n) for n in range(5))

    assert flow.run() == 10
    assert not rows(rn.instances()[0].id, ev.ATTEMPT_STARTED)
