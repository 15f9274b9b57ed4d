"""Whether a value plainly fits a JSON schema: for what pydantic makes of the usual types, without the library for all schemas.

Importing jsonschema can take a second or more: with its extras it compiles the grammar of URIs. Nobody is to wait for that, and
least of all the thread that everything goes through, while a number is found to be a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any, Final
from uuid import UUID

__all__ = ["FORMATS", "fits_plainly"]

_DEEPEST: Final = 40


def fits_plainly(schema: Mapping[str, Any], value: Any) -> bool:
    """Return whether *value* certainly fits *schema*. False says nothing: it may not fit, or the schema is not a usual one.

    >>> fits_plainly({"type": "integer", "minimum": 1}, 1), fits_plainly({"type": "integer", "minimum": 1}, 0)
    (True, False)
    """
    return _fits(schema, value, schema, 0)


def _fits(schema: Any, value: Any, root: Mapping[str, Any], depth: int) -> bool:
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return False

    def inner(part: Any, of: Any) -> bool:
        return _fits(part, of, root, depth + 1)

    return all(_holds(keyword, limit, schema, value, root, inner) for keyword, limit in schema.items())


def _holds(
    keyword: str,
    limit: Any,
    schema: Mapping[str, Any],
    value: Any,
    root: Mapping[str, Any],
    inner: Callable[[Any, Any], bool],
) -> bool:
    if keyword in _SAYS_NOTHING:
        return True
    if keyword in _OF_ITSELF:
        kind, holds = _OF_ITSELF[keyword]
        return not isinstance(value, kind) or isinstance(value, bool) or bool(holds(value, limit))
    match keyword:
        case "type":
            return any(_is(kind, value) for kind in ([limit] if isinstance(limit, str) else limit))
        case "const" | "enum":
            allowed = [limit] if keyword == "const" else limit
            return type(value) in _SCALARS and any(type(each) is type(value) and each == value for each in allowed)
        case "format":
            return _has_format(limit, value)
        case "$ref":
            name = str(limit).removeprefix("#/$defs/")
            return name in root.get("$defs", {}) and inner(root["$defs"][name], value)
        case "anyOf":
            return any(inner(each, value) for each in limit)
        case "properties":
            return not isinstance(value, dict) or all(inner(limit[key], value[key]) for key in limit if key in value)
        case "additionalProperties":
            known = schema.get("properties", {})
            return not isinstance(value, dict) or all(inner(limit, value[key]) for key in value if key not in known)
        case "prefixItems":
            return not isinstance(value, list) or all(map(inner, limit, value))
        case "items":
            first = len(schema.get("prefixItems", ()))
            return not isinstance(value, list) or all(inner(limit, each) for each in value[first:])
    return False


_SAYS_NOTHING: Final = frozenset({"$defs", "default", "deprecated", "description", "examples", "title"})
_OF_ITSELF: Final[dict[str, tuple[Any, Callable[[Any, Any], bool]]]] = {
    "minimum": ((int, float), lambda value, limit: value >= limit),
    "exclusiveMinimum": ((int, float), lambda value, limit: value > limit),
    "maximum": ((int, float), lambda value, limit: value <= limit),
    "exclusiveMaximum": ((int, float), lambda value, limit: value < limit),
    "minLength": (str, lambda value, limit: len(value) >= limit),
    "maxLength": (str, lambda value, limit: len(value) <= limit),
    "minItems": (list, lambda value, limit: len(value) >= limit),
    "maxItems": (list, lambda value, limit: len(value) <= limit),
    "required": (dict, lambda value, limit: all(name in value for name in limit)),
}
"""Keywords of numbers, texts, lists and objects that hold for everything else."""
_SCALARS: Final = (bool, int, float, str, type(None))
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def _is(kind: str, value: Any) -> bool:
    return type(value) in _TYPES.get(kind, ()) and (type(value) is not float or math.isfinite(value))


def _has_format(name: str, value: Any) -> bool:
    try:
        return name not in FORMATS or FORMATS[name](value)
    except ValueError:
        return False


# -- formats -----------------------------------------------------------------------------------------------------------

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")


def _date(value: Any) -> bool:
    return not isinstance(value, str) or (_DATE.fullmatch(value) is not None and bool(date.fromisoformat(value)))


def _moment(value: Any) -> bool:
    return not isinstance(value, str) or (
        ("T" in value.upper() or " " in value) and bool(datetime.fromisoformat(value.upper()))
    )


def _uuid(value: Any) -> bool:
    return not isinstance(value, str) or bool(UUID(value))


def _time(value: Any) -> bool:
    return not isinstance(value, str) or time.fromisoformat(value) is not None


FORMATS: Final[dict[str, Callable[[Any], bool]]] = {
    "date": _date,
    "date-time": _moment,
    "time": _time,
    "uuid": _uuid,
}
"""Those that are checked. A check returns False or raises ``ValueError`` where a text is not of that format."""
