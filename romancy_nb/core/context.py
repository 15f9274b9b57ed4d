"""How workflow code finds its run, and what it can ask of it: the ambient.

"In a workflow" is decided by the loop that runs just now, or by the greenlet; never by a context variable, which threads
and callbacks copy (C3, X3). ``ambient()`` also finds a run that was put down: its ambient answers every request with
``RunPutDown``, so that a ``finally:`` in abandoned code has no effect.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import contextvars
import inspect
import traceback
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from hashlib import blake2b
from types import CodeType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from greenlet import getcurrent, greenlet

from romancy_nb.core.loop import WorkflowLoop, user_frame, user_line
from romancy_nb.core.tasks import WorkflowFuture
from romancy_nb.errors import RunPutDown, UnawaitedCall, WrongPlace

if TYPE_CHECKING:
    from romancy_nb.core.calls import ArmedUndo, OutsideFuture
    from romancy_nb.core.commands import ActivityCommand, Outcome, OutsideCommand
    from romancy_nb.core.family import Ancestor
    from romancy_nb.errors import RunRecurs
    from romancy_nb.payloads.payload import Payload

__all__ = ["Ambient", "WorkflowGreenlet", "ambient"]


STANDING: list[greenlet] = []
"""Code that swallows every RunPutDown for ever. It is never resumed; kept here, since collecting it would resume it (X3)."""


class WorkflowGreenlet(greenlet):  # type: ignore[misc]
    """Runs ``def`` workflow code, so that a call can wait without a coroutine."""

    ambient: Ambient


def ambient() -> Ambient | None:
    """Return the ambient of the workflow code that is running here, dead or alive; None outside any workflow (X3)."""
    loop = asyncio.events._get_running_loop()
    if type(loop) is WorkflowLoop:
        found: Ambient | None = loop.ambient
        return found
    current = getcurrent()
    return current.ambient if type(current) is WorkflowGreenlet else None


class Ambient:
    """The run as its own code sees it.

    Attributes:
        instance_id, workflow_name, run: which run this is (*run* counts from 1).
        seed: of the run's random numbers; journaled.
        replaying: True while what the code does is known from the journal.
        dead: True once the execution was put down.
        cancelled: True once the code was told that its run is cancelled (U3).
        pivoted: when the last ``pivot=True`` activity completed, as ``CallFuture.settled`` counts; 0: none did (U1).
        reported: exceptions that activities reported to the code (E4).
        prints: takes what the code writes to "stdout" or "stderr"; None: it goes where any print goes (N4).
        displays: takes the arguments of what it displays; None likewise.
        counts: takes how far a map is: name of the activity, rows done, of these failed, rows in all; None: nobody looks.
        channels: those that the run has subscribed to.
        silent: True while it is rebuilt where nobody looks: what it prints was seen before.
        codes, known: what was read of activities and of child workflows, once in an execution (X6).
        ancestors: name and inputs of the workflows above this run, the topmost first; the last is its own (R13).
    """

    def __init__(self, loop: WorkflowLoop, *, instance_id: str, workflow_name: str, run: int, seed: int) -> None:
        self.loop = loop
        self.instance_id = instance_id
        self.workflow_name = workflow_name
        self.run = run
        self.seed = seed
        self.replaying = False
        self.cancelled = False
        self.pivoted = 0
        self.reported: list[BaseException] = []
        self.prints: Callable[[str, str], object] | None = None
        self.displays: Callable[..., object] | None = None
        self.counts: Callable[[str, int, int, int], object] | None = None
        self.silent = False
        self.channels: set[str] = set()
        self.codes: dict[int, tuple[Any, str]] = {}
        self.known: dict[int, tuple[Any, Any]] = {}
        self.ancestors: tuple[Ancestor, ...] = ()
        self.greenlets: dict[WorkflowGreenlet, None] = {}
        self.schedule: Callable[[ActivityCommand], WorkflowFuture]
        self.expects: Callable[[str, str], bool | None]
        self.await_outside: Callable[[OutsideCommand], OutsideFuture]
        self.recur: Callable[[RunRecurs], None]
        self.record: Callable[[str, str, str, Payload | None, dict[str, Any]], None]
        self.record_side_effect: Callable[[str, Callable[[], Outcome]], Outcome]
        self.arm: Callable[[str, str, str, Payload, Any, Callable[[], str]], ArmedUndo]
        self._unawaited: list[tuple[str, str, CodeType | None, int, Coroutine[Any, Any, Any]]] = []
        self._prune_at = 64
        self._producing: str | None = None

    @property
    def dead(self) -> bool:
        return self.loop.dead

    def check(self) -> None:
        """Refuse what comes too late or from the wrong side (C8, X3)."""
        loop = self.loop
        if loop.dead:
            loop.on_refused()
        if self._producing is not None:
            file, line = user_line(2)
            raise WrongPlace(
                f"{file}:{line} asks for something inside side effect {self._producing}, which is not called again on replay. "
                "Call activities and helpers in the workflow itself and hand their values to the side effect."
            )
        if asyncio.events._get_running_loop() is not loop:
            raise WrongPlace(
                f"A call that belongs to workflow {self.workflow_name} ({self.instance_id}) was driven outside of it, on "
                "another loop or thread. Await activity calls in the workflow itself, or run several at once with "
                "rn.gather or asyncio.gather."
            )

    # -- waiting -------------------------------------------------------------------------------------------------------

    def is_sync(self) -> bool:
        """True when the code that is running is a ``def`` workflow's."""
        return type(getcurrent()) is WorkflowGreenlet

    def wait(self, future: asyncio.Future[Any]) -> Any:
        """Wait for *future* in ``def`` code and return its result."""
        current = getcurrent()
        if type(current) is not WorkflowGreenlet:
            file, line = user_line(2)
            raise WrongPlace(f"{file}:{line} blocks in an `async def` workflow. Await the call instead.")
        if self.loop.dead:
            self.loop.on_refused()
        assert current.parent is not None
        return current.parent.switch(future)

    def sleep(self, seconds: float) -> None:
        """Wait in ``def`` code until a timer has fired."""
        self.check()
        if seconds <= 0:
            return
        future = self.loop.create_future()
        timer = self.loop.call_later(seconds, _set_unless_done, future)
        try:
            self.wait(future)
        finally:
            timer.cancel()

    async def drive(self, function: Callable[[], Any]) -> Any:
        """Run plain ``def`` *function* in a greenlet inside the current task; its waits become this task's."""
        hub = getcurrent()
        code = WorkflowGreenlet(function, hub)
        code.ambient = self
        code.gr_context = contextvars.copy_context()
        self.greenlets[code] = None
        try:
            wanted = code.switch()
            while not code.dead:
                try:
                    value = await wanted
                except BaseException as error:
                    if isinstance(error, GeneratorExit) and not (wanted.done() and not self.loop.dead):
                        self.kill(code)  # this coroutine is being closed
                        raise
                    hub = code.parent = getcurrent()
                    wanted = code.throw(error)
                else:
                    current = getcurrent()
                    if current is not hub:
                        hub = code.parent = current
                    wanted = code.switch(value)
            return wanted
        finally:
            if code.dead:
                self.greenlets.pop(code, None)

    def kill(self, code: WorkflowGreenlet) -> None:
        """Unwind a greenlet of a run that was put down, on its own thread. It gives up on one that cannot be stopped."""
        for _ in range(50):
            if code.dead:
                return
            code.parent = getcurrent()
            try:
                code.throw(RunPutDown())
            except BaseException as error:
                traceback.clear_frames(error.__traceback__)
        STANDING.append(code)

    def gather(self, functions: list[Callable[[], Any]]) -> list[Any]:
        """Run *functions* at the same time, each in a task of its own, and return their results in order (C2)."""
        self.check()
        tasks = [self.loop.create_task(self.drive(function)) for function in functions]
        return list(self.wait(asyncio.gather(*tasks)))

    # -- calls that were made and not awaited (C1) -----------------------------------------------------------------------

    def expect(self, name: str, call: Coroutine[Any, Any, Any], what: str = "activity ") -> None:
        """Remember that *call* has to be awaited before the workflow returns; *what* stands before its name in errors."""
        if len(self._unawaited) > self._prune_at:
            self._unawaited = [entry for entry in self._unawaited if _waits_to_start(entry[4])]
            self._prune_at = 2 * len(self._unawaited) + 64
        frame = user_frame(3)
        self._unawaited.append((name, what, frame and frame.f_code, frame.f_lasti if frame else 0, call))

    def check_awaited(self) -> None:
        """Raise when a call was made and never awaited, naming its line (C1)."""
        left = [entry for entry in self._unawaited if _waits_to_start(entry[4])]
        self.check_awaited_quietly()
        if left and not self.dead:
            name, what, code, instruction, _ = left[0]
            more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
            raise UnawaitedCall(
                f"{_line(code, instruction)} calls {what}{name} and never awaits it{more}, so it did not run. "
                f"In an `async def` workflow write `await {name}(...)`."
            )

    def note_unawaited(self, error: BaseException) -> None:
        """Have *error* tell of a call that was taken for its result because it was not awaited."""
        if not isinstance(error, (TypeError, AttributeError)) or "'coroutine'" not in str(error):
            return
        for name, what, code, instruction, call in self._unawaited:
            if _waits_to_start(call):
                error.add_note(
                    f"{_line(code, instruction)} calls {what}{name} without `await`: write `await {name}(...)`."
                )

    def check_awaited_quietly(self) -> None:
        """Close what was never awaited, without a word: the run has another error to tell of."""
        for entry in self._unawaited:
            if _waits_to_start(entry[4]):
                entry[4].close()
        self._unawaited = []

    # -- deterministic helpers -------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The run's clock: the time of the last event that was delivered (C5)."""
        self.check()
        return datetime.fromtimestamp(self.loop.now, UTC)

    def uuid4(self) -> UUID:
        self.check()
        return UUID(bytes=self._chance("uuid4", 16), version=4)

    def random(self) -> float:
        self.check()
        return (int.from_bytes(self._chance("random", 8), "big") >> 11) / (1 << 53)

    def side_effect(self, name: str, produce: Callable[[], Outcome]) -> Outcome:
        """Return what *produce* came to the first time this place was reached; it is called only then."""
        self.check()

        def alone() -> Outcome:
            self._producing = name
            try:
                return produce()
            finally:
                self._producing = None

        return self.record_side_effect(name, alone)

    def _chance(self, kind: str, size: int) -> bytes:
        """Bytes that depend on nothing but the run's seed and the place of the call: the same on every replay."""
        place = self.loop.here()
        counter = f"{kind}:{self.seed}:{place.text}:{place.drawn}"
        place.drawn += 1
        return blake2b(counter.encode(), digest_size=size).digest()

    def is_reported(self, error: BaseException, depth: int = 0) -> bool:
        """True when *error* is an activity's own, was raised from one, or is a group of such (E4)."""
        if depth > 20:
            return False
        if any(error is known for known in self.reported):
            return True
        if isinstance(error, BaseExceptionGroup):
            return all(self.is_reported(member, depth + 1) for member in error.exceptions)
        return error.__cause__ is not None and self.is_reported(error.__cause__, depth + 1)


def _waits_to_start(call: Coroutine[Any, Any, Any]) -> bool:
    return inspect.getcoroutinestate(call) == inspect.CORO_CREATED


def _line(code: CodeType | None, instruction: int) -> str:
    """Return file and line of an instruction; looked up only when somebody is to be told."""
    if code is None:
        return "?"
    lines = (line for start, end, line in code.co_lines() if start <= instruction < end)
    line = next(lines, code.co_firstlineno)
    cell = "/ipykernel_" in code.co_filename or code.co_filename.startswith("<ipython-input")
    return f"Line {line} of the cell" if cell else f"{code.co_filename}:{line}"


def _set_unless_done(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)
