"""Lists of instances: what wants somebody comes first, what is asked or was the matter is told, and filters mean what they say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filled import RARE, SECOND, T0, fill, history

import romancy_nb as rn
from romancy_nb.journal.protocol import Batch, Row
from romancy_nb.runtime import launch, listing
from romancy_nb.runtime.filters import Filter, moment_of
from romancy_nb.runtime.listing import ATTENTION, Fact, Listing

EVERY = (*RARE, "completed", "cancelled", "compensated", "failed")


@pytest.fixture
def each(journal: Path) -> dict[str, int]:
    """A journal with an instance of every kind, named after that, each a minute after the one before."""
    runs = [(100 + i, history(i, kind, T0 + i * 60 * SECOND, name=kind)) for i, kind in enumerate(EVERY)]
    fill(journal, 0, *runs)
    return {kind: 100 + i for i, kind in enumerate(EVERY)}


def facts(*wanted: Filter, sort: str = "") -> list[Fact]:
    found = Listing()
    engine = launch.current()

    def read(engine: launch.Engine) -> list[Fact]:
        found.refresh(engine)
        return Listing.ordered(found.chosen(engine, *wanted), sort)

    read_now: list[Fact] = engine.ask(read)
    return read_now


def test_what_wants_somebody_comes_first_the_most_urgent_before(each: dict[str, int]) -> None:
    found = facts()
    states = [fact.state for fact in found if fact.group == 0]
    assert states == sorted(states, key=ATTENTION.index)
    assert set(states) == set(ATTENTION)
    assert [fact.group for fact in found] == sorted(fact.group for fact in found)
    assert [fact.instance for fact in found if fact.group == 2] == ["compensated", "cancelled", "completed"], (
        "the newest"
    )


def test_a_row_says_what_is_asked_awaited_and_what_was_the_matter(each: dict[str, int]) -> None:
    found = facts()
    shown = {row["id"]: row for row in launch.current().ask(lambda engine: listing.rows(engine, found))}
    assert shown["asks"]["says"] == "asks: Approve order 4?"
    assert shown["awaits"]["says"] == "waits for event payment.completed"
    assert shown["sleeps"]["due"] == T0 + RARE.index("sleeps") * 60 * SECOND + 12 * SECOND + 3600 * SECOND
    assert shown["stuck"]["problem"] == "step 3 was ship, and is send now"
    assert shown["failed"]["problem"].startswith("ValueError: no van for")
    assert shown["cancelled"]["problem"] == "the customer called (by ada)"
    assert shown["completed"]["problem"] == ""
    assert shown["completed"]["bars"] == [["ok", 0.333]] * 3
    assert [look for look, _ in shown["doubt"]["bars"]] == ["ok", "ok", "in_doubt"]
    assert [look for look, _ in shown["failed"]["bars"]] == ["ok", "ok", "failed"]


def test_a_long_run_has_as_many_pieces_as_fit_and_keeps_what_failed(journal: Path) -> None:
    @rn.activity(retry=rn.RetryPolicy(max_attempts=1))
    def step(number: int) -> int:
        if number == 55:
            raise ValueError("no")
        return number

    @rn.workflow
    def long() -> None:
        for number in range(100):
            try:
                step(number)
            except ValueError:
                pass

    long.start(instance_id="long").result(30)
    (row,) = rn.instances().view()["rows"]
    assert len(row["bars"]) == 24
    assert [look for look, _ in row["bars"]].count("failed") == 1
    assert abs(sum(share for _, share in row["bars"]) - 1) < 0.02


def test_filters_mean_what_they_say(each: dict[str, int]) -> None:
    assert [i.id for i in rn.instances("stuck")] == ["stuck"]
    assert {i.id for i in rn.instances(["asks", "in_doubt"])} == {"asks", "doubt"}
    assert [i.id for i in rn.instances(text="ORDER 4?")] == [], "a question is no input"
    assert [i.id for i in rn.instances(text="LAMP 3")] == ["paused"], "an input"
    assert {i.id for i in rn.instances(text="no van for 0")} == {"compensation_failed"}, "an error"
    assert [i.id for i in rn.instances(limit=2)] == ["failed", "compensated"]
    late = datetime.fromtimestamp((T0 + 9 * 60 * SECOND) / 1e6, UTC)
    assert {i.id for i in rn.instances(since=late)} == {"cancelled", "compensated", "failed"}
    assert "failed" not in {i.id for i in rn.instances(until=late)}
    assert len(rn.instances(workflow=["order_workflow", "report_workflow"])) == 8
    with pytest.raises(ValueError, match="'happy' is no status; there are .*asks.*waiting"):
        rn.instances("happy")
    with pytest.raises(ValueError, match="'noon' is no time"):
        rn.instances(since="noon")


def test_a_filter_is_written_the_same_each_time_and_read_back() -> None:
    one = Filter.of(["stuck", "failed"], "a & b", "2h", None, "<x>", 5)
    assert one.anchor() == Filter.of(["failed", "stuck"], "a & b", "2h", None, "<x>", 5).anchor()
    back = Filter.of_anchor(one.anchor())
    assert (set(back.states), back.workflows, back.since, back.text, back.limit) == (
        {"stuck", "failed"},
        ("a & b",),
        "2h",
        "<x>",
        5,
    )
    assert Filter.of().anchor() == "instances:"
    assert Filter.of_anchor("instances:status=nonsense&since=never&limit=many") == Filter()
    assert moment_of(timedelta(hours=1), 2 * 3600 * SECOND) == 3600 * SECOND


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"since": 3.5}, "3.5 is no time"),
        ({"limit": 2.5}, "2.5 is no limit"),
        ({"limit": 0}, "0 is no limit"),
        ({"text": 5}, "text=5 is no text"),
        ({"status": 5}, "5 is neither a name nor a list of names"),
        ({"workflow": [5]}, "neither a name nor"),
    ],
)
def test_a_filter_of_the_wrong_kind_is_told_by_its_value(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Filter.of(**wrong)


def test_a_listing_is_brought_up_to_date_by_what_changed_alone(each: dict[str, int]) -> None:
    engine, found = launch.current(), Listing()
    assert engine.ask(found.refresh) == set(EVERY)
    assert engine.ask(found.refresh) == set()
    new = history(50, "failed", T0 + 10**10, name="new")
    engine.ask(lambda e: e.journal.commit(Batch(99, [Row(999, seq, event) for seq, event in enumerate(new, 1)])))
    assert engine.ask(found.refresh) == {"new"}
    assert found.facts["new"].state == "failed"


def test_what_runs_here_runs_and_what_nobody_owns_was_interrupted(each: dict[str, int]) -> None:
    @rn.workflow
    def waits() -> None:
        rn.wait_event("never")

    handle = waits.start(instance_id="here")
    with pytest.raises(TimeoutError):
        handle.result(0.3)
    found = {fact.instance: fact for fact in facts()}
    assert (found["here"].status, found["here"].says) == ("waiting", "waits for event never")
    assert found["here"].group == 1
    assert found["sleeps"].status == "interrupted", "its process has gone"
    assert found["asks"].state == "asks", "a person is to answer, whoever runs it"
    handle.cancel()
