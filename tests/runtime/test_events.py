"""Events: sent from anywhere, received once, whatever happens between."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest
from processes import until
from pydantic import BaseModel, Field

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.errors import (
    AlreadyAnswered,
    EventRefused,
    InstanceEnded,
    InstanceNotFound,
    RunCancelled,
    RunProblem,
    UnawaitedCall,
    WrongArguments,
    WrongPlace,
)
from romancy_nb.testing import JumpingClock, on_commit

SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def fresh(journal: Path) -> None:
    SEEN.clear()


class Payment(BaseModel):
    amount: float = Field(ge=0)
    on: date = date(2026, 1, 1)


@dataclass
class Decision:
    approved: bool
    note: str = ""


@rn.activity(name="mark")
def mark(what: Any) -> Any:
    SEEN.append(what)
    return what


@rn.workflow(name="one")
def one(name: str) -> Any:
    return mark(rn.wait_event(name))


@rn.workflow(name="one_async")
async def one_async(name: str) -> Any:
    return await mark.aio(await rn.wait_event(name))


@rn.workflow(name="paid")
def paid(order: int) -> Payment:
    return rn.wait_event("payment.completed", type=Payment)


@rn.workflow(name="limited")
def limited(seconds: float) -> str:
    try:
        return str(rn.wait_event("late", timeout=seconds))
    except TimeoutError as error:
        return str(mark(f"over: {error}"))


@rn.workflow(name="limited_async")
async def limited_async(seconds: float) -> str:
    try:
        return str(await rn.wait_event("late", timeout=seconds))
    except TimeoutError as error:
        return str(await mark.aio(f"over: {error}"))


@rn.workflow(name="deciding")
def deciding(what: str) -> Decision:
    return rn.ask(f"Approve {what}?", type=Decision)


def rests(handle: Any) -> Any:
    """Wait until the run has nothing to do but wait."""
    until(lambda: handle.status == "waiting")
    return handle


def lawful(handle: Any) -> None:
    check_history([(row.seq, row.event) for row in handle.rows()])


@pytest.mark.parametrize("flow", [one, one_async])
def test_a_waiting_run_goes_on_with_what_was_sent(flow: Any) -> None:
    handle = rests(flow.start("go"))
    receipt = handle.send("go", {"n": [1, 2.5, None]})
    assert receipt.status == "delivered" and not receipt.duplicate
    assert handle.result(10) == {"n": [1, 2.5, None]}
    assert SEEN == [{"n": [1, 2.5, None]}]
    lawful(handle)


@pytest.mark.parametrize("flow", [one, one_async])
def test_a_replay_receives_the_same_and_sends_nothing(flow: Any) -> None:
    handle = rests(flow.start("go"))
    handle.send("go", 5)
    assert handle.result(10) == 5
    rn.disconnect()
    assert flow.run("go") == 5
    assert SEEN == [5]


def test_an_event_that_was_sent_before_it_is_awaited_is_kept() -> None:
    gate = threading.Event()

    @rn.activity(name="slow")
    def slow() -> None:
        gate.wait(10)

    @rn.workflow(name="later")
    def later() -> list[Any]:
        slow()
        return [rn.wait_event("a"), rn.wait_event("b"), rn.wait_event("a")]

    handle = later.start()
    assert handle.send("a", 1).status == "kept"
    assert handle.send("a", 2).status == "kept"
    assert handle.send("b", 3).status == "kept"
    gate.set()
    assert handle.result(10) == [1, 3, 2]
    lawful(handle)


def test_what_arrives_while_nobody_runs_it_is_received_on_resume() -> None:
    handle = rests(one.start("go"))
    rn.disconnect()
    receipt = rn.send(handle.id, "go", "hello")
    assert receipt.status == "kept" and "call one again" in receipt.says
    assert one.run("go") == "hello"


def test_an_event_id_makes_sending_twice_the_same_as_once() -> None:
    @rn.workflow(name="two")
    def two() -> list[Any]:
        return [rn.wait_event("e"), rn.wait_event("e")]

    handle = rests(two.start())
    assert not handle.send("e", 1, event_id="x").duplicate
    assert handle.send("e", 1, event_id="x").duplicate
    rn.disconnect()
    assert rn.send(handle.id, "e", 1, event_id="x").duplicate
    assert not rn.send(handle.id, "e", 2, event_id="y").duplicate
    assert two.run() == [1, 2]


def test_an_event_id_counts_in_later_runs_of_the_instance_too() -> None:
    handle = rests(one.start("go"))
    handle.send("go", 1, event_id="x")
    handle.result(10)
    one.run("go", redo=["mark"])
    assert rn.instance(handle.id).run == 2
    with pytest.raises(InstanceEnded):
        rn.send(handle.id, "go", 2)
    assert SEEN == [1, 1]


def test_a_payload_is_validated_by_the_type_that_is_awaited() -> None:
    handle = rests(paid.start(1))
    with pytest.raises(EventRefused, match="amount"):
        handle.send("payment.completed", {"amount": -1})
    with pytest.raises(EventRefused, match="amount"):
        handle.send("payment.completed", {})
    with pytest.raises(EventRefused):
        handle.send("payment.completed", "12")
    assert handle.status == "waiting"
    handle.send("payment.completed", {"amount": 3, "on": "2026-05-04"})
    assert handle.result(10) == Payment(amount=3, on=date(2026, 5, 4))


def test_a_model_can_be_sent_as_it_is() -> None:
    handle = rests(paid.start(2))
    handle.send("payment.completed", Payment(amount=7))
    assert handle.result(10) == Payment(amount=7)


def test_where_the_code_is_not_the_journaled_schema_decides() -> None:
    handle = rests(paid.start(3))
    rn.disconnect()
    with pytest.raises(EventRefused, match="amount"):
        rn.send(handle.id, "payment.completed", {"amount": "much"})
    rn.send(handle.id, "payment.completed", {"amount": 4, "on": "2026-05-04"})
    assert paid.run(3) == Payment(amount=4, on=date(2026, 5, 4))


def test_what_was_sent_early_and_does_not_fit_is_put_aside_and_the_next_is_taken() -> None:
    gate = threading.Event()

    @rn.activity(name="slowly")
    def slowly() -> None:
        gate.wait(10)

    @rn.workflow(name="typed_later")
    def typed_later() -> int:
        slowly()
        return rn.wait_event("n", type=int)

    handle = typed_later.start()
    handle.send("n", "no number")
    handle.send("n", 5)
    gate.set()
    assert handle.result(10) == 5
    assert [row.event.meta["why"] for row in handle.rows() if row.event.kind == "event_refused" and row.event.meta]
    lawful(handle)


@pytest.mark.parametrize("flow", [limited, limited_async])
def test_a_wait_that_nobody_answers_in_time_raises_the_builtin_timeout(flow: Any) -> None:
    result = flow.run(0.03)
    assert result.startswith("over: Nobody sent 'late'")
    rn.disconnect()
    assert flow.run(0.03) == result
    assert len(SEEN) == 1


@pytest.mark.parametrize("flow", [limited, limited_async])
def test_an_event_in_time_wins_and_the_timer_is_let_go_of(flow: Any) -> None:
    handle = rests(flow.start(30.0))
    handle.send("late", "here")
    assert handle.result(10) == "here"
    kinds = [row.event.kind for row in handle.rows()]
    assert "timer_cancelled" in kinds and "wait_cancelled" not in kinds
    lawful(handle)


def test_a_deadline_that_passed_while_nothing_ran_is_over_on_resume() -> None:
    handle = rests(limited.start(3600.0))
    rn.disconnect()
    with JumpingClock() as clock:
        clock.jump(4000)
        assert limited.run(3600.0).startswith("over:")
    lawful(rn.instance(handle.id))


def test_an_event_and_its_deadline_in_one_turn_come_one_after_the_other() -> None:
    for _ in range(20):
        handle = limited.start(0.01, new="always")
        receipt = None
        try:
            receipt = handle.send("late", "x")
        except InstanceEnded:
            pass
        result = handle.result(10)
        assert result == "x" or result.startswith("over")
        assert receipt is not None or result.startswith("over")
        lawful(handle)


def test_asyncio_timeout_around_a_wait_is_a_durable_deadline() -> None:
    @rn.workflow(name="around")
    async def around() -> str:
        try:
            async with asyncio.timeout(0.03):
                return str(await rn.wait_event("x"))
        except TimeoutError:
            return "late"

    assert around.run() == "late"
    rn.disconnect()
    assert around.run() == "late"


def test_the_first_of_two_waits_wins_and_the_other_is_given_up() -> None:
    @rn.workflow(name="race")
    async def race() -> list[str]:
        first = asyncio.create_task(_named("a"))
        second = asyncio.create_task(_named("b"))
        done, pending = await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return sorted(task.result() for task in done)

    async def _named(name: str) -> str:
        return f"{name}={await rn.wait_event(name)}"

    handle = rests(race.start())
    handle.send("b", 1)
    assert handle.result(10) == ["b=1"]
    with pytest.raises(InstanceEnded):
        handle.send("a", 1)
    lawful(handle)
    rn.disconnect()
    assert race.run() == ["b=1"]


def test_several_waits_for_one_name_are_served_in_the_order_in_which_they_asked() -> None:
    @rn.workflow(name="many")
    async def many() -> list[int]:
        return list(await asyncio.gather(*(rn.wait_event("n", type=int) for _ in range(5))))

    handle = rests(many.start())
    for number in range(5):
        handle.send("n", number)
    assert handle.result(10) == [0, 1, 2, 3, 4]


def test_a_def_workflow_waits_for_several_with_gather() -> None:
    @rn.workflow(name="both")
    def both() -> list[Any]:
        return list(rn.gather(lambda: rn.wait_event("a"), lambda: rn.wait_event("b")))

    handle = rests(both.start())
    handle.send("b", 2)
    handle.send("a", 1)
    assert handle.result(10) == [1, 2]


# -- who cannot receive -----------------------------------------------------------------------------------------------------


def test_sending_to_nobody_says_so() -> None:
    with pytest.raises(InstanceNotFound):
        rn.send("no-such-instance", "e")
    with pytest.raises(WrongArguments):
        rn.send("x", "")


@pytest.mark.parametrize("nobody", [None, 5, object()])
def test_sending_to_what_is_no_instance_says_what_is(nobody: Any) -> None:
    with pytest.raises(WrongArguments, match="to an instance, or to the id of one"):
        rn.send(nobody, "e")


@pytest.mark.parametrize("sent", [5, "text", None, {"a": [1]}, b"bytes"])
def test_a_wait_without_a_type_takes_anything(sent: Any) -> None:
    @rn.workflow(name="untyped")
    def untyped() -> list[Any]:
        first = rn.wait_event("e", type=None)
        rn.subscribe("c")
        return [first, rn.receive("c", type=None)]

    handle = rests(untyped.start())
    handle.send("e", sent)
    rests(handle)
    rn.publish("c", sent, to=handle)
    assert handle.result(10) == [sent, sent]


def test_sending_to_what_has_ended_says_how_it_ended_and_what_to_do() -> None:
    handle = rests(one.start("go"))
    handle.send("go")
    handle.result(10)
    with pytest.raises(InstanceEnded, match=r"completed.*new=True"):
        handle.send("go")
    cancelled = rests(one.start("stop"))
    cancelled.cancel()
    with pytest.raises(RunCancelled):
        cancelled.result(10)
    with pytest.raises(InstanceEnded, match="cancelled"):
        cancelled.send("stop")
    rn.disconnect()
    with pytest.raises(InstanceEnded, match="cancelled"):
        rn.send(cancelled.id, "stop")


def test_waiting_belongs_into_workflow_code() -> None:
    with pytest.raises(WrongPlace, match="@rn.workflow"):
        rn.wait_event("x")
    with pytest.raises(WrongPlace):
        rn.ask("Really?")

    @rn.activity(name="asks", retry=rn.RetryPolicy(max_attempts=1))
    def asks() -> None:
        rn.ask("Really?")

    @rn.workflow(name="asking_activity")
    def asking_activity() -> None:
        asks()

    with pytest.raises(WrongPlace, match="an activity"):
        asking_activity.run()


def test_a_wait_in_async_code_that_is_not_awaited_is_named() -> None:
    @rn.workflow(name="forgets")
    async def forgets() -> None:
        rn.wait_event("x")

    with pytest.raises(UnawaitedCall, match=r"await rn\.wait_event"):
        forgets.run()


def test_a_wait_is_cancelled_with_the_run() -> None:
    handle = rests(one.start("go"))
    handle.cancel("enough")
    with pytest.raises(RunCancelled, match="enough"):
        handle.result(10)
    lawful(handle)


# -- sending from workflow code and activities ---------------------------------------------------------------------------------


def test_sending_in_workflow_code_is_a_step_that_is_not_repeated() -> None:
    @rn.workflow(name="sender")
    def sender(to: str) -> bool:
        return rn.send(to, "go", {"from": "workflow"}).duplicate

    handle = rests(one.start("go"))
    assert sender.run(handle.id) is False
    assert handle.result(10) == {"from": "workflow"}
    rn.disconnect()
    assert sender.run(handle.id) is False


def test_sending_to_nobody_in_workflow_code_is_an_error_of_the_step() -> None:
    @rn.workflow(name="lost_sender")
    async def lost_sender() -> str:
        try:
            await rn.send("nobody", "go")
        except InstanceNotFound as error:
            return str(error)
        return ""

    assert "nobody" in lost_sender.run()


def test_two_instances_talk_to_each_other() -> None:
    @rn.workflow(name="ping")
    def ping(other: str, rounds: int) -> list[int]:
        got = []
        for number in range(rounds):
            rn.send(other, "ping", number)
            got.append(rn.wait_event("pong", type=int))
        return got

    @rn.workflow(name="pong")
    def pong(other: str, rounds: int) -> None:
        for _ in range(rounds):
            rn.send(other, "pong", rn.wait_event("ping", type=int) + 100)

    answering = pong.start("ping-1", 10, instance_id="pong-1")
    asking = ping.start("pong-1", 10, instance_id="ping-1")
    assert asking.result(20) == [100 + n for n in range(10)]
    answering.result(10)


# -- new runs -----------------------------------------------------------------------------------------------------------------


def test_a_new_run_keeps_what_was_received_and_what_nobody_has_received_yet() -> None:
    def define(last: str) -> Any:
        source = f"""
def edited() -> list:
    first = rn.wait_event("e")
    return [first, {last}]
"""
        namespace: dict[str, Any] = {"rn": rn, "__name__": "__main__"}
        exec(source, namespace)
        return rn.workflow(name="edited_waits")(namespace["edited"])

    handle = rests(define("rn.wait_event('f')").start())
    handle.send("e", 1)
    handle.send("g", "early")
    until(lambda: len([r for r in handle.rows() if r.event.kind == "event_received"]) == 1)
    rn.disconnect()
    again = define("rn.wait_event('g')")
    assert again.run() == [1, "early"]
    assert rn.instance(handle.id).run == 2
    lawful(rn.instance(handle.id))


# -- questions ----------------------------------------------------------------------------------------------------------------


def test_a_question_is_answered_by_whoever_is_first() -> None:
    handle = rests(deciding.start("it"))
    (question,) = handle.questions()
    assert (question.question, question.event, question.status) == ("Approve it?", "approve-it", "open")
    assert question.schema is not None and question.schema["properties"]["approved"] == {
        "title": "Approved",
        "type": "boolean",
    }
    handle.answer({"approved": True, "note": "fine"})
    with pytest.raises(AlreadyAnswered, match=r"was answered.*fine.*The first answer counts"):
        handle.answer({"approved": False}, "Approve it?")
    assert handle.result(10) == Decision(True, "fine")
    with pytest.raises(AlreadyAnswered, match="fine"):
        handle.answer({"approved": False})
    with pytest.raises(InstanceEnded):
        handle.send("something else")


def test_a_second_answer_is_told_also_where_the_code_does_not_run() -> None:
    handle = rests(deciding.start("that"))
    rn.disconnect()
    there = rn.instance(handle.id)
    there.answer({"approved": True})
    with pytest.raises(AlreadyAnswered):
        there.answer({"approved": False})
    with pytest.raises(AlreadyAnswered):
        rn.send(handle.id, "approve-that", {"approved": False})
    assert deciding.run("that") == Decision(True)


def test_an_answer_that_does_not_fit_is_refused_and_the_question_stays_open() -> None:
    handle = rests(deciding.start("more"))
    with pytest.raises(EventRefused, match="approved"):
        handle.answer({"note": "?"})
    assert [question.status for question in handle.questions()] == ["open"]
    assert [each.instance_id for each in rn.questions()] == [handle.id]
    handle.answer({"approved": False})
    handle.result(10)
    assert rn.questions() == []


def test_a_question_with_a_default_is_answered_by_it_when_the_time_is_over() -> None:
    @rn.workflow(name="impatient")
    def impatient() -> Any:
        return mark(rn.ask("Which?", type=Literal["a", "b"], timeout=0.03, default="b"))

    assert impatient.run() == "b"
    rn.disconnect()
    assert impatient.run() == "b"
    assert SEEN == ["b"]


def test_a_default_is_checked_when_it_is_asked_and_returned_as_the_type_has_it() -> None:
    defaults: dict[str, Any] = {"dict": {"approved": False}, "wrong": {"approved": "perhaps"}, "none": None}

    @rn.workflow(name="careless")
    def careless(which: str) -> Any:
        return repr(rn.ask("Approve?", type=Decision, timeout=0.03, default=defaults[which]))

    assert careless.run("dict") == repr(Decision(False))
    assert careless.run("none") == "None"
    with pytest.raises(WrongArguments, match=r"(?s)rn.ask\(default=.*approved must be yes or no.*Decision"):
        careless.run("wrong")
    assert rn.questions() == []


def test_a_question_without_a_default_times_out() -> None:
    @rn.workflow(name="strict")
    async def strict() -> str:
        try:
            return str(await rn.ask("Really?", timeout=0.03))
        except TimeoutError as error:
            return str(error)

    assert strict.run().startswith("Nobody answered 'Really?'")


def test_several_questions_are_told_apart_by_text_or_name() -> None:
    @rn.workflow(name="several")
    def several() -> list[Any]:
        return list(
            rn.gather(lambda: rn.ask("First?", type=int), lambda: rn.ask("Second?", type=int, name="number-two"))
        )

    handle = rests(several.start())
    with pytest.raises(RunProblem, match=r"First\?.*number-two"):
        handle.answer(1)
    handle.answer(1, "First?")
    handle.answer(2, "number-two")
    assert handle.result(10) == [1, 2]


def test_the_same_question_asked_again_is_another_question() -> None:
    @rn.workflow(name="again")
    def again() -> list[bool]:
        return [rn.ask("Go on?"), rn.ask("Go on?")]

    handle = rests(again.start())
    handle.answer(True)
    until(lambda: [question.status for question in handle.questions()] == ["open"])
    handle.answer(False)
    assert handle.result(10) == [True, False]


def test_asking_nothing_is_refused() -> None:
    @rn.workflow(name="silent")
    def silent() -> None:
        rn.ask("  ")

    with pytest.raises(WrongArguments, match="a question"):
        silent.run()
    handle = rests(one.start("x"))
    with pytest.raises(RunProblem, match="asks nothing"):
        handle.answer(True)


# -- durability ---------------------------------------------------------------------------------------------------------------


def test_an_acknowledged_event_is_in_the_journal() -> None:
    handle = rests(one.start("go"))
    committed: list[list[str]] = []
    with on_commit(after=lambda number, batch: committed.append([row.event.kind for row in batch.rows])):
        handle.send("go", 1)
        assert committed and committed[0] == ["event_arrived"]
        handle.result(10)
    assert any("event_received" in kinds for kinds in committed)


def test_a_commit_that_fails_is_told_and_the_event_is_not_there() -> None:
    from romancy_nb.errors import JournalError
    from romancy_nb.testing import fail_commits

    handle = rests(one.start("go"))
    with fail_commits(lambda: JournalError("no space"), {1, 2}), pytest.raises(JournalError):
        handle.send("go", 1)
    assert one.start("go").send("go", 2).status in {"delivered", "kept"}
    assert rn.instance(handle.id).result(10) == 2
