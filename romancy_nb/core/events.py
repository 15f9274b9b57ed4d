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
    "ANY_CHANNEL",
    "ATTEMPT_ABANDONED",
    "ATTEMPT_FAILED",
    "ATTEMPT_OUTPUT",
    "ATTEMPT_STARTED",
    "CALL_CANCELLED",
    "CANCEL_DELIVERED",
    "CANCEL_REQUESTED",
    "CHANNEL",
    "CHILD_CANCELLED",
    "CHILD_COMPLETED",
    "CHILD_FAILED",
    "CHILD_STARTED",
    "COMPENSATION_ARMED",
    "COMPENSATION_COMPLETED",
    "COMPENSATION_FAILED",
    "COMPENSATION_RESOLVED",
    "COMPENSATION_SCHEDULED",
    "DELIVERED",
    "EVENT_ARRIVED",
    "EVENT_RECEIVED",
    "EVENT_REFUSED",
    "INTENTS",
    "LATE_OUTCOME",
    "MESSAGE_PUBLISHED",
    "OUTCOMES",
    "OUTCOME_RECORDED",
    "OUTSIDE",
    "RUN_CANCELLED",
    "RUN_COMPENSATED",
    "RUN_COMPENSATING",
    "RUN_COMPENSATION_FAILED",
    "RUN_COMPLETED",
    "RUN_ENDS",
    "RUN_FAILED",
    "RUN_PAUSED",
    "RUN_RECURRED",
    "RUN_RESUMED",
    "RUN_STARTED",
    "RUN_STUCK",
    "RUN_UNDO_PAUSED",
    "SIDE_EFFECT",
    "SUBSCRIBED",
    "TIMER_CANCELLED",
    "TIMER_FIRED",
    "TIMER_STARTED",
    "WAIT_CANCELLED",
    "WAIT_STARTED",
    "Event",
]

# -- the run ---------------------------------------------------------------------------------------------------------
RUN_STARTED: Final = "run_started"
"""First row of a run. name: workflow. call: instance id. digest: of the inputs. code: fingerprint of the workflow.
payload: the inputs. meta: number (the run's number, from 1), reason (why this run exists, see ``transitions``),
seed (int, for uuid4 and random), clock (µs, where the run's clock starts), owner (token), epoch (1), notebook (path or
None), cell (id or None), versions ({"python": "3.11.7", ...}), namespace, source (the workflow's text),
cause (what was edited, in words). Of a child also: parent ({"instance", "run" (its key), "number", "place"} of the call that
began it), ancestors (name and digest of the inputs of each workflow above it, the topmost first). Of a
later turn (``rn.recur``) also: turn (number of the first run of that turn, or of the one that it does anew). Of a turn that is done
anew, after its chain was undone, also: over ([number of the first run of the turn that it repeats, of the last one of that
chain])."""
RUN_RESUMED: Final = "run_resumed"
"""A process took the run up (again). meta: owner, epoch, reason."""
RUN_PAUSED: Final = "run_paused"
"""meta: reason ("interrupt", "error", "doubt", "deadline", "child"), reported (True: an activity's error, so going on means to
try that again).
payload: the error, when there is one."""
RUN_STUCK: Final = "run_stuck"
"""The code parted from the history. meta: message, expected, asked."""
RUN_COMPLETED: Final = "run_completed"
"""payload: the result."""
RUN_FAILED: Final = "run_failed"
"""payload: the error."""
RUN_CANCELLED: Final = "run_cancelled"
"""Cancelled, and what was to be undone is undone. payload: the error that was undone for, if any. meta: reason, by."""
RUN_RECURRED: Final = "run_recurred"
"""The code goes on with a fresh history (``rn.recur``): the next run of the instance begins in the same commit. payload: the
inputs that it is begun with. meta: compensations ("carry", "run", "drop"), next (key of that run)."""
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
name: compensation. payload: its inputs. code: its fingerprint. meta: limit, as in an activity's. For a child: name: its
workflow. meta: child (its id)."""
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
undone any more), undoes (place of the call that this one, made by the code itself, undoes: ``rn.saga``), limit ([{"name",
"concurrency", "per_second"}, …]: what its attempts wait for, A8; then each of them has its attempt_started)."""
ATTEMPT_STARTED: Final = "attempt_started"
"""This attempt may have had an effect from here on (A1). attempt: 1, 2, … meta: limit, where other figures counted by then
than the intent has (A8)."""
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
"""What an abandoned attempt came to, or a child that was given up, after its call had ended otherwise. Never delivered. meta:
ok."""
ACTIVITY_COMPLETED: Final = "activity_completed"
"""Delivered. attempt: how many attempts it took. payload: the result. meta: reused ([run, seq]),
attributes (what the attempt says of itself, small and plain: {"cost_usd": 0.0123, "tokens": {"in": 900, "out": 120}, "model":
"…"}; the row of a failed attempt may have them, too)."""
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


# -- what comes from outside -----------------------------------------------------------------------------------------
WAIT_STARTED: Final = "wait_started"
"""The code waits for something that somebody sends. name: of the event. digest: of what is awaited: type, question.
payload: what may be known of it without the code: a JSON object with schema (JSON schema of the type) and, for a question,
question and default. meta: what ("event", "ask", "message"), reused."""
EVENT_ARRIVED: Final = "event_arrived"
"""Somebody has sent an event to the instance; not delivered. name: of the event. digest: its id. payload. meta: by, via,
carried (True: copied from the run before, where nobody had awaited it yet), checked (which schema's type has taken it)."""
EVENT_RECEIVED: Final = "event_received"
"""Delivered: the outcome of a wait. payload: the event's. meta: arrived (number of the event_arrived row), event_id, by, via,
checked, reused."""
EVENT_REFUSED: Final = "event_refused"
"""An event that had arrived does not fit what awaits it, and is put aside. meta: arrived, why."""
WAIT_CANCELLED: Final = "wait_cancelled"
"""The code no longer waits for it."""
CHILD_STARTED: Final = "child_started"
"""The intent of a child workflow. name: the workflow. digest, payload: of its inputs. code: its fingerprint. meta: instance (the
child's id), detach (True: it is not cancelled or undone with this run), linked (True: the id was given, so the child may have
another parent), reused."""
CHILD_COMPLETED: Final = "child_completed"
"""Delivered. payload: the child's result. meta: reused."""
CHILD_FAILED: Final = "child_failed"
"""Delivered. payload: the error. meta: reused."""
CHILD_CANCELLED: Final = "child_cancelled"
"""The code cancelled the call: the child is cancelled, and how it ends is not delivered."""
SUBSCRIBED: Final = "subscribed"
"""From here on messages of a channel arrive here. name: the channel. meta: mode ("broadcast", "competing"), carried (True: from
the run before), reused."""
MESSAGE_PUBLISHED: Final = "message_published"
"""The code published a message, which its receivers got in the same commit. name: the channel. digest, payload: of the message.
meta: to (an instance id, for a direct message), reused."""

CHANNEL: Final = "channel:"
"""Stands before the name of a channel where a message of it is an event."""
ANY_CHANNEL: Final = "channel:*"
"""The name under which the next message of any channel is awaited."""

DELIVERED: Final = frozenset(
    {ACTIVITY_COMPLETED, ACTIVITY_FAILED, TIMER_FIRED, EVENT_RECEIVED, CHILD_COMPLETED, CHILD_FAILED}
)
"""The kinds that the run's code sees, and that move its clock (C5)."""
OUTCOMES: Final = frozenset({ACTIVITY_COMPLETED, ACTIVITY_FAILED})
"""The kinds that say what a call came to."""
OUTSIDE: Final = frozenset({EVENT_RECEIVED, CHILD_COMPLETED, CHILD_FAILED})
"""The kinds that answer what the code awaits from outside. They can always be had again: what they tell is recorded elsewhere."""
INTENTS: Final = frozenset(
    {
        ACTIVITY_SCHEDULED,
        TIMER_STARTED,
        SIDE_EFFECT,
        COMPENSATION_ARMED,
        WAIT_STARTED,
        CHILD_STARTED,
        SUBSCRIBED,
        MESSAGE_PUBLISHED,
    }
)
"""The kinds that open a call: a step of the run."""
RUN_ENDS: Final = frozenset(
    {RUN_COMPLETED, RUN_FAILED, RUN_CANCELLED, RUN_COMPENSATED, RUN_COMPENSATION_FAILED, RUN_RECURRED}
)
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
