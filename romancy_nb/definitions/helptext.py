"""What ``order_workflow?`` shows: the function's own docstring, its options in words, and how it is called.

It goes to IPython only. ``__doc__`` stays the function's own, which tools and models read.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from romancy_nb.definitions import limits
from romancy_nb.definitions.options import ActivityOptions, WorkflowOptions

__all__ = ["of_activity", "of_workflow"]


def of_activity(name: str, function: Callable[..., Any], options: ActivityOptions, *, is_async: bool) -> str:
    """Return the help of an activity."""
    retry = options.retry
    attempts = "no limit of attempts" if retry.max_attempts is None else f"{retry.max_attempts} attempts at most"
    lines = [attempts if retry.max_attempts != 1 else "no retry", *_chosen(options, {"retry", "limit"})]
    for each in options.limit or ():
        lines.append(f"waits for limit {limits.find(each) or f'{each}, which is not defined'}")
    call = _call(function)
    wait = "await " if is_async else ""
    return _text(
        function,
        f"Activity {name}: its result is recorded; a workflow that asks for it again gets it from the journal.",
        lines,
        [
            f"{name}({call})    in a `def` workflow",
            f"await {name}({call})    in an `async def` workflow",
            f"{wait}{name}({call})    in a cell: the plain function",
        ],
    )


def of_workflow(name: str, function: Callable[..., Any], options: WorkflowOptions, *, is_async: bool) -> str:
    """Return the help of a workflow."""
    call = _call(function)
    more = f"{call}, " if call else ""
    return _text(
        function,
        f"Workflow {name}: the same call again is the same instance, and what is recorded is not executed again.",
        _chosen(options, set()),
        [
            f"{'await ' if is_async else ''}{name}({call})    run it here and get its result",
            f"h = {name}.start({call})    run it in the background; h.result() waits",
            f"{name}.run({more}new=True)    not the recorded one but another instance",
        ],
    )


def _text(function: Callable[..., Any], what: str, options: list[str], examples: list[str]) -> str:
    parts = [inspect.getdoc(function) or "", what]
    if options:
        parts.append("Options: " + ", ".join(options) + ".")
    width = max(len(line.partition("    ")[0]) for line in examples)
    shown = [(before, after) for before, _, after in (line.partition("    ") for line in examples)]
    parts.append("Examples:\n\n" + "\n".join(f"    {before:<{width}}  # {after}" for before, after in shown))
    return "\n\n".join(part for part in parts if part)


def _chosen(options: Any, without: set[str]) -> list[str]:
    """The options that are not as they would be by default, as they were written."""
    return [
        f"{each.name}={value!r}"
        for each in dataclasses.fields(options)
        if each.name not in without and (value := getattr(options, each.name)) != each.default
    ]


def _call(function: Callable[..., Any]) -> str:
    """The arguments that a call has to have, by name."""
    needed = [
        each.name
        for each in inspect.signature(function).parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    return ", ".join(name for position, name in enumerate(needed) if position or name != "ctx")
