"""A map over 5,000 rows: time a row and memory, beside a plain gather of the same calls, and beside starts one by one."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys

from side_by_side import folder, seconds

ROWS = 5_000


def measure(what: str) -> None:
    """Do one of the things below in this process, and print how long it took and how much memory it came to."""
    where = folder()
    os.environ["ROMANCY_JOURNAL"] = str(where / "journal.duckdb")
    import romancy_nb as rn

    @rn.activity
    def step(number: int) -> int:
        return number + 1

    @rn.workflow
    def single(number: int) -> int:
        return step(number)

    @rn.workflow
    def gathered(width: int) -> int:
        return sum(rn.gather(*[step.bind(number) for number in range(width)]))

    @rn.workflow
    def mapped(width: int) -> int:
        return sum(number or 0 for number in rn.map(step, range(width)))

    def started() -> None:
        for handle in [single.start(number) for number in range(ROWS)]:
            handle.result()

    def steps() -> None:
        assert rn.map(step, range(ROWS)).ok

    def instances() -> None:
        assert single.map(range(ROWS)).ok

    work = {
        "gather": lambda: gathered(ROWS),
        "map in a workflow": lambda: mapped(ROWS),
        "map": steps,
        "starts": started,
        "workflow.map": instances,
    }[what]
    single(-1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    first = seconds(work)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    again = seconds(work)
    more = (after - before) / 1024
    print(f"  {what:<20} {first / ROWS * 1e6:8.0f} µs a row   {again / ROWS * 1e6:8.0f} µs again   {more:6.0f} MB more")
    rn.disconnect()
    shutil.rmtree(where)


def main() -> None:
    print(f"{ROWS:,} rows of a trivial activity, {os.cpu_count()} cores; each in a process of its own")
    for what in ("gather", "map in a workflow", "map", "workflow.map", "starts"):
        subprocess.run([sys.executable, __file__, what], check=True)


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
