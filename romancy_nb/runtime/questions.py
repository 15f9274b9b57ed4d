"""What instances ask people, read off their histories: open questions, and those that have an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from romancy_nb.core import events as ev
from romancy_nb.core.commands import OpenOutside
from romancy_nb.core.replay import Numbered, collect
from romancy_nb.journal.protocol import Head
from romancy_nb.payloads.payload import Payload, plain

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine
    from romancy_nb.runtime.live import LiveRun

__all__ = [
    "Question",
    "all_questions",
    "asked_by",
    "asks",
    "form",
    "open_questions",
    "questions_in",
    "schema_in",
    "use_form",
]

_form: Callable[[Question], Mapping[str, Any]] | None = None


def use_form(make: Callable[[Question], Mapping[str, Any]]) -> None:
    """Say what makes a question's form, as JSON; forms are drawn in a room above this one."""
    global _form
    _form = make


def form(asked: Question) -> dict[str, Any] | None:
    """Return the form of a question, as JSON for a browser; None where nothing draws forms."""
    return dict(_form(asked)) if _form is not None else None


@dataclass(frozen=True, slots=True)
class Question:
    """A question to a person (``rn.ask``).

    Attributes:
        instance_id, workflow: who asks.
        event: name of the event that answers it.
        question: its text.
        place: of the call; tells it from others of the instance.
        schema: JSON schema of the answer; None: anything.
        default: what counts if nobody answers in time, as JSON; has_default tells whether there is one.
        asked_at, due: µs since 1970; None: it waits for ever.
        status: "open", "answered", or "over": its time is up, or the code gave it up.
        answer: as JSON; by, via, at: who gave it, how ("widget", "python", "command line", "http") and when.
        type: of the answer, where the code that asks runs in this process.
    """

    instance_id: str
    workflow: str
    event: str
    question: str
    place: str
    schema: dict[str, Any] | None = None
    default: Any = None
    has_default: bool = False
    asked_at: int = 0
    due: int | None = None
    status: str = "open"
    answer: Any = None
    by: str = ""
    via: str = ""
    at: int = 0
    type: Any = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from every other question: instance, place and time."""
        return self.instance_id, self.place, self.asked_at

    @classmethod
    def of(cls, instance: str, workflow: str, opened: OpenOutside) -> Question:
        """Return the question that a run which is advanced here has open."""
        command = opened.command
        known = json.loads(command.payload.text) if command.payload is not None else {}
        return cls(
            instance,
            workflow,
            command.name,
            str(known.get("question", "")),
            opened.place,
            known.get("schema"),
            known.get("default"),
            "default" in known,
            opened.at,
            known.get("due"),
            type=command.target,
        )


def asks(facts: Mapping[str, Any] | None) -> bool:
    """Do these facts of a wait say that it is a question?"""
    return facts is not None and facts.get("what") == "ask"


def schema_in(payload: Payload | None) -> dict[str, Any] | None:
    """Return the JSON schema of what is awaited, as a wait's intent has it; None: anything."""
    found: dict[str, Any] | None = json.loads(payload.text).get("schema") if payload is not None else None
    return found


def asked_by(run: LiveRun) -> list[Question]:
    """Return what a run that is advanced here asks just now. Reads memory only, on any thread."""
    return [
        Question.of(run.instance, run.workflow.name, each)
        for each in list(run.outside.values())
        if each.command.kind == ev.WAIT_STARTED and asks(each.facts)
    ]


def questions_in(rows: Sequence[Numbered], head: Head) -> list[Question]:
    """Return the questions that the run with these *rows* has asked, in that order."""
    calls, _ = collect(rows)
    arrived = {seq: event for seq, event in rows if event.kind == ev.EVENT_ARRIVED}
    received = {int((event.meta or {}).get("arrived", 0)) for _, event in rows if event.kind in _TAKEN}
    waiting = {seq: event for seq, event in arrived.items() if seq not in received}
    found = []
    for call in calls.values():
        intent = call.intent
        if intent.kind != ev.WAIT_STARTED or not asks(intent.meta):
            continue
        known = json.loads(intent.payload.text) if intent.payload is not None else {}
        answer = call.outcome
        facts = dict(answer.meta or {}) if answer is not None else {}
        if answer is None and not call.cancelled:  # it has arrived, and the code has not got it yet
            seq = next((seq for seq, event in waiting.items() if event.name == intent.name), 0)
            if seq:
                answer = waiting.pop(seq)
                facts = dict(answer.meta or {})
        over = call.cancelled or head.status in _OVER
        found.append(
            Question(
                head.instance,
                head.workflow,
                intent.name,
                str(known.get("question", "")),
                intent.call,
                known.get("schema"),
                known.get("default"),
                "default" in known,
                intent.at,
                known.get("due"),
                "answered" if answer is not None else "over" if over else "open",
                plain(json.loads(answer.payload.text)) if answer is not None and answer.payload is not None else None,
                str(facts.get("by", "")),
                str(facts.get("via", "")),
                answer.at if answer is not None else 0,
            )
        )
    return found


_TAKEN = frozenset({ev.EVENT_RECEIVED, ev.EVENT_REFUSED})
_OVER = frozenset(
    {"completed", "failed", "cancelled", "compensated", "compensating", "compensation_failed", "recurred"}
)


def all_questions(engine: Engine, head: Head) -> list[Question]:
    """Return what the run has asked, answered or not. Runs on the engine's thread."""
    return questions_in([(row.seq, row.event) for row in engine.journal.load(head.run, parts=False)], head)


def open_questions(engine: Engine, instances: Sequence[str] | None = None) -> list[Question]:
    """Return what is asked and has no answer, oldest first. Runs on the engine's thread.

    Args:
        engine: of the journal.
        instances: ids; None: all that have not ended.
    """
    if instances is None:
        heads = [head for head in engine.journal.unfinished() if head.status in _ASKING]
    else:
        heads = list(engine.journal.heads(instances).values())
    asking = {key for (key,) in engine.journal.asking([head.run for head in heads])}
    found: list[Question] = []
    for head in heads:
        if head.run in asking:
            found += [each for each in all_questions(engine, head) if each.status == "open"]
    return sorted(found, key=lambda each: each.asked_at)


_ASKING = frozenset({"running", "waiting", "paused", "stuck"})
