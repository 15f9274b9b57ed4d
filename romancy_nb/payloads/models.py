"""Classes that are data: Enum, dataclass, attrs, pydantic model, NamedTuple. Written by field, rebuilt without code.

A field is written by the plan of its annotation. What stands beside the fields comes last, under keys with ``$``::

    $unset     pydantic fields that hold a default nobody set
    $absent    fields without any value
    $extra     attributes that are no fields
    $private   private attributes of a pydantic model
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Callable, Iterable
from typing import Any, Final

from romancy_nb.payloads import registry
from romancy_nb.payloads.plans import hints_of, plan_for
from romancy_nb.payloads.tree import Changed, Lost, Plan, Reader, Unkept, Writer

__all__ = ["ClassPlan", "class_plan"]

_ENOUGH: Final = 4096
_MISSING: Final = object()
_set: Final = object.__setattr__


class ClassPlan:
    """How instances of one class are written and read."""

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.name = registry.class_name(cls)
        self._fields: dict[str, Plan] | None = None

    @property
    def fields(self) -> dict[str, Plan]:
        """The plan of each field; made when first needed, because classes may refer to themselves."""
        if self._fields is None:
            self._fields = {name: plan_for(hint) for name, hint in self.annotations().items()}
        return self._fields

    def annotations(self) -> dict[str, Any]:
        """Return the annotation of each field."""
        raise NotImplementedError

    def document(self, value: Any, out: Writer) -> dict[str, Any]:
        """Return the fields of *value* as a document."""
        raise NotImplementedError

    def build(self, document: dict[str, Any], source: Reader) -> Any:
        """Return the value with the fields of *document*."""
        raise NotImplementedError

    def write(self, value: Any, out: Writer) -> Any:
        """Return the document of *value* where its annotation is this class."""
        if type(value) is not self.cls:
            return out.by_value(value)
        if registry.CODECS and (codec := registry.codec_for(value)) is not None:
            return out.coded(codec, value)
        document = self.document(value, out)
        if document and next(iter(document))[:1] == "$":
            return {"$type": self.name, "fields": document}
        return document

    def read(self, document: Any, source: Reader) -> Any:
        """Return the value of a document written where the annotation was this class."""
        if type(document) is not dict or (document and next(iter(document))[:1] == "$"):
            if type(document) is dict and document.get("$type") == self.name:
                return self.read_tagged(document, source)  # also finds a class that is made inside a function
            return source.other(document)
        return self.build(document, source)

    def write_tagged(self, value: Any, out: Writer, known: bool = False) -> Any:
        """Return the document of *value* with the name of its class. *known*: an annotation leads to the class."""
        if not known and registry.find_class(self.name) is None:
            raise Unkept(
                value,
                "is of a class that cannot be found by its name, so that it could not be restored after a restart",
                "Define the class at the top level of a cell or module, or annotate with it.",
            )
        return {"$type": self.name, "fields": self.document(value, out)}

    def read_tagged(self, document: dict[str, Any], source: Reader) -> Any:
        """Return the value of a document that names its class."""
        fields = document["fields"]
        if type(fields) is not dict:
            raise Changed
        return self.build(fields, source)

    def _write_fields(self, value: Any, items: Iterable[tuple[str, Any]], out: Writer) -> dict[str, Any]:
        out.enter(value)
        document: dict[str, Any] = {}
        plans = self.fields
        absent = None
        name = ""
        try:
            for name, item in items:
                if item is _MISSING:
                    absent = [*(absent or ()), name]
                else:
                    document[name] = plans[name].write(item, out)
        except Unkept as error:
            error.inside(value, f".{name}")
            raise
        if absent:
            document["$absent"] = absent
        out.depth -= 1
        return document

    def _write_beside(self, value: Any, key: str, items: dict[str, Any], document: dict[str, Any], out: Writer) -> None:
        written = {}
        name = ""
        try:
            for name, item in items.items():
                written[name] = out.any(item)
        except Unkept as error:
            error.inside(value, f".{name}")
            raise
        if written:
            document[key] = written

    def _read_fields(self, document: dict[str, Any], source: Reader) -> dict[str, Any]:
        """Return the fields of *document* by name. A field that was added to the class since then has its default."""
        values: dict[str, Any] = {}
        for name, plan in self.fields.items():
            held = document.get(name, _MISSING)
            if held is not _MISSING:
                values[name] = plan.read(held, source)
            elif name not in document.get("$absent", ()):
                values[name] = self.default(name)
        return values

    def default(self, name: str) -> Any:
        """Return the default of field *name*. Raises Lost when it has none."""
        raise Lost(f"{self.cls.__qualname__} has a field {name!r} now, without a default, that was not recorded")


class _EnumPlan(ClassPlan):
    def document(self, value: Any, out: Writer) -> dict[str, Any]:
        name = value._name_
        if name is not None and self.cls.__dict__["_member_map_"].get(name) is value:
            return {"name": name}
        return {"value": out.any(value._value_)}  # several flags

    def write(self, value: Any, out: Writer) -> Any:
        if type(value) is not self.cls:
            return out.by_value(value)
        member: Any = value
        held = member._value_
        if type(held) in (str, int) and not out.careful and self._member(held) is value:
            return held
        return self.write_tagged(value, out, known=True)

    def _member(self, held: Any) -> enum.Enum | None:
        by_value: dict[Any, enum.Enum] = self.cls.__dict__["_value2member_map_"]
        found = by_value.get(held)
        return found if found is not None and type(found.value) is type(held) else None

    def read(self, document: Any, source: Reader) -> Any:
        if type(document) not in (str, int):
            if type(document) is dict and document.get("$type") == self.name:
                return self.read_tagged(document, source)
            return source.other(document)
        found = self._member(document)
        if found is None and issubclass(self.cls, enum.Flag) and type(document) is int:
            member: Any = self.cls
            return member(document)
        if found is None:
            raise Lost(f"{self.cls.__qualname__} has no member {document!r} any more")
        return found

    def write_tagged(self, value: Any, out: Writer, known: bool = False) -> Any:
        # `name` and `value` stand where other classes have `fields`
        return {"$type": super().write_tagged(value, out, known)["$type"], **self.document(value, out)}

    def read_tagged(self, document: dict[str, Any], source: Reader) -> Any:
        if "name" in document:
            found = self.cls.__dict__["_member_map_"].get(document["name"])
            if found is None:
                raise Lost(f"{self.cls.__qualname__} has no member {document['name']} any more")
            return found
        return self.cls(source.any(document["value"]))


class _NamedTuplePlan(ClassPlan):
    def annotations(self) -> dict[str, Any]:
        hints = hints_of(self.cls)
        names: tuple[str, ...] = getattr(self.cls, "_fields")  # noqa: B009 - pyright does not know it
        return {name: hints.get(name, Any) for name in names}

    def document(self, value: Any, out: Writer) -> dict[str, Any]:
        return self._write_fields(value, zip(self.fields, value, strict=True), out)

    def build(self, document: dict[str, Any], source: Reader) -> Any:
        return tuple.__new__(self.cls, self._read_fields(document, source).values())

    def default(self, name: str) -> Any:
        defaults: dict[str, Any] = getattr(self.cls, "_field_defaults", {})
        return defaults[name] if name in defaults else super().default(name)


class _DataPlan(ClassPlan):
    """Dataclasses and attrs classes."""

    def __init__(self, cls: type) -> None:
        super().__init__(cls)
        slots = {name for base in cls.__mro__ for name in _slots(base)}
        self._slotted = bool(slots)
        self._cached = {
            name
            for base in cls.__mro__
            for name, held in vars(base).items()
            if isinstance(held, functools.cached_property)
        }

    def annotations(self) -> dict[str, Any]:
        hints = hints_of(self.cls)
        if dataclasses.is_dataclass(self.cls):
            return {field.name: hints.get(field.name, Any) for field in dataclasses.fields(self.cls)}
        return {field.name: hints.get(field.name, Any) for field in vars(self.cls)["__attrs_attrs__"]}

    def document(self, value: Any, out: Writer) -> dict[str, Any]:
        names = self.fields
        document = self._write_fields(value, [(name, getattr(value, name, _MISSING)) for name in names], out)
        held = getattr(value, "__dict__", None)
        if held and not (names.keys() >= held.keys()):
            extra = {name: item for name, item in held.items() if name not in names and name not in self._cached}
            self._write_beside(value, "$extra", extra, document, out)
        return document

    def build(self, document: dict[str, Any], source: Reader) -> Any:
        values = self._read_fields(document, source)
        made: Any = object.__new__(self.cls)
        if "$extra" in document:
            values.update(source.any(document["$extra"]))
        if self._slotted:
            for name, item in values.items():
                _set(made, name, item)
        else:
            made.__dict__.update(values)
        return made

    def default(self, name: str) -> Any:
        if not dataclasses.is_dataclass(self.cls):
            return super().default(name)
        field = next(field for field in dataclasses.fields(self.cls) if field.name == name)
        if field.default is not dataclasses.MISSING:
            return field.default
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
        return super().default(name)


def _slots(cls: type) -> Iterable[str]:
    held = vars(cls).get("__slots__", ())
    return [held] if isinstance(held, str) else [name for name in held if name not in ("__weakref__", "__dict__")]


class _ModelPlan(ClassPlan):
    """pydantic models."""

    def annotations(self) -> dict[str, Any]:
        cls: Any = self.cls
        if not cls.__pydantic_complete__:
            cls.model_rebuild(raise_errors=False)
        return {name: field.annotation for name, field in cls.model_fields.items()}

    def document(self, value: Any, out: Writer) -> dict[str, Any]:
        held = value.__dict__
        names = self.fields
        document = self._write_fields(value, [(name, held.get(name, _MISSING)) for name in names], out)
        if len(value.__pydantic_fields_set__) < len(names):
            unset = [name for name in names if name not in value.__pydantic_fields_set__]
            if unset:
                document["$unset"] = unset
        if value.__pydantic_extra__:
            self._write_beside(value, "$extra", value.__pydantic_extra__, document, out)
        if value.__pydantic_private__:
            self._write_beside(value, "$private", self._private(value, out), document, out)
        return document

    def _private(self, value: Any, out: Writer) -> dict[str, Any]:
        """The private attributes to keep: all but those that cannot be kept and have a default to start from again."""
        kept = {}
        for name, item in value.__pydantic_private__.items():
            before = len(out.parts)
            fits, _ = out.attempt(item)
            del out.parts[before:]
            if fits or not self._has_private_default(name):
                kept[name] = item
        return kept

    def _has_private_default(self, name: str) -> bool:
        declared = getattr(self.cls, "__private_attributes__", {}).get(name)
        return declared is not None and repr(declared.get_default()) != "PydanticUndefined"

    def build(self, document: dict[str, Any], source: Reader) -> Any:
        cls: Any = self.cls
        made = cls.__new__(cls)
        values = self._read_fields(document, source)
        _set(made, "__dict__", values)
        names = set(values)
        extra = document.get("$extra")
        if extra is not None:
            extra = source.any(extra)
            names.update(extra)
        elif cls.model_config.get("extra") == "allow":
            extra = {}
        if "$unset" in document:
            names.difference_update(document["$unset"])
        _set(made, "__pydantic_fields_set__", names)
        _set(made, "__pydantic_extra__", extra)
        _set(made, "__pydantic_private__", self._read_private(document, source) if cls.__private_attributes__ else None)
        return made

    def _read_private(self, document: dict[str, Any], source: Reader) -> dict[str, Any]:
        cls: Any = self.cls
        kept = source.any(document.get("$private", {}))
        for name, declared in cls.__private_attributes__.items():
            if name not in kept:
                default = declared.get_default()
                if repr(default) != "PydanticUndefined":
                    kept[name] = default
        return {name: item for name, item in kept.items() if name in cls.__private_attributes__}

    def default(self, name: str) -> Any:
        cls: Any = self.cls
        field = cls.model_fields[name]
        if field.is_required():
            return super().default(name)
        try:
            return field.get_default(call_default_factory=True)
        except (TypeError, ValueError):
            raise Changed from None  # a default made of other fields: pydantic's own validation does that


_plans: Final[dict[type, ClassPlan | None]] = {}


def class_plan(cls: type) -> ClassPlan | None:
    """Return the plan of *cls*, or None when it is not a class that is data."""
    found = _plans.get(cls, _MISSING)
    if found is _MISSING:
        kind = _kind(cls)
        found = None if kind is None else kind(cls)
        if len(_plans) > _ENOUGH:
            _plans.clear()
        _plans[cls] = found
    return found  # type: ignore[return-value]


def _kind(cls: type) -> Callable[[type], ClassPlan] | None:
    if issubclass(cls, enum.Enum):
        return _EnumPlan
    if registry.is_model(cls):
        return _ModelPlan
    if registry.is_named_tuple(cls):
        return _NamedTuplePlan
    if dataclasses.is_dataclass(cls) or "__attrs_attrs__" in vars(cls):
        # one that is also a dict, or an exception, has more to it than its fields
        try:
            object.__new__(cls)
        except TypeError:
            return None
        return _DataPlan
    return None
