"""Generated workflows that book, fail, catch, undo parts and are put down in the middle, against a small pure model."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import romancy_nb as rn
from romancy_nb.core import events as ev
from romancy_nb.core.invariants import check_history
from romancy_nb.errors import RomancyError

Program = list[Any]
"""["do", item], ["flaky", item], ["all", [items], fails], ["block", program, caught], ["pivot"], ["fail"], ["arm", item]"""

LEDGER: Counter[str] = Counter()
LOCK = threading.Lock()
TRIES: Counter[str] = Counter()
SOON = rn.RetryPolicy(max_attempts=3, initial=0.001, jitter=0)


class NoLuck(Exception):
    pass


def count(item: str, by: int) -> None:
    with LOCK:
        LEDGER[item] += by


@rn.compensation(retry=SOON)
def undo(item: str) -> None:
    if item.startswith("hard"):
        with LOCK:
            TRIES[item] += 1
            if TRIES[item] % 2:
                raise ConnectionError("once more")
    count(item, -1)


@rn.activity(compensation=undo, retry=SOON)
def do(item: str) -> str:
    count(item, 1)
    return item


@rn.activity(compensation=undo, retry=SOON)
async def do_async(item: str) -> str:
    count(item, 1)
    return item


@rn.activity(retry=1)
def fails() -> None:
    raise NoLuck


@rn.activity(pivot=True)
def pivot(number: int) -> None: ...


@rn.compensation
def undo_armed(item: str) -> None:
    count(item, -1)


@rn.activity
def plainly(item: str) -> None:
    count(item, 1)


def perform(program: Program) -> None:
    for number, (what, *rest) in enumerate(program):
        if what == "do":
            do(rest[0])
        elif what == "all":
            calls = [(do_async if n % 2 else do).bind(item) for n, item in enumerate(rest[0])]
            rn.gather(*calls, *([fails.bind()] if rest[1] else []))
        elif what == "block":
            try:
                with rn.saga():
                    perform(rest[0])
            except NoLuck:
                if not rest[1]:
                    raise
        elif what == "pivot":
            pivot(number)
        elif what == "arm":
            plainly(rest[0])
            rn.compensate_with(undo_armed, rest[0])
        else:
            fails()


@rn.workflow
def generated(program: list[Any]) -> str:
    perform(program)
    return "done"


class Failed(Exception):
    pass


def model(program: Program, done: list[str]) -> None:
    """What stands in the end: *done* is what can be undone, in order; "|" marks a point of no return."""
    for what, *rest in program:
        if what in {"do", "arm"}:
            done.append(rest[0])
        elif what == "all":
            done.extend(rest[0])
            if rest[1]:
                raise Failed
        elif what == "block":
            inside: list[str] = []
            try:
                model(rest[0], inside)
            except Failed:
                done.extend(item for item in inside if item == "|")  # its own calls are undone
                if not rest[1]:
                    raise
            else:
                done.extend(inside)
        elif what == "pivot":
            done.append("|")
        else:
            raise Failed


def expected(program: Program) -> tuple[bool, Counter[str]]:
    done: list[str] = []
    try:
        model(program, done)
    except Failed:
        last = max((n for n, item in enumerate(done) if item == "|"), default=-1)
        return False, Counter(item for item in done[: last + 1] if item != "|")
    return True, Counter(item for item in done if item != "|")


def programs() -> st.SearchStrategy[Program]:
    items = st.sampled_from(["a", "b", "c", "hard-d", "hard-e"])
    leaf = st.one_of(
        st.tuples(st.just("do"), items),
        st.tuples(st.just("arm"), items),
        st.tuples(st.just("all"), st.lists(items, min_size=1, max_size=4), st.booleans()),
        st.tuples(st.just("fail")),
    )
    inner = st.lists(leaf, min_size=1, max_size=4)
    block = st.tuples(st.just("block"), inner, st.booleans())
    steps = st.one_of(leaf, block, st.tuples(st.just("pivot")))
    return st.lists(steps, min_size=1, max_size=6).map(_as_lists)


def _as_lists(value: Any) -> Any:
    return [_as_lists(each) for each in value] if isinstance(value, (list, tuple)) else value


@pytest.fixture(scope="module", autouse=True)
def one_journal(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("programs") / "journal.duckdb"
    rn.connect(path)
    yield path
    rn.disconnect()


def check(handle: Any, program: Program, succeeded: bool) -> None:
    rows = [(row.seq, row.event) for row in handle.rows()]
    check_history(rows)
    completes, stands = expected(program)
    assert succeeded == completes, program
    assert Counter({item: n for item, n in LEDGER.items() if n}) == stands, program
    ended = {
        e.call: seq for seq, e in rows if e.kind in {ev.ACTIVITY_COMPLETED, ev.LATE_OUTCOME, ev.COMPENSATION_ARMED}
    }
    undone = [e.call.removeprefix("undo:") for _, e in rows if e.kind == ev.COMPENSATION_SCHEDULED]
    order = [ended[place] for place in undone]
    assert order == sorted(order, reverse=True), program


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(program=programs())
def test_what_stands_in_the_end_is_what_the_model_says_and_the_undo_goes_backwards(program: Program) -> None:
    LEDGER.clear()
    handle = generated.start(program, new="always")
    try:
        succeeded = handle.result(30) == "done"
    except NoLuck:
        succeeded = False
    except ExceptionGroup:
        succeeded = False
    check(handle, program, succeeded)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(program=programs(), after=st.integers(0, 12))
def test_put_down_anywhere_and_taken_up_again_it_comes_to_the_same(
    program: Program, after: int, one_journal: Path
) -> None:
    """The journal is disconnected after some commits, as a kernel's restart does it; effects are at least once."""
    from romancy_nb.testing import on_commit

    LEDGER.clear()
    reached = threading.Event()
    with on_commit(after=lambda number, batch: reached.set() if number > after else None):
        handle = generated.start(program, new="always")
        reached.wait(0.2)
    rn.disconnect()
    rn.connect(one_journal)
    handle = rn.instance(handle.id)
    if handle.status == "interrupted":
        handle.resume()
    try:
        succeeded = handle.result(30) == "done"
    except (NoLuck, ExceptionGroup):
        succeeded = False
    except RomancyError as error:
        raise AssertionError(f"{program} after {after}: {error}") from error
    check_history([(row.seq, row.event) for row in handle.rows()])
    completes, _ = expected(program)
    assert succeeded == completes, program
    assert handle.status in {"completed", "failed", "compensated"}
