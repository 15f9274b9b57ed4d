"""Every instance at a glance: read off the journal with a few questions, kept up to date cheaply, filtered and put in order.

What is known of each instance (``Fact``) is small and read for all of them; a brief timeline and the problem in words are read for
the rows that somebody sees (``rows``). What a run waits for is read for those that have not ended. Everything that takes an engine
runs on its thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.clock import now_us
from romancy_nb.core.ledger import NOTEBOOK
from romancy_nb.core.transitions import ACTIVE
from romancy_nb.runtime import listing_sql as ask
from romancy_nb.runtime import ownership
from romancy_nb.runtime.filters import Filter
from romancy_nb.runtime.standing import status_here

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine

__all__ = ["ATTENTION", "SORTS", "Fact", "Listing", "row", "rows"]

ATTENTION: Final = ("compensation_failed", "stuck", "in_doubt", "paused", "asks", "interrupted", "failed")
"""States in which an instance wants a person, the most urgent first."""
_GOES_ON: Final = frozenset({"running", "waiting", "compensating"})
_READ_ANEW: Final = 500
"""Instances beyond which reading all of them costs less than reading those that changed."""


@dataclass(slots=True)
class Fact:
    """What is known of an instance without reading its history.

    Attributes:
        key: of its newest run; number: that run's number.
        stored: the status as the journal has it; status: as a person reads it; state: the same, and "in_doubt" or "asks" where
            that says more.
        created: when its first run began; started, updated, finished: of the newest run (µs; finished None: it has not).
        says: what it asks or waits for, or "".
        due: when its next timer is due (µs).
    """

    key: int
    instance: str
    number: int
    workflow: str
    stored: str
    created: int
    started: int
    updated: int
    finished: int | None
    owner: str
    notebook: str
    parent: str
    doubt: bool
    status: str = ""
    asks: bool = False
    says: str = ""
    due: int | None = None

    @property
    def state(self) -> str:
        if self.asks and self.status in {"running", "waiting", "interrupted"}:
            return "asks"
        return "in_doubt" if self.doubt and self.status == "paused" else self.status

    @property
    def group(self) -> int:
        """0: it wants a person; 1: it goes on; 2: the rest."""
        state = self.state
        if state in ATTENTION:
            return 0
        return 1 if state in _GOES_ON and self.workflow != NOTEBOOK else 2

    def order(self) -> tuple[int, int, int]:
        """What wants a person first, the most urgent of that before; then what goes on; each the newest first."""
        state = self.state
        return self.group, ATTENTION.index(state) if state in ATTENTION else 0, -self.updated

    def duration(self, now: int) -> int:
        """How long the newest run took; until now where it goes on."""
        end = self.finished if self.finished is not None else now if self.status in _GOES_ON else self.updated
        return max(0, end - self.started)


SORTS: Final = ("", "id", "workflow", "status", "run", "started", "updated", "duration")
"""What a list can be sorted by; "" is what wants a person first. A "-" in front turns it around."""


class Listing:
    """All instances of a journal, brought up to date by ``refresh``.

    Attributes:
        facts: of every instance, by its id.
    """

    def __init__(self) -> None:
        self.facts: dict[str, Fact] = {}
        self._unfinished: dict[str, Fact] = {}
        self._seen = -1  # rows of the journal that the facts account for
        self._first: int | None = None  # the run of its first row: another one is another journal

    def refresh(self, engine: Engine) -> set[str]:
        """Bring the facts up to the journal and to what the engine has in memory; return the instances that changed."""
        count, end, first = engine.journal.query(ask.EXTENT).rows[0]
        changed: set[str] = set()
        if self._seen < 0 or first != self._first or not self._seen <= end or count != end:
            changed = self._read(engine, None)
        elif end > self._seen:
            touched = [name for (name,) in engine.journal.query(ask.TOUCHED, [self._seen]).rows]
            changed = self._read(engine, touched if len(touched) <= _READ_ANEW else None)
        self._seen, self._first = end, first
        return changed | self._look(engine)

    def _read(self, engine: Engine, instances: list[str] | None) -> set[str]:
        found = {}
        for row in ask.facts(engine.journal, instances):
            found[row[1]] = Fact(*row)
        if instances is None:
            changed = found.keys() | self.facts.keys()
            self.facts, self._unfinished = found, {}
        else:
            changed = set(instances)
            self.facts.update(found)
        for name, fact in found.items():
            if fact.finished is None:
                self._unfinished[name] = fact
            else:
                fact.status = fact.stored
                self._unfinished.pop(name, None)
        unfinished = {fact.key: fact for fact in found.values() if fact.finished is None}
        for key, wait in ask.waits(engine.journal, list(unfinished)).items():
            fact = unfinished[key]
            fact.asks, fact.says, fact.due = wait.asks, wait.says, wait.due
        return set(changed)

    def _look(self, engine: Engine) -> set[str]:
        """Say of what has not ended how it stands here and now, which the journal alone cannot know."""
        owners: dict[str, bool] = {}
        here = engine.other_engines()
        changed = set()
        for fact in self._unfinished.values():
            live = status_here(engine, fact.instance)
            if live is not None:
                status = live
            elif fact.workflow == NOTEBOOK:
                status = "waiting"
            elif fact.stored in ACTIVE:
                alive = owners.get(fact.owner)
                if alive is None:
                    alive = owners[fact.owner] = ownership.alive(fact.owner, here)
                status = fact.stored if alive else "interrupted"
            else:
                status = fact.stored
            if status != fact.status:
                fact.status = status
                changed.add(fact.instance)
        return changed

    # -- choosing ----------------------------------------------------------------------------------------------------

    def chosen(self, engine: Engine, *wanted: Filter) -> list[Fact]:
        """Return the facts that every one of *wanted* lets through, in no order."""
        now, found = now_us(), list(self.facts.values())
        for each in wanted:
            one = each.at(now)
            said = ask.mentions(engine.journal, one.text) if one.text else set()
            found = [fact for fact in found if one.takes(fact, said)]
            if one.limit is not None and len(found) > one.limit:
                found = sorted(found, key=lambda fact: -fact.updated)[: max(0, one.limit)]
        return found

    @staticmethod
    def ordered(facts: Iterable[Fact], sort: str = "", now: int = 0) -> list[Fact]:
        """Return *facts* sorted by one of ``SORTS``."""
        name, back = sort.removeprefix("-"), sort.startswith("-")
        if name not in SORTS:
            raise ValueError(f"{sort!r} is nothing to sort by; there are {', '.join(filter(None, SORTS))}.")
        found = sorted(facts, key=Fact.order)
        keys: dict[str, Any] = {
            "id": lambda fact: fact.instance,
            "workflow": lambda fact: fact.workflow,
            "status": lambda fact: fact.state,
            "run": lambda fact: fact.number,
            "started": lambda fact: fact.started,
            "updated": lambda fact: fact.updated,
            "duration": lambda fact: fact.duration(now),
        }
        return sorted(found, key=keys[name], reverse=back) if name else found

    @staticmethod
    def counted(facts: Iterable[Fact]) -> dict[str, dict[str, int]]:
        """Return how many there are of each state, workflow and group."""
        states, workflows, groups = Counter[str](), Counter[str](), Counter[str]()
        for fact in facts:
            states[fact.state] += 1
            workflows[fact.workflow] += 1
            groups[str(fact.group)] += 1
        return {"states": dict(states), "workflows": dict(workflows), "groups": dict(groups)}


def rows(engine: Engine, facts: Collection[Fact], now: int | None = None) -> list[dict[str, Any]]:
    """Return what is shown of *facts*, with a brief timeline and the problem of each, as JSON.

    Args:
        engine: of the journal.
        facts: of the rows that are shown.
        now: until when what is open has taken so far; None: it has taken nothing, for what depends on history alone (N7).
    """
    problems = ask.problems(engine.journal, [fact.key for fact in facts if fact.state in _TROUBLED])
    bars = ask.bars(engine.journal, [fact.key for fact in facts], now)
    return [row(fact, problems.get(fact.key, ""), bars.get(fact.key, [])) for fact in facts]


def row(fact: Fact, problem: str = "", bars: Collection[tuple[str, float]] = ()) -> dict[str, Any]:
    """Return what is shown of one instance, as JSON."""
    state = fact.state
    open_ = "running" if state in {"running", "waiting"} else "in_doubt"
    says = state in _SAYING
    return {
        "id": fact.instance,
        "workflow": fact.workflow,
        "status": fact.status,
        "state": state,
        "group": fact.group,
        "run": fact.number,
        "started": fact.started,
        "updated": fact.updated,
        "finished": fact.finished,
        "says": fact.says if says else "",
        "due": fact.due if says else None,
        "problem": problem,
        "parent": fact.parent,
        "notebook": fact.notebook,
        "bars": [[open_ if look == "open" else look, share] for look, share in bars],
    }


_TROUBLED: Final = frozenset(
    {"compensation_failed", "stuck", "in_doubt", "paused", "failed", "cancelled", "compensated"}
)
_SAYING: Final = frozenset({"asks", "waiting", "running", "interrupted", "paused", "stuck"})
