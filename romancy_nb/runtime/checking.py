"""``rn.check``: which recorded runs still fit the code as it is defined now (X6)?

The test that a person runs before changing a workflow that has live instances. ``fits`` plays one history; here is which
histories are looked at, and the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

from romancy_nb import words
from romancy_nb.core.context import ambient
from romancy_nb.core.ledger import NOTEBOOK
from romancy_nb.definitions import registry
from romancy_nb.definitions.workflow import Workflow
from romancy_nb.errors import InstanceNotFound, RomancyError, WrongPlace
from romancy_nb.journal.answer import Answer
from romancy_nb.journal.protocol import Head, Table
from romancy_nb.runtime import fits, launch, parting
from romancy_nb.runtime.standing import head_of, status_of

if TYPE_CHECKING:
    from romancy_nb.core.replay import Numbered
    from romancy_nb.runtime.engine import Engine

__all__ = ["Check", "Fit", "check", "check_instance", "unfinished"]

SECONDS: Final = 10.0
"""How long the code may take for one history."""
AT_ONCE: Final = 2.0
"""The same where nobody asked: a cell has redefined a workflow."""
MOST_AT_ONCE: Final = 20
_SPINNING: Final = 2
"""Histories that may take too long; those of the same workflow behind them are not tried."""
_COLUMNS: Final = ("instance", "workflow", "run", "status", "fits", "history", "code", "edited", "says")
_TYPES: Final = ("VARCHAR", "VARCHAR", "INTEGER", "VARCHAR", "BOOLEAN", "VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR")
_SHOWN: Final = 50
_UNDONE: Final = frozenset({"cancelled", "compensating", "compensated", "compensation_failed", "recurred"})
"""What never goes forward again."""


@dataclass(frozen=True, slots=True, repr=False)
class Fit:
    """How one instance stands to the code as it is defined now.

    Attributes:
        instance: its id.
        workflow: its workflow's name.
        run: the number of its newest run, which was looked at.
        status: as a person reads it.
        fits: None: that could not be found out, and *says* tells why.
        history: where they part: what history holds, such as "activity charge with 5 (call 0:1)"; or None.
        code: where they part: what the code asks for instead; None when it does not ask for anything there.
        edited: what was edited since the run began: "order() changed, PROMPT changed"; or empty.
        says: where they part, why nobody knows, or what the code does behind the end of history; may be empty.
    """

    instance: str
    workflow: str
    run: int
    status: str
    fits: bool | None
    history: str | None
    code: str | None
    edited: str
    says: str

    def __bool__(self) -> bool:
        return self.fits is True

    @property
    def verdict(self) -> str:
        """ "fits", "does not fit" or "cannot tell"."""
        return {True: "fits", False: "does not fit", None: "cannot tell"}[self.fits]

    def __repr__(self) -> str:
        told = f"{self.workflow} {self.instance} (run {self.run}, {self.status}): {self.verdict}"
        if self.says:
            told += f"; {self.says}" if self.fits else f": {self.says}"
        return told if told.endswith(".") else f"{told}."


class Check:
    """The answer to ``rn.check``. True when every instance that was looked at fits.

    It shows itself as a table, and iterates over its ``Fit`` rows; ``.df()`` makes a data frame of them.
    """

    def __init__(self, rows: Sequence[Fit], what: str = "unfinished instances") -> None:
        self.rows = tuple(rows)
        self._what = what

    def __bool__(self) -> bool:
        return all(row.fits for row in self.rows)

    def __iter__(self) -> Iterator[Fit]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Fit:
        return self.rows[index]

    @property
    def parting(self) -> list[Fit]:
        """Those that do not fit, or of which nobody can tell."""
        return [row for row in self.rows if not row.fits]

    def dicts(self) -> list[dict[str, Any]]:
        """Return all rows as dictionaries."""
        return [{name: getattr(row, name) for name in _COLUMNS} for row in self.rows]

    def df(self) -> Any:
        """Return the rows as a pandas DataFrame. Raises ImportError with the remedy when pandas is missing."""
        return Answer(Table(_COLUMNS, _TYPES, [tuple(row.values()) for row in self.dicts()])).df()

    def __repr__(self) -> str:
        lines = [self._head()]
        for row in self._ordered()[:_SHOWN]:
            lines.append(f"  {row}")
            if row.edited:
                lines.append(f"      edited since it began: {row.edited}")
        if len(self.rows) > _SHOWN:
            lines.append(f"  and {len(self.rows) - _SHOWN} more, in .rows")
        return "\n".join([*lines, *self._ways_on()])

    def _repr_html_(self) -> str:
        cell = 'style="text-align: left; vertical-align: top; padding: 2px 12px 2px 0"'
        head = "".join(f"<th {cell}>{name}</th>" for name in ("instance", "status", "", "where", "edited"))
        body = "".join(
            f"<tr><td {cell}>{escape(row.workflow)} {escape(row.instance)}</td><td {cell}>{escape(row.status)}</td>"
            f"<td {cell}><b>{row.verdict}</b></td><td {cell}>{escape(row.says)}</td><td {cell}>{escape(row.edited)}</td></tr>"
            for row in self._ordered()[:_SHOWN]
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if self.rows else ""
        more = [f"and {len(self.rows) - _SHOWN} more, in .rows"] if len(self.rows) > _SHOWN else []
        rest = "".join(f"<div>{escape(line)}</div>" for line in [*more, *self._ways_on()])
        return f"<div>{escape(self._head())}</div>{table}{rest}"

    def _ordered(self) -> list[Fit]:
        """What does not fit first."""
        return sorted(self.rows, key=lambda row: {False: 0, None: 1, True: 2}[row.fits])

    def _head(self) -> str:
        count = len(self.rows)
        if not count:
            return f"There are no {self._what} to look at."
        fitting = sum(1 for row in self.rows if row.fits)
        many = words.count(count, "recorded run")
        told = "fits" if count == 1 else f"all {count} fit" if fitting == count else ""
        if fitting == count:
            return f"{many}: {told}. Nothing was executed or written."
        unknown = sum(1 for row in self.rows if row.fits is None)
        parts = [f"{fitting} of {count} fit" if count > 1 else "", f"{unknown} cannot be told" if unknown else ""]
        shown = ", ".join(part for part in parts if part) or "does not fit"
        return f"{many}: {shown}. Nothing was executed or written."

    def _ways_on(self) -> list[str]:
        if not any(row.fits is False for row in self.rows):
            return []
        return [
            "Ways on for what does not fit: put the code back, and the same calls go on where they were; or call with the new "
            "code: a new run takes over the results that are unchanged and executes the rest."
        ]


def check(
    workflow: Workflow[..., Any] | str | None = None,
    *,
    finished: bool = False,
    code: Workflow[..., Any] | None = None,
    seconds: float = SECONDS,
) -> Check:
    """Play recorded runs to the workflows as they are defined now, and say which still fit.

    No activity and no ``rn.side_effect`` function is executed, and nothing is written. The workflow's own code does run, as
    on every replay, on a thread of its own, and what it prints is not shown.

    Args:
        workflow: whose instances, as the workflow or its name; None: those of every workflow.
        finished: look at ended instances, too; else only at those that are unfinished.
        code: play them to this workflow instead, for example to one under another name that is to replace it.
        seconds: how long the code may take for one run; one that takes longer is broken off, and nobody can tell.

    Returns:
        A ``Check``, which is true when all fit.

    Raises:
        LookupError: no workflow of that name is defined here.
        WrongPlace: it was called in workflow code.

    Example:
        >>> assert rn.check(order), rn.check(order)  # doctest: +SKIP
    """
    _refuse_inside()
    name = workflow.name if isinstance(workflow, Workflow) else workflow
    given = code if code is not None else workflow if isinstance(workflow, Workflow) else None
    if given is None and name is not None and registry.find("workflow", name) is None:
        raise LookupError(
            f"No workflow named {name!r} is defined here. Run the cell (or import the module) that defines it."
        )
    engine = launch.current()
    found: list[Head] = engine.ask(lambda engine: _heads(engine, name, finished))
    what = "instances" if finished else "unfinished instances"
    return Check(_checked(engine, found, given, seconds), f"{what} of {name}" if name else what)


def check_instance(
    engine: Engine, instance: str, code: Workflow[..., Any] | None = None, seconds: float = SECONDS
) -> Fit:
    """Play the newest run of *instance*, whatever its status, and say whether it fits.

    Raises:
        InstanceNotFound: there is none of that id.
        WrongPlace: it was called in workflow code.
    """
    _refuse_inside()
    head = engine.ask(lambda engine: head_of(engine, instance))
    return _checked(engine, [head], code, seconds)[0]


def unfinished(workflow: Workflow[..., Any]) -> list[Fit]:
    """Check the unfinished instances of *workflow* that were run with other code than it has now, newest first.

    Returns nothing when no journal is connected, or when it is held elsewhere: whoever calls the workflow is told.
    """
    engine = launch.connected()
    if engine is None:
        return []
    code = workflow.fingerprint().digest
    try:
        found = engine.ask(lambda engine: [head for head in _heads(engine, workflow.name, False) if head.code != code])
        return _checked(engine, found[:MOST_AT_ONCE], workflow, AT_ONCE, spinning=1)
    except RomancyError:
        return []


# -- looking -----------------------------------------------------------------------------------------------------------


def _refuse_inside() -> None:
    if ambient() is not None:
        raise WrongPlace(
            "rn.check looks at the journal, so its answer differs from replay to replay. Call it outside of workflows."
        )


def _heads(engine: Engine, workflow: str | None, finished: bool) -> list[Head]:
    """The newest runs of the instances to look at, newest first. Runs on the engine's thread."""
    heads = engine.journal.unfinished()
    if finished:
        heads = list(engine.journal.heads(engine.journal.known()).values())
    found = [
        head
        for head in heads
        if head.workflow != NOTEBOOK and head.status not in _UNDONE and workflow in {None, head.workflow}
    ]
    return sorted(found, key=lambda head: -head.started)


def _checked(
    engine: Engine,
    heads: Sequence[Head],
    code: Workflow[..., Any] | None,
    seconds: float,
    spinning: int = _SPINNING,
) -> list[Fit]:
    spun: dict[str, int] = {}
    found = []
    for head in heads:
        workflow = code if code is not None else registry.find("workflow", head.workflow)
        try:
            status, rows = engine.ask(lambda engine, head=head: _read(engine, head))
        except InstanceNotFound:
            continue
        edited = parting.edits(workflow.name, rows[0][1], workflow.fingerprint().reads) if workflow is not None else ""
        if head.workflow == NOTEBOOK:
            verdict = fits.Verdict(None, "it is a notebook: its cells are its code, and each finds its own steps.")
        elif head.status in _UNDONE:
            verdict = fits.Verdict(None, f"it is {status.replace('_', ' ')} and does not go forward any more.")
        elif workflow is None:
            verdict = fits.Verdict(None, f"{head.workflow} is not defined here. Run the cell that defines it.")
        elif spun.get(head.workflow, 0) >= spinning:
            verdict = fits.Verdict(None, "not tried, since the code did not come back from the others.")
        else:
            verdict = fits.play(workflow, head.digest, rows, seconds)
            spun[head.workflow] = spun.get(head.workflow, 0) + verdict.spins
        found.append(
            Fit(
                head.instance,
                head.workflow,
                head.number,
                status,
                verdict.fits,
                verdict.history,
                verdict.code,
                edited,
                verdict.says,
            )
        )
    return found


def _read(engine: Engine, head: Head) -> tuple[str, list[Numbered]]:
    return status_of(engine, head.instance)[0], [(row.seq, row.event) for row in engine.journal.load(head.run)]
