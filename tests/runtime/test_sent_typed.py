"""What the awaited type has taken where it was sent is received, however its journaled form looks beside the type's schema."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, Field

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.runtime import outside


class Renamed(BaseModel):
    my_field: int = Field(alias="myField")


class ReadOtherwise(BaseModel):
    my_field: int = Field(validation_alias="inField", serialization_alias="outField")


class Point(NamedTuple):
    x: int
    y: str


class Placed(BaseModel):
    at: Point


TYPES: dict[str, Any] = {each.__name__: each for each in (Renamed, ReadOtherwise, Point, Placed)}
SENT = [
    ("Renamed", {"myField": 3}, Renamed(myField=3)),
    ("Renamed", Renamed(myField=3), Renamed(myField=3)),
    ("ReadOtherwise", {"inField": 3}, ReadOtherwise(inField=3)),
    ("Point", Point(1, "a"), Point(1, "a")),
    ("Point", [1, "a"], Point(1, "a")),
    ("Placed", {"at": [1, "a"]}, Placed(at=Point(1, "a"))),
]
each_value = pytest.mark.parametrize(("kind", "value", "expected"), SENT, ids=lambda each: repr(each).replace(" ", ""))


@rn.workflow(name="sent_typed.told")
def told(kind: str) -> Any:
    return rn.wait_event("it", type=TYPES[kind])


@rn.workflow(name="sent_typed.asked")
def asked(kind: str) -> Any:
    return rn.ask("What?", type=TYPES[kind], name="it")


def waiting(handle: Any) -> Any:
    while handle.status != "waiting":
        time.sleep(0.002)
    return handle


@each_value
@pytest.mark.parametrize("flow", [told, asked])
def test_what_the_type_has_taken_is_received(journal: Path, flow: Any, kind: str, value: Any, expected: Any) -> None:
    handle = waiting(flow.start(kind))
    assert handle.send("it", value).status == "delivered"
    assert handle.result(20) == expected
    check_history([(row.seq, row.event) for row in handle.rows()])
    rn.disconnect()
    assert flow.run(kind) == expected


@each_value
@pytest.mark.parametrize("flow", [told, asked])
def test_it_is_received_by_the_next_process_too(
    journal: Path, monkeypatch: pytest.MonkeyPatch, flow: Any, kind: str, value: Any, expected: Any
) -> None:
    handle = waiting(flow.start(kind))
    with monkeypatch.context() as dying:  # before it is handed over
        dying.setattr(outside, "match", lambda *_: False)
        assert handle.send("it", value).status == "kept"
        rn.disconnect()
    assert flow.run(kind) == expected


@each_value
def test_where_only_the_schema_is_known_it_is_received_as_well(
    journal: Path, kind: str, value: Any, expected: Any
) -> None:
    handle = waiting(told.start(kind))
    rn.disconnect()
    rn.send(handle.id, "it", value)
    assert told.run(kind) == expected


def test_what_another_type_has_taken_is_checked_again(journal: Path) -> None:
    @rn.workflow(name="sent_typed.edited")
    def edited() -> Any:
        return rn.wait_event("it", type=Renamed)

    handle = waiting(edited.start())
    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(outside, "match", lambda *_: False)
        handle.send("it", {"myField": 3})
        rn.disconnect()

    @rn.workflow(name="sent_typed.edited")
    def edited() -> Any:
        return rn.wait_event("it", type=int)

    again = edited.start()
    again.send("it", 5)
    assert again.result(20) == 5
    assert [row.event.kind for row in again.rows()].count("event_refused") == 1
