"""When nothing of a run goes on by itself: it waits for an event, a person, a far time. A cell does not wait for that (N5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from romancy_nb import words
from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.runtime import children
from romancy_nb.runtime.inbox import Awaits, Child, Finished, Left, LetGo, Resting
from romancy_nb.runtime.questions import asked_by, asks

if TYPE_CHECKING:
    from romancy_nb.runtime.inbox import Waiter
    from romancy_nb.runtime.live import LiveRun
    from romancy_nb.runtime.state import State

__all__ = ["NEAR", "Afterwards", "let_go", "look", "next_due", "notice", "rests", "tell", "tell_one"]

NEAR: Final = 60.0
"""Seconds for which a cell waits for a timer."""


class Afterwards:
    """Waits for a run in the place of a cell that has ended: *then* is called when the run has, on the engine's thread."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._then = then

    def tell(self, message: Any) -> None:
        if isinstance(message, Finished):
            self._then()


def rests(engine: State, run: LiveRun) -> bool:
    """Does every branch of the run wait for something outside, so that waiting for it could take any time?"""
    if run.calls or run.pending or run.sent or run.busy or run.build is not None:
        return False
    if run.ended is not None or run.finished or run.undo is not None or run.status == "paused":
        return False
    if not run.outside and not run.timers:
        return False
    due = next_due(run)
    if due is not None and due - now_us() <= NEAR * 1_000_000:
        return False
    return all(_rests_too(engine, run.children.get(place)) for place in run.outside)


def _rests_too(engine: State, child: Child | None) -> bool:
    """A child that is advanced here has to rest, too; whatever else is awaited from outside may take any time."""
    if child is None:
        return True
    found = engine.newest.get(child.instance)
    if found is None or found.finished:  # it is about to begin, or its end to be told; or another process advances it
        return child.start is not None and bool(child.start.follows)
    return rests(engine, found)


def next_due(run: LiveRun) -> int | None:
    """Return when the next timer of the run is due (µs), those aside that limit how long a person has for an answer."""
    return min((timer.due for timer in run.timers.values() if not timer.deadline), default=None)


def tell(engine: State, run: LiveRun) -> None:
    """The run's code has come to rest: tell the cells that wait for it, if it may take any time."""
    if any(hasattr(waiter, "interrupts") or isinstance(waiter, Child) for waiter in run.waiters) and rests(engine, run):
        for waiter in run.waiters:
            if hasattr(waiter, "interrupts"):
                tell_one(engine, run, waiter)
            elif (
                isinstance(waiter, Child) and (parent := engine.live.get(waiter.run)) is not None
            ):  # a cell may wait for that
                tell(engine, parent)


def tell_one(engine: State, run: LiveRun, waiter: Waiter) -> None:
    """Tell *waiter* that the run waits for something outside."""
    engine.tell_after_commit(run, waiter, _resting(engine, run))


def look(engine: State, instance: str) -> Resting | None:
    """Return what an instance that is advanced here waits for outside; None: something of it goes on by itself."""
    run = engine.newest.get(instance)
    return _resting(engine, run) if run is not None and rests(engine, run) else None


def notice(name: str, instance: str, resting: Resting) -> str:
    """Say in one line what a run waits for, and how it goes on."""
    what = [f"an answer to {each.question!r}{_of(each.instance_id, instance)}" for each in resting.questions]
    what += [f"event {each.name!r}{_of(each.instance, instance)}" for each in resting.events]
    if resting.due is not None and not what:
        what.append(words.moment(resting.due, now_us()))
    shown = " and ".join([*what[:3], *([f"{len(what) - 3} more"] if len(what) > 3 else [])]) or "something outside"
    return f"{name} ({instance}) waits for {shown}. It goes on in the background; run this cell again for its result."


def _of(waiting: str, instance: str) -> str:
    """Say who it is that waits, where that is a child of *instance*, or a child of one."""
    return f" of {waiting}" if waiting != instance else ""


def _resting(engine: State, run: LiveRun) -> Resting:
    runs = (run, *children.below(engine, run))
    events = dict.fromkeys(
        Awaits(of.instance, of.workflow.name, each.command.name)
        for of in runs
        for each in of.outside.values()
        if each.command.kind == ev.WAIT_STARTED and not asks(each.facts)
    )
    return Resting(run, tuple(one for of in runs for one in asked_by(of)), tuple(events), next_due(run))


def let_go(engine: State, item: LetGo) -> None:
    """The cell ends; the run goes on in the background, if it still rests."""
    run = item.run
    if item.waiter not in run.waiters or not rests(engine, run):
        return  # what it waited for has just come
    run.waiters.remove(item.waiter)
    if item.then is not None:
        run.waiters.append(item.then)
    if run.host is item.host:
        engine.move(run)
    engine.tell_after_commit(run, item.waiter, Left())
