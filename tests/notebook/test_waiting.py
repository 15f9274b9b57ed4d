"""A cell whose run waits for something outside ends, with a notice; the kernel is free, and the same cell goes on (N5)."""

from __future__ import annotations

import subprocess
import sys

from kernels import EFFECTS, Kernel, eventually

FLOW = """
@rn.activity
def pay(amount: int) -> str:
    effect(f"pay-{amount}")
    return f"paid {amount}"
@rn.workflow
def expense(amount: int) -> str:
    print("code begins")
    pay(1)
    ok = rn.ask("Approve it?", type=bool)
    print("answer", ok)
    return pay(amount) if ok else "refused"
"""


def test_the_cell_ends_with_one_paragraph_and_run_all_stops_there(book: Kernel) -> None:
    book.ok(FLOW)
    cell = book.run("expense(5)")
    assert cell.status == "error" and cell.ename == "Waiting"
    assert "waits for an answer to 'Approve it?'" in cell.traceback.replace("\n", " ")
    assert "run this cell again" in cell.traceback.replace("\n", " ")
    assert "File" not in cell.traceback and len(cell.traceback.splitlines()) < 5
    assert cell.stdout.count("code begins") == 1
    assert cell.took < 5


def test_the_kernel_is_free_and_the_same_cell_goes_on_with_the_answer(book: Kernel) -> None:
    book.ok(FLOW)
    assert book.run("expense(6)").ename == "Waiting"
    assert book.value("1 + 1") == 2
    assert book.run("expense(6)").ename == "Waiting"
    book.ok('h = rn.instances(workflow="expense")[0]; r = h.answer(True)')
    eventually(lambda: book.value("h.status") == "completed", "the run to go on in the background")
    again = book.ok("expense(6)")
    assert "'paid 6'" in again.text
    assert "answer True" in again.stdout
    assert book.done() == ["pay-1", "pay-6"]


def test_the_answer_that_comes_while_the_cell_waits_again_ends_it(book: Kernel) -> None:
    book.ok(FLOW)
    assert book.run("expense(7)").ename == "Waiting"
    book.ok("""
import threading
h = rn.instances(workflow="expense")[0]
r = h.answer(False)
""")
    assert "'refused'" in book.ok("expense(7)").text


def test_a_restarted_kernel_still_waits_and_keeps_what_was_answered_meanwhile(own: Kernel) -> None:
    setup = f"import os, romancy_nb as rn\nEFFECTS = {str(own.effects)!r}\n{EFFECTS}"
    own.ok(setup)
    own.ok(FLOW)
    assert own.run("expense(8)").ename == "Waiting"
    instance = own.value('rn.instances(workflow="expense")[0].id')
    own.kill()
    own.again()
    own.ok("import os, romancy_nb as rn\n%load_ext romancy_nb")
    receipt = own.ok(f"print(rn.send({instance!r}, 'approve-it', True))")
    assert "nobody runs that just now" in receipt.stdout
    own.ok(setup)
    own.ok(FLOW)
    assert "'paid 8'" in own.ok("expense(8)").text
    assert own.done() == ["pay-1", "pay-8"]


def test_an_await_cell_ends_the_same_way(book: Kernel) -> None:
    book.ok("""
@rn.workflow
async def wait_async(n: int) -> int:
    return await rn.wait_event("number", type=int)
""")
    cell = book.run("await wait_async(1)")
    assert cell.ename == "Waiting" and "event 'number'" in cell.traceback.replace("\n", " ")
    book.ok('r = rn.instances(workflow="wait_async")[0].send("number", 41)')
    eventually(lambda: book.value('rn.instances(workflow="wait_async")[0].status') == "completed", "it to end")
    assert "41" in book.ok("await wait_async(1)").text


def test_the_body_of_a_cell_ends_the_same_way(book: Kernel) -> None:
    body = """%%romancy_workflow asking
answer = rn.ask("How many?", type=int)
double = 2 * answer
double
"""
    assert book.run(body).ename == "Waiting"
    book.ok("r = rn.instances()[0].answer(4)")
    eventually(lambda: book.value("rn.instances()[0].status") == "completed", "it to end")
    assert "8" in book.ok(body).text
    assert book.value("double") == 8


def test_a_timer_that_is_due_soon_is_waited_for(book: Kernel) -> None:
    book.ok("""
@rn.workflow
def soon(n: int) -> str:
    rn.sleep(0.4)
    return "awake"
@rn.workflow
def far(n: int) -> str:
    rn.sleep(4000)
    return "awake"
@rn.workflow
def limited(n: int) -> str:
    try:
        return rn.wait_event("x", timeout=0.3)
    except TimeoutError:
        return "late"
""")
    assert "'awake'" in book.ok("soon(1)").text
    assert book.run("far(1)").ename == "Waiting"
    assert "'late'" in book.ok("limited(1)").text


def test_another_process_answers_within_a_second(book: Kernel) -> None:
    book.ok(FLOW)
    assert book.run("expense(9)").ename == "Waiting"
    instance = book.value('rn.instances(workflow="expense")[0].id')
    journal = str(book.effects.parent / "journal.duckdb")
    program = f"""
import romancy_nb as rn
rn.connect({journal!r})
print(rn.send({instance!r}, "approve-it", True).status)
"""
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert out.stdout.strip() == "posted", out.stderr
    eventually(lambda: book.value(f"rn.instance({instance!r}).status") == "completed", "the answer to arrive", 5)


def test_a_question_of_a_child_ends_the_cell_of_its_parent(book: Kernel) -> None:
    book.ok(
        "@rn.workflow\ndef asks_below(n: int) -> str:\n    return rn.ask('Below?', type=str)\n\n"
        "@rn.workflow\ndef asks_above(n: int) -> str:\n    return 'answer: ' + asks_below(n)"
    )
    cell = book.run("asks_above(1)")
    assert cell.ename == "Waiting"
    assert "'Below?'" in cell.traceback.replace("\n", " ")
    book.ok("rn.instances(workflow='asks_below')[0].answer('yes')")
    assert "'answer: yes'" in book.ok("asks_above(1)").text
