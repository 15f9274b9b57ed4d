"""A run's timeline as JSON for programs, in the notebook's file beside what people read."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any, Final

from romancy_nb.widgets.snapshot import Snapshot

__all__ = ["history_json"]

_FILE_LIMIT: Final = 20_000
_NESTING: Final = 8  # how deep nbformat's one-space indentation has become where it writes our JSON
_ATTEMPTS_KEPT: Final = 5
_LEFT_OUT: Final = frozenset(
    {"live", "undoable", "progress", "whole_input", "whole_output"}
)  # what follows from the rest, or is no history
_RARE: Final = frozenset({"refusals"})
_RUNS_KEPT: Final = 20


def history_json(view: Snapshot) -> dict[str, Any]:
    """Return *view* for programs, at most 20 kB as a notebook file writes it (N7).

    Empty fields are left out. Of a long run the first and the last steps are kept; ``omitted`` then says how many stand
    between them, after how many of ``steps``.
    """
    view = view.saved()
    steps = view.steps
    head: list[dict[str, Any]] = []
    tail: list[dict[str, Any]] = []
    document = {
        "schema": "romancy.history",
        **_without_empty(asdict(replace(view, steps=(), runs=view.runs[-_RUNS_KEPT:]))),
    }
    room = _FILE_LIMIT - _size(document) - 200
    first, last = 0, len(steps) - 1
    while first <= last:
        from_head = len(head) <= len(tail)
        step = _without_empty(asdict(replace(steps[first if from_head else last], outputs=())))
        step["attempts"] = [_without_empty(a) for a in step.get("attempts", [])[-_ATTEMPTS_KEPT:]]
        if not _says_more_than_step(step):
            del step["attempts"]
        room -= _size(step)
        if room < 0:
            break
        if from_head:
            head.append(step)
            first += 1
        else:
            tail.append(step)
            last -= 1
    document["steps"] = head + tail[::-1]
    if first <= last:
        document["omitted"] = {"after": len(head), "steps": last - first + 1}
    return document


def _says_more_than_step(step: dict[str, Any]) -> bool:
    attempts = step["attempts"]
    return len(attempts) > 1 or bool(attempts and attempts[0]["outcome"] not in {"ok", "running"})


def _without_empty(document: dict[str, Any]) -> dict[str, Any]:
    return {
        key: item
        for key, item in document.items()
        if item not in (None, "", [], ()) and not (key in _LEFT_OUT or (key in _RARE and not item))
    }


def _size(document: dict[str, Any]) -> int:
    text = json.dumps(document, ensure_ascii=False, indent=1)
    return len(text.encode()) + (text.count("\n") + 1) * (_NESTING + 2) + 2
