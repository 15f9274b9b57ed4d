"""What a step printed and displayed, as a timeline shows it: folded, escaped, and of limited size."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from romancy_nb.words import clip, count, legible

__all__ = ["folded", "in_brief"]

_TEXT: Final = 4_000
_PICTURE: Final = 60_000
_PICTURES: Final = 2
_PRE: Final = "margin:2px 0;font-size:12px;white-space:pre-wrap;max-height:20em;overflow:auto"
_LINE: Final = "&#10;"  # in Markdown a blank line ends the HTML, and what follows would be headings and lists
_ERROR: Final = ";border-left:2px solid #e5484d;padding-left:6px"

Output = dict[str, Any]


def folded(outputs: Sequence[Output], *, pictures: bool) -> str:
    """Return *outputs* as HTML to be unfolded; without scripts, and the HTML of a display only as its text.

    Args:
        outputs: as they are journaled.
        pictures: embed small pictures; else they are named.
    """
    room, shown, pieces = _TEXT, 0, []
    for output in outputs:
        if output["output_type"] == "stream":
            style = _PRE + (_ERROR if output["name"] == "stderr" else "")
            text = output["text"]
        else:
            picture = str(output["data"].get("image/png", ""))
            if pictures and picture and len(picture) <= _PICTURE and shown < _PICTURES:
                shown += 1
                pieces.append(f'<img alt="" src="data:image/png;base64,{escape("".join(picture.split()))}"><br>')
                continue
            style, text = _PRE, _named(output["data"])
        if room <= 0:
            pieces.append("…")
            break
        said = escape(legible(text[:room])).replace("\n", _LINE)
        pieces.append(f'<pre style="{style}">{said}{"…" if len(text) > room else ""}</pre>')
        room -= len(text)
    return "".join(pieces)


def in_brief(outputs: Sequence[Output]) -> str:
    """Return the last line of *outputs*, and how many there are before it."""
    text = "".join(o["text"] if o["output_type"] == "stream" else f"{_named(o['data'])}\n" for o in outputs)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    return clip(lines[-1]) + (f"  ({count(len(lines) - 1, 'line')} before)" if len(lines) > 1 else "")


def _named(data: dict[str, Any]) -> str:
    mime = next((mime for mime in data if mime.startswith("image/")), "")
    return str(data.get("text/plain", "")) or f"<{mime or next(iter(data), 'display')}>"
