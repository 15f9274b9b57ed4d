"""A run's view, made again from the history JSON of a file.

It is the way back from ``history_json``: empty fields were left out there, so here they are empty again. Every text is
cleaned, since a file may hold what a terminal would obey; whatever is not of the kind that a view has there is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from romancy_nb.widgets.marks import MARKS
from romancy_nb.widgets.snapshot import VERSION, Attempt, Snapshot, Step
from romancy_nb.words import clip

__all__ = ["NotHistory", "Restored", "restored"]

_TEXT: Final = 2_000
_ROWS: Final = 20_000
_LARGEST: Final = 2**63
_ELSEWHERE: Final = {"outputs"}  # what steps displayed is in the notebook's own outputs, never in a history
_STATUSES: Final = (MARKS.keys() - {"ok", "journal", "undo"}) | {"completed"}
_ATTEMPTED: Final = {"activity", "child", "compensation"}
_OUTCOMES: Final = {"ok", "failed", "running", "cancelled", "abandoned", "unknown"}


class NotHistory(ValueError):
    """What stands in the file is no history that this version reads; the text says why."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A run as a file has it.

    Attributes:
        view: the run; of a long one only the first and the last steps.
        omitted: how many steps between them are not in the file.
        after: how many of ``view.steps`` stand before those.
    """

    view: Snapshot
    omitted: int
    after: int


def restored(document: Any) -> Restored:
    """Return the run of which *document* is the history JSON.

    Raises:
        NotHistory: it is none, or a newer version wrote it.
    """
    if not isinstance(document, Mapping) or document.get("schema") != "romancy.history":
        raise NotHistory("It does not say that it is a history of romancy_nb.")
    version = document.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise NotHistory("It does not say which version of the history format it has.")
    if version > VERSION:
        raise NotHistory(f"A newer version of romancy_nb wrote it (format {version}; this one reads up to {VERSION}).")
    if isinstance(steps := document.get("steps"), list) and len(steps) > _ROWS:
        raise NotHistory(f"It holds {len(steps):,} steps; no more than {_ROWS:,} are shown.")
    view: Snapshot = _made(Snapshot, document, "the run")
    for step in view.steps:
        _known(step.status, _STATUSES, "status", step.name)
        for attempt in step.attempts:
            _known(attempt.outcome, _OUTCOMES, "outcome", step.name)
    view = replace(view, steps=tuple(_with_its_attempt(step) for step in view.steps))
    left_out = document.get("omitted")
    return Restored(view, *(_omitted(left_out) if isinstance(left_out, Mapping) else (0, 0)))


def _with_its_attempt(step: Step) -> Step:
    """An only attempt that says no more than its step was left out; the bar is drawn from it."""
    if step.attempts or step.kind not in _ATTEMPTED or step.status not in {"completed", "running"}:
        return step
    outcome = "ok" if step.status == "completed" else "running"
    return replace(step, attempts=(Attempt(max(1, step.tries), step.started, step.finished, outcome),))


def _omitted(document: Mapping[str, Any]) -> tuple[int, int]:
    return (
        _value(int, document.get("steps", 0), "omitted.steps"),
        _value(int, document.get("after", 0), "omitted.after"),
    )


def _known(word: str, words: set[str], what: str, name: str) -> None:
    if word not in words:
        raise NotHistory(f"The step {clip(name, 40)} has the {what} {clip(word, 40)!r}, which there is not.")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _made(kind: type, document: Any, where: str) -> Any:
    """Make a *kind*, which is a dataclass of this room's neighbours, from *document*."""
    if not isinstance(document, Mapping):
        raise NotHistory(f"{where} is {_a(document)} and should be an object.")
    made = {}
    for each in fields(kind):
        hint = _hints(kind)[each.name]
        if each.name in document and each.name not in _ELSEWHERE:
            made[each.name] = _value(hint, document[each.name], each.name)
        else:
            made[each.name] = _nothing(hint)
    return kind(**made)


def _nothing(hint: Any) -> Any:
    """What was left out, because it was empty."""
    if get_origin(hint) in {Union, UnionType} or hint is Any:
        return None
    if is_dataclass(hint) and isinstance(hint, type):
        return _made(hint, {}, hint.__name__)
    empty: Any = get_origin(hint) or hint
    return empty()


def _value(hint: Any, value: Any, where: str) -> Any:
    """Return *value* if it is what *hint* says; texts are cleaned."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        if value is None and NoneType in arguments:
            return None
        return _value(next(each for each in arguments if each is not NoneType), value, where)
    if origin is tuple and isinstance(value, list) and len(value) <= _ROWS:
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(_value(kind, item, where) for kind, item in zip(kinds, value, strict=True))
    if is_dataclass(hint) and isinstance(hint, type):
        return _made(hint, value, where)
    if hint is str and isinstance(value, str):
        return clip(value, _TEXT)
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return float(value)
    raise NotHistory(f"{where} is {_a(value)}, which is not what stands there.")


def _a(value: Any) -> str:
    kinds = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), "nothing")
