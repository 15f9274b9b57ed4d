"""Where prints and displays are caught: ``write`` of the streams and ``publish`` of the display publisher.

The methods are replaced on the very objects, and not the objects in ``sys``: so a logging handler that has held the old
``sys.stderr`` for an hour is caught as well, and ``isinstance``, ``fileno``, ``encoding`` stay what they were. What is
written outside activities and workflows goes on untouched.

IPython does the same while a cell runs, to note the cell's output in its history, and afterwards puts back the method that
it found. So where its wrapper is in place, ours goes below it. ``THROUGH`` keeps what passes several layers from being
caught twice.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

from romancy_nb.core.context import ambient
from romancy_nb.runtime.capture import CAPTURE

__all__ = ["BEFORE", "THROUGH", "attach_publisher", "detach", "install"]

THROUGH: ContextVar[bool] = ContextVar("romancy_through", default=False)
"""True: what is written in this context has been dealt with and goes straight on."""

BEFORE: list[Callable[[], None]] = []
"""Called before something is written or flushed that is none of ours, so that what was held back stands above it."""

_MARK = "_romancy_original"
_BELOW = "original_write"  # what IPython's wrapper calls the method that it wraps
_attached: list[tuple[Callable[[], Any], str]] = []


def install() -> None:
    """See to it that what ``sys.stdout`` and ``sys.stderr`` are just now is caught. Cheap when it is."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if hasattr(stream, "write"):
            _replace(stream, "write", partial(_write, name))
        if BEFORE and hasattr(stream, "flush"):
            _replace(stream, "flush", _flush)


def attach_publisher(publisher: Any) -> None:
    """Catch what goes through IPython's display publisher."""
    if publisher is not None:
        _replace(publisher, "publish", _publish)
        _replace(publisher, "clear_output", _clear_output)


def detach() -> None:
    """Give all objects their own methods back."""
    while _attached:
        reference, method = _attached.pop()
        target = reference()
        top = vars(target).get(method) if target is not None else None
        wrapped = _wrapped(top)
        if hasattr(top, _MARK):
            delattr(target, method)
        elif wrapped is not None and hasattr(wrapped.cell_contents, _MARK):
            wrapped.cell_contents = getattr(wrapped.cell_contents, _MARK)


def _replace(target: Any, method: str, make: Callable[[Any], Any]) -> None:
    """Put a method of ours in the place of one of *target*'s, unless it is there."""
    top = getattr(target, method)
    wrapped = _wrapped(top)
    original = top if wrapped is None else wrapped.cell_contents
    if hasattr(original, _MARK):
        return
    ours = make(original)
    setattr(ours, _MARK, original)
    try:
        if wrapped is not None:
            wrapped.cell_contents = ours
        else:
            setattr(target, method, ours)
        _attached.append((weakref.ref(target), method))
    except (AttributeError, TypeError):
        pass  # an object that lets nobody do that: it is written to as ever, and nothing is captured


def _wrapped(function: Any) -> Any:
    """The cell in which IPython's wrapper keeps what it wraps; None: this is no such wrapper."""
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    return function.__closure__[names.index(_BELOW)] if _BELOW in names else None


def _write(name: str, original: Callable[[Any], Any]) -> Any:
    parents: dict[int, int] | None = getattr(getattr(original, "__self__", None), "_thread_to_parent", None)

    def write(text: Any) -> Any:
        if parents:
            _cut_circle(parents)
        if isinstance(text, str) and not THROUGH.get():
            if _caught(name, text):
                return len(text)
            _come_before()
            token = THROUGH.set(True)
            try:
                return original(text)
            finally:
                THROUGH.reset(token)
        return original(text)

    return write


def _flush(original: Any) -> Any:
    """IPython flushes the streams before it shows anything else, a traceback included; user code of ours may whenever it likes."""

    def flush() -> Any:
        if BEFORE and not THROUGH.get() and CAPTURE.get() is None and ambient() is None:
            _come_before()
        return original()

    return flush


def _come_before() -> None:
    for each in list(BEFORE):
        each()


def _cut_circle(parents: dict[int, int]) -> None:
    """Keep ipykernel from looking for ever for the cell that this thread belongs to.

    ipykernel 6 notes which thread started which by their idents, and goes up from there at every write. The system uses the
    ident of a thread that has ended again, so a thread can come to be its own ancestor, and the write never returns.
    """
    seen = me = threading.get_ident()
    for _ in range(len(parents) + 1):
        found = parents.get(seen)
        if found is None:
            return
        seen = found
    parents.pop(me, None)  # what it writes goes to the cell that runs now


def _caught(name: str, text: str) -> bool:
    """Has *text* been taken, or is it not to be seen?"""
    capture = CAPTURE.get()
    if capture is not None:
        return capture.write(name, text)
    code = ambient()
    if code is None:
        return False
    if code.dead or code.silent:
        return True
    if code.prints is not None:
        code.prints(name, text)
        return True
    return False


def _publish(original: Any) -> Any:
    def publish(data: Any, metadata: Any = None, *args: Any, **options: Any) -> Any:
        if THROUGH.get():
            return original(data, metadata, *args, **options)
        capture = CAPTURE.get()
        if capture is not None:
            transient, update = options.get("transient"), bool(options.get("update"))
            if capture.display(data, metadata or {}, transient or {}, update):
                return None
            return original(data, metadata, *args, **options)
        code = ambient()
        if code is not None:
            if code.dead or code.silent:
                return None
            if code.displays is not None:
                return code.displays(data, metadata, *args, **options)
        return original(data, metadata, *args, **options)

    return publish


def _clear_output(original: Any) -> Any:
    def clear_output(*args: Any, **options: Any) -> Any:
        capture = CAPTURE.get()
        if capture is not None and capture.clear():
            return None
        code = ambient()
        if code is not None and (code.dead or code.silent):
            return None
        return original(*args, **options)

    return clear_output
