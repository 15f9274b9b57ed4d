"""Calls of every kind in a cell, and what they show."""

from __future__ import annotations

import json

import nbformat
import pytest
from kernels import Kernel, eventually

pytestmark = pytest.mark.kernel

FLOWS = """
@rn.activity(retry=once)
def add(x: int) -> int:
    effect(f"add{x}")
    return x + 1
@rn.activity(retry=once)
async def aadd(x: int) -> int:
    await asyncio.sleep(0)
    effect(f"aadd{x}")
    return x + 1
@rn.workflow
def flow(x: int) -> int:
    print("workflow speaks", x)
    return add(x)
@rn.workflow
async def aflow(x: int) -> int:
    print("workflow speaks", x)
    return await aadd(x)
"""


@pytest.fixture
def flows(book: Kernel) -> Kernel:
    book.ok(FLOWS)
    return book


@pytest.mark.parametrize(
    "code",
    ["flow(1)", "await aflow(1)", "aflow.run(1)", "flow.start(1).result(10)", "await aflow.start(1)", "flow.run(1)"],
)
def test_every_kind_of_call_gives_the_result_and_says_what_it_does_first(flows: Kernel, code: str) -> None:
    cell = flows.ok(code)
    assert cell.result == "2"
    first = cell.stdout.splitlines()[0]
    assert "Started (" in first or ".start" in code
    assert "workflow speaks 1" in cell.stdout or ".start" in code
    again = flows.ok(code)
    assert again.result == "2"
    assert "Nothing was executed" in again.stdout
    assert len(flows.done()) == 1


def test_a_workflow_can_be_called_while_the_kernels_loop_runs_a_task(flows: Kernel) -> None:
    cell = flows.ok(
        "async def beside():\n    return flow(2)\n"
        "task = asyncio.get_running_loop().create_task(beside())\nprint(await task, flow(3), aflow.run(4))"
    )
    assert "3 4 5" in cell.stdout
    assert flows.value("'nest_asyncio' in sys.modules") is False


def test_an_awaited_workflow_lets_other_tasks_of_the_kernel_run(flows: Kernel) -> None:
    cell = flows.ok(
        "@rn.activity(retry=once)\nasync def long(x: int) -> int:\n    await asyncio.sleep(0.3)\n    return x\n"
        "@rn.workflow\nasync def lflow(x: int) -> int: return await long(x)\n"
        "ticks = 0\nasync def tick():\n    global ticks\n    while True:\n        ticks += 1\n        await asyncio.sleep(0.02)\n"
        "ticking = asyncio.ensure_future(tick())\nprint(await lflow(1))\nticking.cancel()\nprint('ticked', ticks > 5)"
    )
    assert "ticked True" in cell.stdout


def test_awaited_workflows_run_side_by_side(flows: Kernel) -> None:
    cell = flows.ok("await asyncio.gather(aflow(1), aflow(2), aflow(3))")
    assert cell.result == "[2, 3, 4]"


def test_what_activities_print_stands_in_the_calling_cell(flows: Kernel) -> None:
    flows.ok(
        "@rn.activity(retry=once)\ndef says(x: int) -> int:\n    print('said in a thread', x)\n    return x\n"
        "@rn.activity(retry=once)\nasync def asays(x: int) -> int:\n    print('said on the loop', x)\n"
        "    print('to stderr', file=sys.stderr)\n    return x\n"
        "@rn.workflow\ndef talk(x: int) -> int: return says(x)\n"
        "@rn.workflow\nasync def atalk(x: int) -> int: return await asays(x)"
    )
    cell = flows.ok("talk(1)")
    assert "said in a thread 1" in cell.stdout
    cell = flows.ok("await atalk(1)")
    assert "said on the loop 1" in cell.stdout
    assert "to stderr" in cell.stderr


def test_what_a_background_run_prints_does_not_wander_into_other_cells(flows: Kernel) -> None:
    flows.ok(
        "go = threading.Event()\n@rn.activity(retry=once)\ndef late(x: int) -> int:\n    go.wait(20)\n"
        "    print('late words')\n    return x\n@rn.workflow\ndef later(x: int) -> int: return late(x)"
    )
    started = flows.ok("h = later.start(1)")
    other = flows.ok("go.set()\nh.result(10)\ntime.sleep(0.1)\nprint('other cell')")
    eventually(
        lambda: flows.listen() or "late words" in started.stdout, "the words in the cell that started the run", 5
    )
    assert "late words" not in other.stdout


def test_a_background_run_blocks_no_cell_and_no_other_run(flows: Kernel) -> None:
    flows.ok(
        "go = threading.Event()\n@rn.activity(retry=once)\ndef waits(x: int) -> int:\n    go.wait(30)\n    return x\n"
        "@rn.workflow\ndef waiting(x: int) -> int: return waits(x)\n"
        "@rn.workflow\ndef busy(x: int) -> int:\n    while not go.is_set(): pass\n    return x"
    )
    flows.ok("one, two = waiting.start(1), busy.start(2)")
    cell = flows.ok("print(flow(5))")
    assert "6" in cell.stdout
    assert cell.took < 3
    assert flows.value("one.status, two.status") == ("running", "running")
    flows.ok("go.set()")
    assert flows.value("one.result(10), two.result(10)") == (1, 2)


def test_an_instance_shows_itself_as_html_text_and_history(flows: Kernel) -> None:
    cell = flows.ok("h = flow.start(1)\nh.result(10)\nh")
    bundle = cell.displays[-1]
    assert set(bundle) == {"text/html", "text/plain", "application/vnd.romancy.history+json"}
    assert "add(x=1)" in bundle["text/plain"]
    for refused in ("<script", "<style", "<svg", "http://", "https://"):
        assert refused not in bundle["text/html"], "JupyterLab strips it, or it would reach for the network"
    history = bundle["application/vnd.romancy.history+json"]
    assert json.loads(json.dumps(history)) == history

    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell("h")]
    notebook.cells[0].outputs = [
        nbformat.v4.new_output("execute_result", bundle, execution_count=1),
        nbformat.v4.new_output("display_data", bundle),
    ]
    nbformat.validate(notebook)


def test_a_call_shows_the_timeline_once_and_then_its_result(flows: Kernel) -> None:
    cell = flows.ok("flow(1)")
    assert len(cell.displays) == 2
    assert "application/vnd.romancy.history+json" in cell.displays[0]
    assert cell.displays[1] == {"text/plain": "2"}


def test_the_list_of_instances_and_answers_to_queries_are_tables(flows: Kernel) -> None:
    flows.ok("flow(1)")
    listed = flows.ok("rn.instances()").displays[-1]
    assert "<table" in listed["text/html"]
    assert "flow-" in listed["text/plain"]
    assert "boot" not in listed["text/plain"], "owners are shown in words"
    steps = flows.ok("rn.sql('select name, status from steps')").displays[-1]
    assert "<table>" in steps["text/html"]
    assert "add" in steps["text/plain"]
    assert flows.value("rn.sql('select name, status from steps').fetchall()") == [("add", "completed")]
    assert flows.value("list(rn.sql('select name from steps').df()['name'])") == ["add"]


def test_the_cell_that_called_is_recorded_where_the_frontend_names_it(flows: Kernel) -> None:
    flows.ok("flow(1)", cell_id="cell-7")
    assert "cell-7" in flows.ok("print(str(flow.start(1).history().dicts()))").stdout


def test_an_activity_outside_a_workflow_is_the_plain_function(flows: Kernel) -> None:
    assert flows.ok("add(1), await aadd(1)").result == "(2, 2)"
    assert flows.value("len(rn.instances())") == 0
