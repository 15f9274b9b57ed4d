"""Schedules from the runtime's side: one of a name at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from romancy_nb.definitions.schedules import NAME
from romancy_nb.runtime import deciding
from romancy_nb.runtime.observers import observer

if TYPE_CHECKING:
    from romancy_nb.definitions.ambient import Request
    from romancy_nb.runtime.engine import Engine

__all__ = ["replace"]


def replace(engine: Engine, request: Request) -> None:
    """End the schedules that *request* takes the place of: of the same name and workflow, with other times or arguments."""
    plan = _plan(request.inputs.payload.text)
    if not plan.get("name"):
        return
    for instance in engine.ask(lambda engine: _others(engine, plan, request.inputs.digest)):
        deciding.cancel(engine, instance, "another schedule of its name took its place")
        observer().notice(
            f"The schedule {plan['name']} of {plan['workflow']} had other times; this one takes its place."
        )


def _others(engine: Engine, plan: dict[str, Any], digest: str) -> list[str]:
    found = []
    for head in engine.journal.unfinished():
        if head.workflow == NAME and head.digest != digest:
            first = engine.journal.load(head.run, parts=False)[0].event
            other = _plan(first.payload.text) if first.payload is not None else {}
            if (other.get("name"), other.get("workflow")) == (plan["name"], plan["workflow"]):
                found.append(head.instance)
    return found


def _plan(text: str) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads(text).get("plan", {})
    return plan
