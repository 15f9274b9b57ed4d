"""A journaled error as a person reads it: its class, its message, its traceback and those of what led to it. No code of it runs."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from romancy_nb.payloads.payload import Payload, is_forgotten

__all__ = ["shown_failure"]

_MESSAGE: Final = 4_000
_TRACEBACK: Final = 16_000
_DEEPEST: Final = 6
_CELL: Final = re.compile(r'File "[^"\n]*[/\\]ipykernel_\d+[/\\]\d+\.py"')
"""What ipykernel calls a cell, for the time of one kernel."""
_CAUSED: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_DURING: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"


def shown_failure(payload: Payload | None) -> dict[str, str] | None:
    """Return ``{"type", "message", "traceback"}`` of an error; None where there is none.

    Example:
        >>> shown_failure(Payload('{"type": "builtins.ValueError", "message": "no such item", "args": []}'))
        {'type': 'ValueError', 'message': 'no such item', 'traceback': ''}
        >>> shown_failure(Payload('{"type": "__main__.Declined", "message": "no money left"}'))["type"]
        'Declined'
    """
    if payload is None:
        return None
    if is_forgotten(payload.text):
        return {"type": "", "message": "forgotten", "traceback": ""}
    try:
        document = json.loads(payload.text)
    except (ValueError, RecursionError):
        return {"type": "", "message": payload.text[:_MESSAGE], "traceback": ""}
    if not isinstance(document, dict):
        return {"type": "", "message": payload.text[:_MESSAGE], "traceback": ""}
    traceback = _CELL.sub("Cell", _traceback(document, 0))
    return {
        "type": _class(document),
        "message": _text(document.get("message"))[:_MESSAGE],
        "traceback": traceback if len(traceback) <= _TRACEBACK else "…" + traceback[-_TRACEBACK:],
    }


def _traceback(document: dict[str, Any], depth: int) -> str:
    """The traceback, below those of its causes, as Python prints it; with the notes, and the members of a group."""
    told = _text(document.get("traceback"))
    if depth > _DEEPEST:
        return told
    notes = [note for each in document.get("notes") or () if (note := _text(each))]
    if notes and told:
        told = told.rstrip("\n") + "\n" + "".join(f"{note}\n" for note in notes if note not in told)
    for number, each in enumerate((document.get("exceptions") or ())[:20], 1):
        if isinstance(each, dict):
            inner = _traceback(each, depth + 1) or f"{_class(each)}: {_text(each.get('message'))}\n"
            told += f"\n+---------------- {number} ----------------\n{inner}"
    for name, between in (("cause", _CAUSED), ("context", _DURING)):
        before = document.get(name)
        if isinstance(before, dict) and not (name == "context" and document.get("suppress_context")):
            above = _traceback(before, depth + 1)
            return f"{above}{between}{told}" if above else told
    return told


def _class(document: dict[str, Any]) -> str:
    """Its class as a traceback names it: those of Python itself and of the notebook without their module."""
    return _text(document.get("type")).removeprefix("builtins.").removeprefix("__main__.")


def _text(document: Any) -> str:
    if isinstance(document, dict):  # a text that JSON cannot hold
        document = document.get("escaped", document.get("$value", ""))
    return document if isinstance(document, str) else ""
