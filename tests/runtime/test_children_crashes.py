"""kill -9 at every commit and around every effect of programs with nested children: the ledger is balanced in the end."""

from __future__ import annotations

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

PROGRAM = Path(__file__).with_name("children_program.py")
PROGRAMS = [
    "forward", "backward", "inner_fails", "together", "gives_up", "cancelled", "race", "detached", "left_open",
]  # fmt: skip
STANDS = {
    "forward": {"do-h1", "do-h2", "do-h3", "do-a1", "do-a2", "do-a3", "do-b", "do-c1", "do-c2"},
    "race": {"do-fast"},
    "detached": {"do-free1", "do-free2", "do-free3"},
    "left_open": {"do-first", "do-open1", "do-open2", "do-open3"},
}
ENDS = {"forward": "completed", "race": "completed", "left_open": "completed", "cancelled": "cancelled"}


class World(worlds.World):
    zygotes = Zygotes(PROGRAM)


@pytest.fixture(scope="module", autouse=True)
def no_server_is_left() -> Iterator[None]:
    yield
    World.zygotes.close()


def names(world: World) -> list[str]:
    return [str(line["name"]) for line in ledger.read(world.ledger)]


def recorded(histories: dict[str, list[Row]]) -> set[tuple[str, str]]:
    """(instance, call) of everything that is on record as done, or as undone."""
    kinds = {ev.ACTIVITY_COMPLETED, ev.OUTCOME_RECORDED, ev.COMPENSATION_COMPLETED, ev.CHILD_COMPLETED, ev.CHILD_FAILED}
    return {(name, row.event.call) for name, rows in histories.items() for row in rows if row.event.kind in kinds}


def check_family(histories: dict[str, list[Row]]) -> None:
    """Each child tells of the parent whose intent names it, and none is there twice."""
    begun = {
        (row.event.meta or {})["instance"]: (name, row.event.call)
        for name, rows in histories.items()
        for row in rows
        if row.event.kind == ev.CHILD_STARTED
    }
    for name, rows in histories.items():
        above = (rows[0].event.meta or {}).get("parent")
        assert (above is None) == (name not in begun), f"{name} has no intent, or does not tell of its parent"
        if above is not None:
            assert (above["instance"], above["place"]) == begun[name]


def check_balance(world: World, crash: str) -> None:
    lines = ledger.read(world.ledger)
    keys: dict[str, set[str]] = {}
    for line in lines:
        keys.setdefault(str(line["name"]), set()).add(str(line["key"]))
    for name, found in keys.items():
        assert len(found) == 1 or name == "fails", f"{crash}: {name} has changed its idempotency key"
    done = [str(line["name"]) for line in lines]
    stands = STANDS.get(world.what, set())
    for name in stands:
        assert name in keys, f"{crash}: {name} is missing: {done}"
        assert "un-" + name.removeprefix("do-") not in keys, f"{crash}: {name} was undone: {done}"
    worlds.check_undone(done, stands, crash)


def crash_and_finish(world: World, crash: str) -> None:
    code, statuses = world.run(crash)
    if code != 0:
        before = world.histories(never_back=True)
        for rows in before.values():
            check_history([(row.seq, row.event) for row in rows])
        known, was = recorded(before), names(world)
        code, statuses = world.run()
        assert code == 0, crash
        after = names(world)
        assert known <= recorded(world.histories(never_back=True)), f"{crash}: something acknowledged was lost"
        for name in {name for name in was if name not in {"fails", "un-stubborn"}}:
            assert after.count(name) <= was.count(name) + 1, f"{crash}: {name} is executed again and again"
    assert statuses is not None
    assert dict(statuses)[world.what] == ENDS.get(world.what, "compensated"), f"{crash}: {statuses}"
    histories = world.histories(never_back=True)
    for rows in histories.values():
        check_history([(row.seq, row.event) for row in rows])
    check_family(histories)
    check_balance(world, f"{world.what} {crash}")


@pytest.fixture(scope="module", params=PROGRAMS)
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("children") / "world", request.param)
    crash_and_finish(world, "")
    return world


@pytest.mark.parametrize("when", ["before", "after", "within", "told"])
def test_killed_or_lied_to_at_any_commit_the_ledger_is_balanced_in_the_end(
    straight: World, tmp_path: Path, when: str
) -> None:
    if when == "within" and straight.what not in {"forward", "together"}:
        return  # a moment by chance, for those two programs
    if when != "within" and not worlds.taken(straight.what, when):
        return
    all_of(straight, tmp_path, [f"commit:{number}:{when}" for number in range(1, straight.commits + 1)])


def test_stopped_behind_any_commit_the_ledger_is_balanced_in_the_end(straight: World, tmp_path: Path) -> None:
    if straight.what != "cancelled":  # nobody would cancel it
        all_of(straight, tmp_path, [f"stop:{number}:" for number in range(1, straight.commits + 1)])


def test_killed_around_any_effect_the_ledger_is_balanced_in_the_end(straight: World, tmp_path: Path) -> None:
    effects = sorted(set(names(straight)))
    all_of(straight, tmp_path, [f"effect:{name}:{when}" for name in effects for when in ("before", "after")])


def all_of(straight: World, folder: Path, crashes: list[str]) -> None:
    jobs = [(World(folder / crash.replace(":", "-"), straight.what), crash) for crash in crashes]
    at_some(jobs, crash_and_finish)
