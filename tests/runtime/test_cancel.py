"""Cancelling: a journaled request, which the code gets where it waits; then the undo (U3)."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.errors import RunCancelled, RunProblem, RunTimedOut

ONCE = rn.RetryPolicy(max_attempts=1)
LOG: list[str] = []
GATE = threading.Event()
BEGUN = threading.Event()


@pytest.fixture(autouse=True)
def clean(journal: Path) -> None:
    LOG.clear()
    GATE.clear()
    BEGUN.clear()


@rn.compensation
def give_back(item: str) -> None:
    LOG.append(f"give back {item}")


@rn.activity(compensation=give_back)
def take(item: str) -> str:
    LOG.append(f"take {item}")
    return item


@rn.activity(compensation=give_back, retry=ONCE)
def blocks(item: str) -> str:
    BEGUN.set()
    GATE.wait(20)
    LOG.append(f"blocks {item}")
    return item


@rn.activity(retry=ONCE)
async def waits(item: str) -> str:
    BEGUN.set()
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        LOG.append("wait cancelled")
        raise
    return item


@rn.workflow
def sleeper(n: int) -> str:
    take("a")
    BEGUN.set()
    try:
        rn.sleep(60)
    finally:
        take("towel")
    return "rested"


@rn.workflow
async def awaiter(n: int) -> str:
    await take.aio("a")
    return await waits("b")


@rn.workflow
def blocked(n: int) -> str:
    take("a")
    return blocks("b")


@rn.workflow
def deaf(n: int) -> str:
    take("a")
    BEGUN.set()
    try:
        rn.sleep(60)
    except asyncio.CancelledError:
        pass
    take("b")
    return "did not hear"


@rn.workflow
def kind(n: int) -> str:
    take("a")
    BEGUN.set()
    try:
        rn.sleep(60)
    except asyncio.CancelledError:
        take("note")
        return "cleaned up"
    return ""


def cancelled(handle: Any, reason: str = "enough") -> RunCancelled:
    assert BEGUN.wait(10)
    handle.cancel(reason)
    with pytest.raises(RunCancelled) as caught:
        handle.result(20)
    assert handle.status == "cancelled"
    check_history([(row.seq, row.event) for row in handle.rows()])
    return caught.value


def test_cancelled_code_may_clean_up_and_what_that_did_is_undone_with_the_rest() -> None:
    error = cancelled(sleeper.start(1), "the customer called")
    assert LOG == ["take a", "take towel", "give back towel", "give back a"]
    assert "the customer called" in str(error) and "Undone: take, take." in str(error)


def test_an_async_activity_in_flight_is_cancelled() -> None:
    cancelled(awaiter.start(1))
    assert LOG == ["take a", "wait cancelled", "give back a"]


def test_a_def_activity_in_flight_is_awaited_and_undone() -> None:
    handle = blocked.start(1)
    assert BEGUN.wait(10)
    handle.cancel("enough")
    assert handle.status == "running"
    GATE.set()
    with pytest.raises(RunCancelled):
        handle.result(20)
    assert LOG == ["take a", "blocks b", "give back b", "give back a"]


def test_code_that_swallows_its_cancellation_gets_it_again_at_its_next_call() -> None:
    cancelled(deaf.start(1))
    assert LOG == ["take a", "give back a"]


def test_whatever_the_code_returns_after_its_cancellation_it_is_cancelled() -> None:
    cancelled(kind.start(1))
    assert LOG == ["take a", "take note", "give back note", "give back a"]


def test_cancelling_again_does_nothing_more_and_a_finished_instance_says_so() -> None:
    handle = sleeper.start(1)
    cancelled(handle)
    handle.cancel("again")
    assert sum(row.event.kind == "cancel_requested" for row in handle.rows()) == 1

    @rn.workflow
    def quick(n: int) -> str:
        return take("q")

    done = quick.start(1)
    done.result(10)
    with pytest.raises(RunProblem, match=r"has ended: it is completed.*compensate\(\)"):
        done.cancel()


def test_the_same_call_after_a_cancellation_says_who_cancelled_it_and_why() -> None:
    cancelled(sleeper.start(1), "too dear")
    with pytest.raises(RunCancelled, match="too dear"):
        sleeper(1)


def test_a_timeout_of_a_workflow_cancels_and_undoes_it() -> None:
    @rn.workflow(timeout=0.3)
    async def limited(n: int) -> None:
        await take.aio("a")
        await asyncio.sleep(60)

    with pytest.raises(RunTimedOut, match=r"longer than its timeout of 0.3 s. Undone: take"):
        limited.start(1).result(10)
    with pytest.raises(TimeoutError):
        limited.run(1)
    assert LOG == ["take a", "give back a"]


def test_a_paused_instance_is_cancelled_by_its_code_where_that_is_as_it_was() -> None:
    @rn.workflow(on_failure="pause")
    def pausing(n: int) -> None:
        take("a")
        raise ValueError("look at this")

    with pytest.raises(ValueError, match="look at this"):
        pausing.start(1).result(10)
    handle = rn.instances()[0]
    assert handle.status == "paused"
    handle.cancel("give up")
    with pytest.raises(RunCancelled, match="give up"):
        handle.result(10)
    assert LOG == ["take a", "give back a"]


def test_an_instance_whose_code_was_edited_is_undone_without_it() -> None:
    @rn.workflow(name="edited", on_failure="pause")
    def before(n: int) -> None:
        take("a")
        raise ValueError("look at this")

    with pytest.raises(ValueError, match="look at this"):
        before.start(1).result(10)

    @rn.workflow(name="edited", on_failure="pause")
    def after(n: int) -> None:
        take("something else")

    handle = rn.instances()[0]
    handle.cancel()
    with pytest.raises(RunCancelled):
        handle.result(10)
    assert LOG == ["take a", "give back a"]


def test_an_undo_cannot_be_cancelled() -> None:
    @rn.compensation
    def slow_undo(item: str) -> None:
        BEGUN.set()
        GATE.wait(20)
        LOG.append(f"undone {item}")

    @rn.activity(compensation=slow_undo)
    def slow_take(item: str) -> str:
        return item

    @rn.activity(retry=ONCE)
    def fails() -> None:
        raise LookupError("no")

    @rn.workflow
    def trip(n: int) -> None:
        slow_take("x")
        fails()

    handle = trip.start(1)
    assert BEGUN.wait(10)
    assert handle.status == "compensating"
    with pytest.raises(RunProblem, match="an undo cannot be cancelled"):
        handle.cancel()
    GATE.set()
    with pytest.raises(LookupError):
        handle.result(10)
    assert handle.status == "compensated"


def test_a_request_that_was_journaled_before_the_end_of_a_process_is_delivered_by_the_next(journal: Path) -> None:
    """The owner dies between the request and its delivery: simulated by a row that nobody acted on."""
    handle = sleeper.start(1)
    assert BEGUN.wait(10)
    rn.disconnect()  # puts the run down
    rn.connect(str(journal))
    again = rn.instance(handle.id)
    assert again.status == "interrupted"
    again.cancel("after a restart")
    with pytest.raises(RunCancelled, match="after a restart"):
        again.result(10)
    assert LOG == ["take a", "take towel", "give back towel", "give back a"]
