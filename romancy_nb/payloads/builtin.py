"""The types of Python itself and of its standard library, as tagged documents.

``WRITERS`` goes by the exact class; a subclass is never taken for its base, because it would not come back as itself.
"""

from __future__ import annotations

import base64
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from romancy_nb.payloads.redact import Redacted
from romancy_nb.payloads.text import sorted_dumps
from romancy_nb.payloads.tree import Lost, Reader, Reads, Unkept, Writer, Writes

__all__ = ["READERS", "SMALL_BYTES", "WRITERS", "duration", "duration_text", "is_simple_time", "writer_by_base"]

SMALL_BYTES: Final = 1024
"""Bytes up to this many stand in the document as base64."""
_HUGE: Final = 10**4000
_FACTORIES: Final[dict[str, Callable[[], Any]]] = {
    kind.__name__: kind for kind in (list, dict, set, int, float, str, bool, tuple, frozenset, bytes, deque, Counter)
}


# -- scalars -----------------------------------------------------------------------------------------------------------


def _write_str(out: Writer, value: str) -> Any:
    if out.careful:
        try:
            value.encode()
        except UnicodeEncodeError:
            return {"$type": "str", "escaped": value.encode("unicode_escape").decode("ascii")}
    return value


def _write_int(out: Writer, value: int) -> Any:
    return {"$type": "int", "hex": hex(value)} if out.careful and not -_HUGE < value < _HUGE else value


def _write_float(out: Writer, value: float) -> Any:
    # NaN and the infinities are no JSON; float() reads their repr back, the sign of a NaN apart
    return value if value - value == 0.0 else {"$type": "float", "value": repr(value)}


def _write_bytes(out: Writer, value: bytes | bytearray) -> Any:
    name = type(value).__name__
    if len(value) <= SMALL_BYTES:
        return {"$type": name, "base64": base64.b64encode(value).decode("ascii")}
    return out.part("bytes", bytes(value), **({} if name == "bytes" else {"as": name}))


def _as_text(name: str) -> Writes:
    def write(out: Writer, value: Any) -> Any:
        return {"$type": name, "value": out.any(str(value))}

    return write


def _from_text(make: Callable[[str], Any]) -> Reads:
    def read(source: Reader, document: dict[str, Any]) -> Any:
        text = source.any(document["value"])
        if type(text) is not str:
            raise ValueError("a text was expected")
        return make(text)

    return read


def duration_text(value: timedelta) -> str:
    """Return *value* as an ISO 8601 duration in seconds: ``PT90.5S``."""
    micro = value // timedelta(microseconds=1)
    sign, micro = ("-", -micro) if micro < 0 else ("", micro)
    fraction = f".{micro % 1_000_000:06d}".rstrip("0") if micro % 1_000_000 else ""
    return f"{sign}PT{micro // 1_000_000}{fraction}S"


def duration(text: str) -> timedelta:
    """Return the timedelta that ``duration_text`` wrote."""
    body = text.removeprefix("-")
    if not (body.startswith("PT") and body.endswith("S")):
        raise ValueError(f"{text!r} is no duration")
    whole, _, fraction = body[2:-1].partition(".")
    value = timedelta(seconds=int(whole), microseconds=int(fraction.ljust(6, "0")) if fraction else 0)
    return -value if text.startswith("-") else value


def is_simple_time(value: datetime | time) -> bool:
    """Return whether ISO 8601 says *value* whole: no named zone, no fold."""
    zone = value.tzinfo
    if value.fold:
        return False
    return (
        zone is None
        or zone is UTC
        or (type(zone) is timezone and zone == timezone(zone.utcoffset(None)) and not _named(zone))
    )


def _named(zone: timezone) -> bool:
    return repr(zone).count(", ") > repr(zone.utcoffset(None)).count(", ")


def _write_time(name: str) -> Writes:
    def write(out: Writer, value: Any) -> Any:
        if is_simple_time(value):
            return {"$type": name, "value": value.isoformat()}
        document: dict[str, Any] = {"$type": name, "value": value.replace(tzinfo=None).isoformat()}
        zone = value.tzinfo
        if type(zone) is ZoneInfo and zone.key:
            document["zone"] = zone.key
        elif type(zone) is timezone:
            offset = duration_text(zone.utcoffset(None))
            document["offset"] = [offset, zone.tzname(None)] if _named(zone) else [offset]
        elif zone is not None:
            raise Unkept(
                value,
                f"has a time zone of type {type(zone).__qualname__}",
                "Use zoneinfo.ZoneInfo or datetime.timezone.",
            )
        if value.fold:
            document["fold"] = 1
        return document

    return write


def _read_time(make: Callable[[str], Any]) -> Reads:
    def read(source: Reader, document: dict[str, Any]) -> Any:
        value = make(document["value"])
        if "zone" in document:
            try:
                value = value.replace(tzinfo=ZoneInfo(document["zone"]))
            except (ZoneInfoNotFoundError, ValueError) as error:
                raise Lost(f"this machine does not know the time zone {document['zone']!r}") from error
        elif "offset" in document:
            offset, *name = document["offset"]
            value = value.replace(tzinfo=timezone(duration(offset), *name))
        return value.replace(fold=1) if document.get("fold") else value

    return read


# -- containers --------------------------------------------------------------------------------------------------------


def _write_dict(out: Writer, value: dict[Any, Any]) -> Any:
    for key in value:
        if type(key) is not str or key[:1] == "$" or (out.careful and out.any(key) is not key):
            return {"$type": "dict", "items": _pairs(out, value)}
    out.enter(value)
    document = {}
    write = out.any
    key = ""
    try:
        for key, item in value.items():
            document[key] = write(item)
    except Unkept as error:
        error.inside(value, f"[{key!r:.80}]")
        raise
    out.depth -= 1
    return document


def _pairs(out: Writer, value: dict[Any, Any]) -> list[Any]:
    """Write the items of *value* as [key, value], for keys that JSON objects cannot have or order that matters."""
    out.enter(value)
    document = []
    for key, item in value.items():
        try:
            document.append([out.any(key), out.any(item)])
        except Unkept as error:
            error.inside(value, f"[{_short(key)}]")
            raise
    out.depth -= 1
    return document


def _short(key: Any) -> str:
    try:
        return f"{key!r:.80}"
    except Exception:
        return f"<a key of type {type(key).__qualname__}>"


def _read_pairs(source: Reader, document: dict[str, Any]) -> list[tuple[Any, Any]]:
    return [(source.any(key), source.any(item)) for key, item in document["items"]]


def _write_list(out: Writer, value: list[Any]) -> Any:
    return out.items(value, value)


def _write_tuple(out: Writer, value: tuple[Any, ...]) -> Any:
    return {"$type": "tuple", "items": out.items(value, value)}


def _write_set(out: Writer, value: set[Any] | frozenset[Any]) -> Any:
    # sorted, so that equal sets are equal text in every process
    return {"$type": type(value).__name__, "items": sorted(out.items(value, value), key=sorted_dumps)}


def _write_deque(out: Writer, value: deque[Any]) -> Any:
    document: dict[str, Any] = {"$type": "deque", "items": out.items(value, value)}
    return document if value.maxlen is None else {**document, "maxlen": value.maxlen}


def _write_counter(out: Writer, value: Counter[Any]) -> Any:
    return {"$type": "Counter", "items": _pairs(out, value)}


def _write_ordered(out: Writer, value: OrderedDict[Any, Any]) -> Any:
    return {"$type": "OrderedDict", "items": _pairs(out, value)}


def _write_default(out: Writer, value: defaultdict[Any, Any]) -> Any:
    make = value.default_factory
    name = None if make is None else next((name for name, kind in _FACTORIES.items() if kind is make), "")
    if name == "":
        raise Unkept(value, f"has the default factory {make!r:.80}", "Return dict(...) of it instead.")
    return {"$type": "defaultdict", "factory": name, "items": _pairs(out, value)}


def _read_default(source: Reader, document: dict[str, Any]) -> Any:
    name = document["factory"]
    return defaultdict(None if name is None else _FACTORIES[name], _read_pairs(source, document))


def _read_items(make: Callable[[Iterable[Any]], Any]) -> Reads:
    return lambda source, document: make(source.any(document["items"]))


def _write_namespace(out: Writer, value: types.SimpleNamespace) -> Any:
    return {"$type": "SimpleNamespace", "fields": out.any(vars(value))}


def _read_bytes(source: Reader, document: dict[str, Any]) -> Any:
    data = base64.b64decode(document["base64"], validate=True)
    return data if document["$type"] == "bytes" else bytearray(data)


def _write_slice(out: Writer, value: slice) -> Any:
    return {"$type": "slice", "items": [out.any(value.start), out.any(value.stop), out.any(value.step)]}


# -- what is found by its base -----------------------------------------------------------------------------------------


def writer_by_base(value: Any) -> Writes | None:
    """Return how to write *value* when only its base class says what it is; raise Unkept where a hint helps."""
    cls = type(value)
    if isinstance(value, BaseException):
        return _write_error
    if isinstance(value, ZoneInfo) and value.key:
        return lambda out, zone: {"$type": "ZoneInfo", "value": zone.key}
    if isinstance(value, (types.GeneratorType, types.AsyncGeneratorType, map, filter, zip)):
        raise Unkept(value, "can be read only once", "Return list(...) of it instead.")
    if isinstance(value, types.CoroutineType):
        raise Unkept(value, "was never awaited", "Await it and return what it gives.")
    if cls.__module__.startswith("pydantic") and cls.__qualname__ in ("SecretStr", "SecretBytes", "Secret"):
        raise Unkept(value, "is a secret, and secrets are not journaled", "Keep its name and read it where it is used.")
    if isinstance(value, (str, int, float, dict, list, tuple, set)):
        base = next(kind for kind in (str, int, float, dict, list, tuple, set) if isinstance(value, kind))
        raise Unkept(
            value,
            f"is a {base.__name__} of a class of its own",
            f"Return {base.__name__}(...) of it instead, or register a codec with rn.register_codec(...).",
        )
    return None


def _write_error(out: Writer, value: BaseException) -> Any:
    from romancy_nb.payloads.failures import describe

    return {"$type": "error", "failure": describe(value, out)}


def _read_error(source: Reader, document: dict[str, Any]) -> Any:
    from romancy_nb.payloads.failures import rebuild

    return rebuild(document["failure"], source)


def _read_numpy(source: Reader, document: dict[str, Any]) -> Any:
    from romancy_nb.payloads.tables import read_numpy_scalar

    return read_numpy_scalar(source, document)


def _read_pandas(source: Reader, document: dict[str, Any]) -> Any:
    from romancy_nb.payloads.frames import read_pandas

    return read_pandas(source, document)


_TEXTS: Final[dict[str, tuple[type, Callable[[str], Any]]]] = {
    "Decimal": (Decimal, Decimal),
    "Fraction": (Fraction, Fraction),
    "UUID": (UUID, UUID),
    "PosixPath": (PosixPath, PosixPath),
    "PurePosixPath": (PurePosixPath, PurePosixPath),
    "WindowsPath": (WindowsPath, WindowsPath),
    "PureWindowsPath": (PureWindowsPath, PureWindowsPath),
}

WRITERS: Final[dict[type, Writes]] = {
    type(None): lambda out, value: value,
    bool: lambda out, value: value,
    str: _write_str,
    int: _write_int,
    float: _write_float,
    dict: _write_dict,
    list: _write_list,
    tuple: _write_tuple,
    set: _write_set,
    frozenset: _write_set,
    bytes: _write_bytes,
    bytearray: _write_bytes,
    complex: lambda out, value: {"$type": "complex", "items": [out.any(value.real), out.any(value.imag)]},
    datetime: _write_time("datetime"),
    time: _write_time("time"),
    date: lambda out, value: {"$type": "date", "value": value.isoformat()},
    timedelta: lambda out, value: {"$type": "timedelta", "value": duration_text(value)},
    timezone: lambda out, value: {"$type": "timezone", "time": out.any(time(tzinfo=value))},
    range: lambda out, value: {"$type": "range", "items": [value.start, value.stop, value.step]},
    slice: _write_slice,
    type(...): lambda out, value: {"$type": "Ellipsis"},
    deque: _write_deque,
    Counter: _write_counter,
    OrderedDict: _write_ordered,
    defaultdict: _write_default,
    types.SimpleNamespace: _write_namespace,
    Redacted: lambda out, value: {"$redacted": value.name},
    **{kind: _as_text(name) for name, (kind, _) in _TEXTS.items()},
}

READERS: Final[dict[str, Reads]] = {
    "str": lambda source, document: document["escaped"].encode("ascii").decode("unicode_escape"),
    "int": lambda source, document: int(document["hex"], 16),
    "float": lambda source, document: float(document["value"]),
    "dict": lambda source, document: dict(_read_pairs(source, document)),
    "tuple": _read_items(tuple),
    "set": _read_items(set),
    "frozenset": _read_items(frozenset),
    "bytes": _read_bytes,
    "bytearray": _read_bytes,
    "complex": _read_items(lambda items: complex(*items)),
    "datetime": _read_time(datetime.fromisoformat),
    "time": _read_time(time.fromisoformat),
    "date": lambda source, document: date.fromisoformat(document["value"]),
    "timedelta": lambda source, document: duration(document["value"]),
    "timezone": lambda source, document: source.any(document["time"]).tzinfo,
    "ZoneInfo": lambda source, document: ZoneInfo(document["value"]),
    "range": _read_items(lambda items: range(*items)),
    "slice": _read_items(lambda items: slice(*items)),
    "Ellipsis": lambda source, document: ...,
    "deque": lambda source, document: deque(source.any(document["items"]), document.get("maxlen")),
    "Counter": lambda source, document: Counter(dict(_read_pairs(source, document))),
    "OrderedDict": lambda source, document: OrderedDict(_read_pairs(source, document)),
    "defaultdict": _read_default,
    "SimpleNamespace": lambda source, document: types.SimpleNamespace(**source.any(document["fields"])),
    "error": _read_error,
    "numpy": _read_numpy,
    "pandas": _read_pandas,
    **{name: _from_text(make) for name, (_, make) in _TEXTS.items()},
}
