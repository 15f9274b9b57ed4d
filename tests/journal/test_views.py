"""The public views, on histories made by hand. Their columns are an interface."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from journal_tools import completed, intent, start, turn

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.payloads.payload import Payload

COLUMNS = {
    "instances": "instance_id workflow status run created_at updated_at owner notebook parent",
    "runs": "instance_id run reason status code_hash started_at finished_at input output error parent",
    "steps": "instance_id run seq call kind name status origin attempts started_at finished_at input output error",
    "attempts": "instance_id run seq call name attempt status started_at finished_at error",
    "compensations": "instance_id run seq of_call name status attempts started_at finished_at error",
    "limits": "name concurrency per_second running queued updated_at",
    "events": "instance_id run seq kind at call name attempt payload meta",
}
BOOM = Payload('{"type":"ValueError"}')


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def steps(journal: DuckDBJournal, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    return journal.query(f"select {columns} from steps where {where} order by run, seq").rows


@pytest.mark.parametrize("view", COLUMNS)
def test_a_view_has_its_columns(journal: DuckDBJournal, view: str) -> None:
    table = journal.query(f"from {view}")
    assert " ".join(table.columns) == COLUMNS[view]
    assert table.rows == []
    types = dict(zip(table.columns, table.types, strict=True))
    for name in ("input", "output", "error", "payload", "meta"):
        assert types.get(name, "JSON") == "JSON"
    for name in ("created_at", "updated_at", "started_at", "finished_at", "at"):
        assert types.get(name, "TIMESTAMP WITH TIME ZONE") == "TIMESTAMP WITH TIME ZONE"


def test_a_run_that_completed(journal: DuckDBJournal) -> None:
    journal.commit(turn(1, 7, start("a"), intent("0:0"), completed("0:0")))
    journal.commit(turn(2, 7, Event(ev.RUN_COMPLETED, 4_000_000, payload=Payload('{"ok":true}')), first=4))
    assert journal.query("from instances").rows == [
        ("a", "order", "completed", 1, at(1), at(4), "me", "/n/a.ipynb", None)
    ]
    assert journal.query("from runs").rows == [
        ("a", 1, "first", "completed", "c1", at(1), at(4), '{"item":"x"}', '{"ok":true}', None, None)
    ]
    assert journal.query("from steps").rows == [
        ("a", 1, 2, "0:0", "activity", "reserve", "completed", "executed", 1, at(2), at(3), '["in"]', '"out"', None)
    ]
    assert journal.query("from attempts").rows == [("a", 1, 2, "0:0", "reserve", 1, "completed", at(2), at(3), None)]
    events = journal.query("from events order by seq").rows
    assert [(row[3], row[5]) for row in events] == [
        ("run_started", ""),
        ("activity_scheduled", "0:0"),
        ("activity_completed", "0:0"),
        ("run_completed", ""),
    ]
    assert json.loads(events[0][9])["number"] == 1


def test_several_runs_each_keep_their_own_story(journal: DuckDBJournal) -> None:
    failed = Event(ev.RUN_FAILED, 5_000_000, payload=BOOM)
    journal.commit(turn(1, 90, start("a"), intent("0:0"), completed("0:0"), intent("0:1"), failed))
    again = intent("0:0", at=7_000_000, reused=[90, 2])
    answer = completed("0:0", at=8_000_000, reused=[90, 2])
    journal.commit(turn(2, 30, start("a", number=2, at=6_000_000, reason="edited"), again, answer))
    journal.commit(turn(3, 31, start("b")))
    assert journal.query("select instance_id, run, status, created_at from instances order by 1").rows == [
        ("a", 2, "running", at(1)),
        ("b", 1, "running", at(1)),
    ]
    assert journal.query("select run, reason, status, error from runs where instance_id = 'a' order by run").rows == [
        (1, "first", "failed", BOOM.text),
        (2, "edited", "running", None),
    ]
    assert steps(journal, "run, call, status, origin, finished_at", "instance_id = 'a'") == [
        (1, "0:0", "completed", "executed", at(3)),
        (1, "0:1", "in_doubt", "executed", None),
        (2, "0:0", "completed", "reused", at(8)),
    ]
    assert journal.query("select count(*) from attempts where run = 2").rows == [(0,)], "nothing was attempted there"


def test_retries_are_counted_and_told_one_by_one(journal: DuckDBJournal) -> None:
    journal.commit(
        turn(
            1,
            1,
            start("a"),
            intent("0:0"),
            Event(ev.ATTEMPT_FAILED, 3_000_000, "0:0", attempt=1, payload=BOOM, meta={"next_at": 4_000_000}),
            Event(ev.ATTEMPT_STARTED, 4_000_000, "0:0", attempt=2),
            Event(ev.ATTEMPT_ABANDONED, 5_000_000, "0:0", attempt=2, meta={"reason": "timeout"}),
            Event(ev.ATTEMPT_STARTED, 6_000_000, "0:0", attempt=3),
        )
    )
    told = "select attempt, status, started_at, finished_at, error from attempts order by attempt"
    assert journal.query(told).rows == [
        (1, "failed", at(2), at(3), BOOM.text),
        (2, "abandoned", at(4), at(5), None),
        (3, "running", at(6), None, None),
    ]
    assert steps(journal, "status, attempts, finished_at") == [("running", 3, None)]
    journal.commit(turn(2, 1, Event(ev.ACTIVITY_FAILED, 7_000_000, "0:0", attempt=3, payload=BOOM), first=7))
    assert journal.query(told).rows[2] == (3, "failed", at(6), at(7), BOOM.text)
    assert steps(journal, "status, attempts, finished_at, output, error") == [("failed", 3, at(7), None, BOOM.text)]
    # resumed: the failed activity executes again
    journal.commit(turn(3, 1, Event(ev.ATTEMPT_STARTED, 8_000_000, "0:0", attempt=4), first=8))
    assert steps(journal, "status, attempts, finished_at, error") == [("running", 4, None, None)]


def test_timers_wait_and_then_have_completed(journal: DuckDBJournal) -> None:
    sleep = [Event(ev.TIMER_STARTED, 2_000_000, f"0:{i}", "sleep", meta={"due": 9, "delay": 3}) for i in range(3)]
    journal.commit(turn(1, 1, start("a"), *sleep, Event(ev.TIMER_FIRED, 5_000_000, "0:0")))
    journal.commit(turn(2, 1, Event(ev.TIMER_CANCELLED, 6_000_000, "0:1"), first=6))
    assert steps(journal, "kind, name, status, finished_at, output") == [
        ("timer", "sleep", "completed", at(5), None),
        ("timer", "sleep", "completed", at(6), None),
        ("timer", "sleep", "waiting", None, None),
    ]
    assert journal.query("select status from runs").rows == [("waiting",)]


def test_helpers_are_steps_too(journal: DuckDBJournal) -> None:
    good = Event(ev.SIDE_EFFECT, 2_000_000, "0:0", "uuid4", payload=Payload('"u"'), meta={"ok": True})
    bad = Event(ev.SIDE_EFFECT, 2_000_000, "0:1", "read", payload=BOOM, meta={"ok": False})
    journal.commit(turn(1, 1, start("a"), good, bad))
    assert steps(journal, "kind, name, status, input, output, error") == [
        ("side_effect", "uuid4", "completed", None, '"u"', None),
        ("side_effect", "read", "failed", None, None, BOOM.text),
    ]


def test_an_outcome_that_waits_to_be_delivered_counts(journal: DuckDBJournal) -> None:
    ok = Event(ev.OUTCOME_RECORDED, 3_000_000, "0:0", attempt=1, payload=Payload("5"), meta={"ok": True})
    bad = Event(ev.OUTCOME_RECORDED, 3_000_000, "0:1", attempt=1, payload=BOOM, meta={"ok": False})
    journal.commit(turn(1, 1, start("a"), intent("0:0"), intent("0:1"), ok, bad, Event(ev.RUN_PAUSED, 4_000_000)))
    assert steps(journal, "status, output, error, finished_at") == [
        ("completed", "5", None, at(3)),
        ("failed", None, BOOM.text, at(3)),
    ]


@pytest.mark.parametrize(
    ("kind", "status"), [(ev.RUN_PAUSED, "in_doubt"), (ev.RUN_STUCK, "in_doubt"), (ev.RUN_RESUMED, "running")]
)
def test_an_open_call_is_in_doubt_once_its_run_rests(journal: DuckDBJournal, kind: str, status: str) -> None:
    journal.commit(turn(1, 1, start("a"), intent("0:0"), Event(kind, 5_000_000, meta={"message": "m"})))
    assert steps(journal, "status") == [(status,)]


def test_a_cancelled_call_reads_failed_without_an_error(journal: DuckDBJournal) -> None:
    journal.commit(turn(1, 1, start("a"), intent("0:0"), Event(ev.CALL_CANCELLED, 3_000_000, "0:0")))
    journal.commit(turn(2, 1, Event(ev.LATE_OUTCOME, 4_000_000, "0:0", attempt=1, payload=Payload("1")), first=4))
    assert steps(journal, "status, error, output") == [("failed", None, None)]


def test_what_stopped_a_run_is_its_error(journal: DuckDBJournal) -> None:
    journal.commit(turn(1, 1, start("a"), Event(ev.RUN_STUCK, 2, meta={"message": "parted", "asked": "x"})))
    journal.commit(turn(2, 2, start("b"), Event(ev.RUN_PAUSED, 2, payload=BOOM, meta={"reason": "error"})))
    journal.commit(turn(3, 3, start("c"), Event(ev.RUN_PAUSED, 2, meta={"reason": "interrupt"})))
    told = journal.query("select status, error ->> '$.message', error ->> '$.type' from runs order by instance_id").rows
    assert told == [("stuck", "parted", None), ("paused", None, "ValueError"), ("paused", None, None)]


def test_text_with_every_odd_character_reads_back_as_json(journal: DuckDBJournal) -> None:
    odd = 'tab\t line\n quote" @ \\ ü 😀 '
    journal.commit(turn(1, 1, start("a"), intent("0:0"), completed("0:0", text=json.dumps(odd))))
    journal.commit(turn(2, 1, completed("0:1", text='"@abc"'), first=4))
    assert steps(journal, "output ->> '$'") == [(odd,)]
    assert journal.query("select payload ->> '$' from events where call = '0:1'").rows == [("@abc",)]


def test_a_call_waits_for_its_limit_until_an_attempt_begins(journal: DuckDBJournal) -> None:
    door = [{"name": "door", "concurrency": 2}, {"name": 'o"r', "per_second": 0.5}]
    journal.commit(turn(1, 1, start("a"), intent("0:0", limit=door), intent("0:1", limit=door), intent("0:2")))
    told = "select name, concurrency, per_second, running, queued, updated_at from limits order by name"
    assert steps(journal, "call, status, attempts") == [
        ("0:0", "waiting", 0),
        ("0:1", "waiting", 0),
        ("0:2", "running", 0),
    ]
    assert journal.query(told).rows == [("door", 2, None, 0, 2, at(2)), ('o"r', None, 0.5, 0, 2, at(2))]
    assert journal.query("from attempts").rows == [], "there is no attempt yet"
    wider = [{"name": "door", "concurrency": 3}, {"name": 'o"r', "per_second": 0.5}]
    begun = Event(ev.ATTEMPT_STARTED, 3_000_000, "0:0", attempt=1, meta={"limit": wider})
    journal.commit(turn(2, 1, begun, first=5))
    assert steps(journal, "status", "call = '0:0'") == [("running",)]
    assert journal.query("select status, started_at from attempts").rows == [("running", at(3))]
    assert journal.query(told).rows == [("door", 3, None, 1, 1, at(3)), ('o"r', None, 0.5, 1, 1, at(3))]
    failed = Event(ev.ATTEMPT_FAILED, 4_000_000, "0:0", attempt=1, payload=BOOM, meta={"next_at": 5_000_000})
    journal.commit(turn(3, 1, failed, first=6))
    assert steps(journal, "status", "call = '0:0'") == [("waiting",)]
    again = Event(ev.ATTEMPT_STARTED, 6_000_000, "0:0", attempt=2)
    journal.commit(turn(4, 1, again, completed("0:0", at=7_000_000, attempt=2), first=7))
    assert steps(journal, "status, attempts", "call = '0:0'") == [("completed", 2)]
    assert journal.query(told).rows == [("door", 3, None, 0, 1, at(7)), ('o"r', None, 0.5, 0, 1, at(7))]


@pytest.mark.parametrize(("end", "status"), [(ev.RUN_PAUSED, "waiting"), (ev.RUN_FAILED, "failed")])
def test_what_waited_when_its_run_stopped_is_not_in_doubt_and_not_queued(
    journal: DuckDBJournal, end: str, status: str
) -> None:
    door = [{"name": "door", "concurrency": 2}]
    journal.commit(turn(1, 1, start("a"), intent("0:0", limit=door), Event(end, 3_000_000, payload=BOOM)))
    assert steps(journal, "status") == [(status,)]
    assert journal.query("select name, running, queued from limits").rows == [("door", 0, 0)]


def test_a_call_that_was_given_up_waits_for_no_limit(journal: DuckDBJournal) -> None:
    door = [{"name": "door", "concurrency": 2}]
    given_up = Event(ev.CALL_CANCELLED, 3_000_000, "0:0")
    journal.commit(turn(1, 1, start("a"), intent("0:0", limit=door), given_up))
    assert steps(journal, "status") == [("failed",)]
    assert journal.query("select name, running, queued from limits").rows == [("door", 0, 0)]


def test_an_undo_counts_for_its_limit(journal: DuckDBJournal) -> None:
    door = [{"name": "door", "concurrency": 2}]
    decided = Event(ev.RUN_COMPENSATING, 4_000_000, meta={"why": "failed", "owner": "me", "epoch": 1})
    undo = Event(ev.COMPENSATION_SCHEDULED, 5_000_000, "undo:0:0", "free", payload=Payload("{}"), meta={"limit": door})
    journal.commit(turn(1, 1, start("a"), intent("0:0"), completed("0:0"), decided, undo))
    assert journal.query("select name, running, queued from limits").rows == [("door", 0, 1)]
    journal.commit(turn(2, 1, Event(ev.ATTEMPT_STARTED, 6_000_000, "undo:0:0", attempt=1), first=6))
    assert journal.query("select name, running, queued from limits").rows == [("door", 1, 0)]
    journal.commit(turn(3, 1, Event(ev.COMPENSATION_COMPLETED, 7_000_000, "undo:0:0", attempt=1), first=7))
    assert journal.query("select name, running, queued from limits").rows == [("door", 0, 0)]
