"""Durable waits for a time, with the real clock and across processes that end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb.errors import JournalUnwritable, WrongArguments
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.runtime import engine
from romancy_nb.runtime.timers import Timers
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


def refusal(wait: Any) -> str:
    @rn.workflow(name="waits_so")
    def waits_so() -> str:
        with pytest.raises(WrongArguments) as caught:
            wait()
        return str(caught.value)

    return waits_so.run()


@pytest.mark.parametrize("far", [1e12, 1e300, float("inf"), timedelta.max])
@pytest.mark.parametrize(
    "wait",
    [
        rn.sleep,
        lambda far: rn.wait_event("e", timeout=far),
        lambda far: rn.ask("Really?", timeout=far, default=False),
        lambda far: rn.subscribe("c").receive(timeout=far),
    ],
)
def test_what_would_be_due_after_the_year_9999_is_refused_at_the_call(wait: Any, far: Any) -> None:
    assert "year 9999" in refusal(lambda: wait(far))
    assert not rn.sql("select * from events where kind in ('timer_started', 'wait_started')").fetchall()


def test_a_moment_after_the_year_9999_is_refused() -> None:
    with pytest.raises(WrongArguments, match="9999"):
        until.run(datetime.max.replace(tzinfo=UTC))


def test_deadlines_of_asyncio_after_the_year_9999_are_refused() -> None:
    @rn.workflow(name="far_deadline")
    async def far_deadline(seconds: float) -> str:
        async with asyncio.timeout(seconds):
            return await mark.aio("never")

    for seconds in (1e12, 1e300):
        with pytest.raises(WrongArguments, match="9999"):
            far_deadline.run(seconds)


@pytest.mark.parametrize("no_time", [float("nan"), "x", True, [], 1j])
@pytest.mark.parametrize(
    "wait", [rn.sleep, lambda no: rn.wait_event("e", timeout=no), lambda no: rn.subscribe("c").receive(timeout=no)]
)
def test_what_is_no_time_is_refused_with_what_is(wait: Any, no_time: Any) -> None:
    assert "takes seconds, or a timedelta" in refusal(lambda: wait(no_time))


def test_sleeping_takes_some_time() -> None:
    assert "takes seconds, or a timedelta" in refusal(lambda: rn.sleep(None))  # type: ignore[arg-type]
    with pytest.raises(WrongArguments, match="or a timedelta"):
        rn.sleep("x")  # type: ignore[arg-type]


@pytest.mark.parametrize("span", [timedelta(milliseconds=20), 0.02])
def test_a_timedelta_is_taken_where_seconds_are(span: Any) -> None:
    @rn.workflow(name="spans")
    def spans() -> list[str]:
        rn.sleep(span)
        said = []
        for wait in (lambda: rn.wait_event("e", timeout=span), lambda: rn.subscribe("c").receive(timeout=span)):
            with pytest.raises(TimeoutError) as caught:
                wait()
            said.append(str(caught.value).rpartition(" within ")[2])
        return [*said, str(rn.ask("Really?", timeout=span, default=True))]

    @rn.workflow(name="spans_async")
    async def spans_async() -> None:
        await rn.sleep(span)

    assert spans.run() == ["0.02 s.", "0.02 s.", "True"]
    spans_async.run()
    rn.sleep(span)


def test_outside_a_workflow_it_is_a_plain_wait() -> None:
    rn.sleep_until(datetime.now(UTC) + timedelta(milliseconds=20))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes when the file is taken, let go of, and written to."""
    for verb in ("acquire", "release", "commit"):
        original = getattr(DuckDBJournal, verb)

        def noted(self: DuckDBJournal, *arguments: Any, verb: str = verb, original: Any = original) -> Any:
            if verb != "release" or self.held:
                SEEN.append(verb)
            return original(self, *arguments)

        monkeypatch.setattr(DuckDBJournal, verb, noted)
    return SEEN


def test_the_file_is_let_go_of_in_quiet_and_in_hand_again_when_a_timer_is_due(
    taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "AHEAD", 0.4)  # long enough for a slow machine to let go of it again
    monkeypatch.setattr(engine, "NEAR", 0.5)

    @rn.workflow(name="quiet")
    def quiet() -> str:
        mark("asleep")
        rn.sleep(1.5)
        SEEN.append("code")
        return mark("awake")

    assert quiet.start().result(20) == "awake"
    slept = SEEN[SEEN.index("asleep") :]
    assert slept.index("release") < slept.index("acquire") < slept.index("code") < slept.index("awake")
    assert slept.count("acquire") == 1, "it was taken once, and not let go of and taken anew until the timer was due"


def test_a_timer_fires_when_another_process_has_the_file_at_its_time(journal: Path) -> None:
    until_free = f"""
import sys
from romancy_nb.journal.on_duckdb import DuckDBJournal
other = DuckDBJournal({str(journal)!r})
other.acquire(20)
print("held", flush=True)
sys.stdin.readline()
other.release()
"""
    handle = until.start(datetime.now(UTC) + timedelta(hours=1))
    other = subprocess.Popen(
        [sys.executable, "-c", until_free],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with JumpingClock() as clock:
        clock.jump(3601)
        time.sleep(1.0)
        assert SEEN == []
        other.communicate("\n", timeout=20)
        assert handle.result(20) == "awake"


def test_a_journal_that_cannot_be_taken_ahead_of_time_is_tried_again_when_the_timer_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusals: list[str] = []
    original = DuckDBJournal.acquire

    def refuse_once(self: DuckDBJournal, wait: float | None) -> bool:
        if not refusals and SEEN == ["asleep"] and not self.held:
            refusals.append("refused")
            raise JournalUnwritable("the disk is on a journey")
        return original(self, wait)

    @rn.workflow(name="refused_ahead")
    def refused_ahead() -> str:
        mark("asleep")
        rn.sleep(0.8)
        mark("awake")
        woken.set()
        return "awake"

    woken = threading.Event()
    monkeypatch.setattr(DuckDBJournal, "acquire", refuse_once)
    handle = refused_ahead.start()
    assert woken.wait(20)  # nobody else asks for the journal meanwhile
    assert handle.result(20) == "awake"
    assert refusals == ["refused"]


def test_timers_that_were_set_anew_do_not_pile_up() -> None:
    timers = Timers()
    for due in range(10_000):
        timers.set((1, "0:0", "timer"), due)
        timers.set((1, f"0:{due}", "timer"), due)
        timers.cancel((1, f"0:{due}", "timer"))
    assert len(timers._heap) < 100
    assert list(timers.take_due(20_000)) == [((1, "0:0", "timer"), 9_999)]
