"""Many steps of one activity, no more than so many at the same time: what ``rn.map`` is in workflow code.

All of them are issued by the task that waits for them, in the order of the rows. So the place of a row's call follows from the
row's number alone, whatever completes when (C3), and a row costs no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from romancy_nb.core.commands import Outcome
from romancy_nb.core.context import Ambient
from romancy_nb.definitions.activity import Activity
from romancy_nb.definitions.rows import Call
from romancy_nb.definitions.signature import Inputs
from romancy_nb.errors import NotJournalable, WrongArguments

__all__ = ["Prepared", "Window", "prepare"]

Prepared = tuple[dict[str, Any], Inputs] | Exception
"""Arguments of a row by name, and encoded; or why the row's values do not fit."""


def prepare(activity: Activity[..., Any], call: Call) -> Prepared:
    """Validate and encode the arguments of one row."""
    signature = activity.signature
    try:
        arguments = signature.validate(signature.bind(*call))
        return arguments, signature.encode_inputs(arguments)
    except (WrongArguments, NotJournalable) as error:
        return error.with_traceback(None)


class Window:
    """The steps that are under way.

    Args:
        found: the run.
        activity: what is called for each row.
        rows: of what each row's call consists.
        concurrency: how many at the same time, at most.
        settle: is given each row's number, outcome and the place of its call, in the order in which the outcomes came.
        stop: whether a failure lets no further call begin.
        keeps: results that an earlier run has are used although the activity was edited since.

    Attributes:
        failed: how many rows have failed so far.
    """

    def __init__(
        self,
        found: Ambient,
        activity: Activity[..., Any],
        rows: Sequence[Prepared],
        concurrency: int,
        settle: Callable[[int, Outcome, str], object],
        *,
        stop: bool = False,
        keeps: bool = False,
    ) -> None:
        self._found = found
        self._activity = activity
        self._rows = rows
        self._concurrency = concurrency
        self._settle = settle
        self._stop = stop
        self._keeps = keeps
        self._next = 0
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._ended: list[int] = []
        self._wake: asyncio.Future[None] | None = None
        self._code: str | None = None
        self.failed = sum(isinstance(each, Exception) for each in rows)
        self._done = self.failed

    def run(self) -> None:
        """Make all calls and wait for them, in ``def`` code."""
        try:
            for future in self._waits():
                self._found.wait(future)
        except BaseException:
            self._give_up()
            raise

    async def run_async(self) -> None:
        """The same in ``async def`` code."""
        try:
            for future in self._waits():
                await future
        except BaseException:
            self._give_up()
            raise

    def _waits(self) -> Iterator[asyncio.Future[None]]:
        """Give what has to be waited for until the next outcome is there."""
        self._found.check()
        self._tell()
        self._issue()
        while self._open:
            self._wake = self._found.loop.create_future()
            yield self._wake
            ended, self._ended = self._ended, []
            for index in ended:
                future = self._open.pop(index)
                outcome: Outcome = future.result()
                self._done += 1
                self.failed += not outcome.ok
                self._settle(index, outcome, future.place)  # type: ignore[attr-defined]
            self._tell()
            self._issue()

    def _issue(self) -> None:
        while self._next < len(self._rows):
            index, row = self._next, self._rows[self._next]
            if isinstance(row, Exception):
                self._next += 1
                continue
            if not self._may_issue(row[1].digest):
                return
            self._next += 1
            command = self._activity.command(self._fingerprint, *row)
            command.keeps = self._keeps
            future = self._found.schedule(command)
            future.add_done_callback(partial(self._came, index))
            self._open[index] = future

    def _may_issue(self, digest: str) -> bool:
        """May the next call be made now? On replay when history has it here, with whatever concurrency that was made."""
        recorded = self._found.expects(self._activity.name, digest)
        if recorded is not None:
            return recorded or not self._open  # one that fits nowhere parts code and history, which has to be said
        return len(self._open) < self._concurrency and not (self._stop and self.failed)

    def _fingerprint(self) -> str:
        if self._code is None:
            self._code = self._activity.code(self._found)
        return self._code

    def _came(self, index: int, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            return
        self._ended.append(index)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _give_up(self) -> None:
        """The code does not wait any more: what is under way is not wanted."""
        if not self._found.dead:
            for future in list(self._open.values()):
                future.cancel()

    def _tell(self) -> None:
        if self._found.counts is not None and not self._found.silent:
            self._found.counts(self._activity.name, self._done, self.failed, len(self._rows))
