"""The program that test_event_crashes kills: ``main([])`` prints the results as JSON.

Three instances wait for events, a person and a channel, and tell a fourth; the sender repeats itself after each crash, with
the same event ids. Environment: as for crash_program, without crashes within activities.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import ledger

import romancy_nb as rn
from romancy_nb import testing
from romancy_nb.errors import AlreadyAnswered, InstanceEnded

FLOWS = 3


@rn.activity(name="note")
def note(what: str) -> str:
    ledger.write(what)
    return what


@rn.workflow(name="waiting_flow")
def waiting_flow(number: int) -> dict[str, Any]:
    rn.subscribe("orders")
    first = rn.wait_event("a", type=int)
    note(f"a-{number}-{first}")
    second = rn.wait_event("a", type=int)
    try:
        rn.wait_event("never", timeout=0.01)
        late = False
    except TimeoutError:
        late = True
    ok = rn.ask("Go on?", type=bool)
    note(f"ok-{number}-{ok}")
    rn.publish("results", [number, first, second])
    order = rn.receive("orders", type=str)
    rn.send("collector", "done", [number, order])
    return {"events": [first, second], "late": late, "ok": ok, "order": order}


@rn.workflow(name="collector")
async def collector() -> dict[str, Any]:
    rn.subscribe("results")
    rn.subscribe("jobs", mode="competing")
    results = [await rn.receive("results") for _ in range(FLOWS)]
    for number in range(FLOWS):
        rn.publish("orders", f"order {number}")
        rn.publish("jobs", number)
    jobs = [await rn.receive("jobs") for _ in range(FLOWS)]
    done = [await rn.wait_event("done") for _ in range(FLOWS)]
    await note.aio("collected")
    return {"results": sorted(results), "jobs": jobs, "done": sorted(done)}


def main(arguments: list[str]) -> None:
    counted = [0]
    counting = testing.on_commit(after=lambda number, batch: counted.__setitem__(0, number))
    counting.__enter__()
    kind, which, when = os.environ.get("CRASH", "::").split(":")
    if kind == "commit":
        testing.crash_at(int(which), when)  # type: ignore[arg-type]
    collecting = collector.start(instance_id="collector")
    while not any(row.event.kind == "subscribed" and row.event.name == "jobs" for row in collecting.rows()):
        time.sleep(0.01)
    flows = [waiting_flow.start(number, instance_id=f"flow-{number}") for number in range(FLOWS)]
    for handle in flows:
        while not any(row.event.kind == "subscribed" for row in handle.rows()):
            time.sleep(0.01)
        for number in (1, 2):
            with suppress(InstanceEnded):
                handle.send("a", number * 10, event_id=f"{handle.id}-{number}")
    for handle in flows:
        while not answered(handle):
            time.sleep(0.01)
    result = {"flows": [handle.result(60) for handle in flows], "collector": collecting.result(60)}
    rn.disconnect()
    Path(os.environ["COUNT"]).write_text(str(counted[0]))
    print(json.dumps(result))


def answered(handle: Any) -> bool:
    """Answer the question of *handle* once it has been asked; True when it has an answer."""
    if handle.status not in {"running", "waiting"}:
        return True
    if handle.questions():
        with suppress(AlreadyAnswered, InstanceEnded):
            handle.answer(True)
        return True
    return any(row.event.name == "go-on" and row.event.kind == "event_arrived" for row in handle.rows())
