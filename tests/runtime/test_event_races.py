"""A send and a wait that race, from threads and from another process: no wake-up is lost, and none comes twice.

``ROMANCY_RACES`` says how many events each race sends; tens of thousands take minutes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Processes, result, until

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.runtime import cancelling

RACES = int(os.environ.get("ROMANCY_RACES", "300"))
APART = max(60, RACES // 5)
"""Events between processes: the file goes back and forth, which takes longer."""


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path, "import json, sys\nimport romancy_nb as rn\n")
    yield processes
    processes.end()


@rn.workflow(name="racer")
def racer(name: str, count: int) -> list[int]:
    return [rn.wait_event("n", type=int) for _ in range(count)]


@rn.workflow(name="racer_with_deadlines")
async def racer_with_deadlines(name: str, count: int) -> list[int]:
    got: list[int] = []
    while len(got) < count:
        try:
            got.append(await rn.wait_event("n", type=int, timeout=0.0005))
        except TimeoutError:
            continue
    return got


def lawful(handle: Any) -> None:
    check_history([(row.seq, row.event) for row in handle.rows()])


@pytest.mark.parametrize("flow", [racer, racer_with_deadlines])
def test_no_wake_up_is_lost_between_threads(flow: Any, journal: Path) -> None:
    handle = flow.start("threads", RACES)
    for number in range(RACES):
        handle.send("n", number)
    assert handle.result(120) == list(range(RACES))
    lawful(handle)


entered, gate = threading.Event(), threading.Event()


@rn.workflow(name="busy_when_they_come")
async def busy_when_they_come(name: str) -> list[int]:
    try:
        await rn.wait_event("n", type=int, timeout=0.01)
    except TimeoutError:
        entered.set()
        gate.wait(30)
    return [await rn.wait_event("n", type=int), await rn.wait_event("n", type=int)]


def test_what_comes_for_a_wait_that_is_being_given_up_is_not_overtaken(journal: Path) -> None:
    handle = busy_when_they_come.start("x")
    assert entered.wait(30)
    handle.send("n", 1)
    handle.send("n", 2)
    gate.set()
    assert handle.result(30) == [1, 2]
    lawful(handle)


def test_four_threads_that_send_at_once_lose_nothing(journal: Path) -> None:
    handle = racer.start("four", RACES)
    threads = [
        threading.Thread(target=lambda start=start: [handle.send("n", n) for n in range(start, RACES, 4)])
        for start in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(handle.result(120)) == list(range(RACES))
    lawful(handle)


def test_no_wake_up_is_lost_between_processes(others: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROMANCY_JOURNAL", str(others.journal))
    rn.disconnect()
    handle = racer.start("processes", APART)
    until(lambda: handle.status == "waiting")
    sender = others.start(
        f"""
        receipts = [rn.send({handle.id!r}, "n", n, event_id=f"e{{n}}") for n in range({APART})]
        print(json.dumps([r.duplicate for r in receipts]))
        """
    )
    assert result(sender) == [False] * APART
    assert handle.result(240) == list(range(APART))
    lawful(handle)
    rn.disconnect()


def test_both_processes_send_to_each_other(others: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROMANCY_JOURNAL", str(others.journal))
    rn.disconnect()
    rounds = max(3, RACES // 100)
    there = others.start(
        f"""
        @rn.workflow(name="far")
        def far(rounds: int) -> list:
            got = []
            for n in range(rounds):
                got.append(rn.wait_event("ping", type=int))
                rn.send("near", "pong", n)
            return got
        print(json.dumps(far.run({rounds}, instance_id="far")))
        """
    )

    @rn.workflow(name="near")
    def near(rounds: int) -> list[int]:
        got = []
        for n in range(rounds):
            rn.send("far", "ping", n)
            got.append(rn.wait_event("pong", type=int))
        return got

    until(lambda: others.journal.exists() and any(each.id == "far" for each in rn.instances()))
    assert near.run(rounds, instance_id="near") == list(range(rounds))
    assert result(there) == list(range(rounds))
    rn.disconnect()


HOST = """
@rn.workflow(name="host")
def host(name: str, count: int) -> list:
    return [rn.wait_event("n", type=int) for _ in range(count)]
"""


def test_a_letter_that_is_read_again_before_it_is_written_arrives_once(
    others: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROMANCY_JOURNAL", str(others.journal))
    rn.disconnect()
    handle = racer.start("read again", 2)
    until(lambda: handle.status == "waiting")

    def send(number: int) -> None:
        assert result(others.start(f"print(json.dumps(rn.send({handle.id!r}, 'n', {number}).status))")) == "posted"

    take, rung = cancelling.take, []

    def take_when_another_had_the_file(engine: Any, letter: Any) -> None:
        if not rung:
            rung.append(True)
            engine.journal.release()  # as when somebody rings
            send(1)
        take(engine, letter)

    monkeypatch.setattr(cancelling, "take", take_when_another_had_the_file)
    send(0)
    assert handle.result(60) == [0, 1]
    assert sum(row.event.kind == "event_arrived" for row in handle.rows()) == 2
    rn.disconnect()


def test_an_event_id_counts_for_its_instance_alone(others: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROMANCY_JOURNAL", str(others.journal))
    rn.disconnect()
    living = others.start(
        HOST + "both = [host.start(name, 1, instance_id=name) for name in 'ab']\n"
        "print(json.dumps([each.result(60) for each in both]))"
    )
    until(lambda: others.journal.exists() and {each.id for each in rn.instances(status="waiting")} == {"a", "b"})
    assert [rn.send(name, "n", 7, event_id="evt-1").duplicate for name in "aba"] == [False, False, True]
    assert result(living) == [[7], [7]]
    rn.disconnect()


def test_what_a_process_was_sent_before_it_died_stands_before_what_comes_later(
    others: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROMANCY_JOURNAL", str(others.journal))
    rn.disconnect()
    living = others.start(HOST + "host.run('x', 3, instance_id='x')")
    until(lambda: others.journal.exists() and [each.status for each in rn.instances()] == ["waiting"])
    living.send_signal(signal.SIGSTOP)
    assert rn.send("x", "n", 1).status == "posted"
    living.kill()
    living.wait()
    assert [rn.send("x", "n", number).status for number in (2, 3)] == ["kept", "kept"]
    rn.disconnect()
    assert result(others.start(HOST + "print(json.dumps(host.run('x', 3, instance_id='x')))")) == [1, 2, 3]
