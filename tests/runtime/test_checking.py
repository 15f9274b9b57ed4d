"""``rn.check``: which stored runs still fit the code that is defined here; nothing is executed and nothing written (X6)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb.errors import InstanceNotFound

LOG: list[str] = []
ONCE = rn.RetryPolicy(max_attempts=1)


@pytest.fixture(autouse=True)
def clean(journal: Path) -> None:
    LOG.clear()


@rn.activity
def reserve(item: str) -> str:
    LOG.append(f"reserve {item}")
    return item


@rn.activity
def charge(item: str) -> str:
    LOG.append(f"charge {item}")
    return item


def look() -> str:
    LOG.append("looked")
    return "seen"


def define(body: Any) -> Any:
    return rn.workflow(name="order", on_failure="pause")(body)


def first(item: str) -> str:
    reserve(item)
    rn.sleep(600)
    return item


def fitting(item: str) -> str:
    reserve(item)
    rn.sleep(600)
    rn.side_effect(look)
    return charge(item)


def parting(item: str) -> str:
    charge(item)
    return reserve(item)


@pytest.fixture
def unfinished() -> Any:
    handle = define(first).start("a")
    until = time.monotonic() + 10
    while handle.status != "waiting":
        assert time.monotonic() < until
        time.sleep(0.005)
    return handle


def events() -> int:
    return int(rn.sql("select count(*) from events").fetchall()[0][0])


def test_code_that_goes_on_differently_fits_and_nothing_is_executed(unfinished: Any) -> None:
    define(fitting)
    before = events()
    found = rn.check("order")
    assert found.fits and len(found) == 1
    assert "fits (edited:" in str(found)
    assert LOG == ["reserve a"], "no activity and no side effect"
    assert events() == before and unfinished.status == "waiting"


def test_code_that_asks_for_something_else_parts_and_both_sides_are_shown(unfinished: Any) -> None:
    workflow = define(parting)
    found = rn.check(workflow)
    assert not found.fits
    assert "history holds activity reserve" in str(found) and "the code asks for activity charge" in str(found)
    assert "parts" in found._repr_html_()
    assert unfinished.check()[0].problem == found[0].problem
    assert LOG == ["reserve a"]


def test_finished_runs_are_checked_when_asked_for_and_an_undo_is_not_the_codes_own() -> None:
    @rn.compensation
    def give_back(item: str) -> None:
        LOG.append(f"give back {item}")

    @rn.activity(compensation=give_back)
    def take(item: str) -> str:
        return item

    @rn.activity(retry=ONCE)
    def fails() -> None:
        raise LookupError("no")

    @rn.workflow(name="trip")
    def trip(n: int) -> None:
        take("a")
        fails()

    with pytest.raises(LookupError):
        trip(1)
    assert not rn.check("trip")
    found = rn.check("trip", finished=True)
    assert found.fits and found[0].status == "compensated"

    @rn.workflow(name="trip")
    def edited(n: int) -> None:
        take("a")

    assert not rn.check("trip", finished=True).fits


def test_code_that_does_not_come_back_is_given_up(unfinished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from romancy_nb.runtime import fits

    monkeypatch.setattr(fits, "PATIENCE", 0.2)
    stop = []

    def spins(item: str) -> str:
        reserve(item)
        while not stop:
            pass
        return item

    define(spins)
    found = rn.check()
    stop.append(1)
    assert found[0].problem is None and "does not come back" in str(found)


def test_what_is_not_known_is_said(unfinished: Any) -> None:
    with pytest.raises(InstanceNotFound, match="neither the name of a workflow"):
        rn.check("nothing")
