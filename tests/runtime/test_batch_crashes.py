"""kill -9 in the middle of a map: what is recorded is not executed again, and failed rows are executed alone."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ledger
import pytest
from processes import Processes, result

import romancy_nb as rn

pytestmark = pytest.mark.crash

ROWS, MANY = 200, 8

PROGRAM = f"""
import json, os, sys
from pathlib import Path
import romancy_nb as rn
from romancy_nb import testing
import ledger

def among(name, n):
    "A file that the test writes, so that no global changes."
    path = Path(os.environ["GO"] + "." + name)
    return path.exists() and str(n) in path.read_text().split()

def effect(n):
    ledger.write(str(n))
    if among("dies", n):
        testing.die()
    if among("fails", n):
        raise ValueError(f"bad {{n}}")
    return n * 2

@rn.activity(retry=1)
def work(n: int) -> int:
    return effect(n)

@rn.activity(retry=1)
async def awork(n: int) -> int:
    return effect(n)

@rn.workflow
def one(n: int) -> int:
    return work(n)

@rn.workflow
def inside() -> list:
    return rn.map(work, range({ROWS}), concurrency={MANY}).results

def steps():
    return rn.map(work, range({ROWS}), concurrency={MANY})

def asteps():
    return rn.map(awork, (n for n in range({ROWS})), concurrency={MANY})

def slower():
    return rn.map(work, range({ROWS}), concurrency=1)

def faster():
    return rn.map(work, range({ROWS}), concurrency=50)

def instances():
    return one.map(range({ROWS}), concurrency={MANY})

def told(batch):
    print(json.dumps([batch.results, [each.index for each in batch.failed]]))
"""


@pytest.fixture
def world(journal: Path, tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path, PROGRAM)
    yield processes
    processes.end()


def say(world: Processes, name: str, *rows: int) -> None:
    Path(f"{world.go}.{name}").write_text(" ".join(map(str, rows)))


def killed(world: Processes, source: str) -> None:
    process = world.start(source)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def check_effects(world: Processes, *executed_again: int) -> None:
    """Only what was under way at the kill happened twice, with the same key; nothing more often."""
    lines = ledger.read(world.ledger)
    counted = Counter(int(str(line["name"])) for line in lines)
    assert sorted(counted) == list(range(ROWS))
    twice = {n for n, times in counted.items() if times > 1}
    assert len(twice - set(executed_again)) <= MANY
    assert max(times for n, times in counted.items() if n not in executed_again) <= 2
    keys = {(line["name"], line["key"]) for line in lines}
    assert len(keys) == ROWS


@pytest.mark.parametrize("how", ["steps", "asteps", "instances"])
def test_a_killed_map_goes_on_and_done_rows_are_not_executed_again(how: str, world: Processes) -> None:
    say(world, "fails", 5, 60, 150)
    say(world, "dies", 90)
    killed(world, f"told({how}())")
    before = len(ledger.read(world.ledger))
    assert 90 <= before < ROWS
    say(world, "dies")
    results, failed = result(world.start(f"told({how}())"))
    assert set(failed) >= {150} and set(failed) <= {5, 60, 150}
    assert results == [None if n in failed else 2 * n for n in range(ROWS)]
    check_effects(world, 5, 60, 150)

    effects = len(ledger.read(world.ledger))
    say(world, "fails")
    results, failed_now = result(world.start(f"told({how}())"))
    assert failed_now == [] and results == [2 * n for n in range(ROWS)]
    again = [int(str(line["name"])) for line in ledger.read(world.ledger)[effects:]]
    assert sorted(again) == sorted(failed)


@pytest.mark.parametrize("how", ["steps", "instances"])
def test_a_retry_that_is_killed_executes_what_is_left_of_it(how: str, world: Processes) -> None:
    bad = range(0, ROWS, 5)
    say(world, "fails", *bad)
    assert result(world.start(f"told({how}())"))[1] == list(bad)
    say(world, "fails")
    say(world, "dies", 100)
    effects = len(ledger.read(world.ledger))
    killed(world, f"{how}().retry()")
    say(world, "dies")
    results, failed = result(world.start(f"told({how}())"))
    assert (results, failed) == ([2 * n for n in range(ROWS)], [])
    again = Counter(int(str(line["name"])) for line in ledger.read(world.ledger)[effects:])
    assert sorted(again) == list(bad)
    assert sum(again.values()) <= len(bad) + MANY


def test_a_map_in_workflow_code_that_is_killed_is_the_same_steps_again(world: Processes) -> None:
    say(world, "dies", 90)
    killed(world, "inside()")
    say(world, "dies")
    assert result(world.start("print(json.dumps(inside()))")) == [2 * n for n in range(ROWS)]
    check_effects(world)


def test_a_killed_map_can_be_resumed_from_its_journaled_rows_alone(world: Processes) -> None:
    say(world, "dies", 90)
    killed(world, "asteps()")
    say(world, "dies")
    source = """
    found, = [each for each in rn.instances(status="interrupted")]
    found.resume()
    print(json.dumps(found.result(60)))
    """
    assert result(world.start(source)) == {"rows": ROWS}
    check_effects(world)
    rn.connect(world.journal)
    steps: Any = rn.sql("select count(*), count(distinct call) from steps where status = 'completed'").fetchall()
    assert steps == [(ROWS, ROWS)]


@pytest.mark.parametrize("other", ["slower", "faster"])
def test_a_killed_map_goes_on_in_the_same_run_with_another_concurrency_each_time(other: str, world: Processes) -> None:
    say(world, "dies", 40)
    killed(world, "steps()")
    say(world, "dies", 110)
    killed(world, f"{other}()")
    say(world, "dies")
    assert result(world.start("told(steps())")) == [[2 * n for n in range(ROWS)], []]
    assert len({(line["name"], line["key"]) for line in ledger.read(world.ledger)}) == ROWS
    rn.connect(world.journal)
    assert rn.sql("select run, status from runs").fetchall() == [(1, "completed")]
