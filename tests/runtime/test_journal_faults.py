"""A journal that fails, is full, read-only or held by another process: no effect is lost and none repeated."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from faulty import SLACK, plain, script, stop_after, until, usable

import romancy_nb as rn
from romancy_nb import errors, testing

pytestmark = pytest.mark.usefixtures("and_afterwards_the_process_is_usable")


# -- the journal fails -------------------------------------------------------------------------------------------------


def disk_full() -> Exception:
    return errors.JournalUnwritable("the disk is full")


def counted_flow(calls: list[str]) -> Any:
    @rn.activity
    def one() -> int:
        calls.append("one")
        return 1

    @rn.activity
    def two(value: int) -> int:
        calls.append("two")
        return value + 1

    @rn.workflow
    def flow() -> int:
        return two(one())

    return flow


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_commit_that_fails_once_is_not_noticed(journal: Path, number: int) -> None:
    calls: list[str] = []
    flow = counted_flow(calls)
    rn.connect()
    with testing.fail_commits(disk_full, {number}):
        assert flow() == 2
    assert calls == ["one", "two"]


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("times", [2, 3, 7])
@pytest.mark.parametrize("how", ["call", "start"])
def test_commits_that_fail_lose_no_effect_and_repeat_none(journal: Path, number: int, times: int, how: str) -> None:
    calls: list[str] = []
    flow = counted_flow(calls)
    rn.connect()
    with testing.fail_commits(disk_full, set(range(number, number + times))):
        with pytest.raises(errors.JournalUnwritable, match="disk is full"):
            if how == "call":
                flow()
            else:
                flow.start().result(5)
        before = list(calls)
        # a busy machine cuts a turn in two, and then fewer of them fit before the commit that fails
        assert before == ["one", "two"][: len(before)] and len(before) < number
        deadline = time.monotonic() + 15
        while True:
            try:
                assert flow() == 2
                break
            except errors.JournalUnwritable:
                assert time.monotonic() < deadline
    assert calls == ["one", "two"]
    rn.disconnect()
    assert flow() == 2
    assert calls == ["one", "two"]


def test_a_failed_commit_reaches_every_waiter_and_spares_the_rest(journal: Path) -> None:
    calls: list[str] = []
    flow = counted_flow(calls)
    assert usable(1) == 2

    def outcome() -> object:
        try:
            return flow.start().result(10)
        except errors.JournalUnwritable as error:
            return error

    with testing.fail_commits(disk_full, {1, 2}), concurrent.futures.ThreadPoolExecutor(3) as pool:
        found = [future.result(20) for future in [pool.submit(outcome) for _ in range(3)]]
    assert any(isinstance(one, errors.JournalUnwritable) for one in found)
    assert usable(1) == 2
    assert flow() == 2
    assert calls == ["one", "two"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_named(journal: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    with pytest.raises(errors.JournalUnwritable, match="closed"):
        rn.connect(folder / "journal.duckdb")
    rn.disconnect()


def test_a_journal_that_cannot_be_made_is_named(journal: Path) -> None:
    with pytest.raises((errors.JournalError, OSError), match="proc"):
        rn.connect("/proc/journal.duckdb")
    rn.disconnect()


# -- other processes ---------------------------------------------------------------------------------------------------


@contextmanager
def held_elsewhere(journal: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the journal and does not listen to the bell."""
    holder = script(
        """
        import os, sys
        from romancy_nb.journal.on_duckdb import DuckDBJournal
        journal = DuckDBJournal(os.environ["ROMANCY_JOURNAL"])
        journal.acquire(30)
        print("held", flush=True)
        sys.stdin.readline()
        journal.release()
        """
    )
    assert holder.stdout is not None and holder.stdin is not None
    assert holder.stdout.readline().strip() == "held"
    try:
        yield holder
    finally:
        if holder.poll() is None:
            holder.communicate("\n", timeout=10)


def test_a_held_journal_times_out_calls_naming_the_holder_and_fails_no_run(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("romancy_nb.runtime.engine.PATIENCE", 0.5)
    go, started = threading.Event(), threading.Event()
    calls: list[int] = []

    @rn.activity
    def waits() -> int:
        calls.append(1)
        started.set()
        go.wait(20)
        return 5

    @rn.workflow
    def flow() -> int:
        return waits() + plain(1)

    handle = flow.start()
    assert started.wait(5)
    with held_elsewhere(journal) as holder:
        go.set()
        begun = time.monotonic()
        with pytest.raises(errors.JournalBusy, match=str(holder.pid)):
            usable(1)
        assert time.monotonic() - begun < 3 * SLACK
        with pytest.raises(errors.JournalBusy):
            rn.instances()
    assert handle.result(10) == 6
    assert calls == [1]


def test_stop_while_waiting_for_a_held_journal_lets_go_and_begins_nothing(journal: Path) -> None:
    calls: list[str] = []
    flow = counted_flow(calls)
    rn.connect()
    until(lambda: not engine_holds(), 5)
    with held_elsewhere(journal):
        waiting = time.monotonic() + 0.3
        with stop_after(lambda: time.monotonic() > waiting) as pressed, pytest.raises(KeyboardInterrupt):
            flow()
        assert time.monotonic() - pressed[0] < 5 * SLACK
    assert usable(1) == 2
    assert not calls
    assert flow() == 2


def engine_holds() -> bool:
    from romancy_nb.runtime.launch import current

    return current().journal.held


def test_a_full_disk_loses_no_effect_and_repeats_none(journal: Path, tmp_path: Path) -> None:
    done = script(
        """
        import logging, os, resource, signal, sys
        import romancy_nb as rn
        from romancy_nb import errors
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        class Calls(list): pass  # plain data would be part of the code (R6)
        calls = Calls()
        @rn.activity
        def one():
            calls.append("one")
            return os.urandom(3_000_000)
        @rn.activity
        def two(data: bytes):
            calls.append("two")
            return len(data)
        @rn.activity
        def zero():
            calls.append("zero")
            return 0
        @rn.workflow
        def flow():
            zero()
            return two(one())
        @rn.workflow
        def other(n: int):
            return n
        assert other(1) == 1
        size = os.path.getsize(os.environ["ROMANCY_JOURNAL"])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500_000, hard))
        for n in range(2):
            try:
                print("unexpected", flow())
            except errors.JournalError as error:
                print("refused:", str(error)[:200])
        assert calls == ["zero", "one"], (1, calls)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert flow() == 3_000_000
        assert calls == ["zero", "one", "two"], (2, calls)
        print("fine")
        """
    )
    out, _ = done.communicate(timeout=60)
    assert out.splitlines()[-1:] == ["fine"], out


def test_the_back_off_survives_a_kill(journal: Path, tmp_path: Path) -> None:
    source = """
        import json, os, sys, time
        import romancy_nb as rn
        from romancy_nb import testing
        from pathlib import Path
        @rn.activity(retry=rn.RetryPolicy(max_attempts=3, initial=1.5, jitter=0))
        def flaky():
            with open(os.environ["LEDGER"], "a") as file:
                print(json.dumps([time.time(), rn.context().attempt, rn.context().idempotency_key]), file=file)
            if rn.context().attempt < 2:
                raise ConnectionError("down")
            return rn.context().attempt
        @rn.workflow
        def flow():
            return flaky()
        if sys.stdin.readline().strip() == "die":
            testing.crash_at(2, "after")
        print(flow())
        """
    import json

    ledger = tmp_path / "ledger"
    script_ = lambda word: script(source, LEDGER=str(ledger)).communicate(word + "\n", timeout=30)  # noqa: E731
    script_("die")
    out, _ = script_("go")
    assert out.splitlines()[-1] == "2", out
    (at, one, key), (later, two, same) = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert (one, two) == (1, 2)
    assert key == same
    assert 1.4 <= later - at < 2.6 + SLACK


@pytest.mark.parametrize("on_doubt", ["ask", "fail"])
def test_at_most_once_is_never_executed_again_after_a_kill(journal: Path, tmp_path: Path, on_doubt: str) -> None:
    source = """
        import os, sys
        import romancy_nb as rn
        from romancy_nb import testing
        @rn.activity(delivery="at_most_once", on_doubt=os.environ["ON_DOUBT"], retry=1)
        def pay():
            with open(os.environ["LEDGER"], "a") as file:
                print("paid", file=file)
            if os.environ["WORD"] == "die":
                testing.die()
        @rn.workflow
        def flow():
            pay()
        try:
            flow()
        except rn.errors.RomancyError as error:
            print(type(error).__name__, error)
        print(rn.instances()[0].status)
        """
    ledger = tmp_path / "ledger"
    for word in ("die", "go", "go"):
        out, _ = script(source, LEDGER=str(ledger), WORD=word, ON_DOUBT=on_doubt).communicate(timeout=30)
    assert ledger.read_text() == "paid\n"
    assert "pay" in out and "started" in out
    assert out.splitlines()[-1] == ("paused" if on_doubt == "ask" else "failed"), out
