"""10,000 instances in a journal: time to list them, to bring a list up to date, to read a page, to search and to draw."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from side_by_side import folder

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

COUNT = 10_000


def milliseconds(work: Callable[[], Any], times: int = 5) -> float:
    """Return the median of *times*."""
    taken = []
    for _ in range(times):
        began = perf_counter()
        work()
        taken.append((perf_counter() - began) * 1000)
    return statistics.median(taken)


def main() -> None:
    from filled import fill

    where = folder()
    os.environ["ROMANCY_JOURNAL"] = str(where / "journal.duckdb")
    fill(where / "journal.duckdb", COUNT)
    import romancy_nb as rn
    from romancy_nb.notebook.live_instances import Tables
    from romancy_nb.runtime import launch
    from romancy_nb.runtime.listing import Listing

    engine = launch.current()

    def say(what: str, took: float, target: str = "") -> None:
        print(f"  {what:<58} {took:8.1f} ms{f'   (target {target})' if target else ''}")

    print(f"{COUNT:,} instances of three steps")
    say("read all of them", milliseconds(lambda: engine.ask(Listing().refresh)), "< 300 ms")
    known = Listing()
    engine.ask(known.refresh)
    say("see that nothing changed", milliseconds(lambda: engine.ask(known.refresh), 20))
    say("rn.instances()", milliseconds(rn.instances))
    found = rn.instances()
    say("draw the static form (50 rows)", milliseconds(found._repr_html_))
    tables = Tables()
    opened: list[Any] = []
    say("open the living table", milliseconds(lambda: Tables().open("instances:", opened.append)))
    tables.rows("instances:", {})
    say("a page of 60 rows", milliseconds(lambda: tables.rows("instances:", {"offset": 6000, "limit": 60}), 20))
    turn = iter(range(1000))
    say(
        "search ids, inputs and errors",
        milliseconds(lambda: tables.rows("instances:", {"filter": {"text": f"lamp {next(turn)}"}})),
    )
    rn.disconnect()
    shutil.rmtree(where)


if __name__ == "__main__":
    main()
