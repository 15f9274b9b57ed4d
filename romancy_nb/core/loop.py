"""The deterministic event loop: plain asyncio code runs on it, and history owns its time.

Theory of operation
-------------------
``WorkflowLoop`` is an ``asyncio.AbstractEventLoop`` with a ready queue and no clock, selector or thread of its own.
``run_until_idle()`` runs everything that can run. What the code then waits for are either calls (futures that somebody
outside resolves) or timers (``call_later``/``call_at``, which become commands). Time stands still between two events.

Identity must not depend on interleaving or on memory addresses, so:

- every task has a *path*: its parent's path plus its number among the parent's children (C3);
- tasks and futures hash by their creation number, because ``asyncio.wait``, ``TaskGroup`` and anyio iterate sets (C4);
- ``asyncio.as_completed`` makes its tasks by iterating a set of coroutines; they are created here in argument order (C4);
- the helper task that ``asyncio.wait_for`` makes on Python 3.11, and on no later one, shares its parent's path (C3);
- what a callback creates belongs to the task that registered it, not to the one that happened to set it off (C3);
- asynchronous generators are kept until the run ends and closed in creation order, never by the garbage collector (C3).

What would reach outside (executors, sockets, signals, other threads) raises an error that names the line and the cure
(C7). Code that polls (``while not done: await asyncio.sleep(0)``, or a callback that schedules itself as anyio's cancel
scopes do) would keep it from ever being idle; while something outside is awaited it rests after a fixed number of rounds
and goes on with the next event.

The loop knows nothing of activities or history: ``replay`` and ``activation`` give it meaning through two hooks,
``on_timer`` and ``on_timer_cancelled``.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import asyncio.futures
import asyncio.tasks
import logging
import sys
from asyncio import Future
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from types import FrameType, MethodType
from typing import Any, NoReturn

from romancy_nb.core import ordering
from romancy_nb.core.tasks import LAST, PLAIN, Handle, Path, Registers, Timer, WorkflowFuture, WorkflowTask
from romancy_nb.errors import RunPutDown, RunRecurs, WrongArguments, WrongPlace

__all__ = ["Path", "Timer", "WorkflowFuture", "WorkflowLoop", "WorkflowTask", "user_line"]

log = logging.getLogger("romancy_nb")

ROUNDS = 10_000
"""How many rounds of ready callbacks one rest takes, while something outside is awaited."""
POLLS = 64
"""How often callbacks that schedule themselves get their turn before one rest."""

_current_task = asyncio.tasks.current_task


def _is_ours(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return name.startswith(("romancy_nb.", "asyncio.", "greenlet")) or name in {"asyncio", "romancy_nb"}


def user_frame(depth: int = 1) -> FrameType | None:
    """Return the nearest frame that is neither ours nor asyncio's, starting *depth* frames up."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    return frame


def user_line(depth: int = 1) -> tuple[str, int]:
    """Return file and line of ``user_frame``."""
    frame = user_frame(depth + 1)
    return (frame.f_code.co_filename, frame.f_lineno) if frame else ("?", 0)


class WorkflowLoop(asyncio.AbstractEventLoop):
    """An event loop for one execution of one run.

    Attributes:
        now: the run's clock in seconds since 1970; moved only by whoever delivers events (C5).
        dead: True from the moment the execution is put down (X3).
        escaped: the first SystemExit or KeyboardInterrupt that a callback let out (C7).
        awaited: does the run wait for something outside? Then polling code has to rest.
        on_timer: called with each new ``Timer``.
        on_timer_cancelled: called with a ``Timer`` that the code no longer waits for.
        on_unordered: called with True when tasks begin to be cancelled in no order, with False once the step has ended: what
            was asked for between is to be put in the order of its places.
        on_refused: called when dead code asks for something once more; raises RunPutDown.
        ambient: set by the owner of the loop; how code on it finds its run.
    """

    def __init__(self, *, now: float = 0.0) -> None:
        self.now = now
        self.dead = False
        self.escaped: BaseException | None = None
        self.ambient: Any = None
        self.root = Path("0")
        self.tasks: dict[int, WorkflowTask] = {}
        self.awaited: Callable[[], bool] = lambda: False
        self.on_timer: Callable[[Timer], None] = lambda timer: None
        self.on_timer_cancelled: Callable[[Timer], None] = lambda timer: None
        self.on_unordered: Callable[[bool], None] = lambda begins: None
        self.on_refused: Callable[[], NoReturn] = _refused
        self.generators: list[Any] = []
        self._ready: deque[Any] = deque()
        self._polls: deque[Any] = deque()
        self._callback: Any = None
        self._unordered_from = -1
        self._owner = self.root
        self._number = 0
        self._tasks_made = 0
        self._made = 0
        self._prune_at = 64
        self._ordered: dict[int, tuple[Any, WorkflowTask]] = {}

    # -- running -----------------------------------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[None]:
        """Make this the thread's running loop, also where another one is already running (a notebook's, X1)."""
        events = asyncio.events
        before = events._get_running_loop()
        hooks = sys.get_asyncgen_hooks()
        events._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=self.generators.append, finalizer=_never)
        outer = _leave_task(before)
        try:
            yield
        finally:
            _reenter_task(before, outer)
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(before)

    def run_until_idle(self) -> None:
        """Run ready callbacks until there are none. Call it inside ``running()``."""
        ready, polls, generators = self._ready, self._polls, self.generators
        rounds = polled = 0
        while True:
            if not ready:
                if not polls or (polled >= POLLS and self.awaited()):
                    break
                ready.extend(polls)
                polls.clear()
                polled += 1
            rounds += 1
            if rounds > ROUNDS and self.awaited():
                break
            for _ in range(len(ready)):
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                self._owner = handle.owner
                self._callback = handle._callback
                try:
                    handle._context.run(handle._callback, *handle._args)
                except BaseException as error:
                    self._broke(error, handle)
                if self._unordered_from >= 0:
                    self._order()
                if self.dead:
                    ready.clear()
                    polls.clear()
                    break
        self._callback = None
        self._owner = self.root
        if len(generators) > 256:
            generators[:] = [g for g in generators if g.ag_frame is not None]

    def _broke(self, error: BaseException, handle: Any) -> None:
        """A callback raised: what would end a process ends the run (C7); the rest is told, as asyncio does."""
        if self.dead:
            return
        if not isinstance(error, Exception):
            self.escaped = self.escaped or error
            return
        self.call_exception_handler({"message": f"Exception in callback {handle._callback!r}", "exception": error})

    def in_no_order(self) -> None:
        """The running step cancels tasks in an order that means nothing: they get their turn in creation order (C4)."""
        if self._unordered_from < 0:
            self._unordered_from = len(self._ready)
            self.on_unordered(True)

    def _order(self) -> None:
        ready, since = self._ready, self._unordered_from
        self._unordered_from = -1
        woken = [i for i in range(since, len(ready)) if type(_task_of(ready[i])) is WorkflowTask]
        handles = sorted((ready[i] for i in woken), key=lambda handle: _task_of(handle).number)
        for i, handle in zip(woken, handles, strict=True):
            ready[i] = handle
        self.on_unordered(False)

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def here(self) -> Path:
        """The path of the running task, or of the task that the running callback belongs to."""
        task = _current_task(self)
        return task.path if type(task) is WorkflowTask else self._owner

    def owned_by(self, owner: Path) -> None:
        """What is scheduled next, outside any task, belongs to *owner*."""
        self._owner = owner

    # -- what asyncio asks of a loop -----------------------------------------------------------------------------------

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        task = _current_task(self)
        owner = task.path if type(task) is WorkflowTask else self._owner
        ready = self._ready
        if type(callback) in PLAIN:
            if args and isinstance(args[0], Registers):
                owner = args[0].owner_of(callback) or owner
            elif type(callback) is MethodType and callback == self._callback:
                ready = self._polls  # it schedules itself: it gets its turn when all else is done
        handle = Handle(callback, args, self, context, owner)
        ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:  # type: ignore[override]
        if self.dead:
            self.on_refused()
        if not when <= LAST:
            raise WrongArguments(
                f"A timer of {when - self.now:g} s: it has to be due before the year 9999 is over. What is to wait for ever takes "
                "no timeout, or awaits an event."
            )
        delay = round(when - self.now, 6)
        timer = Timer(when, callback, args, self, context, self.here(), max(delay, 0.0))
        self.on_timer(timer)
        return timer

    def fire(self, timer: Timer) -> None:
        """Let *timer* go off: its callback becomes ready."""
        if not timer._cancelled:
            self._ready.append(timer)

    def create_future(self) -> Future[Any]:
        if sys._getframe(1).f_code is _WRAP_FUTURE:
            self._refuse("a thread or executor (asyncio.wrap_future)", "make the function an activity")
        return WorkflowFuture(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None, **_: Any) -> WorkflowTask:
        if self.dead:
            coro.close()
            self.on_refused()
        frame = sys._getframe(1)
        code = ordering.creator(frame)
        if code is not None:
            if ordering.is_wait_for(code):
                return self._new_task(coro, self.here(), name, context, helper=True)
            if ordering.is_as_completed(code):
                return self._in_argument_order(coro, frame)
        return self._new_task(coro, self.here().child(), name, context)

    def _new_task(
        self, coro: Any, path: Path, name: str | None, context: Context | None, helper: bool = False
    ) -> WorkflowTask:
        self._made += 1
        if not helper:
            self._tasks_made += 1
        number = -self._made if helper else self._tasks_made
        task = WorkflowTask(coro, loop=self, path=path, number=number, name=name, context=context)
        self.tasks[self._made] = task
        if len(self.tasks) > self._prune_at:
            self.tasks = {made: task for made, task in self.tasks.items() if not task.done()}
            self._prune_at = 2 * len(self.tasks) + 64
        return task

    def _in_argument_order(self, coro: Any, frame: FrameType) -> WorkflowTask:
        """Make all tasks of an ``as_completed`` at once, in argument order, when it asks for the first (C4)."""
        mine = ordering.identity(coro)
        if mine not in self._ordered:
            for other in ordering.arguments(frame, coro):
                if id(other) not in self._ordered:
                    awaited = other if asyncio.iscoroutine(other) else _await(other)
                    self._ordered[id(other)] = (other, self._new_task(awaited, self.here().child(), None, None))
        given, task = self._ordered.pop(mine, (None, None))
        if task is None:
            return self._new_task(coro, self.here().child(), None, None)
        if given is not coro:
            coro.close()  # the wrapper around an awaitable object that is a task already
        return task

    def get_task_factory(self) -> None:
        return None

    def set_task_factory(self, factory: Any) -> None:
        if factory is not None:
            self._refuse("a task factory", "workflow tasks are made by the engine; remove set_task_factory")

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        pass

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def get_exception_handler(self) -> None:
        return None

    def set_exception_handler(self, handler: Any) -> None:
        pass

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not self.dead and not isinstance(
            error, RunRecurs
        ):  # a task that wished to go on anew has ended as it should
            log.warning("in workflow code: %s", context.get("message"), exc_info=error)

    async def shutdown_asyncgens(self) -> None:
        """Close the asynchronous generators that were left open, in creation order; they may clean up (C3)."""
        for generator in list(self.generators):
            try:
                await generator.aclose()
            except Exception as error:
                self.call_exception_handler({"message": f"closing {generator!r}", "exception": error})

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        pass

    # -- what would reach outside (C7) ---------------------------------------------------------------------------------

    def _refuse(self, what: str, cure: str) -> NoReturn:
        if self.dead:
            self.on_refused()
        file, line = user_line(2)
        raise WrongPlace(f"{file}:{line} uses {what} in workflow code. Workflow code must be repeatable: {cure}.")

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        self._refuse("loop.call_soon_threadsafe", "do the work of other threads in an activity and await that")

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> NoReturn:  # type: ignore[override]
        self._refuse("a thread or executor (asyncio.to_thread, run_in_executor)", "make the function an activity")

    def run_forever(self) -> NoReturn:
        self._refuse("run_forever", "await instead")

    def run_until_complete(self, future: Any) -> NoReturn:
        self._refuse("run_until_complete or asyncio.run", "await instead")

    def stop(self) -> None:
        self._refuse("loop.stop", "return from the workflow instead")

    def close(self) -> None:
        self._refuse("loop.close", "return from the workflow instead")

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]
        self._refuse("a signal handler", "wait for an event or an activity")

    def remove_signal_handler(self, sig: int) -> bool:
        self._refuse("a signal handler", "wait for an event or an activity")


def _outside(name: str) -> Callable[..., Any]:
    def refused(self: WorkflowLoop, *args: Any, **kwargs: Any) -> Any:
        self._refuse(f"loop.{name}", "do input and output in an activity")

    refused.__name__ = name
    return refused


_OUTSIDE = """
    create_connection create_server create_unix_connection create_unix_server create_datagram_endpoint
    connect_accepted_socket sendfile start_tls connect_read_pipe connect_write_pipe subprocess_shell subprocess_exec
    add_reader remove_reader add_writer remove_writer sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into
    sock_sendall sock_sendto sock_connect sock_accept sock_sendfile getaddrinfo getnameinfo set_default_executor
"""
for _name in _OUTSIDE.split():
    setattr(WorkflowLoop, _name, _outside(_name))
# the names above are abstract in no version of AbstractEventLoop (they raise NotImplementedError), so this suffices


_WRAP_FUTURE = asyncio.futures.wrap_future.__code__


def _refused() -> NoReturn:
    raise RunPutDown


def _task_of(handle: Any) -> Any:
    return getattr(handle._callback, "__self__", None)


def _never(generator: Any) -> None:
    """The finalizer of asynchronous generators: none is ever closed by the garbage collector (C3)."""


async def _await(awaitable: Any) -> Any:
    return await awaitable


def _leave_task(loop: Any) -> Any:
    """From Python 3.14 on a thread has one current task for all loops; step out of a notebook cell's own (X1)."""
    swap = getattr(asyncio.tasks, "_swap_current_task", None)
    return swap(loop, None) if swap is not None and loop is not None else None


def _reenter_task(loop: Any, task: Any) -> None:
    swap = getattr(asyncio.tasks, "_swap_current_task", None)
    if swap is not None and loop is not None:
        swap(loop, task)
