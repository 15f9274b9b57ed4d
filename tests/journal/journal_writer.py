"""A process that uses a journal; the tests start it. Prints what was acknowledged, one line each.

journal_writer.py busy PATH RUN       commits for ever; prints the seq after each commit; lets go when the bell rings
journal_writer.py turns PATH RUN N    commits N times so, printing "waited SECONDS" for every acquire; then "done"
journal_writer.py hold PATH           takes the file, prints "held", keeps it until it reads a line
"""

from __future__ import annotations

import sys
import time

from journal_tools import completed, start, turn

from romancy_nb.journal.on_duckdb import DuckDBJournal


def write(path: str, run: int, count: int | None) -> None:
    journal = DuckDBJournal(path, holder={"notebook": f"/n/{run}.ipynb"})
    seq = 0
    while count is None or seq < count:
        if not journal.held:
            before = time.monotonic()
            journal.acquire(None)
            if count is not None:
                print("waited", time.monotonic() - before, flush=True)
        seq += 1
        event = start(f"i-{run}") if seq == 1 else completed("0:0")
        journal.commit(turn(run * 1_000_000 + seq, run, event, first=seq))
        if count is None:
            print(seq, flush=True)
        if journal.wanted():
            journal.release()
    journal.release()
    print("done", flush=True)


def hold(path: str) -> None:
    journal = DuckDBJournal(path, holder={"notebook": "/n/holder.ipynb"})
    journal.acquire(10)
    print("held", flush=True)
    sys.stdin.readline()
    journal.release()
    print("released", flush=True)


if __name__ == "__main__":
    what, path, *more = sys.argv[1:]
    if what == "hold":
        hold(path)
    else:
        write(path, int(more[0]), int(more[1]) if what == "turns" else None)
