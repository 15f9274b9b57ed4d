"""The future of one activity call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from romancy_nb.core.commands import ActivityCommand
from romancy_nb.core.replay import Call
from romancy_nb.core.tasks import Path, WorkflowFuture

if TYPE_CHECKING:
    from romancy_nb.core.activation import Execution

__all__ = ["CallFuture"]


class CallFuture(WorkflowFuture):
    """The future of one activity call; knows its place in history and whose it is."""

    def __init__(self, execution: Execution, place: str, owner: Path, command: ActivityCommand) -> None:
        WorkflowFuture.__init__(self, loop=execution.loop)
        self.execution = execution
        self.place = place
        self.owner = owner
        self.command = command
        self.occurrence = 0
        self.call: Call | None = None

    # only tasks wait for it, and those know themselves whose they are
    add_done_callback: Any = asyncio.Future.add_done_callback

    def cancel(self, msg: Any | None = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled:
            self.execution.call_cancelled(self)
        return cancelled
