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
- asynchronous generators are kept until the run ends and closed in creation order, never by the garbage collector (C3).

What would reach outside (executors, sockets, signals, other threads) raises an error that names the line and the cure
(C7). The loop knows nothing of activities or history: ``replay`` and ``activation`` give it meaning through two hooks,
``on_timer`` and ``on_timer_cancelled``.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import asyncio.tasks
import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from types import CodeType, FrameType
from typing import Any, NoReturn

from romancy_nb.errors import RunPutDown, WrongPlace

__all__ = ["Timer", "WorkflowFuture", "WorkflowLoop", "WorkflowTask", "user_line"]

log = logging.getLogger("romancy_nb")

_WAIT_FOR: CodeType | None = asyncio.tasks.wait_for.__code__ if sys.version_info < (3, 12) else None


def _is_ours(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return name.startswith(("romancy_nb.", "asyncio.", "greenlet")) or name in {"asyncio", "romancy_nb"}


def user_line(depth: int = 1) -> tuple[str, int]:
    """Return file and line of the nearest frame that is neither ours nor asyncio's, starting *depth* frames up."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame else ("?", 0)


class WorkflowFuture(asyncio.Future[Any]):
    """A future of the loop. It hashes by its creation number, so sets of futures iterate alike on replay (C4)."""

    def __init__(self, *, loop: WorkflowLoop) -> None:
        self.number = loop.next_number()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class WorkflowTask(asyncio.Task[Any]):
    """A task of the loop, with its place among the others.

    Attributes:
        number: counts tasks and futures of the run in creation order.
        path: where it stands, such as ``0.2.1``: child 1 of child 2 of the root task ``0``.
    """

    def __init__(self, coro: Any, *, loop: WorkflowLoop, path: Path, name: str | None, context: Context | None) -> None:
        self.number = loop.next_number()
        self.path = path
        super().__init__(coro, loop=loop, name=name or f"task {path.text}", context=context)

    def __hash__(self) -> int:
        return self.number


class Path:
    """Where a task stands. Shared by a task and the transparent helper tasks inside it."""

    __slots__ = ("children", "drawn", "ordinal", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.drawn = 0
        self.ordinal = 0
        self.children = 0

    def child(self) -> Path:
        self.children += 1
        return Path(f"{self.text}.{self.children - 1}")

    def place(self) -> str:
        """Take the place of the next call of this task."""
        self.ordinal += 1
        return f"{self.text}:{self.ordinal - 1}"


class _Handle(asyncio.Handle):
    """A ready callback that remembers whose it is, so that what it creates belongs to that task (C3)."""

    __slots__ = ("owner",)

    def __init__(self, callback: Any, args: Any, loop: WorkflowLoop, context: Context | None, owner: Path) -> None:
        super().__init__(callback, args, loop, context)
        self.owner = owner


class Timer(asyncio.TimerHandle):
    """A durable timer: ``place`` names it in history, ``delay`` is in seconds."""

    __slots__ = ("delay", "owner", "place")

    def __init__(
        self, when: float, callback: Any, args: Any, loop: WorkflowLoop, context: Context | None, owner: Path, delay: float
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.owner = owner
        self.delay = delay
        self.place = owner.place()

    def cancel(self) -> None:
        # not TimerHandle.cancel: that tells a loop with a heap; and our hook must hear of it once
        if not self._cancelled:
            asyncio.Handle.cancel(self)
            loop: Any = self._loop
            loop.on_timer_cancelled(self)


class WorkflowLoop(asyncio.AbstractEventLoop):
    """An event loop for one execution of one run.

    Attributes:
        now: the run's clock in seconds since 1970; moved only by whoever delivers events (C5).
        dead: True from the moment the execution is put down (X3).
        on_timer: called with each new ``Timer``.
        on_timer_cancelled: called with a ``Timer`` that the code no longer waits for.
        ambient: set by the owner of the loop; how code on it finds its run.
    """

    def __init__(self, *, now: float = 0.0) -> None:
        self.now = now
        self.dead = False
        self.ambient: Any = None
        self.root = Path("0")
        self.tasks: dict[int, WorkflowTask] = {}
        self.on_timer: Callable[[Timer], None] = lambda timer: None
        self.on_timer_cancelled: Callable[[Timer], None] = lambda timer: None
        self._ready: deque[asyncio.Handle] = deque()
        self._owner = self.root
        self._number = 0
        self._prune_at = 64
        self._generators: list[Any] = []
        self._ordered: dict[int, tuple[Any, WorkflowTask]] = {}

    # -- running -----------------------------------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[None]:
        """Make this the thread's running loop, also where another one is already running (a notebook's, X1)."""
        events = asyncio.events
        before = events._get_running_loop()
        hooks = sys.get_asyncgen_hooks()
        events._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=self._generators.append, finalizer=lambda generator: None)
        outer = _leave_task(before)
        try:
            yield
        finally:
            _reenter_task(before, outer)
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(before)

    def run_until_idle(self) -> None:
        """Run ready callbacks until there are none. Call it inside ``running()``."""
        ready = self._ready
        while ready:
            handle = ready.popleft()
            if not handle._cancelled:
                self._owner = getattr(handle, "owner", self.root)
                try:
                    handle._run()
                except BaseException:
                    # SystemExit and KeyboardInterrupt: the task holds them as its exception too (C7); whoever runs the
                    # loop for a person knows by itself that Stop was pressed
                    continue
        self._owner = self.root
        if len(self._generators) > 256:
            self._generators = [g for g in self._generators if g.ag_frame is not None]

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def here(self) -> Path:
        """The path of the running task, or of the task that the running callback belongs to."""
        task = asyncio.tasks.current_task(self)
        return task.path if isinstance(task, WorkflowTask) else self._owner

    def owned_by(self, owner: Path) -> None:
        """What is scheduled next, outside any task, belongs to *owner*."""
        self._owner = owner

    # -- what asyncio asks of a loop -----------------------------------------------------------------------------------

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context, self.here())
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        if self.dead:
            raise RunPutDown
        delay = round(when - self.now, 6)
        timer = Timer(when, callback, args, self, context, self.here(), max(delay, 0.0))
        self.on_timer(timer)
        return timer

    def fire(self, timer: Timer) -> None:
        """Let *timer* go off: its callback becomes ready."""
        if not timer._cancelled:
            self._ready.append(timer)

    def create_future(self) -> asyncio.Future[Any]:
        return WorkflowFuture(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None, **_: Any) -> WorkflowTask:
        if self.dead:
            coro.close()
            raise RunPutDown
        made = self._ordered.pop(id(coro), None) if self._ordered else None
        if made is not None:
            return made[1]
        creator = _creator(sys._getframe(1))
        if creator is not None:
            if creator.f_code is _WAIT_FOR:
                return self._new_task(coro, self.here(), name, context)
            self._in_argument_order(coro, creator, context)
            made = self._ordered.pop(id(coro), None)
            if made is not None:
                return made[1]
        return self._new_task(coro, self.here().child(), name, context)

    def _new_task(self, coro: Any, path: Path, name: str | None, context: Context | None) -> WorkflowTask:
        task = WorkflowTask(coro, loop=self, path=path, name=name, context=context)
        self.tasks[task.number] = task
        if len(self.tasks) > self._prune_at:
            self.tasks = {number: task for number, task in self.tasks.items() if not task.done()}
            self._prune_at = 2 * len(self.tasks) + 64
        return task

    def _in_argument_order(self, coro: Any, creator: FrameType, context: Context | None) -> None:
        """Make all tasks of an ``as_completed`` or ``wait`` at once, in argument order instead of the set's order (C4)."""
        given = creator.f_locals.get("aws", creator.f_locals.get("fs"))
        if isinstance(given, (set, frozenset)):
            given = sorted(given, key=_what_it_is)
        if not isinstance(given, (list, tuple)) or not any(other is coro for other in given):
            return  # used up already, as a generator is: then C6 recognises the calls by what they are
        for other in given:
            if asyncio.iscoroutine(other) and id(other) not in self._ordered:
                self._ordered[id(other)] = (other, self._new_task(other, self.here().child(), None, context))

    def close_generators(self) -> None:
        """Close what asynchronous generators are left, in creation order, without waiting for anything (C3)."""
        generators, self._generators = self._generators, []
        for generator in generators:
            for _ in range(100):
                if generator.ag_frame is None:
                    break
                try:
                    generator.aclose().send(None)
                except BaseException:
                    continue

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
        if not self.dead:
            error = context.get("exception")
            log.warning("in workflow code: %s", context.get("message"), exc_info=error)

    async def shutdown_asyncgens(self) -> None:
        for generator in list(self._generators):
            await generator.aclose()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        pass

    # -- what would reach outside (C7) ---------------------------------------------------------------------------------

    def _refuse(self, what: str, cure: str) -> NoReturn:
        if self.dead:
            raise RunPutDown
        file, line = user_line(2)
        raise WrongPlace(f"{file}:{line} uses {what} in workflow code. Workflow code must be repeatable: {cure}.")

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        self._refuse("loop.call_soon_threadsafe", "do the work of other threads in an activity and await that")

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> NoReturn:
        self._refuse("a thread or executor (asyncio.to_thread, run_in_executor)", "make the function an activity")

    def run_forever(self) -> NoReturn:
        self._refuse("run_forever", "await instead")

    def run_until_complete(self, future: Any) -> NoReturn:
        self._refuse("run_until_complete or asyncio.run", "await instead")

    def stop(self) -> None:
        self._refuse("loop.stop", "return from the workflow instead")

    def close(self) -> None:
        self._refuse("loop.close", "return from the workflow instead")

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        self._refuse("a signal handler", "wait for an event or an activity")

    def remove_signal_handler(self, sig: int) -> bool:
        self._refuse("a signal handler", "wait for an event or an activity")


def _outside(name: str) -> Callable[..., Any]:
    def refused(self: WorkflowLoop, *args: Any, **kwargs: Any) -> Any:
        self._refuse(f"loop.{name}", "do input and output in an activity")

    refused.__name__ = name
    return refused


for _name in (
    "create_connection create_server create_unix_connection create_unix_server create_datagram_endpoint "
    "connect_accepted_socket sendfile start_tls connect_read_pipe connect_write_pipe subprocess_shell subprocess_exec "
    "add_reader remove_reader add_writer remove_writer sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into "
    "sock_sendall sock_sendto sock_connect sock_accept sock_sendfile getaddrinfo getnameinfo set_default_executor"
).split():
    setattr(WorkflowLoop, _name, _outside(_name))
# the names above are abstract in no version of AbstractEventLoop (they raise NotImplementedError), so this suffices


def _creator(frame: FrameType | None) -> FrameType | None:
    """Return the frame of the function of ``asyncio.tasks`` that wants a task for a bare coroutine, or None."""
    if frame is None or frame.f_code.co_name not in {"ensure_future", "_ensure_future"}:
        return None
    while frame is not None and frame.f_code.co_name in {"ensure_future", "_ensure_future", "<setcomp>"}:
        frame = frame.f_back
    return frame if frame is not None and frame.f_globals.get("__name__") == "asyncio.tasks" else None


def _what_it_is(awaitable: Any) -> tuple[str, str]:
    frame = getattr(awaitable, "cr_frame", None)
    arguments = repr(sorted((k, repr(v)) for k, v in frame.f_locals.items())) if frame is not None else ""
    return (getattr(awaitable, "__qualname__", type(awaitable).__qualname__), arguments)


def _leave_task(loop: Any) -> Any:
    """From Python 3.12 on a thread has one current task for all loops in C; step out of a notebook cell's own (X1)."""
    swap = getattr(asyncio.tasks, "_swap_current_task", None)
    return swap(loop, None) if swap is not None and loop is not None else None


def _reenter_task(loop: Any, task: Any) -> None:
    swap = getattr(asyncio.tasks, "_swap_current_task", None)
    if swap is not None and loop is not None:
        swap(loop, task)
