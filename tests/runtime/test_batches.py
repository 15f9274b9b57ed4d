"""``rn.map`` and ``workflow.map``: order, failed rows alone again, what is recorded costs nothing, Stop, data frames."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import romancy_nb as rn
from romancy_nb.errors import RowsFailed, RunInterrupted, WrongArguments, WrongPlace
from romancy_nb.runtime.observers import Console
from romancy_nb.runtime.progress import Meter
from romancy_nb.runtime.screen import Line

ONCE = rn.RetryPolicy(max_attempts=1)


class State:
    """What activities do and see. It has a lock, so that it has no digest: plain values would count as part of their code (R6)."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.bad: set[int] = set()
        self.at_once = self.most = 0
        self.lock = threading.Lock()
        self.gate = threading.Event()


World = State()


@pytest.fixture(autouse=True)
def fresh(journal: Path) -> Path:
    World.__init__()  # type: ignore[misc]
    return journal


def effect(n: int) -> None:
    World.log.append(n)
    if n in World.bad:
        raise ValueError(f"bad {n}")


@rn.activity(name="half", retry=ONCE)
def half(n: int) -> float:
    effect(n)
    return n / 2


@rn.activity(name="ahalf", retry=ONCE)
async def ahalf(n: int) -> float:
    effect(n)
    return n / 2


@rn.activity(name="busy", retry=ONCE)
def busy(n: int) -> int:
    with World.lock:
        World.at_once += 1
        World.most = max(World.most, World.at_once)
    time.sleep(0.005)
    with World.lock:
        World.at_once -= 1
    return n


@rn.activity(name="label", retry=ONCE)
def label(text: str, size: int = 1) -> dict[str, Any]:
    World.log.append(text)
    return {"text": text.upper(), "size": size}


@rn.workflow(name="single")
def single(n: int) -> float:
    return half(n) + 1


# -- rn.map outside of a workflow --------------------------------------------------------------------------------------


@pytest.mark.parametrize("activity", [half, ahalf], ids=["def", "async def"])
def test_results_come_in_the_order_of_the_rows_and_the_same_call_executes_nothing(activity: Any) -> None:
    rows = list(range(300, 0, -1))
    batch = rn.map(activity, rows)
    assert batch.ok and batch.failed == [] and batch.results == [n / 2 for n in rows]
    assert list(batch) == batch.results and len(batch) == 300 and batch[0] == 150.0 and batch[-2:] == [1.0, 0.5]
    assert Counter(World.log) == Counter(rows)
    assert rn.map(activity, iter(rows)).results == batch.results
    assert len(World.log) == 300
    assert [each.workflow_name for each in rn.instances()] == [f"map.{activity.name}"]


def test_no_more_rows_are_under_way_than_asked_for() -> None:
    rn.map(busy, range(40), concurrency=3)
    assert 2 <= World.most <= 3


def test_a_failed_row_stops_no_other_and_is_executed_again_alone_by_retry() -> None:
    World.bad = {3, 70, 199}
    batch = rn.map(half, range(200))
    assert not batch.ok and [each.index for each in batch.failed] == [3, 70, 199]
    assert [str(each.error) for each in batch.failed] == ["bad 3", "bad 70", "bad 199"]
    assert batch.results == [None if n in World.bad else n / 2 for n in range(200)]
    World.log.clear()
    World.bad = {70}
    again = batch.retry()
    assert sorted(World.log) == [3, 70, 199]
    assert [each.index for each in again.failed] == [70] and again[3] == 1.5 and len(again) == 200
    World.log.clear()
    World.bad = set()
    last = again.retry()
    assert World.log == [70] and last.ok and last.results == [n / 2 for n in range(200)]
    assert last.retry() is last


def test_the_same_call_in_another_process_executes_only_what_failed() -> None:
    World.bad = {3, 4}
    rn.map(half, range(10))
    rn.disconnect()
    World.log.clear()
    World.bad = set()
    assert rn.map(half, range(10)).ok
    assert sorted(World.log) == [3, 4]


def test_a_batch_with_failed_rows_waits_for_a_person_and_nothing_of_it_is_undone() -> None:
    World.bad = {1}
    batch = rn.map(half, range(3))
    (found,) = rn.instances(status="paused")
    assert found.id == batch.failed[0].instance_id
    with pytest.raises(RowsFailed, match=r"1 of 3 rows of half failed \(row 1: ValueError: bad 1\)"):
        found.result()
    World.log.clear()
    World.bad = set()
    found.resume()
    assert found.result(20) == {"rows": 3}
    assert World.log == [1]


def test_retry_after_the_activity_was_mended_keeps_what_succeeded_and_uses_the_new_code() -> None:
    @rn.activity(name="mended", retry=ONCE)
    def first(n: int) -> int:
        World.log.append(n)
        return 10 // n

    batch = rn.map(first, [1, 0, 5])
    assert [each.index for each in batch.failed] == [1]
    World.log.clear()

    @rn.activity(name="mended", retry=ONCE)
    def second(n: int) -> int:
        World.log.append(n)
        return 10 // n if n else -1

    again = batch.retry()
    assert again.results == [10, -1, 2] and World.log == [0]
    World.log.clear()
    assert rn.map(second, [1, 0, 5]).results == [10, -1, 2]
    assert World.log == []


def test_an_edited_activity_is_executed_anew_for_every_row_by_the_same_call() -> None:
    @rn.activity(name="edited")
    def old(n: int) -> int:
        return n

    rn.map(old, [1, 2])

    @rn.activity(name="edited")
    def new(n: int) -> int:
        return n * 10

    assert rn.map(new, [1, 2]).results == [10, 20]


def test_values_that_do_not_fit_are_a_failed_row_and_nothing_is_executed_for_it() -> None:
    rows: list[Any] = [2, "no number", 4]
    batch = rn.map(half, rows)
    assert batch.results == [1.0, None, 2.0] and World.log == [2, 4]
    (failed,) = batch.failed
    assert failed.index == 1 and failed.row == "no number" and isinstance(failed.error, WrongArguments)
    rn.disconnect()
    rn.instance(failed.instance_id).resume()  # from what is journaled
    with pytest.raises(RowsFailed, match="1 of 3 rows"):
        rn.instance(failed.instance_id).result(20)
    assert World.log == [2, 4]


def test_raise_lets_no_further_row_begin_and_raises_the_errors() -> None:
    World.bad = {0}
    with pytest.raises(ExceptionGroup) as caught:
        rn.map(half, range(100), concurrency=2, on_error="raise")
    assert [str(error) for error in caught.value.exceptions] == ["bad 0"]
    assert len(World.log) < 50
    World.bad = set()
    assert rn.map(half, range(100), concurrency=2, on_error="raise").ok
    assert Counter(World.log) == Counter([*range(100), 0])


def test_raise_undoes_what_completed() -> None:
    @rn.compensation(name="unbook")
    def unbook(n: int) -> None:
        World.log.append(-n)

    @rn.activity(name="book", retry=ONCE, compensation=unbook)
    def book(n: int) -> int:
        effect(n)
        return n

    World.bad = {3}
    with pytest.raises(ExceptionGroup):
        rn.map(book, [1, 2, 3], concurrency=1, on_error="raise")
    assert World.log == [1, 2, 3, -2, -1]
    World.log.clear()
    batch = rn.map(book, [5, 3], concurrency=1)
    assert World.log == [5, 3] and not batch.ok


def test_instance_id_and_new_make_another_instance() -> None:
    rn.map(half, [1], instance_id="mine")
    rn.map(half, [1])
    rn.map(half, [1], new=True)
    assert len(rn.instances()) == 3 and World.log == [1, 1, 1]
    with pytest.raises(rn.errors.InputsDiffer) as caught:  # type: ignore[attr-defined]
        rn.map(half, range(5_000), instance_id="mine")
    assert len(str(caught.value)) < 1_500


def test_no_rows_are_an_empty_batch() -> None:
    batch = rn.map(half, [])
    assert batch.ok and batch.results == [] and len(batch.df()) == 0
    assert len(single.map([])) == 0


def test_binary_arguments_and_secrets_go_with_their_rows() -> None:
    @rn.activity(name="weigh")
    def weigh(data: bytes, table: Any, api_key: str) -> int:
        World.log.append(api_key)
        return len(data) + int(table["n"].sum())

    rows = [(bytes(n), pd.DataFrame({"n": [n]}), f"key-{n}") for n in range(4)]
    assert rn.map(weigh, rows, concurrency=1).results == [0, 2, 4, 6]
    assert World.log == [f"key-{n}" for n in range(4)]
    events = rn.sql("select payload from events").fetchall()
    assert "key-1" not in str(events)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: rn.map(single, [1]), WrongArguments, "is a workflow: single.map"),
        (lambda: rn.map(len, [1]), WrongArguments, "takes an activity, not the plain function len"),
        (lambda: rn.map(half, [1], concurrency=0), WrongArguments, "concurrency=0"),
        (lambda: single.map([1], concurrency=True), WrongArguments, "concurrency=True"),
        (lambda: rn.map(half, [1], on_error="stop"), WrongArguments, '"collect" or "raise"'),
    ],
)
def test_what_is_no_map_is_refused(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


def test_a_map_in_an_activity_is_refused() -> None:
    @rn.activity(name="outer", retry=ONCE)
    def outer() -> int:
        return len(rn.map(half, [1]))

    with pytest.raises(WrongPlace, match="inside an activity"):
        outer()


# -- rn.map in workflow code -------------------------------------------------------------------------------------------


@rn.workflow(name="inner")
def inner(rows: list[int]) -> list[Any]:
    batch = rn.map(half, rows, concurrency=4)
    again = batch.retry()
    return [batch.results, [each.index for each in batch.failed], again.results]


@rn.workflow(name="ainner")
async def ainner(rows: list[int]) -> list[Any]:
    batch = await rn.map(ahalf, rows, concurrency=4)
    again = await batch.retry()
    return [batch.results, [each.index for each in batch.failed], again.results]


@pytest.mark.parametrize("workflow", [inner, ainner], ids=["def", "async def"])
def test_in_workflow_code_rows_are_steps_and_replay_executes_nothing(workflow: Any) -> None:
    World.bad = {2}
    expected = [[0.5, None, 1.5], [1], [0.5, None, 1.5]]
    assert workflow.run([1, 2, 3]) == expected
    assert sorted(World.log) == [1, 2, 2, 3]
    assert workflow.run([1, 2, 3]) == expected
    assert len(World.log) == 4
    assert [step[0] for step in rn.sql("select call from steps order by seq").fetchall()] == [
        "0:0",
        "0:1",
        "0:2",
        "0:3",
    ]


def test_the_place_of_a_rows_step_does_not_depend_on_what_ends_when() -> None:
    @rn.activity(name="slow_first")
    async def slow_first(n: int) -> int:
        await asyncio.sleep(0.05 if n == 0 else 0)
        return n

    @rn.workflow(name="placed")
    async def placed() -> list[Any]:
        return (await rn.map(slow_first, range(20), concurrency=3)).results

    assert placed.run() == list(range(20))
    calls = rn.sql("select call, input->>'n' from steps order by seq").fetchall()
    assert [(call, int(n)) for call, n in calls] == [(f"0:{n}", n) for n in range(20)]


def test_raise_failed_in_workflow_code_fails_the_run_like_an_activity() -> None:
    @rn.workflow(name="strict")
    def strict() -> None:
        rn.map(half, [1, 2, 3]).raise_failed()

    World.bad = {1, 3}
    with pytest.raises(ExceptionGroup) as caught:
        strict()
    assert [str(error) for error in caught.value.exceptions] == ["bad 1", "bad 3"]
    assert rn.instances()[0].status == "failed"


def test_raise_in_workflow_code_raises_when_what_is_under_way_has_settled() -> None:
    @rn.workflow(name="raising")
    def raising() -> str:
        try:
            rn.map(half, range(50), concurrency=3, on_error="raise")
        except ExceptionGroup as group:
            return f"{len(group.exceptions)} failed"
        return "none"

    World.bad = {0}
    assert raising() == "1 failed"
    assert set(World.log) <= {0, 1, 2, 3, 4}
    assert not rn.sql("select * from steps where status = 'running'").fetchall()


def test_raise_in_workflow_code_counts_rows_that_did_not_begin_as_such() -> None:
    @rn.workflow(name="counting")
    def counting() -> None:
        rn.map(half, range(10), concurrency=1, on_error="raise")

    World.bad = {1}
    with pytest.raises(ExceptionGroup, match="half: 10 rows, 1 completed, 1 failed, 8 not begun"):
        counting()
    assert World.log == [0, 1]


def test_a_cancelled_map_gives_up_what_is_under_way() -> None:
    @rn.activity(name="waits")
    async def waits(n: int) -> int:
        await asyncio.sleep(60)
        return n

    @rn.workflow(name="limited")
    async def limited() -> str:
        try:
            async with asyncio.timeout(0.05):
                await rn.map(waits, range(10), concurrency=4)
        except TimeoutError:
            return "over"
        return "?"

    assert limited.run() == "over"
    assert limited.run() == "over"
    assert rn.sql("select count(*) from events where kind = 'call_cancelled'").fetchall() == [(4,)]


def test_a_map_that_is_not_awaited_in_async_code_is_an_error_with_its_line() -> None:
    @rn.workflow(name="forgets")
    async def forgets() -> None:
        rn.map(half, [1])

    with pytest.raises(rn.errors.UnawaitedCall, match=r"rn.map\(half, ...\)"):  # type: ignore[attr-defined]
        forgets.run()


def test_an_id_of_its_own_is_refused_in_workflow_code() -> None:
    @rn.workflow(name="with_id")
    def with_id() -> None:
        rn.map(half, [1], instance_id="x")

    with pytest.raises(WrongPlace, match="steps of the run"):
        with_id()


# -- workflow.map ------------------------------------------------------------------------------------------------------


def test_each_row_is_the_instance_that_the_call_is_and_what_was_done_before_is_not_executed() -> None:
    single(3)
    World.log.clear()
    batch = single.map(range(100), concurrency=8)
    assert batch.results == [n / 2 + 1 for n in range(100)] and sorted(World.log) == [n for n in range(100) if n != 3]
    World.log.clear()
    assert single(50) == 26.0 and single.map(range(100)).results == batch.results
    assert World.log == []
    assert batch.df()["instance_id"].nunique() == 100


def test_failed_instances_are_tried_again_alone() -> None:
    World.bad = {3, 4}
    batch = single.map(range(10))
    assert [(each.index, str(each.error)) for each in batch.failed] == [(3, "bad 3"), (4, "bad 4")]
    assert rn.instance(batch.failed[0].instance_id).status == "failed"
    World.log.clear()
    World.bad = {4}
    again = batch.retry()
    assert sorted(World.log) == [3, 4] and [each.index for each in again.failed] == [4] and again[3] == 2.5
    World.log.clear()
    World.bad = set()
    assert single.map(range(10)).ok and World.log == [4]


def test_no_more_instances_are_unfinished_than_asked_for() -> None:
    @rn.workflow(name="one_busy")
    def one_busy(n: int) -> int:
        return busy(n)

    assert one_busy.map(range(30), concurrency=3).ok
    assert 2 <= World.most <= 3


def test_equal_rows_are_one_instance() -> None:
    batch = single.map([1, 1, 2, 1])
    assert batch.results == [1.5, 1.5, 2.0, 1.5] and sorted(World.log) == [1, 2]


def test_a_map_of_instances_works_for_async_workflows_and_models() -> None:
    @dataclasses.dataclass
    class Order:
        n: int
        item: str

    @rn.workflow(name="by_name")
    async def by_name(n: int, item: str) -> str:
        return f"{item} {await ahalf(n)}"

    assert by_name.map([Order(1, "a"), {"n": 2, "item": "b"}, (3, "c")]).results == ["a 0.5", "b 1.0", "c 1.5"]


def test_an_instance_that_was_cancelled_or_does_not_fit_is_a_failed_row() -> None:
    @rn.workflow(name="stays")
    def stays(n: int) -> int:
        rn.wait_event("go")
        return n

    stays.start(1).cancel("enough")
    with pytest.raises(rn.errors.RunCancelled):  # type: ignore[attr-defined]
        stays.start(1).result(20)
    batch = stays.map([1, "x"])
    assert [type(each.error).__name__ for each in batch.failed] == ["RunCancelled", "WrongArguments"]


def test_workflow_map_in_workflow_code_is_refused() -> None:
    @rn.workflow(name="parent")
    def parent() -> None:
        single.map([1])

    with pytest.raises(WrongPlace, match="inside workflow parent.*rn.map"):
        parent()


# -- Stop --------------------------------------------------------------------------------------------------------------


@rn.activity(name="held", retry=ONCE)
def held(n: int) -> int:
    World.log.append(n)
    if n >= 5:
        World.gate.wait(20)
    return n


@rn.workflow(name="holds")
def holds(n: int) -> int:
    return held(n)


@pytest.mark.parametrize(
    "call", [lambda: rn.map(held, range(30), concurrency=4), lambda: holds.map(range(30), concurrency=4)]
)
def test_stop_pauses_the_batch_and_the_same_call_goes_on(call: Any) -> None:
    def press() -> None:
        while len(World.log) < 9:  # five that are done, four that wait
            time.sleep(0.005)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(RunInterrupted, match="go on from here"):
        call()
    World.gate.set()
    counted = Counter(World.log)
    assert len(counted) == 9
    batch = call()
    assert batch.ok and batch.results == list(range(30))
    assert all(Counter(World.log)[n] == 1 for n in range(5))
    assert not rn.instances(status=["running", "paused"])


# -- as a table --------------------------------------------------------------------------------------------------------


def test_a_pandas_frame_keeps_its_index_and_columns() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "size": [1, 2]}, index=["x", "y"])
    found = rn.map(label, frame).df()
    assert list(found.index) == ["x", "y"]
    assert list(found.columns) == ["text", "size", "result", "status", "error", "instance_id"]
    assert found["result"].tolist() == [{"text": "A", "size": 1}, {"text": "B", "size": 2}]
    assert found["status"].tolist() == ["completed", "completed"] and found["error"].tolist() == [None, None]
    assert "result" not in frame.columns


def test_fields_of_results_are_columns_on_request_and_a_name_that_is_taken_gets_a_dash() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "status": [7, 8]})
    found = rn.map(label, frame, columns=["text"]).df(expand=True)
    assert list(found.columns) == ["text", "status", "text_", "size", "status_", "error", "instance_id"]
    assert found["text_"].tolist() == ["A", "B"] and found["status"].tolist() == [7, 8]
    assert list(rn.map(half, [1]).df(expand=True).columns) == ["n", "result", "status", "error", "instance_id"]


def test_polars_and_arrow_come_back_as_they_went_in() -> None:
    rows = {"text": ["a", "b"], "size": [1, 2]}
    from_polars = rn.map(label, pl.DataFrame(rows))
    assert isinstance(from_polars.df(), pl.DataFrame)
    assert from_polars.df()["text"].to_list() == ["a", "b"]
    assert from_polars.df(expand=True)["text_"].to_list() == ["A", "B"]
    table = rn.map(label, pa.table(rows)).arrow()
    assert table.column_names == ["text", "size", "result", "status", "error", "instance_id"]
    assert table["result"].to_pylist() == [{"text": "A", "size": 1}, {"text": "B", "size": 2}]
    assert rn.map(label, pa.table(rows)).df()["text"].tolist() == ["a", "b"]
    assert from_polars.arrow().column_names == table.column_names
    assert rn.map(label, pd.DataFrame(rows)).arrow()["size"].to_pylist() == [1, 2]
    assert rn.map(label, [("a",), ("b", 2)]).arrow()["size"].to_pylist() == [None, 2]
    assert sorted(World.log) == ["a", "b"]  # equal rows are the same instance, whatever frame they came in


def test_failed_rows_stand_in_the_table_with_their_error() -> None:
    World.bad = {2}
    found = rn.map(half, [1, 2]).df()
    assert found["status"].tolist() == ["completed", "failed"]
    assert found["error"].isna().tolist() == [True, False] and found["error"][1] == "ValueError: bad 2"


def test_a_batch_shows_failed_rows_first_in_a_small_table_and_no_secrets() -> None:
    World.bad = {190}
    batch = rn.map(half, range(200))
    assert repr(batch).splitlines()[0] == "half: 200 rows, 199 completed, 1 failed"
    assert "190: 190 → ValueError: bad 190" in repr(batch).splitlines()[1]
    assert "… 190 more rows" in repr(batch) and len(repr(batch)) < 1_000
    page = batch._repr_html_()
    assert page.index("bad 190") < page.index(">0</td>") and len(page) < 6_000
    assert page.count("padding:") == page.count("<td ") + page.count("<th ")

    @rn.activity(name="calls_out")
    def calls_out(url: str, api_key: str) -> int:
        return 1

    assert "hush" not in repr(rn.map(calls_out, [{"url": "u", "api_key": "hush"}]))


# -- progress ----------------------------------------------------------------------------------------------------------


def test_the_line_of_progress_says_done_failed_pace_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lines = [0.0], []
    monkeypatch.setattr("romancy_nb.runtime.progress.monotonic", lambda: now[0])
    meter = Meter(lines.append)
    for done in range(1_204):
        now[0] = done / 41
        meter("score", done, min(done, 3), 5_000)
    assert lines[-1].startswith("score: 1,20") and lines[-1].endswith("/s, about 1 min 33 s left")
    assert "of 5,000 done, 3 failed, 41/s" in lines[-1]
    assert len(lines) <= 5 * 1_204 / 41 + 1


def test_a_map_tells_how_far_it_is_and_not_again_on_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr("romancy_nb.runtime.observers.Console.progress", lambda self, line: lines.append(line))
    monkeypatch.setattr("romancy_nb.runtime.progress.PACE", 0.0)
    rn.map(half, range(20))
    assert lines[-1].startswith("half: 20 of 20 done")
    assert json.dumps(lines).count("half: 20 of 20 done") == 1


def test_a_terminal_gets_one_line_that_is_drawn_over_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    console = Console()
    console.progress("half: 10 of 20 done, 3 failed")
    console.progress("half: 15 of 20 done")
    console.batch_ended("half: 20 rows, 20 completed.")
    console.progress("half: 16 of 20 done")  # a line that comes late
    line = Line("stderr")
    assert line.write(screen.getvalue()) == "half: 20 rows, 20 completed.\n" and line.text == ""
