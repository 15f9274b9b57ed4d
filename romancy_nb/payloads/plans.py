"""What an annotation saves: plans that write a value as readable JSON without tags where its type is certain anyway.

``-> list[datetime]`` lets ``["2024-05-01T12:00:00"]`` stand for itself. A plan writes like that only a value whose type
is *precisely* what the annotation says, at each place by itself; anything else there is written with tags, as if it had
no annotation. So an annotation never changes what comes back, and a value that contradicts it survives.

Compiled once for each annotation. No validator, ``__init__`` or ``__post_init__`` runs when a value is restored: what
was recorded is what comes back. Only when a document no longer has the shape of its class is pydantic asked
(``codec.decode``), with the defaults, aliases and conversions of today's class.
"""

from __future__ import annotations

import types
import typing
from collections import abc
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Final, Literal, Union, get_args, get_origin
from uuid import UUID

from romancy_nb.payloads.builtin import duration, duration_text, is_simple_time
from romancy_nb.payloads.tree import Changed, Plan, Reader, Unkept, Writer

__all__ = ["ANYTHING", "Leaf", "plan_for"]

_ENOUGH: Final = 4096  # plans kept; a notebook that redefines its classes makes new ones for ever


class _Anything:
    """No annotation, or one that promises nothing we could use: the value describes itself."""

    def write(self, value: Any, out: Writer) -> Any:
        return out.any(value)

    def read(self, document: Any, source: Reader) -> Any:
        return source.any(document)


ANYTHING: Final = _Anything()


class Leaf:
    """None, bool, int, float or str."""

    def __init__(self, cls: type) -> None:
        self.cls = cls

    def write(self, value: Any, out: Writer) -> Any:
        return out.any(value) if type(value) is self.cls else out.by_value(value)

    def read(self, document: Any, source: Reader) -> Any:
        return document if type(document) is self.cls else source.other(document)

    def are_all(self, values: list[Any]) -> bool:
        """Return whether each of *values* stands for itself."""
        cls = self.cls
        for value in values:
            if type(value) is not cls:
                return False
        return cls is not float or all(map(isfinite, values))


class _Text:
    """A type of the standard library that a text says whole: UUID, date, Decimal, Path …"""

    def __init__(
        self,
        cls: type,
        show: Callable[[Any], str],
        make: Callable[[str], Any],
        fits: Callable[[Any], bool] | None = None,
    ) -> None:
        self.cls = cls
        self.show = show
        self.make = make
        self.fits = fits

    def write(self, value: Any, out: Writer) -> Any:
        if type(value) is not self.cls or out.careful or (self.fits is not None and not self.fits(value)):
            return out.by_value(value)
        return self.show(value)

    def read(self, document: Any, source: Reader) -> Any:
        if type(document) is not str:
            return source.other(document)
        try:
            return self.make(document)
        except (ValueError, ArithmeticError) as error:
            raise Changed from error


class _Optional:
    """Something or None."""

    def __init__(self, inner: Plan) -> None:
        self.inner = inner

    def write(self, value: Any, out: Writer) -> Any:
        return None if value is None else self.inner.write(value, out)

    def read(self, document: Any, source: Reader) -> Any:
        return None if document is None else self.inner.read(document, source)


class _Union:
    """One of several classes: each writes its own name, and is found by it even if it is made inside a function."""

    def __init__(self, members: list[Any]) -> None:
        self.by_class = {member.cls: member for member in members}
        self.by_name = {member.name: member for member in members}

    def write(self, value: Any, out: Writer) -> Any:
        member = self.by_class.get(type(value))
        return out.any(value) if member is None else member.write_tagged(value, out, known=True)

    def read(self, document: Any, source: Reader) -> Any:
        if type(document) is dict and (member := self.by_name.get(document.get("$type"))) is not None:
            return member.read_tagged(document, source)
        return source.any(document)


class _List:
    def __init__(self, inner: Plan) -> None:
        self.inner = inner

    def write(self, value: Any, out: Writer) -> Any:
        if type(value) is not list:
            return out.by_value(value)
        inner = self.inner
        if type(inner) is Leaf and not out.careful and inner.are_all(value):
            return value
        return out.items(value, value, lambda item: inner.write(item, out))

    def read(self, document: Any, source: Reader) -> Any:
        if type(document) is not list:
            return source.other(document)
        inner = self.inner
        if type(inner) is Leaf and inner.are_all(document):
            return document
        read = inner.read
        return [read(item, source) for item in document]


class _Set:
    def __init__(self, cls: type, inner: Plan) -> None:
        self.cls = cls
        self.inner = inner

    def write(self, value: Any, out: Writer) -> Any:
        from romancy_nb.payloads.text import sorted_dumps

        if type(value) is not self.cls:
            return out.by_value(value)
        values: Any = value
        return sorted(out.items(values, values, lambda item: self.inner.write(item, out)), key=sorted_dumps)

    def read(self, document: Any, source: Reader) -> Any:
        if type(document) is not list:
            return source.other(document)
        return self.cls(self.inner.read(item, source) for item in document)


class _Tuple:
    """``tuple[A, B]``; ``tuple[A, ...]`` has only ``rest``."""

    def __init__(self, inner: list[Plan], rest: Plan | None) -> None:
        self.inner = inner
        self.rest = rest

    def _plans(self, count: int) -> list[Plan] | None:
        if self.rest is not None:
            return [self.rest] * count
        return self.inner if count == len(self.inner) else None

    def write(self, value: Any, out: Writer) -> Any:
        plans = self._plans(len(value)) if type(value) is tuple else None
        if plans is None:
            return out.by_value(value)
        following = iter(plans)
        return out.items(value, value, lambda item: next(following).write(item, out))

    def read(self, document: Any, source: Reader) -> Any:
        plans = self._plans(len(document)) if type(document) is list else None
        if plans is None:
            return source.other(document)
        return tuple([plan.read(item, source) for plan, item in zip(plans, document, strict=True)])


class _Dict:
    """A dict with text keys: ``dict[str, V]``, or a TypedDict with a plan for each key."""

    def __init__(self, rest: Plan, known: dict[str, Plan] | None = None, late: type | None = None) -> None:
        self.rest = rest
        self.known = known or {}
        self.late = late

    def _plan(self, key: str) -> Plan:
        if self.late is not None:
            cls, self.late = self.late, None
            self.known = {name: plan_for(hint) for name, hint in hints_of(cls).items()}
        return self.known.get(key, self.rest)

    def write(self, value: Any, out: Writer) -> Any:
        if type(value) is not dict or out.careful or any(type(key) is not str or key[:1] == "$" for key in value):
            return out.by_value(value)
        out.enter(value)
        document = {}
        key = ""
        try:
            for key, item in value.items():
                document[key] = self._plan(key).write(item, out)
        except Unkept as error:
            error.inside(value, f"[{key!r:.80}]")
            raise
        out.depth -= 1
        return document

    def read(self, document: Any, source: Reader) -> Any:
        if type(document) is not dict or (document and next(iter(document))[:1] == "$"):
            return source.other(document)
        return {key: self._plan(key).read(item, source) for key, item in document.items()}


# -- from annotation to plan -------------------------------------------------------------------------------------------


def hints_of(cls: type) -> dict[str, Any]:
    """Return the annotations of *cls*, resolved where that is possible."""
    try:
        return typing.get_type_hints(cls)
    except Exception:
        # a name that exists only for type checkers; the values describe themselves then
        return {}


_plans: Final[dict[Any, Plan]] = {}


def plan_for(annotation: Any) -> Plan:
    """Return the plan of *annotation*: always the same one for the same annotation, ANYTHING where it promises nothing."""
    try:
        found = _plans.get(annotation)
    except TypeError:  # Annotated[int, [unhashable]]
        return _compile(annotation)
    if found is None:
        found = _compile(annotation)
        if len(_plans) > _ENOUGH:
            _plans.clear()
        _plans[annotation] = found
    return found


_SEQUENCES: Final = (list, abc.Sequence, abc.MutableSequence, abc.Iterable, abc.Collection)
_MAPPINGS: Final = (dict, abc.Mapping, abc.MutableMapping)


_LEAVES: Final[dict[Any, Plan]] = {
    None: Leaf(type(None)),
    type(None): Leaf(type(None)),
    bool: Leaf(bool),
    int: Leaf(int),
    float: Leaf(float),
    str: Leaf(str),
    UUID: _Text(UUID, str, UUID),
    date: _Text(date, date.isoformat, date.fromisoformat),
    datetime: _Text(datetime, datetime.isoformat, datetime.fromisoformat, is_simple_time),
    time: _Text(time, time.isoformat, time.fromisoformat, is_simple_time),
    timedelta: _Text(timedelta, duration_text, duration),
    Decimal: _Text(Decimal, str, Decimal),
    Fraction: _Text(Fraction, str, Fraction),
    Path: _Text(type(Path()), str, Path),
    PurePath: _Text(type(PurePath()), str, PurePath),
    PurePosixPath: _Text(PurePosixPath, str, PurePosixPath),
    PureWindowsPath: _Text(PureWindowsPath, str, PureWindowsPath),
    PosixPath: _Text(PosixPath, str, Path),
    WindowsPath: _Text(WindowsPath, str, Path),
}


def _compile(annotation: Any) -> Plan:
    if hasattr(annotation, "__metadata__"):  # Annotated[T, ...]: the class would say the same without what is beside it
        return plan_for(annotation.__origin__)
    try:
        leaf = _LEAVES.get(annotation)
    except TypeError:
        return ANYTHING
    if leaf is not None:
        return leaf
    if hasattr(annotation, "__supertype__"):
        return plan_for(annotation.__supertype__)
    if type(annotation).__name__ == "TypeAliasType":
        try:
            return plan_for(annotation.__value__)
        except (NameError, RecursionError):
            return ANYTHING
    origin = get_origin(annotation)
    if origin is Union or origin is types.UnionType:
        return _union(get_args(annotation))
    if origin is Literal:
        return ANYTHING
    return _container(origin or annotation, get_args(annotation))


def _union(members: tuple[Any, ...]) -> Plan:
    others = [member for member in members if member is not type(None)]
    plans = [plan_for(member) for member in others]
    if len(others) == 1:
        return plans[0] if plans[0] is ANYTHING or len(members) == 1 else _Optional(plans[0])
    classes = [plan for plan in plans if hasattr(plan, "write_tagged")]
    return _Union(classes) if classes else ANYTHING


def _container(cls: Any, arguments: tuple[Any, ...]) -> Plan:
    if cls in _SEQUENCES:
        return _List(plan_for(arguments[0]) if arguments else ANYTHING)
    if cls in _MAPPINGS:
        return _Dict(plan_for(arguments[1]) if len(arguments) == 2 else ANYTHING)
    if cls in (set, frozenset):
        return _Set(cls, plan_for(arguments[0]) if arguments else ANYTHING)
    if cls is tuple:
        if not arguments:
            return _Tuple([], ANYTHING)
        if len(arguments) == 2 and arguments[1] is ...:
            return _Tuple([], plan_for(arguments[0]))
        return _Tuple([plan_for(argument) for argument in arguments], None)
    if not isinstance(cls, type):
        return ANYTHING
    if typing.is_typeddict(cls):
        return _Dict(ANYTHING, late=cls)
    from romancy_nb.payloads.models import class_plan

    return class_plan(cls) or ANYTHING
