"""Cells as modules of functions: compile one so that its lines stay its own, and turn its functions into definitions.

The cell is compiled under the name that IPython gives it, with a comment in place of the magic's line. So tracebacks, the
debugger and ``inspect.getsource`` meet the very lines that the person sees, and fingerprints find the source.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from romancy_nb.errors import DefinitionError, RomancyError

__all__ = ["CellSyntaxError", "Source", "define", "functions_of", "parsed"]


class CellSyntaxError(RomancyError):
    """A cell under one of our magics is no Python. Shown as IPython shows it for a plain cell: the line and the caret."""

    def __init__(self, shell: Any, error: SyntaxError) -> None:
        super().__init__(str(error))
        self._lines: list[str] = shell.SyntaxTB.structured_traceback(SyntaxError, error, [])

    def _render_traceback_(self) -> list[str]:
        return self._lines


@dataclass(slots=True)
class Source:
    """A cell that was parsed under its own name.

    Attributes:
        tree: may be changed before it is compiled.
    """

    tree: ast.Module
    _name: str
    _flags: int

    def compile(self) -> types.CodeType:
        """Compile the tree as it is now; the code is a coroutine's when it awaits at the top level."""
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | self._flags
        code: types.CodeType = compile(self.tree, self._name, "exec", flags=flags, dont_inherit=True)
        return code


def parsed(shell: Any, body: str, first_line: str) -> Source:
    """Parse a cell under the name that IPython gives it.

    Args:
        shell: the IPython shell.
        body: the cell without the magic's line.
        first_line: what stood on the magic's line.

    Raises:
        SyntaxError: as Python says.
    """
    blank = len(re.match(r"(?:[ \t]*\n)*", body)[0].splitlines())  # type: ignore[index]  # IPython drops these lines
    source = f"# {first_line}\n" + "\n" * blank + shell.transform_cell(body)
    name = shell.compile.cache(source, _number(shell), raw_code=source)
    return Source(ast.parse(source, filename=name), name, shell.compile.flags)


def define(
    shell: Any, body: str, wrap: Callable[[types.FunctionType], Any], first_line: str
) -> tuple[list[Any], list[str]]:
    """Run a cell of functions in the notebook's namespace and wrap its top-level functions.

    Args:
        shell: the IPython shell.
        body: the cell without the magic's line.
        wrap: makes a definition of a function.
        first_line: what stood on the magic's line.

    Returns:
        The definitions in the order of the cell, and the names of functions that were left plain helpers.

    Raises:
        DefinitionError: the cell awaits at its top level.
        SyntaxError: as Python says.
    """
    source = parsed(shell, body, first_line)
    code = source.compile()
    if inspect.CO_COROUTINE & code.co_flags:
        raise DefinitionError(
            "This cell awaits something outside its functions. Put that in a cell of its own: cells under this magic define "
            "functions."
        )
    exec(code, shell.user_ns)
    made, helpers = [], []
    for function in functions_of(source.tree):
        found = shell.user_ns.get(function)
        if not isinstance(found, types.FunctionType):
            continue  # an activity, workflow or compensation already, or deleted again
        if function.startswith("_"):
            helpers.append(function)
            continue
        shell.user_ns[function] = definition = wrap(found)
        made.append(definition)
    return made, helpers


def _number(shell: Any) -> int:
    """The number that IPython shows for the cell that runs now. ``execution_count`` is one ahead of it from IPython 9 on."""
    numbers: dict[str, int] = getattr(shell.compile, "_filename_map", {})
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename in numbers:
            return numbers[frame.f_code.co_filename]
        frame = frame.f_back  # type: ignore[assignment]
    return int(shell.execution_count)


def functions_of(tree: ast.Module) -> list[str]:
    """Return the names of the functions at the top level of *tree*, in order, each once."""
    names = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return list(dict.fromkeys(names))
