"""A run goes on in a new one with a fresh history (``rn.recur``): the end of one and the start of the other are one commit.

The new run knows nothing of the old one but what it was handed: its inputs, events that nobody has received, subscriptions, and,
with ``compensations="carry"``, that an undo of it has to go on with the run before (``undone_with``). So each turn of a loop costs
the same, however many there were.
"""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core import saga
from romancy_nb.core.events import Event
from romancy_nb.core.replay import Numbered
from romancy_nb.definitions import registry
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import chains, keys, outside, starts
from romancy_nb.runtime.live import Build, LiveRun

if TYPE_CHECKING:
    from romancy_nb.errors import RunRecurs
    from romancy_nb.runtime.state import State

__all__ = ["add_earlier", "carries", "facts", "next_run", "standing", "turn"]

_KEPT = ("namespace", "notebook", "cell", "parent", "ancestors", "site", "forked_from")


_STANDING = ("since", "turn", "called", "carries", "over", "forked_from")


def facts(wish: RunRecurs) -> dict[str, Any]:
    """Return what the journal has to know of a wish to go on, while the undo that comes first is under way."""
    inputs = wish.request.inputs
    return {"digest": inputs.digest, "code": wish.code, "reads": wish.reads, "compensations": wish.compensations}


def standing(first: Event | None) -> dict[str, Any]:
    """Return what a new run keeps of the first row of the one before: of an instance that has recurred, of a fork."""
    known = (first.meta or {}) if first is not None else {}
    return {name: known[name] for name in _STANDING if name in known}


def turn(run: LiveRun) -> int:
    """Return which turn of its chain the run is, or does anew: equal calls of two turns are two calls (A4)."""
    return keys.turn_of(run.first.meta if run.first is not None else None)


def carries(run: LiveRun) -> bool:
    """Has the run taken over what earlier ones of its chain did and could undo?"""
    return bool(run.first is not None and (run.first.meta or {}).get("carries"))


def next_run(
    engine: State, run: LiveRun, payload: Payload, known: dict[str, Any], wish: RunRecurs | None = None
) -> None:
    """End *run* and begin the next one of its instance, in this turn's commit.

    Args:
        payload: the inputs of the next run.
        known: what the journal knows of the wish; see ``facts``.
        wish: the wish itself, where this process has it.
    """
    now, first = now_us(), run.first
    assert first is not None
    before = first.meta or {}
    key = starts.new_run_key(now)
    meta = {"compensations": known["compensations"], "next": key}
    engine.record(run, [Event(ev.RUN_RECURRED, now, payload=payload, meta=meta)])
    kept = known["compensations"] == "carry" and (run.armed or carries(run))
    number = run.number + 1
    over = chains.next_over(engine, run.instance, before)
    known_before = chains.answering(engine, run.instance, {"since": number, "over": over}, number) if over else []
    repeated = (known_before[-1][1][0][1].meta or {}) if known_before else {}
    facts = {
        "number": number,
        "reason": "recur",
        "seed": repeated.get("seed", int(token_hex(6), 16)),
        "clock": repeated.get("clock", now),
        "owner": engine.token,
        "epoch": 1,
        "versions": starts.versions(),
        "reads": known["reads"],
        "since": number,
        "turn": repeated.get("turn", repeated.get("since", 1)) if repeated else number,
        "called": before.get("called", first.digest),
        **({"carries": True} if kept else {}),
        **({"over": over} if over else {}),
        **{name: before[name] for name in _KEPT if name in before},
    }
    started = Event(ev.RUN_STARTED, now, run.instance, first.name, known["digest"], known["code"], 0, payload, facts)
    opening = [started, *outside.handed_on(run, now)]
    workflow = wish.request.workflow if wish is not None else registry.find("workflow", first.name)
    inputs = wish.request.inputs if wish is not None else None
    fresh = LiveRun(key, run.instance, number, run.workflow, run.digest, known["code"], lambda: None)
    if workflow is not None:
        fresh.workflow = workflow
        fresh.make_body = lambda: workflow.body(inputs or workflow.recall(payload, known["digest"]))
    fresh.first, fresh.started, fresh.lineage = started, now, run.lineage
    fresh.start, fresh.outlet, fresh.attached = run.start, run.outlet, run.attached
    fresh.waiters, run.waiters = run.waiters, []
    fresh.host = run.host if workflow is not None else None
    if known_before:
        fresh.pool = chains.pool(known_before, frozenset())
        fresh.undone = fresh.pool.undone
    fresh.build = Build(list(enumerate(opening, 1)), fresh.pool)
    engine.record(fresh, opening)
    run.status, run.finished, run.execution = "recurred", True, None
    engine.clear_timer(run, "deadline")
    engine.forget(run)
    engine.recurred(run.key, run.instance)
    if workflow is None:  # whoever calls it where it is defined goes on with it
        return
    engine.channels.note(fresh.key, opening)
    engine.admit(fresh)
    limit = fresh.workflow.options.timeout
    if limit is not None:
        engine.set_timer(fresh, "deadline", now + int(limit * 1_000_000))


def add_earlier(engine: State, rows: Sequence[Numbered], plan: saga.Plan) -> None:
    """Add to what a run has to undo what the runs before it in its chain did, and left to it."""
    first = rows[0][1]
    while (first.meta or {}).get("carries"):
        number = int((first.meta or {}).get("since", 1)) - 1
        head = next((head for head in engine.journal.runs(first.call, number) if head.number == number), None)
        if head is None:
            return
        earlier = [(row.seq, row.event) for row in engine.journal.load(head.run)]
        more = saga.plan(earlier)
        for step in more.steps:
            step.of = f"{number}/{step.of}"
        saga.note_progress(more, rows)
        plan.steps += more.steps
        plan.kept += more.kept
        first = earlier[0][1]
