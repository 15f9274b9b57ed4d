"""Taps: rows for whoever follows a run, behind the commit that made them durable; and what activities report of themselves."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any

import romancy_nb as rn
from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.journal.protocol import Row
from romancy_nb.runtime import launch, looking
from romancy_nb.runtime.taps import Taps

gate = threading.Event()


@rn.activity
def waits(ctx: rn.Context, number: int) -> int:
    ctx.progress(2, 8, "a quarter")
    ctx.progress(4, 8, "half")
    ctx.log("a line of its own")
    gate.wait(20)
    return number


@rn.workflow
def tapped(number: int) -> int:
    return waits(number) + 1


def test_who_follows_a_run_is_given_each_row_once_and_in_order_and_only_what_is_durable(journal: Any) -> None:
    gate.clear()
    told: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    handle = tapped.start(1)
    engine = launch.current()
    found = engine.ask(
        lambda engine: looking.find(engine, handle.id, None, lambda what, content: told.put((what, content)))
    )
    gate.set()
    assert handle.result(20) == 2
    rows = list(found.rows)
    while rows[-1].event.kind != ev.RUN_COMPLETED:
        what, content = told.get(timeout=20)
        if what == "rows":
            durable = {row.seq for row in handle.rows()}
            assert {row.seq for row in content} <= durable
            rows += content
    assert [row.seq for row in rows] == [row.seq for row in handle.rows()]
    engine.taps.unwatch(found.run)
    assert not engine.taps


def test_a_report_is_there_while_the_step_runs_and_is_not_journaled(journal: Any) -> None:
    gate.clear()
    handle = tapped.start(2)
    engine = launch.current()
    run = engine.ask(lambda engine: looking.find(engine, handle.id, None)).run
    while not (reports := engine.taps.reports.of(run)) or next(iter(reports.values()))[0] != 4:
        gate.wait(0.01)
    (report,) = reports.values()
    assert report[:3] == (4, 8, "half") and report[5] == 2
    gate.set()
    assert handle.result(20) == 3
    assert engine.taps.reports.of(run) == {}
    assert "half" not in str(handle.rows())
    assert "a line of its own" in str(handle.outputs())


def test_a_tap_tells_of_a_new_run_of_the_instance_and_leaves_out_what_was_refused() -> None:
    taps, told = Taps(), []
    taps.watch(1, "order", lambda what, content: told.append((what, content)))
    rows = [
        Row(1, 2, Event(ev.ACTIVITY_SCHEDULED, call="0:1", at=5)),
        Row(2, 1, Event(ev.RUN_STARTED, call="order", at=6)),
    ]
    taps.passed(rows, refused=[1])
    assert told == [("runs", "order")]
    taps.passed(rows[:1])
    assert told[1:] == [("rows", rows[:1])]


def test_reports_come_as_often_as_an_activity_likes_and_are_told_again_once_they_were_asked_for() -> None:
    taps, told = Taps(), []
    taps.watch(7, "order", lambda what, content: told.append(content))
    for done in range(10_000):
        taps.reports.report(7, "0:1", done, 10_000, "")
    assert told == [7]
    assert taps.reports.of(7)["0:1"][0] == 9_999
    taps.reports.report(7, "0:1", 10_000, 10_000, "")  # however soon it comes: it may be the last for an hour
    assert told == [7, 7]
    taps.reports.over(7, "0:1")
    assert taps.reports.of(7) == {}
