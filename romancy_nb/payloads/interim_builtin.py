"""Flatten values to JSON with tags, and restore them.

``flatten`` dispatches on the exact type, so an ``IntEnum`` is not taken for an ``int``. ``restore`` is its mirror. A tag is
an object whose first key is ``"$type"``; user dictionaries with keys that begin with ``$`` are written as tagged pairs.
"""

from __future__ import annotations

import base64
import collections
import datetime as dt
import decimal
import fractions
import math
import pathlib
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

from romancy_nb.errors import CannotRestore, NotJournalable
from romancy_nb.payloads import interim_classes as classes, interim_registered as registered, interim_tables as tables
from romancy_nb.payloads.payload import Part, content_digest

__all__ = ["flatten", "restore"]

INLINE_BYTES = 1024
Flatten = Callable[[Any, str, list[Part]], Any]


def flatten(value: Any, path: str, parts: list[Part]) -> Any:
    """Return *value* as JSON-able data, its binary pieces appended to *parts*.

    Raises:
        NotJournalable: naming *path*.
    """
    kind = type(value)
    if kind in _NATIVE:
        return value
    known = _FLATTEN.get(kind)
    if known is not None:
        return known(value, path, parts)
    codec = registered.for_value(value)
    if codec is not None:
        return _part(codec.name, codec.encode(value), parts)
    binary = tables.flatten(value, path)
    if binary is not None:
        name, data, about = binary
        return _part(name, data, parts) | about
    return classes.flatten(value, path, parts, flatten)


def restore(plain: Any, parts: tuple[Part, ...], annotation: Any = Any) -> Any:
    """Return the value that ``flatten`` was given. *annotation* helps to find classes."""
    kind = type(plain)
    if kind is list:
        return [restore(item, parts, annotation) for item in plain]
    if kind is not dict:
        return plain
    tag = plain.get("$type")
    if tag is not None:
        known = _RESTORE.get(tag)
        if known is not None:
            return known(plain, parts, annotation)
        return classes.restore(tag, plain, lambda inner: restore(inner, parts, annotation), annotation)
    if "$part" in plain:
        return _restore_part(plain, parts)
    if "$redacted" in plain:
        raise CannotRestore(f"{plain['$redacted']!r} is a secret and was not journaled; read it from the environment in the activity")
    return {key: restore(item, parts, annotation) for key, item in plain.items()}


# -- containers ----------------------------------------------------------------------------------------------------------


def _list(value: list[Any], path: str, parts: list[Part]) -> Any:
    return [v if type(v) in _NATIVE else flatten(v, f"{path}[{i}]", parts) for i, v in enumerate(value)]


def _dict(value: dict[Any, Any], path: str, parts: list[Part]) -> Any:
    if all(type(key) is str and key[:1] != "$" for key in value):
        return {k: v if type(v) in _NATIVE else flatten(v, f"{path}[{k!r}]", parts) for k, v in value.items()}
    return {"$type": "dict", "items": _pairs(value, path, parts)}


def _pairs(value: Any, path: str, parts: list[Part]) -> Any:
    return [[flatten(k, f"{path} key {k!r}", parts), flatten(v, f"{path}[{k!r}]", parts)] for k, v in value.items()]


def _items(tag: str) -> Flatten:
    return lambda value, path, parts: {"$type": tag, "items": _list(list(value), path, parts)}


def _set(tag: str) -> Flatten:
    def flat(value: Any, path: str, parts: list[Part]) -> Any:
        from romancy_nb.payloads.interim_canonical import digest

        return {"$type": tag, "items": _list(sorted(value, key=digest), path, parts)}  # one value, one text

    return flat


def _restored_items(make: Callable[[list[Any]], Any]) -> Callable[..., Any]:
    return lambda plain, parts, annotation: make(restore(plain["items"], parts, annotation))


def _restored_pairs(make: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda plain, parts, annotation: make([tuple(pair) for pair in restore(plain["items"], parts, annotation)])


def _default_dict(value: Any, path: str, parts: list[Part]) -> Any:
    factory = value.default_factory
    if factory is not None and factory not in _FACTORIES.values():
        raise NotJournalable(f"{path} is a defaultdict of {factory!r}, which cannot be journaled. Return dict(...) of it.")
    name = next((name for name, made in _FACTORIES.items() if made is factory), None)
    return {"$type": "defaultdict", "factory": name, "items": _pairs(value, path, parts)}


_FACTORIES: dict[str, Any] = {"list": list, "dict": dict, "set": set, "int": int, "float": float, "str": str, "tuple": tuple}

# -- scalars -------------------------------------------------------------------------------------------------------------


def _float(value: float, path: str, parts: list[Part]) -> Any:
    return value if math.isfinite(value) else {"$type": "float", "value": repr(value)}


def _int(value: int, path: str, parts: list[Part]) -> Any:
    # most readers of JSON, DuckDB among them, keep 64 bits
    return value if -(1 << 63) <= value < 1 << 63 else {"$type": "int", "value": hex(value)}


def _zone(zone: dt.tzinfo | None, path: str) -> Any:
    if zone is None or zone is dt.UTC:
        return None if zone is None else "UTC"
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key:
        return {"zone": zone.key}
    if type(zone) is dt.timezone:
        return {"offset": zone.utcoffset(None).total_seconds()}
    raise NotJournalable(f"{path} has the time zone {zone!r}, which cannot be journaled. Use zoneinfo.ZoneInfo or datetime.UTC.")


def _restored_zone(zone: Any) -> dt.tzinfo | None:
    if zone is None:
        return None
    if zone == "UTC":
        return dt.UTC
    return zoneinfo.ZoneInfo(zone["zone"]) if "zone" in zone else dt.timezone(dt.timedelta(seconds=zone["offset"]))


def _datetime(value: Any, path: str, parts: list[Part]) -> Any:
    flat = {"$type": type(value).__name__, "value": value.replace(tzinfo=None).isoformat()}
    zone = _zone(value.tzinfo, path)
    return flat | ({"zone": zone} if zone is not None else {}) | ({"fold": 1} if value.fold else {})


def _restored_datetime(plain: dict[str, Any], parts: Any, annotation: Any) -> Any:
    cls = dt.datetime if plain["$type"] == "datetime" else dt.time
    return cls.fromisoformat(plain["value"]).replace(tzinfo=_restored_zone(plain.get("zone")), fold=plain.get("fold", 0))


def _bytes(value: bytes, path: str, parts: list[Part]) -> Any:
    if len(value) > INLINE_BYTES:
        return _part(type(value).__name__, bytes(value), parts)
    return {"$type": type(value).__name__, "base64": base64.b64encode(value).decode()}


def _part(codec: str, data: bytes, parts: list[Part]) -> dict[str, Any]:
    parts.append(Part(codec, content_digest(data), data, len(data)))
    return {"$part": len(parts) - 1, "codec": codec, "size": len(data)}


def _restore_part(plain: dict[str, Any], parts: tuple[Part, ...]) -> Any:
    part = parts[plain["$part"]]
    if part.data is None:
        raise CannotRestore(f"its {part.codec} data was not loaded")
    if part.codec == "bytes":
        return part.data
    if part.codec == "bytearray":
        return bytearray(part.data)
    known = tables.DECODERS.get(part.codec)
    return known(part.data) if known is not None else registered.by_name(part.codec).decode(part.data)


def _text(tag: str, write: Callable[[Any], str] = str) -> Flatten:
    return lambda value, path, parts: {"$type": tag, "value": write(value)}


def _made(make: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda plain, parts, annotation: make(plain["value"])




_NATIVE = frozenset({str, bool, type(None)})
_FLATTEN: dict[type, Flatten] = {
    int: _int,
    float: _float,
    list: _list,
    dict: _dict,
    tuple: _items("tuple"),
    set: _set("set"),
    frozenset: _set("frozenset"),
    bytes: _bytes,
    bytearray: _bytes,
    dt.datetime: _datetime,
    dt.time: _datetime,
    dt.date: _text("date", dt.date.isoformat),
    dt.timedelta: lambda v, path, parts: {"$type": "timedelta", "value": [v.days, v.seconds, v.microseconds]},
    decimal.Decimal: _text("Decimal"),
    fractions.Fraction: _text("Fraction"),
    uuid.UUID: _text("UUID"),
    complex: lambda v, path, parts: {"$type": "complex", "value": [repr(v.real), repr(v.imag)]},
    range: lambda v, path, parts: {"$type": "range", "value": [v.start, v.stop, v.step]},
    type(Ellipsis): lambda v, path, parts: {"$type": "Ellipsis"},
    pathlib.PosixPath: _text("Path"),
    pathlib.WindowsPath: _text("Path"),
    pathlib.PurePosixPath: _text("PurePosixPath"),
    pathlib.PureWindowsPath: _text("PureWindowsPath"),
    collections.deque: lambda v, path, parts: {"$type": "deque", "maxlen": v.maxlen, "items": _list(list(v), path, parts)},
    collections.OrderedDict: lambda v, path, parts: {"$type": "OrderedDict", "items": _pairs(v, path, parts)},
    collections.Counter: lambda v, path, parts: {"$type": "Counter", "items": _pairs(v, path, parts)},
    collections.defaultdict: _default_dict,
}
_RESTORE: dict[str, Callable[..., Any]] = {
    "int": _made(lambda text: int(text, 16)),
    "float": _made(float),
    "tuple": _restored_items(tuple),
    "set": _restored_items(set),
    "frozenset": _restored_items(frozenset),
    "dict": _restored_pairs(dict),
    "bytes": lambda plain, parts, annotation: base64.b64decode(plain["base64"]),
    "bytearray": lambda plain, parts, annotation: bytearray(base64.b64decode(plain["base64"])),
    "datetime": _restored_datetime,
    "time": _restored_datetime,
    "date": _made(dt.date.fromisoformat),
    "timedelta": _made(lambda numbers: dt.timedelta(*numbers)),
    "Decimal": _made(decimal.Decimal),
    "Fraction": _made(fractions.Fraction),
    "UUID": _made(uuid.UUID),
    "complex": _made(lambda pair: complex(float(pair[0]), float(pair[1]))),
    "range": _made(lambda numbers: range(*numbers)),
    "Ellipsis": lambda plain, parts, annotation: ...,
    "Path": _made(pathlib.Path),
    "PurePosixPath": _made(pathlib.PurePosixPath),
    "PureWindowsPath": _made(pathlib.PureWindowsPath),
    "deque": lambda plain, parts, annotation: collections.deque(
        restore(plain["items"], parts, annotation), maxlen=plain.get("maxlen")
    ),
    "OrderedDict": _restored_pairs(collections.OrderedDict),
    "Counter": _restored_pairs(lambda pairs: collections.Counter(dict(pairs))),
    "defaultdict": lambda plain, parts, annotation: collections.defaultdict(
        _FACTORIES.get(plain["factory"]), [tuple(pair) for pair in restore(plain["items"], parts, annotation)]
    ),
}
