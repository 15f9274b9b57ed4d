"""Stop: the run is paused durably, at once, and the same cell goes on later. How fast: ``benchmarks/stop.py``."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from kernels import Cell, Kernel, eventually

pytestmark = pytest.mark.kernel

AT_ONCE = 8
"""Seconds: far below what the stopped code would take (the tests hold it), far above what a busy machine needs."""

FLOWS = """
HOLD = EFFECTS + ".hold"
def held():
    "True until the test says otherwise"
    return os.path.exists(HOLD)

@rn.activity(retry=once)
def quick(x: int) -> int:
    effect(f"quick{x}")
    return x

@rn.activity(retry=once)
def slow(x: int) -> int:
    effect(f"slow{x}")
    print("slow begins", flush=True)
    while held():
        time.sleep(0.02)
    return x

@rn.activity(retry=once)
async def aslow(x: int) -> int:
    effect(f"aslow{x}")
    print("aslow begins", flush=True)
    while held():
        await asyncio.sleep(0.02)
    return x

@rn.activity(retry=once, executor="main")
def on_main(x: int) -> int:
    effect(f"main{x}")
    print("main begins", flush=True)
    if held():
        time.sleep(60)
    return x

@rn.workflow
def flow(x: int) -> list:
    return [quick(x), slow(x), quick(x + 1)]

@rn.workflow
async def aflow(x: int) -> list:
    return [await quick(x), await aslow(x), await quick(x + 1)]

@rn.workflow
def main_flow(x: int) -> list:
    return [quick(x), on_main(x), quick(x + 1)]

@rn.workflow
def spins(x: int) -> list:
    first = quick(x)
    if held():
        print("spinning", flush=True)
    while held():
        pass
    return [first, quick(x + 1)]

@rn.workflow
async def aspins(x: int) -> list:
    first = await quick(x)
    if held():
        print("spinning", flush=True)
    while held():
        pass
    return [first, await quick(x + 1)]

@rn.workflow
def stubborn(x: int) -> list:
    first = quick(x)
    print("spinning", flush=True)
    swallowed = 0
    while held() and swallowed < 2:
        try:
            while held():
                pass
        except BaseException:
            swallowed += 1
    return [first, quick(x + 1)]

@rn.workflow
def in_our_code(x: int) -> list:
    first = quick(x)
    if held():
        print("spinning", flush=True)
    for _ in iter(held, False):
        rn.context().run
    return [first, quick(x + 1)]

@rn.workflow
def burst(n: int) -> int:
    return sum(rn.gather(*[quick.bind(i) for i in range(n)]))
"""


@pytest.fixture
def flows(book: Kernel) -> Kernel:
    book.ok(FLOWS)
    hold(book)
    return book


def hold(kernel: Kernel) -> None:
    Path(f"{kernel.effects}.hold").touch()


def let_go(kernel: Kernel) -> None:
    Path(f"{kernel.effects}.hold").unlink()


def stop(cell: Cell, when: str) -> float:
    """Press Stop once the cell has said *when*; return how long the cell took to end."""
    cell.until(when)
    pressed = cell.kernel.stop_button()
    cell.finish()
    return time.monotonic() - pressed


def is_one_paragraph(cell: Cell) -> bool:
    lines = cell.traceback.strip().splitlines()
    return cell.status == "error" and 1 <= len(lines) <= 5 and "File" not in cell.traceback


@pytest.mark.parametrize(
    ("call", "when", "executed"),
    [
        ("flow(1)", "slow begins", ["quick1", "slow1"]),
        ("aflow.run(1)", "aslow begins", ["quick1", "aslow1"]),
        ("await aflow(1)", "aslow begins", ["quick1", "aslow1"]),
        ("main_flow(1)", "main begins", ["quick1", "main1"]),
        ("spins(1)", "spinning", ["quick1"]),
        ("await aspins(1)", "spinning", ["quick1"]),
        ("in_our_code(1)", "spinning", ["quick1"]),
    ],
)
def test_stop_pauses_the_run_at_once_and_the_same_cell_goes_on(
    flows: Kernel, call: str, when: str, executed: list[str]
) -> None:
    cell = flows.send(call)
    took = stop(cell, when)
    assert took < AT_ONCE
    assert is_one_paragraph(cell), cell.traceback
    assert "Paused" in cell.evalue
    assert "Run the same call again to go on from here" in cell.evalue
    assert flows.done() == executed
    assert flows.value("[each.status for each in rn.instances()]") == ["paused"]

    let_go(flows)
    again = flows.ok(call)
    assert again.result is not None
    assert again.stdout.startswith("Resumed the run that was paused")
    assert flows.done().count("quick1") == 1, "what completed before Stop is not executed again"
    assert flows.done()[-1] == "quick2"
    assert flows.value("[each.status for each in rn.instances()]") == ["completed"]


def test_code_that_swallows_the_interrupt_is_stopped_all_the_same(flows: Kernel) -> None:
    cell = flows.send("stubborn(1)")
    assert stop(cell, "spinning") < AT_ONCE
    assert "Paused" in cell.evalue
    assert flows.done() == ["quick1"], "what the code does after Stop does not count"
    let_go(flows)
    assert flows.ok("stubborn(1)").result == "[1, 2]"


def test_a_second_stop_lets_go_at_once_and_loses_nothing(flows: Kernel) -> None:
    flows.ok(
        """from romancy_nb.runtime import launch
journal = launch.current().journal
commit = journal.commit
def on_slow_disk(batch):
    if "writing" not in open(EFFECTS).read(): effect("writing")
    while held(): time.sleep(0.02)
    commit(batch)
@rn.activity(retry=once)
def slows(x: int) -> int:
    journal.commit = on_slow_disk if held() else commit
    return slow.function(x)
@rn.workflow
def slowed(x: int) -> list:
    return [quick(x), slows(x), quick(x + 1)]"""
    )
    cell = flows.send("slowed(1)").until("slow begins")
    flows.stop_button()
    eventually(lambda: "writing" in flows.done(), "the pause on its way to the disk")
    flows.stop_button()
    cell.finish()
    assert "Stopped at once" in cell.evalue
    let_go(flows)
    assert flows.ok("slowed(1)").result == "[1, 1, 2]"
    assert flows.done().count("quick1") == 1


def test_stop_during_a_burst_of_commits_loses_no_outcome(flows: Kernel) -> None:
    cell = flows.send("burst(2000)")
    eventually(lambda: len(flows.done()) > 100, "a hundred effects")
    flows.stop_button()
    cell.finish()
    assert "Paused" in cell.evalue
    stopped = len(flows.done())
    flows.ok("time.sleep(0.3)")
    assert len(flows.done()) <= stopped + 64, "what was queued is not begun after Stop"
    assert len(cell.evalue) < 500
    assert flows.ok("burst(2000)").result == str(sum(range(2000)))
    done = flows.done()
    # only what was in flight at Stop may have been executed twice
    assert set(done) == {f"quick{n}" for n in range(2000)}
    assert len(done) - 2000 <= 64


def test_stop_of_awaits_in_tasks_pauses_all_of_them_and_keeps_the_kernel(flows: Kernel) -> None:
    cell = flows.send("await asyncio.gather(aflow(1), aflow(2))")
    eventually(lambda: {"aslow1", "aslow2"} <= set(flows.done()), "both in flight")
    assert stop(cell, "aslow begins") < AT_ONCE
    assert flows.value("[each.status for each in rn.instances()]") == ["paused", "paused"]
    let_go(flows)
    assert flows.ok("await asyncio.gather(aflow(1), aflow(2))").result == "[[1, 1, 2], [2, 2, 3]]"


@pytest.mark.parametrize("wait", ["h.result()", "await h", "flow(1)"])
def test_stop_of_a_cell_that_only_follows_leaves_the_run_alone(flows: Kernel, wait: str) -> None:
    flows.ok("h = flow.start(1)")
    eventually(lambda: "slow1" in flows.done(), "the run in flight")
    cell = flows.send(f"print('waiting', flush=True)\n{wait}").until("waiting")
    time.sleep(0.3)
    assert stop(cell, "waiting") < AT_ONCE
    assert is_one_paragraph(cell), cell.traceback
    assert "goes on in the background" in cell.evalue
    assert flows.value("h.status") == "running"
    let_go(flows)
    assert flows.ok("h.result(10)").result == "[1, 1, 2]"
    assert flows.done() == ["quick1", "slow1", "quick2"]


def test_stop_breaks_an_activity_that_runs_python_code_in_its_thread(flows: Kernel) -> None:
    flows.ok(
        """@rn.activity(retry=once)
def loops(x: int) -> int:
    try:
        print("round and round", flush=True)
        while held(): pass
    except KeyboardInterrupt:
        effect("broken")
        raise
    return x
@rn.workflow
def looping(x: int) -> int:
    return loops(x)"""
    )
    assert stop(flows.send("looping(1)"), "round and round") < AT_ONCE
    eventually(lambda: "broken" in flows.done(), "the activity has been broken", 3)
    let_go(flows)
    assert flows.ok("looping(1)").result == "1"


def test_stop_takes_effect_at_once_while_other_threads_compute(flows: Kernel) -> None:
    flows.ok(
        """@rn.activity(retry=once)
def computes(x: int) -> int:
    until = time.monotonic() + 30
    while time.monotonic() < until and held(): pass
    return x
@rn.workflow
def computing(x: int) -> int:
    return computes(x)"""
    )
    for number in range(8):
        # as soon as the cell says anything at all: its thread is just about to wait for the engine
        assert stop(flows.send(f"computing({number})"), "Started") < AT_ONCE
    let_go(flows)


@pytest.mark.parametrize("activation", [1, 2])
def test_stop_at_the_instant_before_the_workflow_goes_on_keeps_it_from_going_on(flows: Kernel, activation: int) -> None:
    flows.ok(
        f"""import signal
from romancy_nb.runtime.hosts import CellHost
left, take = [{activation}], CellHost.next
def take_and_stop(host, timeout=None):
    message = take(host, timeout)
    if callable(message):
        left[0] -= 1
        if left[0] == 0:
            CellHost.next = take
            signal.raise_signal(signal.SIGINT)
    return message
CellHost.next = take_and_stop
@rn.workflow
def goes_on(x: int) -> list:
    if {activation} == 1 and held():
        while held(): pass
    first = quick(x)
    while held(): pass
    return [first, quick(x + 1)]"""
    )
    assert "Paused" in flows.run("goes_on(1)").evalue
    let_go(flows)
    assert flows.ok("goes_on(1)").result == "[1, 2]"
    assert flows.done() == ["quick1", "quick2"]


def test_stop_of_an_ordinary_cell_works_as_ever_after_a_workflow_ran(flows: Kernel) -> None:
    let_go(flows)
    flows.ok("flow(1)")
    for code in ("print('now', flush=True)\nwhile True: pass", "print('now', flush=True)\nawait asyncio.sleep(0.5)"):
        cell = flows.send(code)
        stop(cell, "now")
        assert cell.ename in {"KeyboardInterrupt", "CancelledError"}
