"""``input()`` and ``getpass()`` in workflow code are refused (C9): a replay would ask again, and get another answer.

Both are names that anybody may replace, and ipykernel does so for each cell. So ours is put around whatever is there, when
workflow code is about to run. A debugger that stands in workflow code may ask: its questions are the person's own.
"""

from __future__ import annotations

import bdb
import builtins
import getpass
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from romancy_nb.core.context import ambient
from romancy_nb.errors import WrongPlace

__all__ = ["Guard", "guard", "remove"]


class Guard:
    """Asks as *ask* does, except in workflow code."""

    def __init__(self, ask: Callable[..., str], name: str) -> None:
        self.ask = ask
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        if ambient() is not None and not _debugger_asks():
            raise WrongPlace(
                f"{self._name}() in workflow code would ask again on every replay. rn.ask(question) asks once, and waits for days "
                f"if need be; or ask in a cell before, and give the answer to the workflow as an argument; or call {self._name}() "
                'in an activity with executor="main", whose answer is recorded.'
            )
        return self.ask(*args, **kwargs)


def _debugger_asks() -> bool:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), bdb.Bdb):
            return True
        frame = frame.f_back
    return False


def guard() -> None:
    """Put a guard around ``input`` and ``getpass``, where there is none."""
    if type(builtins.input) is not Guard:
        builtins.input = Guard(builtins.input, "input")
    if type(getpass.getpass) is not Guard:
        getpass.getpass = Guard(getpass.getpass, "getpass")


def remove() -> None:
    """Take the guards away."""
    if isinstance(builtins.input, Guard):
        builtins.input = builtins.input.ask
    if isinstance(getpass.getpass, Guard):
        getpass.getpass = getpass.getpass.ask
