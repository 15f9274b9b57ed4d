"""How many steps there are of each sort, kept up to date step by step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from romancy_nb.widgets.costs import Cost
from romancy_nb.widgets.steps import Step

__all__ = ["Counts", "Totals"]

_WORK: Final = frozenset({"activity", "child", "side_effect"})
_WAITS: Final = frozenset({"wait", "question"})
_OPEN_UNDO: Final = frozenset({"failed", "running", "waiting", "in_doubt"})


@dataclass(frozen=True, slots=True)
class Counts:
    """How many steps there are of each sort. A step may count in several; ``steps`` is how many there are.

    ``executed`` and ``from_journal`` are activities and side effects that were begun here, or answered by the journal;
    ``executing`` are those of the former that still run, ``undone`` compensations that completed, which count nowhere else.
    """

    steps: int
    executed: int
    from_journal: int
    running: int
    failed: int
    retried: int
    waiting: int
    in_doubt: int
    cancelled: int
    undone: int = 0
    executing: int = 0


class Totals:
    """Sums over the steps of a run: a step that changes is taken out as it was and put in as it is."""

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        self._sums = [0] * 16
        for step in steps:
            self.put(step)

    def put(self, step: Step) -> None:
        """Count *step*."""
        self._add(step, 1)

    def take_out(self, step: Step) -> None:
        """Count *step* no more."""
        self._add(step, -1)

    def _add(self, step: Step, sign: int) -> None:
        sums = self._sums
        for index, number in enumerate(_parts(step)):
            if number:
                sums[index] += sign * number

    @property
    def counts(self) -> Counts:
        """The counts of what is in."""
        return Counts(*self._sums[:11])

    @property
    def saved_us(self) -> int:
        """How long the steps from the journal once took, in µs."""
        return self._sums[11]

    @property
    def cost(self) -> Cost | None:
        """What the steps that were executed in this run cost; None where none says so."""
        micros, with_micros, tokens, with_tokens = self._sums[12:]
        if not with_micros and not with_tokens:
            return None
        return Cost(micros if with_micros else None, tokens if with_tokens else None)


def _parts(step: Step) -> tuple[int, ...]:
    status, from_journal = step.status, step.from_journal
    counts = not step.undoes or status in _OPEN_UNDO
    work = counts and step.kind in _WORK and not step.undoes
    fresh = work and not from_journal
    begun = step.kind == "side_effect" or (bool(step.attempts) and status != "in_doubt")
    saved = from_journal and step.finished is not None and step.kind not in _WAITS
    cost = step.cost if step.origin != "reused" else None
    return (
        counts,
        fresh and begun,
        work and from_journal,
        counts and status == "running",
        counts and status == "failed",
        fresh and step.tries > 1,
        counts and status == "waiting",
        counts and status == "in_doubt",
        counts and status == "cancelled",
        bool(step.undoes) and status == "completed",
        fresh and begun and status == "running",
        (step.spent(0) or 0) if saved else 0,
        (cost.micros or 0) if cost else 0,
        cost is not None and cost.micros is not None,
        (cost.tokens or 0) if cost else 0,
        cost is not None and cost.tokens is not None,
    )
