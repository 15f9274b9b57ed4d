"""A comparison of two runs as an object that shows itself, and what keeps it alive in a page."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

from romancy_nb.clock import now_us
from romancy_nb.errors import RunProblem, WrongArguments
from romancy_nb.journal.protocol import Row
from romancy_nb.widgets import compare_html, compare_text
from romancy_nb.widgets.axis import Segment, segments
from romancy_nb.widgets.compare_text import cost_of
from romancy_nb.widgets.costs import words as cost_words
from romancy_nb.widgets.marks import look_of
from romancy_nb.widgets.pairing import ANCHOR, Pair, Pairs, pairs_of, took
from romancy_nb.widgets.snapshot import Snapshot, Step
from romancy_nb.words import duration

__all__ = ["Comparison", "Provider", "find"]

VERSION: Final = 1


class Comparison(Pairs):
    """Two runs side by side. It shows itself: HTML in a notebook, text with ``print``, ``.df()``, ``.as_dict()``."""

    @classmethod
    def of(cls, one: Any, other: Any = None) -> Comparison:
        """Compare two instances, or the newest run of one with another of its runs. See ``Instance.diff``."""
        here_key = (one.id, one.run)
        if other is None:
            origin = one.forked_from if one.run == 1 else None
            if origin is not None:
                other_key = (origin[0], origin[1])
            elif one.run > 1:
                other_key = (one.id, one.run - 1)
            else:
                raise RunProblem(
                    f"Instance {one.id} has one run, and was not forked: there is nothing to compare it with. Give another "
                    "instance: .diff(other); or make one: .fork(edits={...})."
                )
        elif isinstance(other, int):
            other_key = (one.id, other)
        elif isinstance(getattr(other, "run", None), int):
            other_key = (other.id, other.run)
        else:
            known = f"rn.instance({other!r})" if isinstance(other, str) else "rn.instance(ID)"
            raise WrongArguments(
                f"diff() takes an instance, such as {known}, or the number of a run, not {other!r:.100}."
            )
        return cls.between(one._engine, here_key, other_key)

    @classmethod
    def between(cls, engine: Any, here: tuple[str, int], there: tuple[str, int]) -> Comparison:
        """Compare two runs, each (id of the instance, number of the run)."""
        (one, alive), (other, lives) = _rows(engine, *here), _rows(engine, *there)
        return cls(*pairs_of(one, other, now=now_us(), alive=(alive, lives)))

    # -- forms -----------------------------------------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able data."""
        return {
            "schema": "romancy.comparison",
            "version": VERSION,
            "here": _side(self.here),
            "there": _side(self.there),
            "counts": dict(self.counts),
            "rows": [
                {
                    "name": pair.step.name,
                    "kind": pair.step.kind,
                    "verdict": pair.verdict,
                    "changed": list(pair.what),
                    "edited": pair.edited,
                    "here": _step(pair.here, self.here),
                    "there": _step(pair.there, self.there),
                }
                for pair in self.pairs
            ],
        }

    def df(self) -> Any:
        """Return a pandas DataFrame, a row for each step. Raises ImportError with the remedy when pandas is missing."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("`.df()` needs pandas: pip install 'romancy_nb[frames]'") from error
        fields = ("seq", "status", "input", "output", "error", "took_us", "attempts")
        table = [
            {
                "name": row["name"],
                "kind": row["kind"],
                "verdict": row["verdict"],
                "changed": ", ".join(row["changed"]),
                **{f"{side}_{field}": (row[side] or {}).get(field) for field in fields for side in ("here", "there")},
            }
            for row in self.as_dict()["rows"]
        ]
        columns = ["name", "kind", "verdict", "changed", *(f"{s}_{f}" for f in fields for s in ("here", "there"))]
        return pd.DataFrame(table, columns=columns)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": str(self), "text/html": compare_html.html(self)}

    def __str__(self) -> str:
        return compare_text.text(self)

    __repr__ = __str__


def find(anchor: str) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """Return the two runs that an anchor names, or None."""
    parts = anchor.split(":")
    if len(parts) != 5 or parts[0] != ANCHOR or not (parts[2].isdecimal() and parts[4].isdecimal()):
        return None
    return (unquote(parts[1]), int(parts[2])), (unquote(parts[3]), int(parts[4]))


def _rows(engine: Any, instance: str, number: int) -> tuple[list[Row], bool]:
    """Return the history of a run, and whether a living process advances it."""

    def load(engine: Any) -> tuple[list[Row], bool]:
        found = [head for head in engine.journal.runs(instance, number) if head.number == number]
        if not found:
            raise RunProblem(f"Instance {instance} has no run {number}. `.runs()` lists them.")
        alive = engine.advanced(instance) is not None or engine.held_elsewhere(found[0])
        return list(engine.journal.load(found[0].run, parts=False)), alive

    loaded: tuple[list[Row], bool] = engine.ask(load)
    return loaded


def _side(view: Snapshot) -> dict[str, Any]:
    return {
        "instance": view.instance,
        "run": view.number,
        "workflow": view.workflow,
        "status": view.status,
        "words": view.words,
        "input": view.input,
        "output": view.output,
        "took_us": took(view),
        "steps": len(view.steps),
        "cost": cost_of(view),
    }


def _step(step: Step | None, view: Snapshot) -> dict[str, Any] | None:
    if step is None:
        return None
    return {
        "seq": step.seq,
        "place": step.call,
        "status": step.status,
        "look": look_of(step),
        "input": step.input,
        "output": step.output,
        "error": step.error,
        "took_us": step.spent(view.as_of),
        "attempts": step.tries,
        "cost": cost_words(step.cost),
    }


# -- live ----------------------------------------------------------------------------------------------------------------


def view_json(found: Comparison) -> dict[str, Any]:
    """Return what the browser draws: each row with its two bars, as shares of the one axis; values come when they are asked for."""
    axis = found.axis
    bars = [{step.call: segments(step, axis, view.as_of) for step in view.steps} for view in found.moved]
    titles = found.titles()
    sides = [
        {**_side(view), "title": title, "took": duration(took(view))}
        for view, title in zip((found.here, found.there), titles, strict=True)
    ]
    return {
        "v": VERSION,
        "workflow": found.here.workflow,
        "sides": sides,
        "summary": compare_text.summary(found),
        "counts": dict(found.counts),
        "length": duration(axis.end - axis.start),
        "folds": [[left, right, duration(us)] for left, right, us in axis.marks()],
        "rows": [_row(pair, found, bars, titles) for pair in found.pairs],
    }


def _row(
    pair: Pair, found: Comparison, bars: list[dict[str, list[Segment]]], titles: tuple[str, str]
) -> dict[str, Any]:
    both = ((pair.here, found.here, bars[0]), (pair.there, found.there, bars[1]))
    return {
        "id": pair.id,
        "name": pair.step.name,
        "kind": pair.step.kind,
        "depth": pair.step.depth,
        "verdict": pair.verdict,
        "note": compare_text.said(pair, titles),
        "sides": [None if step is None else _lane(step, view, pieces[step.call]) for step, view, pieces in both],
    }


def _lane(step: Step, view: Snapshot, pieces: list[Segment]) -> dict[str, Any]:
    spent = step.spent(view.as_of)
    return {
        "seq": step.seq,
        "look": look_of(step),
        "took": "" if spent is None or step.kind == "side_effect" else duration(spent),
        "bar": [[piece.look, round(piece.left, 5), round(piece.right, 5)] for piece in pieces],
    }


class Provider:
    """Answers pages that show a comparison (``hub``), as it is when they ask."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._shown: dict[str, Comparison] = {}

    def open(self, anchor: str, send: Any) -> bool:
        runs = find(anchor)
        if runs is None:
            return False
        try:
            self.tell(anchor, runs, send)
        except RunProblem:  # another journal
            return False
        return True

    def tell(self, anchor: str, runs: tuple[tuple[str, int], tuple[str, int]], send: Any) -> Comparison:
        """Read both runs and send pages what they look like now."""
        found = self._shown[anchor] = Comparison.between(self._engine(), *runs)
        send({"kind": "whole", "anchor": anchor, "what": ANCHOR, "n": 0, "view": view_json(found)})
        return found

    def close(self, anchor: str) -> None:
        self._shown.pop(anchor, None)

    def ask(self, anchor: str, what: str, arguments: dict[str, Any]) -> Any:
        found = self._shown.get(anchor)
        given = arguments.get("given", arguments)
        if found is None or what != "details":
            raise RunProblem("This comparison is not known here any more. Run its cell again.")
        pair = next((each for each in found.pairs if each.id == given.get("id")), None)
        if pair is None:
            raise RunProblem("There is no such step in this comparison.")
        return {"sides": [_step(pair.here, found.here), _step(pair.there, found.there)], "what": list(pair.what)}
