"""kill -9 at every commit and around every effect of programs that undo themselves: the ledger is balanced in the end."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import ledger
import pytest
from forking import Zygotes

from romancy_nb.core import events as ev
from romancy_nb.core.invariants import check_history
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.journal.protocol import Row

pytestmark = pytest.mark.crash

PROGRAM = Path(__file__).with_name("undo_program.py")
ENDS = {"cancelled": "cancelled", "timed_out": "cancelled"}
PROGRAMS = [
    "sequence", "together", "together_async", "flaky", "gives_up", "block", "passed", "cancelled", "timed_out",
]  # fmt: skip
NEVER_UNDONE = {"pivot", "fails", "do-kept"}

zygotes = Zygotes(PROGRAM)


@pytest.fixture(scope="module", autouse=True)
def no_server_is_left() -> Iterator[None]:
    yield
    zygotes.close()


@dataclass
class World:
    """One journal and one ledger, and processes that run a program against them."""

    folder: Path
    what: str

    def run(self, crash: str = "") -> tuple[int, object]:
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {
            "ROMANCY_JOURNAL": str(self.folder / "journal.duckdb"),
            "LEDGER": str(self.ledger),
            "COUNT": str(self.folder / "commits"),
            "CRASH": crash or "::",
        }
        code, output = zygotes.run([self.what], environment, self.folder / "output")
        if code not in (0, -signal.SIGKILL):
            raise AssertionError(f"{self.what} {crash or 'straight'}: exit {code}\n{output[-3000:]}")
        return code, json.loads(output.splitlines()[-1]) if code == 0 else None

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    @property
    def commits(self) -> int:
        return int((self.folder / "commits").read_text())

    def history(self) -> list[Row]:
        path = self.folder / "journal.duckdb"
        if not path.exists():
            return []
        journal = DuckDBJournal(path)
        journal.acquire(10)
        try:
            ids = [row[0] for row in journal.query("select instance_id from instances").rows]
            heads = journal.heads(ids).values()
            assert all(head.number == 1 for head in heads), "an instance that was undone went forward again"
            return [row for head in heads for row in journal.load(head.run)]
        finally:
            journal.release()


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
    for name in keys:
        if name.startswith("do-") and name not in NEVER_UNDONE:
            undo = "un-" + name.removeprefix("do-")
            assert undo in keys, f"{crash}: {name} was never undone: {done}"
            assert done.index(undo) > max(at for at, each in enumerate(done) if each == name), (
                f"{crash}: {name} happened after its undo: {done}"
            )
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
    print(f"{straight.what}: {len(jobs)} cases")
    all_of(jobs)


@pytest.mark.parametrize("what", ["stop", "cancel"])
def test_stopped_or_cancelled_behind_any_commit_the_ledger_is_balanced_in_the_end(
    straight: World, tmp_path: Path, what: str
) -> None:
    jobs = [
        (World(tmp_path / str(number), straight.what), f"{what}:{number}:") for number in range(1, straight.commits + 1)
    ]
    print(f"{straight.what}: {len(jobs)} cases")
    all_of(jobs)


def test_killed_around_any_effect_the_ledger_is_balanced_in_the_end(straight: World, tmp_path: Path) -> None:
    effects = sorted(set(names(straight)))
    jobs = [
        (World(tmp_path / f"{name}-{when}", straight.what), f"effect:{name}:{when}")
        for name in effects
        for when in ("before", "after")
    ]
    print(f"{straight.what}: {len(jobs)} cases")
    all_of(jobs)


def all_of(jobs: list[tuple[World, str]]) -> None:
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(crash_and_finish, world, crash) for world, crash in jobs]:
            future.result()
