"""What activities and workflows print and display: in the calling cell, in its step, journaled, and shown again (N4, N7)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from kernels import Kernel, eventually
from test_elsewhere import _Client, environment, notebook

pytestmark = pytest.mark.kernel

FLOWS = """
import logging, warnings
from IPython.display import display, update_display, clear_output, HTML
logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
@rn.activity(retry=once)
def says(x: int) -> int:
    print("printed", x)
    print("to stderr", x, file=sys.stderr)
    logging.info("logged %s", x)
    warnings.warn(f"warned {x}")
    display(HTML(f"<b>shown {x}</b>"))
    effect("says")
    return x
@rn.activity(retry=once)
async def asays(x: int) -> int:
    print("printed", x)
    await asyncio.sleep(0)
    print("to stderr", x, file=sys.stderr)
    await asyncio.sleep(0)
    logging.info("logged %s", x)
    warnings.warn(f"warned {x}")
    display(HTML(f"<b>shown {x}</b>"))
    effect("says")
    return x
@rn.workflow
def flow(x: int) -> int:
    print("before")
    says(x)
    print("after")
    return x
@rn.workflow
async def aflow(x: int) -> int:
    print("before")
    await asays(x)
    print("after")
    return x
@rn.activity(retry=once)
async def chats(name: str, lines: int) -> str:
    for n in range(lines):
        print(f"<{name} {n}>")
        await asyncio.sleep(0)
    return name
@rn.workflow
async def crowd(name: str, people: int, lines: int) -> int:
    done = await asyncio.gather(*(chats(f"{name}-{n}", lines) for n in range(people)))
    print(name, "is done")
    return len(done)
def by_step(instance):
    return [(s.input, "".join(o["text"] for o in s.outputs if o["output_type"] == "stream"))
            for s in instance.timeline().view.steps]
"""


@pytest.fixture
def flows(book: Kernel) -> Kernel:
    book.ok(FLOWS)
    return book


def shown(cell: Any) -> list[Any]:
    """What a reader of the notebook sees below the cell but the timeline and the result."""
    return [bundle for bundle in cell.displays if "application/vnd.romancy.history+json" not in bundle]


@pytest.mark.parametrize("call", ["flow(1)", "await aflow(1)"])
def test_whatever_an_activity_puts_out_stands_in_the_calling_cell_in_order(flows: Kernel, call: str) -> None:
    cell = flows.ok(f"_ = {call}")
    assert cell.stdout.splitlines()[1:] == ["before", "printed 1", "after"]
    assert cell.stderr.startswith("to stderr 1\nlogged 1\n")
    assert "UserWarning: warned 1" in cell.stderr
    assert [bundle.get("text/html") for bundle in shown(cell)] == ["<b>shown 1</b>"]


def test_a_line_of_the_context_belongs_to_the_step(flows: Kernel) -> None:
    flows.ok(
        "@rn.activity(retry=once)\ndef logs(ctx, n: int) -> int:\n    ctx.log(f'step {n}')\n    return n\n"
        "@rn.workflow\ndef logged(n: int) -> int: return logs(n)"
    )
    assert flows.ok("_ = logged(4)").stdout.splitlines()[1:] == ["step 4"]
    assert flows.ok("_ = logged(4)").stdout.splitlines()[1:] == ["step 4"]


@pytest.mark.parametrize("call", ["flow(2)", "await aflow(2)"])
def test_a_repeated_call_shows_what_the_activity_put_out_and_executes_nothing(flows: Kernel, call: str) -> None:
    first, second = flows.ok(f"_ = {call}"), flows.ok(f"_ = {call}")
    assert second.stdout.splitlines()[1:] == first.stdout.splitlines()[1:]
    assert second.stderr == first.stderr
    assert shown(second) == shown(first)
    assert second.settled == first.settled
    assert flows.done() == ["says"]


def test_an_edited_workflow_shows_what_the_reused_steps_put_out(flows: Kernel) -> None:
    flows.ok("_ = flow(3)")
    cell = flows.ok(
        "@rn.workflow\ndef flow(x: int) -> int:\n    says(x)\n    print('edited')\n    return x + 1\n_ = flow(3)"
    )
    assert cell.stdout.splitlines()[-2:] == ["printed 3", "edited"]
    assert shown(cell) and flows.done() == ["says"]
    again = flows.ok("_ = flow(3)")
    assert again.stdout.splitlines()[1:] == ["printed 3", "edited"]


def test_fifty_activities_that_talk_at_once_mix_no_line(flows: Kernel) -> None:
    cell = flows.ok("_ = await crowd('we', 50, 40)")
    wanted = {f"we-{n}": "".join(f"<we-{n} {line}>\n" for line in range(40)) for n in range(50)}
    steps = dict(flows.value("[(re, text) for re, text in by_step(rn.instances()[0])]"))
    assert {re.search(r"we-\d+", key)[0]: text for key, text in steps.items()} == wanted  # type: ignore[index]
    assert all(text in cell.stdout for text in wanted.values()), "a step's lines stand together"
    assert cell.stdout.endswith("we is done\n")
    again = flows.ok("_ = await crowd('we', 50, 40)")
    assert again.stdout.splitlines()[1:] == cell.stdout.splitlines()[1:]


def test_background_runs_talk_in_the_cell_that_started_them_while_another_cell_prints(flows: Kernel) -> None:
    flows.ok(
        "go = threading.Event()\n@rn.activity(retry=once)\nasync def chats_later(name: str, lines: int) -> str:\n"
        "    while not go.is_set():\n        await asyncio.sleep(0.001)\n    for n in range(lines):\n"
        "        print(f'<{name} {n}>')\n        await asyncio.sleep(0)\n    return name\n"
        "@rn.workflow\nasync def later(name: str) -> int:\n"
        "    done = await asyncio.gather(*(chats_later(f'{name}-{n}', 100) for n in range(5)))\n"
        "    print(name, 'is done')\n    display(HTML(name))\n    return len(done)"
    )
    one, two = flows.ok("one = later.start('one')"), flows.ok("two = later.start('two')")
    third = flows.ok(
        "go.set()\nn = 0\nwhile 'running' in (one.status, two.status):\n    print('third', n)\n    n += 1\n"
        "one.result(30), two.result(30)"
    )
    eventually(lambda: flows.listen() or ("is done" in one.stdout and "is done" in two.stdout), "both runs to be done")
    lines = third.stdout.splitlines()
    assert lines and lines == [f"third {n}" for n in range(len(lines))]
    for cell, name in ((one, "one"), (two, "two")):
        lines = cell.stdout.splitlines()[1:]
        assert sorted(lines[:-1]) == sorted(f"<{name}-{p} {n}>" for p in range(5) for n in range(100))
        assert lines[-1] == f"{name} is done"
        assert [bundle["text/plain"] for bundle in shown(cell)] == ["<IPython.core.display.HTML object>"]
    assert flows.stray == []


def test_one_background_activity_talks_live_in_the_cell_that_started_it(flows: Kernel, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    flows.ok(
        "@rn.activity(retry=once)\ndef waits(gate: str) -> int:\n    print('waiting')\n    while not os.path.exists(gate):\n"
        "        time.sleep(0.005)\n    print('through')\n    return 1\n"
        "@rn.workflow\ndef patient(gate: str) -> int:\n    return waits(gate)"
    )
    started = flows.ok(f"run = patient.start({str(gate)!r})").until("waiting")
    assert "waiting" in started.stdout and "through" not in started.stdout
    other = flows.ok("print('another cell')")
    gate.touch()
    flows.ok("run.result(20)")
    started.until("through")
    assert other.stdout == "another cell\n"
    eventually(lambda: flows.listen() or started.settled, "the head to be settled")
    assert started.settled.startswith("Result of ")


def test_what_runs_beside_others_is_seen_while_it_runs(flows: Kernel, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    flows.ok(
        "@rn.activity(retry=once)\nasync def waits(gate: str, n: int) -> int:\n    print('waiting', n)\n"
        "    while not os.path.exists(gate):\n        await asyncio.sleep(0.005)\n    return n\n"
        "@rn.workflow\nasync def both(gate: str) -> list[int]:\n"
        "    return await asyncio.gather(waits(gate, 1), waits(gate, 2))"
    )
    cell = flows.send(f"await both({str(gate)!r})")
    eventually(lambda: flows.listen() or ("waiting 1" in cell.live and "waiting 2" in cell.live), "both in the head")
    assert "waiting" not in cell.stdout
    gate.touch()
    cell.finish().ok()
    assert cell.stdout.splitlines()[1:] in (["waiting 1", "waiting 2"], ["waiting 2", "waiting 1"])


def test_a_step_that_another_joins_keeps_its_place_in_the_output(flows: Kernel) -> None:
    flows.ok(
        "@rn.activity(retry=once)\nasync def talks(n: int) -> int:\n    for i in range(3):\n        print(f'talks {i}')\n"
        "        await asyncio.sleep(0.15)\n    return n\n"
        "@rn.workflow\nasync def joined(n: int) -> int:\n    task = asyncio.create_task(talks(n))\n"
        "    await asyncio.sleep(0.05)\n    print('timer 1')\n    await chats('b', 2)\n    print('b is done')\n"
        "    return await task"
    )
    first, second = flows.ok("_ = await joined(1)"), flows.ok("_ = await joined(1)")
    lines = first.stdout.splitlines()[1:]
    assert lines[:5] == ["talks 0", "timer 1", "<b 0>", "<b 1>", "b is done"]
    assert [line for line in lines if "talks" in line] == ["talks 0", "talks 1", "talks 2"]
    assert second.stdout.splitlines()[1:] == lines


def test_progress_bars_are_kept_as_their_last_line(flows: Kernel) -> None:
    flows.ok(
        "@rn.activity(retry=once)\ndef bar(n: int) -> int:\n    for i in range(n + 1):\n"
        "        print(f'\\r{i * 100 // n:3d} %', end='', file=sys.stderr)\n        print('step', i)\n"
        "    print(file=sys.stderr)\n    for i in range(n):\n        print(f'{i}/{n}', end='\\r')\n    return n\n"
        "@rn.workflow\ndef barred(n: int) -> int: return bar(n)"
    )
    first, second = flows.ok("_ = barred(4)"), flows.ok("_ = barred(4)")
    for cell in (first, second):
        assert cell.stderr == "100 %\n"
        assert cell.stdout.splitlines()[1:] == ["step 0", "step 1", "step 2", "step 3", "step 4", "3/4"]


def test_a_display_that_is_updated_is_kept_as_it_was_in_the_end(flows: Kernel) -> None:
    flows.ok(
        "@rn.activity(retry=once)\ndef updates(n: int) -> int:\n    handle = display('first', display_id=True)\n"
        "    handle.update('second')\n    update_display('third', display_id=handle.display_id)\n    return n\n"
        "@rn.activity(retry=once)\ndef clears(n: int) -> int:\n    for i in range(n):\n        clear_output(wait=True)\n"
        "        print('round', i)\n    return n\n"
        "@rn.workflow\ndef updated(n: int) -> int:\n    updates(n)\n    return clears(n)"
    )
    first, second = flows.ok("_ = updated(3)"), flows.ok("_ = updated(3)")
    assert [bundle["text/plain"] for bundle in shown(first)] == ["'first'"]
    assert [bundle["text/plain"] for bundle in shown(second)] == ["'third'"]
    assert first.stdout.splitlines()[1:] == second.stdout.splitlines()[1:] == ["round 2"]


def test_output_is_kept_up_to_256_kb_and_says_what_was_left_out(flows: Kernel) -> None:
    flows.ok(
        "@rn.activity(retry=once)\ndef floods(n: int) -> int:\n    for i in range(n): print(f'{i:09d}')\n    return n\n"
        "@rn.workflow\ndef flooded(n: int) -> int: return floods(n)"
    )
    first, second = flows.ok("_ = flooded(100_000)"), flows.ok("_ = flooded(100_000)")
    text = first.stdout.split("\n", 1)[1]
    assert text == second.stdout.split("\n", 1)[1]
    assert text.startswith("000000000\n") and text.endswith("000099999\n")
    assert len(text) < 256 * 1024 + 100
    note = re.search(r"\n… ([\d,]+) bytes of output left out …\n", text)
    assert note and int(note[1].replace(",", "")) + len(text) - len(note[0]) == 1_000_000


def test_a_flood_that_is_watched_comes_to_its_end(flows: Kernel) -> None:
    flows.ok(
        "@rn.activity(retry=once)\ndef pours(n: int) -> int:\n    for i in range(n):\n        print(i, end='')\n"
        "        print()\n    return n\n@rn.workflow\ndef poured(n: int) -> int:\n    return pours(n)"
    )
    assert flows.ok("poured(60_000)").result == "60000"  # the head is drawn while lines come


def test_each_attempt_keeps_what_it_put_out(flows: Kernel) -> None:
    flows.ok(
        "tries = []\n@rn.activity(retry=rn.RetryPolicy(max_attempts=3, initial=0.01))\ndef shaky(n: int) -> int:\n"
        "    tries.append(1)\n    print('attempt', len(tries))\n    if len(tries) < 3: raise OSError('not yet')\n    return n\n"
        "@rn.workflow\ndef stubborn(n: int) -> int:\n    print('begin')\n    return shaky(n)"
    )
    first, second = flows.ok("_ = stubborn(1)"), flows.ok("_ = stubborn(1)")
    for cell in (first, second):
        assert cell.stdout.splitlines()[1:] == ["begin", "attempt 1", "attempt 2", "attempt 3"]
    query = "select meta ->> '$.attempt' from events where kind = 'attempt_output' order by seq"
    assert flows.value(f"rn.sql({query!r}).fetchall()") == [("1",), ("2",), ("3",)]


def test_stop_loses_nothing_that_an_activity_printed_and_put_down_code_is_silent(flows: Kernel) -> None:
    flows.ok(
        "@rn.activity(retry=once)\nasync def long(n: int) -> int:\n    print('begun')\n    await asyncio.sleep(60 * n)\n"
        "    return n\n"
        "@rn.workflow\nasync def stopped(n: int) -> int:\n    try:\n        return await long(n)\n"
        "    finally:\n        print('put down')"
    )
    cell = flows.send("await stopped(1)").until("begun")
    flows.stop_button()
    cell.finish()
    assert cell.status == "error" and "put down" not in cell.stdout
    query = "select count(*) from events where kind = 'attempt_output'"
    eventually(lambda: flows.value(f"rn.sql({query!r}).fetchall()") == [(1,)], "what it printed to be journaled")


def test_the_timeline_shows_what_a_step_printed_escaped(flows: Kernel) -> None:
    flows.ok(
        "@rn.activity(retry=once)\ndef marks(n: int) -> int:\n    print('<script>alert(1)</script>')\n    return n\n"
        "@rn.workflow\ndef marked(n: int) -> int: return marks(n)\n_ = marked(1)"
    )
    bundle = flows.ok("rn.instances()[0].timeline()").displays[-1]
    assert "&lt;script&gt;alert(1)" in bundle["text/html"] and "<script" not in bundle["text/html"]
    assert "│ <script>alert(1)</script>" in bundle["text/plain"]
    assert flows.value("rn.instances()[0].outputs()[0]['text']") == "<script>alert(1)</script>\n"


def test_capture_and_redirection_around_a_call_get_what_activities_print(flows: Kernel) -> None:
    cell = flows.ok(
        "import contextlib, io\nheld = io.StringIO()\nwith contextlib.redirect_stdout(held):\n    _ = flow(7)"
    )
    assert "printed 7" not in cell.stdout
    assert flows.value("held.getvalue().splitlines()") == ["before", "printed 7", "after"]
    cell = flows.ok("%%capture caught\n_ = flow(8)")
    assert "printed 8" not in cell.stdout
    assert flows.value("'printed 8' in caught.stdout") is True
    assert flows.ok("_ = flow(8)").stdout.splitlines()[1:] == ["before", "printed 8", "after"]


def test_a_foreign_cell_that_ends_draws_no_figure_of_a_running_activity(flows: Kernel) -> None:
    if flows.run("import matplotlib.pyplot as plt\n%matplotlib inline").status != "ok":
        pytest.skip("the kernel has no matplotlib")
    flows.ok(
        "@rn.activity(retry=once)\ndef draws(n: int) -> int:\n    for i in range(20):\n        plt.plot([i, n])\n"
        "        time.sleep(0.005)\n    plt.title(str(n))\n    return len(plt.gca().lines)\n"
        "@rn.workflow\ndef drawn() -> list[int]: return rn.gather(draws.bind(1), draws.bind(2), draws.bind(3))"
    )
    started = flows.ok("run = drawn.start()")
    own = flows.ok("plt.plot([1, 2]); print(len(plt.gca().lines))")
    assert len(own.displays) >= 1 and "1\n" in own.stdout
    assert flows.ok("list(run.result(30))").result == "[20, 20, 20]"
    eventually(lambda: flows.listen() or len(shown(started)) == 3, "three figures in the starting cell")
    assert all("image/png" in bundle for bundle in shown(started))
    assert flows.value("plt.get_fignums()") == []


def test_unloading_gives_the_streams_their_own_methods_back(own: Kernel) -> None:
    own.ok("%load_ext romancy_nb\nimport sys")
    own.ok("@rn.activity\ndef a() -> None: print('in the activity')\n@rn.workflow\ndef f() -> None: a()\nf()")
    own.ok("%unload_ext romancy_nb")
    streams = "[getattr(s, 'write').__module__ for s in (sys.__stdout__, sys.stderr)]"
    assert "romancy_nb.runtime.streams" not in own.value(streams)
    assert own.value("get_ipython().display_pub.publish.__module__").startswith("ipykernel")
    assert own.ok("print('plain')").stdout == "plain\n"


def test_an_attempt_that_outlives_a_stop_talks_in_the_cell_that_goes_on(flows: Kernel, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    flows.ok(
        "@rn.activity(retry=once)\ndef stubborn(gate: str) -> int:\n    print('first line')\n"
        "    while not os.path.exists(gate):\n        try: time.sleep(0.01)\n        except KeyboardInterrupt: pass\n"
        "    print('last line')\n    return 1\n"
        "@rn.workflow\ndef holds(gate: str) -> int: return stubborn(gate)"
    )
    one = flows.send(f"holds({str(gate)!r})").until("first line")
    flows.stop_button()
    assert one.finish().status == "error"
    two = flows.send(f"holds({str(gate)!r})").until("Resumed")
    gate.touch()
    assert two.finish().ok().stdout.splitlines()[1:] == ["first line", "last line"]
    assert "last line" not in one.stdout
    assert flows.ok(f"holds({str(gate)!r})").stdout.splitlines()[1:] == ["first line", "last line"]


def test_after_reloading_the_extension_output_is_caught_as_before(flows: Kernel) -> None:
    flows.ok("%reload_ext romancy_nb")
    assert flows.ok("_ = flow(21)").stdout.splitlines()[1:] == ["before", "printed 21", "after"]
    assert flows.ok("_ = flow(21)").stdout.splitlines()[1:] == ["before", "printed 21", "after"]


CELLS = (
    "%load_ext romancy_nb",
    "import asyncio, sys\nfrom IPython.display import display, HTML",
    "@rn.activity\ndef says(x: int) -> int:\n    print('printed', x)\n    print('to stderr', x, file=sys.stderr)\n"
    "    display(HTML('<b>shown</b>'))\n    print(f'\\r{x} %', end='')\n    return x\n"
    "@rn.activity\nasync def chats(name: str) -> str:\n    for n in range(20):\n        print(name, n)\n"
    "        await asyncio.sleep(0.001)\n    return name\n"
    "@rn.workflow\ndef flow(x: int) -> int:\n    print('begin')\n    says(x)\n    print('end')\n    return x\n"
    "@rn.workflow\nasync def crowd(n: int) -> int:\n    await asyncio.gather(*(chats(f'c{i}') for i in range(n)))\n"
    "    print('all')\n    return n",
    "flow(1)",
    "await crowd(8)",
    # the kernel sends what is printed five times a second: where that cuts is no matter of history
    "import time\n@rn.activity\ndef slow(x: int) -> int:\n    for n in range(2):\n        print('slow', n, flush=True)\n"
    "        time.sleep(0.3)\n    return x\n"
    "@rn.workflow\ndef paced(x: int) -> int:\n    print('begin')\n    slow(x)\n    print('end', flush=True)\n    return x\n"
    "print('above')\npaced(1)\nprint('between')\npaced(1)\nprint('below')",
)


def test_running_all_cells_twice_saves_the_same_bytes(tmp_path: Path) -> None:
    saved = []
    for _ in range(2):
        book = notebook(*CELLS)
        _Client(book, resources={"metadata": {"path": str(tmp_path)}}).execute(env=environment())
        saved.append(
            "\n".join(nbformat.writes(nbformat.from_dict({**book, "cells": [_bare(cell)]})) for cell in book.cells)
        )
    assert saved[0] == saved[1]
    printed = [output["text"] for output in book.cells[-1].outputs if output["output_type"] == "stream"]
    assert printed == [
        "above\n",
        "begin\nslow 0\nslow 1\nend\n",
        "between\n",
        "begin\nslow 0\nslow 1\nend\n",
        "below\n",
    ]


def test_what_was_printed_stands_above_the_error_that_ends_the_cell(flows: Kernel) -> None:
    flows.ok(
        "@rn.workflow\ndef fails(n: int) -> int:\n    print('so much')\n    says(n)\n    raise LookupError('no more')"
    )
    cell, order = flows.send("fails(40)"), []
    take = cell.take
    cell.take = lambda message: (order.append(message["msg_type"]), take(message))  # type: ignore[method-assign, assignment]
    assert cell.finish().ename == "LookupError"
    assert cell.stdout.splitlines()[1:3] == ["so much", "printed 40"]
    assert "stream" not in order[order.index("error") :]
    assert flows.ok("print('plain')").stdout == "plain\n"


def test_figures_and_bars_are_the_same_bytes_in_every_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    cells = (
        "%load_ext romancy_nb",
        "import sys\nimport matplotlib.pyplot as plt\nfrom tqdm import tqdm\n"
        "@rn.activity\ndef draws(x: int) -> int:\n    for i in tqdm(range(3)):\n        plt.plot([i, x])\n    return x\n"
        "@rn.activity\ndef shows(x: int) -> int:\n    plt.plot([1, x])\n    plt.show()\n    print('shown')\n    return x\n"
        "@rn.workflow\ndef flow(x: int) -> int:\n    rn.gather(draws.bind(1), draws.bind(2), shows.bind(3))\n"
        "    plt.plot([3, x])\n    return shows(x)\n",
        "flow(5)",
    )
    saved = []
    for _ in range(2):
        book = notebook(*cells)
        _Client(book, resources={"metadata": {"path": str(tmp_path)}}).execute(env=environment())
        saved.append([_bare(cell) for cell in book.cells])
    assert saved[0] == saved[1]
    assert str(saved[0]).count("image/png") == 5


def test_where_a_frontend_is_the_line_stays_until_the_next_cell_is_run(flows: Kernel) -> None:
    flows.ok("_ = flow(30)", cell_id="one")
    cell = flows.ok("_ = flow(30)", cell_id="one")
    assert cell.stdout.startswith("Returned the result of ")
    assert cell.settled == ""
    flows.ok("1", cell_id="two")
    eventually(lambda: flows.listen() or cell.settled.startswith("Result of "), "the head to be settled")


def test_the_line_of_the_last_cell_changes_when_there_was_time_to_read_it(flows: Kernel) -> None:
    flows.ok("from romancy_nb.notebook import outlet\noutlet.READ, READ = 0.3, outlet.READ", cell_id="zero")
    cell = flows.ok("_ = flow(32)", cell_id="one")
    eventually(lambda: flows.listen() or cell.settled.startswith("Result of "), "the head to be settled")
    flows.ok("outlet.READ = READ", cell_id="two")


def test_the_cause_of_a_new_run_stays_in_the_file(flows: Kernel) -> None:
    flows.ok("_ = flow(31)")
    flows.ok("@rn.workflow\ndef flow(x: int) -> int:\n    return says(x) + 1")
    first, second = flows.ok("_ = flow(31)"), flows.ok("_ = flow(31)")
    assert first.settled == second.settled
    assert first.settled.startswith("Run 2: its code changed. Result of ")


def _bare(cell: Any) -> Any:
    """The cell without its random id and the times at which it was executed."""
    cell = nbformat.from_dict(cell)
    cell["id"], cell["metadata"] = "cell", {}
    return cell


def test_the_last_cell_of_a_file_says_what_became_of_the_run_that_it_started_and_waited_for(tmp_path: Path) -> None:
    for number in range(3):
        book = notebook(*CELLS[:3], f"flow.start({number + 50}).result()")
        _Client(book, resources={"metadata": {"path": str(tmp_path)}}).execute(env=environment())
        (head,) = (each for each in book.cells[-1].outputs if "romancy" in each.get("metadata", {}))
        assert head["data"]["text/plain"].startswith("Result of"), number


def test_a_run_in_the_background_leaves_the_same_output_whether_it_ran_or_had_run(tmp_path: Path) -> None:
    saved = []
    for _ in range(3):
        book = notebook(*CELLS[:3], "handle = crowd.start(3)\nhandle.result()", "crowd.start(4).result()")
        _Client(book, resources={"metadata": {"path": str(tmp_path)}}).execute(env=environment())
        saved.append([_bare(cell) for cell in book.cells[-2:]])
    assert saved[0] == saved[1] == saved[2]
