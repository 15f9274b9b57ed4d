"""Maps in a notebook: one line of progress that is drawn over, Stop, a kernel that dies, what the file keeps."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from kernels import EFFECTS, Kernel, eventually

pytestmark = pytest.mark.kernel

MAPS = """
def among(name, n):
    path = EFFECTS + "." + name
    return os.path.exists(path) and str(n) in open(path).read().split()

def say(name, *rows):
    with open(EFFECTS + "." + name, "w") as file:
        file.write(" ".join(map(str, rows)))

@rn.activity(retry=once)
def work(n: int) -> int:
    effect(f"work{n}")
    if among("fails", n):
        raise ValueError(f"bad {n}")
    while among("holds", n):
        time.sleep(0.02)
    return n * 2

@rn.workflow
def one(n: int) -> int:
    return work(n)

@rn.workflow
def asks(n: int) -> int:
    return n if rn.ask("Go on?") else 0
"""


def begin(kernel: Kernel) -> None:
    kernel.ok(
        f"import os, time\nimport romancy_nb as rn\n%load_ext romancy_nb\nEFFECTS = {str(kernel.effects)!r}\n{EFFECTS}"
    )
    kernel.ok(MAPS)


def test_the_batch_is_what_the_cell_shows_and_the_file_keeps_one_line_of_the_call(book: Kernel) -> None:
    book.ok(MAPS)
    cell = book.ok("batch = rn.map(work, range(40)); batch")
    assert cell.result is not None and cell.result.startswith("work: 40 rows, 40 completed")
    assert "<table>" in cell.displays[-1]["text/html"] and len(cell.displays) == 1
    book.ok("1")  # the head settles when the next cell runs
    assert cell.settled == "map.work: 40 rows, 40 completed. The same call executes nothing."
    again = book.ok("batch = rn.map(work, range(40)); batch")
    book.ok("1")
    assert again.settled == cell.settled and again.displays == cell.displays
    assert len(book.done()) == 40


def test_failed_rows_are_listed_and_executed_alone_by_retry(book: Kernel) -> None:
    book.ok(MAPS)
    cell = book.ok('say("fails", 3, 33); batch = rn.map(work, range(40)); batch')
    assert "40 rows, 38 completed, 2 failed" in str(cell.result) and "ValueError: bad 33" in str(cell.result)
    again = book.ok('say("fails"); batch.retry()')
    assert "40 rows, 40 completed" in str(again.result)
    assert Counter(book.done()) == Counter([*(f"work{n}" for n in range(40)), "work3", "work33"])
    book.ok("1")
    assert cell.settled == "map.work: 40 rows, 38 completed, 2 failed. The same call tries those again, alone."


@pytest.mark.parametrize("call", ["rn.map(work, range(30), concurrency=4)", "one.map(range(30), concurrency=4)"])
def test_a_line_of_progress_is_drawn_over_and_stop_pauses_the_batch(call: str, book: Kernel) -> None:
    book.ok(MAPS)
    book.ok('say("holds", *range(20, 30))')
    cell = book.send(call)
    eventually(lambda: len(book.done()) >= 24, "rows to be under way")
    cell.until(" of 30 done")
    book.stop_button()
    cell.finish()
    assert cell.ename == "RunInterrupted" and "go on from here" in cell.traceback.replace("\n", " ")
    drawn = [line for line in cell.stdout.splitlines() if "of 30 done" in line]
    assert all(re.match(r"(map\.)?(work|one): \d+ of 30 done", line) for line in drawn)
    begun = len(book.done())
    book.ok('say("holds")')
    again = book.ok(call)
    assert "30 rows, 30 completed" in str(again.result)
    counted = Counter(book.done())
    assert set(counted) == {f"work{n}" for n in range(30)} and begun <= 24
    assert all(counted[f"work{n}"] == 1 for n in range(20))


def test_a_kernel_that_is_killed_in_a_map_goes_on_with_what_is_left(own: Kernel) -> None:
    begin(own)
    own.ok('say("holds", *range(150, 200))')
    own.send("rn.map(work, range(200), concurrency=8)")
    eventually(lambda: len(own.done()) == 158, "rows to be under way")
    own.kill()
    begin(own.again())
    again = own.ok('say("holds"); batch = rn.map(work, range(200), concurrency=8); batch')
    assert "200 rows, 200 completed" in str(again.result)
    counted = Counter(own.done())
    assert len(counted) == 200 and all(counted[f"work{n}"] == 1 for n in range(150))
    assert own.value("batch.results == [2 * n for n in range(200)]") is True


def test_a_map_of_which_all_rows_wait_for_people_ends_its_cell_and_takes_the_answers_later(book: Kernel) -> None:
    book.ok(MAPS)
    cell = book.run("asks.map(range(20), concurrency=4)")
    assert cell.ename == "Waiting" and "20 rows wait for something outside" in cell.traceback.replace("\n", " ")
    book.ok("pass")  # the first cell after it may tell, once, that there are questions
    assert book.value("len(rn.questions())") == 20
    assert book.run("asks.map(range(20), concurrency=4)").ename == "Waiting"  # while they still wait
    book.ok("for each in rn.questions(): rn.instance(each.instance_id).answer(True)")
    assert "20 rows, 20 completed" in str(book.ok("asks.map(range(20), concurrency=4)").result)
