"""What a cell says while its run takes its time, when that ends later, and what the background asks (N5, N6)."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from kernels import ROOT, Kernel, eventually

pytestmark = pytest.mark.kernel

FLOWS = """
from romancy_nb.notebook import attending
@rn.activity
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
@rn.workflow
def asks(n: int) -> int:
    return n if rn.ask("Go on?") else 0
@rn.workflow
def fails(n: int) -> int:
    rn.ask("Go on?")
    nap("x")
    return n
@rn.workflow
def soon(seconds: float) -> str:
    rn.sleep(seconds)
    return "awake"
@rn.workflow
def limited(seconds: float) -> str:
    try:
        return rn.wait_event("paid", timeout=seconds)
    except TimeoutError:
        return "late"
@rn.workflow
def busy(seconds: float) -> float:
    return nap(seconds)
"""


class Specs(KernelSpecManager):  # type: ignore[misc, unused-ignore]
    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python", language="python")


@pytest.fixture
def flows(book: Kernel) -> Kernel:
    book.ok(FLOWS)
    return book


def test_the_line_that_answers_stands_below_the_cell(flows: Kernel) -> None:
    cell = flows.run("asks.run(1, instance_id='a-1')")
    assert cell.ename == "Waiting"
    assert "Answer with %romancy answer a-1 yes|no" in cell.stdout
    assert "n = 1" not in flows.ok("%romancy answer a-1 yes").stdout


def test_the_card_says_when_the_run_has_ended_later(flows: Kernel) -> None:
    cell = flows.run("asks.run(2, instance_id='a-2')")
    assert cell.ename == "Waiting" and not cell.settled
    flows.ok("%romancy answer a-2 yes")
    eventually(lambda: flows.listen() or cell.settled, "the head to change")
    assert cell.settled == "done: run this cell again to use the result (nothing is executed)"
    again = flows.ok("asks.run(2, instance_id='a-2')")
    assert again.result == "2"


def test_the_card_of_a_run_that_stopped_later_says_so(flows: Kernel) -> None:
    cell = flows.run("fails.run(1, instance_id='f-1')")
    flows.ok("%romancy answer f-1 yes")
    eventually(lambda: flows.listen() or cell.settled, "the head to change")
    assert cell.settled.startswith("paused: run this cell again") or cell.settled.startswith("Failed")


@pytest.mark.parametrize(
    ("call", "said"), [("soon(3.5)", "goes on in 2 s"), ("limited(3.5)", "waits for 'paid', for 2 s at most")]
)
def test_a_timer_that_is_due_soon_is_counted_down(flows: Kernel, call: str, said: str) -> None:
    cell = flows.send(call).until(said)
    cell.finish().ok()
    lines = [line for line in cell.stdout.splitlines() if line.startswith(said[:7])]
    assert 2 <= len(lines) <= 4, "once a second"


def test_a_call_that_is_busy_for_long_offers_to_go_on_in_the_background(flows: Kernel) -> None:
    flows.ok("attending.BUSY = 1.5")
    try:
        cell = flows.run("busy.run(3.2, instance_id='b-1')").ok()
        assert cell.stdout.count("busy.start(...)") == 1 and "romancy-nb show b-1" in cell.stdout
        quick = flows.run("busy.run(0.1, instance_id='b-2')").ok()
        assert "start(...)" not in quick.stdout
        started = flows.ok("h = busy.start(2.5, instance_id='b-3')")
        flows.ok("h.result()")
        flows.listen()
        assert "--start" not in started.stdout, "no cell waits for it"
    finally:
        flows.ok("attending.BUSY = 60.0")


def test_a_question_of_the_background_is_told_once_with_the_next_cell(flows: Kernel) -> None:
    began = flows.ok("h = asks.start(3, instance_id='a-3')\nwhile h.status != 'waiting': time.sleep(0.01)")
    assert "Go on?" not in began.stdout
    assert flows.ok("1 + 1").stdout == "asks asks: Go on? Answer with %romancy answer a-3 yes|no\n"
    assert flows.ok("1 + 1").stdout == ""
    flows.ok("%romancy answer a-3 no")


def test_a_question_that_the_cell_shows_itself_is_not_told_beside_it(flows: Kernel) -> None:
    cell = flows.run("asks.run(4, instance_id='a-4')")
    after = flows.ok("1 + 1")
    assert "Go on?" in cell.stdout and after.stdout == ""
    several = "for n in (11, 12): asks.start(n, instance_id=f'a-{n}')"
    flows.ok(several + "\nwhile len(rn.questions()) < 3: time.sleep(0.01)")
    assert "2 questions wait for an answer: %romancy lists them." in flows.ok("1 + 1").stdout
    assert flows.ok("1 + 1").stdout == ""


def test_while_a_run_goes_on_with_no_cell_busy_the_kernel_shows_life(flows: Kernel) -> None:
    """A server culls a kernel by when it last heard of it; every message but requests counts there."""
    flows.ok("attending.ALIVE = 0.5\nattending.stop()")
    try:
        flows.ok("h = soon.start(60, instance_id='s-1')")

        def updates(seconds: float) -> int:
            flows.listen()
            heard = 0
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                try:
                    message = flows.client.get_iopub_msg(timeout=0.1)
                except Exception:
                    continue
                heard += message["msg_type"] == "update_display_data"
            return heard

        assert 2 <= updates(3.0) <= 8
        flows.ok("h.cancel()")
        eventually(lambda: flows.value("h.status") == "cancelled", "it to end")
        flows.ok("a = asks.start(5, instance_id='a-5')\nwhile a.status != 'waiting': time.sleep(0.01)")
        updates(1.0)
        assert updates(2.0) == 0, "what waits for a person alone loses nothing with its kernel"
    finally:
        flows.ok("attending.ALIVE = 50.0\nattending.stop()")


def test_a_server_takes_that_for_activity(tmp_path: Path) -> None:
    """The thing itself: what Jupyter's server asks when it looks for kernels to cull."""
    managers = pytest.importorskip("jupyter_server.services.kernels.kernelmanager")

    async def work() -> tuple[float, float]:
        server = managers.AsyncMappingKernelManager(kernel_spec_manager=Specs(), root_dir=str(tmp_path))
        kernel = await server.start_kernel(kernel_name="python3", env={**os.environ, "PYTHONPATH": str(ROOT)})
        client = server.get_kernel(kernel).client()
        client.start_channels()
        await client.wait_for_ready(timeout=60)

        async def idle(seconds: float) -> float:
            """How long the server has heard of nothing, in the end."""
            await asyncio.sleep(seconds)
            last = server.kernel_model(kernel)["last_activity"]
            return (datetime.now(UTC) - datetime.fromisoformat(last)).total_seconds()

        setup = (
            "import time, romancy_nb as rn\n%load_ext romancy_nb\n"
            + FLOWS
            + "attending.ALIVE = 0.5\nattending.stop()\nh = soon.start(60)"
        )
        reply = await client.execute_interactive(setup, timeout=60, output_hook=lambda message: None)
        assert reply["content"]["status"] == "ok", reply["content"]
        while_it_runs = await idle(4.0)
        await client.execute_interactive("h.cancel()\nwhile h.status != 'cancelled': time.sleep(0.01)", timeout=60)
        afterwards = await idle(4.0)
        client.stop_channels()
        await server.shutdown_kernel(kernel, now=True)
        return while_it_runs, afterwards

    while_it_runs, afterwards = asyncio.run(work())
    assert while_it_runs < 2.5, while_it_runs
    assert afterwards > 3.0, afterwards
