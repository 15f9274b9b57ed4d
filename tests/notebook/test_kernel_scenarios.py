"""What other engines were found to break in notebooks, each by its name, in real kernels. See tests/runtime/test_scenarios."""

from __future__ import annotations

import pytest
from kernels import EFFECTS, Kernel, eventually

pytestmark = [pytest.mark.kernel, pytest.mark.crash]

SETUP = """import os, time
import romancy_nb as rn
%load_ext romancy_nb
rn.connect({journal!r})
EFFECTS = {effects!r}
HOLD = {hold!r}
"""
STEPS = """%%romancy_activity --retries 1
def reserve(item: str) -> str:
    effect(f"reserve-{item}")
    return item.upper()
def charge(amount: int) -> int:
    effect(f"charge-{amount}")
    while os.path.exists(HOLD): time.sleep(0.02)
    return amount * 2
"""
FLOW = """%%romancy_workflow
def order(items: list) -> list:
    return [*(reserve(item) for item in items), charge(len(items))]
"""
CALL = "order(['a', 'b'])"
DONE = ["reserve-a", "reserve-b", "charge-2"]


def prepared(kernel: Kernel) -> Kernel:
    setup = SETUP.format(
        journal=str(kernel.cwd / "j.duckdb"), effects=str(kernel.effects), hold=str(kernel.cwd / "hold")
    )
    for cell in (setup + EFFECTS, STEPS, FLOW):
        kernel.ok(cell)
    return kernel


@pytest.fixture
def held(own: Kernel) -> Kernel:
    """A kernel in which ``charge`` does not return while the file ``hold`` is there."""
    (own.cwd / "hold").touch()
    return prepared(own)


def test_kernel_interrupt(held: Kernel) -> None:
    cell = held.send(CALL)
    eventually(lambda: "charge-2" in held.done(), "charge in flight")
    held.stop_button()
    said = cell.finish()
    assert said.ename == "RunInterrupted" and "2 executed steps" in said.evalue and "charge" in said.evalue, said.text
    (held.cwd / "hold").unlink()
    assert "['A', 'B', 4]" in held.ok(CALL).text
    assert held.done()[:3] == DONE and held.done().count("reserve-a") == 1


def test_kernel_restart_resumes_at_once(held: Kernel) -> None:
    held.send(CALL)
    eventually(lambda: "charge-2" in held.done(), "charge in flight")
    held.kill()
    (held.cwd / "hold").unlink()
    held.again()
    prepared(held)
    shown = held.ok(CALL)
    assert "Resumed the run that was interrupted" in shown.text and "['A', 'B', 4]" in shown.text
    assert held.done() == [*DONE, "charge-2"]


def test_two_kernels_on_one_file(held: Kernel, python: str) -> None:
    cell = held.send(CALL)
    eventually(lambda: "charge-2" in held.done(), "charge in flight")
    other = Kernel(python, held.cwd)
    try:
        other.effects = held.effects
        prepared(other)
        following = other.send(CALL)
        following.until("Following the run")
        (held.cwd / "hold").unlink()
        assert "['A', 'B', 4]" in following.finish().text and "['A', 'B', 4]" in cell.finish().text
        assert "['C', 2]" in other.ok("order(['c'])").text
    finally:
        other.close()
    assert held.done().count("charge-2") == 1


def test_re_executed_cell_with_edited_workflow(own: Kernel) -> None:
    kernel = prepared(own)
    kernel.ok(CALL)
    kernel.ok(FLOW.replace("charge(len(items))", "charge(len(items)), reserve('box')"))
    shown = kernel.ok(CALL)
    assert "['A', 'B', 4, 'BOX']" in shown.text and "from journal: 3, executed: 1" in shown.text
    assert kernel.done() == [*DONE, "reserve-box"]
