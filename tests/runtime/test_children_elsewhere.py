"""Parent and child in two processes: whoever takes the parent up finds the child, wherever that is (R13, R15)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from processes import Processes, result, until

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.errors import RomancyError

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

@rn.activity
def go() -> bool:
    ledger.write("go")
    return Path(os.environ["GO"]).exists()

@rn.workflow
def child(item: str) -> str:
    take(item)
    while not go():
        rn.sleep(0.05)
    return take(item + "2")

@rn.workflow
def parent(number: int) -> str:
    take("first")
    return child("c")

def resume_child():
    (found,) = rn.instances(workflow="child")
    print(json.dumps(found.resume().result(60)))
"""


@pytest.fixture
def processes(tmp_path: Path) -> Any:
    world = Processes(tmp_path, HEAD)
    yield world
    rn.disconnect()
    world.end()


def begin_and_kill(processes: Processes) -> None:
    """A process that dies when the child is on its way."""
    first = processes.start("parent(1)")
    until(lambda: processes.lines().get("go"))
    first.kill()
    first.wait()


def lawful(processes: Processes) -> dict[str, str]:
    rn.connect(processes.journal)
    found = {}
    for each in rn.instances():
        check_history([(row.seq, row.event) for row in each.rows()])
        found[each.workflow_name] = each.status
    rn.disconnect()
    return found


def test_a_child_that_is_resumed_alone_ends_and_its_parent_finds_that(processes: Processes) -> None:
    begin_and_kill(processes)
    processes.go.touch()
    assert result(processes.start("resume_child()")) == "c2"
    assert result(processes.start("print(json.dumps(parent(1)))")) == "c2"
    assert done(processes) == {"take first": 1, "take c": 1, "take c2": 1}
    assert lawful(processes) == {"parent": "completed", "child": "completed"}


def test_a_parent_follows_its_child_that_another_process_runs(processes: Processes) -> None:
    begin_and_kill(processes)
    helper = processes.start("resume_child()")
    until(lambda: owner_of(processes, "child") == helper.pid)
    caller = processes.start("print(json.dumps(parent(1)))")
    until(lambda: owner_of(processes, "parent") == caller.pid)
    processes.go.touch()
    assert result(helper) == "c2"
    assert result(caller) == "c2"
    assert done(processes) == {"take first": 1, "take c": 1, "take c2": 1}
    assert lawful(processes) == {"parent": "completed", "child": "completed"}


def test_a_parent_takes_its_child_up_when_the_process_that_ran_it_dies(processes: Processes) -> None:
    begin_and_kill(processes)
    helper = processes.start("resume_child()")
    until(lambda: owner_of(processes, "child") == helper.pid)
    caller = processes.start("print(json.dumps(parent(1)))")
    until(lambda: owner_of(processes, "parent") == caller.pid)
    helper.kill()
    helper.wait()
    processes.go.touch()
    assert result(caller) == "c2"
    assert lawful(processes) == {"parent": "completed", "child": "completed"}


def test_cancelling_a_parent_reaches_its_child_in_another_process(processes: Processes) -> None:
    begin_and_kill(processes)
    helper = processes.start(
        """
        try:
            resume_child()
        except rn.errors.RunCancelled as error:
            print(json.dumps(str(error)))
        """
    )
    until(lambda: owner_of(processes, "child") == helper.pid)
    caller = processes.start(
        """
        try:
            parent(1)
        except rn.errors.RunCancelled as error:
            print(json.dumps(str(error)))
        """
    )
    until(lambda: owner_of(processes, "parent") == caller.pid)
    rn.connect(processes.journal)
    (found,) = rn.instances(workflow="parent")
    found.cancel("enough")
    rn.disconnect()
    assert "enough" in result(caller)
    assert "gave it up" in result(helper)
    assert done(processes) == {"take first": 1, "take c": 1, "give back c": 1, "give back first": 1}
    assert lawful(processes) == {"parent": "cancelled", "child": "cancelled"}


def owner_of(processes: Processes, workflow: str) -> int:
    """Pid of the process that runs an instance."""
    import json

    try:
        rn.connect(processes.journal)
        (row,) = rn.sql(f"select owner from instances where workflow = '{workflow}'").fetchall()
    except RomancyError:
        return 0
    finally:
        rn.disconnect()
    return int(json.loads(row[0]).get("pid", 0))


def done(processes: Processes) -> dict[str, int]:
    return {name: times for name, times in processes.lines().items() if name != "go"}
