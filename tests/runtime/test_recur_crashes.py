"""kill -9 between every pair of rows that going on in a new run writes: each turn happens once, and is undone once if at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import ledger
import pytest
import worlds
from forking import Zygotes
from worlds import at_some

from romancy_nb.core.invariants import check_history

pytestmark = pytest.mark.crash


class World(worlds.World):
    zygotes = Zygotes(Path(__file__).with_name("recur_program.py"))


PROGRAMS: dict[str, tuple[object, str]] = {
    "carry": ([1, 2, 3], "completed"),
    "run": ([1, 2, 3], "completed"),
    "carry-fail": ("no further", "compensated"),
    "drop-fail": ("no further", "compensated"),
}


@pytest.fixture(scope="module", autouse=True)
def no_server_is_left() -> Iterator[None]:
    yield
    World.zygotes.close()


def lawful(world: World) -> None:
    """Each run's history is lawful, and no run was begun without its predecessor's end."""
    with world.journal() as found:
        if found is None:
            return
        journal, ids = found
        for instance in ids:
            heads = journal.runs(instance)
            for head in heads:
                check_history([(row.seq, row.event) for row in journal.load(head.run)])
            assert [head.status for head in heads[:-1]] == ["recurred"] * (len(heads) - 1)
            assert heads[-1].status != "recurred"


def undone(how: str) -> set[str]:
    turns = {"carry": (), "run": (1, 2), "carry-fail": (1, 2, 3), "drop-fail": (3,)}[how]
    return {f"unbook-{how}-{number}" for number in turns}


def crash_and_finish(world: World, crash: str) -> None:
    code, result = world.run(crash)
    lawful(world)
    if code != 0:
        code, result = world.run()
        lawful(world)
    assert (code, result) == (0, list(PROGRAMS[world.what])), crash
    keys: dict[str, list[str]] = {}
    for line in ledger.read(world.ledger):
        keys.setdefault(str(line["name"]), []).append(str(line["key"]))
    assert all(len(set(each)) == 1 for each in keys.values()), f"{crash}: a key has changed: {keys}"
    count = Counter({name: len(each) for name, each in keys.items()})
    assert max(count.values()) <= 2, f"{crash}: {count}"
    assert {name for name in count if name.startswith("unbook")} == undone(world.what), crash


@pytest.mark.parametrize("how", list(PROGRAMS))
def test_killed_at_any_commit_each_turn_happens_once(how: str, tmp_path: Path) -> None:
    straight = World(tmp_path / "straight", how)
    assert straight.run() == (0, list(PROGRAMS[how]))
    lawful(straight)
    assert straight.commits > 6
    crashes = [f"commit:{number}:{when}" for when in ("before", "after") for number in range(1, straight.commits + 1)]
    jobs = [(World(tmp_path / crash.replace(":", "-"), how), crash) for crash in crashes]
    at_some(jobs, crash_and_finish)
