"""1,000 workflows of three steps, workflows a second, against DBOS."""

from __future__ import annotations

import asyncio
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

    @rn.workflow
    async def three_async(name: int) -> int:
        return await step.aio(await step.aio(await step.aio(name)))

    three(-1)

    async def together() -> None:
        await asyncio.gather(*[three_async(name) for name in range(COUNT)])

    def started() -> None:
        for handle in [three.start(name) for name in range(2 * COUNT, 3 * COUNT)]:
            handle.result()

    def one_by_one() -> None:
        for name in range(COUNT, COUNT + 200):
            three(name)

    print(f"{COUNT} workflows of three steps")
    fastest = COUNT / seconds(lambda: asyncio.run(together()))
    print(f"  {'romancy_nb, awaited together':<50} {fastest:8.0f} workflows/s")
    print(f"  {'romancy_nb, started in a loop (each durable first)':<50} {COUNT / seconds(started):8.0f} workflows/s")
    print(f"  {'romancy_nb, one call after the other (200)':<50} {200 / seconds(one_by_one):8.0f} workflows/s")
    rival = dbos(where)
    if rival is not None:
        their_step = rival.step(name="their_step")(lambda number: number + 1)
        their_three = rival.workflow(name="their_three")(lambda name: their_step(their_step(their_step(name))))
        rival.launch()
        theirs = 200 / seconds(lambda: [their_three(name) for name in range(200)])
        print(f"  {'DBOS on SQLite, one call after the other (200)':<50} {theirs:8.0f} workflows/s")
        ratio("romancy_nb (together) / DBOS", fastest / theirs, ">= 10")
        rival.destroy()
    rn.disconnect()
    shutil.rmtree(where)


if __name__ == "__main__":
    main()
