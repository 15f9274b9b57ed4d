"""Durable waits in workflow code: for an event that somebody sends, and for a person's answer.

A wait is a row of the run's history. What is awaited is journaled with it as far as it can be known without the code, as a JSON
schema: so anybody who sends from elsewhere is told at once that something does not fit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Coroutine
from typing import Any, Final, TypeVar, overload

from romancy_nb.core import events as ev
from romancy_nb.core.commands import Outcome, OutsideCommand
from romancy_nb.core.context import Ambient, ambient
from romancy_nb.definitions.ambient import ACTIVITY
from romancy_nb.definitions.annotations import spelled
from romancy_nb.definitions.asked import event_schema, question_schema, validate_answer
from romancy_nb.definitions.seconds import Seconds, checked_timeout
from romancy_nb.errors import CannotRestore, EventRefused, WrongArguments, WrongPlace
from romancy_nb.payloads.codec import ANY, canonical_digest, decode, encode
from romancy_nb.payloads.payload import Payload

__all__ = [
    "NOTHING",
    "ask",
    "await_outside",
    "dumped",
    "in_workflow",
    "restored",
    "slug",
    "wait_event",
]

T = TypeVar("T")

NOTHING: Final[Any] = type("Nothing", (), {"__repr__": lambda self: "<nothing>"})()
"""Stands for an argument that was not given."""


@overload
def wait_event(name: str, *, type: type[T], timeout: Seconds | None = None) -> T: ...
@overload
def wait_event(name: str, *, type: Any = ..., timeout: Seconds | None = None) -> Any: ...
def wait_event(name: str, *, type: Any = ANY, timeout: Seconds | None = None) -> Any:
    """Wait until somebody sends the event *name* to this instance, and return what it carries.

    The run rests meanwhile: it costs nothing, and goes on in another kernel or year as well. An event that was sent before
    it is awaited is kept. Events of one name are received in the order in which they came, each once. Blocks in ``def``
    code, is awaited in ``async def``.

    Args:
        name: of the event, such as ``"payment.completed"``.
        type: what it carries: anything that pydantic can validate. What does not fit is refused where it is sent. None:
            anything, as it was sent.
        timeout: seconds, or a timedelta; durable.

    Returns:
        The event's payload, as *type* has it.

    Raises:
        TimeoutError: nobody sent it in that time.
        WrongPlace: called outside of workflow code.

    Example:
        >>> payment = rn.wait_event("payment.completed", type=Payment, timeout=86_400)  # doctest: +SKIP
    """
    found = in_workflow("rn.wait_event")
    _check(name, "rn.wait_event")
    seconds = checked_timeout(timeout, found.loop.now, "rn.wait_event(timeout=)")
    type = ANY if type is None else type
    schema = event_schema(type)
    known = {"schema": schema} if schema is not None else None
    digest = canonical_digest(["event", name, schema])
    payload = Payload(dumped(known)) if known is not None else None
    command = OutsideCommand(ev.WAIT_STARTED, name, digest, payload, {"what": "event"}, type)

    def value(outcome: Outcome) -> Any:
        if not outcome.ok:
            raise TimeoutError(f"Nobody sent {name!r} to {found.instance_id} within {seconds:g} s.")
        return restored(outcome.payload, type, f"what event {name} carries")

    return await_outside(found, command, seconds, value, f"rn.wait_event({name!r})")


@overload
def ask(question: str, *, name: str | None = None, timeout: Seconds | None = None, default: bool = ...) -> bool: ...
@overload
def ask(
    question: str, *, type: type[T], name: str | None = None, timeout: Seconds | None = None, default: T = ...
) -> T: ...
@overload
def ask(
    question: str, *, type: Any, name: str | None = None, timeout: Seconds | None = None, default: Any = ...
) -> Any: ...
def ask(
    question: str,
    *,
    type: Any = bool,
    name: str | None = None,
    timeout: Seconds | None = None,
    default: Any = NOTHING,
) -> Any:
    """Ask a person, wait for the answer however long it takes, and return it.

    In a notebook the question stands under the cell as a form, made from *type*, and the cell ends: the kernel is free, and
    running the cell again goes on when there is an answer. It can be answered there, with ``%romancy answer``, on the command
    line, by ``Instance.answer(...)`` or by an event over HTTP; who did, when and what is in the journal. The first answer
    counts. Blocks in ``def`` code, is awaited in ``async def``.

    Args:
        question: for the person.
        type: of the answer: ``bool``, a choice (``Literal``, an ``Enum``), numbers with bounds, dates, text, models, lists.
        name: of the event that answers it; made of the question unless given.
        timeout: seconds, or a timedelta; durable.
        default: the answer if nobody answers in time: what fits *type*, or None.

    Returns:
        The answer, as *type* has it.

    Raises:
        TimeoutError: nobody answered in that time, and there is no default.
        DefinitionError: a person cannot be asked for that type.
        WrongArguments: the default is no answer.
        WrongPlace: called outside of workflow code.

    Example:
        >>> decision = rn.ask("Approve the refund?", type=Decision, timeout=3 * 86_400)  # doctest: +SKIP
    """
    found = in_workflow("rn.ask")
    if not isinstance(question, str) or not question.strip():
        raise WrongArguments(f"rn.ask takes a question, a text that is not empty; this is {question!r}.")
    event = name if name is not None else slug(question)
    _check(event, "rn.ask")
    seconds = checked_timeout(timeout, found.loop.now, "rn.ask(timeout=)")
    schema = question_schema(type)
    digest = canonical_digest(["ask", event, question, schema])
    known: dict[str, Any] = {"question": question, "schema": schema}
    if default is not NOTHING:
        default = _default(type, default)
        known["default"] = json.loads(encode(default, type, what="the default answer").text)
    if seconds is not None:
        known["due"] = round((found.loop.now + seconds) * 1_000_000)
    command = OutsideCommand(ev.WAIT_STARTED, event, digest, Payload(dumped(known)), {"what": "ask"}, type)

    def value(outcome: Outcome) -> Any:
        if outcome.ok:
            return restored(outcome.payload, type, f"the answer to {question!r}")
        if default is NOTHING:
            raise TimeoutError(f"Nobody answered {question!r} of {found.instance_id} within {seconds:g} s.")
        return default

    return await_outside(found, command, seconds, value, "rn.ask(...)")


def _default(type: Any, value: Any) -> Any:
    """Return the default answer as *type* has it. None stands for itself: nobody has answered.

    Raises:
        WrongArguments: nobody could answer that.
    """
    if value is None:
        return None
    try:
        return validate_answer(type, value, what=f"rn.ask(default={value!r:.80})")
    except EventRefused as refused:
        raise WrongArguments(f"{refused}\nA default is an answer: it fits type={spelled(type)}, or is None.") from None


def await_outside(
    found: Ambient, command: OutsideCommand, timeout: float | None, value: Any, what: str
) -> Coroutine[Any, Any, Any] | Any:
    """Await what *command* asks for in the colour of the code that asks; *value* makes of the outcome what it returns."""
    if found.is_sync():
        future = found.await_outside(command)
        timer = found.loop.call_later(timeout, future.expire) if timeout is not None else None
        try:
            outcome = found.wait(future)
        finally:
            if timer is not None and not found.dead:
                timer.cancel()
        return value(outcome)

    async def waiting() -> Any:
        found.check()
        future = found.await_outside(command)
        timer = found.loop.call_later(timeout, future.expire) if timeout is not None else None
        try:
            outcome = await future
        finally:
            if timer is not None and not found.dead:
                timer.cancel()
        return value(outcome)

    call = waiting()
    found.expect(what, call, what="")
    return call


def restored(payload: Payload, type: Any, what: str) -> Any:
    """Return what was sent, as *type* has it. It may have been sent from where nobody knew the type.

    Raises:
        CannotRestore: it does not fit.
    """
    try:
        return decode(payload, type, what=what)
    except CannotRestore:
        if type is ANY:
            raise
        from pydantic import TypeAdapter, ValidationError

        try:
            if '"$' not in payload.text:
                return TypeAdapter(type).validate_json(payload.text)
            # JSON with keys or texts that look like our marks, which were wrapped when it was journaled
            return TypeAdapter(type).validate_python(decode(payload, what=what))
        except ValidationError as error:
            raise CannotRestore(f"{what[:1].upper()}{what[1:]} does not fit {type!r}: {error}") from None


def slug(question: str) -> str:
    """Return the name of the event that answers *question*: ``approve-the-refund``."""
    words = re.findall(r"\w+", question.casefold())
    return "-".join(words[:8])[:60] or "answer"


def in_workflow(name: str) -> Ambient:
    """Return the run whose code calls *name*.

    Raises:
        WrongPlace: no workflow code does.
    """
    found = ambient()
    if found is None:
        where = "an activity" if ACTIVITY.get() is not None else "no workflow"
        raise WrongPlace(
            f"{name} belongs into workflow code, and this is {where}. Call it in a function marked @rn.workflow."
        )
    found.check()
    return found


def _check(name: str, what: str) -> None:
    if not isinstance(name, str) or not name.strip():
        raise WrongArguments(f"{what} takes the name of an event, a text that is not empty; this is {name!r}.")


def dumped(document: dict[str, Any]) -> str:
    """Return *document* as it is journaled: the same text for the same content."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
