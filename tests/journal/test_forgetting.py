"""What is forgotten is gone from the file, and its space is given back (D5)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import duckdb
import pytest

import romancy_nb as rn
from romancy_nb.errors import CannotRestore, InstanceNotFound, RunProblem
from romancy_nb.journal.forgetting import forgotten_body
from romancy_nb.journal.on_duckdb import DuckDBJournal

BIG = 400_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rn.disconnect()
    found = tmp_path / "journal.duckdb"
    rn.connect(found)
    return found


RAN: list[str] = []


@rn.activity(retry=rn.RetryPolicy(max_attempts=1))
def fetch(word: str) -> bytes:
    RAN.append(word)
    if word == "bad":
        raise ValueError("unsayable")
    return word.encode() + os.urandom(BIG)


@rn.workflow
def keep(word: str) -> str:
    return f"told:{word}:{len(fetch(word))}"


def _bytes(path: Path) -> bytes:
    rn.disconnect()
    found = path.read_bytes()
    rn.connect(path)
    return found


def test_nothing_of_a_forgotten_instance_is_in_the_file_and_its_space_is_back(path: Path) -> None:
    keep("confidential"), keep("public")
    assert b"confidential" in _bytes(path)
    (found,) = (each for each in rn.instances() if "confidential" in each.result())
    assert rn.forget(found) > BIG / 2
    left = _bytes(path)
    assert b"confidential" not in left
    assert b"told:public" in left
    assert not [each for each in path.parent.iterdir() if "compact" in each.name or each.suffix == ".wal"]


def test_the_events_stay_and_say_forgotten(path: Path) -> None:
    found = keep.start("confidential")
    found.result(20)
    before = [row[:4] for row in found.history().fetchall()]
    rn.forget(found.id)
    assert [row[:4] for row in found.history().fetchall()] == before
    assert "$forgotten" in str(found.steps().fetchall())
    assert "forgotten" in str(found.timeline())
    with pytest.raises(CannotRestore, match="forgotten on request"):
        found.result()


def test_the_same_call_executes_everything_anew(path: Path) -> None:
    keep("a")
    rn.forget(rn.instances()[0])
    RAN.clear()
    keep("a"), keep("a")
    assert RAN == ["a"]
    assert rn.instances()[0].run == 2


def test_nobody_is_told_that_the_file_was_replaced_and_other_runs_go_on(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = keep.start("confidential")
    found.result(20)
    rn.forget(found.id)
    assert len(rn.instances()) == 1
    assert keep.start("public").result(20) == f"told:public:{BIG + 6}"
    assert not caplog.records


def test_errors_are_forgotten_too(path: Path) -> None:
    with pytest.raises(ValueError, match="unsayable"):
        keep("bad")
    rn.forget(rn.instances()[0])
    assert b"unsayable" not in _bytes(path)


def test_a_payload_that_another_instance_shares_stays(path: Path) -> None:
    long = "x" * 50_000

    @rn.workflow(name="echo")
    def echo(n: int) -> str:
        return long

    one, two = echo.start(1), echo.start(2)
    one.result(20), two.result(20)
    rn.forget(one)
    assert two.result() == long


def test_tables_of_the_users_own_survive(path: Path) -> None:
    keep("a")
    rn.disconnect()
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table mine as select 42 as answer")
    rn.connect(path)
    rn.forget(rn.instances()[0])
    rn.disconnect()
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("select answer from mine").fetchall() == [(42,)]


def test_what_runs_or_is_unknown_is_refused(path: Path) -> None:
    with pytest.raises(InstanceNotFound):
        rn.forget("nobody")

    @rn.workflow(name="sleeper")
    async def sleeper() -> None:
        import asyncio

        await asyncio.sleep(60)

    handle = sleeper.start()
    with pytest.raises(RunProblem, match="Stop it, or wait"):
        rn.forget(handle.id)


@pytest.mark.parametrize("where", ["compact", "put_in_place"])
def test_killed_while_forgetting_the_journal_is_whole(tmp_path: Path, where: str) -> None:
    script = f"""
    import os, romancy_nb as rn
    from romancy_nb.journal import forgetting, migrate
    rn.connect("journal.duckdb")
    @rn.activity
    def say(x): return "secretly " + x
    @rn.workflow
    def flow(x): return say(x)
    flow("a"), flow("b")
    if os.environ.get("DIE"):
        module = forgetting if "{where}" == "compact" else migrate
        setattr(module, "{where}", lambda *args: os.kill(os.getpid(), 9))
        rn.forget(rn.instances()[-1].id)
    print(sorted(i.status for i in rn.instances()), flow("b"))
    """
    text = textwrap.dedent(script)
    command = [sys.executable, "-c", text]
    died = subprocess.run(command, cwd=tmp_path, env={**os.environ, "DIE": "1"}, check=False)
    assert died.returncode == -signal.SIGKILL
    after = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert after.stdout.split() == ["['completed',", "'completed']", "secretly", "b"]


def test_a_forgotten_body_keeps_what_is_no_payload() -> None:
    body = 'AT\tTURN\tcall\tname\tdigest\tcode\t0\t{"number":1,"names":{"a":"a = 1"}}\t\t{"x":1}'
    assert forgotten_body(body, 7).split("\t")[:8] == [
        *("AT", "TURN", "call", "name", "digest", "code", "0"),
        '{"number":1,"forgotten":7}',
    ]
    assert "$forgotten" in forgotten_body(body) and '{"x":1}' not in forgotten_body(body)
    assert forgotten_body("AT\tT\tc\tn\td\te\t0\t\t\t").endswith("\t\t\t")


def test_a_journal_that_made_its_file_anew_does_not_take_it_for_somebody_elses(path: Path) -> None:
    found = keep.start("confidential")
    found.result(20)
    rn.disconnect()
    journal = DuckDBJournal(path)
    journal.acquire(5)
    try:
        (head,) = journal.runs(found.id)
        journal.forget([head.run], head.updated)
        assert not journal.foreign()
    finally:
        journal.release(for_good=True)
    assert not journal.foreign()
