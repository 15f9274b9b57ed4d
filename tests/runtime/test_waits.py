"""Durable waits for a time, with the real clock and across processes that end."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import romancy_nb as rn
from romancy_nb.errors import WrongArguments
from romancy_nb.testing import JumpingClock

SEEN: list[str] = []


@pytest.fixture(autouse=True)
def fresh(journal: Path) -> None:
    SEEN.clear()


@rn.activity(name="mark")
def mark(what: str) -> str:
    SEEN.append(what)
    return what


@rn.workflow(name="until")
def until(when: datetime) -> str:
    rn.sleep_until(when)
    return mark("awake")


@rn.workflow(name="until_async")
async def until_async(when: datetime) -> str:
    await rn.sleep_until(when)
    return await mark.aio("awake")


@pytest.mark.parametrize("flow", [until, until_async])
def test_it_wakes_at_the_moment_in_any_zone(flow: rn.Workflow[[datetime], str]) -> None:
    when = datetime.now(timezone(timedelta(hours=-7))) + timedelta(seconds=0.2)
    assert flow.run(when) == "awake"
    assert datetime.now(UTC) >= when


@pytest.mark.parametrize("flow", [until, until_async])
def test_a_moment_that_has_passed_is_no_wait(flow: rn.Workflow[[datetime], str]) -> None:
    assert flow.run(datetime(2020, 1, 1, tzinfo=UTC)) == "awake"
    rn.disconnect()
    assert flow.run(datetime(2020, 1, 1, tzinfo=UTC)) == "awake"
    assert SEEN == ["awake"]


def test_a_moment_that_passed_while_nothing_ran_wakes_it_on_resume() -> None:
    when = datetime.now(UTC) + timedelta(hours=1)
    handle = until.start(when)
    while handle.status != "waiting":
        time.sleep(0.005)
    rn.disconnect()
    with JumpingClock() as clock:
        clock.jump(4000)
        assert until.run(when) == "awake"
        assert rn.instance(handle.id).status == "completed"
    assert SEEN == ["awake"]


def test_a_time_without_a_zone_is_refused_with_the_remedy() -> None:
    with pytest.raises(WrongArguments, match="with a time zone"):
        until.run(datetime(2030, 1, 1))
    with pytest.raises(WrongArguments, match="For seconds there is"):
        rn.sleep_until(3)  # type: ignore[arg-type]


def test_outside_a_workflow_it_is_a_plain_wait() -> None:
    rn.sleep_until(datetime.now(UTC) + timedelta(milliseconds=20))
