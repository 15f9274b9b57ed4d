"""Errors to payloads and back (E1-E3).

What the journal keeps of an error is what its caller gets, live and on replay: class, arguments, attributes that can be
journaled, notes, cause and the members of a group. Classes are looked up, never imported, and rebuilt without ``__init__``.
"""

from __future__ import annotations

import json
import traceback
from contextlib import suppress
from typing import Any

from romancy_nb.errors import ActivityError, NotJournalable
from romancy_nb.payloads import interim_builtin as builtin
from romancy_nb.payloads.interim_classes import find_class, name_of
from romancy_nb.payloads.payload import Part, Payload, document

__all__ = ["decode_failure", "encode_failure"]

_DEPTH = 10
_TEXT = 8_000
_OURS = ("romancy_nb", "asyncio", "threading", "concurrent")


def encode_failure(error: BaseException) -> Payload:
    """Return *error* as a payload. Never raises: what cannot be kept is left out.

    >>> import json
    >>> json.loads(encode_failure(ValueError("no")).text)["type"]
    'builtins.ValueError'
    """
    parts: list[Part] = []
    flat = _flatten(error, parts, 0, set())
    text = _traceback(error)
    if text:
        flat["traceback"] = text
    return Payload(document(flat), tuple(parts))


def decode_failure(payload: Payload) -> BaseException:
    """Return the error of *payload*, as its own class where that is here, else as an ``ActivityError``.

    The recorded traceback is its attribute ``__romancy_traceback__``.
    """
    flat = json.loads(payload.text)
    error = _restore(flat, payload.parts)
    with suppress(AttributeError, TypeError):
        error.__romancy_traceback__ = flat.get("traceback", "")  # type: ignore[attr-defined]
    return error


def _message(error: BaseException) -> str:
    try:
        return str(error)[:_TEXT]
    except BaseException as worse:
        return f"<str() of this error raised {type(worse).__name__}>"


def _traceback(error: BaseException) -> str:
    try:
        shown = traceback.TracebackException.from_exception(error, compact=True, max_group_depth=_DEPTH)
        kept = [f for f in shown.stack if not _is_ours(f.filename)]
        shown.stack = traceback.StackSummary.from_list(kept)
        return "".join(shown.format(chain=False))[-_TEXT:]
    except BaseException:
        return ""


def _is_ours(filename: str) -> bool:
    pieces = filename.replace("\\", "/").split("/")
    return any(piece.removesuffix(".py") in _OURS for piece in pieces[-3:])


def _flatten(error: BaseException, parts: list[Part], depth: int, seen: set[int]) -> dict[str, Any]:
    cls = type(error)
    flat: dict[str, Any] = {"type": name_of(cls).replace(":", "."), "class": name_of(cls), "message": _message(error)}
    seen = seen | {id(error)}
    odd = not isinstance(error, Exception) or isinstance(error, (StopIteration, StopAsyncIteration))
    if odd and not isinstance(error, BaseExceptionGroup):
        flat["odd"] = True  # it would mean something else to the code that catches it (E3)
    if isinstance(error, BaseExceptionGroup) and depth < _DEPTH:
        flat["group"] = [_flatten(member, parts, depth + 1, seen) for member in error.exceptions if id(member) not in seen]
        flat["args"] = [str(error.args[0])] if error.args else [""]
    else:
        args = _kept({str(i): arg for i, arg in enumerate(error.args)}, parts)
        flat["args"] = [args.get(str(i), {"$lost": type(arg).__name__}) for i, arg in enumerate(error.args)]
    state = {k: v for k, v in _state(error).items() if not k.startswith("__")}
    if state:
        kept = _kept(state, parts)
        flat["state"] = kept
        lost = sorted(state.keys() - kept.keys())
        if lost:
            flat["lost"] = lost
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list):
        flat["notes"] = [str(note) for note in notes]
    for name in ("cause", "context"):
        other = getattr(error, f"__{name}__")
        if other is not None and id(other) not in seen and depth < _DEPTH:
            flat[name] = _flatten(other, parts, depth + 1, seen)
    if error.__suppress_context__:
        flat["suppress"] = True
    return flat


def _state(error: BaseException) -> dict[str, Any]:
    state = dict(getattr(error, "__dict__", {}))
    if isinstance(error, (OSError, SyntaxError, ImportError, UnicodeError, AttributeError, NameError)):
        for name in _BUILT_IN_STATE:
            with suppress(Exception):
                value = getattr(error, name, None)
                if value is not None:
                    state[name] = value
    return state


_BUILT_IN_STATE = ("errno", "strerror", "filename", "filename2", "msg", "lineno", "offset", "text", "end_lineno", "end_offset",
                   "name", "path", "encoding", "object", "start", "end", "reason")  # fmt: skip


def _kept(values: dict[str, Any], parts: list[Part]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in values.items():
        before = len(parts)
        try:
            flat = builtin.flatten(value, name, parts)
            json.dumps(flat)
        except (NotJournalable, RecursionError, ValueError, TypeError, UnicodeError, AttributeError):
            del parts[before:]
        else:
            kept[name] = flat
    return kept


def _restore(flat: dict[str, Any], parts: tuple[Part, ...]) -> BaseException:
    error = _rebuilt(flat, parts)
    with suppress(AttributeError, TypeError):
        for note in flat.get("notes", ()):
            error.add_note(note)
        if flat.get("lost"):
            error.add_note(f"(not journaled: {', '.join(flat['lost'])})")
    if "cause" in flat:
        error.__cause__ = _restore(flat["cause"], parts)
    if "context" in flat:
        error.__context__ = _restore(flat["context"], parts)
    error.__suppress_context__ = bool(flat.get("suppress"))
    return error


def _rebuilt(flat: dict[str, Any], parts: tuple[Part, ...]) -> BaseException:
    cls = find_class(flat["class"])
    stand_in = ActivityError(f"{flat['type']}: {flat['message']}", original=flat["type"])
    if flat.get("odd") or cls is None or not issubclass(cls, BaseException):
        return stand_in
    try:
        if "group" in flat:
            members = [_restore(member, parts) for member in flat["group"]]
            return cls(flat["args"][0], members)
        if any(isinstance(arg, dict) and "$lost" in arg for arg in flat["args"]):
            return _without_args(cls, flat, parts)
        args = tuple(builtin.restore(arg, parts) for arg in flat["args"])
        error = cls.__new__(cls, *args)
        error.args = args
        _set_state(error, flat, parts)
        str(error)
        return error
    except BaseException:
        return stand_in


def _without_args(cls: Any, flat: dict[str, Any], parts: tuple[Part, ...]) -> BaseException:
    """Some argument could not be journaled: the message stands for all of them."""
    error: BaseException = cls.__new__(cls, flat["message"])
    error.args = (flat["message"],)
    _set_state(error, flat, parts)
    str(error)
    return error


def _set_state(error: BaseException, flat: dict[str, Any], parts: tuple[Part, ...]) -> None:
    for name, value in flat.get("state", {}).items():
        with suppress(AttributeError, TypeError):
            setattr(error, name, builtin.restore(value, parts))


