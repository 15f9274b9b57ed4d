"""C3, C4: where calls stand. Not in the order of memory addresses, hash seeds or versions of Python."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.core.replay import History
from romancy_nb.payloads.payload import NULL

from .corpus import CORPUS, _branch
from .driver import World, act, in_order, replay, run, seeded

HERE = Path(__file__).parent
PYTHONS = [
    python
    for pattern in os.environ.get("ROMANCY_TEST_PYTHONS", "").split(os.pathsep)
    for python in map(str, sorted(Path("/").glob(pattern.lstrip("/"))) if pattern else ())
]
"""Other interpreters with our dependencies installed, from $ROMANCY_TEST_PYTHONS (patterns)."""


def places(world: World, name: str = "") -> dict[str, Any]:
    """Where each call stands, by name and inputs."""
    return {
        f"{e.name}({e.payload.text if e.payload else ''})": e.call
        for _, e in world.rows
        if e.kind == ev.ACTIVITY_SCHEDULED and e.name.startswith(name)
    }


@pytest.mark.parametrize("name", ["as_completed_list", "as_completed_awaitables"])
def test_c4_as_completed_makes_its_tasks_in_argument_order(name: str) -> None:
    for _ in range(5):
        junk = [object() for _ in range(random.randrange(1000))]
        found = list(places(run(CORPUS[name], seeded(1)), "c" if "list" in name else "awaitable").values())
        assert found == [f"0.{i}:0" for i in range(len(found))]
        del junk


@pytest.mark.parametrize("kind", ["set", "iterator"])
def test_c4_without_an_argument_order_equal_programs_still_get_equal_places(kind: str) -> None:
    async def body() -> Any:
        arguments = [random.random() for _ in range(random.randrange(50))]
        coros = [_branch(f"c{i}", 2) for i in range(12)]
        given: Any = set(coros) if kind == "set" else iter(coros)
        for each in asyncio.as_completed(given):
            await each
        return len(arguments) and 0

    found = [places(run(body, seeded(1))) for _ in range(8)]
    assert len(found[0]) == 24
    assert all(each == found[0] for each in found)


def test_c3_a_dict_view_or_deque_of_coroutines_has_its_own_order() -> None:
    async def body() -> Any:
        made = {name: _branch(name, 1) for name in ("x", "y", "z")}
        return [await each for each in asyncio.as_completed(made.values())]

    assert places(run(body)) == {"x(0)": "0.0:0", "y(0)": "0.1:0", "z(0)": "0.2:0"}


def test_c3_wait_for_makes_no_place_of_its_own_on_any_version() -> None:
    async def body() -> Any:
        await asyncio.wait_for(act("a"), 10)
        await asyncio.wait_for(_branch("b", 2), 10)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(act("never"), 0)
        await asyncio.wait_for(asyncio.create_task(act("c")), 10)
        await asyncio.wait_for(act("d"), None)
        await asyncio.create_task(act("e"))

    assert places(run(body)) == {
        "a(0)": "0:1",
        "b(0)": "0:3",
        "b(1)": "0:4",
        "c(0)": "0.0:0",
        "d(0)": "0:6",
        "e(0)": "0.1:0",
    }


def test_c3_timeouts_make_no_task() -> None:
    async def body() -> Any:
        async with asyncio.timeout(5):
            await act("a")
        await asyncio.create_task(act("b"))

    assert places(run(body)) == {"a(0)": "0:1", "b(0)": "0.0:0"}


def test_c3_what_a_callback_creates_belongs_to_the_task_that_registered_it() -> None:
    made: list[Any] = []

    async def registers(gate: asyncio.Future[Any]) -> None:
        gate.add_done_callback(lambda _: made.append(asyncio.ensure_future(act("made"))))
        await act("registered")

    async def sets_off(gate: asyncio.Future[Any]) -> None:
        await act("sets_off")
        gate.set_result(None)

    async def body() -> Any:
        made.clear()
        gate = asyncio.get_running_loop().create_future()
        await asyncio.gather(registers(gate), sets_off(gate), asyncio.sleep(1))
        await asyncio.gather(*made)

    for order in ([0, 0], [1, 0], [1, 1], [2, 1]):
        assert places(run(body, in_order(order)))["made(0)"] == "0.0.0:0"


def test_c3_places_do_not_depend_on_the_order_of_completions() -> None:
    for name in ("nested_gathers", "gather_branches", "task_group", "callbacks_that_make_tasks", "nested_gather_def"):
        found = [places(run(CORPUS[name], seeded(seed))) for seed in range(8)]
        assert all(each == found[0] for each in found), name


def test_c4_sets_of_tasks_iterate_alike() -> None:
    async def body() -> Any:
        junk = [asyncio.get_running_loop().create_future() for _ in range(3)]
        tasks = {asyncio.create_task(act("a", i)) for i in range(40)}
        await asyncio.wait(tasks)
        return [len(junk), [task.result() for task in tasks]]

    first = run(body).result
    kept = [object() for _ in range(10_000)]
    assert all(run(body).result == first for _ in range(5)) and kept


def test_polling_code_rests_while_something_outside_is_awaited() -> None:
    seen: list[int] = []

    async def body() -> Any:
        task, polls = asyncio.create_task(act("a")), 0
        while not task.done():
            await asyncio.sleep(0)
            polls += 1
        seen.append(polls)
        return task.result()

    world = run(body)
    assert world.result == 0 and seen[0] < 50_000
    assert replay(body, world.rows).rows == []


def test_a_callback_that_schedules_itself_does_not_keep_the_loop_busy() -> None:
    class Ticker:
        ticks = 0
        done = False

        def tick(self) -> None:
            self.ticks += 1
            if not self.done:
                asyncio.get_running_loop().call_soon(self.tick)

    async def body() -> Any:
        ticker = Ticker()
        ticker.tick()
        got = [await act("a", i) for i in range(3)]
        ticker.done = True
        assert ticker.ticks < 1000
        return got

    assert run(body).result == [0, 1, 2]


# -- other processes and versions -------------------------------------------------------------------------------------------------

CHILD = """
import sys, json, types
sys.path.insert(0, {tests!r})
if True:  # the core alone: this interpreter need not have the rest of our dependencies
    package = types.ModuleType("romancy_nb"); package.__path__ = [{package!r}]; sys.modules["romancy_nb"] = package
from core.test_places import history, replays
print(json.dumps(replays(sys.stdin.read()) if sys.argv[1] == "replay" else history()))
"""
EXACT_ORDER = [name for name in sorted(CORPUS) if "anyio" not in name]


def _rows(world: World) -> list[Any]:
    return [
        [e.kind, e.at, e.call, e.name, e.digest, e.payload.text if e.payload else None, dict(e.meta or {})]
        for _, e in world.rows
    ]


def history() -> dict[str, Any]:
    """The rows of every shape."""
    return {name: _rows(run(CORPUS[name], seeded(3))) for name in EXACT_ORDER}


def replays(text: str) -> dict[str, Any]:
    """Replay histories of another process; what each adds or how it parts."""
    from romancy_nb.core.events import Event
    from romancy_nb.payloads.payload import Payload

    found = {}
    for name, rows in json.loads(text).items():
        events = [
            Event(
                kind,
                at,
                call,
                what,
                digest,
                payload=Payload(payload) if payload is not None else None,
                meta=meta or None,
            )
            for kind, at, call, what, digest, payload, meta in rows
        ]
        report = replay(CORPUS[name], list(enumerate(events, start=1)))
        found[name] = [len(report.rows), len(report.moved), str(report.mismatch or ""), report.ended is not None]
    return found


def _child(python: str, what: str, given: str = "", seed: int = 0) -> dict[str, Any]:
    source = CHILD.format(tests=str(HERE.parent), package=str(HERE.parents[1] / "romancy_nb"))
    done = subprocess.run(
        [python, "-c", source, what],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_c4_other_hash_seeds_give_identical_rows() -> None:
    first = _child(sys.executable, "run", seed=1)
    for seed in range(2, 8):
        assert _child(sys.executable, "run", seed=seed) == first


@pytest.mark.skipif(len(PYTHONS) < 2, reason="set ROMANCY_TEST_PYTHONS to patterns of interpreters")
def test_c4_every_version_of_python_gives_the_same_rows_and_replays_those_of_every_other() -> None:
    histories = {python: _child(python, "run") for python in PYTHONS}
    first = histories[PYTHONS[0]]
    for python, found in histories.items():
        for name, rows in found.items():
            if name not in ITERATIONS_DIFFER:
                assert rows == first[name], (python, name)
            assert sorted(map(str, rows), key=str) == sorted(map(str, first[name])), (python, name)
    for writer, found in histories.items():
        for reader in PYTHONS:
            for name, came in _child(reader, "replay", json.dumps(found)).items():
                assert came == [0, 0, "", True], (writer, reader, name)


ITERATIONS_DIFFER: set[str] = set()
"""Shapes whose rows of one turn may stand in another order on 3.11, where ``wait_for`` takes one iteration more."""


def test_history_says_which_calls_were_made_between_two_deliveries() -> None:
    """What makes many calls a few at a time follows that, with whatever number at a time they were made."""

    def intent(place: str, digest: str) -> Event:
        return Event(ev.ACTIVITY_SCHEDULED, 1, place, "step", digest)

    started = Event(ev.RUN_STARTED, 1, "i", "flow")
    done = Event(ev.ACTIVITY_COMPLETED, 2, "0:0", payload=NULL)
    rows = [started, intent("0:0", "a"), intent("0:1", "b"), done, intent("0:2", "c")]
    history = History(list(enumerate(rows, 1)))

    def expected() -> list[bool]:
        return [history.expects(f"0:{n}", ev.ACTIVITY_SCHEDULED, "step", digest) for n, digest in enumerate("abcd")]

    assert expected() == [True, True, False, False]
    assert history.expects("0:7", ev.ACTIVITY_SCHEDULED, "step", "b")  # it has moved (C6)
    for n, digest in enumerate("ab"):
        history.find(f"0:{n}", ev.ACTIVITY_SCHEDULED, "step", digest, 0)
    next(history.replaying())
    assert expected() == [False, False, True, False]
