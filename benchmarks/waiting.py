"""What waiting costs: how late a timer is after quiet, taking and letting go of the file, memory and time of waiting runs.

``python benchmarks/waiting.py`` does all of it; name parts to do only those: lateness, file, crowd, instances, timers.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from side_by_side import folder

INSTANCES = 10_000
TIMERS = 100_000
NAPS = 60
NAP = 0.45
"""Longer than the engine keeps the file without work."""


def memory() -> int:
    """Bytes of this process in memory now."""
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the most it ever was


def spread(what: str, found: Sequence[float]) -> None:
    ordered = sorted(found)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"  {what:<58} p50 {statistics.median(found) * 1000:7.2f} ms   p99 {p99 * 1000:7.2f} ms")


def lateness(naps: int = NAPS) -> None:
    """What comes after the file was let go of, timers and outcomes: when the code goes on, when the next activity begins."""
    import romancy_nb as rn

    code: list[float] = []
    begun: list[float] = []

    @rn.activity
    def look(due: float) -> None:
        begun.append(time.time() - due)

    @rn.workflow
    def napping(count: int) -> None:
        for _ in range(count):
            due = rn.now().timestamp() + NAP
            rn.sleep(NAP)
            code.append(time.time() - due)
            look(due)

    napping.start(naps, new="always").result()
    spread("timer after quiet: lateness of the code", code)
    spread("timer after quiet: lateness of the activity behind it", begun)
    code.clear()
    begun.clear()

    @rn.activity
    def nap(number: int) -> float:
        time.sleep(NAP)
        return time.time()

    @rn.workflow
    def woken(count: int) -> None:
        for number in range(count):
            ended = nap(number)
            code.append(time.time() - ended)
            look(ended)

    woken.start(naps, new="always").result()
    spread("outcome after quiet: until the code goes on", code)
    spread("outcome after quiet: until the activity behind it begins", begun)


def file() -> None:
    """The journal alone: take the file, write one row, let go of it."""
    from romancy_nb.core import events as ev
    from romancy_nb.core.events import Event
    from romancy_nb.journal.on_duckdb import DuckDBJournal
    from romancy_nb.journal.protocol import Batch, Row

    where = folder()
    journal = DuckDBJournal(where / "journal.duckdb")
    took: list[float] = []
    wrote: list[float] = []
    left: list[float] = []
    for number in range(1, 102):
        begin = time.perf_counter()
        journal.acquire(1)
        have = time.perf_counter()
        started = Event(ev.RUN_STARTED, number, f"i-{number}", "bench", meta={"number": 1, "owner": "", "epoch": 1})
        journal.commit(Batch(number, [Row(number, 1, started)]))
        written = time.perf_counter()
        journal.release()
        if number > 1:  # the first one makes the file
            took.append(have - begin)
            wrote.append(written - have)
            left.append(time.perf_counter() - written)
    spread("take the file", took)
    spread("commit of one row", wrote)
    spread("let go of the file (a checkpoint)", left)
    shutil.rmtree(where)


def instances(count: int = INSTANCES) -> None:
    """Memory and time of instances that each wait at a long sleep."""
    import romancy_nb as rn

    @rn.activity
    def before(number: int) -> int:
        return number

    @rn.workflow
    def sleeper(number: int, seconds: float) -> int:
        found = before(number)
        rn.sleep(seconds)
        return found

    @rn.workflow
    async def sleeper_async(number: int, seconds: float) -> int:
        found = await before.aio(number)
        await asyncio.sleep(seconds)
        return found

    for flow in (sleeper, sleeper_async):
        flow.start(-1, 0.0).result()
        rest()
        first, begin = memory(), time.perf_counter()
        for number in range(count):
            flow.start(number, 3600.0)
        last = flow.start(count, 3600.0)
        started = time.perf_counter() - begin
        while last.status != "waiting":
            time.sleep(0.01)
        at_once = (memory() - first) / count
        rest(3.0)
        used = (memory() - first) / count
        print(
            f"  {flow.name.rpartition('.')[2]:<58} {started / count * 1000:7.2f} ms to start;"
            f" {at_once / 1000:6.1f} kB each when the last waits, {used / 1000:6.1f} kB three seconds later"
        )


def timers(count: int = TIMERS) -> None:
    """Many timers in one run, first as they wait, then as they fall due."""
    import romancy_nb as rn

    @rn.workflow
    async def many(count: int, seconds: float) -> int:
        naps = [asyncio.sleep(seconds + number / count) for number in range(count)]
        await asyncio.gather(*naps)
        return count

    for some in (count // 10, count):
        rest()
        first, begin = memory(), time.perf_counter()
        handle = many.start(some, 0.5, new="always")
        handle.result()
        took = time.perf_counter() - begin
        kB = (memory() - first) / some / 1000
        print(f"  {f'{some} asyncio.sleep of one run, until all have fired':<58} {took:7.2f} s   {kB:6.2f} kB each")


def rest(seconds: float = 1.0) -> None:
    time.sleep(seconds)
    gc.collect()


PARTS: dict[str, Callable[[], None]] = {
    "file": file,
    "lateness": lateness,
    "instances": instances,
    "crowd": lateness,
    "timers": timers,
}


def main() -> None:
    chosen = sys.argv[1:] or list(PARTS)
    where = folder()
    os.environ["ROMANCY_JOURNAL"] = str(where / "journal.duckdb")
    import romancy_nb as rn

    for name in chosen:
        print(f"{name}{': the same while the waiting instances of before are in memory' if name == 'crowd' else ''}")
        PARTS[name]()
    rn.disconnect()
    shutil.rmtree(where)


if __name__ == "__main__":
    main()
