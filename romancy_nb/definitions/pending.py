"""A call of an ``async def`` function that nobody has awaited yet, and that says so.

A bare coroutine shows itself as ``<coroutine object …>``, and is dropped with a warning that names functions of ours. This one
says what to write, in its repr and in that warning; and whoever takes it for the result meets its name in Python's error.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["NotAwaited"]

T = TypeVar("T")


class NotAwaited(Coroutine[Any, Any, T]):
    """A coroutine of ours, to be awaited, or given to ``asyncio.run`` or ``asyncio.create_task``, as any other.

    Args:
        coroutine: what does it.
        what: the call for people: ``workflow order``.
        name: what to write after ``await``.
        depth: how many frames above the caller the person's line is.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T], what: str, name: str, depth: int = 1) -> None:
        self._coroutine = coroutine
        self._begun = False
        self._what = what
        self.__name__ = self.__qualname__ = name
        frame = sys._getframe(depth + 1)
        self._place = (frame.f_code.co_filename, frame.f_lineno)

    def __await__(self) -> Generator[Any, Any, T]:
        self._begun = True
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        __tracebackhide__ = True
        self._begun = True
        return self._coroutine.send(value)

    def throw(self, typ: Any, val: BaseException | object = None, tb: TracebackType | None = None) -> Any:
        __tracebackhide__ = True
        self._begun = True
        if val is None and tb is None:
            return self._coroutine.throw(typ)
        return self._coroutine.throw(typ, val, tb)

    def close(self) -> None:
        self._begun = True
        self._coroutine.close()

    @property
    def _says(self) -> str:
        name = self.__name__
        return f"{self._what} was called and not awaited, so nothing has run. Write: await {name}(...)"

    def __repr__(self) -> str:
        return f"<{self._says}>"

    def __del__(self) -> None:
        if not self.__dict__.get("_begun", True):
            self._coroutine.close()  # Python's own warning would name a function of ours
            if not sys.is_finalizing():
                warnings.warn_explicit(f"{self._says}.", RuntimeWarning, *self._place)
