"""What is sent where only the schema is known is checked as the JSON that it is, whatever it looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import romancy_nb as rn
from romancy_nb.errors import EventRefused


class Payment(BaseModel):
    amount: float
    note: str = ""
    more: dict[str, int] = {}


@rn.workflow(name="sent_json.paid")
def paid(n: int) -> Any:
    return rn.wait_event("payment", type=Payment)


@rn.workflow(name="sent_json.raw")
def raw(n: int) -> Any:
    return rn.wait_event("raw", type=bytes)


def rests(flow: Any, name: str) -> None:
    """Leave an instance that waits, and that nobody runs."""
    handle = flow.start(1, instance_id=name)
    while handle.status != "waiting":
        pass
    rn.disconnect()


@pytest.mark.parametrize(
    "value",
    [{"amount": "$5"}, {"amount": [], "$x": 1}, {"$type": "Payment"}, {"note": {"$type": "dict", "items": []}}, b"raw"],
)
def test_marks_of_ours_in_what_was_sent_do_not_get_it_past_the_schema(journal: Path, value: Any) -> None:
    rests(paid, "p-1")
    with pytest.raises(EventRefused):
        rn.send("p-1", "payment", value)


def test_what_fits_and_looks_like_a_mark_of_ours_is_taken_as_it_is(journal: Path) -> None:
    rests(paid, "p-1")
    rn.send("p-1", "payment", {"amount": 5, "note": "$type: a \ud800", "more": {"$set": 1}})
    assert rn.instance("p-1").resume().result(20) == Payment(amount=5, note="$type: a \ud800", more={"$set": 1})


def test_bytes_are_for_who_awaits_bytes(journal: Path) -> None:
    rests(raw, "r-1")
    rn.send("r-1", "raw", b"\x00\xff")
    assert rn.instance("r-1").resume().result(20) == b"\x00\xff"
