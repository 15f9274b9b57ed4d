"""The steps of a run: each call as it is shown, made from what its rows have said so far.

A step is a pure function of its call and of what is known of the run: whether somebody advances it, whether it has ended.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from romancy_nb.core import events as ev
from romancy_nb.payloads.payload import Payload
from romancy_nb.widgets import costs, preview
from romancy_nb.widgets.calls import AT_ONCE, EXECUTED, Call, Try, is_ok
from romancy_nb.widgets.costs import Cost
from romancy_nb.widgets.places import depth_of
from romancy_nb.words import clip, duration

__all__ = ["Attempt", "Progress", "Reported", "Standing", "Step", "progress_of", "step_of"]

_OF_CHILD: Final = {"completed": "ok", "failed": "failed", "cancelled": "cancelled", "running": "running"}
_CENTURIES: Final = 1e16  # µs: what takes longer than this is not told
_LARGEST: Final = 20_000  # characters of what is known of a wait that are read for its question

Reported = tuple[float, float | None, str, int, int, float]
"""What a step has reported of itself: done, total, text, at (µs), and when (µs) and at what count it first did."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a step.

    Attributes:
        number: from 1.
        started: µs.
        finished: µs; None when nobody recorded its end.
        outcome: ``ok``, ``failed``, ``running``, ``cancelled``, ``abandoned`` (left running when its call went
            on without it) or ``unknown`` (it may have run).
        error: preview of the error, else empty.
    """

    number: int
    started: int
    finished: int | None
    outcome: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running step says it is. It is told by its process and not journaled.

    Attributes:
        done: how much is done.
        total: of how much; None where the step does not know.
        text: what it says beside.
        rate: how much it does a second; None where that cannot be told yet.
        left_us: µs that the rest will take at that rate; None likewise.
    """

    done: float
    total: float | None
    text: str
    rate: float | None
    left_us: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a run.

    Attributes:
        seq: number of the event that opened it; steps are named by it.
        call: its place, such as ``0:3``.
        depth: 0 for the workflow itself, 1 for a branch that it started, …
        kind: ``activity``, ``child`` (a workflow), ``timer``, ``side_effect``, ``wait`` (for an event or a message),
            ``question`` (for a person), ``channel`` (a subscription), ``publish``, ``armed`` (an undo for the rest of the
            run) or ``compensation`` (an undo by the engine).
        name: of the activity, timer, helper, event or channel.
        status: ``running``, ``completed``, ``failed``, ``waiting``, ``in_doubt`` or ``cancelled``.
        origin: ``executed``, or ``reused`` when an earlier run's result answered it.
        origin_now: what it was in the call being shown: ``journal`` or ``now``; None where nobody asked.
        attempts: the attempts that this run knows of, in order.
        tries: how many attempts it took (also for a reused step, whose attempts stand in the earlier run).
        started: µs.
        finished: µs; None while it is open.
        due: µs when a timer, the next attempt, or the end of a wait, is due; else None.
        input: preview of the inputs.
        output: preview of the result.
        error: preview of the error.
        outputs: what it printed and displayed, as Jupyter has outputs.
        undoes: place of the call that it undoes, or empty; also of an undo that the code made itself.
        decided: what a person decided about an undo: ``skip`` or ``done``; or empty.
        limits: names of the limits that it waits for, while it does.
        child: instance id of a child workflow, or empty.
        question: what a person is asked, or empty.
        by: who answered a question or sent an event, or empty.
        via: how they did, or empty.
        refused: why what had arrived for it was put aside, the last time; or empty.
        refusals: how often that happened.
        undoable: has an undo been armed with it?
        cost: what it cost, where it says so.
        attributes: what else it says of itself, each with its words.
        progress: how far it says it is, while it runs and somebody looks.
        edited: a person replaced its result, in a fork.
        whole_input: the inputs, where a file is to have more of them than a preview and they are longer.
        whole_output: the result, likewise.
    """

    seq: int
    call: str
    depth: int
    kind: str
    name: str
    status: str
    origin: str
    origin_now: str | None
    attempts: tuple[Attempt, ...]
    tries: int
    started: int
    finished: int | None
    due: int | None
    input: str
    output: str
    error: str
    outputs: tuple[dict[str, Any], ...] = ()
    undoes: str = ""
    decided: str = ""
    limits: tuple[str, ...] = ()
    child: str = ""
    question: str = ""
    by: str = ""
    via: str = ""
    refused: str = ""
    refusals: int = 0
    undoable: bool = False
    cost: Cost | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    progress: Progress | None = None
    edited: bool = False
    whole_input: str = ""
    whole_output: str = ""

    @property
    def from_journal(self) -> bool:
        """True when its result was read from the journal: an earlier run's, or this run's in a repeated call."""
        return self.origin == "reused" or self.origin_now == "journal"

    @property
    def lane(self) -> str:
        """``undo`` for what the engine undoes and for what the code undoes itself, else ``forward``."""
        return "undo" if self.kind == "compensation" or self.undoes else "forward"

    @property
    def at_once(self) -> bool:
        """Was it done as soon as it was asked for, so that it takes no time?"""
        return self.kind in {"side_effect", "channel", "publish", "armed"}

    def spent(self, as_of: int) -> int | None:
        """Return how long it took, or has taken up to *as_of*, in µs; None when nobody knows."""
        if self.finished is not None:
            return max(0, self.finished - self.started)
        return None if self.status in {"in_doubt", "cancelled"} else max(0, as_of - self.started)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the run and decides what is shown of calls that are not over.

    Attributes:
        live: a living process advances the run, so what is open is being worked on.
        ended: the run has ended; what is still open will never be answered.
        since: the last row that was there before the call being shown; None where nobody asks.
        owner: who owns the run.
        whole: is more than a preview of values wanted?
    """

    live: bool
    ended: bool
    since: int | None
    owner: str
    whole: bool = False


def step_of(call: Call, run: Standing) -> Step:
    """Return *call* as a step of a run that stands like *run*."""
    intent, meta, outcome, kind = call.intent, call.meta, call.outcome, call.kind
    status = _status(call, run)
    at_once = intent.kind in AT_ONCE
    attempts = _attempts(call, status)
    reused = "reused" in meta
    answered = call.outcome_seq if outcome is not None else call.seq if at_once else 0
    result = intent.payload if kind == "side_effect" else outcome.payload if outcome is not None else None
    finished = intent.at if at_once else outcome.at if outcome is not None else call.cancelled
    facts = (outcome.meta or {}) if outcome is not None else {}
    known = _known(intent.payload) if intent.kind == ev.WAIT_STARTED else {}
    return Step(
        seq=call.seq,
        call=intent.call,
        depth=depth_of(intent.call),
        kind=kind,
        name=clip(intent.name.removeprefix(ev.CHANNEL)) or "?",
        status=status,
        origin="reused" if reused else "executed",
        origin_now=None if run.since is None else "journal" if reused or 0 < answered <= run.since else "now",
        attempts=attempts,
        tries=max([a.number for a in attempts]) if attempts else 0,
        started=intent.at,
        finished=None if finished is None else max(finished, intent.at),
        due=_due(call, status, known),
        input=_input(call),
        output=preview.value(result) if status == "completed" and result is not None else "",
        error=preview.failure(result) if status == "failed" else "",
        outputs=tuple(call.outputs),
        undoes=call.undoes,
        decided=call.decided,
        limits=call.limits if status == "waiting" and not reused else (),
        child=clip(str(meta.get("child" if kind == "compensation" else "instance") or "")) if kind in _CHILDREN else "",
        question=clip(str(known.get("question", ""))) if kind == "question" else "",
        by=clip(str(facts.get("by") or "")) if facts else "",
        via=clip(str(facts.get("via") or "")) if facts else "",
        refused=call.refused[-1] if call.refused else "",
        refusals=len(call.refused),
        undoable=_undoable(call, status),
        cost=costs.total(call.attributes) if call.attributes else None,
        attributes=costs.told(call.attributes) if call.attributes else (),
        edited=bool(meta.get("edited")),
        whole_input=_longer(_input(call, preview.WHOLE)) if run.whole else "",
        whole_output=_longer(preview.value(result, preview.WHOLE)) if run.whole and status == "completed" else "",
    )


def _longer(text: str) -> str:
    return text if len(text) > preview.LIMIT else ""


_CHILDREN: Final = frozenset({"child", "compensation"})


def _undoable(call: Call, status: str) -> bool:
    meta = call.intent.meta or {}
    if "shared" in meta:  # the effect is that of the instance which was forked (R17)
        return False
    if call.kind == "armed":
        return True
    if call.kind == "child":
        return not (meta.get("detach") or meta.get("linked")) and status == "completed"
    return bool(meta.get("undo")) and status == "completed"


def _input(call: Call, limit: int = preview.LIMIT) -> str:
    kind = call.intent.kind
    if kind in EXECUTED or kind in {ev.CHILD_STARTED, ev.COMPENSATION_ARMED}:
        return preview.inputs(call.intent.payload, limit)
    if kind == ev.MESSAGE_PUBLISHED:
        return preview.value(call.intent.payload, limit)
    delay = (call.intent.meta or {}).get("delay")
    return duration(int(delay * 1_000_000)) if isinstance(delay, int | float) else ""


def _due(call: Call, status: str, known: dict[str, Any]) -> int | None:
    if call.intent.kind == ev.TIMER_STARTED:
        due = call.meta.get("due")
    elif call.intent.kind == ev.WAIT_STARTED:
        due = known.get("due") or call.deadline if status != "completed" else None
    else:
        due = call.next_at if status == "waiting" else None
    return int(due) if isinstance(due, int | float) and due else None


def _known(payload: Payload | None) -> dict[str, Any]:
    """What the intent of a wait says of it, where that is small enough to be read for a line."""
    found: Any = None
    if payload is not None and len(payload.text) <= _LARGEST:
        with suppress(ValueError, RecursionError):
            found = json.loads(payload.text)
    return found if isinstance(found, dict) else {}


def _status(call: Call, run: Standing) -> str:
    kind = call.intent.kind
    if kind in AT_ONCE:
        return "completed" if call.meta.get("ok", True) else "failed"
    if call.outcome is not None:
        return "completed" if is_ok(call.outcome) else "failed"
    if call.cancelled is not None:
        return "cancelled"
    if kind in {ev.TIMER_STARTED, ev.WAIT_STARTED}:
        return "cancelled" if run.ended else "waiting"
    if kind == ev.CHILD_STARTED:  # whether it runs is told by its own history
        return "cancelled" if run.ended else "running" if run.live else "waiting"
    once = call.meta.get("delivery") == "at_most_once"
    last = call.tries[-1] if call.tries else None
    queued = last.outcome == "failed" if last else once or call.limits or "reused" in call.meta
    if queued:
        return "cancelled" if run.ended else "waiting"
    if not run.live or run.ended:
        return "in_doubt"
    # Another process began it and was lost. At most once means that nobody begins it again (A1, A2).
    return "in_doubt" if once and call.owner != run.owner else "running"


def _attempts(call: Call, status: str) -> tuple[Attempt, ...]:
    """The attempts as they are shown; of those without an end, only the last one can be running."""
    if call.intent.kind == ev.CHILD_STARTED and "reused" not in call.meta:
        end = call.outcome.at if call.outcome is not None else call.cancelled
        return (Attempt(1, call.intent.at, end, _OF_CHILD.get(status, "unknown")),)
    if call.intent.kind not in EXECUTED:
        return ()
    tries = call.tries
    if not tries and status in {"running", "in_doubt"}:
        tries = [Try(1, call.intent.at, call.owner)]
    elif tries and tries[0].number > 1 and "reused" not in call.meta:
        tries = [Try(1, call.intent.at, call.owner), *tries] if tries[0].number == 2 else tries
    shown = []
    for attempt in tries:
        outcome, finished = attempt.outcome, attempt.finished
        if not outcome and attempt is tries[-1] and status == "cancelled":
            outcome, finished = "cancelled", call.cancelled
        elif not outcome:
            outcome = "running" if attempt is tries[-1] and status == "running" else "unknown"
        shown.append(Attempt(attempt.number, attempt.started, finished, outcome, attempt.error))
    return tuple(shown)


def progress_of(told: Reported) -> Progress:
    """Return what *told* means: how fast it goes and how long it will take, by what it has done since it first told."""
    done, total, text, at, first_at, first_done = told
    done, first_done = _finite(done) or 0, _finite(first_done) or 0
    total = _finite(total)
    seconds = (at - first_at) / 1_000_000
    rate = _finite((done - first_done) / seconds) if seconds > 0 and done > first_done else None
    left = None if rate is None or total is None else _finite(max(0.0, total - done) / rate * 1_000_000)
    rate = None if rate is None else float(f"{rate:.3g}")
    return Progress(done, total, clip(text), rate, int(left) if left is not None and left < _CENTURIES else None)


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
