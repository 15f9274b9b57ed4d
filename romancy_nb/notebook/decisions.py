"""``%romancy cancel``, ``compensate``, ``resolve`` and ``forget``: what a person decides, as a line of a notebook."""

from __future__ import annotations

from typing import Any

from IPython.core.error import UsageError

from romancy_nb.runtime import launch
from romancy_nb.runtime.instance import Instance
from romancy_nb.words import quoted

__all__ = ["cancel", "compensate", "forget", "resolve", "step_of"]


def cancel(found: Instance[Any], words: tuple[str, ...]) -> None:
    """Cancel *found*; *words* is the reason."""
    __tracebackhide__ = True
    was = found.status
    found.cancel(" ".join(words))
    if was == "cancelled":
        print(
            f"{found.workflow_name} {found.id} was cancelled before. %romancy show {quoted(found.id)} shows what was undone."
        )
        return
    print(
        f"{found.workflow_name} {found.id} is being cancelled: its code may clean up, then what it did is undone. %romancy show "
        f"{quoted(found.id)} shows how far that is."
    )


def compensate(found: Instance[Any], words: tuple[str, ...], note: str) -> None:
    """Undo *found*, or decide about an undo of it that gave up; *words* are the step and what to do about it."""
    __tracebackhide__ = True
    step = step_of(words[0]) if words else None
    action = words[1] if len(words) > 1 else "retry"
    found.compensate(step, action, note)
    print(
        f"The undo of {found.workflow_name} {found.id} goes on. %romancy show {quoted(found.id)} shows how far it is."
    )


def resolve(found: Instance[Any], words: tuple[str, ...], note: str, namespace: dict[str, Any]) -> None:
    """Settle a doubt of *found*; *words* are the step, what became of it, and its result as Python.

    Raises:
        UsageError: one of them is missing, or the result is no expression.
    """
    __tracebackhide__ = True
    if len(words) < 2:
        raise UsageError(
            "%romancy resolve ID STEP executed [RESULT] | not_executed | failed [ERROR]: RESULT is Python, such as 'ch-77' or a "
            "variable."
        )
    result: Any = None
    if len(words) > 2:
        try:
            result = eval(compile(words[2], "<the result>", "eval"), namespace)  # what the person typed, as in any cell
        except (SyntaxError, NameError) as error:
            raise UsageError(f"%romancy resolve: {words[2]!r} is no Python value here ({error}).") from None
    found.resolve(step_of(words[0]), words[1], result, note)
    print(f"Noted. %romancy resume {quoted(found.id)}, or the same call, goes on.")


def forget(found: Instance[Any]) -> None:
    """Remove what *found* recorded, for good."""
    __tracebackhide__ = True
    back = launch.forget(found)
    from romancy_nb.widgets import preview

    given = f"; the journal's file is {preview.size(back)} smaller" if back > 0 else ""
    print(
        f"Forgotten: inputs, results and errors of {found.id}{given}. Calling {found.workflow_name} again executes everything."
    )


def step_of(word: str) -> int | str:
    """Return the step that *word* names: its number, or else its place or name."""
    return int(word) if word.isdecimal() else word
