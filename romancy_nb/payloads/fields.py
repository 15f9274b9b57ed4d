"""The arguments of a call as one payload: one JSON object, parameter name to value.

Each value is encoded by its own annotation; binary parts of all of them are numbered through.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from romancy_nb.errors import CannotRestore
from romancy_nb.payloads.codec import ANY, decode, encode
from romancy_nb.payloads.payload import Part, Payload

__all__ = ["decode_fields", "encode_fields"]

_PART: Final = "$part"
_REDACTED: Final = "$redacted"
_PLAIN: Final = frozenset({str, int, float, bool})

_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encode_fields(
    values: Mapping[str, Any], annotations: Mapping[str, Any], *, redacted: Iterable[str] = (), what: str
) -> Payload:
    """Encode *values* as one JSON object.

    Args:
        values: by name.
        annotations: by name; a name without one is encoded as what it is.
        redacted: names to mention without their value (D5).
        what: names the whole in errors, such as "activity ask".

    Raises:
        NotJournalable: a value that no codec can keep; the error names it.
    """
    texts: list[str] = []
    parts: list[Part] = []
    for name, value in values.items():
        payload = encode(value, annotations.get(name, ANY), what=f"argument {name} of {what}")
        text = payload.text
        if parts and payload.parts:
            text = _dump(_renumbered(json.loads(text), len(parts)))
        parts.extend(payload.parts)
        texts.append(f"{_dump(name)}:{text}")
    texts.extend(f'{_dump(name)}:{{"{_REDACTED}":true}}' for name in redacted)
    return Payload(f"{{{','.join(texts)}}}", tuple(parts))


def decode_fields(
    payload: Payload, annotations: Mapping[str, Any], *, what: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the values of ``encode_fields`` by name, and the names that were redacted.

    Raises:
        CannotRestore: a value does not fit its annotation any more, or this is no such payload.
    """
    raw = json.loads(payload.text)
    if type(raw) is not dict:
        raise CannotRestore(f"The journaled call of {what} is no JSON object: {payload.text[:60]}")
    redacted: tuple[str, ...] = ()
    for name, value in raw.items():
        kind = type(value)
        annotation = annotations.get(name, ANY)
        if kind in _PLAIN and (annotation is kind or annotation is ANY):
            continue
        if kind is dict and value == {_REDACTED: True}:
            redacted = (*redacted, name)
            continue
        raw[name] = decode(Payload(_dump(value), payload.parts), annotation, what=f"argument {name} of {what}")
    for name in redacted:
        del raw[name]
    return raw, redacted


def _renumbered(document: Any, first: int) -> Any:
    """The document with its references to parts counted from *first*."""
    if isinstance(document, dict):
        number = document.get(_PART)
        found = {key: _renumbered(value, first) for key, value in document.items()}
        if type(number) is int:
            found[_PART] = number + first
        return found
    if isinstance(document, list):
        return [_renumbered(each, first) for each in document]
    return document
