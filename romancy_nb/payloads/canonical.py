"""The canonical form that input digests are taken over (A6): ours, versioned, the same on every Python and hash seed."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from romancy_nb.payloads.payload import Part

__all__ = ["VERSION", "digest"]

VERSION = "1"
_PLAIN = frozenset({str, int, bool, type(None)})


def digest(value: Any) -> str:
    """Return ``"1:"`` and 32 hexadecimal digits."""
    return f"{VERSION}:{blake2b(_bytes(value), digest_size=16).hexdigest()}"


def _bytes(value: Any) -> bytes:
    if type(value) is dict and all(type(k) is str and type(v) in _PLAIN and k[:1] != "$" for k, v in value.items()):
        return _dump(value).encode()  # most calls
    from romancy_nb.payloads.interim_builtin import flatten

    parts: list[Part] = []
    flat = flatten(value, "the value", parts)
    text = _dump(_settled(flat, parts))
    return text.encode()


def _settled(flat: Any, parts: list[Part]) -> Any:
    """Replace references to bytes by their digests, and forget what only describes them."""
    if isinstance(flat, list):
        return [_settled(item, parts) for item in flat]
    if not isinstance(flat, dict):
        return flat
    if "$part" in flat:
        part = parts[flat["$part"]]
        return {"$part": part.codec, "digest": part.digest}
    if flat.get("$type") in {"dict", "Counter", "defaultdict"}:
        items = [[_settled(key, parts), _settled(item, parts)] for key, item in flat["items"]]
        return {**flat, "items": sorted(items, key=_dump)}
    return {key: _settled(item, parts) for key, item in flat.items()}


_dump = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
