"""What a person types as an answer, or as what an event carries: text, of which the awaited type makes a value.

Nobody has to think of quotes where it is clear what is meant: a choice, a date and a text stand as they are, and yes and no are
words. Everything else is JSON, and in a notebook Python as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from romancy_nb import words
from romancy_nb.definitions.sending import Receipt
from romancy_nb.errors import NotJournalable, RunProblem, WrongArguments
from romancy_nb.payloads.codec import encode
from romancy_nb.runtime import outside, sending
from romancy_nb.runtime.awaited import schema_of_wait
from romancy_nb.runtime.questions import Question

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine

__all__ = ["NoValue", "answer", "choices", "expected", "send", "shown", "until", "value_of"]

Evaluate = Callable[[str], Any]
"""Evaluates a Python expression; raises ``SyntaxError`` or ``NameError`` where it is none."""

_YES_NO: Final = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}
_PLAIN: Final = re.compile(r"[^\s\"'()\[\]{}]+")
_MOST: Final = 8


class NoValue(WrongArguments):
    """Nothing was typed where a value belongs. Its message says what is asked, and what would fit."""


def value_of(text: str, schema: Mapping[str, Any] | None, evaluate: Evaluate | None = None) -> Any:
    """Return what *text* means where *schema* is awaited.

    Args:
        text: what was typed.
        schema: JSON schema; None: anything.
        evaluate: for Python expressions; None: there are none.

    Returns:
        The first reading that fits: a choice, yes or no, JSON, plain text, Python. If none does, the first there is:
        whoever takes it says what is wrong with it.

    Raises:
        WrongArguments: it is nothing of that.

    >>> value_of("yes", {"type": "boolean"}), value_of("yes", {"type": "string"}), value_of("[1]", None)
    (True, 'yes', [1])
    """
    first: list[Any] = []
    for value in _readings(text.strip(), schema, evaluate):
        if _fits(schema, value):
            return value
        first.append(value)
    if first:
        return first[0]
    what = "neither JSON nor Python" if evaluate is not None else "not JSON"
    raise WrongArguments(f"{text!r} is {what}. A text stands in double quotes: {json.dumps(text)}.")


def _readings(text: str, schema: Mapping[str, Any] | None, evaluate: Evaluate | None) -> Iterator[Any]:
    kinds = _kinds(schema)
    yield from (each for each in choices(schema) if text == each)
    if "boolean" in kinds and text.lower() in _YES_NO:
        yield _YES_NO[text.lower()]
    yield from _tried(lambda: json.loads(text, parse_constant=_refuse), ValueError, RecursionError)
    as_text = "string" in kinds
    if as_text and _PLAIN.fullmatch(text):
        yield text
    if evaluate is not None:
        yield from _tried(lambda: evaluate(text), SyntaxError, NameError)
    if as_text:
        yield text


def _tried(read: Callable[[], Any], *refusals: type[Exception]) -> list[Any]:
    try:
        return [read()]
    except refusals:
        return []


def _refuse(word: str) -> float:
    raise ValueError(word)  # NaN and its like are no JSON


def _fits(schema: Mapping[str, Any] | None, value: Any) -> bool:
    if schema is None:
        return True
    try:
        return not outside.misfits(dict(schema), encode(value, what="what was typed"))
    except NotJournalable:
        return False


def choices(schema: Mapping[str, Any] | None) -> list[str]:
    """Return the words that fit, where only certain ones do.

    >>> choices({"enum": ["approve", "reject"]}), choices({"type": "boolean"})
    (['approve', 'reject'], [])
    """
    found: list[str] = []
    for part in _parts(schema):
        found += [each for each in part.get("enum", ()) if isinstance(each, str)]
        if isinstance(part.get("const"), str):
            found.append(part["const"])
    return found


def expected(schema: Mapping[str, Any] | None) -> str:
    """Return what may be typed, in short.

    >>> [expected(each) for each in ({"type": "boolean"}, {"enum": ["a", "b"]}, {"type": "integer"}, None)]
    ['yes|no', 'a|b', 'NUMBER', 'JSON']
    """
    found: list[str] = []
    for part in _parts(schema):
        words = choices(part)
        if words:
            found += words[:_MOST] + (["…"] if len(words) > _MOST else [])
        else:
            found += [_SHORT.get(str(part.get("format")), "") or _example(part, part, 0, text="TEXT")]
    return "|".join(dict.fromkeys(found)) or "JSON"


_SHORT: Final = {"date": "2026-11-21", "date-time": "2026-11-21T17:02:00Z", "time": "17:02:00"}


def _example(part: Mapping[str, Any], root: Mapping[str, Any], depth: int, text: str = '"TEXT"') -> str:
    if depth and "default" in part:
        return json.dumps(part["default"], ensure_ascii=False)
    known: Mapping[str, Any] = next(iter(_parts(part, root)), {})
    if known.get("enum"):
        return json.dumps(known["enum"][0], ensure_ascii=False)
    match known.get("type"):
        case "boolean":
            return "true" if depth else "yes|no"
        case "integer" | "number":
            return "1" if depth else "NUMBER"
        case "string":
            return json.dumps(_SHORT[known["format"]]) if known.get("format") in _SHORT else text
        case "null":
            return "null"
        case "array":
            return f"[{_example(known.get('items', {}), root, depth + 1)}]" if depth < 3 else "[]"
        case "object" if depth < 3:
            fields, needed = known.get("properties", {}), known.get("required", [])
            names = sorted(fields, key=lambda name: needed.index(name) if name in needed else len(needed))
            inner = [f"{json.dumps(name)}: {_example(fields[name], root, depth + 1)}" for name in names]
            return "{" + ", ".join(inner) + "}"
    return "JSON" if not depth else "null"


def _kinds(schema: Mapping[str, Any] | None) -> set[str]:
    """The JSON types that fit; empty: nothing is known."""
    found: set[str] = set()
    for part in _parts(schema):
        kind = part.get("type")
        found |= set(kind) if isinstance(kind, list) else {kind} if isinstance(kind, str) else set()
        if choices(part):
            found.add("string")
    return found


def _parts(schema: Mapping[str, Any] | None, root: Mapping[str, Any] | None = None, depth: int = 0) -> Iterator[Any]:
    """The alternatives of a schema, references followed."""
    if not isinstance(schema, Mapping) or depth > 8:
        return
    root = schema if root is None else root
    if isinstance(schema.get("$ref"), str):
        inner: Any = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            inner = inner.get(step, {}) if isinstance(inner, Mapping) else {}
        yield from _parts(inner, root, depth + 1)
        return
    several = schema.get("anyOf") or schema.get("oneOf") or (schema.get("allOf") if "type" not in schema else None)
    if several:
        for each in several:
            yield from _parts(each, root, depth + 1)
    else:
        yield {**schema, "$defs": root.get("$defs", {})}


# -- sending what was typed ----------------------------------------------------------------------------------------------


def send(
    engine: Engine,
    instance: str,
    event: str,
    text: str,
    *,
    event_id: str | None,
    via: str,
    evaluate: Evaluate | None = None,
) -> Receipt:
    """Send an event that carries what *text* means; nothing when it is empty. See ``rn.send``."""
    schema = engine.ask(lambda engine: schema_of_wait(engine, instance, event))
    value = value_of(text, schema, evaluate) if text.strip() else None
    return sending.send(engine, instance, event, value, event_id=event_id, via=via)


def answer(
    engine: Engine, instance: str, text: str, question: str | None, *, via: str, evaluate: Evaluate | None = None
) -> tuple[Question, Any, Receipt]:
    """Answer the open question of an instance with what *text* means.

    Args:
        engine: of the journal.
        instance: its id.
        text: what was typed.
        question: which, by its text or the name of its event; None: the only one.
        via: how it came: "magic", "command line".
        evaluate: for Python expressions.

    Returns:
        The question, the answer, and what became of it.

    Raises:
        NoValue: *text* is empty.
        RomancyError: see ``Instance.answer``.
    """
    one = sending.asked_for(engine, instance, question)
    if one.status != "open":
        sending.send(engine, instance, one.event, object(), via=via)  # says what is the matter, and can answer nothing
        raise RunProblem(f"Instance {instance} asks something else by now. Look again.")
    if not text.strip():
        raise NoValue(f"{one.workflow} asks: {one.question} What fits is {expected(one.schema)}.")
    value = value_of(text, one.schema, evaluate)
    return one, value, sending.answer(engine, instance, value, one.event, via=via)


def shown(value: Any) -> str:
    """Return an answer as a person reads it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)


def until(one: Question, now: int) -> str:
    """Say until when an answer counts, and what does otherwise."""
    if one.due is None:
        return ""
    otherwise = f", then {shown(one.default)} counts" if one.has_default else ""
    return f"; time until {words.moment(one.due, now)}{otherwise}"
