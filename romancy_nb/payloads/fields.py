"""The arguments of a call as one payload: one JSON object, parameter name to value.

Each value is encoded by its own annotation; the binary parts of all of them are numbered through.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from romancy_nb.errors import CannotRestore
from romancy_nb.payloads.codec import ANY, decode, encode
from romancy_nb.payloads.payload import Part, Payload, is_forgotten
from romancy_nb.payloads.text import NotText, dumps, loads

__all__ = ["decode_fields", "encode_fields", "join_payloads", "pick_fields", "split_payload"]

_PART: Final = "$part"
_REDACTED: Final = "$redacted"
_PLAIN: Final = frozenset({str, int, float, bool})

_again = json.JSONEncoder(separators=(",", ":")).encode  # half surrogate pairs stay escaped


def encode_fields(
    values: dict[str, Any], annotations: Mapping[str, Any], *, redacted: Iterable[str] = (), what: str
) -> Payload:
    """Encode *values* as one JSON object.

    Args:
        values: by name.
        annotations: by name; a name without one is encoded as what it is.
        redacted: names to mention without their value (D5).
        what: names the whole in errors, such as "activity ask".

    Raises:
        NotJournalable: a value that no codec can keep; the error names it.

    >>> encode_fields({"prompt": "hi", "n": 2}, {}, redacted=["api_key"], what="activity ask").text
    '{"prompt":"hi","n":2,"api_key":{"$redacted":"api_key"}}'
    """
    for name, value in values.items():
        kind = type(value)
        simple = value.isascii() if kind is str else -(1 << 63) <= value < 1 << 63 if kind is int else kind is bool
        if not simple or ((annotation := annotations.get(name, ANY)) is not kind and annotation is not ANY):
            break
    else:
        if not redacted:
            return Payload(dumps(values))
    texts: list[str] = []
    parts: list[Part] = []
    for name, value in values.items():
        payload = encode(value, annotations.get(name, ANY), what=f"argument {name} of {what}")
        text = payload.text
        if parts and payload.parts:
            text = dumps(_renumbered(loads(text), len(parts)))
        parts.extend(payload.parts)
        texts.append(f"{dumps(name)}:{text}")
    texts.extend(f"{dumps(name)}:{dumps({_REDACTED: name})}" for name in redacted)
    return Payload(f"{{{','.join(texts)}}}", tuple(parts))


def decode_fields(
    payload: Payload, annotations: Mapping[str, Any], *, what: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the values of ``encode_fields`` by name, and the names that were redacted.

    Raises:
        CannotRestore: a value does not fit its annotation any more, or this is no such payload.
    """
    if is_forgotten(payload.text):
        raise CannotRestore(f"The journaled call of {what} was forgotten on request (rn.forget).")
    values = loads(payload.text)
    if type(values) is not dict:
        raise CannotRestore(f"The journaled call of {what} is no JSON object: {payload.text[:60]}")
    redacted: tuple[str, ...] = ()
    for name, value in values.items():
        kind = type(value)
        annotation = annotations.get(name, ANY)
        if kind in _PLAIN and (annotation is kind or annotation is ANY):
            continue
        if kind is dict and value.keys() == {_REDACTED}:
            redacted = (*redacted, name)
            continue
        values[name] = decode(Payload(_again(value), payload.parts), annotation, what=f"argument {name} of {what}")
    for name in redacted:
        del values[name]
    return values, redacted


def pick_fields(payload: Payload, names: Iterable[str], more: Mapping[str, Payload]) -> Payload:
    """Return those of the journaled values that *names* has, and *more* beside them, without decoding anything.

    Args:
        payload: of ``encode_fields``.
        names: which of its values; one that it lacks is left out.
        more: further values, encoded, by name.

    >>> pick_fields(Payload('{"item":"lamp","n":2}'), ["item"], {"result": Payload('"R-1"')}).text
    '{"item":"lamp","result":"R-1"}'
    """
    values = loads(payload.text)
    parts = list(payload.parts)
    picked = {name: values[name] for name in names if name in values}
    for name, extra in more.items():
        picked[name] = _renumbered(loads(extra.text), len(parts)) if extra.parts else loads(extra.text)
        parts.extend(extra.parts)
    return Payload(_text(picked), tuple(parts))


def join_payloads(payloads: Sequence[Payload]) -> Payload:
    """Return one payload, a JSON array, of several, without decoding anything.

    >>> join_payloads([Payload('{"n":1}'), Payload('{"n":2}')]).text
    '[{"n":1},{"n":2}]'
    """
    texts: list[str] = []
    parts: list[Part] = []
    for each in payloads:
        text = each.text
        if parts and each.parts:
            text = _text(_renumbered(loads(text), len(parts)))
        parts.extend(each.parts)
        texts.append(text)
    return Payload(f"[{','.join(texts)}]", tuple(parts))


def split_payload(payload: Payload) -> list[Payload]:
    """Return the payloads that ``join_payloads`` was given.

    Raises:
        CannotRestore: it was forgotten, or is no JSON array.

    >>> [each.text for each in split_payload(Payload('[{"n":1},{"n":2}]'))]
    ['{"n":1}', '{"n":2}']
    """
    if is_forgotten(payload.text):
        raise CannotRestore("The journaled rows were forgotten on request (rn.forget).")
    documents = loads(payload.text)
    if type(documents) is not list:
        raise CannotRestore(f"The journaled rows are no JSON array: {payload.text[:60]}")
    if not payload.parts:
        return [Payload(_text(each)) for each in documents]
    found = []
    for each in documents:
        first, last = _span(each)
        found.append(Payload(_text(_renumbered(each, -first)), payload.parts[first:last]))
    return found


def _span(document: Any) -> tuple[int, int]:
    """From which to behind which part a document refers to; its parts stand side by side."""
    numbers: list[int] = []
    left = [document]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            if type(each.get(_PART)) is int:
                numbers.append(each[_PART])
            left.extend(each.values())
        elif isinstance(each, list):
            left.extend(each)
    return (min(numbers), max(numbers) + 1) if numbers else (0, 0)


def _text(document: Any) -> str:
    try:
        return dumps(document)
    except NotText:  # half surrogate pairs, which stay escaped
        return _again(document)


def _renumbered(document: Any, first: int) -> Any:
    """The document with its references to parts counted from *first*."""
    if isinstance(document, dict):
        found = {key: _renumbered(value, first) for key, value in document.items()}
        if type(found.get(_PART)) is int:
            found[_PART] += first
        return found
    if isinstance(document, list):
        return [_renumbered(each, first) for each in document]
    return document
