"""One paragraph below a traceback of Python's own, where it is a mistake that people make at first and Python names no remedy.

IPython is told after each cell; an error of ours says by itself what to do and is left alone.
"""

from __future__ import annotations

import re
import sys
import textwrap
import traceback
from collections.abc import Callable
from typing import Any, Final

from IPython.core.error import UsageError

from romancy_nb.definitions.activity import Activity
from romancy_nb.definitions.pending import NotAwaited
from romancy_nb.definitions.workflow import Workflow
from romancy_nb.errors import RomancyError
from romancy_nb.runtime.asking import Guard

__all__ = ["guard_kernel", "hint_for", "install", "remove"]

_LOOP: Final = re.compile(r"asyncio\.run\(\) cannot be called|event loop is already running|another loop is running")
_FOREIGN_LOOP: Final = re.compile(r"(attached|bound) to a different (event )?loop")
_HINTS: Final[list[tuple[type[BaseException], re.Pattern[str], str]]] = [
    (
        RuntimeError,
        _LOOP,
        "A notebook's cells run on a loop already, and so does a workflow. In a cell write `await main()` in place of "
        "asyncio.run(main()); in a workflow make it `async def` and write `await`; an `async def` activity is awaited like any "
        "other.",
    ),
    (
        RuntimeError,
        _FOREIGN_LOOP,
        "`async def` activities run on a loop of their own, and a client made in a cell belongs to the cell's. Make the client "
        "inside the activity that uses it, for example with `async with`.",
    ),
    (
        Exception,
        re.compile(r"SQLite objects created in a thread"),
        "Activities run in threads of their own, and this connection was made in another one. Make it inside the activity that "
        'uses it; or let the activity run in the cell\'s thread: @rn.activity(executor="main").',
    ),
    (
        UsageError,
        re.compile(r"Line magic function `%%(romancy_)?(workflow|activity)` not found"),
        "Jupyter takes %% for a cell's magic only in the very first line, without a comment or a blank line above it. Move the "
        "magic there; or write it with a single %, which may stand below comments.",
    ),
]
_AWAIT: Final = re.compile(r"object (\S+) can't be used in 'await' expression|'(\S+)' object can't be awaited")
_COROUTINE: Final = re.compile(r"'NotAwaited'|'coroutine' object|and 'coroutine'|'coroutine' and")


def hint_for(error: BaseException, namespace: dict[str, Any]) -> str | None:
    """Return the paragraph that belongs below *error*, or None.

    Args:
        error: what a cell raised.
        namespace: the notebook's variables, which tell what was called.
    """
    if isinstance(error, RomancyError):
        return None
    said = str(error)
    for kind, words, hint in _HINTS:
        if isinstance(error, kind) and words.search(said):
            return hint
    if isinstance(error, TypeError) and _AWAIT.search(said):
        return _superfluous(error, namespace)
    if (
        isinstance(error, TypeError | AttributeError)
        and _COROUTINE.search(said)
        and not getattr(error, "__notes__", None)
    ):
        return _missing(error, namespace)
    return None


def _superfluous(error: BaseException, namespace: dict[str, Any]) -> str | None:
    """Something was awaited that is a value already; say so if it came from something of ours."""
    line = _line(error)
    for name in re.findall(r"await\s+([A-Za-z_][\w.]*)\s*\(", line):
        found = _named(name, namespace)
        if isinstance(found, Workflow | Activity) and not found.signature.is_async:
            kind = "Workflow" if isinstance(found, Workflow) else "Activity"
            return (
                f"{kind} {found.name} is a `def` function: calling it waits and gives the result, so there is nothing to await. "
                f"Write {name}(...) without `await`."
            )
    return None


def _missing(error: BaseException, namespace: dict[str, Any]) -> str | None:
    """A call that has to be awaited was taken for its result."""
    line = _line(error)
    names = [
        name
        for name, value in namespace.items()
        if isinstance(value, Workflow | Activity) and value.signature.is_async and not name.startswith("_")
    ]
    # the call itself stands on the line, or a variable that holds it
    here = [name for name in names if re.search(rf"\b{re.escape(name)}\s*\(", line)]
    held = [value.__name__ for name, value in namespace.items() if isinstance(value, NotAwaited) and name in line]
    names = here or held or names
    if not names:
        return None
    shown = " or ".join(f"`await {name}(...)`" for name in names[-2:])
    return (
        "A call of an `async def` workflow or activity stands here where its result is meant, and nothing has run. Write "
        f"{shown}."
    )


def _line(error: BaseException) -> str:
    """The person's innermost line."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "romancy_nb" not in frame.filename]
    return (frames[-1].line or "") if frames else ""


def _named(name: str, namespace: dict[str, Any]) -> Any:
    first, *rest = name.split(".")
    found = namespace.get(first)
    for part in rest:
        if part == "run" and isinstance(found, Workflow):
            return found
        found = getattr(found, part, None)
    return found


class _Hints:
    """Registered with IPython's events."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell

    def post_run_cell(self, result: Any) -> None:
        error = result.error_in_exec
        if error is None:
            return
        hint = hint_for(error, self.shell.user_ns)
        if hint is not None:
            print(textwrap.fill(hint, 100), file=sys.stderr)


def install(shell: Any) -> None:
    """Have IPython tell us of errors, and its kernel ask us before it asks a person (C9). Doing it twice is harmless."""
    remove(shell)
    shell.events.register("post_run_cell", _Hints(shell).post_run_cell)
    guard_kernel(getattr(shell, "kernel", None))


def guard_kernel(kernel: Any) -> None:
    """ipykernel hands out ``input`` and ``getpass`` anew for each cell: from here on in a form that knows workflow code."""
    for attribute, name in (("raw_input", "input"), ("getpass", "getpass")):
        ask: Callable[..., str] | None = getattr(kernel, attribute, None)
        if ask is not None and type(ask) is not Guard:
            setattr(kernel, attribute, Guard(ask, name))


def remove(shell: Any) -> None:
    """Take both away again."""
    for callback in list(shell.events.callbacks["post_run_cell"]):
        if type(getattr(callback, "__self__", None)).__module__ == __name__:
            shell.events.unregister("post_run_cell", callback)
    kernel = getattr(shell, "kernel", None)
    for attribute in ("raw_input", "getpass"):
        if type(vars(kernel).get(attribute) if kernel is not None else None) is Guard:
            delattr(kernel, attribute)
