"""The program that test_crashes kills: ``main([WHAT])`` prints the result as JSON.

Environment: ROMANCY_JOURNAL, LEDGER; CRASH="commit:3:after" or "activity:charge:effect"; COUNT=file for the number of commits.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import ledger

import romancy_nb as rn
from romancy_nb import testing


def crash() -> list[str]:
    """Not a global of plain data: that would count as part of the activities' code (R6)."""
    return os.environ.get("CRASH", "::").split(":")


def effect(name: str) -> None:
    """Write to the ledger; die before or behind it if that is what was asked for."""
    if crash() == ["activity", name, "before"]:
        testing.die()
    ledger.write(name)
    if crash() == ["activity", name, "after"]:
        testing.die()


@rn.activity
def reserve(item: str) -> str:
    effect("reserve-" + item)
    return "reserved " + item


@rn.activity
async def price(item: str) -> int:
    effect("price-" + item)
    await asyncio.sleep(0.002)
    return len(item)


@rn.activity(retry=rn.RetryPolicy(max_attempts=4, initial=0.02, jitter=0))
def flaky(amount: int) -> int:
    effect("flaky")
    lines = [line for line in ledger.read(Path(os.environ["LEDGER"])) if line["name"] == "flaky"]
    if len(lines) < 3:
        raise ConnectionError("not yet")
    return amount * 2


@rn.activity
def charge(amount: int) -> str:
    effect("charge")
    return f"charged {amount}"


@rn.workflow
def order(first: str, second: str) -> dict[str, object]:
    a = reserve(first)
    prices = rn.gather(price.bind(first), price.bind(second), reserve.bind(second))
    chance = (str(rn.uuid4()), rn.random(), rn.side_effect(lambda: 7))
    rn.sleep(0.02)
    doubled = flaky(prices[0] + prices[1])
    return {"a": a, "prices": list(prices), "charge": charge(doubled), "chance_is_stable": chance == tuple(chance)}


@rn.workflow
async def order_async(first: str, second: str) -> dict[str, object]:
    a = await reserve.aio(first)
    one, two, three = await asyncio.gather(price(first), price(second), reserve.aio(second))
    await asyncio.sleep(0.02)
    doubled = await flaky.aio(one + two)
    return {"a": a, "prices": [one, two, three], "charge": await charge.aio(doubled)}


@rn.workflow
def small(number: int) -> list[object]:
    return [reserve(f"n{number}"), price.sync(f"m{number}"), reserve(f"last{number}")]


def main(arguments: list[str]) -> None:
    (what,) = arguments
    counted = [0]
    counting = testing.on_commit(after=lambda number, batch: counted.__setitem__(0, number))
    counting.__enter__()
    kind, which, when = crash()
    if kind == "commit":
        testing.crash_at(int(which), when)  # type: ignore[arg-type]
    if what == "many":
        handles = [small.start(n) for n in range(50)]
        result: object = [handle.result(60) for handle in handles]
    elif what == "async":
        result = order_async.run("left", "right")
    else:
        result = order("left", "right")
    rn.disconnect()
    Path(os.environ["COUNT"]).write_text(str(counted[0]))
    print(json.dumps(result))
