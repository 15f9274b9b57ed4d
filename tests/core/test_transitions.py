"""What a repeated call does (R1), pinned cell by cell; and where a failed run can be taken up again."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, get_args

import pytest

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.core.transitions import ACTIVE, STATUSES, TERMINAL, Action, Owner, decide, retry_point, status_after

from .driver import START, World, act, replay, run

OWNERS: tuple[Owner, ...] = get_args(Owner)

TABLE = """
status               edited  here              elsewhere         nobody
running              no      ATTACH            ATTACH            RESUME
running              yes     ATTACH_OLD_CODE   ATTACH_OLD_CODE   NEW_RUN
waiting              no      ATTACH            ATTACH            RESUME
waiting              yes     ATTACH_OLD_CODE   ATTACH_OLD_CODE   NEW_RUN
paused               no      RESUME            RESUME            RESUME
paused               yes     NEW_RUN           NEW_RUN           NEW_RUN
stuck                no      NEW_RUN           NEW_RUN           NEW_RUN
stuck                yes     NEW_RUN           NEW_RUN           NEW_RUN
completed            no      REPLAY            REPLAY            REPLAY
completed            yes     NEW_RUN           NEW_RUN           NEW_RUN
failed               no      RETRY             RETRY             RETRY
failed               yes     NEW_RUN           NEW_RUN           NEW_RUN
compensating         no      ATTACH_UNDO       ATTACH_UNDO       RESUME_UNDO
compensating         yes     ATTACH_UNDO       ATTACH_UNDO       RESUME_UNDO
compensated          no      NEW_RUN           NEW_RUN           NEW_RUN
compensated          yes     NEW_RUN           NEW_RUN           NEW_RUN
compensation_failed  no      REFUSE_UNDO_FAILED REFUSE_UNDO_FAILED REFUSE_UNDO_FAILED
compensation_failed  yes     REFUSE_UNDO_FAILED REFUSE_UNDO_FAILED REFUSE_UNDO_FAILED
cancelled            no      REFUSE_CANCELLED  REFUSE_CANCELLED  REFUSE_CANCELLED
cancelled            yes     NEW_RUN           NEW_RUN           NEW_RUN
recurred             no      FOLLOW_NEWEST     FOLLOW_NEWEST     FOLLOW_NEWEST
recurred             yes     FOLLOW_NEWEST     FOLLOW_NEWEST     FOLLOW_NEWEST
"""


def pinned() -> dict[tuple[str, bool, Owner], str]:
    lines = [line.split() for line in TABLE.strip().splitlines()[1:]]
    return {
        (status, edited == "yes", owner): action
        for status, edited, *actions in lines
        for owner, action in zip(OWNERS, actions, strict=True)
    }


def test_r1_the_table_has_every_cell_and_decide_answers_as_it_says() -> None:
    assert OWNERS == ("here", "elsewhere", "nobody")
    table = pinned()
    assert set(table) == set(itertools.product(STATUSES, (False, True), OWNERS))
    for (status, edited, owner), action in table.items():
        assert decide(status, edited, owner).name == action, (status, edited, owner)


def test_r1_without_a_run_the_instance_is_started() -> None:
    assert {decide(None, edited, owner) for edited in (False, True) for owner in OWNERS} == {Action.START}


def test_r1_an_undo_is_never_followed_by_forward_execution() -> None:
    forward = {Action.RESUME, Action.RETRY, Action.NEW_RUN, Action.REPLAY}
    for status in ("compensating", "compensation_failed"):
        assert not forward & {decide(status, edited, owner) for edited in (False, True) for owner in OWNERS}


def test_statuses_are_those_of_the_design() -> None:
    assert not ACTIVE & TERMINAL
    assert ACTIVE | TERMINAL | {"paused", "stuck"} == STATUSES
    left = {status_after(getattr(ev, name)) for name in ev.__all__ if isinstance(getattr(ev, name), str)}
    assert left <= STATUSES | {None}


# -- where a failed run goes on ---------------------------------------------------------------------------------------------------


async def fails_in_the_middle() -> Any:
    return [await act("a"), await act("fail"), await act("c")]


def failed(function: Any) -> World:
    world = run(function)
    assert world.ended.error is not None
    world.rows.append((len(world.rows) + 1, Event(ev.RUN_FAILED, world.now)))
    return world


def resumed(world: World) -> list[tuple[int, Event]]:
    point = retry_point(world.rows)
    assert point is not None
    return [*world.rows, (len(world.rows) + 1, Event(ev.RUN_RESUMED, world.now, meta={"void_from": point}))]


def test_a_run_that_failed_at_its_last_event_goes_on_with_that_call_open_again() -> None:
    world = failed(fails_in_the_middle)
    rows = resumed(world)
    report = replay(fails_in_the_middle, rows)
    assert report.mismatch is None and report.ended is None and report.rows == []
    assert [(c.place, c.command.name, c.fresh) for c in report.calls] == [("0:1", "fail", False)]
    assert report.replayed == 1


def test_a_retried_run_goes_on_to_its_end_and_replays() -> None:
    world = World(
        fails_in_the_middle, rows=resumed(failed(fails_in_the_middle)), results=lambda name, arg: (True, name)
    )
    world.run()
    assert world.result == [0, "fail", "c"]
    assert [name for name, _ in world.executed] == ["fail", "c"]
    report = replay(fails_in_the_middle, world.rows)
    assert report.rows == [] and report.ended is not None and report.ended.error is None


def test_it_can_fail_and_be_retried_several_times() -> None:
    rows = resumed(failed(fails_in_the_middle))
    for _ in range(3):
        world = World(fails_in_the_middle, rows=rows)
        world.run()
        world.rows.append((len(world.rows) + 1, Event(ev.RUN_FAILED, world.now)))
        rows = resumed(world)
        assert [c.place for c in replay(fails_in_the_middle, rows).calls] == ["0:1"]


def test_without_void_from_a_resume_keeps_the_failure() -> None:
    world = failed(fails_in_the_middle)
    report = replay(fails_in_the_middle, [*world.rows, (len(world.rows) + 1, Event(ev.RUN_RESUMED, world.now))])
    assert report.ended is not None and report.ended.error is not None


def test_the_attempts_of_a_retried_call_are_known() -> None:
    world = failed(fails_in_the_middle)
    at = next(seq for seq, event in world.rows if event.kind == ev.ACTIVITY_FAILED)
    attempts = [
        Event(ev.ATTEMPT_FAILED, START, "0:1", attempt=1, meta={"next_at": 7}),
        Event(ev.ATTEMPT_STARTED, START, "0:1", attempt=2),
    ]
    events = [event for _, event in world.rows]
    world.rows = list(enumerate([*events[: at - 1], *attempts, *events[at - 1 :]], start=1))
    opened = replay(fails_in_the_middle, resumed(world)).calls[0]
    assert (opened.attempts, opened.failed, opened.failures) == (2, 1, 1)


async def cleans_up() -> Any:
    try:
        await act("fail")
    finally:
        await act("cleanup")


async def cancels_siblings() -> Any:
    async with asyncio.TaskGroup() as group:
        group.create_task(act("slow"))
        group.create_task(act("fail"))


async def slips() -> Any:
    await act("a")
    raise KeyError("slip")


@pytest.mark.parametrize("function", [cleans_up, slips])
def test_there_is_no_retry_point_when_the_code_did_more_after_the_failure(function: Any) -> None:
    assert retry_point(failed(function).rows) is None


def test_there_is_no_retry_point_when_siblings_were_cancelled() -> None:
    world = World(cancels_siblings, lambda count: count - 1)
    world.run()
    assert world.ended.reported
    assert retry_point(world.rows) is None


def test_a_failure_followed_by_pauses_and_resumes_is_still_the_point() -> None:
    world = failed(fails_in_the_middle)
    point = retry_point(world.rows)
    more = [Event(ev.RUN_PAUSED, START), Event(ev.RUN_RESUMED, START), Event(ev.RUN_FAILED, START)]
    assert retry_point([*world.rows, *enumerate(more, start=len(world.rows) + 1)]) == point
    assert retry_point([]) is None
