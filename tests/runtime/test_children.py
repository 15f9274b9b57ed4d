"""A workflow that is called in a workflow is a child: an instance of its own, which belongs to its parent (R13)."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.errors import ChildCycle, InputsDiffer, RunCancelled, RunPaused, WrongArguments, WrongPlace

ONCE = rn.RetryPolicy(max_attempts=1)
LOG: list[str] = []
GATE = threading.Event()
FACTS: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def clean(journal: Path) -> None:
    LOG.clear()
    FACTS.clear()
    GATE.clear()


@rn.activity
def take(item: str) -> str:
    LOG.append(item)
    return f"took {item}"


@rn.activity(retry=ONCE)
def gated(item: str) -> str:
    GATE.wait(20)
    LOG.append(item)
    return item


@rn.activity(retry=ONCE)
def no(item: str) -> str:
    error = LookupError(f"no {item}")
    error.add_note("a note of the activity's")
    raise error


@rn.workflow
def ship(item: str) -> str:
    return take(item)


@rn.workflow
async def ship_async(item: str) -> str:
    return await take.aio(item)


@rn.workflow
def slow(item: str) -> str:
    return gated(item)


@rn.workflow
def refuses(item: str) -> str:
    return no(item)


@rn.workflow
def order(n: int) -> list[Any]:
    return [ship("a"), ship_async.sync("b"), *rn.gather(ship.bind("c"), ship_async.bind("d"))]


@rn.workflow
async def order_async(n: int) -> list[Any]:
    return [await ship.aio("a"), await ship_async("b"), *await asyncio.gather(ship.aio("c"), ship_async("d"))]


def lawful(*instances: Any) -> None:
    for each in instances:
        check_history([(row.seq, row.event) for row in each.rows()])


def only(name: str) -> Any:
    (found,) = rn.instances(workflow=name)
    return found


def rows(query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in rn.sql(query).df().itertuples(index=False)]


# -- calling ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", [order, order_async])
def test_a_child_of_either_colour_is_called_like_an_activity(flow: Any) -> None:
    assert flow.run(1) == ["took a", "took b", "took c", "took d"]
    assert sorted(LOG) == ["a", "b", "c", "d"]
    assert flow.run(1) == ["took a", "took b", "took c", "took d"]
    assert len(LOG) == 4
    lawful(*rn.instances())


def test_parent_and_child_know_each_other() -> None:
    order(1)
    parent = only("order")
    kids = parent.children()
    assert [(kid.workflow_name, kid.status) for kid in kids] == [
        ("ship", "completed"), ("ship_async", "completed"), ("ship", "completed"), ("ship_async", "completed"),
    ]  # fmt: skip
    assert {kid.parent.id for kid in kids} == {parent.id}
    assert parent.parent is None
    assert rows(f"select count(*) from instances where parent = '{parent.id}'") == [(4,)]
    assert rows(f"select kind, name, status from steps where instance_id = '{parent.id}' order by seq limit 1") == [
        ("child", "ship", "completed")
    ]


def test_the_same_call_at_top_level_is_another_instance() -> None:
    order(1)
    assert ship("a") == "took a"
    assert LOG.count("a") == 2


@rn.workflow
def catches(n: int) -> Any:
    try:
        refuses("lamp")
    except LookupError as error:
        return [str(error), error.__notes__[0]]
    return None


def test_the_failure_of_a_child_is_the_error_that_its_parent_gets() -> None:
    assert catches(1) == ["no lamp", "a note of the activity's"]
    with pytest.raises(LookupError, match="no lamp"):
        only("refuses").result()
    rn.disconnect()
    assert catches(1) == ["no lamp", "a note of the activity's"]


@rn.workflow
def passes_on(n: int) -> None:
    refuses("lamp")


def test_a_childs_failure_counts_as_reported_so_the_parent_fails_and_is_tried_again_with_the_child() -> None:
    with pytest.raises(LookupError):
        passes_on(1)
    assert only("passes_on").status == "failed"
    with pytest.raises(LookupError):
        passes_on(1)
    assert only("refuses").run == 1  # the child was tried again, and not begun beside the first


@rn.workflow
async def forgets(n: int) -> None:
    ship_async("a")  # pyright: ignore[reportUnusedCoroutine]


def test_a_child_that_is_called_and_not_awaited_is_named() -> None:
    with pytest.raises(rn.errors.UnawaitedCall, match="calls workflow ship_async and never awaits it"):
        forgets.run(1)


# -- handles ---------------------------------------------------------------------------------------------------------------


@rn.workflow
def later(n: int) -> list[str]:
    handle = slow.start("x")
    try:
        handle.result(timeout=0.05)
    except TimeoutError:
        opens()
    return [handle.result(), handle.result()]


@rn.activity
def opens() -> None:
    GATE.set()


@rn.workflow
async def later_async(n: int) -> list[str]:
    handle = slow.start("x")
    try:
        async with asyncio.timeout(0.05):
            await handle
    except TimeoutError:
        await opens.aio()
    return [await handle, await handle]


@pytest.mark.parametrize("flow", [later, later_async])
def test_a_handle_is_waited_for_with_a_timeout_that_leaves_the_child_alone(flow: Any) -> None:
    assert flow.run(1) == ["x", "x"]
    assert LOG == ["x"]
    lawful(*rn.instances())
    rn.disconnect()
    assert flow.run(1) == ["x", "x"]


@rn.workflow
def leaves_open(n: int) -> str:
    slow.start("x")
    return take("a")


def test_a_parent_does_not_end_before_its_children() -> None:
    handle = leaves_open.start(1)
    while "a" not in LOG:
        handle.steps()
    assert handle.status in {"running", "waiting"}
    GATE.set()
    assert handle.result(20) == "took a"
    assert only("slow").status == "completed"
    lawful(handle, only("slow"))


@rn.workflow
def lets_go(n: int) -> str:
    return slow.start("x", detach=True).id


def test_a_detached_child_lives_on() -> None:
    child = lets_go(1)
    assert only("lets_go").status == "completed"
    GATE.set()
    assert rn.instance(child).result(20) == "x"


@rn.workflow
def changes_its_mind(n: int) -> str:
    handle = slow.start("x", detach=n == 2)
    if n:
        begins()
    handle.cancel("not needed")
    opens()
    try:
        handle.result()
    except RunCancelled as error:
        return str(error)
    return ""


@rn.activity
def begins() -> None:
    while not rn.instances(workflow="slow"):
        pass


@pytest.mark.parametrize("number", [1, 2])
def test_a_handle_cancels_its_child_detached_or_not(number: int) -> None:
    assert "was cancelled by" in changes_its_mind(number)
    with pytest.raises(RunCancelled, match="not needed"):
        only("slow").result(20)
    lawful(*rn.instances())


def test_a_child_that_is_cancelled_before_it_has_begun_never_does() -> None:
    assert "was cancelled by" in changes_its_mind(0)
    assert not rn.instances(workflow="slow")
    lawful(*rn.instances())


@rn.workflow
def links(name: str) -> str:
    return ship.start("a", instance_id=name).result()


def test_a_given_id_links_to_whatever_instance_has_it() -> None:
    ship.start("a", instance_id="mine").result()
    assert links("mine") == "took a"
    assert LOG == ["a"]
    assert rn.instance("mine").parent is None
    ship.start("b", instance_id="other").result()
    with pytest.raises(InputsDiffer):
        links("other")


@rn.workflow
def asks_wrongly(what: str) -> None:
    if what == "new":
        ship.start("a", new=True)
    elif what == "run":
        ship.run("a")
    elif what == "block":
        with rn.saga():
            ship("a")


@pytest.mark.parametrize(
    ("what", "kind", "match"),
    [("new", WrongArguments, "detach"), ("run", WrongPlace, "then it is a child"), ("block", WrongPlace, "rn.saga")],
)
def test_what_a_child_cannot_be_is_refused_with_the_way_out(what: str, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        asks_wrongly(what)
    with pytest.raises(WrongPlace, match="belongs into workflow code"):
        ship.start("a", detach=True)


# -- cycles ----------------------------------------------------------------------------------------------------------------


@rn.workflow
def ping(n: int) -> int:
    return pong(n)


@rn.workflow
def pong(n: int) -> int:
    return ping(n)


@rn.workflow
def deeper(n: int) -> int:
    return deeper(n + 1)


@rn.workflow
def countdown(n: int) -> int:
    return countdown(n - 1) + 1 if n else 0


def test_a_workflow_cannot_be_its_own_ancestor_with_the_same_inputs() -> None:
    with pytest.raises(ChildCycle, match="ping -> pong -> ping"):
        ping(1)
    with pytest.raises(ChildCycle, match="100 is the limit"):
        deeper(1)
    assert countdown(20) == 20


# -- pausing, mending, running again ---------------------------------------------------------------------------------------


@rn.workflow(on_failure="pause")
def pauses(item: str) -> str:
    take(item)
    if not FACTS.get("mended"):
        no(item)
    return item


@rn.workflow
def above(n: int) -> str:
    take("before")
    return pauses("x")


def test_a_child_that_pauses_pauses_its_parent_and_both_go_on() -> None:
    with pytest.raises(LookupError):
        above(1)
    assert (only("above").status, only("pauses").status) == ("paused", "paused")
    with pytest.raises(LookupError, match="no x"):
        only("above").result()
    lawful(*rn.instances())


def define(text: str) -> Any:
    space: dict[str, Any] = {"rn": rn, "take": take, "__name__": __name__}
    import linecache

    name = f"/somewhere/code-{len(linecache.cache)}.py"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    exec(compile(text, name, "exec"), space)
    return space["top"]


HEAD = """
@rn.activity
def work(x: str) -> str:
    take("work-" + x)
    return x{edit}

@rn.workflow
def low(x: str) -> str:
    return work(x)

@rn.workflow
def side(x: str) -> str:
    return take("side-" + x)

@rn.workflow
def top(n: int) -> list[str]:
    return [low("a"), side("b"), {end}]
"""


def test_after_an_edit_of_the_parent_finished_children_are_reused() -> None:
    assert define(HEAD.format(edit="", end="'1'"))(1) == ["a", "took side-b", "1"]
    known = sorted(LOG)
    assert define(HEAD.format(edit="", end="'2'"))(1) == ["a", "took side-b", "2"]
    assert sorted(LOG) == known
    assert len(rn.instances()) == 3


def test_after_an_edit_of_a_child_that_child_alone_runs_anew_in_its_instance() -> None:
    define(HEAD.format(edit="", end="'1'"))(1)
    assert define(HEAD.format(edit=" + '!'", end="'1'"))(1) == ["a!", "took side-b", "1"]
    assert LOG.count("side-b") == 1
    assert LOG.count("work-a") == 2
    (low,) = rn.instances(workflow="low")
    assert low.run == 2
    assert low.parent is not None
    lawful(*rn.instances())


def test_a_parent_that_was_interrupted_takes_its_children_up_again() -> None:
    handle = leaves_open.start(1)
    while "a" not in LOG:
        handle.steps()
    rn.disconnect()
    GATE.set()
    assert leaves_open(1) == "took a"
    assert only("slow").result(20) == "x"


def test_code_and_history_of_a_parent_are_checked_like_any() -> None:
    order(1)
    assert rn.check(order)
    assert only("order").check().fits


def test_a_thousand_children_side_by_side_cost_no_more_each_than_a_hundred() -> None:
    import time

    @rn.workflow
    def many(n: int) -> int:
        return len(rn.gather(*[ship.bind(f"{n}-{each}") for each in range(n)]))

    times = []
    for n in (100, 1000):
        began = time.perf_counter()
        assert many(n) == n
        times.append((time.perf_counter() - began) / n)
    assert times[1] < 3 * times[0] + 0.001


def test_a_child_that_a_person_cancels_is_told_to_its_parent() -> None:
    handle = leaves_open_and_asks.start(1)
    while not rn.instances(workflow="sleeps"):
        handle.steps()
    only("sleeps").cancel("no more")
    assert "no more" in handle.result(20)


@rn.workflow
def sleeps(n: int) -> None:
    rn.sleep(600)


@rn.workflow
def leaves_open_and_asks(n: int) -> str:
    try:
        sleeps(n)
    except RunCancelled as error:
        return str(error)
    return ""


def test_a_child_can_be_resumed_alone_and_its_parent_finds_what_it_came_to() -> None:
    handle = leaves_open.start(1)
    while "a" not in LOG or not rn.instances(workflow="slow"):
        handle.steps()
    rn.disconnect()
    child = only("slow")
    GATE.set()
    assert child.resume().result(20) == "x"
    with pytest.raises(RunPaused):
        only("leaves_open").result()
    assert leaves_open(1) == "took a"
    assert LOG.count("x") in {1, 2}  # the first attempt's thread may have come through


def test_the_timeline_of_a_parent_shows_its_children() -> None:
    order(1)
    shown = str(only("order").timeline())
    assert shown.count("ship(") == 2
    assert shown.count("ship_async(") == 2
    assert "called no activity" not in shown
