"""What must not be written down: secrets, by their type or by what they are called (D5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, get_args

__all__ = ["REDACTED", "Redacted", "is_secret", "redacted"]

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ALONE: Final = frozenset(
    {"apikey", "authorization", "bearer", "credential", "credentials", "passcode", "passphrase", "passwd", "password"}
    | {"passwords", "pwd", "secret", "secrets", "token"}
)
"""A name is a secret's when its last word is one of these: ``token`` and ``access_token``, not ``token_count``. Nor
``tokens``: those are counted (``max_tokens``)."""
_KEYS: Final = frozenset(
    {
        "access",
        "account",
        "admin",
        "api",
        "app",
        "auth",
        "client",
        "encryption",
        "license",
        "master",
        "private",
        "secret",
    }
    | {"service", "shared", "signing", "ssh"}
)
"""... or when ``key`` follows one of these; ``sort_key`` and ``primary_key`` are none."""
_VALUE_WORDS: Final = frozenset({"value", "header"})


@dataclass(frozen=True, slots=True)
class Redacted:
    """Stands where a secret was. Attribute ``name``: what it was called."""

    name: str

    def __repr__(self) -> str:
        return f"<{self.name}: a secret, not journaled>"


REDACTED: Final = Redacted("secret")
"""Stands for a secret without a name."""


def redacted(name: str) -> Redacted:
    """Return the placeholder for the secret called *name*; it is journaled as ``{"$redacted": "api_key"}``."""
    return Redacted(name)


def is_secret(name: str, value_or_annotation: Any = None) -> bool:
    """Return whether something called *name*, with this value or annotation, must not be journaled.

    Names are read word by word, in snake_case and camelCase: ``api_key``, ``apiKey``, ``OPENAI_API_KEY``, ``password``
    and ``access_token`` are secrets; ``token_count``, ``max_tokens``, ``tokenizer``, ``monkey``, ``keyboard`` and
    ``password_file`` are not. Numbers, flags and nothing at all are never secrets by name alone.

    Example::

        is_secret("db_password", "hunter2")  # True
    """
    if _is_secret_type(value_or_annotation):
        return True
    if any(value_or_annotation is kind for kind in (int, float, bool)) or isinstance(value_or_annotation, (int, float)):
        return False
    words = [word.lower() for word in _WORDS.findall(name)]
    while words and (words[-1].isdigit() or (len(words) > 1 and words[-1] in _VALUE_WORDS)):
        words.pop()  # token2, token_value
    if not words:
        return False
    return words[-1] in _ALONE or (words[-1] in ("key", "keys") and len(words) > 1 and words[-2] in _KEYS)


def _is_secret_type(thing: Any) -> bool:
    """Whether *thing* is a pydantic secret, the class of one, or an annotation such as ``SecretStr | None``."""
    for cls in (thing if isinstance(thing, type) else type(thing)).__mro__:
        if cls.__module__ == "pydantic.types" and cls.__qualname__ in ("SecretStr", "SecretBytes", "Secret"):
            return True
    return any(_is_secret_type(inner) for inner in get_args(thing))
