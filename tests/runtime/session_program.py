"""The program that test_sessions kills: ten steps that each add a row to a table of the user's, through the session."""

from __future__ import annotations

import json
import os
from pathlib import Path

import romancy_nb as rn
from romancy_nb import testing


@rn.activity
def add(n: int) -> int:
    session = rn.context().session
    session.execute("create table if not exists added (n integer, step varchar)")
    session.execute("insert into added values (?, ?)", [n, rn.context().idempotency_key])
    return n


@rn.workflow
def adds(n: int) -> int:
    first = [add(i) for i in range(3)]
    more = rn.gather(*[add.bind(i) for i in range(3, 6)])
    return sum([*first, *more, add(6)])


def main(arguments: list[str]) -> None:
    kind, which, when = os.environ.get("CRASH", "::").split(":")
    counted = [0]
    counting = testing.on_commit(after=lambda number, batch: counted.__setitem__(0, number))
    counting.__enter__()
    if kind == "commit":
        testing.crash_at(int(which), when)  # type: ignore[arg-type]
    if kind == "session":
        testing.crash_at_session(int(which), when)  # type: ignore[arg-type]
    result = adds(1)
    rn.disconnect()
    Path(os.environ["COUNT"]).write_text(str(counted[0]))
    print(json.dumps(result))
