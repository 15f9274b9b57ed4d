"""What the browser is told of a run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from romancy_nb.core import events as ev
from romancy_nb.core import saga
from romancy_nb.widgets.snapshot import snapshot
from romancy_nb.widgets.timeline import Timeline
from romancy_nb.widgets.wire import view_json

from .histories import HOUR, S, Story, T, many, order, outside, undone

HOSTILE = "</script><img src=x onerror=y>\u202e\x00"


def told(story: Story, **how: Any) -> dict[str, Any]:
    view = view_json(snapshot(story.rows(), now=T + 99 * S, **how))
    return dict(json.loads(json.dumps(view)))


def rows(story: Story, **how: Any) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in told(story, **how)["rows"]}


def test_a_view_has_the_fields_of_version_2() -> None:
    view = told(order())
    assert list(view) == [
        "v",
        "instance",
        "workflow",
        "number",
        "runs",
        "status",
        "words",
        "hint",
        "problem",
        "live",
        "started",
        "finished",
        "as_of",
        "input",
        "output",
        "summary",
        "counts",
        "saved_us",
        "cost",
        "actions",
        "notebook",
        "rows",
    ]
    assert (view["v"], view["summary"]) == (2, ["2 from journal", "2 executed", "1 retried", "saved 41 s"])
    for row in view["rows"]:
        assert list(row) == [
            "id",
            "seq",
            "parent",
            "depth",
            "lane",
            "kind",
            "name",
            "label",
            "status",
            "look",
            "note",
            "started",
            "finished",
            "due",
            "attempts",
            "progress",
            "cost",
            "undoes",
            "undone_by",
            "decided",
            "child",
            "actions",
        ]
    assert rows(order())["0:2"]["attempts"] == [
        [1, T + 1000, T + S, "failed"],
        [2, T + 2 * S, T + 3 * S, "failed"],
        [3, T + 5 * S, T + 6 * S, "ok"],
    ]


def test_branches_are_rows_above_their_steps_and_short_ones_have_none() -> None:
    story = Story().step("0:0", "a", T, S)
    for place in ("0.0:0", "0.1:0", "0.0:1", "0.0.0:0", "0.0.0:1", "0:1"):
        story.step(place, "b", T + S, S)
    found = [(row["id"], row["parent"], row["depth"]) for row in told(story)["rows"]]
    assert found == [
        ("0:0", "", 0),
        ("branch:0.0", "", 0),
        ("0.0:0", "branch:0.0", 1),
        ("0.0:1", "branch:0.0", 1),
        ("branch:0.0.0", "branch:0.0", 1),
        ("0.0.0:0", "branch:0.0.0", 2),
        ("0.0.0:1", "branch:0.0.0", 2),
        ("0.1:0", "", 1),
        ("0:1", "", 0),
    ]
    heading = rows(story)["branch:0.0"]
    assert (heading["kind"], heading["status"], heading["note"], heading["seq"]) == (
        "branch",
        "completed",
        "4 steps",
        None,
    )
    assert (heading["started"], heading["finished"], heading["actions"]) == (T + S, T + 2 * S, [])


def test_undos_come_last_in_the_order_in_which_they_began_and_are_tied_to_what_they_undo() -> None:
    found = told(undone())["rows"]
    assert [row["id"] for row in found] == ["0:0", "0:1", "0:2", "undo:0:1", "undo:0:0"]
    assert [(row["lane"], row["undoes"], row["undone_by"]) for row in found] == [
        ("forward", "", "undo:0:0"),
        ("forward", "", "undo:0:1"),
        ("forward", "", ""),
        ("undo", "0:1", ""),
        ("undo", "0:0", ""),
    ]
    assert [row["look"] for row in found[3:]] == ["undo", "failed"]


def test_what_the_code_undoes_itself_stands_in_the_lane_too() -> None:
    story = (
        Story().step("0:0", "hotel", T, S).step("0:1", "cancel", T + S, S, undoes="0:0").step("0:2", "b", T + 2 * S, S)
    )
    assert [(row["id"], row["lane"]) for row in told(story)["rows"]] == [
        ("0:0", "forward"),
        ("0:2", "forward"),
        ("0:1", "undo"),
    ]
    assert rows(story)["0:0"]["undone_by"] == "0:1"


def test_what_comes_from_outside_has_rows_of_its_kinds() -> None:
    found = rows(outside())
    assert [row["kind"] for row in found.values()] == ["channel", "question", "publish", "armed", "child", "wait"]
    asked = found["0:1"]
    assert (asked["label"], asked["note"]) == ("Approve the refund?", "answered by ana via widget")
    assert (asked["started"], asked["finished"]) == (T + S, T + HOUR)
    assert found["0:4"]["child"] == "ship-1"
    assert (found["0:5"]["label"], found["0:5"]["status"]) == ("wait for orders", "waiting")


def test_an_open_question_says_until_when_and_what_did_not_fit() -> None:
    story = outside()
    del story.events[5:]
    row = rows(story)["0:1"]
    assert row["note"] == "waits for an answer until 2026-11-22 02:02 UTC; 1 answer did not fit: 'maybe' is no boolean"
    assert (row["status"], row["due"], row["actions"]) == ("waiting", T + 9 * HOUR, ["answer", "code"])
    assert (told(story)["status"], told(story, alive=False)["status"]) == ("waiting", "interrupted")
    assert rows(story, alive=False)["0:1"]["status"] == "waiting"
    story.add(ev.WAIT_CANCELLED, T + 2 * HOUR, "0:1")
    assert rows(story)["0:1"]["status"] == "cancelled"


@pytest.mark.parametrize(("what", "note"), [("ask", "nobody answered in time"), ("event", "nothing came in time")])
def test_the_timeout_of_a_wait_is_told_with_it_and_is_no_row_of_its_own(what: str, note: str) -> None:
    story = Story().add(ev.WAIT_STARTED, T, "0:0", "go", value={"question": "Go?"}, what=what)
    story.add(ev.TIMER_STARTED, T, "0:1", "sleep", due=T + S, delay=1.0)
    assert [(row["id"], row["due"]) for row in told(story)["rows"]] == [("0:0", T + S)]
    story.add(ev.TIMER_FIRED, T + S, "0:1").add(ev.WAIT_CANCELLED, T + S, "0:0")
    story.add(ev.TIMER_STARTED, T + S, "0:2", "sleep", due=T + 2 * S, delay=1.0)
    found = rows(story)
    assert list(found) == ["0:0", "0:2"]
    assert (found["0:0"]["note"], found["0:0"]["finished"]) == (note, T + S)


def test_progress_has_a_rate_and_the_time_left_once_there_is_some() -> None:
    story = Story().asks("0:0", "a", T).asks("0:1", "b", T).step("0:2", "c", T, S).asks("0:3", "d", T)
    reported = {
        "0:0": (50, 100, "x", T + 10 * S, T, 0),
        "0:1": (0, None, "", T, T, 0),
        "0:2": (1, 2, "", T, T, 0),
        "gone": (1, 2, "", T, T, 0),
        "0:3": (float("nan"), float("inf"), "", T + S, T, 0),
    }
    found = rows(story, progress=reported)
    assert found["0:0"]["progress"] == {"done": 50, "total": 100, "text": "x", "rate": 5.0, "left_us": 10 * S}
    assert found["0:1"]["progress"] == {"done": 0, "total": None, "text": "", "rate": None, "left_us": None}
    assert found["0:2"]["progress"] is None
    assert found["0:3"]["progress"] == {"done": 0, "total": None, "text": "", "rate": None, "left_us": None}


def test_a_cost_is_the_sum_over_attempts_and_only_of_what_is_a_number() -> None:
    story = Story().asks("0:0", "a", T)
    error = {"type": "E", "message": "m"}
    cheap: dict[str, Any] = {"cost_usd": 0.25, "tokens": 10}
    story.add(ev.ATTEMPT_FAILED, T + S, "0:0", attempt=1, value=error, next_at=T + S, attributes=cheap)
    story.gets("0:0", T + 2 * S, 1, attempt=2, attributes={"cost_usd": 1, "tokens": {"in": 5, "out": True}})
    story.asks("0:1", "b", T).gets("0:1", T, 1, attributes={"cost_usd": "9", "tokens": None})
    story.asks("0:2", "c", T, reused=[1, 2]).gets("0:2", T, 1, attributes={"cost_usd": 7})
    story.asks("0:3", "d", T).gets("0:3", T, 1, attributes={"cost_usd": float("inf")})
    story.asks("0:4", "e", T).add(ev.ACTIVITY_FAILED, T, "0:4", attempt=1, value=error, attributes={"cost_usd": -1})
    found = rows(story)
    assert [found[f"0:{n}"]["cost"] for n in range(5)] == ["$1.25, 15 tokens", "", "$7.00", "", ""]
    assert told(story)["cost"] == "$1.25, 15 tokens"
    assert "cost $1.25, 15 tokens" in told(story)["summary"]


@pytest.mark.parametrize(
    ("kind", "meta", "actions"),
    [
        (None, {}, ["cancel", "send"]),
        (ev.RUN_PAUSED, {"reason": "interrupt"}, ["resume", "cancel", "send"]),
        (ev.RUN_STUCK, {}, ["resume", "cancel", "send"]),
        (ev.RUN_FAILED, {}, ["resume", "compensate"]),
        (ev.RUN_COMPLETED, {}, ["compensate"]),
        (ev.RUN_CANCELLED, {}, []),
        (ev.RUN_COMPENSATED, {}, []),
    ],
)
def test_what_can_be_done_with_a_run_follows_from_its_status(kind: str | None, meta: Any, actions: list[str]) -> None:
    story = Story().step("0:0", "hotel", T, S, undo={"name": "cancel_hotel"})
    if kind is not None:
        story.add(kind, T + S, **meta)
    assert told(story)["actions"] == actions


def test_what_has_nothing_to_undo_offers_no_undo() -> None:
    assert told(Story().step("0:0", "a", T, S).ends(T + S))["actions"] == []
    assert told(undone())["actions"] == ["compensate"]


def test_an_undo_of_the_run_is_offered_where_something_is_left_to_undo_behind_the_last_point_of_no_return() -> None:
    def offered(*steps: dict[str, Any]) -> bool:
        story = Story()
        for number, meta in enumerate(steps):
            story.step(f"0:{number}", "a", T + number * S, S, **meta)
        view = snapshot(story.ends(T + 9 * S).rows(), now=T)
        plan = saga.plan([(row.seq, row.event) for row in story.rows()])
        assert view.undoable == (plan.next() is not None)
        return "compensate" in told(story)["actions"]

    undo = {"undo": {"name": "u"}}
    assert offered(undo) and not offered(undo, {"pivot": True}) and offered(undo, {"pivot": True}, undo)
    assert not offered({**undo, "pivot": True}) and offered({"pivot": True}, undo)
    assert not offered(undo, {"undoes": "0:0"}) and not offered({"undo": None, "shared": True})
    assert offered(undo, {"undoes": "0:0"}, undo, undo) and not offered(undo, {"undoes": "0:0"}, undo, {"pivot": True})


def test_a_failed_row_is_tried_again_when_nothing_goes_on_and_an_undo_that_gave_up_is_decided() -> None:
    story = Story().asks("0:0", "a", T)
    story.add(ev.ACTIVITY_FAILED, T, "0:0", attempt=1, value={"type": "E", "message": "m"})
    story.add(ev.RUN_FAILED, T + S)
    assert rows(story)["0:0"]["actions"] == ["retry", "code"]
    story.add(ev.RUN_COMPENSATED, T + 2 * S)  # what is undone is never taken up
    assert rows(story)["0:0"]["actions"] == ["code"]
    found = rows(undone())
    assert found["0:2"]["actions"] == ["code"]
    assert found["undo:0:0"]["actions"] == ["retry", "skip", "done", "code"]
    assert found["undo:0:1"]["actions"] == ["code"]
    assert found["0:0"]["actions"] == ["fork", "code"]
    story = Story().asks("0:0", "a", T)
    story.add(ev.ACTIVITY_FAILED, T, "0:0", attempt=1, value={"type": "E", "message": "m"})
    assert rows(story)["0:0"]["actions"] == ["code"]


def test_hostile_names_and_facts_are_plain_text_and_break_nothing() -> None:
    story = Story(HOSTILE, inputs={HOSTILE: HOSTILE}, reason=HOSTILE)
    story.step(HOSTILE, HOSTILE, T, S, undoes=HOSTILE, undo={"name": HOSTILE})
    story.add(ev.WAIT_STARTED, T, "branch:0.0", HOSTILE, value=[HOSTILE], what="ask")
    story.add(ev.WAIT_STARTED, T, "0:7", "channel:*", value={"question": [HOSTILE], "due": HOSTILE}, what="message")
    story.add(ev.EVENT_REFUSED, T, "", "channel:x", why={HOSTILE: 1})
    story.add(ev.CHILD_STARTED, T, "0.0:0", HOSTILE, value=None, instance={HOSTILE: 1})
    story.step("0.0:1", "a", T, S).asks("0:9", "a", T)
    story.gets("0:9", T, 1, attributes={"cost_usd": [HOSTILE], HOSTILE: {HOSTILE: HOSTILE}, "tokens": HOSTILE})
    story.gets("0:9", T, 1, attributes=HOSTILE)
    for place in ("0:" + "9" * 5000, "0." + "9" * 5000 + ":1", "0.²:1", "0:+", ""):
        story.add(ev.TIMER_STARTED, T, place, "sleep", due="soon", delay="long").asks(place + "+", "a", T)
    view = told(story)
    assert "\x00" not in json.dumps(view["rows"][1]["label"])
    assert rows(story)["0:7"]["label"] == "wait for any channel"
    assert "1 event did not fit" in rows(story)["0:7"]["note"]


def test_of_a_thousand_attempts_the_last_twenty_are_told() -> None:
    story = Story().asks("0:0", "charge", T)
    for number in range(1, 1001):
        story.add(ev.ATTEMPT_STARTED, T + number * S, "0:0", attempt=number)
    assert [attempt[0] for attempt in rows(story)["0:0"]["attempts"]] == list(range(981, 1001))


def test_the_order_of_rows_is_that_of_the_snapshot() -> None:
    for story in (order(), outside(), undone(), many(30)):
        view = snapshot(story.rows(), now=T)
        assert [row["id"] for row in view_json(view)["rows"] if row["kind"] != "branch"] == [s.call for s in view.steps]


def test_a_step_whose_undo_a_person_skipped_is_not_said_to_be_undone() -> None:
    story = undone()
    assert [
        line
        for line in str(Timeline(snapshot(story.rows(), now=T))).splitlines()
        if "undone" in line and "hotel" in line
    ]
    for action, said in (("skip", False), ("done", True)):
        story.add(ev.COMPENSATION_RESOLVED, T + 7 * S, "undo:0:0", action=action)
        (flight,) = (line for line in str(Timeline(snapshot(story.rows(), now=T))).splitlines() if " flight(" in line)
        assert ("undone" in flight) is said
