"""kill -9 where other engines lose or repeat work: each place by its name. The whole matrix stands in test_undo_crashes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_undo_crashes import World, crash_and_finish, no_server_is_left  # noqa: F401

pytestmark = pytest.mark.crash


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "world", "sequence")
    yield world
    assert len(world.history()) > 0


def test_kill_9_before_run(killed: World) -> None:
    crash_and_finish(killed, "commit:1:before")


def test_kill_9_after_effect(killed: World) -> None:
    crash_and_finish(killed, "effect:do-b:after")


def test_kill_9_after_record(killed: World) -> None:
    crash_and_finish(killed, "record:activity_completed:2")


def test_kill_9_between_record_and_compensation(killed: World) -> None:
    crash_and_finish(killed, "record:run_compensating:1")


def test_kill_9_mid_compensation(killed: World) -> None:
    crash_and_finish(killed, "effect:un-b:after")


def test_kill_9_after_last_compensation(killed: World) -> None:
    crash_and_finish(killed, "record:compensation_completed:3")


@pytest.mark.parametrize("event", ["cancel_requested", "cancel_delivered"])
def test_kill_9_during_cancel(killed: World, event: str) -> None:
    killed.what = "cancelled"
    crash_and_finish(killed, f"record:{event}:1")
