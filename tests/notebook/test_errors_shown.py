"""What a person sees when something fails: their own lines, and nothing of ours."""

from __future__ import annotations

import re

import pytest
from kernels import Cell, Kernel

pytestmark = pytest.mark.kernel


def shown_lines(cell: Cell) -> list[str]:
    """The lines with an arrow in the traceback: where the person is led to."""
    return [match.strip() for match in re.findall(r"^-+> \d+ (.*)$", cell.traceback, re.MULTILINE)]


def hides_us(cell: Cell) -> bool:
    return "romancy_nb/" not in cell.traceback and "asyncio" not in cell.traceback and "greenlet" not in cell.traceback


SLIP = """@rn.activity(retry=once)
def step(x: int) -> int:
    effect("step")
    return x
@rn.activity(retry=once)
def fails(x: int) -> int:
    below = 0
    return x // below
@rn.activity(retry=once)
async def afails(x: int) -> int:
    raise LookupError(f"nothing at {x}")
def helper(found):
    return found["nope"]
@rn.workflow
def slip(x: int) -> int:
    found = {"a": step(x)}
    return helper(found)
@rn.workflow
async def aslip(x: int) -> int:
    found = {"a": await step(x)}
    return helper(found)
@rn.workflow
def failing(x: int) -> int:
    step(x)
    return fails(x)
@rn.workflow
async def afailing(x: int) -> int:
    await step(x)
    return await afails(x)
"""


@pytest.mark.parametrize(
    ("call", "name", "lines"),
    [
        ("slip(1)", "KeyError", ["slip(1)", "return helper(found)", 'return found["nope"]']),
        ("slip.run(1)", "KeyError", ["slip.run(1)", "return helper(found)", 'return found["nope"]']),
        ("await aslip(1)", "KeyError", ["await aslip(1)", "return helper(found)", 'return found["nope"]']),
        ("failing(1)", "ZeroDivisionError", ["failing(1)", "return fails(x)", "return x // below"]),
        (
            "await afailing(1)",
            "LookupError",
            ["await afailing(1)", "return await afails(x)", 'raise LookupError(f"nothing at {x}")'],
        ),
    ],
)
def test_a_traceback_shows_the_persons_own_lines_only(book: Kernel, call: str, name: str, lines: list[str]) -> None:
    book.ok(SLIP)
    cell = book.run(call)
    assert cell.ename == name
    assert shown_lines(cell) == lines, cell.traceback
    assert hides_us(cell), cell.traceback
    assert len(cell.traceback.splitlines()) < 45
    inner = "[frame.f_code.co_name for frame, _ in __import__('traceback').walk_tb(sys.last_value.__traceback__)][-1]"
    assert book.value(inner) in {"helper", "fails", "afails"}, "%debug begins in the person's own function"


def test_who_asks_for_the_result_of_a_paused_run_is_told_what_paused_it(book: Kernel) -> None:
    book.ok(SLIP)
    book.ok("h = slip.start(1)\nwhile h.status != 'paused': time.sleep(0.01)")
    cell = book.run("h.result()")
    assert (cell.ename, cell.evalue) == ("KeyError", "'nope'")
    assert "is paused. Mend the code" in cell.traceback
    assert hides_us(cell), cell.traceback


def test_our_own_errors_in_workflow_code_name_the_persons_line(book: Kernel) -> None:
    book.ok(SLIP)
    book.ok("@rn.workflow\ndef wrong(x: int) -> int:\n    # line 3\n    return step(x, x, x)")
    cell = book.run("wrong(1)")
    assert cell.ename == "WrongArguments"
    assert "in wrong, line 4: return step(x, x, x)" in cell.traceback
    assert hides_us(cell)


def test_debug_walks_into_the_persons_frames_with_their_variables(book: Kernel) -> None:
    book.ok(SLIP)
    book.run("failing(1)")
    said = book.ok(
        "import io\n_before, sys.stdin = sys.stdin, io.StringIO('p below\\nup\\np x\\nq\\n')\n"
        "from IPython.terminal.debugger import Pdb\n"
        "_p = __import__('pdb').Pdb(stdin=sys.stdin, stdout=sys.stdout)\n_p.use_rawinput = False\n"
        "_p.reset()\n_p.interaction(None, sys.last_value.__traceback__)\nsys.stdin = _before"
    ).stdout
    assert "return x // below" in said
    assert "return fails(x)" in said


def test_lines_in_a_magic_cell_are_the_cells_own(book: Kernel) -> None:
    book.ok("%%romancy_activity\n\n\ndef deep(x: int) -> int:\n    # line 5\n    raise rn.TerminalError('no')\n")
    cell = book.run("%%romancy_workflow --run 1\n# line 2\ndef shallow(x: int) -> int:\n    return deep(x)\n")
    assert re.search(r"-> 6 +raise rn.TerminalError", cell.traceback), cell.traceback
    assert re.search(r"-> 4 +return deep\(x\)", cell.traceback), cell.traceback
    number = re.findall(r"Cell In\[(\d+)\], line [14]", cell.traceback)
    assert len(set(number)) == 1, "the cell is called by the number that stands beside it"
    assert hides_us(cell)


def test_a_syntax_error_under_a_magic_points_at_its_line(book: Kernel) -> None:
    cell = book.run("%%romancy_workflow --run 1\n\ndef flow(x: int) -> int:\n    return {]\n")
    assert cell.status == "error"
    assert re.search(r"Cell In\[\d+\], line 4", cell.traceback), cell.traceback
    assert "return {]" in cell.traceback
    assert hides_us(cell)
    assert "interactiveshell" not in cell.traceback


def test_a_slip_in_a_helper_of_another_cell_shows_that_cell(book: Kernel) -> None:
    book.ok("def other(x):\n    return undefined_name\n")
    cell = book.run("%%romancy_workflow --run 1\ndef flow(x: int) -> int:\n    return other(x)\n")
    assert "return undefined_name" in shown_lines(cell)


def test_the_first_line_of_a_pause_says_how_to_go_on(book: Kernel) -> None:
    book.ok(SLIP)
    cell = book.run("slip(1)")
    assert "it goes on from here" in cell.text
    assert "paused" in cell.text


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("rn.instance('nobody')", "rn.instances()"),
        ("flow_without_args(1)", "flow_without_args"),
        ("flow_without_args.start(instance_id='i')\nother_flow.start(instance_id='i')", "instance_id"),
    ],
)
def test_our_own_errors_are_a_paragraph(book: Kernel, code: str, said: str) -> None:
    book.ok("@rn.workflow\ndef flow_without_args() -> int: return 1\n@rn.workflow\ndef other_flow() -> int: return 1")
    cell = book.run(code)
    assert cell.status == "error"
    assert said in cell.traceback
    assert "File" not in cell.traceback
    assert len(cell.traceback.splitlines()) <= 5


def test_run_all_stops_at_a_paused_run(book: Kernel) -> None:
    book.ok(SLIP)
    first, second = book.send("slip(1)"), book.send("print('not reached')")
    first.finish()
    second.finish()
    assert (first.status, second.status) == ("error", "aborted")
    assert second.stdout == ""
