"""What a class is made of, told without its source.

Notebook cells keep no note of where a class statement stood, so a class is described by what it has become: bases,
fields with their annotations, methods, values. The description says the same on every Python version; generated methods
(``__init__`` of a dataclass) say nothing that the fields do not say.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from romancy_nb.definitions.sources import is_users_class, is_users_file

__all__ = ["ClassFacts", "facts_of", "spell"]

_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_INTERNAL = re.compile(r"_abc_|_is_protocol$|_is_runtime_protocol$|_non_callable_proto_members")


@dataclass(slots=True)
class ClassFacts:
    """What a class is made of.

    Attributes:
        outline: bases, fields and annotations as text.
        functions: methods by name, properties and the like unwrapped.
        values: the class's values by name: constants, members, defaults of fields.
        classes: the user's classes that the outline names.
    """

    outline: list[str] = field(default_factory=list)
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    classes: list[type] = field(default_factory=list)


def spell(annotation: Any, classes: list[type]) -> str:
    """Return *annotation* as text that is equal everywhere; append the user's classes in it to *classes*."""
    if isinstance(annotation, str):
        return annotation
    arguments = typing.get_args(annotation)
    if arguments:
        origin = typing.get_origin(annotation)
        if origin is typing.Literal:
            return f"Literal{list(arguments)!r}"
        name = "Union" if origin in (types.UnionType, typing.Union) else spell(origin, classes)
        inner = [f"[{', '.join(spell(a, classes) for a in each)}]" if isinstance(each, list) else spell(each, classes)
                 for each in arguments]  # fmt: skip
        more = [_plain(each) for each in getattr(annotation, "__metadata__", ())]
        return f"{name}[{', '.join(inner + more)}]" if not more else f"Annotated[{', '.join([inner[0], *more])}]"
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type):
        if is_users_class(annotation):
            classes.append(annotation)
        return annotation.__qualname__
    known = getattr(annotation, "__name__", None)
    return known if isinstance(known, str) else _plain(annotation)


def _plain(value: Any) -> str:
    try:
        return _ADDRESS.sub("", repr(value))
    except Exception:
        return type(value).__qualname__


def facts_of(cls: type) -> ClassFacts:
    """Return what *cls*, a class of the user's, is made of."""
    facts = ClassFacts()
    bases = [spell(base, facts.classes) for base in cls.__bases__]
    facts.outline.append(f"class({', '.join(bases)})")
    fields = _fields(cls, facts)
    if issubclass(cls, enum.Enum):
        for name, member in cls.__members__.items():
            facts.values[name] = member.value
            fields.add(name)
        facts.outline.append(" ".join(cls.__members__))
    for name, annotation in sorted(inspect.get_annotations(cls).items()):
        if name not in fields:
            facts.outline.append(f"{name}: {spell(annotation, facts.classes)}")
    for name, value in sorted(cls.__dict__.items()):
        if name not in fields:
            _attribute(cls, name, value, facts)
    return facts


def _fields(cls: type, facts: ClassFacts) -> set[str]:
    """Describe the fields of a dataclass or pydantic model, in order; return their names."""
    done: set[str] = set()
    own = cls.__dict__.get("__dataclass_fields__")
    if isinstance(own, dict):
        parameters = cls.__dict__.get("__dataclass_params__")
        flags = [str(getattr(parameters, flag, None)) for flag in ("eq", "order", "frozen")]
        facts.outline.append(f"dataclass {' '.join(flags)}")
        for name, each in own.items():
            facts.outline.append(f"{name}: {spell(each.type, facts.classes)} {each.init} {each.kw_only} {each.compare}")
            _default(name, each.default, each.default_factory, dataclasses.MISSING, facts)
            done.add(name)
    models = cls.__dict__.get("__pydantic_fields__")
    if isinstance(models, dict):
        for name, each in models.items():
            spelled = spell(each.annotation, facts.classes)
            said = [each.is_required(), each.alias, each.description, *(_plain(item) for item in each.metadata)]
            facts.outline.append(f"{name}: {spelled} {said!r}")
            if not each.is_required():
                _default(name, each.default, each.default_factory, None, facts)
            done.add(name)
    return done


def _default(name: str, default: Any, factory: Any, missing: object, facts: ClassFacts) -> None:
    if callable(factory):
        facts.functions[f"{name} default"] = factory
    elif default is not missing:
        facts.values[name] = default


def _attribute(cls: type, name: str, value: Any, facts: ClassFacts) -> None:
    functions = _functions(value)
    if functions:
        for suffix, function in functions.items():
            filename = getattr(getattr(function, "__code__", None), "co_filename", "<string>")
            if is_users_file(filename) and not (filename == "<string>" and name.startswith("__")):
                facts.functions[name + suffix] = function
        return
    dunder = name.startswith("__") and name.endswith("__")
    sunder = issubclass(cls, enum.Enum) and name.startswith("_")
    if dunder or sunder or _INTERNAL.match(name):
        return
    if hasattr(type(value), "__get__") and not is_users_class(type(value)):
        return  # a slot, a field of a named tuple
    facts.values[name] = value


def _functions(value: Any) -> dict[str, Callable[..., Any]]:
    """The functions inside a method, a property or the like, by suffix."""
    if isinstance(value, types.FunctionType):
        return {"": value}
    if isinstance(value, (staticmethod, classmethod)):
        return _functions(value.__func__)
    if isinstance(value, property):
        named = {"": value.fget, ".setter": value.fset, ".deleter": value.fdel}
        return {suffix: each for suffix, each in named.items() if each is not None}
    if isinstance(value, (functools.cached_property, functools.partialmethod)):
        return _functions(value.func)
    if isinstance(value, functools._lru_cache_wrapper):
        return _functions(value.__wrapped__)
    return {}
