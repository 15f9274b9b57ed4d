"""The program that test_recur_crashes kills: loops by rn.recur, with compensations carried, run and dropped.

``main([HOW])`` prints the result as JSON. Environment: as for crash_program, without crashes within activities.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import ledger

import romancy_nb as rn
from romancy_nb import testing

TURNS = 3


@rn.compensation(name="unbook")
def unbook(what: str) -> None:
    ledger.write(f"unbook-{what}")


@rn.activity(name="book", compensation=unbook, retry=rn.RetryPolicy(max_attempts=1))
def book(what: str) -> str:
    ledger.write(f"book-{what}")
    return what


@rn.activity(name="fail", retry=rn.RetryPolicy(max_attempts=1))
def fail() -> None:
    ledger.write("fail")
    raise ValueError("no further")


@rn.workflow(name="turning")
def turning(how: str, number: int, got: list[Any]) -> list[Any]:
    book(f"{how}-{number}")
    rn.sleep(0.002)
    got = [*got, number]
    if number < TURNS:
        rn.recur(how, number + 1, got, compensations=how.removesuffix("-fail"))  # type: ignore[arg-type]
    if how.endswith("-fail"):
        fail()
    return got


def main(arguments: list[str]) -> None:
    (how,) = arguments
    counted = [0]
    counting = testing.on_commit(after=lambda number, batch: counted.__setitem__(0, number))
    counting.__enter__()
    kind, which, when = os.environ.get("CRASH", "::").split(":")
    if kind == "commit":
        testing.crash_at(int(which), when)  # type: ignore[arg-type]
    known = rn.instances()
    try:  # another call of what was undone would begin it anew
        undone = bool(known) and known[0].status == "compensated"
        result: Any = known[0].result(60) if undone else turning.run(how, 1, [])
    except ValueError as error:
        result = str(error)
    status = rn.instances()[0].status
    rn.disconnect()
    Path(os.environ["COUNT"]).write_text(str(counted[0]))
    print(json.dumps([result, status]))
