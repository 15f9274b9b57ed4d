"""``!command``, ``x = !command`` and ``%magic`` in the body of a workflow: each is a step by itself (C9).

IPython turns them into calls of ``get_ipython()``. A body's namespace has one of its own, whose calls are activities: a
command is executed once, and its exit code, its lines or the magic's value come from the journal afterwards.
"""

from __future__ import annotations

import ast
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from romancy_nb.definitions.activity import Activity, as_activity
from romancy_nb.definitions.options import ActivityOptions, RetryPolicy
from romancy_nb.errors import WrongPlace
from romancy_nb.notebook import identity

__all__ = ["Steps", "await_steps", "namespace"]

_STEPS = frozenset({"system", "getoutput", "run_line_magic"})

_namespace: ContextVar[dict[str, Any] | None] = ContextVar("romancy_body", default=None)


@contextlib.contextmanager
def namespace(space: dict[str, Any]) -> Iterator[None]:
    """Steps that are asked for inside read the variables of this body."""
    token = _namespace.set(space)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # closed in another context: the run was put down
            _namespace.reset(token)


# -- the steps ---------------------------------------------------------------------------------------------------------


def _system(command: str) -> int:
    """Run *command* in the shell, its output as it comes; return the exit code as IPython counts it."""
    with subprocess.Popen(
        command,
        shell=True,
        executable=os.environ.get("SHELL") if os.name == "posix" else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                sys.stdout.write(line)
            return process.wait()
        finally:
            if process.poll() is None:
                process.kill()


def _getoutput(command: str) -> list[str]:
    """Run *command* in the shell and return the lines of its output."""
    done = subprocess.run(
        command,
        shell=True,
        executable=os.environ.get("SHELL") if os.name == "posix" else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.stdout.splitlines()


def _line_magic(name: str, line: str, keep: bool) -> list[Any]:
    """Run a line magic; return its value, where that is used, and the body's names that it bound."""
    magic = identity.shell().find_line_magic(name)
    space = dict(_namespace.get() or {})
    before = dict(space)
    value = magic(line, local_ns=space) if getattr(magic, "needs_local_scope", False) else magic(line)
    bound = {key: each for key, each in space.items() if key not in before or each is not before[key]}
    return [value if keep else None, bound]


def _step(function: Any, name: str, **options: Any) -> Activity[..., Any]:
    return as_activity(function, name, ActivityOptions(retry=RetryPolicy(max_attempts=1), **options))


_SYSTEM = _step(_system, "shell command")
_GETOUTPUT = _step(_getoutput, "shell output")
_LINE_MAGIC = _step(_line_magic, "line magic", executor="main")


# -- what the body calls -----------------------------------------------------------------------------------------------


class Steps:
    """``get_ipython()`` in a body: commands and line magics are steps, everything else is the shell's own.

    In an ``async`` body each of them returns a coroutine; ``await_steps`` has put the ``await`` where IPython's syntax has
    none.
    """

    def __init__(self, shell: Any, space: dict[str, Any]) -> None:
        self._shell = shell
        self._space = space

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shell, name)

    def system(self, command: str) -> Any:
        return self._then(_SYSTEM(self._expanded(command)), self._exit_code)

    def getoutput(self, command: str, split: bool = True, depth: int = 0) -> Any:
        return self._then(_GETOUTPUT(self._expanded(command)), _lines if split else "\n".join)

    def run_line_magic(self, name: str, line: str, _stack_depth: int = 1, *, keep: bool = True) -> Any:
        magic = self._shell.find_line_magic(name)
        if magic is None:
            return self._shell.run_line_magic(name, line)  # raises as IPython does
        text = line if getattr(magic, "_ipython_magic_no_var_expand", False) else self._expanded(line)
        return self._then(_LINE_MAGIC(name, text, keep), self._bind)

    def run_cell_magic(self, name: str, line: str, cell: str) -> Any:
        raise WrongPlace(
            f"%%{name} is a cell magic, and the body of a workflow cannot be its cell as well. Put what it shall see into an "
            f"activity, or leave it out."
        )

    def _expanded(self, text: str) -> str:
        """Fill in ``{variables}`` and ``$variables`` of the body, as IPython does with the notebook's."""
        from IPython.utils.text import DollarFormatter

        try:
            return str(DollarFormatter().vformat(text, args=[], kwargs=dict(self._space)))
        except Exception:
            return text  # as IPython has it: braces of the shell's own

    def _then(self, found: Any, use: Any) -> Any:
        if not hasattr(found, "__await__"):
            return use(found)

        async def later() -> Any:
            return use(await found)

        return later()

    def _exit_code(self, code: int) -> None:
        self._space["_exit_code"] = code

    def _bind(self, found: list[Any]) -> Any:
        value, bound = found
        self._space.update(bound)
        return value


def _lines(lines: list[str]) -> Any:
    from IPython.utils.text import SList

    return SList(lines)


# -- async bodies ------------------------------------------------------------------------------------------------------


def await_steps(tree: ast.Module) -> None:
    """Put ``await`` before the commands and line magics of an async body, outside its ``def`` functions."""
    _Awaits().visit(tree)
    ast.fix_missing_locations(tree)


class _Awaits(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        function = node.func
        if (
            isinstance(function, ast.Attribute)
            and function.attr in _STEPS
            and isinstance(function.value, ast.Call)
            and isinstance(function.value.func, ast.Name)
            and function.value.func.id == "get_ipython"
        ):
            return ast.copy_location(ast.Await(node), node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        return node
