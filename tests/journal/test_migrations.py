"""The schema grows by numbered migrations, all or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from journal_tools import start, turn

from romancy_nb.errors import JournalError, JournalNewer
from romancy_nb.journal import migrate, sql
from romancy_nb.journal.on_duckdb import DuckDBJournal


def dump(path: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path)) as connection:
        return connection.execute(
            """select schema_name, table_name, sql from duckdb_tables()
               union all select schema_name, view_name, sql from duckdb_views() where not internal
               union all select 'meta', key, value from romancy.journal_meta order by all"""
        ).fetchall()


@pytest.mark.parametrize("version", range(1, migrate.latest() + 1))
def test_every_older_journal_becomes_what_a_new_one_is(tmp_path: Path, version: int) -> None:
    new, old = tmp_path / "new.duckdb", tmp_path / "old.duckdb"
    migrate.create(new)
    with duckdb.connect(str(old), config=migrate.CONFIG) as connection:
        migrate.apply_migrations(connection, old, stop_at=version)
        migrate.apply_migrations(connection, old)
    assert dump(new) == dump(old)


def test_a_migration_that_fails_leaves_the_journal_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = DuckDBJournal(path)
    journal.acquire(1)
    journal.commit(turn(1, 1, start("a")))
    journal.release()
    before = dump(path)
    broken = {**sql.migrations("duckdb"), migrate.latest() + 1: "create table romancy.more (a int); select nonsense;"}
    with monkeypatch.context() as patch:
        patch.setattr(sql, "migrations", lambda dialect: broken)
        with pytest.raises(JournalError, match="nonsense"):
            DuckDBJournal(path).acquire(1)
    assert dump(path) == before
    journal.acquire(1)
    assert journal.committed(1)
    journal.release()


def test_a_migration_is_applied_by_whoever_opens_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = DuckDBJournal(path)
    journal.acquire(1)
    journal.commit(turn(1, 1, start("a")))
    journal.release()
    grown = {**sql.migrations("duckdb"), migrate.latest() + 1: "create table romancy.more (a int);"}
    monkeypatch.setattr(sql, "migrations", lambda dialect: grown)
    again = DuckDBJournal(path)
    again.acquire(1)
    assert again.query("from more").rows == []
    assert again.committed(1)
    again.release()


def test_a_newer_journal_is_refused_with_both_versions_and_left_alone(path: Path) -> None:
    journal = DuckDBJournal(path)
    journal.acquire(1)
    journal.release()
    with duckdb.connect(str(path)) as connection:
        connection.execute("update romancy.journal_meta set value = '9999' where key = 'schema_version'")
        connection.execute("update romancy.journal_meta set value = '7.5' where key = 'written_by'")
    before = path.read_bytes()
    with pytest.raises(
        JournalNewer, match=rf"7\.5 \(journal version 9999\).*version {migrate.latest()}.*pip install -U"
    ):
        journal.acquire(1)
    assert not journal.held
    assert path.read_bytes() == before


def test_the_previous_line_of_duckdb_can_read_it(path: Path) -> None:
    journal = DuckDBJournal(path)
    journal.acquire(1)
    journal.commit(turn(1, 1, start("a")))
    journal.release()
    with duckdb.connect(str(path)) as connection:
        tags = connection.execute("select tags from duckdb_databases() where not internal").fetchall()
    assert "v1.5" in str(tags) or path.read_bytes()[12] < 69, tags
