"""Redefining a workflow with unfinished instances is answered at once with what fits (X6), in a real kernel."""

from __future__ import annotations

from kernels import Kernel

STEP = """@rn.activity
def step(x):
    effect(f"step{x}")
    return x
@rn.activity
def slow(x):
    effect("slow")
    while not os.path.exists(EFFECTS + ".go"):
        time.sleep(0.01)
    return x"""

FLOW = """@rn.workflow
def flow(x):
    a = step(x)
    b = LAST
    return b"""


def flow(last: str) -> str:
    return FLOW.replace("LAST", last)


def test_a_paused_instance_is_told_of_with_whether_the_new_code_fits(book: Kernel) -> None:
    book.ok(STEP)
    book.ok(flow("1 / 0"))
    assert book.run("flow(1)").ename == "ZeroDivisionError"
    fits = book.ok(flow("a + 1")).stdout
    assert "flow was edited and has 1 unfinished instance" in fits and "the new code fits" in fits, fits
    parts = book.ok(flow("a").replace("step(x)", "step(x + 1)")).stdout
    assert "parts from its history" in parts and "step" in parts, parts
    assert book.done() == ["step1"], "looking executes nothing"
    book.ok(flow("a + 1"))
    assert book.ok("flow(1)").result == "2"
    assert book.ok(flow("a + 2")).stdout == "", "nothing is unfinished any more"


def test_a_running_instance_goes_on_with_its_code_and_that_is_said(book: Kernel) -> None:
    book.ok(STEP)
    book.ok(flow("slow(x)"))
    book.ok("h = flow.start(1)")
    said = book.ok(flow("slow(x) + 1")).stdout
    assert "(running): goes on with the code it started with, which the new code fits" in said, said
    book.ok("open(EFFECTS + '.go', 'w').close()")
    assert book.ok("h.result(20)").result == "1"


def test_running_the_same_cell_again_says_nothing(book: Kernel) -> None:
    book.ok(STEP)
    book.ok(flow("1 / 0"))
    book.run("flow(1)")
    assert book.ok(flow("1 / 0")).stdout == ""


def test_code_that_does_not_come_back_holds_up_nobody(book: Kernel) -> None:
    book.ok(STEP)
    book.ok(flow("1 / 0"))
    book.run("flow(1)")
    cell = book.ok(flow("[0 for _ in iter(int, 1)]"))
    assert "call flow again" in cell.stdout and cell.took < 10
