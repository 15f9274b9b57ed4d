"""A debugger in workflow and activity code, and after an error (X1, E1), in real kernels that may ask."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from queue import Empty

import pytest
from kernels import Kernel, plain

SETUP = """@rn.activity(retry=once)
def act(x):
    inner = x + 40
    TRACE
    return inner
@rn.activity(retry=once)
def bad(x):
    divisor = x
    return 1 / divisor
@rn.workflow
def flow(x):
    here = 7
    TRACE
    return act(x)
@rn.workflow
async def aflow(x):
    there = 8
    TRACE
    return await act(x)
@rn.workflow
def boom(x):
    outer = 9
    return bad(x)"""
TRACE = "from IPython.core.debugger import set_trace; set_trace()"


def talk(kernel: Kernel, code: str, answers: Sequence[str]) -> str:
    """Run a cell that asks, answer in order, and return all that was shown."""
    client, left, shown = kernel.client, list(answers), []
    message = client.execute(code, allow_stdin=True)
    until, idle = time.monotonic() + 40, False
    while not idle:
        assert time.monotonic() < until, "".join(shown)
        try:
            asked = client.get_stdin_msg(timeout=0.05)
            shown.append(f"<{asked['content']['prompt']}>")
            client.input(left.pop(0) if left else "q")
        except Empty:
            pass
        try:
            while True:
                told = client.get_iopub_msg(timeout=0.02)
                if told["parent_header"].get("msg_id") != message:
                    continue
                content = told["content"]
                shown.append(plain(str(content.get("text", "")) + "\n".join(content.get("traceback", []))))
                idle = idle or content.get("execution_state") == "idle"
        except Empty:
            pass
    return "".join(shown)


def says(shown: str, value: str) -> bool:
    """Did the debugger print *value*? Prompt and answer come through channels of their own."""
    return re.search(rf"(?m)(^|>){value}$", shown) is not None


@pytest.mark.parametrize(("call", "first"), [("flow(1)", ("p here", "7")), ("await aflow(1)", ("p there", "8"))])
def test_a_breakpoint_stops_in_the_workflow_and_in_its_activity(
    book: Kernel, call: str, first: tuple[str, str]
) -> None:
    book.ok(SETUP.replace("TRACE", TRACE))
    shown = talk(book, call, [first[0], "c", "p inner", "c"])
    assert says(shown, first[1]) and says(shown, "41"), shown
    assert shown.count("<ipdb> >") == 4
    assert book.value("[i.status for i in rn.instances()]") == ["completed"]


def test_debug_after_an_error_walks_from_the_cell_through_the_workflow_into_the_activity(book: Kernel) -> None:
    book.ok(SETUP.replace("TRACE", "pass"))
    assert book.run("boom(0)").ename == "ZeroDivisionError"
    shown = talk(book, "%debug", ["p divisor", "u", "p outer", "u", "q"])
    assert says(shown, "0") and says(shown, "9"), shown
    assert "romancy_nb/" not in shown
