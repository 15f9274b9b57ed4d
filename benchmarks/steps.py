"""A sequential step, fully durable: against one bare durable row append, and against DBOS on SQLite."""

from __future__ import annotations

import os
import shutil

from side_by_side import bare_append, dbos, folder, ratio, seconds, show

STEPS, ROUNDS = 200, 7


def main() -> None:
    where = folder()
    os.environ["ROMANCY_JOURNAL"] = str(where / "journal.duckdb")
    import romancy_nb as rn

    @rn.activity
    def step(number: int) -> int:
        return number + 1

    @rn.workflow
    def walk(name: str, steps: int) -> int:
        number = 0
        for _ in range(steps):
            number = step(number)
        return number

    append, rival = bare_append(where), dbos(where)
    if rival is not None:
        their_step = rival.step()(lambda number: number + 1)

        def their_walk(steps: int) -> int:
            number = 0
            for _ in range(steps):
                number = their_step(number)
            return number

        their_walk = rival.workflow(name="their_walk")(their_walk)
        rival.launch()
    ours: list[float] = []
    bare: list[float] = []
    theirs: list[float] = []
    walk("warm", 5)
    for turn in range(ROUNDS):
        bare.append(seconds(lambda: [append() for _ in range(STEPS)]) / STEPS)
        ours.append(seconds(lambda turn=turn: walk(str(turn), STEPS)) / STEPS)
        if rival is not None:
            theirs.append(seconds(lambda: their_walk(STEPS)) / STEPS)
    print(f"a sequential durable step ({STEPS} steps, {ROUNDS} rounds)")
    base, mine = show("one bare durable row append", bare), show("romancy_nb: one step", ours)
    ratio("step / bare append", mine / base, "<= 1.5")
    if rival is not None:
        other = show("DBOS on SQLite: one step", theirs)
        ratio("DBOS / romancy_nb", other / mine, ">= 1.6")
        rival.destroy()
    rn.disconnect()
    shutil.rmtree(where)


if __name__ == "__main__":
    main()
