"""What a value looks like in the journal: readable JSON text, with what is not JSON beside it.

Every value is one JSON document. A data frame, an array, an image, a large ``bytes`` inside it stands in the document as
``{"$part": 0, ...}`` and its bytes are ``parts[0]``. So a person who reads the journal with SQL sees JSON everywhere, and
large binary values are stored once, by digest. This file knows only the shape; ``codec.py`` knows how to make it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple

__all__ = [
    "FORGOTTEN",
    "NOTES",
    "NULL",
    "Part",
    "Payload",
    "code_digest",
    "content_digest",
    "document",
    "is_forgotten",
    "members",
    "plain",
]

FORGOTTEN: Final = "$forgotten"
"""``{"$forgotten": "<digest>"}`` stands where a payload was that somebody had removed (D5)."""

NOTES: Final = frozenset({"$unset", "$absent", "$private", "$extra"})
"""What the journal notes of a model besides its fields, to make it again exactly."""

_readable = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def document(plain: Any) -> str:
    """Return JSON-able data as compact JSON on one line, readable as it is; half surrogate pairs stay escaped."""
    text = _readable(plain)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return _ascii(plain)
    return text


def content_digest(data: bytes) -> str:
    """Return the content digest of *data*: 32 hexadecimal digits (BLAKE2b, 16 bytes)."""
    return blake2b(data, digest_size=16).hexdigest()


def code_digest(name: str, code: str) -> str:
    """Return the digest under which a journal keeps the code of the activity *name* that has the fingerprint *code*."""
    return content_digest(f"code\0{name}\0{code}".encode())


def is_forgotten(text: str) -> bool:
    """Return whether *text* stands for a payload that was removed."""
    return text.startswith('{"$forgotten":')


def members(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values of a dict, or of a model's fields without what the journal notes of them."""
    for key, item in document.items():
        if key == "$extra" and isinstance(item, dict):
            yield from item.items()
        elif key not in NOTES:
            yield key, item


def plain(document: Any) -> Any:
    """Return a parsed document without the journal's notes on models: as a person would have written it.

    Example:
        >>> plain({"approved": True, "$unset": ["note"]})
        {'approved': True}
    """
    if isinstance(document, list):
        return [plain(item) for item in document]
    if isinstance(document, dict):
        return {key: plain(item) for key, item in members(document)}
    return document


@dataclass(frozen=True, slots=True)
class Part:
    """A binary piece of a payload.

    Attributes:
        codec: the name of the codec that wrote it, such as ``"arrow"`` or ``"npy"``.
        digest: the content digest of ``data``.
        data: the bytes; ``None`` where only the description was loaded.
        size: how many bytes ``data`` has.
    """

    codec: str
    digest: str
    data: bytes | None = field(repr=False)
    size: int


class Payload(NamedTuple):
    """One value as it is journaled.

    Attributes:
        text: a compact JSON document without raw tabs or newlines (JSON escapes both inside strings).
        parts: the binary pieces that the document refers to by index.
    """

    text: str
    parts: tuple[Part, ...] = ()


NULL = Payload("null")
