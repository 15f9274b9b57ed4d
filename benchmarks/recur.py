"""10,000 turns of a loop that goes on by rn.recur: time per turn and memory, at the beginning and at the end."""

from __future__ import annotations

import os
import resource
import shutil
import time

from side_by_side import folder

TURNS = 10_000
MARKS = 10


def main() -> None:
    where = folder()
    os.environ["ROMANCY_JOURNAL"] = str(where / "journal.duckdb")
    import romancy_nb as rn

    marks: list[tuple[float, int]] = []

    @rn.workflow
    def turns(number: int, end: int) -> int:
        rn.side_effect(lambda: number)
        if number % (end // MARKS) == 0:
            marks.append((time.perf_counter(), _resident()))
        if number == end:
            return number
        return rn.recur(number + 1, end)

    assert turns.run(0, TURNS) == TURNS
    print(f"{TURNS:,} turns of a loop by rn.recur, one side effect each")
    for (begin, _), (end, memory), number in zip(marks, marks[1:], range(1, MARKS + 1), strict=False):
        each = (end - begin) / (TURNS // MARKS)
        print(
            f"  turns up to {number * TURNS // MARKS:>6,}   {each * 1e3:7.3f} ms each   {memory / 1e6:7.1f} MB resident"
        )
    begin = time.perf_counter()
    rn.disconnect()
    assert turns.run(0, TURNS) == TURNS
    print(f"  the same call again, in a new engine: {(time.perf_counter() - begin) * 1e3:.1f} ms")
    rn.disconnect()
    shutil.rmtree(where)


def _resident() -> int:
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
