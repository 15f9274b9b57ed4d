"""Looking after children: what is done about one, and what becomes of its parent when something has become of it (R13, U3, U4).

Everything comes through the engine's inbox as ``ChildTold``, after the commit of what it is about: a child is begun when its
parent's intent is durable, and its parent hears of its end when that is. So each is decided by what the journal says then.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from math import inf
from secrets import randbits
from typing import TYPE_CHECKING, Final

from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core import saga
from romancy_nb.core.commands import Delivery
from romancy_nb.core.events import Event
from romancy_nb.core.transitions import TERMINAL
from romancy_nb.errors import CompensationFailed, JournalError, RomancyError, RunHeldElsewhere, RunPaused, RunStuck
from romancy_nb.journal.protocol import Head, Letter
from romancy_nb.payloads.failures import encode_failure
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import cancelling, children, deciding, endings, undoing
from romancy_nb.runtime.inbox import Child, ChildTold, Finished, Found, Start
from romancy_nb.runtime.takeup import TakeUp

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine
    from romancy_nb.runtime.live import LiveRun

__all__ = ["told"]

log = logging.getLogger("romancy_nb")

LOOK: Final = 0.3
"""Seconds between looks at a child of which nobody here tells."""

_OVER: Final = TERMINAL - {"recurred"}


def told(engine: Engine, item: ChildTold) -> None:
    """Do what is to be done about a child now."""
    child, message = item.child, item.message
    run = engine.live.get(child.run)
    if (
        run is None
        or run.finished
        or run.status == "paused"
        or child not in {run.children.get(child.place), run.leaving.get(child.place)}
    ):
        return  # the parent has been put down since; whoever takes it up looks for its children anew
    try:
        engine.commit_now()  # what this turn knows must be in the history that is looked at
        if child.left:
            _look_at_left(engine, run, child)
        elif child.undoes:
            _undo(engine, run, child, message.error if isinstance(message, Finished) else None)
        elif message is None:
            _begin(engine, run, child)
        elif isinstance(message, Found):
            child.begun = True
            engine._end_if_settled(run)
        elif isinstance(message, Finished):
            _ended(engine, run, child, message)
    except JournalError:
        child.tell(message)  # it is looked at again when the journal can be
        raise


def _head(engine: Engine, child: Child) -> Head | None:
    return engine.journal.heads([child.instance]).get(child.instance)


# -- its beginning and its end -----------------------------------------------------------------------------------------


def _begin(engine: Engine, run: LiveRun, child: Child) -> None:
    """Take the child up as its parent's: begin it, go on with it, or take what it came to from its history."""
    wanted = child.wanted
    assert wanted is not None
    head = _head(engine, child)
    if engine.advanced(child.instance) is None and head is not None and _is_answer(engine, run, child, head):
        _deliver(engine, run, child, TakeUp(engine).outcome(head.run))
        return
    parents = run.start
    facts = {**wanted.request.facts, **children.facts_of(run, child.place)}
    request = replace(wanted.request, instance_id=child.instance, facts=facts)
    start = Start(request, wanted.code, wanted.reads, child, attached=run.attached, child=True, since=inf)
    if parents is not None:
        start.notebook, start.cell, start.output = parents.notebook, parents.cell, parents.output
        start.strict = parents.strict
    child.start = start
    engine.inbox.put(start)


def _is_answer(engine: Engine, run: LiveRun, child: Child, head: Head) -> bool:
    """Is what the child's newest run came to what its parent waits for? Else it is one that an earlier run of that began."""
    wanted = child.wanted
    assert wanted is not None
    if head.status not in _OVER:
        return False
    same = head.digest == wanted.request.inputs.digest and head.workflow == wanted.request.workflow.name
    if same and head.status == "completed" and head.code == wanted.code:
        return True
    if not child.owned:
        return same and not child.fresh
    first = engine.journal.load(head.run, parts=False)[0].event
    return bool(((first.meta or {}).get("parent") or {}).get("run") == run.key)


def _ended(engine: Engine, run: LiveRun, child: Child, message: Finished) -> None:
    """The child has come to its end, or cannot go on."""
    head, error = _head(engine, child), message.error
    if isinstance(error, RunHeldElsewhere):
        child.start = None
        _begin(engine, run, child)
        return
    if child.begun and head is not None and head.status in _OVER:
        outcome = TakeUp(engine).outcome(head.run)
        _deliver(engine, run, child, outcome if outcome is not None else message, live=error)
    elif error is None or not (child.begun or isinstance(error, (JournalError, RunPaused, RunStuck))):
        _deliver(engine, run, child, message)  # it was refused
    else:
        endings.pause(engine, run, "child", error)


def _deliver(
    engine: Engine, run: LiveRun, child: Child, outcome: Finished | None, live: BaseException | None = None
) -> None:
    """Hand to the parent's code what the child came to."""
    assert outcome is not None
    run.children.pop(child.place, None)
    run.outside.pop(child.place, None)
    failed = outcome.error is not None
    payload: Payload | None = encode_failure(outcome.error) if outcome.error is not None else outcome.payload
    kind = ev.CHILD_FAILED if failed else ev.CHILD_COMPLETED
    run.pending.append(Delivery(kind, child.place, now_us(), payload=payload, live=live if failed else None))
    engine.make_ready(run)


# -- one that was given up ---------------------------------------------------------------------------------------------


def _look_at_left(engine: Engine, run: LiveRun, child: Child) -> None:
    """See that a child which its parent gave up is cancelled, and note when it has ended (U3)."""
    reason = (child.wanted.reason if child.wanted is not None else "") or f"{run.instance}, which began it, gave it up"
    if _cancel(engine, run, child, reason):
        return
    head = _head(engine, child)
    children.withdraw(engine, child)
    if head is None or head.status in _OVER:
        ok = head is not None and head.status == "completed"
        engine.record(run, [Event(ev.LATE_OUTCOME, now_us(), child.place, meta={"ok": ok})])
    elif not _have_cancelled(engine, run, child, head, reason):
        return
    run.leaving.pop(child.place, None)  # else its own undo rests; its parent's sees to it, if there is one
    engine._end_if_settled(run)


def _cancel(engine: Engine, run: LiveRun, child: Child, reason: str) -> bool:
    """Cancel a child that is advanced here, and have its end told. False: it is not advanced here."""
    live = engine.advanced(child.instance)
    if live is None:
        return False
    if live.undo is None:
        cancelling.request(engine, live, reason=reason)
    if child not in live.waiters:
        live.waiters.append(child)
    return True


def _have_cancelled(engine: Engine, run: LiveRun, child: Child, head: Head, reason: str) -> bool:
    """Cancel a child that is not advanced here. True: that has been tried, and it rests all the same."""
    if engine.held_elsewhere(head):
        if not child.asked and head.status != "compensating":
            engine.post(Letter(randbits(62), head.run, "cancel", {"reason": reason}))
            child.asked = "posted"
    elif child.asked == "done":
        return True
    elif child.asked != "asked":
        child.asked = "asked"
        # its code is needed, so its fingerprint is: that is read where workflow code may run
        engine.host().put(partial(_cancel_as_a_person_would, engine, child, reason))
        return False
    engine.set_timer(run, "children", now_us() + int(LOOK * 1_000_000))
    return False


def _cancel_as_a_person_would(engine: Engine, child: Child, reason: str) -> None:
    """On an activation thread: take a child up that nobody advances, so that it can be told of its cancellation."""
    try:
        deciding.cancel(engine, child.instance, reason)
    except RomancyError as error:
        log.warning("child %s could not be cancelled: %s", child.instance, error)
    child.asked = "done"
    child.tell(None)


# -- one that is undone with its parent --------------------------------------------------------------------------------


def _undo(engine: Engine, run: LiveRun, child: Child, error: BaseException | None) -> None:
    """Bring a child to where nothing of it is left to undo; then the next step of its parent's undo is taken."""
    assert run.undo is not None
    step = run.undo.find(child.place)
    reason = f"{run.instance}, which began it, is undone"
    if step is None or _cancel(engine, run, child, reason):
        return
    head = _head(engine, child)
    if head is None:
        _undone(engine, run, child, None)
    elif error is not None and head.status not in _OVER and not isinstance(error, RunHeldElsewhere):
        undoing.pause(engine, run, "child", error)
    elif head.status in {"completed", "failed", "cancelled", "compensated"}:
        rows = [(row.seq, row.event) for row in engine.journal.load(head.run)]
        if children.undo_plan(engine, rows).next() is None:
            _undone(engine, run, child, None)
        else:
            deciding.undo(engine, child.instance, "asked", {"reason": reason})
            _goes_on(engine, run, child)
    elif head.status == "compensation_failed":
        _gave_up(engine, run, child, step, head)
    elif head.status == "stuck" or (head.status == "compensating" and not engine.held_elsewhere(head)):
        deciding.undo(engine, child.instance, "cancelled", {"reason": reason})
        _goes_on(engine, run, child)
    elif _have_cancelled(engine, run, child, head, reason):
        undoing.pause(
            engine,
            run,
            "child",
            RunPaused(f"Child {child.instance} of {run.instance} cannot be undone yet: it is {head.status}."),
        )


def _goes_on(engine: Engine, run: LiveRun, child: Child) -> None:
    """The undo of the child has been taken up: wait for its end, unless it rests at once."""
    live = engine.newest.get(child.instance)
    if live is None or live.finished or live.status != "paused":
        child.tell(None)
        return
    engine.commit_now()
    last = engine.journal.load(live.key, parts=False)[-1].event
    undoing.pause(engine, run, "child", RunPaused(str((last.meta or {}).get("message", ""))))


def _gave_up(engine: Engine, run: LiveRun, child: Child, step: saga.Step, head: Head) -> None:
    """The child's undo gave up: a person decides, about the parent's step or about the child itself."""
    if step.retried:
        step.retried = False
        deciding.go_on(engine, child.instance, f"{run.instance} is undone")
        _goes_on(engine, run, child)
        return
    outcome = TakeUp(engine).outcome(head.run)
    error = outcome.error if outcome is not None else None
    _undone(engine, run, child, error or CompensationFailed(f"The undo of {child.instance} gave up."))


def _undone(engine: Engine, run: LiveRun, child: Child, error: BaseException | None) -> None:
    run.children.pop(child.place, None)
    kind = ev.ACTIVITY_COMPLETED if error is None else ev.ACTIVITY_FAILED
    payload = encode_failure(error) if error is not None else None
    undoing.outcome(engine, run, Delivery(kind, child.place, now_us(), 1, payload))
