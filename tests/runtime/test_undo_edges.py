"""Undo where it is easily got wrong: blocks left in odd ways, outcomes on their way, functions that a name does not bring back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.errors import AttemptTimeout, CompensationFailed, DefinitionError, RunCancelled, RunProblem
from romancy_nb.runtime import cancelling

ONCE = rn.RetryPolicy(max_attempts=1)
LOG: list[str] = []
KEYS: list[str] = []


@pytest.fixture(autouse=True)
def clean(journal: Path) -> None:
    LOG.clear()
    KEYS.clear()


@rn.compensation(retry=ONCE)
def give_back(item: str) -> None:
    LOG.append(f"give back {item}")


@rn.activity(compensation=give_back, retry=ONCE)
def take(item: str) -> str:
    LOG.append(f"take {item}")
    return item


@rn.activity(compensation=give_back, retry=ONCE)
async def take_later(item: str, seconds: float = 0.0) -> str:
    await asyncio.sleep(seconds)
    LOG.append(f"take {item}")
    return item


@rn.activity(pivot=True)
def pay() -> None:
    LOG.append("pay")


@rn.activity(retry=ONCE)
def fails() -> None:
    raise LookupError("no")


def newest() -> Any:
    found = rn.instances()[0]
    check_history([(row.seq, row.event) for row in found.rows()])
    return found


def test_an_outcome_that_is_on_its_way_while_the_rest_settles_is_undone() -> None:
    @rn.workflow
    async def trip(n: int) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(take_later("slow", 30.0))
            group.create_task(take_later("quick"))
            group.create_task(fails.aio())

    for number in range(100):
        LOG.clear()
        with pytest.raises(ExceptionGroup):
            trip.run(number)
        assert LOG in ([], ["take quick", "give back quick"])
    newest()


def test_what_completed_while_cancelled_code_did_not_listen_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "GRACE", 0.5)
    over = threading.Event()
    waiting = threading.Event()

    @rn.workflow
    async def deaf(n: int) -> None:
        task = asyncio.create_task(take_later("seat", 0.2))
        await asyncio.sleep(0)
        waiting.set()
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            over.wait(20)
        await task

    handle = deaf.start(1)
    assert waiting.wait(10)
    time.sleep(0.1)  # the code waits in its sleep
    handle.cancel("enough")
    with pytest.raises(RunCancelled, match="Undone: .*take_later"):
        handle.result(20)
    over.set()
    assert LOG == ["take seat", "give back seat"]
    newest()


def test_a_block_undoes_nothing_that_completed_before_a_point_of_no_return() -> None:
    @rn.workflow
    def trip(n: int) -> str:
        try:
            with rn.saga():
                take("a")
                pay()
                take("b")
                fails()
        except LookupError:
            pass
        return "home"

    assert trip(1) == "home"
    assert LOG == ["take a", "pay", "take b", "give back b"]
    newest()


def test_a_block_undoes_what_ran_out_of_time_and_says_so() -> None:
    @rn.activity(compensation=give_back, compensate_if="started", retry=ONCE, timeout=0.2)
    async def slow(item: str) -> None:
        LOG.append(f"take {item}")
        await asyncio.sleep(30)

    @rn.workflow
    async def trip(n: int) -> str:
        try:
            async with rn.saga():
                await take_later("a")
                await slow("b")
        except AttemptTimeout:
            pass
        return "home"

    assert trip.run(1) == "home"
    assert LOG == ["take a", "take b", "give back b", "give back a"]
    newest()


def test_an_undo_that_failed_in_a_block_keeps_its_key_when_the_run_tries_it_again() -> None:
    @rn.compensation(retry=ONCE)
    def refund(item: str) -> None:
        KEYS.append(rn.context().idempotency_key)
        if len(KEYS) == 1:
            raise ConnectionError("the refund was made, and its answer lost")

    @rn.activity(compensation=refund)
    def charge(item: str) -> None:
        pass

    @rn.workflow
    def trip(n: int) -> None:
        with rn.saga():
            charge("a")
            fails()

    with pytest.raises(CompensationFailed):
        trip(1)
    assert newest().status == "compensated"
    assert len(KEYS) == 2 and KEYS[0] == KEYS[1]


def test_an_undo_that_returns_what_cannot_be_journaled_has_undone() -> None:
    @rn.compensation(retry=ONCE)
    def release(item: str) -> Any:
        LOG.append("released")
        return threading.Lock()

    @rn.activity(compensation=release)
    def hold(item: str) -> None:
        pass

    @rn.workflow
    def trip(n: int) -> None:
        hold("a")
        fails()

    with pytest.raises(LookupError):
        trip(1)
    assert newest().status == "compensated"
    assert LOG == ["released"]


def test_a_block_that_is_used_again_begins_anew() -> None:
    @rn.workflow
    def trip(n: int) -> str:
        block = rn.saga()
        with block:
            take("a")
        try:
            with block:
                take("b")
                fails()
        except LookupError:
            pass
        return "home"

    assert trip(1) == "home"
    assert LOG == ["take a", "take b", "give back b"]


def test_blocks_of_generators_are_left_in_any_order_and_any_task() -> None:
    def steps() -> Iterator[None]:
        with rn.saga():
            take("a")
            yield

    @rn.workflow
    def trip(n: int) -> str:
        open_steps: Any = steps()
        next(open_steps)
        try:
            with rn.saga():
                take("b")
                open_steps.close()
                take("c")
                fails()
        except LookupError:
            pass
        return "home"

    assert trip(1) == "home"
    assert LOG == ["take a", "take b", "take c", "give back c", "give back b"]

    async def later() -> AsyncIterator[None]:
        async with rn.saga():
            await take_later("d")
            yield

    @rn.workflow
    async def elsewhere(n: int) -> str:
        open_steps: Any = later()
        await anext(open_steps)
        await asyncio.create_task(open_steps.aclose())
        return "home"

    assert elsewhere.run(1) == "home"


def test_an_undo_that_its_name_does_not_bring_back_is_refused() -> None:
    def make(item: str) -> Any:
        def undo() -> None:
            LOG.append(item)

        return undo

    @rn.workflow
    def captured(n: int) -> None:
        rn.compensate_with(make("a"))

    @rn.workflow
    def inside(n: int) -> None:
        def undo(item: str) -> None:
            LOG.append(item)

        rn.compensate_with(undo, "a")

    @rn.workflow
    def method(n: int) -> None:
        rn.compensate_with([1].clear)

    with pytest.raises(DefinitionError, match="uses `item` of the code around it"):
        captured(1)
    with pytest.raises(DefinitionError, match="made inside the workflow"):
        inside(1)
    with pytest.raises(DefinitionError, match="belongs to an object"):
        method(1)


def test_an_ended_instance_with_nothing_to_undo_says_so_and_stays_as_it_is() -> None:
    @rn.workflow
    def plain(n: int) -> int:
        return n

    assert plain(1) == 1
    with pytest.raises(RunProblem, match="completed, and there is nothing to undo"):
        newest().compensate()
    assert newest().status == "completed"


def test_two_modules_whose_compensations_have_the_same_name_undo_each_their_own() -> None:
    def module(name: str) -> Any:
        code = (
            "import romancy_nb as rn\n"
            "def cancel(item: str) -> None: LOG.append(f'{__name__} cancels {item}')\n"
            f"@rn.activity(compensation=cancel)\ndef book_{name}(item: str) -> None: ...\n"
            "def arm(item: str) -> None: rn.compensate_with(cancel, item)\n"
        )
        scope: dict[str, Any] = {"__name__": name, "LOG": LOG}
        exec(code, scope)
        return scope

    flights, hotels = module("flights"), module("hotels")

    @rn.workflow
    def trip(n: int) -> None:
        flights["book_flights"]("seat")
        hotels["book_hotels"]("room")
        flights["arm"]("meal")
        hotels["arm"]("towel")
        fails()

    with pytest.raises(LookupError):
        trip(1)
    assert LOG == ["hotels cancels towel", "flights cancels meal", "hotels cancels room", "flights cancels seat"]


def test_a_secret_that_an_armed_undo_takes_reaches_it() -> None:
    @rn.compensation(retry=ONCE)
    def log_out(api_key: str) -> None:
        LOG.append(f"out {len(api_key)}")

    @rn.workflow
    def visit(n: int) -> None:
        rn.compensate_with(log_out, api_key="12345678")
        fails()

    with pytest.raises(LookupError):
        visit(1)
    assert LOG == ["out 8"]


def test_what_completes_during_the_undo_is_undone_with_the_rest_and_what_completes_after_it_on_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cancelling, "SETTLE", 0.2)
    undoing, late, go, told = (threading.Event() for _ in range(4))

    @rn.compensation(retry=ONCE)
    def put_back(item: str) -> None:
        LOG.append(f"put back {item}")
        undoing.set()
        if item == "b":
            go.wait(10)

    @rn.activity(compensation=put_back, retry=ONCE)
    def get(item: str) -> None:
        if item == "slow":
            late.wait(10)
            LOG.append("got slow")

    @rn.workflow
    async def trip(n: int) -> None:
        await get.aio("a")
        await get.aio("b")
        await asyncio.gather(get.aio("slow"), fails.aio())

    handle = trip.start(1)
    assert undoing.wait(10)
    late.set()
    while not any(row.event.kind == "late_outcome" for row in handle.rows()):
        told.wait(0.01)
    go.set()
    with pytest.raises(LookupError):
        handle.result(10)
    assert LOG == ["put back b", "got slow", "put back slow", "put back a"]
    newest()

    LOG.clear()
    late.clear()
    handle = trip.start(2)
    with pytest.raises(LookupError):
        handle.result(10)
    with pytest.raises(RunProblem, match="it has been undone"):
        handle.compensate()
    late.set()
    while not any("so this effect stands" in record.message for record in caplog.records):
        told.wait(0.01)
    handle.compensate()
    with pytest.raises(LookupError):
        handle.result(10)
    assert LOG == ["put back b", "put back a", "got slow", "put back slow"]
    check_history([(row.seq, row.event) for row in handle.rows()])


@pytest.mark.parametrize("block", [True, False])
def test_a_paused_run_that_did_more_after_its_failure_goes_on_with_the_same_call(block: bool) -> None:
    fail = threading.Event()

    @rn.activity(retry=ONCE)
    def perhaps() -> None:
        LOG.append("perhaps")
        if not fail.is_set():
            raise LookupError("no")

    @rn.workflow(on_failure="pause")
    def trip(n: int) -> str:
        if block:
            with rn.saga():
                take("a")
                perhaps()
        else:
            try:
                take("a")
                perhaps()
            finally:
                take("towel")
        return "home"

    with pytest.raises(LookupError):
        trip(1)
    assert newest().status == "paused"
    fail.set()
    assert trip(1) == "home"
    again = ["give back a", "take a", "perhaps"] if block else ["take towel", "perhaps"]
    assert ["take a", "perhaps", *again] == LOG
    newest()


def test_an_undo_that_gave_up_is_found_by_the_last_part_of_its_name() -> None:
    @rn.compensation(retry=ONCE)
    def refuse(item: str) -> None:
        raise ConnectionError("no answer")

    @rn.activity(compensation=refuse)
    def get(item: str) -> None: ...

    @rn.workflow
    def trip(n: int) -> None:
        get("a")
        fails()

    with pytest.raises(CompensationFailed):
        trip(1)
    handle = newest()
    handle.compensate("refuse", "skip")
    with pytest.raises(LookupError):
        handle.result(10)
    assert newest().status == "compensated"
