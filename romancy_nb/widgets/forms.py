"""A question to a person as a form: what is shown of it, as data. How it looks is made from this, here and in the browser.

While nobody has answered, a form says what is asked, what would fit, what counts if nobody answers in time, and how it can be
answered from anywhere. Afterwards it says who answered what, when, and how.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from romancy_nb.payloads.payload import Payload
from romancy_nb.payloads.redact import is_secret
from romancy_nb.widgets import preview
from romancy_nb.widgets.fields import FormField, clean_lines, example, expects, field_of, parts_of
from romancy_nb.words import clean, clip, quoted, utc

__all__ = ["VIA", "Asked", "Form", "form_of", "saved", "text"]

VIA: Final = {
    "widget": "in the notebook",
    "python": "from Python",
    "magic": "with %romancy",
    "command line": "on the command line",
    "http": "over HTTP",
}
_HIDDEN: Final = "•••"
_LINES: Final = 60


class Asked(Protocol):
    """A question, as the runtime lists it. Times are µs since 1970; what stands in an answer is JSON."""

    @property
    def instance_id(self) -> str: ...
    @property
    def workflow(self) -> str: ...
    @property
    def event(self) -> str: ...
    @property
    def question(self) -> str: ...
    @property
    def place(self) -> str: ...
    @property
    def schema(self) -> Mapping[str, Any] | None: ...
    @property
    def default(self) -> Any: ...
    @property
    def has_default(self) -> bool: ...
    @property
    def asked_at(self) -> int: ...
    @property
    def due(self) -> int | None: ...
    @property
    def status(self) -> str: ...
    @property
    def answer(self) -> Any: ...
    @property
    def by(self) -> str: ...
    @property
    def via(self) -> str: ...
    @property
    def at(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Form:
    """What is shown of a question.

    Attributes:
        instance, workflow, event, place: where it is asked, and the event that answers it.
        question: its lines.
        root: what is asked for.
        asked_at, due: µs; due is None where it waits for ever.
        default: what counts if nobody answers in time, in short; empty where there is no default.
        status: "open", "answered", or "over": nobody asks any more.
        answer: in short; answers: the same by field, where it has several.
        by, via, at: who answered, how (as in ``VIA``), when.
    """

    instance: str
    workflow: str
    event: str
    place: str
    question: tuple[str, ...]
    root: FormField
    asked_at: int = 0
    due: int | None = None
    default: str = ""
    status: str = "open"
    answer: str = ""
    answers: tuple[tuple[str, str], ...] = ()
    by: str = ""
    via: str = ""
    at: int = 0

    @property
    def fields(self) -> tuple[FormField, ...]:
        """What is asked for, field by field."""
        return self.root.fields if self.root.kind == "object" else (self.root,)

    @property
    def when(self) -> tuple[str | int, ...]:
        """Since when it is asked, until when, and what counts then: words, and times in µs between them."""
        said: list[str | int] = ["asked ", self.asked_at]
        if self.status == "open" and self.due is not None:
            then = f"; then the answer is {self.default}" if self.default else "; then nobody waits for it any more"
            said += [" · open until ", self.due, then]
        return tuple(said)

    @property
    def ended(self) -> tuple[str | int, ...]:
        """Who answered, how and when, or that nobody did, as ``when``; empty while it is open."""
        if self.status == "open":
            return ()
        if self.status == "answered":
            who = f" by {clip(self.by, 60)}" if self.by else ""
            how = f" {VIA.get(self.via) or clip(f'via {self.via}', 40)}" if self.via else ""
            return f"answered{who}{how}, ", self.at
        over = f"the default was {self.default}" if self.default else "it is not asked any more"
        return (f"nobody answered; {over}",)

    @property
    def ways(self) -> tuple[tuple[str, str], ...]:
        """(where, command): how it is answered from elsewhere, with an answer that would fit."""
        fitting = example(self.root)
        told = json.dumps(fitting, ensure_ascii=False)
        instance, event = clean(self.instance), clean(self.event)
        return (
            ("in a notebook", f"%romancy send {quoted(instance)} {quoted(event)} {told}"),
            ("in a terminal", f"romancy-nb send {shlex.quote(instance)} {shlex.quote(event)} {shlex.quote(told)}"),
            ("in Python", f"rn.instance({instance!r}).answer({fitting!r}, question={event!r})"),
        )

    def data(self) -> dict[str, Any]:
        """Return the form as JSON, for a browser."""
        return {
            "question": list(self.question),
            "about": f"{clip(self.workflow)} · {clip(self.instance)} · ",
            "when": _milliseconds(self.when),
            "status": self.status,
            "ended": _milliseconds(self.ended),
            "answer": self.answer,
            "answers": [list(each) for each in self.answers],
            "root": self.root.data(),
            "ways": [list(each) for each in self.ways],
        }


def form_of(asked: Asked) -> Form:
    """Return what is shown of a question.

    Args:
        asked: the question, open or answered.

    Example:
        >>> form_of(question).root.kind  # doctest: +SKIP
        'boolean'
    """
    root = field_of(asked.schema)
    answered = asked.status == "answered"
    return Form(
        asked.instance_id,
        asked.workflow,
        asked.event,
        asked.place,
        tuple(clean_lines(asked.question)) or ("",),
        root,
        asked.asked_at,
        asked.due,
        _preview(asked.default) if asked.has_default else "",
        asked.status,
        _preview(asked.answer, asked.event) if answered else "",
        _by_field(root, asked.answer) if answered else (),
        asked.by,
        asked.via,
        asked.at,
    )


def saved(pieces: Sequence[str | int]) -> str:
    """Return words and times as a file keeps them: the same everywhere."""
    return "".join(utc(piece) if isinstance(piece, int) else piece for piece in pieces)


def _milliseconds(pieces: Sequence[str | int]) -> list[str | int]:
    """As a browser takes times, to say them in its reader's own zone."""
    return [piece // 1000 if isinstance(piece, int) else piece for piece in pieces]


def _preview(value: Any, name: str = "") -> str:
    if is_secret(name, value):
        return _HIDDEN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return clip(value, preview.LIMIT) or '""'
    if isinstance(value, dict) and any(is_secret(str(key), each) for key, each in value.items()):
        value = {key: {"$redacted": key} if is_secret(str(key), each) else each for key, each in value.items()}
    return preview.value(Payload(json.dumps(value, ensure_ascii=False)))


def _by_field(root: FormField, answer: Any) -> tuple[tuple[str, str], ...]:
    """The answer's fields under their labels, those that the schema does not know at the end."""
    if isinstance(answer, dict) and isinstance(answer.get("fields"), dict) and any(key[:1] == "$" for key in answer):
        answer = answer["fields"]  # as a value of its class, it was sent from where the class is known
    if root.kind != "object" or not isinstance(answer, dict) or any(str(key).startswith("$") for key in answer):
        return ()
    labels = {each.name: each.label for each in root.fields}
    names = [name for name in labels if name in answer] + [str(name) for name in answer if name not in labels]
    return tuple((labels.get(name) or clip(name, 80), _preview(answer[name], name)) for name in names[:_LINES])


# -- as text -------------------------------------------------------------------------------------------------------------


def text(form: Form) -> str:
    """Return the form as plain text: for terminals, diffs, and whoever reads a notebook's file without a browser."""
    mark = {"open": "?", "answered": "✓"}.get(form.status, "⊘")
    lines = [f"{mark} {form.question[0]}", *(f"  {line}" for line in form.question[1:])]
    lines.append(f"  {clip(form.workflow)} · {clip(form.instance)} · {saved(form.when)}")
    if form.status == "open":
        lines += _asked_for(form)
        lines.append("  Answer it")
        lines += [f"    {where:<14} {command}" for where, command in form.ways]
        return "\n".join(line.rstrip() for line in lines)
    lines.append(
        f"  {saved(form.ended)}" + (f": {form.answer}" if form.status == "answered" and not form.answers else "")
    )
    lines += [f"    {label}: {value}" for label, value in form.answers]
    return "\n".join(line.rstrip() for line in lines)


def _asked_for(form: Form) -> list[str]:
    if form.root.kind != "object":
        told = f"  Answer: {expects(form.root)}"
        nested = [each for each in parts_of(form.root) if each[0]]
        return [told + (f" ({form.root.help})" if form.root.help else ""), *_told(nested)]
    return ["  Fields:", *_told([each for each in parts_of(form.root) if each[0]])]


def _told(parts: list[tuple[int, FormField]]) -> list[str]:
    lines = []
    for depth, each in parts[:_LINES]:
        must = (
            ""
            if each.required
            else f", {_preview(each.default)} by default"
            if each.has_default
            else ", may be left out"
        )
        about = f" ({each.help})" if each.help else ""
        lines.append(f"  {'  ' * depth}{each.label or 'each'}: {expects(each)}{must}{about}")
    return lines + ([f"    … and {len(parts) - _LINES:,} more fields"] if len(parts) > _LINES else [])
