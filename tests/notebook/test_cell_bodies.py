"""A cell's body as the workflow (N3), in IPython within this process and in kernels."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError
from kernels import Kernel

from romancy_nb.errors import DefinitionError
from romancy_nb.notebook.magics import inputs_of

ASK = """
import romancy_nb as rn
CALLS = []
@rn.activity
def ask(text):
    CALLS.append(text)
    return text.upper()
"""


@pytest.fixture
def book(shell: Any) -> Any:
    shell.run_line_magic("load_ext", "romancy_nb")
    run(shell, ASK)
    return shell


def run(shell: Any, cell: str) -> Any:
    found = shell.run_cell(cell)
    found.raise_error()
    return found.result


# -- the line ----------------------------------------------------------------------------------------------------------

KEYS = st.lists(st.sampled_from(["topic", "n", "öl", "order_by", "x1"]), unique=True, max_size=4)
VALUES = st.recursive(
    st.one_of(
        st.text(alphabet="ab =,\t{}[]()'\"\\$%#!é\n", max_size=10).map(repr),
        st.integers().map(repr),
        st.sampled_from(
            ["lambda a=1, *, b=2: a", "x if x == y else z", "f(a=1, b = 2)", "not x", "a <= b", "{**d, 'k': 1}", "-1"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
        inner.map(lambda part: f"(lambda v={part}: v)"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}) + ({two[1]})"),
    ),
    max_leaves=4,
)


@given(data=st.data(), keys=KEYS, between=st.sampled_from([" ", "  ", ", "]), around=st.sampled_from(["=", " = "]))
@settings(max_examples=300, deadline=None)
def test_any_expression_survives_as_an_input(data: st.DataObject, keys: list[str], between: str, around: str) -> None:
    values = {key: data.draw(VALUES) for key in keys}
    line = between.join(f"{key}{around}{value}" for key, value in values.items())
    assert inputs_of(line, "research") == values
    assert inputs_of(line + "  # n=3", "research").keys() == values.keys()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("research --run 3", "--run runs a function of the cell"),
        ("research 'tides'", "only inputs, each as name=value"),
        ("research topic='ti", "topic"),
        ("research topic=[1, 2", "do not close"),
        ("research topic=", "no Python expression"),
        ("research topic=1 topic=2", "given twice"),
        ("topic='tides'", "is no name for a workflow"),
        ("for n=3", "is no name for a workflow"),
    ],
)
def test_a_wrong_line_is_one_clear_error(book: Any, line: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        book.run_cell_magic("romancy_workflow", line, "1")


# -- scope -------------------------------------------------------------------------------------------------------------

BODIES = {
    "x = x + 1": "x = x + 1\ny = [x * i for i in range(3)]\ny",
    "a class and a function": "class P:\n    k = n\n    def get(self): return self.k + n\ndef f(v): return P().get() + v\nf(x)",
    "imports": "import math as m\nfrom collections import OrderedDict\nfrom string import *\nm.floor(2.5), ascii_letters[:3]",
    "globals in functions": "count = 0\ndef up():\n    global count\n    count += n\nup(); up()\ncount",
    "del": "gone = 1\ndel gone\ndel x\nn",
    "walrus and unpacking": "if (w := n + 1) > 1: a, *b = [w, 2, 3]\nw, a, b",
    "try": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    said = str(e)\nsaid",
    "with": "import io\nwith io.StringIO('a\\nb') as f:\n    lines = [line for line in f]\nlines",
    "nested comprehensions": "rows = [[i * j for j in range(n)] for i in range(2)]\n{k: v for k, v in enumerate(rows)}",
    "loops": "total = 0\nfor i in range(4):\n    if i == 2: continue\n    total += i\nelse:\n    done = True\ntotal",
    "a generator": "list(i + n for i in range(2))",
    "recursion": "def fact(k): return 1 if k < 2 else k * fact(k - 1)\nfact(5)",
    "annotations": "z: int = n\nq: str\nz",
    "no result": "k = 1",
    "closures": "def outer():\n    c = n\n    def inner():\n        nonlocal c\n        c += 1\n        return c\n"
    "    return inner\nstep = outer()\nstep(), step()",
    "match": "match {'a': n}:\n    case {'a': got}: pass\ngot",
    "await": "import asyncio\nasync def two(i):\n    await asyncio.sleep(0)\n    return i * n\n"
    "r = await asyncio.gather(two(1), two(2))\nr",
    "async comprehension": "async def gen():\n    for i in range(3): yield i\n[i async for i in gen()]",
    "main": "__name__, type('T', (), {}).__module__",
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_behaves_as_the_same_code_in_a_plain_cell(book: Any, name: str) -> None:
    start = {"x": 10, "n": 3}
    seen = []
    for first_line in ("", "%%romancy_workflow body\n", "%%romancy_workflow body\n"):
        for extra in set(book.user_ns) - KNOWN(book):
            del book.user_ns[extra]
        book.user_ns.update(copy.deepcopy(start))
        result = run(book, first_line + BODIES[name])
        names = {key: _shown(value) for key, value in book.user_ns.items() if key not in KNOWN(book)}
        seen.append((_shown(result), names))
    assert seen[1] == seen[0]
    assert seen[2] == seen[0], "and from the journal as well"


def KNOWN(book: Any) -> set[str]:
    if not hasattr(book, "_known_names"):
        book._known_names = set(book.user_ns) | {"_", "__", "___", "_exit_code"}
    return book._known_names | {name for name in book.user_ns if name[:2] in {"_i", "_1"} or name[1:].isdigit()}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if " at 0x" not in text else f"{type(value).__name__} {getattr(value, '__name__', '')}"


def test_a_body_executes_its_activities_once_and_its_names_come_from_the_journal(book: Any) -> None:
    cell = '%%romancy_workflow research topic="tides"\na = ask(topic)\nb = a + "!"\nb'
    assert run(book, cell) == "TIDES!"
    del book.user_ns["a"], book.user_ns["b"]
    assert run(book, cell) == "TIDES!"
    assert (book.user_ns["a"], book.user_ns["b"], book.user_ns["CALLS"]) == ("TIDES", "TIDES!", ["tides"])
    assert "topic" not in book.user_ns


def test_a_changed_notebook_variable_is_an_edit_that_is_named(book: Any, capsys: pytest.CaptureFixture[str]) -> None:
    book.user_ns["PROMPT"] = "sum up "
    cell = "%%romancy_workflow research\none, two = ask('same'), ask(PROMPT)"
    run(book, cell)
    book.user_ns["PROMPT"] = "explain "
    capsys.readouterr()
    run(book, cell)
    assert "PROMPT changed" in capsys.readouterr().out
    assert book.user_ns["CALLS"] == ["same", "sum up ", "explain "]
    assert len(book.user_ns["rn"].instances(workflow="research")) == 1


def test_other_inputs_are_another_instance(book: Any) -> None:
    run(book, "%%romancy_workflow research topic='a'\nask(topic)")
    run(book, "%%romancy_workflow research topic='b'\nask(topic)")
    assert len(book.user_ns["rn"].instances(workflow="research")) == 2


def test_nothing_is_set_when_a_body_fails_and_its_variables_can_be_looked_at(book: Any) -> None:
    cell = "%%romancy_workflow research\na = ask('x')\nb = 1 / DIVISOR\nb"
    book.user_ns["DIVISOR"] = 0
    with pytest.raises(ZeroDivisionError):
        run(book, cell)
    assert "a" not in book.user_ns
    (found,) = book.user_ns["rn"].instances(workflow="research")
    assert found.locals() == {"a": "X"}
    book.user_ns["DIVISOR"] = 2
    assert run(book, cell) == 0.5
    assert (book.user_ns["a"], book.user_ns["CALLS"]) == ("X", ["x"])


def test_a_variable_that_the_body_itself_overwrites_counts_from_where_it_stood(book: Any) -> None:
    cell = "%%romancy_workflow up\nx = x + len(ask('abc'))\nx"
    book.user_ns["x"] = 1
    assert [run(book, cell), run(book, cell)] == [4, 4]
    book.user_ns["x"] = 10
    assert run(book, cell) == 13
    assert book.user_ns["CALLS"] == ["abc"]


def test_commands_and_magics_of_a_body_are_steps(book: Any, tmp_path: Any) -> None:
    out = tmp_path / "out"
    cell = f"%%romancy_workflow steps\nword = 'hi'\n!echo {{word}} $word >> {out}\nlines = !cat {out}\n%time v = 5\nlines, v"
    assert run(book, cell) == (["hi hi"], 5)
    assert run(book, cell) == (["hi hi"], 5)
    assert out.read_text() == "hi hi\n"
    assert book.user_ns["v"] == 5
    assert [row[0] for row in book.user_ns["rn"].sql("select name from steps order by seq").fetchall()] == [
        "shell command",
        "shell output",
        "line magic",
    ]


def test_commands_of_an_async_body_are_steps(book: Any, tmp_path: Any) -> None:
    start = "%%romancy_workflow steps\nimport asyncio\nawait asyncio.sleep(0)\nif True:\n"
    cell = start + f"    !echo hi >> {tmp_path}/out\nx = !cat {tmp_path}/out\nx"
    assert [run(book, cell), run(book, cell)] == [["hi"], ["hi"]]


def test_a_result_that_cannot_be_journaled_is_shown_and_fails_nothing(book: Any) -> None:
    cell = "%%romancy_workflow figure\nask('x')\nobject()"
    assert type(run(book, cell)) is object
    (found,) = book.user_ns["rn"].instances(workflow="figure")
    assert (found.status, found.result()) == ("completed", None)


@pytest.mark.parametrize("body", ["x = 1\nreturn x", "if True:\n    return", "yield 1"])
def test_a_return_in_a_body_is_refused_with_the_remedy(book: Any, body: str) -> None:
    with pytest.raises(DefinitionError, match="result is the value of its last expression"):
        run(book, f"%%romancy_workflow bad\n{body}")


def test_changes_in_place_are_noted(book: Any, capsys: pytest.CaptureFixture[str]) -> None:
    book.user_ns["log"] = []
    run(book, "%%romancy_workflow noted\nlog.append(ask('x'))")
    assert "changes log in place" in capsys.readouterr().out


def test_secrets_on_the_line_are_not_journaled(book: Any) -> None:
    assert run(book, "%%romancy_workflow quiet api_key='s3cret'\nlen(api_key)") == 6
    assert "s3cret" not in str(book.user_ns["rn"].sql("select * from runs").fetchall())


def test_a_body_can_be_started_in_the_background(book: Any) -> None:
    handle = run(book, "%%romancy_workflow later --start n=2\na = [ask(str(i)) for i in range(n)]\na")
    assert handle.result(20) == ["0", "1"]
    assert "a" not in book.user_ns
    assert run(book, "%%romancy_workflow later n=2\na = [ask(str(i)) for i in range(n)]\na") == ["0", "1"]
    assert book.user_ns["a"] == ["0", "1"]
    assert book.user_ns["CALLS"] == ["0", "1"]


# -- the line form -----------------------------------------------------------------------------------------------------


def test_the_line_form_is_the_same_workflow_as_the_cell_form(book: Any) -> None:
    run(book, "%%romancy_workflow research topic='t'\n\na = ask(topic)")
    run(book, "# a comment\n\n%romancy_workflow research topic='t'\na = ask(topic)")
    assert book.user_ns["CALLS"] == ["t"]
    run(book, "%romancy_workflow\ndef flow(n):\n    return ask('f' * n)\n")
    assert run(book, "flow(2)") == "FF"


def test_a_line_form_elsewhere_says_where_it_belongs(book: Any) -> None:
    with pytest.raises(UsageError, match="above its code"):
        run(book, "x = 1\n%romancy_workflow research\nask('t')")


def test_lines_of_the_line_form_keep_their_numbers(book: Any) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run(book, "# one\n%romancy_workflow odd\n# three\n1 / 0")
    lines = [entry.lineno for entry in caught.traceback if "ipython-input" in str(entry.path)]
    assert lines[-1] == 3  # counted from 0


# -- kernels -----------------------------------------------------------------------------------------------------------

BODY = """%%romancy_workflow research topic="tides"
first = ask(PROMPT + topic)
!echo {first}
second = ask(first)
(first, second)"""

DEFINE = """
import os
@rn.activity
def ask(text):
    fd = os.open('EFFECTS', os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(fd, b'x')
    os.close(fd)
    if text.isupper() and os.environ.get('DIE'):
        os.kill(os.getpid(), 9)
    return text.upper()
"""


def test_a_body_goes_on_in_a_new_kernel_with_the_values_it_started_with(own: Kernel) -> None:
    own.ok("%load_ext romancy_nb")
    own.ok("import os\nos.environ['DIE'] = '1'\nPROMPT = 'on '")
    own.ok(DEFINE)
    own.send(BODY)
    own.manager.provisioner.process.wait()  # type: ignore[union-attr, unused-ignore]
    own.client.stop_channels()
    own.again()
    own.ok("%load_ext romancy_nb")
    lost = own.run(BODY)
    assert "`ask` (def ask(text):)" in " ".join(lost.traceback.split()), lost.text
    own.ok(DEFINE)
    cell = own.ok(BODY)  # PROMPT was never set in this kernel
    assert "Resumed" in cell.stdout, cell.text
    assert own.value("first, second") == ("ON TIDES", "ON TIDES")
    assert (own.cwd / "EFFECTS").read_text() == "xxx"  # the one in flight at the kill is executed again


def test_stop_pauses_a_body_and_the_cell_goes_on(own: Kernel) -> None:
    own.ok("%load_ext romancy_nb")
    own.ok("import time\n@rn.activity\ndef nap(s):\n    print('nap', s, flush=True)\n    time.sleep(s)\n    return s")
    body = "%%romancy_workflow naps\na = nap(0)\nb = nap(SECONDS)\n(a, b)"
    own.ok("SECONDS = 30")
    cell = own.send(body).until("nap 30")
    own.stop_button()
    cell.finish()
    assert "Paused" in cell.text
    own.ok("SECONDS = 0.01")
    again = own.ok(body)
    assert again.result == "(0, 0.01)"


def test_a_semicolon_at_the_end_keeps_the_result_to_itself(book: Any) -> None:
    assert run(book, "%%romancy_workflow quiet\n1 + 1;") is None
    assert run(book, "%%romancy_workflow loud\n1 + 1") == 2


def test_a_class_that_the_body_defines_goes_to_activities_and_comes_back(book: Any) -> None:
    run(book, "@rn.activity\ndef double(order):\n    return type(order)(order.n * 2)")
    cell = """%%romancy_workflow classy
import dataclasses
@dataclasses.dataclass
class Order:
    n: int
doubled = double(Order(4))
doubled.n"""
    assert run(book, cell) == 8
    assert run(book, cell) == 8
    assert run(book, "type(doubled) is Order") is True


def test_an_input_on_the_line_wins_over_a_variable_of_the_notebook(book: Any) -> None:
    book.user_ns["n"] = book.user_ns["api_token"] = "the notebook's"
    cell = "%%romancy_workflow one n='mine' api_token='secret'\ndef inner():\n    return n\nr = ask(n), inner(), api_token\nr"
    assert run(book, cell) == ("MINE", "mine", "secret")
    assert run(book, cell) == ("MINE", "mine", "secret")
    assert book.user_ns["CALLS"] == ["mine"] and book.user_ns["n"] == "the notebook's"


def test_a_body_may_bind_its_own_input_and_is_not_edited_by_that(book: Any, capsys: pytest.CaptureFixture[str]) -> None:
    cell = "%%romancy_workflow two n=1\nr = []\nfor n in range(n, 3):\n    r.append(ask(str(n)))\nr"
    assert run(book, cell) == ["1", "2"]
    capsys.readouterr()
    assert run(book, cell) == ["1", "2"] and book.user_ns["n"] == 2
    assert "Nothing was executed" in capsys.readouterr().out
    book.user_ns["n"] = 7
    assert run(book, cell) == ["1", "2"]
    assert "Nothing was executed" in capsys.readouterr().out


# -- forks -------------------------------------------------------------------------------------------------------------


def test_a_run_of_a_cells_body_is_forked_with_other_results_and_sets_no_name_in_the_notebook(book: Any) -> None:
    run(book, "%%romancy_workflow poem topic='owl'\nfirst = ask(topic)\nsecond = ask(first + '!')\n[first, second]")
    assert book.user_ns["second"] == "OWL!"
    run(book, "made = rn.instances()[0]\nfork = made.fork(edits={2: 'BAT'})\nforked = fork.result(30)")
    assert book.user_ns["forked"] == ["BAT", "BAT!"]
    assert (book.user_ns["first"], book.user_ns["second"]) == ("OWL", "OWL!")
