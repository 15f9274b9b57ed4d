"""Where runs are activated (X1): activation threads, and the thread of a cell that waits.

A run is pinned to one host, since greenlets cannot move between threads. While a cell waits for its run, the cell's own
thread activates it, so that Stop, ``%debug`` and ``breakpoint()`` meet the workflow's code as they meet any cell's.
"""

from __future__ import annotations

import _thread
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from romancy_nb.clock import monotonic, now_us
from romancy_nb.core.activation import Execution
from romancy_nb.core.commands import Delivery, Ended, Report
from romancy_nb.core.loop import _is_ours
from romancy_nb.definitions.activity import activations
from romancy_nb.definitions.sources import is_users_file
from romancy_nb.payloads.failures import encode_failure
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import asking
from romancy_nb.runtime.inbox import Activated
from romancy_nb.runtime.live import Build, LiveRun
from romancy_nb.runtime.progress import Counting, Meter

__all__ = ["CellHost", "Host", "ThreadHost", "activate"]

log = logging.getLogger("romancy_nb")

Work = Callable[[], object]

SIGNALS = 0.1
"""Seconds that the main thread may wait in one go. A signal that comes between its last look and its wait for a lock (and it
may have to wait for the GIL there) is handled only when that wait ends; on Windows none ends it."""
OURS = 0.005
"""Seconds after which Stop is tried again when it met our own code."""
STUBBORN = 0.3
"""Seconds after which Stop is tried again on code that has not let go."""


class Host:
    """Something that runs work on one thread.

    Attributes:
        ident: of the thread; 0 before it is known.
        since: when the activation that runs now began (monotonic seconds); 0.0 when none runs.
    """

    def __init__(self) -> None:
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.ident = 0
        self.since = 0.0

    def put(self, work: Work) -> None:
        self.queue.put(work)

    def line(self) -> str:
        """Return file and line where the thread is in user code just now."""
        frame: FrameType | None = sys._current_frames().get(self.ident)
        inner = frame
        while frame is not None and (_is_ours(frame) or "lib/python" in frame.f_code.co_filename):
            frame = frame.f_back
        frame = frame or inner
        return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "?"


class ThreadHost(Host):
    """An activation thread."""

    def __init__(self, name: str) -> None:
        super().__init__()
        threading.Thread(target=self._loop, name=name, daemon=True).start()

    def _loop(self) -> None:
        self.ident = threading.get_ident()
        while True:
            work = self.queue.get()
            if work is None:
                return
            try:
                work()
            except BaseException:  # an error of ours must not take the other runs of the thread with it
                log.exception("internal error on an activation thread")

    def close(self) -> None:
        self.queue.put(None)


class Wake:
    """Put into a host's queue by a signal handler."""


class CellHost(Host):
    """The thread of a cell (or script) that waits for a run. It is a ``Waiter`` too.

    Attributes:
        interrupts: how often Stop was pressed while it waited.
        on_stop: called in the signal handler before user code is broken.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ident = threading.get_ident()
        self.interrupts = 0
        self.on_put: Callable[[], object] | None = None
        self.on_stop: Callable[[], None] | None = None
        self._work = 0  # number of the piece of work that runs now; 0: none
        self._works = 0
        self._own_signal = False
        self._pressing: list[int] = []

    def put(self, work: Work) -> None:
        self.queue.put(work)
        if self.on_put is not None:
            self.on_put()

    def tell(self, message: Any) -> None:
        self.queue.put(message)
        if self.on_put is not None:
            self.on_put()

    def next(self, timeout: float | None = None) -> Any:
        """Return the next message or work, or None after *timeout* seconds; with no timeout, None comes now and then.

        A Stop arrives as a ``Wake``.
        """
        try:
            return self.queue.get(timeout=SIGNALS if timeout is None else timeout)
        except Empty:
            return None

    def do(self, work: Work) -> None:
        """Do a piece of work that may run user code; within ``catching_stop`` a Stop breaks that code."""
        self._works += 1
        self._work = self._works
        try:
            work()
        except KeyboardInterrupt:
            if not self.interrupts:
                raise
        finally:
            self._work = 0

    @contextmanager
    def catching_stop(self) -> Iterator[None]:
        """While this thread waits, Stop breaks user code only, never ours: the handler raises nothing elsewhere."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        try:
            before = signal.signal(signal.SIGINT, self._pressed)
        except ValueError:
            yield
            return
        try:
            yield
        finally:
            while self._pressing:  # a signal of our own must not reach the handler that was there before
                time.sleep(0.001)
            signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        if self._own_signal:
            self._own_signal = False
        else:
            self.interrupts += 1
            self.tell(Wake())
            if self.on_stop is not None:
                self.on_stop()
        if not self._work:
            return
        users = _in_user_code(frame)
        # our own code is let through, and code that swallows the exception is not let off: once more in a moment.
        # A thread without the threading module's locks, which the code that was interrupted here may hold.
        _thread.start_new_thread(self._press_again, (self._work, STUBBORN if users else OURS))
        if users:
            raise KeyboardInterrupt

    def _press_again(self, work: int, after: float) -> None:
        time.sleep(after)
        self._pressing.append(work)
        if self._work == work:
            self._own_signal = True
            _thread.interrupt_main()
        self._pressing.pop()


def _in_user_code(frame: FrameType | None) -> bool:
    """Is it the user's code, or a library that it called, that was interrupted? Not when it called us."""
    while frame is not None and not _is_ours(frame):
        if is_users_file(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


def activate(
    host: Host,
    run: LiveRun,
    generation: int,
    build: Build | None,
    deliveries: list[Delivery],
    reply: SimpleQueue[Any],
) -> Work:
    """Return the work of one activation, to be put to *host*: build the execution if asked, deliver, report.

    What is built becomes the run's when the engine takes the report: only then is it sure that the run has not been moved
    to another thread meanwhile.
    """
    present = run.execution

    def work() -> None:
        if run.generation != generation or (isinstance(host, CellHost) and host.interrupts):
            return
        error: Payload | None = None
        execution = present
        asking.guard()
        activations(+1)
        host.since = monotonic()
        try:
            if build is not None:
                execution = Execution(run.make_body(), build.rows, build.pool)
                if isinstance(host, CellHost):
                    run.execution = execution  # Stop puts it down where it stands
                _connect(execution, run)
                report = execution.begin(now_us())
                if deliveries and report.mismatch is None:
                    _join(report, execution.deliver(deliveries, now_us()))
            else:
                assert execution is not None
                report = execution.deliver(deliveries, now_us())
        except BaseException as bug:
            report = Report(ended=Ended(error=bug))
        finally:
            host.since = 0.0
            activations(-1)
        if isinstance(host, CellHost) and host.interrupts:
            return  # Stop was pressed meanwhile: whatever the code made of it does not count
        if report.ended is not None and report.ended.error is not None:
            error = encode_failure(report.ended.error)
        if run.generation != generation and execution is not None:
            execution.put_down()  # the run was put down meanwhile, by who may not have known of this one
        reply.put(Activated(run, generation, report, error, host, execution))

    return work


def _connect(execution: Execution, run: LiveRun) -> None:
    """Let the code print into the cell that made the call; rebuilt where nobody looks, it is silent (N4)."""
    outlet, code = run.outlet, execution.ambient
    line = run.start.progress if run.start is not None else None
    run.batch = code.counts = Counting(Meter(line) if line is not None else None)
    code.silent = run.again  # until it has caught up
    if outlet is not None:
        execution.show = lambda payload: None if code.silent else outlet.show(json.loads(payload.text))
        code.prints, code.displays = outlet.prints, outlet.displays


def _join(first: Report, second: Report) -> None:
    """Add what a second report of one activation says to the first."""
    delivered = {row.call for row in second.rows}
    first.calls = [call for call in first.calls if call.place not in delivered or call.fresh] + second.calls
    first.rows += second.rows
    gone = set(second.cancelled_timers) | delivered
    first.timers = [timer for timer in first.timers if timer.place not in gone] + second.timers
    over = {*delivered, *second.cancelled_outside}
    first.outside = [each for each in first.outside if each.place not in over] + second.outside
    first.cancelled_outside += second.cancelled_outside
    first.cancelled_calls += second.cancelled_calls
    first.cancelled_timers += second.cancelled_timers
    first.moved += second.moved
    first.ended = second.ended
    first.tells = first.tells or second.tells
    first.armed, first.cancelled = second.armed, second.cancelled
    first.mismatch = second.mismatch
