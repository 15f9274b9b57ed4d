"""A hundred programs made by chance: run straight, killed at random commits, or put down all the time: the same result."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forking import Zygote
from random_program import Writer

from romancy_nb.core.invariants import check_history
from romancy_nb.journal.on_duckdb import DuckDBJournal

PROGRAM = Path(__file__).with_name("random_program.py")
FIRST = int(os.environ.get("ROMANCY_SEED", "0"))
SEEDS = [str(seed) for seed in range(FIRST, FIRST + 30)]
KILLED = SEEDS[:12]


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote(PROGRAM) as found:
        yield found


def run(zygote: Zygote, folder: Path, way: str, seeds: list[str]) -> tuple[int, dict[str, Any]]:
    folder.mkdir(exist_ok=True, parents=True)
    environment = {"ROMANCY_JOURNAL": str(folder / "journal.duckdb")}
    code, output = zygote.run([way, *seeds], environment, folder / "output")
    if code not in (0, -signal.SIGKILL):
        raise AssertionError(f"{way} {seeds}: exit {code}\n{output[-4000:]}")
    return code, json.loads(output.splitlines()[-1]) if code == 0 else {}


def check_journal(path: Path, count: int) -> None:
    """Every history is a lawful one, and nothing was begun anew."""
    journal = DuckDBJournal(path)
    journal.acquire(10)
    try:
        ids = [row[0] for row in journal.query("select instance_id from instances").rows]
        assert len(ids) == count
        for name in ids:
            (head,) = journal.runs(name)
            assert head.status == "completed"
            check_history([(row.seq, row.event) for row in journal.load(head.run)])
    finally:
        journal.release()


@pytest.fixture(scope="module")
def straight(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    code, found = run(zygote, tmp_path_factory.mktemp("straight"), "straight", SEEDS)
    assert code == 0
    return found


def explain(seed: str) -> str:
    return Writer(int(seed)).source()


def test_every_program_sees_the_same_world_twice(straight: dict[str, Any]) -> None:
    for seed, found in straight.items():
        assert [False, False] not in found and [True, False] not in found and [False, True] not in found, explain(seed)


def test_put_down_all_the_time_every_program_has_the_same_result(
    zygote: Zygote, straight: dict[str, Any], tmp_path: Path
) -> None:
    code, found = run(zygote, tmp_path, "down", SEEDS)
    assert code == 0
    for seed in SEEDS:
        assert found[seed] == straight[seed], explain(seed)
    check_journal(tmp_path / "journal.duckdb", len(SEEDS))


@pytest.mark.crash
def test_killed_at_random_commits_every_program_has_the_same_result(
    zygote: Zygote, straight: dict[str, Any], tmp_path: Path
) -> None:
    chance = random.Random(FIRST)
    kills = 0
    for seed in KILLED:
        folder = tmp_path / seed
        for _ in range(3):
            code, found = run(zygote, folder, f"kill:{chance.randint(1, 8)}", [seed])
            if code == 0:
                break
            kills += 1
        else:
            code, found = run(zygote, folder, "straight", [seed])
        assert found[seed] == straight[seed], explain(seed)
        check_journal(folder / "journal.duckdb", 1)
    assert kills > len(KILLED)


@pytest.mark.crash
def test_all_programs_at_once_killed_again_and_again_have_the_same_results(
    zygote: Zygote, straight: dict[str, Any], tmp_path: Path
) -> None:
    chance = random.Random(FIRST + 1)
    code, found, kills = 1, {}, 0
    while code != 0:
        code, found = run(zygote, tmp_path, f"kill:{chance.randint(2, 40) + 4 * kills}", SEEDS)
        kills += code != 0
        assert kills < 50
    assert kills > 1
    for seed in SEEDS:
        assert found[seed] == straight[seed], explain(seed)
    check_journal(tmp_path / "journal.duckdb", len(SEEDS))
