"""kill -9 at every commit and around every effect of programs that undo themselves: the ledger is balanced in the end."""

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

PROGRAM = Path(__file__).with_name("undo_program.py")
ENDS = {"cancelled": "cancelled", "timed_out": "cancelled"}
PROGRAMS = [
    "sequence", "together", "together_async", "flaky", "gives_up", "block", "passed", "cancelled", "timed_out",
]  # fmt: skip
NEVER_UNDONE = {"pivot", "fails", "do-kept"}


class World(worlds.World):
    zygotes = Zygotes(PROGRAM)

    def history(self) -> list[Row]:
        return [row for rows in self.histories(never_back=True).values() for row in rows]


@pytest.fixture(scope="module", autouse=True)
def no_server_is_left() -> Iterator[None]:
    yield
    World.zygotes.close()


def names(world: World) -> list[str]:
    return [str(line["name"]) for line in ledger.read(world.ledger)]


def recorded_undos(rows: list[Row]) -> set[str]:
    """Ledger names of the undos that the engine has on record as completed."""
    inputs = {row.event.call: row.event.payload for row in rows if row.event.kind == ev.COMPENSATION_SCHEDULED}
    done = [row.event.call for row in rows if row.event.kind == ev.COMPENSATION_COMPLETED]
    texts = [json.loads(payload.text) for call in done if (payload := inputs[call]) is not None]
    return {f"un-{text.get('item', text.get('what'))}" for text in texts}


def check_balance(world: World, crash: str) -> None:
    lines = ledger.read(world.ledger)
    keys: dict[str, set[str]] = {}
    for line in lines:
        keys.setdefault(str(line["name"]), set()).add(str(line["key"]))
    for name, found in keys.items():
        wanted = 2 if name == "fails" and world.what == "block" else 1
        assert len(found) <= wanted, f"{crash}: {name} has changed its idempotency key"
    done = [str(line["name"]) for line in lines]
    worlds.check_undone(done, NEVER_UNDONE, crash)
    if "pivot" in keys:
        assert "un-kept" not in keys, f"{crash}: what stands before a point of no return was undone"


def check_order(rows: list[Row]) -> None:
    """Undone in the reverse order of the completions in history."""
    ends = {ev.ACTIVITY_COMPLETED, ev.OUTCOME_RECORDED, ev.LATE_OUTCOME, ev.COMPENSATION_ARMED}
    ended = {row.event.call: row.seq for row in rows if row.event.kind in ends}
    undone = [row.event.call for row in rows if row.event.kind == ev.COMPENSATION_SCHEDULED]
    order = [ended.get(place.removeprefix("undo:"), 1 << 30) for place in undone]  # what is in doubt comes first
    assert order == sorted(order, reverse=True), order


def crash_and_finish(world: World, crash: str) -> None:
    code, status = world.run(crash)
    if code != 0:
        rows, before = world.history(), names(world)
        check_history([(row.seq, row.event) for row in rows]) if rows else None
        known, going_back = recorded_undos(rows), any(row.event.kind == ev.RUN_COMPENSATING for row in rows)
        code, status = world.run()
        assert code == 0, crash
        after = names(world)
        for name in known:
            assert after.count(name) == before.count(name), f"{crash}: {name} was recorded and is executed again"
        if going_back:
            forward = [name for name in after[len(before) :] if not name.startswith("un-")]
            assert not forward, f"{crash}: after the undo had begun it went forward: {forward}"
    ends = {ENDS.get(world.what, "compensated")} | ({"cancelled"} if crash.startswith("cancel:") else set())
    assert status in ends, f"{crash}: {status}"
    rows = world.history()
    check_history([(row.seq, row.event) for row in rows])
    check_order(rows)
    check_balance(world, f"{world.what} {crash}")


@pytest.fixture(scope="module", params=PROGRAMS)
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("undo") / "world", request.param)
    crash_and_finish(world, "")
    return world


def test_killed_or_lied_to_at_any_commit_the_ledger_is_balanced_in_the_end(straight: World, tmp_path: Path) -> None:
    jobs = [
        (World(tmp_path / f"{when}{number}", straight.what), f"commit:{number}:{when}")
        for number in range(1, straight.commits + 1)
        for when in ("before", "after", "told")
    ]
    at_some(jobs, crash_and_finish)


@pytest.mark.parametrize("what", ["stop", "cancel"])
def test_stopped_or_cancelled_behind_any_commit_the_ledger_is_balanced_in_the_end(
    straight: World, tmp_path: Path, what: str
) -> None:
    if not worlds.taken(straight.what, what):
        return
    jobs = [
        (World(tmp_path / str(number), straight.what), f"{what}:{number}:") for number in range(1, straight.commits + 1)
    ]
    at_some(jobs, crash_and_finish)


def test_killed_around_any_effect_the_ledger_is_balanced_in_the_end(straight: World, tmp_path: Path) -> None:
    effects = sorted(set(names(straight)))
    jobs = [
        (World(tmp_path / f"{name}-{when}", straight.what), f"effect:{name}:{when}")
        for name in effects
        for when in ("before", "after")
    ]
    at_some(jobs, crash_and_finish)
