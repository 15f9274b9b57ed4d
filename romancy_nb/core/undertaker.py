"""Putting an execution down: its code is unwound on its own thread, and nothing that it still asks for happens (X3).

Three things make that harder than ``coroutine.close()``:

- clean-up code that waits: what it waits for never comes, so it is closed again where it stands;
- code that swallows everything, as ``while True: try: step() except BaseException: pass`` does. ``RunPutDown`` is raised
  at its call; should it go on calling, the next *line* that it executes raises once more, which leaves the ``try``. What
  withstands even that is left standing for good, in a greenlet that nobody resumes;
- what is closed only when its last reference goes: coroutines not started yet (Python would warn), sync generators.
"""

from __future__ import annotations

import gc
import inspect
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, NoReturn

from greenlet import getcurrent, greenlet

from romancy_nb.core.context import STANDING, Ambient, WorkflowGreenlet
from romancy_nb.core.loop import WorkflowLoop, _is_ours
from romancy_nb.errors import RunPutDown

__all__ = ["Undertaker"]

PATIENCE = 100
"""How many refused requests in a row are taken for clean-up."""


class _Grave(greenlet):  # type: ignore[misc]
    """Where coroutines are closed, so that one that cannot be closed can be left."""


class Undertaker:
    """Unwinds the code of one execution.

    Args:
        loop: the execution's loop; requests of dead code come to ``refuse``.
        ambient: its ambient.
    """

    def __init__(self, loop: WorkflowLoop, ambient: Ambient) -> None:
        self._loop = loop
        self._ambient = ambient
        self._refused = 0
        loop.on_refused = self.refuse

    def refuse(self) -> NoReturn:
        """Tell dead code to let go; the more often it asks, the more firmly."""
        self._refused += 1
        if self._refused > PATIENCE:
            here = getcurrent()
            if self._refused > 3 * PATIENCE and type(here) in {WorkflowGreenlet, _Grave} and here.parent is not None:
                here.parent.switch()
            _condemn(sys._getframe(1))
        raise RunPutDown

    def put_down(self, error: BaseException | None) -> None:
        """Unwind everything that has not finished; *error* is what the run ended with, if it did."""
        loop, ambient = self._loop, self._ambient
        loop.dead = True
        coros: list[Any] = [task.get_coro() for task in loop.tasks.values() if not task.done()]
        with loop.running(), _quietly(), _tracing_kept():
            for coro in _unstarted([*coros, *(_locals(code.gr_frame) for code in ambient.greenlets)]):
                coro.close()
            for code in list(ambient.greenlets):
                self._refused = 0
                ambient.kill(code)
            self._bury([_closer(coro) for coro in coros])
            while loop.generators:
                generators = list(loop.generators)
                loop.generators.clear()
                self._bury([_async_closer(generator) for generator in generators])
            ambient.check_awaited_quietly()
            for generator in _generators_in(error):
                self._bury([generator.close])
        loop.tasks.clear()
        ambient.greenlets.clear()

    def _bury(self, closers: list[Callable[[], None]]) -> None:
        left = deque(closers)

        def work() -> None:
            while left:
                self._refused = 0
                _attempt(left.popleft())

        while left:
            grave = _Grave(work)
            grave.switch()
            if not grave.dead:
                STANDING.append(grave)


def _attempt(close: Callable[[], None]) -> None:
    for _ in range(50):
        try:
            close()
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)
        else:
            return


def _closer(coro: Any) -> Callable[[], None]:
    attempts = 0

    def close() -> None:
        nonlocal attempts
        attempts += 1
        if attempts > 10:  # it waits anew each time: condemn the frames that stand in it
            inner = coro
            while inner is not None:
                _condemn_one(getattr(inner, "cr_frame", None))
                inner = getattr(inner, "cr_await", None)
            sys.settrace(_no_new_frames)
        coro.close()

    return close


def _async_closer(generator: Any) -> Callable[[], None]:
    def close() -> None:
        if generator.ag_frame is None:
            return
        closing = generator.aclose()
        try:
            closing.send(None)
            for _ in range(50):
                closing.throw(RunPutDown())
        except (StopIteration, RunPutDown):
            return

    return close


def _condemn(frame: FrameType | None) -> None:
    """Let the next line of every user frame of this execution raise."""
    while frame is not None and frame.f_code not in _BOUNDARIES:
        if not _is_ours(frame):
            _condemn_one(frame)
        frame = frame.f_back
    sys.settrace(_no_new_frames)


def _condemn_one(frame: FrameType | None) -> None:
    if frame is not None and not _is_ours(frame):
        frame.f_trace = _strike


def _strike(frame: FrameType, event: str, arg: Any) -> Any:
    if event == "line":
        raise RunPutDown
    return _strike


def _no_new_frames(frame: FrameType, event: str, arg: Any) -> None:
    return None


@contextmanager
def _tracing_kept() -> Iterator[None]:
    before = sys.gettrace()
    try:
        yield
    finally:
        if sys.gettrace() is not before:
            sys.settrace(before)


# -- what only the last reference closes ---------------------------------------------------------------------------------

_CONTAINERS = (list, tuple, set, frozenset, dict, deque)


def _unstarted(roots: list[Any]) -> list[Any]:
    """Find coroutines that were made and not started, in what the suspended code holds."""
    found: list[Any] = []
    seen: set[int] = set()
    left = deque(roots)
    while left and len(seen) < 10_000:
        value = left.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, CoroutineType) and inspect.getcoroutinestate(value) == inspect.CORO_CREATED:
            found.append(value)
        left.extend(held for held in gc.get_referents(value) if isinstance(held, (CoroutineType, *_CONTAINERS)))
    return found


def _locals(frame: FrameType | None) -> list[Any]:
    """Return the values of the local variables of a suspended greenlet's code."""
    found: list[Any] = []
    while frame is not None:
        if not _is_ours(frame):
            found.extend(frame.f_locals.values())
        frame = frame.f_back
    return found


def _generators_in(error: BaseException | None) -> list[GeneratorType[Any, Any, Any]]:
    """Find the open generators in the frames of an error's traceback: collecting them would run their ``finally``."""
    return [
        value
        for frame, _ in traceback.walk_tb(error.__traceback__ if error is not None else None)
        if not _is_ours(frame)
        for value in frame.f_locals.values()
        if isinstance(value, GeneratorType) and value.gi_frame is not None and not value.gi_running
    ]


_lock = threading.Lock()
_quiet = 0
_hook_before: Any = None


def _hook(unraisable: Any) -> None:
    if not isinstance(unraisable.exc_value, RunPutDown):
        _hook_before(unraisable)


@contextmanager
def _quietly() -> Iterator[None]:
    """While code is put down, a RunPutDown that leaves the ``finally`` of a collected generator is no news."""
    global _quiet, _hook_before
    with _lock:
        _quiet += 1
        if sys.unraisablehook is not _hook:
            _hook_before, sys.unraisablehook = sys.unraisablehook, _hook
    try:
        yield
    finally:
        with _lock:
            _quiet -= 1
            if not _quiet and sys.unraisablehook is _hook:
                sys.unraisablehook = _hook_before


_BOUNDARIES: frozenset[CodeType] = frozenset(
    {WorkflowLoop.run_until_idle.__code__, _attempt.__code__, Ambient.kill.__code__, Ambient.drive.__code__}
)
