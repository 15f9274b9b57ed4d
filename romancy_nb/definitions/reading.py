"""Finds what a function reads: its syntax, and on from there through helpers, classes, closures and values.

Breadth first and in sorted order, so that the names of the pieces come out the same every time.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import re
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from romancy_nb.definitions.bodies import BodyNames
from romancy_nb.definitions.classes import facts_of, spell
from romancy_nb.definitions.fingerprint import OWN_CODE
from romancy_nb.definitions.sources import definition_of, is_users_class, is_users_file
from romancy_nb.definitions.syntax import Uses, outside_names, serialise, uses_of
from romancy_nb.definitions.watch import MISSING, Check, Look, digest_of, is_fixed, same_check, unchanged_check

__all__ = ["read", "read_body"]

_OUR_DECORATORS = frozenset({"activity", "compensation", "workflow"})
_SHELL = re.compile(r"In|Out|get_ipython|exit|quit|_+|_i+|_[iod]h|_i?\d+")
"""IPython's own variables are nobody's input."""
_DEEPEST = 3
"""How far into containers of functions to look."""


def read(function: Any) -> tuple[str, dict[str, str], tuple[str, ...], list[Check]]:
    """Return the digest of what *function* reads, its pieces, what is not watched, and checks that it is all the same.

    Args:
        function: a function, perhaps in a wrapper.
    """
    return _Walk().read(_plain_function(function))


def read_body(
    digest: str, names: BodyNames, namespace: dict[str, Any], instead: dict[str, Any], own: Iterable[str]
) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """Return the same of a cell's body: digest, pieces, and what is not watched.

    Args:
        digest: of its statements.
        names: what it reads and changes.
        namespace: the notebook's.
        instead: values that stand in for the namespace's, by name; MISSING: as if it were not defined.
        own: names that are the call's own inputs: they tell instances apart, and are no part of the code.
    """
    return _Walk().read_body(digest, names, namespace, instead, frozenset(own))


def _plain_function(value: Any) -> Any:
    """What is inside our wrappers and bound methods."""
    for _ in range(100):
        if type(value) is types.FunctionType:
            return value
        inner = _static(value, "__romancy_function__")
        if inner is MISSING and isinstance(value, types.MethodType):
            inner = value.__func__
        if inner is MISSING:
            return value
        value = inner
    return value


def _static(value: Any, name: str) -> Any:
    """An attribute that is really there: clients and mocks make up attributes when asked."""
    return inspect.getattr_static(value, name, MISSING)


# -- one code object ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Syntax:
    digest: str
    uses: Uses


_syntaxes: dict[int, tuple[types.CodeType, _Syntax]] = {}
"""By id of the code object: two equal ones may differ in annotations."""


def _syntax_of(function: types.FunctionType) -> _Syntax:
    code = function.__code__
    known = _syntaxes.get(id(code))
    if known is None or known[0] is not code:
        if len(_syntaxes) >= 4096:
            _syntaxes.clear()
        known = _syntaxes[id(code)] = (code, _read_syntax(function))
    return known[1]


def _read_syntax(function: types.FunctionType) -> _Syntax:
    code, namespace = function.__code__, function.__globals__
    outside = outside_names(code)
    node = definition_of(code, namespace)
    if node is None:
        return _Syntax(_code_digest(code), Uses(tuple((name,) for name in sorted(outside)), frozenset()))
    skip = functools.partial(_is_our_decorator, namespace=namespace)
    return _Syntax(serialise(node, skip), uses_of(node, outside, skip))


def _is_our_decorator(decorator: Any, namespace: dict[str, Any]) -> bool:
    """``@rn.activity(retry=3)`` sets options; it is not code."""
    target = getattr(decorator, "func", decorator)
    if getattr(target, "attr", getattr(target, "id", "")) in _OUR_DECORATORS:
        return True
    found = namespace.get(getattr(target, "id", ""))
    return str(getattr(found, "__module__", "")).startswith("romancy_nb.")


def _code_digest(code: types.CodeType) -> str:
    """Of code without source. It holds on one Python version only, and says so."""
    out = [f"code {sys.version_info[0]}.{sys.version_info[1]}"]
    pending = [code]
    while pending:
        current = pending.pop()
        constants = [each for each in current.co_consts if not isinstance(each, types.CodeType)]
        plain = [sorted(map(repr, each)) if isinstance(each, frozenset) else repr(each) for each in constants]
        out.append(repr((current.co_code.hex(), current.co_names, current.co_varnames, current.co_freevars, plain)))
        pending.extend(each for each in current.co_consts if isinstance(each, types.CodeType))
    return _hash("\n".join(out))


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


# -- the walk ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Value:
    """A value that was found; it is digested when all functions are known, because one of them may write it."""

    key: str
    owner: str
    value: Any
    place: tuple[int, str]
    look: Look
    depth: int


class _Walk:
    """One look at everything that a function reads, breadth first and in sorted order."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self._reads: dict[str, str] = {}
        self._unwatched: set[str] = set()
        self._taken: dict[str, tuple[int, str]] = {}
        self._seen: dict[int, Any] = {}
        self._pending: deque[Callable[[], None]] = deque()
        self._values: deque[_Value] = deque()
        self._done: set[tuple[int, str]] = set()
        self._written: set[tuple[int, str]] = set()
        self._written_ids: set[int] = set()

    def read(self, function: Any) -> tuple[str, dict[str, str], tuple[str, ...], list[Check]]:
        self._function(function, "", OWN_CODE)
        return *self._all(), self.checks

    def read_body(
        self,
        digest: str,
        names: BodyNames,
        namespace: dict[str, Any],
        instead: dict[str, Any],
        own: frozenset[str],
    ) -> tuple[str, dict[str, str], tuple[str, ...]]:
        self._read(self._key(OWN_CODE, "", (0, "")), digest)
        for name in sorted(names.written):
            self._note_written(name, {}, namespace)
            self._written.add((0, name))
        for chain in names.reads:
            root = chain[0]
            if root in own:
                continue
            if root in instead and instead[root] is MISSING:
                self._read(self._key(root, "", (0, root)), "undefined")
            elif root in instead:
                self._take(root, "", instead[root], (0, root))
            else:
                self._global(chain, namespace, "")
        return self._all()

    def _all(self) -> tuple[str, dict[str, str], tuple[str, ...]]:
        """Look at everything that was found until there is nothing new."""
        while self._pending or self._values:
            while self._pending:
                self._pending.popleft()()
            if self._values:
                self._digest(self._values.popleft())
        text = "\n".join(f"{name}\t{digest}" for name, digest in sorted(self._reads.items()))
        return _hash(text), self._reads, tuple(sorted(self._unwatched))

    def _key(self, text: str, owner: str, place: tuple[int, str]) -> str:
        """A name for a piece: as it is written, with its reader where two different things are written alike."""
        known = self._taken.setdefault(text, place)
        if known == place or not owner:
            return text
        return self._key(f"{text} in {owner}", "", place)

    def _read(self, key: str, digest: str) -> None:
        self._reads[key] = digest if key not in self._reads else _hash(self._reads[key] + digest)

    # -- functions -----------------------------------------------------------------------------------------------------

    def _function(self, function: Any, owner: str, key: str) -> None:
        """Look at *function*; *owner* is how the pieces that it reads are told from others of the same name."""
        if id(function) in self._seen:
            return
        self._seen[id(function)] = function
        if isinstance(function, types.FunctionType) and is_users_file(function.__code__.co_filename):
            self._users_function(function, owner, self._key(key, owner, (id(function), "")))
            return
        wrapped = _plain_function(_static(function, "__wrapped__"))
        if isinstance(wrapped, types.FunctionType):
            self._function(wrapped, owner, key)
            return
        if isinstance(function, types.FunctionType):  # a library's wrapper
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
                if isinstance(_plain_function(_contents(cell)), types.FunctionType):
                    self._cell(name, cell, owner)
        if key == OWN_CODE:
            name = getattr(function, "__qualname__", type(function).__qualname__)
            self._read(key, _hash(f"{getattr(function, '__module__', '')}.{name}"))

    def _users_function(self, function: types.FunctionType, owner: str, key: str) -> None:
        syntax = _syntax_of(function)
        code, defaults, keyword_defaults = function.__code__, function.__defaults__, function.__kwdefaults__
        self._read(key, syntax.digest)
        self.checks.append(
            lambda: (
                function.__code__ is code
                and function.__defaults__ is defaults
                and function.__kwdefaults__ is keyword_defaults
            )
        )
        label = "" if key == OWN_CODE else key
        names = code.co_varnames[: code.co_argcount]
        found = dict(zip(names[len(names) - len(defaults or ()) :], defaults or (), strict=True))
        for name, value in {**found, **(keyword_defaults or {})}.items():
            text = f"default of {name}" + (f" in {label}" if label else "")
            self._take(text, label, value, (id(function), name))
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        for name in sorted(syntax.uses.written):
            self._note_written(name, cells, function.__globals__)
        for chain in syntax.uses.chains:
            if chain[0] in cells:
                self._cell(chain[0], cells[chain[0]], label)
            else:
                self._global(chain, function.__globals__, label)

    def _note_written(self, name: str, cells: dict[str, types.CellType], namespace: dict[str, Any]) -> None:
        value = _contents(cells[name]) if name in cells else namespace.get(name, MISSING)
        self._written.add((id(cells[name]), "") if name in cells else (id(namespace), name))
        if not is_fixed(value):
            self._written_ids.add(id(value))

    def _cell(self, name: str, cell: types.CellType, owner: str) -> None:
        value = _contents(cell)
        if name != "__class__" and value is not MISSING:
            self._take(name, owner, value, (id(cell), ""), functools.partial(_contents, cell))

    def _global(self, chain: tuple[str, ...], namespace: dict[str, Any], owner: str) -> None:
        """Follow a global name, through the user's modules where it is written with dots."""
        for depth, name in enumerate(chain, 1):
            if name.startswith("__") or (_SHELL.fullmatch(name) and "get_ipython" in namespace):
                return
            text = ".".join(chain[:depth])
            look = functools.partial(namespace.get, name, MISSING)
            value = look()
            if value is MISSING:
                self.checks.append(same_check(look, MISSING))
                if depth > 1 or not hasattr(builtins, name):
                    self._read(self._key(text, owner, (id(namespace), name)), "undefined")
                return
            if not isinstance(value, types.ModuleType):
                self._take(text, owner, value, (id(namespace), name), look)
                return
            self.checks.append(same_check(look, value))
            file = getattr(value, "__file__", None)
            if not isinstance(file, str) or not is_users_file(file):
                return
            namespace = value.__dict__

    # -- whatever a name stands for ------------------------------------------------------------------------------------

    def _take(
        self, text: str, owner: str, value: Any, place: tuple[int, str], look: Look | None = None, *, depth: int = 0
    ) -> None:
        """See to *value*, which the code calls *text*; *look* gets what stands there now, unless that cannot change."""
        plain = _plain_function(value)
        is_code = isinstance(plain, (type, functools.partial, types.ModuleType)) or _is_function(plain)
        if not is_code or _is_alias(plain):
            self._values.append(_Value(text, owner, value, place, look or (lambda: value), depth))
            return
        if look is not None:
            self.checks.append(same_check(look, value))
        if isinstance(plain, type):
            if is_users_class(plain):
                self._pending.append(functools.partial(self._class, plain, owner))
        elif isinstance(plain, functools.partial):
            self._take(text, owner, plain.func, (id(plain.func), ""))
            for name, each in [*((str(i), each) for i, each in enumerate(plain.args)), *sorted(plain.keywords.items())]:
                self._take(f"{name} of {text}", owner, each, (id(plain), name))
        elif not isinstance(plain, types.ModuleType):
            self._pending.append(functools.partial(self._function, plain, owner, f"{text}()"))
            if isinstance(value, types.MethodType) and is_users_class(type(value.__self__)):
                self._take(f"{text}.__self__", owner, value.__self__, (id(value.__self__), ""))

    def _class(self, cls: type, owner: str) -> None:
        if id(cls) in self._seen:
            return
        self._seen[id(cls)] = cls
        name = cls.__qualname__.rsplit(".", 1)[-1]
        key = self._key(f"class {name}", owner, (id(cls), ""))
        label = key.removeprefix("class ")
        facts = facts_of(cls)
        self._read(key, _hash("\n".join(facts.outline)))
        for each in facts.classes:
            self._pending.append(functools.partial(self._class, each, owner))
        for method, function in facts.functions.items():
            self._take(f"{label}.{method}", owner, function, (id(function), ""))
        for attribute, value in facts.values.items():
            self._take(f"{label}.{attribute}", owner, value, (id(cls), attribute))

    # -- values --------------------------------------------------------------------------------------------------------

    def _digest(self, found: _Value) -> None:
        """Digest a value, or look into it, or list it as unwatched."""
        if found.place in self._done:
            return
        self._done.add(found.place)
        value = found.value
        key = self._key(found.key, found.owner, found.place)
        if is_users_class(type(value)):
            self._pending.append(functools.partial(self._class, type(value), found.owner))
        if found.place in self._written or id(value) in self._written_ids:
            self._unwatched.add(key)
            return
        if _is_alias(value):
            self.checks.append(same_check(found.look, value))
            classes: list[type] = []
            self._read(key, _hash(spell(value, classes)))
            for each in classes:
                self._pending.append(functools.partial(self._class, each, found.owner))
            return
        digest = digest_of(found.key, value)
        if digest.text is not None:
            self._read(key, digest.text)
        elif items := _items(value) if found.depth < _DEEPEST else []:
            self._read(key, _hash(f"{type(value).__name__} {[name for name, _ in items]!r}"))
            for name, part in items:
                self._take(f"{key}[{name}]", found.owner, part, (id(value), name), depth=found.depth + 1)
            self.checks.append(lambda: _same_items(_items(found.look()), items))
            return
        else:
            self._unwatched.add(f"{key}{digest.remark}")
        self.checks.append(unchanged_check(found.look, value, found.key, digest))


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def _is_function(value: Any) -> bool:
    """A function, also one in C or a ufunc: callable and known by name. A callable client or model has none."""
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.MethodWrapperType)):
        return True
    if not callable(value) or is_users_class(type(value)):
        return False
    return _static(value, "__wrapped__") is not MISSING or _static(value, "__name__") is not MISSING


def _is_alias(value: Any) -> bool:
    """Type aliases and type variables: ``Mode = Literal["a", "b"]``."""
    if isinstance(value, type):
        return False
    return isinstance(value, (types.GenericAlias, types.UnionType)) or type(value).__module__ == "typing"


def _items(value: Any) -> list[tuple[str, Any]]:
    """The items of a small container, such as a table of functions."""
    if type(value) in (list, tuple) and len(value) <= 1000:
        return [(str(i), each) for i, each in enumerate(value)]
    if type(value) is dict and len(value) <= 1000 and all(isinstance(key, (str, int)) for key in value):
        return [(repr(key), each) for key, each in value.items()]
    return []


def _same_items(found: list[tuple[str, Any]], expected: list[tuple[str, Any]]) -> bool:
    return len(found) == len(expected) and all(
        mine[0] == theirs[0] and mine[1] is theirs[1] for mine, theirs in zip(found, expected, strict=True)
    )
