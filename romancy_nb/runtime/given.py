"""Results that a person gives in the place of a step's own: of a step in doubt (A1), and in a fork (R16)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.definitions import registry
from romancy_nb.definitions.annotations import Field, Misfit
from romancy_nb.errors import EventRefused, WrongArguments
from romancy_nb.payloads.codec import encode
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import outside, typed

__all__ = ["encoded", "of_text"]


def encoded(intent: Event, value: Any, what: str) -> Payload:
    """Return *value* as the annotation of what was called has it, or as what was waited for.

    Raises:
        NotJournalable, EventRefused, WrongArguments: it does not fit; the message says why.
    """
    if intent.kind == ev.WAIT_STARTED:
        payload = encode(value, what=what)
        problems = outside.misfits(_schema(intent), payload)
        if problems:
            raise EventRefused(
                f"{what} does not fit: " + "; ".join(f"{p or 'it'} {why}" for p, why in problems), problems
            )
        return payload
    target = _target(intent)
    if target is None:
        return encode(value, what=what)
    try:
        fitting = Field(intent.name, target.signature.result).check(value)
    except Misfit as misfit:
        raise WrongArguments(f"{what[0].upper()}{what[1:]} does not fit: {misfit}.") from None
    fits_now: Payload = target.signature.encode_result(fitting, what)
    return fits_now


def of_text(intent: Event, text: str) -> Any:
    """Return what a person typed as the result of a call: JSON, or the text as it stands, whichever fits first."""
    if intent.kind == ev.WAIT_STARTED:
        return typed.value_of(text, _schema(intent))
    target = _target(intent)
    found = list(_readings(text))
    for value in found:
        with suppress(Misfit):
            if target is not None:
                Field(intent.name, target.signature.result).check(value)
            return value
    return found[0]


def _readings(text: str) -> Iterator[Any]:
    with suppress(WrongArguments):
        yield typed.value_of(text, None)  # JSON
    yield text


def _schema(intent: Event) -> dict[str, Any] | None:
    asked = json.loads(intent.payload.text) if intent.payload is not None else {}
    found: dict[str, Any] | None = asked.get("schema")
    return found


def _target(intent: Event) -> Any:
    return registry.find("workflow" if intent.kind == ev.CHILD_STARTED else "activity", intent.name)
