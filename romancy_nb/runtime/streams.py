"""Where prints and displays are caught: ``write`` of the streams and ``publish`` of the display publisher.

The methods are replaced on the very objects, and not the objects in ``sys``: so a logging handler that has held the old
``sys.stderr`` for an hour is caught as well, and ``isinstance``, ``fileno``, ``encoding`` stay what they were. What is
written outside activities and workflows goes on untouched.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

from romancy_nb.core.context import ambient
from romancy_nb.runtime.capture import CAPTURE

__all__ = ["attach_publisher", "detach", "install", "raw"]

_MARK = "_romancy_original"
_attached: list[tuple[weakref.ref[Any], str]] = []


def install() -> None:
    """See to it that what ``sys.stdout`` and ``sys.stderr`` are just now is caught. Cheap when it is."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not hasattr(getattr(stream, "write", None), _MARK):
            _replace(stream, "write", _write(name, stream.write))


def attach_publisher(publisher: Any) -> None:
    """Catch what goes through IPython's display publisher."""
    if publisher is not None and not hasattr(publisher.publish, _MARK):
        _replace(publisher, "publish", _publish(publisher.publish))
        _replace(publisher, "clear_output", _clear_output(publisher.clear_output))


def detach() -> None:
    """Give all objects their own methods back."""
    while _attached:
        reference, method = _attached.pop()
        found = reference()
        if found is not None and hasattr(getattr(found, method, None), _MARK):
            vars(found).pop(method, None)


def raw(function: Any) -> Any:
    """Return the method as it was before it was replaced here."""
    return getattr(function, _MARK, function)


def _replace(target: Any, method: str, function: Any) -> None:
    setattr(function, _MARK, getattr(target, method))
    try:
        setattr(target, method, function)
        _attached.append((weakref.ref(target), method))
    except (AttributeError, TypeError):
        pass  # an object that lets nobody do that: it is written to as ever, and nothing is captured


def _write(name: str, original: Any) -> Any:
    def write(text: Any) -> Any:
        capture = CAPTURE.get()
        if capture is not None:
            if isinstance(text, str) and capture.write(name, text):
                return len(text)
            return original(text)
        code = ambient()
        if code is not None:
            if code.dead or code.silent:
                return len(text)
            if code.prints is not None and isinstance(text, str):
                code.prints(name, text)
                return len(text)
        return original(text)

    return write


def _publish(original: Any) -> Any:
    def publish(data: Any, metadata: Any = None, *args: Any, **options: Any) -> Any:
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
