"""Values to payloads and back: ``encode``, ``decode``, ``canonical_digest``.

JSON values stand as themselves. Everything else is one object with a ``"$type"`` that says how to rebuild it, or a
``"$part"`` that points at bytes beside the document. What is decoded is equal to what was encoded and of the same type;
the engine hands callers the decoded value in the live run too, so a replay sees what the live run saw.

Opening a journal runs no code of the journal's: classes are looked up among those that are imported already, and only
enums, dataclasses, pydantic models and named tuples are rebuilt.
"""

from __future__ import annotations

import json
from typing import Any

from romancy_nb.errors import CannotRestore, NotJournalable
from romancy_nb.payloads import builtin, canonical
from romancy_nb.payloads.payload import Part, Payload, document
from romancy_nb.payloads.registered import Codec, PickleCodec, register_codec

__all__ = [
    "ANY",
    "Codec",
    "PickleCodec",
    "canonical_digest",
    "decode",
    "encode",
    "register_codec",
]

ANY: Any = Any


def encode(value: Any, annotation: Any = ANY, *, what: str) -> Payload:
    """Return *value* as a payload.

    Args:
        value: anything that the codecs know.
        annotation: kept for readers; the value describes itself.
        what: names the value in errors, such as "the result of activity reserve".

    Raises:
        NotJournalable: no codec knows it; the message names the path inside the value and the ways out.

    >>> encode({"a": (1, 2)}, what="x").text
    '{"a":{"$type":"tuple","items":[1,2]}}'
    """
    parts: list[Part] = []
    try:
        plain = value if type(value) in {int, bool, type(None)} else builtin.flatten(value, what, parts)
        return Payload(document(plain), tuple(parts))
    except RecursionError:
        raise NotJournalable(f"{what} is nested too deeply, or contains itself. Return plain, finite data.") from None


def decode(payload: Payload, annotation: Any = ANY, *, what: str) -> Any:
    """Return the value of *payload*.

    Raises:
        CannotRestore: it needs a class or codec that is not here, or does not fit it any more.
    """
    try:
        plain = json.loads(payload.text)
        if type(plain) in {int, str, float, bool, type(None)}:
            return plain
        return builtin.restore(plain, payload.parts, annotation)
    except CannotRestore as error:
        raise CannotRestore(f"{what} cannot be restored: {error}") from error
    except (ValueError, TypeError, KeyError, LookupError, AttributeError) as error:
        raise CannotRestore(f"{what} cannot be restored: {type(error).__name__}: {error}") from error


def canonical_digest(value: Any) -> str:
    """Return the digest of *value* in a canonical form: the same in every process and on every Python (A6).

    Raises:
        NotJournalable: it cannot be digested.
    """
    try:
        return canonical.digest(value)
    except RecursionError:
        raise NotJournalable("A value is nested too deeply, or contains itself, and has no digest.") from None

