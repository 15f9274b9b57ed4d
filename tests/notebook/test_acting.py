"""The buttons of a timeline: each is a journaled request, also for a run of another process; and the Python that does the same."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import romancy_nb as rn
from romancy_nb.errors import (
    AlreadyAnswered,
    EventRefused,
    RomancyError,
    RunCancelled,
    RunInterrupted,
    RunProblem,
    WrongArguments,
)
from romancy_nb.notebook import histories, pasted, timeline_asks
from romancy_nb.notebook.acting import ACTIONS, code, perform
from romancy_nb.notebook.commands import COMMANDS
from romancy_nb.runtime import typed
from romancy_nb.runtime.details import details
from romancy_nb.widgets import actions, modules

DONE: list[str] = []
FAIL: set[str] = set()
ONCE = rn.RetryPolicy(max_attempts=1)
WORD = ""
HOSTILE = "'); raise SystemExit('''\n\"\"\"\\ {x} $y </script>\u202e"
NAMED = HOSTILE.replace("\n", " ")  # an id is one line


@pytest.fixture(autouse=True)
def fresh(journal: Path) -> None:
    DONE.clear()
    FAIL.clear()


class Answer(BaseModel):
    approved: bool
    note: str = ""


@rn.compensation(retry=ONCE)
def give_back(item: str) -> None:
    if f"give back {item}" in FAIL:
        raise ConnectionError("no answer")
    DONE.append(f"give back {item}")


@rn.activity(retry=ONCE, compensation=give_back)
def take(item: str) -> str:
    DONE.append(f"take {item}")
    return item


@rn.activity(retry=ONCE)
def pay(item: str) -> str:
    if item in FAIL:
        raise ValueError("no money")
    DONE.append(f"pay {item}")
    return item


@rn.workflow
def shop(item: str) -> str:
    take(item)
    return pay(item)


@rn.workflow(on_failure="pause")
def patient(item: str) -> str:
    return pay(take(item))


@rn.workflow
def asks(item: str) -> Any:
    take(item)
    answer = rn.ask("Go on?", type=Answer)
    return [answer, rn.wait_event("paid", type=int)]


def until(ready: Callable[[], Any]) -> Any:
    over = time.monotonic() + 20
    while not (found := ready()):
        assert time.monotonic() < over
        time.sleep(0.005)
    return found


def paused() -> Any:
    FAIL.add("lamp")
    with pytest.raises(ValueError):
        patient.run("lamp", instance_id="i")
    return rn.instance("i")


def asking(name: str = "i") -> Any:
    found = asks.start("lamp", instance_id=name)
    until(found.questions)
    return found


def gave_up() -> Any:
    FAIL.update({"lamp", "give back lamp"})
    with pytest.raises(Exception, match="no answer"):
        shop.run("lamp", instance_id="i")
    return rn.instance("i")


# -- what comes of it ------------------------------------------------------------------------------------------------------


def test_a_failed_step_is_executed_again_and_the_run_goes_on() -> None:
    found = paused()
    FAIL.clear()
    assert (
        perform(found, "retry", "0:1") == "pay (call 0:1) is executed again, and patient i goes on in the background."
    )
    assert found.result(10) == "lamp"
    assert DONE == ["take lamp", "pay lamp"]
    with pytest.raises(RunProblem, match=r"redo=\['take'\]"):
        perform(found, "retry", "0:0")


def test_resume_goes_on_and_says_when_there_is_nothing_to_resume() -> None:
    found = paused()
    FAIL.clear()
    assert perform(found, "resume") == "patient i goes on in the background."
    assert found.result(10) == "lamp"
    with pytest.raises(RunProblem, match="nothing to resume"):
        perform(found, "resume")


def test_cancel_keeps_its_reason_and_compensate_undoes_what_a_run_did() -> None:
    found = asking()
    assert perform(found, "cancel", arguments={"reason": HOSTILE}).startswith("asks i is being cancelled")
    with pytest.raises(RunCancelled):
        found.result(10)
    assert any((row.event.meta or {}).get("reason") == HOSTILE for row in found.rows())
    shop.run("sofa", instance_id="s")
    other = rn.instance("s")
    assert perform(other, "compensate") == "What shop s did is being undone."
    until(lambda: "give back sofa" in DONE)


@pytest.mark.parametrize("action", ["retry", "skip", "done"])
def test_an_undo_that_gave_up_is_decided_about(action: str) -> None:
    found = gave_up()
    assert found.status == "compensation_failed"
    FAIL.discard("give back lamp")
    perform(found, action, "undo:0:0", {"note": "by telephone"})
    with pytest.raises(ValueError, match="no money"):
        found.result(10)
    assert ("give back lamp" in DONE) == (action == "retry")
    resolved = next(row.event for row in found.rows() if row.event.kind == "compensation_resolved")
    assert resolved.meta["action"] == action and resolved.meta["note"] == "by telephone"


def test_an_answer_and_an_event_that_do_not_fit_name_their_fields_and_those_that_fit_count_once() -> None:
    found = asking()
    place = found.questions()[0].place
    with pytest.raises(EventRefused) as refused:
        perform(found, "answer", place, {"value": {"approved": "perhaps"}})
    assert [path for path, _ in refused.value.problems] == ["approved"]
    with pytest.raises(WrongArguments):
        perform(found, "answer", place)
    perform(found, "answer", place, {"value": {"approved": True, "note": HOSTILE}})
    until(lambda: any(row.event.kind == "wait_started" and row.event.name == "paid" for row in found.rows()))
    with pytest.raises(AlreadyAnswered):
        perform(found, "answer", place, {"value": {"approved": False}})
    waits = next(row.event.call for row in found.rows() if row.event.name == "paid")
    with pytest.raises(EventRefused):
        perform(found, "send", waits, {"payload": "x"})
    perform(found, "send", waits, {"text": "12"})
    answer, amount = found.result(10)
    assert (answer.approved, answer.note, amount) == (True, HOSTILE, 12)


def test_it_acts_while_this_thread_is_busy_and_an_unknown_action_says_what_there_is() -> None:
    found = paused()
    FAIL.clear()
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(perform(found, "resume")))
    thread.start()
    thread.join(20)  # this thread, a kernel's main thread say, does nothing meanwhile
    assert said and found.result(10) == "lamp"
    with pytest.raises(WrongArguments, match="resume, cancel"):
        perform(found, "explode")


DOUBT = """
import os, signal, sys, threading
import romancy_nb as rn

began = threading.Semaphore(0)

def step(item: str) -> str:
    if sys.argv[1:] == ["die"]:
        began.release()
        threading.Event().wait()
    return f"again {item}"

@rn.activity(delivery="at_most_once", retry=1)
def once(item: str) -> str:
    return step(item)

@rn.activity(retry=1)
def often(item: str) -> str:
    return step(item)

@rn.workflow
def doubtful(item: str) -> str:
    return once(item)

@rn.workflow
def repeated(item: str) -> str:
    return often(item)
"""
DIES = """
for name in "abcdefg":
    (doubtful if name < "e" else repeated).start(name, instance_id=name)
for name in "abcdefg":
    began.acquire()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_steps_in_doubt_are_settled(journal: Path, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(DOUBT + DIES)
    environment = os.environ | {"ROMANCY_JOURNAL": str(journal)}
    subprocess.run([sys.executable, str(file), "die"], env=environment, check=False, timeout=60)
    exec(compile(DOUBT, str(file), "exec"), {"__name__": "__main__"})
    for name, action, arguments, result in (
        ("a", "resolve", {"outcome": "executed", "text": "77", "resume": True}, "77"),
        ("b", "resolve", {"outcome": "executed", "result": "ch-78"}, "ch-78"),
        ("c", "resolve", {"outcome": "not_executed", "resume": True}, "again c"),
        ("d", "retry", {}, "again d"),
        ("e", "resolve", {"outcome": "executed", "text": '"ch-79"', "resume": True}, "ch-79"),  # at least once
        ("f", "resolve", {"outcome": "not_executed", "resume": True}, "again f"),
    ):
        found = rn.instance(name)
        assert details(found, "0:0")["attempts"][0]["outcome"] == "unknown"
        assert "resolve" in offered(name)
        if name == "b":
            with pytest.raises(RomancyError, match="nobody recorded how it ended"):
                found.resume().result(10)
        with pytest.raises(WrongArguments, match="does not fit"):
            found.resolve("0:0", "executed", 12)
        said = perform(found, action, "0:0", arguments)
        assert "resolve" not in offered(name)
        if said.startswith("Noted. Resume"):
            found.resume()
        assert found.result(10) == result
    failed = rn.instance("g")
    perform(failed, "resolve", "0:0", {"outcome": "failed", "text": "12", "resume": True})
    with pytest.raises(RomancyError, match="12"):
        failed.result(10)


def offered(name: str) -> list[str]:
    return list(timeline_asks.view_of(name, None)["rows"][0]["actions"])


def test_what_is_still_executed_here_is_not_settled_by_a_word() -> None:
    """Stop does not reach every attempt (A2): one that goes on will tell for itself."""
    began, go = threading.Event(), threading.Event()

    @rn.activity(retry=ONCE)
    def deaf(item: str) -> str:
        began.set()
        while not go.is_set():
            with suppress(KeyboardInterrupt):
                go.wait(20)
        return item

    @rn.workflow
    def stopped(item: str) -> str:
        return deaf(item)

    def stop() -> None:
        began.wait(20)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop).start()
    with pytest.raises(RunInterrupted):
        stopped.run("lamp", instance_id="i")
    found = rn.instance("i")
    try:
        with pytest.raises(RunProblem, match="still being executed here"):
            perform(found, "resolve", "0:0", {"outcome": "executed", "text": "sofa"})
    finally:
        go.set()
    assert found.resume().result(10) == "lamp"


# -- another process owns the run ------------------------------------------------------------------------------------------


ELSEWHERE = """
import sys
import romancy_nb as rn

@rn.workflow
def asks(item: str) -> bool:
    return rn.ask("Go on?")

found = [asks.start("x", instance_id=name) for name in ("one", "two")]
for each in found:
    while not each.questions():
        pass
print("asked", flush=True)
for each in found:
    try:
        print(each.result(60), flush=True)
    except rn.errors.RunCancelled:
        print("cancelled", flush=True)
"""


@pytest.fixture
def owner(journal: Path) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"ROMANCY_JOURNAL": str(journal)}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ELSEWHERE)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "asked\n"
    yield process
    process.kill()
    process.wait()


def test_what_another_process_runs_is_answered_and_cancelled_through_the_journal(owner: Any) -> None:
    one, two = rn.instance("one"), rn.instance("two")
    with pytest.raises(RunProblem, match="goes on already: it is run by"):
        perform(one, "resume")
    perform(one, "answer", one.questions()[0].place, {"value": True})
    assert "which is asked to cancel it" in perform(two, "cancel", arguments={"reason": "no time"})
    assert [owner.stdout.readline() for _ in range(2)] == ["True\n", "cancelled\n"]


# -- the same as Python -----------------------------------------------------------------------------------------------------


class Recorder:
    """Stands for ``rn``: notes the calls that pasted code makes."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def note(*args: Any, **kwargs: Any) -> Recorder:
            self.calls.append((name, args, kwargs))
            return self

        return note


@pytest.mark.parametrize(
    ("action", "place", "arguments", "expected"),
    [
        ("resume", "", {}, ("resume", (), {})),
        ("cancel", "", {"reason": HOSTILE}, ("cancel", (HOSTILE,), {})),
        ("compensate", "", {"note": HOSTILE}, ("compensate", (), {"note": HOSTILE})),
        ("skip", "undo:0:0", {"note": HOSTILE}, ("compensate", ("undo:0:0", "skip"), {"note": HOSTILE})),
        ("resolve", "0:0", {"outcome": "executed", "text": HOSTILE}, ("resolve", ("0:0", "executed", HOSTILE), {})),
        ("send", "", {"event": HOSTILE, "payload": {HOSTILE: 1}}, ("send", (HOSTILE, {HOSTILE: 1}), {})),
        ("answer", "", {"value": [HOSTILE, None, True]}, ("answer", ([HOSTILE, None, True],), {})),
        ("fork", "0:1", {}, ("fork", ("0:1",), {})),
        ("fork", "0:1", {"text": HOSTILE}, ("fork", (), {"edits": {"0:1": HOSTILE}})),
    ],
)
def test_the_python_of_an_action_makes_that_very_call_whatever_its_texts_hold(
    action: str, place: str, arguments: dict[str, Any], expected: Any
) -> None:
    shop.run("lamp", instance_id=NAMED)
    found = rn.instance(NAMED)
    recorder = Recorder()
    text = code(found, action, place, arguments)
    exec(text.removeprefix("import romancy_nb as rn\n"), {"rn": recorder})
    assert recorder.calls == [("instance", (NAMED,), {}), expected]


def test_what_is_said_of_a_doubt_and_going_on_are_two_lines() -> None:
    shop.run("lamp", instance_id="i")
    said = {"outcome": "failed", "text": "no money", "resume": True}
    assert code(rn.instance("i"), "resolve", "0:1", said).splitlines()[1:] == [
        "rn.instance('i').resolve('0:1', 'failed', 'no money').resume()",
        "# or: %romancy resolve i 0:1 failed \"'no money'\"",
        "#     %romancy resume i",
    ]


def test_the_python_and_the_line_of_an_action_do_it(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_line_magic("load_ext", "romancy_nb")
    found = paused()
    FAIL.clear()
    text = code(found, "retry", "0:1")
    assert text.splitlines()[1:] == ["rn.instance('i').resume()", "# or: %romancy retry i 0:1"]
    shell.run_cell(text.splitlines()[2].removeprefix("# or: ")).raise_error()
    assert "pay (call 0:1) is executed again" in capsys.readouterr().out
    assert found.result(10) == "lamp"
    shell.run_cell("%romancy code i pay").raise_error()
    assert capsys.readouterr().out == "pay(item='lamp')\n"
    other = asking("o")
    line = code(other, "cancel", "", {"reason": 'the "customer" called?'}).splitlines()[-1].removeprefix("# or: ")
    assert line == "%romancy cancel o 'the \"customer\" called?'"
    shell.run_cell(line).raise_error()
    with pytest.raises(RunCancelled, match="called"):
        other.result(10)
    shell.run_line_magic("unload_ext", "romancy_nb")


def test_every_button_has_its_command_but_the_fork() -> None:
    commands = {"skip": "compensate", "done": "compensate"}
    assert [name for name in ACTIONS if commands.get(name, name) not in COMMANDS] in ([], ["fork"])


def test_a_step_as_code_is_the_call_with_its_inputs_and_names_what_is_left_out() -> None:
    seen: list[Any] = []

    @rn.activity(name="shop.reserve")
    def reserve(item: str, options: dict[Any, Any], tags: Any, when: Any = None, api_key: str = "k") -> None:
        seen.append((item, options, tags))

    @rn.workflow
    def flow() -> None:
        import datetime as dt

        reserve(HOSTILE, {"a": [1, 2.5, None, {"b": True}]}, ((1,), {2}, b"x"), when=dt.date(2026, 1, 2), api_key="sk")
        rn.sleep(0.001)

    flow.run(instance_id="i")
    text = code(rn.instance("i"), "code", "0:0")
    assert "# left out: when, a date" in text and "# left out: api_key, a secret" in text and "sk" not in text
    exec(text, {"reserve": reserve.function})
    assert seen[0] == seen[1]
    assert code(rn.instance("i"), "code", "0:1") == "import romancy_nb as rn\nrn.sleep(0.001)"


def test_a_word_that_a_line_cannot_say_makes_no_line() -> None:
    for word in ("a\nb", "'\"", "", "--x", "\u202e"):
        assert pasted.magic("cancel", word) == ""
    assert pasted.magic("cancel", "why?") == '%romancy cancel "why?"'


def test_a_step_is_done_anew_in_a_fork_or_has_the_result_that_a_person_gives_it() -> None:
    patient.run("lamp", instance_id="i")
    found = rn.instance("i")
    DONE.clear()
    perform(found, "fork", "0:1", {"instance_id": "anew"})
    assert rn.instance("anew").result(10) == "lamp" and DONE == ["pay lamp"]
    said = perform(found, "fork", "0:0", {"text": "sofa", "instance_id": "other"})
    assert said == "patient other was forked from i, and goes on in the background."
    assert rn.instance("other").result(10) == "sofa" and DONE == ["pay lamp", "pay sofa"]
    perform(found, "fork", "0:0", {"text": "12", "instance_id": "number"})  # a text where a text belongs
    assert rn.instance("number").result(10) == "12"
    with pytest.raises(WrongArguments, match="does not fit"):
        found.fork(edits={"0:0": ["sofa"]})


@pytest.mark.parametrize(
    "value", ["sofa", '{"a": [1, null, "x y"], "b": "--at 3"}', '"=\\n\u00e9?"', "12 = 13 --edit 0:0=1"]
)
def test_the_line_of_a_fork_says_the_same_as_its_python_or_there_is_none(value: str) -> None:
    shop.run("lamp", instance_id="i")
    found = rn.instance("i")
    python, *lines = code(found, "fork", "0:1", {"text": value}).splitlines()[1:]
    recorder = Recorder()
    exec(python, {"rn": recorder})
    edits = recorder.calls[1][2]["edits"]
    for line in lines:
        typed_value = histories.taken_apart(line.removeprefix("# or: %romancy fork "), "")
        assert typed_value[:2] == ("i", None) and typed.value_of(typed_value[2]["0:1"], None) == edits["0:1"]
    assert bool(lines) == (" --" not in value)
    at = code(found, "fork", "0:1", {"instance_id": "new"}).splitlines()[-1]
    assert at == "# or: %romancy fork i --at 0:1 --id new"


def test_with_a_run_that_is_not_the_newest_nothing_is_done_and_its_steps_are_its_own() -> None:
    @rn.workflow
    def again(item: str) -> str:
        return pay(item + WORD)

    globals()["WORD"] = "!"
    again.run("lamp", instance_id="i")
    globals()["WORD"] = "?"
    again.run("lamp", instance_id="i")
    told = [timeline_asks.answer(("i", number), "code", {"id": "0:0"})["code"] for number in (1, 2)]
    assert told == ["pay(item='lamp!')", "pay(item='lamp?')"]
    asked = {"id": "0:0", "action": "fork"}
    for what in ("act", "code"):
        with pytest.raises(RunProblem, match="its newest is run 2"):
            timeline_asks.answer(("i", 2), what, {**asked, "run": 1})
    assert "was forked from i" in timeline_asks.answer(("i", 2), "act", asked)["said"]


def test_every_button_has_what_it_does_the_code_for_it_and_its_words() -> None:
    drawn = modules.module(*modules.TIMELINE)
    table = re.search(r"const ACTIONS = \{(.*?)\n\};", drawn, re.DOTALL)
    assert table is not None
    labelled = set(re.findall(r"(\w+): \[", table[1]))
    assert set(ACTIONS) == set(pasted._ACTIONS)
    assert labelled - {"code"} == set(ACTIONS) - {"answer"}  # an answer is the form's own button
    offered = {name for names in actions._OF_RUN.values() for name in names} | {*actions._GAVE_UP}
    assert offered <= set(ACTIONS)
