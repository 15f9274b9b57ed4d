"""``%romancy check``, ``fork`` and ``diff``: what a person does with recorded histories, as a line of a notebook."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from IPython.core.error import UsageError

from romancy_nb.definitions import registry
from romancy_nb.definitions.workflow import Workflow
from romancy_nb.errors import InstanceNotFound
from romancy_nb.notebook.answering import evaluator, unquoted
from romancy_nb.notebook.decisions import step_of
from romancy_nb.runtime import launch, typed
from romancy_nb.runtime.instance import Instance
from romancy_nb.words import quoted

__all__ = ["check", "diff", "fork", "taken_apart"]

_OPTION: Final = re.compile(r"(?:^|\s)--(at|edit|id)(?:\s+|=)")
_WORDS: Final = re.compile(r"\"[^\"]*\"|'[^']*'|\S+")
_EDIT: Final = re.compile(r"([^=\s]+)\s*=\s*(.+)", re.DOTALL)

Find = Callable[[str], Instance[Any]]
"""Finds an instance by what was typed for it."""


def check(wanted: str, finished: bool, namespace: Mapping[str, Any], find: Find) -> Any:
    """Play recorded runs to the code as it is now: of a workflow, of an instance, or all."""
    __tracebackhide__ = True
    from romancy_nb.runtime import checking

    if not wanted:
        return checking.check(finished=finished)
    named, known = namespace.get(wanted), registry.names("workflow")
    if isinstance(named, Workflow):
        return checking.check(named, finished=finished)
    if wanted in known:
        return checking.check(wanted, finished=finished)
    try:
        return checking.Check([find(wanted).check()])
    except InstanceNotFound as problem:
        near = difflib.get_close_matches(wanted, known, 1)
        hint = f" Did you mean %romancy check {near[0]}?" if near else ""
        raise InstanceNotFound(f"No workflow named {wanted!r} is defined here.{hint} {problem}") from None


def taken_apart(text: str, usage: str) -> tuple[str, int | str | None, dict[int | str, str], str | None]:
    """Take apart what follows ``fork``: the id, the step, the edits as they were typed, and the id of the fork.

    Raises:
        UsageError: something is missing, or not expected.

    >>> taken_apart('order-7 --at 7 --edit 5={"price": 80} --edit note="a b"', "")
    ('order-7', 7, {5: '{"price": 80}', 'note': '"a b"'}, None)
    >>> taken_apart('"order 7" --at "Is it so?" --id "order 8"', "")
    ('order 7', 'Is it so?', {}, 'order 8')
    """
    pieces = _OPTION.split(text.strip())
    words = _WORDS.findall(pieces[0])
    if len(words) != 1:
        wrong = "Which instance?" if not words else f"{words[1]!r} is not expected."
        if words[1:] and words[1] in {"--at", "--edit", "--id"}:
            wrong = f"{words[1]} needs a value."
        raise UsageError(f"%romancy fork: {wrong} Usage: %romancy fork {usage}")
    at: int | str | None = None
    name: str | None = None
    edits: dict[int | str, str] = {}
    for option, typed_value in zip(pieces[1::2], pieces[2::2], strict=True):
        value = typed_value.strip()
        edit = _EDIT.fullmatch(value) if option == "edit" else None
        if not value or (option == "edit" and edit is None) or (option != "edit" and len(_WORDS.findall(value)) > 1):
            raise UsageError(
                f"%romancy fork: --{option} {value!r} says too little or too much. Usage: %romancy fork {usage}"
            )
        if edit is not None:
            edits[step_of(edit[1])] = edit[2]
        elif option == "at":
            at = step_of(unquoted(value))
        else:
            name = unquoted(value)
    return unquoted(words[0]), at, edits, name


def fork(text: str, usage: str, namespace: dict[str, Any], find: Find) -> Instance[Any]:
    """Fork an instance, and say what became of it."""
    __tracebackhide__ = True
    wanted, at, typed_edits, name = taken_apart(text, usage)
    edits = {step: typed.value_of(value, None, evaluator(namespace)) for step, value in typed_edits.items()}
    found = find(wanted)
    made = found.fork(at, edits or None, instance_id=name)
    print(
        f"{made.id} goes on in the background from where {found.id} was. "
        f"%romancy diff {quoted(found.id)} {quoted(made.id)} shows what differs; "
        f"rn.instance({made.id!r}).result() waits for its result."
    )
    return made


def diff(words: tuple[str, ...], find: Find) -> Any:
    """Compare an instance with another, with one of its runs, or with the run before."""
    __tracebackhide__ = True
    other = words[1] if len(words) > 1 else None
    found = find(words[0] if words else "")
    if other is None:
        return found.diff()
    if other.isdecimal() and len(other) < 5:
        try:  # an instance that is called so is meant before a run
            return found.diff(launch.instance(other))
        except InstanceNotFound:
            return found.diff(int(other))
    return found.diff(find(other))
