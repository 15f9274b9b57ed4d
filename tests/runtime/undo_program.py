"""The programs that test_undo_crashes kills: ``main([WHAT])`` brings the instance to its end and prints its status as JSON.

Environment: ROMANCY_JOURNAL, LEDGER; COUNT=file for the number of commits; CRASH: where it dies:

    "commit:3:after"                at the third commit: before, after or within it
    "commit:3:told"                 the commit succeeds and is reported as failed
    "record:activity_completed:2"   behind the commit of the second such event
    "effect:un-b:before"            around an effect
    "stop:3:", "cancel:3:"          behind the third commit Stop is pressed, or it is cancelled, and nothing dies
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
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
    return sum(line["name"] == name for line in ledger.read(Path(os.environ["LEDGER"])))


@rn.compensation(retry=SOON)
def undo(item: str, result: str | None) -> None:
    assert result in {f"did {item}", None}
    times = effect(f"un-{item}")
    if item == "flaky" and times < 3:
        raise ConnectionError("not yet")
    if item == "stubborn" and times < 5:
        raise ConnectionError("not for a while")


@rn.compensation
async def undo_later(item: str) -> None:
    await asyncio.sleep(0.001)
    effect(f"un-{item}")


@rn.activity(compensation=undo, compensate_if="started")
def do(item: str) -> str:
    effect(f"do-{item}")
    return f"did {item}"


@rn.activity(compensation=undo_later, compensate_if="started")
async def do_later(item: str) -> str:
    await asyncio.sleep(0.002)
    effect(f"do-{item}")
    return f"did {item}"


@rn.activity(pivot=True)
def no_return() -> None:
    effect("pivot")


@rn.activity(retry=1)
def fails() -> None:
    effect("fails")
    raise ValueError("no car left")


@rn.compensation
def undo_extra(what: str) -> None:
    effect(f"un-{what}")


@rn.workflow
def sequence(n: int) -> None:
    do("a")
    do_later.sync("b")
    do("c")
    fails()


@rn.workflow
def together(n: int) -> None:
    do("a")
    rn.gather(do.bind("b"), fails.bind(), do_later.bind("c"))


@rn.workflow
async def together_async(n: int) -> None:
    await do.aio("a")
    async with asyncio.TaskGroup() as group:
        group.create_task(do_later("b"))
        group.create_task(do.aio("c"))
        group.create_task(fails.aio())


@rn.workflow
def flaky(n: int) -> None:
    do("a")
    do("flaky")
    fails()


@rn.workflow
def gives_up(n: int) -> None:
    do("a")
    do("stubborn")
    do("c")
    fails()


@rn.workflow
def block(n: int) -> None:
    do("a")
    try:
        with rn.saga():
            do("b")
            do("c")
            fails()
    except ValueError:
        pass
    rn.compensate_with(undo_extra, "extra")
    ledger_says(do("d"))
    fails()


@rn.workflow
def passed(n: int) -> None:
    do("kept")
    no_return()
    do("b")
    fails()


@rn.workflow
def cancelled(n: int) -> None:
    do("a")
    do("b")
    try:
        rn.sleep(60)
    finally:
        do("tidy")


@rn.workflow(timeout=0.25)
async def timed_out(n: int) -> None:
    await do.aio("a")
    await do_later("b")
    await asyncio.sleep(60)


def ledger_says(value: str) -> None:
    assert value == "did d"


PROGRAMS: dict[str, Any] = {
    each.name: each
    for each in (sequence, together, together_async, flaky, gives_up, block, passed, cancelled, timed_out)
}


def soon(act: Any) -> None:
    """Do it, but not on the engine's thread."""
    threading.Thread(target=act, daemon=True).start()


def cancel(what: str, reason: str) -> None:
    with contextlib.suppress(RomancyError):  # it has ended, is being undone already, or the process ends
        rn.instances(workflow=what)[0].cancel(reason)


def cancel_when_it_sleeps() -> None:
    while not any(line["name"] == "do-b" for line in ledger.read(Path(os.environ["LEDGER"]))):
        time.sleep(0.002)
    cancel("cancelled", "enough")


def stopped_and_called_again(what: str) -> str:
    """As a person at a notebook: the cell runs, Stop is pressed once, the cell is run again until it has an end."""
    workflow, stopped = PROGRAMS[what], 0
    if what == "cancelled":
        soon(cancel_when_it_sleeps)
    while True:
        try:
            found = rn.instances(workflow=what)
            status = found[0].status if found else "none"  # once: it may change at any moment
            if status in ENDED:
                assert stopped <= 1
                return status
            if status == "compensation_failed":
                found[0].compensate(action="retry", note="tried again").result(30)
            elif status == "compensating":
                follow_undo(found[0], workflow)
            else:
                workflow.run(1)
        except (RunPaused, KeyboardInterrupt):
            stopped += 1
        except (RunProblem, CompensationFailed, ValueError, ExceptionGroup):
            pass


def follow_undo(handle: Any, workflow: Any) -> None:
    """A call would begin anew if the undo ended in this very moment."""
    try:
        handle.result(30)
    except RunPaused:  # nobody runs it
        workflow.run(1)


def bring_to_its_end(what: str) -> str:
    if crash()[0] == "stop":
        return stopped_and_called_again(what)
    workflow = PROGRAMS[what]
    found = rn.instances(workflow=what)
    handle = workflow.start(1) if not found or found[0].status in {"interrupted", "paused"} else found[0]
    if what == "cancelled" and handle.status in {"running", "waiting"}:
        looks = 0
        while not any(line["name"] == "do-b" for line in ledger.read(Path(os.environ["LEDGER"]))):
            time.sleep(0.002)
            looks += 1
            if looks % 100 == 0 and handle.status not in {"running", "waiting"}:
                break  # it was cancelled before it got that far
        with contextlib.suppress(RomancyError):
            handle.cancel("enough")
    while handle.status not in ENDED:
        try:
            handle.result(30)
        except CompensationFailed:
            handle.compensate(action="retry", note="tried again")
        except (RunProblem, ValueError, ExceptionGroup):
            if handle.status == "interrupted":
                handle.resume()
    return str(handle.status)


def main(arguments: list[str]) -> None:
    (what,) = arguments
    counted = [0]
    kinds: list[str] = []
    kind, which, when = crash()

    def after(number: int, batch: Batch) -> None:
        counted[0] = number
        if kind == "record":
            kinds.extend(row.event.kind for row in batch.rows)
            if kinds.count(which) >= int(when):
                testing.die()
        if kind not in {"commit", "stop", "cancel"} or number != int(which):
            return
        if when == "told":
            raise JournalError("the network went away after the commit")
        if kind == "stop":
            os.kill(os.getpid(), signal.SIGINT)
        if kind == "cancel":
            soon(lambda: cancel(what, "changed my mind"))

    counting = testing.on_commit(after=after)
    counting.__enter__()
    if kind == "commit" and when != "told":
        testing.crash_at(int(which), when)  # type: ignore[arg-type]
    status = bring_to_its_end(what)
    rn.disconnect()
    Path(os.environ["COUNT"]).write_text(str(counted[0]))
    print(json.dumps(status))
