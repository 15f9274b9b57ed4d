"""The program that test_forking kills: "make" runs the original, "fork" forks it, "end" brings the fork to its end.

Environment: ROMANCY_JOURNAL, LEDGER; CRASH: "commit:N:before" or "commit:N:after", counted from the call of fork().
"""

from __future__ import annotations

import json
import os

import ledger

import romancy_nb as rn
from romancy_nb import testing
from romancy_nb.journal.protocol import Batch


def effect(name: str) -> None:
    ledger.write(name)


@rn.activity
def frk_order(what: str) -> str:
    effect(f"order {what}")
    return f"{what} ordered"


@rn.activity
def frk_pay(what: str) -> str:
    effect(f"pay {what}")
    return f"{what} paid"


@rn.workflow
def frk_purchase(what: str) -> str:
    return frk_pay(frk_order(what))


def main(arguments: list[str]) -> None:
    if arguments == ["make"]:
        value = frk_purchase.run("desk", instance_id="original")
    elif arguments == ["fork"]:
        _, number, where = os.environ["CRASH"].split(":")
        left = int(number)

        def strike(_: int, batch: Batch) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                testing.die()

        with testing.on_commit(**{where: strike}):
            value = rn.instance("original").fork(edits={"frk_order": "chair ordered"}, instance_id="fork").result(30)
    else:
        known = [each.id for each in rn.instances()]
        handle = rn.instance("fork") if "fork" in known else rn.instance("original").fork("frk_pay", instance_id="fork")
        value = handle.result(30) if handle.status not in {"interrupted"} else handle.resume().result(30)
    rn.disconnect()
    print(json.dumps(value))
