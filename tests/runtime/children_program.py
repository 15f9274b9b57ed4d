"""The programs that test_children_crashes kills: ``main([WHAT])`` brings the instance and its children to their end.

It prints the statuses of all instances, by the names of their workflows, as JSON.

Environment: ROMANCY_JOURNAL, LEDGER; COUNT=file for the number of commits; CRASH: where it dies:

    "commit:3:after"          at the third commit: before, after or within it
    "commit:3:told"           the commit succeeds and is reported as failed
    "effect:un-b:before"      around an effect
    "stop:3:"                 behind the third commit Stop is pressed, and nothing dies
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import ledger

import romancy_nb as rn
from romancy_nb import testing
from romancy_nb.errors import CompensationFailed, JournalError, RomancyError, RunPaused, RunProblem
from romancy_nb.journal.protocol import Batch

ENDED = {"compensated", "cancelled", "failed", "completed"}
SOON = rn.RetryPolicy(max_attempts=3, initial=0.01, jitter=0)


def crash() -> list[str]:
    return os.environ.get("CRASH", "::").split(":")


def effect(name: str) -> int:
    """Write to the ledger, die around it if asked to; return how often it stands there."""
    if crash() == ["effect", name, "before"]:
        testing.die()
    ledger.write(name)
    if crash() == ["effect", name, "after"]:
        testing.die()
    return seen(name)


def seen(name: str) -> int:
    return sum(line["name"] == name for line in ledger.read(Path(os.environ["LEDGER"])))


@rn.compensation(retry=SOON)
def undo(item: str) -> None:
    times = effect(f"un-{item}")
    if item == "stubborn" and times < 5:
        raise ConnectionError("not for a while")


@rn.activity(compensation=undo, compensate_if="started")
def do(item: str) -> str:
    effect(f"do-{item}")
    return f"did {item}"


@rn.activity
def plain(item: str) -> str:
    effect(f"plain-{item}")
    return f"plain {item}"


@rn.activity(retry=1)
def fails() -> None:
    effect("fails")
    raise ValueError("no car left")


@rn.workflow
def leaf(item: str) -> str:
    return do(item)


@rn.workflow
def tree(item: str) -> list[str]:
    return [do(f"{item}1"), leaf(f"{item}2"), do(f"{item}3")]


@rn.workflow
async def atree(item: str) -> list[str]:
    one, two = await asyncio.gather(leaf.aio(f"{item}1"), do.aio(f"{item}2"))
    return [one, two]


@rn.workflow
def harmless(item: str) -> str:
    return plain(item)


@rn.workflow
def sad(item: str) -> None:
    do(item)
    leaf(f"{item}-leaf")
    fails()


@rn.workflow
def sleeper(item: str) -> None:
    do(item)
    leaf(f"{item}-leaf")
    rn.sleep(60)


@rn.workflow
def forward(n: int) -> list[Any]:
    handle = tree.start("h")
    first = tree("a")
    return [first, *rn.gather(leaf.bind("b"), atree.bind("c")), harmless("d"), handle.result()]


@rn.workflow
def backward(n: int) -> None:
    do("first")
    tree("a")
    harmless("p")
    rn.gather(leaf.bind("b"), atree.bind("c"))
    do("last")
    fails()


@rn.workflow
def inner_fails(n: int) -> None:
    do("first")
    leaf("a")
    sad("s")


@rn.workflow
def together(n: int) -> None:
    do("first")
    rn.gather(tree.bind("a"), sad.bind("s"), leaf.bind("b"))


@rn.workflow
def gives_up(n: int) -> None:
    do("first")
    leaf("a")
    leaf("stubborn")
    leaf("c")
    fails()


@rn.workflow
def cancelled(n: int) -> None:
    leaf("a")
    sleeper("b")


@rn.workflow
async def race(n: int) -> str:
    slow = asyncio.create_task(sleeper.aio("slow"))
    while not await counted.aio():
        await asyncio.sleep(0.01)
    fast = asyncio.create_task(leaf.aio("fast"))
    done, left = await asyncio.wait({slow, fast}, return_when=asyncio.FIRST_COMPLETED)
    assert done == {fast}
    for each in left:
        each.cancel()
    return await fast


@rn.activity
def counted() -> int:
    return seen("do-slow-leaf")


@rn.workflow
def detached(n: int) -> None:
    do("first")
    tree.start("free", detach=True)
    leaf("a")
    fails()


@rn.workflow
def left_open(n: int) -> str:
    tree.start("open")
    return do("first")


PROGRAMS: dict[str, Any] = {
    each.name: each
    for each in (
        forward, backward, inner_fails, together, gives_up, cancelled, race, detached, left_open,
    )
}  # fmt: skip


def bring_to_its_end(what: str) -> None:
    workflow = PROGRAMS[what]
    found = rn.instances(workflow=what)
    handle = workflow.start(1) if not found or found[0].status in {"interrupted", "paused"} else found[0]
    if what == "cancelled" and handle.status in {"running", "waiting"}:
        looks = 0
        while not seen("do-b-leaf"):
            time.sleep(0.002)
            looks += 1
            if looks % 100 == 0 and handle.status not in {"running", "waiting"}:
                break
        with contextlib.suppress(RomancyError):
            handle.cancel("enough")
    until_it_has_ended(handle)
    for each in rn.instances():  # detached ones, too
        until_it_has_ended(each)


def until_it_has_ended(handle: Any) -> None:
    while (status := handle.status) not in ENDED:
        try:
            if status in {"interrupted", "paused"}:
                handle.resume()
            handle.result(30)
        except CompensationFailed:
            handle.compensate(action="retry", note="tried again")
        except (RunProblem, ValueError, ExceptionGroup):
            pass


def stopped_and_called_again(what: str) -> None:
    """As a person at a notebook: the cell runs, Stop is pressed once, the cell is run again until it has an end."""
    workflow = PROGRAMS[what]
    while True:
        found = rn.instances(workflow=what)
        status = found[0].status if found else "none"
        if status in ENDED:
            break
        try:
            if status == "compensation_failed":
                found[0].compensate(action="retry", note="tried again").result(30)
            else:
                workflow.run(1)
        except (RunPaused, KeyboardInterrupt, RunProblem, CompensationFailed, ValueError, ExceptionGroup):
            pass
    for each in rn.instances():
        until_it_has_ended(each)


def main(arguments: list[str]) -> None:
    (what,) = arguments
    counting = [0]
    kind, which, when = crash()

    def after(number: int, batch: Batch) -> None:
        counting[0] = number
        if kind not in {"commit", "stop"} or number != int(which):
            return
        if when == "told":
            raise JournalError("the network went away after the commit")
        if kind == "stop":
            os.kill(os.getpid(), signal.SIGINT)

    watching = testing.on_commit(after=after)
    watching.__enter__()
    if kind == "commit" and when != "told":
        testing.crash_at(int(which), when)  # type: ignore[arg-type]
    (stopped_and_called_again if kind == "stop" else bring_to_its_end)(what)
    statuses = sorted([each.workflow_name, each.status] for each in rn.instances())
    rn.disconnect()
    Path(os.environ["COUNT"]).write_text(str(counting[0]))
    print(json.dumps(statuses))
