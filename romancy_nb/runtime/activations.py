"""Workflow code from the engine's side: activate runs on their hosts, take their reports, put them down (X1-X3)."""

from __future__ import annotations

import logging

from romancy_nb.clock import monotonic, now_us
from romancy_nb.core import events as ev
from romancy_nb.core.commands import Delivery, Report
from romancy_nb.errors import HistoryMismatch
from romancy_nb.runtime import cancelling, channels, children, endings, finishing, outside, resting
from romancy_nb.runtime.hosts import ThreadHost, activate
from romancy_nb.runtime.inbox import Activated
from romancy_nb.runtime.live import LiveRun
from romancy_nb.runtime.parking import Parking

__all__ = ["SLOW", "Activations"]

log = logging.getLogger("romancy_nb")

SLOW = 1.0
"""Seconds after which an activation is named with its line (X2)."""


class Activations(Parking):
    """The layer that runs workflow code."""

    def _activate_ready(self) -> None:
        now = monotonic()
        for key, run in list(self._ready.items()):
            if run.busy:
                continue
            del self._ready[key]
            if run.host is None or run.finished or not (run.build or run.pending):
                continue
            self._resting.pop(key, None)
            build, run.build = run.build, None
            if build is not None:
                children.let_go(self, run)
                outside.prepare(run, build.rows)
                children.prepare(self, run, build.rows)
            run.sent, run.pending = run.pending, []
            self._take_floor(run)
            run.busy, run.busy_since, run.slow = True, now, False
            self._busy[key] = run
            run.host.put(activate(run.host, run, run.generation, build, run.sent, self.inbox))

    def _activated(self, item: Activated) -> None:
        run, report = item.run, item.report
        if item.generation != run.generation:
            if item.execution is not None:  # built while the run was put down, or moved to another thread
                item.host.put(item.execution.put_down)
            return
        run.execution = item.execution
        run.busy = False
        self._busy.pop(run.key, None)
        if report.mismatch is not None:
            self.record(run, run.opening)
            run.opening = []
            self.put_down(run)
            self._take_up.parted(run, report.mismatch)
            return
        if run.replay_only and (report.ended is None or report.rows or report.ended.recurs is not None):
            self.put_down(run)
            self._take_up.parted(run, HistoryMismatch("The workflow's code no longer ends where its history does."))
            return
        if report.tells:
            self.hold()  # who has subscribed, and what is queued, is for us alone to say from here on
            self._commit()
            if item.generation != run.generation:
                return
        self.record(run, run.opening)
        self.record(run, report.rows)
        sent, run.opening, run.sent = run.sent, [], []
        if not run.again:  # built again, it tells once more what it has told
            run.replayed += report.replayed
            run.moved += report.moved
        run.reused += report.reused
        run.kept += report.kept
        run.secrets |= report.secrets
        run.armed, run.cancelled = report.armed, report.cancelled
        self._take_timers(run, report)
        self._take_calls(run, report)
        for place in report.cancelled_calls:
            self._call_unwanted(run, place)
        for place in report.cancelled_outside:
            children.give_up(self, run, place)
            outside.given_up(self, run, place)
        if run.status == "paused":
            return
        if report.tells:
            channels.published(self, run, report.rows)
        outside.returned(self, run, sent, report)
        children.returned(self, run, sent, report.rows)
        for each in report.outside:
            (children if each.command.kind == ev.CHILD_STARTED else outside).opened(self, run, each)
        cancelling.settled(self, run)
        if report.ended is not None:
            run.ended, run.error_payload = report.ended, item.error
        self._end_if_settled(run)
        if run.pending:
            self.make_ready(run)
        else:
            resting.tell(self, run)
        self._came_to_rest(run)

    def offer(self, run: LiveRun, name: str) -> None:
        """The run's code awaits a message that has not come to it."""
        channels.offer(self, run, name)

    def move(self, run: LiveRun) -> None:
        """Nobody waits for it in a cell any more: it goes on on a thread of ours."""
        self._take_up.rebuild(run, self.host())

    def _take_timers(self, run: LiveRun, report: Report) -> None:
        for timer in report.timers:
            run.timers[timer.place] = timer
            self._timers.set((run.key, timer.place, "timer"), timer.due)
        for place in report.cancelled_timers:
            run.timers.pop(place, None)
            self._timers.cancel((run.key, place, "timer"))

    def _take_calls(self, run: LiveRun, report: Report) -> None:
        """Have executed what the code asks for, and let go of what it gave up."""
        for call in report.calls:
            run.calls[call.place] = call
            if call.command.extra is not None:
                run.secrets[call.place] = call.command.extra
            if not call.fresh:
                call.first_at += run.gap
                if run.retrying:  # a person asked for another try: a new budget, and nothing is in doubt
                    call.failures, call.failed, call.first_at = 0, call.attempts, now_us()
            if cancelling.holds(run, call):
                run.held.add(call.place)
            elif run.status != "paused":  # an earlier one of them is in doubt
                self.execute(run, call)
        if run.cancelled and run.held:  # what the code wants all the same, now that it knows
            held, run.held = [call for place, call in run.calls.items() if place in run.held], set()
            for call in held:
                if call.place not in report.cancelled_calls:
                    self.execute(run, call)

    def _watch_slow(self) -> None:
        """Name activations that take over a second, and free the runs that share their thread (X2)."""
        now = monotonic()
        for run in list(self._busy.values()):
            if run.host is None or now - run.busy_since < SLOW or not run.host.since:
                continue
            stuck = run.host
            if now - stuck.since >= SLOW and not getattr(stuck, "named", False):
                stuck.named = True  # type: ignore[attr-defined]
                log.warning(
                    "workflow %s (%s) has been running its own code for over %g s at %s. Workflow code should only "
                    "coordinate: make the slow part an activity.",
                    run.workflow.name,
                    run.instance,
                    SLOW,
                    stuck.line(),
                )
                if isinstance(stuck, ThreadHost):
                    self._replace(stuck, run)
            for delivery in run.sent:
                self._record_meanwhile(run, delivery)
            if run.sent:
                self._commit()

    def _replace(self, stuck: ThreadHost, culprit: LiveRun) -> None:
        """The other runs of a stuck thread are rebuilt on a new one."""
        fresh = ThreadHost("romancy workflow")
        self._hosts = [fresh if host is stuck else host for host in self._hosts]
        for run in self.live.values():
            if run.host is stuck and run is not culprit and not run.finished:
                if run.parked:
                    run.host = fresh
                else:
                    self._take_up.rebuild(run, fresh)

    def _record_meanwhile(self, run: LiveRun, delivery: Delivery) -> None:
        """The code is busy: journal the outcome that waits for it, so that a crash does not lose it (S1)."""
        if delivery.kind in ev.OUTCOMES and delivery.place not in run.noted:
            run.noted.add(delivery.place)
            self.record(run, [endings.recorded(delivery)])

    def _end_if_settled(self, run: LiveRun) -> None:
        """The code has ended: once what it left in flight has settled, so does the run (U3)."""
        on_its_way = run.pending or run.sent
        if run.ended is None or run.finished or on_its_way:
            return
        pauses = finishing.pauses(run)
        if not pauses and (run.ended.error is not None or run.cancelled):
            children.leave_all(self, run)
        if not run.calls and (pauses or not children.unsettled(run)):
            finishing.finish(self, run)
        elif run.ended.error is not None or run.cancelled:
            self.set_timer(run, "settle", now_us() + int(cancelling.SETTLE * 1_000_000))

    def put_down(self, run: LiveRun) -> None:
        """Let go of the run's execution: on its own thread, and nothing that it still says counts (X3)."""
        run.generation += 1
        run.busy = False
        self._busy.pop(run.key, None)
        self._ready.pop(run.key, None)
        self._unpark(run)
        execution, host, run.execution = run.execution, run.host, None
        for place in list(run.timers):
            self._timers.cancel((run.key, place, "timer"))
        for place in run.calls:
            self._timers.cancel((run.key, place, "retry"))
            self.limits.drop((run.key, place))
        run.timers.clear()
        run.outside.clear()
        run.awaiting.clear()
        children.let_go(self, run)
        if execution is not None and host is not None:
            host.put(execution.put_down)
