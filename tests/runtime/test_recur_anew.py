"""A chain of turns (rn.recur) that was undone: the same call does it anew, and nothing is undone twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lawful import lawful
from processes import until

import romancy_nb as rn


class Outside:
    """The world, which no fingerprint watches."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.keys: dict[str, list[str]] = {}
        self.fail: set[str] = set()

    def clear(self) -> None:
        self.seen.clear()
        self.keys.clear()
        self.fail.clear()


WORLD = Outside()


@pytest.fixture(autouse=True)
def fresh(journal: Path) -> None:
    WORLD.clear()


def note(what: str) -> str:
    WORLD.seen.append(what)
    WORLD.keys.setdefault(what, []).append(rn.context().idempotency_key)
    if what in WORLD.fail:
        raise rn.TerminalError(what)
    return what


@rn.compensation(name="refund_turn")
def refund_turn(what: str) -> None:
    note(f"undo {what}")


@rn.activity(name="charge_turn", compensation=refund_turn)
def charge_turn(what: str) -> str:
    return note(what)


@rn.activity(name="plain_turn")
def plain_turn(what: str) -> str:
    return note(what)


@rn.activity(name="pivot_turn", pivot=True)
def pivot_turn(what: str) -> str:
    return note(what)


@rn.workflow(name="months")
def months(number: int, end: int) -> str:
    charge_turn(f"month {number}")
    if number < end:
        rn.recur(number + 1, end)
    plain_turn("last")
    return "end"


def test_a_chain_that_failed_is_done_anew_and_nothing_is_undone_twice() -> None:
    WORLD.fail.add("last")
    turns = ["month 1", "month 2", "month 3", "last", "undo month 3", "undo month 2", "undo month 1"]
    for _ in range(3):
        WORLD.seen.clear()
        with pytest.raises(rn.TerminalError):
            months.run(1, 3)
        assert WORLD.seen == turns
        rn.disconnect()
    WORLD.fail.clear()
    WORLD.seen.clear()
    assert months.run(1, 3) == "end"
    assert WORLD.seen == turns[:4]
    (handle,) = rn.instances()
    assert handle.status == "completed"
    lawful(handle)
    for name in ("month 1", "month 2", "month 3", "undo month 1"):
        assert len(WORLD.keys[name]) == len(set(WORLD.keys[name])), (
            "what was undone is another call to whoever keeps the keys"
        )


def test_a_chain_that_a_person_had_undone_is_done_anew() -> None:
    assert months.run(1, 2) == "end"
    for _ in range(2):
        (handle,) = rn.instances()
        WORLD.seen.clear()
        handle.compensate()
        until(lambda handle=handle: handle.status == "compensated")  # type: ignore[misc]
        assert WORLD.seen == ["undo month 2", "undo month 1"]
        WORLD.seen.clear()
        assert months.run(1, 2) == "end"
        assert WORLD.seen == ["month 1", "month 2"], "the last step could not be undone: it stands, and is reused"
        assert months.run(1, 2) == "end"
        assert len(WORLD.seen) == 2
        lawful(handle)


def test_what_stands_of_the_undone_turns_is_reused_in_each_of_them() -> None:
    @rn.workflow(name="shipping")
    def shipping(number: int) -> str:
        charge_turn(f"before {number}")
        if number == 2:
            pivot_turn("ship")
        plain_turn(f"plain {number}")
        charge_turn(f"after {number}")
        if number < 3:
            rn.recur(number + 1)
        plain_turn("last")
        return "end"

    WORLD.fail.add("last")
    with pytest.raises(rn.TerminalError):
        shipping.run(1)
    undone = ["after 3", "before 3", "after 2", "after 1", "before 1"]
    assert [each for each in WORLD.seen if each.startswith("undo")] == [f"undo {each}" for each in undone]
    WORLD.seen.clear()
    WORLD.fail.clear()
    assert shipping.run(1) == "end"
    assert WORLD.seen == ["before 1", "after 1", "after 2", "before 3", "after 3", "last"]
    lawful(rn.instances()[0])


def test_turns_that_stand_are_not_done_again() -> None:
    @rn.workflow(name="dropping")
    def dropping(number: int) -> str:
        charge_turn(f"month {number}")
        if number < 4:
            rn.recur(number + 1, compensations="drop" if number == 2 else "carry")
        plain_turn("last")
        return "end"

    WORLD.fail.add("last")
    with pytest.raises(rn.TerminalError):
        dropping.run(1)
    assert WORLD.seen[-2:] == ["undo month 4", "undo month 3"]
    WORLD.seen.clear()
    WORLD.fail.clear()
    assert dropping.run(1) == "end"
    assert WORLD.seen == ["month 3", "month 4", "last"]


def test_a_chain_that_is_done_anew_goes_on_where_it_was_interrupted() -> None:
    @rn.workflow(name="interrupted_months")
    def interrupted_months(number: int) -> str:
        charge_turn(f"month {number}")
        plain_turn(f"plain {number}")
        if number == 1:
            rn.recur(2)
        if "wait" in WORLD.fail:
            rn.wait_event("go")
        plain_turn("last")
        return "end"

    WORLD.fail.add("last")
    with pytest.raises(rn.TerminalError):
        interrupted_months.run(1)
    WORLD.fail.clear()
    WORLD.fail.add("wait")
    WORLD.seen.clear()
    handle = interrupted_months.start(1)
    until(lambda: handle.status == "waiting")
    assert WORLD.seen == ["month 1", "month 2"]
    rn.disconnect()
    again = interrupted_months.start(1)
    assert again.id == handle.id
    again.send("go")
    assert again.result(10) == "end"
    assert WORLD.seen == ["month 1", "month 2", "last"]
    lawful(again)


def test_an_edit_inside_an_undone_chain_keeps_to_the_turn() -> None:
    def define(extra: str) -> Any:
        source = f"""
def edited_months(number: int):
    charge_turn(f"month {{number}}")
    plain_turn(f"plain {{number}}")
    if number < 2:
        rn.recur(number + 1)
    {extra}
    return "end"
"""
        names: dict[str, Any] = {"rn": rn, "charge_turn": charge_turn, "plain_turn": plain_turn, "__name__": "__main__"}
        exec(source, names)
        return rn.workflow(name="edited_months")(names["edited_months"])

    WORLD.fail.add("last")
    with pytest.raises(rn.TerminalError):
        define("plain_turn('last')").run(1)
    WORLD.fail.clear()
    WORLD.seen.clear()
    assert define("pass").run(1) == "end"
    assert WORLD.seen == ["month 1", "month 2"]


def test_equal_calls_of_two_turns_have_two_keys_and_those_of_a_turn_done_anew_their_own() -> None:
    @rn.workflow(name="monthly_fee")
    def monthly_fee(number: int) -> str:
        charge_turn("fee")
        if number < 3:
            rn.recur(number + 1)
        plain_turn("last")
        return "end"

    WORLD.fail.add("last")
    for count in (3, 6):
        with pytest.raises(rn.TerminalError):
            monthly_fee.run(1)
        assert len(set(WORLD.keys["fee"])) == len(WORLD.keys["fee"]) == count
    assert len(set(WORLD.keys["last"])) == 1, "what failed is tried again under its key, in the turn done anew too"
