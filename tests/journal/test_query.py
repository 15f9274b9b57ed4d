"""rn.sql reads, and only reads."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from journal_tools import start, turn

from romancy_nb.errors import JournalError
from romancy_nb.journal.answer import Answer
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.words import width

WRITES = [
    "insert into history_rows values (1, 1, 'x', 'y')",
    "delete from history_rows",
    "update history_rows set seq = 2",
    "create table mine (a int)",
    "drop view romancy.events",
    "copy (select 1) to '/tmp/never.csv'",
    "attach ':memory:' as other",
    "pragma database_size",
    "set threads = 4",
    "call pragma_version()",
    "checkpoint",
    "begin",
    "select 1; select 2",
    "select 1; delete from history_rows",
    "explain analyze delete from history_rows",
    "with gone as (delete from history_rows returning 1) select * from gone",
    "",
    "-- nothing",
]


@pytest.mark.parametrize("sql", WRITES)
def test_whatever_is_not_one_question_is_refused(journal: DuckDBJournal, sql: str) -> None:
    journal.commit(turn(1, 1, start("a")))
    with pytest.raises(JournalError):
        journal.query(sql)
    assert journal.query("select count(*) from events").rows == [(1,)]
    assert not Path("/tmp/never.csv").exists()
    journal.commit(turn(2, 2, start("b")))


def test_a_refusal_says_what_is_possible(journal: DuckDBJournal) -> None:
    with pytest.raises(JournalError, match=r"DELETE is not a question. rn.sql is read-only: one SELECT"):
        journal.query("delete from history_rows")


@pytest.mark.parametrize(
    "sql",
    ["from instances", "select 1;", "values (1), (2)", "describe events", "summarize instances", "show tables",
     "explain select 1", "with a as (select 1 as x) select x from a -- so", "/* hi */ select * from steps"],
)  # fmt: skip
def test_questions_of_every_form_are_answered(journal: DuckDBJournal, sql: str) -> None:
    table = journal.query(sql)
    assert len(table.columns) == len(table.types)
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_times_come_back_aware_without_pytz(journal: DuckDBJournal) -> None:
    journal.commit(turn(1, 1, start("a", at=1_700_000_000_123_456)))
    table = journal.query(
        'select "at", null::timestamptz as none, [\'x\'] as list, 1 as "at", ["at"] as nested from events order by seq desc'
    )
    (row,) = table.rows
    assert row[0] == datetime.fromtimestamp(1_700_000_000, UTC).replace(microsecond=123_456)
    assert row[1:4] == (None, ["x"], 1)
    assert "2023-11-14" in row[4]
    assert table.columns == ("at", "none", "list", "at_1", "nested")


def test_parameters_are_bound(journal: DuckDBJournal) -> None:
    journal.commit(turn(1, 1, start("a'b")))
    assert len(journal.query('select "at" from events where instance_id = ? and seq = ?', ["a'b", 1]).rows) == 1


def test_duckdbs_own_words_reach_the_person(journal: DuckDBJournal) -> None:
    with pytest.raises(JournalError, match="stepz"):
        journal.query("select * from stepz")
    with pytest.raises(JournalError, match="syntax"):
        journal.query("selec 1")


def test_python_variables_are_not_tables(journal: DuckDBJournal) -> None:
    rows = [1]
    with pytest.raises(JournalError, match="rows"):
        journal.query("select * from rows")
    assert rows


def test_nothing_is_fetched_from_the_network(journal: DuckDBJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = "select value from duckdb_settings() where name like 'auto%known_extensions'"
    assert journal.query(settings).rows == [("false",), ("false",)]
    monkeypatch.setattr(socket, "socket", None)
    assert journal.query("""select '{"a":[1]}'::json -> '$.a[0]'""").rows == [("1",)]


def test_tables_of_the_user_are_within_reach_and_never_hide_ours(path: Path, journal: DuckDBJournal) -> None:
    assert journal._connection is not None
    journal._connection.execute("create table main.orders as select 7 as x")
    journal._connection.execute("create table main.events as select 8 as x")
    assert journal.query("select x from orders").rows == [(7,)]
    assert journal.query("select * from events").columns[0] == "instance_id"
    journal.release()
    journal.acquire(1)
    assert journal.query("select x from main.events").rows == [(8,)]


def test_an_answer_is_a_table_with_columns_below_each_other_whatever_stands_in_it(journal: DuckDBJournal) -> None:
    found = Answer(
        journal.query("select * from (values ('机の上', 1), ('a\u202eb' || chr(27) || '[31m<i>', 22)) as t(name, n)")
    )
    head, wide, plain = repr(found).splitlines()
    assert (head, plain) == ("name    n", "ab<i>   22")
    assert width(wide[: wide.index("1")]) == 8
    html = found._repr_html_()
    assert "ab&lt;i&gt;" in html and "\u202e" not in html
    assert html.count("padding:") == 6  # not every frontend has some room between columns
