"""Undoing and cancelling a parent reaches its children: those that completed are undone, those that run are cancelled (U1-U3)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb.core.invariants import check_history
from romancy_nb.definitions import registry
from romancy_nb.errors import CompensationFailed, RunCancelled, RunPaused

ONCE = rn.RetryPolicy(max_attempts=1)
LOG: list[str] = []
BROKEN: set[str] = set()
GATE = threading.Event()


@pytest.fixture(autouse=True)
def clean(journal: Path) -> None:
    LOG.clear()
    BROKEN.clear()
    GATE.clear()


@rn.compensation(retry=ONCE)
def give_back(item: str) -> None:
    if item in BROKEN:
        raise ConnectionError(f"{item} cannot be given back")
    LOG.append(f"give back {item}")


@rn.activity(compensation=give_back)
def take(item: str) -> str:
    LOG.append(f"take {item}")
    return item


@rn.activity(pivot=True)
def no_return() -> None:
    LOG.append("pivot")


@rn.activity
def look(item: str) -> str:
    LOG.append(f"look {item}")
    return item


@rn.activity(retry=ONCE)
def fails() -> None:
    raise ValueError("no car left")


@rn.workflow
def kid(item: str) -> str:
    return take(item)


@rn.workflow
def family(item: str) -> list[str]:
    return [take(f"{item}1"), kid(f"{item}2"), take(f"{item}3")]


@rn.workflow
def looks(item: str) -> str:
    return look(item)


@rn.workflow
def waits(item: str) -> None:
    take(item)
    rn.sleep(600)


@rn.workflow
def trip(n: int) -> None:
    take("a")
    family("b")
    looks("nothing")
    take("c")
    kid("d")
    fails()


def lawful() -> None:
    for each in rn.instances():
        check_history([(row.seq, row.event) for row in each.rows()])


def statuses() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in rn.instances():
        found.setdefault(each.workflow_name, set()).add(each.status)
    return found


def given_back() -> list[str]:
    return [each.removeprefix("give back ") for each in LOG if each.startswith("give back")]


def test_children_are_undone_in_their_turn_each_by_its_own_plan() -> None:
    with pytest.raises(ValueError, match="no car left"):
        trip(1)
    assert given_back() == ["d", "c", "b3", "b2", "b1", "a"]
    assert statuses() == {
        "trip": {"compensated"}, "family": {"compensated"}, "kid": {"compensated"}, "looks": {"completed"},
    }  # fmt: skip
    lawful()


def test_a_child_that_had_nothing_to_undo_answers_the_next_run_and_an_undone_one_does_not() -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="no car left"):
            trip(1)
    assert LOG.count("look nothing") == 1
    assert LOG.count("take d") == LOG.count("give back d") == 2
    assert len(rn.instances(workflow="family")) == 2
    lawful()


@rn.workflow
def passes_a_pivot(n: int) -> None:
    kid("kept")
    no_return()
    kid("b")
    fails()


def test_a_child_before_a_point_of_no_return_stands() -> None:
    with pytest.raises(ValueError, match="no car left") as failed:
        passes_a_pivot(1)
    assert given_back() == ["b"]
    assert any("Not undone: kid" in note for note in failed.value.__notes__)
    assert statuses()["kid"] == {"completed", "compensated"}


@rn.workflow
def sets_free(n: int) -> None:
    kid.start("free", detach=True)
    kid.start("linked", instance_id="linked").result()
    kid("own")
    fails()


def test_detached_and_linked_children_are_left_alone() -> None:
    with pytest.raises(ValueError, match="no car left"):
        sets_free(1)
    for each in rn.instances(workflow="kid"):
        if each.status != "compensated":
            each.result(20)
    assert given_back() == ["own"]
    lawful()


@rn.workflow
def goes_well(n: int) -> list[str]:
    return [take("a"), *family("b")]


def test_a_person_who_undoes_a_completed_parent_undoes_its_children() -> None:
    goes_well(1)
    (handle,) = rn.instances(workflow="goes_well")
    with pytest.raises(RunCancelled, match="Undone: family, take"):
        handle.compensate().result(20)
    assert given_back() == ["b3", "b2", "b1", "a"]
    lawful()


@pytest.mark.parametrize("action", ["retry", "skip", "done"])
def test_an_undo_of_a_child_that_gives_up_is_decided_at_its_parent(action: str) -> None:
    BROKEN.add("b2")
    with pytest.raises(CompensationFailed, match="of child family-"):
        trip(1)
    (handle,) = rn.instances(workflow="trip")
    assert handle.status == "compensation_failed"
    assert given_back() == ["d", "c", "b3"]
    rn.disconnect()
    if action == "retry":
        with pytest.raises(CompensationFailed):
            handle_of("trip").compensate("family", "retry").result(20)
        BROKEN.clear()
    handle = handle_of("trip").compensate("family", action)
    with pytest.raises(ValueError, match="no car left"):
        handle.result(20)
    assert handle.status == "compensated"
    assert given_back() == ["d", "c", "b3", *(["b2", "b1"] if action == "retry" else []), "a"]
    lawful()


def handle_of(name: str) -> Any:
    (found,) = rn.instances(workflow=name)
    return found


@rn.workflow
def holds(n: int) -> None:
    kid("a")
    outer("b")


@rn.workflow
def outer(item: str) -> None:
    waits(item)


@rn.workflow
def begun_and_left(n: int) -> None:
    waits.start("b")
    kid("a")
    rn.sleep(600)


@rn.workflow
def begun_and_failed(n: int) -> None:
    waits.start("b")
    while not seen():
        pass
    fails()


@rn.activity
def seen() -> bool:
    return "take b" in LOG


@pytest.mark.parametrize("flow", [holds, begun_and_left])
def test_cancelling_a_parent_cancels_what_runs_of_it_and_undoes_the_rest(flow: Any) -> None:
    handle = flow.start(1)
    while not {"take a", "take b"} <= set(LOG):
        handle.steps()
    handle.cancel("the customer called")
    with pytest.raises(RunCancelled, match="the customer called"):
        handle.result(20)
    assert sorted(given_back()) == ["a", "b"]
    assert statuses()["waits"] == {"cancelled"}
    lawful()


def test_a_parent_that_fails_cancels_the_children_that_it_left_running() -> None:
    with pytest.raises(ValueError, match="no car left"):
        begun_and_failed(1)
    assert given_back() == ["b"]
    assert statuses() == {"begun_and_failed": {"failed"}, "waits": {"cancelled"}}
    lawful()


def test_a_parent_that_was_interrupted_is_cancelled_with_its_children() -> None:
    handle = holds.start(1)
    while not {"take a", "take b"} <= set(LOG):
        handle.steps()
    rn.disconnect()
    handle = handle_of("holds")
    handle.cancel("enough")
    with pytest.raises(RunCancelled, match="enough"):
        handle.result(20)
    assert sorted(given_back()) == ["a", "b"]
    assert statuses() == {
        "holds": {"cancelled"},
        "outer": {"cancelled"},
        "waits": {"cancelled"},
        "kid": {"compensated"},
    }
    lawful()


def test_a_compensation_that_is_missing_for_a_child_rests_the_undo_of_its_parent() -> None:
    goes_well(1)
    handle = handle_of("goes_well")
    known = registry._defined.pop(("compensation", give_back.name))
    try:
        with pytest.raises(RunPaused, match="not defined here"):
            handle.compensate().result(20)
    finally:
        registry._defined["compensation", give_back.name] = known
    handle.resume()
    with pytest.raises(RunCancelled):
        handle.result(20)
    assert given_back() == ["b3", "b2", "b1", "a"]
    lawful()
