"""``os.fork`` in an activity, and in a process that has the journal open: a child never hangs, and never goes on as the parent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, select, sys, threading
import romancy_nb as rn
from romancy_nb import errors

@rn.activity
def one(n: int) -> int:
    return n + 1

@rn.workflow
def simple(n: int) -> int:
    return one(n)

def ended(pid):
    # a child that hangs is killed, and that is seen in its status
    watch = threading.Timer(20, os.kill, (pid, 9))
    watch.start()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    watch.cancel()
    return status

@rn.activity(retry=1)
def forks(how: str) -> int:
    pid = os.fork()
    if pid:
        return ended(pid)
    if how == "exit":
        sys.exit(7)
    if how == "raise":
        raise ValueError("in the child")
    return 5

@rn.workflow
def forking(how: str) -> int:
    return forks(how)
"""


def program(room: Path, more: str) -> subprocess.CompletedProcess[str]:
    file = room / "program.py"
    file.write_text(PROGRAM + more)
    env = {**os.environ, "ROMANCY_JOURNAL": str(room / "j.duckdb")}
    return subprocess.run([sys.executable, str(file)], env=env, cwd=room, capture_output=True, text=True, timeout=90)


@pytest.mark.parametrize(("how", "code"), [("exit", 7), ("raise", 1), ("return", 0)])
def test_a_forked_child_that_comes_back_out_of_an_activity_ends_there(tmp_path: Path, how: str, code: int) -> None:
    ran = program(tmp_path, f"print('result', forking({how!r}))\nprint(simple(1))\n")
    assert ran.stdout == f"result {code}\n2\n", ran
    assert ("ValueError: in the child" in ran.stderr) == (how == "raise"), ran


def test_a_call_in_a_forked_child_says_what_to_do_instead_and_the_parent_goes_on(tmp_path: Path) -> None:
    ran = program(
        tmp_path,
        "print(simple(1), flush=True)\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    for call in (lambda: simple(2), lambda: simple.start(3), rn.connect, rn.check):\n"
        "        try: call()\n"
        "        except errors.JournalError as error: print(error, flush=True)\n"
        "    sys.exit(3)\n"
        "print(ended(pid), simple(2), simple(1))\n",
    )
    first, *told, last = ran.stdout.splitlines()
    assert (first, last) == ("2", "3 3 2"), ran
    assert len(told) == 4 and all("was forked from" in line and "spawn" in line for line in told), ran
