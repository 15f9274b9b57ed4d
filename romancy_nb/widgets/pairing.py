"""Two runs side by side, as data: which steps are the same, which changed, which only one of them did.

The pairs come from ``core.comparing``. Both runs are drawn on one axis of time that begins with each run; in a run that reused
results, or is a fork, the time between those and its own beginning is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final
from urllib.parse import quote

from romancy_nb.core import comparing
from romancy_nb.journal.protocol import Row
from romancy_nb.widgets.axis import Axis, axis_of
from romancy_nb.widgets.snapshot import Snapshot, Step, snapshot
from romancy_nb.words import clip

__all__ = ["ANCHOR", "VERDICTS", "Pair", "Pairs", "pairs_of", "shifted", "shown", "took"]

ANCHOR: Final = "compare"
VERDICTS: Final = ("same", "changed", "here", "there")
_SLOWER: Final = 1.5
_NOTICEABLE: Final = 100_000  # µs: nobody asks why less than that differs


@dataclass(frozen=True, slots=True)
class Pair:
    """A step of either run, or of both.

    Attributes:
        id: its place here, or ``there:`` and its place there.
        verdict: ``same``, ``changed``, ``here`` (only here) or ``there``.
        what: what changed: input, output, error, outcome, attempts, code, duration.
        edited: a person replaced the result in one of them.
    """

    id: str
    verdict: str
    what: tuple[str, ...]
    here: Step | None
    there: Step | None
    edited: bool = False

    @property
    def step(self) -> Step:
        """The step, for what is the same in both."""
        found = self.here or self.there
        assert found is not None
        return found


class Pairs:
    """Two runs and what pairs their steps make.

    Attributes:
        here, there: the view models of both runs.
        pairs: the steps, in the order of *here*.
        counts: how many pairs there are of each verdict.
        same: do both runs have the same steps with the same results?
    """

    def __init__(self, here: Snapshot, there: Snapshot, pairs: Sequence[Pair]) -> None:
        self.here, self.there, self.pairs = here, there, tuple(pairs)
        self.counts = {verdict: sum(each.verdict == verdict for each in pairs) for verdict in VERDICTS}
        self.same = self.counts["same"] == len(self.pairs)

    @property
    def anchor(self) -> str:
        """Names both runs to whoever shows them live."""
        names = (f"{quote(view.instance, safe='~-_.')}:{view.number}" for view in (self.here, self.there))
        return ":".join((ANCHOR, *names))

    def titles(self) -> tuple[str, str]:
        """Return what the two are called: by the run where it is one instance, else by the instance."""
        if self.here.instance == self.there.instance:
            return f"run {self.here.number}", f"run {self.there.number}"
        return clip(self.here.instance, 60), clip(self.there.instance, 60)

    @cached_property
    def moved(self) -> tuple[Snapshot, Snapshot]:
        """Both view models with times that count from their beginning; see ``shifted``."""
        return shifted(self.here), shifted(self.there)

    @cached_property
    def axis(self) -> Axis:
        """The axis of time that both are drawn on."""
        here, there = self.moved
        both = replace(here, steps=here.steps + there.steps, as_of=max(here.as_of, there.as_of), started=0)
        return axis_of(both)


def pairs_of(
    here: Sequence[Row], there: Sequence[Row], *, now: int, alive: tuple[bool, bool] = (True, True)
) -> tuple[Snapshot, Snapshot, list[Pair]]:
    """Return the view models of the runs with these histories, and the pairs of their steps.

    Args:
        now: the present, in µs.
        alive: does a process that owns the run live, of each?
    """
    one = snapshot(here, now=now, alive=alive[0]).saved()
    other = snapshot(there, now=now, alive=alive[1]).saved()
    left = comparing.facts_of([(row.seq, row.event) for row in here])
    right = comparing.facts_of([(row.seq, row.event) for row in there])
    of_one, of_other = _by_place(one, left), _by_place(other, right)
    found = comparing.match({p: left[p] for p in of_one}, {p: right[p] for p in of_other})
    pairs = []
    for place, partner in comparing.in_order(of_one, list(of_other), found):
        mine, theirs = of_one.get(place), of_other.get(partner)
        edited = any(place in facts and facts[place].edited for place, facts in ((place, left), (partner, right)))
        if mine is None or theirs is None:
            verdict = "here" if theirs is None else "there"
            pairs.append(Pair(place or f"there:{partner}", verdict, (), mine, theirs, edited))
            continue
        what = comparing.what_differs(left[place], right[partner])
        if _took_longer(mine.spent(one.as_of), theirs.spent(other.as_of)):
            what.append("duration")
        pairs.append(Pair(place, "changed" if what else "same", tuple(what), mine, theirs, edited))
    return one, other, pairs


def _by_place(view: Snapshot, known: dict[str, comparing.Facts]) -> dict[str, Step]:
    return {step.call: step for step in view.steps if step.call in known}


def _took_longer(one: int | None, other: int | None) -> bool:
    if one is None or other is None or abs(one - other) < _NOTICEABLE:
        return False
    return max(one, other) > _SLOWER * min(one, other)


def shifted(view: Snapshot) -> Snapshot:
    """Return *view* with times that count from its beginning, in µs.

    What it took over from an earlier run or from the instance that was forked has the times of then. What it did itself follows
    right behind that.
    """
    taken = [step for step in view.steps if step.origin == "reused" and step.started < view.started]
    zero = min((step.started for step in view.steps), default=view.started)
    joint = max((step.finished or step.started for step in taken), default=view.started)
    gap = max(0, view.started - joint)

    def at(us: int) -> int:
        return max(0, us - zero - (gap if us >= view.started else 0))

    def moved(step: Step) -> Step:
        tries = tuple(
            replace(each, started=at(each.started), finished=None if each.finished is None else at(each.finished))
            for each in step.attempts
        )
        end = None if step.finished is None else at(step.finished)
        return replace(step, started=at(step.started), finished=end, attempts=tries)

    steps = tuple(moved(step) for step in view.steps)
    finished = None if view.finished is None else at(view.finished)
    return replace(view, started=0, as_of=at(view.as_of), finished=finished, steps=steps)


def took(view: Snapshot) -> int:
    """Return how long a run has taken, in µs."""
    return max(0, (view.finished if view.finished is not None else view.as_of) - view.started)


def shown(pairs: Sequence[Pair], limit: int) -> list[Pair | int]:
    """Return which pairs are shown: those that differ before all others; a number stands for how many are left out there."""
    if len(pairs) <= limit:
        return list(pairs)
    differ = [index for index, pair in enumerate(pairs) if pair.verdict != "same"][: limit * 2 // 3]
    room = limit - len(differ)
    kept = sorted({*differ, *range(room // 2), *range(len(pairs) - room // 2, len(pairs))})
    rows: list[Pair | int] = []
    reached = 0
    for index in [*kept, len(pairs)]:
        if index > reached:
            rows.append(index - reached)
        if index < len(pairs):
            rows.append(pairs[index])
        reached = index + 1
    return rows
