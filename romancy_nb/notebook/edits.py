"""A workflow was redefined: say at once how its unfinished instances stand to the new code (X6)."""

from __future__ import annotations

from typing import Any

from romancy_nb import words
from romancy_nb.core.transitions import ACTIVE
from romancy_nb.definitions import registry
from romancy_nb.definitions.workflow import Workflow
from romancy_nb.runtime import checking

__all__ = ["after_cell", "lines"]

_SHOWN = 3


def after_cell(result: Any) -> None:
    """Look at what the cell redefined. IPython calls it after every cell; nearly always there is nothing."""
    for name in registry.take_redefined():
        workflow = registry.find("workflow", name)
        if isinstance(workflow, Workflow):
            for line in lines(workflow):
                print(line)


def lines(workflow: Workflow[..., Any]) -> list[str]:
    """Return what there is to say of a redefined workflow."""
    found = checking.unfinished(workflow)
    if not found:
        return []
    many = words.count(len(found), "unfinished instance")
    told = [f"{workflow.name} was edited and has {many}:"]
    told += [f"  {fit.instance} ({fit.status}): {_said(fit, workflow.name)}" for fit in found[:_SHOWN]]
    if len(found) > _SHOWN:
        told.append(f"  and {len(found) - _SHOWN} more: rn.instances(workflow={workflow.name!r})")
    return told


def _said(fit: checking.Fit, name: str) -> str:
    if fit.status in ACTIVE:
        fitting = {
            True: ", which the new code fits",
            False: "; the new code does not fit its history",
            None: "",
        }[fit.fits]
        return f"goes on with the code it started with{fitting}. To use the new code, stop it and call {name} again."
    if fit.fits:
        return f"the new code fits. Call {name} again: what is unchanged is reused."
    if fit.fits is None:
        return f"call {name} again: what is unchanged is reused. Whether the new code fits, nobody can tell: {fit.says}"
    return f"the new code parts from its history. Call {name} again: a new run reuses what is unchanged. {_capital(fit.says)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
