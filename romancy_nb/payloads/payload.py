"""What a value looks like in the journal: readable JSON text, with what is not JSON beside it.

Every value is one JSON document. A data frame, an array, an image, a large ``bytes`` inside it stands in the document as
``{"$part": 0, ...}`` and its bytes are ``parts[0]``. So a person who reads the journal with SQL sees JSON everywhere, and
large binary values are stored once, by digest. This file knows only the shape; ``codec.py`` knows how to make it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple

__all__ = ["FORGOTTEN", "NULL", "Part", "Payload", "content_digest", "document", "is_forgotten"]

FORGOTTEN: Final = "$forgotten"
"""``{"$forgotten": "<digest>"}`` stands where a payload was that somebody had removed (D5)."""

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


def is_forgotten(text: str) -> bool:
    """Return whether *text* stands for a payload that was removed."""
    return text.startswith('{"$forgotten":')


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
