"""Digests that say whether two inputs are the same (A6).

The digest is taken from a form of our own, not from the journaled document: sorted where order means nothing, by values
where storage does not matter, and free of everything that differs between processes, machines and Python versions.
Whoever changes this form raises VERSION; digests of another version are not compared, values are.

In the form a list is a list, a dict with plain text keys is an object, and everything else is ``{"$": [tag, …]}``.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, Final

from romancy_nb.payloads import builtin, models, registry
from romancy_nb.payloads.payload import content_digest
from romancy_nb.payloads.redact import Redacted
from romancy_nb.payloads.text import DEEPEST, is_plain, sorted_dumps
from romancy_nb.payloads.tree import Unkept, Writer

__all__ = ["VERSION", "digest", "form"]

VERSION: Final = "1"
_HUGE: Final = 10**4000
_SCALARS: Final = frozenset({str, bool, type(None)})


def digest(value: Any) -> str:
    """Return the digest of *value*, with the version of the form in front. Raises Unkept."""
    if is_plain(value):
        try:
            # what is plain is its own form; p and t keep it apart from tagged ones
            text = "p" + sorted_dumps(value)
        except ValueError:  # an int of thousands of digits
            text = "t" + sorted_dumps(form(value))
    else:
        text = "t" + sorted_dumps(form(value))
    return "1:" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def form(value: Any, depth: int = 0) -> Any:
    """Return *value* in canonical form."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    make = _FORMS.get(kind)
    if make is not None:
        return make(value, depth)
    return _other(value, kind, depth)


def _tag(name: str, *held: Any) -> dict[str, Any]:
    return {"$": [name, *held]}


def _each(container: Any, values: Iterable[Any], depth: int) -> list[Any]:
    if depth > DEEPEST:
        raise Unkept(container, f"is nested more than {DEEPEST} levels deep", "Make it flatter.")
    out: list[Any] = []
    try:
        for value in values:
            out.append(form(value, depth + 1))
    except Unkept as error:
        error.inside(container, f"[{len(out)}]")
        raise
    return out


def _pairs(container: Any, items: Iterable[tuple[Any, Any]], depth: int) -> list[list[Any]]:
    if depth > DEEPEST:
        raise Unkept(container, f"is nested more than {DEEPEST} levels deep", "Make it flatter.")
    out: list[list[Any]] = []
    key: Any = None
    try:
        for key, value in items:
            out.append([form(key, depth + 1), form(value, depth + 1)])
    except Unkept as error:
        error.inside(container, f"[{key!r:.80}]")
        raise
    return out


def _int(value: int, depth: int) -> Any:
    return value if -_HUGE < value < _HUGE else _tag("int", hex(value))


def _float(value: float, depth: int) -> Any:
    return value if value - value == 0.0 else _tag("float", repr(value))


def _dict(value: dict[Any, Any], depth: int) -> Any:
    pairs = _pairs(value, value.items(), depth)
    if all(type(key) is str and key[:1] != "$" for key in value):
        return dict(pairs)
    return _tag("dict", *sorted(pairs, key=sorted_dumps))


def _set(value: Any, depth: int) -> Any:
    return _tag(type(value).__name__, *sorted(_each(value, value, depth), key=sorted_dumps))


def _as_written(value: Any, depth: int) -> Any:
    return _tag("as written", Writer(careful=True).any(value))


def _bytes(value: Any, depth: int) -> Any:
    return _tag(type(value).__name__, content_digest(bytes(value)))


_FORMS: Final[dict[type, Callable[[Any, int], Any]]] = {
    int: _int,
    float: _float,
    list: lambda value, depth: _each(value, value, depth),
    tuple: lambda value, depth: _tag("tuple", *_each(value, value, depth)),
    deque: lambda value, depth: _tag("deque", *_each(value, value, depth)),
    dict: _dict,
    Counter: lambda value, depth: _tag("Counter", _dict(value, depth)),
    defaultdict: lambda value, depth: _tag("defaultdict", _dict(value, depth)),
    OrderedDict: lambda value, depth: _tag("OrderedDict", *_pairs(value, value.items(), depth)),
    set: _set,
    frozenset: _set,
    bytes: _bytes,
    bytearray: _bytes,
    Redacted: lambda value, depth: _tag("secret"),
}


# -- classes -----------------------------------------------------------------------------------------------------------


def _other(value: Any, kind: type, depth: int) -> Any:
    if registry.CODECS and (codec := registry.codec_for(value)) is not None:
        own: Callable[[Any], str] | None = getattr(codec, "digest", None)
        return _tag("codec", codec.name, own(value) if own is not None else content_digest(codec.encode(value)))
    if kind in builtin.WRITERS:
        return _as_written(value, depth)
    if kind.__module__.partition(".")[0] in ("numpy", "pandas", "polars", "pyarrow", "PIL"):
        from romancy_nb.payloads import columns

        found = columns.form_of(value, depth)
        if found is not None:
            return found
    if isinstance(value, enum.Enum):
        name = value._name_
        return _tag("enum", kind.__qualname__, form(value._value_, depth) if name is None or "|" in name else name)
    plan = models.class_plan(kind)
    if plan is not None:
        # by the class's name without its module: a notebook's class is the same when a worker imports it
        return _tag("object", kind.__qualname__, _fields(value, plan, depth))
    if isinstance(value, BaseException):
        return _tag("error", kind.__qualname__, *_each(value, value.args, depth))
    if kind.__module__ == "pydantic.types" and kind.__qualname__.startswith("Secret"):
        return _tag("secret")  # secrets take no part in identity (D5)
    writer = builtin.writer_by_base(value)
    if writer is not None:
        return _as_written(value, depth)
    if kind.__module__ == "types" or kind.__qualname__ == "SimpleNamespace":
        return _tag("namespace", _dict(vars(value), depth))
    raise Unkept(value, "has no canonical form")


def _fields(value: Any, plan: models.ClassPlan, depth: int) -> dict[str, Any]:
    if depth > DEEPEST:
        raise Unkept(value, f"is nested more than {DEEPEST} levels deep", "Make it flatter.")
    compared = set(plan.fields)
    if dataclasses.is_dataclass(plan.cls):
        compared = {field.name for field in dataclasses.fields(plan.cls) if field.compare}
    held = {name: getattr(value, name) for name in compared if hasattr(value, name)}
    extra = getattr(value, "__pydantic_extra__", None)
    if isinstance(extra, dict):
        held.update(extra)
    out: dict[str, Any] = {}
    name = ""
    try:
        for name, item in held.items():
            out[name] = form(item, depth + 1)
    except Unkept as error:
        error.inside(value, f".{name}")
        raise
    return out
