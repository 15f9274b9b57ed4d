"""Cancelling what another process runs: the request goes through the journal, and its owner takes it up (U3)."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from processes import Processes, result, until

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.errors import RunCancelled

HEAD = """
import json, os, time
from pathlib import Path
import ledger
import romancy_nb as rn

@rn.compensation
def give_back(item: str) -> None:
    ledger.write(f"give back {item}")

@rn.activity(compensation=give_back)
def take(item: str) -> str:
    ledger.write(f"take {item}")
    return item

@rn.activity(compensation=give_back)
def slow(item: str) -> str:
    ledger.write(f"slow {item}")
    while not Path(os.environ["GO"]).exists():
        time.sleep(0.01)
    return item

@rn.workflow
def sleeper(number: int) -> int:
    take("a")
    rn.sleep(600)
    return number

@rn.workflow
def worker(number: int) -> int:
    for n in range(10_000):
        take(f"n{n}")
    return number

@rn.workflow
def blocked(number: int) -> int:
    slow("b")
    return number

def run(workflow):
    try:
        print(json.dumps(workflow.run(1)))
    except rn.errors.RunCancelled as error:
        print(json.dumps(str(error)))
"""


@pytest.fixture
def processes(tmp_path: Path) -> Any:
    world = Processes(tmp_path, HEAD)
    yield world
    rn.disconnect()
    world.end()


def lawful(instance: Any) -> None:
    check_history([(row.seq, row.event) for row in instance.rows()])


@pytest.mark.parametrize("what", ["sleeper", "worker"])
def test_what_another_process_runs_is_cancelled_by_its_owner_and_undone_there(processes: Processes, what: str) -> None:
    owner = processes.start(f"run({what})")
    until(lambda: processes.lines().get("take a" if what == "sleeper" else "take n3"))
    rn.connect(processes.journal)
    handle = rn.instances(workflow=what)[0]
    handle.cancel("the customer called")
    with pytest.raises(RunCancelled, match="the customer called"):
        handle.result(60)
    assert "the customer called" in result(owner)
    done = processes.lines()
    assert all(done.get(f"give back {name.removeprefix('take ')}") == 1 for name in done if name.startswith("take "))
    assert handle.status == "cancelled"
    assert [row.event.kind for row in handle.rows()].count("cancel_requested") == 1
    lawful(handle)
    handle.cancel("again")


def test_a_request_that_its_owner_did_not_live_to_see_is_found_by_whoever_goes_on(processes: Processes) -> None:
    owner = processes.start("run(blocked)")
    until(lambda: processes.lines().get("slow b"))
    rn.connect(processes.journal)
    handle = rn.instances(workflow="blocked")[0]
    os.kill(owner.pid, signal.SIGSTOP)
    try:
        handle.cancel("too late for it")
        handle.cancel("and once more")
    finally:
        owner.kill()
        owner.wait()
    assert "cancel_requested" not in [row.event.kind for row in handle.rows()]
    rn.disconnect()
    processes.go.touch()
    assert "too late for it" in result(processes.start("run(blocked)"))
    rn.connect(processes.journal)
    again = rn.instance(handle.id)
    assert again.status == "cancelled"
    lawful(again)
    done = processes.lines()
    assert done["give back b"] == 1


def test_a_request_that_comes_too_late_does_nothing_to_the_next_run(processes: Processes) -> None:
    owner = processes.start("run(blocked)")
    until(lambda: processes.lines().get("slow b"))
    rn.connect(processes.journal)
    handle = rn.instances(workflow="blocked")[0]
    os.kill(owner.pid, signal.SIGSTOP)
    handle.cancel("once")
    owner.kill()
    owner.wait()
    rn.disconnect()
    processes.go.touch()
    assert "once" in result(processes.start("run(blocked)"))
    assert result(processes.start("print(json.dumps(blocked.run(1, new=True)))")) == 1
