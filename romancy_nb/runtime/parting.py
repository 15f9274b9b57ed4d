"""Code and history have parted: what is said of it, where it happened and whenever somebody asks for the result later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from romancy_nb.core import events as ev
from romancy_nb.definitions.fingerprint import OWN_CODE
from romancy_nb.errors import HistoryMismatch, RunStuck
from romancy_nb.runtime import starts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy_nb.core.events import Event

__all__ = ["edits", "facts", "problem", "recorded"]


def edits(workflow: str, started: Event, reads: Mapping[str, str]) -> str:
    """Return what was edited since a run was started: "order() changed, PROMPT changed"; "" when nothing was.

    A change of Python's or a package's version is named, too (C6).

    Args:
        workflow: its name.
        started: the run's first event.
        reads: what the workflow reads now.
    """
    meta = started.meta or {}
    then: dict[str, str] = meta.get("reads") or {}
    names = {OWN_CODE: f"{workflow}()"}
    told = starts.explain(*({names.get(name, name): each[name] for name in each} for each in (then, reads)))
    before, now = meta.get("versions") or {}, starts.versions()
    moved = [
        f"{name} {before[name]} is {now[name]} now" for name in before if name in now and before[name] != now[name]
    ]
    return ", ".join([told, *moved] if told else moved)


def facts(mismatch: HistoryMismatch, edited: str) -> dict[str, Any]:
    """Return what is journaled of a parting."""
    found = {"message": str(mismatch), "expected": mismatch.expected, "asked": mismatch.asked}
    more = {"what": mismatch.what, "edited": edited}
    return {**found, **{name: text for name, text in more.items() if text}}


def problem(instance: str, workflow: str, parted: Mapping[str, Any]) -> RunStuck:
    """Return the error for who waits for a stuck run: where they part, what was edited, and the ways on.

    Args:
        instance: its id.
        workflow: its workflow's name.
        parted: as ``facts`` returned it.
    """
    what = parted.get("what") or ""
    where = f"{what[:1].upper()}{what[1:]}. " if what else f"{parted.get('message') or ''} ".lstrip()
    edited = parted.get("edited")
    causes = (
        f"Edited since the run began: {edited}. "
        if edited
        else "Nothing that is watched was edited since the run began; a loop over a set of strings, or time.time(), random and the "
        "like in workflow code, can do that. "
    )
    return RunStuck(
        f"Instance {instance} is stuck: the code of {workflow} no longer fits its history. {where}{causes}Nothing is lost. Put the "
        f"code back and call {workflow}(...) again, or call it with the code as it is now: a new run takes over the results "
        f"that are unchanged and executes the rest. rn.instance({instance!r}).check() says whether code and history fit."
    )


def recorded(instance: str, workflow: str, events: Iterable[Event]) -> RunStuck:
    """Return the error for who asks for the result of a run that got stuck earlier."""
    last = next((event for event in reversed([*events]) if event.kind == ev.RUN_STUCK), None)
    return problem(instance, workflow, (last.meta if last is not None else None) or {})
