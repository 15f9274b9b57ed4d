"""``%romancy`` and its subcommands, in IPython within this process; what kills or waits, in kernels."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError
from kernels import Kernel, plain

from romancy_nb import settings
from romancy_nb.errors import InstanceEnded, InstanceNotFound, RunCancelled, WrongArguments
from romancy_nb.notebook.commands import COMMANDS, RomancyCommands
from romancy_nb.notebook.config import Table
from romancy_nb.notebook.standing import Standing
from romancy_nb.runtime import launch
from romancy_nb.runtime.instance import Instance
from romancy_nb.runtime.instances import Instances

DEFINED = """
import romancy_nb as rn
@rn.activity(retry=1)
def step(x: int) -> int:
    if x < 0: raise ValueError("below zero")
    return x
@rn.workflow
def order(x: int) -> int:
    return step(x)
@rn.workflow
def slip(x: int) -> int:
    step(x)
    return nowhere
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


def fill(shell: Any) -> None:
    """Two completed instances and a failed one."""
    shell.run_cell("order.run(1, instance_id='order-7')\norder.run(2, instance_id='order-8')").raise_error()
    assert not shell.run_cell("order.run(-1, instance_id='bad-1')").success


# -- alone -------------------------------------------------------------------------------------------------------------


def test_alone_with_nothing_to_tell_it_says_so(book: Any) -> None:
    found = ask(book)
    assert isinstance(found, Standing)
    assert "Nothing runs, and nothing waits for you" in repr(found)
    assert str(launch.location().path) in repr(found)
    assert "Nothing runs" in found._repr_html_()


def test_alone_it_lists_what_waits_with_one_next_command_each(book: Any) -> None:
    fill(book)
    assert not book.run_cell("slip.run(1, instance_id='slip-1')").success
    found = ask(book)
    assert {item.instance: item.status for item in found.yours} == {"bad-1": "failed", "slip-1": "paused"}
    text = repr(found)
    assert "slip slip-1: paused just now by an error in its code" in text
    assert "%romancy show slip-1" in text
    assert "%romancy show bad-1" in text
    assert "order-7" not in text
    for word in ("lease", "epoch", "command", "digest", "in_doubt"):
        assert word not in text
    assert "slip-1" in found._repr_html_()


def test_what_runs_here_is_told_with_the_step_it_is_in(book: Any) -> None:
    book.run_cell(
        "import threading\ngo, there = threading.Event(), threading.Event()\n"
        "@rn.activity\ndef waits() -> int:\n    there.set()\n    go.wait(30)\n    return 1\n"
        "@rn.workflow\ndef slow() -> int: return waits()\nh = slow.start(instance_id='slow-1')\nthere.wait(30)"
    ).raise_error()
    try:
        found = ask(book)
        assert [item.instance for item in found.running] == ["slow-1"]
        assert "running here" in found.running[0].says
        assert "in waits" in found.running[0].says
    finally:
        book.run_cell("go.set()\nh.result(30)").raise_error()
    assert ask(book).items == ()


@pytest.mark.kernel
def test_a_killed_kernels_run_waits_for_you_and_resume_goes_on(own: Kernel) -> None:
    cells = (
        "import os\n%load_ext romancy_nb\n"
        "@rn.activity\ndef step(x: int) -> int: return x + 1\n"
        "@rn.workflow\ndef flow(x: int) -> int: return step(step(x))"
    )
    own.ok(cells)
    own.ok("%romancy crash --after 1 --yes")
    own.send("flow.run(1, instance_id='flow-1')")
    own.manager.provisioner.process.wait(30)  # type: ignore[union-attr, unused-ignore]
    own.client.stop_channels()
    own.again()
    own.ok(cells)
    cell = own.ok("%romancy")
    assert "flow flow-1: its kernel ended" in cell.text
    assert "%romancy resume flow-1" in cell.text
    assert "goes on in the background" in own.ok("%romancy resume w-1").stdout
    assert own.value("rn.instance('flow-1').result(30)") == 3


# -- finding instances -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["order-7", "order-7…", "…er-7", "-7", "h"])
def test_an_instance_is_found_by_its_id_the_ends_of_it_or_a_variable(book: Any, word: str) -> None:
    fill(book)
    book.user_ns["h"] = launch.instance("order-7")
    found = ask(book, f"show {word}")
    assert isinstance(found, Instance)
    assert found.id == "order-7"
    assert "step(x=1)" in str(found.timeline())


def test_several_that_fit_are_named(book: Any) -> None:
    fill(book)
    with pytest.raises(InstanceNotFound, match=r"2 instances fit 'order': order-8, order-7\. Say more"):
        ask(book, "show order")


def test_one_that_is_not_there_is_said_with_the_nearest(book: Any) -> None:
    fill(book)
    with pytest.raises(InstanceNotFound, match=r"Did you mean order-7\? %romancy ls lists"):
        ask(book, "show ordre-7")
    with pytest.raises(UsageError, match=r"Which instance\? Usage: %romancy show ID"):
        ask(book, "show")


# -- each --------------------------------------------------------------------------------------------------------------


def test_ls_lists_all_or_those_of_a_status_or_a_workflow(book: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fill(book)
    found = ask(book, "ls")
    assert isinstance(found, Instances)
    assert [each.id for each in found] == ["bad-1", "order-8", "order-7"]
    assert [each.id for each in ask(book, "ls failed")] == ["bad-1"]
    assert len(ask(book, "ls order")) == 3
    capsys.readouterr()
    assert ask(book, "ls paused") is None
    assert "holds no paused instances" in capsys.readouterr().out
    assert ask(book, "ls ordr") is None
    assert "Did you mean %romancy ls order?" in capsys.readouterr().out


def test_resume_of_what_is_done_is_one_sentence(book: Any) -> None:
    fill(book)
    with pytest.raises(Exception, match="order-7 is completed; there is nothing to resume"):
        ask(book, "resume order-7")


def test_sql_answers_with_a_frame_and_takes_the_line_as_it_stands(book: Any) -> None:
    fill(book)
    query = "sql select name || ' {x} $y %s' as n, count(*) c from steps where name = 'step' group by 1"
    found = ask(book, query)
    assert list(found.columns) == ["n", "c"]
    assert found.values.tolist() == [["step {x} $y %s", 3]]
    assert book.run_cell("t = %romancy sql select 1 as a\nt.a[0]").result == 1


def test_sql_without_pandas_answers_with_a_table(book: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    found = ask(book, "sql select 1 as a")
    assert found.fetchall() == [(1,)]
    assert "<table>" in found._repr_html_()


def test_config_shows_every_setting_and_where_it_comes_from(book: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROMANCY_SHOW", "no")
    book.run_line_magic("config", "Romancy.capture_limit = 7")
    found = ask(book, "config")
    assert isinstance(found, Table)
    lines = {line.split()[0]: line for line in repr(found).splitlines() if line}
    assert set(settings.SETTINGS) <= set(lines)
    assert "$ROMANCY_SHOW" in lines["show"]
    assert "%config Romancy.capture_limit" in lines["capture_limit"]
    assert "default" in lines["namespace"]
    assert "$ROMANCY_SHOW" in found._repr_html_()


def test_doctor_tells_its_facts_and_leaves_the_journal_connected(book: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fill(book)
    before = launch.current()
    capsys.readouterr()
    ask(book, "doctor")
    said = capsys.readouterr().out
    assert str(launch.location().path) in said
    assert "1 failed" in said
    assert "2 completed" in said
    assert launch.current() is before
    assert len(ask(book, "ls")) == 3


def test_connect_changes_the_journal(book: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = launch.location().path
    ask(book, f'connect "{tmp_path / "my folder" / "j.duckdb"}" --namespace mine')
    assert launch.location().path == tmp_path / "my folder" / "j.duckdb"
    assert launch.current().namespace == "mine"
    assert "my folder" in capsys.readouterr().out
    ask(book, "connect")
    assert launch.location().path == first


def test_connect_with_adopt_takes_up_what_was_left(book: Any) -> None:
    book.run_cell("h = order.start(1, instance_id='left')\nh.result(30)").raise_error()
    ask(book, "connect --adopt")
    assert launch.current() is not None


def test_help_tells_every_subcommand_with_an_example(book: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ask(book, "help")
    said = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"%romancy {name} {command.usage}".rstrip() in said
        ask(book, f"help {name}")
        assert f"%romancy {command.example}" in capsys.readouterr().out
        assert command.example.split()[0] == name
    with pytest.raises(UsageError, match="There is no %romancy lss. Did you mean %romancy ls"):
        ask(book, "help lss")


def test_the_help_of_the_magic_names_every_subcommand(book: Any) -> None:
    text = inspect.getdoc(RomancyCommands.romancy) or ""
    for name in COMMANDS:
        assert f"%romancy {name}" in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("shw order-7", r"There is no %romancy shw\. Did you mean %romancy show\?"),
        ("zzzzz", r"There is no %romancy zzzzz\. %romancy help"),
        ("ls a b", r"'b' is not expected\. Usage: %romancy ls \[STATUS\|WORKFLOW\]"),
        ("ls --all", r"%romancy ls has no option --all\. Usage"),
        ("connect --namespace", r"--namespace needs a value\. Usage"),
        ("connect 'a b", r"quotes on this line do not close"),
        ("crash --after two", r"takes a whole number of steps, not 'two'"),
        ("sql", r"one SELECT over instances"),
    ],
)
def test_a_wrong_line_is_one_sentence_with_the_remedy(book: Any, line: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        ask(book, line)
    assert "\n" not in str(caught.value)


# -- crash -------------------------------------------------------------------------------------------------------------

QUICKSTART = (
    "%load_ext romancy_nb",
    "@rn.activity\ndef first(x: int) -> int: return x + 1\n@rn.activity\ndef second(x: int) -> int: return x * 2\n"
    "@rn.activity\ndef third(x: int) -> int: return x - 1\n"
    "@rn.workflow\ndef three(x: int) -> int: return third(second(first(x)))",
)


@pytest.mark.kernel
def test_the_quickstart_crash_run_all_says_two_from_journal_one_executed(own: Kernel) -> None:
    for cell in QUICKSTART:
        own.ok(cell)
    assert "This kernel dies when 2 more steps have been executed" in own.ok("%romancy crash --after 2 --yes").stdout
    own.send("three(1)")
    own.manager.provisioner.process.wait(30)  # type: ignore[union-attr, unused-ignore]
    own.client.stop_channels()
    own.again()
    for cell in QUICKSTART:
        own.ok(cell)
    last = own.ok("three(1)")
    assert last.result == "3"
    assert "from journal: 2, executed: 1" in last.stdout


@pytest.mark.kernel
def test_crash_without_a_number_dies_as_the_next_step_begins(own: Kernel) -> None:
    for cell in QUICKSTART:
        own.ok(cell)
    own.ok("%romancy crash --yes")
    own.send("three(1)")
    own.manager.provisioner.process.wait(30)  # type: ignore[union-attr, unused-ignore]
    own.client.stop_channels()
    own.again()
    for cell in QUICKSTART:
        own.ok(cell)
    steps = own.value("rn.sql('select name, status from steps').fetchall()")
    assert [name for name, _ in steps] == ["first"]
    assert own.ok("three(1)").result == "3"


@pytest.mark.kernel
def test_crash_asks_first_and_dies_only_on_yes(own: Kernel) -> None:
    for cell in QUICKSTART:
        own.ok(cell)
    assert "%romancy crash --yes" in own.run("%romancy crash").text, "nobody can be asked in this frontend"
    answers = own.client
    message = answers.execute("%romancy crash", allow_stdin=True)
    question = answers.get_stdin_msg(timeout=30)
    assert "Go ahead? [y/N]" in question["content"]["prompt"]
    answers.input("n")
    while answers.get_shell_msg(timeout=30)["parent_header"]["msg_id"] != message:
        pass
    assert own.ok("three(1)").result == "3"
    own.ok("%romancy crash --yes")
    assert "Taken back" in own.ok("%romancy crash --off").stdout
    assert own.ok("three(2)").result == "5"


@pytest.mark.kernel
def test_the_help_of_a_definition_shows_the_persons_own_words_and_an_example(book_kernel: Kernel) -> None:
    book_kernel.ok(
        "@rn.activity(retry=3, timeout=9)\ndef fetch(url: str, limit: int = 3) -> str:\n    'Get a page.'\n    return url\n"
        "@rn.workflow\nasync def crawl(url: str) -> str:\n    'Follow every link.'\n    return await fetch(url)"
    )
    for name, words in {
        "fetch": [
            "fetch(url: str, limit: int = 3) -> str",
            "Get a page.",
            "3 attempts at most",
            "timeout=9",
            "fetch(url)",
        ],
        "crawl": ["crawl(url: str) -> str", "Follow every link.", "await crawl(url)", "h = crawl.start(url)"],
    }.items():
        reply = book_kernel.client.inspect(name, reply=True, timeout=30)["content"]
        for word in words:
            assert word in plain(reply["data"]["text/plain"])


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("%romancy", "what runs and what waits for you"),
        ("%%romancy_workflow", '%%romancy_workflow --run "orders.csv", limit=10'),
        ("%%romancy_activity", "%%romancy_activity --retries 3 --timeout 30"),
        ("%romancy_workflow", "Examples:"),
    ],
)
def test_the_help_of_a_magic_has_examples(book_kernel: Kernel, asked: str, said: str) -> None:
    reply = book_kernel.client.inspect(asked, reply=True, timeout=30)["content"]
    assert said in plain(reply["data"]["text/plain"])
    message = book_kernel.client.execute(f"{asked}?", reply=True, timeout=30)
    assert said in plain(message["content"]["payload"][0]["data"]["text/plain"])


@pytest.fixture
def book_kernel(own: Kernel) -> Kernel:
    own.ok("import romancy_nb as rn\n%load_ext romancy_nb")
    return own


def test_forget_removes_what_an_instance_recorded(book: Any, capsys: pytest.CaptureFixture[str]) -> None:
    book.run_cell("order(4711)").raise_error()
    found = launch.instances()[0]
    capsys.readouterr()
    book.run_line_magic("romancy", f"forget {found.id}")
    assert capsys.readouterr().out.startswith(f"Forgotten: inputs, results and errors of {found.id}")
    assert "4711" not in str(found.steps().fetchall())
    book.run_cell("order(4711)").raise_error()
    assert "everything is executed" in capsys.readouterr().out


# -- forks -------------------------------------------------------------------------------------------------------------


FORKED = """
@rn.activity
def cmd_price(x: int) -> int: return x * 10
@rn.activity
def cmd_pay(price: int) -> str: return f"paid {price}"
@rn.workflow
def cmd_sale(x: int) -> str: return cmd_pay(cmd_price(x))
cmd_sale.run(1, instance_id='sale-1')
"""


def test_fork_and_diff_make_another_instance_and_show_what_differs(
    book: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    book.run_cell(FORKED).raise_error()
    made = ask(book, "fork sale-1 --edit cmd_price = 40 + 2 --id sale-2")
    assert made.result(30) == "paid 42" and "%romancy diff sale-1 sale-2" in plain(capsys.readouterr().out)
    found = ask(book, "diff sale-1 sale-2")
    assert "edited, result 10 → 42" in str(found)
    assert ask(book, "diff sale-2").counts == found.counts, "without another: what it was forked from"
    assert ask(book, "fork sale-1 --at cmd_pay").result(30) == "paid 10"
    for line, said in (
        ("fork", "Which instance"),
        ("fork sale-1 --edit nonsense", "too little or too much"),
        ("fork sale-1 more", "not expected"),
        ("diff", "Which instance"),
    ):
        with pytest.raises(UsageError, match=said):
            ask(book, line)


def test_names_in_quotes_are_one_name_and_a_number_may_be_an_instance(
    book: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    book.run_cell(FORKED + "cmd_sale.run(2, instance_id='sale 2')\ncmd_sale.run(3, instance_id='3')").raise_error()
    assert ask(book, 'fork "sale 2" --at "cmd_pay" --id "the fork"').id == "the fork"
    assert str(ask(book, "diff 'sale 2' 3")).startswith("cmd_sale: sale 2 and 3")
    with pytest.raises(UsageError, match="--at needs a value"):
        ask(book, "fork sale-1 --at")
    with pytest.raises(InstanceEnded, match="Instance sale 2 has ended"):
        ask(book, 'send "sale 2" paid 1')
    with pytest.raises(WrongArguments, match="An event has a name"):
        ask(book, 'send "sale 2" "" 1')


def test_what_was_cancelled_is_not_said_to_be_cancelled_once_more(
    book: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    book.run_cell("@rn.workflow\ndef cmd_waits(n: int) -> int: return rn.wait_event('never', type=int)").raise_error()
    book.run_cell("waits = cmd_waits.start(1, instance_id='waits')").raise_error()
    ask(book, "cancel waits")
    with pytest.raises(RunCancelled):
        book.user_ns["waits"].result(30)
    capsys.readouterr()
    ask(book, "cancel waits")
    assert "cmd_waits waits was cancelled before." in plain(capsys.readouterr().out)
