"""An event is sent to an instance, wherever that runs: here, in another process, or nowhere just now.

Whoever sends has it checked against what is awaited before anything is written: by the type itself where the code runs in
this process, else by the JSON schema that is journaled with the wait. Then one commit makes it a row of the run's history, or,
when another living process advances the run, a letter to that process, which makes it a row with the commit that takes the
letter out of the journal's inbox.
"""

from __future__ import annotations

import getpass
import json
from dataclasses import dataclass
from secrets import randbits, token_hex
from typing import TYPE_CHECKING, Any, Final

from romancy_nb import words
from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.core.ledger import NOTEBOOK
from romancy_nb.definitions.annotations import Field, Misfit
from romancy_nb.definitions.asked import validate_answer
from romancy_nb.definitions.sending import Receipt
from romancy_nb.errors import AlreadyAnswered, EventRefused, InstanceEnded, RunProblem, WrongArguments
from romancy_nb.journal.protocol import Head, Letter, Row
from romancy_nb.payloads.codec import ANY, encode
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import outside, ownership
from romancy_nb.runtime.questions import Question, all_questions, asks, schema_in
from romancy_nb.runtime.standing import head_of
from romancy_nb.runtime.takeup import TakeUp

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine
    from romancy_nb.runtime.live import LiveRun

__all__ = ["answer", "asked_for", "send"]

_SHOWN: Final = 20
_ENDED: Final = frozenset({"completed", "failed", "cancelled", "compensated", "compensation_failed"})


@dataclass(frozen=True, slots=True)
class _Awaited:
    """What is known of what an instance awaits under a name."""

    type: Any = ANY
    schema: dict[str, Any] | None = None


def send(
    engine: Engine,
    instance: str,
    name: str,
    value: object,
    *,
    event_id: str | None = None,
    via: str = "python",
    by: str | None = None,
) -> Receipt:
    """Send an event. See ``rn.send``.

    Args:
        via: how it was sent: "python", "widget", "command line", "http".
        by: who sent it; None: the user of this process.
    """
    if not isinstance(name, str) or not name.strip():
        raise WrongArguments(f"An event has a name, a text that is not empty; this is {name!r}.")
    awaited: _Awaited = engine.ask(lambda engine: _look(engine, instance, name, event_id))
    payload = _checked(instance, name, value, awaited)
    facts = {"by": by if by is not None else _who(), "via": via, **_checked_for(awaited)}
    event = Event(ev.EVENT_ARRIVED, 0, "", name, event_id or token_hex(12), "", 0, payload, facts)

    def work(engine: Engine) -> Receipt:
        receipt = _post(engine, instance, event, given=event_id is not None)
        engine.commit_now()
        return receipt

    receipt: Receipt = engine.ask(work)
    return receipt


def answer(
    engine: Engine, instance: str, value: object, question: str | None, *, via: str = "python", by: str | None = None
) -> Receipt:
    """Answer the open question of an instance. See ``Instance.answer``."""
    return send(engine, instance, asked_for(engine, instance, question).event, value, via=via, by=by)


def asked_for(engine: Engine, instance: str, question: str | None) -> Question:
    """Return the question that an answer goes to: open, or, of those named, one that is answered; sending tells who did.

    Raises:
        RunProblem: none is asked, or there are several.
        AlreadyAnswered: all are answered.
    """
    found: list[Question] = engine.ask(lambda engine: all_questions(engine, head_of(engine, instance)))
    mine = [each for each in found if question in {each.event, each.question, each.place}]
    opened = [each for each in (mine if question is not None else found) if each.status == "open"]
    events = list(dict.fromkeys(each.event for each in opened))
    if len(events) == 1:
        return opened[0]
    if not opened and mine:
        return mine[-1]
    if len(events) > 1:
        asked = "; ".join(f"{each.question!r} ({each.event})" for each in opened)
        raise RunProblem(f"Instance {instance} asks several things: {asked}. Say which: answer(value, question=...).")
    if question is None and found:
        raise _answered(found[-1])
    what = f"has not asked {question!r}" if question is not None else "asks nothing"
    raise RunProblem(f"Instance {instance} {what}. `.questions()` lists what it asks.")


# -- checking --------------------------------------------------------------------------------------------------------------


def _checked(instance: str, name: str, value: object, awaited: _Awaited) -> Payload:
    """Return what is journaled of *value*, once it fits what is awaited.

    Raises:
        EventRefused: it does not.
    """
    what = f"what event {name!r} carries"
    if awaited.type is not ANY and awaited.type is not None:
        fitting = _fitting(name, value, awaited, f"Event {name!r} for {instance}")
        return encode(fitting, awaited.type, what=what)
    payload = encode(value, what=what)
    problems = outside.misfits(awaited.schema, payload)
    if problems:
        listed = "\n  ".join(f"{path or 'it'} {why}" for path, why in problems[:_SHOWN])
        raise EventRefused(f"Event {name!r} for {instance} was refused:\n  {listed}", problems)
    return payload


def _checked_for(awaited: _Awaited) -> dict[str, str]:
    """What is journaled of a check by the type itself: by its schema, what the type made of the value need not fit."""
    known = awaited.type is not ANY and awaited.type is not None and awaited.schema is not None
    return {"checked": outside.mark(awaited.schema)} if known else {}


def _fitting(name: str, value: object, awaited: _Awaited, what: str) -> Any:
    if awaited.schema is not None:
        return validate_answer(awaited.type, value, what=what)
    try:  # a type that pydantic has no form for: a data frame, a class of the person's
        return Field(name, awaited.type).check(value)
    except Misfit as misfit:
        raise EventRefused(f"{what} was refused: {misfit}.") from None


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a name for its user
        return ""


# -- on the engine's thread --------------------------------------------------------------------------------------------------


def _look(engine: Engine, instance: str, name: str, event_id: str | None) -> _Awaited:
    """Find out what the instance awaits under *name*.

    Raises:
        InstanceEnded, AlreadyAnswered, RunProblem: it can receive nothing of that name any more.
    """
    head = head_of(engine, instance)
    if head.workflow == NOTEBOOK:
        raise RunProblem(f"Instance {instance} is a notebook: its cells await no events.")
    live = engine.advanced(instance)
    undone = head.status == "compensating" if live is None else live.undo is not None
    if live is not None and not undone:
        each = next((live.outside[place] for place in live.awaiting.get(name, ())), None)
        if each is not None:
            return _Awaited(each.command.target, schema_in(each.command.payload))
        if name not in live.asked:
            return _Awaited()
    if event_id is not None and (undone or head.status in _ENDED) and _is_known(engine, instance, event_id):
        return _Awaited()  # nothing of it is used
    last = engine.journal.last_wait(head.run, name)
    if last is not None and asks(last.meta):
        _refuse_second_answer(engine, head, name, live)
    if undone or head.status in _ENDED:
        raise _ended(head, "compensating" if undone else head.status)
    return _Awaited(schema=schema_in(last.payload if last is not None else None))


def _refuse_second_answer(engine: Engine, head: Head, name: str, live: LiveRun | None) -> None:
    """The first answer to a question counts.

    Raises:
        AlreadyAnswered: it has one, or its time is over.
    """
    asked = [each for each in all_questions(engine, head) if each.event == name]
    opened = [each for each in asked if each.status == "open"]
    if live is not None and live.build is not None and opened:
        return  # it is just being taken up
    if opened:
        letters = engine.journal.letters() if live is None else ()
        under_way = [each for each in letters if each.run == head.run and each.event and each.event.name == name]
        if len(under_way) >= len(opened):
            raise AlreadyAnswered(f"An answer to {name!r} of {head.instance} is under way. The first answer counts.")
    elif asked and (asked[-1].status == "answered" or head.status not in _ENDED):
        raise _answered(asked[-1])


def _is_known(engine: Engine, instance: str, event_id: str) -> bool:
    """Has an event with this id been sent to the instance?"""
    runs = [head.run for head in engine.journal.runs(instance)]
    if engine.journal.arrived(runs, event_id):
        return True
    letters = [each for each in engine.journal.letters() if each.run in runs]
    return any(each.event is not None and each.event.digest == event_id for each in letters)


def _post(engine: Engine, instance: str, event: Event, *, given: bool) -> Receipt:
    """Write the event where whoever advances the run finds it."""
    head = head_of(engine, instance)
    name, event_id = event.name, event.digest
    if given and _is_known(engine, instance, event_id):
        says = f"An event with the id {event_id!r} was sent to {instance} before; it was not sent once more."
        return Receipt(instance, name, event_id, "kept", True, says)
    live = engine.advanced(instance)
    if given or live is None or not live.awaiting.get(name):
        _look(engine, instance, name, None)  # it may have ended, or have been answered, meanwhile
    event = event._replace(at=now_us())
    if live is not None:
        if live.unsaved:
            engine.save(live)
        if outside.arrive(engine, live, event):
            return Receipt(instance, name, event_id, "delivered", says=f"{head.workflow} {instance} goes on here.")
        says = f"{instance} has it, and receives it when it awaits {name!r}."
        return Receipt(instance, name, event_id, "kept", says=says)
    owner = head.owner if head.status in {"running", "waiting"} else ""
    if owner and ownership.alive(owner, engine.other_engines()):
        engine.post(Letter(randbits(62), head.run, "event", {}, event))
        says = f"{ownership.describe(owner)} runs {instance} and takes it up within a second."
        return Receipt(instance, name, event_id, "posted", says=says)
    head = TakeUp(engine).recover(head)  # what its process had been sent and did not come to stands before this
    engine.add_rows([Row(head.run, engine.next_seq(head), event)])
    return Receipt(instance, name, event_id, "kept", says=_who_acts(head))


def _who_acts(head: Head) -> str:
    """Nobody runs the instance: say who has to do what (R15)."""
    where = f"run {head.notebook}, or " if head.notebook else ""
    return (
        f"{head.instance} has it, and nobody runs that just now: {where}call {head.workflow} again, or "
        f"rn.instance({head.instance!r}).resume() where {head.workflow} is defined."
    )


def _ended(head: Head, status: str) -> InstanceEnded:
    more = {
        "failed": f" The same call of {head.workflow} tries again, and awaits it then.",
        "compensating": " What it did is being undone.",
    }.get(status, f" Another one is started with {head.workflow}.start(..., new=True).")
    what = "is being undone" if status == "compensating" else f"has ended: it is {status.replace('_', ' ')}"
    return InstanceEnded(f"Instance {head.instance} {what}, so it awaits nothing any more.{more}")


def _answered(question: Question) -> AlreadyAnswered:
    if question.status == "over":
        return AlreadyAnswered(f"The time for {question.question!r} of {question.instance_id} is over.")
    when = words.moment(question.at, now_us())
    who = f" by {question.by}" if question.by else ""
    shown = words.clip(json.dumps(question.answer, ensure_ascii=False), 80)
    return AlreadyAnswered(
        f"{question.question!r} of {question.instance_id} was answered{who} at {when}: {shown}. The first answer counts."
    )
