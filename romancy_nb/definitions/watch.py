"""Values under watch: which have a digest, and how to see quickly that one has not changed."""

from __future__ import annotations

import datetime
import decimal
import enum
import pathlib
import types
import uuid
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from romancy_nb.payloads.codec import canonical_digest
from romancy_nb.payloads.redact import is_secret

__all__ = ["LARGEST", "MISSING", "Check", "Digest", "Look", "digest_of", "is_fixed", "same_check", "unchanged_check"]

LARGEST = 1_000_000
"""Bytes; a larger value is not watched."""

Check = Callable[[], bool]
"""Says whether something is still as it was."""

Look = Callable[[], Any]
"""Gets what stands in a place now: a global, a variable of a closure; MISSING when nothing does."""


class _Missing:
    def __repr__(self) -> str:
        return "<missing>"


MISSING: Final = _Missing()

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, type(...)})
_FIXED = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    decimal.Decimal,
    enum.Enum,
    pathlib.PurePath,
    range,
    uuid.UUID,
)


def is_fixed(value: Any) -> bool:
    """Return whether *value* can never change in place."""
    kind = type(value)
    if kind in _PLAIN or isinstance(value, _FIXED):
        return True
    return kind in (tuple, frozenset) and all(map(is_fixed, value))


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest of a value, or None and a remark why it is not watched."""

    text: str | None
    remark: str = ""


_SECRET, _LARGE, _NONE = Digest(None, " (a secret)"), Digest(None, " (over 1 MB)"), Digest(None)


def digest_of(name: str, value: Any) -> Digest:
    """Return the digest of *value*, which the code calls *name*, or why it has none."""
    try:
        if is_secret(_last_word(name), type(value)):
            return _SECRET
        if _room(value, LARGEST) < 0:
            return _LARGE
        return Digest(canonical_digest(value))
    except Exception:
        # NotJournalable, and whatever the user's own objects raise when they are looked at
        return _NONE


def _last_word(name: str) -> str:
    """``api_key`` of "default of api_key in ask()"."""
    return name.partition(" in ")[0].rpartition(" ")[2].rpartition(".")[2]


def _room(value: Any, room: int) -> int:
    """What is left of *room* bytes after *value*; below zero as soon as it does not fit. Never reads a large value."""
    if isinstance(value, (str, bytes, bytearray)):
        return room - len(value)
    if isinstance(value, dict):
        return _room_of_all((*value.keys(), *value.values()), room) if len(value) <= room else -1
    if isinstance(value, (list, tuple, set, frozenset)):
        return _room_of_all(value, room) if len(value) <= room else -1
    size = _size(value)
    return room - (16 if size is None else size)


def _room_of_all(values: Iterable[Any], room: int) -> int:
    for each in values:
        room = _room(each, room - 8)
        if room < 0:
            break
    return room


def _size(value: Any) -> int | None:
    """Bytes of a frame, table or array, by whatever it calls them."""
    if type(value).__module__.split(".")[0] not in ("numpy", "pandas", "pyarrow", "polars"):
        return None
    for name in ("nbytes", "estimated_size", "memory_usage"):
        found = getattr(value, name, None)
        try:
            size: Any = found() if callable(found) else found
            if size is not None:
                return int(size if isinstance(size, (int, float)) else size.sum())
        except Exception:
            continue
    return None


# -- checks ------------------------------------------------------------------------------------------------------------


def same_check(look: Look, expected: Any) -> Check:
    """Return a check that *look* still finds the very object *expected*.

    What can be large is held weakly, so that watching it keeps nothing alive.
    """
    if not isinstance(expected, (types.FunctionType, type, types.ModuleType)):
        try:
            reference = weakref.ref(expected)
        except TypeError:
            pass
        else:
            return lambda: look() is reference()
    return lambda: look() is expected


def unchanged_check(look: Look, value: Any, name: str, digest: Digest) -> Check:
    """Return a check that what *look* finds still has *digest*, which *value* has now."""
    if is_fixed(value):
        return lambda: (found := look()) is value or _equal(found, value)
    if digest.text is None and digest is not _LARGE:
        return same_check(look, value)
    kind = type(value)
    return lambda: type(found := look()) is kind and digest_of(name, found) == digest


def _equal(found: Any, expected: Any) -> bool:
    try:
        return type(found) is type(expected) and bool(found == expected) and repr(found) == repr(expected)
    except Exception:
        return False
