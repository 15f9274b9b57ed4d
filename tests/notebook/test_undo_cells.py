"""Undo in a notebook: options of the magics, `%romancy cancel | compensate | resolve`, Stop while something is undone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from kernels import EFFECTS, Kernel, eventually

pytestmark = pytest.mark.kernel

COMPENSATIONS = """@rn.compensation(retry=once)
def give_back(item: str, result: str) -> None:
    if os.path.exists(EFFECTS + ".down"):
        raise ConnectionError("nobody answers")
    effect(f"undo-{item}-{result}")
    while os.path.exists(EFFECTS + ".hold"):
        time.sleep(0.02)
@rn.activity(retry=once)
def fails() -> str:
    raise LookupError("sold out")"""
ACTIVITIES = """%%romancy_activity --compensate give_back
def take(item: str) -> str:
    effect(f"take-{item}")
    return item.upper()"""
WORKFLOW = """%%romancy_workflow
def trip(n: int) -> str:
    take("flight")
    take("hotel")
    return fails()
def rests(n: int) -> str:
    take("flight")
    print("resting", flush=True)
    rn.sleep(60)
    return ''"""


CELLS = (COMPENSATIONS, ACTIVITIES, WORKFLOW)


@pytest.fixture
def trips(book: Kernel) -> Kernel:
    for cell in CELLS:
        book.ok(cell)
    return book


def begin(kernel: Kernel, cells: Sequence[str]) -> Kernel:
    """The first cells of a notebook, in a kernel that may be killed."""
    kernel.ok(
        f"import os, time\nimport romancy_nb as rn\nEFFECTS = {str(kernel.effects)!r}\n{EFFECTS}\n%load_ext romancy_nb"
    )
    for cell in cells:
        kernel.ok(cell)
    return kernel


def switch(kernel: Kernel, name: str, on: bool) -> None:
    path = Path(f"{kernel.effects}.{name}")
    path.touch() if on else path.unlink(missing_ok=True)


def test_a_failing_cell_shows_the_error_and_what_was_undone(trips: Kernel) -> None:
    cell = trips.run("trip(1)")
    assert cell.ename == "LookupError"
    assert "Undone: take, take." in cell.traceback
    assert trips.done() == ["take-flight", "take-hotel", "undo-hotel-HOTEL", "undo-flight-FLIGHT"]
    assert trips.value("rn.instances()[0].status") == "compensated"


def test_a_body_that_fails_is_undone_too(trips: Kernel) -> None:
    cell = trips.run("%%romancy_workflow holiday\nplace = take('beach')\nfails()")
    assert cell.ename == "LookupError"
    assert trips.done() == ["take-beach", "undo-beach-BEACH"]


def test_an_undo_that_gives_up_is_named_by_romancy_alone_and_goes_on_with_one_line(trips: Kernel) -> None:
    switch(trips, "down", True)
    cell = trips.run("trip(1)")
    assert cell.ename == "CompensationFailed" and "nobody answers" in cell.evalue
    standing = trips.ok("%romancy")
    assert "an undo of it failed for good" in standing.text
    switch(trips, "down", False)
    identity = trips.value("rn.instances()[0].id")
    assert "goes on" in trips.ok(f"%romancy compensate {identity}").stdout
    eventually(lambda: trips.value("rn.instances()[0].status") == "compensated", "the rest to be undone")
    assert trips.done()[-2:] == ["undo-hotel-HOTEL", "undo-flight-FLIGHT"]


def test_cancel_as_a_line_undoes_a_background_run_and_the_reason_is_kept(trips: Kernel) -> None:
    trips.ok("h = rests.start(1)")
    eventually(lambda: "take-flight" in trips.done(), "the first step")
    assert "is being cancelled" in trips.ok('%romancy cancel h "too expensive"').stdout
    cell = trips.run("h.result()")
    assert cell.ename == "RunCancelled" and "too expensive" in cell.evalue
    assert trips.done() == ["take-flight", "undo-flight-FLIGHT"]


def test_stop_during_an_undo_pauses_it_and_the_same_cell_goes_on_with_it(trips: Kernel) -> None:
    switch(trips, "hold", True)
    cell = trips.send("trip(1)")
    eventually(lambda: "undo-hotel-HOTEL" in trips.done(), "the undo under way")
    trips.stop_button()
    cell.finish()
    assert (cell.status == "error" and "The same call" in cell.evalue) or "Run the same call" in cell.evalue
    assert trips.value("rn.instances()[0].status") == "interrupted"
    assert "undo" in trips.ok("%romancy").text
    switch(trips, "hold", False)
    again = trips.run("trip(1)")
    assert again.ename == "LookupError"
    assert trips.done()[-1] == "undo-flight-FLIGHT"
    assert trips.value("rn.instances()[0].status") == "compensated"


def test_a_kernel_killed_in_the_middle_of_an_undo_goes_on_in_the_next_and_never_forward(own: Kernel) -> None:
    trips = begin(own, CELLS)
    switch(trips, "hold", True)
    trips.send("trip(1)")
    eventually(lambda: "undo-hotel-HOTEL" in trips.done(), "the undo under way")
    trips.kill()
    switch(trips, "hold", False)
    again = begin(trips.again(), CELLS)
    cell = again.run("trip(1)")
    assert cell.ename == "LookupError"
    assert again.done()[:2] == ["take-flight", "take-hotel"] and again.done().count("take-flight") == 1
    assert again.done()[-1] == "undo-flight-FLIGHT"


PAY = """%%romancy_activity --delivery at_most_once --retries 1
def pay(n: int) -> str:
    effect("pay")
    while os.path.exists(EFFECTS + ".hold"):
        time.sleep(0.02)
    return "paid\""""
ORDER = "@rn.workflow\ndef order(n: int) -> str:\n    return pay(n) + '!'"


def test_a_doubt_is_answered_with_one_line(own: Kernel) -> None:
    trips = begin(own, (PAY, ORDER))
    switch(trips, "hold", True)
    trips.send("order(1)")
    eventually(lambda: "pay" in trips.done(), "the payment in flight")
    trips.kill()
    switch(trips, "hold", False)
    again = begin(trips.again(), (PAY, ORDER))
    paused = again.run("order(1)")
    assert paused.status == "error"
    identity = again.value("rn.instances()[0].id")
    assert "resolve" in again.ok("%romancy").text
    again.ok(f"%romancy resolve {identity} pay executed \"'by telephone'\" --note asked")
    assert again.ok("order(1)").result == "'by telephone!'"
    assert again.done() == ["pay"]


def test_a_deadline_that_passed_while_nobody_ran_it_is_told_before_anything_is_undone(own: Kernel) -> None:
    hold = own.cwd / "hold"
    hold.touch()
    cells = [
        f"import os, time\nimport romancy_nb as rn\n%load_ext romancy_nb\nEFFECTS = {str(own.effects)!r}\n{EFFECTS}",
        "@rn.compensation\ndef give_back(item: str) -> None:\n    effect(f'give-back-{item}')",
        "@rn.activity(compensation=give_back)\ndef take(item: str) -> str:\n    effect(f'take-{item}')\n    return item",
        f"@rn.activity\ndef wait() -> None:\n    effect('wait')\n    while os.path.exists({str(hold)!r}): time.sleep(0.02)",
        "@rn.workflow(timeout=3)\ndef trip(n: int) -> str:\n    took = take('a')\n    wait()\n    return took",
    ]
    for cell in cells:
        own.ok(cell)
    own.send("trip(1)")
    eventually(lambda: "wait" in own.done(), "the second step in flight")
    own.kill()
    hold.unlink()
    own.again()
    for cell in cells:
        own.ok(cell)
    own.ok("from romancy_nb.testing import JumpingClock\nclock = JumpingClock()\nclock.__enter__()\nclock.jump(60)")
    told = own.run("trip(1)")
    assert told.ename == "RunPaused" and "passed while nobody ran it" in told.evalue
    assert own.done() == ["take-a", "wait"]
    undone = own.run("trip(1)")
    assert undone.ename == "RunTimedOut", undone.text
    assert own.done()[-1] == "give-back-a"
