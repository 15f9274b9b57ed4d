"""A workflow is called: find the instance, decide what the call does (R1), and say it in one line (R11)."""

from __future__ import annotations

import platform
import sys
from hashlib import blake2b
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from romancy_nb import clock, words
from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.core.transitions import Action
from romancy_nb.definitions.fingerprint import explain
from romancy_nb.errors import InputsDiffer, RunCancelled, RunProblem
from romancy_nb.journal.protocol import Head
from romancy_nb.runtime import ownership

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy_nb.core.replay import Numbered
    from romancy_nb.definitions.ambient import Request
    from romancy_nb.runtime.inbox import Finished, Start
    from romancy_nb.runtime.live import LiveRun

__all__ = [
    "check_inputs",
    "derived_id",
    "effects_that_stand",
    "explain",
    "is_forgotten",
    "line_for",
    "new_id",
    "new_run_key",
    "other_notebook",
    "refusal",
    "salted_id",
    "started_event",
    "versions",
]

_last_key = 0


def derived_id(request: Request, namespace: str) -> str:
    """Return the id of the instance that this very workflow with these very inputs is."""
    text = "\0".join((namespace, request.workflow.name, request.inputs.digest))
    return f"{request.workflow.name}-{blake2b(text.encode(), digest_size=6).hexdigest()}"


def new_id(request: Request, namespace: str) -> str:
    """Return the id of another instance of the same call (``new=``)."""
    return f"{derived_id(request, namespace)}-{token_hex(3)}"


def salted_id(instance: str, notebook: str) -> str:
    """Return the id of *notebook*'s own instance of a call whose derived id another notebook has (R12)."""
    return f"{instance}-{blake2b(str(notebook).encode(), digest_size=3).hexdigest()}"


def other_notebook(head: Head, start: Start) -> str | None:
    """Return the notebook that the run was started from, when that is another one than the call's."""
    if head.notebook is None or start.notebook is None or head.notebook == start.notebook:
        return None
    return head.notebook


def is_forgotten(rows: Sequence[Numbered]) -> bool:
    """Were the payloads of this history removed (D5)?"""
    return bool((rows[0][1].meta or {}).get("forgotten"))


def new_run_key(now: int) -> int:
    """Return a key for a new run: microseconds and 11 bits of chance, rising within this process.

    Runs of different processes cannot meet in practice, and the journal's (run, seq) would refuse the second.
    """
    global _last_key
    key = ((now & ((1 << 52) - 1)) << 11) | int(token_hex(2), 16) & 0x7FF
    _last_key = max(key, _last_key + 1)
    return _last_key


def started_event(
    start: Start,
    instance: str,
    number: int,
    reason: str,
    now: int,
    owner: str,
    earlier: Event | None,
    namespace: str,
    redo: frozenset[str] = frozenset(),
) -> Event:
    """Return the first row of a run. A later run inherits seed and clock, so that what is reused stays the same (R3)."""
    request = start.request
    before = (earlier.meta or {}) if earlier is not None else {}
    meta: dict[str, Any] = {
        "number": number,
        "reason": reason,
        "seed": before.get("seed", int(token_hex(6), 16)),
        "clock": before.get("clock", now),
        "owner": owner,
        "epoch": 1,
        "versions": versions(),
        "reads": start.reads,
        **request.facts,
    }
    if namespace:
        meta["namespace"] = namespace
    if start.notebook:
        meta["notebook"] = start.notebook
    if redo:
        meta["redo"] = sorted(redo)
    if start.cell:
        meta["cell"] = start.cell
    if start.apart:
        meta["apart_from"] = start.apart
    if request.site:
        meta["site"] = request.site
    return Event(
        ev.RUN_STARTED,
        now,
        instance,
        request.workflow.name,
        request.inputs.digest,
        start.code,
        0,
        request.inputs.payload,
        meta,
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages in play (C6): those that are imported and known to matter."""
    found = {"python": platform.python_version()}
    for name in ("romancy_nb", "pydantic", "numpy", "pandas", "pydantic_ai", "openai", "anthropic"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            found[name] = version
    return found


def check_inputs(start: Start, head: Head, recorded: str) -> None:
    """Refuse one id for two workflows or two inputs, showing both.

    Raises:
        InputsDiffer: as it says.
    """
    request = start.request
    if head.workflow != request.workflow.name:
        raise InputsDiffer(
            f"Instance {head.instance} belongs to workflow {head.workflow}; it cannot also be one of "
            f"{request.workflow.name}. Choose another instance_id."
        )
    if head.digest != request.inputs.digest:
        raise InputsDiffer(
            f"Instance {head.instance} of {head.workflow} was started with {_shown(recorded) or 'other inputs'} and is now "
            f"asked for with {_shown(request.inputs.payload.text)}. One id stands for one set of inputs: use another "
            "instance_id, or leave it out and the id follows from the inputs."
        )


def _shown(inputs: str) -> str:
    return words.clip(inputs, 500)  # the rows of a map are thousands


def refusal(action: Action, head: Head) -> RunProblem:
    """Return the error for the actions that only a person can decide."""
    if action is Action.REFUSE_CANCELLED:
        return RunCancelled(
            f"Instance {head.instance} was cancelled {_moment(head.updated)}. To run it anew: "
            f"{head.workflow}.start(..., new=True)."
        )
    return RunProblem(
        f"The undo of instance {head.instance} gave up {_moment(head.updated)}. A person has to decide: retry, skip or "
        "mark as done."
    )


def line_for(
    action: Action, head: Head | None, start: Start, instance: str, old_reads: dict[str, str] | None = None
) -> str:
    """Return the line that tells a person what the call does, how old the record is and how to run anew (R11)."""
    line = _line_for(action, head, start, instance, old_reads)
    if start.whose is not None:
        line += f" The record is of {start.whose}."
    if start.apart is not None and (head is None or action is Action.START):
        line += f" {start.apart} has an instance of this call with other code, so this notebook has one of its own."
    return line


def effects_that_stand(run: LiveRun, told: Finished) -> list[str]:
    """Return what a person should know of effects of earlier runs, when a new run of the instance has ended (R5, R9)."""
    lines = []
    if run.kept:
        names = list(dict.fromkeys(run.kept))
        lines.append(
            f"Edited, but what it did stands, so the recorded result was kept: {', '.join(names)}. "
            f"redo={[name.rpartition('.')[2] for name in names]} executes it again; "
            f"rn.instance({run.instance!r}).compensate() undoes the run, and the next call executes all of it."
        )
    left = run.pool.standing() if run.pool is not None and told.error is None and not run.replay_only else []
    if left:
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        lines.append(
            f"Earlier runs did what this one does not contain, and it stands: {'; '.join(left[:5])}{more}. "
            "Undo it by hand if it should not."
        )
    return lines


def _line_for(action: Action, head: Head | None, start: Start, instance: str, old_reads: dict[str, str] | None) -> str:
    name, short = (
        start.request.workflow.name,
        f"id …{instance[-4:]}" if start.request.instance_id is None else f"id {instance}",
    )
    who = f"({name}, {short})"
    if head is None or action is Action.START:
        return f"Started {who}."
    when = _moment(head.updated)
    anew = "Run again: new=True."
    cause = explain(old_reads, start.reads) if old_reads is not None else ""
    if action is Action.REPLAY:
        old = clock.now_us() - head.updated > 3_600_000_000
        mark = "NOTE: " if old else ""
        age = f", {words.age(clock.now_us() - head.updated)}" if old else ""
        return f"{mark}Returned the result of {when}{age} {who}. Nothing was executed. {anew}"
    if action is Action.RESUME:
        what = {"paused": "paused", "running": "interrupted", "waiting": "interrupted"}.get(head.status, head.status)
        return f"Resumed the run that was {what} {when} {who}. What is recorded is not executed again. {anew}"
    if action is Action.RETRY:
        return f"Resumed the run that failed {when} {who}: the failed activity is executed again. {anew}"
    if action is Action.RESUME_UNDO:
        return f"The undo of the run that failed goes on where it was {when} {who}. Nothing goes forward."
    if action is Action.NEW_RUN:
        if start.forgot:
            return f"Run {head.number + 1} {who}. What was recorded was forgotten, so everything is executed."
        why = f": {cause}" if cause else ""
        undone = " What the last run did was undone." if head.status == "compensated" else ""
        return f"Run {head.number + 1} {who}{why}.{undone} Unchanged results of {when} are reused, the rest is executed. {anew}"
    owner = ownership.describe(head.owner)
    if action is Action.ATTACH_OLD_CODE:
        return (
            f"Following the run that {owner} started {_moment(head.started)} {who}. It goes on with the code it started "
            f"with{f' ({cause})' if cause else ''}; to use the new code, stop it and run this again."
        )
    return f"Following the run that {owner} started {_moment(head.started)} {who}. {anew}"


def _moment(us: int) -> str:
    return words.moment(us, clock.now_us())
