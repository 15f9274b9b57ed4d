"""What happens next, as tables: what a repeated call does (R1), and where a failed run can be taken up again.

``decide`` is total: every status, edited or not, under every kind of owner has an answer, and tests/core/test_transitions
walks through all of them. docs/architecture.md prints the same table for people.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, Literal

from romancy_nb.core import events as ev
from romancy_nb.core.replay import Numbered

__all__ = ["ACTIVE", "STATUSES", "STATUS_AFTER", "TERMINAL", "Action", "Owner", "decide", "retry_point", "status_after"]

ACTIVE: Final = frozenset({"running", "waiting", "compensating"})
TERMINAL: Final = frozenset({"completed", "failed", "compensated", "compensation_failed", "cancelled", "recurred"})
STATUSES: Final = ACTIVE | TERMINAL | {"paused", "stuck"}

Owner = Literal["here", "elsewhere", "nobody"]
"""Who advances the run: this process, another living one, or none (it died, or let go)."""


class Action(Enum):
    """What a call of a workflow does, given the latest run of its instance."""

    START = "starts the instance"
    REPLAY = "runs the body against the journal; nothing is executed"
    NEW_RUN = "starts a new run; what is unchanged and not undone is reused"
    RESUME = "goes on where the run was"
    RETRY = "goes on; the failed activity is executed again"
    ATTACH = "follows the run"
    ATTACH_OLD_CODE = "follows the run, which goes on with the code it started with"
    ATTACH_UNDO = "follows the undo; never forward"
    RESUME_UNDO = "goes on undoing; never forward"
    FOLLOW_NEWEST = "follows the newest run of the chain"
    REFUSE_CANCELLED = "raises: who cancelled it, when, and new=True"
    REFUSE_UNDO_FAILED = "raises with the three actions for a person"


_UNTOUCHED: Final = {
    "completed": Action.REPLAY,
    "failed": Action.RETRY,
    "compensated": Action.NEW_RUN,
    "compensation_failed": Action.REFUSE_UNDO_FAILED,
    "cancelled": Action.REFUSE_CANCELLED,
    "recurred": Action.FOLLOW_NEWEST,
    "paused": Action.RESUME,
    "stuck": Action.NEW_RUN,
    "running": Action.RESUME,
    "waiting": Action.RESUME,
    "compensating": Action.RESUME_UNDO,
}
_EDITED: Final = {
    **_UNTOUCHED,
    "completed": Action.NEW_RUN,
    "failed": Action.NEW_RUN,
    "cancelled": Action.NEW_RUN,
    "paused": Action.NEW_RUN,
    "running": Action.NEW_RUN,
    "waiting": Action.NEW_RUN,
}


def decide(status: str | None, edited: bool, owner: Owner) -> Action:
    """Return what a repeated call does, by hand (R1).

    Args:
        status: of the latest run; None when there is none.
        edited: does anything that the run depended on read differently now (R6)?
        owner: who advances that run.

    >>> decide("completed", False, "nobody").name
    'REPLAY'
    """
    if status is None:
        return Action.START
    if status in {"running", "waiting"} and owner != "nobody":
        return Action.ATTACH_OLD_CODE if edited else Action.ATTACH
    if status == "compensating" and owner != "nobody":
        return Action.ATTACH_UNDO
    return (_EDITED if edited else _UNTOUCHED)[status]


STATUS_AFTER: Final = {
    ev.RUN_STARTED: "running",
    ev.RUN_RESUMED: "running",
    ev.RUN_PAUSED: "paused",
    ev.RUN_STUCK: "stuck",
    ev.RUN_COMPLETED: "completed",
    ev.RUN_FAILED: "failed",
    ev.RUN_CANCELLED: "cancelled",
    ev.RUN_COMPENSATING: "compensating",
    ev.RUN_UNDO_PAUSED: "compensating",
    ev.RUN_COMPENSATED: "compensated",
    ev.RUN_COMPENSATION_FAILED: "compensation_failed",
    ev.RUN_RECURRED: "recurred",
}
"""What a run is after an event that changes its own status."""


def status_after(kind: str) -> str | None:
    """Return the status that an event of *kind* leaves the run in, or None when it does not change it."""
    return STATUS_AFTER.get(kind)


_TAIL: Final = frozenset({ev.RUN_FAILED, ev.RUN_PAUSED, ev.RUN_RESUMED})


def retry_point(rows: Sequence[Numbered]) -> int | None:
    """Return the number of the failure from which a failed run can go on, or None.

    A run that failed because of its last delivered event, and did nothing afterwards, goes on from there: that failure is
    declared void and its activity is executed again. If the code did more after the failure (cleaned up, cancelled
    siblings), that cannot be taken back; then a new run is started, which reuses everything that completed.
    """
    for seq, event in rows[::-1]:
        if event.kind == ev.ACTIVITY_FAILED:
            return seq
        if event.kind not in _TAIL:
            return None
    return None
