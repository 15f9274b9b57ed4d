"""An ordinary notebook made durable by one line (R14), in real kernels."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernels import Kernel, eventually

SETUP = """%load_ext romancy_nb
import asyncio, os, time, threading
def effect(name):
    fd = os.open('EFFECTS', os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(fd, (name + "\\n").encode())
    os.close(fd)
once = rn.RetryPolicy(max_attempts=1)"""

DEFINE = """@rn.activity(retry=once)
def load(n):
    effect(f"load{n}")
    return list(range(n))
@rn.activity(retry=once)
async def ask(q):
    effect(f"ask{q}")
    await asyncio.sleep(0.01)
    return q.upper()"""

DIE = """@rn.activity(retry=once)
def die(n):
    effect(f'die{n}')
    if n == 2 and not os.path.exists('SECOND'):
        open('SECOND', 'w').close()
        os.kill(os.getpid(), 9)
    return rn.context().idempotency_key"""

NAPS = """@rn.activity(retry=once)
def nap(s):
    effect(f'nap{s}')
    time.sleep(s if not os.path.exists('GO') else 0)
    return s
@rn.activity(retry=once)
async def doze(s):
    effect(f'doze{s}')
    await asyncio.sleep(s if not os.path.exists('GO') else 0)
    return s"""


@pytest.fixture
def book(own: Kernel) -> Kernel:
    own.effects = own.cwd / "EFFECTS"
    begin(own)
    return own


def begin(kernel: Kernel, name: str = '"analysis"') -> None:
    kernel.ok(SETUP)
    kernel.ok(f"rn.durable_notebook({name});")
    kernel.ok(DEFINE)


def test_running_a_cell_again_and_in_a_new_kernel_executes_nothing(book: Kernel) -> None:
    cells = {
        "c1": "a = load(2)\nb = [load(2) for _ in range(2)]",
        "c2": "r = await asyncio.gather(*(ask(q) for q in 'xyx'))\nr",
    }
    for name, code in cells.items():
        book.ok(code, cell_id=name)
    assert sorted(book.done()) == ["askx", "askx", "asky", "load2", "load2", "load2"]
    again = book.ok(cells["c1"], cell_id="c1")
    assert "analysis: 3 from journal" in again.stdout
    book.kill()
    book.again()
    begin(book)
    for name, code in cells.items():
        book.ok(code, cell_id=name)
    assert len(book.done()) == 6
    assert book.value("a, b, r") == ([0, 1], [[0, 1], [0, 1]], ["X", "Y", "X"])


def test_one_cells_step_never_answers_another_cells_call(book: Kernel) -> None:
    book.ok("load(2)", cell_id="c1")
    book.ok("load(2)", cell_id="c2")
    assert book.done() == ["load2", "load2"]


def test_an_edited_activity_executes_again_and_only_that(book: Kernel) -> None:
    cell = "x = load(1)\ny = await ask('q')"
    book.ok(cell, cell_id="c1")
    book.ok(DEFINE.replace("q.upper()", "q.upper() + '!'"))
    shown = book.ok(cell, cell_id="c1")
    assert "1 from journal" in shown.stdout and "1 executed" in shown.stdout
    assert book.value("x, y") == ([0], "Q!")
    assert book.done() == ["load1", "askq", "askq"]


def test_fresh_executes_anew(book: Kernel) -> None:
    book.ok("load(1)", cell_id="c1")
    book.ok("with rn.fresh():\n    load(1)", cell_id="c1")
    book.ok("load(1)", cell_id="c1")
    assert book.done() == ["load1", "load1"]
    book.ok("rn.durable_notebook('analysis', fresh=True);")
    book.ok("load(1)", cell_id="c1")
    book.ok("load(1)", cell_id="c1")
    assert book.done() == ["load1"] * 3
    assert book.value("rn.instance('notebook-analysis').run") == 2


def test_calls_of_threads_and_of_callbacks_after_the_cell_are_plain(book: Kernel) -> None:
    book.ok("t = threading.Thread(target=load, args=(1,)); t.start(); t.join()", cell_id="c1")
    later = "async def later():\n    await asyncio.sleep(0.3)\n    return await ask('late')\n"
    book.ok(later + "task = asyncio.ensure_future(later())", cell_id="c2")
    book.ok("await task", cell_id="c3")
    assert sorted(book.done()) == ["asklate", "load1"]
    assert book.value("len(rn.instance('notebook-analysis').steps())") == 0


def test_a_failed_call_raises_with_the_cells_own_lines_and_is_tried_again(book: Kernel) -> None:
    book.ok("@rn.activity(retry=once)\ndef bad(x):\n    effect('bad')\n    return 1 / x")
    shown = book.run("bad(0)", cell_id="c1")
    assert shown.ename == "ZeroDivisionError"
    assert "romancy_nb/" not in shown.traceback, shown.traceback
    assert "return 1 / x" in shown.traceback
    book.run("bad(0)", cell_id="c1")
    assert book.done() == ["bad", "bad"]


def test_kill_9_in_a_cell_repeats_nothing_that_is_recorded(book: Kernel) -> None:
    book.ok(DIE)
    book.send("keys = [die(n) for n in range(4)]", cell_id="c1")
    book.manager.provisioner.process.wait()  # type: ignore[union-attr, unused-ignore]
    book.client.stop_channels()
    book.again()
    begin(book)
    book.ok(DIE)
    book.ok("keys = [die(n) for n in range(4)]", cell_id="c1")
    assert book.done() == ["die0", "die1", "die2", "die2", "die3"]
    assert book.value("len(set(keys))") == 4


@pytest.mark.parametrize("call", ["nap(30)", "await doze(30)", "await asyncio.gather(doze(30), doze(31))"])
def test_stop_keeps_what_completed_and_the_cell_goes_on(book: Kernel, call: str) -> None:
    book.ok(NAPS)
    cell = book.send(f"first = load(1)\nsecond = {call}", cell_id="c1")
    eventually(lambda: book.listen() or len(book.done()) >= 2, "the activity to begin")
    pressed = book.stop_button()
    cell.finish()
    assert cell.status == "error"
    assert cell.sent + cell.took - pressed < 3
    (book.cwd / "GO").touch()
    book.ok(f"first = load(1)\nsecond = {call}", cell_id="c1")
    assert book.done().count("load1") == 1
    assert book.value("second") in (30, [30, 31])


def test_a_notebook_open_in_a_living_kernel_is_not_opened_by_another(book: Kernel, python: str) -> None:
    book.ok("load(1)", cell_id="c1")
    other = Kernel(python, book.cwd)
    try:
        other.ok(SETUP)
        shown = other.run("rn.durable_notebook('analysis')")
        assert shown.ename == "RunHeldElsewhere"
        assert "Shut that kernel down first" in " ".join(shown.traceback.split())
        other.ok("rn.durable_notebook('another');")
    finally:
        other.close()
    book.ok("load(1)", cell_id="c1")
    assert book.done() == ["load1"]


@pytest.fixture
def saved(python: str, tmp_path: Path) -> Iterator[Kernel]:
    """A kernel that knows the notebook's file."""
    kernel = Kernel(python, tmp_path, ROMANCY_NOTEBOOK=str(tmp_path / "study.ipynb"))
    kernel.effects = tmp_path / "EFFECTS"
    yield kernel
    kernel.close()


def test_an_edited_cell_without_an_id_takes_over_from_the_one_that_is_no_longer_in_the_file(saved: Kernel) -> None:
    own, path = saved, saved.cwd / "study.ipynb"

    def save(*sources: str) -> None:
        path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": source} for source in sources]}))

    save("x = load(1)", "y = load(1)")
    begin(own, "")
    own.ok("x = load(1)")
    own.ok("y = load(1)")
    own.kill()
    own.again()
    save("x = load(1)  # edited", "y = load(1)")
    begin(own, "")
    own.ok("x = load(1)  # edited")
    own.ok("y = load(1)")
    assert own.done() == ["load1", "load1"]
    save("z = load(1)", "x = load(1)  # edited", "y = load(1)")
    own.ok("z = load(1)")
    assert len(own.done()) == 3, "a new cell takes nothing from cells that exist"


def test_a_notebook_without_a_known_file_wants_a_name(own: Kernel) -> None:
    own.ok("%load_ext romancy_nb")
    shown = own.run("rn.durable_notebook()")
    assert "%romancy notebook NAME" in " ".join(shown.traceback.split())


def test_workflows_stay_instances_of_their_own(book: Kernel) -> None:
    book.ok("@rn.workflow\ndef flow(n):\n    return load(n)")
    book.ok("flow(2)", cell_id="c1")
    assert book.value("[i.workflow_name for i in rn.instances()]") == ["flow", "notebook"]
    assert book.value("len(rn.instance('notebook-analysis').steps())") == 0


def test_the_notebook_is_listed_as_waiting_and_shows_its_steps(book: Kernel) -> None:
    book.ok("load(1)", cell_id="c1")
    book.ok("await ask('q')", cell_id="c2")
    assert book.value("rn.instance('notebook-analysis').status") == "waiting"
    shown = book.ok("rn.instance('notebook-analysis')").text
    assert "load(n=1)" in shown and 'ask(q="q")' in shown
    refused = book.run("rn.instance('notebook-analysis').result()")
    assert "is a notebook" in refused.traceback


def test_unloading_makes_calls_plain_again(book: Kernel) -> None:
    book.ok("load(1)", cell_id="c1")
    book.ok("%unload_ext romancy_nb")
    book.ok("load(1)", cell_id="c1")
    book.ok("load(1)", cell_id="c1")
    assert book.done() == ["load1"] * 3


def test_a_notebook_that_another_kernel_has_just_opened_is_refused(book: Kernel) -> None:
    """Also when neither has executed anything yet, and when the kernel that recorded it before is gone."""
    second = Kernel(sys.executable, book.cwd)
    try:
        second.ok(SETUP)
        refused = second.run('rn.durable_notebook("analysis");')
        assert refused.ename == "RunHeldElsewhere" and "Shut that kernel down" in refused.evalue
        book.ok("load(1)", cell_id="x")
        book.kill()
        book.again()
        begin(book)
        assert second.run('rn.durable_notebook("analysis");').ename == "RunHeldElsewhere"
        assert "1 from journal" in book.ok("load(1)", cell_id="x").stdout
    finally:
        second.close()


@pytest.mark.parametrize("idle", [False, True])
def test_a_journal_that_is_deleted_begins_anew_and_loses_nothing_after_that(book: Kernel, idle: bool) -> None:
    book.ok("%%romancy_workflow flow n=1\nv = load(n)", cell_id="w")
    if idle:  # the file has been let go of
        lock = book.cwd / ".romancy" / "journal.duckdb.lock"
        eventually(lambda: lock.stat().st_size == 0, "the journal to be let go of")
        book.ok("import shutil; shutil.rmtree('.romancy')")
    else:
        book.ok("load(1); import shutil; shutil.rmtree('.romancy')", cell_id="x")
    before = len(book.done())
    book.ok("load(2)", cell_id="y")
    book.ok("%%romancy_workflow flow n=1\nv = load(n)", cell_id="w")
    assert book.done()[before:] == ["load2", "load1"]
    book.kill()
    book.again()
    begin(book)
    assert "1 from journal" in book.ok("load(2)", cell_id="y").stdout
    assert "Nothing was executed" in book.ok("%%romancy_workflow flow n=1\nv = load(n)", cell_id="w").stdout
    assert len(book.done()) == before + 2


def test_a_journal_that_is_deleted_while_a_workflow_runs_is_an_error_that_says_so(book: Kernel) -> None:
    delete = "import shutil; shutil.rmtree('.romancy'); open('GONE', 'w').close()"
    cell = f"%%romancy_workflow flow\nload(1)\nif not os.path.exists('GONE'):\n    {delete}\nload(2)"
    failed = book.run(cell)
    assert failed.ename == "RunProblem" and "deleted or replaced" in failed.evalue and "begins anew" in failed.evalue
    book.ok(cell)
    assert book.done() == ["load1", "load1", "load2"]
    assert "Nothing was executed" in book.ok(cell).stdout


def test_the_key_of_a_cells_step_can_be_looked_up(book: Kernel) -> None:
    book.ok("@rn.activity\ndef told(n): return rn.context().idempotency_key\nEDIT = 1")
    for cell in ("c1", "c2"):
        book.ok(f"{cell} = [told(1), told(1)]", cell_id=cell)
    book.ok("@rn.activity\ndef told(n): return rn.context().idempotency_key + ''")
    book.ok("c1 += [told(1)]", cell_id="c1")
    book.ok("from romancy_nb.runtime.details import details\ni = rn.instances()[0]")
    steps = "[r.event.call for r in i.rows() if (r.event.name, r.event.kind) == ('told', 'activity_scheduled')]"
    found = book.value(f"[(d['output']['value'], d['key']) for d in [details(i, place) for place in {steps}]]")
    assert len(found) == 5 and len({key for _, key in found}) == 5
    assert [value for value, _ in found] == [key for _, key in found]
