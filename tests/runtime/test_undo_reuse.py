"""Undo of what earlier runs did: gone for every later run (R9, A4)."""

from __future__ import annotations

from pathlib import Path

import pytest

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.errors import RunCancelled

LOG: list[str] = []
KEYS: list[str] = []


@pytest.fixture(autouse=True)
def clean(journal: Path) -> None:
    LOG.clear()
    KEYS.clear()


@rn.compensation
def hand_back(item: str) -> None:
    LOG.append(f"hand back {item}")


@rn.activity(compensation=hand_back)
def get(item: str) -> None:
    LOG.append(f"get {item}")
    KEYS.append(rn.context().idempotency_key)


@rn.activity(retry=rn.RetryPolicy(max_attempts=1))
def breaks() -> None:
    raise LookupError("no")


def test_what_a_run_reused_and_undid_is_executed_again_by_the_next_under_another_key() -> None:
    @rn.workflow(name="reuses")
    def first(n: int) -> None:
        get("a")

    first(1)

    @rn.workflow(name="reuses")
    def second(n: int) -> None:
        get("a")
        breaks()

    with pytest.raises(LookupError):
        second(1)
    assert LOG == ["get a", "hand back a"]

    @rn.workflow(name="reuses")
    def third(n: int) -> str:
        get("a")
        return "home"

    assert third(1) == "home"
    assert LOG == ["get a", "hand back a", "get a"]
    handle = rn.instances()[0]
    handle.compensate()
    with pytest.raises(RunCancelled):
        handle.result(10)
    assert third(1) == "home"
    assert LOG[3:] == ["hand back a", "get a"] and len(set(KEYS)) == 3
    check_history([(row.seq, row.event) for row in handle.rows()])
