"""Cancelling what nobody runs: the code is told, and nothing of the run goes forward before that (U3)."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.definitions import registry
from romancy_nb.errors import RunCancelled, RunPaused, RunProblem

ONCE = rn.RetryPolicy(max_attempts=1)
LOG: list[str] = []
BEGUN = threading.Event()
GATE = threading.Event()


@pytest.fixture(autouse=True)
def clean(journal: Path) -> None:
    LOG.clear()
    BEGUN.clear()
    GATE.clear()


@rn.compensation(retry=ONCE)
def give_back(item: str) -> None:
    LOG.append(f"give back {item}")


@rn.activity(compensation=give_back, retry=ONCE)
def take(item: str) -> str:
    LOG.append(f"take {item}")
    return item


@rn.activity(retry=rn.RetryPolicy(max_attempts=9, initial=3600, maximum=3600, jitter=0, max_duration=None))
def charge() -> None:
    LOG.append("charge")
    BEGUN.set()
    raise ConnectionError("try again in an hour")


@rn.activity(retry=rn.RetryPolicy(max_attempts=9, initial=0.4, jitter=0))
def charge_soon() -> None:
    LOG.append("charge")
    BEGUN.set()
    raise ConnectionError("try again soon")


def taken_up(handle: Any, journal: Path) -> Any:
    """The run's process ends, and another one looks at it."""
    rn.disconnect()
    rn.connect(str(journal))
    again = rn.instance(handle.id)
    assert again.status == "interrupted"
    return again


def failed_once(handle: Any) -> None:
    assert BEGUN.wait(10)
    while not any(row.event.kind == "attempt_failed" for row in handle.rows()):
        threading.Event().wait(0.01)


def is_cancelled(handle: Any, match: str = "Undone: take") -> None:
    with pytest.raises(RunCancelled, match=match):
        handle.result(20)
    assert handle.status == "cancelled"
    check_history([(row.seq, row.event) for row in handle.rows()])


def test_a_call_in_its_back_off_is_neither_awaited_nor_tried_again(journal: Path) -> None:
    @rn.workflow
    def trip(n: int) -> None:
        take("a")
        charge()

    handle = trip.start(1)
    failed_once(handle)
    again = taken_up(handle, journal)
    again.cancel("enough")
    is_cancelled(again)
    assert LOG == ["take a", "charge", "give back a"]


def test_a_back_off_that_is_over_meanwhile_tries_nothing_again(journal: Path) -> None:
    @rn.workflow
    def trip(n: int) -> None:
        take("a")
        charge_soon()

    handle = trip.start(1)
    failed_once(handle)
    rn.disconnect()
    threading.Event().wait(0.5)
    again = taken_up(handle, journal)
    again.cancel("enough")
    is_cancelled(again)
    assert LOG == ["take a", "charge", "give back a"]


def test_code_that_no_longer_fits_its_history_is_undone_and_begins_no_new_run(journal: Path) -> None:
    @rn.workflow
    def trip(n: int) -> None:
        take(os.environ["ROMANCY_TEST_ITEM"])
        BEGUN.set()
        rn.sleep(60)
        take("more")

    os.environ["ROMANCY_TEST_ITEM"] = "a"
    handle = trip.start(1)
    assert BEGUN.wait(10)
    os.environ["ROMANCY_TEST_ITEM"] = "b"
    again = taken_up(handle, journal)
    again.cancel("enough")
    is_cancelled(again)
    assert LOG == ["take a", "give back a"]


@rn.compensation(retry=ONCE)
def slow_give_back(item: str) -> None:
    LOG.append(f"give back {item}")
    BEGUN.set()
    GATE.wait(10)


@rn.activity(compensation=slow_give_back)
def take_slow(item: str) -> str:
    return item


@rn.activity(retry=ONCE)
def fails() -> None:
    raise LookupError("no")


@rn.workflow
def resting(n: int) -> None:
    take_slow("a")
    rn.sleep(60)


@rn.workflow
def failing(n: int) -> None:
    take_slow("a")
    fails()


def test_an_undo_of_a_cancellation_that_was_interrupted_goes_on_when_it_is_cancelled_again(journal: Path) -> None:
    handle = resting.start(1)
    while not handle.steps():
        threading.Event().wait(0.01)
    handle.cancel("first")
    assert BEGUN.wait(10)
    again = taken_up(handle, journal)
    GATE.set()
    again.cancel("second")
    is_cancelled(again, "first")


def test_an_interrupted_undo_of_a_failure_cannot_be_cancelled_and_says_how_it_goes_on(journal: Path) -> None:
    handle = failing.start(1)
    assert BEGUN.wait(10)
    again = taken_up(handle, journal)
    GATE.set()
    with pytest.raises(RunProblem, match=r"cannot be cancelled\. Nobody goes on with it just now: .*resume\(\)"):
        again.cancel()


def test_who_waits_for_an_undo_that_lacks_a_compensation_is_told_which(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = failing.start(1)
    assert BEGUN.wait(10)
    again = taken_up(handle, journal)
    GATE.set()
    monkeypatch.delitem(registry._defined, ("compensation", "slow_give_back"))
    again.compensate()
    for _ in range(2):
        with pytest.raises(RunPaused, match="compensation slow_give_back .* is not defined here"):
            again.result(10)
