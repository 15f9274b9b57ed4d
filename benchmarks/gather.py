"""500 concurrent activities under gather, per step, against DBOS."""

from __future__ import annotations

import asyncio
import os
import shutil

from side_by_side import dbos, folder, ratio, seconds, show

WIDTH, ROUNDS = 500, 7


def main() -> None:
    where = folder()
    os.environ["ROMANCY_JOURNAL"] = str(where / "journal.duckdb")
    import romancy_nb as rn

    @rn.activity
    async def step(number: int) -> int:
        return number + 1

    @rn.workflow
    async def fan(name: str, width: int) -> int:
        return sum(await asyncio.gather(*[step(number) for number in range(width)]))

    fan.run("warm", 5)
    ours = [seconds(lambda turn=turn: fan.run(str(turn), WIDTH)) / WIDTH for turn in range(ROUNDS)]
    rival = dbos(where)
    theirs: list[float] = []
    if rival is not None:

        async def plain(number: int) -> int:
            return number + 1

        their_step = rival.step(name="their_step")(plain)

        async def their_fan(width: int) -> int:
            return sum(await asyncio.gather(*[their_step(number) for number in range(width)]))

        their_fan = rival.workflow(name="their_fan")(their_fan)
        rival.launch()

        async def run() -> None:
            for _ in range(3):
                loop = asyncio.get_running_loop()
                begin = loop.time()
                await their_fan(WIDTH)
                theirs.append((loop.time() - begin) / WIDTH)

        asyncio.run(run())
    print(f"{WIDTH} concurrent activities under gather, per step")
    mine = show("romancy_nb", ours)
    if theirs:
        other = show("DBOS on SQLite", theirs)
        ratio("DBOS / romancy_nb", other / mine, ">= 15")
        rival.destroy()
    rn.disconnect()
    shutil.rmtree(where)


if __name__ == "__main__":
    main()
