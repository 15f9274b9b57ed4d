"""``rn.check`` and ``Instance.check``: recorded runs are played to the code as it is now, and nothing comes of it (X6)."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb import errors
from romancy_nb.runtime.checking import Check

DONE: list[str] = []
PROMPT = "sum up"


@pytest.fixture(autouse=True)
def fresh(journal: Path) -> None:
    DONE.clear()


@rn.activity
def reserve(item: str) -> str:
    DONE.append(f"reserve {item}")
    return item


@rn.activity
def charge(amount: int) -> int:
    DONE.append(f"charge {amount}")
    return amount


@rn.activity
def other(amount: int) -> int:
    DONE.append(f"other {amount}")
    return amount


def looked() -> int:
    DONE.append("looked")
    return 7


def defined(body: Any) -> Any:
    """(Re)define workflow ``order`` as *body*."""
    return rn.workflow(name="order")(body)


def paused_order() -> Any:
    """An order that stopped behind its first step with an error of its own (nobody is there: told by on_failure)."""

    def body(item: str) -> int:
        reserve(item)
        charge(1)
        raise Slip

    flow = rn.workflow(name="order", on_failure="pause")(body)
    from romancy_nb.runtime import cellcall

    with pytest.MonkeyPatch.context() as patch:
        start = cellcall.start_of

        def attended(*args: Any, **options: Any) -> Any:
            made = start(*args, **options)
            made.attached = True
            return made

        patch.setattr(cellcall, "start_of", attended)
        with pytest.raises(Slip):
            flow.run("lamp", instance_id="order-1")
    assert rn.instance("order-1").status == "paused"
    DONE.clear()
    return flow


class Slip(Exception):
    pass


def rows() -> list[Any]:
    return [(row.seq, row.event) for row in rn.instance("order-1").rows()]


def test_an_unfinished_run_that_fits_is_reported_and_nothing_is_executed_or_written() -> None:
    paused_order()
    before = rows()

    def body(item: str) -> int:
        reserve(item)
        charge(1)
        DONE.append("the workflow's own code")
        rn.side_effect(looked)
        return other(3)

    defined(body)
    found = rn.check()
    assert found and len(found) == 1
    (row,) = found
    assert (row.instance, row.workflow, row.run, row.status, row.fits) == ("order-1", "order", 1, "paused", True)
    assert row.edited.startswith("order() changed")
    assert DONE == ["the workflow's own code"], "only workflow code runs: no activity and no side effect"
    assert rows() == before, "the journal is as it was"
    assert "Nothing was executed or written" in repr(found) and "fits" in repr(found)


def test_where_they_part_both_sides_and_what_was_edited_are_named() -> None:
    paused_order()

    def body(item: str) -> int:
        reserve(item)
        return other(3)

    defined(body)
    found = rn.check("order")
    assert not found
    (row,) = found
    assert row.fits is False and not row
    assert row.history == 'activity charge with {"amount":1} (call 0:1)'
    assert row.code == 'activity other with {"amount":3} (call 0:1)'
    assert "order() changed" in row.edited
    text = repr(found)
    assert "history holds activity charge" in text and "the code asks for activity other" in text
    assert "put the code back" in text and "edited since it began: order() changed" in text
    assert "fork" not in text
    html = found._repr_html_()
    assert "does not fit" in html and "activity other" in html
    frame = found.df()
    assert list(frame["fits"]) == [False] and list(frame["instance"]) == ["order-1"]
    assert DONE == []


def test_a_call_that_is_not_made_any_more_parts_and_the_error_that_prevents_it_is_named() -> None:
    paused_order()

    def body(item: str) -> int:
        reserve(item)
        return nowhere  # type: ignore[name-defined]  # noqa: F821

    defined(body)
    (row,) = rn.check()
    assert row.fits is False and row.code is None
    assert "charge" in row.history and "NameError" in row.says and "ends before that call" in row.says


def test_the_instance_itself_can_be_asked_and_another_workflow_be_tried() -> None:
    flow = paused_order()
    mine = rn.instance("order-1").check()
    assert mine and "fits" in repr(mine) and mine.edited == ""
    assert "raises Slip" in mine.says

    @rn.workflow(name="order_v2")
    def order_v2(item: str) -> int:
        return other(1)

    tried = rn.instance("order-1").check(order_v2)
    assert not tried and tried.history == 'activity reserve with {"item":"lamp"} (call 0:0)'
    assert not rn.check(flow, code=order_v2)
    assert rn.check(flow)


def test_code_that_swallows_everything_is_stopped_at_the_end_of_history_all_the_same() -> None:
    paused_order()

    def body(item: str) -> int:
        reserve(item)
        charge(1)
        for _ in range(3):
            try:
                other(5)
                rn.side_effect(looked)
                rn.sleep(1)
            except BaseException:
                pass
        return 1

    defined(body)
    assert rn.check()
    assert DONE == []


def test_async_code_with_branches_is_played_as_well() -> None:
    gate, begun = threading.Event(), threading.Semaphore(0)

    @rn.activity
    def waits(number: int) -> int:
        begun.release()
        gate.wait(20)
        return number

    async def body(item: str) -> list[Any]:
        first = await reserve.aio(item)
        async with asyncio.timeout(1000):
            return [first, *await asyncio.gather(waits.aio(1), waits.aio(2))]

    flow = defined(body)
    handle = flow.start("lamp", instance_id="order-1")
    assert begun.acquire(timeout=20) and begun.acquire(timeout=20)
    assert rn.check()

    async def swapped(item: str) -> list[Any]:
        first = await reserve.aio(item)
        async with asyncio.timeout(1000):
            return [first, *await asyncio.gather(waits.aio(1), waits.aio(3))]

    defined(swapped)
    (row,) = rn.check()
    assert row.fits is False and row.status == "running" and "waits" in row.says
    gate.set()
    assert handle.result(20) == ["lamp", 1, 2]


def test_finished_instances_are_checked_when_asked_for() -> None:
    def body(item: str) -> str:
        return reserve(item)

    flow = defined(body)
    flow.run("lamp", instance_id="order-1")
    assert len(rn.check()) == 0 and rn.check() and "no unfinished instances" in repr(rn.check())
    assert rn.check(finished=True)

    def longer(item: str) -> str:
        reserve(item)
        return str(charge(2))

    defined(longer)
    (row,) = rn.check(finished=True)
    assert row.fits is False and row.status == "completed"

    def otherwise(item: str) -> str:
        return reserve(item).upper()

    defined(otherwise)
    (row,) = rn.check(flow.name, finished=True)
    assert row.fits and "its result is another one now" in row.says
    assert DONE == ["reserve lamp"]


def test_inputs_that_no_longer_fit_are_named() -> None:
    paused_order()

    def body(item: str, size: int) -> int:
        return charge(size)

    defined(body)
    (row,) = rn.check()
    assert row.fits is False and "size" in row.says


def test_a_workflow_that_is_not_defined_here_cannot_be_told() -> None:
    paused_order()
    from romancy_nb.definitions import registry

    kept = registry._defined.pop(("workflow", "order"))
    try:
        (row,) = rn.check()
        assert row.fits is None and "is not defined here" in row.says
        assert not rn.check()
        with pytest.raises(LookupError, match="order"):
            rn.check("order")
    finally:
        registry._defined[("workflow", "order")] = kept


def test_code_that_spins_is_given_up_and_broken_off() -> None:
    paused_order()
    spins: list[threading.Thread] = []

    def body(item: str) -> int:
        reserve(item)
        spins.append(threading.current_thread())
        while True:
            item += ""

    defined(body)
    began = time.monotonic()
    (row,) = rn.check(seconds=0.5)
    assert time.monotonic() - began < 5
    assert row.fits is None and "did not come back within 0.5 s" in row.says and "broken off" in row.says
    assert "test_checking.py" in row.says, "the place where it spun is named"
    spins[0].join(20)
    assert not spins[0].is_alive(), "it spins no more"


def test_prints_of_the_code_are_not_shown_and_input_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    paused_order()

    def body(item: str) -> int:
        print("seen by nobody")
        reserve(item)
        charge(1)
        print("nor this")
        return len(input())

    defined(body)
    (row,) = rn.check()
    assert row.fits and "WrongPlace" in row.says
    assert capsys.readouterr().out == ""


def test_in_workflow_code_it_is_refused() -> None:
    def body(item: str) -> bool:
        return bool(rn.check())

    flow = defined(body)
    with pytest.raises(errors.WrongPlace, match="outside of workflows"):
        flow.run("lamp", instance_id="order-1")


def test_many_instances_are_listed_with_those_that_part_first() -> None:
    answer = Check([])
    assert answer and len(answer) == 0
    gate, begun = threading.Event(), threading.Semaphore(0)

    @rn.activity
    def hold(number: int) -> int:
        begun.release()
        gate.wait(20)
        return number

    def body(number: int) -> int:
        return hold(number)

    flow = defined(body)
    handles = [flow.start(number, instance_id=f"order-{number}") for number in range(4)]

    def even(number: int) -> int:
        return hold(number) if number % 2 else charge(number)

    assert all(begun.acquire(timeout=20) for _ in handles)
    defined(even)
    found = rn.check()
    assert sorted(row.instance for row in found.parting) == ["order-0", "order-2"]
    assert repr(found).splitlines()[0] == "4 recorded runs: 2 of 4 fit. Nothing was executed or written."
    assert "does not fit" in repr(found).splitlines()[1]
    gate.set()
    assert [handle.result(20) for handle in handles] == [0, 1, 2, 3]
