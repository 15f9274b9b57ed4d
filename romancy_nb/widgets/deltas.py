"""What has changed in a timeline since somebody last looked at it, as the browser is told.

A delta is made of what the new rows of history touched, and costs the same whether a run has ten steps or ten thousand but for
a list of names. ``apply`` is what a browser does with one; tests hold it against the view that is read afresh.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from romancy_nb.widgets import actions
from romancy_nb.widgets.reading import Reading
from romancy_nb.widgets.snapshot import Reported, RunLine, Snapshot, view_of
from romancy_nb.widgets.structure import branch_of
from romancy_nb.widgets.wire import branch_json, head_json, row_json

__all__ = ["Deltas", "apply"]

Json = dict[str, Any]
_PRESENT: Final = frozenset({"as_of", "summary"})
"""What follows the clock, too: it is told along with a change and is none by itself."""
_STATE_MATTERS: Final = frozenset({"failed", "in_doubt"})


class Deltas:
    """The view of one run as one reader has it.

    Args:
        reading: the run; whoever has it gives it the rows as they come. It belongs to this reader alone.

    Attributes:
        run: what was last seen of the run, without its steps.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.run: Snapshot | None = None
        self._head: Json = {}
        self._rows: dict[str, Json] = {}
        self._order: list[str] = []
        self._state = ""

    def whole(
        self,
        *,
        now: int,
        alive: bool = True,
        runs: Sequence[RunLine] = (),
        progress: Mapping[str, Reported] | None = None,
    ) -> Json:
        """Return everything, like ``wire.view_json``; the arguments are those of ``snapshot``."""
        self._look(now, alive, runs, progress)
        self.reading.changed()
        self._order = self.reading.order.ids()
        self._rows = dict(self._made(self._order))
        return {**self._head, "rows": [self._rows[row] for row in self._order]}

    def next(
        self,
        *,
        now: int,
        alive: bool = True,
        runs: Sequence[RunLine] = (),
        progress: Mapping[str, Reported] | None = None,
    ) -> Json | None:
        """Return what has changed since the last ``whole`` or ``next``, or None: nothing but the time.

        It has ``set`` (fields of the view), ``rows`` (new and changed ones by id), and ``order`` (all ids), ``append`` (ids that
        come after all others) and ``gone``, where the rows are not the same ones as before.
        """
        before, was = self._head, self._state
        self._look(now, alive, runs, progress)
        fields = {name: value for name, value in self._head.items() if before.get(name) != value}
        ids = self.reading.order.ids()
        changed = self.reading.changed()
        if self._state != was:
            all_of_it = "history" in {self._state, was}
            changed |= {row for row, json in self._rows.items() if all_of_it or json["status"] in _STATE_MATTERS}
        gone: list[str] = []
        order: list[str] | None = None
        append: list[str] | None = None
        if ids is not self._order and ids != self._order:
            known = len(self._order)
            if ids[:known] == self._order:
                append = ids[known:]
            else:
                order = ids
                gone = sorted(set(self._order).difference(ids))
        present = [row for row in changed if self.reading.order.has(row)]
        rows = {row: json for row, json in self._made(present) if self._rows.get(row) != json}
        if not rows and not gone and order is None and append is None and not fields.keys() - _PRESENT:
            self._head = before
            return None
        for row in gone:
            del self._rows[row]
        self._rows.update(rows)
        self._order = ids
        return {"set": fields, "rows": rows, "order": order, "append": append, "gone": gone}

    def _look(self, now: int, alive: bool, runs: Sequence[RunLine], progress: Mapping[str, Reported] | None) -> None:
        self.run = view_of(self.reading, now=now, alive=alive, runs=runs, progress=progress, steps=False)
        self._head = head_json(self.run)
        self._state = actions.state(self.run)

    def _made(self, rows: Iterable[str]) -> Iterable[tuple[str, Json]]:
        reading = self.reading
        order, steps = reading.order, reading.by_place
        for row in rows:
            if order.is_heading(row):
                yield row, branch_json(branch_of(row, order, steps), order)
            else:
                yield row, row_json(steps[row], order, reading.undone_by.get(row, ""), self._state)


def apply(delta: Json | None, view: Json) -> Json:
    """Return *view* with *delta* in it, as a browser does it."""
    if delta is None:
        return view
    rows = {row["id"]: row for row in view["rows"]} | delta["rows"]
    ids = [row["id"] for row in view["rows"]] + (delta["append"] or [])
    if delta["order"] is not None:
        ids = delta["order"]
    return {**view, **delta["set"], "rows": [rows[row] for row in ids]}
