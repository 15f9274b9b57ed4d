"""What workflow code asks for, taken down: calls, timers, side effects, undos (C3, C6, R2).

Each request is looked up in the run's history by its place, or is new; a new one is answered by an earlier run, or reported
to whoever executes it. ``activation`` drives the code and delivers what comes back.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
from collections.abc import Callable, Sequence
from typing import Any

from romancy_nb.core import events as ev
from romancy_nb.core.calls import OPEN_SAGAS, ArmedUndo, CallFuture, OutsideFuture
from romancy_nb.core.commands import (
    ActivityCommand,
    OpenCall,
    OpenOutside,
    OpenTimer,
    Outcome,
    OutsideCommand,
    Report,
)
from romancy_nb.core.context import Ambient
from romancy_nb.core.events import Event
from romancy_nb.core.family import chain, child_id, is_owned
from romancy_nb.core.loop import WorkflowLoop
from romancy_nb.core.ordering import sort_by_place
from romancy_nb.core.pool import Kept, Pool
from romancy_nb.core.replay import Call, History, Key, Numbered
from romancy_nb.core.tasks import Path, Timer, WorkflowFuture
from romancy_nb.errors import HistoryMismatch, RunPutDown, RunRecurs, WrongArguments
from romancy_nb.payloads.payload import NULL, Payload

__all__ = ["Issuing"]

_CANCELLED = frozenset({ev.CALL_CANCELLED, ev.TIMER_CANCELLED, ev.WAIT_CANCELLED, ev.CHILD_CANCELLED})


class Issuing:
    """The part of an execution that its code talks to.

    Args:
        rows: the run's history so far; the first row is ``run_started``.
        pool: what earlier runs know, for a new run of the same instance.

    Attributes:
        ambient: the run as its code sees it.
    """

    def __init__(self, rows: Sequence[Numbered], pool: Pool | None = None) -> None:
        self._history = History(rows)
        self._pool = pool
        start = self._history.start
        facts = start.meta or {}
        self._clock = int(facts.get("clock", start.at))
        self.loop = WorkflowLoop(now=self._clock / 1_000_000)  # type: ignore[abstract]  # the rest of it is set by name
        self.ambient = Ambient(
            self.loop,
            instance_id=start.call,
            workflow_name=start.name,
            run=int(facts.get("number", 1)),
            seed=int(facts.get("seed", 0)),
        )
        self.ambient.ancestors = (*chain(facts.get("ancestors", ())), (start.name, start.digest))
        self.ambient.channels |= {event.name for _, event in rows if event.kind == ev.SUBSCRIBED and not event.call}
        self.loop.ambient = self.ambient
        self.loop.awaited = lambda: bool(self._calls or self._timers or self._outside)
        self.loop.on_unordered = self._unordered
        self.loop.on_timer = self._timer_started
        self.loop.on_timer_cancelled = self._timer_cancelled
        self.ambient.schedule = self._schedule
        self.ambient.expects = self._expects
        self.ambient.await_outside = self._await_outside
        self.ambient.record = self._record
        self.ambient.recur = self._recur
        self.ambient.record_side_effect = self._side_effect
        self.ambient.arm = self._arm
        self._caught_up = False
        self._anew = False
        self._armed = False
        self._cancelled: str | None = None
        self._recurs: RunRecurs | None = None
        self._settled = 0
        self._mismatch: HistoryMismatch | None = None
        self._present = 0
        self._report = Report()
        self._unordered_from = 0
        self._occurrences: dict[tuple[str, str, str], int] = {}
        self._calls: dict[str, CallFuture] = {}
        self._timers: dict[str, tuple[Timer, int]] = {}
        self._outside: dict[str, OutsideFuture] = {}
        self._places: set[str] = set()
        self._reused: list[tuple[tuple[int, int, int], str, Kept]] = []
        if pool is not None:
            pool.claim(self._history)

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _occurrence(self, kind: str, name: str, digest: str) -> int:
        """Count equal calls in the order in which they are issued."""
        known = (kind, name, digest)
        occurrence = self._occurrences.get(known, 0)
        self._occurrences[known] = occurrence + 1
        return occurrence

    def _find(self, place: str, kind: str, name: str, digest: str, occurrence: int, text: str = "") -> Call | None:
        """Find the call in this run's history. None: it is new. Raises RunPutDown when code and history part here."""
        if self._caught_up:
            return None
        call = self._history.find(place, kind, name, digest, occurrence)
        if call is None:
            if self._history.knows and not self._history.goes_on():
                self._part(self._history.mismatch(place, kind, name, text))
                raise RunPutDown
            return None
        if call.intent.call != place:
            self._report.moved.append(f"{name} moved from {call.intent.call} to {place}")
        return call

    def _expects(self, name: str, digest: str) -> bool | None:
        """On replay, whether history has this activity call at this point; None when it may be made in any case."""
        history = self._history
        if self._caught_up or not history.knows or history.goes_on():
            return None
        return history.expects(self.loop.here().next(), ev.ACTIVITY_SCHEDULED, name, digest)

    def _new_place(self, place: str) -> str:
        while place in self._places or place in self._history.calls:
            place += "+"
        self._places.add(place)
        return place

    def _schedule(self, command: ActivityCommand) -> WorkflowFuture:
        if self.loop.dead:
            self.loop.on_refused()
        owner = self.loop.here()
        self._refuse_cancelled(owner)
        place, kind, name, digest = owner.place(), ev.ACTIVITY_SCHEDULED, command.name, command.digest
        if command.limits is not None and not self._history.holds(place, name, digest):
            command.limits(
                True
            )  # before anything is noted of the call, so that code which catches it is replayed alike
        occurrence = self._occurrence(kind, name, digest)
        call = self._find(place, kind, name, digest, occurrence, command.payload.text)
        if call is not None:
            place = call.intent.call
            future = CallFuture(self, place, owner, command)
            future.call = call
            future.occurrence = call.occurrence
            future.shared = "shared" in (call.intent.meta or {})
        else:
            place = self._new_place(place)
            future = CallFuture(self, place, owner, command)
            future.occurrence = occurrence
            self._issue(future, (kind, name, digest, occurrence))
        self._calls[place] = future
        if command.undo is not None and not future.shared:
            self._armed = True
            for calls in OPEN_SAGAS.get():
                calls.append(future)
        return future

    def _issue(self, future: CallFuture, key: Key) -> None:
        """A call that this run has not made before: answered by an earlier run (R2, R4, R8), or executed."""
        command, place = future.command, future.place
        meta: dict[str, Any] = {}
        if key[3]:
            meta["occurrence"] = key[3]
        if command.at_most_once:
            meta["delivery"] = "at_most_once"
        if command.undo is not None:
            meta["undo"] = command.undo
        if command.pivot:
            meta["pivot"] = True
        if command.undoes:
            meta["undoes"] = command.undoes
        if command.limits is not None and (limits := command.limits(False)):
            meta["limit"] = list(limits)
        code = command.code()
        kept = None
        if self._pool is not None and command.reuse != "never" and not (command.reuse == "prefix" and self._anew):
            keeps = command.keeps or command.undo is not None or command.at_most_once
            kept = self._pool.take(place, key, lambda: code, keeps=keeps)
        at = self._present
        if kept is not None:
            if kept.call.intent.code != code:  # the result is that of the code which made it
                code = kept.call.intent.code
                self._report.kept.append(command.name)
            meta["reused"] = list(kept.origin)
            meta |= kept.marks
            if "shared" in meta:
                future.shared = True
                meta.pop("undo", None)
            at = kept.call.intent.at
            heapq.heappush(self._reused, (kept.order, place, kept))
        elif self._caught_up:
            self._report.calls.append(self._opened(future))
        self._report.rows.append(
            Event(
                ev.ACTIVITY_SCHEDULED, at, place, command.name, command.digest, code, 0, command.payload, meta or None
            )
        )
        if kept is None and self._in_doubt(command, key[3]):
            # in this run's own history, too: whoever takes it up, resolves it or runs it anew finds the doubt there
            started = Event(ev.ATTEMPT_STARTED, at, place, attempt=1, meta={"inherited": True})
            self._report.rows.append(started)

    def call_cancelled(self, future: CallFuture) -> None:
        """The code no longer wants this call's outcome."""
        place = future.place
        if self.loop.dead or self._calls.pop(place, None) is None:
            return
        self._given_up(place, future.call, Event(ev.CALL_CANCELLED, self._present, place))
        self._report.cancelled_calls.append(place)

    def _given_up(self, place: str, call: Call | None, row: Event) -> None:
        """The code cancelled a call or timer: journal it, unless history has it already."""
        if self._reused:
            self._reused = [entry for entry in self._reused if entry[1] != place]
            heapq.heapify(self._reused)
        if self._caught_up or call is None or (not call.cancelled and self._history.goes_on()):
            self._report.rows.append(row)
        elif not call.cancelled:
            self._part(self._history.cancelled_otherwise(call))

    def _unordered(self, begins: bool) -> None:
        """Put the cancellations of a step that has no order of its own in the order of their places (C4)."""
        rows = self._report.rows
        if begins:
            self._unordered_from = len(rows)
            return
        sort_by_place(rows, self._unordered_from, _CANCELLED)

    def _opened(self, future: CallFuture) -> OpenCall:
        """A call to execute that this run has only just made; a doubt of an earlier run goes on with it (A5)."""
        command = future.command
        opened = OpenCall(future.place, command, future.occurrence, first_at=self._present)
        if command.limits is not None:
            opened.limits = command.limits(False)
        recorded = future.call.limits if future.call is not None else opened.limits
        if recorded:
            opened.limits, opened.queues = recorded, True
        if self._in_doubt(command, future.occurrence):
            opened.attempts, opened.fresh = 1, False
        return opened

    def _in_doubt(self, command: ActivityCommand, occurrence: int) -> bool:
        if not command.at_most_once or self._pool is None:
            return False
        return self._pool.in_doubt((ev.ACTIVITY_SCHEDULED, command.name, command.digest, occurrence))

    def _part(self, mismatch: HistoryMismatch) -> None:
        """Code and history parted: from here on nothing that this execution asks for happens."""
        if self._mismatch is None:
            self._mismatch = mismatch
        self.loop.dead = True

    # -- cancelled code, and undo ------------------------------------------------------------------------------------------

    def _refuse_cancelled(self, owner: Path) -> None:
        """Code that swallowed its cancellation, or its going on in a new run, gets it again, unless it is cleaning up (U3)."""
        if owner is not self.loop.root or sys.exception() is not None:
            return
        if self._cancelled is not None:
            raise asyncio.CancelledError(self._cancelled)
        if self._recurs is not None:
            raise self._recurs

    def _recur(self, wish: RunRecurs) -> None:
        """The code goes on in a new run; it may clean up what it has open."""
        same = wish.request.inputs.digest == self._history.start.digest
        if same and not self._places and not self._history.calls:
            raise WrongArguments(
                f"rn.recur(...) changes nothing: {self.ambient.workflow_name} goes on with the arguments that it has, and has done "
                "nothing in this run, so it would turn for ever. Sleep or wait before, or hand on what has changed."
            )
        if self._recurs is None and self._cancelled is None:
            self._recurs = wish
        raise wish

    def _arm(
        self, name: str, module: str, digest: str, payload: Payload, extra: Any, code: Callable[[], str]
    ) -> ArmedUndo:
        """Journal an undo for the rest of the run (``rn.compensate_with``)."""
        kind, place = ev.COMPENSATION_ARMED, self.loop.here().place()
        occurrence = self._occurrence(kind, name, digest)
        call = self._find(place, kind, name, digest, occurrence, payload.text)
        shared = self._pool is not None and self._pool.is_shared((kind, name, digest, occurrence))
        if call is not None:
            place, shared = call.intent.call, "shared" in (call.intent.meta or {})
        else:
            place = self._new_place(place)
            meta: dict[str, Any] = {"occurrence": occurrence} if occurrence else {}
            if module != "__main__":
                meta["in"] = module
            if shared:
                meta["shared"] = True
            self._report.rows.append(Event(kind, self._present, place, name, digest, code(), 0, payload, meta or None))
        if extra is not None:
            self._report.secrets[place] = extra
        self._armed = self._armed or not shared
        self._settled += 1
        armed = ArmedUndo(place, name, payload, self._settled, module, extra)
        for calls in OPEN_SAGAS.get() if not shared else ():
            calls.append(armed)
        return armed

    # -- what comes from outside ---------------------------------------------------------------------------------------

    def _await_outside(self, command: OutsideCommand) -> OutsideFuture:
        if self.loop.dead:
            self.loop.on_refused()
        owner = self.loop.here()
        self._refuse_cancelled(owner)
        place, kind, name, digest = owner.place(), command.kind, command.name, command.digest
        occurrence = self._occurrence(kind, name, digest)
        call = self._find(place, kind, name, digest, occurrence, command.payload.text if command.payload else "")
        if call is not None:
            place = call.intent.call
            future = OutsideFuture(self, place, owner, command)
            future.call, future.occurrence, future.facts = call, call.occurrence, call.intent.meta or {}
        else:
            place = self._new_place(place)
            future = OutsideFuture(self, place, owner, command)
            future.occurrence = occurrence
            self._issue_outside(future, (kind, name, digest, occurrence))
        self._outside[place] = future
        if kind == ev.CHILD_STARTED and is_owned(future.facts):
            self._armed = True
        return future

    def _issue_outside(self, future: OutsideFuture, key: Key) -> None:
        """Something that this run has not awaited before: an earlier run knows how it came out (R3), or it is awaited."""
        command, place = future.command, future.place
        meta = dict(command.facts)
        if key[3]:
            meta["occurrence"] = key[3]
        if command.kind == ev.CHILD_STARTED and "instance" not in meta:
            meta["instance"] = child_id(command.name, self.ambient.instance_id, self.ambient.run, place)
        code, at = command.code(), self._present
        kept = self._pool.take(place, key, lambda: code) if self._pool is not None else None
        if kept is not None:
            known = kept.call.intent.meta or {}
            meta |= {fact: known[fact] for fact in ("instance", "linked") if fact in known} | kept.marks
            meta["reused"] = list(kept.origin)
            at = kept.call.intent.at
            heapq.heappush(self._reused, (kept.order, place, kept))
        elif self._pool is not None and command.kind == ev.CHILD_STARTED and "linked" not in meta:
            # the child that an earlier run began goes on, instead of another one beside it
            meta["instance"] = self._pool.child(key) or meta["instance"]
        future.facts = meta
        if kept is None and self._caught_up:
            self._report.outside.append(self._opened_outside(future))
            self._report.tells = self._report.tells or command.facts.get("what") == "message"
        row = Event(command.kind, at, place, command.name, command.digest, code, 0, command.payload, meta or None)
        self._report.rows.append(row)

    def _opened_outside(self, future: OutsideFuture) -> OpenOutside:
        call = future.call
        at, fresh = (call.intent.at, False) if call is not None else (self._present, True)
        return OpenOutside(future.place, future.command, future.occurrence, future.facts, at, fresh)

    def expired(self, future: OutsideFuture) -> None:
        """The time in which the code waits for this is over."""
        if not future.done():
            self.outside_cancelled(future)
            future.set_result(Outcome(False, NULL))

    def outside_cancelled(self, future: OutsideFuture) -> None:
        """The code does not wait for this any more."""
        place = future.place
        if self.loop.dead or self._outside.pop(place, None) is None:
            return
        kind = ev.CHILD_CANCELLED if future.command.kind == ev.CHILD_STARTED else ev.WAIT_CANCELLED
        self._given_up(place, future.call, Event(kind, self._present, place))
        self._report.cancelled_outside.append(place)

    def _record(self, kind: str, name: str, digest: str, payload: Payload | None, facts: dict[str, Any]) -> None:
        """Journal something that the code does and that is over as soon as it is recorded: it is done once."""
        place = self.loop.here().place()
        occurrence = self._occurrence(kind, name, digest)
        if self._find(place, kind, name, digest, occurrence, payload.text if payload is not None else "") is not None:
            return
        meta = dict(facts)
        if occurrence:
            meta["occurrence"] = occurrence
        kept = self._pool.take(place, (kind, name, digest, occurrence), str) if self._pool is not None else None
        if kept is not None:
            meta["reused"] = list(kept.origin)
        at = kept.call.intent.at if kept is not None else self._present
        row = Event(kind, at, self._new_place(place), name, digest, "", 0, payload, meta or None)
        self._report.rows.append(row)
        self._report.tells = True

    # -- timers and side effects -----------------------------------------------------------------------------------------

    def _timer_started(self, timer: Timer) -> None:
        kind, name, digest = ev.TIMER_STARTED, "sleep", f"{timer.delay:.6f}"
        occurrence = self._occurrence(kind, name, digest)
        call = self._find(timer.place, kind, name, digest, occurrence, f"{timer.delay:g} s")
        if call is not None:
            timer.place = call.intent.call
            self._timers[timer.place] = (timer, int((call.intent.meta or {}).get("due", 0)))
            return
        timer.place = place = self._new_place(timer.place)
        at, due = self._present, self._present + round(timer.delay * 1_000_000)
        meta: dict[str, Any] = {"occurrence": occurrence} if occurrence else {}
        kept = self._pool.take(place, (kind, name, digest, occurrence), str) if self._pool is not None else None
        if kept is not None:
            meta["reused"] = list(kept.origin)
            at, due = kept.call.intent.at, int((kept.call.intent.meta or {}).get("due", due))
            heapq.heappush(self._reused, (kept.order, place, kept))
        elif self._caught_up:
            self._report.timers.append(self._opened_timer(timer, due))
        meta |= {"due": due, "delay": timer.delay}
        self._report.rows.append(Event(kind, at, place, name, digest, meta=meta))
        self._timers[place] = (timer, due)

    @staticmethod
    def _opened_timer(timer: Timer, due: int) -> OpenTimer:
        """A timer to watch; one that only limits how long a person has for an answer is marked."""
        limits = getattr(getattr(timer, "_callback", None), "__self__", None)
        asked = type(limits) is OutsideFuture and limits.facts.get("what") == "ask"
        return OpenTimer(timer.place, due, asked)

    def _timer_cancelled(self, timer: Timer) -> None:
        place = timer.place
        if self.loop.dead or self._timers.pop(place, None) is None:
            return
        self._given_up(place, self._history.calls.get(place), Event(ev.TIMER_CANCELLED, self._present, place))
        self._report.cancelled_timers.append(place)

    def _side_effect(self, name: str, produce: Callable[[], Outcome]) -> Outcome:
        place, kind = self.loop.here().place(), ev.SIDE_EFFECT
        occurrence = self._occurrence(kind, name, "")
        call = self._find(place, kind, name, "", occurrence)
        if call is not None:
            event = call.intent
            return Outcome(bool((event.meta or {}).get("ok", True)), event.payload or NULL)
        kept = self._pool.take(place, (kind, name, "", occurrence), str) if self._pool is not None else None
        meta: dict[str, Any] = {"occurrence": occurrence} if occurrence else {}
        at = self._present
        if kept is not None:
            event = kept.call.intent
            outcome = Outcome(bool((event.meta or {}).get("ok", True)), event.payload or NULL)
            at, meta["reused"] = event.at, list(kept.origin)
            meta |= kept.marks
        else:
            outcome = produce()
        meta["ok"] = outcome.ok
        self._report.rows.append(Event(kind, at, self._new_place(place), name, payload=outcome.payload, meta=meta))
        return outcome
