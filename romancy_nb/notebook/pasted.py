"""The Python that does what a button does, to be pasted: names and texts quoted so that whatever they contain stays a text."""

from __future__ import annotations

import base64
import json
import keyword
from collections.abc import Callable, Mapping
from typing import Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.replay import UNDO
from romancy_nb.definitions import registry
from romancy_nb.errors import RunProblem
from romancy_nb.payloads.payload import NOTES, Payload, is_forgotten
from romancy_nb.payloads.redact import is_secret
from romancy_nb.runtime import given
from romancy_nb.runtime.details import Found, find
from romancy_nb.runtime.instance import Instance
from romancy_nb.words import clip, quoted

__all__ = ["action", "call", "magic", "result_of"]

_DEEPEST: Final = 50
_MOST: Final = 50_000
_DECISIONS: Final = frozenset({"retry", "skip", "done"})


def action(instance: Instance[Any], name: str, place: str, arguments: Mapping[str, Any]) -> str:
    """Return the Python of an action, and its line of ``%romancy``, as a comment, where there is one.

    >>> print(action(order, "cancel", "", {"reason": "the customer called"}))  # doctest: +SKIP
    import romancy_nb as rn
    rn.instance('order-7').cancel('the customer called')
    # or: %romancy cancel order-7 "the customer called"
    """
    make = _ACTIONS.get(name)
    if make is None:
        raise RunProblem(f"There is no action {name!r}; there are {', '.join(_ACTIONS)}.")
    python, line = make(instance, place, arguments)
    found = f"rn.instance({instance.id!r})"
    told = f"import romancy_nb as rn\n{found}{python}"
    return f"{told}\n# or: {line}" if line else told


def magic(*words: str) -> str:
    """Return a line of ``%romancy`` with *words* quoted as it takes them apart; empty where it cannot say one of them.

    >>> magic("cancel", "order-7", "the customer called"), magic("cancel", "a\\nb")
    ('%romancy cancel order-7 "the customer called"', '')
    """
    told = []
    for word in words:
        if not word.isprintable() or ("'" in word and '"' in word) or word.startswith("--") or not word:
            return ""
        told.append(quoted(word))
    return f"%romancy {' '.join(told)}"


def _resume(instance: Instance[Any], place: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    return ".resume(strict=True)" if arguments.get("strict") else ".resume()", magic("resume", instance.id)


def _cancel(instance: Instance[Any], place: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    reason = str(arguments.get("reason") or "")
    return f".cancel({reason!r})" if reason else ".cancel()", magic(
        "cancel", instance.id, *([reason] if reason else [])
    )


def _compensate(instance: Instance[Any], place: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    note = str(arguments.get("note") or "")
    return f".compensate({f'note={note!r}' if note else ''})", "" if note else magic("compensate", instance.id)


def _retry(instance: Instance[Any], place: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    if place.startswith(UNDO):
        return _decide("retry")(instance, place, arguments)
    return ".resume()", magic("retry", instance.id, *([place] if place else []))


def _decide(decision: str) -> Callable[[Instance[Any], str, Mapping[str, Any]], tuple[str, str]]:
    def decide(instance: Instance[Any], place: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
        note = str(arguments.get("note") or "")
        python = f".compensate({place or None!r}, {decision!r}{f', note={note!r}' if note else ''})"
        line = magic("compensate", instance.id, place, decision, *([note] if note else []))
        if note and line:  # the note is an option's value, which takes quotes alone
            line = _with_option(magic("compensate", instance.id, place, decision), "note", note)
        return python, line

    return decide


def result_of(instance: Instance[Any], place: str, arguments: Mapping[str, Any]) -> Any:
    """Return the result that *arguments* give for a step: ``result``, or what ``text`` means, as a person typed it."""
    if "text" not in arguments:
        return arguments.get("result")
    text = str(arguments["text"])
    if arguments.get("outcome") == "failed":  # what went wrong is told, not read
        return text
    return given.of_text(find(instance, place, parts=False).call.intent, text)


def _resolve(instance: Instance[Any], place: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    outcome, note = str(arguments.get("outcome") or "not_executed"), str(arguments.get("note") or "")
    result = result_of(instance, place, arguments) if outcome != "not_executed" else None
    more = (f", {result!r}" if result is not None else "") + (f", note={note!r}" if note else "")
    python = f".resolve({place or None!r}, {outcome!r}{more})" + (".resume()" if arguments.get("resume") else "")
    line = magic("resolve", instance.id, place, outcome, *([repr(result)] if result is not None else []))
    line = _with_option(line, "note", note) if note else line
    if arguments.get("resume"):
        goes_on = magic("resume", instance.id)
        line = f"{line}\n#     {goes_on}" if line and goes_on else ""
    return python, line


def _answer(instance: Instance[Any], place: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    value = arguments.get("value")
    question = find(instance, place, parts=False).call.intent.name if place else ""
    python = f".answer({value!r}{f', question={question!r}' if question else ''})"
    return python, _with_rest("answer", instance.id, _question(question), value)


def _question(event: str) -> list[str]:
    plain = event and event.isprintable() and not any(char.isspace() or char in "'\"" for char in event)
    return ["--question", event] if plain else []


def _send(instance: Instance[Any], place: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    event = str(arguments.get("event") or "") or (find(instance, place, parts=False).call.intent.name if place else "")
    value, event_id = arguments.get("payload"), str(arguments.get("event_id") or "")
    given = f", {value!r}" if value is not None else ""
    python = f".send({event!r}{given}{f', event_id={event_id!r}' if event_id else ''})"
    return python, "" if event_id else _with_rest("send", instance.id, [event], value)


def _with_rest(command: str, instance: str, words: list[str], value: Any) -> str:
    """A line whose rest is JSON: its words take no quotes."""
    if not all(
        word.isprintable() and word and not any(char.isspace() or char in "'\"" for char in word) for word in words
    ):
        return ""
    line = magic(command, instance)
    if not line or line != f"%romancy {command} {instance}":
        return ""
    return f"{line} {' '.join([*words, json.dumps(value)])}" if value is not None or command == "answer" else " ".join(
        [line, *words]
    )  # fmt: skip


def _with_option(line: str, name: str, value: str) -> str:
    if not line or not value.isprintable() or ('"' in value and "'" in value):
        return ""
    return f'{line} --{name} "{value}"' if '"' not in value else f"{line} --{name} '{value}'"


def _fork(instance: Instance[Any], place: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    name = str(arguments.get("instance_id") or "")
    edited = bool(place) and "text" in arguments
    value = result_of(instance, place, arguments) if edited else None
    begins = f"edits={ ({place: value})!r}" if edited else repr(place or None)
    python = f".fork({begins}{f', instance_id={name!r}' if name else ''})"
    options = ["--edit", f"{place}={json.dumps(value)}"] if edited else ["--at", place]
    return python, _fork_line(instance.id, [*options, *(["--id", name] if name else [])]) if place else ""


def _fork_line(instance: str, options: list[str]) -> str:
    """A line whose words take no quotes, and in which an option is one wherever it stands."""
    line = magic("fork", instance)
    plain = line == f"%romancy fork {instance}"
    for name, value in zip(options[::2], options[1::2], strict=True):
        plain = plain and value.isprintable() and not any(word.startswith("--") for word in value.split())
        plain = plain and (name == "--edit" or (len(value.split()) == 1 and not value.endswith("?")))
    return " ".join([line, *options]) if plain else ""


_ACTIONS: Final[dict[str, Callable[[Instance[Any], str, Mapping[str, Any]], tuple[str, str]]]] = {
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


# -- a step as the call that it was ---------------------------------------------------------------------------------------


def call(found: Found) -> str:
    """Return the call of a step with the inputs that are recorded. What cannot be written as Python is named in a comment."""
    step, intent = found.call, found.call.intent
    if intent.kind == ev.TIMER_STARTED:
        return f"import romancy_nb as rn\nrn.sleep({float(step.meta.get('delay') or 0)!r})"
    kinds: dict[str, registry.Kind] = {
        ev.ACTIVITY_SCHEDULED: "activity",
        ev.COMPENSATION_SCHEDULED: "compensation",
        ev.CHILD_STARTED: "workflow",
    }
    kind = kinds.get(intent.kind)
    if kind is None or "child" in step.meta:
        return f"# {clip(intent.name)}: this step is no call that can be made by itself"
    name = _callable(kind, intent.name)
    arguments, left = _arguments(step.inputs)
    lines = [f"# left out: {clip(each)}" for each in left]
    if not name:
        lines.append(f"# {kind} {clip(intent.name)} is not defined here under a name that can be written")
        name = "activity" if kind == "activity" else kind
    text = ", ".join(arguments)
    if len(name) + len(text) > 100:
        text = "\n" + "".join(f"    {each},\n" for each in arguments)
    return "\n".join([*lines, f"{name}({text})"])


def _callable(kind: registry.Kind, name: str) -> str:
    """What a person calls it in Python: the name of its function, where that is one."""
    target = registry.find(kind, name)
    called = str(getattr(target, "__name__", "") or name.rpartition(".")[2])
    return called if called.isidentifier() and not keyword.iskeyword(called) else ""


def _arguments(payload: Payload | None) -> tuple[list[str], list[str]]:
    """The arguments as Python, and what is left out and why."""
    if payload is None:
        return [], []
    if is_forgotten(payload.text):
        return [], ["its inputs, which were forgotten"]
    if len(payload.text) > _MOST:
        return [], [f"its inputs, {len(payload.text):,} characters of JSON"]
    document = json.loads(payload.text)
    if not isinstance(document, dict):
        return [], ["its inputs"]
    given, left = [], []
    for name, held in document.items():
        if is_secret(name, held) or (isinstance(held, dict) and "$redacted" in held):
            left.append(f"{name}, a secret")
            continue
        try:
            given.append(_argument(name, _python(held, 0)))
        except _Unwritten as unwritten:
            left.append(f"{name}, {unwritten}")
    return given, left


def _argument(name: str, value: str) -> str:
    return f"{name}={value}" if name.isidentifier() and not keyword.iskeyword(name) else f"**{{{name!r}: {value}}}"


class _Unwritten(Exception):
    """A value that Python's own literals do not write."""


def _python(held: Any, depth: int) -> str:
    if depth > _DEEPEST:
        raise _Unwritten("nested too deep")
    if held is None or isinstance(held, bool | int | float | str):
        return repr(held)
    if isinstance(held, list):
        return f"[{', '.join(_python(each, depth + 1) for each in held)}]"
    if not isinstance(held, dict):
        raise _Unwritten("an unknown value")
    first = next(iter(held), "")
    if first[:1] == "$" and first not in NOTES:
        return _tagged(held, depth)
    pairs = [(key, each) for key, each in held.items() if key not in NOTES]
    if any(is_secret(key, each) and each is not None for key, each in pairs):
        raise _Unwritten("which holds a secret")
    return "{" + ", ".join(f"{key!r}: {_python(each, depth + 1)}" for key, each in pairs) + "}"


def _tagged(held: dict[str, Any], depth: int) -> str:
    if "$redacted" in held:
        raise _Unwritten("which holds a secret")
    if "$value" in held:
        return _python(held["$value"], depth + 1)
    kind, items = held.get("$type"), held.get("items")
    if isinstance(items, list) and kind in {"tuple", "set", "frozenset"}:
        inner = ", ".join(_python(each, depth + 1) for each in items)
        if kind == "tuple":
            return f"({inner},)" if len(items) == 1 else f"({inner})"
        return f"frozenset([{inner}])" if kind == "frozenset" else f"{{{inner}}}" if items else "set()"
    if isinstance(items, list) and kind == "dict":
        pairs = ", ".join(f"{_python(key, depth + 1)}: {_python(each, depth + 1)}" for key, each in items)
        return f"{{{pairs}}}"
    if kind == "bytes" and isinstance(held.get("base64"), str):
        return repr(base64.b64decode(held["base64"]))
    if kind == "float" and isinstance(held.get("value"), str):
        return f"float({held['value']!r})"
    what = held.get("as") or held.get("type") or kind or held.get("codec") or "a value"
    raise _Unwritten(f"a {str(what).rpartition('.')[2]}" if kind else f"a binary value ({what})")
