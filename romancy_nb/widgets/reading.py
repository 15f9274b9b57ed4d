"""Reading a run while it goes on: rows are taken as they are committed, and only what they changed is looked at again.

It never depends on when it was asked: whoever takes a history in one piece, and whoever takes it row by row and looks in
between, sees the same steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.core.transitions import STATUS_AFTER
from romancy_nb.journal.protocol import Row
from romancy_nb.widgets.calls import Calls
from romancy_nb.widgets.counts import Totals
from romancy_nb.widgets.places import Order
from romancy_nb.widgets.steps import Reported, Standing, Step, progress_of, step_of

__all__ = ["Reading"]


class Reading:
    """A run's history as far as it has been read.

    Args:
        rows: what there is of it.
        executed_since: the last ``seq`` that was there before the call being shown (0: none). Then each step's
            ``origin_now`` says whether it was read from the journal in that call, or executed by it.
        whole: is more than a preview of values wanted?

    Attributes:
        first: the row with which the run begins.
        last: the last event that changed the run's own status.
        seq: number of the last row.
        order: the rows of the timeline.
        totals: sums over its steps.
        undone_by: the place of its (last) undo, for each place that is undone.

    Raises:
        ValueError: the history does not begin with ``run_started``.
    """

    def __init__(self, rows: Iterable[Row] = (), executed_since: int | None = None, *, whole: bool = False) -> None:
        self.since = executed_since
        self._whole = whole
        self.seq = 0
        self.order = Order()
        self.totals = Totals()
        self.undone_by: dict[str, str] = {}
        self._first: Event | None = None
        self._last: Event | None = None
        self._recorded = 0
        self._calls = Calls()
        self._steps: dict[str, Step] = {}
        self._stood: Standing | None = None
        self._dirty: dict[str, None] = {}
        self._changed: set[str] = set()
        self._progressing: dict[str, Step] = {}
        self._undoable: dict[str, int] = {}  # by place, the number of the row with which it completed
        self._undone: set[str] = set()
        self._pivot = 0  # number of the row with which the last point of no return was passed
        self.take(rows)

    def take(self, rows: Iterable[Row]) -> None:
        """Take the rows that come next. A row that was taken already is left out."""
        calls, voids = self._calls, self._calls.voids
        for row in rows:
            event = row.event
            if row.seq <= self.seq:
                continue
            if self._first is None:
                if event.kind != ev.RUN_STARTED:
                    raise ValueError("a run's history begins with run_started")
                self._first = event
            self.seq = row.seq
            if event.kind in STATUS_AFTER:
                self._last = event
            if event.kind != ev.RUN_RESUMED:
                # that a kernel opened it is nothing to be seen: a second Run All saves the bytes of the first (N8)
                self._recorded = max(self._recorded, event.at)
            place = calls.take(row)
            if place is not None:
                self._dirty[place] = None
                if event.call == place and calls.by_place[place].seq == row.seq:
                    self._asked_for(place)
        if calls.voids != voids:
            self._begin_anew()

    @property
    def first(self) -> Event:
        if self._first is None:
            raise ValueError("a run's history begins with run_started")
        return self._first

    @property
    def last(self) -> Event:
        return self._last or self.first

    @property
    def recorded(self) -> int:
        """When the last thing happened that is shown, in µs."""
        return self._recorded

    @property
    def owner(self) -> str:
        """Who owns the run."""
        return self._calls.owner

    def steps(self, live: bool, ended: bool, progress: Mapping[str, Reported] | None = None) -> dict[str, Step]:
        """Return the steps by place, of a run that is advanced (*live*) or has *ended*; not to be changed."""
        run = Standing(live, ended, self.since, self.owner, self._whole)
        if run != self._stood:
            self._dirty.update(self._calls.open)
            self._stood = run
        for place in [*self._progressing, *(progress or {})]:
            if place in self._calls.by_place:
                self._dirty[place] = None
        self._progressing = {}
        for place in self._dirty:
            self._renew(place, step_of(self._calls.by_place[place], run), (progress or {}).get(place))
        self._dirty = {}
        return self._steps

    @property
    def by_place(self) -> Mapping[str, Step]:
        """The steps as they were last asked for."""
        return self._steps

    @property
    def undoable(self) -> bool:
        """Would an undo of the run undo something? What completed before a point of no return stands (U1)."""
        latest_first = reversed(self._undoable.items())
        return any(seq > self._pivot and place not in self._undone for place, seq in latest_first)

    def in_order(self) -> tuple[Step, ...]:
        """Return the steps in the order of the code, what undoes something last."""
        steps = self._steps
        return tuple(steps[row] for row in self.order.ids() if row in steps)

    def changed(self) -> set[str]:
        """Return the rows that may look other than when this was last asked for, headings included."""
        changed = self._changed | self.order.moved()
        for row in list(changed):
            changed.update(self.order.headings(row))
        self._changed = set()
        return changed

    def _renew(self, place: str, step: Step, told: Reported | None) -> None:
        if told is not None and step.status == "running":
            step = replace(step, progress=progress_of(told))
            self._progressing[place] = step
        before = self._steps.get(place)
        if before == step:
            return
        if before is not None:
            self.totals.take_out(before)
        self.totals.put(step)
        self._steps[place] = step
        self._changed.add(place)
        self._note_undo(place, step)

    def _note_undo(self, place: str, step: Step) -> None:
        call = self._calls.by_place[place]
        ended = call.outcome_seq or call.seq
        if step.undoable:
            self._undoable[place] = ended
        else:
            self._undoable.pop(place, None)
        if step.status == "completed" and (call.intent.meta or {}).get("pivot"):
            self._pivot = max(self._pivot, ended)
        if step.undoes and (step.status == "completed" or step.decided):
            self._undone.add(step.undoes)
        elif step.undoes:
            self._undone.discard(step.undoes)

    def _asked_for(self, place: str) -> None:
        call = self._calls.by_place[place]
        self.order.add(place, call.seq, call.undoes != "")
        if call.undoes:
            self.undone_by[call.undoes] = place
            self._changed.add(call.undoes)

    def _begin_anew(self) -> None:
        """A resume took something back: what stands is sorted in again."""
        self.order.forget()
        self.undone_by = {}
        self.totals, self._steps = Totals(), {}
        self._undoable, self._undone, self._pivot = {}, set(), 0
        self._dirty = dict.fromkeys(self._calls.by_place)
        for place in self._dirty:
            self._asked_for(place)
