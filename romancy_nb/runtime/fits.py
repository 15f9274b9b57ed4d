"""Does a redefined workflow still fit the histories of its unfinished instances (X6)?

A history is run against the new code on a thread of its own, which is left alone when the code does not come back; nothing
is executed, and nothing written.
"""

from __future__ import annotations

from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from romancy_nb.clock import now_us
from romancy_nb.core.activation import Execution
from romancy_nb.core.transitions import ACTIVE
from romancy_nb.errors import RomancyError
from romancy_nb.runtime import hosts, launch
from romancy_nb.runtime.instance import status_of

if TYPE_CHECKING:
    from romancy_nb.core.replay import Numbered
    from romancy_nb.definitions.workflow import Workflow
    from romancy_nb.runtime.engine import Engine

__all__ = ["Fit", "unfinished"]

PATIENCE = 2.0
"""Seconds that one history may take."""
MOST = 20
"""Instances that are looked at."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How one unfinished instance stands to the new code.

    Attributes:
        status: as a person reads it.
        problem: where history and code part; empty when they fit; None when that could not be found out.
    """

    instance: str
    status: str
    problem: str | None


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


def _problem(workflow: Workflow[..., Any], digest: str, rows: list[Numbered]) -> str | None:
    host = hosts.ThreadHost("romancy check")
    reply: SimpleQueue[str | None] = SimpleQueue()

    def work() -> None:
        try:
            payload = rows[0][1].payload
            assert payload is not None
            execution = Execution(workflow.body(workflow.recall(payload, digest)), rows)
            report = execution.begin(now_us())
            execution.put_down()
            error = report.ended.error if report.ended is not None else None
            unknown = isinstance(error, RomancyError)
            reply.put(str(report.mismatch) if report.mismatch is not None else None if unknown else "")
        except BaseException:
            reply.put(None)

    host.put(work)
    try:
        return reply.get(timeout=PATIENCE)
    except Empty:
        return None
    finally:
        host.close()


def is_running(fit: Fit) -> bool:
    """Is it being advanced, with the code that it started with?"""
    return fit.status in ACTIVE
