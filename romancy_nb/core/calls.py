"""What one call is to the code that made it: its future, or an undo that it armed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from romancy_nb.core.commands import ActivityCommand, OutsideCommand
from romancy_nb.core.replay import Call
from romancy_nb.core.tasks import Path, WorkflowFuture
from romancy_nb.payloads.payload import Payload

if TYPE_CHECKING:
    from romancy_nb.core.issuing import Issuing

__all__ = ["OPEN_SAGAS", "ArmedUndo", "CallFuture", "OutsideFuture"]


@dataclass(slots=True)
class ArmedUndo:
    """An undo that the code armed by itself (``rn.compensate_with``). ``settled`` as with a ``CallFuture``."""

    place: str
    name: str
    payload: Payload
    settled: int
    module: str = "__main__"
    extra: Any = None
    undone: bool = False


OPEN_SAGAS: ContextVar[tuple[list[CallFuture | ArmedUndo], ...]] = ContextVar("romancy_sagas", default=())
"""The ``rn.saga`` blocks that the running code is in: what each has done that can be undone. Tasks inherit it."""


class CallFuture(WorkflowFuture):
    """The future of one activity call; knows its place in history and whose it is.

    Attributes:
        settled: counts the outcomes of the run, in the order in which its code got them; 0: none yet.
        undone: a ``rn.saga`` block has undone it.
        shared: its effect is that of the instance which was forked (R17): nothing here undoes it.
    """

    def __init__(self, execution: Issuing, place: str, owner: Path, command: ActivityCommand) -> None:
        WorkflowFuture.__init__(self, loop=execution.loop)
        self.execution = execution
        self.place = place
        self.owner = owner
        self.command = command
        self.occurrence = 0
        self.call: Call | None = None
        self.settled = 0
        self.undone = False
        self.shared = False

    # only tasks wait for it, and those know themselves whose they are
    add_done_callback: Any = asyncio.Future.add_done_callback

    def cancel(self, msg: Any | None = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled:
            self.execution.call_cancelled(self)
        return cancelled


class OutsideFuture(WorkflowFuture):
    """The future of something awaited from outside: an event, the end of a child.

    Attributes:
        facts: the meta of its intent's row.
        settled, undone: as of a ``CallFuture``.
    """

    def __init__(self, execution: Issuing, place: str, owner: Path, command: OutsideCommand) -> None:
        WorkflowFuture.__init__(self, loop=execution.loop)
        self.execution = execution
        self.place = place
        self.owner = owner
        self.command = command
        self.facts: Mapping[str, Any] = command.facts
        self.occurrence = 0
        self.call: Call | None = None
        self.settled = 0
        self.undone = False

    add_done_callback: Any = asyncio.Future.add_done_callback

    def expire(self) -> None:
        """The time in which the code waits for this is over."""
        self.execution.expired(self)

    def cancel(self, msg: Any | None = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled:
            self.execution.outside_cancelled(self)
        return cancelled
