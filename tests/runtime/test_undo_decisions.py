"""What a person decides about an undo, and what they are told of one that gave up (U1)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.errors import CompensationFailed, RunProblem, WrongArguments

ONCE = rn.RetryPolicy(max_attempts=1)
LOG: list[str] = []
FAIL: set[str] = set()


@pytest.fixture(autouse=True)
def clean(journal: Path) -> None:
    LOG.clear()
    FAIL.clear()


@rn.activity(retry=ONCE)
def no_car_left() -> None:
    raise LookupError("no car")


def only() -> Any:
    (found,) = rn.instances()
    return found


def lawful(instance: Any) -> None:
    check_history([(row.seq, row.event) for row in instance.rows()])


def test_an_instance_that_failed_and_has_nothing_to_undo_is_left_as_it_is() -> None:
    @rn.workflow
    def trip(n: int) -> None:
        no_car_left()

    with pytest.raises(LookupError):
        trip(1)
    found = only()
    assert found.status == "failed"
    with pytest.raises(RunProblem, match="there is nothing to undo"):
        found.compensate(note="to be sure")
    assert found.status == "failed"
    lawful(found)


def test_what_a_compensation_returns_need_not_be_kept() -> None:
    @rn.compensation(retry=ONCE)
    def cancel(item: str) -> Any:
        LOG.append(f"cancel {item}")
        return threading.Lock()

    @rn.activity(compensation=cancel, retry=ONCE)
    def book(item: str) -> None:
        LOG.append(f"book {item}")

    @rn.workflow
    def trip(n: int) -> None:
        book("flight")
        try:
            with rn.saga():
                book("hotel")
                raise ValueError("change of plans")
        except ValueError:
            no_car_left()

    with pytest.raises(LookupError, match="no car"):
        trip(1)
    assert LOG == ["book flight", "book hotel", "cancel hotel", "cancel flight"]
    assert only().status == "compensated"
    lawful(only())


@pytest.mark.parametrize("step", ["book", "cancel"])
def test_an_undo_that_gave_up_is_found_by_the_last_part_of_either_name(step: str) -> None:
    @rn.compensation(name="shop.cancel", retry=ONCE)
    def cancel(item: str) -> None:
        LOG.append(f"cancel {item}")
        if item in FAIL:
            raise ConnectionError("the hotel does not answer.")

    @rn.activity(name="shop.book", compensation=cancel, retry=ONCE)
    def book(item: str) -> None:
        LOG.append(f"book {item}")

    @rn.workflow
    def trip(n: int) -> None:
        book("flight")
        book("hotel")
        no_car_left()

    FAIL.add("hotel")
    with pytest.raises(CompensationFailed, match=r"the hotel does not answer\. 1 further undo waits"):
        trip(1)
    only().compensate(step, "done", note="by telephone")
    with pytest.raises(LookupError):
        only().result(10)
    assert LOG == ["book flight", "book hotel", "cancel hotel", "cancel flight"]
    lawful(only())


def test_an_undo_that_was_broken_off_says_by_what() -> None:
    @rn.compensation(retry=ONCE)
    def cancel(item: str) -> None:
        raise SystemExit("out of here")

    @rn.activity(compensation=cancel, retry=ONCE)
    def book(item: str) -> None:
        LOG.append(f"book {item}")

    @rn.workflow
    def trip(n: int) -> None:
        book("flight")
        no_car_left()

    with pytest.raises(CompensationFailed, match="failed for good: SystemExit: out of here"):
        trip(1)


def _module(name: str) -> Any:
    """Two modules with the same names in each, as two people write them."""
    space: dict[str, Any] = {"__name__": name, "rn": rn, "LOG": LOG, "ONCE": ONCE}
    code = """
@rn.compensation(retry=ONCE)
def call_off(item: str) -> None:
    LOG.append(f"{__name__} calls off {item}")

@rn.activity(compensation=call_off, retry=ONCE)
def order_item(item: str) -> None:
    LOG.append(f"{__name__} orders {item}")
"""
    exec(code, space)
    return space


def test_each_activity_is_undone_by_the_compensation_of_its_own_module() -> None:
    hotels, cars = _module("hotels"), _module("cars")

    @rn.workflow
    def trip(n: int) -> None:
        hotels["order_item"]("room")
        cars["order_item"]("small car")
        rn.compensate_with(hotels["call_off"], "breakfast")
        try:
            with rn.saga():
                hotels["order_item"]("sauna")
                rn.compensate_with(hotels["call_off"], "towel")
                raise ValueError("too hot")
        except ValueError:
            no_car_left()

    with pytest.raises(LookupError):
        trip(1)
    assert [line for line in LOG if "calls off" in line] == [
        "hotels calls off towel", "hotels calls off sauna", "hotels calls off breakfast", "cars calls off small car",
        "hotels calls off room",
    ]  # fmt: skip


def test_a_compensation_gets_what_its_activity_took_in_any_number() -> None:
    @rn.compensation(retry=ONCE)
    def take_back(args: Any, more: Any) -> None:
        LOG.append(f"{list(args)} {more}")

    @rn.activity(compensation=take_back, retry=ONCE)
    def hand_out(first: int, *args: int, **more: int) -> None: ...

    @rn.workflow
    def trip(n: int) -> None:
        hand_out(1, 2, 3, x=4)
        hand_out(1)
        no_car_left()

    with pytest.raises(LookupError):
        trip(1)
    assert LOG == ["[] {}", "[2, 3] {'x': 4}"]


@pytest.mark.parametrize(("step", "action"), [(None, "skip"), ("hire", "done"), ("nonsense", "retry")])
def test_a_decision_about_an_undo_that_was_only_interrupted_is_refused_and_not_lost(
    step: str | None, action: str
) -> None:
    begun = threading.Event()

    @rn.compensation(retry=rn.RetryPolicy(max_attempts=5, initial=60, jitter=0))
    def unhire(item: str) -> None:
        LOG.append(f"unhire {item}")
        if item in FAIL:
            begun.set()
            raise ConnectionError("no answer")

    @rn.activity(name="hire", compensation=unhire, retry=ONCE)
    def hire(item: str) -> None: ...

    @rn.workflow
    def trip(n: int) -> None:
        hire("car")
        no_car_left()

    FAIL.add("car")
    trip.start(1)
    assert begun.wait(10)
    rn.disconnect()
    found = only()
    assert found.status == "interrupted"
    with pytest.raises(RunProblem, match=r"that gave up, so there is nothing to decide.*compensate\(\) alone goes on"):
        found.compensate(step, action)
    assert found.status == "interrupted", "nothing was decided, and nothing goes on unasked"


def test_a_default_that_could_not_be_undone_is_refused_before_anything_is_done() -> None:
    table = pd.DataFrame({"seat": range(3)})

    @rn.compensation(retry=ONCE)
    def free(seats: Any) -> None:
        LOG.append(f"free {len(seats)}")

    @rn.activity(compensation=free, retry=ONCE)
    def block_seats(n: int, seats: Any = table) -> None:
        LOG.append(f"block {len(seats)}")

    @rn.workflow
    def trip(n: int) -> None:
        block_seats(1, table.head(2))
        block_seats(2)

    with pytest.raises(WrongArguments, match="takes `seats`, and a default that is a table"):
        trip.start(1).result(20)
    assert LOG == ["block 2", "free 2"]
