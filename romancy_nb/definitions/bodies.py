"""What the body of a cell reads of the notebook, what it binds, and what it changes in place (N3).

A body is module code: a name that it has bound by the time it reads it is its own, any other is the notebook's. The walk
goes through the statements in the order in which they are executed, and takes a name as bound from the first place in the
text that binds it, on whichever branch: so what the body itself leaves in the notebook does not count as read by it.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from types import CodeType

from romancy_nb.definitions.syntax import chains_of, outside_names, serialise_statements, written_roots

__all__ = ["BodyNames", "names_of", "statements_digest"]

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True, slots=True)
class BodyNames:
    """The names of a body.

    Attributes:
        reads: those of the notebook, each as it is written: ``("PROMPT",)``, ``("helpers", "clean")``; sorted.
        binds: those that the body itself binds at its top level.
        written: roots among *reads* that the body changes in place.
    """

    reads: tuple[tuple[str, ...], ...]
    binds: frozenset[str]
    written: frozenset[str]

    @property
    def roots(self) -> list[str]:
        """The first words of *reads*, sorted."""
        return sorted({chain[0] for chain in self.reads})


def statements_digest(tree: ast.Module) -> str:
    """Return the digest of what the statements do, as of a function's (R6)."""
    return blake2b(b"body " + serialise_statements(tree.body), digest_size=16).hexdigest()


def names_of(tree: ast.Module, code: CodeType) -> BodyNames:
    """Return the names of a body.

    Args:
        tree: the body.
        code: the same, compiled; it knows which names of nested functions are global.

    Example:
        >>> tree = ast.parse("x = x + scale(y)\\nz = x")
        >>> names_of(tree, compile(tree, "<cell>", "exec")).roots
        ['scale', 'x', 'y']
    """
    walk = _Walk()
    walk.statements(tree.body)
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    used_inside: set[str] = set().union(*(outside_names(each) for each in inner)) if inner else set()
    for function in walk.functions:
        body = [function.body] if isinstance(function, ast.Lambda) else function.body
        for statement in body:
            walk.reads.update(
                chain for chain in chains_of(statement) if chain[0] in used_inside and chain[0] not in walk.bound
            )
    roots = {chain[0] for chain in walk.reads}
    return BodyNames(tuple(sorted(walk.reads)), frozenset(walk.bound), frozenset(written_roots(tree)) & roots)


class _Walk:
    """Goes through a body in the order of execution."""

    def __init__(self) -> None:
        self.reads: set[tuple[str, ...]] = set()
        self.bound: set[str] = set()
        self.functions: list[_Function] = []
        self._local: list[set[str]] = []
        """Names of comprehensions and class bodies around the place."""

    def statements(self, body: Iterable[ast.AST]) -> None:
        for each in body:
            self._visit(each)

    def _visit(self, node: ast.AST | None) -> None:
        if node is None:
            return
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is not None:
            method(node)
        else:
            self.statements(ast.iter_child_nodes(node))

    def _bind(self, name: str) -> None:
        (self._local[-1] if self._local else self.bound).add(name)

    def _knows(self, name: str) -> bool:
        return name in self.bound or any(name in scope for scope in self._local)

    # -- names ---------------------------------------------------------------------------------------------------------

    def _name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._bind(node.id)
        elif not self._knows(node.id):
            self.reads.add((node.id,))

    def _attribute(self, node: ast.Attribute) -> None:
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            inner = inner.value
        if not isinstance(inner, ast.Name):
            self._visit(inner)
        elif not self._knows(inner.id):
            self.reads.update(chains_of(node))

    def _assign(self, node: ast.Assign) -> None:
        self._visit(node.value)
        self.statements(node.targets)

    def _augassign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name) and not self._knows(node.target.id):
            self.reads.add((node.target.id,))
        self._visit(node.value)
        self._visit(node.target)

    def _annassign(self, node: ast.AnnAssign) -> None:
        self._visit(node.annotation)
        self._visit(node.value)
        if node.value is not None or not isinstance(node.target, ast.Name):
            self._visit(node.target)

    def _namedexpr(self, node: ast.NamedExpr) -> None:
        self._visit(node.value)
        self.bound.add(node.target.id)  # past the comprehensions around it

    # -- statements ----------------------------------------------------------------------------------------------------

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self._visit(node.iter)
        self._visit(node.target)
        self.statements([*node.body, *node.orelse])

    _asyncfor = _for

    def _import(self, node: ast.Import) -> None:
        for each in node.names:
            self._bind(each.asname or each.name.partition(".")[0])

    def _importfrom(self, node: ast.ImportFrom) -> None:
        for each in node.names:
            if each.name == "*":
                for name in _starred(node.module or ""):
                    self._bind(name)
            else:
                self._bind(each.asname or each.name)

    def _excepthandler(self, node: ast.ExceptHandler) -> None:
        self._visit(node.type)
        if node.name:
            self._bind(node.name)
        self.statements(node.body)

    def _matchas(self, node: ast.MatchAs) -> None:
        self._visit(node.pattern)
        if node.name:
            self._bind(node.name)

    def _matchstar(self, node: ast.MatchStar) -> None:
        if node.name:
            self._bind(node.name)

    def _matchmapping(self, node: ast.MatchMapping) -> None:
        self.statements([*node.keys, *node.patterns])
        if node.rest:
            self._bind(node.rest)

    # -- scopes --------------------------------------------------------------------------------------------------------

    def _functiondef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.statements(node.decorator_list)
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        self.statements([*arguments.defaults, *(each for each in arguments.kw_defaults if each is not None)])
        self.statements(each.annotation for each in every if each is not None and each.annotation is not None)
        self._visit(node.returns)
        self._bind(node.name)
        self.functions.append(node)

    _asyncfunctiondef = _functiondef

    def _lambda(self, node: ast.Lambda) -> None:
        self.statements([*node.args.defaults, *(each for each in node.args.kw_defaults if each is not None)])
        self.functions.append(node)

    def _classdef(self, node: ast.ClassDef) -> None:
        self.statements([*node.decorator_list, *node.bases, *node.keywords])
        self._local.append(set())
        self.statements(node.body)
        self._local.pop()
        self._bind(node.name)

    def _comprehension_of(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        self._visit(node.generators[0].iter)
        self._local.append(set())
        for position, each in enumerate(node.generators):
            if position:
                self._visit(each.iter)
            self._visit(each.target)
            self.statements(each.ifs)
        self.statements([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self._local.pop()

    _listcomp = _setcomp = _generatorexp = _dictcomp = _comprehension_of


def _starred(module: str) -> list[str]:
    """The names that ``from module import *`` binds. The body imports it anyway, and fails there if that fails."""
    try:
        found = importlib.import_module(module)
    except Exception:
        return []
    return list(getattr(found, "__all__", None) or (name for name in vars(found) if not name.startswith("_")))
