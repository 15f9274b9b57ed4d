"""Schedules: started at their times, once each, also across restarts; what was missed is made up for as asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from processes import until

import romancy_nb as rn
from romancy_nb.definitions.schedules import _turn, fire_times, planned
from romancy_nb.errors import DefinitionError, RunCancelled, WrongArguments
from romancy_nb.testing import JumpingClock

SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def fresh(journal: Path) -> None:
    SEEN.clear()


@rn.activity(name="tick")
def tick(what: str, at: datetime | None) -> None:
    SEEN.append((what, at))


@rn.workflow(name="report")
def report(what: str, scheduled_at: datetime | None = None) -> str:
    tick(what, scheduled_at)
    return what


def times(plan: Any, since: datetime, count: int) -> list[datetime]:
    return list(islice(fire_times(plan, since), count))


def plan(cron: str | None = None, every: Any = None, catch_up: Any = "one", timezone: str | None = None) -> Any:
    return planned("report", cron, every, catch_up, None, timezone)


def test_it_starts_the_workflow_again_and_again_with_its_fire_time() -> None:
    schedule = report.schedule("a", every=0.1)
    until(lambda: len(SEEN) >= 3)
    schedule.cancel()
    with pytest.raises(RunCancelled):
        schedule.result(10)
    fired = [at for _, at in SEEN]
    assert all(later - earlier == timedelta(seconds=0.1) for earlier, later in pairwise(fired))
    done = rn.instances(workflow="report")
    assert len(done) >= 3 and {each.result(10) for each in done} == {"a"}


def test_the_same_call_goes_on_with_the_same_schedule() -> None:
    first = report.schedule("a", every=3600)
    assert report.schedule("a", every=3600).id == first.id
    assert report.schedule("b", every=3600).id != first.id
    rn.disconnect()
    again = report.schedule("a", every=3600)
    assert again.id == first.id and again.status in {"running", "waiting"}


@pytest.mark.parametrize(("catch_up", "expected"), [("one", 1), ("all", 3), ("skip", 0)])
def test_what_passed_while_nothing_ran_is_made_up_for_as_asked(catch_up: Any, expected: int) -> None:
    schedule = report.schedule("a", every=3600, catch_up=catch_up)
    until(lambda: schedule.status == "waiting")
    rn.disconnect()
    with JumpingClock() as clock:
        clock.jump(3 * 3600 + 1800)
        again = report.schedule("a", every=3600, catch_up=catch_up)
        until(lambda: again.status == "waiting" and again.run > 1)
        until(lambda: len(SEEN) == expected)
        rn.disconnect()


def test_a_fire_time_is_started_once_also_when_the_schedule_is_repeated() -> None:
    schedule = report.schedule("a", every=0.1, name="x")
    until(lambda: len(SEEN) >= 2)
    schedule.cancel()
    until(lambda: schedule.status == "cancelled")
    ids = [each.id for each in rn.instances(workflow="report")]
    assert len(ids) == len(set(ids)) == len({at for _, at in SEEN})


@pytest.mark.parametrize("times", [{"every": 1}, {"cron": "0 * * * *"}], ids=["every", "cron"])
def test_schedules_that_fire_in_the_same_second_each_start_their_own(times: dict[str, Any]) -> None:
    with JumpingClock() as clock:
        schedules = [report.schedule(what, **times) for what in ("alice", "bob")]
        for turn in (1, 2):
            until(lambda: all(each.status == "waiting" for each in schedules))
            clock.jump(3600)
            until(lambda turn=turn: all(sum(w == who for w, _ in SEEN) >= turn for who in ("alice", "bob")))  # type: ignore[misc]
        for each in schedules:
            each.cancel()
        until(lambda: all(each.status == "cancelled" for each in schedules))
    started = rn.instances(workflow="report")
    until(lambda: all(each.status == "completed" for each in started))
    assert len(started) == len(SEEN) == len(set(SEEN))


def test_schedules_that_differ_in_their_times_only_start_the_same_workflow_each() -> None:
    with JumpingClock() as clock:
        schedules = [report.schedule("a", every=every) for every in (7200, 10800)]
        until(lambda: all(each.status == "waiting" for each in schedules))
        clock.jump(6 * 3600)
        until(lambda: len(SEEN) == 2)
        rn.disconnect()


def test_a_schedule_of_the_same_name_takes_the_place_of_the_old_one() -> None:
    old = report.schedule("a", every=3600, name="hourly")
    other = report.schedule("a", every=3600, name="another")
    new = report.schedule("a", every=1800, name="hourly")
    until(lambda: old.status == "cancelled")
    assert new.id != old.id
    assert other.status in {"running", "waiting"}


def test_cron_means_local_time_and_summer_time_leaves_nothing_out_and_doubles_nothing() -> None:
    vienna = ZoneInfo("Europe/Vienna")
    nightly = plan(cron="30 2 * * *", timezone="Europe/Vienna")
    spring = times(nightly, datetime(2026, 3, 27, 12, tzinfo=UTC), 4)
    assert [f"{at.astimezone(vienna):%d %H:%M}" for at in spring] == ["28 02:30", "29 03:00", "30 02:30", "31 02:30"]
    autumn = times(nightly, datetime(2026, 10, 23, 12, tzinfo=UTC), 4)
    assert [f"{at.astimezone(vienna):%d %H:%M}" for at in autumn] == ["24 02:30", "25 02:30", "26 02:30", "27 02:30"]


def test_every_is_counted_from_the_beginning_without_drift() -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    assert times(plan(every=timedelta(minutes=7)), begun, 3) == [begun + timedelta(minutes=7 * n) for n in (1, 2, 3)]


def test_what_a_waking_starts_is_decided_by_the_policy() -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    late = begun + timedelta(hours=250, minutes=30)
    for catch_up, count in (("one", 1), ("all", 100), ("skip", 0)):
        turn = _turn(plan(every=3600, catch_up=catch_up), begun, late)
        assert turn is not None and len(turn.fires) == count
    all_of_it = _turn(plan(every=3600, catch_up="all"), begun, late)
    assert all_of_it is not None and all_of_it.last == begun + timedelta(hours=100)
    on_time = _turn(plan(every=3600, catch_up="skip"), begun, begun + timedelta(hours=1, seconds=2))
    assert on_time is not None and len(on_time.fires) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "none is given"),
        ({"cron": "* * * * *", "every": 5}, "both are given"),
        ({"every": 0}, "0.1 seconds or more"),
        ({"every": -1}, "0.1 seconds or more"),
        ({"every": 1e-9}, "0.1 seconds or more"),
        ({"every": timedelta(microseconds=1)}, "0.1 seconds or more"),
        ({"every": float("nan")}, "takes seconds, or a timedelta"),
        ({"every": "hourly"}, "takes seconds, or a timedelta"),
        ({"every": True}, "takes seconds, or a timedelta"),
        ({"every": float("inf")}, "year 9999"),
        ({"every": 1e300}, "year 9999"),
        ({"cron": 5}, "no text.*Five fields"),
        ({"cron": ""}, "fields: 0.*Five fields"),
        ({"cron": "* * * * * *"}, "fields: 6.*Five fields"),
        ({"cron": "61 * * * *"}, "Five fields"),
        ({"cron": "nonsense"}, "Five fields"),
        ({"cron": "* * * * *", "timezone": "Mars/Base"}, "no such time zone"),
        ({"every": 5, "catch_up": "some"}, "catch_up"),
    ],
)
def test_times_that_cannot_be_understood_are_refused_with_the_remedy(options: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        report.schedule("a", **options)


def test_arguments_that_do_not_fit_are_refused_at_once() -> None:
    with pytest.raises(WrongArguments):
        report.schedule(every=5)
    with pytest.raises(WrongArguments):
        report.schedule("a", "no time", every=5)
