"""Instances of classes: enums, dataclasses, pydantic models, named tuples, and what derives from a built-in type.

A class is journaled by module and qualified name and is looked up among what is imported already, never imported. A
notebook's class is found in ``__main__`` as it is defined now.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Any

from romancy_nb.errors import CannotRestore, NotJournalable
from romancy_nb.payloads.payload import Part

__all__ = ["find_class", "flatten", "name_of", "restore"]

_WAYS_OUT = (
    "Return plain data (a dict, an id, a path), a dataclass or a pydantic model, or teach the journal with "
    "rn.register_codec(...)"
)
Restore = Callable[[Any], Any]


def name_of(cls: type) -> str:
    """Return "module:qualified.name"."""
    return f"{cls.__module__}:{cls.__qualname__}"


def find_class(name: str, annotation: Any = Any) -> type | None:
    """Return the class of that name that is imported now, or that *annotation* mentions; None when there is none."""
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None) if found is not None and part != "<locals>" else None
    if isinstance(found, type):
        return found
    return next((cls for cls in _mentioned(annotation) if name_of(cls) == name), None)


def _mentioned(annotation: Any, depth: int = 0) -> Iterator[type]:
    """Yield the classes in an annotation, and in the fields of those."""
    if depth > 6:
        return
    if isinstance(annotation, type) and not typing.get_args(annotation):
        yield annotation
        for inner in getattr(annotation, "__annotations__", {}).values():
            if not isinstance(inner, str):
                yield from _mentioned(inner, depth + 1)
        for base in annotation.__mro__[1:-1]:
            yield base
        yield from annotation.__subclasses__()
    for inner in typing.get_args(annotation):
        yield from _mentioned(inner, depth + 1)


def flatten(value: Any, path: str, parts: list[Part], inner: Callable[[Any, str, list[Part]], Any]) -> Any:
    """Return an instance as a tagged object.

    Raises:
        NotJournalable: it is of none of the kinds.
    """
    cls = type(value)
    name = name_of(cls)
    if isinstance(value, enum.Enum):
        return {"$type": "enum", "class": name, "name": value.name, "value": _plain_or_text(value.value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if hasattr(value, f.name)}
        return {"$type": "dataclass", "class": name, "fields": _fields(fields, path, parts, inner)}
    if _is_model(cls):
        return _flat_model(value, name, path, parts, inner)
    if isinstance(value, tuple) and hasattr(cls, "_fields"):
        items = dict(zip(cls._fields, value, strict=True))
        return {"$type": "namedtuple", "class": name, "fields": _fields(items, path, parts, inner)}
    refused = "a secret; read it in the activity instead" if cls.__name__ in {"SecretStr", "SecretBytes"} else f"a {name}"
    raise NotJournalable(f"{path} is {refused.replace(':', '.')}, which cannot be journaled. {_WAYS_OUT}.")


def _fields(values: dict[str, Any], path: str, parts: list[Part], inner: Any) -> dict[str, Any]:
    return {name: inner(value, f"{path}.{name}", parts) for name, value in values.items()}


def _plain_or_text(value: Any) -> Any:
    return value if type(value) in {str, int, bool, type(None)} else str(value)


def _is_model(cls: type) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(cls, pydantic.BaseModel)


def _flat_model(value: Any, name: str, path: str, parts: list[Part], inner: Any) -> Any:
    flat = {"$type": "model", "class": name, "fields": _fields(dict(value.__dict__), path, parts, inner)}
    if value.__pydantic_extra__:
        flat["extra"] = _fields(value.__pydantic_extra__, path, parts, inner)
    unset = sorted(set(value.__dict__) - value.__pydantic_fields_set__)
    if unset:
        flat["unset"] = unset
    if value.__pydantic_private__:
        flat["private"] = _fields(value.__pydantic_private__, path, parts, inner)
    return flat


def restore(tag: str, plain: dict[str, Any], inner: Restore, annotation: Any) -> Any:
    """Return the instance that ``flatten`` was given.

    Raises:
        CannotRestore: its class is not here, or is of another kind now.
    """
    make = _MAKERS.get(tag)
    if make is None:
        raise CannotRestore(f"it has the unknown tag {tag!r}; it may have been written by a newer romancy_nb")
    name = str(plain["class"])
    cls = find_class(name, annotation)
    if cls is None:
        module, _, qualname = name.partition(":")
        where = "run the cell that defines it" if module == "__main__" else f"import {module}"
        raise CannotRestore(f"its class {qualname} is not defined here: {where} first")
    return make(cls, plain, inner)


def _enum(cls: Any, plain: dict[str, Any], inner: Restore) -> Any:
    if not issubclass(cls, enum.Enum):
        raise CannotRestore(f"{cls.__qualname__} is no enum any more")
    name = plain["name"]
    if name in cls.__members__:
        return cls[name]
    return cls(plain["value"])


def _dataclass(cls: Any, plain: dict[str, Any], inner: Restore) -> Any:
    if not dataclasses.is_dataclass(cls):
        raise CannotRestore(f"{cls.__qualname__} is no dataclass any more")
    made = object.__new__(cls)
    given = {name: inner(value) for name, value in plain["fields"].items()}
    for field in dataclasses.fields(cls):
        if field.name in given:
            object.__setattr__(made, field.name, given[field.name])
        elif field.default is not dataclasses.MISSING:
            object.__setattr__(made, field.name, field.default)
        elif field.default_factory is not dataclasses.MISSING:
            object.__setattr__(made, field.name, field.default_factory())
        elif field.init:
            raise CannotRestore(f"{cls.__qualname__} has a new field {field.name} without a default")
    return made


def _model(cls: Any, plain: dict[str, Any], inner: Restore) -> Any:
    if not _is_model(cls):
        raise CannotRestore(f"{cls.__qualname__} is no pydantic model any more")
    given = {name: inner(value) for name, value in plain["fields"].items()}
    missing = [name for name, field in cls.model_fields.items() if name not in given and field.is_required()]
    if missing:
        raise CannotRestore(f"{cls.__qualname__} has a new required field {missing[0]}")
    made = cls.__new__(cls)
    for name, field in cls.model_fields.items():
        if name not in given:
            given[name] = field.get_default(call_default_factory=True, validated_data=given)
    unset = set(plain.get("unset", ()))
    object.__setattr__(made, "__dict__", given)
    object.__setattr__(made, "__pydantic_fields_set__", {name for name in plain["fields"] if name not in unset})
    extra = plain.get("extra")
    default_extra = {} if cls.model_config.get("extra") == "allow" else None
    object.__setattr__(made, "__pydantic_extra__", {k: inner(v) for k, v in extra.items()} if extra else default_extra)
    private = plain.get("private")
    object.__setattr__(made, "__pydantic_private__", {k: inner(v) for k, v in private.items()} if private else None)
    return made


def _named_tuple(cls: Any, plain: dict[str, Any], inner: Restore) -> Any:
    if not (issubclass(cls, tuple) and hasattr(cls, "_fields")):
        raise CannotRestore(f"{cls.__qualname__} is no named tuple any more")
    return tuple.__new__(cls, (inner(value) for value in plain["fields"].values()))


_MAKERS: dict[str, Callable[[Any, dict[str, Any], Restore], Any]] = {
    "enum": _enum,
    "dataclass": _dataclass,
    "model": _model,
    "namedtuple": _named_tuple,
}
