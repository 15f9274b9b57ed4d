"""Several processes, one journal: each run has one owner, a dead one's work is taken over, nothing is lost or repeated."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import ledger
import pytest
from processes import Processes, result, until

from romancy_nb.runtime import ownership

HERE = Path(__file__).parent
SLACK = max(1.0, 1.5 * os.getloadavg()[0] / (os.cpu_count() or 1))

HEAD = """
import asyncio, json, os, sys, threading, time
from pathlib import Path
import ledger
import romancy_nb as rn

@rn.activity
def quick(number: int) -> int:
    ledger.write(f"quick-{number}")
    return number

@rn.activity
def slow(number: int) -> int:
    ledger.write(f"slow-{number}")
    go = Path(os.environ["GO"])
    while not go.exists():
        time.sleep(0.01)
    return number * 10

@rn.workflow
def flow(number: int) -> list[int]:
    return [quick(number), slow(number), quick(number + 100)]

@rn.workflow
def loop(number: int) -> int:
    return sum(quick(number * 1000 + n) for n in range(20))

"""


@pytest.fixture
def processes(tmp_path: Path) -> Any:
    world = Processes(tmp_path, HEAD)
    yield world
    world.end()


def test_the_second_process_follows_and_gets_the_same_result(processes: Processes) -> None:
    owner = processes.start("print(json.dumps(flow(1)))")
    until(lambda: "slow-1" in processes.lines())
    follower = processes.start("print('follows'); print(json.dumps(flow(1)))")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "follows\n"
    second = processes.start("print(json.dumps([i.status for i in rn.instances()]))")
    assert result(second) == ["running"]
    processes.go.touch()
    assert result(owner) == result(follower) == [1, 10, 101]
    assert processes.lines() == {"quick-1": 1, "slow-1": 1, "quick-101": 1}


def test_a_follower_takes_over_when_the_owner_is_killed(processes: Processes) -> None:
    owner = processes.start("print(json.dumps(flow(2)))")
    until(lambda: "slow-2" in processes.lines())
    follower = processes.start(
        """
        import logging
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        print(json.dumps(flow(2)))
        """
    )
    assert follower.stdout is not None
    until(lambda: "Following" in follower.stdout.readline())
    owner.kill()
    owner.wait()
    until(lambda: processes.lines()["slow-2"] == 2)
    processes.go.touch()
    assert result(follower) == [2, 20, 102]
    assert processes.lines() == {"quick-2": 1, "slow-2": 2, "quick-102": 1}
    keys = {line["key"] for line in ledger.read(processes.ledger) if line["name"] == "slow-2"}
    assert len(keys) == 1


def test_a_handle_in_another_process_gets_the_result(processes: Processes) -> None:
    owner = processes.start("h = flow.start(3, instance_id='three'); print(json.dumps(h.result()))")
    until(lambda: "slow-3" in processes.lines())
    watcher = processes.start("print(json.dumps(rn.instance('three').result(30)))")
    time.sleep(0.1)
    processes.go.touch()
    assert result(owner) == result(watcher) == [3, 30, 103]


def test_stop_of_a_follower_ends_the_waiting_only(processes: Processes) -> None:
    import signal

    owner = processes.start("print(json.dumps(flow(4)))")
    until(lambda: "slow-4" in processes.lines())
    follower = processes.start(
        """
        import logging
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        try:
            flow(4)
        except KeyboardInterrupt as stopped:
            print(json.dumps(str(stopped)))
        rn.instances()
        """
    )
    assert follower.stdout is not None
    until(lambda: "Following" in follower.stdout.readline())
    follower.send_signal(signal.SIGINT)
    assert "Stopped waiting" in result(follower)
    processes.go.touch()
    assert result(owner) == [4, 40, 104]
    assert processes.lines()["slow-4"] == 1


def test_another_process_opens_the_journal_while_a_long_activity_runs(processes: Processes) -> None:
    owner = processes.start("print(json.dumps(flow(5)))")
    until(lambda: "slow-5" in processes.lines())
    other = processes.start(
        """
        import duckdb
        began = time.monotonic()
        rn.connect()
        rn.instances()
        print(json.dumps(time.monotonic() - began))
        """
    )
    assert result(other) < 10 * SLACK
    processes.go.touch()
    assert result(owner) == [5, 50, 105]


def test_two_busy_processes_share_the_file_while_a_third_reads_it_and_nothing_is_lost(processes: Processes) -> None:
    source = """
        handles = [loop.start(number) for number in range({first}, {first} + 15)]
        print(json.dumps([handle.result(60) for handle in handles]))
        """
    workers = [processes.start(source.format(first=first)) for first in (0, 50)]
    reads = 0
    while any(worker.poll() is None for worker in workers):
        for path in (processes.journal, Path(f"{processes.journal}.wal")):
            try:
                path.read_bytes()
                reads += 1
            except FileNotFoundError:
                pass
        time.sleep(0.001)
    assert reads > 10
    for worker, first in zip(workers, (0, 50), strict=True):
        assert result(worker) == [sum(n * 1000 + k for k in range(20)) for n in range(first, first + 15)]
    check = processes.start(
        """
        rows = rn.sql("select status, count(*) from runs group by status").fetchall()
        steps = rn.sql("select count(*) from steps where status = 'completed'").fetchall()
        print(json.dumps([rows, steps]))
        """
    )
    assert result(check) == [[["completed", 30]], [[600]]]
    assert set(processes.lines().values()) == {1}


def test_peeking_at_the_file_in_the_holders_own_process_loses_nothing(processes: Processes) -> None:
    source = """
        stop = []
        def peek():
            while not stop:
                for name in (os.environ["ROMANCY_JOURNAL"], os.environ["ROMANCY_JOURNAL"] + ".wal"):
                    try:
                        open(name, "rb").read()
                    except FileNotFoundError:
                        pass
                time.sleep(0.02)
        threading.Thread(target=peek, daemon=True).start()
        found = [loop(number) for number in range({first}, {first} + 8)]
        stop.append(1)
        print(json.dumps(found))
        """
    workers = [processes.start(source.format(first=first)) for first in (0, 50)]
    for worker, first in zip(workers, (0, 50), strict=True):
        assert result(worker) == [sum(n * 1000 + k for k in range(20)) for n in range(first, first + 8)]
    check = processes.start(
        "print(json.dumps(rn.sql(\"select count(*) from steps where status = 'completed'\").fetchall()))"
    )
    assert result(check) == [[320]]
    assert set(processes.lines().values()) == {1}


def test_an_owner_is_named_as_a_person_would() -> None:
    assert ownership.describe(ownership.my_token()) == "this process"
    facts = json.loads(ownership.my_token())
    assert ownership.describe(json.dumps({**facts, "pid": 1})) == "process 1 on this machine"
    assert ownership.describe(json.dumps({**facts, "host": "far"})) == f"process {os.getpid()} on far"
    assert ownership.describe("") == "an unknown process"
