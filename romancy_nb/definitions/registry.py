"""What is defined in this process, by name.

Notebooks redefine all day: the latest definition of a name is the one that counts. That two *different* modules define
the same name is remembered, because journals know names only and a person may want to be told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from romancy_nb.errors import DefinitionError

__all__ = [
    "Kind",
    "answers_to",
    "defined_in",
    "find",
    "listeners",
    "makers",
    "name_of",
    "names",
    "register",
    "take_redefined",
]

Kind = Literal["activity", "workflow", "compensation"]

listeners: list[Callable[[Kind, str, Any], object]] = []
"""Who is told of each definition, as soon as it is made."""

makers: list[Callable[[str], Any | None]] = []
"""Make a workflow that nobody wrote of its name: that of a map, where its activity is defined."""

_defined: dict[tuple[str, str], dict[str, Any]] = {}
"""(kind, name) -> module -> definition; the latest is the last."""
_redefined: dict[str, None] = {}
_MOST: Final = 100  # where nobody asks


def register(kind: Kind, name: str, definition: Any) -> None:
    """Make *definition* the one that *name* stands for."""
    found = _defined.setdefault((kind, name), {})
    if found and kind == "workflow" and len(_redefined) < _MOST:
        _redefined[name] = None
    module = str(getattr(definition, "__module__", "") or "")
    found.pop(module, None)
    found[module] = definition
    for tell in listeners:
        tell(kind, name, definition)


def take_redefined(name: str | None = None) -> list[str]:
    """Return the names of workflows that were defined again since this was last asked; with *name*, forget it of that one."""
    found = list(_redefined) if name is None else [name]
    for each in found:
        _redefined.pop(each, None)
    return found


def find(kind: Kind, name: str, module: str = "") -> Any | None:
    """Return the latest definition of *name*, or None. Where several modules have one, that of *module* goes first."""
    found = _defined.get((kind, name))
    if found and module in found:
        return found[module]
    if not found and kind == "workflow":
        return next((made for make in makers if (made := make(name)) is not None), None)
    return next(reversed(found.values())) if found else None


def answers_to(name: str, asked: str) -> bool:
    """Does the definition *name* answer to what a person calls it: its whole name, or the last part of it?

    Example:
        >>> answers_to("trips.book", "book"), answers_to("trips.book", "trips")
        (True, False)
    """
    return asked in {name, name.rpartition(".")[2]}


def names(kind: Kind) -> list[str]:
    """Return the names that are defined, sorted."""
    return sorted(name for known, name in _defined if known == kind)


def defined_in(kind: Kind, name: str) -> tuple[str, ...]:
    """Return the modules that define *name*, the latest last. More than one is worth a word to the user."""
    return tuple(_defined.get((kind, name), ()))


def name_of(function: Any) -> str:
    """Return the name that *function* gets unless the user gives one.

    Raises:
        DefinitionError: it has none (a lambda).

    Example:
        >>> name_of(name_of)
        'name_of'
    """
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    if not isinstance(name, str):
        raise DefinitionError(
            f"A {type(function).__name__} has no name, and a journal knows things by name. "
            "Put it into a `def`, or give name=."
        )
    if "<lambda>" in name:
        raise DefinitionError(
            "A lambda has no name, and a journal knows things by name. Make it a `def`, or give name=."
        )
    return name.replace("<locals>.", "")
