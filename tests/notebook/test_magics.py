"""The magics' lines and cells, in IPython within this process."""

from __future__ import annotations

import ast
import inspect
import sys
import types
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError
from kernels import Kernel

from romancy_nb.definitions.activity import Activity
from romancy_nb.definitions.workflow import Workflow
from romancy_nb.notebook.magics import RomancyMagics, parse

VALUED, FLAGS = {"id", "retries", "timeout"}, {"new"}

# -- the line ----------------------------------------------------------------------------------------------------------

TEXT = st.text(alphabet="ab \t{}[]()'\"\\$%#!?,=:é\n", max_size=12)
LITERALS = st.one_of(
    TEXT.map(repr),
    TEXT.map(lambda text: f'"""{text}"""' if not set(text) & set('"\\\n') else repr(text)),
    TEXT.map(lambda text: "f" + repr(text.replace("{", "{{").replace("}", "}}"))),
    st.sampled_from(["f'{1 + 1} $x {{y}}'", "f\"{'a b'!r:>8}\"", "r'\\d{2} +'", "b'a b'", "'it''s'", '"#no comment"']),
    st.integers().map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["None", "True", "0x1F", "1_000", "...", "{}", "()"]),
)


def _within(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    listed = st.lists(inner, max_size=3)
    return st.one_of(
        listed.map(lambda parts: f"[{' , '.join(parts)}]"),
        listed.map(lambda parts: "(" + "".join(f"{part}, " for part in parts) + ")"),
        st.lists(st.tuples(TEXT.map(repr), inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{key} : {value}" for key, value in pairs) + "}"
        ),
        inner.map(lambda part: f"[ part for part in ({part} ,) if part == part ]"),
        inner.map(lambda part: f"(lambda  value = {part} : value)()"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} if  True else {two[1]})"),
    )


EXPRESSIONS = st.recursive(LITERALS, _within, max_leaves=6)


@given(first=EXPRESSIONS, second=EXPRESSIONS)
@settings(max_examples=400, deadline=None)
def test_any_expression_survives_as_an_argument(first: str, second: str) -> None:
    found = parse(f"--new --run {first}, key={second}", VALUED, FLAGS)
    args, kwargs = RomancyMagics._arguments(_Bare(), found)  # type: ignore[arg-type]
    assert (args, kwargs) == ((eval(first),), {"key": eval(second)})


@given(value=EXPRESSIONS)
@settings(max_examples=400, deadline=None)
def test_any_expression_survives_as_the_value_of_an_option(value: str) -> None:
    found = parse(f"--id {value}   --new --run  1", VALUED, FLAGS)
    assert eval(found.options["id"]) == eval(value)
    assert (found.options["new"], found.mode, found.call) == ("True", "run", "1")


class _Bare:
    _namespace: ClassVar[dict[str, Any]] = {}


def test_options_names_and_calls_are_told_apart() -> None:
    found = parse('--retries 3 --timeout 2.5 --id order-7 --new --run "a, b", key=[1, "x y"]', VALUED, FLAGS)
    assert found.options == {"retries": "3", "timeout": "2.5", "id": "order-7", "new": "True"}
    assert (found.mode, found.call) == ("run", '"a, b", key=[1, "x y"]')


@pytest.mark.parametrize("word", ["order-7", "2026-01-07", "7f3a", "a/b", "a#b", "über", "$x", "{x}"])
def test_a_plain_word_is_a_value_of_an_option(word: str) -> None:
    assert parse(f"--id {word} --new", VALUED, FLAGS).options == {"id": word, "new": "True"}


def test_run_without_arguments_is_a_call_without_arguments() -> None:
    assert parse("--run", VALUED, FLAGS).call == ""
    assert RomancyMagics._arguments(_Bare(), parse("--run", VALUED, FLAGS)) == ((), {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('--id "a --run 1', "do not close"),
        ("--id [1, 2", "do not close"),
        ("--id", "--id needs a value"),
        ("--retires 3", "There is no option --retires. There are --id, --new, --retries, --timeout."),
        ("one two", "only inputs, each as name=value"),
    ],
)
def test_a_wrong_line_is_one_readable_error(line: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line, VALUED, FLAGS)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("call", ['"a', "a=", "1) + (2", "1)(2", "[1, 2", "x = 1; y"])
def test_what_is_not_the_inside_of_a_call_is_one_readable_error(call: str) -> None:
    with pytest.raises(UsageError) as caught:
        RomancyMagics._arguments(_Bare(), parse(f"--run {call}", VALUED, FLAGS))  # type: ignore[arg-type]
    assert "inside of" in str(caught.value) or "do not close" in str(caught.value)
    assert call in str(caught.value)


def test_a_comment_after_the_arguments_does_no_harm() -> None:
    found = parse("--run 1, 2  # twice", VALUED, FLAGS)
    assert RomancyMagics._arguments(_Bare(), found) == ((1, 2), {})  # type: ignore[arg-type]


# -- cells -------------------------------------------------------------------------------------------------------------


def load(shell: Any) -> None:
    shell.run_line_magic("load_ext", "romancy_nb")


def run(shell: Any, cell: str) -> Any:
    return shell.run_cell(cell)


def test_the_cells_functions_become_activities_with_the_options_of_the_line(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    load(shell)
    capsys.readouterr()
    cell = (
        "%%romancy_activity --retries 3 --timeout 2.5\ndef reserve(x): return _parse(x)\n"
        "async def charge(x): return x\ndef _parse(x): return x\nLIMIT = 7\n"
    )
    assert run(shell, cell).success
    assert capsys.readouterr().out == "activities: reserve, charge (helper: _parse)\n"
    reserve = shell.user_ns["reserve"]
    assert isinstance(reserve, Activity)
    assert (reserve.options.retry.max_attempts, reserve.options.timeout) == (3, 2.5)
    assert isinstance(shell.user_ns["_parse"], types.FunctionType)
    assert shell.user_ns["LIMIT"] == 7
    assert reserve(5) == 5, "outside any workflow it is the plain function"


def test_functions_that_are_definitions_already_keep_their_own_options(shell: Any) -> None:
    load(shell)
    cell = (
        "%%romancy_workflow\n@rn.activity(timeout=9)\ndef step(x: int) -> int: return x\n"
        "def flow(x: int) -> int: return step(x)\n"
    )
    assert run(shell, cell).success
    assert isinstance(shell.user_ns["step"], Activity)
    assert shell.user_ns["step"].options.timeout == 9
    assert isinstance(shell.user_ns["flow"], Workflow)


def test_the_source_of_a_cells_function_can_be_had_and_its_lines_are_the_cells(shell: Any) -> None:
    load(shell)
    assert run(shell, "%%romancy_activity\n\ndef add(x):\n    # a comment\n    return x + 1\n").success
    function = shell.user_ns["add"].function
    assert inspect.getsource(function) == "def add(x):\n    # a comment\n    return x + 1\n"
    assert function.__code__.co_firstlineno == 3, "the magic stands on line 1"


def test_shell_commands_and_magics_work_in_a_cell_of_functions(shell: Any, capfd: pytest.CaptureFixture[str]) -> None:
    load(shell)
    assert run(shell, "%%romancy_activity\nfound = !echo hello\n%precision 3\ndef f(): return found[0]\n").success
    assert shell.user_ns["f"]() == "hello"


def test_run_evaluates_its_arguments_in_the_notebook_and_returns_the_result(shell: Any) -> None:
    load(shell)
    shell.user_ns["total"] = 4
    cell = '%%romancy_workflow --id "the one" --run "a, b", total * 2, key=[1, "x y"]\n'
    found = run(shell, cell + "def flow(a: str, b: int, key: list) -> list: return [a, b, key]\n")
    assert found.result == ["a, b", 8, [1, "x y"]]
    assert [each.id for each in shell.user_ns["rn"].instances()] == ["the one"]


def test_start_leaves_the_cell_at_once_with_the_instance(shell: Any) -> None:
    load(shell)
    found = run(shell, "%%romancy_workflow --start 3\ndef flow(a: int) -> int: return a * 2\n")
    assert found.result.result(timeout=10) == 6


def test_new_makes_another_instance_of_the_same_call(shell: Any) -> None:
    load(shell)
    body = "def flow(a: int) -> int: return a\n"
    for line in ("--run 1", "--new --run 1"):
        assert run(shell, f"%%romancy_workflow {line}\n{body}").success
    assert len(shell.user_ns["rn"].instances()) == 2


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%%romancy_activity\nx = 1\n", "there is no function in this cell"),
        ("%%romancy_activity name\ndef f(): pass\n", "takes options only"),
        ("%%romancy_activity --run 1\ndef f(): pass\n", "takes options only"),
        ("%%romancy_workflow research --run 1\nx = 1\n", "The two forms"),
        ('%%romancy_workflow --run "a\ndef f(a): pass\n', "do not close"),
        ("%%romancy_workflow --run 1 2\ndef f(a): pass\n", "inside of a call"),
    ],
)
def test_a_wrong_cell_is_one_readable_error(
    shell: Any, capsys: pytest.CaptureFixture[str], cell: str, said: str
) -> None:
    load(shell)
    capsys.readouterr()
    assert not run(shell, cell).success
    shown = capsys.readouterr()
    assert said in shown.out + shown.err
    assert "Traceback" not in shown.out + shown.err
    assert len((shown.out + shown.err).strip().splitlines()) <= 2


def test_a_cell_that_awaits_outside_its_functions_says_what_to_do(shell: Any) -> None:
    load(shell)
    found = run(shell, "%%romancy_activity\nimport asyncio\nawait asyncio.sleep(0)\ndef f(): pass\n")
    assert "in a cell of its own" in str(found.error_in_exec)


def test_a_syntax_error_is_shown_like_that_of_any_cell(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    load(shell)
    capsys.readouterr()
    assert not run(shell, "%%romancy_activity\ndef f():\n    x = {]\n").success
    shown = capsys.readouterr().out
    assert "line 3" in shown
    assert "x = {]" in shown
    assert "SyntaxError" in shown
    assert "Traceback" not in shown
    assert "magics.py" not in shown


def test_an_expression_magic_line_is_not_expanded_by_ipython(shell: Any) -> None:
    load(shell)
    shell.user_ns["x"] = "wrong"
    found = run(shell, "%%romancy_workflow --run '{x} $x'\ndef flow(a: str) -> str: return a\n")
    assert found.result == "{x} $x"


# -- the extension -----------------------------------------------------------------------------------------------------


def test_loading_twice_is_harmless(shell: Any) -> None:
    load(shell)
    load(shell)
    assert run(shell, "%%romancy_activity\ndef f(): return 1\n").success


def test_reloading_keeps_definitions_and_runs_working(shell: Any) -> None:
    load(shell)
    run(shell, "%%romancy_activity\ndef step(x: int) -> int: return x + 1\n")
    shell.run_line_magic("reload_ext", "romancy_nb")
    found = run(shell, "%%romancy_workflow --run 1\ndef flow(x: int) -> int: return step(x)\n")
    assert found.result == 2


def test_unloading_leaves_nothing_behind(shell: Any) -> None:
    def state() -> tuple[Any, ...]:
        manager = shell.magics_manager
        return (
            {kind: sorted(found) for kind, found in manager.magics.items()},
            sorted(set(manager.registry) - {"ExtensionMagics"}),  # IPython loads those when they are first used
            list(shell.input_transformers_cleanup),
            list(shell.ast_transformers),
            {event: len(found) for event, found in shell.events.callbacks.items()},
            sorted(name for name in shell.user_ns if not name.startswith("_")),
            sorted(shell.user_ns_hidden),
        )

    before = state()
    load(shell)
    assert state() != before
    shell.run_line_magic("unload_ext", "romancy_nb")
    assert state() == before


def test_a_name_rn_that_is_the_persons_own_stays(shell: Any) -> None:
    shell.user_ns["rn"] = "mine"
    load(shell)
    assert shell.user_ns["rn"] == "mine"
    shell.run_line_magic("unload_ext", "romancy_nb")
    assert shell.user_ns["rn"] == "mine"


def test_the_help_of_the_magics_shows_their_options(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    load(shell)
    for name, option in (("romancy_activity", "--retries N"), ("romancy_workflow", "--run")):
        assert option in (shell.find_cell_magic(name).__doc__ or "")


def test_the_facade_does_not_import_ipython() -> None:
    import subprocess

    code = "import sys, romancy_nb; sys.exit('IPython' in sys.modules or 'duckdb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_parser_of_expressions_is_pythons_own() -> None:
    # a nested quote in an f-string is one expression from 3.12 on and none before: either way nothing is cut
    text = 'f"{x["a b"]}"'
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        with pytest.raises(UsageError):
            parse(f"--id {text} --new", VALUED, FLAGS)
    else:
        assert parse(f"--id {text} --new", VALUED, FLAGS).options["id"] == text


def test_an_error_on_the_magics_line_names_what_raised_it_and_shows_no_frame_of_ours(book: Kernel) -> None:
    book.ok("def zero():\n    return 1 / 0")
    for line, kind, said in [
        ("flow n=nowhere", "NameError", "n=nowhere"),
        ("flow n=1 m=zero()", "ZeroDivisionError", "m=zero()"),
        ("--run nowhere", "NameError", "--run nowhere"),
    ]:
        shown = book.run(f"%%romancy_workflow {line}\ndef flow(n):\n    return n")
        assert shown.ename == kind and f"This was {said} on the magic's line" in shown.traceback
        assert "magics.py" not in shown.traceback and "Could not get source" not in shown.traceback, shown.traceback
        assert ("return 1 / 0" in shown.traceback) == (kind == "ZeroDivisionError")


def test_a_semicolon_at_the_end_of_a_body_shows_no_result_as_in_a_plain_cell(book: Kernel) -> None:
    for first in ("%%romancy_workflow quiet", "%romancy_workflow quiet"):
        assert book.ok(f"{first}\nseven = 7\nseven;  # quietly").result is None
        assert book.ok(f"{first}\nseven = 7\nseven").result == "7"
    assert book.value("seven") == 7
