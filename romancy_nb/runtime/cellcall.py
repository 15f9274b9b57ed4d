"""A call that waits where it is made: a cell, a script; and how a call becomes a wish for the engine."""

from __future__ import annotations

import asyncio
from typing import Any

from romancy_nb.clock import monotonic
from romancy_nb.definitions.ambient import Request
from romancy_nb.errors import AwaitInterrupted, RunInterrupted, Waiting
from romancy_nb.runtime import endings, hosts, starts, streams
from romancy_nb.runtime.engine import Engine
from romancy_nb.runtime.heartbeat import heartbeat
from romancy_nb.runtime.inbox import Finished, Found, Interrupt, Left, LetGo, Paused, Resting, Start
from romancy_nb.runtime.instance import Instance, decoded
from romancy_nb.runtime.live import LiveRun
from romancy_nb.runtime.observers import Observer, observer
from romancy_nb.runtime.resting import Afterwards, notice
from romancy_nb.runtime.tracebacks import throw

__all__ = ["CellCall", "start_of"]

LET_GO = 2.0
"""Seconds that a stopped cell waits for what is in flight (A2)."""


def start_of(request: Request, waiter: Any, host: hosts.Host | None = None, told: Observer | None = None) -> Start:
    told = told or observer()
    streams.install()
    prints = request.workflow.fingerprint()
    notebook, cell = told.provenance()
    return Start(
        request,
        prints.digest,
        dict(prints.reads),
        waiter,
        host,
        told.attached,
        notebook,
        cell,
        told.output(),
        told.progress,
    )


class CellCall:
    """A call that waits where it is made, and lends its thread to the run (X1)."""

    has_timeline = True
    """Is the run shown step by step?"""

    def __init__(self, engine: Engine, request: Request) -> None:
        self._engine = engine
        self._request = request
        self._host = hosts.CellHost()
        self._host.on_stop = self._stop_pressed
        self._observer = observer()
        self._start = start_of(request, self._host, self._host, self._observer)
        self._stopping = False
        self._run: LiveRun | None = None
        self._handle: Instance[Any] | None = None
        self._resting: Resting | None = None

    def run(self) -> Any:
        """Wait on this thread; Stop pauses the run durably."""
        __tracebackhide__ = True
        host = self._host
        with host.catching_stop():
            self._engine.inbox.put(self._start)
            while True:
                message = host.next()
                if callable(message):
                    host.do(message)
                told = self._take(message)
                if told is not None:
                    self._finish(told)
                    break
                if isinstance(message, Left):
                    raise self._waiting()
                if host.interrupts:
                    raise self._interrupted()
        return self._value(told)

    async def run_async(self) -> Any:
        """Wait on the kernel's loop; activations run on it too, between its other callbacks."""
        __tracebackhide__ = True
        loop, host = asyncio.get_running_loop(), self._host
        wake = asyncio.Event()
        host.on_put = lambda: loop.call_soon_threadsafe(wake.set)
        self._engine.inbox.put(self._start)
        try:
            with heartbeat():
                while True:
                    wake.clear()
                    message = host.next(0)
                    if message is None:
                        await wake.wait()
                        continue
                    if callable(message):
                        with host.catching_stop():  # the kernel's own way would wait for the loop, which is busy here
                            host.do(message)
                    told = self._take(message)
                    if told is not None:
                        self._finish(told)
                        break
                    if isinstance(message, Left):
                        raise self._waiting()
                    if host.interrupts:
                        raise AwaitInterrupted(str(self._interrupted()))
        except asyncio.CancelledError as error:
            if isinstance(error, AwaitInterrupted):
                raise
            host.interrupts += 1
            raise AwaitInterrupted(str(self._interrupted())) from None
        return self._value(told)

    def _take(self, message: Any) -> Finished | None:
        if isinstance(message, Finished):
            return message
        if isinstance(message, Found):
            self._run = message.run
            self._handle = Instance(
                self._engine, message.run.instance, self._request.workflow.name, self._request.workflow
            )
            self._observer.found(self._handle, message.what, message.line)
            if self.has_timeline:
                self._observer.shows(self._handle)
        if isinstance(message, Resting) and self._handle is not None:
            self._resting = message
            if self._observer.waits(self._handle, message):
                told, handle = self._observer, self._handle
                after = Afterwards(lambda: told.left(handle))
                self._engine.inbox.put(LetGo(message.run, self._host, self._host, after))
        return None

    def _waiting(self) -> Waiting:
        """The cell ends; return the notice that it ends with."""
        self._drain()
        resting, handle = self._resting, self._handle
        assert resting is not None and handle is not None
        return Waiting(notice(handle.workflow_name, handle.id, resting), handle.id, resting.questions)

    def _finish(self, told: Finished) -> None:
        self._drain()
        run = self._run
        if run is not None and run.executed and run.replayed + run.reused:
            self._observer.notice(f"from journal: {run.replayed + run.reused}, executed: {run.executed}")
        for line in starts.effects_that_stand(run, told) if run is not None else ():
            self._observer.notice(line)
        self._ended(told.error)

    def _ended(self, error: BaseException | None) -> None:
        """The call is over: show what it came to."""
        if self._handle is not None:
            self._observer.ended(self._handle, error)

    def _value(self, told: Finished) -> Any:
        """Return the result or raise the error, outside of every ``with``: those set attributes of an error that passes."""
        __tracebackhide__ = True
        if told.error is not None:
            throw(told.error)
        return decoded(self._request.workflow, self._request.workflow.name, told.payload)

    def _drain(self) -> None:
        """Do what is still queued for this thread: executions to be put down."""
        while (message := self._host.next(0)) is not None:
            if callable(message):
                self._host.do(message)

    def _stop_pressed(self) -> None:
        """Ask the engine to pause; from a signal handler before user code is broken, so that what comes of that is void."""
        if not self._stopping:
            self._stopping = self._start.abandoned = True
            self._engine.stop_thread(self._host.ident)
            self._engine.inbox.put(Interrupt(self._start, self._host))

    def _interrupted(self) -> RunInterrupted:
        """Wait until the run is paused durably and its execution put down; a second Stop lets go at once."""
        self._stop_pressed()
        host, first, until = self._host, self._host.interrupts, monotonic() + LET_GO
        paused: Paused | None = None
        while paused is None and host.interrupts == first and (left := until - monotonic()) > 0:
            message = host.next(left)
            if isinstance(message, Paused):
                paused = message
            elif isinstance(message, Found):
                self._take(message)
            elif callable(message):
                host.do(message)
        self._drain()
        execution = self._run.execution if self._run is not None and self._run.host in {host, None} else None
        if execution is not None:
            execution.put_down()
        if paused is not None and not paused.busy:
            self._ended(RunInterrupted())
        return RunInterrupted(endings.stopped(paused, self._run))
