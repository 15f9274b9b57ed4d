"""What unfinished runs wait for, read off their histories: for lists, for messages, and for whoever types the name of one.

A run that another process advances, or that nobody does, tells the same as one that is advanced here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.ledger import NOTEBOOK
from romancy_nb.core.replay import Call, Numbered, collect
from romancy_nb.journal.protocol import Head, Letter
from romancy_nb.runtime import ownership
from romancy_nb.runtime.outside import unconsumed
from romancy_nb.runtime.questions import Question, questions_in, schema_in
from romancy_nb.runtime.standing import head_of

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine

__all__ = ["Arrived", "Standing", "Wait", "schema_of_wait", "standing", "standings", "waits_here"]

_ABOUT: Final = 10_000_000
"""A limit is reckoned from when the code began to ask, its timer from when that was recorded: µs by which they may differ."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that a run awaits and that nothing has arrived for.

    Attributes:
        name: of the event, or of the channel.
        what: "event", "ask" (a question), "message" (of a channel).
        schema: JSON schema of what it carries; None: anything.
    """

    name: str
    what: str
    schema: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Arrived:
    """Something that has come and that the run's code has not received yet.

    Attributes:
        name: of the event.
        by, via, at: who sent it, how, and when (µs).
        question: its text, where it answers one.
        answer: what it carries, as JSON, where it answers a question.
    """

    name: str
    by: str
    via: str
    at: int
    question: str = ""
    answer: Any = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How an unfinished run stands towards what is outside of it.

    Attributes:
        instance, workflow, notebook: which run it is, and the notebook that ran it last, if that is known.
        owner: "here", "elsewhere" or "nobody": who advances it.
        waits: what it awaits, questions included, in the order in which it asked.
        questions: those that are open.
        due: when its next timer is due (µs); None: it has none. Those that only limit a wait count.
        children: whose end it awaits: ids.
        arrived: what has come meanwhile.
    """

    instance: str
    workflow: str
    notebook: str
    owner: str
    waits: tuple[Wait, ...] = ()
    questions: tuple[Question, ...] = ()
    due: int | None = None
    arrived: tuple[Arrived, ...] = ()
    children: tuple[str, ...] = ()

    @property
    def timer(self) -> int | None:
        """When its next timer is due, unless that is when the time for an answer is over, which its question says."""
        limits = [one.due for one in self.questions if one.due is not None]
        if self.due is None or any(abs(limit - self.due) < _ABOUT for limit in limits):
            return None
        return self.due


def standing(engine: Engine, limit: int | None = None) -> list[Standing]:
    """Return how the unfinished runs stand that await something or have a timer, newest first. Runs on the engine's thread.

    Args:
        engine: of the journal.
        limit: of how many runs the histories are read.
    """
    heads = [head for head in engine.journal.unfinished() if head.workflow != NOTEBOOK and head.status in _WAITING]
    heads.sort(key=lambda head: -head.updated)
    return [each for each in standings(engine, heads[:limit]) if each.waits or each.arrived or each.due is not None]


def standings(engine: Engine, heads: Sequence[Head]) -> list[Standing]:
    """Return how each of these runs stands. Runs on the engine's thread."""
    letters = engine.journal.letters()
    return [_standing(engine, head, letters) for head in heads]


def _standing(engine: Engine, head: Head, letters: Sequence[Letter]) -> Standing:
    rows = [(row.seq, row.event) for row in engine.journal.load(head.run, parts=False)]
    calls, arriving, questions = collect(rows)[0].values(), unconsumed(rows), questions_in(rows, head)
    answers = {each.event: each for each in questions if each.status == "answered"}
    arrived = [
        Arrived(
            event.name,
            str((event.meta or {}).get("by", "")),
            str((event.meta or {}).get("via", "")),
            event.at,
            answers[event.name].question if event.name in answers else "",
            answers[event.name].answer if event.name in answers else None,
        )
        for _, event in arriving
    ]
    arrived += [
        Arrived(letter.event.name, str((letter.event.meta or {}).get("by", "")), "", letter.event.at)
        for letter in letters
        if letter.run == head.run and letter.event is not None
    ]
    return Standing(
        head.instance,
        head.workflow,
        head.notebook or "",
        _owner(engine, head),
        tuple(_waits_in(calls, arriving)),
        tuple(each for each in questions if each.status == "open"),
        _due(calls),
        tuple(arrived),
        tuple(_children_in(calls)),
    )


def _owner(engine: Engine, head: Head) -> str:
    """Return who advances the run: "here", "elsewhere" or "nobody"."""
    if engine.advanced(head.instance) is not None:
        return "here"
    if head.status in {"running", "waiting"} and ownership.alive(head.owner, engine.other_engines()):
        return "elsewhere"
    return "nobody"


def schema_of_wait(engine: Engine, instance: str, name: str) -> dict[str, Any] | None:
    """Return the schema of what *instance* awaits, or awaited last, under *name*; None: anything, or never. Engine's thread."""
    event = engine.journal.last_wait(head_of(engine, instance).run, name)
    return schema_in(event.payload if event is not None else None)


def waits_here(engine: Engine, instance: str) -> list[Wait]:
    """Return what a run that is advanced here awaits. Asks nobody: for any thread, and right at some moment just now."""
    live = engine.newest.get(instance)
    found = []
    for each in list(live.outside.values()) if live is not None else ():
        if each.command.kind == ev.WAIT_STARTED:
            what = str(each.facts.get("what", "event"))
            found.append(Wait(each.command.name, what, schema_in(each.command.payload)))
    return found


def _waits_in(calls: Iterable[Call], arriving: Sequence[Numbered]) -> list[Wait]:
    waiting = [event.name for _, event in arriving]
    found = []
    for call in calls:
        intent = call.intent
        if intent.kind != ev.WAIT_STARTED or call.outcome is not None or call.cancelled:
            continue
        if intent.name in waiting:
            waiting.remove(intent.name)
            continue
        found.append(Wait(intent.name, str((intent.meta or {}).get("what", "event")), schema_in(intent.payload)))
    return found


def _children_in(calls: Iterable[Call]) -> list[str]:
    open_ = [call.intent for call in calls if call.outcome is None and not call.cancelled]
    return [str((intent.meta or {}).get("instance", "")) for intent in open_ if intent.kind == ev.CHILD_STARTED]


def _due(calls: Iterable[Call]) -> int | None:
    return min(
        (
            int((call.intent.meta or {}).get("due", 0))
            for call in calls
            if call.intent.kind == ev.TIMER_STARTED and call.outcome is None and not call.cancelled
        ),
        default=None,
    )


_WAITING: Final = frozenset({"running", "waiting", "paused", "stuck"})
