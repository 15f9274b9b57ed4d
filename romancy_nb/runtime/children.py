"""What a run keeps of its children, and how it hands them to whoever looks after them (R13, ``family``).

Between the parent's intent and the child there is no common commit, and none is needed: the child's id follows from the intent,
so whoever takes the parent up finds the child, or finds that it is not there and begins it. What a child came to is read off
its own history whenever the parent needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core import saga
from romancy_nb.core.commands import Delivery, OpenOutside
from romancy_nb.core.events import Event
from romancy_nb.core.family import chain, is_owned
from romancy_nb.core.replay import Numbered
from romancy_nb.runtime import recurring
from romancy_nb.runtime.inbox import Child

if TYPE_CHECKING:
    from romancy_nb.runtime.live import LiveRun
    from romancy_nb.runtime.state import State

__all__ = [
    "below",
    "facts_of",
    "give_up",
    "inherited",
    "leave_all",
    "let_go",
    "lineage",
    "look_again",
    "opened",
    "prepare",
    "returned",
    "undo",
    "undo_plan",
    "unsettled",
    "withdraw",
]


def facts_of(run: LiveRun, place: str) -> dict[str, Any]:
    """Return what the first row of a child tells of its parent."""
    first = run.lineage
    return {
        "parent": {"instance": run.instance, "run": run.key, "number": run.number, "place": place},
        "ancestors": [list(each) for each in (*first, (run.workflow.name, run.digest))],
    }


def inherited(first: Event) -> dict[str, Any]:
    """Return what a new run of a child keeps of the last one's first row, whoever asks for it."""
    return {name: value for name, value in (first.meta or {}).items() if name in {"parent", "ancestors"}}


def opened(engine: State, run: LiveRun, each: OpenOutside) -> None:
    """The code awaits a child: once that is durable, it is looked for, and begun if it is not there."""
    if run.replay_only:
        return
    run.outside[each.place] = each
    instance, wanted = str(each.facts["instance"]), each.command.target
    child = Child(engine.inbox, run.key, each.place, instance, is_owned(each.facts), wanted, each.fresh)
    run.children[each.place] = child
    _look(engine, child)


def give_up(engine: State, run: LiveRun, place: str) -> None:
    """The code does not await this child any more: it is cancelled, unless it does not belong to its parent."""
    child = run.children.pop(place, None)
    if child is not None and (child.owned or (child.wanted is not None and child.wanted.wished)):
        _leave(engine, run, child)


def leave_all(engine: State, run: LiveRun) -> None:
    """The run is to be undone: its children end first."""
    for place, child in list(run.children.items()):
        if child.owned:
            del run.children[place]
            run.outside.pop(place, None)
            _leave(engine, run, child)


def _leave(engine: State, run: LiveRun, child: Child) -> None:
    child.left = True
    withdraw(engine, child)
    run.leaving[child.place] = child
    _look(engine, child)


def _look(engine: State, child: Child) -> None:
    """Look after the child once this turn's rows are durable."""
    engine.after_commit(lambda: child.tell(None))


def prepare(engine: State, run: LiveRun, rows: Sequence[Numbered]) -> None:
    """Know again, from the *rows* of a run that is taken up, which children were given up and may not have ended."""
    if run.replay_only:
        return
    left: dict[str, Event] = {}
    intents: dict[str, Event] = {}
    for _, event in rows:
        if event.kind == ev.CHILD_STARTED and is_owned(event.meta or {}):
            intents[event.call] = event
        elif event.kind == ev.CHILD_CANCELLED and event.call in intents:
            left[event.call] = intents[event.call]
        elif event.kind == ev.LATE_OUTCOME:
            left.pop(event.call, None)
    for place, intent in left.items():
        _leave(engine, run, Child(engine.inbox, run.key, place, str((intent.meta or {})["instance"])))


def returned(engine: State, run: LiveRun, sent: Iterable[Delivery], rows: Iterable[Event]) -> None:
    """A child that ended when it had just been given up: what it did can be undone, so it is journaled (U3)."""
    taken = {row.call for row in rows if row.kind in _ENDS}
    for each in sent:
        if each.kind in _ENDS and each.place not in taken:
            ok = each.kind == ev.CHILD_COMPLETED
            engine.record(run, [Event(ev.LATE_OUTCOME, each.at, each.place, meta={"ok": ok})])


_ENDS = frozenset({ev.CHILD_COMPLETED, ev.CHILD_FAILED})


def unsettled(run: LiveRun) -> bool:
    """Does the run, whose code has ended, have to wait for a child: to end, or, a detached one, to be there at all?"""
    return bool(run.leaving) or any(child.owned or not child.begun for child in run.children.values())


def withdraw(engine: State, child: Child) -> None:
    """Take the call of a child back, unless it has become a run of this process already."""
    live = engine.newest.get(child.instance)
    if child.start is not None and not (live is not None and live.start is child.start):
        child.start.abandoned = True


def let_go(engine: State, run: LiveRun) -> None:
    """The run is put down: whoever takes it up finds its children again."""
    for child in run.children.values():
        withdraw(engine, child)
    run.children.clear()
    run.leaving.clear()


def look_again(run: LiveRun) -> None:
    """Look after the children of which nobody here tells."""
    for child in [*run.leaving.values(), *run.children.values()]:
        if child.left or child.undoes:
            child.tell(None)


def below(engine: State, run: LiveRun) -> list[LiveRun]:
    """Return the runs of all children that belong to *run* and are advanced here, and of theirs."""
    found: list[LiveRun] = []
    waiting = [run]
    while waiting:
        for child in waiting.pop().children.values():
            live = engine.newest.get(child.instance)
            if child.owned and live is not None and not live.finished and live.status != "paused" and live not in found:
                found.append(live)
                waiting.append(live)
    return found


# -- undo --------------------------------------------------------------------------------------------------------------


def undo_plan(engine: State, rows: Sequence[Numbered]) -> saga.Plan:
    """Return what the run with these *rows* has to undo; a child that has nothing to undo is no part of that."""
    plan = saga.plan(rows)
    recurring.add_earlier(engine, rows, plan)
    if any(step.child for step in plan.steps):
        plan.steps = [step for step in plan.steps if not step.child or step.begun or _has_effects(engine, step)]
    return plan


def _has_effects(engine: State, step: saga.Step) -> bool:
    """Is there anything about this child that its parent's undo has to see to?"""
    head = engine.journal.heads([step.child]).get(step.child)
    if head is None:
        return False
    if head.status not in {"completed", "failed", "cancelled", "compensated"}:
        return True
    return (
        undo_plan(engine, [(row.seq, row.event) for row in engine.journal.load(head.run, parts=False)]).next()
        is not None
    )


def undo(engine: State, run: LiveRun, step: saga.Step) -> None:
    """Have a child undone by its own plan, as one step of its parent's."""
    if not step.begun:
        step.begun, step.first_at = True, now_us()
        facts = {"child": step.child}
        engine.record(run, [Event(ev.COMPENSATION_SCHEDULED, step.first_at, step.place, step.name, meta=facts)])
    child = Child(engine.inbox, run.key, step.place, step.child, undoes=True)
    run.children[step.place] = child
    _look(engine, child)


def lineage(rows: Sequence[Numbered]) -> tuple[tuple[str, str], ...]:
    """Return the workflows above a run with these *rows*, the topmost first."""
    return chain((rows[0][1].meta or {}).get("ancestors", ()))
