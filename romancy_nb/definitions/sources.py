"""Where a function's source is, and whose code a file is.

A code object knows its file and line, not its text. ``linecache`` has the text of notebook cells; a ``.py`` file may
have been edited since it was imported, and reloaded or not. So every text of a file that is ever seen is kept, and a
definition counts as found only in the text that compiles to the very code that is asked about. What is found in no text
is left to the caller, who falls back on the code object.
"""

from __future__ import annotations

import ast
import linecache
import os
import sys
import sysconfig
import textwrap
import threading
import tokenize
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

from romancy_nb.definitions.syntax import Definition

__all__ = ["definition_of", "is_users_class", "is_users_file", "text_of"]

_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

_texts: dict[str, list[_Text]] = {}
_parsing = threading.Lock()


def _parse(text: str) -> ast.Module:
    """Parse *text*, one thread at a time.

    Before 3.11.8 and 3.12.2 the builder of syntax trees counts its depth in a place that all threads share, and raises
    SystemError when two are at it (gh-106905). Another library's thread can still be the second; then again.
    """
    for _ in range(5):
        try:
            with _parsing:
                return ast.parse(text)
        except SystemError:
            continue
    return ast.parse(text)


class _Text:
    """One text of a file, parsed and compiled when first needed."""

    def __init__(self, text: str, filename: str) -> None:
        self.text = text
        self._filename = filename
        self._nodes: dict[tuple[int, str], list[Definition]] = {}
        self._codes: dict[tuple[int, str], list[CodeType]] | None = None
        try:
            tree = _parse(text)
        except (SyntaxError, SystemError, ValueError, RecursionError):
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.Lambda):
                self._nodes.setdefault((node.lineno, "<lambda>"), []).append(node)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                line = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                self._nodes.setdefault((line, node.name), []).append(node)

    def find(self, code: CodeType) -> Definition | None:
        """Return the definition in *code*'s line that has its name and parameters."""
        found = self._nodes.get((code.co_firstlineno, code.co_name), [])
        fitting = [node for node in found if _parameters(node) == _code_parameters(code)]
        if len(fitting) > 1:
            fitting = [node for node in fitting if _spans(node, code)]
        return fitting[0] if fitting else None

    def compiles_to(self, code: CodeType) -> bool:
        """Return whether this text, compiled here, gives *code*."""
        if self._codes is None:
            self._codes = {}
            try:
                pending = [compile(self.text, self._filename, "exec", flags=_FLAGS, dont_inherit=True)]
            except (SyntaxError, ValueError, RecursionError):
                return False
            while pending:
                current = pending.pop()
                self._codes.setdefault((current.co_firstlineno, current.co_name), []).append(current)
                pending.extend(each for each in current.co_consts if isinstance(each, CodeType))
        return any(_same(each, code) for each in self._codes.get((code.co_firstlineno, code.co_name), ()))


def _compiles_alone(node: Definition, code: CodeType) -> bool:
    """Return whether *node* gives *code* when nothing stands around it: marimo runs cells of a file as modules."""
    if isinstance(node, ast.Lambda):
        return False
    try:
        module = compile(ast.Module([node], []), code.co_filename, "exec", flags=_FLAGS, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return any(isinstance(each, CodeType) and _same(each, code) for each in module.co_consts)


def _parameters(node: Definition) -> tuple[int, int, bool, bool]:
    args = node.args
    return len(args.posonlyargs) + len(args.args), len(args.kwonlyargs), args.vararg is not None, args.kwarg is not None


def _code_parameters(code: CodeType) -> tuple[int, int, bool, bool]:
    return code.co_argcount, code.co_kwonlyargcount, bool(code.co_flags & 4), bool(code.co_flags & 8)


def _spans(node: Definition, code: CodeType) -> bool:
    """Tell apart lambdas of one line by the columns that the code's instructions come from."""
    body = node.body if isinstance(node, ast.Lambda) else node.body[-1]
    start, end = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
    for line, end_line, column, end_column in code.co_positions():
        if line is None or end_line is None or not column or end_column is None:
            continue
        if not (start <= (line, column) and (end_line, end_column) <= end):
            return False
    return True


def _same(one: CodeType, other: CodeType) -> bool:
    """Equal code, wherever it stands."""
    if one is other:
        return True
    if (
        one.co_code != other.co_code
        or one.co_names != other.co_names
        or one.co_varnames != other.co_varnames
        or len(one.co_consts) != len(other.co_consts)
    ):
        return False
    return all(
        _same(mine, theirs)
        if isinstance(mine, CodeType) and isinstance(theirs, CodeType)
        else type(mine) is type(theirs) and repr(mine) == repr(theirs)
        if not isinstance(mine, frozenset)
        else mine == theirs
        for mine, theirs in zip(one.co_consts, other.co_consts, strict=True)
    )


def definition_of(code: CodeType, namespace: dict[str, Any]) -> Definition | None:
    """Return the syntax tree of the function that *code* belongs to, or None where its source cannot be had.

    Args:
        code: of a function or lambda.
        namespace: the function's globals, which tell ``linecache`` of a loader.
    """
    found = _find(code, namespace)
    return found[1] if found is not None else None


def text_of(code: CodeType, namespace: dict[str, Any]) -> str:
    """Return the source of the function that *code* belongs to, as it was written; empty where it cannot be had."""
    found = _find(code, namespace)
    if found is None:
        return ""
    text, node = found
    if isinstance(node, ast.Lambda):
        return ast.get_source_segment(text.text, node) or ""
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return textwrap.dedent("\n".join(text.text.split("\n")[first - 1 : node.end_lineno]))


def _find(code: CodeType, namespace: dict[str, Any]) -> tuple[_Text, Definition] | None:
    filename = code.co_filename
    on_disk = os.path.isfile(filename)  # noqa: PTH113  # the name of a cell is no path
    texts = _read(filename, namespace, on_disk)
    if not on_disk and len(texts) == 1:
        node = texts[0].find(code)
        return (texts[0], node) if node is not None else None
    found: tuple[_Text, Definition] | None = None
    for text in texts:
        node = text.find(code)
        if node is not None:
            if text.compiles_to(code) or _compiles_alone(node, code):
                return text, node
            found = text, node
    rewritten = any(name.startswith("@py") for name in (*code.co_names, *code.co_varnames))  # pytest's assert
    return found if rewritten or not on_disk else None


def _read(filename: str, namespace: dict[str, Any], on_disk: bool) -> list[_Text]:
    """Every text of the file that was ever seen, the present one included."""
    known = _texts.setdefault(filename, [])
    texts = ["".join(linecache.getlines(filename, namespace))]
    if on_disk:
        try:
            with tokenize.open(filename) as file:
                texts.append(file.read())
        except (OSError, SyntaxError, UnicodeDecodeError):
            pass
    for text in texts:
        if text and not any(each.text.rstrip() == text.rstrip() for each in known):
            known.append(_Text(text, filename))
    return known


# -- whose code it is --------------------------------------------------------------------------------------------------

_OURS = str(Path(__file__).resolve().parent.parent)
_LIBRARIES = tuple(
    str(Path(path).resolve()) for path in {sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["platstdlib"]}
)


@lru_cache(maxsize=4096)
def is_users_file(filename: str) -> bool:
    """Return whether *filename* is the user's: no library, no installed package, not this package."""
    if filename.startswith("<frozen "):
        return False
    parts = filename.replace("\\", "/").split("/")
    if "site-packages" in parts or "dist-packages" in parts:
        return False
    if not os.path.isabs(filename):  # noqa: PTH117  # the name of a cell is no path
        return True
    resolved = str(Path(filename).resolve())
    return not any(resolved.startswith(root + os.sep) for root in (_OURS, *_LIBRARIES))


def is_users_class(cls: type) -> bool:
    """Return whether *cls* was defined in a notebook or in a module of the user's."""
    module_name = cls.__module__
    if module_name == "__main__":
        return True
    if module_name == "builtins" or not isinstance(module_name, str):
        return False
    module = sys.modules.get(module_name)
    if module is None:
        return True
    file = getattr(module, "__file__", None)
    return is_users_file(file) if isinstance(file, str) else module_name not in sys.builtin_module_names
