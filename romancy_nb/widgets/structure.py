"""How the rows of a timeline are nested: concurrent branches under headings, and the undo lane below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from romancy_nb.widgets.costs import Cost, sum_of
from romancy_nb.widgets.places import Order
from romancy_nb.widgets.steps import Step

__all__ = ["Branch", "branch_of", "ordered", "rows_of", "undone_by"]

_WORST_FIRST: Final = ("failed", "in_doubt", "running", "waiting", "cancelled")


@dataclass(frozen=True, slots=True)
class Branch:
    """The heading of a concurrent branch: a task of the code that has more than one step.

    Attributes:
        id: ``branch:0.2``.
        depth: of the heading; its steps stand one deeper.
        steps: everything in it, in order.
    """

    id: str
    depth: int
    steps: tuple[Step, ...]

    @property
    def status(self) -> str:
        """``completed``, or that of the step which needs a look most."""
        found = {step.status for step in self.steps}
        return next((status for status in _WORST_FIRST if status in found), "completed")

    @property
    def started(self) -> int:
        """When its first step was asked for, in µs."""
        return min(step.started for step in self.steps)

    @property
    def finished(self) -> int | None:
        """When its last step ended, in µs; None while one is open."""
        ends = [step.finished for step in self.steps]
        known = [end for end in ends if end is not None]
        return max(known) if len(known) == len(ends) else None

    @property
    def cost(self) -> Cost | None:
        """What its steps cost together."""
        return sum_of(step.cost for step in self.steps)


def branch_of(heading: str, order: Order, steps: Mapping[str, Step]) -> Branch:
    """Return the heading with what stands under it."""
    return Branch(heading, order.depth(heading), tuple(steps[place] for place in order.within(heading)))


def ordered(steps: Iterable[Step]) -> Order:
    """Return the order of *steps*."""
    order = Order()
    for step in sorted(steps, key=lambda step: step.seq):
        order.add(step.call, step.seq, step.lane == "undo")
    return order


def undone_by(steps: Iterable[Step]) -> dict[str, str]:
    """Return by the place of each call that is undone the place of its (last) undo."""
    return {step.undoes: step.call for step in sorted(steps, key=lambda step: step.seq) if step.undoes}


def rows_of(steps: Sequence[Step]) -> list[Step | Branch]:
    """Return *steps* with the headings of their branches, in order."""
    by_place = {step.call: step for step in steps}
    order = ordered(steps)
    return [branch_of(row, order, by_place) if order.is_heading(row) else by_place[row] for row in order.ids()]
