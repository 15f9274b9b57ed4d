"""What is kept of an activity's code: its text and what it reads, once for each fingerprint, for who looks at a step later.

The text is what a person wrote, without the secrets that may stand in it: a text that something called ``api_key`` is given.
"""

from __future__ import annotations

import ast
import json
from types import FunctionType
from typing import Any, Final

from romancy_nb.definitions.fingerprint import fingerprint
from romancy_nb.definitions.sources import text_of
from romancy_nb.payloads.payload import document
from romancy_nb.payloads.redact import is_secret

__all__ = ["read_told", "source_of", "told", "without_secrets"]

_MOST: Final = 50_000


def told(name: str, function: Any, code: str) -> str | None:
    """Return what is kept of the code of an activity, as JSON; None when it is not any more what *code* says.

    Args:
        name: of the activity.
        function: its function.
        code: the fingerprint that its call was journaled with.
    """
    found = fingerprint(function)
    if found.digest != code:
        return None
    return document({"name": name, "code": code, "source": source_of(function), "reads": found.reads})


def source_of(function: Any) -> str:
    """Return the text of a function as it is now, without secrets; empty where it cannot be had."""
    function = getattr(function, "__romancy_function__", function)
    if type(function) is not FunctionType:
        return ""
    try:
        text = without_secrets(text_of(function.__code__, function.__globals__))
    except Exception:  # a text that cannot be had is no reason for anything to fail
        return ""
    return text if len(text) <= _MOST else text[:_MOST] + "\n# …"


def without_secrets(text: str) -> str:
    """Return source code without the texts that are given to what is called like a secret.

    >>> without_secrets("def f(api_key='sk-1', n=2): password = 'x'")
    "def f(api_key='•••', n=2): password = '•••'"
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return text
    found = {(each.lineno, each.col_offset): each for node in ast.walk(tree) for each in _secrets(node)}
    lines = text.encode().split(b"\n")
    for node in sorted(found.values(), key=lambda each: (each.lineno, each.col_offset), reverse=True):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
        lines[first : last + 1] = [before + "'•••'".encode() + after]
    return b"\n".join(lines).decode()


def _secrets(node: ast.AST) -> list[ast.expr]:
    """The literals that *node* gives to names of secrets."""
    given: list[tuple[str, ast.expr | None]] = []
    if isinstance(node, ast.arguments):
        names = [each.arg for each in (*node.posonlyargs, *node.args)]
        given += zip(names[len(names) - len(node.defaults) :], node.defaults, strict=True)
        given += zip((each.arg for each in node.kwonlyargs), node.kw_defaults, strict=True)
    elif isinstance(node, ast.keyword):
        given.append((node.arg or "", node.value))
    elif isinstance(node, ast.Assign):
        given += [(_name(target), node.value) for target in node.targets]
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
        given.append((_name(node.target), node.value))
    elif isinstance(node, ast.Dict):
        keys = [each.value if isinstance(each, ast.Constant) else "" for each in node.keys]
        given += zip((each if isinstance(each, str) else "" for each in keys), node.values, strict=True)
    return [
        each
        for name, value in given
        if value is not None and is_secret(name, "")
        for each in ast.walk(value)
        if isinstance(each, ast.JoinedStr) or (isinstance(each, ast.Constant) and isinstance(each.value, str | bytes))
    ]


def _name(target: ast.expr) -> str:
    if isinstance(target, ast.Subscript):
        key = target.slice
        return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else ""
    return target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""


def read_told(text: str) -> tuple[str, dict[str, str]]:
    """Return source and reads, as ``told`` wrote them."""
    known = json.loads(text)
    return str(known.get("source", "")), dict(known.get("reads") or {})
