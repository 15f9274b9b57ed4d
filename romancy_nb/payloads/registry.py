"""Who may speak for a value: the codecs that people register, and the classes that a journal may name.

Opening a journal must never run code. So a codec works only when this process registered it, and a class named in a
journal is looked for among the modules that are loaded already, never imported, and only if it is data: an Enum, a
dataclass, an attrs class, a pydantic model or a NamedTuple.
"""

from __future__ import annotations

import dataclasses
import enum
import pickle
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol, runtime_checkable

__all__ = [
    "CODECS",
    "Codec",
    "PickleCodec",
    "class_name",
    "codec_for",
    "codec_named",
    "find",
    "find_class",
    "is_data_class",
    "is_model",
    "is_named_tuple",
    "register_class",
    "register_codec",
]


@runtime_checkable
class Codec(Protocol):
    """Keeps values of a kind that romancy_nb does not know.

    ``encode`` and ``decode`` turn a value into bytes and back; the bytes become a part of the payload under ``name``,
    which must stay the same for as long as journals hold such parts. A codec may also have ``digest(value) -> str``,
    for values whose bytes differ although they are equal.

    Example::

        class Shapes:
            name = "wkb"
            def matches(self, value): return isinstance(value, shapely.Geometry)
            def encode(self, value): return shapely.to_wkb(value)
            def decode(self, data): return shapely.from_wkb(data)

        rn.register_codec(Shapes())
    """

    @property
    def name(self) -> str: ...

    def matches(self, value: Any) -> bool: ...

    def encode(self, value: Any) -> bytes: ...

    def decode(self, data: bytes) -> Any: ...


CODECS: Final[dict[str, Codec]] = {}
"""The registered codecs by name, in the order in which they are asked."""

_OWN: Final = frozenset({"arrow", "bytes", "image", "json", "npy", "png"})
_classes: Final[dict[str, type]] = {}


def register_codec(codec: Codec) -> None:
    """Let *codec* keep the values that it matches. Registering the same name again replaces the older one.

    It is asked before romancy_nb's own rules for classes, and not at all for JSON's own types and the built-in
    containers. Raises TypeError when *codec* lacks a method, ValueError when its name is empty or taken by us.

    Example::

        rn.register_codec(rn.PickleCodec(Tokenizer))
    """
    if not isinstance(codec, Codec):
        raise TypeError(f"{codec!r} is no codec: it needs name, matches(value), encode(value) and decode(data).")
    if not isinstance(codec.name, str) or not codec.name or codec.name in _OWN:
        raise ValueError(f"A codec cannot be named {codec.name!r}: choose a name of your own.")
    CODECS[codec.name] = codec


def codec_for(value: Any) -> Codec | None:
    """Return the first registered codec that matches *value*."""
    for codec in CODECS.values():
        if codec.matches(value):
            return codec
    return None


def codec_named(name: str) -> Codec | None:
    """Return the registered codec of this *name*."""
    return CODECS.get(name)


class PickleCodec:
    """Keeps the values of one class by pickle, because you say so.

    Unpickling runs code, so nothing is ever pickled or unpickled unless this was registered for precisely that class
    in this process.

    Example::

        rn.register_codec(PickleCodec(Tokenizer))
    """

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.name = f"pickle:{class_name(cls)}"

    def matches(self, value: Any) -> bool:
        """Return whether *value* is of precisely this class (or of an older definition of it in the notebook)."""
        return type(value) is self.cls or (
            type(value).__module__ == "__main__" and self.name[7:] == class_name(type(value))
        )

    def encode(self, value: Any) -> bytes:
        """Return *value* pickled."""
        return pickle.dumps(value, protocol=5)

    def decode(self, data: bytes) -> Any:
        """Return the value that was pickled as *data*."""
        return pickle.loads(data)


# -- classes -----------------------------------------------------------------------------------------------------------


SPACES: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
"""Namespaces of code that runs as a module's beside it (the body of a cell), with what stood in them before, by whose they are:
a class that such code defines is found there."""


def class_name(cls: type) -> str:
    """Return the name by which a journal knows *cls*: ``"__main__.Order"``."""
    return f"{cls.__module__}.{cls.__qualname__}"


def register_class(cls: type) -> type:
    """Let journals name *cls* although it cannot be found by its name (it is made in a function). A decorator."""
    _classes[class_name(cls)] = cls
    return cls


def find(name: str) -> Any:
    """Return what ``module.qualname`` means in the modules that are loaded now, or None. Imports nothing."""
    if name in _classes:
        return _classes[name]
    module, _, last = name.rpartition(".")
    for space, before in reversed(list(SPACES.values())):
        if last in space and space[last] is not before.get(last) and space.get("__name__") == module:
            return space[last]
    direct = getattr(sys.modules.get(module), "__dict__", {}).get(last)
    if direct is not None:
        return direct
    for module, path in _splits(name):
        found: Any = sys.modules.get(module)
        for step in path:
            found = getattr(found, "__dict__", {}).get(step)  # never a module's __getattr__: that is code
        if found is not None:
            return found
    return None


def _splits(name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield every way to cut *name* into a module and a path inside it, the longest module first."""
    words = name.split(".")
    for cut in range(len(words) - 1, 0, -1):
        yield ".".join(words[:cut]), words[cut:]
    if "[" in name:  # a pydantic generic, Box[a.b.C]: its name is one attribute of its module
        module, _, rest = name.partition("[")
        module, _, last = module.rpartition(".")
        yield module, [f"{last}[{rest}"]


def find_class(name: str) -> type | None:
    """Return the class called *name* if it is loaded and is data; the newest one, in a notebook that redefined it."""
    found = find(name)
    return found if isinstance(found, type) and is_data_class(found) else None


def is_model(cls: type) -> bool:
    """Return whether *cls* is a pydantic model. Does not load pydantic to find out."""
    pydantic = sys.modules.get("pydantic.main")
    return pydantic is not None and issubclass(cls, pydantic.BaseModel)


def is_named_tuple(cls: type) -> bool:
    """Return whether *cls* was made by NamedTuple or namedtuple."""
    return issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple)


def is_data_class(cls: type) -> bool:
    """Return whether *cls* is one of the kinds of class that are restored by value."""
    return (
        issubclass(cls, enum.Enum)
        or dataclasses.is_dataclass(cls)
        or "__attrs_attrs__" in vars(cls)
        or is_model(cls)
        or is_named_tuple(cls)
    )
