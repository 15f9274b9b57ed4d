"""What the engine asks once a turn."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from journal_tools import completed, history, intent, start, turn

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.journal.protocol import Batch, Head


def timer(kind: str, call: str = "0:9") -> Event:
    return Event(kind, 4_000_000, call, "sleep", meta={"due": 9_000_000})


STORIES: dict[str, tuple[list[Event], str]] = {
    "just started": ([start("a")], "running"),
    "an activity is open": ([start("a"), intent("0:0")], "running"),
    "only a timer is open": ([start("a"), timer(ev.TIMER_STARTED)], "waiting"),
    "a timer and an activity": ([start("a"), timer(ev.TIMER_STARTED), intent("0:0")], "running"),
    "the activity ended": ([start("a"), timer(ev.TIMER_STARTED), intent("0:0"), completed("0:0")], "waiting"),
    "it was cancelled": (
        [start("a"), timer(ev.TIMER_STARTED), intent("0:0"), Event(ev.CALL_CANCELLED, 5, "0:0")],
        "waiting",
    ),
    "the timer fired": ([start("a"), timer(ev.TIMER_STARTED), timer(ev.TIMER_FIRED)], "running"),
    "paused": ([start("a"), timer(ev.TIMER_STARTED), Event(ev.RUN_PAUSED, 5)], "paused"),
    "resumed": (
        [start("a"), Event(ev.RUN_PAUSED, 5), Event(ev.RUN_RESUMED, 6, meta={"owner": "b", "epoch": 2})],
        "running",
    ),
    "stuck": ([start("a"), Event(ev.RUN_STUCK, 5)], "stuck"),
    "completed": ([start("a"), Event(ev.RUN_COMPLETED, 5)], "completed"),
    "completed, then a late outcome": (
        [start("a"), Event(ev.RUN_COMPLETED, 5), Event(ev.LATE_OUTCOME, 6, "0:0")],
        "completed",
    ),
    "failed": ([start("a"), Event(ev.RUN_FAILED, 5)], "failed"),
    "cancelled": ([start("a"), Event(ev.RUN_CANCELLED, 5)], "cancelled"),
}


@pytest.mark.parametrize("story", STORIES)
def test_a_status_reads_the_same_followed_asked_and_in_sql(journal: DuckDBJournal, story: str) -> None:
    told, status = STORIES[story]
    assert journal.heads(["a"]) == {}
    for i, event in enumerate(told):
        journal.commit(turn(i, 1, event, first=i + 1))
    followed = journal.heads(["a"])["a"]
    journal._heads.forget()
    asked = journal.heads(["a"])["a"]
    assert followed == asked
    assert asked.status == status
    assert journal.query("select status from instances").rows == [(status,)]
    assert [head.run for head in journal.unfinished()] == (
        [] if status in ("completed", "failed", "cancelled") else [1]
    )


def test_a_head_says_everything_its_protocol_promises(journal: DuckDBJournal) -> None:
    journal.commit(turn(1, 9, start("a", at=100), intent("0:0", at=200)))
    resumed = Event(ev.RUN_RESUMED, 300, meta={"owner": "you", "epoch": 2})
    journal.commit(turn(2, 9, resumed, first=3))
    assert journal.heads(["a", "b"]) == {
        "a": Head(9, "a", 1, "order", "d1", "c1", "running", "you", 2, 100, 300, 3, "/n/a.ipynb")
    }


def test_the_newest_run_stands_for_the_instance(journal: DuckDBJournal) -> None:
    journal.commit(turn(1, 50, start("a"), Event(ev.RUN_COMPLETED, 2)))
    journal.commit(turn(2, 20, start("a", number=2, reason="edited")))
    assert journal.heads(["a"])["a"].run == 20
    assert [(head.run, head.number) for head in journal.runs("a")] == [(50, 1), (20, 2)]
    assert [head.run for head in journal.unfinished()] == [20]
    journal.commit(turn(3, 20, Event(ev.RUN_FAILED, 3), first=2))
    journal.commit(turn(4, 50, Event(ev.LATE_OUTCOME, 3, "0:0"), first=3))
    assert journal.unfinished() == []


def test_a_run_taken_up_by_another_process_has_moved(path: Path) -> None:
    mine, other = DuckDBJournal(path), DuckDBJournal(path)
    assert mine.acquire(1)
    mine.commit(turn(1, 1, start("a")))
    mine.commit(turn(2, 2, start("b")))
    assert mine.moved({1: 1, 2: 1}) == set()
    assert mine.moved({1: 1, 99: 1}) == {99}, "it is not there: the file was deleted"
    mine.release()
    assert other.acquire(1)
    other.commit(turn(3, 1, Event(ev.RUN_RESUMED, 9, meta={"owner": "you", "epoch": 2}), first=2))
    other.commit(turn(4, 3, start("c")))
    other.release()
    assert mine.acquire(1), "somebody else wrote"
    assert mine.moved({1: 1, 2: 1}) == {1}
    assert set(mine.heads(["a", "b", "c"])) == {"a", "b", "c"}
    assert mine.heads(["a"])["a"].owner == "you"
    mine.release()
    assert not mine.acquire(1), "nobody else wrote"
    mine.release()


def test_commits_before_the_first_question_after_foreign_writes_are_counted_once(path: Path) -> None:
    mine, other = DuckDBJournal(path), DuckDBJournal(path)
    for number in range(1, 6):
        for journal in (mine, other):
            journal.acquire(1)
            run = number * 10 + (journal is mine)
            journal.commit(turn(run, run, start(f"i-{run}"), timer(ev.TIMER_STARTED)))
            if number % 2:
                journal.heads([f"i-{run}"])
            journal.release()
    mine.acquire(1)
    kept = mine.unfinished()
    mine._heads.forget()
    assert mine.unfinished() == kept
    assert len(kept) == 10
    mine.release()


def test_a_large_journal_answers_fast(journal: DuckDBJournal, capsys: pytest.CaptureFixture[str]) -> None:
    run = 0
    for number in range(100):
        rows = []
        for _ in range(50):
            run += 1
            steps = [event for i in range(9) for event in (intent(f"0:{i}"), completed(f"0:{i}"))]
            rows += history(run * 7919, start(f"i-{run}", source="x" * 300), *steps, Event(ev.RUN_COMPLETED, 9))
        journal.commit(Batch(number, rows))
    journal.release()
    other = DuckDBJournal(journal.where)
    other.acquire(1)
    said = ["100,000 events:"]

    def measure(what: str, ids: list[str]) -> None:
        before = time.perf_counter()
        assert len(other.heads(ids)) == len(ids)
        said.append(f"  {what}: {(time.perf_counter() - before) * 1000:.2f} ms")

    measure("the very first head", ["i-1"])
    measure("another head, not seen yet", ["i-2"])
    measure("the same again", ["i-2"])
    measure("1000 heads, not seen yet", [f"i-{i}" for i in range(1000, 2000)])
    measure("the same again", [f"i-{i}" for i in range(1000, 2000)])
    other.release()
    with capsys.disabled():
        print("\n" + "\n".join(said))


def test_a_journal_that_was_replaced_by_a_longer_one_is_known_anew(path: Path) -> None:
    mine, other = DuckDBJournal(path), DuckDBJournal(path)
    assert mine.acquire(1)
    mine.commit(turn(1, 1, start("a")))
    assert set(mine.heads(["a"])) == {"a"}
    mine.release()
    path.unlink()
    assert other.acquire(1)
    other.commit(turn(2, 7, start("b"), Event(ev.RUN_COMPLETED, 2)))
    other.commit(turn(3, 8, start("c"), Event(ev.RUN_COMPLETED, 2)))
    other.release()
    assert mine.acquire(1)
    assert set(mine.heads(["a", "b", "c"])) == {"b", "c"}
    assert mine.moved({1: 1}) == {1}
    mine.release()


def test_a_journal_that_is_deleted_while_it_is_let_go_of_is_known_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = DuckDBJournal(path)
    assert mine.acquire(1)
    mine.commit(turn(1, 1, start("a")))
    assert set(mine.heads(["a"])) == {"a"}
    close = mine._close

    def close_and_lose() -> None:
        close()
        path.unlink()

    monkeypatch.setattr(mine, "_close", close_and_lose)
    mine.release()
    monkeypatch.undo()
    assert mine.acquire(1) and mine.heads(["a"]) == {}
    mine.release()
