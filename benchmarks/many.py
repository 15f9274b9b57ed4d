"""1,000 workflows of three steps, workflows a second, against DBOS."""

from __future__ import annotations

import os
import shutil

from side_by_side import dbos, folder, ratio, seconds

COUNT = 1000


def main() -> None:
    where = folder()
    os.environ["ROMANCY_JOURNAL"] = str(where / "journal.duckdb")
    import romancy_nb as rn

    @rn.activity
    def step(number: int) -> int:
        return number + 1

    @rn.workflow
    def three(name: int) -> int:
        return step(step(step(name)))

    three(-1)

    def all_of_them() -> None:
        for handle in [three.start(name) for name in range(COUNT)]:
            handle.result()

    def one_by_one() -> None:
        for name in range(COUNT, COUNT + 200):
            three(name)

    print(f"{COUNT} workflows of three steps")
    together = COUNT / seconds(all_of_them)
    print(f"  {'romancy_nb, started together':<44} {together:8.0f} workflows/s")
    print(f"  {'romancy_nb, one call after the other (200)':<44} {200 / seconds(one_by_one):8.0f} workflows/s")
    rival = dbos(where)
    if rival is not None:
        their_step = rival.step(name="their_step")(lambda number: number + 1)
        their_three = rival.workflow(name="their_three")(lambda name: their_step(their_step(their_step(name))))
        rival.launch()
        theirs = 200 / seconds(lambda: [their_three(name) for name in range(200)])
        print(f"  {'DBOS on SQLite, one call after the other (200)':<44} {theirs:8.0f} workflows/s")
        ratio("romancy_nb (together) / DBOS", together / theirs, ">= 10")
        rival.destroy()
    rn.disconnect()
    shutil.rmtree(where)


if __name__ == "__main__":
    main()
