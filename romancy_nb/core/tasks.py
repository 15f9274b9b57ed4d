"""What runs on the loop: futures, tasks, handles and timers that know whose they are and in which order they came.

They hash by their creation number, so that sets of them iterate alike on replay (C4), and carry the path of the task that
they belong to (C3).
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import Future
from contextvars import Context, copy_context
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from romancy_nb.core.loop import WorkflowLoop

__all__ = ["LAST", "PLAIN", "Handle", "Path", "Registers", "Timer", "WorkflowFuture", "WorkflowTask"]

LAST = 253_402_128_000
"""30 December 9999, in seconds since 1970: no timer is due later, so that its time can be written in every zone."""
PLAIN = (FunctionType, MethodType)
"""Callbacks that somebody wrote in Python; those of asyncio's tasks are none."""


class Registers:
    """Part of futures and tasks: remembers which task added a plain callback, so that what it creates is its own (C3)."""

    registered: list[tuple[Any, Path]] | None = None

    def add_done_callback(self, fn: Any, *, context: Context | None = None) -> None:
        if type(fn) in PLAIN:
            loop: WorkflowLoop = self.get_loop()  # type: ignore[attr-defined]
            if self.registered is None:
                self.registered = []
            self.registered.append((fn, loop.here()))
        super().add_done_callback(fn, context=context)  # type: ignore[misc]

    def owner_of(self, fn: Any) -> Path | None:
        return next((path for known, path in self.registered or () if known == fn), None)


class WorkflowFuture(Registers, Future[Any]):
    """A future of the loop. It hashes by its creation number, so sets of futures iterate alike on replay (C4)."""

    def __init__(self, *, loop: WorkflowLoop) -> None:
        self.number = loop.next_number()
        Future.__init__(self, loop=loop)

    def __hash__(self) -> int:
        return self.number


class WorkflowTask(Registers, asyncio.Task[Any]):
    """A task of the loop, with its place among the others.

    Attributes:
        number: counts the tasks of the run in creation order, the same on every version of Python.
        path: where it stands, such as ``0.2.1``: child 1 of child 2 of the root task ``0``.
    """

    def __init__(
        self, coro: Any, *, loop: WorkflowLoop, path: Path, number: int, name: str | None, context: Context | None
    ) -> None:
        self.number = number
        self.path = path
        asyncio.Task.__init__(self, coro, loop=loop, name=name or f"task {path.text}", context=context)

    def __hash__(self) -> int:
        return self.number

    def cancel(self, msg: Any | None = None) -> bool:
        if sys._getframe(1).f_code.co_name == "_deliver_cancellation":
            # anyio cancels the tasks of nested scopes in the order of a set of scopes, which is that of their addresses
            self.get_loop().in_no_order()  # type: ignore[attr-defined]
        return super().cancel(msg)


class Path:
    """Where a task stands. Shared by a task and the transparent helper tasks inside it."""

    __slots__ = ("children", "drawn", "ordinal", "prefix", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.prefix = text + ":"
        self.drawn = 0
        self.ordinal = 0
        self.children = 0

    def child(self) -> Path:
        self.children += 1
        return Path(f"{self.text}.{self.children - 1}")

    def place(self) -> str:
        """Take the place of the next call of this task."""
        ordinal = self.ordinal
        self.ordinal = ordinal + 1
        return self.prefix + str(ordinal)

    def next(self) -> str:
        """Return the place of the next call without taking it."""
        return self.prefix + str(self.ordinal)


class Handle(asyncio.Handle):
    """A ready callback that remembers whose it is, so that what it creates belongs to that task (C3)."""

    __slots__ = ("owner",)

    def __init__(self, callback: Any, args: Any, loop: WorkflowLoop, context: Context | None, owner: Path) -> None:
        # what asyncio.Handle.__init__ does, without its look for debug mode: this is the hottest line of the loop
        self._context = copy_context() if context is None else context
        self._loop: Any = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None
        self.owner = owner


class Timer(asyncio.TimerHandle):
    """A durable timer: ``place`` names it in history, ``delay`` is in seconds."""

    __slots__ = ("delay", "owner", "place")

    def __init__(
        self,
        when: float,
        callback: Any,
        args: Any,
        loop: WorkflowLoop,
        context: Context | None,
        owner: Path,
        delay: float,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.owner = owner
        self.delay = delay
        self.place = owner.place()

    def cancel(self) -> None:
        # not TimerHandle.cancel: that tells a loop with a heap; and our hook must hear of it once
        if not self._cancelled:
            loop: Any = self._loop  # type: ignore[attr-defined]
            asyncio.Handle.cancel(self)
            loop.on_timer_cancelled(self)
