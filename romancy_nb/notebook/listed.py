"""``%romancy ls``: the instances that fit what a person says of them."""

from __future__ import annotations

import difflib
from typing import Any

from IPython.core.error import UsageError

from romancy_nb.notebook.command import Words
from romancy_nb.runtime import launch

__all__ = ["ls", "statuses"]


def ls(shell: Any, words: Words) -> Any:
    """List instances."""
    wanted = words.words[0] if words.words else None
    status = wanted if wanted in statuses() else words.options.get("status")
    workflow = wanted if wanted not in statuses() else None
    options = {name: words.options.get(name) for name in ("since", "text")}
    limit = str(words.options.get("limit", ""))
    if limit and not limit.isdecimal():
        raise UsageError(f"%romancy ls --limit N takes a whole number, not {limit!r}.")
    try:
        found = launch.instances(
            status,
            workflow or words.options.get("workflow"),
            since=options["since"],
            text=options["text"] or "",
            limit=int(limit) if limit else None,
        )
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    if found:
        return found
    if (
        workflow
        and (near := difflib.get_close_matches(workflow, [*statuses(), *_workflows()], 1))
        and near != [workflow]
    ):
        print(f"There are no instances of {workflow}. Did you mean %romancy ls {near[0]}?")
        return None
    what = f"instances of {workflow}" if workflow else f"{status} instances" if status else "instances"
    like = " that are like this" if any(options.values()) else ""
    print(f"The journal {launch.location().path} holds no {what}{like}.")
    return None


def statuses() -> list[str]:
    """Return the words that ``%romancy ls`` takes for a status."""
    from romancy_nb.runtime.filters import STATES

    return sorted(STATES)


def _workflows() -> list[str]:
    """Return the names of the workflows that are defined here."""
    from romancy_nb.definitions import registry

    return registry.names("workflow")
