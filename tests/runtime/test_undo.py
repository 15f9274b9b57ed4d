"""Undo in one process: what is undone, in which order, and what a person can decide (U1, U2, R9, A4)."""

from __future__ import annotations

import asyncio
import types
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.errors import CompensationFailed, RunCancelled, RunPaused, RunProblem, WrongArguments, WrongPlace

ONCE = rn.RetryPolicy(max_attempts=1)
QUICK = rn.RetryPolicy(max_attempts=3, initial=0.01, jitter=0)
LOG: list[str] = []
KEYS: dict[str, list[str]] = {}
FAIL: set[str] = set()


@pytest.fixture(autouse=True)
def clean(journal: Path) -> None:
    LOG.clear()
    KEYS.clear()
    FAIL.clear()


def note(what: str) -> None:
    LOG.append(what)
    KEYS.setdefault(what, []).append(rn.context().idempotency_key)


@rn.compensation(retry=QUICK)
def cancel_booking(item: str, price: int, result: str) -> None:
    note(f"cancel {item} {price} {result}")
    if f"cancel {item}" in FAIL:
        raise ConnectionError("the hotel does not answer")


@rn.activity(compensation=cancel_booking)
def book(item: str, price: int = 7) -> str:
    note(f"book {item}")
    return f"ref-{item}"


@rn.activity(compensation=cancel_booking)
async def book_later(item: str, price: int = 8) -> str:
    await asyncio.sleep(0.01)
    note(f"book {item}")
    return f"ref-{item}"


@rn.activity(retry=ONCE)
def fails(why: str = "no car") -> str:
    raise LookupError(why)


def newest(workflow: str) -> Any:
    return next(each for each in rn.instances() if each.workflow_name.split(".")[-1] == workflow)


def lawful(instance: Any) -> None:
    check_history([(row.seq, row.event) for row in instance.rows()])


def test_a_failed_workflow_undoes_what_completed_last_first_with_inputs_defaults_and_result() -> None:
    @rn.workflow
    def trip(n: int) -> None:
        book("flight", 100)
        book("hotel")
        fails()

    with pytest.raises(LookupError, match="no car") as caught:
        trip(1)
    assert LOG == ["book flight", "book hotel", "cancel hotel 7 ref-hotel", "cancel flight 100 ref-flight"]
    assert "Undone: book, book." in "\n".join(caught.value.__notes__)
    found = newest("trip")
    assert found.status == "compensated"
    lawful(found)
    rows = rn.sql("select of_call, name, status, attempts from compensations order by seq").fetchall()
    assert rows == [("0:1", "cancel_booking", "completed", 1), ("0:0", "cancel_booking", "completed", 1)]
    with pytest.raises(LookupError, match="no car"):
        found.result()


def test_a_sibling_that_completes_after_the_failure_is_undone_too() -> None:
    @rn.workflow
    def trip(n: int) -> None:
        rn.gather(fails.bind(), book.bind("left"), book_later.bind("right"))

    with pytest.raises(LookupError):
        trip(1)
    assert sorted(line for line in LOG if line.startswith("book")) == [
        f"book {line.split()[1]}" for line in sorted(LOG) if line.startswith("cancel")
    ]
    assert "cancel left 7 ref-left" in LOG
    lawful(newest("trip"))


def test_an_error_that_the_workflow_catches_undoes_nothing() -> None:
    @rn.workflow
    def trip(n: int) -> str:
        book("flight")
        try:
            fails()
        except LookupError as error:
            return f"went on after {error}"
        return ""

    assert trip(1) == "went on after no car"
    assert LOG == ["book flight"]


def test_what_was_undone_is_executed_again_in_the_next_run_under_another_key_and_the_rest_is_reused() -> None:
    @rn.activity
    def look(item: str) -> str:
        note(f"look {item}")
        return item

    @rn.workflow
    def trip(n: int) -> str:
        look("map")
        book("flight")
        return fails() if "go" not in FAIL else "there"

    with pytest.raises(LookupError):
        trip(1)
    with pytest.raises(LookupError):
        trip(1)
    assert LOG.count("look map") == 1, "what has no undo is reused"
    assert LOG.count("book flight") == 2
    assert len(set(KEYS["book flight"])) == 2, "after an undo the service has to have the effect again"
    assert newest("trip").run == 2


def test_a_reused_call_is_undone_by_the_run_that_reuses_it() -> None:
    @rn.workflow(name="trip")
    def first(n: int) -> str:
        return book("flight")

    assert first(1) == "ref-flight"

    @rn.workflow(name="trip")
    def second(n: int) -> str:
        book("flight")
        return fails()

    with pytest.raises(LookupError):
        second(1)
    assert LOG == ["book flight", "cancel flight 7 ref-flight"]


def test_a_compensation_that_gives_up_waits_for_a_person_and_the_rest_behind_it() -> None:
    @rn.workflow
    def trip(n: int) -> None:
        for item in ("flight", "hotel", "car"):
            book(item)
        fails()

    FAIL.add("cancel hotel")
    with pytest.raises(CompensationFailed, match=r'compensate\(4, "retry"\)') as caught:
        trip(1)
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert "1 further undo waits" in str(caught.value)
    assert LOG.count("cancel hotel 7 ref-hotel") == 3, "its own retry policy"
    found = newest("trip")
    assert found.status == "compensation_failed"
    with pytest.raises(CompensationFailed):
        trip(1)
    with pytest.raises(RunProblem, match="has no undo"):
        found.compensate("cancel_flight")
    with pytest.raises(WrongArguments, match='"retry", "skip" or "done"'):
        found.compensate(4, "forget")
    FAIL.clear()
    with pytest.raises(LookupError):
        found.compensate(4, "retry", note="they answer again").result(10)
    assert found.status == "compensated"
    assert LOG[-2:] == ["cancel hotel 7 ref-hotel", "cancel flight 7 ref-flight"]
    assert len(set(KEYS["cancel hotel 7 ref-hotel"])) == 1, "one undo, one key"
    lawful(found)


@pytest.mark.parametrize(("action", "status"), [("skip", "skipped"), ("done", "done")])
def test_a_person_skips_an_undo_or_has_done_it_and_the_rest_goes_on(action: str, status: str) -> None:
    @rn.workflow
    def trip(n: int) -> None:
        book("flight")
        book("hotel")
        fails()

    FAIL.add("cancel hotel")
    with pytest.raises(CompensationFailed):
        trip(1)
    found = newest("trip")
    with pytest.raises(LookupError) as caught:
        found.compensate("book", action, note="by telephone").result(10)
    assert "1 decided by a person" in "\n".join(caught.value.__notes__)
    assert LOG[-1] == "cancel flight 7 ref-flight"
    assert rn.sql("select status from compensations order by seq").fetchall() == [(status,), ("completed",)]
    resolved = [row.event.meta for row in found.rows() if row.event.kind == "compensation_resolved"]
    assert resolved and resolved[0] is not None and resolved[0]["note"] == "by telephone" and resolved[0]["by"]


def test_what_completed_before_a_point_of_no_return_stands_and_is_named() -> None:
    @rn.activity(pivot=True, name="issue")
    def issue(n: int) -> str:
        return "ticket"

    @rn.workflow
    def trip(n: int) -> None:
        book("flight")
        issue(n)
        book("car")
        fails()

    with pytest.raises(LookupError) as caught:
        trip(1)
    assert LOG == ["book flight", "book car", "cancel car 7 ref-car"]
    assert "Not undone: book (behind issue, a point of no return)" in "\n".join(caught.value.__notes__)


def test_a_block_is_undone_by_itself_and_the_workflow_goes_on() -> None:
    @rn.workflow
    def trip(n: int) -> str:
        book("flight")
        try:
            with rn.saga():
                book("hotel")
                book("car")
                fails()
        except LookupError:
            book("train")
        return "there"

    assert trip(1) == "there"
    assert LOG == [
        "book flight", "book hotel", "book car", "cancel car 7 ref-car", "cancel hotel 7 ref-hotel", "book train",
    ]  # fmt: skip
    assert trip(1) == "there"
    assert len(LOG) == 6, "replayed, with its undo"
    lawful(newest("trip"))


def test_what_a_block_has_undone_is_not_undone_again_with_the_run() -> None:
    @rn.workflow
    async def trip(n: int) -> None:
        await book.aio("flight")
        try:
            async with rn.saga():
                await asyncio.gather(book_later("hotel"), book.aio("car"), fails.aio())
        except LookupError:
            pass
        await fails.aio("no train either")

    with pytest.raises(LookupError, match="no train"):
        trip.run(1)
    assert [line for line in LOG if line.startswith("cancel")].count("cancel flight 7 ref-flight") == 1
    for item in ("hotel", "car"):
        booked, cancelled = LOG.count(f"book {item}"), sum(line.startswith(f"cancel {item}") for line in LOG)
        assert booked == cancelled, LOG
    lawful(newest("trip"))


def test_blocks_nest_and_each_undoes_its_own() -> None:
    @rn.workflow
    def trip(n: int) -> str:
        with rn.saga():
            book("outer")
            try:
                with rn.saga():
                    book("inner")
                    fails()
            except LookupError:
                pass
            book("more")
            try:
                fails("later")
            except LookupError:
                raise KeyError("give up") from None
        return ""

    with pytest.raises(KeyError):
        trip.start(1).result(10)
    assert LOG == [
        "book outer", "book inner", "cancel inner 7 ref-inner", "book more", "cancel more 7 ref-more",
        "cancel outer 7 ref-outer",
    ]  # fmt: skip


def test_an_undo_for_the_rest_of_the_run_takes_its_turn() -> None:
    @rn.compensation
    def remove(folder: str) -> None:
        note(f"remove {folder}")

    @rn.workflow
    def trip(n: int) -> None:
        book("flight")
        rn.compensate_with(remove, folder="papers")
        book("car")
        fails()

    with pytest.raises(LookupError):
        trip(1)
    assert LOG[2:] == ["cancel car 7 ref-car", "remove papers", "cancel flight 7 ref-flight"]
    lawful(newest("trip"))


def test_helpers_of_undo_say_where_they_belong() -> None:
    @rn.activity(retry=ONCE)
    def wrong(n: int) -> None:
        rn.compensate_with(cancel_booking, "x", 1, "y")

    @rn.workflow
    async def with_block(n: int) -> None:
        with rn.saga():
            pass

    @rn.workflow
    def calls(n: int) -> None:
        wrong(n)

    with pytest.raises(WrongPlace, match="belongs into workflow code"):
        calls.start(1).result(10)
    with pytest.raises(WrongPlace, match="async with"):
        with_block.start(1).result(10)
    with rn.saga():
        rn.compensate_with(cancel_booking, "plain", 1, "y")


def test_an_undo_whose_compensation_is_not_defined_pauses_and_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from romancy_nb.definitions import registry

    @rn.workflow
    def trip(n: int) -> None:
        book("flight")
        fails()

    known = registry._defined.pop(("compensation", "cancel_booking"))
    try:
        with pytest.raises(RunPaused, match=r"cancel_booking \(for book, call 0:0\) is not defined here"):
            trip(1)
        found = newest("trip")
        assert found.status == "interrupted"
    finally:
        registry._defined["compensation", "cancel_booking"] = known
    with pytest.raises(LookupError):
        trip(1)
    assert found.status == "compensated"
    assert LOG == ["book flight", "cancel flight 7 ref-flight"]


def test_a_completed_instance_is_undone_when_a_person_asks_for_it_once() -> None:
    @rn.workflow
    def trip(n: int) -> str:
        book("flight")
        return book("car")

    assert trip(1) == "ref-car"
    found = newest("trip")
    with pytest.raises(RunCancelled, match="undone on request"):
        found.compensate(note="the wrong customer").result(10)
    assert LOG[2:] == ["cancel car 7 ref-car", "cancel flight 7 ref-flight"]
    assert found.status == "compensated"
    with pytest.raises(RunProblem, match="has been undone"):
        found.compensate()
    lawful(found)


def test_on_failure_pause_undoes_nothing_and_the_same_call_goes_on_from_the_failed_step() -> None:
    @rn.activity(retry=ONCE)
    def shaky(n: int) -> str:
        note("shaky")
        if "shaky" in FAIL:
            raise OSError("down")
        return "up"

    @rn.workflow(on_failure="pause")
    def trip(n: int) -> str:
        book("flight")
        return shaky(n)

    FAIL.add("shaky")
    with pytest.raises(OSError, match="down"):
        trip(1)
    assert newest("trip").status == "paused"
    FAIL.clear()
    assert trip(1) == "up"
    assert LOG == ["book flight", "shaky", "shaky"]


def test_a_hundred_bookings_are_undone_in_reverse() -> None:
    @rn.workflow
    def trip(n: int) -> None:
        rn.gather(*[book.bind(f"{i}") for i in range(100)])
        fails()

    with pytest.raises(LookupError):
        trip(1)
    ended = [row.event.call for row in newest("trip").rows() if row.event.kind == "activity_completed"]
    undone = [row.event.call for row in newest("trip").rows() if row.event.kind == "compensation_completed"]
    assert undone == [f"undo:{place}" for place in reversed(ended)]
    assert len(undone) == 100


def bookings(note_edit: str) -> Any:
    """A workflow with a booking, whose code is another for each *note_edit*."""

    @rn.activity(name="reserve", compensation=cancel_booking)
    def reserve(item: str, price: int = 7) -> str:
        note(f"reserve {item}")
        return f"ref-{item}{note_edit}"

    @rn.activity(name="greet")
    def greet(item: str) -> str:
        LOG.append(f"greet {item}")
        return f"hello {item}{note_edit}"

    @rn.workflow(name="keeps")
    def keeps(items: list[str]) -> list[str]:
        return [each for item in BOOKED for each in (reserve(item), greet(item))]

    return keeps


BOOKED: list[str] = []


def test_an_edited_activity_whose_effect_stands_keeps_its_result_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "romancy_nb")
    BOOKED[:] = ["x"]
    assert bookings("").run([]) == ["ref-x", "hello x"]
    assert bookings(" edited").run([]) == ["ref-x", "hello x edited"]
    assert LOG == ["reserve x", "greet x", "greet x"], "booked once"
    assert "so the recorded result was kept: reserve. redo=['reserve'] executes it again" in caplog.text
    flow = bookings(" again")
    assert flow.run([]) == ["ref-x", "hello x again"]
    assert flow.run([], redo=["reserve"]) == ["ref-x again", "hello x again"]
    assert LOG.count("reserve x") == 2
    rn.instances(workflow="keeps")[0].compensate().status  # noqa: B018
    lawful(newest("keeps"))


def test_undone_first_it_is_executed_again() -> None:
    BOOKED[:] = ["x"]
    bookings("").run([])
    handle = newest("keeps")
    handle.compensate()
    with pytest.raises(RunProblem):
        handle.result(20)
    assert bookings(" edited").run([]) == ["ref-x edited", "hello x edited"]
    assert LOG == ["reserve x", "greet x", "cancel x 7 ref-x", "reserve x", "greet x"]


def test_what_an_earlier_run_booked_and_the_new_one_does_not_contain_is_listed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "romancy_nb")
    BOOKED[:] = ["x", "y"]
    bookings("").run([])
    BOOKED[:] = ["y"]
    bookings("").run([], redo=["greet"])
    assert 'Earlier runs did what this one does not contain, and it stands: reserve with {"item":"x"}' in caplog.text
    assert 'with {"item":"y"}' not in caplog.text


def test_of_two_modules_with_the_same_names_each_undoes_its_own() -> None:
    text = (
        "import romancy_nb as rn\n"
        "@rn.compensation\n"
        "def undo_it() -> None: LOG.append(f'undone by {__name__}')\n"
        "@rn.activity(compensation=undo_it)\n"
        "def do_it() -> None: ...\n"
        "@rn.workflow(name=f'of {__name__}')\n"
        "def flow(n): do_it(); fails()\n"
    )
    modules = [types.ModuleType(name) for name in ("flights", "hotels")]
    for module in modules:
        vars(module).update(LOG=LOG, fails=fails)
        exec(text, vars(module))
    for module in modules:
        with pytest.raises(LookupError):
            module.flow.run(None)
    assert LOG == ["undone by flights", "undone by hotels"]
