"""Which inputs are secrets: by name, word by word, or by type (D5)."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["is_secret", "redacted"]

_WORDS = {"password", "passwd", "passphrase", "secret", "secrets", "token", "apikey", "authorization", "credential", "credentials"}
_PAIRS = {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"), ("auth", "key"), ("signing", "key")}
_HARMLESS_AFTER = {"count", "counts", "limit", "id", "ids", "type", "usage", "budget", "length", "size", "name", "index"}
_HARMLESS_BEFORE = {"max", "min", "num", "n", "next", "page", "cancel", "continuation", "stop", "pad", "total"}


def is_secret(name: str, value: Any = None) -> bool:
    """Is the parameter *name*, or its value or annotation *value*, a secret?

    >>> [is_secret(name) for name in ("api_key", "apiKey", "max_tokens", "token_count", "monkey", "password")]
    [True, True, False, False, False, True]
    """
    kind = value if isinstance(value, type) else type(value)
    if kind.__name__ in {"SecretStr", "SecretBytes"}:
        return True
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
    for at, word in enumerate(words):
        after = words[at + 1] if at + 1 < len(words) else ""
        before = words[at - 1] if at else ""
        if (word, after) in _PAIRS:
            return True
        if word in _WORDS and after not in _HARMLESS_AFTER and before not in _HARMLESS_BEFORE:
            return True
    return False


def redacted(name: str) -> dict[str, str]:
    """Return what stands in the journal for the secret *name*."""
    return {"$redacted": name}
