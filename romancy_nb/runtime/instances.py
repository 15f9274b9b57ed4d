"""Several instances as a list that shows itself: as a table in a notebook, which lives where it can, and as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Protocol

from romancy_nb.clock import from_us
from romancy_nb.core.transitions import ACTIVE
from romancy_nb.errors import RomancyError
from romancy_nb.journal.answer import Answer
from romancy_nb.journal.protocol import Table
from romancy_nb.runtime import listing, ownership
from romancy_nb.runtime.filters import Filter
from romancy_nb.runtime.instance import Instance
from romancy_nb.runtime.listing import Fact, Listing

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine

__all__ = ["COLUMNS", "Drawn", "Instances", "find", "use_table"]

COLUMNS: Final = (
    *("instance_id", "workflow", "status", "run", "created_at", "updated_at", "owner", "notebook", "parent"),
)
_TYPES: Final = (
    *("VARCHAR", "VARCHAR", "VARCHAR", "INTEGER", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITH TIME ZONE"),
    *("VARCHAR", "VARCHAR", "VARCHAR"),
)
_SHOWN: Final = 50
"""Rows of the static forms; the rest is counted."""


class Drawn(Protocol):
    """What draws a list: ``widgets.table``."""

    def text(self, view: dict[str, Any]) -> str: ...

    def html(self, view: dict[str, Any]) -> str: ...


_table: Callable[[], Drawn] | None = None
_lives: Callable[[], object] | None = None


def use_table(make: Callable[[], Any], lives: Callable[[], object] | None = None) -> None:
    """Say what draws lists of instances, and what is to be done that those that are shown live; rooms above this one."""
    global _table, _lives
    _table, _lives = make, lives or _lives


class Instances(list[Instance[Any]]):
    """A list of instances, newest first, that shows itself as a table, in which those come first that want somebody."""

    def __init__(self, engine: Engine, facts: Sequence[Fact], wanted: Filter) -> None:
        self._facts = sorted(facts, key=lambda fact: -fact.updated)
        super().__init__(Instance(engine, fact.instance, fact.workflow) for fact in self._facts)
        self._engine = engine
        self._wanted = wanted

    @property
    def anchor(self) -> str:
        """What names a living display of these instances."""
        return self._wanted.anchor()

    def df(self) -> Any:
        """Return the instances as a pandas DataFrame."""
        return self.answer().df()

    def arrow(self) -> Any:
        """Return the instances as a pyarrow Table."""
        return self.answer().arrow()

    def dicts(self) -> list[dict[str, Any]]:
        """Return what is known of each, newest first."""
        return [{**asdict(fact), "state": fact.state} for fact in self._facts]

    def view(self, most: int = _SHOWN, now: int | None = None) -> dict[str, Any]:
        """Return what is shown of the first *most*: rows, how many there are, and the anchor, as JSON.

        Args:
            most: how many rows.
            now: for what depends on it; None: history alone counts (N7).
        """
        first = Listing.ordered(self._facts)[:most]
        try:
            rows = self._engine.ask(lambda engine: listing.rows(engine, first, now)) if first else []
        except RomancyError:  # the journal was disconnected meanwhile, or is held elsewhere
            rows = [listing.row(fact) for fact in first]
        return {"v": 1, "rows": rows, "total": len(self), "counts": Listing.counted(self._facts), "anchor": self.anchor}

    def answer(self) -> Answer:
        """Return what is known of each as rows, newest first; the columns are those of the view ``instances``."""
        return Answer(Table(COLUMNS, _TYPES, [_known(fact) for fact in self._facts]))

    def __repr__(self) -> str:
        assert _table is not None, "import romancy_nb first"
        return _table().text(self.view())

    def _repr_html_(self) -> str:
        assert _table is not None, "import romancy_nb first"
        return _table().html(self.view())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        assert _table is not None, "import romancy_nb first"
        if _lives is not None:
            _lives()
        view = self.view()
        return {"text/plain": _table().text(view), "text/html": _table().html(view)}


def find(engine: Engine, wanted: Filter) -> Instances:
    """Return the instances that *wanted* means."""

    def read(engine: Engine) -> list[Fact]:
        found = Listing()
        found.refresh(engine)
        return found.chosen(engine, wanted)

    return Instances(engine, engine.ask(read), wanted)


def _known(fact: Fact) -> tuple[Any, ...]:
    owner = ownership.describe(fact.owner) if fact.stored in ACTIVE else None
    times = (from_us(fact.created), from_us(fact.updated))
    return (
        *(fact.instance, fact.workflow, fact.status, fact.number, *times),
        *(owner, fact.notebook or None, fact.parent or None),
    )
