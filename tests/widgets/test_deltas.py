"""Whoever reads a run row by row sees what is read afresh, at every moment."""

from __future__ import annotations

import json
import time
from random import Random
from typing import Any

import pytest

from romancy_nb.core import events as ev
from romancy_nb.journal.protocol import Row
from romancy_nb.widgets.deltas import Deltas, apply
from romancy_nb.widgets.reading import Reading
from romancy_nb.widgets.snapshot import RunLine, snapshot, view_of
from romancy_nb.widgets.wire import view_json

from .histories import HOUR, S, Story, T, many, order, outside, undone

NOT_TOLD_ALONE = ("as_of", "summary")


class Scenes:
    """Writes histories as they may come about, by chance: branches, retries, waits, cancellations, undos, voids."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.story = Story()
        self.at = T
        self.next: dict[str, int] = {}
        self.open: dict[str, str] = {}
        self.done: list[str] = []
        self.undoing = False

    def made(self, length: int) -> list[Row]:
        moves = [self.ask, self.ask, self.ask, self.answer, self.answer, self.fail, self.cancel, self.rest, self.refuse]
        for _ in range(length):
            self.at += self.chance.randrange(1, 2 * S)
            if not self.undoing and self.chance.random() < 0.04:
                self.undo()
            self.undo_more() if self.undoing and self.chance.random() < 0.6 else self.chance.choice(moves)()
        return self.story.rows()

    def place(self) -> str:
        task = "0" + "".join(f".{self.chance.randrange(3)}" for _ in range(self.chance.choice((0, 0, 1, 1, 1, 2, 3))))
        self.next[task] = self.next.get(task, -1) + 1
        return f"{task}:{self.next[task]}" + "+" * (self.chance.random() < 0.02)

    def ask(self) -> None:
        place, kind = (
            self.place(),
            self.chance.choice(["activity"] * 5 + ["timer", "side", "wait", "ask", "child", "armed"]),
        )
        if kind == "activity":
            meta = self.chance.choice(
                ({}, {"pivot": True}, {"undo": {"name": "u"}}, {"delivery": "at_most_once"}, {"reused": [1, 2]})
            )
            self.story.asks(place, self.chance.choice("abc"), self.at, {"n": 1}, **meta)
        elif kind == "timer":
            self.story.add(ev.TIMER_STARTED, self.at, place, "sleep", due=self.at + HOUR, delay=3600.0)
        elif kind == "side":
            self.story.add(ev.SIDE_EFFECT, self.at, place, "pick", value=7, ok=self.chance.random() < 0.8)
        elif kind == "armed":
            self.story.add(ev.COMPENSATION_ARMED, self.at, place, "u", value={})
        elif kind == "child":
            self.story.add(ev.CHILD_STARTED, self.at, place, "ship", value={}, instance="c")
        else:
            self.story.add(ev.WAIT_STARTED, self.at, place, "e", value={"question": "q?"}, what=kind)
        if kind not in {"side", "armed"}:
            self.open[place] = kind

    def one(self) -> tuple[str, str] | None:
        return self.chance.choice(list(self.open.items())) if self.open else None

    def answer(self) -> None:
        if (found := self.one()) is None:
            return
        place, kind = found
        if kind == "activity" and self.chance.random() < 0.3:
            self.story.add(ev.ATTEMPT_STARTED, self.at, place, attempt=2)
            return
        attributes = {"attributes": {"cost_usd": 0.1, "tokens": 7}} if self.chance.random() < 0.2 else {}
        ends = {"activity": ev.ACTIVITY_COMPLETED, "timer": ev.TIMER_FIRED, "child": ev.CHILD_COMPLETED}
        self.story.add(ends.get(kind, ev.EVENT_RECEIVED), self.at, place, attempt=1, value=1, **attributes)
        self.done.append(place)
        del self.open[place]

    def fail(self) -> None:
        if (found := self.one()) is None or found[1] != "activity":
            return
        error = {"type": "E", "message": "m"}
        if self.chance.random() < 0.5:
            self.story.add(ev.ATTEMPT_FAILED, self.at, found[0], attempt=1, value=error, next_at=self.at + S)
        else:
            self.story.add(ev.ACTIVITY_FAILED, self.at, found[0], attempt=1, value=error)
            del self.open[found[0]]

    def cancel(self) -> None:
        kinds = {"activity": ev.CALL_CANCELLED, "timer": ev.TIMER_CANCELLED, "child": ev.CHILD_CANCELLED}
        if (found := self.one()) is not None:
            self.story.add(kinds.get(found[1], ev.WAIT_CANCELLED), self.at, found[0])
            del self.open[found[0]]

    def refuse(self) -> None:
        self.story.add(ev.EVENT_REFUSED, self.at, "", "e", arrived=1, why="no")

    def rest(self) -> None:
        if self.undoing:
            return
        if self.chance.random() < 0.5:
            self.story.add(ev.RUN_PAUSED, self.at, reason="interrupt")
        else:
            back = max(2, len(self.story.events) - 3)
            void: dict[str, Any] = {"void_from": back} if self.chance.random() < 0.3 else {}
            self.story.add(ev.RUN_RESUMED, self.at, owner=self.chance.choice(("here", "there")), **void)

    def undo(self) -> None:
        self.undoing = True
        self.story.add(ev.RUN_COMPENSATING, self.at, why="failed", value={"type": "E", "message": "m"})

    def undo_more(self) -> None:
        if self.done and self.chance.random() < 0.5:
            place = "undo:" + self.done.pop()
            self.story.add(ev.COMPENSATION_SCHEDULED, self.at, place, "u", value={})
            if self.chance.random() < 0.7:
                self.story.add(ev.COMPENSATION_COMPLETED, self.at, place, attempt=1)
        elif self.chance.random() < 0.2:
            self.story.add(ev.RUN_COMPENSATED, self.at)


def agrees(rows: list[Row], chance: Random) -> None:
    """Read *rows* piece by piece, with what else may change in between, and hold what is told against a fresh reading."""
    reached = chance.randrange(1, 4)
    since = chance.choice((None, 5))
    deltas = Deltas(Reading(rows[:reached], since))
    shown = deltas.whole(now=T)
    while True:
        alive = chance.random() < 0.9
        runs = [RunLine(1, "running", "start", T, None)] if chance.random() < 0.5 else []
        open_ = [r["id"] for r in shown["rows"] if r["status"] == "running"][:2]
        progress = {place: (reached, 100, "x", T + reached, T, 0) for place in open_ if chance.random() < 0.5}
        how: dict[str, Any] = {"now": T + reached * S, "alive": alive, "runs": runs, "progress": progress}
        told = deltas.next(**how)
        if told is not None:
            json.dumps(told)
        shown = apply(told, shown)
        fresh = view_json(snapshot(rows[:reached], executed_since=since, **how))
        present = {} if told is not None else {name: fresh[name] for name in NOT_TOLD_ALONE}
        assert {**shown, **present} == fresh
        if chance.random() < 0.1:
            shown = deltas.whole(**how)
            assert shown == fresh
        if reached >= len(rows):
            return
        step = chance.choice((1, 1, 1, 2, 5))
        deltas.reading.take(rows[max(0, reached - 1) : reached + step])  # one of them again
        reached += step


@pytest.mark.parametrize("seed", range(40))
def test_what_is_told_of_changes_is_what_is_read_afresh(seed: int) -> None:
    agrees(Scenes(seed).made(60), Random(seed))


@pytest.mark.parametrize("story", [order(), outside(), undone(), many(20)], ids=["order", "outside", "undone", "many"])
def test_histories_that_are_told_elsewhere_are_read_alike_in_pieces(story: Story) -> None:
    for seed in range(5):
        agrees(story.rows(), Random(seed))


def test_that_time_goes_by_is_no_change() -> None:
    deltas = Deltas(Reading(Story().asks("0:0", "a", T).rows()))
    deltas.whole(now=T)
    assert deltas.next(now=T + HOUR) is None


def test_a_row_that_comes_last_is_appended_and_one_in_between_gives_the_order_anew() -> None:
    story = Story().step("0:0", "a", T, S)
    deltas = Deltas(Reading(story.rows()))
    deltas.whole(now=T)
    deltas.reading.take(story.asks("0.0:0", "b", T + S).asks("0.1:0", "c", T + S).rows())
    told = deltas.next(now=T + S)
    assert told is not None and (told["append"], told["order"]) == (["0.0:0", "0.1:0"], None)
    deltas.reading.take(story.asks("0.0:1", "d", T + 2 * S).rows())
    told = deltas.next(now=T + 2 * S)
    assert told is not None and told["append"] is None
    assert told["order"] == ["0:0", "branch:0.0", "0.0:0", "0.0:1", "0.1:0"]
    assert set(told["rows"]) == {"branch:0.0", "0.0:0", "0.0:1"}


def test_a_row_more_costs_the_same_however_long_the_run_is() -> None:
    """The promise is 5 ms at 1,000 steps; it takes a tenth of that."""
    rows = many(1000).rows()
    deltas = Deltas(Reading(rows[:-40]))
    deltas.whole(now=T)
    took = []
    for row in rows[-40:]:
        begun = time.perf_counter()
        deltas.reading.take([row])
        assert deltas.next(now=T) is not None
        took.append(time.perf_counter() - begun)
    assert sorted(took)[len(took) // 2] < 0.005


def test_a_step_in_doubt_can_be_settled_as_soon_as_its_run_rests() -> None:
    story = Story().asks("0:0", "pay", T, delivery="at_most_once").add(ev.ATTEMPT_STARTED, T, "0:0", attempt=1)
    story.add(ev.RUN_RESUMED, T + S, owner="another")
    deltas = Deltas(Reading(story.rows()))
    assert [row["actions"] for row in deltas.whole(now=T + S)["rows"]] == [["code"]]
    deltas.reading.take(story.add(ev.RUN_PAUSED, T + S, reason="doubt").rows())
    delta = deltas.next(now=T + S)
    assert delta is not None and delta["rows"]["0:0"]["actions"] == ["resolve", "code"]


def test_a_run_with_a_newer_one_after_it_offers_nothing_but_its_code() -> None:
    story = Story().step("0:0", "a", T, S).step("0:1", "b", T + S, S).add(ev.RUN_FAILED, T + 2 * S)
    deltas = Deltas(Reading(story.rows()))
    whole = deltas.whole(now=T + HOUR)
    assert "resume" in whole["actions"] and whole["rows"][0]["actions"] == ["fork", "code"]
    runs = [RunLine(1, "failed", "", T, T + 2 * S), RunLine(2, "running", "", T + HOUR, None)]
    delta = deltas.next(now=T + HOUR, runs=runs)
    assert delta is not None and delta["set"]["actions"] == []
    assert [delta["rows"][row]["actions"] for row in ("0:0", "0:1")] == [["code"], ["code"]]
    assert view_json(view_of(deltas.reading, now=T + HOUR, runs=runs))["rows"][1]["actions"] == ["code"]
