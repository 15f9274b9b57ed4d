"""Limits in a kernel: a durable notebook's calls wait for their turn, Stop drops them, an edited cell changes the limit (A8)."""

from __future__ import annotations

import pytest
from kernels import Kernel, eventually

pytestmark = pytest.mark.kernel

SETUP = """%load_ext romancy_nb
import asyncio, os, time, threading
def effect(name):
    fd = os.open('EFFECTS', os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(fd, (name + "\\n").encode())
    os.close(fd)
rn.durable_notebook("limited");"""

DEFINE = """rn.limit("door", concurrency=2);
@rn.activity(limit="door", delivery="at_most_once", timeout=60)
def visit(n):
    effect(f"visit{n}")
    while not os.path.exists("GO"):
        time.sleep(0.01)
    return n
@rn.activity(limit="door")
async def avisit(n):
    effect(f"avisit{n}")
    while not os.path.exists("GO"):
        await asyncio.sleep(0.01)
    return n
@rn.activity(limit="door")
def here(n):
    return (n, threading.current_thread() is threading.main_thread())"""


@pytest.fixture
def book(own: Kernel) -> Kernel:
    own.effects = own.cwd / "EFFECTS"
    own.ok(SETUP)
    own.ok(DEFINE)
    return own


def test_calls_of_a_cell_wait_for_their_turn_and_stop_drops_those_that_wait(book: Kernel) -> None:
    cell = "r = await asyncio.gather(*[avisit(n) for n in range(2)], *[visit.aio(n) for n in range(4)])"
    running = book.send(cell, cell_id="c1")
    eventually(lambda: len(book.done()) == 2, "the first two to begin")
    book.stop_button()
    assert running.finish().status == "error"
    assert sorted(book.done()) == ["avisit0", "avisit1"], "what waited was not begun"
    (book.cwd / "GO").touch()
    book.ok(cell, cell_id="c1")
    assert book.value("r") == [0, 1, 0, 1, 2, 3]
    assert sorted(each for each in book.done() if each.startswith("visit")) == ["visit0", "visit1", "visit2", "visit3"]
    assert book.value("rn.sql('select name, running, queued from limits').fetchall()") == [("door", 0, 0)]


def test_a_limited_call_of_a_cell_runs_in_the_cells_thread_as_ever(book: Kernel) -> None:
    book.ok("r = [here(n) for n in range(3)]", cell_id="c1")
    assert book.value("r") == [(0, True), (1, True), (2, True)]
    assert "3 from journal" in book.ok("r = [here(n) for n in range(3)]", cell_id="c1").stdout


def test_an_edited_cell_lets_in_those_who_wait(book: Kernel) -> None:
    book.ok("@rn.workflow\nasync def flow():\n    return await asyncio.gather(*[avisit(n) for n in range(5)])")
    book.ok("h = flow.start()")
    eventually(lambda: len(book.done()) == 2, "the first two to begin")
    book.ok('rn.limit("door", concurrency=4);')
    eventually(lambda: len(book.done()) == 4, "two more to begin")
    assert "waiting for limit door" in book.ok("print(h.timeline())").stdout
    (book.cwd / "GO").touch()
    assert book.value("h.result(30)") == [0, 1, 2, 3, 4]


def test_a_limit_that_is_not_defined_is_an_error_in_the_cell(book: Kernel) -> None:
    book.ok('@rn.activity(limit="nowhere")\ndef ask(n): return n')
    told = book.run("ask(1)", cell_id="c9")
    assert "nowhere" in told.evalue and "rn.limit(" in told.evalue
    book.ok('rn.limit("nowhere", concurrency=1);')
    assert book.ok("ask(1)", cell_id="c9")
