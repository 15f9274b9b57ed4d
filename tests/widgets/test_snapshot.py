"""The view model says what history says."""

from __future__ import annotations

import json

import pytest

from romancy_nb.core import events as ev
from romancy_nb.widgets.history import history_json
from romancy_nb.widgets.marks import note, tallies
from romancy_nb.widgets.snapshot import RunLine, Snapshot, Step, snapshot

from .histories import HOUR, S, Story, T, many, order


def seen(story: Story, **how: object) -> Snapshot:
    return snapshot(story.rows(), now=T + 99 * S, **how)  # type: ignore[arg-type]


def only(story: Story, **how: object) -> Step:
    (step,) = seen(story, **how).steps
    return step


def test_a_finished_run_tells_its_counts_and_what_the_journal_saved() -> None:
    view = seen(order())
    assert (view.status, view.number, view.finished) == ("completed", 2, T + 7 * S + HOUR)
    assert (view.counts.steps, view.counts.executed, view.counts.from_journal, view.counts.retried) == (5, 2, 2, 1)
    assert view.saved_us == 41 * S
    assert [step.origin for step in view.steps] == ["reused", "reused", "executed", "executed", "executed"]
    json.dumps(view.as_dict())


def test_of_the_run_itself_its_history_knows_better_than_who_lists_the_runs() -> None:
    lines = (RunLine(1, "failed", "again", T, T + S), RunLine(2, "running", "", T, None))
    view = seen(order(), runs=lines)
    assert view.runs[0] == lines[0]
    assert (view.runs[1].status, view.runs[1].finished) == (view.status, view.finished)
    assert view.runs[1].reason == view.reason != ""


def test_attempts_carry_their_times_and_errors() -> None:
    charge = seen(order()).steps[2]
    assert [(a.number, a.outcome, a.error) for a in charge.attempts] == [
        (1, "failed", "Declined: try later"),
        (2, "failed", "Declined: try later"),
        (3, "ok", ""),
    ]
    assert [a.started for a in charge.attempts] == [T + 1000, T + 2 * S, T + 5 * S]
    assert (charge.tries, charge.output) == (3, '"ch_1"')


def test_what_was_redacted_stays_hidden() -> None:
    view = seen(order())
    assert view.steps[2].input == "amount=250, key=•••"
    assert "token" not in json.dumps(view.as_dict())


def test_steps_stand_in_the_order_of_the_code_however_their_branches_interleaved() -> None:
    story = Story()
    story.step("0:0", "first", T, S)
    for call in ("0.0:0", "0.1:0", "0.1.0:0", "0.1:1", "0.0:1", "0.2:0"):
        story.step(call, "branch", T + S, S)
    story.step("0:1", "last", T + 3 * S, S)
    shown = [(step.call, step.depth) for step in seen(story).steps]
    assert shown == [
        ("0:0", 0),
        ("0.0:0", 1),
        ("0.0:1", 1),
        ("0.1:0", 1),
        ("0.1.0:0", 2),
        ("0.1:1", 1),
        ("0.2:0", 1),
        ("0:1", 0),
    ]


def test_ten_calls_of_a_task_count_as_numbers() -> None:
    story = Story()
    for number in range(12):
        story.step(f"0:{number}", "call", T, S)
    assert [step.call for step in seen(story).steps] == [f"0:{number}" for number in range(12)]


def test_an_open_call_runs_while_its_owner_lives_and_may_have_run_when_it_does_not() -> None:
    story = Story().asks("0:0", "charge", T)
    assert only(story).status == "running"
    lost = seen(story, alive=False)
    assert (lost.status, lost.steps[0].status, lost.counts.in_doubt) == ("interrupted", "in_doubt", 1)
    assert [a.outcome for a in lost.steps[0].attempts] == ["unknown"]


def test_a_queued_at_most_once_call_is_pending_and_a_started_one_may_have_run() -> None:
    story = Story().asks("0:0", "charge", T, delivery="at_most_once")
    assert only(story, alive=False).status == "waiting"
    story.add(ev.ATTEMPT_STARTED, T + 1, "0:0", attempt=1)
    assert only(story).status == "running"
    assert only(story, alive=False).status == "in_doubt"
    story.add(ev.RUN_RESUMED, T + S, owner="another")
    assert only(story).status == "in_doubt"


def test_a_call_that_waits_for_a_limit_waits_until_an_attempt_begins() -> None:
    story = Story().asks("0:0", "charge", T, limit=[{"name": "api", "concurrency": 1}, {"name": "door"}])
    for alive in (True, False):
        step = only(story, alive=alive)
        assert (step.status, step.limits, step.attempts) == ("waiting", ("api", "door"), ())
        assert note(step) == "waiting for limit api and door"
    story.add(ev.ATTEMPT_STARTED, T + 5 * S, "0:0", attempt=1)
    step = only(story)
    assert (step.status, step.limits, [a.started for a in step.attempts]) == ("running", (), [T + 5 * S])
    assert only(story, alive=False).status == "in_doubt"
    error = {"type": "E", "message": "m"}
    story.add(ev.ATTEMPT_FAILED, T + 6 * S, "0:0", attempt=1, value=error, next_at=T + 9 * S)
    assert note(only(story)).endswith(" or later, limit api and door")
    assert only(story.ends(T + 10 * S)).status == "cancelled"


def test_a_resume_in_the_process_that_executes_the_attempt_goes_on_running() -> None:
    story = Story().asks("0:0", "charge", T, delivery="at_most_once").add(ev.ATTEMPT_STARTED, T + 1, "0:0", attempt=1)
    assert only(story.add(ev.RUN_RESUMED, T + S, owner="here")).status == "running"


def test_stop_leaves_what_was_in_flight_as_may_have_run() -> None:
    view = seen(Story().asks("0:0", "charge", T).add(ev.RUN_PAUSED, T + S, reason="interrupt"))
    assert (view.status, view.problem, view.steps[0].status) == ("paused", "Stopped by hand.", "in_doubt")
    assert view.hint


def test_a_run_that_is_paused_by_doubt_asks_for_the_answer_first() -> None:
    story = Story().asks("0:0", "charge", T, delivery="at_most_once").add(ev.ATTEMPT_STARTED, T + 1, "0:0", attempt=1)
    assert "resolve" in seen(story.add(ev.RUN_PAUSED, T + S, reason="doubt")).hint


def test_a_run_whose_every_branch_waits_is_waiting() -> None:
    story = Story().add(ev.TIMER_STARTED, T, "0:0", "sleep", due=T + HOUR, delay=3600.0)
    view = seen(story)
    assert (view.status, view.steps[0].status, view.steps[0].due, view.steps[0].input) == (
        "waiting",
        "waiting",
        T + HOUR,
        "1 h 00 min",
    )
    assert seen(story.asks("0.0:0", "charge", T)).status == "running"


def test_a_call_between_two_attempts_waits() -> None:
    story = Story().asks("0:0", "charge", T)
    story.add(ev.ATTEMPT_FAILED, T + S, "0:0", attempt=1, value={"type": "E", "message": "m"}, next_at=T + 9 * S)
    assert (only(story).status, only(story).due) == ("waiting", T + 9 * S)


def test_a_failed_run_says_why() -> None:
    error = {"type": "shop.Declined", "message": "no funds"}
    story = Story().asks("0:0", "charge", T)
    story.add(ev.ACTIVITY_FAILED, T + S, "0:0", attempt=1, value=error).add(ev.RUN_FAILED, T + S, value=error)
    view = seen(story)
    assert (view.status, view.problem, view.counts.failed) == ("failed", "Declined: no funds", 1)
    assert (view.steps[0].error, view.steps[0].output) == ("Declined: no funds", "")


def test_a_failure_that_is_tried_again_becomes_a_failed_attempt() -> None:
    error = {"type": "E", "message": "m"}
    story = Story().asks("0:0", "charge", T).add(ev.ACTIVITY_FAILED, T + S, "0:0", attempt=1, value=error)
    story.add(ev.RUN_FAILED, T + S, value=error).add(ev.RUN_RESUMED, T + 2 * S, owner="here", void_from=3)
    assert only(story).status == "waiting"
    story.add(ev.ATTEMPT_STARTED, T + 3 * S, "0:0", attempt=2).gets("0:0", T + 4 * S, 1, attempt=2).ends(T + 4 * S)
    view = seen(story)
    assert (view.status, view.counts.failed, view.counts.retried) == ("completed", 0, 1)
    assert [a.outcome for a in view.steps[0].attempts] == ["failed", "ok"]


def test_a_stuck_run_speaks_plainly_and_shows_both_sides() -> None:
    view = seen(Story().add(ev.RUN_STUCK, T + S, message="m", expected="activity a (call 0:0)", asked="activity b"))
    assert view.words == "code no longer fits its history"
    assert view.problem == "History holds activity a (call 0:0); the code asks for activity b."


def test_an_outcome_that_was_recorded_and_not_yet_delivered_counts() -> None:
    story = Story().asks("0:0", "charge", T).add(ev.OUTCOME_RECORDED, T + S, "0:0", attempt=1, value=5, ok=True)
    assert (only(story, alive=False).status, only(story).output) == ("completed", "5")
    story.gets("0:0", T + HOUR, 5)
    assert only(story).finished == T + S


def test_an_attempt_that_was_left_running_by_its_timeout_is_one_failed_attempt() -> None:
    story = Story().asks("0:0", "slow", T).add(ev.ATTEMPT_ABANDONED, T + S, "0:0", attempt=1, reason="timeout")
    assert [a.outcome for a in only(story, alive=False).attempts] == ["abandoned"]
    error = {"type": "AttemptTimeout", "message": "took over 1 s"}
    story.add(ev.ATTEMPT_FAILED, T + S, "0:0", attempt=1, value=error, next_at=T + 2 * S)
    story.add(ev.ATTEMPT_STARTED, T + 2 * S, "0:0", attempt=2).gets("0:0", T + 3 * S, 1, attempt=2)
    assert [(a.number, a.outcome) for a in only(story).attempts] == [(1, "failed"), (2, "ok")]


def test_a_losing_branch_is_cancelled() -> None:
    story = Story().asks("0.1:0", "slow", T).add(ev.CALL_CANCELLED, T + S, "0.1:0")
    story.add(ev.LATE_OUTCOME, T + 2 * S, "0.1:0", attempt=1, value=1, ok=True)
    assert only(story.ends(T + S)).status == "cancelled"


def test_a_repeated_call_marks_what_it_read_from_the_journal() -> None:
    story = Story().step("0:0", "a", T, 5 * S).step("0:1", "b", T + 5 * S, S).ends(T + 6 * S)
    view = seen(story, executed_since=3)
    assert [step.origin_now for step in view.steps] == ["journal", "now"]
    assert (view.counts.from_journal, view.counts.executed, view.saved_us) == (1, 1, 5 * S)
    assert view.saved() == seen(story)


def test_now_does_not_matter_once_nobody_advances_the_run() -> None:
    finished, paused = order(), Story().asks("0:0", "a", T).add(ev.RUN_PAUSED, T + S, reason="interrupt")
    for story, alive in ((finished, True), (paused, True), (Story().asks("0:0", "a", T), False)):
        assert snapshot(story.rows(), now=T + S, alive=alive) == snapshot(story.rows(), now=T + HOUR, alive=alive)


def test_previews_never_exceed_120_characters() -> None:
    story = Story("w" * 500, inputs={"text": "x" * 5000}).step(
        "0:0", "n" * 500, T, S, {"a": ["y" * 300] * 9}, value="z" * 200_000
    )
    view = seen(story.ends(T + S, "r" * 999))
    step = view.steps[0]
    assert max(map(len, (view.workflow, view.input, view.output, step.name, step.input, step.output))) <= 120


def test_a_history_begins_with_run_started() -> None:
    with pytest.raises(ValueError, match="run_started"):
        snapshot([], now=T)


def in_a_file(document: object) -> int:
    """The bytes that nbformat writes for *document* where an output's data stands."""
    nested: object = {"data": {"m": document}}
    for _ in range(2):
        nested = [nested]
    for key in ("outputs", "cells"):
        nested = {key: nested}
    return len(json.dumps(nested, indent=1, ensure_ascii=False).encode())


@pytest.mark.parametrize("text", ["seed", "机" * 300, "<&>\"'" * 60])
def test_history_json_is_at_most_20_kb_in_a_file_and_says_what_it_left_out(text: str) -> None:
    document = history_json(seen(many(10_000, text)))
    assert in_a_file(document) <= 20_000
    kept = document["steps"]
    assert len(kept) + document["omitted"]["steps"] == 10_000
    assert (kept[0]["call"], kept[-1]["call"]) == ("0.0:0", "0.9999:0")
    assert document["omitted"]["after"] >= 3


def test_history_json_of_a_short_run_is_whole() -> None:
    document = history_json(seen(order()))
    assert len(document["steps"]) == 5
    assert "omitted" not in document
    assert (document["schema"], document["version"], document["status"]) == ("romancy.history", 2, "completed")


def test_tuples_and_sets_are_previewed_as_python_writes_them() -> None:
    from romancy_nb.payloads.codec import encode
    from romancy_nb.widgets import preview

    for value, shown in ((([0], 5), "([0], 5)"), ((1,), "(1,)"), ((), "()"), ({3}, "{3}")):
        assert preview.value(encode(value, what="a value")) == shown


def test_what_still_runs_is_said_to_run_and_not_to_have_been_executed() -> None:
    story = Story().step("0:0", "first", T, S).asks("0:1", "second", T + S)
    story.add(ev.ATTEMPT_STARTED, T + S, "0:1", attempt=1)
    assert tallies(snapshot(story.rows(), now=T + 2 * S)) == ["1 executed", "1 running"]
    assert tallies(snapshot(story.gets("0:1", T + 3 * S).rows(), now=T + 4 * S)) == ["2 executed"]


def test_an_undo_that_the_code_makes_itself_and_that_still_runs_takes_nothing_from_what_was_executed() -> None:
    story = Story().step("0:0", "book", T, S).asks("0:1", "unbook", T + S, undoes="0:0")
    story.add(ev.ATTEMPT_STARTED, T + S, "0:1", attempt=1)
    assert tallies(snapshot(story.rows(), now=T + 2 * S)) == ["1 executed", "1 running"]
