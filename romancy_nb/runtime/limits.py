"""Who waits for which limit, who holds a place in it, and whose turn it is (A8). Pure bookkeeping: time comes in.

A call that waits stands in the queue of each of its limits. Its turn has come when it is the first in all of them and each
has room; nobody overtakes it in any of them meanwhile. So the call that has waited longest is always the next, and calls
with several limits cannot wait for each other.

Whoever was let in holds a place until it leaves. Nothing may hold one for good by mistake: who was let in is ``pending``
until the attempt is handed over to be executed, and its end is told by one message, however it ends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from operator import attrgetter
from typing import Any, Final

from romancy_nb.definitions.limits import Limit

__all__ = ["Key", "Limits", "Ticket"]

Key = tuple[int, str]
"""Run key and place of the call."""
BURST: Final = 0.1
"""Seconds whose share of ``per_second`` may begin at once, so that a high rate is reached although the engine works in turns."""
_ENOUGH: Final = 1 - 1e-9


@dataclass(slots=True, eq=False)
class Ticket:
    """A call in the queues of its limits, and its place in them once it was let in.

    Attributes:
        key: of the call.
        names: of its limits.
        number: counts those who joined.
        since: when it began to wait (µs).
        item: whatever the caller wants to find again with it.
    """

    key: Key
    names: tuple[str, ...]
    number: int
    since: int
    item: Any = None


@dataclass(slots=True)
class _Gate:
    """One limit.

    Attributes:
        held: the tickets that were let in and have not left.
        tokens: how many attempts may begin now, as far as ``per_second`` goes.
        at: when that was counted (µs); None: never, so there are as many as there can be.
    """

    queue: OrderedDict[Ticket, None] = field(default_factory=OrderedDict)
    held: dict[Ticket, None] = field(default_factory=dict)
    tokens: float = 0.0
    at: int | None = None

    def first(self) -> Ticket | None:
        return next(iter(self.queue), None)

    def refill(self, rate: float, now: int) -> None:
        most = max(1.0, rate * BURST)
        passed = max(0, now - self.at) / 1_000_000 if self.at is not None else most / rate  # the clock may be set back
        self.tokens = min(most, self.tokens + passed * rate)
        self.at = now


class Limits:
    """The limits of one engine.

    Attributes:
        pending: tickets that were let in and whose attempt was not handed over yet.
        due: when the next one may be let in although nobody leaves (µs); None: not before somebody leaves.
        alarm: when the engine is to wake for that; kept here for it.
    """

    def __init__(self) -> None:
        self._gates: dict[str, _Gate] = {}
        self._waiting: dict[Key, Ticket] = {}
        self._recorded: dict[str, Limit] = {}
        self._joined = 0
        self.pending: dict[Ticket, None] = {}
        self.due: int | None = None
        self.alarm: int | None = None

    def __bool__(self) -> bool:
        """Is there anything to look after?"""
        return bool(self._waiting or self.pending)

    def join(self, key: Key, limits: Iterable[Mapping[str, Any]], now: int, item: Any = None) -> Ticket:
        """Have a call wait for its turn; one that waits already keeps its place in the queues.

        Args:
            key: of the call.
            limits: what it waits for, as its intent has it; those figures count where the limit is not defined here.
            now: µs.
            item: see ``Ticket``.
        """
        known = self._waiting.get(key)
        if known is not None:
            known.item = item
            return known
        self._joined += 1
        for each in limits:
            self._recorded[each["name"]] = Limit(each["name"], each.get("concurrency"), each.get("per_second"))
        ticket = self._waiting[key] = Ticket(key, tuple(each["name"] for each in limits), self._joined, now, item)
        for name in ticket.names:
            self._gates.setdefault(name, _Gate()).queue[ticket] = None
        return ticket

    def drop(self, key: Key) -> None:
        """The call does not wait any more. One that does not wait is none of our business."""
        ticket = self._waiting.pop(key, None)
        if ticket is not None:
            self._unqueue(ticket)

    def _unqueue(self, ticket: Ticket) -> None:
        for name in ticket.names:
            self._gates[name].queue.pop(ticket, None)

    def admit(
        self, now: int, defined: Callable[[str], Limit | None], wanted: Callable[[Ticket], bool] = lambda ticket: True
    ) -> list[Ticket]:
        """Let in whose turn it is, in order, and set ``due``.

        Args:
            now: µs.
            defined: gives the limit of a name as it is defined now.
            wanted: says whether a call still is to be executed; else it leaves the queues.

        Returns:
            Those that were let in, in the order in which they joined; each holds a place until ``leave``.
        """
        granted: list[Ticket] = []
        self.due, moved = None, True
        while moved:
            moved = False
            for gate in self._gates.values():
                while (ticket := gate.first()) is not None:
                    if not wanted(ticket):
                        self.drop(ticket.key)
                        moved = True
                        continue
                    if not self._let_in(ticket, now, defined):
                        break
                    granted.append(ticket)
                    moved = True
        granted.sort(key=attrgetter("number"))
        return granted

    def _let_in(self, ticket: Ticket, now: int, defined: Callable[[str], Limit | None]) -> bool:
        gates = [self._gates[name] for name in ticket.names]
        if any(gate.first() is not ticket for gate in gates):
            return False
        figures = [defined(name) or self._recorded[name] for name in ticket.names]
        if any(
            limit.concurrency is not None and len(gate.held) >= limit.concurrency
            for gate, limit in zip(gates, figures, strict=True)
        ):
            return False
        rated = [(gate, limit.per_second) for gate, limit in zip(gates, figures, strict=True) if limit.per_second]
        wait = 0
        for gate, rate in rated:
            gate.refill(rate, now)
            if gate.tokens < _ENOUGH:
                wait = max(wait, ceil((1 - gate.tokens) / rate * 1_000_000))
        if wait:
            self.due = min(self.due or now + wait, now + wait)
            return False
        for gate, _ in rated:
            gate.tokens -= 1
        for gate in gates:
            gate.held[ticket] = None
        del self._waiting[ticket.key]
        self._unqueue(ticket)
        self.pending[ticket] = None
        return True

    def begun(self, ticket: Ticket) -> None:
        """The attempt was handed over to be executed: its end will be told."""
        self.pending.pop(ticket, None)

    def leave(self, ticket: Ticket) -> None:
        """The attempt has ended, or is not to begin any more: its place is free."""
        self.pending.pop(ticket, None)
        for name in ticket.names:
            self._gates[name].held.pop(ticket, None)

    def held(self, name: str) -> int:
        """Return how many places of a limit are taken."""
        return len(self._gates[name].held) if name in self._gates else 0

    def waiting(self, name: str) -> list[Key]:
        """Return the calls that wait for a limit, the next one first."""
        return [ticket.key for ticket in self._gates[name].queue] if name in self._gates else []
