"""Where prints and displays are caught: ``write`` of the streams and ``publish`` of the display publisher.

The methods are replaced, not the objects in ``sys``: so a logging handler that has held the old ``sys.stderr`` for an hour
is caught as well, and ``isinstance``, ``fileno``, ``encoding`` stay what they were. What is written outside activities and
workflows goes on untouched.

IPython wraps ``write`` of the stream for each cell and puts back what it found. Where the stream's class is written in
Python (ipykernel's is), its method is replaced, which that does not undo; a stream of the standard library has it replaced
on the object, at each call anew where need be. ``THROUGH`` keeps what passes several layers from being caught twice.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from types import FunctionType
from typing import Any

from romancy_nb.core.context import ambient
from romancy_nb.runtime.capture import CAPTURE

__all__ = ["THROUGH", "attach_publisher", "detach", "install"]

THROUGH: ContextVar[bool] = ContextVar("romancy_through", default=False)
"""True: what is written in this context has been dealt with and goes straight on."""

_MARK = "_romancy_original"
_NAME = "_romancy_stream"
_attached: list[tuple[Callable[[], Any], str, Any]] = []


def install() -> None:
    """See to it that what ``sys.stdout`` and ``sys.stderr`` are just now is caught. Cheap when it is."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        home = _python_class(stream)
        if home is not None:
            vars(stream)[_NAME] = name
            if not hasattr(home.write, _MARK):
                _replace(home, "write", _class_write(home.write))
        elif stream is not None and not hasattr(getattr(stream, "write", None), _MARK):
            _replace(stream, "write", _write(name, stream.write))


def _python_class(stream: Any) -> Any:
    """The class in which a stream's ``write`` is defined, if that is in Python and the stream can be marked."""
    if not hasattr(stream, "__dict__"):
        return None
    home = next((cls for cls in type(stream).__mro__ if "write" in vars(cls)), None)
    return home if home is not None and isinstance(vars(home)["write"], FunctionType) else None


def attach_publisher(publisher: Any) -> None:
    """Catch what goes through IPython's display publisher."""
    if publisher is not None and not hasattr(publisher.publish, _MARK):
        _replace(publisher, "publish", _publish(publisher.publish))
        _replace(publisher, "clear_output", _clear_output(publisher.clear_output))


def detach() -> None:
    """Give all objects their own methods back."""
    while _attached:
        reference, method, function = _attached.pop()
        found = reference()
        if found is not None and vars(found).get(method) is function:
            if isinstance(found, type):
                setattr(found, method, getattr(function, _MARK))
            else:
                delattr(found, method)


def _replace(target: Any, method: str, function: Any) -> None:
    setattr(function, _MARK, getattr(target, method))
    try:
        setattr(target, method, function)
        _attached.append((weakref.ref(target), method, function))
    except (AttributeError, TypeError):
        pass  # an object that lets nobody do that: it is written to as ever, and nothing is captured


def _class_write(original: Any) -> Any:
    def write(self: Any, text: Any) -> Any:
        name = vars(self).get(_NAME)
        return original(self, text) if name is None else _written(name, text, partial(original, self))

    return write


def _write(name: str, original: Any) -> Any:
    def write(text: Any) -> Any:
        return _written(name, text, original)

    return write


def _written(name: str, text: Any, original: Callable[[Any], Any]) -> Any:
    if isinstance(text, str) and not THROUGH.get():
        if _caught(name, text):
            return len(text)
        token = THROUGH.set(True)
        try:
            return original(text)
        finally:
            THROUGH.reset(token)
    return original(text)


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
