"""rn.recur: a new run of the same instance with a fresh history, in one commit."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
from lawful import lawful
from processes import until

import romancy_nb as rn
from romancy_nb.errors import CompensationFailed, RunCancelled, WrongArguments, WrongPlace
from romancy_nb.testing import on_commit

SEEN: list[Any] = []
FAIL: set[Any] = set()


@pytest.fixture(autouse=True)
def fresh(journal: Path) -> None:
    SEEN.clear()
    FAIL.clear()


@rn.compensation(name="undo_mark", retry=rn.RetryPolicy(max_attempts=2, initial=0.01))
def undo_mark(what: Any) -> None:
    SEEN.append(f"undo {what}")
    if f"undo {what}" in FAIL:
        raise ValueError(f"cannot undo {what}")


@rn.activity(name="mark")
def mark(what: Any) -> Any:
    SEEN.append(what)
    if what in FAIL:
        raise rn.TerminalError(str(what))
    return what


@rn.activity(name="book", compensation=undo_mark, retry=rn.RetryPolicy(max_attempts=1))
def book(what: Any) -> Any:
    SEEN.append(what)
    if what in FAIL:
        raise ValueError(str(what))
    return what


@rn.workflow(name="count")
def count(number: int, end: int) -> str:
    mark(number)
    if number < end:
        rn.recur(number + 1, end)
    return f"done at {number}"


@rn.workflow(name="count_async")
async def count_async(number: int, end: int) -> str:
    await mark.aio(number)
    if number < end:
        return rn.recur(number + 1, end=end)
    return f"done at {number}"


@rn.workflow(name="booking")
def booking(number: int, end: int, how: str) -> str:
    book(number)
    if number < end:
        rn.recur(number + 1, end, how, compensations=how)  # type: ignore[arg-type]
    return "done"


@pytest.mark.parametrize("flow", [count, count_async])
def test_the_last_run_gives_the_result(flow: Any) -> None:
    assert flow.run(1, 4) == "done at 4"
    assert SEEN == [1, 2, 3, 4]
    handle = rn.instances(workflow=flow.name)[0]
    assert handle.run == 4 and handle.status == "completed"
    runs = handle.runs().fetchall()
    assert [row[3] for row in runs] == ["recurred"] * 3 + ["completed"]
    assert [row[2] for row in runs] == ["start"] + ["recur"] * 3
    lawful(handle)


@pytest.mark.parametrize("flow", [count, count_async])
def test_the_same_call_returns_the_result_and_executes_nothing(flow: Any) -> None:
    flow.run(1, 3)
    rn.disconnect()
    assert flow.run(1, 3) == "done at 3"
    assert SEEN == [1, 2, 3]
    assert len(rn.instances()) == 1


def test_end_and_start_are_one_commit() -> None:
    kinds: list[list[str]] = []
    with on_commit(after=lambda number, batch: kinds.append([row.event.kind for row in batch.rows])):
        count.run(1, 2)
    (both,) = [each for each in kinds if "run_recurred" in each]
    assert "run_started" in both


def test_a_waiting_handle_and_an_interrupted_instance_go_on_with_the_newest_run() -> None:
    @rn.workflow(name="looping")
    def looping(number: int) -> Any:
        if rn.wait_event("go") == "stop":
            return number
        return rn.recur(number + 1)

    handle = looping.start(0)
    for _ in range(3):
        handle.send("go", "on")
    until(lambda: handle.run == 4 and handle.status == "waiting")
    rn.disconnect()
    again = looping.start(0)
    assert again.id == handle.id
    again.send("go", "stop")
    assert again.result(10) == 3


def test_events_and_subscriptions_go_along() -> None:
    @rn.workflow(name="reader")
    def reader(number: int, got: list[Any]) -> Any:
        if not number:
            rn.subscribe("news")
            mark("subscribed")
        got = [*got, rn.receive("news")]
        if len(got) == 4:
            return got
        return rn.recur(number + 1, got)

    handle = reader.start(0, [])
    until(lambda: SEEN)
    for number in range(4):
        rn.publish("news", number)
    assert handle.result(10) == [0, 1, 2, 3]
    lawful(handle)


def test_no_message_is_lost_while_it_goes_on_in_a_new_run() -> None:
    @rn.workflow(name="turning")
    def turning(number: int) -> Any:
        got = rn.wait_event("n", type=int)
        assert got == number
        if number == 199:
            return number
        return rn.recur(number + 1)

    handle = turning.start(0)
    for number in range(200):
        handle.send("n", number)
    assert handle.result(30) == 199


def test_carried_compensations_undo_all_turns_last_first() -> None:
    FAIL.add(3)
    with pytest.raises(ValueError, match="3"):
        booking.run(1, 5, "carry")
    assert SEEN == [1, 2, 3, "undo 2", "undo 1"]
    handle = rn.instances()[0]
    assert handle.status == "compensated"
    lawful(handle)
    assert [
        row[1:4]
        for row in rn.sql("select instance_id, run, of_call, status from compensations order by seq").fetchall()
    ] == [
        (3, "2/0:0", "completed"),
        (3, "1/0:0", "completed"),
    ]


def test_an_undo_of_a_chain_that_was_interrupted_goes_on_where_it_was() -> None:
    FAIL.update({3, "undo 1"})
    with pytest.raises(CompensationFailed):
        booking.run(1, 5, "carry")
    rn.disconnect()
    FAIL.discard("undo 1")
    handle = rn.instances()[0]
    handle.compensate()
    until(lambda: handle.status == "compensated")
    assert SEEN.count("undo 2") == 1


def test_dropped_compensations_stand() -> None:
    FAIL.add(3)
    with pytest.raises(ValueError, match="3"):
        booking.run(1, 5, "drop")
    assert SEEN == [1, 2, 3]
    assert rn.instances()[0].status == "failed"


def test_compensations_can_be_run_before_it_goes_on() -> None:
    assert booking.run(1, 3, "run") == "done"
    assert SEEN == [1, "undo 1", 2, "undo 2", 3]
    handle = rn.instances()[0]
    assert handle.status == "completed"
    lawful(handle)


def test_what_was_carried_is_undone_too_where_compensations_are_run() -> None:
    @rn.workflow(name="carries_then_runs")
    def carries_then_runs(number: int) -> str:
        if number < 3:
            book(number)
            rn.recur(number + 1)
        if number == 3:
            rn.recur(4, compensations="run")
        return "done"

    assert carries_then_runs.run(1) == "done"
    assert SEEN == [1, 2, "undo 2", "undo 1"]
    lawful(rn.instances()[0])


def test_code_that_swallows_it_goes_on_all_the_same() -> None:
    @rn.workflow(name="stubborn")
    def stubborn(number: int) -> str:
        mark(number)
        if number == 2:
            return "done"
        try:
            rn.recur(number + 1)
        except BaseException:
            pass
        mark("never")
        return "wrong"

    assert stubborn.run(1) == "done"
    assert SEEN == [1, 2]


def test_clean_up_is_executed_before_it_goes_on() -> None:
    @rn.workflow(name="tidy")
    async def tidy(number: int) -> str:
        try:
            if number == 2:
                return "done"
            rn.recur(number + 1)
        finally:
            await mark.aio(f"tidy {number}")

    assert tidy.run(1) == "done"
    assert SEEN == ["tidy 1", "tidy 2"]


def test_a_recur_in_a_branch_ends_the_others() -> None:
    @rn.workflow(name="branches")
    async def branches(number: int) -> str:
        if number == 2:
            return "done"

        async def again() -> None:
            await mark.aio("branch")
            rn.recur(number + 1)

        await asyncio.gather(again(), asyncio.sleep(3600))
        return "wrong"

    assert branches.run(1) == "done"


def test_a_recur_in_a_task_that_nobody_awaits_is_no_error_to_log(caplog: pytest.LogCaptureFixture) -> None:
    @rn.workflow(name="in_a_task")
    async def in_a_task(n: int = 0) -> str:
        if n == 2:
            return "end"

        async def on() -> None:
            rn.recur(n + 1)

        task = asyncio.create_task(on())
        await asyncio.sleep(0.05)
        return f"not {task}"

    assert in_a_task.run() == "end"
    rn.disconnect()
    gc.collect()
    assert not caplog.records


def test_a_recur_that_changes_nothing_is_refused() -> None:
    @rn.workflow(name="spinning")
    def spinning(number: int) -> None:
        rn.recur(number)

    with pytest.raises(WrongArguments, match="changes nothing"):
        spinning.run(1)

    @rn.workflow(name="waiting_turns")
    def waiting_turns(number: int) -> str:
        if rn.wait_event("x"):
            return "done"
        return rn.recur(number)

    handle = waiting_turns.start(1)
    handle.send("x", False)
    handle.send("x", True)
    assert handle.result(10) == "done"


def test_arguments_that_do_not_fit_are_refused_where_they_stand() -> None:
    @rn.workflow(name="wrong")
    def wrong(number: int) -> None:
        rn.recur("no number", more=1)

    with pytest.raises(WrongArguments):
        wrong.run(1)
    with pytest.raises(WrongPlace):
        rn.recur(1)


def test_an_edited_loop_goes_on_with_its_own_inputs() -> None:
    def define(last: str) -> Any:
        source = f"""
def edited_loop(number: int):
    mark(number)
    if number < 3:
        rn.recur(number + 1)
    rn.wait_event("go")
    return {last}
"""
        namespace: dict[str, Any] = {"rn": rn, "mark": mark, "__name__": "__main__"}
        exec(source, namespace)
        return rn.workflow(name="edited_loop")(namespace["edited_loop"])

    handle = define("'old'").start(1)
    until(lambda: handle.run == 3 and handle.status == "waiting")
    rn.disconnect()
    edited = define("('new', number)")
    again = edited.start(1)
    until(lambda: again.status == "waiting")
    again.send("go")
    assert again.result(10) == ("new", 3)
    assert SEEN == [1, 2, 3]
    assert again.run == 4
    lawful(again)


def test_a_failed_turn_is_tried_again_with_its_own_inputs() -> None:
    FAIL.add(2)
    with pytest.raises(rn.TerminalError):
        count.run(1, 3)
    FAIL.clear()
    rn.disconnect()
    assert count.run(1, 3) == "done at 3"
    assert SEEN == [1, 2, 2, 3]


def test_cancelling_reaches_the_run_of_this_moment() -> None:
    @rn.workflow(name="endless")
    def endless(number: int) -> None:
        book(number)
        rn.sleep(0.01)
        rn.recur(number + 1)

    handle = endless.start(0)
    until(lambda: handle.run > 3)
    handle.cancel("enough")
    with pytest.raises(RunCancelled, match="enough"):
        handle.result(20)
    undone = [each for each in SEEN if str(each).startswith("undo")]
    done = [each for each in SEEN if not str(each).startswith("undo")]
    assert undone == [f"undo {number}" for number in reversed(done)]


def test_a_cancellation_is_not_lost_between_two_turns() -> None:
    @rn.workflow(name="busy_loop")
    def busy_loop(number: int) -> None:
        mark("x")
        return rn.recur(number + 1)

    for _ in range(8):
        handle = busy_loop.start(0, new="always")
        until(lambda handle=handle: handle.run > 2)  # type: ignore[misc]
        handle.cancel()
        with pytest.raises(RunCancelled):
            handle.result(20)


def test_a_child_may_go_on_in_new_runs() -> None:
    @rn.workflow(name="parent_of_loop")
    def parent_of_loop() -> str:
        return count(1, 3)

    assert parent_of_loop.run() == "done at 3"
    assert SEEN == [1, 2, 3]
    rn.disconnect()
    assert parent_of_loop.run() == "done at 3"
    assert SEEN == [1, 2, 3]
