"""Forks of instances: what goes on, what is shared, what is refused, what is left when a process dies (R16, R17)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import ledger
import pytest
from forking import Zygotes
from lawful import lawful
from processes import until

import romancy_nb as rn
from romancy_nb.errors import EventRefused, RomancyError, RunProblem, WrongArguments

ONCE = rn.RetryPolicy(max_attempts=1)
LOG: list[str] = []
KEYS: dict[str, set[str]] = {}
FAIL: set[str] = set()


@pytest.fixture(autouse=True)
def clean(journal: Path) -> None:
    LOG.clear()
    KEYS.clear()
    FAIL.clear()


def note(what: str) -> None:
    LOG.append(what)
    KEYS.setdefault(what, set()).add(rn.context().idempotency_key)
    if what in FAIL:
        raise LookupError(f"{what} failed")


@rn.compensation
def frk_release(item: str, result: str) -> None:
    note(f"release {item}")


@rn.activity(compensation=frk_release, retry=ONCE)
def frk_hold(item: str) -> str:
    note(f"hold {item}")
    return f"held {item}"


@rn.activity(retry=ONCE)
def frk_quote(item: str) -> int:
    note(f"quote {item}")
    return 100


@rn.activity(retry=ONCE)
async def frk_settle(price: int) -> str:
    note(f"settle {price}")
    return f"settled {price}"


@rn.activity(delivery="at_most_once", retry=ONCE)
def frk_charge(price: int) -> str:
    note(f"charge {price}")
    return "charged"


def frk_tidy(what: str) -> None:
    LOG.append(f"tidy {what}")


@rn.workflow
def frk_stay(item: str) -> list[str]:
    held = frk_hold(item)
    rn.compensate_with(frk_tidy, item)
    price = frk_quote(held)
    car, key = rn.gather(frk_hold.bind("car"), frk_hold.bind("key"))
    return [held, car, key, frk_charge(price)]


@rn.workflow
async def frk_deal(item: str) -> list[Any]:
    one, two = await asyncio.gather(frk_settle(1), frk_settle(2))
    drawn = rn.uuid4().hex
    made = rn.side_effect(lambda: "noted")
    return [one, two, drawn, made, await frk_settle(3)]


@rn.workflow
def frk_inner(item: str) -> str:
    return frk_hold(item)


@rn.workflow
def frk_outer(item: str) -> str:
    inner = frk_inner(item)
    frk_settle_it(inner)
    return inner


@rn.activity(retry=ONCE)
def frk_settle_it(what: str) -> str:
    note(f"settle {what}")
    return what


@rn.workflow
async def frk_asks(item: str) -> list[Any]:
    first = await rn.wait_event("frk.first", type=int)
    second = await frk_settle(first)
    third = await rn.wait_event("frk.third", type=int)
    return [first, second, third]


@rn.workflow
def frk_block(item: str) -> str:
    try:
        with rn.saga():
            frk_hold("in the block")
            frk_quote("in the block")
    except LookupError:
        pass
    return frk_hold("after")


def original(workflow: Any = frk_stay, item: str = "room") -> Any:
    handle = workflow.start(item)
    handle.result(30)
    LOG.clear()
    return handle


def test_a_fork_goes_on_from_a_step_with_an_edited_result_and_the_original_stays_as_it_was() -> None:
    made = original()
    before = made.history().fetchall()
    fork = made.fork(edits={"frk_quote": 80})
    assert fork.result(30) == ["held room", "held car", "held key", "charged"]
    assert sorted(LOG) == ["charge 80", "hold car", "hold key"]
    assert all(len(KEYS[what]) == 2 for what in ("hold car", "hold key")), "keys of its own (A4)"
    quote = next(row for row in made.steps().dicts() if row["name"] == "frk_quote")
    assert fork.forked_from == (made.id, 1, quote["seq"] + 2) and made.forked_from is None
    assert made.history().fetchall() == before and made.status == "completed"
    assert fork.id != made.id and fork.workflow_name == made.workflow_name
    lawful(fork)
    shown = str(fork.timeline())
    assert f"forked from {made.id}, run 1, at step {quote['seq'] + 2}" in shown and "edited by hand" in shown
    # the same call of the fork answers from its journal, and one of the original from the original's
    LOG.clear()
    assert frk_stay.run("room", instance_id=fork.id)[0] == "held room" and frk_stay.run("room")[3] == "charged"
    assert LOG == []


def test_after_a_fork_fails_only_what_it_did_itself_is_undone() -> None:
    FAIL.add("charge 80")
    made = original()
    fork = made.fork(edits={"frk_quote": 80})
    with pytest.raises(LookupError):
        fork.result(30)
    assert fork.status == "compensated" and made.status == "completed"
    assert sorted(each for each in LOG if not each.startswith(("hold", "charge"))) == ["release car", "release key"]
    # and so it is in a later run of it, which reuses what was taken over
    LOG.clear()
    with pytest.raises(LookupError):
        frk_stay.run("room", instance_id=fork.id)
    assert "hold room" not in LOG and not {"release room", "tidy room"} & set(LOG)
    assert fork.run == 2 and fork.forked_from is not None
    lawful(fork)
    # nothing was done before the failure: there is nothing to undo
    LOG.clear()
    nothing = made.fork("frk_charge", edits={"frk_quote": 80})
    with pytest.raises(LookupError):
        nothing.result(30)
    assert nothing.status == "failed" and LOG == ["charge 80"]
    # the original can still be undone, all of it
    LOG.clear()
    made.compensate()
    with pytest.raises(RomancyError):
        made.result(30)
    assert sorted(LOG) == ["release car", "release key", "release room", "tidy room"]


def test_branches_of_an_async_workflow_that_were_under_way_keep_their_results_and_draws_are_the_same() -> None:
    made = original(frk_deal)
    value = made.result()
    steps = made.steps().dicts()
    fork = made.fork(at=steps[1]["seq"])
    assert fork.result(30) == value
    assert sorted(LOG) == ["settle 2", "settle 3"], "the first was under way and completed"
    LOG.clear()
    effect = next(row["seq"] for row in steps if row["kind"] == "side_effect")
    fork = made.fork(edits={effect: "other"})
    assert fork.result(30) == [*value[:3], "other", value[4]] and LOG == ["settle 3"]
    at_the_end = made.fork(edits={steps[-1]["seq"]: "edited"})
    assert at_the_end.result(30)[-1] == "edited"
    lawful(fork)


def test_children_that_had_ended_are_the_originals_and_are_not_undone_with_the_fork() -> None:
    FAIL.add("settle held other")
    made = original(frk_outer)
    fork = made.fork(edits={"frk_inner": "held other"})
    with pytest.raises(LookupError):
        fork.result(30)
    assert LOG == ["settle held other"] and made.children()[0].status == "completed"
    assert [each.id for each in fork.children()] == [each.id for each in made.children()]
    LOG.clear()
    FAIL.clear()
    anew = made.fork(at="frk_inner")
    assert anew.result(30) == "held room" and LOG == ["hold room", "settle held room"]
    assert anew.children()[0].id != made.children()[0].id


def test_events_that_had_come_by_the_step_are_there_and_later_ones_are_awaited() -> None:
    made = frk_asks.start("x")
    made.send("frk.first", 1)
    until(lambda: "settle 1" in LOG)
    made.send("frk.third", 3)
    assert made.result(30) == [1, "settled 1", 3]
    wait = next(row["seq"] for row in made.history().dicts() if row["kind"] == "wait_started")
    with pytest.raises(EventRefused, match="whole number|integer"):
        made.fork("frk_settle", edits={wait: "seven"})
    fork = made.fork("frk_settle", edits={wait: 7})
    until(lambda: fork.status == "waiting")
    fork.send("frk.third", 9)
    assert fork.result(30) == [7, "settled 7", 9]
    lawful(fork)


def test_a_block_that_is_left_in_the_fork_undoes_only_what_the_fork_did_in_it() -> None:
    FAIL.add("quote in the block")
    made = original(frk_block)
    steps = {row["name"]: row["seq"] for row in made.steps().dicts()}
    fork = made.fork(at=made.steps().dicts()[-1]["seq"])
    assert fork.result(30) == "held after" and LOG == ["hold after"], "the undo in the block is history"
    LOG.clear()
    with pytest.raises(RunProblem, match="was undone"):
        made.fork(at=steps["frk_quote"])
    edited = made.fork(at=steps["frk_quote"], edits={made.steps().dicts()[0]["seq"]: "held by hand"})
    assert edited.result(30) == "held after" and LOG == ["quote in the block", "hold after"]


def test_what_cannot_be_forked_is_refused_with_the_reason_and_nothing_is_written() -> None:
    made = original()
    known = len(rn.instances())
    steps = {row["name"]: row["seq"] for row in made.steps().dicts()}
    with pytest.raises(WrongArguments, match=r"fork\(at=7\)"):
        made.fork()
    with pytest.raises(RunProblem, match="There is no step 99"):
        made.fork(99)
    with pytest.raises(RunProblem, match="is done anew by a fork at"):
        made.fork(at=steps["frk_quote"], edits={"frk_charge": "x"})
    with pytest.raises(RomancyError, match="dited result of step .* does not fit"):
        made.fork(edits={"frk_quote": "a text"})
    with pytest.raises(WrongArguments, match=r"edits=\[5\]: it takes a dict of steps"):
        made.fork(edits=[5])
    with pytest.raises(WrongArguments, match=r"such as rn\.instance\('an-id'\)"):
        made.diff("an-id")
    with pytest.raises(WrongArguments, match="already"):
        made.fork(at=steps["frk_quote"], instance_id=made.id)
    kept, frk_stay.function = frk_stay.function, lambda item: frk_quote(item)
    try:
        with pytest.raises(RunProblem, match="does not fit what is recorded"):
            made.fork(at=steps["frk_charge"])
    finally:
        frk_stay.function = kept
    assert len(rn.instances()) == known and LOG == []
    rn.forget(made)
    with pytest.raises(RunProblem, match="forgotten"):
        made.fork(at=steps["frk_charge"])


def test_a_fork_outlives_that_the_original_is_forgotten() -> None:
    made = original()
    fork = made.fork(edits={"frk_quote": 80})
    fork.result(30)
    rn.forget(made)
    LOG.clear()
    assert frk_stay.run("room", instance_id=fork.id) == ["held room", "held car", "held key", "charged"] and LOG == []


@pytest.mark.crash
def test_whoever_dies_around_the_commit_of_a_fork_leaves_none_or_one_that_goes_on(tmp_path: Path) -> None:
    zygotes = Zygotes(Path(__file__).with_name("fork_program.py"))

    def run(what: str, crash: str = "::") -> tuple[int, str]:
        return zygotes.run([what], {**environment, "CRASH": crash}, folder / "output")

    folder = tmp_path / "made"
    folder.mkdir()
    environment = {"ROMANCY_JOURNAL": str(folder / "journal.duckdb"), "LEDGER": str(folder / "ledger")}
    try:
        assert run("make")[0] == 0
        for crash in ("commit:1:before", "commit:1:after", "commit:2:after", "commit:3:after"):
            folder = tmp_path / crash.replace(":", "-")
            shutil.copytree(tmp_path / "made", folder)
            environment = {"ROMANCY_JOURNAL": str(folder / "journal.duckdb"), "LEDGER": str(folder / "ledger")}
            code, output = run("fork", crash)
            assert code == -9, f"{crash}: {output}"
            code, output = run("end")
            assert code == 0, f"{crash}: {output}"
            expected = '"desk ordered paid"' if crash == "commit:1:before" else '"chair ordered paid"'
            assert output.splitlines()[-1] == expected, crash
            lines = ledger.read(folder / "ledger")
            done = [str(line["name"]) for line in lines]
            assert done.count("order desk") == 1 and done[:2] == ["order desk", "pay desk ordered"], crash
            keys = {str(line["key"]) for line in lines if line["name"] == "pay chair ordered"}
            assert len(keys) <= 1, f"{crash}: the key of the fork's step has changed"
    finally:
        zygotes.close()


@rn.workflow
def frk_listens(item: str) -> list[Any]:
    rn.subscribe("frk-news")
    first = rn.receive("frk-news", type=str)
    frk_quote(first)
    second = rn.receive("frk-news", type=str)
    frk_quote(second)
    rn.publish("frk-told", second)
    return [first, second]


def test_a_fork_has_the_messages_that_had_come_by_the_step_and_hears_the_next_ones_with_the_original() -> None:
    made = frk_listens.start("x")
    until(lambda: made.status == "waiting")
    rn.publish("frk-news", "one")
    until(lambda: "quote one" in LOG)
    until(lambda: made.status == "waiting")
    step = next(row["seq"] for row in made.steps().dicts() if row["name"] == "frk_quote")
    fork = made.fork(at=step)
    until(lambda: LOG.count("quote one") == 2 and fork.status == "waiting")
    rn.publish("frk-news", "two")
    assert made.result(30) == fork.result(30) == ["one", "two"]
    assert LOG.count("quote two") == 2
    with_old = made.fork(at=step, edits=None)
    until(lambda: with_old.status == "waiting")
    rn.publish("frk-news", "three")
    assert with_old.result(30) == ["one", "three"]
    late = made.fork(at=next(row["seq"] for row in reversed(made.steps().dicts()) if row["name"] == "frk_quote"))
    assert late.result(30) == ["one", "two"]
