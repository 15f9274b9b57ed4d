"""A fork's rows: what is taken over, what is open, and that the same code goes on from them as from its own history (R16, R17)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from romancy_nb.core import events as ev
from romancy_nb.core import forks, saga
from romancy_nb.core.activation import Execution
from romancy_nb.core.events import Event
from romancy_nb.core.invariants import check_history
from romancy_nb.core.replay import Numbered
from romancy_nb.errors import RunProblem
from romancy_nb.payloads.payload import Payload

from .corpus import CORPUS
from .driver import START, STEP, World, act, again, body_of, call, dump, here, replay, run, seeded

LATER = START + 10**10


def fork(rows: list[Numbered], at: int, edits: dict[str, Payload] | None = None) -> list[Numbered]:
    origin = forks.Origin(1, "inst", 1, at, "forked", LATER)
    made = list(enumerate(forks.forked(rows, edits or {}, origin, {"code": "now"}), 1))
    check_history(made)
    return made


def go_on(function: Any, rows: list[Numbered], seed: int = 0, **options: Any) -> World:
    return run(function, seeded(seed), rows=rows, now=LATER, **options)


def steps(world: World) -> list[int]:
    return [seq for seq, event in world.rows if event.kind in ev.INTENTS and event.call]


def names(world: World) -> list[str]:
    return [name for name, _ in world.executed]


async def chain() -> Any:
    a = await act("a", "a")
    b = await act("b", a)
    return [a, b, await act("c", b)]


async def branches() -> Any:
    a, b = await asyncio.gather(act("a", "a"), act("b", "b"))
    return [a, b, await act("c", a + b)]


@pytest.mark.parametrize("name", CORPUS)
def test_a_fork_at_any_step_of_any_program_comes_to_its_end_and_executes_nothing_that_was_delivered_before(
    name: str,
) -> None:
    function = CORPUS[name]
    for seed in range(2):
        world = run(function, seeded(seed))
        for at in steps(world):
            delivered = {e.call for seq, e in world.rows if e.kind in ev.DELIVERED and seq < at}
            if any(e.kind == ev.CANCEL_DELIVERED and seq < at for seq, e in world.rows):
                continue
            forked = go_on(function, fork(world.rows, at), seed, rebuild=seed == 1)
            assert forked.ended is not None
            # nothing that was recorded before is settled or asked for again
            beginning = fork(world.rows, at)
            assert forked.rows[: len(beginning)] == beginning
            again = {e.call for _, e in forked.rows[len(beginning) :] if e.kind in ev.INTENTS | ev.DELIVERED}
            assert not again & delivered
            assert replay(function, forked.rows).rows == []


def test_the_rows_before_the_step_are_taken_over_and_name_what_they_were_in_the_original() -> None:
    world = run(chain)
    made = fork(world.rows, steps(world)[2])
    kinds = [(event.kind, event.call) for _, event in made[1:]]
    assert kinds == [(event.kind, event.call) for _, event in world.rows[1:5]]
    assert [(event.meta or {})["reused"] for _, event in made[1:]] == [[1, 2], [1, 3], [1, 4], [1, 5]]
    start = made[0][1]
    assert start.call == "forked" and start.code == "now" and start.at == LATER
    assert (start.meta or {})["forked_from"] == ["inst", 1, 6]
    assert (start.meta or {})["seed"] == 5, "what the prefix drew has to be drawn again"
    assert names(go_on(chain, made)) == ["c"]


def test_an_edited_result_goes_on_in_the_place_of_the_recorded_one_and_is_marked() -> None:
    world = run(chain)
    made = fork(world.rows, steps(world)[2], {"0:1": dump("other")})
    forked = go_on(chain, made)
    assert forked.result == ["a(a)", "other", "c(other)"]
    marked = [event.kind for _, event in made if (event.meta or {}).get("edited")]
    assert marked == [ev.ACTIVITY_SCHEDULED, ev.ACTIVITY_COMPLETED]
    # a new run of the fork reuses the edited result, and says so
    second = again(chain, forked)
    assert second.executed == [] and second.result == forked.result
    assert any((event.meta or {}).get("edited") for _, event in second.rows)


def test_what_was_under_way_at_the_step_takes_the_outcome_that_it_came_to() -> None:
    world = run(branches)  # a and b are asked for together
    at = steps(world)[1]
    made = fork(world.rows, at)
    assert [event.kind for _, event in made] == [ev.RUN_STARTED, ev.ACTIVITY_SCHEDULED, ev.OUTCOME_RECORDED]
    forked = go_on(branches, made)
    assert sorted(names(forked)) == ["b", "c"] and forked.result == world.result
    edited = go_on(branches, fork(world.rows, at, {world.rows[1][1].call: dump("A")}))
    assert edited.result[0] == "A"


def test_what_failed_or_was_open_is_done_by_the_fork_itself() -> None:
    async def program() -> Any:
        failing = asyncio.ensure_future(act("fail", 1))
        done = await act("a", "a")
        try:
            await failing
        except Exception:
            return await act("after", done)

    world = run(program, lambda count: count - 1)
    place = next(e.call for _, e in world.rows if e.kind == ev.ACTIVITY_SCHEDULED and e.name == "fail")
    asked = next(seq for seq, e in world.rows if e.kind == ev.ACTIVITY_SCHEDULED and e.name == "a")
    made = fork(world.rows, max(asked, 3))
    assert [e.kind for _, e in made if e.call == place][:1] == [ev.ACTIVITY_SCHEDULED] or asked < 3
    forked = go_on(program, made)
    assert "fail" in names(forked) and forked.result == world.result


def test_a_timer_that_was_running_has_as_long_left_as_it_had() -> None:
    async def program() -> Any:
        waiting = asyncio.ensure_future(asyncio.sleep(60))
        await asyncio.sleep(0)
        first = await act("a", "a")
        second = await act("b", first)
        await waiting
        return second

    world = run(program)
    at = next(seq for seq, e in world.rows if e.kind == ev.ACTIVITY_SCHEDULED and e.name == "b")
    made = fork(world.rows, at)
    timer = next(event for _, event in made if event.kind == ev.TIMER_STARTED)
    assert (timer.meta or {})["due"] == LATER + 60_000_000 - STEP, "a second had passed when the step was asked for"
    assert go_on(program, made).result == world.result


def test_nothing_of_the_fork_undoes_what_the_original_did() -> None:
    undo = {"name": "unbook", "with": [], "result": False, "if": "completed"}

    async def program() -> Any:
        await act("a", "a", undo=undo)
        here().arm("tidy", "__main__", "d", dump([]), None, lambda: "v1")
        await act("b", "b", undo=undo)
        return await act("fail", "c")

    world = run(program)
    assert [step.of_name for step in saga.plan(world.rows).steps] == ["b", "tidy", "a"]
    at = next(seq for seq, e in world.rows if e.kind == ev.ACTIVITY_SCHEDULED and e.name == "b")
    forked = go_on(program, fork(world.rows, at))
    assert [step.of_name for step in saga.plan(forked.rows).steps] == ["b"]
    at = next(seq for seq, e in world.rows if e.kind == ev.ACTIVITY_SCHEDULED and e.name == "fail")
    forked = go_on(program, fork(world.rows, at))
    assert saga.plan(forked.rows).steps == []
    assert forked.report is not None
    # and a new run of the fork, which reuses what it has taken over, arms nothing for it either
    second = again(program, forked)
    assert names(second) == ["fail"] and saga.plan(second.rows).steps == []


def test_a_child_of_the_original_is_only_linked_and_one_that_was_open_is_the_forks_own() -> None:
    rows = [
        (1, Event(ev.RUN_STARTED, START, "inst", "wf", meta={"number": 1, "parent": {"instance": "x"}})),
        (2, Event(ev.CHILD_STARTED, START, "0:0", "ship", "d1", meta={"instance": "ship-1"})),
        (3, Event(ev.CHILD_COMPLETED, START + 1, "0:0", payload=dump(1))),
        (4, Event(ev.CHILD_STARTED, START + 1, "0.1:0", "ship", "d2", meta={"instance": "ship-2"})),
        (5, Event(ev.CHILD_STARTED, START + 1, "0.2:0", "ship", "d3", meta={"instance": "ship-3"})),
        (6, Event(ev.ACTIVITY_SCHEDULED, START + 1, "0:1", "a", "d4", payload=dump(1))),
        (7, Event(ev.CHILD_COMPLETED, START + 2, "0.1:0", payload=dump(2))),
    ]
    made = fork(rows, 6)
    begun = {event.call: event.meta or {} for _, event in made if event.kind == ev.CHILD_STARTED}
    assert begun["0:0"]["linked"] and begun["0:0"]["instance"] == "ship-1"
    assert begun["0.1:0"]["linked"] and begun["0.1:0"]["instance"] == "ship-2", "it has ended, and answers"
    assert "linked" not in begun["0.2:0"] and begun["0.2:0"]["instance"] not in {"ship-3", ""}
    assert "parent" not in (made[0][1].meta or {}), "nobody's child"


def test_an_event_that_had_come_by_then_is_received_in_the_fork_too_and_named_by_its_number_there() -> None:
    rows = [
        (1, Event(ev.RUN_STARTED, START, "inst", "wf", meta={"number": 1})),
        (2, Event(ev.WAIT_STARTED, START, "0:0", "go", "d", payload=dump({}))),
        (3, Event(ev.RUN_PAUSED, START, meta={"reason": "interrupt"})),
        (4, Event(ev.RUN_RESUMED, START, meta={"epoch": 2})),
        (5, Event(ev.EVENT_ARRIVED, START + 1, "", "go", "id", payload=dump(1))),
        (6, Event(ev.EVENT_RECEIVED, START + 1, "0:0", payload=dump(1), meta={"arrived": 5})),
        (7, Event(ev.ACTIVITY_SCHEDULED, START + 1, "0:1", "a", "d", payload=dump(1))),
        (8, Event(ev.EVENT_ARRIVED, START + 2, "", "late", "id2", payload=dump(1))),
    ]
    made = fork(rows, 7)
    assert [event.kind for _, event in made] == [ev.RUN_STARTED, ev.WAIT_STARTED, ev.EVENT_ARRIVED, ev.EVENT_RECEIVED]
    assert (made[3][1].meta or {})["arrived"] == 3


def test_where_it_cannot_be_forked_the_reason_and_the_way_on_are_named() -> None:
    rows: list[Numbered] = [
        (1, Event(ev.RUN_STARTED, START, "inst", "wf", meta={"number": 1})),
        (2, Event(ev.ACTIVITY_SCHEDULED, START, "0:0", "pay", "d", payload=dump(1), meta={"delivery": "at_most_once"})),
        (3, Event(ev.ATTEMPT_STARTED, START, "0:0", attempt=1)),
        (4, Event(ev.ACTIVITY_SCHEDULED, START, "0.1:0", "b", "d", payload=dump(1), meta={"undo": {"name": "u"}})),
        (5, Event(ev.ACTIVITY_COMPLETED, START + 1, "0.1:0", payload=dump(1))),
        (6, Event(ev.ACTIVITY_SCHEDULED, START + 1, "0.1:1", "b", "d2", payload=dump(1))),
    ]
    with pytest.raises(RunProblem, match=r"Step 2, .*in doubt.*resolve\(2"):
        fork(rows, 6)
    resolved = [*rows, (7, Event(ev.OUTCOME_RECORDED, START + 2, "0:0", attempt=1, payload=dump(1), meta={"ok": True}))]
    assert fork(resolved, 6)[-1][1].kind == ev.OUTCOME_RECORDED
    undone = [
        *resolved,
        (8, Event(ev.RUN_COMPENSATING, START + 3)),
        (9, Event(ev.COMPENSATION_SCHEDULED, START, "undo:0.1:0")),
    ]
    with pytest.raises(RunProblem, match=r"Step 4, .*undone.*fork\(at=4\)"):
        fork(undone, 6)
    assert fork(undone, 4) and fork(undone, 6, {"0.1:0": dump(2)})
    with pytest.raises(RunProblem, match="is an undo"):
        forks.find(undone, 9)
    with pytest.raises(RunProblem, match=r"2 steps are called 'b': step 4 .*step 6"):
        forks.find(rows, "b")
    with pytest.raises(RunProblem, match=r"There is no step 77\. Its steps are 2 pay, 4 b, 6 b"):
        forks.find(rows, 77)
    assert forks.find(rows, "0.1:1").seq == forks.find(rows, 6).seq == 6
    with pytest.raises(RunProblem, match=r"has not completed.*fork\(at=6\)"):
        forks.editable(forks.find(rows, 6))


def test_what_a_rn_saga_block_had_undone_is_undone_in_the_history_of_the_fork_and_the_rest_is_the_originals() -> None:
    undo = {"name": "unbook", "with": [], "result": False, "if": "completed"}

    def program() -> Any:
        call("a", "a", undo=undo)
        call("undo a", "x", undoes="0:0")
        return call("b", "b")

    world = run(program)
    after = fork(world.rows, steps(world)[2])
    first = next(event for _, event in after if event.call == "0:0")
    assert "shared" not in (first.meta or {}), "the code has undone it in what the fork takes over"
    assert saga.plan(after).steps == []
    before = fork(world.rows, steps(world)[1], {"0:0": dump("A")})
    first = next(event for _, event in before if event.call == "0:0")
    assert (first.meta or {}).get("shared")
    with pytest.raises(RunProblem, match="undone"):
        fork(world.rows, steps(world)[1])


def test_an_execution_that_begins_as_a_fork_takes_no_other_part_in_history_than_its_end() -> None:
    """Only a fork that has done nothing yet may ask for more than its history holds (C6)."""
    world = run(chain)
    forked = go_on(chain, fork(world.rows, steps(world)[2]))

    async def longer() -> Any:
        await chain()
        return await act("d", "d")

    cut = forked.rows[:-1]  # without the outcome of c: the code waits for it
    execution = Execution(body_of(longer), cut)
    report = execution.begin(LATER)
    assert report.mismatch is None and [each.command.name for each in report.calls] == ["c"]
    execution.put_down()

    async def other() -> Any:
        await act("a", "a")
        await act("x", "x")

    assert replay(other, forked.rows).mismatch is not None
    assert json.loads(json.dumps(forked.rows[0][1].meta))["fork_rows"] == 5
