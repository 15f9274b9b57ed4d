"""Activities: executed on their own loop thread, in our pool of daemon threads, or on an executor that the user gave.

``ThreadPoolExecutor`` is not used: its threads are joined at interpreter exit, which holds up a kernel's restart (X4).
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any

from romancy_nb.clock import monotonic, now_us
from romancy_nb.core.commands import ActivityCommand
from romancy_nb.definitions.activity import Activity
from romancy_nb.definitions.ambient import ACTIVITY, ActivityFacts, Context
from romancy_nb.errors import AttemptTimeout
from romancy_nb.payloads.failures import encode_failure
from romancy_nb.payloads.payload import NULL
from romancy_nb.runtime import figures
from romancy_nb.runtime.capture import CAPTURE, Capture, Part
from romancy_nb.runtime.hosts import CellHost
from romancy_nb.runtime.inbox import AttemptEnded, Start
from romancy_nb.runtime.limits import Ticket
from romancy_nb.runtime.sessions import Session

__all__ = ["Attempt", "Dispatcher"]

MAX_THREADS = 64


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt of one call.

    Attributes:
        number: from 1.
        started: monotonic seconds when the function was called; None while it is queued.
        over: True when it no longer matters (timed out, cancelled): its outcome comes late.
        interrupted: Stop was pressed: a KeyboardInterrupt or cancellation is no failure of the activity.
        thread: ident of the thread that runs it, while it does.
        capture: takes what it prints and displays.
        outputs: what that came to, once it has ended.
        task: of an ``async def`` activity.
        session: what it writes to the journal's database with, once it has asked for it.
        start: the call of the workflow that it is executed for: when that was stopped, nothing more of it is begun.
        ticket: its place in the limits of its activity (A8).
    """

    run: int
    place: str
    number: int
    command: ActivityCommand
    facts: ActivityFacts
    failures: int = 0
    first_at: int = 0
    started: float | None = None
    over: bool = False
    cancelled: bool = False
    interrupted: bool = False
    thread: int = 0
    interrupting: bool = False
    future: Any = None
    capture: Capture = field(default_factory=Capture)
    outputs: list[Part] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    start: Start | None = None
    session: Session | None = None
    ticket: Ticket | None = None

    @property
    def withdrawn(self) -> bool:
        """Is it not to be begun any more?"""
        return self.cancelled or (self.start is not None and self.start.abandoned)

    @property
    def activity(self) -> Activity[..., Any]:
        target: Activity[..., Any] = self.command.target
        return target


class Pool:
    """Daemon threads that grow on demand."""

    def __init__(self, limit: int = MAX_THREADS) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0
        self._limit = limit
        self._waiting = 0

    def submit(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._waiting += 1
            if self._waiting > self._idle and self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._loop, name="romancy activity", daemon=True).start()
        self._work.put(work)

    def lost_one(self) -> None:
        """A thread is stuck in an abandoned attempt: allow one more in its place."""
        with self._lock:
            self._limit += 1

    def close(self) -> None:
        """No more work comes: each thread ends when what it executes has."""
        with self._lock:
            for _ in range(self._threads):
                self._work.put(None)

    def _loop(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            work = self._work.get()
            if work is None:
                return
            with self._lock:
                self._idle -= 1
                self._waiting -= 1
            work()


class Dispatcher:
    """Executes attempts and reports each end to the engine's inbox."""

    def __init__(self, inbox: SimpleQueue[Any]) -> None:
        self._inbox = inbox
        self._pool = Pool()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._batch: list[Attempt] = []
        self._chance = random.Random()
        self.flying: dict[tuple[int, str], Attempt] = {}
        """Attempts that are queued or executing, by run and place. Touched by the engine thread only."""

    # -- the engine's side ----------------------------------------------------------

    def dispatch(self, attempt: Attempt, cell: CellHost | None = None, *, own: bool = False) -> None:
        """Take *attempt* for execution. ``flush`` afterwards hands over what runs on the activities' loop.

        Args:
            attempt: what to execute.
            cell: the thread of the cell that waits.
            own: a ``def`` activity without an executor runs in that thread, too.
        """
        self.flying[attempt.run, attempt.place] = attempt
        executor = attempt.activity.options.executor
        if attempt.activity.signature.is_async:
            self._batch.append(attempt)
        elif (executor == "main" or (own and executor is None)) and cell is not None:
            cell.put(lambda: self._execute(attempt, cell))
        elif executor is not None and executor != "main":
            self._on_executor(attempt, executor)
        else:
            self._pool.submit(lambda: self._execute(attempt))

    def flush(self) -> None:
        """Start the ``async def`` attempts that were dispatched, with one wake-up for all."""
        if self._batch:
            batch, self._batch = self._batch, []
            if self._loop is None:
                self._start_loop()
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._start_tasks, batch)

    def cancel(self, attempt: Attempt) -> None:
        """The outcome is not wanted any more: ``async def`` attempts are cancelled, queued ones dropped."""
        attempt.cancelled = True
        self._cancel_task(attempt)

    def interrupt(self, attempt: Attempt) -> None:
        """Stop was pressed: cancel or interrupt the function, wherever it is in Python code (A2)."""
        attempt.interrupted = True
        attempt.cancelled = True
        self._cancel_task(attempt)
        if attempt.future is not None:
            attempt.future.cancel()
        attempt.interrupting = True
        try:
            if attempt.thread and attempt.thread != threading.main_thread().ident:  # that one gets the signal itself
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(attempt.thread), ctypes.py_object(KeyboardInterrupt)
                )
        finally:
            attempt.interrupting = False

    def close(self) -> None:
        """Nothing is dispatched any more: the threads end when what they execute has ended."""
        self._pool.close()
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(_end, loop)

    def abandon(self, attempt: Attempt) -> None:
        """Its time is over; a thread cannot be stopped, so it is left alone and its outcome comes late (A3)."""
        attempt.over = True
        self.flying.pop((attempt.run, attempt.place), None)
        self._pool.lost_one()

    def _cancel_task(self, attempt: Attempt) -> None:
        if attempt.activity.signature.is_async and self._loop is not None:
            self._loop.call_soon_threadsafe(_cancel, attempt)

    # -- def ----------------------------------------------------------

    def _execute(self, attempt: Attempt, cell: CellHost | None = None) -> None:
        if attempt.withdrawn or (cell is not None and cell.interrupts):  # Stop came first
            self._inbox.put(AttemptEnded(attempt, now_us(), False, None, interrupted=True))
            return
        attempt.started, process = monotonic(), os.getpid()
        context = attempt.command.context
        try:
            ended = context.copy().run(self._call, attempt) if context is not None else self._call(attempt)
        except BaseException as error:
            ended = self._failed(attempt, error)
        if os.getpid() != process:
            _end_of_fork(ended)
        attempt.outputs = attempt.capture.finish()
        self._inbox.put(ended)

    def _call(self, attempt: Attempt) -> AttemptEnded:
        _enter(attempt)
        activity = attempt.activity
        value: Any = None
        failure: BaseException | None = None
        try:
            args, kwargs = activity.signature.decode_inputs(attempt.command.payload, attempt.command.extra)
            if activity.signature.takes_context:
                args = (Context(facts=attempt.facts), *args)
            attempt.thread = threading.get_ident()
            value = activity.function(*args, **kwargs)
        except BaseException as error:
            failure = error
        while not _out_of_reach(attempt):
            pass
        try:
            figures.collect(attempt.capture)
            if failure is None:
                return self._completed(attempt, value)
        except BaseException as error:
            failure = error
        return self._failed(attempt, failure)

    def _on_executor(self, attempt: Attempt, executor: Any) -> None:
        """Run the plain function on the user's executor (a process pool cannot take more than that)."""
        activity = attempt.activity
        attempt.started = monotonic()
        try:
            args, kwargs = activity.signature.decode_inputs(attempt.command.payload, attempt.command.extra)
            if activity.signature.takes_context:
                # it may be another process: what leads back into this one stays here
                args = (Context(facts=replace(attempt.facts, report_progress=None, report_log=None, enter=None)), *args)
            future = attempt.future = executor.submit(Plain(activity.function), *args, **kwargs)
        except BaseException as error:
            self._inbox.put(self._failed(attempt, error))
            return

        def done(finished: Any) -> None:
            if attempt.cancelled and finished.cancelled():
                self._inbox.put(AttemptEnded(attempt, now_us(), False, None, interrupted=True))
                return
            try:
                ended = self._completed(attempt, finished.result())
            except BaseException as error:
                ended = self._failed(attempt, error)
            self._inbox.put(ended)

        future.add_done_callback(done)

    # -- async def ----------------------------------------------------------

    def _start_loop(self) -> None:
        ready: SimpleQueue[asyncio.AbstractEventLoop] = SimpleQueue()

        def main() -> None:
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            loop.call_soon(ready.put, loop)
            loop.run_forever()
            loop.close()

        threading.Thread(target=main, name="romancy activities", daemon=True).start()
        self._loop = ready.get()

    def _start_tasks(self, batch: list[Attempt]) -> None:
        loop = asyncio.get_running_loop()
        for attempt in batch:
            context = attempt.command.context
            attempt.task = loop.create_task(
                self._execute_async(attempt), context=context.copy() if context is not None else None
            )

    async def _execute_async(self, attempt: Attempt) -> None:
        if attempt.withdrawn:
            self._inbox.put(AttemptEnded(attempt, now_us(), False, None, interrupted=True))
            return
        _enter(attempt)
        activity = attempt.activity
        attempt.started = monotonic()
        timeout = activity.options.timeout
        try:
            args, kwargs = activity.signature.decode_inputs(attempt.command.payload, attempt.command.extra)
            if activity.signature.takes_context:
                args = (Context(facts=attempt.facts), *args)
            function: Any = activity.function
            if timeout is None:
                ended = self._completed(attempt, await function(*args, **kwargs))
            else:
                limit = asyncio.timeout(timeout)
                try:
                    async with limit:
                        value = await function(*args, **kwargs)
                except TimeoutError as error:
                    if limit.expired():
                        raise timed_out(attempt) from error
                    raise
                ended = self._completed(attempt, value)
        except BaseException as error:
            # nothing may reach the activities' loop, SystemExit least of all (E3)
            ended = self._failed(attempt, error)
        figures.collect(attempt.capture)
        attempt.outputs = attempt.capture.finish()
        self._inbox.put(ended)

    # -- how it ended ----------------------------------------------------------

    def _completed(self, attempt: Attempt, value: Any) -> AttemptEnded:
        activity = attempt.activity
        try:
            payload = activity.signature.encode_result(value, f"the result of {activity.kind} {activity.name}")
        except Exception:
            if activity.kind != "compensation":
                raise
            payload = NULL  # nobody gets it, and what is undone is not undone again for its sake
        return AttemptEnded(attempt, now_us(), True, payload)

    def _failed(self, attempt: Attempt, error: BaseException) -> AttemptEnded:
        cancelled = isinstance(error, (KeyboardInterrupt, asyncio.CancelledError))
        if cancelled and attempt.cancelled:
            return AttemptEnded(attempt, now_us(), False, None, interrupted=True)
        payload = encode_failure(error)
        policy = attempt.activity.options.retry
        retry_in: float | None = None
        failures = attempt.failures + 1
        try:
            # one that ran out of time may have had its effect, or has it yet
            once = attempt.command.at_most_once and isinstance(error, AttemptTimeout)
            if not once and policy.retries(error) and (policy.max_attempts is None or failures < policy.max_attempts):
                delay = policy.delay(failures, self._chance.random())
                spent = (now_us() - attempt.first_at) / 1_000_000
                if policy.max_duration is None or spent + delay <= policy.max_duration:
                    retry_in = delay
        except BaseException:
            retry_in = None  # a retry_on with strange isinstance checks is no reason to lose the outcome
        return AttemptEnded(attempt, now_us(), False, payload, error, retry_in)


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """End the activities' loop, on its own thread, when nothing runs there any more."""
    running = asyncio.all_tasks(loop)

    async def last() -> None:
        if running:
            await asyncio.wait(running)
        loop.stop()

    loop.create_task(last())


def _cancel(attempt: Attempt) -> None:
    """On the activities' loop. A task that has not begun would end without a word; it sees ``cancelled`` when it begins."""
    if attempt.task is not None and attempt.started is not None:
        attempt.task.cancel()


def _out_of_reach(attempt: Attempt) -> bool:
    """From here on no interrupt meant for the user's function reaches this thread; False: one came just now."""
    try:
        attempt.thread = 0
        while attempt.interrupting:
            time.sleep(0)
        if attempt.interrupted:
            # one that was sent arrives with the next jump back. It is not taken back with a NULL: up to Python 3.12 that
            # leaves "something is pending" set for good, which slows the whole process down and makes 3.11 hang in
            # cProfile
            for _ in range(8):
                pass
    except KeyboardInterrupt:
        return False
    return True


class Plain:
    """A function for a process pool: it travels by the name under which the other process finds the activity."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        module, name = self.function.__module__, self.function.__qualname__
        if _named(module, name) is not None:
            return _plain, (module, name)
        return Plain, (self.function,)


def _named(module: str, name: str) -> Any:
    """The plain function of the activity with this name in *module*, where there is one."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found.function if isinstance(found, Activity) else None


def _plain(module: str, name: str) -> Any:
    importlib.import_module(module)
    return _named(module, name)


def _enter(attempt: Attempt) -> None:
    """Make this context the activity's."""
    facts = attempt.facts
    ACTIVITY.set(facts)
    CAPTURE.set(attempt.capture)
    figures.separate()
    if facts.enter is not None:
        facts.enter()


def timed_out(attempt: Attempt) -> AttemptTimeout:
    """Return the error of an attempt that took too long."""
    limit = attempt.activity.options.timeout
    left = (
        ""
        if attempt.activity.signature.is_async
        else (
            " A `def` function cannot be stopped from outside: this attempt was abandoned and may still have its effect."
        )
    )
    return AttemptTimeout(
        f"Activity {attempt.activity.name}: attempt {attempt.number} took longer than {limit:g} s.{left}"
    )


def _end_of_fork(ended: AttemptEnded) -> None:
    """The child of an ``os.fork`` has come back out of the activity. There is nothing here for it to go on with."""
    left = ended.live
    code: object = 0 if ended.ok else 1
    if isinstance(left, SystemExit):
        code = 0 if left.code is None else left.code
    elif left is not None:
        sys.__excepthook__(type(left), left, left.__traceback__)
    for stream in (sys.__stdout__, sys.__stderr__):
        with suppress(Exception):
            if stream is not None:
                stream.flush()
    os._exit(code & 0xFF if isinstance(code, int) else 1)
