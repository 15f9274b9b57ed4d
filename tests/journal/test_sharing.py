"""Many processes, one file: nothing is lost, nobody starves (D1, D2)."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from journal_tools import WRITER, child, completed, start, turn, until

from romancy_nb.errors import JournalBusy, JournalError
from romancy_nb.journal.locking import MIN_HOLD
from romancy_nb.journal.on_duckdb import DuckDBJournal

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")


def seqs(path: Path, run: int) -> list[int]:
    journal = DuckDBJournal(path)
    journal.acquire(10)
    try:
        return [row.seq for row in journal.load(run)]
    finally:
        journal.release()


@posix
@pytest.mark.crash
def test_no_acknowledged_event_is_lost_when_the_writer_is_killed(path: Path) -> None:
    rounds, chance = 24, random.Random(7)
    for run in range(1, rounds + 1):
        writer = child(WRITER, "busy", path, run)
        assert writer.stdout is not None
        for _ in range(chance.randrange(1, 40)):  # the first rounds die while the journal is being made, or just after
            acknowledged = int(writer.stdout.readline())
        time.sleep(chance.random() * 0.004)
        writer.kill()
        acknowledged = max([acknowledged, *(int(line) for line in writer.stdout if line.strip().isdigit())])
        writer.wait()
        there = seqs(path, run)
        assert there == list(range(1, len(there) + 1))
        assert acknowledged <= len(there) <= acknowledged + 1
    journal = DuckDBJournal(path)
    journal.acquire(5)
    assert len(journal.unfinished()) == rounds
    journal.release()


@posix
@pytest.mark.crash
def test_a_writer_killed_while_it_makes_the_journal_leaves_one_that_opens(path: Path) -> None:
    for delay in range(12):
        writer = child(WRITER, "busy", path, delay + 1)
        until(lambda: path.parent.exists() and any(path.parent.glob("*.lock")))
        time.sleep(delay * 0.008)
        writer.kill()
        writer.communicate()
        journal = DuckDBJournal(path)
        journal.acquire(5)
        journal.release()
        for left in path.parent.iterdir():
            left.unlink()


def test_two_busy_processes_take_turns(path: Path) -> None:
    count = 600
    both = [child(WRITER, "turns", path, run, count) for run in (1, 2)]
    waits: list[list[float]] = []
    for process in both:
        out, _ = process.communicate(timeout=120)
        lines = out.splitlines()
        assert lines[-1] == "done"
        waits.append([float(line.split()[1]) for line in lines[:-1]])
    assert seqs(path, 1) == seqs(path, 2) == list(range(1, count + 1))
    assert max(max(one) for one in waits) < 1.0
    assert min(len(one) for one in waits) >= 2, f"they did not alternate: {waits}"


@posix
def test_reading_the_file_in_the_holders_process_and_elsewhere_loses_nothing(path: Path) -> None:
    """What breaks DuckDB's own lock: any open and close of the file in the process that has it."""
    mine, stop = DuckDBJournal(path), threading.Event()
    mine.acquire(5)
    mine.commit(turn(1, 99, start("mine")))
    peek = f"""
import time
end = time.monotonic() + 20
print("peeking", flush=True)
while time.monotonic() < end:
    open({str(path)!r}, "rb").read(4096)
    time.sleep(0.001)
"""
    stranger = child(peek)
    assert stranger.stdout is not None
    stranger.stdout.readline()

    def peeking_here() -> None:
        while not stop.is_set():
            if path.exists():
                path.read_bytes()
            time.sleep(0.001)

    thread = threading.Thread(target=peeking_here)
    thread.start()
    other = child(WRITER, "turns", path, 1, 400)
    try:
        seq = 1
        while other.poll() is None or seq < 300:
            if not mine.held:
                mine.acquire(None)
            seq += 1
            mine.commit(turn(10_000 + seq, 99, completed("0:0"), first=seq))
            if mine.wanted():
                mine.release()
        mine.release()
    finally:
        stop.set()
        thread.join()
        stranger.kill()
        stranger.communicate()
        other.communicate(timeout=60)
    assert seqs(path, 99) == list(range(1, seq + 1))
    assert seqs(path, 1) == list(range(1, 401))


def test_a_busy_journal_names_its_holder_and_what_to_do(path: Path) -> None:
    holder = child(WRITER, "hold", path)
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"
    journal = DuckDBJournal(path)
    before = time.monotonic()
    with pytest.raises(JournalBusy) as caught:
        journal.acquire(0.2)
    assert 0.2 <= time.monotonic() - before < 2
    said = str(caught.value)
    for part in (
        "/n/holder.ipynb",
        str(holder.pid),
        "since",
        "waited 0.2 s",
        "shut that kernel down",
        "ROMANCY_JOURNAL",
    ):
        assert part in said
    assert not journal.held
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert journal.acquire(20)
    journal.release()
    assert holder.wait(20) == 0


def test_the_bell_is_heard_after_a_while_and_not_without_a_ring(path: Path) -> None:
    journal = DuckDBJournal(path)
    journal.acquire(5)
    until(lambda: time.monotonic() - journal._lock._since > MIN_HOLD)
    assert not journal.wanted()
    other = child(WRITER, "hold", path)
    until(journal.wanted)
    journal.release()
    assert not journal.wanted()
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    other.communicate("\n", timeout=20)
    assert not journal.acquire(5), "the other only looked"
    journal.release()


def test_who_let_go_for_somebody_stands_back_but_not_for_long(path: Path) -> None:
    journal = DuckDBJournal(path)
    journal.acquire(5)
    journal._lock.bell.touch()  # somebody rang, and died
    os.utime(journal._lock.bell, (1, 1))
    until(journal.wanted)
    journal.release()
    before = time.monotonic()
    journal.acquire(5)
    assert 0.04 < time.monotonic() - before < 1
    journal.release()


def test_two_journal_objects_in_one_process_are_told_apart(path: Path, tmp_path: Path) -> None:
    journal = DuckDBJournal(path)
    journal.acquire(5)
    link = tmp_path / "link.duckdb"
    link.symlink_to(path)
    for other in (DuckDBJournal(path), DuckDBJournal(link)):
        with pytest.raises(JournalError, match="This process has the journal"):
            other.acquire(0)
    journal.release()
    other = DuckDBJournal(link)
    assert other.acquire(1) is True
    other.release()


def test_release_lets_others_in_and_acquire_twice_is_harmless(path: Path) -> None:
    journal = DuckDBJournal(path)
    assert journal.acquire(5)
    assert not journal.acquire(5)
    journal.commit(turn(1, 1, start("a")))
    journal.release()
    journal.release()
    holder = child(WRITER, "hold", path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.communicate("\n", timeout=20)


def test_a_child_process_does_not_inherit_the_lock(path: Path) -> None:
    code = f"""
import subprocess, sys
from romancy_nb.journal.on_duckdb import DuckDBJournal
journal = DuckDBJournal({str(path)!r}); journal.acquire(5)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"], close_fds=False, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
input()
"""
    parent = child(code)
    assert parent.stdout is not None
    grandchild = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    journal = DuckDBJournal(path)
    journal.acquire(5)
    journal.release()
    os.kill(grandchild, signal.SIGTERM)


@posix
def test_a_forked_child_owns_nothing_and_harms_nothing(path: Path) -> None:
    code = f"""
import gc, os, sys
from journal_tools import start, turn
from romancy_nb.errors import JournalError
from romancy_nb.journal.on_duckdb import DuckDBJournal
journal = DuckDBJournal({str(path)!r}); journal.acquire(5)
journal.commit(turn(1, 1, start("a")))
pid = os.fork()
if pid == 0:
    assert not journal.held
    try:
        journal.commit(turn(2, 2, start("b")))
    except JournalError:
        print("refused", flush=True)
    del journal; gc.collect()
    sys.exit(0)  # a whole interpreter's end, with its destructors
os.waitpid(pid, 0)
for number in range(3, 300):
    journal.commit(turn(number, number, start(f"i-{{number}}")))
if os.fork() == 0:
    import time; time.sleep(30); os._exit(0)  # outlives us without keeping the lock
print("written", flush=True)
os.kill(os.getpid(), 9)
"""
    parent = child(code)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "refused\n"
    assert parent.stdout.readline() == "written\n"
    parent.wait()
    parent.stdout.close()
    journal = DuckDBJournal(path)
    journal.acquire(5)
    assert len(journal.unfinished()) == 298
    journal.release()
