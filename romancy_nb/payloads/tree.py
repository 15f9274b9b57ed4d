"""Values to JSON documents and back: the two walks that everything in this room shares.

What JSON can say stands as itself. Everything else is an object whose first key begins with ``$``::

    {"$type": "tuple", "items": [1, 2]}             a built-in type
    {"$type": "__main__.Order", "fields": {...}}    a class that is data
    {"$part": 0, "codec": "npy", "size": 144, ...}  binary: parts[0] of the payload
    {"$value": [1, 2]}                              plain, where an annotation promised something else
    {"$redacted": "api_key"}                        a secret that was not journaled

A dict of the user's that has such keys itself is written as ``{"$type": "dict", "items": [[key, value], ...]}``, so that
nothing can be mistaken. An annotation only saves tags (``models.py``): a value is always restored as what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, Protocol

from romancy_nb.payloads import registry
from romancy_nb.payloads.payload import Part, content_digest
from romancy_nb.payloads.redact import Redacted
from romancy_nb.payloads.text import DEEPEST

__all__ = ["REMEDY", "Changed", "Lost", "Plan", "Reader", "Reads", "Unkept", "Writer", "Writes", "type_name"]

REMEDY: Final = (
    "Return plain data or an id instead; or make its class a dataclass or a pydantic model; or teach romancy_nb the "
    "type with rn.register_codec(...). Pickle is used only if you ask for it by name: "
    "rn.register_codec(PickleCodec(TheClass))."
)

_SCALARS: Final = frozenset({str, int, bool, type(None)})


class Unkept(Exception):
    """Something inside a value cannot be kept. Collects the path to it while it travels upwards."""

    def __init__(self, culprit: Any, reason: str, remedy: str = REMEDY) -> None:
        super().__init__(reason)
        self.culprit = culprit
        self.reason = reason
        self.remedy = remedy
        self.steps: list[str] = []
        self.seen: list[int] = []

    def inside(self, container: Any, step: str) -> None:
        """Note that this happened in *container*, at *step*."""
        self.steps.append(step)
        self.seen.append(id(container))

    @property
    def path(self) -> str:
        """Where it is, from the whole value: ``['rows'][3].client``."""
        return "".join(reversed(self.steps))

    @property
    def is_cycle(self) -> bool:
        """Whether the path to it passes the same object twice."""
        return len(set(self.seen)) < len(self.seen)


class Lost(Exception):
    """A tag in a document means nothing here: a class is gone, a codec is not registered, a part is missing."""


class Changed(Exception):
    """A document does not have the shape that an annotation asks for: it was written under another one."""


class Plan(Protocol):
    """How values of one annotation are written and read; see ``models.py``."""

    def write(self, value: Any, out: Writer) -> Any: ...

    def read(self, document: Any, source: Reader) -> Any: ...


Writes = Callable[["Writer", Any], Any]
Reads = Callable[["Reader", dict[str, Any]], Any]


def type_name(value: Any) -> str:
    """Return the type of *value* as people write it: ``Lock``, ``requests.Session``, ``Order``."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"


class Writer:
    """Turns one value into a document and its parts. Used once.

    Attributes:
        parts: the binary pieces met so far.
        careful: also look for strings and ints that JSON text cannot hold.
        telling: the errors that are being described, by id; they may refer to each other (``failures.py``).
        errors: how many were described, which is bounded for the same reason.
    """

    __slots__ = ("careful", "depth", "errors", "parts", "telling")

    def __init__(self, careful: bool = False) -> None:
        self.parts: list[Part] = []
        self.depth = 0
        self.careful = careful
        self.telling: set[int] = set()
        self.errors = 0

    def any(self, value: Any) -> Any:
        """Return the document of *value* with tags where they are needed. Raises Unkept."""
        cls = type(value)
        if cls in _SCALARS and not self.careful:
            return value
        found = _writers().get(cls)
        if found is not None:
            return found(self, value)
        return self._other(value, cls)

    def by_value(self, value: Any) -> Any:
        """Return the document of *value* for a place whose annotation expects something else."""
        document = self.any(value)
        if type(document) is dict and document and next(iter(document))[:1] == "$":
            return document
        return {"$value": document}

    def items(self, container: Any, values: Iterable[Any], write: Callable[[Any], Any] | None = None) -> list[Any]:
        """Return the documents of *values*, which *container* holds in this order."""
        write = write or self.any
        self.enter(container)
        out: list[Any] = []
        add = out.append
        try:
            for value in values:
                add(write(value))
        except Unkept as error:
            error.inside(container, f"[{len(out)}]")
            raise
        self.depth -= 1
        return out

    def enter(self, container: Any) -> None:
        """Go one level deeper; whoever does so takes it back from ``depth`` when all went well."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unkept(container, f"is nested more than {DEEPEST} levels deep", "Make it flatter.")

    def attempt(self, value: Any) -> tuple[bool, Any]:
        """Return (True, document), or (False, None) when *value* cannot be kept; then nothing of it is left behind."""
        parts, depth = len(self.parts), self.depth
        try:
            return True, self.any(value)
        except Exception:
            # Unkept, RecursionError, and whatever the user's own properties and codecs raise
            del self.parts[parts:]
            self.depth = depth
            return False, None

    def part(self, codec: str, data: bytes, **about: Any) -> dict[str, Any]:
        """Keep *data* beside the document; return what stands in its place."""
        self.parts.append(Part(codec, content_digest(data), data, len(data)))
        return {"$part": len(self.parts) - 1, "codec": codec, "size": len(data), **about}

    def _other(self, value: Any, cls: type) -> Any:
        from romancy_nb.payloads import models, tables

        if registry.CODECS and (codec := registry.codec_for(value)) is not None:
            return self.coded(codec, value)
        kind = tables.writer_for(value)
        if kind is not None:
            return kind(self, value)
        plan = models.class_plan(cls)
        if plan is not None:
            return plan.write_tagged(value, self)
        found = _writer_by_base(value)
        if found is not None:
            return found(self, value)
        raise Unkept(value, "cannot be kept in a journal")

    def coded(self, codec: registry.Codec, value: Any) -> Any:
        """Return the document of *value*, kept by a registered *codec*."""
        try:
            data = codec.encode(value)
        except Exception as error:
            raise Unkept(
                value, f"could not be encoded by codec {codec.name!r} ({type(error).__name__}: {error})"
            ) from error
        if not isinstance(data, bytes):
            raise Unkept(value, f"was turned into {type(data).__name__}, not bytes, by codec {codec.name!r}")
        return self.part(codec.name, data, type=type_name(value))


class Reader:
    """Turns a document and its parts back into the value. Used once."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Part, ...] = ()) -> None:
        self.parts = parts

    def any(self, document: Any) -> Any:
        """Return the value of a *document* that stands for itself. Raises Lost."""
        cls = type(document)
        if cls is dict:
            if document and next(iter(document))[:1] == "$":
                return self.tagged(document)
            read = self.any
            return {key: item if type(item) in _SCALARS else read(item) for key, item in document.items()}
        if cls is list:
            read = self.any
            return [item if type(item) in _SCALARS else read(item) for item in document]
        return document

    def other(self, document: Any) -> Any:
        """Return the value of a tagged *document* at a place whose annotation promised something else; else Changed."""
        if type(document) is dict and document and next(iter(document))[:1] == "$":
            return self.tagged(document)
        raise Changed

    def tagged(self, document: dict[str, Any]) -> Any:
        """Return the value of a *document* whose first key begins with ``$``."""
        tag = next(iter(document))
        if tag == "$type":
            name = document["$type"]
            read = _readers().get(name)
            if read is not None:
                return read(self, document)
            return self._instance(name, document)
        if tag == "$value":
            return self.any(document["$value"])
        if tag == "$part":
            return self._part(document)
        if tag == "$redacted":
            return Redacted(document["$redacted"])
        raise Lost(f"it holds {tag!r}, which this version of romancy_nb does not know")

    def data(self, document: dict[str, Any]) -> bytes:
        """Return the bytes of the part that *document* stands for."""
        index = document["$part"]
        if not isinstance(index, int) or not 0 <= index < len(self.parts):
            raise Lost(f"its part {index!r} is missing")
        data = self.parts[index].data
        if data is None:
            raise Lost(f"only the description of its part {index} was loaded, not its {self.parts[index].size} bytes")
        return data

    def _part(self, document: dict[str, Any]) -> Any:
        from romancy_nb.payloads import tables

        name = document["codec"]
        data = self.data(document)
        read = tables.reader_for(name)
        if read is not None:
            return read(document, data, self)
        codec = registry.codec_named(name)
        if codec is None:
            how = (
                f"rn.register_codec(PickleCodec({name[7:]}))"
                if name.startswith("pickle:")
                else "rn.register_codec(...)"
            )
            raise Lost(f"it was written by codec {name!r}, which is not registered here; register it first: {how}")
        try:
            return codec.decode(data)
        except Exception as error:
            raise Lost(f"codec {name!r} could not decode it ({type(error).__name__}: {error})") from error

    def _instance(self, name: str, document: dict[str, Any]) -> Any:
        from romancy_nb.payloads import models

        cls = registry.find_class(name)
        plan = models.class_plan(cls) if cls is not None else None
        if plan is None:
            raise Lost(f"its class {name} is not defined here; run the cell or import the module that defines it")
        return plan.read_tagged(document, self)


@lru_cache(maxsize=1)
def _writers() -> dict[type, Writes]:
    from romancy_nb.payloads.builtin import WRITERS

    return WRITERS


@lru_cache(maxsize=1)
def _readers() -> dict[str, Reads]:
    from romancy_nb.payloads.builtin import READERS

    return READERS


def _writer_by_base(value: Any) -> Writes | None:
    from romancy_nb.payloads.builtin import writer_by_base

    return writer_by_base(value)
