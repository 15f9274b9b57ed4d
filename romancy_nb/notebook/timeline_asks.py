"""What a page asks about a timeline: other runs, a child's steps, the details of a step, and what it wants done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from romancy_nb.clock import now_us
from romancy_nb.errors import RunProblem
from romancy_nb.runtime import launch, looking
from romancy_nb.runtime.instance import Instance
from romancy_nb.widgets.following import Following

__all__ = ["answer"]


def answer(shown: tuple[str, int | None], what: str, arguments: dict[str, Any]) -> Any:
    """Answer what is asked about the run *shown* (its instance and number).

    Raises:
        Whatever the person is to be told.
    """
    asked = _ASKS.get(what)
    if asked is None:
        raise ValueError(f"A timeline cannot be asked for {what!r}.")
    launch.looked_at()
    instance, number = shown
    if what != "run" and arguments.get("run"):  # the person looks at another run in the same place
        number = int(arguments["run"])
    return asked(instance, number, arguments)


def view_of(instance: str, number: int | None) -> dict[str, Any]:
    """Return the whole view of a run as it is just now."""
    found = launch.looked_at().ask(lambda engine: looking.find(engine, instance, number))
    following = Following(found.rows, found.runs, found.alive)
    following.progress = found.progress
    return following.whole(now_us())


def _run(instance: str, _number: int | None, arguments: dict[str, Any]) -> Any:
    return view_of(instance, int(arguments["number"]))


def _children(instance: str, number: int | None, arguments: dict[str, Any]) -> Any:
    child = arguments.get("child") or _child(view_of(instance, number), str(arguments.get("id")))
    return view_of(str(child), None)["rows"]


def _child(view: dict[str, Any], row: str) -> str:
    found = next((each["child"] for each in view["rows"] if each["id"] == row), "")
    if not found:
        raise LookupError("This step has no workflow of its own.")
    return str(found)


def _details(instance: str, number: int | None, arguments: dict[str, Any]) -> Any:
    from romancy_nb.runtime.details import details

    if child := arguments.get("child"):  # a step of a workflow that this one calls
        instance, number = str(child), None
    return details(launch.instance(instance), str(arguments["id"]), number)


def _act(instance: str, number: int | None, arguments: dict[str, Any]) -> Any:
    from romancy_nb.notebook import acting

    given = dict(arguments.get("arguments") or {})
    return {"said": acting.perform(_newest(instance, number), str(arguments["action"]), _place(arguments), given)}


def _code(instance: str, number: int | None, arguments: dict[str, Any]) -> Any:
    from romancy_nb.notebook import acting, pasted
    from romancy_nb.runtime.details import find

    given, action = dict(arguments.get("arguments") or {}), str(arguments.get("action") or "code")
    if action == "code":
        return {"code": pasted.call(find(launch.instance(instance), _place(arguments), number))}
    return {"code": acting.code(_newest(instance, number), action, _place(arguments), given)}


def _newest(instance: str, number: int | None) -> Instance[Any]:
    """What is done is done with the newest run: nothing is done with a step of it that only stands in the same place."""
    found = launch.instance(instance)
    if number is not None and number != (newest := found.run):
        raise RunProblem(
            f"Run {number} of {instance} is history: its newest is run {newest}. Look at that one, and act there."
        )
    return found


def _place(arguments: dict[str, Any]) -> str:
    return str(arguments.get("id") or "")


_ASKS: Final[dict[str, Callable[[str, int | None, dict[str, Any]], Any]]] = {
    "run": _run,
    "children": _children,
    "details": _details,
    "act": _act,
    "code": _code,
}
