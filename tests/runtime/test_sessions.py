"""``ctx.session``: an activity's writes to the journal's database and its record are one transaction (S1, S2)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from forking import Zygote

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.errors import AttemptTimeout, SessionError, WrongPlace

ONCE = rn.RetryPolicy(max_attempts=1)
SOON = rn.RetryPolicy(max_attempts=4, initial=0.01, jitter=0)
PROGRAM = Path(__file__).with_name("session_program.py")


@pytest.fixture(autouse=True)
def fresh(journal: Path) -> Path:
    return journal


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """Ask the user's tables, when nobody has the journal open."""
    rn.disconnect()
    with duckdb.connect(str(path)) as connection:
        return connection.execute(query).fetchall()


@rn.activity(retry=SOON)
def add(n: int) -> int:
    session = rn.context().session
    session.execute("create table if not exists added (n integer)")
    session.execute("insert into added values (?)", [n])
    found = session.execute("select count(*) from added").fetchone()
    assert found is not None
    return int(found[0])


def test_what_an_activity_writes_stands_once_it_has_completed(journal: Path) -> None:
    @rn.workflow
    def flow(n: int) -> list[int]:
        return [add(1), add(2)]

    assert flow(1) == [1, 2]
    handle = rn.instances()[0]
    check_history([(row.seq, row.event) for row in handle.rows()])
    assert flow(1) == [1, 2]
    assert rows(journal, "select n from added order by n") == [(1,), (2,)]


def test_a_failing_attempt_leaves_nothing_and_the_retry_has_a_session_of_its_own(journal: Path) -> None:
    @rn.activity(retry=SOON)
    def shaky(n: int) -> int:
        session = rn.context().session
        session.execute("create table if not exists tries (attempt integer)")
        session.execute("insert into tries values (?)", [rn.context().attempt])
        if rn.context().attempt < 3:
            raise ConnectionError("not yet")
        return rn.context().attempt

    @rn.workflow
    def flow(n: int) -> int:
        return shaky(n)

    assert flow(1) == 3
    assert rows(journal, "select attempt from tries") == [(3,)]


def test_sessions_do_not_see_each_others_unfinished_work_and_a_conflict_is_retried(journal: Path) -> None:
    both = threading.Barrier(2)
    met: list[int] = []

    @rn.activity(retry=SOON)
    def prepare() -> None:
        rn.context().session.execute("create table counter as select 0 as n")

    @rn.activity(retry=SOON)
    def increase(which: int) -> int:
        session = rn.context().session
        found = session.execute("select n from counter").fetchone()
        assert found is not None
        if rn.context().attempt == 1:
            met.append(int(found[0]))
            both.wait(10)
        session.execute("update counter set n = n + 1")
        return rn.context().attempt

    @rn.workflow
    def flow(n: int) -> list[int]:
        prepare()
        return list(rn.gather(increase.bind(1), increase.bind(2)))

    attempts = flow(1)
    assert met == [0, 0], "neither saw the other's work"
    assert sorted(attempts)[0] == 1 and sorted(attempts)[1] > 1, "one met a conflict and was tried again"
    assert rows(journal, "select n from counter") == [(2,)]


def test_an_async_activity_has_a_session_too(journal: Path) -> None:
    @rn.activity(retry=ONCE)
    async def later(n: int) -> int:
        rn.context().session.execute("create table if not exists later (n integer)")
        await asyncio.sleep(0.01)
        rn.context().session.executemany("insert into later values (?)", [[n], [n + 1]])
        return n

    @rn.workflow
    async def flow(n: int) -> int:
        return await later(n)

    assert flow.run(5) == 5
    assert rows(journal, "select n from later order by n") == [(5,), (6,)]


def test_an_attempt_that_is_abandoned_is_rolled_back_and_told_so(journal: Path) -> None:
    told: list[BaseException] = []
    gate, over = threading.Event(), threading.Event()

    @rn.activity(retry=ONCE, timeout=0.2)
    def slow(n: int) -> int:
        session = rn.context().session
        session.execute("create table if not exists slow (n integer)")
        session.execute("insert into slow values (1)")
        gate.wait(10)
        try:
            session.execute("insert into slow values (2)")
        except BaseException as error:
            told.append(error)
        over.set()
        return n

    @rn.workflow
    def flow(n: int) -> int:
        return slow(n)

    with pytest.raises(AttemptTimeout):
        flow(1)
    gate.set()
    assert over.wait(10)
    assert isinstance(told[0], SessionError) and "abandoned or has ended" in str(told[0])
    assert rows(journal, "select count(*) from duckdb_tables() where table_name = 'slow'") == [(0,)]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("commit", "does not take TRANSACTION statements"),
        ("rollback", "does not take TRANSACTION statements"),
        ("attach ':memory:' as other", "does not take ATTACH statements"),
        ("use memory", "does not take"),
        ("detach journal", "does not take DETACH statements"),
        ("delete from romancy.history_rows", "does not write to the schema `romancy`"),
        ('drop table "romancy"."outcomes"', "does not write to the schema `romancy`"),
        ("select 1; commit", "does not take TRANSACTION statements"),
    ],
)
def test_what_a_session_does_not_do_is_said_in_one_paragraph(sql: str, says: str) -> None:
    @rn.activity(retry=ONCE)
    def wrong(sql: str) -> None:
        rn.context().session.execute(sql)

    @rn.workflow
    def flow(sql: str) -> None:
        wrong(sql)

    with pytest.raises(SessionError, match=says):
        flow.start(sql).result(10)


def test_the_journals_own_views_can_be_read() -> None:
    @rn.activity(retry=ONCE)
    def look(n: int) -> int:
        found = rn.context().session.execute("select count(*) from romancy.steps").fetchone()
        assert found is not None
        return int(found[0])

    @rn.workflow
    def flow(n: int) -> int:
        return look(n)

    assert flow(1) == 1


def test_a_session_is_not_for_plain_calls_nor_for_others() -> None:
    kept: list[object] = []

    @rn.activity(retry=ONCE)
    def keeps(n: int) -> None:
        kept.append(rn.context().session)

    @rn.activity(retry=ONCE)
    def uses(n: int) -> None:
        kept[0].execute("select 1")  # type: ignore[attr-defined]

    @rn.workflow
    def flow(n: int) -> None:
        keeps(n)
        uses(n)

    with pytest.raises(WrongPlace, match="called as a plain function"):
        keeps(1)
    with pytest.raises(SessionError, match="outside the attempt"):
        flow.start(1).result(10)


def test_a_data_frame_is_appended_and_a_large_result_committed_with_it(journal: Path) -> None:
    pandas = pytest.importorskip("pandas")

    @rn.activity(retry=ONCE)
    def store(n: int) -> str:
        session = rn.context().session
        session.execute("create table frame (a integer, b varchar)")
        session.append("frame", pandas.DataFrame({"b": ["x", "y"], "a": [1, 2]}))
        return "long " * 5000

    @rn.workflow
    def flow(n: int) -> str:
        return store(n)

    assert flow(1) == "long " * 5000
    assert rows(journal, "select a, b from frame order by a") == [(1, "x"), (2, "y")]


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    found = Zygote(PROGRAM)
    yield found
    found.close()


def environment(folder: Path, crash: str) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    return {"ROMANCY_JOURNAL": str(folder / "j.duckdb"), "COUNT": str(folder / "commits"), "CRASH": crash or "::"}


@pytest.mark.crash
def test_killed_at_any_commit_the_users_rows_and_the_record_agree(zygote: Zygote, tmp_path: Path) -> None:
    code, output = zygote.run([], environment(tmp_path / "straight", ""), tmp_path / "output")
    assert (code, json.loads(output.splitlines()[-1])) == (0, 21), output
    commits = int((tmp_path / "straight" / "commits").read_text())
    crashes = [f"commit:{n}:{when}" for n in range(1, commits + 1) for when in ("before", "after")]
    crashes += [f"session:{n}:{when}" for n in range(1, 8) for when in ("before", "after")]
    if os.environ.get("ROMANCY_CRASHES") != "all":
        crashes = crashes[:: max(1, len(crashes) // 12)]
    killed = 0
    for crash in crashes:
        folder = tmp_path / crash.replace(":", "-")
        code, output = zygote.run([], environment(folder, crash), folder / "output")
        assert code in (0, -signal.SIGKILL), output[-2000:]
        killed += code != 0
        code, output = zygote.run([], environment(folder, ""), folder / "output")
        assert (code, json.loads(output.splitlines()[-1])) == (0, 21), f"{crash}: {output[-2000:]}"
        with duckdb.connect(str(folder / "j.duckdb")) as connection:
            found = connection.execute("select n from added order by n").fetchall()
        assert found == [(n,) for n in range(7)], f"{crash}: a write was lost or made twice: {found}"
    assert killed > len(crashes) / 2
    print(f"{len(crashes)} cases, {killed} killed")


def test_a_script_that_used_sessions_ends_without_a_word(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import romancy_nb as rn\n"
        "@rn.activity\n"
        "def add(ctx, n: int) -> int:\n"
        "    session = ctx.session\n"
        "    session.execute('create table if not exists t (n int)')\n"
        "    session.execute('insert into t values (?)', [n])\n"
        "    kept = session.execute('select n from t')\n"
        "    return session.execute('select count(*) from t').fetchone()[0]\n"
        "@rn.workflow\n"
        "def flow(n: int) -> int:\n"
        "    return add(n)\n"
        "assert flow.run(3) == 1\n"
    )
    found = subprocess.run(
        [sys.executable, str(program)],
        env=os.environ
        | {"ROMANCY_JOURNAL": str(tmp_path / "j.duckdb"), "PYTHONPATH": str(Path(rn.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert found.stdout == "" and "leaked" not in found.stderr, found.stderr
