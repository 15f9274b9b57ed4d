"""From sending an event until the waiting workflow's code goes on: in one process, at once and after quiet; against DBOS."""

from __future__ import annotations

import os
import shutil
import threading
import time
from typing import Any

from side_by_side import dbos, folder, ratio, show

ROUNDS, THEIRS = 40, 8
QUIET = 0.6
"""Seconds without anything to do, after which the journal's file has been let go of."""


def main() -> None:
    where = folder()
    os.environ["ROMANCY_JOURNAL"] = str(where / "journal.duckdb")
    import romancy_nb as rn

    woken: list[float] = []
    awake = threading.Event()

    @rn.workflow
    def waits(name: str, rounds: int) -> int:
        for _ in range(rounds):
            rn.wait_event("go")
            woken.append(time.perf_counter())
            awake.set()
        return rounds

    def measure(name: str, pause: float) -> list[float]:
        handle = waits.start(name, ROUNDS)
        took = []
        for _ in range(ROUNDS):
            while handle.status != "waiting":
                time.sleep(0.002)
            time.sleep(pause)
            awake.clear()
            begin = time.perf_counter()
            handle.send("go")
            awake.wait()
            took.append(woken[-1] - begin)
        handle.result()
        return took

    measure("warm", 0)
    print("from sending an event until the waiting workflow's code goes on, in one process")
    at_once = show("romancy_nb, at once", measure("at once", 0))
    quiet = show(f"romancy_nb, after {QUIET:g} s of quiet", measure("quiet", QUIET))
    theirs = _their_times(dbos(where))
    if theirs:
        other = show("DBOS on SQLite (send, recv)", theirs)
        ratio("DBOS / romancy_nb at once", other / at_once, ">= 50")
        ratio("DBOS / romancy_nb after quiet", other / quiet, ">= 50")
    rn.disconnect()
    shutil.rmtree(where)


def _their_times(rival: Any) -> list[float]:
    if rival is None:
        return []
    woken: list[float] = []
    awake = threading.Event()

    @rival.workflow(name="their_waits")
    def their_waits(rounds: int) -> int:
        for _ in range(rounds):
            rival.recv("go", timeout_seconds=60)
            woken.append(time.perf_counter())
            awake.set()
        return rounds

    rival.launch()
    handle = rival.start_workflow(their_waits, THEIRS)
    took = []
    for _ in range(THEIRS):
        time.sleep(QUIET)
        awake.clear()
        begin = time.perf_counter()
        rival.send(handle.get_workflow_id(), "x", "go")
        awake.wait()
        took.append(woken[-1] - begin)
    handle.get_result()
    rival.destroy()
    return took


if __name__ == "__main__":
    main()
