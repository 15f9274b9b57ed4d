"""What the head of a call's output shows: as text and as HTML that needs no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from romancy_nb.widgets.snapshot import Snapshot
from romancy_nb.words import legible, utc

__all__ = ["TEXT", "Bundle", "gone_on", "said", "settled", "standing"]

TEXT: Final = 4_000
"""Characters that are shown of what a step has printed so far."""
_PICTURE: Final = 200_000
_FAINT: Final = "opacity:0.75;font-size:13px;white-space:pre-wrap"
_PRE: Final = "margin:2px 0 6px 0;max-height:15em;overflow:auto;font-size:12px;white-space:pre-wrap"

Bundle = tuple[dict[str, str], dict[str, str]]
"""Data and metadata of a display."""


def said(lines: Sequence[str], unseen: Sequence[tuple[str, list[dict[str, Any]]]] = ()) -> Bundle:
    """Return *lines*, and below them what running steps have put out: (name of the step, its outputs)."""
    text = ["\n".join(lines)]
    html = [f'<div style="{_FAINT}">{escape(line)}</div>' for line in lines]
    for name, outputs in unseen:
        written = "".join(output["text"] for output in outputs if output["output_type"] == "stream")[-TEXT:]
        text.append(f"{name}:\n{written}")
        html.append(f"<div><strong>{escape(name)}</strong> ▶</div>")
        html.append(f'<pre style="{_PRE}">{escape(legible(written))}</pre>' if written else "")
        html += [_picture(output) for output in outputs[-3:] if output["output_type"] != "stream"]
    return {"text/plain": "\n".join(text), "text/html": "".join(html)}, {"romancy": "live" if unseen else "line"}


def _picture(output: dict[str, Any]) -> str:
    data = output["data"]
    picture = data.get("image/png", "")
    if picture and len(picture) <= _PICTURE:
        return f'<img alt="" src="data:image/png;base64,{escape("".join(picture.split()))}">'
    return f'<pre style="{_PRE}">{escape(legible(str(data.get("text/plain", ""))[-TEXT:]))}</pre>'


def settled(line: str) -> Bundle:
    """Return what stays in the file."""
    return {"text/plain": line, "text/html": f'<div style="{_FAINT}">{escape(line)}</div>'}, {"romancy": "result"}


def standing(view: Snapshot) -> str:
    """Return the line that history has for a run that has ended, or nothing: when it was, and how to run anew (R11, N7).

    It is true of the call that executed the run and of each later one that returned its result.
    """
    if view.status not in {"completed", "failed", "compensated", "cancelled"} or view.finished is None:
        return ""
    who = f"({view.workflow}, id …{view.instance[-4:]})"
    run = ""
    if view.number > 1:
        cause = f": {view.cause}" if view.cause else ""
        run = f"Run {view.number}{cause}. "
    if view.status == "failed":
        return f"{run}Failed {utc(view.finished)} {who}. The same call tries again what failed. Run again: new=True."
    if view.status == "compensated":
        return f"{run}Failed and undone {utc(view.finished)} {who}. The same call executes anew what was undone."
    if view.status == "cancelled":
        return f"{run}Cancelled {utc(view.finished)} {who}. Run again: new=True."
    return f"{run}Result of {utc(view.finished)} {who}. The same call returns it and executes nothing. Run again: new=True."


def gone_on(view: Snapshot) -> str:
    """Return what the head of a cell says that ended with a notice, once its run has come to an end without it (N5)."""
    if view.status == "completed":
        return "done: run this cell again to use the result (nothing is executed)"
    if view.status in {"paused", "stuck"}:
        return f"{view.status}: run this cell again to see why, and to go on"
    return standing(view)
