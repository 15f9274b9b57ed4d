"""What of a value does not fit a JSON schema, in plain words: for whoever has the schema of a question and not its type."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from romancy_nb.definitions.plainfit import FORMATS, fits_plainly

__all__ = ["at_path", "check_against_schema", "complaint", "either"]

_TYPES: Final = {
    "boolean": "must be yes or no (true, false)",
    "integer": "must be a whole number",
    "number": "must be a number",
    "string": "must be text",
    "array": "must be a list",
    "object": "must have fields, as in {…}",
    "null": "must be left empty (null)",
}
_FORMATS: Final = {
    "date": "must be a date like 2026-11-21",
    "date-time": "must be a date and time like 2026-11-21T17:02",
    "time": "must be a time like 17:02",
    "duration": "must be a duration like PT5M",
    "uuid": "must be a UUID",
    "email": "must be an e-mail address",
}
_WORDS: Final = {
    "required": "is required",
    "minimum": "must be at least {}",
    "exclusiveMinimum": "must be more than {}",
    "maximum": "must be at most {}",
    "exclusiveMaximum": "must be less than {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} character{s}",
    "maxLength": "must have at most {} character{s}",
    "pattern": "must match the pattern {}",
    "minItems": "must have at least {} entr{ies}",
    "maxItems": "must have at most {} entr{ies}",
    "uniqueItems": "must not have the same entry twice",
    "additionalProperties": "is not a field of this",
    "const": "must be {}",
}
_CHOICES: Final = 12


def complaint(keyword: str, limit: Any = None) -> str:
    """Return what is wrong with a value that breaks *keyword* of its schema, whose value there is *limit*.

    >>> complaint("minimum", 3)
    'must be at least 3'
    """
    if keyword == "type":
        kinds = [limit] if isinstance(limit, str) else list(limit or [])
        said = [_TYPES.get(kind, f"must be {kind}") for kind in kinds]
        return either(said)
    if keyword == "format":
        return _FORMATS.get(str(limit), f"must be a valid {limit}")
    if keyword == "enum":
        shown = [_plain(each) for each in limit[:_CHOICES]]
        more = f" … ({len(limit) - _CHOICES} more)" if len(limit) > _CHOICES else ""
        return f"must be one of {', '.join(shown)}{more}" if len(limit) > 1 else f"must be {shown[0]}"
    one = limit == 1
    text = _WORDS.get(keyword)
    if text is None:
        return "does not fit"
    return text.format(_plain(limit), s="" if one else "s", ies="y" if one else "ies")


def either(reasons: Sequence[str]) -> str:
    """Return what is wrong with a value for which one of several would do: ``must be a number or text``."""
    found = list(dict.fromkeys(reasons))
    return " or ".join([*found[:1], *(each.removeprefix("must be ") for each in found[1:])]) or "does not fit"


def check_against_schema(schema: Mapping[str, Any] | None, value: Any) -> list[tuple[str, str]]:
    """Return what of *value* does not fit *schema*: (path of the field, what is wrong with it), in the order of the paths.

    Only the schema decides; no code of whoever asked is run. What a validator of the type would add is not seen here.

    Args:
        schema: JSON schema; None and ``{}`` fit everything.
        value: as JSON has it.

    Example:
        >>> check_against_schema({"type": "integer", "minimum": 1}, 0)
        [('', 'must be at least 1')]
    """
    if not schema or fits_plainly(schema, value):
        return []
    found = [each for error in _validator(schema).iter_errors(value) for each in _told(error)]
    return list(dict.fromkeys(found))


def at_path(parts: Sequence[Any]) -> str:
    """Return a path as text: ``lines.2.amount``."""
    return ".".join(str(part) for part in parts)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _told(error: Any) -> Iterator[tuple[str, str]]:
    """One error of jsonschema: of a union, the member that comes nearest; of missing and unknown fields, each by its name."""
    path = list(error.absolute_path)
    if error.validator in {"anyOf", "oneOf"} and error.context:
        yield from _of_union(error, path)
    elif error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield at_path([*path, name]), complaint("required")
    elif error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        for name in error.instance:
            if name not in known:
                yield at_path([*path, name]), complaint("additionalProperties")
    else:
        yield at_path(path), complaint(error.validator, error.validator_value)


def _of_union(error: Any, path: list[Any]) -> Iterator[tuple[str, str]]:
    members: dict[int, list[Any]] = {}
    for each in error.context:
        if each.validator_value != "null" or len(error.validator_value) == 1:  # "or nothing" is not what was meant
            members.setdefault(each.schema_path[0], []).append(each)
    tried = {index: any(_excludes(each, path) for each in errors) for index, errors in members.items()}
    if all(tried.values()):
        marks = [one for errors in members.values() for each in errors if _excludes(each, path) for one in _told(each)]
        yield marks[0][0], either([reason for at, reason in marks if at == marks[0][0]])
        return
    nearest = min(members, key=lambda index: (tried[index], len(members[index])))
    for each in members[nearest]:
        yield from _told(each)


def _excludes(error: Any, path: list[Any]) -> bool:
    """Whether this error tells that the member of a union was not meant: another type, or another mark of what it is."""
    here = list(error.absolute_path)
    return error.validator == "const" or (here == path and error.validator in {"type", "enum", "format"})


def _validator(schema: Mapping[str, Any]) -> Any:
    made, formats = _machinery()
    return made(schema, format_checker=formats)


@functools.cache
def _machinery() -> tuple[Any, Any]:
    """jsonschema takes long to import, and most processes never need it: what comes mostly fits plainly."""
    import jsonschema
    from jsonschema import validators

    def pattern(validator: Any, wanted: str, value: Any, schema: Any) -> Iterator[Any]:
        try:
            fits = not validator.is_type(value, "string") or re.search(wanted, value) is not None
        except re.error:  # a pattern that only pydantic's engine knows; whoever has the type checks it
            return
        if not fits:
            yield jsonschema.ValidationError("pattern")

    formats = jsonschema.FormatChecker(formats=())
    for name, read in FORMATS.items():
        formats.checks(name, raises=ValueError)(read)
    return validators.extend(jsonschema.Draft202012Validator, {"pattern": pattern}), formats
