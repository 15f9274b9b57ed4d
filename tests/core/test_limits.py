"""A call that waits for limits, in the core: its intent names them, and until an attempt was begun it is not in doubt (A1, A8)."""

from __future__ import annotations

from typing import Any

import pytest

from romancy_nb.core import events as ev
from romancy_nb.core.commands import ActivityCommand, OpenCall
from romancy_nb.core.events import Event
from romancy_nb.core.ledger import Asked, Ledger
from romancy_nb.core.replay import Numbered
from romancy_nb.core.saga import plan
from romancy_nb.errors import DefinitionError
from romancy_nb.payloads.payload import Payload

from .driver import act, replay, started

DOOR = [{"name": "door", "concurrency": 2}]
UNDO = {"name": "free", "with": [], "result": False, "if": "started"}


def door(strict: bool) -> list[dict[str, Any]]:
    return DOOR


def gone(strict: bool) -> list[dict[str, Any]]:
    if strict:
        raise DefinitionError("no such limit")
    return []


def history(*events: Event) -> list[Numbered]:
    return list(enumerate([started(), *events], 1))


def opened(rows: list[Numbered], limits: Any = door, **options: Any) -> OpenCall:
    async def flow() -> Any:
        return await act("visit", 1, limits=limits, **options)

    (call,) = replay(flow, rows).calls
    return call


def intent(**meta: Any) -> Event:
    async def flow() -> Any:
        return await act("visit", 1)

    (row,) = replay(flow, history()).rows
    return row._replace(meta=meta or None)


def begun(number: int, at: int = 0) -> Event:
    return Event(ev.ATTEMPT_STARTED, at, "0:0", attempt=number)


def test_the_intent_of_a_new_call_says_what_it_waits_for() -> None:
    async def flow() -> Any:
        return await act("visit", 1, limits=door)

    report = replay(flow, history())
    assert report.rows[0].meta == {"limit": DOOR}
    (call,) = report.calls
    assert (list(call.limits), call.fresh, call.in_doubt) == (DOOR, True, False)


def test_what_waited_is_pending_and_what_was_begun_is_in_doubt() -> None:
    waited = opened(history(intent(limit=DOOR)))
    assert (list(waited.limits), waited.in_doubt) == (DOOR, False)
    assert opened(history(intent(limit=DOOR), begun(1))).in_doubt
    failed = Event(ev.ATTEMPT_FAILED, 5, "0:0", attempt=1, meta={"next_at": 9})
    assert not opened(history(intent(limit=DOOR), begun(1), failed)).in_doubt
    assert opened(history(intent(limit=DOOR), begun(1), failed, begun(2))).in_doubt


def test_a_call_from_before_the_limit_may_have_been_begun_and_waits_now() -> None:
    call = opened(history(intent()))
    assert call.in_doubt and list(call.limits) == DOOR
    call = opened(history(intent(limit=DOOR)), limits=None)
    assert not call.in_doubt and list(call.limits) == DOOR, "the intent says how the call was made"


def test_a_limit_that_is_not_defined_is_an_error_of_a_new_call_only() -> None:
    assert list(opened(history(intent(limit=DOOR)), limits=gone).limits) == DOOR
    assert list(opened(history(intent()), limits=gone).limits) == []

    async def flow() -> Any:
        with pytest.raises(DefinitionError):
            await act("visit", 1, limits=gone)
        return await act("other", 2)

    first = replay(flow, history())
    assert [row.name for row in first.rows] == ["other"]
    second = replay(flow, history(*first.rows))
    assert second.mismatch is None and second.rows == []


def test_time_in_the_queue_does_not_count_after_a_restart_either() -> None:
    row = intent(limit=DOOR)
    failed = Event(ev.ATTEMPT_FAILED, row.at + 70, "0:0", attempt=1, meta={"next_at": row.at + 100})
    call = opened(history(row, begun(1, row.at + 40), failed, begun(2, row.at + 125)))
    assert call.first_at == row.at + 40 + 25


@pytest.mark.parametrize(("rows", "undone"), [((), []), ((begun(1, 5),), ["undo:0:0"])])
def test_only_what_was_begun_is_undone_for_want_of_an_outcome(rows: tuple[Event, ...], undone: list[str]) -> None:
    found = plan(history(intent(limit=DOOR, undo=UNDO), *rows))
    assert [step.place for step in found.steps] == undone
    without = plan(history(intent(undo=UNDO)))
    assert [step.place for step in without.steps] == ["undo:0:0"], "an intent without a limit counts as the start"


def test_a_notebooks_call_that_waited_is_pending_too() -> None:
    rows: list[Numbered] = [(1, Event(ev.RUN_STARTED, 0, "notebook-a", "notebook", meta={"number": 1}))]
    command = ActivityCommand("visit", "d", Payload("{}"), lambda: "c", None, limits=door)
    ledger = Ledger(rows)
    call = ledger.ask(Asked("cell", 1, command), 10)
    assert isinstance(call, OpenCall) and list(call.limits) == DOOR and not call.in_doubt
    row = ledger.intent(call.place)
    assert (row.meta or {})["limit"] == DOOR
    ledger = Ledger([*rows, (2, row)])
    place = ledger.ask(Asked("cell", 2, command), 20)
    assert isinstance(place, str)
    again = ledger.again(place, command)
    assert list(again.limits) == DOOR and not again.in_doubt
    ledger = Ledger([*rows, (2, row), (3, Event(ev.ATTEMPT_STARTED, 15, place, attempt=1))])
    assert ledger.again(place, command).in_doubt


def test_a_notebooks_call_with_a_limit_that_is_not_defined_notes_nothing() -> None:
    ledger = Ledger([(1, Event(ev.RUN_STARTED, 0, "notebook-a", "notebook", meta={"number": 1}))])
    command = ActivityCommand("visit", "d", Payload("{}"), lambda: "c", None, limits=gone)
    with pytest.raises(DefinitionError):
        ledger.ask(Asked("cell", 1, command), 10)
    command.limits = door
    assert isinstance(ledger.ask(Asked("cell", 2, command), 20), OpenCall)
