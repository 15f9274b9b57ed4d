"""What the buttons of a timeline do. Each is the call that Python or ``%romancy`` makes: a journaled request, with the same errors.

Nothing here needs the kernel's main thread or this process to own the run: it acts while other cells run, and what another process
advances is asked of that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from romancy_nb.core.replay import UNDO
from romancy_nb.errors import RunProblem, WrongArguments
from romancy_nb.notebook import pasted
from romancy_nb.notebook.decisions import step_of
from romancy_nb.runtime import sending, typed
from romancy_nb.runtime.awaited import schema_of_wait
from romancy_nb.runtime.details import find
from romancy_nb.runtime.instance import Instance
from romancy_nb.runtime.ownership import describe
from romancy_nb.runtime.standing import head_of

__all__ = ["ACTIONS", "code", "perform"]

_VIA: Final = "widget"
_RESUMED: Final = frozenset({"failed", "paused", "stuck", "interrupted"})
_DONE: Final = {"retry": "is tried again", "skip": "is skipped, and its effect stands", "done": "counts as done"}

Arguments = Mapping[str, Any]


def perform(instance: Instance[Any], action: str, place: str = "", arguments: Arguments | None = None) -> str:
    """Do what a button says, and return what came of it in a sentence. Any thread may do so.

    Args:
        instance: whose timeline it is.
        action: resume, cancel, compensate, retry, skip, done, resolve, answer, send, fork (at the step, or behind it with another
            result where ``text`` gives one).
        place: of the step, as ``"0:3"`` or, for its undo, ``"undo:0:3"``; empty where it is of the whole run.
        arguments: ``reason``, ``note``, ``value``, ``event``, ``payload``, ``event_id``, ``outcome``, ``result``, ``instance_id``,
            as the action takes them. What was typed instead of made with a form comes as ``text``.

    Raises:
        RomancyError: it cannot be done; the message says why and what can. One that does not fit names each field in ``problems``.

    Example:
        >>> perform(order, "cancel", arguments={"reason": "the customer called"})  # doctest: +SKIP
        'order order-7 is being cancelled: its code may clean up, then what it did is undone.'
    """
    act = ACTIONS.get(action)
    if act is None:
        raise WrongArguments(f"There is no action {action!r}; there are {', '.join(ACTIONS)}.")
    return act(instance, place, arguments or {})


def code(instance: Instance[Any], action: str, place: str = "", arguments: Arguments | None = None) -> str:
    """Return the Python that does the same, and the line of ``%romancy`` where there is one; for "code", the step's own call."""
    if action == "code":
        return pasted.call(find(instance, place))
    return pasted.action(instance, action, place, arguments or {})


# -- of a run --------------------------------------------------------------------------------------------------------------


def _resume(instance: Instance[Any], place: str, arguments: Arguments) -> str:
    if owner := _elsewhere(instance):
        raise RunProblem(f"{_named(instance)} goes on already: it is run by {owner}.")
    instance.resume(strict=bool(arguments.get("strict")))
    return f"{_named(instance)} goes on in the background."


def _cancel(instance: Instance[Any], place: str, arguments: Arguments) -> str:
    owner, was = _elsewhere(instance), instance.status
    instance.cancel(_text(arguments, "reason"))
    if was == "cancelled":
        return f"{_named(instance)} was cancelled before."
    if owner:
        return f"{_named(instance)} is run by {owner}, which is asked to cancel it."
    return f"{_named(instance)} is being cancelled: its code may clean up, then what it did is undone."


def _compensate(instance: Instance[Any], place: str, arguments: Arguments) -> str:
    instance.compensate(note=_text(arguments, "note"))
    return f"What {_named(instance)} did is being undone."


# -- of a step -------------------------------------------------------------------------------------------------------------


def _retry(instance: Instance[Any], place: str, arguments: Arguments) -> str:
    """Have a failed step executed again, as the same call of the workflow does (R1); of an undo that gave up, the undo."""
    if place.startswith(UNDO):
        return _decide("retry")(instance, place, arguments)
    call = find(instance, place, parts=False).call
    status, name = instance.status, call.intent.name
    if call.ok:
        raise RunProblem(
            f"{name} (call {place}) has completed, and its result is not executed again by a retry. A fork from here does that, or "
            f"a call with redo=[{name.rpartition('.')[2]!r}]."
        )
    if status not in _RESUMED:
        raise RunProblem(f"{_named(instance)} is {status}: there is nothing to retry in it now.")
    doubtful = call.outcome is None and call.meta.get("delivery") == "at_most_once"
    if doubtful and any(not each.outcome for each in call.tries):
        instance.resolve(place, "not_executed", None, _text(arguments, "note"))
    instance.resume()
    return f"{name} (call {place}) is executed again, and {_named(instance)} goes on in the background."


def _decide(action: str) -> Callable[[Instance[Any], str, Arguments], str]:
    """Return what decides about an undo that gave up."""

    def decide(instance: Instance[Any], place: str, arguments: Arguments) -> str:
        instance.compensate(step_of(place) if place else None, action, _text(arguments, "note"))
        return f"The undo {_DONE[action]}, and that of {_named(instance)} goes on."

    return decide


def _resolve(instance: Instance[Any], place: str, arguments: Arguments) -> str:
    outcome, result = _text(arguments, "outcome"), pasted.result_of(instance, place, arguments)
    instance.resolve(step_of(place) if place else None, outcome, result, _text(arguments, "note"))
    if arguments.get("resume") and instance.status in _RESUMED:
        instance.resume()
        return f"Noted, and {_named(instance)} goes on in the background."
    return f"Noted. Resume {_named(instance)}, and it goes on with that."


def _answer(instance: Instance[Any], place: str, arguments: Arguments) -> str:
    question = place or arguments.get("question") or None
    if "text" in arguments:
        _, _, receipt = typed.answer(instance._engine, instance.id, _text(arguments, "text"), question, via=_VIA)
        return receipt.says
    if "value" not in arguments:
        raise WrongArguments("There is no answer yet.")
    return sending.answer(instance._engine, instance.id, arguments["value"], question, via=_VIA).says


def _send(instance: Instance[Any], place: str, arguments: Arguments) -> str:
    event = _text(arguments, "event") or (find(instance, place, parts=False).call.intent.name if place else "")
    event_id = _text(arguments, "event_id") or None
    value = arguments.get("payload")
    if "text" in arguments:
        text = _text(arguments, "text")
        schema = instance._engine.ask(lambda engine: schema_of_wait(engine, instance.id, event))
        value = typed.value_of(text, schema) if text.strip() else None
    return sending.send(instance._engine, instance.id, event, value, event_id=event_id, via=_VIA).says


def _fork(instance: Instance[Any], place: str, arguments: Arguments) -> str:
    edits: dict[int | str, Any] | None
    edits = {place: pasted.result_of(instance, place, arguments)} if place and "text" in arguments else None
    at = place if place and edits is None else None
    made: Instance[Any] = instance.fork(at, edits, instance_id=_text(arguments, "instance_id") or None)
    return f"{made.workflow_name} {made.id} was forked from {instance.id}, and goes on in the background."


ACTIONS: Final[dict[str, Callable[[Instance[Any], str, Arguments], str]]] = {
    "resume": _resume,
    "cancel": _cancel,
    "compensate": _compensate,
    "retry": _retry,
    "skip": _decide("skip"),
    "done": _decide("done"),
    "resolve": _resolve,
    "answer": _answer,
    "send": _send,
    "fork": _fork,
}
"""What a button may do, by its name."""


def _named(instance: Instance[Any]) -> str:
    return f"{instance.workflow_name} {instance.id}"


def _elsewhere(instance: Instance[Any]) -> str:
    """Say which other process advances the run; empty: none does."""

    def look(engine: Any) -> str:
        if engine.newest.get(instance.id) is not None:
            return ""
        head = head_of(engine, instance.id)
        return describe(head.owner) if engine.held_elsewhere(head) else ""

    return str(instance._engine.ask(look))


def _text(arguments: Arguments, name: str) -> str:
    value = arguments.get(name)
    if value is not None and not isinstance(value, str):
        raise WrongArguments(f"{name} is a text, not {type(value).__name__}.")
    return value or ""
