"""Replay of a finished 1,000-step run, against DBOS's replay of one (a fork at the last step, less its queue's wait)."""

from __future__ import annotations

import os
import shutil
import time

from side_by_side import dbos, folder, ratio, seconds, show

STEPS, ROUNDS = 1000, 7


def main() -> None:
    where = folder()
    os.environ["ROMANCY_JOURNAL"] = str(where / "journal.duckdb")
    import romancy_nb as rn

    @rn.activity
    def step(number: int) -> int:
        return number + 1

    @rn.workflow
    def walk(steps: int) -> int:
        number = 0
        for _ in range(steps):
            number = step(number)
        return number

    assert walk(STEPS) == STEPS
    rn.disconnect()
    warm = [seconds(lambda: walk(STEPS)) / STEPS for _ in range(ROUNDS)]
    rival = dbos(where)
    theirs: list[float] = []
    if rival is not None:
        from dbos import SetWorkflowID

        began: list[float] = []
        their_step = rival.step()(lambda number: number + 1)

        def their_walk(steps: int) -> int:
            began.append(time.perf_counter())
            number = 0
            for _ in range(steps):
                number = their_step(number)
            began.append(time.perf_counter())
            return number

        their_walk = rival.workflow(name="their_walk")(their_walk)
        rival.launch()
        with SetWorkflowID("one"):
            their_walk(STEPS)
        for _ in range(3):
            began.clear()
            rival.fork_workflow("one", STEPS).get_result()
            theirs.append((began[-1] - began[0]) / STEPS)
    print(f"replay of a finished run of {STEPS} steps, per step")
    mine = show("romancy_nb (load, replay, result)", warm, "µs", 1e6)
    if theirs:
        other = show("DBOS on SQLite (body only)", theirs, "µs", 1e6)
        ratio("DBOS / romancy_nb", other / mine, ">= 10")
        rival.destroy()
    rn.disconnect()
    shutil.rmtree(where)


if __name__ == "__main__":
    main()
