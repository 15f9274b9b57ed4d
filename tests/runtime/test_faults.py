"""Bad input and faults: each is one clear error, nothing recorded is lost, and the process is usable afterwards."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb import errors, testing

ROOT = Path(rn.__file__).parent.parent
SLACK = max(1.0, 1.5 * os.getloadavg()[0] / (os.cpu_count() or 1))
"""Limits in seconds are for a machine that does nothing else."""
FAST = rn.RetryPolicy(max_attempts=3, initial=0.01, jitter=0)


def until(true: Callable[[], Any], seconds: float = 5.0) -> Any:
    """Poll until *true* is, and return what it says."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.005)
    raise AssertionError(f"not within {seconds:g} s")


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "romancy_nb"]


@contextmanager
def stop_after(condition: Callable[[], Any], again: float | None = None) -> Iterator[list[float]]:
    """Press Stop once *condition* holds; yields a list that gets the time at which it was pressed."""
    pressed: list[float] = []

    def press() -> None:
        until(condition, 10)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
        if again is not None:
            time.sleep(again)
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield pressed
    finally:
        try:
            thread.join()
        except KeyboardInterrupt:  # nobody was there any more to take it
            thread.join()


@rn.activity
def plain(value: int) -> int:
    return value


@rn.workflow
def usable(value: int) -> int:
    return plain(value) + 1


@pytest.fixture(autouse=True)
def and_afterwards_the_process_is_usable(journal: Path) -> Iterator[None]:
    yield
    started = time.monotonic()
    assert usable.start(int(time.monotonic() * 1e6)).result(10)
    assert time.monotonic() - started < 5 * SLACK


# -- wrong input -------------------------------------------------------------------------------------------------------


def test_an_unknown_instance_is_named_with_the_journal(journal: Path) -> None:
    with pytest.raises(errors.InstanceNotFound, match="no-such.*journal.duckdb"):
        rn.instance("no-such")


def test_wrong_arguments_are_refused_before_anything_starts(journal: Path) -> None:
    with pytest.raises(errors.WrongArguments):
        usable()  # type: ignore[call-arg]
    with pytest.raises(errors.WrongArguments):
        usable.start("not a number")  # type: ignore[arg-type]
    assert len(rn.instances()) == 0


def test_an_argument_that_cannot_be_journaled_is_named_and_nothing_is_executed(journal: Path) -> None:
    calls = []

    @rn.activity
    def take(thing: Any) -> int:
        calls.append(1)
        return 1

    @rn.workflow
    def flow() -> int:
        return take({"deep": [threading.Lock()]})

    with pytest.raises(errors.NotJournalable, match=r"deep.*0"):
        flow()
    assert not calls


def test_a_result_that_cannot_be_journaled_is_executed_once_and_the_error_names_the_path(journal: Path) -> None:
    calls = []

    @rn.activity(retry=5)
    def give() -> Any:
        calls.append(1)
        return {"rows": [1, lambda: 2]}

    @rn.workflow
    def flow() -> Any:
        return give()

    with pytest.raises(errors.NotJournalable, match=r"give.*rows.*1|rows.*1.*give"):
        flow()
    assert calls == [1]


def test_a_text_that_is_no_unicode_hurts_its_own_run_only(journal: Path) -> None:
    calls = []

    @rn.activity(retry=1)
    def bad() -> str:
        calls.append(1)
        return "half \ud800"

    @rn.workflow
    def flow() -> str:
        return bad()

    others = [usable.start(n) for n in range(20)]
    try:
        flow()  # whether kept or refused, it is executed once
    except errors.NotJournalable:
        pass
    assert calls == [1]
    assert [other.result(5) for other in others] == list(range(1, 21))


def test_a_workflow_whose_result_cannot_be_journaled_says_so(journal: Path) -> None:
    @rn.workflow
    def flow() -> Any:
        plain(1)
        return (n for n in range(3))

    with pytest.raises(errors.NotJournalable, match="flow"):
        flow()


# -- strange code ------------------------------------------------------------------------------------------------------


class Odd(BaseException):
    pass


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Picky(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Odd("odd"), StopIteration(1), StopAsyncIteration()]
)
@pytest.mark.parametrize("colour", ["def", "async"])
def test_what_an_activity_raises_that_is_no_exception_arrives_as_activity_error(
    journal: Path, error: BaseException, colour: str
) -> None:
    def raising() -> int:
        raise error

    async def raising_async() -> int:
        raise error

    if colour == "async" and isinstance(error, (StopIteration, StopAsyncIteration)):
        pytest.skip("Python itself turns it into RuntimeError")
    act = rn.activity(retry=1)(raising if colour == "def" else raising_async)

    @rn.workflow
    def flow() -> str:
        try:
            act.sync()
        except errors.ActivityError as caught:
            return caught.original
        return "nothing"

    assert flow.start().result(5).rpartition(".")[2] == type(error).__name__


def test_exceptions_with_broken_text_or_constructor_arrive_as_themselves(journal: Path) -> None:
    @rn.activity(retry=1)
    def untold() -> int:
        raise NoText("x")

    @rn.activity(retry=1)
    def picky() -> int:
        raise Picky(7, reason="why not")

    @rn.workflow
    def flow() -> list[Any]:
        found: list[Any] = []
        for act in (untold, picky):
            try:
                act()
            except (NoText, Picky) as caught:
                found.append([type(caught).__name__, getattr(caught, "code", None)])
        return found

    assert flow.start().result(5) == [["NoText", None], ["Picky", 7]]


def test_sys_exit_in_an_activity_ends_neither_pool_nor_process(journal: Path) -> None:
    @rn.activity(retry=1)
    def leave() -> int:
        sys.exit(3)

    @rn.workflow
    def flow() -> int:
        return leave()

    with pytest.raises(errors.ActivityError, match="3"):
        flow()


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), Odd("odd"), StopIteration(1), NoText()])
@pytest.mark.parametrize("colour", ["def", "async"])
def test_whatever_a_workflow_raises_ends_that_run_only(journal: Path, error: BaseException, colour: str) -> None:
    @rn.workflow
    def flow() -> int:
        raise error

    @rn.workflow
    async def flow_async() -> int:
        raise error

    other = usable.start(5)
    handle = (flow if colour == "def" else flow_async).start()
    with pytest.raises(BaseException):
        handle.result(5)
    assert handle.status == "failed"
    assert other.result(5) == 6


def test_a_generator_function_is_refused_or_its_result_is_no_lazy_generator(journal: Path) -> None:
    def numbers() -> Iterator[int]:
        yield 1

    try:
        act = rn.activity(retry=1)(numbers)
    except errors.DefinitionError:
        return

    @rn.workflow
    def flow() -> Any:
        return act()

    with pytest.raises(errors.NotJournalable):
        flow()


def test_a_workflow_inside_an_activity_is_a_clear_error(journal: Path) -> None:
    @rn.activity(retry=1)
    def calls() -> int:
        return usable(1)

    @rn.workflow
    def through() -> int:
        return calls()

    with pytest.raises(errors.WrongPlace, match="usable"):
        through.start().result(5)


def test_asyncio_run_in_a_workflow_is_a_clear_error(journal: Path) -> None:
    async def nothing() -> int:
        return 1

    @rn.workflow
    def flow() -> int:
        work = nothing()
        try:
            return asyncio.run(work)
        finally:
            work.close()

    with pytest.raises(RuntimeError):
        flow.start().result(5)


def test_deep_recursion_of_a_def_workflow_fails_that_run_only(journal: Path) -> None:
    def down(n: int) -> int:
        return down(n + 1)

    @rn.workflow
    def flow() -> int:
        return down(0)

    with pytest.raises(RecursionError):
        flow.start().result(10)


def test_recursion_with_calls_at_the_bottom_works(journal: Path) -> None:
    def down(n: int) -> int:
        return plain(n) if n == 300 else down(n + 1)

    @rn.workflow
    def flow() -> int:
        return down(0)

    assert flow.start().result(10) == 300


# -- code that does not let go -----------------------------------------------------------------------------------------


def test_a_spinning_workflow_is_named_with_its_line_and_holds_up_nobody(
    journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    free = threading.Event()

    @rn.workflow
    def spin() -> int:
        plain(1)
        while not free.is_set():
            pass
        return 1

    handle = spin.start()
    others = [usable.start(n) for n in range(6)]
    started = time.monotonic()
    try:
        assert [other.result(5) for other in others] == list(range(1, 7))
        until(lambda: [text for text in texts(caplog) if "test_faults.py:" in text and "spin" in text], 3)
        assert time.monotonic() - started < 4.0 * SLACK
    finally:
        free.set()
    assert handle.result(5) == 1


def test_runs_on_the_stuck_thread_go_on_elsewhere(journal: Path) -> None:
    free = threading.Event()

    @rn.activity
    async def nap(value: int) -> int:
        await asyncio.sleep(0.3)
        return value

    @rn.workflow
    def waits(value: int) -> int:
        return nap.sync(value) + nap.sync(value + 1)

    @rn.workflow
    def spin() -> int:
        while not free.is_set():
            pass
        return 1

    others = [waits.start(n) for n in range(8)]
    handle = spin.start()
    try:
        assert [other.result(8) for other in others] == [2 * n + 1 for n in range(8)]
        late = [step for other in others for step in other.history().dicts() if step["kind"] == "late_outcome"]
        assert not late
    finally:
        free.set()
    assert handle.result(5) == 1


def test_stop_breaks_a_spinning_workflow_of_this_thread(journal: Path) -> None:
    spinning = threading.Event()

    @rn.workflow
    def spin() -> int:
        plain(1)
        spinning.set()
        while True:
            pass

    rn.connect()
    with stop_after(spinning.is_set) as pressed, pytest.raises(errors.RunInterrupted):
        spin()
    assert time.monotonic() - pressed[0] < 5 * SLACK
    assert rn.instances()[0].status == "paused"


def test_an_async_activity_that_blocks_its_loop_delays_the_async_ones_only(journal: Path) -> None:
    free, blocked = threading.Event(), threading.Event()

    @rn.activity
    async def blocks() -> int:
        blocked.set()
        free.wait(5)
        return 1

    @rn.workflow
    def flow() -> int:
        return blocks.sync()

    handle = flow.start()
    assert blocked.wait(5)
    assert usable.start(1).result(5) == 2
    free.set()
    assert handle.result(5) == 1


# -- time ------------------------------------------------------------------------------------------------------------


def test_an_async_attempt_over_its_time_is_cancelled(journal: Path) -> None:
    ended = []

    @rn.activity(retry=1, timeout=0.1)
    async def slow() -> int:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("cancelled")
        return 1

    @rn.workflow
    def flow() -> int:
        return slow.sync()

    with pytest.raises(errors.AttemptTimeout, match="slow.*0.1"):
        flow.start().result(5)
    assert ended == ["cancelled"]


def test_a_def_attempt_over_its_time_is_abandoned_and_its_late_outcome_recorded(
    journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    free = threading.Event()

    @rn.activity(retry=1, timeout=0.1)
    def slow() -> int:
        free.wait(10)
        return 42

    @rn.workflow
    def flow() -> int:
        return slow()

    handle = flow.start()
    with pytest.raises(errors.AttemptTimeout, match="abandoned"):
        handle.result(5)
    free.set()
    kinds = lambda: [row["kind"] for row in handle.history().dicts()]  # noqa: E731
    until(lambda: "late_outcome" in kinds())
    assert "attempt_abandoned" in kinds()
    assert any("recorded as late" in text for text in texts(caplog))


def test_attempts_are_recorded_and_what_is_hopeless_is_not_tried_again(journal: Path) -> None:
    calls: list[str] = []

    @rn.activity(retry=FAST)
    def flaky() -> int:
        calls.append("flaky")
        if calls.count("flaky") < 3:
            raise ValueError("not yet")
        return rn.context().attempt

    @rn.activity(retry=rn.RetryPolicy(initial=0.01, give_up_on=(KeyError,)))
    def given_up() -> int:
        calls.append("given_up")
        raise KeyError("no")

    @rn.activity(retry=FAST)
    def terminal() -> int:
        calls.append("terminal")
        raise rn.TerminalError("never")

    @rn.workflow
    def flow() -> int:
        for act in (given_up, terminal):
            try:
                act()
            except (KeyError, rn.TerminalError):
                pass
        return flaky()

    handle = flow.start()
    assert handle.result(5) == 3
    assert calls == ["given_up", "terminal", "flaky", "flaky", "flaky"]
    failed = [row for row in handle.history().dicts() if row["kind"] == "attempt_failed"]
    assert [row["attempt"] for row in failed] == [1, 2]


def test_the_idempotency_key_is_one_per_call(journal: Path) -> None:
    keys: list[str] = []

    @rn.activity(retry=FAST)
    def note(value: int) -> str:
        keys.append(rn.context().idempotency_key)
        if len(keys) in (1, 2):
            raise ValueError
        return keys[-1]

    @rn.workflow
    def flow(n: int) -> list[str]:
        return [note(1), note(1), note(2)]

    first = flow.start(1).result(5)
    assert keys[:3] == [first[0]] * 3
    second = flow.start(2).result(5)
    assert len({*first, *second}) == 6


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


def script(source: str, **environment: str) -> subprocess.Popen[str]:
    """Run *source* in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


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


# -- many at once ------------------------------------------------------------------------------------------------------


def test_a_thousand_instances_started_at_once_all_end(journal: Path) -> None:
    handles = [usable.start(n) for n in range(1000)]
    assert [handle.result(30) for handle in handles] == list(range(1, 1001))


def test_two_threads_call_workflows_at_once(journal: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = [pool.submit(usable, n % 10) for n in range(40)]
        assert [future.result(20) for future in found] == [n % 10 + 1 for n in range(40)]


def test_redefining_while_an_instance_runs_changes_the_next_run_only(journal: Path) -> None:
    go, started = threading.Event(), threading.Event()
    calls: list[str] = []

    def old(value: int) -> int:
        calls.append("old")
        started.set()
        go.wait(10)
        return value

    def new(value: int) -> int:
        calls.append("new")
        return value * 100

    old.__name__ = old.__qualname__ = new.__name__ = new.__qualname__ = "act"
    act = rn.activity(old)

    def body() -> int:
        return act(1) + act(2)

    body.__name__ = body.__qualname__ = "redefined"
    handle = rn.workflow(body).start()
    assert started.wait(5)
    rn.activity(new)
    go.set()
    assert handle.result(5) == 3
    assert calls == ["old", "old"]


# -- putting down ------------------------------------------------------------------------------------------------------


def test_disconnect_while_running_and_the_same_call_goes_on(journal: Path) -> None:
    calls: list[str] = []
    go, waiting = threading.Event(), threading.Event()

    @rn.activity
    def one() -> int:
        calls.append("one")
        return 1

    @rn.activity
    async def two() -> int:
        calls.append("two")
        waiting.set()
        while not go.is_set():
            await asyncio.sleep(0.005)
        return 2

    @rn.workflow
    def flow() -> int:
        return one() + two.sync()

    handle = flow.start()
    assert waiting.wait(5)
    rn.disconnect()
    with pytest.raises(errors.RomancyError):
        handle.result(5)
    with pytest.raises(errors.RomancyError):
        _ = handle.status
    go.set()
    assert flow() == 3
    assert calls[:1] == ["one"] and calls.count("one") == 1


def test_disconnect_tells_everybody_who_waits(journal: Path) -> None:
    go, waiting = threading.Event(), threading.Event()

    @rn.activity
    def holds() -> int:
        waiting.set()
        go.wait(10)
        return 1

    @rn.workflow
    def flow() -> int:
        return holds()

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(flow), pool.submit(lambda: flow.start().result())]
        assert waiting.wait(5)
        rn.disconnect()
        for call in calls:
            with pytest.raises(errors.RomancyError):
                call.result(5)
        go.set()


def test_what_is_asked_behind_a_disconnect_is_refused_and_does_not_take_the_file_again(journal: Path) -> None:
    handle = usable.start(0)
    assert handle.result(10) == 1
    engine = handle._engine
    entered, gate = threading.Event(), threading.Event()

    def hold_up(_: Any) -> None:
        entered.set()
        gate.wait(10)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        held = pool.submit(engine.ask, hold_up)
        assert entered.wait(10)
        ended = pool.submit(rn.disconnect)
        until(lambda: engine.inbox.qsize() == 1)
        asked = pool.submit(engine.ask, lambda engine: None)
        until(lambda: engine.inbox.qsize() == 2)
        gate.set()
        for each in (held, ended):
            each.result(10)
        with pytest.raises(errors.RomancyError):
            asked.result(10)
    assert not engine.journal.held


def test_connecting_elsewhere_puts_the_runs_down_and_both_journals_go_on(journal: Path, tmp_path: Path) -> None:
    calls: list[str] = []
    go, waiting = threading.Event(), threading.Event()

    @rn.activity
    async def holds() -> int:
        calls.append("holds")
        waiting.set()
        while not go.is_set():
            await asyncio.sleep(0.005)
        return 1

    @rn.workflow
    def flow() -> int:
        return holds.sync()

    flow.start()
    assert waiting.wait(5)
    rn.connect(tmp_path / "other.duckdb")
    go.set()
    assert flow() == 1
    rn.connect(journal)
    assert flow() == 1
    assert len(rn.instances()) == 1


def test_a_result_that_does_not_come_is_a_timeout_and_the_run_goes_on(journal: Path) -> None:
    go = threading.Event()

    @rn.activity
    def holds() -> int:
        go.wait(10)
        return 1

    @rn.workflow
    def flow() -> int:
        return holds()

    handle = flow.start()
    with pytest.raises(TimeoutError, match=r"0\.1"):
        handle.result(timeout=0.1)
    go.set()
    assert handle.result(5) == 1


def test_an_instance_can_be_awaited(journal: Path) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(*(usable.start(n) for n in range(3)))

    assert asyncio.run(main()) == [1, 2, 3]


# -- Stop --------------------------------------------------------------------------------------------------------------


def test_stop_pauses_at_once_and_the_next_call_waits_for_what_still_runs(journal: Path) -> None:
    calls: list[str] = []
    running, go = threading.Event(), threading.Event()

    @rn.activity
    def one() -> int:
        calls.append("one")
        return 1

    @rn.activity
    def stubborn() -> int:
        calls.append("stubborn")
        running.set()
        while not go.is_set():
            try:
                go.wait(0.05)
            except KeyboardInterrupt:
                calls.append("interrupted")
        return 2

    @rn.workflow
    def flow() -> int:
        return one() + stubborn()

    rn.connect()
    with stop_after(running.is_set) as pressed, pytest.raises(errors.RunInterrupted, match="stubborn"):
        flow()
    assert time.monotonic() - pressed[0] < 5 * SLACK
    assert rn.instances()[0].status == "paused"
    again = flow.start()
    threading.Timer(0.2, go.set).start()
    assert again.result(5) == 3
    assert [call for call in calls if call != "interrupted"] == ["one", "stubborn"]


def test_an_outcome_that_comes_while_the_run_is_paused_is_kept(journal: Path) -> None:
    calls: list[str] = []
    running, go = threading.Event(), threading.Event()

    @rn.activity
    def stubborn() -> int:
        calls.append("stubborn")
        running.set()
        while not go.is_set():
            try:
                go.wait(0.05)
            except KeyboardInterrupt:
                pass
        return 2

    @rn.workflow
    def flow() -> int:
        return stubborn()

    rn.connect()
    with stop_after(running.is_set), pytest.raises(errors.RunInterrupted):
        flow()
    handle = rn.instances()[0]
    go.set()
    until(lambda: [row for row in handle.history().dicts() if row["kind"] == "outcome_recorded"])
    rn.disconnect()
    assert flow() == 2
    assert calls == ["stubborn"]


def test_stop_twice_lets_go_at_once_and_nothing_is_lost(journal: Path) -> None:
    running, go = threading.Event(), threading.Event()
    calls: list[str] = []

    @rn.activity
    def one() -> int:
        calls.append("one")
        return 1

    @rn.activity
    def sleeps() -> int:
        running.set()
        if not go.is_set():
            time.sleep(1.0)
        return 2

    @rn.workflow
    def flow() -> int:
        return one() + sleeps()

    rn.connect()
    with stop_after(running.is_set, again=0.02) as pressed, pytest.raises(KeyboardInterrupt):
        flow()
        until(lambda: False, 2)
    assert time.monotonic() - pressed[0] < 5 * SLACK
    go.set()
    assert flow() == 3
    assert calls == ["one"]


def test_stop_of_a_follower_leaves_the_run_alone(journal: Path) -> None:
    running, go = threading.Event(), threading.Event()

    @rn.activity
    def holds() -> int:
        running.set()
        go.wait(10)
        return 1

    @rn.workflow
    def flow() -> int:
        return holds()

    handle = flow.start()
    assert running.wait(5)
    waiting = time.monotonic() + 0.2
    with stop_after(lambda: time.monotonic() > waiting), pytest.raises(errors.RunInterrupted, match="background"):
        flow()
    assert handle.status == "running"
    go.set()
    assert handle.result(5) == 1


def test_stop_breaks_an_activity_that_runs_in_this_thread(journal: Path) -> None:
    running, calls = threading.Event(), []

    @rn.activity(executor="main", retry=1)
    def here() -> str:
        calls.append(threading.current_thread() is threading.main_thread())
        running.set()
        if len(calls) == 1:
            time.sleep(10)
        return "done"

    @rn.workflow
    def flow() -> str:
        return here()

    rn.connect()
    with stop_after(running.is_set) as pressed, pytest.raises(errors.RunInterrupted):
        flow()
    assert time.monotonic() - pressed[0] < 5 * SLACK
    assert flow() == "done"
    assert calls == [True, True]


# -- executors ---------------------------------------------------------------------------------------------------------

_PROCESSES = concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
_THREADS = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine")


@rn.activity(executor=_PROCESSES, retry=1)
def in_a_process(value: int) -> list[int]:
    if value < 0:
        raise ValueError("negative")
    return [value, os.getpid()]


@rn.activity(executor=_THREADS, retry=1)
def in_my_thread() -> str:
    return threading.current_thread().name


@pytest.fixture
def pools() -> Iterator[None]:
    yield
    _PROCESSES.shutdown()
    _THREADS.shutdown()


def test_executors_of_the_user_execute_and_fail_as_they_should(journal: Path, pools: None) -> None:
    @rn.workflow
    def flow() -> list[Any]:
        try:
            in_a_process(-1)
        except ValueError as error:
            return [in_a_process(3), in_my_thread(), str(error)]
        return []

    (value, pid), thread, error = flow.start().result(20)
    assert value == 3 and pid != os.getpid()
    assert thread.startswith("mine")
    assert error == "negative"


def test_a_call_that_is_cancelled_before_it_begins_does_not_hold_up_the_end(journal: Path) -> None:
    """Found by the random programs: a task that is cancelled before its first step never says that it has ended."""

    @rn.activity
    async def never() -> int:
        await asyncio.sleep(60)
        return 1

    @rn.activity
    async def busy() -> int:
        time.sleep(0.02)  # the activities' loop is late
        return 1

    @rn.workflow
    async def flow(number: int) -> str:
        try:
            async with asyncio.timeout(0.004):
                await asyncio.gather(busy(), *(never() for _ in range(5)))
        except TimeoutError:
            return "too long"
        return "in time"

    handles = [flow.start(n) for n in range(20)]
    assert [handle.result(20) for handle in handles] == ["too long"] * 20


def test_an_activity_leaves_the_interpreter_as_it_was_so_that_a_profiler_works(journal: Path) -> None:
    # taking an asynchronous exception back with NULL leaves "something is pending" set: 3.11 hangs in cProfile then
    process = script(
        """
        import cProfile
        import romancy_nb as rn

        @rn.activity
        def one(n: int) -> int:
            return n

        @rn.workflow
        def flow(n: int) -> int:
            return one(n)

        flow(1)
        profile = cProfile.Profile()
        profile.enable()
        flow(2)
        profile.disable()
        print("profiled")
        """,
        ROMANCY_JOURNAL=str(journal),
    )
    try:
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "profiled" in said
