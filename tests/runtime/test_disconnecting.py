"""A journal that is disconnected leaves nothing behind in its process: a kernel that lives for weeks connects often."""

from __future__ import annotations

from pathlib import Path

import served

PROGRAM = """
import asyncio, os, sys, threading, time
import romancy_nb as rn

@rn.activity
def add(n: int) -> int:
    return n + 1

@rn.activity
async def aadd(n: int) -> int:
    await asyncio.sleep(0)
    return n + 1

@rn.workflow
def flow(n: int) -> int:
    return aadd(add(n))

for n in range(4):
    rn.connect(f"journal-{n}.duckdb")
    assert flow.run(n) == n + 2
    rn.disconnect()
for thread in threading.enumerate():
    if thread.name != "romancy engine" and thread is not threading.main_thread():  # an engine still turns away who comes late
        thread.join(10)
        assert not thread.is_alive(), thread
deadline = time.monotonic() + 10
while sys.platform == "linux" and len(os.listdir("/proc/self/task")) > threading.active_count():  # DuckDB's own threads
    assert time.monotonic() < deadline, os.listdir("/proc/self/task")
    time.sleep(0.01)
"""


def test_no_thread_is_left_of_a_journal_that_was_disconnected(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = served.program(tmp_path / "program.py")
    assert done.returncode == 0, done.stderr
