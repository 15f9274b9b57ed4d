"""kill -9 between every pair of rows that events, questions and channels write: nothing sent is lost or received twice."""

from __future__ import annotations

from collections import Counter
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


class World(worlds.World):
    zygotes = Zygotes(Path(__file__).with_name("events_program.py"))


EXPECTED = {
    "flows": [{"events": [10, 20], "late": True, "ok": True, "order": "order 0"} for _ in range(3)],
    "collector": {
        "results": [[0, 10, 20], [1, 10, 20], [2, 10, 20]],
        "jobs": [0, 1, 2],
        "done": [[0, "order 0"], [1, "order 0"], [2, "order 0"]],
    },
}


@pytest.fixture(scope="module", autouse=True)
def no_server_is_left() -> Iterator[None]:
    yield
    World.zygotes.close()


def check(world: World, crash: str) -> None:
    """What arrived is received once, what was published arrived once, and what was recorded is not executed again."""
    histories = world.histories()
    arrived: Counter[tuple[str, str, str]] = Counter()
    for instance, rows in histories.items():
        check_history([(row.seq, row.event) for row in rows])
        arrived.update(
            (instance, row.event.name, row.event.digest) for row in rows if row.event.kind == ev.EVENT_ARRIVED
        )
    doubled = [key for key, count in arrived.items() if count > 1]
    assert not doubled, f"{crash}: arrived more than once: {doubled}"
    completed = Counter(
        (name, row.event.call)
        for name, rows in histories.items()
        for row in rows
        if row.event.kind == "activity_completed"
    )
    assert all(count == 1 for count in completed.values()), crash
    assert _published(histories) <= _reached(histories), f"{crash}: a published message has not arrived"


def _published(histories: dict[str, list[Row]]) -> set[str]:
    """Ids of the messages that were published to those who had subscribed by then."""
    return {
        f"{row.run}/{row.event.call}"
        for rows in histories.values()
        for row in rows
        if row.event.kind == ev.MESSAGE_PUBLISHED and row.event.name == "results"
    }


def _reached(histories: dict[str, list[Row]]) -> set[str]:
    return {row.event.digest for row in histories.get("collector", []) if row.event.kind == ev.EVENT_ARRIVED}


def crash_and_finish(world: World, crash: str) -> None:
    code, result = world.run(crash)
    check(world, crash)
    if code != 0:
        before = Counter(str(line["name"]) for line in ledger.read(world.ledger))
        code, result = world.run()
        check(world, crash)
        for name, count in Counter(str(line["name"]) for line in ledger.read(world.ledger)).items():
            assert count <= max(before[name], 1) + 1, f"{crash}: {name} was executed {count} times"
    assert (code, result) == (0, EXPECTED), crash


def test_killed_at_any_commit_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path) -> None:
    straight = World(tmp_path / "straight")
    assert straight.run() == (0, EXPECTED)
    check(straight, "straight")
    assert straight.commits > 20
    crashes = [f"commit:{number}:{when}" for when in ("before", "after") for number in range(1, straight.commits + 1)]
    jobs = [(World(tmp_path / crash.replace(":", "-")), crash) for crash in crashes]
    at_some(jobs, crash_and_finish)
