"""Bad input, and many calls at once: each is one clear error, and the process is usable afterwards."""

from __future__ import annotations

import concurrent.futures
import threading
from pathlib import Path
from typing import Any

import pytest
from faulty import plain, usable

import romancy_nb as rn
from romancy_nb import errors

pytestmark = pytest.mark.usefixtures("and_afterwards_the_process_is_usable")


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
