"""``%romancy send``, ``answer`` and ``questions``, and what ``%romancy`` alone and Tab know of what is awaited."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.error import UsageError

import romancy_nb as rn
from romancy_nb import settings
from romancy_nb.errors import AlreadyAnswered, EventRefused, RunPaused, WrongArguments
from romancy_nb.notebook import asked
from romancy_nb.notebook.completion import complete
from romancy_nb.notebook.standing import look
from romancy_nb.runtime import launch, observers, resting, typed

DEFINED = """
import romancy_nb as rn
from typing import Any, Literal
from pydantic import BaseModel, Field
class Decision(BaseModel):
    approved: bool
    amount: int = Field(default=0, ge=0)
TYPES = {"bool": bool, "word": Literal["approve", "reject"], "text": str, "number": int, "model": Decision, "any": Any}
@rn.workflow
def asks(what: str) -> Any:
    return rn.ask(f"Which {what}?", type=TYPES[what], name="it")
@rn.workflow
def two(n: int) -> tuple[Any, ...]:
    return rn.gather(lambda: rn.ask("First?", name="first"), lambda: rn.ask("Second?", type=str, name="second"))
@rn.workflow
def waits(n: int) -> Any:
    return rn.wait_event("payment.completed", type=Decision)
"""


@pytest.fixture
def book(shell: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    settings.clear()
    shell.run_line_magic("load_ext", "romancy_nb")
    shell.run_cell(DEFINED).raise_error()
    capsys.readouterr()
    yield shell
    shell.run_line_magic("unload_ext", "romancy_nb")


def ask(shell: Any, line: str = "") -> Any:
    return shell.run_line_magic("romancy", line)


def begun(shell: Any, call: str, name: str) -> Any:
    """Start a workflow, and wait until it waits."""
    shell.run_cell(f"h = {call[:-1]}, instance_id={name!r})").raise_error()
    found = shell.user_ns["h"]
    engine = launch.current()
    while not engine.ask(lambda engine: engine.newest[name].outside):
        pass
    return found


@pytest.mark.parametrize(
    ("what", "line", "result"),
    [
        ("bool", "yes", True),
        ("bool", "False", False),
        ("bool", "1 > 2", False),
        ("word", "reject", "reject"),
        ("text", "fine", "fine"),
        ("text", "it is fine by me", "it is fine by me"),
        ("text", '"in quotes"', "in quotes"),
        ("text", "true", "true"),
        ("text", "f'{limit} at most'", "40 at most"),
        ("text", "limit", "limit"),
        ("number", "7", 7),
        ("number", "limit + 2", 42),
        ("any", '{"a": [1, null]}', {"a": [1, None]}),
        ("any", "limit", 40),
        ("any", "[1, (2)]", [1, 2]),
    ],
)
def test_an_answer_is_what_the_question_takes_it_for(
    book: Any, capsys: pytest.CaptureFixture[str], what: str, line: str, result: Any
) -> None:
    handle = begun(book, f"asks.start({what!r})", "asks-1")
    book.user_ns["limit"] = 40
    ask(book, f"answer asks-1 {line}")
    assert handle.result(20) == result
    assert type(handle.result(20)) is type(result)
    assert f"\nWhich {what}? " in capsys.readouterr().out


def test_a_model_is_answered_with_json_or_with_an_object(book: Any) -> None:
    handle = begun(book, "asks.start('model')", "asks-1")
    ask(book, 'answer asks-1 {"approved": true, "amount": 3}')
    assert handle.result(20).amount == 3
    handle = begun(book, "asks.start('model', new=True)", "asks-2")
    ask(book, "answer asks-2 Decision(approved=False)")
    assert handle.result(20).approved is False


def test_who_answered_how_is_kept(book: Any) -> None:
    handle = begun(book, "asks.start('bool')", "asks-1")
    ask(book, "answer asks-1 yes")
    handle.result(20)
    received = [row.event.meta for row in handle.rows() if row.event.kind == "event_received"]
    assert received[0]["via"] == "magic" and received[0]["by"]


def test_without_a_value_it_says_what_fits_and_answers_nothing(book: Any, capsys: pytest.CaptureFixture[str]) -> None:
    begun(book, "asks.start('word')", "asks-1")
    ask(book, "answer asks-1")
    assert "What fits is approve|reject" in capsys.readouterr().out
    assert len(rn.questions()) == 1


@pytest.mark.parametrize(
    ("what", "line", "said"),
    [
        ("bool", "perhaps", "perhaps"),
        ("number", '"seven"', "it must be a whole number"),
        ("model", '{"amount": 1}', "approved"),
        ("any", "???", ""),
    ],
)
def test_what_does_not_fit_is_refused_and_the_question_stays(book: Any, what: str, line: str, said: str) -> None:
    begun(book, f"asks.start({what!r})", "asks-1")
    with pytest.raises((EventRefused, WrongArguments)) as refused:
        ask(book, f"answer asks-1 {line}")
    assert said in str(refused.value)
    assert len(rn.questions()) == 1


def test_the_second_answer_is_told_who_was_first(book: Any) -> None:
    begun(book, "asks.start('bool')", "asks-1").answer(True)
    with pytest.raises(AlreadyAnswered):
        ask(book, "answer asks-1 no")


def test_of_several_questions_one_is_named(book: Any, capsys: pytest.CaptureFixture[str]) -> None:
    handle = begun(book, "two.start(1)", "two-1")
    with pytest.raises(Exception, match="several things"):
        ask(book, "answer two-1 yes")
    text = repr(ask(book, "questions"))
    assert "%romancy answer two-1 --question first yes|no" in text
    ask(book, "answer two-1 --question second rather not")
    ask(book, "answer two-1 yes")
    assert handle.result(20) == (True, "rather not")


def test_an_event_is_sent_once_an_id(book: Any, capsys: pytest.CaptureFixture[str]) -> None:
    handle = begun(book, "waits.start(1)", "waits-1")
    with pytest.raises(EventRefused):
        ask(book, 'send waits-1 payment.completed {"amount": 1}')
    ask(book, 'send waits-1 payment.completed --event-id e1 {"approved": true, "amount": 1}')
    assert handle.result(20).amount == 1
    capsys.readouterr()
    ask(book, 'send waits-1 payment.completed --event-id e1 {"approved": true, "amount": 1}')
    assert "not sent once more" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("send waits-1", "Which event"),
        ("send", "Which instance"),
        ("answer", "Which instance"),
        ("send waits-1 --wrong 1 payment.completed 1", "--wrong"),
        ("answer --question", "--question"),
    ],
)
def test_a_wrong_line_says_how_it_is_meant(book: Any, line: str, said: str) -> None:
    begun(book, "waits.start(1)", "waits-1")
    with pytest.raises(UsageError, match=said):
        ask(book, line)


def test_alone_it_lists_questions_first_with_how_to_answer_each(book: Any) -> None:
    begun(book, "waits.start(1)", "waits-1")
    begun(book, "asks.start('bool')", "asks-1")
    found = ask(book)
    lines = repr(found).splitlines()
    assert lines[2] == "Waits for an answer or an event:"
    assert "asks asks-1: asks: Which bool?" in lines[3] and lines[4].strip() == "%romancy answer asks-1 yes|no"
    assert "waits waits-1: waits for event 'payment.completed'" in lines[5]
    assert lines[6].strip().startswith('%romancy send waits-1 payment.completed {"approved": true, "amount": 0}')
    assert "Runs:" not in lines and len(found.asking) == 2
    assert "yes|no" in found._repr_html_()


def test_what_a_child_awaits_is_brought_to_the_child(book: Any) -> None:
    book.run_cell("""
@rn.workflow
def kid(n: int) -> Any:
    return rn.gather(lambda: rn.wait_event("go"), lambda: rn.ask("Kid?"))
@rn.workflow
def parent(n: int) -> Any:
    return kid(n)
""").raise_error()
    handle, engine = begun(book, "parent.start(1)", "p-1"), launch.current()
    while (found := engine.ask(lambda engine: resting.look(engine, "p-1"))) is None or not found.questions:
        pass
    (kid,) = handle.children()
    asks, awaits = asked.how_to_answer(found)
    assert asks == f"kid asks: Kid? Answer with %romancy answer {kid.id} yes|no"
    assert awaits == f"kid waits for event 'go'. Send it with %romancy send {kid.id} go JSON"
    assert [line.count(kid.id) for line in observers.how_to_answer(found)] == [1, 2]
    said = f"waits for an answer to 'Kid?' of {kid.id} and event 'go' of {kid.id}."
    assert resting.notice("parent", "p-1", found).startswith(f"parent (p-1) {said}")
    assert f"parent p-1: waits for its child {kid.id}" in repr(ask(book))
    assert kid.send("go", 5).status == "delivered" and kid.answer(True).status == "delivered"
    assert handle.result(20) == (5, True)


def test_what_nobody_runs_says_what_to_run(book: Any) -> None:
    begun(book, "asks.start('bool')", "asks-1")
    rn.disconnect()
    text = repr(ask(book))
    assert "nobody runs it just now: call asks again" in text
    assert "nobody runs it just now" in repr(ask(book, "questions"))


def test_loading_tells_what_came_meanwhile_and_what_is_due(book: Any, capsys: pytest.CaptureFixture[str]) -> None:
    book.run_cell("""
@rn.workflow
def late(n: int) -> Any:
    return rn.ask("In time?", timeout=5000)
""").raise_error()
    begun(book, "asks.start('bool')", "asks-1")
    begun(book, "late.start(1)", "late-1")
    rn.disconnect()
    rn.instance("asks-1").answer(True)
    rn.disconnect()
    capsys.readouterr()
    book.run_line_magic("reload_ext", "romancy_nb")
    out = capsys.readouterr().out
    assert "interrupted: asks asks-1; call asks again to go on" in out
    assert "Which bool? yes (answered by" in out
    assert "In time? %romancy answer late-1 yes|no" in out
    assert "time until" in out


def test_what_nobody_can_call_is_listed_with_what_goes_on_with_it(
    book: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    book.run_cell("schedule = waits.schedule(1, every=3600)").raise_error()
    book.run_cell("""
@rn.activity(retry=rn.RetryPolicy(max_attempts=1))
def slow(n: int) -> int:
    raise ValueError(n)
rn.map(slow, [1], instance_id="mapped")
""").raise_error()
    schedule = book.user_ns["schedule"].id
    rn.disconnect()
    capsys.readouterr()
    book.run_line_magic("reload_ext", "romancy_nb")
    out = capsys.readouterr().out
    assert "paused: map.slow mapped; call rn.map(slow, ...) again to go on" in out
    assert f"interrupted: romancy.schedule {schedule}; call the same .schedule(...) again to go on" in out
    assert f"calling the same .schedule(...) again goes on, or %romancy resume {schedule}" in repr(look())
    with pytest.raises(RunPaused, match=r"Call the same \.schedule\(\.\.\.\) again, or `\.resume\(\)`, to go on"):
        rn.instance(schedule).result(5)


def test_tab_offers_ids_events_and_the_words_that_answer(book: Any) -> None:
    begun(book, "waits.start(1)", "waits-1")
    begun(book, "asks.start('word')", "asks-1")
    begun(book, "two.start(1)", "two-1")

    def offered(line: str) -> Any:
        found = complete(line)
        return found if found is None else found[1]

    assert offered("%romancy send wai") == ["waits-1"]
    assert offered("%romancy send waits-1 pay") == ["payment.completed"]
    assert offered("%romancy send waits-1 --event-id e1 ") == ["payment.completed"]
    assert offered("%romancy send waits-1 payment.completed {") is None
    assert offered("%romancy answer asks-1 ") == ["approve", "reject"]
    assert offered("%romancy answer two-1 --question ") == ["first", "second"]
    rn.disconnect()
    ask(book, "questions")
    assert offered("%romancy answer asks-1 re") == ["reject"], "it was seen, though nobody runs it"


def test_what_fits_is_said_in_short() -> None:
    from pydantic import TypeAdapter

    for kind, short in (
        (bool, "yes|no"),
        (int, "NUMBER"),
        (str, "TEXT"),
        (list[int], "[1]"),
        (int | None, "NUMBER|null"),
    ):
        assert typed.expected(TypeAdapter(kind).json_schema()) == short
