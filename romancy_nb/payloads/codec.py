"""The public face of this room: ``encode``, ``decode``, ``canonical_digest``, and codecs of your own."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any, Final

from romancy_nb.errors import CannotRestore, NotJournalable
from romancy_nb.payloads.canonical import digest as _digest
from romancy_nb.payloads.payload import Payload, is_forgotten, members
from romancy_nb.payloads.plans import ANYTHING, plan_for
from romancy_nb.payloads.registry import Codec, PickleCodec, register_class, register_codec
from romancy_nb.payloads.text import NotText, deep_recursion, dumps, is_plain, loads
from romancy_nb.payloads.tree import REMEDY, Changed, Lost, Plan, Reader, Unkept, Writer, type_name

__all__ = [
    "ANY",
    "Codec",
    "PickleCodec",
    "canonical_digest",
    "decode",
    "encode",
    "register_class",
    "register_codec",
]

ANY: Final = Any
"""No annotation: the value describes itself."""

_NO_ANNOTATION: Final = (Any, inspect.Signature.empty)
_EXACT: Final = (int, str, float, bool)


def encode(value: Any, annotation: Any = ANY, *, what: str) -> Payload:
    """Return *value* as it is journaled.

    What ``decode`` makes of it is equal to *value* and of the same type, whatever *annotation* says; the annotation
    only makes the JSON more readable, and lets classes be found that have no name at the top level of a module.

    Args:
        value: what to keep.
        annotation: the annotation of its place, such as a function's return annotation (resolved, not a string).
        what: the value's name in errors: ``"the result of activity reserve"``.

    Raises:
        NotJournalable: something in it cannot be kept; the message has the path to it and the ways out.

    Example::

        encode({"at": date(2024, 5, 1)}, what="the result").text  # '{"at":{"$type":"date","value":"2024-05-01"}}'
    """
    plan = ANYTHING if annotation is Any else _plan(annotation)
    try:
        if plan is ANYTHING and is_plain(value):
            return Payload(dumps(value))
        out = Writer()
        return Payload(dumps(plan.write(value, out)), tuple(out.parts))
    except Unkept as error:
        raise _refusal(error, what, value) from error.__cause__
    except Exception:
        # a text that JSON cannot hold, a stack that is full, or whatever the user's own properties raise: look closer
        return _encode_with_care(value, plan, what)


def _plan(annotation: Any) -> Plan:
    return ANYTHING if annotation in _NO_ANNOTATION else plan_for(annotation)


def _encode_with_care(value: Any, plan: Plan, what: str) -> Payload:
    try:
        with deep_recursion():
            out = Writer()
            try:
                return Payload(dumps(plan.write(value, out)), tuple(out.parts))
            except NotText:
                out = Writer(careful=True)
                return Payload(dumps(plan.write(value, out)), tuple(out.parts))
    except Unkept as error:
        raise _refusal(error, what, value) from error.__cause__
    except RecursionError as error:  # a dict with odd keys is three levels of JSON, and 3.12 reads 1500 of them
        raise NotJournalable(
            f"{_opening(what)} cannot be journaled: it is nested too deep. Make it flatter."
        ) from error
    except Exception as error:
        raise NotJournalable(f"{_opening(what)} cannot be journaled: {type(error).__name__}: {error}") from error


def decode(payload: Payload, annotation: Any = ANY, *, what: str) -> Any:
    """Return the value that ``encode`` wrote as *payload*.

    Args:
        payload: the document with its parts.
        annotation: the annotation that it was written under; another one is tried through pydantic.
        what: the value's name in errors.

    Raises:
        CannotRestore: it does not fit what is defined here: a class or codec is missing, or a field has changed.

    Example::

        decode(Payload('{"$type":"tuple","items":[1,2]}'), what="the result")  # (1, 2)
    """
    try:
        if annotation in _EXACT:  # almost every result there is
            document = loads(payload.text)
            if type(document) is annotation:
                return document
        plan = ANYTHING if annotation is Any else _plan(annotation)
        return _read(payload, plan)
    except RecursionError:
        pass
    except Exception as error:
        return _evolved(payload, annotation, what, error)
    try:
        with deep_recursion():
            return _read(payload, _plan(annotation))
    except Exception as error:
        return _evolved(payload, annotation, what, error)


def _read(payload: Payload, plan: Plan) -> Any:
    text = payload.text
    document = loads(text)
    if plan is ANYTHING and '"$' not in text:
        return document
    if is_forgotten(text):
        raise Lost("it was forgotten on request (rn.forget)")
    return plan.read(document, Reader(payload.parts))


def _evolved(payload: Payload, annotation: Any, what: str, error: Exception) -> Any:
    """Restore a document whose class has changed since then as pydantic would; else raise CannotRestore."""
    reason = f"{error}"
    if isinstance(error, Changed):
        reason = "a class in it has changed since it was recorded"
        if annotation not in _NO_ANNOTATION:
            try:
                from pydantic import TypeAdapter

                return TypeAdapter(annotation).validate_json(dumps(_fields_only(loads(payload.text))))
            except Exception as refused:
                reason = f"it was recorded under another annotation and does not fit {_shown(annotation)}: {refused}"
    elif not isinstance(error, Lost):
        reason = f"{type(error).__name__}: {error}"
    raise CannotRestore(f"{_opening(what)} cannot be restored from the journal: {reason}.") from error


def _fields_only(document: Any) -> Any:
    """Return *document* as pydantic would have written it. Raises Lost when it has tags, which pydantic does not know."""
    if type(document) is list:
        return [_fields_only(item) for item in document]
    if type(document) is not dict:
        return document
    fields = {}
    for key, item in members(document):
        if key[:1] == "$":
            raise Lost("it holds values of other types than its annotation says")
        fields[key] = _fields_only(item)
    return fields


def canonical_digest(value: Any) -> str:
    """Return the digest by which two inputs count as the same (A6): ``"1:"`` and 32 hexadecimal digits.

    Equal in every process and Python version; the order of dict keys and set elements does not count, types do
    (``1``, ``1.0`` and ``True`` differ, and so do ``(1,)`` and ``[1]``). A frame counts by its columns, an array by
    dtype, shape and bytes, an object by its class's name and its fields.

    Raises:
        NotJournalable: something in it has no digest, with the path to it.

    Example::

        canonical_digest({"a": 1, "b": 2}) == canonical_digest({"b": 2, "a": 1})  # True
    """
    try:
        return _digest(value)
    except Unkept as error:
        raise _refusal(error, "the value", value, "has no digest") from error.__cause__
    except RecursionError:
        pass
    try:
        with deep_recursion():
            return _digest(value)
    except Unkept as error:
        raise _refusal(error, "the value", value, "has no digest") from error.__cause__


# -- messages ----------------------------------------------------------------------------------------------------------


def _refusal(error: Unkept, what: str, value: Any, problem: str = "cannot be journaled") -> NotJournalable:
    root = "result" if "result" in what else "inputs" if "input" in what else "value"
    if error.is_cycle:
        reason, remedy = "contains itself", "Break the cycle: refer by an id instead."
        path = error.path if len(error.path) < 100 else error.path[:100] + "…"
        return NotJournalable(
            f"{_opening(what)} {problem}: {root} ({type_name(value)}) {reason} at {root}{path}. {remedy}"
        )
    path = error.path if len(error.path) < 300 else error.path[:300] + "…"
    remedy = error.remedy
    if remedy is REMEDY and _is_live(type(error.culprit)):
        remedy = (
            "It belongs to this process alone, as connections, clients, files and locks do. Make it inside the activity that uses "
            "it, from plain data such as a path or a URL, and hand on only plain data."
        )
    elif root != "result":
        remedy = remedy.replace("Return plain", "Pass plain", 1)
    return NotJournalable(
        f"{_opening(what)} {problem}: {root}{path}, a {type_name(error.culprit)}, {error.reason}. {remedy}"
    )


def _is_live(culprit: type) -> bool:
    """Is it a library's connection, client, lock or the like? A class of the person's can be made one that can be kept."""
    if not _LIVE.search(culprit.__name__):
        return False
    module = sys.modules.get(culprit.__module__)
    installed = "site-packages" in str(getattr(module, "__file__", ""))
    return installed or culprit.__module__.partition(".")[0] in sys.stdlib_module_names - {"__main__"}


_LIVE: Final = re.compile(
    r"connection|client|session|cursor|engine|socket|lock|semaphore|condition|event|queue|pool|executor|thread|loop|task|"
    r"future|channel|driver|wrapper$|^Buffered|^FileIO|stream|handle",
    re.IGNORECASE,
)
"""Names of classes whose objects mean something in one process only."""


def _opening(what: str) -> str:
    return what[:1].upper() + what[1:]


def _shown(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
