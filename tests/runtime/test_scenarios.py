"""What other engines were found to break, each by its name; shown here in the smallest form, at length in the rooms' own tests.

kill -9 in all its places stands in test_kill_scenarios, what needs a kernel in tests/notebook/test_kernel_scenarios.
"""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest

import romancy_nb as rn
from romancy_nb.core import events as ev
from romancy_nb.errors import CompensationFailed, InputsDiffer, NotJournalable, RunCancelled, RunHeldElsewhere, RunStuck

ONCE = rn.RetryPolicy(max_attempts=1)
LOG: list[str] = []
GATE = threading.Event()
BEGUN = threading.Event()


@pytest.fixture(autouse=True)
def fresh(journal: Path) -> Path:
    LOG.clear()
    GATE.clear()
    BEGUN.clear()
    return journal


@rn.compensation(name="give_back")
def give_back(item: str) -> None:
    LOG.append(f"give back {item}")


@rn.activity(name="take", compensation=give_back)
def take(item: str) -> str:
    LOG.append(f"take {item}")
    return item


@rn.activity(name="hold", compensation=give_back)
def hold(item: str) -> str:
    LOG.append(f"take {item}")
    BEGUN.set()
    GATE.wait(20)
    return item


@rn.activity(name="hold_async", compensation=give_back)
async def hold_async(item: str) -> str:
    LOG.append(f"take {item}")
    BEGUN.set()
    await asyncio.sleep(60)
    return item


@rn.activity(name="fails", retry=ONCE)
def fails() -> None:
    raise LookupError("no car left")


TAKE_OVER = """
import sys
from pathlib import Path
from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.journal.protocol import Batch, Row

journal, run = DuckDBJournal(Path(sys.argv[1])), int(sys.argv[2])
journal.acquire(20)  # the owner lets go of the file while nothing happens
taken = Event(ev.RUN_RESUMED, now_us(), meta={"owner": "another", "epoch": 2, "reason": "resume"})
journal.commit(Batch(1, [Row(run, journal.load(run)[-1].seq + 1, taken)]))
journal.release()
"""


@rn.activity(name="fails_once_begun", retry=ONCE)
def fails_once_begun() -> None:
    assert BEGUN.wait(20)
    raise LookupError("no car left")


def test_stale_owner_writes_after_losing_its_run_are_fenced(fresh: Path) -> None:
    @rn.workflow(name="fenced")
    def flow(n: int) -> str:
        return take(hold("a"))

    with ThreadPoolExecutor(1) as pool:
        ran = pool.submit(flow.run, 1)
        assert BEGUN.wait(20)
        handle = rn.instances(workflow="fenced")[0]
        last = len(handle.rows())
        subprocess.run([sys.executable, "-c", TAKE_OVER, str(fresh), str(handle.rows()[0].run)], check=True, timeout=60)
        GATE.set()
        with pytest.raises(RunHeldElsewhere, match="taken up by another process"):
            ran.result(20)
    rows = handle.rows()
    assert [row.event.kind for row in rows][last:] == [ev.RUN_RESUMED], "the stale owner wrote behind it"
    assert LOG == ["take a"]


def test_long_activity_keeps_its_run() -> None:
    @rn.workflow(name="long")
    def flow(n: int) -> str:
        return hold("a")

    handle = flow.start(1)
    assert BEGUN.wait(20)
    follower = flow.start(1)
    assert follower.id == handle.id and handle.status == "running"
    GATE.set()
    assert follower.result(20) == handle.result(20) == "a"
    assert LOG == ["take a"]


class NoCar(Exception):
    """Has what an error may have: arguments, attributes, notes and a cause."""

    def __init__(self, city: str, *, code: int) -> None:
        super().__init__(city)
        self.code = code


def test_typed_error_replay() -> None:
    seen: list[tuple[Any, ...]] = []

    @rn.activity(name="rent", retry=ONCE)
    def rent(city: str) -> None:
        error = NoCar(city, code=7)
        error.add_note("try the station")
        raise error from KeyError("fleet")

    @rn.workflow(name="renting")
    def flow(city: str) -> str:
        try:
            rent(city)
        except NoCar as error:
            seen.append((type(error), error.args, error.code, error.__notes__, type(error.__cause__)))
        return take("bus")

    assert flow.run("Rome") == "bus"
    rn.disconnect()
    assert flow.run("Rome") == "bus"
    assert seen == [(NoCar, ("Rome",), 7, ["try the station"], KeyError)] * len(seen) and len(seen) == 2


@dataclasses.dataclass
class Point:
    x: int
    y: tuple[int, ...]


class Order(pydantic.BaseModel):
    id: str
    at: datetime
    price: Decimal


RESULTS = {
    "dataclass": Point(1, (2, 3)),
    "pydantic": Order(id="7", at=datetime(2026, 1, 2, tzinfo=UTC), price=Decimal("1.10")),
    "datetime": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "Decimal": Decimal("0.10"),
    "bytes": b"\x00\xff",
    "list": [1, (2,), {3}, None],
    "numpy": np.arange(6, dtype="float32").reshape(2, 3),
    "DataFrame": pd.DataFrame({"a": [1, 2], "b": pd.to_datetime(["2026-01-01", "2026-01-02"])}),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_typed_result_replay(kind: str) -> None:
    seen: list[Any] = []

    @rn.activity(name="make")
    def make(what: str) -> Any:
        LOG.append(what)
        return RESULTS[what]

    @rn.workflow(name="typed")
    def flow(what: str) -> None:
        seen.append(make(what))

    flow.run(kind)
    rn.disconnect()
    flow.run(kind)
    assert [kind] == LOG and len(seen) == 2
    for value in seen:
        assert type(value) is type(RESULTS[kind])
        if kind == "DataFrame":
            pd.testing.assert_frame_equal(value, RESULTS[kind])
        elif kind == "numpy":
            assert value.dtype == RESULTS[kind].dtype and np.array_equal(value, RESULTS[kind])
        else:
            assert value == RESULTS[kind]


def test_except_exception_around_a_wait() -> None:
    @rn.workflow(name="catches")
    async def flow(n: int) -> str:
        try:
            await hold_async("a")
        except Exception:
            LOG.append("swallowed")
        return "end"

    handle = flow.start(1)
    assert BEGUN.wait(20)
    rn.disconnect()
    assert "swallowed" not in LOG
    assert rn.instance(handle.id).status == "interrupted"


def test_gather_with_failing_sibling() -> None:
    @rn.workflow(name="gathers")
    def flow(n: int) -> None:
        rn.gather(take.bind("a"), hold.bind("b"), fails_once_begun.bind())

    handle = flow.start(1)
    until(lambda: rn.sql("select 1 from attempts where status = 'failed'").fetchall())
    GATE.set()  # b completes after its sibling has failed
    with pytest.raises(LookupError):
        handle.result(20)
    assert sorted(LOG) == ["give back a", "give back b", "take a", "take b"]


def test_taskgroup_with_failing_sibling() -> None:
    @rn.workflow(name="groups")
    async def flow(n: int) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(take.aio("a"))
            group.create_task(fails.aio())
            group.create_task(hold_async("b"))

    with pytest.raises(ExceptionGroup) as told:
        flow.run(1)
    assert told.value.subgroup(LookupError) is not None
    taken = {line.removeprefix("take ") for line in LOG if line.startswith("take ")}
    undone = [line.removeprefix("give back ") for line in LOG if line.startswith("give back ")]
    assert undone.count("a") == ("a" in taken) and undone.count("b") == 0, "b was cancelled and has done nothing"


def test_suspend_inside_taskgroup() -> None:
    @rn.workflow(name="suspended")
    async def flow(n: int) -> list[str]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(take.aio(item)) for item in "ab"] + [group.create_task(hold.aio("c"))]
        return [task.result() for task in tasks]

    handle = flow.start(1)
    assert BEGUN.wait(20)
    until(lambda: [row.event.kind for row in handle.rows()].count(ev.ACTIVITY_COMPLETED) == 2)
    rn.disconnect()
    GATE.set()
    assert flow.run(1) == ["a", "b", "c"]
    assert (LOG.count("take a"), LOG.count("take b")) == (1, 1)
    assert not [line for line in LOG if line.startswith("give back")]


def until(true: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_cancel_in_flight() -> None:
    @rn.workflow(name="in_flight")
    async def flow(n: int) -> None:
        await take.aio("a")
        await hold_async("b")

    handle = flow.start(1)
    assert BEGUN.wait(20)
    with pytest.raises(RunCancelled, match="enough"):
        handle.cancel("enough").result(20)
    assert LOG == ["take a", "take b", "give back a"], "b did not complete, so there is nothing of it to undo"


def test_cancel_at_wait() -> None:
    @rn.workflow(name="at_wait")
    def flow(n: int) -> None:
        take("a")
        BEGUN.set()
        rn.sleep(600)

    handle = flow.start(1)
    assert BEGUN.wait(20)
    with pytest.raises(RunCancelled):
        handle.cancel().result(20)
    assert LOG == ["take a", "give back a"] and handle.status == "cancelled"


def undone_by(undo: Any) -> Any:
    """A workflow that fails behind an activity which *undo* is to undo."""
    compensation = rn.compensation(name="undo", retry=ONCE)(undo)

    @rn.activity(name="do", compensation=compensation)
    def do() -> int:
        return 1

    @rn.workflow(name="undoes")
    def flow(n: int) -> None:
        do()
        fails()

    return flow


def test_cancel_during_compensation() -> None:
    def undo() -> None:
        BEGUN.set()
        GATE.wait(20)

    handle = undone_by(undo).start(1)
    assert BEGUN.wait(20)
    with pytest.raises(rn.errors.RunProblem, match="an undo cannot be cancelled"):
        handle.cancel()
    GATE.set()
    with pytest.raises(LookupError):
        handle.result(20)
    assert handle.status == "compensated"


def test_compensation_fails() -> None:
    def undo() -> None:
        raise ConnectionError("the hotel does not answer")

    flow = undone_by(undo)
    with pytest.raises(CompensationFailed, match="the hotel does not answer"):
        flow.run(1)
    handle = rn.instances(workflow="undoes")[0]
    assert handle.status == "compensation_failed"
    with pytest.raises(LookupError):
        handle.compensate(action="done", note="by telephone").result(20)
    assert handle.status == "compensated"


def test_compensation_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from romancy_nb.definitions import registry

    def undo() -> None:
        LOG.append("undone")

    @rn.activity(name="stopper", retry=ONCE)
    def stopper() -> None:
        found = registry.find
        monkeypatch.setattr(
            registry, "find", lambda kind, name, *module: None if name == "undo" else found(kind, name, *module)
        )
        raise LookupError("no car left")

    compensation = rn.compensation(name="undo", retry=ONCE)(undo)

    @rn.activity(name="do", compensation=compensation)
    def do() -> int:
        return 1

    @rn.workflow(name="misses")
    def flow(n: int) -> None:
        do()
        stopper()

    with pytest.raises(rn.errors.RunPaused, match="undo"):
        flow.run(1)
    handle = rn.instances(workflow="misses")[0]
    assert handle.status != "compensated" and LOG == []
    monkeypatch.undo()
    handle.resume()
    with pytest.raises(LookupError):
        handle.result(20)
    assert handle.status == "compensated" and LOG == ["undone"]


def test_compensation_slow() -> None:
    def undo() -> None:
        BEGUN.set()
        GATE.wait(20)
        LOG.append("undone")

    handle = undone_by(undo).start(1)
    assert BEGUN.wait(20) and handle.status == "compensating"

    @rn.workflow(name="another")
    def another(n: int) -> str:
        return take("b")

    assert another.run(1) == "b", "a slow undo holds up nobody else"
    GATE.set()
    with pytest.raises(LookupError):
        handle.result(20)
    assert LOG == ["take b", "undone"]


def test_unserialisable_result_runs_once() -> None:
    @rn.activity(name="opens")
    def opens() -> Any:
        LOG.append("opened")
        return threading.Lock()

    @rn.workflow(name="unserialisable")
    def flow(n: int) -> None:
        opens()

    with pytest.raises(NotJournalable, match="opens"):
        flow.run(1)
    assert LOG == ["opened"], "no attempt is repeated because of what it returned"


def redefined(body: Any) -> Any:
    return rn.workflow(name="edited")(body)


def parted(first: Any, then: Any) -> str:
    """Run *first* until it holds, then resume the run strictly with the code *then*; return what is said."""
    handle = redefined(first).start(1)
    assert BEGUN.wait(20)
    rn.disconnect()
    GATE.set()
    redefined(then)
    with pytest.raises(RunStuck) as told:
        rn.instance(handle.id).resume(strict=True).result(20)
    assert LOG == ["take a", "take b"], "nothing was executed"
    return str(told.value)


def first_two(n: int) -> None:
    take("a")
    hold("b")


def test_changed_code_detected() -> None:
    def then(n: int) -> None:
        fails()
        hold("b")

    said = parted(first_two, then)
    assert "fails" in said and "take" in said


def test_changed_args_detected() -> None:
    def then(n: int) -> None:
        take("another")
        hold("b")

    assert "another" in parted(first_two, then)


def test_reordered_steps_detected() -> None:
    def then(n: int) -> None:
        hold("b")
        take("a")

    said = parted(first_two, then)
    assert "hold" in said and "take" in said


def test_duplicate_explicit_id_rejected() -> None:
    @rn.workflow(name="ids")
    def flow(n: int) -> int:
        return n

    assert flow.run(1, instance_id="order-7") == 1
    with pytest.raises(InputsDiffer, match="order-7"):
        flow.run(2, instance_id="order-7")
    assert flow.run(1, instance_id="order-7") == 1


def test_poison_instance_does_not_starve_others() -> None:
    @rn.workflow(name="poison")
    def poison(n: int) -> None:
        take(f"poison{n}")
        BEGUN.set()
        while not GATE.is_set():
            pass

    @rn.workflow(name="good")
    def good(n: int) -> str:
        return take(f"good{n}")

    poisons = [poison.start(n) for n in range(3)]
    assert BEGUN.wait(20)
    assert [good.start(n).result(30) for n in range(5)] == [f"good{n}" for n in range(5)]
    GATE.set()
    for handle in poisons:
        handle.result(30)
