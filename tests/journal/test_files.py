"""Every way in which the file itself can be wrong: one clear error each, and the file as it was."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import duckdb
import pytest
from journal_tools import child, start, turn

from romancy_nb.errors import JournalBusy, JournalDamaged, JournalError, NotAJournal
from romancy_nb.journal.on_duckdb import DuckDBJournal

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")


def refused(path: Path, error: type[JournalError], match: str) -> None:
    before = path.read_bytes()
    journal = DuckDBJournal(path)
    with pytest.raises(error, match=match) as caught:
        journal.acquire(0.2)
    assert str(path) in str(caught.value)
    assert not journal.held
    assert path.read_bytes() == before
    assert not Path(f"{path}.new").exists()


@pytest.fixture
def written(path: Path) -> Path:
    """A journal with a thousand events, closed."""
    journal = DuckDBJournal(path)
    journal.acquire(5)
    for run in range(1, 11):
        journal.commit(turn(run, run, *[start(f"i-{run}", note="x" * 500)] * 100))
    journal.release()
    return path


def test_a_new_journal_is_made_with_its_folder_which_git_ignores(path: Path) -> None:
    journal = DuckDBJournal(path)
    assert not path.parent.exists()
    assert journal.acquire(1)
    journal.release()
    assert (path.parent / ".gitignore").read_text() == "*\n"
    assert sorted(p.name for p in path.parent.iterdir()) == [".gitignore", "journal.duckdb", "journal.duckdb.lock"]


def test_only_our_own_folder_is_given_a_gitignore(tmp_path: Path) -> None:
    journal = DuckDBJournal(tmp_path / "here" / "mine.duckdb")
    journal.acquire(1)
    journal.release()
    assert not (tmp_path / "here" / ".gitignore").exists()


def test_an_empty_file_is_a_new_journal(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    journal = DuckDBJournal(path)
    assert journal.acquire(1)
    journal.commit(turn(1, 1, start("a")))
    journal.release()


def test_what_a_killed_creation_left_is_swept_away(path: Path) -> None:
    path.parent.mkdir()
    for name in ("journal.duckdb.new", "journal.duckdb.new.wal"):
        (path.parent / name).write_bytes(b"half")
    journal = DuckDBJournal(path)
    journal.acquire(1)
    journal.release()
    assert not list(path.parent.glob("*.new*"))


def test_the_log_of_a_deleted_journal_is_not_replayed_into_a_new_one(path: Path) -> None:
    path.parent.mkdir()
    Path(f"{path}.wal").write_bytes(b"of another life")
    journal = DuckDBJournal(path)
    journal.acquire(1)
    assert journal.unfinished() == []
    journal.release()
    assert Path(f"{path}.wal.orphan").read_bytes() == b"of another life"


@pytest.mark.parametrize("content", [b"x", b"not a database at all", random.Random(1).randbytes(20_000)])
def test_a_file_that_is_no_database_is_not_a_journal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.duckdb"
    path.write_bytes(content)
    refused(path, NotAJournal, "left as it is")


def test_a_folder_is_not_a_journal(tmp_path: Path) -> None:
    with pytest.raises(NotAJournal, match=r"journal\.duckdb"):
        DuckDBJournal(tmp_path).acquire(1)


def test_somebody_elses_database_is_not_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "sales.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table sales (x int)")
    refused(path, NotAJournal, "main.sales.*file of its own")


def test_an_empty_database_becomes_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "empty.duckdb"
    duckdb.connect(str(path)).close()
    journal = DuckDBJournal(path)
    journal.acquire(1)
    journal.commit(turn(1, 1, start("a")))
    journal.release()


@pytest.mark.parametrize("size", [100, 9_000, 12_288, 100_000])
def test_a_truncated_journal_is_damaged(written: Path, size: int) -> None:
    os.truncate(written, size)
    refused(written, JournalDamaged, "Restore it from a copy")


def test_a_journal_with_garbage_in_its_header_is_damaged(written: Path) -> None:
    content = bytearray(written.read_bytes())
    content[4096:4196] = content[8192:8292] = b"\xff" * 100
    written.write_bytes(content)
    refused(written, JournalDamaged, "Restore it from a copy")


def test_damage_that_shows_only_when_read_is_named_then(written: Path) -> None:
    content = bytearray(written.read_bytes())
    for offset in range(12_288 + 64, len(content) - 64, 512):
        content[offset : offset + 32] = b"\xa5" * 32
    written.write_bytes(content)
    journal = DuckDBJournal(written)
    with pytest.raises(JournalDamaged):
        journal.acquire(1)
        journal.load(5)
    journal.release()


@posix
def test_a_read_only_folder_is_named_as_such(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    code = f"""
import os, duckdb
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.errors import JournalUnwritable
paths = ({str(folder / "j.duckdb")!r}, {str(folder / ".romancy" / "j.duckdb")!r})
journals = [DuckDBJournal(path) for path in paths]
if os.getuid() == 0:  # what is imported by now need not be readable for nobody
    os.setegid(65534); os.seteuid(65534)
for journal in journals:
    try:
        journal.acquire(1)
    except JournalUnwritable as error:
        assert "writable" in str(error) and "ROMANCY_JOURNAL" in str(error), error
        print("refused")
"""
    for parent in (folder, *list(folder.parents)[:3]):
        if parent != folder and str(parent) not in ("/tmp", "/"):
            parent.chmod(0o755)
    folder.chmod(0o555)
    out, _ = child(code).communicate(timeout=60)
    assert out.split() == ["refused", "refused"]
    assert list(folder.iterdir()) == []


@posix
def test_a_full_disk_loses_nothing_that_was_acknowledged(path: Path) -> None:
    code = f"""
import resource
from journal_tools import start, turn
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.errors import JournalUnwritable
journal = DuckDBJournal({str(path)!r})
journal.acquire(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))  # the log cannot grow beyond
number = 0
try:
    while number < 10_000:
        journal.commit(turn(number + 1, number + 1, start(f"i-{{number}}", note="x" * 5000)))
        number += 1
except JournalUnwritable as error:
    assert "disk is full" in str(error), error
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert not journal.committed(number + 1)
journal.commit(turn(50_000, 50_000, start("after")))
journal.release()
print(number)
"""
    out, _ = child(code).communicate(timeout=120)
    number = int(out)
    assert 100 < number < 10_000
    journal = DuckDBJournal(path)
    journal.acquire(1)
    assert journal.query("select count(*), max(run_key) from event_fields").rows == [(number + 1, 50_000)]
    journal.release()


@posix
def test_a_disk_that_is_full_from_the_start_leaves_no_half_journal(path: Path) -> None:
    code = f"""
import resource
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.errors import JournalUnwritable
resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))
try:
    DuckDBJournal({str(path)!r}).acquire(1)
except JournalUnwritable as error:
    print(error)
"""
    out, _ = child(code).communicate(timeout=60)
    assert "disk is full" in out
    assert not path.exists()
    journal = DuckDBJournal(path)
    assert journal.acquire(1)
    journal.release()


def test_a_connection_of_the_user_in_this_process_is_named(written: Path) -> None:
    with duckdb.connect(str(written)), pytest.raises(JournalBusy, match=r"duckdb.connect\(\)"):
        DuckDBJournal(written).acquire(0.1)


@posix
def test_a_shell_that_does_not_know_our_lock_is_waited_for_and_named(written: Path) -> None:
    shell = child(f"import duckdb; c = duckdb.connect({str(written)!r}); print('open'); input(); c.close()")
    assert shell.stdout is not None
    assert shell.stdout.readline() == "open\n"
    journal = DuckDBJournal(written)
    with pytest.raises(JournalBusy, match="duckdb shell"):
        journal.acquire(0.2)
    assert not journal.held
    assert shell.stdin is not None
    shell.stdin.write("\n")
    shell.stdin.flush()
    assert journal.acquire(20) is True
    journal.release()
    shell.communicate(timeout=20)
