"""A notebook as a run: activity calls of its cells, each found again by its cell (R14).

A notebook has no code that could be replayed from its start: its cells are executed in any order, edited and executed
again. So its history is a ledger. A call belongs to the cell that made it, and is found by (cell, activity, inputs,
occurrence within one execution of the cell); if the activity's code is unchanged, what is recorded answers it.

Pure: it is asked, and answers with rows to write and calls to execute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.commands import ActivityCommand, Delivery, OpenCall, Outcome
from romancy_nb.core.events import Event
from romancy_nb.core.replay import Call, Numbered, collect
from romancy_nb.payloads.payload import NULL, Payload

__all__ = ["NOTEBOOK", "Answer", "Asked", "Ledger"]

NOTEBOOK: Final = "notebook"
"""What stands for the workflow of a notebook's own instance."""

Key = tuple[str, str, str, int]
"""(cell, activity, digest of the inputs, occurrence)"""


@dataclass(slots=True, eq=False)
class Asked:
    """A cell calls an activity.

    Attributes:
        cell: key of the cell.
        execution: number of this execution of the cell; equal calls are counted within it.
        command: the call.
        anew: executes although its result is recorded.
        gone: says of another cell's key that no such cell exists any more.
    """

    cell: str
    execution: int
    command: ActivityCommand
    anew: bool = False
    gone: Callable[[str], bool] = lambda cell: False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to.

    Attributes:
        from_journal: it was recorded before; nothing was executed.
        took: microseconds that the recorded execution took.
        at: when it was recorded, in microseconds.
        shows: what its attempts put out and no cell has shown yet (N4).
    """

    outcome: Outcome
    from_journal: bool
    took: int
    at: int
    shows: tuple[Payload, ...] = ()


@dataclass(slots=True)
class _Cell:
    """What is known of one execution of a cell."""

    execution: int = -1
    occurrences: dict[tuple[str, str], int] = field(default_factory=dict)
    anew: bool = False


class Ledger:
    """The calls of one notebook.

    Args:
        rows: the run's history; the first row is ``run_started``.
    """

    def __init__(self, rows: Sequence[Numbered]) -> None:
        calls, _ = collect(rows)
        self._latest: dict[Key, Call] = {}
        self._settled: dict[Key, int] = {}
        self._calls: dict[str, Call] = {}
        self._numbers: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._cells: dict[str, _Cell] = {}
        self._taken: dict[str, str] = {}
        for call in calls.values():
            self._remember(call)

    def _remember(self, call: Call) -> None:
        cell = str((call.intent.meta or {}).get("cell", ""))
        key = (cell, call.intent.name, call.intent.digest, call.occurrence)
        before = self._latest.get(key)
        if before is not None and (before.outcome is not None or before.waiting is not None):
            self._settled[key] = self._settled.get(key, 0) + 1
        self._latest[key] = self._calls[call.intent.call] = call
        number = self._numbers.setdefault(cell, len(self._numbers))
        self._sizes[cell] = max(self._sizes.get(cell, 0), int(call.intent.call.partition(":")[2]) + 1)
        assert call.intent.call.startswith(f"0.{number}:")

    # -- asking --------------------------------------------------------------------------------------------------------

    def ask(self, asked: Asked, now: int) -> Answer | OpenCall | str:
        """Answer a call, or return it to be executed.

        Args:
            asked: the call.
            now: microseconds.

        Returns:
            An ``Answer`` from the journal; an ``OpenCall`` that has to be executed, whose ``fresh`` tells whether its intent
            (``intent()``) has to be written first; or the place of a call that is recorded as started and has no outcome.
        """
        command, cell = asked.command, self._cells.setdefault(asked.cell, _Cell())
        if cell.execution != asked.execution:
            self._cells[asked.cell] = cell = _Cell(asked.execution)
        equal = (command.name, command.digest)
        occurrence = cell.occurrences.get(equal, 0)
        cell.occurrences[equal] = occurrence + 1
        key = (asked.cell, *equal, occurrence)
        call = self._latest.get(key)
        if call is None or self._taken.get(call.intent.call, asked.cell) != asked.cell:
            call = self._of_a_gone_cell(key, asked)
        if call is not None and not asked.anew:
            outcome = call.outcome or call.waiting
            if outcome is None:
                return call.intent.call
            if self._answers(call, outcome, command, cell):
                ok = outcome.kind == ev.ACTIVITY_COMPLETED or bool((outcome.meta or {}).get("ok"))
                took = max(0, outcome.at - call.intent.at)
                shows = tuple(event.payload for _, event in call.outputs or () if event.payload is not None)
                return Answer(Outcome(ok, outcome.payload or NULL), True, took, outcome.at, shows)
        cell.anew = True
        return self._new(key, command, now)

    @staticmethod
    def _answers(call: Call, outcome: Event, command: ActivityCommand, cell: _Cell) -> bool:
        """A failure is tried again; a result counts while activity and code are the same (R8)."""
        ok = outcome.kind == ev.ACTIVITY_COMPLETED or bool((outcome.meta or {}).get("ok"))
        if not ok or command.reuse == "never" or (command.reuse == "prefix" and cell.anew):
            return False
        return call.intent.code == command.code()

    def _of_a_gone_cell(self, key: Key, asked: Asked) -> Call | None:
        """An edited cell takes over what a cell that exists no more has recorded; each call can be taken once."""
        _, *rest = key
        for other in self._numbers:
            if other == asked.cell:
                continue
            call = self._latest.get((other, *rest))  # type: ignore[arg-type]
            if call is not None and call.intent.call not in self._taken and asked.gone(other):
                self._taken[call.intent.call] = asked.cell
                self._latest[key] = call
                return call
        return None

    def _new(self, key: Key, command: ActivityCommand, now: int) -> OpenCall:
        cell, name, digest, occurrence = key
        limits = command.limits(True) if command.limits is not None else ()  # raises before anything is noted
        number = self._numbers.setdefault(cell, len(self._numbers))
        size = self._sizes.get(cell, 0)
        place = f"0.{number}:{size}"
        self._sizes[cell] = size + 1
        meta: dict[str, Any] = {"cell": cell}
        if occurrence:
            meta["occurrence"] = occurrence
        if command.at_most_once:
            meta["delivery"] = "at_most_once"
        if limits:
            meta["limit"] = list(limits)
        intent = Event(
            ev.ACTIVITY_SCHEDULED, now, place, name, digest, command.code(), payload=command.payload, meta=meta
        )
        before = self._latest.get(key)
        if before is not None and (before.outcome is not None or before.waiting is not None):
            self._settled[key] = self._settled.get(key, 0) + 1
        self._latest[key] = self._calls[place] = Call(0, intent)
        opened = OpenCall(place, command, occurrence, first_at=now)
        opened.scope, opened.cell = self.scope(place), cell
        opened.limits, opened.queues = limits, bool(limits)
        return opened

    def again(self, place: str, command: ActivityCommand) -> OpenCall:
        """Return a call without an outcome to be executed again: it may have had its effect (A1)."""
        call = self._calls[place]
        opened = OpenCall(place, command, call.occurrence, call.attempts, call.failed, call.failures, call.next_at)
        opened.first_at, opened.fresh, opened.scope = call.intent.at + call.queued, False, self.scope(place)
        opened.queues = bool(call.limits)
        opened.limits = call.limits or (command.limits(False) if command.limits is not None else ())
        opened.cell, opened.unshown = str((call.intent.meta or {}).get("cell", "")), call.unshown
        return opened

    def intent(self, place: str) -> Event:
        """Return the row that opens the call at *place*."""
        return self._calls[place].intent

    def scope(self, place: str) -> str:
        """Return what tells the call from equal ones of other cells and earlier executions, for its key (A4)."""
        intent = self._calls[place].intent
        cell = str((intent.meta or {}).get("cell", ""))
        settled = self._settled.get((cell, intent.name, intent.digest, self._calls[place].occurrence), 0)
        return f"{cell}\0{settled}"

    def in_doubt(self, place: str) -> bool:
        """Must the call not be executed again, since its effect may stand and it is ``at_most_once``?"""
        call = self._calls[place]
        return (call.intent.meta or {}).get("delivery") == "at_most_once" and call.attempts > call.failed

    # -- being told ----------------------------------------------------------------------------------------------------

    def note(self, place: str, *, attempts: int, failed: int, failures: int) -> None:
        """Take over what the engine knows of a call's attempts, when nobody waits for it any more."""
        call = self._calls[place]
        call.attempts, call.failed, call.failures = attempts, failed, failures

    def put_out(self, place: str, events: Sequence[Event]) -> None:
        """Remember what an attempt put out."""
        call = self._calls[place]
        call.outputs = [*(call.outputs or ()), *((0, event) for event in events)]

    def settle(self, delivery: Delivery) -> tuple[Event, Answer]:
        """Take the outcome of a call: return the row for it, and the answer for who waits."""
        event = Event(delivery.kind, delivery.at, delivery.place, attempt=delivery.attempt, payload=delivery.payload)
        call = self._calls[delivery.place]
        call.outcome = event
        ok = delivery.kind == ev.ACTIVITY_COMPLETED
        took = max(0, delivery.at - call.intent.at)
        outcome = Outcome(ok, delivery.payload or NULL, delivery.live)
        return event, Answer(outcome, False, took, delivery.at, delivery.shows)
