"""The code of a step: its activity's text at that time and now, how they differ, and what else it reads that has changed."""

from __future__ import annotations

import difflib
from typing import Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.definitions import registry
from romancy_nb.definitions.fingerprint import OWN_CODE, fingerprint
from romancy_nb.definitions.told import read_told, source_of
from romancy_nb.payloads.payload import code_digest
from romancy_nb.runtime.called import Called

__all__ = ["code", "kept_under"]

_MOST: Final = 20_000
_READS: Final = 50
_KINDS: Final[dict[str, registry.Kind]] = {
    ev.ACTIVITY_SCHEDULED: "activity",
    ev.COMPENSATION_SCHEDULED: "compensation",
    ev.CHILD_STARTED: "workflow",
}


def kept_under(intent: Event) -> str:
    """Return the digest under which the journal keeps the code of a step."""
    return code_digest(intent.name, intent.code)


def code(call: Called, kept: str) -> dict[str, Any]:
    """Return ``{"then", "now", "diff", "changed", "reads"}`` of a step's code.

    Args:
        call: the step.
        kept: what the journal keeps of its code, as JSON; may be empty.

    ``now`` is None where nothing of that name is defined in this process, and ``reads`` are sentences: "PROMPT changed".
    """
    intent = call.intent
    kind = _KINDS.get(intent.kind)
    then, reads_then = read_told(kept) if kept else ("", {})
    target = (
        registry.find(kind, intent.name, str(call.meta.get("in", ""))) if kind is not None and intent.code else None
    )
    function = getattr(target, "function", None)
    if function is None:
        return {"then": then[:_MOST], "now": None, "diff": "", "changed": False, "reads": []}
    now, found = source_of(function), fingerprint(function)
    changed = found.digest != intent.code
    if not changed and not then:
        then = now  # recorded before the text was kept, and the same since
    return {
        "then": then[:_MOST],
        "now": now[:_MOST],
        "diff": _diff(then, now) if changed and then else "",
        "changed": changed,
        "reads": _changes(reads_then, found.reads) if changed and reads_then else [],
    }


def _diff(then: str, now: str) -> str:
    lines = difflib.unified_diff(then.splitlines(), now.splitlines(), "at that time", "now", lineterm="")
    return "\n".join(lines)[:_MOST]


def _changes(then: dict[str, str], now: dict[str, str]) -> list[str]:
    names = sorted(then.keys() | now.keys(), key=lambda name: (name != OWN_CODE, name))
    told = []
    for name in names:
        if name not in now:
            told.append(f"no longer reads {name}")
        elif name not in then:
            told.append(f"now reads {name}")
        elif then[name] != now[name]:
            told.append(f"{name} changed")
    return told if len(told) <= _READS else [*told[:_READS], f"and {len(told) - _READS} more"]
