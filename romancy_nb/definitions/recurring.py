"""``rn.recur``: the workflow goes on in a new run of the same instance, with a fresh history."""

from __future__ import annotations

from typing import Any, Literal, NoReturn

from romancy_nb.definitions import registry
from romancy_nb.definitions.waits import in_workflow
from romancy_nb.errors import RunRecurs, WrongArguments, WrongPlace

__all__ = ["recur"]


def recur(*args: Any, compensations: Literal["carry", "run", "drop"] = "carry", **kwargs: Any) -> NoReturn:
    """End this run here and go on as a new one of the same instance, with these arguments and a fresh history.

    For a loop without an end: history does not grow from turn to turn. Who waits for the instance gets the result of the last
    run. Events that nobody has received yet and subscriptions go along. It never returns; in ``finally:`` the code may clean up.

    Args:
        *args, **kwargs: of the running workflow.
        compensations: what becomes of what this run did and could undo. "carry": if a later run is undone, this one is
            undone with it. "run": it is undone now, and then goes on. "drop": it stands from now on.

    Raises:
        WrongArguments: they do not fit the workflow; or nothing would change: the same arguments, and this run has done nothing.
        WrongPlace: called outside of workflow code.

    Example:
        >>> @rn.workflow  # doctest: +SKIP
        ... def watch(folder: str, seen: int = 0) -> None:
        ...     seen += import_new_files(folder)
        ...     rn.sleep(3600)
        ...     rn.recur(folder, seen)
    """
    found = in_workflow("rn.recur")
    if compensations not in {"carry", "run", "drop"}:
        raise WrongArguments(f'rn.recur(compensations={compensations!r}): "carry", "run" or "drop" is expected.')
    workflow = registry.find("workflow", found.workflow_name)
    if workflow is None:
        raise WrongPlace(f"rn.recur: workflow {found.workflow_name} is not defined here any more. Run its cell again.")
    request = workflow.request(args, kwargs)
    prints = workflow.fingerprint()
    found.recur(RunRecurs(request, prints.digest, dict(prints.reads), compensations))
    raise AssertionError("unreachable")
