"""Taking a run up: new, resumed, replayed, tried again, or as a new run that reuses what earlier ones know."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core import saga
from romancy_nb.core.events import Event
from romancy_nb.core.pool import leaves_doubt
from romancy_nb.core.replay import Key, Numbered
from romancy_nb.core.transitions import ACTIVE, Action, Owner, decide, retry_point
from romancy_nb.definitions import registry
from romancy_nb.errors import HistoryMismatch, RunPaused, WrongArguments
from romancy_nb.journal.protocol import Head, Row
from romancy_nb.payloads.failures import decode_failure
from romancy_nb.runtime import (
    cancelling,
    chains,
    children,
    endings,
    outside,
    ownership,
    parting,
    recurring,
    resting,
    starts,
    undoing,
)
from romancy_nb.runtime.inbox import Finished, Found, Start
from romancy_nb.runtime.live import Build, LiveRun

if TYPE_CHECKING:
    from romancy_nb.core.pool import Pool
    from romancy_nb.runtime.hosts import Host
    from romancy_nb.runtime.state import State

__all__ = ["TakeUp"]


class TakeUp:
    """What the engine does with a call of a workflow. Runs on the engine's thread, with the journal held."""

    def __init__(self, engine: State) -> None:
        self._engine = engine

    def start(self, start: Start) -> None:
        """Find the instance of *start*, decide what its call does, and do it."""
        engine, request = self._engine, start.request
        instance = request.instance_id or self._instance(start)
        if self._attached(start, instance):
            return
        head = engine.journal.heads([instance]).get(instance)
        if head is not None and self._is_anothers(start, head):
            instance = starts.salted_id(instance, str(start.notebook))
            if self._attached(start, instance):
                return
            head = engine.journal.heads([instance]).get(instance)
        if head is not None and (head.digest != request.inputs.digest or head.workflow != request.workflow.name):
            first = engine.journal.load(head.run, parts=False)[0].event
            starts.check_inputs(start, head, first.payload.text if first.payload else "")
        if head is not None and head.called:
            self._use_own_inputs(start, head)
        if head is not None and start.child and start.follows and (end := self.outcome(head.run)) is not None:
            start.waiter.tell(end)  # it has ended in the process that advanced it
            return
        if head is not None:
            start.whose = starts.other_notebook(head, start)
        edited = head is not None and head.code != start.code
        owner = self._owner(head) if head is not None else "nobody"
        if head is not None and owner == "nobody" and head.status in _UNENDED:
            head = self.recover(head)
        action = decide(head.status if head is not None else None, edited, owner)
        if start.strict and head is not None and head.status in {"running", "waiting", "paused", "stuck"}:
            action = Action.RESUME if owner == "nobody" else action
        if request.redo and head is not None and action in {Action.REPLAY, Action.RETRY, Action.RESUME}:
            action = Action.NEW_RUN
        if start.child and action is Action.REFUSE_CANCELLED:
            action = Action.NEW_RUN
        self._do(action, start, instance, head)

    def _use_own_inputs(self, start: Start, head: Head) -> None:
        """An instance that has recurred goes on with the inputs of its newest run; the call's own began the first."""
        first, request = self._engine.journal.load(head.run)[0].event, start.request
        if first.payload is not None and first.digest != request.inputs.digest:
            start.request = replace(request, inputs=request.workflow.recall(first.payload, first.digest))

    def _do(self, action: Action, start: Start, instance: str, head: Head | None) -> None:
        if action is Action.START or head is None:
            self._new_run(start, instance, None, "start", action)
        elif action is Action.REPLAY:
            self._replay(start, head)
        elif action is Action.RESUME:
            self._resume(start, head, action)
        elif action is Action.RETRY:
            self._retry(start, head)
        elif action is Action.RESUME_UNDO:
            self._resume_undo(start, head)
        elif action is Action.NEW_RUN:
            self._new_run(start, instance, head, "edited" if head.code != start.code else "again", action)
        elif action in {Action.ATTACH, Action.ATTACH_OLD_CODE, Action.ATTACH_UNDO, Action.FOLLOW_NEWEST}:
            if not start.next_look:
                self._tell(start, self._empty(start, head), action, head)
            start.follows = head.instance
            self._engine.follow(start)
        else:
            end = self.outcome(head.run)
            start.waiter.tell(end if end is not None else Finished(error=starts.refusal(action, head)))

    # -- finding ----------------------------------------------------------

    def _instance(self, start: Start) -> str:
        """The id that follows from the inputs; with ``new=True`` the newest unfinished one made so, else a new one (R10)."""
        request, namespace = start.request, self._engine.namespace
        derived = starts.derived_id(request, namespace)
        if not request.new:
            return derived
        if request.new is True:
            mine = [head for head in self._engine.journal.unfinished() if head.instance.startswith(derived + "-")]
            if mine:
                return max(mine, key=lambda head: head.started).instance
        return starts.new_id(request, namespace)

    def _attached(self, start: Start, instance: str) -> bool:
        """Wait with the others when the instance is advanced here already."""
        live = self._engine.newest.get(instance)
        if live is not None and not live.finished and live.status != "paused":
            self._attach(start, live)
            return True
        if live is not None and live.unsaved:
            self._engine.save(live)
        return False

    def _is_anothers(self, start: Start, head: Head) -> bool:
        """Has another notebook, which still exists, this instance with other code? Then the call gets its own (R12)."""
        if start.request.instance_id is not None or start.notebook is None or head.code == start.code:
            return False
        other = starts.other_notebook(head, start)
        if other is None or not os.path.isfile(other):  # noqa: PTH113
            return False
        start.apart = other
        return True

    def _owner(self, head: Head) -> Owner:
        if head.status not in ACTIVE:
            return "nobody"
        # runs of this very engine would have been found in memory: what names it and is not there was given up
        return "elsewhere" if ownership.alive(head.owner, self._engine.other_engines()) else "nobody"

    def _attach(self, start: Start, live: LiveRun) -> None:
        """The run is advanced here already: wait with the others."""
        head = self._head_of(live)
        if live.digest != start.request.inputs.digest or live.workflow.name != start.request.workflow.name:
            starts.check_inputs(start, head, "")
        live.waiters.append(start.waiter)
        live.attached = live.attached or start.attached
        action = Action.ATTACH if live.code == start.code else Action.ATTACH_OLD_CODE
        self._tell(start, live, action, head)
        if hasattr(start.waiter, "interrupts") and resting.rests(self._engine, live):
            resting.tell_one(self._engine, live, start.waiter)

    # -- doing ----------------------------------------------------------

    def _new_run(self, start: Start, instance: str, head: Head | None, reason: str, action: Action) -> None:
        engine, now = self._engine, now_us()
        pool: Pool | None = None
        earlier: Event | None = None
        number = 1
        redo: frozenset[str] = frozenset()
        kept_events: list[Event] = []
        undone: dict[Key, int] = {}
        family: dict[str, object] = {}
        if head is not None:
            number = head.number + 1
            histories = chains.own(engine, instance, number)
            newest = histories[0][1]
            first, kept_events = newest[0][1], outside.carried(newest)
            old_reads = dict((first.meta or {}).get("reads", {}))
            if (anew := chains.anew(engine, instance, newest, number)) is not None:
                inputs = start.request.workflow.recall(anew.payload, anew.digest)
                start.request, histories = replace(start.request, inputs=inputs), anew.histories
            family = children.inherited(first) | (anew.facts if anew is not None else recurring.standing(first))
            earlier = histories[-1][1][0][1]
            redo = _redo(start.request.redo, histories)
            start.forgot = all(starts.is_forgotten(rows) for _, rows in histories)
            pool = chains.pool(histories, redo)
            undone = pool.undone
        else:
            old_reads = None
        event = starts.started_event(
            start, instance, number, reason, now, engine.token, earlier, engine.namespace, redo
        )
        if old_reads is not None and event.meta is not None and (cause := starts.explain(old_reads, start.reads)):
            event = event._replace(meta={**event.meta, "cause": cause})
        if family:
            event = event._replace(meta={**family, **(event.meta or {})})
        run = self._live(start, starts.new_run_key(now), instance, number)
        run.digest = head.digest if head is not None else run.digest
        run.opening = [event, *kept_events]
        run.build, run.pool = Build(list(enumerate(run.opening, 1)), pool), pool
        run.redo, run.undone = redo, undone
        self._admit(start, run, action, head, old_reads)

    def _replay(self, start: Start, head: Head) -> None:
        rows = self._load(head.run)
        if self._forgotten(start, head, rows):
            return
        run = self._live(start, head.run, head.instance, head.number, head)
        run.replay_only = True
        end = rows[-1][1]
        run.outcome = (end.payload, None) if end.kind == ev.RUN_COMPLETED else (None, None)
        run.status = head.status
        run.build = Build(rows)
        self._admit(start, run, Action.REPLAY, head)

    def _resume(
        self, start: Start, head: Head, action: Action, void_from: int | None = None, doubt: bool = False
    ) -> None:
        rows = self._load(head.run)
        if self._forgotten(start, head, rows) or self._overdue(start, head, rows[-1][1]):
            return
        if void_from is None and head.status == "paused" and (rows[-1][1].meta or {}).get("reported"):
            void_from = self._retry_point(start, rows)
            did_more = void_from is None  # the code did, after that failure: cleaned up, undid a block
            if did_more and not start.strict:
                self._new_run(start, head.instance, head, "retry", Action.RETRY)
                return
        now = now_us()
        run = self._live(start, head.run, head.instance, head.number, head)
        run.epoch = head.epoch + 1
        run.gap = max(0, now - head.updated)
        meta = {"owner": self._engine.token, "epoch": run.epoch, "reason": action.name.lower()}
        if void_from is not None:
            meta["void_from"] = void_from
            run.retrying = not doubt  # what may have happened once is not tried again (A1)
        resumed = Event(ev.RUN_RESUMED, now, meta=meta)
        run.opening = [resumed]
        earlier = self._earlier(run, rows[0][1])
        run.build, run.pool = Build([*rows, (run.next_seq, resumed)], earlier), earlier
        run.redo = frozenset((rows[0][1].meta or {}).get("redo", ()))
        run.undone = earlier.undone if earlier is not None else {}
        run.cancelling, run.cancelled = cancelling.requested(rows)
        run.settling = True
        self._admit(start, run, action, head)

    def _resume_undo(self, start: Start, head: Head) -> None:
        """A half-done undo goes on; nothing goes forward any more (U1)."""
        rows = self._load(head.run)
        run = self._live(start, head.run, head.instance, head.number, head)
        self.take_up_undo(run, rows)
        self._admit(start, run, Action.RESUME_UNDO, head)
        undoing.go_on(self._engine, run)

    def take_up_undo(self, run: LiveRun, rows: list[Numbered]) -> None:
        """Make *run* one that is being undone, by this process from here on."""
        decided = next(event for _, event in rows if event.kind == ev.RUN_COMPENSATING)
        run.first = rows[0][1]
        run.epoch += 1
        run.status, run.undo, run.undo_meta = (
            "compensating",
            children.undo_plan(self._engine, rows),
            dict(decided.meta or {}),
        )
        run.error_payload = decided.payload
        meta = {"owner": self._engine.token, "epoch": run.epoch}
        self._engine.record(run, [Event(ev.RUN_COMPENSATING, now_us(), meta=meta)])

    def _retry(self, start: Start, head: Head) -> None:
        rows = self._load(head.run)
        point = self._retry_point(start, rows)
        if point is None:
            self._new_run(start, head.instance, head, "retry", Action.RETRY)
        else:
            failed = next(event for seq, event in rows if seq == point)
            intent = next(event for _, event in rows if event.kind in ev.INTENTS and event.call == failed.call)
            self._resume(start, head, Action.RETRY, point, doubt=leaves_doubt(intent, failed))

    @staticmethod
    def _retry_point(start: Start, rows: list[Numbered]) -> int | None:
        return None if start.request.workflow.retries_anew else retry_point(rows)

    def _overdue(self, start: Start, head: Head, last: Event) -> bool:
        """Its deadline passed while nobody ran it, and a person is there: tell them before it is undone for that alone (A7)."""
        limit, meta = start.request.workflow.options.timeout, last.meta or {}
        asked = last.kind in {ev.CANCEL_REQUESTED, ev.CANCEL_DELIVERED} or meta.get("reason") == "deadline"
        if limit is None or not start.attached or asked or now_us() < head.started + int(limit * 1_000_000):
            return False
        told = {"reason": "deadline"} | ({"reported": True} if meta.get("reported") else {})
        self._engine.add_rows([Row(head.run, head.last_seq + 1, Event(ev.RUN_PAUSED, now_us(), meta=told))])
        error = RunPaused(
            f"The deadline of instance {head.instance} (timeout={limit:g} s) passed while nobody ran it. Nothing was cancelled or "
            "undone for that. The same call again cancels it and undoes what it did; or edit the workflow's timeout= first, and "
            "the call goes on with what is recorded."
        )
        self._engine.after_commit(lambda: start.waiter.tell(Finished(error=error)))
        return True

    def _forgotten(self, start: Start, head: Head, rows: list[Numbered]) -> bool:
        """What the run recorded was removed: the call begins anew (D5)."""
        if not starts.is_forgotten(rows):
            return False
        self._new_run(start, head.instance, head, "forgotten", Action.NEW_RUN)
        return True

    def rebuild(self, run: LiveRun, host: Host) -> None:
        """Build a live run anew from its history on another host."""
        engine = self._engine
        engine.commit_now()
        run.put_back()
        run.pending = [delivery for delivery in run.pending if delivery.place not in run.noted]
        engine.put_down(run)
        run.calls.clear()
        run.host = host
        self.build_again(run, self._load(run.key))
        engine.make_ready(run)

    def build_again(self, run: LiveRun, rows: list[Numbered]) -> None:
        """Have the execution of a live run built anew at its next activation, silently, from its history in *rows*."""
        run.again = True
        earlier = None if run.replay_only else self._earlier(run, rows[0][1])
        run.build, run.pool = Build(rows, earlier), earlier

    def parted(self, run: LiveRun, mismatch: HistoryMismatch) -> None:
        """Code and history do not fit: by hand that is an edit and makes a new run; a strict resume is stuck (R7)."""
        engine, start = self._engine, run.start
        if run.cancelling is not None and not run.replay_only:  # it was not to go forward in any case
            undoing.begin(engine, run, "cancelled", **run.cancelling)
            return
        first = self._load(run.key)[0][1]
        edited = parting.edits(run.workflow.name, first, start.reads) if start is not None else ""
        if start is None or start.strict or run.again:  # nobody has called it just now who could have meant a new run
            endings.stick(engine, run, mismatch, edited)
            return
        waiters, run.waiters = run.waiters, []
        if not run.replay_only:
            endings.stick(engine, run, mismatch, edited)
        engine.forget(run)
        engine.commit_now()
        head = self._head_of(run)
        self._new_run(start, run.instance, head, "parted", Action.NEW_RUN)
        live = engine.newest[run.instance]
        live.waiters += [waiter for waiter in waiters if waiter is not start.waiter]

    # -- pieces ----------------------------------------------------------

    def _earlier(self, run: LiveRun, started: Event) -> Pool | None:
        """What earlier runs of the instance can still answer to a run that was begun in some other execution (R2)."""
        histories = chains.answering(self._engine, run.instance, started.meta or {}, run.number)
        redo = frozenset((started.meta or {}).get("redo", ()))
        return chains.pool(histories, redo) if histories else None

    def recover(self, head: Head) -> Head:
        """Give events to what a run's dead process did not come to: outcomes that were committed with what an activity
        wrote (S1), and a cancellation that another process had asked it for (U3).

        Args:
            head: of a run that nobody advances.

        Returns:
            The head as it is then.
        """
        engine = self._engine
        settled = engine.journal.outcomes(head.run)
        letters = [letter for letter in engine.journal.letters() if letter.run]
        mine = engine.journal.run_heads([letter.run for letter in letters])
        letters = [each for each in letters if each.run in mine and mine[each.run].instance == head.instance]
        if not settled and not letters:
            return head
        rows = engine.journal.load(head.run, parts=False)
        # by attempt: an earlier one of the same call may have failed, or have come late, and have its event
        known = {
            (row.event.call, row.event.attempt)
            for row in rows
            if row.event.kind in ev.OUTCOMES or row.event.kind in _RECORDED
        }
        lost = [event for event in settled if (event.call, event.attempt) not in known]
        for letter in letters:
            engine.take(letter, head.run)
        lost += [letter.event._replace(at=now_us()) for letter in letters if letter.event is not None]
        wishes = [letter.facts for letter in letters if letter.kind == "cancel"]
        if wishes and not any(row.event.kind == ev.CANCEL_REQUESTED for row in rows):
            lost.append(Event(ev.CANCEL_REQUESTED, now_us(), meta=wishes[0]))
        if not lost:
            return head
        engine.add_rows([Row(head.run, number, event) for number, event in enumerate(lost, rows[-1].seq + 1)])
        engine.commit_now()
        return engine.journal.heads([head.instance])[head.instance]

    def _load(self, key: int) -> list[Numbered]:
        return [(row.seq, row.event) for row in self._engine.journal.load(key)]

    def _live(self, start: Start, key: int, instance: str, number: int, head: Head | None = None) -> LiveRun:
        request = start.request
        run = LiveRun(
            key,
            instance,
            number,
            request.workflow,
            request.inputs.digest,
            start.code,
            lambda: request.workflow.body(request.inputs),
        )
        run.start = start
        run.outlet = start.output
        run.attached = start.attached
        if head is not None:
            run.next_seq, run.epoch, run.digest = head.last_seq + 1, head.epoch, head.digest
        return run

    def _empty(self, start: Start, head: Head) -> LiveRun:
        """Stands for a run that another process advances."""
        run = self._live(start, head.run, head.instance, head.number, head)
        run.status, run.finished = head.status, True
        return run

    def _head_of(self, run: LiveRun) -> Head:
        return Head(
            run.key,
            run.instance,
            run.number,
            run.workflow.name,
            run.digest,
            run.code,
            run.status,
            self._engine.token,
            run.epoch,
            run.started,
            run.started,
            run.next_seq - 1,
        )

    def _admit(
        self, start: Start, run: LiveRun, action: Action, head: Head | None, old_reads: dict[str, str] | None = None
    ) -> None:
        engine = self._engine
        run.waiters.append(start.waiter)
        run.started = head.started if head is not None else now_us()
        if run.build is not None:
            run.lineage = children.lineage(run.build.rows)
            run.first = run.build.rows[0][1]
        run.host = start.host if start.host is not None else engine.host()
        engine.admit(run)
        limit = run.workflow.options.timeout
        if limit is not None and not run.replay_only and run.undo is None:
            new = run.opening and run.opening[0].kind == ev.RUN_STARTED
            begun = now_us() if new or head is None else head.started
            engine.set_timer(run, "deadline", begun + int(limit * 1_000_000))
        self._tell(start, run, action, head, old_reads)

    def _tell(
        self, start: Start, run: LiveRun, action: Action, head: Head | None, old_reads: dict[str, str] | None = None
    ) -> None:
        line = starts.line_for(action, head, start, run.instance, old_reads)
        found = Found(run, action.name, line)
        if start.host is not None:
            start.waiter.tell(found)  # before its thread gets to the code: the line stands above what that prints (R11)
        else:
            self._engine.tell_after_commit(run, start.waiter, found)

    def outcome(self, key: int) -> Finished | None:
        """What a run that has ended came to, from the journal; None while it has not."""
        rows = self._load(key)
        for _, event in reversed(rows):
            if event.kind == ev.RUN_COMPLETED:
                return Finished(event.payload)
            if event.kind == ev.RUN_FAILED and event.payload is not None:
                return Finished(error=decode_failure(event.payload))
            if event.kind in ev.RUN_ENDS:
                return Finished(error=undoing.verdict(rows[0][1].call, event, saga.plan(rows)))
            if event.kind in {ev.RUN_RESUMED, ev.RUN_STARTED, ev.RUN_COMPENSATING}:
                return None
        return None


_UNENDED = ACTIVE | {"paused", "stuck"}
_RECORDED = frozenset({ev.OUTCOME_RECORDED, ev.LATE_OUTCOME, ev.COMPENSATION_COMPLETED, ev.COMPENSATION_FAILED})


def _redo(wanted: Sequence[str], histories: Sequence[tuple[int, Sequence[Numbered]]]) -> frozenset[str]:
    """Return the recorded activities that *wanted* names, each by its whole name or the last part of it (R5).

    Raises:
        WrongArguments: nothing of that name is recorded.
    """
    recorded = {event.name for _, rows in histories for _, event in rows if event.kind == ev.ACTIVITY_SCHEDULED}
    found: set[str] = set()
    for name in wanted:
        matches = {known for known in recorded if registry.answers_to(known, name)}
        if not matches:
            names = ", ".join(sorted(recorded)) or "none"
            raise WrongArguments(
                f"redo={name!r}: no activity of that name is recorded in this instance. Recorded: {names}."
            )
        found |= matches
    return frozenset(found)
