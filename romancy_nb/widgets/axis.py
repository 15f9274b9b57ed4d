"""The time axis of a timeline: real time, with long stretches in which nothing ran folded away.

A run may work for two seconds, sleep for a night and work for one second more. Drawn to scale that is two hairlines at
the edges. So the longest idle stretches, while they dominate what is left, are folded into a mark of fixed width.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from romancy_nb.widgets.snapshot import Snapshot, Step
from romancy_nb.widgets.structure import Branch

__all__ = ["Axis", "Segment", "axis_of", "segments", "segments_of_branch"]

FOLD: Final = 0.035
"""The width of a fold, as a share of the axis."""
_SHORTEST: Final = 2_000_000
_DOMINATES: Final = 0.5
_MOST: Final = 4
_STUB: Final = 0.03
_VISIBLE: Final = 0.008


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps time to a share of the width, 0 to 1.

    Attributes:
        start: µs, where the axis begins.
        end: µs, where it ends.
        folds: the stretches that are folded, in order.
        knots: (time, share) between which the axis is linear.
    """

    start: int
    end: int
    folds: tuple[tuple[int, int], ...]
    knots: tuple[tuple[int, float], ...]

    def at(self, us: int) -> float:
        """Return where the point in time *us* stands."""
        times = [time for time, _ in self.knots]
        index = min(max(bisect_right(times, us), 1), len(times) - 1)
        (t0, x0), (t1, x1) = self.knots[index - 1], self.knots[index]
        return min(1.0, max(0.0, x0 + (x1 - x0) * (us - t0) / max(1, t1 - t0)))

    def marks(self) -> list[tuple[float, float, int]]:
        """Return (from, to, µs folded) for each fold, the first two as shares of the width."""
        return [(self.at(a), self.at(b), b - a) for a, b in self.folds]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a step's bar.

    Attributes:
        look: ``ok``, ``journal``, ``failed``, ``running``, ``unknown``, ``cancelled``, ``undo`` or ``wait`` (a timer, or the time
            between two attempts).
        left: share of the width where it begins.
        right: where it ends.
    """

    look: str
    left: float
    right: float


def axis_of(view: Snapshot) -> Axis:
    """Return the axis on which all steps of *view* fit."""
    if not view.steps:
        return Axis(view.started, view.started + 1, (), ((view.started, 0.0), (view.started + 1, 1.0)))
    start = min(step.started for step in view.steps)
    end = max(_end(step, view.as_of) for step in view.steps)
    busy = [(a.started, a.finished or a.started) for step in view.steps for a in step.attempts]
    busy += [(a.started, view.as_of) for step in view.steps for a in step.attempts if a.outcome == "running"]
    busy += [(step.started, step.started) for step in view.steps if step.at_once]
    return _folded(start, max(end, start + 1), busy)


def _end(step: Step, as_of: int) -> int:
    if step.finished is not None:
        return step.finished
    known = [a.finished or a.started for a in step.attempts]
    return as_of if step.status in {"running", "waiting"} else max([step.started, *known])


def _folded(start: int, end: int, busy: Iterable[tuple[int, int]]) -> Axis:
    folds: list[tuple[int, int]] = []
    left = end - start
    for a, b in sorted(_idle(start, end, busy), key=lambda gap: gap[0] - gap[1])[:_MOST]:
        if b - a < _SHORTEST or b - a < _DOMINATES * left or b - a >= left:
            break
        folds.append((a, b))
        left -= b - a
    folds.sort()
    scale = (1.0 - FOLD * len(folds)) / left
    knots, share, time = [(start, 0.0)], 0.0, start
    for a, b in folds:
        share += (a - time) * scale
        knots.append((a, share))
        share, time = share + FOLD, b
        knots.append((b, share))
    knots.append((end, 1.0))
    return Axis(start, end, tuple(folds), tuple(knots))


def _idle(start: int, end: int, busy: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The stretches between *start* and *end* that no interval of *busy* touches."""
    gaps, reached = [], start
    for a, b in sorted(busy):
        if a > reached:
            gaps.append((reached, a))
        reached = max(reached, b)
    if end > reached:
        gaps.append((reached, end))
    return gaps


def segments(step: Step, axis: Axis, as_of: int) -> list[Segment]:
    """Return the bar of *step*: a piece for each attempt, and the waiting in between."""
    if step.at_once:
        look = "failed" if step.status == "failed" else "journal" if step.from_journal else "ok"
        return [Segment(look, axis.at(step.started), axis.at(step.started))]
    if step.kind in {"timer", "wait", "question"}:
        return [Segment("wait", axis.at(step.started), axis.at(_end(step, as_of)))]
    pieces: list[Segment] = []
    reached = axis.at(step.started)
    for number, attempt in enumerate(step.attempts):
        left = axis.at(attempt.started)
        if left > reached + _VISIBLE:
            pieces.append(Segment("wait", reached, left))
        if attempt.finished is not None:
            right = axis.at(attempt.finished)
        elif attempt.outcome == "running":
            right = axis.at(as_of)
        else:  # nobody knows how long it ran
            following = step.attempts[number + 1].started if number + 1 < len(step.attempts) else axis.end + 1
            right = min(left + _STUB, max(left, axis.at(following)) if following <= axis.end else 1.0)
        pieces.append(Segment(_look(step, attempt.outcome), left, right))
        reached = max(reached, right)
    if step.status == "waiting":
        pieces.append(Segment("wait", reached, max(reached, axis.at(as_of))))
    return pieces


def segments_of_branch(branch: Branch, axis: Axis, as_of: int) -> list[Segment]:
    """Return the bar of a branch: one piece, from the beginning of its first step to the end of its last."""
    end = max(_end(step, as_of) for step in branch.steps)
    status = branch.status
    if status == "completed":
        look = "journal" if all(step.from_journal for step in branch.steps) else "ok"
    else:
        look = {"in_doubt": "unknown", "waiting": "wait"}.get(status, status)
    return [Segment(look, axis.at(branch.started), axis.at(end))]


def _look(step: Step, outcome: str) -> str:
    if outcome == "ok":
        return "undo" if step.undoes else "journal" if step.from_journal else "ok"
    return "unknown" if outcome == "abandoned" else outcome
