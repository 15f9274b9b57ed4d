"""A cell of a durable notebook waits for its activity calls (R14): the caller's side of ``notebooks``."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from romancy_nb.clock import monotonic
from romancy_nb.core.ledger import Answer, Asked
from romancy_nb.errors import RunInterrupted
from romancy_nb.runtime import hosts, launch, streams
from romancy_nb.runtime.cellcall import LET_GO
from romancy_nb.runtime.heartbeat import heartbeat
from romancy_nb.runtime.inbox import CellCalls, Finished, Paused, Withdrawn
from romancy_nb.runtime.observers import observer
from romancy_nb.runtime.tracebacks import throw, without_our_frames

__all__ = ["wait", "wait_async"]


class _Call:
    """One call that is waited for."""

    def __init__(self, instance: str, asked: Asked) -> None:
        self._engine = launch.current()
        self.host = hosts.CellHost()
        streams.install()
        self._outlet = observer().output()
        self._item = CellCalls(instance, asked, self.host, self.host, self._outlet)
        self._withdrawn = False

    def send(self) -> None:
        self._engine.inbox.put(self._item)

    def take(self, message: Any) -> Answer | None:
        if callable(message):
            self.host.do(message)
        elif isinstance(message, Answer):
            if message.outcome.live is not None:
                without_our_frames(message.outcome.live)
            if self._outlet is not None:
                for payload in message.shows:
                    self._outlet.show(json.loads(payload.text))
            return message
        elif isinstance(message, Finished) and message.error is not None:
            throw(message.error)
        return None

    def withdraw(self) -> None:
        """Nobody waits any more; from a signal handler before user code is broken."""
        if not self._withdrawn:
            self._withdrawn = self._item.abandoned = True
            self._engine.stop_thread(self.host.ident)
            self._engine.inbox.put(Withdrawn((self._item,), self.host))

    def stopped(self) -> RunInterrupted:
        """Wait until the engine knows that nobody waits; a second Stop lets go at once."""
        self.withdraw()
        host, first, until = self.host, self.host.interrupts, monotonic() + LET_GO
        paused: Paused | None = None
        while paused is None and host.interrupts == first and (left := until - monotonic()) > 0:
            message = host.next(left)
            if isinstance(message, Paused):
                paused = message
            elif callable(message):
                host.do(message)
        while (message := host.next(0)) is not None:
            if callable(message):
                host.do(message)
        flying = (
            f" In flight: {', '.join(paused.in_flight)}; what it comes to is recorded."
            if paused and paused.in_flight
            else ""
        )
        return RunInterrupted(f"Stopped. What completed is kept.{flying} Run the cell again to go on from here.")


def wait(instance: str, asked: Asked) -> Answer:
    """Make the call and wait for its answer on this thread, which executes a ``def`` activity itself.

    Raises:
        RunInterrupted: Stop was pressed.
        RomancyError: the journal or the notebook cannot be used.
    """
    __tracebackhide__ = True
    call = _Call(instance, asked)
    call.host.on_stop = call.withdraw
    with call.host.catching_stop():
        call.send()
        while True:
            answer = call.take(call.host.next())
            if answer is not None:
                return answer
            if call.host.interrupts:
                raise call.stopped()


async def wait_async(instance: str, asked: Asked) -> Answer:
    """The same for ``await``, on the kernel's loop."""
    __tracebackhide__ = True
    call = _Call(instance, asked)
    loop, wake = asyncio.get_running_loop(), asyncio.Event()
    call.host.on_put = lambda: loop.call_soon_threadsafe(wake.set)
    call.send()
    try:
        with heartbeat():
            while True:
                wake.clear()
                message = call.host.next(0)
                if message is None:
                    await wake.wait()
                    continue
                if callable(message):
                    with call.host.catching_stop():
                        answer = call.take(message)
                else:
                    answer = call.take(message)
                if answer is not None:
                    return answer
                if call.host.interrupts:
                    raise call.stopped()
    except asyncio.CancelledError:
        call.withdraw()
        raise
