"""Do stored runs still fit the code that is defined here (X6)? What to ask before changing a workflow that has live instances.

A history is run against the code on a thread of its own, which is left alone when the code does not come back. Workflow code
runs; no activity, no side effect and no timer does, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core.activation import Execution
from romancy_nb.core.commands import Outcome
from romancy_nb.core.ledger import NOTEBOOK
from romancy_nb.core.transitions import ACTIVE, TERMINAL
from romancy_nb.definitions import registry
from romancy_nb.errors import InstanceNotFound, RomancyError, RunPutDown
from romancy_nb.journal.answer import Answer
from romancy_nb.journal.protocol import Table
from romancy_nb.runtime import hosts, launch, starts
from romancy_nb.runtime.instance import status_of

if TYPE_CHECKING:
    from romancy_nb.core.replay import Numbered
    from romancy_nb.definitions.workflow import Workflow
    from romancy_nb.runtime.engine import Engine

__all__ = ["Checks", "Fit", "check", "is_running", "unfinished"]

PATIENCE = 2.0
"""Seconds that one history may take."""
MOST = 20
"""Instances that are looked at."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How one stored run stands to the code that is defined here.

    Attributes:
        status: as a person reads it.
        problem: where history and code part; empty when they fit; None when that could not be found out.
        workflow: name of the workflow.
        run: number of the run.
        cause: what was edited since, in words; empty: nothing.
    """

    instance: str
    status: str
    problem: str | None
    workflow: str = ""
    run: int = 0
    cause: str = ""

    @property
    def says(self) -> str:
        """The answer in words."""
        edited = f" (edited: {self.cause})" if self.cause else ""
        if self.problem is None:
            return f"could not be checked: its workflow is not defined here, or its code does not come back{edited}"
        return f"parts{edited}: {self.problem}" if self.problem else f"fits{edited}"


class Checks(list[Fit]):
    """What ``rn.check`` found, a run each. Shows itself as a table; ``fits`` says whether all of them fit."""

    @property
    def fits(self) -> bool:
        """Do all of them fit?"""
        return all(fit.problem == "" for fit in self)

    def _table(self) -> Table:
        rows = [(fit.instance, fit.workflow, fit.run, fit.status, fit.says) for fit in self]
        return Table(
            ("instance_id", "workflow", "run", "status", "answer"),
            ("VARCHAR",) * 2 + ("INTEGER",) + ("VARCHAR",) * 2,
            rows,
        )

    def df(self) -> Any:
        """Return the answers as a pandas DataFrame."""
        return Answer(self._table()).df()

    def __repr__(self) -> str:
        if not self:
            return "There is no such run to check."
        parted = sum(fit.problem != "" for fit in self)
        head = f"{len(self) - parted} of {len(self)} fit."
        return "\n".join([head, *(f"  {fit.workflow} {fit.instance} ({fit.status}): {fit.says}" for fit in self)])

    def _repr_html_(self) -> str:
        return Answer(self._table())._repr_html_() if self else ""


def check(what: Any = None, *, finished: bool = False) -> Checks:
    """Run stored histories against the workflows that are defined here, executing nothing, and say which still fit.

    Args:
        what: a workflow or its name, an instance or its id; None: every workflow.
        finished: also runs that have ended; of an instance that you name it makes no difference.

    Raises:
        InstanceNotFound: *what* is neither the name of a workflow that has runs nor the id of an instance.

    Example:
        >>> rn.check(order_workflow).fits  # doctest: +SKIP
        True
    """
    engine = launch.current()
    named = str(getattr(what, "id", getattr(what, "name", what))) if what is not None else None
    stored = engine.ask(lambda engine: _stored(engine, named, finished))
    return Checks(
        Fit(
            one.instance,
            one.status,
            _problem(workflow, one.digest, one.rows, ended=one.status in TERMINAL) if workflow is not None else None,
            one.workflow,
            one.run,
            _cause(workflow, one) if workflow is not None else "",
        )
        for one in stored
        for workflow in [registry.find("workflow", one.workflow)]
    )


@dataclass(frozen=True, slots=True)
class _Stored:
    instance: str
    workflow: str
    run: int
    status: str
    digest: str
    code: str
    rows: list[Numbered]


def _stored(engine: Engine, named: str | None, finished: bool) -> list[_Stored]:
    """Runs on the engine's thread."""
    journal = engine.journal
    open_ones = journal.unfinished()
    heads = list(journal.heads(journal.known()).values()) if finished or named is not None else open_ones
    if named is not None:
        one = [head for head in heads if head.instance == named]
        of_name = [head for head in heads if head.workflow == named and (finished or head.status not in TERMINAL)]
        if not one and not of_name and not any(head.workflow == named for head in heads):
            raise InstanceNotFound(
                f"{named!r} is neither the name of a workflow with runs in {journal.where} nor the id of an instance. "
                "rn.instances() lists what there is."
            )
        heads = one or of_name
    heads = sorted((head for head in heads if head.workflow != NOTEBOOK), key=lambda head: -head.started)
    return [
        _Stored(
            head.instance,
            head.workflow,
            head.number,
            status_of(engine, head.instance)[0],
            head.digest,
            head.code,
            [(row.seq, row.event) for row in journal.load(head.run)],
        )
        for head in heads
    ]


def _cause(workflow: Workflow[..., Any], stored: _Stored) -> str:
    prints = workflow.fingerprint()
    if prints.digest == stored.code:
        return ""
    before = dict((stored.rows[0][1].meta or {}).get("reads", {}))
    return starts.explain(before, dict(prints.reads)) or "its code"


def unfinished(workflow: Workflow[..., Any]) -> list[Fit]:
    """Check the unfinished instances of *workflow* that were run with other code than it has now, newest first.

    Returns nothing when no journal is connected.
    """
    engine = launch.connected()
    if engine is None:
        return []
    code = workflow.fingerprint().digest

    def ask(engine: Engine) -> list[tuple[str, str, str, list[Numbered]]]:
        heads = [head for head in engine.journal.unfinished() if head.workflow == workflow.name and head.code != code]
        heads.sort(key=lambda head: -head.started)
        return [
            (
                head.instance,
                status_of(engine, head.instance)[0],
                head.digest,
                [(row.seq, row.event) for row in engine.journal.load(head.run)],
            )
            for head in heads[:MOST]
        ]

    try:
        found = engine.ask(ask)
    except RomancyError:  # the journal is held elsewhere: whoever calls the workflow is told
        return []
    return [Fit(instance, status, _problem(workflow, digest, rows)) for instance, status, digest, rows in found]


def _problem(workflow: Workflow[..., Any], digest: str, rows: list[Numbered], *, ended: bool = False) -> str | None:
    host = hosts.ThreadHost("romancy check")
    reply: SimpleQueue[str | None] = SimpleQueue()

    def work() -> None:
        try:
            payload = rows[0][1].payload
            assert payload is not None
            forward = _forward(rows)
            execution = Execution(workflow.body(workflow.recall(payload, digest)), forward)
            execution.ambient.record_side_effect = _known_only(execution)
            report = execution.begin(now_us())
            execution.put_down()
            error = report.ended.error if report.ended is not None else None
            if report.mismatch is not None:
                reply.put(str(report.mismatch))
            elif isinstance(error, RomancyError):
                reply.put(None)
            elif ended and len(forward) == len(rows) and (report.ended is None or report.rows):
                reply.put("the code no longer ends where its history does")
            else:
                reply.put("")
        except BaseException:
            reply.put(None)

    host.put(work)
    try:
        return reply.get(timeout=PATIENCE)
    except Empty:
        return None
    finally:
        host.close()


def _forward(rows: list[Numbered]) -> list[Numbered]:
    """The part of a history that the code has seen: an undo is not its own."""
    undo = next((n for n, (_, event) in enumerate(rows) if event.kind == ev.RUN_COMPENSATING), len(rows))
    return rows[:undo]


def _known_only(execution: Execution) -> Callable[[str, Callable[[], Outcome]], Outcome]:
    """Answer side effects from history; one that is new is not executed: the check ends there."""
    record = execution.ambient.record_side_effect

    def refuse() -> Outcome:
        raise RunPutDown

    return lambda name, produce: record(name, refuse)


def is_running(fit: Fit) -> bool:
    """Is it being advanced, with the code that it started with?"""
    return fit.status in ACTIVE
