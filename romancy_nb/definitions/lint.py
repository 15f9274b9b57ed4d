"""What workflow code should not ask the world for itself: time, chance, a pause. Found in its syntax tree when it is defined.

Only what is certain is named: a call counts when the names in it mean, at this moment, the very function that is meant here.
A name that the function binds itself is looked at only when it is bound by an import.
"""

from __future__ import annotations

import ast
import datetime
import random
import sys
import time
import uuid
from collections.abc import Iterator
from types import CellType, FunctionType, ModuleType
from typing import Any, Final

from romancy_nb.definitions.helpers import side_effect
from romancy_nb.definitions.sources import definition_of

__all__ = ["note_of", "note_of_body"]

_Code = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module
_UNKNOWN: Final = object()
_CLOCK, _CHANCE, _UUID = "rn.now()", "rn.random()", "rn.uuid4()"
_MEANT: Final[list[tuple[Any, str]]] = [
    *(
        (getattr(time, name), _CLOCK)
        for name in ("time", "time_ns", "monotonic", "perf_counter", "localtime", "gmtime")
    ),
    (uuid.uuid1, _UUID),
    (uuid.uuid4, _UUID),
]
_NOW: Final = frozenset({"now", "utcnow", "today"})
_NO_CHANCE: Final = frozenset({"seed", "getstate", "setstate"})


def note_of(name: str, function: Any) -> str | None:
    """Return one line on what *function*, a workflow's, should ask ``rn`` for; None: nothing, or its source is not known.

    >>> def flow():
    ...     return time.time()
    >>> note_of("flow", flow)  # doctest: +SKIP
    'note: flow calls time.time() (line 2, write rn.now()). Workflow code runs again on every replay; ...'
    """
    if not isinstance(function, FunctionType):
        return None
    tree = definition_of(function.__code__, function.__globals__)
    if tree is None or isinstance(tree, ast.Lambda):
        return None
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    outer = {name: _contents(cell) for name, cell in cells}
    is_async = isinstance(tree, ast.AsyncFunctionDef)
    return _note(name, tree, _Scope({**function.__globals__, **outer}, is_async))


def note_of_body(name: str, tree: ast.Module, namespace: dict[str, Any], *, is_async: bool) -> str | None:
    """Return the same for a cell whose body is the workflow, in the notebook's *namespace*."""
    return _note(name, tree, _Scope(namespace, is_async))


def _note(name: str, tree: _Code, scope: _Scope) -> str | None:
    found = list(dict.fromkeys(_calls(tree, scope)))
    if not found:
        return None
    shown = ", ".join(f"{text}() (line {line}, write {instead})" for text, line, instead in found[:4])
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return (
        f"note: {name} calls {shown}{more}. Workflow code runs again on every replay; what the functions of rn answer is "
        "recorded, and so is what an activity returns."
    )


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _UNKNOWN


class _Scope:
    """What names mean in a piece of code."""

    def __init__(self, outside: dict[str, Any], is_async: bool) -> None:
        self.outside = outside
        self.is_async = is_async
        self.bound: dict[str, Any] = {}

    def meaning(self, node: ast.expr) -> Any:
        """Return the object that *node*, a name or a chain of attributes of modules and classes, stands for."""
        if isinstance(node, ast.Name):
            return self.bound.get(node.id, self.outside.get(node.id, _UNKNOWN))
        if isinstance(node, ast.Attribute):
            owner = self.meaning(node.value)
            if isinstance(owner, ModuleType | type):
                return getattr(owner, node.attr, _UNKNOWN)
        return _UNKNOWN


def _calls(tree: _Code, scope: _Scope) -> Iterator[tuple[str, int, str]]:
    for node in ast.walk(tree):
        scope.bound.update(_bindings(node))
    yield from _within(tree.body, scope)


def _within(nodes: list[Any], scope: _Scope) -> Iterator[tuple[str, int, str]]:
    for node in nodes:
        if isinstance(node, ast.Call):
            if _is_recorded(scope.meaning(node.func)):
                continue  # what is in there is recorded
            instead = _instead(scope.meaning(node.func), scope.is_async)
            if instead is not None:
                yield ast.unparse(node.func), node.lineno, instead
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list:
            continue  # an activity, as like as not
        yield from _within(list(ast.iter_child_nodes(node)), scope)


def _bindings(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Names that *node* binds, wherever in the function: an import to what it brings, all else to something unknown."""
    match node:
        case ast.Name(ctx=ast.Store() | ast.Del()):
            yield node.id, _UNKNOWN
        case ast.arg():
            yield node.arg, _UNKNOWN
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, _UNKNOWN
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name, _UNKNOWN
        case ast.Import():
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield alias.asname or top, sys.modules.get(alias.name if alias.asname else top, _UNKNOWN)
        case ast.ImportFrom(level=0, module=str(module)):
            for alias in node.names:
                yield alias.asname or alias.name, getattr(sys.modules.get(module), alias.name, _UNKNOWN)


def _instead(meant: Any, is_async: bool) -> str | None:
    if meant is _UNKNOWN:
        return None
    if meant is time.sleep:
        return "await asyncio.sleep(...)" if is_async else "rn.sleep(...)"
    for each, instead in _MEANT:
        if meant is each:
            return instead
    owner, name = getattr(meant, "__self__", None), getattr(meant, "__name__", "")
    if isinstance(owner, type) and issubclass(owner, datetime.date) and name in _NOW:
        return _CLOCK
    if owner is getattr(random, "_inst", _UNKNOWN) and name not in _NO_CHANCE:
        return _CHANCE
    return None


def _is_recorded(meant: Any) -> bool:
    return meant is side_effect
