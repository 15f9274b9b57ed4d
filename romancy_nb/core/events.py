"""The vocabulary of history: what can happen in a run, one event a row.

History is append-only and is the truth: statuses, steps, attempts are all read off it. An event is *delivered* when the
run's code gets to see it; exactly one is delivered between two rests of the loop (C5). The others are records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from romancy_nb.payloads.payload import Payload

__all__ = [
    "ACTIVITY_COMPLETED",
    "ACTIVITY_FAILED",
    "ACTIVITY_SCHEDULED",
    "ATTEMPT_ABANDONED",
    "ATTEMPT_FAILED",
    "ATTEMPT_OUTPUT",
    "ATTEMPT_STARTED",
    "CALL_CANCELLED",
    "CANCEL_DELIVERED",
    "CANCEL_REQUESTED",
    "COMPENSATION_ARMED",
    "COMPENSATION_COMPLETED",
    "COMPENSATION_FAILED",
    "COMPENSATION_RESOLVED",
    "COMPENSATION_SCHEDULED",
    "DELIVERED",
    "INTENTS",
    "LATE_OUTCOME",
    "OUTCOMES",
    "OUTCOME_RECORDED",
    "RUN_CANCELLED",
    "RUN_COMPENSATED",
    "RUN_COMPENSATING",
    "RUN_COMPENSATION_FAILED",
    "RUN_COMPLETED",
    "RUN_ENDS",
    "RUN_FAILED",
    "RUN_PAUSED",
    "RUN_RESUMED",
    "RUN_STARTED",
    "RUN_STUCK",
    "RUN_UNDO_PAUSED",
    "SIDE_EFFECT",
    "TIMER_CANCELLED",
    "TIMER_FIRED",
    "TIMER_STARTED",
    "Event",
]

# -- the run ---------------------------------------------------------------------------------------------------------
RUN_STARTED: Final = "run_started"
"""First row of a run. name: workflow. call: instance id. digest: of the inputs. code: fingerprint of the workflow.
payload: the inputs. meta: number (the run's number, from 1), reason (why this run exists, see ``transitions``),
seed (int, for uuid4 and random), clock (µs, where the run's clock starts), owner (token), epoch (1), notebook (path or
None), cell (id or None), versions ({"python": "3.11.7", ...}), namespace, source (the workflow's text),
cause (what was edited, in words)."""
RUN_RESUMED: Final = "run_resumed"
"""A process took the run up (again). meta: owner, epoch, reason."""
RUN_PAUSED: Final = "run_paused"
"""meta: reason ("interrupt", "error", "doubt"), reported (True: an activity's error, so going on means to try that again).
payload: the error, when there is one."""
RUN_STUCK: Final = "run_stuck"
"""The code parted from the history. meta: message, expected, asked."""
RUN_COMPLETED: Final = "run_completed"
"""payload: the result."""
RUN_FAILED: Final = "run_failed"
"""payload: the error."""
RUN_CANCELLED: Final = "run_cancelled"
"""Cancelled, and what was to be undone is undone. payload: the error that was undone for, if any. meta: reason, by."""
CANCEL_REQUESTED: Final = "cancel_requested"
"""Somebody wants the run to be cancelled; nothing has happened yet. meta: reason, by."""
CANCEL_DELIVERED: Final = "cancel_delivered"
"""Delivered: the code gets CancelledError at its wait (U3). meta: reason."""

# -- undo (``core.saga`` reads it) -----------------------------------------------------------------------------------
RUN_COMPENSATING: Final = "run_compensating"
"""From here on nothing goes forward (U1). The first of a run: payload: the error that ended the code, if any. meta: why
("failed", "cancelled"), reason, by. A later one: a process takes the undo up again. meta: owner, epoch."""
RUN_UNDO_PAUSED: Final = "run_undo_paused"
"""The undo stopped on purpose, and nobody owns it. meta: reason ("interrupt", "missing"), message."""
RUN_COMPENSATED: Final = "run_compensated"
"""Everything that was to be undone is undone. payload: the error that it was undone for. meta: kept (names of activities
that stand, behind a pivot or in doubt), when there are such."""
RUN_COMPENSATION_FAILED: Final = "run_compensation_failed"
"""A compensation gave up: a person decides. payload: its error. meta: place (of the call that it is to undo)."""
COMPENSATION_ARMED: Final = "compensation_armed"
"""An undo for the rest of the run (``rn.compensate_with``): an intent that counts as completed where it stands.
name: compensation. digest, payload: of its inputs. meta: in (the compensation's module, unless that is ``__main__``)."""
COMPENSATION_SCHEDULED: Final = "compensation_scheduled"
"""The intent of one undo; ``call`` is "undo:" and the place that it undoes, here and in the rows of its attempts.
name: compensation. payload: its inputs. code: its fingerprint."""
COMPENSATION_COMPLETED: Final = "compensation_completed"
"""attempt: how many attempts it took. payload: its result."""
COMPENSATION_FAILED: Final = "compensation_failed"
"""attempt: how many. payload: the error."""
COMPENSATION_RESOLVED: Final = "compensation_resolved"
"""A person decided about an undo. meta: action ("retry", "skip", "done"), note, by."""

# -- calls (``call`` is the place) -----------------------------------------------------------------------------------
ACTIVITY_SCHEDULED: Final = "activity_scheduled"
"""The intent. name: activity. digest: of the inputs. code: fingerprint of the activity. payload: the inputs.
meta (each only when it says something): occurrence (int, when > 0), reused ([run, seq] of the intent whose outcome
answers this call), delivery ("at_most_once"), line ([file, line] of the call), undo ({"name": compensation, "with": names of
the activity's parameters that it takes, "result": does it take the result, "if": "completed" or "started", "in": the
compensation's module, unless that is ``__main__``}: armed with this row, U2), pivot (True: what completed before it is not
undone any more), undoes (place of the call that this one, made by the code itself, undoes: ``rn.saga``)."""
ATTEMPT_STARTED: Final = "attempt_started"
"""This attempt may have had an effect from here on (A1). attempt: 1, 2, …"""
ATTEMPT_FAILED: Final = "attempt_failed"
"""attempt: which. payload: the error. meta: next_at (µs, when the next attempt may start)."""
ATTEMPT_ABANDONED: Final = "attempt_abandoned"
"""An attempt was left running (timeout of a ``def`` activity, or Stop); its outcome may come late (A2, A3).
meta: reason ("timeout", "interrupt")."""
ATTEMPT_OUTPUT: Final = "attempt_output"
"""What an attempt printed and displayed (N4), in front of the row that ends it. payload: a list of Jupyter outputs
(``stream`` with name and text; ``display_data`` with data and metadata). meta: attempt (which; the field of that name stays
0, so that no view counts this row as an attempt), live (it stood in the cell while the attempt ran, so a replay shows it
here; else with the call's outcome), reused (copied from an earlier run with what answered the call)."""
OUTCOME_RECORDED: Final = "outcome_recorded"
"""An outcome that could not be delivered yet (the run was put down, or its code was busy): nothing is lost (S1).
meta: ok (bool). payload: the result or the error. A later activity_completed/failed of the same call replaces it."""
LATE_OUTCOME: Final = "late_outcome"
"""What an abandoned attempt came to, after its call had ended otherwise. Never delivered. meta: ok."""
ACTIVITY_COMPLETED: Final = "activity_completed"
"""Delivered. attempt: how many attempts it took. payload: the result. meta: reused ([run, seq])."""
ACTIVITY_FAILED: Final = "activity_failed"
"""Delivered. attempt: how many. payload: the error. meta: reused."""
CALL_CANCELLED: Final = "call_cancelled"
"""The code cancelled the call (a losing branch): its outcome will not be delivered."""
TIMER_STARTED: Final = "timer_started"
"""name: "sleep". digest: of the delay. meta: due (µs), delay (seconds)."""
TIMER_FIRED: Final = "timer_fired"
"""Delivered."""
TIMER_CANCELLED: Final = "timer_cancelled"
"""The code no longer waits for it."""
SIDE_EFFECT: Final = "side_effect"
"""name: of the function. payload: its result; meta: ok (False when it raised)."""

DELIVERED: Final = frozenset({ACTIVITY_COMPLETED, ACTIVITY_FAILED, TIMER_FIRED})
"""The kinds that the run's code sees, and that move its clock (C5)."""
OUTCOMES: Final = frozenset({ACTIVITY_COMPLETED, ACTIVITY_FAILED})
"""The kinds that say what a call came to."""
INTENTS: Final = frozenset({ACTIVITY_SCHEDULED, TIMER_STARTED, SIDE_EFFECT, COMPENSATION_ARMED})
"""The kinds that open a call: a step of the run."""
RUN_ENDS: Final = frozenset({RUN_COMPLETED, RUN_FAILED, RUN_CANCELLED, RUN_COMPENSATED, RUN_COMPENSATION_FAILED})
"""The kinds after which nothing more is delivered to the run."""


class Event(NamedTuple):
    """One thing that happened in a run.

    Attributes:
        kind: one of the constants above.
        at: when, in microseconds since 1970 (UTC).
        call: the place of the call it belongs to (``"0:3"``), empty for events of the run; the instance id in run_started.
        name: of the activity, timer, helper or (run_started) workflow.
        digest: of the inputs, canonical (A6).
        code: fingerprint of the function (R6).
        attempt: number of the attempt, 0 where it means nothing.
        payload: inputs, result or error.
        meta: small facts, JSON-able.

    A tuple with names: it is made in a fifth of the time of a frozen dataclass, and a replay makes two for every step.
    """

    kind: str
    at: int
    call: str = ""
    name: str = ""
    digest: str = ""
    code: str = ""
    attempt: int = 0
    payload: Payload | None = None
    meta: Mapping[str, Any] | None = None
