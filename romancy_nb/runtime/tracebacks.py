"""Tracebacks that show the person's own lines: our frames, the loop's and greenlet's are taken out (E1)."""

from __future__ import annotations

import linecache
from types import TracebackType
from typing import NoReturn, TypeVar

from romancy_nb.core.loop import _is_ours

__all__ = ["throw", "without_our_frames"]

E = TypeVar("E", bound=BaseException)


_JOURNAL = "<the journal>"
_LINE = "raise error  # as recorded: it was not raised just now\n"
_RAISE = compile(_LINE, _JOURNAL, "exec")
linecache.cache[_JOURNAL] = (len(_LINE), None, [_LINE], _JOURNAL)


def throw(error: BaseException) -> NoReturn:
    """Raise what a run ended with, in the caller's name.

    An error that comes from the journal has no lines of the person's. As the innermost frame is always shown, it is raised
    in one that says so instead of in ours.
    """
    __tracebackhide__ = True
    without_our_frames(error)
    if error.__traceback__ is None and not _shows_itself(error):
        exec(_RAISE, {"error": error})
    raise error


def _shows_itself(error: BaseException) -> bool:
    try:
        return hasattr(error, "_render_traceback_")
    except Exception:  # a __getattr__ of the person's class
        return False


def without_our_frames(error: E) -> E:
    """Return *error*, its traceback and those of its causes reduced to frames that are not ours.

    The frames that it passes on its way out of here hide themselves with ``__tracebackhide__``, which IPython, its
    debugger and pytest respect.
    """
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        BaseException.with_traceback(each, _reduced(each.__traceback__))  # also where attributes cannot be set
        left += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            left += each.exceptions
    return error


def _reduced(traceback: TracebackType | None) -> TracebackType | None:
    kept = []
    while traceback is not None:
        if not _is_ours(traceback.tb_frame):
            kept.append(traceback)
        traceback = traceback.tb_next
    reduced: TracebackType | None = None
    for each in reversed(kept):
        reduced = TracebackType(reduced, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return reduced
