"""A definition as bytes that say what it does and nothing else; and which outside names it uses.

``ast.dump`` prints what a Python version happens to have in its nodes. This serialisation is equal on all versions:
fields that are empty are left out, so one that a version adds does not show; f-strings are brought to one form (3.12
reads them with another parser). Comments and layout are not in the tree; strings that stand alone, docstrings among
them, are comments too.
"""

from __future__ import annotations

import ast
import dis
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from types import CodeType

__all__ = [
    "Definition",
    "Uses",
    "chains_of",
    "outside_names",
    "serialise",
    "serialise_statements",
    "uses_of",
    "written_roots",
]

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_UNSPOKEN = frozenset({"type_comment", "type_ignores", "ctx", "kind", "simple"})
"""Fields that do not change what code does."""

_MUTATORS = frozenset(
    {
        *("add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft", "insert"),
        *("intersection_update", "pop", "popitem", "popleft", "remove", "reverse", "rotate", "setdefault", "sort"),
        *("subtract", "symmetric_difference_update", "update", "write", "writelines"),
    }
)

_fields: dict[type[ast.AST], tuple[str, ...]] = {}


def serialise(node: Definition, skip: Callable[[ast.expr], bool]) -> str:
    """Return the digest of what *node* does: 32 hexadecimal digits. Its own name does not count.

    Args:
        node: a function or lambda.
        skip: tells of a decorator of *node* that it is none of its code (our own).
    """
    out: list[bytes] = [b"async " if isinstance(node, ast.AsyncFunctionDef) else b"def "]
    if not isinstance(node, ast.Lambda):
        _write([each for each in node.decorator_list if not skip(each)], out)
        _write(node.returns, out)
        _write(getattr(node, "type_params", []), out)
    _write(node.args, out)
    _write(node.body if isinstance(node, ast.Lambda) else _statements(node.body), out)
    return blake2b(b"".join(out), digest_size=16).hexdigest()


def serialise_statements(body: list[ast.stmt]) -> bytes:
    """Return what the statements of a module do, as bytes that are equal on all Python versions."""
    out: list[bytes] = []
    _write(_statements(body), out)
    return b"".join(out)


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements without strings that stand alone."""
    return [each for each in body if not (isinstance(each, ast.Expr) and _is_text(each.value))] or [ast.Pass()]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _write(value: object, out: list[bytes]) -> None:
    if isinstance(value, ast.Constant):
        _write_constant(value.value, out)
    elif isinstance(value, ast.JoinedStr):
        _write_fstring(value, out)
    elif isinstance(value, ast.AST):
        _write_node(value, out)
    elif isinstance(value, list):
        out.append(b"[%d " % len(value))
        for each in value:
            _write(each, out)
        out.append(b"]")
    else:
        _write_constant(value, out)


def _write_node(node: ast.AST, out: list[bytes]) -> None:
    kind = type(node)
    names = _fields.get(kind)
    if names is None:
        names = _fields[kind] = tuple(sorted(name for name in node._fields if name not in _UNSPOKEN))
    out.append(kind.__name__.encode() + b"(")
    for name in names:
        value = getattr(node, name, None)
        if value is None or value == []:
            continue
        if name == "body" and isinstance(value, list):
            value = _statements(value)
        elif name == "format_spec" and isinstance(value, ast.JoinedStr) and not _fstring_parts(value):
            continue
        out.append(name.encode() + b"=")
        _write(value, out)
    out.append(b")")


def _write_constant(value: object, out: list[bytes]) -> None:
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        out.append(b"s%d:" % len(text) + text)
    elif isinstance(value, bytes):
        out.append(b"b%d:" % len(value) + value)
    elif isinstance(value, int) and not isinstance(value, bool):
        out.append(b"i%x;" % value)  # hexadecimal: decimal has a limit on digits
    else:
        out.append(f"{type(value).__name__} {value!r};".encode())


def _write_fstring(node: ast.JoinedStr, out: list[bytes]) -> None:
    parts = _fstring_parts(node)
    if all(isinstance(each, str) for each in parts):
        _write_constant("".join(each for each in parts if isinstance(each, str)), out)
        return
    out.append(b"f[")
    for each in parts:
        _write(each, out)
    out.append(b"]")


def _fstring_parts(node: ast.JoinedStr) -> list[ast.expr | str]:
    """The pieces of an f-string with neighbouring texts joined and empty ones dropped."""
    parts: list[ast.expr | str] = []
    for value in node.values:
        pieces: list[ast.expr | str] = [value]
        if isinstance(value, ast.JoinedStr):
            pieces = _fstring_parts(value)
        elif isinstance(value, ast.Constant):
            pieces = [str(value.value)] if value.value else []
        for piece in pieces:
            if isinstance(piece, str) and parts and isinstance(parts[-1], str):
                parts[-1] += piece
            else:
                parts.append(piece)
    return parts


# -- names -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Uses:
    """The outside names of a definition.

    Attributes:
        chains: each as it is written: ``("PROMPT",)``, ``("helpers", "clean")``; sorted.
        written: roots that the code changes itself: it declares them ``global``, assigns to their items or attributes,
            or calls ``append`` and the like. Such a value is the code's own state, nothing that it depends on.
    """

    chains: tuple[tuple[str, ...], ...]
    written: frozenset[str]


def uses_of(node: Definition, outside: set[str], skip: Callable[[ast.expr], bool]) -> Uses:
    """Return which names from outside *node* uses, nested functions, annotations and decorators included.

    Args:
        node: a function or lambda.
        outside: ``outside_names`` of its code, which knows scopes.
        skip: tells of a decorator of *node* that it is our own.
    """
    around = list(_around(node, skip))
    chains: set[tuple[str, ...]] = set()
    body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
    for tree in body:
        chains.update(chain for chain in chains_of(tree) if chain[0] in outside)
    for tree in around:
        chains.update(chains_of(tree))
    written = {root for tree in body for root in written_roots(tree)}
    return Uses(tuple(sorted(chains)), frozenset(written & outside))


def _around(node: Definition, skip: Callable[[ast.expr], bool]) -> Iterator[ast.AST]:
    """What is evaluated where the function is defined and tells what it works with; defaults are watched as values."""
    if isinstance(node, ast.Lambda):
        return
    yield from (each for each in node.decorator_list if not skip(each))
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    for annotation in [*(each.annotation for each in arguments if each is not None), node.returns]:
        if annotation is not None:
            yield annotation
            yield from _quoted(annotation)


def _quoted(annotation: ast.expr) -> Iterator[ast.AST]:
    """Annotations in quotes, as in ``"Order"`` and ``list["Order"]``."""
    for each in ast.walk(annotation):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            try:
                yield ast.parse(each.value, mode="eval").body
            except (SyntaxError, ValueError):
                continue


def outside_names(code: CodeType) -> set[str]:
    """Return the names that *code* and the functions in it look for outside: globals and an enclosing function's."""
    found = set(code.co_freevars)
    pending = [code]
    while pending:
        current = pending.pop()
        for step in dis.get_instructions(current):
            if "GLOBAL" in step.opname or step.opname == "LOAD_NAME":
                found.add(str(step.argval))
        pending.extend(each for each in current.co_consts if isinstance(each, CodeType))
    return found


def chains_of(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Every name with the attributes that are read from it, the longest form of each."""
    if isinstance(tree, ast.Attribute):
        names: list[str] = []
        inner: ast.expr = tree
        while isinstance(inner, ast.Attribute):
            names.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield (inner.id, *reversed(names))
        else:
            yield from chains_of(inner)
        return
    if isinstance(tree, ast.Name):
        yield (tree.id,)
    for child in ast.iter_child_nodes(tree):
        yield from chains_of(child)


def written_roots(tree: ast.AST) -> Iterator[str]:
    """Roots that are changed: declared global or nonlocal, stored into, or told to change."""
    for each in ast.walk(tree):
        if isinstance(each, (ast.Global, ast.Nonlocal)):
            yield from each.names
        elif isinstance(each, (ast.Subscript, ast.Attribute)) and not isinstance(each.ctx, ast.Load):
            yield from _root(each)
        elif isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr in _MUTATORS:
            yield from _root(each.func)


def _root(node: ast.expr) -> Iterator[str]:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id
