"""One parameter, or the result, of a user's function: how its annotation checks values.

Pydantic checks what it knows; of everything else (a data frame, a class of the user's) a value must be an instance. Values
that already have exactly the annotated plain type never get that far.
"""

from __future__ import annotations

import functools
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.payloads.codec import ANY

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Field", "Misfit", "same_value", "short"]

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


class Misfit(Exception):
    """A value does not fit an annotation. The message says what was expected and why, in a few words."""


def short(value: object, limit: int = 60) -> str:
    """Return ``repr(value)``, shortened; never an error."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        return f"<{type(value).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def same_value(value: Any, default: Any) -> bool:
    """Return whether *value* says the same as *default*: the same type, the same content."""
    if value is default:
        return True
    kind = type(value)
    if kind is not type(default):
        return False
    if kind in _SCALARS:
        return bool(value == default) and (kind is not float or repr(value) == repr(default))
    from romancy_nb.errors import NotJournalable
    from romancy_nb.payloads.codec import canonical_digest

    try:
        return canonical_digest(value) == canonical_digest(default)
    except NotJournalable:
        return False


@dataclass(slots=True)
class Field:
    """A parameter.

    Attributes:
        name: of the parameter.
        annotation: as it was resolved; ANY without one. Of ``*args`` it is a tuple's, of ``**kwargs`` a dict's.
        secret: by its name or its annotation: never journaled (D5).
        keywords: it is ``**kwargs``.
        free: nothing to check.
        exact: the plain type that needs no check, or None.
    """

    name: str
    annotation: Any
    secret: bool = False
    keywords: bool = False
    free: bool = field(init=False)
    exact: type | None = field(init=False)
    _check: Callable[[Any], Any] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.free = self.annotation is ANY or self.annotation is Any or self.annotation is object
        plain = type(None) if self.annotation is None else self.annotation
        self.exact = plain if isinstance(plain, type) and plain in _SCALARS else None

    def check(self, value: Any) -> Any:
        """Return *value* as the annotation has it.

        Raises:
            Misfit: it does not fit.
        """
        if self.free or type(value) is self.exact:
            return value
        if self._check is None:
            self._check = _checker(self.annotation)
        return self._check(value)


def _checker(annotation: Any) -> Callable[[Any], Any]:
    """Build the check of an annotation, by pydantic where it can."""
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError

    adapter: TypeAdapter[Any]
    try:
        try:
            adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
        except PydanticSchemaGenerationError:
            raise
        except PydanticUserError:  # models and dataclasses bring their own config
            adapter = TypeAdapter(annotation)
    except Exception:  # pydantic does not know the annotation; what it raises then differs between versions
        return functools.partial(_check_instance, annotation)
    return functools.partial(_check_by_pydantic, annotation, adapter.validate_python)


def _check_by_pydantic(annotation: Any, validate: Callable[[Any], Any], value: Any) -> Any:
    from pydantic import ValidationError

    try:
        return validate(value)
    except ValidationError as error:
        raise Misfit(_why(annotation, value, error)) from None
    except (TypeError, NotImplementedError):  # an isinstance check that the class does not support
        return value


def _check_instance(annotation: Any, value: Any) -> Any:
    kind = typing.get_origin(annotation) or annotation
    try:
        fits = not isinstance(kind, type) or isinstance(value, kind)
    except TypeError:
        return value
    if not fits:
        raise Misfit(f"{spelled(annotation)} is expected{_redefined(kind, value)}")
    return value


def _why(annotation: Any, value: Any, error: Any) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"])
    message = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
    at = f" (at {where}: {message})" if where else f" ({message})"
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{spelled(annotation)} is expected{at}{more}{_redefined(annotation, value)}"


def _redefined(annotation: Any, value: Any) -> str:
    """The notebook's own trap: the class was run again, the function was not."""
    if not isinstance(annotation, type) or isinstance(value, annotation):
        return ""
    if (type(value).__qualname__, type(value).__module__) != (annotation.__qualname__, annotation.__module__):
        return ""
    return f". {annotation.__name__} was defined again since: run the cell of this function again, too"


def spelled(annotation: Any) -> str:
    """Return an annotation as a person writes it."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "").replace("__main__.", "")
