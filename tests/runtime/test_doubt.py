"""A step that may have run and must not run twice: the question, and a person's answer to it (A1)."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import served

import romancy_nb as rn
from romancy_nb import errors

PROGRAM = """
import os, signal, sys, time
import romancy_nb as rn
from romancy_nb import errors
from romancy_nb.core.invariants import check_history

@rn.activity(delivery="at_most_once", retry=1)
def pay(who: str) -> str:
    with open("ledger", "a") as file: file.write(who)
    if sys.argv[1] == "die" and len(open("ledger").read()) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60 if sys.argv[1] == "die" else 0)
    return who

@rn.workflow
def flow() -> list:
    return list(rn.gather(pay.bind("a"), pay.bind("b")))

def call():
    try:
        print("result", flow.run(instance_id="i"))
    except errors.RomancyError as error:
        print(error)

i = rn.instance("i") if sys.argv[1] != "die" else None
"""


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A journal with an instance whose two calls are in doubt."""
    assert program(tmp_path, "call()", "die").returncode == -signal.SIGKILL
    return tmp_path


def program(room: Path, more: str, word: str = "go") -> subprocess.CompletedProcess[str]:
    file = room / "program.py"
    file.write_text(PROGRAM + more)
    return served.program(file, word, ROMANCY_JOURNAL=str(room / "j.duckdb"))


def test_the_question_says_how_to_answer_it_live_and_whenever_somebody_asks_for_the_result(room: Path) -> None:
    told = program(room, "call()\ntry: i.result(1)\nexcept errors.RomancyError as error: print(error)\n").stdout
    first, second = told.splitlines()
    assert "rn.instance('i').resolve('0.0:0', \"executed\", RESULT)" in first, told
    assert second == first


def test_an_answer_that_fits_several_calls_in_doubt_is_refused_and_names_them(room: Path) -> None:
    told = program(
        room,
        "for step in ['pay', None]:\n"
        "    try: i.resolve(step, 'executed', 'x')\n"
        "    except errors.RunProblem as error: print(error)\n"
        "i.resolve('0.0:0', 'executed', 'A').resolve('pay', 'executed', 'B')\n"
        "call()\n"
        "check_history([(row.seq, row.event) for row in i.rows()])\n",
    )
    by_name, by_none, result = told.stdout.splitlines()
    for line in (by_name, by_none):
        assert "2 calls of it are in doubt" in line and "call 0.0:0" in line and "call 0.1:0" in line, told
    assert result == "result ['A', 'B']", told
    assert len((room / "ledger").read_text()) == 2


@pytest.mark.parametrize("colour", ["def", "async def"])
def test_what_must_not_run_twice_is_not_tried_again_when_its_time_is_over(journal: Path, colour: str) -> None:
    began: list[str] = []
    go = threading.Event()
    options: dict[str, Any] = {"delivery": "at_most_once", "timeout": 0.05, "retry": rn.RetryPolicy(initial=0.01)}

    @rn.activity(**options)
    def pay() -> None:
        began.append("pay")
        go.wait(20)

    @rn.activity(**options)
    async def async_pay() -> None:
        began.append("pay")
        await asyncio.sleep(20)

    @rn.workflow
    def flow() -> None:
        pay() if colour == "def" else async_pay.sync()

    try:
        with pytest.raises(errors.AttemptTimeout):
            flow.run()
    finally:
        go.set()
    assert began == ["pay"]


def test_a_step_that_ran_out_of_time_is_in_doubt_when_its_run_is_called_again(journal: Path) -> None:
    gate, done = threading.Event(), []

    @rn.activity(delivery="at_most_once", timeout=0.2)
    def charge(n: int) -> str:
        gate.wait(20)
        done.append(n)
        return "paid"

    @rn.workflow(name="charges")
    def flow(n: int) -> str:
        return charge(n)

    with pytest.raises(errors.AttemptTimeout):
        flow.run(1)
    with pytest.raises(errors.RomancyError, match="nobody recorded how it ended"):
        flow.run(1)
    gate.set()
    with pytest.raises(errors.RomancyError, match="nobody recorded how it ended"):
        flow.run(1)
    rn.instances(workflow="charges")[0].resolve("charge", "executed", "paid by hand")
    assert flow.run(1) == "paid by hand" and done in ([], [1])


def test_a_doubt_that_was_inherited_and_undone_is_not_undone_a_second_time(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(
        "import os, signal\n"
        "import romancy_nb as rn\n"
        "def effect(text):\n"
        "    with open('ledger', 'a') as ledger: ledger.write(text)\n"
        "@rn.compensation\n"
        "def undo() -> None: effect('u')\n"
        "@rn.activity(delivery='at_most_once', on_doubt='compensate', retry=1, compensation=undo)\n"
        "def pay() -> int:\n"
        "    effect('p')\n"
        "    if os.environ.get('DIE'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return 1\n"
        "EDIT = os.environ.get('DIE')\n"
        "@rn.workflow\n"
        "def flow(): return pay() + len(EDIT or '')\n"
        "try: print(flow.run(instance_id='i'))\n"
        "except Exception as error: print(type(error).__name__)\n"
    )

    def run(**more: str) -> str:
        return served.program(file, ROMANCY_JOURNAL=str(tmp_path / "j.duckdb"), **more).stdout.strip()

    run(DIE="1")
    assert (run(), (tmp_path / "ledger").read_text()) == ("InDoubt", "pu")
    assert (run(), (tmp_path / "ledger").read_text()) == ("1", "pup")  # undone, so executed anew


def test_a_run_that_waits_for_the_answer_to_a_doubt_can_be_cancelled(room: Path) -> None:
    told = program(
        room,
        "call()\n"
        "i.cancel('no more')\n"
        "try: i.result(20)\n"
        "except errors.RunCancelled as error: print(type(error).__name__)\n"
        "print(i.status)\n"
        "check_history([(row.seq, row.event) for row in i.rows()])\n",
    )
    assert told.stdout.splitlines()[-2:] == ["RunCancelled", "cancelled"], told
    assert len((room / "ledger").read_text()) == 2
