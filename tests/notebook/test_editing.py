"""Cells edited and run again: only what changed is executed, and the line says why."""

from __future__ import annotations

import pytest
from kernels import Kernel

pytestmark = pytest.mark.kernel

ACTIVITIES = """%%romancy_activity --retries 1
def one(x: int) -> int:
    effect("one")
    return x + 1
def two(x: int) -> int:
    effect("two")
    return x * FACTOR
"""
FLOW = """%%romancy_workflow
def flow(x: int) -> int:
    return two(one(x))
"""


@pytest.fixture
def edited(book: Kernel) -> Kernel:
    for cell in ("FACTOR = 10", ACTIVITIES, FLOW):
        book.ok(cell)
    assert book.ok("flow(1)").result == "20"
    assert book.done() == ["one", "two"]
    return book


def test_an_edited_activity_is_executed_again_and_the_others_are_reused(edited: Kernel) -> None:
    edited.ok(ACTIVITIES.replace("return x * FACTOR", "return x * FACTOR + 1"))
    again = edited.ok("flow(1)")
    assert again.result == "21"
    assert edited.done() == ["one", "two", "two"]
    assert again.stdout.startswith("Run 2 (flow")
    assert "two() changed" in again.stdout
    assert "from journal: 1, executed: 1" in again.stdout


def test_an_edited_workflow_reuses_what_it_still_calls(edited: Kernel) -> None:
    edited.ok(FLOW.replace("return two(one(x))", "return two(one(x)) + one(100)"))
    again = edited.ok("flow(1)")
    assert again.result == "121"
    assert edited.done() == ["one", "two", "one"]
    assert "its code changed" in again.stdout


def test_comments_and_formatting_are_no_edit(edited: Kernel) -> None:
    edited.ok(ACTIVITIES.replace("    effect(", "    # a comment\n\n    effect("))
    edited.ok(FLOW.replace("two(one(x))", "two( one(x) )  # the same"))
    again = edited.ok("flow(1)")
    assert "Nothing was executed" in again.stdout
    assert edited.done() == ["one", "two"]


def test_an_edited_constant_of_another_cell_is_named(edited: Kernel) -> None:
    edited.ok("FACTOR = 11")
    again = edited.ok("flow(1)")
    assert again.result == "22"
    assert "FACTOR" in again.stdout.splitlines()[0]
    assert "changed" in again.stdout.splitlines()[0]
    assert edited.done() == ["one", "two", "two"]


def test_running_the_same_cells_again_is_no_edit(edited: Kernel) -> None:
    for cell in (ACTIVITIES, FLOW, "flow(1)", ACTIVITIES, FLOW, "flow(1)"):
        last = edited.ok(cell)
    assert "Nothing was executed" in last.stdout
    assert edited.done() == ["one", "two"]


def test_the_decorators_and_the_magics_are_the_same(edited: Kernel) -> None:
    edited.ok(
        "@rn.activity(retry=once)\n"
        + ACTIVITIES.split("\n", 1)[1].replace("def two", "@rn.activity(retry=once)\ndef two")
    )
    edited.ok("@rn.workflow\n" + FLOW.split("\n", 1)[1])
    assert "Nothing was executed" in edited.ok("flow(1)").stdout
    assert edited.done() == ["one", "two"]


def test_a_cell_defined_anew_while_its_run_is_under_way_leaves_the_run_its_old_code(book: Kernel) -> None:
    cell = (
        "go = threading.Event()\n"
        "@rn.activity(retry=once)\ndef wait(x: int) -> int:\n    effect('wait')\n    go.wait(20)\n    return x\n"
    )
    flow = "@rn.workflow\ndef bg(x: int) -> int:\n    return wait(x) + 1\n"
    book.ok(cell)
    book.ok(flow)
    book.ok("h = bg.start(1)\nwhile not os.path.exists(EFFECTS): time.sleep(0.01)")
    book.ok(flow.replace("+ 1", "+ 1000"))
    follows = book.send("bg(1)").until("It goes on with the code it started with")
    book.stop_button()
    follows.finish()
    assert "goes on in the background" in follows.evalue
    book.ok("go.set()")
    assert book.value("h.result(10)") == 2
    again = book.ok("bg(1)")
    assert again.result == "1001"
    assert book.done() == ["wait"], "the step itself was not edited"


def test_a_mended_slip_goes_on_without_executing_anything_again(edited: Kernel) -> None:
    edited.ok(FLOW.replace("return two(one(x))", "found = {'total': two(one(x))}\n    return found['totl']"))
    slip = edited.run("flow(2)")
    assert slip.ename == "KeyError"
    assert edited.done() == ["one", "two", "one", "two"]
    assert edited.value("rn.instances()[0].status") == "paused"
    edited.ok(FLOW.replace("return two(one(x))", "found = {'total': two(one(x))}\n    return found['total']"))
    mended = edited.ok("flow(2)")
    assert mended.result == "30"
    assert edited.done() == ["one", "two", "one", "two"]
