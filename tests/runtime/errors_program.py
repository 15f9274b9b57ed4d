"""A program whose workflow collects errors of all shapes and is killed behind them; run again, it sees them from the journal."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import error_shapes

import romancy_nb as rn

ONCE = rn.RetryPolicy(max_attempts=1)


@rn.activity(retry=ONCE)
def fails(told: Any) -> None:
    error_shapes.raise_it(told)


@rn.activity(retry=ONCE)
async def afails(told: Any) -> None:
    error_shapes.raise_it(told)


@rn.activity
def dies() -> int:
    if os.environ.get("ERRORS_KILL"):
        os.kill(os.getpid(), 9)
    return 1


def recipes(seed: int, count: int) -> list[Any]:
    chance = random.Random(seed)
    return [error_shapes.recipe(chance.randrange) for _ in range(count)]


@rn.workflow
def collect(seed: int, count: int) -> int:
    seen: list[Any] = []
    for number, told in enumerate(recipes(seed, count)):
        try:
            if number % 3 == 0:
                fails(told)
            elif number % 3 == 1:
                afails.sync(told)
            else:
                rn.side_effect(lambda told=told: error_shapes.raise_it(error_shapes_of_exceptions(told)))
        except BaseException as error:
            seen.append(error_shapes.portrait(error))
    with Path(os.environ["ERRORS_SEEN"]).open("a") as file:
        file.write(json.dumps(seen) + "\n")
    return len(seen) + dies()


def error_shapes_of_exceptions(told: Any) -> Any:
    """A side effect's ``SystemExit`` and the like leave it as they are; so only errors are taken here."""
    return told if isinstance(error_shapes.make(told), Exception) else {"maker": 0, "value": "instead"}


def main(arguments: list[str]) -> None:
    sys.modules.setdefault("errors_program", sys.modules[__name__])
    print(collect.run(int(arguments[0]), int(arguments[1]), instance_id="errors"))
    rn.disconnect()
