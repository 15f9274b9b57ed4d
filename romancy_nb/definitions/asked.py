"""What a question may ask for: from a Python type to the JSON schema that is journaled, and from an answer to a value.

The type is known only where the workflow's code runs. Everybody else (the command line, another kernel, an HTTP service) has
the schema, and checks by that (``misfits``). Both say the same things in the same words.
"""

from __future__ import annotations

import functools
import json
import math
import sys
import typing
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from romancy_nb.definitions.annotations import spelled
from romancy_nb.definitions.misfits import at_path, complaint, either
from romancy_nb.errors import DefinitionError, EventRefused
from romancy_nb.payloads.codec import ANY

__all__ = ["event_schema", "question_schema", "validate_answer"]

_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_WAYS: Final = (
    "Ask for bool, numbers, text, a choice (Literal, an Enum), dates and times, a pydantic model, a dataclass, a TypedDict, "
    "or lists of these"
)
_SHOWN: Final = 20


def question_schema(type: Any) -> dict[str, Any]:
    """Return the JSON schema of what answers a question for *type*; the same for the same type, in every process.

    Args:
        type: ``bool``, numbers and text (with ``Annotated[..., Field(ge=...)]``), ``Literal``, an ``Enum``, dates and times,
            models, dataclasses, TypedDicts, ``Optional``, unions and lists of these.

    Raises:
        DefinitionError: a person cannot be asked for that.

    Example:
        >>> question_schema(bool)
        {'type': 'boolean'}
    """
    if type is ANY:
        return {}
    from pydantic import PydanticUserError

    try:
        schema: dict[str, Any] = _adapter(type).json_schema(schema_generator=_generator())
    except (PydanticUserError, TypeError, NameError, ValueError, RecursionError) as error:
        cause = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
        if cause.startswith("Unable to generate pydantic-core schema for "):
            cause = f"there is no form for {cause.removeprefix('Unable to generate pydantic-core schema for ')}"
        raise DefinitionError(f"Nobody can be asked for {spelled(type)}: {cause}. {_WAYS}.") from None
    if _has_secret(schema):
        raise DefinitionError(
            f"Nobody can be asked for {spelled(type)}: an answer is journaled, and secrets never are. Ask for the name under which "
            "the secret is kept, and read it in the activity that needs it."
        )
    return schema


def event_schema(type: Any) -> dict[str, Any] | None:
    """Return the JSON schema of what an event carries; None where it has none: it may be anything, or pydantic knows no form.

    Raises:
        DefinitionError: it holds a secret, which is never journaled.

    Example:
        >>> event_schema(int)
        {'type': 'integer'}
    """
    if type is ANY or type is None:
        return None
    try:
        return question_schema(type)
    except DefinitionError as error:
        if "secret" in str(error):
            raise
        return None


def validate_answer(type: Any, value: Any, *, what: str = "The answer") -> Any:
    """Return *value* as *type* has it.

    Args:
        type: what was asked for.
        value: as JSON has it (texts for dates, dicts for models), or an instance. JSON is read strictly: ``"yes"`` and ``1`` are
            no booleans.
        what: begins the message of the error.

    Raises:
        EventRefused: it does not fit. The message has one line for each field; ``problems`` has (path, reason).

    Example:
        >>> validate_answer(int, 7)
        7
    """
    if type is ANY:
        return value
    from pydantic import ValidationError

    adapter = _adapter(type)
    try:
        if not _is_json(value):
            return adapter.validate_python(value)
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        problems = _problems(error.errors(include_url=False), value)
    lines = [f"{path or 'it'} {reason}" for path, reason in problems[:_SHOWN]]
    more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    raise EventRefused("\n  ".join([f"{what} was refused:", *lines, *more]), problems)


@functools.cache
def _generator() -> Any:
    from pydantic.json_schema import GenerateJsonSchema

    class Quiet(GenerateJsonSchema):
        """Leaves out a default that JSON cannot say, without a warning in the person's cell."""

        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    return Quiet


def _adapter(wanted: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(_modern(wanted))


def _modern(wanted: Any) -> Any:
    """Before Python 3.12 pydantic takes only the TypedDict of ``typing_extensions``; a person has that of ``typing``."""
    if sys.version_info >= (3, 12):
        return wanted
    if type(wanted) is getattr(typing, "_TypedDictMeta", None):
        import typing_extensions as newer

        hints = newer.get_type_hints(wanted, include_extras=True)
        fields = {
            name: (newer.Required if name in wanted.__required_keys__ else newer.NotRequired)[_modern(hint)]
            for name, hint in hints.items()
        }
        made: Any = newer.TypedDict(wanted.__name__, fields)  # type: ignore[misc, operator, unused-ignore]
        made.__doc__, made.__module__ = wanted.__doc__, wanted.__module__
        return made
    parts = typing.get_args(wanted)
    if not parts or typing.get_origin(wanted) is typing.Literal:
        return wanted
    changed = tuple(part if isinstance(part, list) else _modern(part) for part in parts)
    if all(new is old for new, old in zip(changed, parts, strict=True)):
        return wanted
    if typing.get_origin(wanted) is typing.Annotated:
        return typing.Annotated[(changed[0], *wanted.__metadata__)]
    if hasattr(wanted, "copy_with"):
        return wanted.copy_with(changed)
    origin = typing.get_origin(wanted)
    return typing.Union[changed] if origin not in {list, dict, set, frozenset, tuple} else origin[changed]  # noqa: UP007


def _has_secret(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        if schema.get("format") == "password" and schema.get("writeOnly") is True:
            return True
        return any(_has_secret(each) for each in schema.values())
    return isinstance(schema, list) and any(_has_secret(each) for each in schema)


def _is_json(value: Any) -> bool:
    """Whether *value* is what a JSON reader makes; an instance of a class is not, even of a subclass of ``str``."""
    kind = type(value)
    if kind in {list, tuple}:
        return all(_is_json(each) for each in value)
    if kind is dict:
        return all(type(key) is str and _is_json(each) for key, each in value.items())
    return kind in _PLAIN and (kind is not float or math.isfinite(value))


# -- what pydantic says, in our words ------------------------------------------------------------------------------------


class _Found(NamedTuple):
    path: str
    reason: str
    branches: tuple[tuple[str, str], ...]
    """The unions that it stands in: (path of the union, which of its members was tried)."""
    shallow: bool
    """It is about the union's value itself, so this member cannot have been meant."""


_KEYWORDS: Final = {
    "missing": ("required", None),
    "greater_than_equal": ("minimum", "ge"),
    "greater_than": ("exclusiveMinimum", "gt"),
    "less_than_equal": ("maximum", "le"),
    "less_than": ("exclusiveMaximum", "lt"),
    "multiple_of": ("multipleOf", "multiple_of"),
    "string_too_short": ("minLength", "min_length"),
    "string_too_long": ("maxLength", "max_length"),
    "string_pattern_mismatch": ("pattern", "pattern"),
    "too_short": ("minItems", "min_length"),
    "too_long": ("maxItems", "max_length"),
    "extra_forbidden": ("additionalProperties", None),
    "unexpected_keyword_argument": ("additionalProperties", None),
    "missing_argument": ("required", None),
}
_EXPECTED: Final = {
    "bool": ("type", "boolean"),
    "int": ("type", "integer"),
    "float": ("type", "number"),
    "decimal": ("type", "number"),
    "string": ("type", "string"),
    "list": ("type", "array"),
    "set": ("type", "array"),
    "frozen_set": ("type", "array"),
    "tuple": ("type", "array"),
    "dict": ("type", "object"),
    "model": ("type", "object"),
    "dataclass": ("type", "object"),
    "none": ("type", "null"),
    "date": ("format", "date"),
    "datetime": ("format", "date-time"),
    "time": ("format", "time"),
    "time_delta": ("format", "duration"),
    "uuid": ("format", "uuid"),
}
_ENDINGS: Final = ("_type", "_parsing", "_required", "_from_float", "_from_datetime_parsing", "_from_datetime_inexact")


def _problems(errors: list[Any], value: Any) -> list[tuple[str, str]]:
    """Return (path, reason) of what is wrong. Of a union only the member that comes nearest is told of."""
    found = [_found(each, value) for each in errors]
    for branch in sorted({branch for each in found for branch, _ in each.branches}, key=len):
        inside = [each for each in found if any(at == branch for at, _ in each.branches)]
        members: dict[str, list[_Found]] = {}
        for each in inside:
            members.setdefault(dict(each.branches)[branch], []).append(each)
        if all(any(one.shallow for one in tried) for tried in members.values()):
            shallow = [one for tried in members.values() for one in tried if one.shallow]
            reasons = [one.reason for one in shallow if one.path == shallow[0].path]
            kept = [_Found(shallow[0].path, either(reasons), (), True)]
        else:
            kept = min(members.values(), key=lambda tried: (any(one.shallow for one in tried), len(tried)))
        found = [each for each in found if each not in inside] + kept
    return list(dict.fromkeys((each.path, each.reason) for each in found))


def _found(error: Any, value: Any) -> _Found:
    """Tell apart what of an error's location is a place in *value*, and what is the name of a union's member."""
    at, path, branches = value, [], []
    missing = {len(error["loc"]) - 1} if error["type"] in {"missing", "missing_argument"} else set()
    for number, part in enumerate(error["loc"]):
        known, possible, inside = _inside(at, part)
        if known or (possible and number in missing):
            path.append(part)
            at = inside
        elif not isinstance(at, (dict, list, tuple, str, int, float, type(None))):
            path.append(part)  # an instance: only pydantic can look into it
        else:
            branches.append((at_path(path), str(part)))
    if error["type"].startswith("union_tag_"):
        path.append(str(error["ctx"]["discriminator"]).strip("'"))
    reason = _reason(error)
    shallow = error["type"] in {"literal_error", "const_error"} or bool(branches and at_path(path) == branches[-1][0])
    return _Found(at_path(path), reason, tuple(branches), shallow)


def _inside(at: Any, part: Any) -> tuple[bool, bool, Any]:
    """Return whether *part* is a key or a number in *at*, whether it could be, and what stands there."""
    if isinstance(at, dict):
        return part in at, isinstance(part, str), at.get(part)
    if isinstance(at, (list, tuple)) and isinstance(part, int):
        return part < len(at), True, at[part] if part < len(at) else None
    return False, False, None


def _reason(error: Any) -> str:
    kind, context = error["type"], error.get("ctx") or {}
    if kind in _KEYWORDS:
        keyword, limit = _KEYWORDS[kind]
        return complaint(keyword, context.get(limit) if limit else None)
    if kind in {"literal_error", "enum"}:
        return f"must be {context.get('expected', 'one of the choices')}".replace("'", "")
    if kind == "union_tag_not_found":
        return complaint("required")
    if kind == "union_tag_invalid":
        return f"must be one of {context.get('expected_tags', 'the choices')}".replace("'", "")
    for ending in _ENDINGS:
        if kind.endswith(ending) and kind.removesuffix(ending) in _EXPECTED:
            return complaint(*_EXPECTED[kind.removesuffix(ending)])
    if kind == "int_from_float":
        return complaint("type", "integer")
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{message[:1].lower()}{message[1:]}" if message[1:2].islower() else message
