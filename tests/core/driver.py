"""Plays the engine for the core: keeps the open calls, chooses who completes next, feeds it back. No thread, no database.

Workflows of the corpus call ``act`` (``async def``) and ``call`` (``def``); what a call comes to is a function of its name and
argument, so a run's rows depend on the code and on the order of completions only.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from romancy_nb.core import events as ev
from romancy_nb.core.activation import Body, Execution
from romancy_nb.core.commands import ActivityCommand, Delivery, Ended, OpenCall, OpenTimer, Outcome, Report
from romancy_nb.core.context import Ambient, ambient
from romancy_nb.core.events import Event
from romancy_nb.core.invariants import check_history
from romancy_nb.core.pool import Pool
from romancy_nb.core.replay import Numbered
from romancy_nb.errors import HistoryMismatch
from romancy_nb.payloads.payload import Payload

START = 1_700_000_000_000_000
STEP = 1_000_000
CODES: dict[str, str] = {}
"""Fingerprints of activities by name; a test that "edits" one changes it here."""


class StepFailed(Exception):
    """What an activity reported."""


def dump(value: Any) -> Payload:
    return Payload(json.dumps(value, default=str))


def command(name: str, arg: Any, **options: Any) -> ActivityCommand:
    return ActivityCommand(
        name, json.dumps(arg, default=str), dump(arg), lambda: CODES.get(name, "v1"), None, **options
    )


def value_of(found: Ambient, outcome: Outcome) -> Any:
    if outcome.ok:
        return json.loads(outcome.payload.text)
    error = StepFailed(json.loads(outcome.payload.text))
    found.reported.append(error)
    raise error


def act(name: str, arg: Any = 0, **options: Any) -> Coroutine[Any, Any, Any]:
    """Call an activity in ``async def`` code."""
    found = ambient()
    assert found is not None, f"{name} was called outside of any workflow: a real effect"
    if found.dead:
        found.check()
    made = _act(found, name, arg, options)
    found.expect(name, made)
    return made


async def _act(found: Ambient, name: str, arg: Any, options: dict[str, Any]) -> Any:
    found.check()
    return value_of(found, await found.schedule(command(name, arg, **options)))


def call(name: str, arg: Any = 0, **options: Any) -> Any:
    """Call an activity in ``def`` code."""
    found = ambient()
    assert found is not None, f"{name} was called outside of any workflow: a real effect"
    found.check()
    return value_of(found, found.wait(found.schedule(command(name, arg, **options))))


def note(name: str, produce: Callable[[], Any]) -> Any:
    """A side effect."""
    found = ambient()
    assert found is not None
    return json.loads(found.side_effect(name, lambda: Outcome(True, dump(produce()))).payload.text)


def here() -> Ambient:
    found = ambient()
    assert found is not None
    return found


def body_of(function: Callable[[], Any]) -> Body:
    """Make an execution's body of a workflow function of either colour."""

    async def body(found: Ambient) -> Payload:
        import inspect

        if inspect.iscoroutinefunction(function):
            return dump(await function())
        return dump(await found.drive(function))

    return body


def started(seed: int = 5, clock: int = START) -> Event:
    return Event(ev.RUN_STARTED, START, "inst", "wf", meta={"number": 1, "seed": seed, "clock": clock})


def result_of(name: str, arg: Any) -> tuple[bool, Any]:
    """What an activity comes to: names with "fail" fail."""
    return ("fail" not in name, f"{name}({arg})" if "fail" in name or isinstance(arg, str) else arg)


Pick = Callable[[int], int]
"""Given how many could be delivered next, says which."""


def seeded(seed: int) -> Pick:
    chance = random.Random(seed)
    return lambda count: chance.randrange(count)


def in_order(order: Iterable[int]) -> Pick:
    left = list(order)
    return lambda count: min(left.pop(0), count - 1) if left else 0


@dataclass
class World:
    """The engine's part in one run.

    Args:
        function: the workflow.
        pick: who completes next.
        rebuild: put the execution down and build it anew from history after every delivery.
        results: what activities come to.
        earlier: runs of the instance (key, rows), newest first, that may answer calls.
    """

    function: Callable[[], Any]
    pick: Pick = lambda count: 0
    rebuild: bool = False
    rows: list[Numbered] = field(default_factory=lambda: [(1, started())])
    earlier: list[tuple[int, list[Numbered]]] | None = None
    results: Callable[[str, Any], tuple[bool, Any]] = result_of
    now: int = START
    executed: list[tuple[str, Any]] = field(default_factory=list)
    open: dict[str, OpenCall | OpenTimer] = field(default_factory=dict)
    boundaries: list[tuple[int, frozenset[str]]] = field(default_factory=list)
    execution: Execution | None = None
    report: Report | None = None
    turns: int = 0

    def begin(self) -> Report:
        self.execution = Execution(
            body_of(self.function), list(self.rows), Pool(self.earlier) if self.earlier else None
        )
        report = self.execution.begin(self.now)
        self.open = {}
        self._take(report)
        return report

    def _take(self, report: Report) -> None:
        self.report = report
        if report.mismatch is not None:
            return
        for row in report.rows:
            self.rows.append((len(self.rows) + 1, row))
        for opened in (*report.calls, *report.timers):
            self.open[opened.place] = opened
        for place in (*report.cancelled_calls, *report.cancelled_timers):
            self.open.pop(place, None)
        self.boundaries.append((len(self.rows), frozenset(self.open)))

    def deliver(self, place: str) -> Report:
        assert self.execution is not None
        opened = self.open.pop(place)
        self.now += STEP
        if isinstance(opened, OpenTimer):
            self.now = max(self.now, opened.due)
            delivery = Delivery(ev.TIMER_FIRED, place, self.now)
        else:
            asked = opened.command
            arg = json.loads(asked.payload.text)
            self.executed.append((asked.name, arg))
            ok, value = self.results(asked.name, arg)
            kind = ev.ACTIVITY_COMPLETED if ok else ev.ACTIVITY_FAILED
            delivery = Delivery(kind, place, self.now, 1, dump(value))
        report = self.execution.deliver([delivery], self.now)
        self._take(report)
        return report

    def choose(self) -> str:
        places = sorted(self.open, key=_as_numbers)
        calls = [place for place in places if isinstance(self.open[place], OpenCall)]
        timers = sorted(
            (t for t in self.open.values() if isinstance(t, OpenTimer)), key=lambda t: (t.due, _as_numbers(t.place))
        )
        choices = calls + [timer.place for timer in timers[:1]]
        return choices[self.pick(len(choices))]

    def run(self, limit: int = 500) -> Report:
        """Run to the end, to parting, or until nothing is left to deliver."""
        report = self.begin()
        while report.ended is None and report.mismatch is None and self.open and self.turns < limit:
            self.turns += 1
            report = self.deliver(self.choose())
            if self.rebuild and report.ended is None and report.mismatch is None:
                assert self.execution is not None
                self.execution.put_down()
                before, rows = dict(self.open), list(self.rows)
                report = self.begin()
                assert self.rows == rows, "L1: replay added rows"
                assert set(self.open) == set(before), "L1: replay asks for other calls"
        if report.mismatch is None:
            check_history(self.rows)
        return report

    @property
    def ended(self) -> Ended:
        assert self.report is not None
        if self.report.mismatch is not None:
            raise self.report.mismatch
        assert self.report.ended is not None, f"not ended; open: {list(self.open)}"
        return self.report.ended

    @property
    def result(self) -> Any:
        if self.ended.error is not None:
            raise self.ended.error
        assert self.ended.payload is not None
        return json.loads(self.ended.payload.text)

    def outcome(self) -> str:
        """How the run ended, comparable between runs."""
        ended = self.ended
        return f"{type(ended.error).__name__}: {ended.error}" if ended.error is not None else str(ended.payload)


def _as_numbers(place: str) -> list[Any]:
    path, _, ordinal = place.rstrip("+").partition(":")
    return [[int(part) for part in path.split(".")], int(ordinal), place.count("+")]


def run(function: Callable[[], Any], pick: Pick = lambda count: 0, **options: Any) -> World:
    """Run *function* to its end and return the world it ran in."""
    world = World(function, pick, **options)
    world.run()
    assert world.execution is not None
    world.execution.put_down()
    return world


def replay(function: Callable[[], Any], rows: Sequence[Numbered], pool: Pool | None = None) -> Report:
    """Replay a history with *function* and return what it reports."""
    execution = Execution(body_of(function), rows, pool)
    report = execution.begin(START + 10**12)
    execution.put_down()
    return report


def parting(function: Callable[[], Any], rows: Sequence[Numbered]) -> HistoryMismatch:
    report = replay(function, rows)
    assert report.mismatch is not None, "code and history did not part"
    assert not report.rows and not report.calls and not report.timers
    return report.mismatch


def again(function: Callable[[], Any], *earlier: World, now: int = START + 10**10, **options: Any) -> World:
    """Run *function* as a new run of the instance, with what the *earlier* runs (oldest first) know."""
    known = [(number, world.rows) for number, world in reversed(list(enumerate(earlier, start=1)))]
    return run(function, earlier=known, now=now, **options)


def kinds(world: World, *which: str) -> list[tuple[str, str]]:
    return [(event.kind, event.call) for _, event in world.rows if event.kind in which]
