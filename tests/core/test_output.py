"""What activities put out stands in history, and a replay shows it where it was shown the first time (N4)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from romancy_nb.core import events as ev
from romancy_nb.core.activation import Execution
from romancy_nb.core.commands import Delivery, OpenTimer, Report
from romancy_nb.core.events import Event
from romancy_nb.core.invariants import check_history
from romancy_nb.core.pool import Pool
from romancy_nb.core.replay import Numbered
from romancy_nb.payloads.payload import Payload

from .corpus import CORPUS
from .driver import START, STEP, World, act, body_of, call, dump, seeded

SEEN: list[str] = []
"""What a person sees, in order: prints of the workflow, and what activities put out."""


@dataclass
class Talking(World):
    """The engine's part in a run whose activities all put something out; every third one while it runs."""

    spoken: int = 0
    seen: list[str] = field(default_factory=list)

    def begin(self) -> Report:
        SEEN.clear()
        report = super().begin()
        assert self.execution is not None
        self.execution.show = see
        return report

    def deliver(self, place: str) -> Report:
        opened = self.open[place]
        if isinstance(opened, OpenTimer):
            return super().deliver(place)
        assert self.execution is not None
        del self.open[place]
        self.spoken += 1
        self.now += STEP
        output = dump([f"{opened.command.name} {place}"])
        live = self.spoken % 3 == 0
        meta = {"attempt": 1, "live": True} if live else {"attempt": 1}
        self.rows.append((len(self.rows) + 1, Event(ev.ATTEMPT_OUTPUT, self.now, place, payload=output, meta=meta)))
        if live:
            see(output)
        ok, value = self.results(opened.command.name, json.loads(opened.command.payload.text))
        kind = ev.ACTIVITY_COMPLETED if ok else ev.ACTIVITY_FAILED
        delivery = Delivery(kind, place, self.now, 1, dump(value), shows=() if live else (output,))
        report = self.execution.deliver([delivery], self.now)
        self._take(report)
        return report


def see(output: Payload) -> None:
    SEEN.extend(json.loads(output.text))


def end(world: World) -> None:
    world.run()
    assert world.execution is not None
    world.execution.put_down()


def shown_by(function: Callable[[], Any], rows: list[Numbered], pool: Pool | None = None) -> tuple[list[str], Report]:
    """What is seen when *rows* are replayed."""
    SEEN.clear()
    execution = Execution(body_of(function), rows, pool)
    execution.show = see
    report = execution.begin(START + 10**12)
    execution.put_down()
    return list(SEEN), report


@pytest.mark.parametrize("name", CORPUS)
def test_a_replay_shows_the_same_in_the_same_order_and_adds_no_row(name: str) -> None:
    for seed in range(4):
        world = Talking(CORPUS[name], seeded(seed))
        end(world)
        live = list(SEEN)
        again, report = shown_by(CORPUS[name], world.rows)
        assert again == live
        assert report.rows == []
        check_history(world.rows)


async def both() -> list[Any]:
    async def one(name: str) -> Any:
        found = await act(name, name)
        SEEN.append(f"printed after {name}")
        return found

    SEEN.append("begin")
    return list(await asyncio.gather(one("a"), one("b"), one("c"), one("d")))


def test_prints_of_the_workflow_and_output_of_activities_keep_their_order() -> None:
    for seed in range(8):
        world = Talking(both, seeded(seed))
        end(world)
        live = ["begin", *SEEN[SEEN.index("begin") + 1 :]]
        assert len(live) == 9
        assert shown_by(both, world.rows)[0] == live


def test_a_new_run_takes_over_what_reused_calls_put_out() -> None:
    def chain() -> Any:
        return [call(name, name) for name in ("a", "b", "c", "d")]

    first = Talking(chain)
    end(first)
    second = World(chain, earlier=[(1, first.rows)])
    end(second)
    outputs = [event for _, event in second.rows if event.kind == ev.ATTEMPT_OUTPUT]
    assert [json.loads(event.payload.text) for event in outputs if event.payload] == [
        [f"{name} 0:{n}"] for n, name in enumerate("abcd")
    ]
    assert all((event.meta or {})["reused"] for event in outputs)
    check_history(second.rows)
    seen, report = shown_by(chain, second.rows)
    assert seen == ["a 0:0", "b 0:1", "c 0:2", "d 0:3"]
    assert report.rows == []
    third = World(chain, earlier=[(2, second.rows), (1, first.rows)])
    end(third)
    assert len([event for _, event in third.rows if event.kind == ev.ATTEMPT_OUTPUT]) == 4


def test_output_belongs_to_an_activity() -> None:
    rows = [(1, Event(ev.RUN_STARTED, START)), (2, Event(ev.ATTEMPT_OUTPUT, START, "0:0", payload=dump([])))]
    with pytest.raises(AssertionError, match="I1"):
        check_history(rows)


def test_what_was_put_out_before_an_outcome_could_be_delivered_is_shown_with_it() -> None:
    def one() -> Any:
        return call("a", 1)

    world = Talking(one)
    world.begin()
    assert world.execution is not None
    world.execution.put_down()
    rows = list(world.rows)
    rows.append((3, Event(ev.ATTEMPT_OUTPUT, START + 1, "0:0", payload=dump(["said"]), meta={"attempt": 1})))
    recorded = Event(ev.OUTCOME_RECORDED, START + 2, "0:0", payload=dump(1), meta={"ok": True})
    seen, report = shown_by(one, [*rows, (4, recorded)])
    assert seen == ["said"]
    assert [row.kind for row in report.rows] == [ev.ACTIVITY_COMPLETED]
    assert report.ended is not None


def test_output_of_an_attempt_without_an_outcome_waits_for_the_next_attempt() -> None:
    def one() -> Any:
        return call("a", 1)

    world = Talking(one)
    world.begin()
    assert world.execution is not None
    world.execution.put_down()
    said = Event(ev.ATTEMPT_OUTPUT, START + 1, "0:0", payload=dump(["said"]), meta={"attempt": 1})
    seen, report = shown_by(one, [*world.rows, (3, said)])
    assert seen == []
    assert report.calls[0].unshown == (said.payload,)
