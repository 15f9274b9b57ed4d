"""Codecs that users add, and pickle for the classes that they name."""

from __future__ import annotations

import pickle
from typing import Any, Protocol, runtime_checkable

from romancy_nb.errors import CannotRestore

__all__ = ["Codec", "PickleCodec", "by_name", "for_value", "register_codec"]


@runtime_checkable
class Codec(Protocol):
    """Turns values of some kind into bytes and back.

    Attributes:
        name: stands in the journal; unique.
    """

    name: str

    def matches(self, value: Any) -> bool:
        """Is *value* of that kind?"""
        ...

    def encode(self, value: Any) -> bytes:
        """Return *value* as bytes."""
        ...

    def decode(self, data: bytes) -> Any:
        """Return the value of *data*."""
        ...


_codecs: dict[str, Codec] = {}


def register_codec(codec: Codec) -> None:
    """Add *codec*; it is asked before the built-in ones. Registering a name again replaces it.

    >>> register_codec(PickleCodec(complex))
    """
    _codecs[codec.name] = codec


def for_value(value: Any) -> Codec | None:
    """Return the registered codec that knows *value*, or None."""
    return next((codec for codec in reversed(list(_codecs.values())) if codec.matches(value)), None) if _codecs else None


def by_name(name: str) -> Codec:
    """Return the registered codec of that name.

    Raises:
        CannotRestore: there is none; the message says how to register it.
    """
    codec = _codecs.get(name)
    if codec is None:
        hint = f"PickleCodec({name.removeprefix('pickle:')})" if name.startswith("pickle:") else f"the codec named {name!r}"
        raise CannotRestore(f"it was written by codec {name!r}, which is not registered. Call rn.register_codec({hint}) first.")
    return codec


class PickleCodec:
    """Pickles instances of one class, because you said so: unpickling runs code, so no other journal's pickles are read.

    >>> PickleCodec(complex).name
    'pickle:builtins.complex'
    """

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self.name = f"pickle:{cls.__module__}.{cls.__qualname__}"

    def matches(self, value: Any) -> bool:
        return isinstance(value, self._cls)

    def encode(self, value: Any) -> bytes:
        return pickle.dumps(value)

    def decode(self, data: bytes) -> Any:
        return pickle.loads(data)
