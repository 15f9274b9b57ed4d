"""What people do wrong in the first ten minutes: one readable paragraph names the remedy, and no line of ours is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from kernels import Cell, Kernel

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def kernel(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    found = Kernel(python, tmp_path_factory.mktemp("mistakes"))
    found.ok(
        "import asyncio, datetime, getpass, random, sqlite3, socket, threading, time, uuid\nimport romancy_nb as rn\n"
        "%load_ext romancy_nb\n%config Romancy.show = False"
    )
    yield found
    found.close()


@pytest.fixture
def book(kernel: Kernel) -> Kernel:
    kernel.ok(
        "@rn.activity(retry=1)\ndef step(x: int) -> int: return x\n"
        "@rn.activity(retry=1)\nasync def astep(x: int) -> int: return x\n"
        "@rn.workflow\ndef flow(x: int) -> int: return step(x)\n"
        "@rn.workflow\nasync def aflow(x: int) -> int: return await astep(x)"
    )
    return kernel


def said(cell: Cell) -> str:
    """All that the person reads, on one line; nothing of it may be ours."""
    for place in ("romancy_nb/", "greenlet", "Traceback (most recent call last):\n"):
        assert place not in cell.text, cell.text
    return " ".join(cell.text.split())


# -- the extension -----------------------------------------------------------------------------------------------------


def test_a_forgotten_load_ext_is_made_up_for(own: Kernel) -> None:
    own.ok("import romancy_nb as rn")
    assert own.ok("%%romancy_workflow --run 20\ndef flow(x: int) -> int:\n    return x + 1\n").result == "21"


# -- await -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "kind"), [("aflow", "workflow"), ("astep", "activity")])
def test_a_missing_await_shows_what_to_write(book: Kernel, call: str, kind: str) -> None:
    cell = book.ok(f"{call}(1)")
    assert cell.result == f"<{kind} {call} was called and not awaited, so nothing has run. Write: await {call}(...)>"


def test_a_call_that_is_dropped_unawaited_warns_with_its_line(book: Kernel) -> None:
    cell = book.ok("x = 1\naflow(1)\nx")
    assert "workflow aflow was called and not awaited, so nothing has run. Write: await aflow(...)." in said(cell)
    assert "EngineLauncher" not in cell.text
    assert re.search(r":2: RuntimeWarning", cell.text)


def test_who_takes_the_unawaited_call_for_its_result_is_told(book: Kernel) -> None:
    cell = book.run("total = aflow(1)\ntotal + 1")
    assert "nothing has run. Write `await aflow(...)`." in said(cell)
    assert "nothing has run. Write `await astep(...)`." in said(book.run("1 + astep(1)"))
    assert "nothing has run. Write `await aflow(...)`." in said(book.run("total = aflow(1)\ntotal.price"))


def test_an_unawaited_call_can_still_be_awaited_gathered_and_made_a_task(book: Kernel) -> None:
    assert book.ok("call = aflow(3)\nawait call").result == "3"
    assert book.ok("await asyncio.gather(aflow(3), aflow(4), astep(5))").result == "[3, 4, 5]"
    assert book.ok("await asyncio.create_task(aflow(6))").result == "6"
    assert book.ok("async with asyncio.timeout(30):\n    a = await aflow(7)\na").result == "7"


@pytest.mark.parametrize(
    ("call", "remedy"),
    [("flow(4)", "Workflow flow is a `def` function"), ("step(4)", "Activity step is a `def` function")],
)
def test_a_superfluous_await_is_told_to_go(book: Kernel, call: str, remedy: str) -> None:
    cell = book.run(f"await {call}")
    assert cell.ename == "TypeError"
    assert remedy in said(cell)
    assert "without `await`" in said(cell)


def test_an_await_of_something_else_is_left_to_python(book: Kernel) -> None:
    cell = book.run("await len('x')")
    assert cell.stderr == ""


def test_an_unawaited_activity_in_a_workflow_is_named_with_its_line(book: Kernel) -> None:
    cell = book.run("@rn.workflow\nasync def forgets(x: int):\n    step(x)\n    return 1\nawait forgets(1)")
    assert cell.ename == "UnawaitedCall"
    assert "Line 3 of the cell calls activity step and never awaits it" in said(cell)
    assert "write `await step(...)`" in said(cell)


def test_an_unawaited_activity_that_is_taken_for_its_result_is_named_too(book: Kernel) -> None:
    cell = book.run("@rn.workflow\nasync def takes(x: int):\n    a = step(x)\n    return a + 1\nawait takes(1)")
    assert cell.ename == "TypeError"
    assert "Line 3 of the cell calls activity step without `await`: write `await step(...)`." in said(cell)


# -- what cannot be journaled ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        ("sqlite3.connect(':memory:')", "sqlite3.Connection"),
        ("threading.Lock()", "lock"),
        ("socket.socket()", "socket.socket"),
        ("open('/dev/null')", "TextIOWrapper"),
    ],
)
def test_a_client_made_in_a_cell_is_to_be_made_in_the_activity(book: Kernel, make: str, kind: str) -> None:
    cell = book.run(
        f"client = {make}\n@rn.activity(retry=1)\ndef query(c, x): return x\n"
        "@rn.workflow\ndef asks(x: int): return query(client, x)\nasks.run(1, new='always')"
    )
    assert cell.ename == "NotJournalable"
    assert "Argument c of activity query cannot be journaled" in said(cell)
    assert kind in said(cell)
    assert "Make it inside the activity that uses it" in said(cell)


def test_a_result_that_cannot_be_journaled_says_what_could(book: Kernel) -> None:
    cell = book.run(
        "class Thing:\n    __slots__ = ('x',)\n"
        "@rn.activity(retry=1)\ndef makes(): return {'a': [Thing()]}\n@rn.workflow\ndef wants(): return makes()\nwants()"
    )
    assert cell.ename == "NotJournalable"
    assert "The result of activity makes cannot be journaled: result['a'][0]" in said(cell)
    assert "Return plain data or an id instead" in said(cell)
    cell = book.run(
        "@rn.activity(retry=1)\ndef lazy(): return (i for i in range(3))\n@rn.workflow\ndef reads(): return lazy()\nreads()"
    )
    assert "Return list(...) of it instead" in said(cell)


def test_a_connection_of_another_thread_is_explained(book: Kernel) -> None:
    cell = book.run(
        "shared = sqlite3.connect(':memory:')\n"
        "@rn.activity(retry=1)\ndef reads(x: int): return shared.execute('select 1').fetchall()\n"
        "@rn.workflow\ndef flow2(x: int): return reads(x)\nflow2(1)"
    )
    assert "Make it inside the activity that uses it" in said(cell)
    assert '@rn.activity(executor="main")' in said(cell)
    done = book.ok("reads = rn.activity(retry=1, executor='main')(reads.function)\nflow2(1)")
    assert done.result == "[(1,)]", "the remedy holds"


# -- loops and questions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "asyncio.run(aflow(9))",
        "asyncio.get_event_loop().run_until_complete(aflow(9))",
        "@rn.workflow\ndef runs(x: int): return asyncio.run(astep(x))\nruns(1)",
        "@rn.workflow\nasync def aruns(x: int): return asyncio.run(astep(x))\nawait aruns(1)",
    ],
)
def test_asyncio_run_is_answered_with_await(book: Kernel, code: str) -> None:
    cell = book.run(code)
    assert cell.ename == "RuntimeError"
    assert "In a cell write `await main()` in place of asyncio.run(main())" in said(cell)


@pytest.mark.parametrize(
    "code",
    [
        "@rn.workflow\ndef questions(x: int): return input('Go on?')\nquestions(1)",
        "@rn.workflow\nasync def questions(x: int): return input('Go on?')\nawait questions(2)",
        "@rn.workflow\ndef questions(x: int):\n    step(x)\n    return input('Go on?')\nquestions(3)",
        "@rn.workflow\ndef questions(x: int): return getpass.getpass()\nquestions(4)",
        "from getpass import getpass as ask\n@rn.workflow\ndef questions(x: int): return ask()\nquestions(5)",
    ],
)
def test_a_question_in_workflow_code_is_refused_with_what_to_do(book: Kernel, code: str) -> None:
    cell = book.run(code)
    assert cell.ename == "WrongPlace"
    assert "in workflow code would ask again on every replay" in said(cell)
    assert "rn.ask" in said(cell)
    assert "in questions, line" in said(cell)


def test_a_question_in_a_background_run_is_refused_too(book: Kernel) -> None:
    book.ok("@rn.workflow\ndef asks_later(x: int): return input('?')\nh = asks_later.start(1)")
    assert book.run("h.result(30)").ename == "WrongPlace"


def test_a_question_in_a_cell_and_in_an_activity_of_the_cell_is_answered(book: Kernel) -> None:
    code = (
        "@rn.activity(retry=1, executor='main')\ndef ask(x: int) -> str: return input('Name?')\n"
        "@rn.workflow\ndef asking(x: int) -> str: return ask(x)\nprint(input('First?'), asking.run(1, new='always'))"
    )
    message = book.client.execute(code, allow_stdin=True)
    cell = book.cells[message] = Cell(book, message)
    for prompt, answer in (("First?", "Ada"), ("Name?", "Grace")):
        assert book.client.get_stdin_msg(timeout=30)["content"]["prompt"] == prompt
        book.client.input(answer)
    assert "Ada Grace" in cell.finish().ok().stdout


# -- time and chance ---------------------------------------------------------------------------------------------------


def test_time_and_chance_in_workflow_code_are_noted_once_when_it_is_defined(book: Kernel) -> None:
    defined = book.ok(
        "@rn.workflow\ndef looks(x: int) -> int:\n    when = time.time(), datetime.datetime.now()\n    return step(x)"
    )
    assert (
        "note: looks calls time.time() (line 3, write rn.now()), datetime.datetime.now() (line 3, write rn.now())."
        in defined.stdout
    )
    assert defined.stdout.count("\n") == 1
    assert "note:" not in book.ok("looks(1)").text
    assert "note:" not in book.ok("@rn.activity\ndef may(x: int) -> float: return time.time()").text
    under_magic = book.ok("%%romancy_workflow\ndef looks2(x: int) -> int:\n    return uuid.uuid4().int\n")
    assert "note: looks2 calls uuid.uuid4() (line 3, write rn.uuid4())" in under_magic.stdout


def test_time_in_a_body_is_noted_too(book: Kernel) -> None:
    cell = book.ok("%%romancy_workflow bodied\nimport time as t\nwhen = t.time()\nstep(1)\n")
    assert "note: bodied calls t.time() (line 3, write rn.now())." in cell.stdout
    assert "note:" not in book.ok("%%romancy_workflow bodied2\nwhen = rn.now()\nstep(1)\n").stdout


# -- the magic line ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        ("%%romancy_workflow research --run 3\nx = 1\n", "with the NAME research the body is run. The two forms:"),
        ("%%romancy_workflow --run research x=1\nx = 1\n", "is not the inside of a call"),
        ("%%romancy_workflow --run research\nx = 1\n", "there is no function in this cell"),
        ("%%romancy_workflow research\nx = 1\nreturn x\n", "its result is the value of its last expression"),
        ('%%romancy_workflow --run "abc\ndef f(x): return 1\n', "Quotes or brackets on this line do not close"),
        ('%%romancy_workflow --id "abc\ndef f(x): return 1\n', "Quotes or brackets on this line do not close"),
        ('%%romancy_workflow research topic="abc\nx = 1\n', "Quotes or brackets on this line do not close"),
        ("%%romancy_workflow --run [1, 2\ndef f(x): return 1\n", "Quotes or brackets on this line do not close"),
        ("%%romancy_workflow --rum 1\ndef f(x): return 1\n", "There is no option --rum"),
        ("# research\n%%romancy_workflow research\nx = 1\n", "Move the magic there; or write it with a single %"),
        ("%romancy shw x", "Did you mean %romancy show?"),
    ],
)
def test_a_wrong_magic_line_is_one_paragraph_and_defines_nothing(book: Kernel, cell: str, remedy: str) -> None:
    book.ok("f = None")
    found = book.run(cell)
    assert found.status == "error"
    assert remedy in said(found)
    assert "Traceback" not in found.text
    assert len(found.text.strip().splitlines()) <= 4
    assert book.value("f is None")


def test_forms_are_shown_where_they_were_mixed_up(book: Kernel) -> None:
    for line in ("research --run 3", "--run research x=1", "--run research"):
        assert "The two forms" in said(book.run(f"%%romancy_workflow {line}\nx = 1\n"))


# -- the journal -------------------------------------------------------------------------------------------------------


def test_a_journal_that_is_held_elsewhere_is_told_with_its_holder(python: str, tmp_path_factory: Any) -> None:
    room = tmp_path_factory.mktemp("held")
    holder, other = Kernel(python, room), Kernel(python, room)
    try:
        holder.ok(
            "%load_ext romancy_nb\nfrom romancy_nb.journal.on_duckdb import DuckDBJournal\n"
            "from romancy_nb.runtime import launch\nDuckDBJournal.wanted = lambda self: False\n"
            "import threading\ngo, there = threading.Event(), threading.Event()\n"
            "def hold(engine):\n    there.set()\n    go.wait(60)\n"
            "t = threading.Thread(target=lambda: launch.current().ask(hold, timeout=None), daemon=True)\n"
            "t.start()\nthere.wait(30)"
        )
        cell = other.ok("%load_ext romancy_nb")
        assert "its journal cannot be opened" in said(cell)
        assert f"{holder.pid}" in said(cell), "who holds it is named"
        cell = other.run("@rn.workflow\ndef flow(x: int) -> int: return x\nflow(1)")
        assert cell.ename == "JournalBusy"
        assert len(cell.traceback.splitlines()) <= 8
        holder.ok("go.set()")
        assert other.ok("flow(1)").result == "1"
    finally:
        holder.close()
        other.close()
