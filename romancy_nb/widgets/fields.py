"""What a form asks for, field by field: read off the JSON schema that was journaled with the question.

A schema may come from anywhere, so nothing here trusts it: what is not understood is asked for as JSON, what contains itself is
cut there, and no code of the type is run. The live form, the static one and the commands are all made from these fields.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from romancy_nb.words import clean, clip, count

__all__ = ["FormField", "bounds", "clean_lines", "example", "expects", "field_of", "parts_of", "shown_value"]

_LIMITS: Final = (
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
)
_KINDS: Final = {"boolean": "boolean", "integer": "integer", "number": "number", "null": "constant"}
_FORMATS: Final = {"date": "date", "time": "time", "date-time": "datetime"}
_LONG: Final = 200
_DEEPEST: Final = 8
_MOST: Final = 400
"""Fields of one object; what a person would never fill in by hand is asked for as JSON."""
_NAMED: Final = {
    "boolean": "yes or no",
    "integer": "a whole number",
    "number": "a number",
    "text": "text",
    "long text": "text",
    "date": "a date",
    "time": "a time of day",
    "datetime": "a date and time",
    "json": "JSON",
}
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class FormField:
    """One thing that is asked for.

    Attributes:
        kind: boolean, choice (one of ``choices``), choices (any of them), integer, number, text, long text, date, time, datetime,
            list (of ``fields[0]``), tuple (one of ``fields`` at each place), object (``fields`` by name), optional (``fields[0]``
            or nothing), union (one of ``fields``), constant (``default``), json (anything).
        name: the key under which the answer has it; empty for an answer as a whole and for what stands in lists.
        label, help: for people; one line each.
        required: the answer must have it.
        has_default, default: what counts where it is left out, as JSON.
        limits: what its value must keep to, under the names of JSON schema (``minimum``, ``maxLength`` …).
        choices: as JSON.
        fields: see ``kind``.
    """

    kind: str
    name: str = ""
    label: str = ""
    help: str = ""
    required: bool = True
    has_default: bool = False
    default: Any = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[Any, ...] = ()
    fields: tuple[FormField, ...] = ()

    def data(self) -> dict[str, Any]:
        """Return the field as JSON, for a form in a browser; what is empty is left out."""
        told: dict[str, Any] = {"kind": self.kind, "name": self.name, "label": self.label, "expects": expects(self)}
        if self.help:
            told["help"] = self.help
        if not self.required:
            told["required"] = False
        if self.has_default:
            told["default"] = self.default
        if self.limits:
            told["limits"] = dict(self.limits)
            told["bounds"] = ", ".join(bounds(self.limits))
        if self.choices:
            told["choices"] = list(self.choices)
        if self.fields:
            told["fields"] = [each.data() for each in self.fields]
        return told


def field_of(schema: Mapping[str, Any] | None) -> FormField:
    """Return what a question with this *schema* asks for.

    >>> field_of({"type": "integer", "minimum": 1}).kind
    'integer'
    """
    made = _Reader(schema or {}).read(schema or {}, "", ())
    if made.kind == "text" and not made.limits and not made.help:
        return FormField("long text", label=made.label)  # an answer in a person's own words
    return made


class _Reader:
    """Reads one schema, whose definitions it knows."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._known = _dict(schema.get("$defs"))

    def read(self, given: Any, name: str, seen: tuple[str, ...], required: bool = True) -> FormField:
        """Return the field of one schema; *seen* are the definitions that it stands in."""
        own = _dict(given)
        schema, seen = self._resolved(own, seen)
        facts: dict[str, Any] = {
            "name": name,
            "label": clip(str(own["title"]), 80) if isinstance(own.get("title"), str) else _spoken(name),
            "help": clip(str(own.get("description") or schema.get("description") or ""), 300),
            "required": required,
            "has_default": "default" in own or "const" in schema,
            "default": own.get("default", schema.get("const")),
        }
        if len(seen) > _DEEPEST or schema.get("$ref") is not None:
            return FormField("json", **facts)
        return self._made(schema, seen, facts)

    def _resolved(self, schema: dict[str, Any], seen: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Follow references; one that is being read already is left, since it has no end."""
        alone = schema.get("allOf")
        if isinstance(alone, list) and len(alone) == 1:
            schema = {**_dict(alone[0]), **{key: each for key, each in schema.items() if key != "allOf"}}
        while isinstance(named := schema.get("$ref"), str):
            target = named.removeprefix("#/$defs/")
            if target in seen or target not in self._known:
                break
            seen = (*seen, target)
            schema = {**_dict(self._known[target]), **{key: each for key, each in schema.items() if key != "$ref"}}
        return schema, seen

    def _made(self, schema: dict[str, Any], seen: tuple[str, ...], facts: dict[str, Any]) -> FormField:
        members = schema.get("anyOf", schema.get("oneOf"))
        kind = schema.get("type")
        if isinstance(kind, list):
            members, kind = [{**schema, "type": each} for each in kind], None
        if isinstance(members, list) and members:
            return self._union(members, seen, facts)
        if "const" in schema:
            return FormField("constant", **facts)
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return FormField("choice", choices=tuple(schema["enum"]), **facts)
        limits = {key: schema[key] for key in _LIMITS if _is_limit(key, schema.get(key))}
        if kind == "string":
            return FormField(_text_kind(schema), limits=limits, **facts)
        if kind == "array":
            return self._list(schema, seen, facts, limits)
        if kind == "object" and isinstance(schema.get("properties"), Mapping):
            return self._object(schema, seen, facts)
        if kind == "object" and schema.get("additionalProperties") is False:
            return FormField("object", **facts)
        return FormField(_KINDS.get(str(kind), "json"), limits=limits, **facts)

    def _object(self, schema: dict[str, Any], seen: tuple[str, ...], facts: dict[str, Any]) -> FormField:
        properties = schema["properties"]
        if len(properties) > _MOST:
            return FormField("json", **facts)
        needed = set(schema.get("required") or ())
        fields = tuple(self.read(each, str(name), seen, name in needed) for name, each in properties.items())
        return FormField("object", fields=fields, **facts)

    def _list(
        self, schema: dict[str, Any], seen: tuple[str, ...], facts: dict[str, Any], limits: dict[str, Any]
    ) -> FormField:
        places = schema.get("prefixItems")
        if isinstance(places, list) and places and not isinstance(schema.get("items"), Mapping):
            return FormField("tuple", fields=tuple(self.read(each, "", seen) for each in places), **facts)
        inner = self.read(schema.get("items"), "", seen)
        if schema.get("uniqueItems") and inner.kind == "choice":
            return FormField("choices", choices=inner.choices, limits=limits, **facts)
        return FormField("list", limits=limits, fields=(inner,), **facts)

    def _union(self, members: list[Any], seen: tuple[str, ...], facts: dict[str, Any]) -> FormField:
        nothing = [each for each in members if _dict(each).get("type") == "null"]
        if nothing:
            rest = [each for each in members if each not in nothing]
            inner = (
                self._union(rest, seen, {"label": facts["label"]}) if rest else FormField("constant", has_default=True)
            )
            return FormField("optional", fields=(inner,), **facts)
        if len(members) == 1:
            made = self.read(members[0], "", seen)
            inner_facts = {**facts, "help": facts.get("help") or made.help}
            if "has_default" not in facts:
                inner_facts |= {"has_default": made.has_default, "default": made.default}
            return FormField(made.kind, limits=made.limits, choices=made.choices, fields=made.fields, **inner_facts)
        read = [self._member(each, seen) for each in members]
        if all(each.kind in {"choice", "constant"} for each in read):
            choices = [value for each in read for value in (each.choices or (each.default,))]
            return FormField("choice", choices=tuple(choices), **facts)
        return FormField("union", fields=tuple(read), **facts)

    def _member(self, given: Any, seen: tuple[str, ...]) -> FormField:
        """One of a union, under the title of its class: it is chosen by that."""
        made = self.read(given, "", seen)
        title = self._resolved(_dict(given), seen)[0].get("title")
        return replace(made, label=clip(str(title), 80)) if made.kind == "object" and title and not made.label else made


def _is_limit(key: str, value: Any) -> bool:
    if key == "pattern":
        return isinstance(value, str)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _text_kind(schema: Mapping[str, Any]) -> str:
    named = str(schema.get("format", ""))
    longest = schema.get("maxLength")
    if named in {"textarea", "multiline", "markdown"} or (isinstance(longest, int) and longest > _LONG):
        return "long text"
    return _FORMATS.get(named, "text")


def _dict(given: Any) -> dict[str, Any]:
    return {str(key): each for key, each in given.items()} if isinstance(given, Mapping) else {}


def _spoken(name: str) -> str:
    spaced = clip(name.replace("_", " ").strip(), 80)
    return spaced[:1].upper() + spaced[1:]


# -- in words ------------------------------------------------------------------------------------------------------------


def expects(asked: FormField) -> str:
    """Return in a few words what a field takes: ``a whole number, at least 1``."""
    if asked.kind in {"choice", "choices"}:
        shown = [shown_value(each) for each in asked.choices[:_SHOWN]]
        more = f" … and {len(asked.choices) - _SHOWN:,} more" if len(asked.choices) > _SHOWN else ""
        return f"{'one' if asked.kind == 'choice' else 'any'} of {', '.join(shown)}{more}"
    if asked.kind == "constant":
        return shown_value(asked.default)
    if asked.kind == "optional":
        return f"{expects(asked.fields[0])}, or nothing"
    if asked.kind == "union":
        return " or ".join(dict.fromkeys(each.label or expects(each) for each in asked.fields))
    if asked.kind == "object":
        return count(len(asked.fields), "field") if asked.fields else "no fields"
    if asked.kind == "tuple":
        return f"in order: {', '.join(expects(each) for each in asked.fields)}"
    inner = asked.fields[0] if asked.fields else None
    what = f"a list, each {expects(inner)}" if inner is not None else _NAMED.get(asked.kind, asked.kind)
    return ", ".join([what, *bounds(asked.limits)])


def bounds(limits: Mapping[str, Any]) -> list[str]:
    """Return in words what a value must keep to: ``["1 to 40 characters"]``."""
    said = [
        f"more than {limits['exclusiveMinimum']}" if "exclusiveMinimum" in limits else "",
        _range(limits.get("minimum"), limits.get("maximum"), "", ""),
        f"less than {limits['exclusiveMaximum']}" if "exclusiveMaximum" in limits else "",
        f"a multiple of {limits['multipleOf']}" if "multipleOf" in limits else "",
        _range(limits.get("minLength"), limits.get("maxLength"), " character", " characters"),
        _range(limits.get("minItems"), limits.get("maxItems"), " entry", " entries"),
        clip(f"matching {limits['pattern']}") if "pattern" in limits else "",
    ]
    return [each for each in said if each]


def _range(low: Any, high: Any, one: str, many: str) -> str:
    unit = one if (low if high is None else high) == 1 else many
    if low is not None and high is not None:
        return f"{low} to {high}{unit}" if low != high else f"exactly {low}{unit}"
    return f"at least {low}{unit}" if low is not None else f"at most {high}{unit}" if high is not None else ""


def shown_value(value: Any, limit: int = 60) -> str:
    """Return a JSON value as a person reads it: a text without its quotes, yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "nothing"
    return clip(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), limit)


def parts_of(asked: FormField, depth: int = 0) -> Iterator[tuple[int, FormField]]:
    """Walk through the fields that a form shows, each with how deep it stands."""
    inside = asked
    while inside.kind in {"optional", "list"} and inside.fields:
        inside = inside.fields[0]
    if asked.name or depth == 0 or inside.kind not in {"object", "union"}:
        yield depth, asked
    for each in inside.fields if inside.kind in {"object", "union", "tuple"} and depth < _DEEPEST else ():
        yield from parts_of(each, depth + 1)


# -- an example ----------------------------------------------------------------------------------------------------------


def example(asked: FormField) -> Any:
    """Return an answer that fits, as far as that can be made up: what the commands show."""
    if asked.kind == "boolean":
        return True
    if asked.kind in {"choice", "choices"}:
        fewest = max(1, int(asked.limits.get("minItems", 1)))
        return asked.choices[0] if asked.kind == "choice" else list(asked.choices[:fewest])
    if asked.kind in {"integer", "number"}:
        return _number(asked)
    if asked.kind in {"text", "long text"}:
        least, most = int(asked.limits.get("minLength", 0)), int(asked.limits.get("maxLength", 4))
        return "text".ljust(min(least, 60), "x")[: max(most, 0)]
    if asked.kind in {"date", "time", "datetime"}:
        return {"date": "2026-11-21", "time": "17:02", "datetime": "2026-11-21T17:02"}[asked.kind]
    if asked.kind == "constant":
        return asked.default
    if asked.kind == "object":
        shown = [each for each in asked.fields if each.required] or list(asked.fields[:1])
        return {each.name: example(each) for each in shown}
    if asked.kind == "list":
        return [example(asked.fields[0])] * min(max(1, int(asked.limits.get("minItems", 1))), 5)
    if asked.kind == "tuple":
        return [example(each) for each in asked.fields]
    return example(asked.fields[0]) if asked.kind in {"optional", "union"} and asked.fields else {}


def _number(asked: FormField) -> int | float:
    limits = asked.limits
    step = limits.get("multipleOf") or 1
    low, high = limits.get("minimum"), limits.get("maximum")
    over, under = limits.get("exclusiveMinimum"), limits.get("exclusiveMaximum")
    least = low if low is not None else over
    most = high if high is not None else under
    found: int | float = step
    if least is not None:
        found = math.ceil(least / step) * step
        found += step if over is not None and found <= over else 0
    elif most is not None and most <= step:
        found = math.floor(most / step) * step
        found -= step if under is not None and found >= under else 0
    if asked.kind == "number" and least is not None and most is not None and found >= most:
        return float(least + most) / 2
    return found


def clean_lines(text: str, limit: int = 4000) -> list[str]:
    """Return *text* as the lines that are shown of it, without characters that hide or reorder others."""
    cut = text[:limit] + ("…" if len(text) > limit else "")
    return [clean(line) for line in cut.replace("\r\n", "\n").split("\n")]
