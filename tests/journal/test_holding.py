"""Taking the file and letting go of it, over and over, with one DuckDB instance: as if it were opened and closed each time."""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from pathlib import Path

import duckdb
import pytest
from journal_tools import child, completed, start, turn

from romancy_nb.errors import JournalBusy, JournalDamaged
from romancy_nb.journal import migrate
from romancy_nb.journal.on_duckdb import DuckDBJournal

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")

IN_AND_OUT = """
import sys
from journal_tools import completed, start, turn
from romancy_nb.journal.on_duckdb import DuckDBJournal
path, run = sys.argv[1], int(sys.argv[2])
journal, seq = DuckDBJournal(path), 0
while True:
    journal.acquire(None)
    seq += 1
    journal.commit(turn(run * 1_000_000 + seq, run, start(f"i-{run}") if seq == 1 else completed("0:0"), first=seq))
    print(seq, flush=True)
    journal.release()
    print("released", flush=True)
"""
READ = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=True)
print(connection.execute("select count(*) from romancy.events").fetchone()[0])
"""


def read_elsewhere(path: Path) -> str:
    reader = child(READ, path)
    out, _ = reader.communicate(timeout=60)
    return out.strip()


def test_a_file_let_go_of_is_whole_and_another_program_reads_all_of_it(path: Path) -> None:
    journal = DuckDBJournal(path)
    for number in range(1, 6):
        journal.acquire(1)
        journal.commit(turn(number, number, start(f"i-{number}")))
        journal.release()
        assert not Path(f"{path}.wal").exists()
        assert read_elsewhere(path) == str(number)


@posix
@pytest.mark.crash
def test_nothing_acknowledged_is_lost_when_who_takes_and_lets_go_is_killed_anywhere(path: Path) -> None:
    chance = random.Random(11)
    for run in range(1, 17):
        writer = child(IN_AND_OUT, path, run)
        assert writer.stdout is not None
        for _ in range(chance.randrange(1, 12)):
            writer.stdout.readline()
        time.sleep(chance.random() * 0.006)  # somewhere in attach, commit, checkpoint or detach
        writer.kill()
        lines = [line.strip() for line in writer.stdout]
        writer.wait()
        acknowledged = max([0, *(int(line) for line in lines if line.isdigit())])
        journal = DuckDBJournal(path)
        journal.acquire(5)
        there = [row.seq for row in journal.load(run)]
        journal.release()
        assert there == list(range(1, len(there) + 1))
        assert acknowledged <= len(there)


def test_a_connection_of_the_user_is_refused_while_we_hold_the_file(path: Path, journal: DuckDBJournal) -> None:
    for options in ({}, {"read_only": True}, {"config": migrate.CONFIG}):
        with pytest.raises(duckdb.Error, match="already attached"):
            duckdb.connect(str(path), **options)
    journal.commit(turn(1, 1, start("a")))
    journal.release()
    duckdb.connect(str(path)).close()
    assert journal.acquire(1) is not None


def test_what_is_still_in_use_keeps_the_file_and_is_waited_for(path: Path, journal: DuckDBJournal) -> None:
    session = journal.session()
    session.execute("begin")
    session.execute("create table mine as select 1 as x")
    journal.release()
    with pytest.raises(JournalBusy):
        journal.acquire(0.1)
    if sys.platform != "win32":
        assert read_elsewhere(path) == "", "DuckDB's own lock stays until the last user of the file is done"
    session.execute("rollback")
    session.close()
    journal.acquire(5)
    assert journal.query("select count(*) from duckdb_tables() where table_name = 'mine'").rows == [(0,)]


def test_the_default_schema_of_a_session_is_the_users_in_this_file(path: Path, journal: DuckDBJournal) -> None:
    journal.commit(turn(1, 1, start("a")))
    session = journal.session()
    session.execute("create table orders (id integer)")
    session.execute("insert into orders values (7)")
    session.execute("create view seen as select o.id, e.kind from orders o, romancy.events e")
    with pytest.raises(duckdb.Error, match="a single transaction can only write to a single"):
        session.execute("begin")
        session.execute("insert into orders values (8)")
        session.execute("create table memory.main.gone (x int)")
    session.execute("rollback")
    session.close()
    assert journal.query("from seen").rows == [(7, "run_started")]
    journal.release()
    copy = path.with_name("another-name.duckdb")
    shutil.copy(path, copy)  # nothing in the file knows by which name it was open
    with duckdb.connect(str(copy)) as connection:
        assert connection.execute("from seen").fetchall() == [(7, "run_started")]
        assert connection.execute("select status from romancy.instances").fetchall() == [("running",)]


def test_a_damaged_file_is_no_trouble_once_it_is_restored(path: Path) -> None:
    journal = DuckDBJournal(path)
    journal.acquire(1)
    journal.commit(turn(1, 1, start("a", note="x" * 5000)))
    journal.release()
    good = path.read_bytes()
    os.truncate(path, 9_000)
    with pytest.raises(JournalDamaged):
        journal.acquire(0.1)
    path.write_bytes(good)
    journal.acquire(1)
    assert journal.committed(1)
    journal.release()


def test_a_file_of_another_storage_version_keeps_it(path: Path, tmp_path: Path) -> None:
    for version in ("v1.2.0", "latest"):
        file = tmp_path / f"{version}.duckdb"
        with duckdb.connect(
            str(file), config={**migrate.CONFIG, "storage_compatibility_version": version}
        ) as connection:
            migrate.apply_migrations(connection, file)
        stands = file.read_bytes()[12]
        journal = DuckDBJournal(file)
        journal.acquire(1)
        journal.commit(turn(1, 1, start("a")))
        journal.release()
        assert file.read_bytes()[12] == stands


@posix
def test_a_disk_that_is_full_when_the_file_is_let_go_of_loses_nothing(path: Path) -> None:
    code = f"""
import os, resource
from journal_tools import start, turn
from romancy_nb.journal.on_duckdb import DuckDBJournal
journal = DuckDBJournal({str(path)!r})
journal.acquire(1)
for number in range(1, 40):
    journal.commit(turn(number, number, start(f"i-{{number}}", note=os.urandom(10_000).hex())))
full = os.stat({str(path)!r}).st_size + 20_000  # the log may be longer than that; the checkpoint has no room
resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
journal.release()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.acquire(1)
assert journal.committed(39)
journal.commit(turn(40, 40, start("after")))
journal.release()
print("whole")
"""
    out, _ = child(code).communicate(timeout=60)
    assert out == "whole\n"
    journal = DuckDBJournal(path)
    journal.acquire(1)
    assert len(journal.unfinished()) == 40
    journal.release()


def test_events_follow_each_other_over_many_takings(path: Path) -> None:
    journal = DuckDBJournal(path)
    for seq in range(1, 101):
        journal.acquire(1)
        journal.commit(turn(seq, 1, start("a") if seq == 1 else completed("0:0"), first=seq))
        assert journal.heads(["a"])["a"].last_seq == seq
        journal.release()
    journal.acquire(1)
    assert [row.seq for row in journal.load(1)] == list(range(1, 101))
    journal.release()
