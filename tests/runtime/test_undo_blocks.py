"""``rn.saga`` blocks: what is undone when a block is left, however it is left (U1, U2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb.core.invariants import check_history

ONCE = rn.RetryPolicy(max_attempts=1)
LOG: list[str] = []


@pytest.fixture(autouse=True)
def clean(journal: Path) -> None:
    LOG.clear()


@rn.compensation(retry=ONCE)
async def unlock_room(item: str) -> None:
    LOG.append(f"give back {item}")
    await asyncio.sleep(0.3)
    LOG.append(f"gave back {item}")


@rn.activity(compensation=unlock_room, retry=ONCE)
async def lock_room(item: str) -> None:
    LOG.append(f"take {item}")


@rn.activity(retry=ONCE, pivot=True)
async def sign() -> None:
    LOG.append("sign")


@rn.activity(retry=ONCE)
async def breaks(seconds: float = 0) -> None:
    await asyncio.sleep(seconds)
    raise LookupError("no car")


def ends(workflow: Any) -> Any:
    """Start it, wait, and see that its history is lawful and is replayed with nothing executed."""
    result = workflow.start(1).result(20)
    done = list(LOG)
    assert workflow.start(1).result(20) == result
    assert done == LOG, "replayed"
    for found in rn.instances():
        check_history([(row.seq, row.event) for row in found.rows()])
    return result


UNDONE = ["take a", "take b", "give back b", "gave back b", "give back a", "gave back a"]


def test_a_deadline_of_the_code_does_not_break_off_the_undo_of_a_block() -> None:
    @rn.workflow
    async def trip(n: int) -> str:
        try:
            async with asyncio.timeout(0.15):
                async with rn.saga():
                    await lock_room("a")
                    await lock_room("b")
                    raise ValueError("change of plans")
        except TimeoutError:
            return "too late"
        return ""

    assert ends(trip) == "too late", "the block owes the code its deadline when all is undone"
    assert LOG == UNDONE


def test_a_sibling_that_fails_does_not_break_off_the_undo_of_a_block() -> None:
    @rn.workflow
    async def trip(n: int) -> str:
        async def booking() -> None:
            async with rn.saga():
                await lock_room("a")
                await lock_room("b")
                raise ValueError("change of plans")

        async def other() -> None:
            await asyncio.sleep(0.15)
            raise KeyError("other")

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(booking())
                group.create_task(other())
        except* (ValueError, KeyError):
            pass
        return "went on"

    assert ends(trip) == "went on"
    assert UNDONE == LOG


def test_a_deadline_while_a_block_waits_for_what_is_in_flight_leaves_nothing_behind() -> None:
    @rn.activity(compensation=unlock_room, retry=ONCE)
    async def take_slowly(item: str) -> None:
        await asyncio.sleep(0.4)
        LOG.append(f"take {item}")

    @rn.workflow
    async def trip(n: int) -> str:
        try:
            async with asyncio.timeout(0.15):
                async with rn.saga():
                    await lock_room("a")
                    await asyncio.gather(take_slowly("b"), breaks())
        except TimeoutError:
            return "too late"
        return ""

    assert ends(trip) == "too late"
    assert UNDONE == LOG


def test_a_block_object_can_be_used_again_and_within_itself() -> None:
    @rn.workflow
    async def trip(n: int) -> None:
        block = rn.saga()
        async with block:
            await lock_room("kept")
        try:
            async with block:
                await lock_room("a")
                async with block:
                    await lock_room("b")
                raise ValueError("change of plans")
        except ValueError:
            pass

    ends(trip)
    assert ["take kept", *UNDONE] == LOG


def test_one_block_object_in_two_tasks_undoes_what_the_failing_one_did() -> None:
    @rn.workflow
    async def trip(n: int) -> None:
        block = rn.saga()

        async def book(item: str, fail: bool) -> None:
            async with block:
                await lock_room(item)
                await asyncio.sleep(0.01 if fail else 0.1)
                if fail:
                    raise ValueError("change of plans")

        await asyncio.gather(book("a", True), book("b", False), return_exceptions=True)

    ends(trip)
    assert sorted(LOG) == ["gave back a", "give back a", "take a", "take b"]


def test_a_point_of_no_return_in_a_block_keeps_what_completed_before_it() -> None:
    @rn.workflow
    async def trip(n: int) -> None:
        try:
            async with rn.saga():
                await lock_room("a")
                await sign()
                await lock_room("b")
                raise ValueError("change of plans")
        except ValueError:
            pass

    ends(trip)
    assert LOG == ["take a", "sign", "take b", "give back b", "gave back b"]


def test_a_block_in_a_generator_that_is_left_open_ends_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async def each() -> AsyncIterator[str]:
        async with rn.saga():
            for item in ("a", "b"):
                await lock_room(item)
                yield item

    @rn.workflow
    async def trip(n: int) -> None:
        async for _ in each():
            break

    ends(trip)
    assert LOG == ["take a"]
    assert not caplog.records
