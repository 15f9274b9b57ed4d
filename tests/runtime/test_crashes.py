"""kill -9 at every boundary: what was recorded is never executed again, what was in flight keeps its idempotency key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import ledger
import pytest
import worlds
from forking import Zygotes
from worlds import at_some

from romancy_nb.core import events as ev
from romancy_nb.core.invariants import check_history
from romancy_nb.journal.protocol import Row

pytestmark = pytest.mark.crash

PROGRAM = Path(__file__).with_name("crash_program.py")
ACTIVITIES = ("reserve-left", "price-left", "price-right", "reserve-right", "flaky", "charge")
KEYS = {"reserve-left", "price-left", "price-right", "reserve-right", "flaky", "charge"}


class World(worlds.World):
    zygotes = Zygotes(PROGRAM)


@pytest.fixture(scope="module", autouse=True)
def no_server_is_left() -> Iterator[None]:
    yield
    World.zygotes.close()


def outcomes(histories: dict[str, list[Row]]) -> set[tuple[str, str]]:
    """(instance, call) of every recorded success."""
    kinds = {ev.ACTIVITY_COMPLETED, ev.OUTCOME_RECORDED}
    return {(name, row.event.call) for name, rows in histories.items() for row in rows if row.event.kind in kinds}


def intents(histories: dict[str, list[Row]]) -> set[tuple[str, str]]:
    return {(n, r.event.call) for n, rows in histories.items() for r in rows if r.event.kind == ev.ACTIVITY_SCHEDULED}


def executed(world: World) -> dict[str, list[str]]:
    """Names in the ledger with the keys of their lines."""
    found: dict[str, list[str]] = {}
    for line in ledger.read(world.ledger):
        found.setdefault(str(line["name"]), []).append(str(line["key"]))
    return found


def crash_and_finish(world: World, crash: str, expected: object) -> None:
    code, result = world.run(crash)
    if code == 0:  # "within" may strike too late, or the numbering of commits differs a little
        assert result == expected
        return
    before, at_crash = world.histories(), executed(world)
    for rows in before.values():
        check_history([(row.seq, row.event) for row in rows])
    asked, known = intents(before), outcomes(before)
    assert len(at_crash) <= len(asked), f"{crash}: an effect without a durable intent: {at_crash} {asked}"
    recorded_names = {names_of(rows)[call] for name, rows in before.items() for (n, call) in known if n == name}
    assert recorded_names <= set(at_crash), f"{crash}: recorded without an effect"
    code, result = world.run()
    assert code == 0
    assert result == expected, crash
    after, finally_ = world.histories(), executed(world)
    for rows in after.values():
        check_history([(row.seq, row.event) for row in rows])
    assert known <= outcomes(after), f"{crash}: something acknowledged was lost"
    for name, keys in finally_.items():
        assert len(set(keys)) == 1, f"{crash}: {name} has changed its idempotency key: {keys}"
        if name in recorded_names:
            assert len(keys) == len(at_crash[name]), f"{crash}: {name} was recorded and is executed again"
        elif name != "flaky":
            assert len(keys) <= 2, f"{crash}: {name} is executed {len(keys)} times"
    code, result = world.run()
    assert (code, result) == (0, expected)
    assert executed(world) == finally_, f"{crash}: calling again executes something"


def names_of(rows: list[Row]) -> dict[str, str]:
    """The ledger's name of each call of a history."""
    found = {}
    for row in rows:
        event = row.event
        if event.kind == ev.ACTIVITY_SCHEDULED and event.payload is not None:
            item = json.loads(event.payload.text).get("item")
            found[event.call] = event.name if item is None else f"{event.name}-{item}"
    return found


def all_of(jobs: list[tuple[World, str]], expected: object) -> None:
    at_some(jobs, lambda world, crash: crash_and_finish(world, crash, expected))


@pytest.fixture(scope="module", params=["sync", "async"])
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, object]:
    world = World(tmp_path_factory.mktemp("straight") / "world", request.param)
    code, result = world.run()
    assert code == 0
    return world, result


def test_a_straight_run_executes_every_step_once(straight: tuple[World, object]) -> None:
    world, _ = straight
    assert {name: len(keys) for name, keys in executed(world).items()} == dict.fromkeys(KEYS, 1) | {"flaky": 3}
    assert len({key for keys in executed(world).values() for key in keys}) == len(KEYS)


def test_killed_at_any_commit_it_ends_the_same_and_repeats_nothing_recorded(
    straight: tuple[World, object], tmp_path: Path
) -> None:
    model, expected = straight
    jobs = [
        (World(tmp_path / f"{when}{number}", model.what), f"commit:{number}:{when}")
        for number in range(1, model.commits + 1)
        for when in ("before", "after", "within")
    ]
    all_of(jobs, expected)


def test_killed_in_any_activity_it_ends_the_same_with_the_same_key(
    straight: tuple[World, object], tmp_path: Path
) -> None:
    model, expected = straight
    jobs = [
        (World(tmp_path / f"{name}-{when}", model.what), f"activity:{name}:{when}")
        for name in ACTIVITIES
        for when in ("before", "after")
    ]
    all_of(jobs, expected)


def test_fifty_instances_killed_in_the_middle_all_end_and_repeat_nothing_recorded(tmp_path: Path) -> None:
    expected = [[f"reserved n{n}", len(f"m{n}"), f"reserved last{n}"] for n in range(50)]
    crashes = ["commit:5:after", "commit:12:within", "commit:30:before", "activity:price-m20:after"]
    jobs = [(World(tmp_path / crash.replace(":", "-"), "many"), crash) for crash in crashes]
    all_of(jobs, expected)
