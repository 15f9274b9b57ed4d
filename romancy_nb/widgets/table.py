"""A table of instances without a kernel: static HTML for saved notebooks, and text for terminals.

Drawn from the view that ``Instances.view`` gives. What wants somebody stands first, under a heading of its own. A state is a mark
and words, so that colour is never needed; a brief timeline stands beside it a second time in characters, for where styles are
dropped (see ``fallback_html``).
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import PurePosixPath
from typing import Any, Final

from romancy_nb import words

__all__ = ["GROUPS", "STATES", "html", "mark", "text", "what"]

STATES: Final = {
    "compensation_failed": ("✗", "undo failed"),
    "stuck": ("≠", "code no longer fits"),
    "in_doubt": ("?", "may have run"),
    "paused": ("‖", "paused"),
    "asks": ("✎", "asks you"),
    "interrupted": ("‖", "interrupted"),
    "failed": ("✗", "failed"),
    "running": ("▶", "running"),
    "waiting": ("◷", "waiting"),
    "compensating": ("↩", "undoing"),
    "completed": ("✓", "completed"),
    "compensated": ("↩", "undone"),
    "cancelled": ("⊘", "cancelled"),
    "recurred": ("↻", "went on anew"),
}
"""The mark and the words of each state (N9)."""
GROUPS: Final = ("Wants somebody", "Goes on", "Ended")

_GREEN, _BLUE, _RED, _AMBER, _VIOLET, _GREY = "#2da44e", "#3b82f6", "#e5484d", "#c98a00", "#a56de2", "#8b949e"
_ORANGE: Final = "#d9730d"
_COLOURS: Final = {
    "compensation_failed": _RED,
    "stuck": _RED,
    "in_doubt": _VIOLET,
    "paused": _AMBER,
    "asks": _AMBER,
    "interrupted": _VIOLET,
    "failed": _RED,
    "running": _BLUE,
    "waiting": _AMBER,
    "compensating": _ORANGE,
    "completed": _GREEN,
    "compensated": _ORANGE,
    "cancelled": _GREY,
    "recurred": _GREY,
}
_PIECES: Final = {
    "ok": (_GREEN, "█"),
    "journal": ("rgba(139,148,158,0.5)", "░"),
    "failed": (_RED, "×"),
    "running": (_BLUE, "▓"),
    "in_doubt": (_VIOLET, "?"),
    "waiting": (_AMBER, "─"),
    "wait": ("rgba(201,138,0,0.45)", "─"),
    "cancelled": ("rgba(139,148,158,0.25)", "·"),
    "undo": (_ORANGE, "◂"),
}
_RULE: Final = "1px solid rgba(128,128,128,0.25)"
_CELL: Final = (
    f"text-align:left;vertical-align:top;padding:3px 10px 3px 0;border:0;border-top:{_RULE};overflow-wrap:break-word"
)
_HEAD: Final = "text-align:left;padding:3px 10px 3px 0;border:0;font-weight:600"
_COLUMNS: Final = 12


def mark(state: str) -> tuple[str, str]:
    """Return the mark and the words of a state."""
    return STATES.get(state, ("•", words.clean(state.replace("_", " "))))


def what(row: dict[str, Any], now: int | None = None) -> str:
    """Return in a line what it waits for, asks, or what was the matter."""
    said = [row["says"]] if row["says"] else []
    if row["due"] is not None and not said:
        said.append(f"waits until {words.utc(row['due']) if now is None else words.moment(row['due'], now)}")
    if row["problem"]:
        said.append(row["problem"])
    if row["parent"]:
        said.append(f"child of {row['parent']}")
    return words.clip(" · ".join(said), 200)


# -- HTML ------------------------------------------------------------------------------------------------------------


def html(view: dict[str, Any]) -> str:
    """Return the table as one ``<div>`` without scripts, style sheets or references."""
    rows = view["rows"]
    body = "".join(_grouped(rows)) if rows else f'<tr><td style="{_CELL}">There are no instances like this.</td></tr>'
    columns = ("State", "Instance", "Workflow", "Run", "Last event", "Took", "Steps", "What")
    head = "".join(f'<th scope="col" style="{_HEAD}">{name}</th>' for name in columns)
    more = view["total"] - len(rows)
    rest = f'<div style="opacity:0.7">and {more:,} more</div>' if more > 0 else ""
    return (
        f'<div data-romancy-live="{escape(view["anchor"])}" style="font-family:system-ui,sans-serif;font-size:13px;'
        f'line-height:1.45;padding:4px 0"><div><strong>{words.count(view["total"], "instance")}</strong>'
        f'{escape(_counted(view))}</div><table aria-label="instances" style="border-collapse:collapse;margin:6px 0 4px 0;border:0;'
        f'font-size:13px"><thead style="border:0"><tr style="border:0;background-color:transparent">{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>{rest}</div>"
    )


def _counted(view: dict[str, Any]) -> str:
    states = view["counts"]["states"]
    said = [f"{states[name]:,} {mark(name)[1]}" for name in [*STATES, *(set(states) - set(STATES))] if states.get(name)]
    return f": {', '.join(said)}" if said else ""


def _grouped(rows: list[dict[str, Any]]) -> Iterator[str]:
    several = len({row["group"] for row in rows}) > 1
    group = -1
    for row in rows:
        if several and row["group"] != group:
            cell = f'<td colspan="8" style="{_CELL};opacity:0.7"><em>{GROUPS[row["group"]]}</em></td>'
            yield f'<tr style="background-color:transparent">{cell}</tr>'
        group = row["group"]
        yield _row(row)


def _row(row: dict[str, Any]) -> str:
    symbol, said = mark(row["state"])
    state = f'<span style="color:{_COLOURS.get(row["state"], _GREY)}">{symbol}</span> {escape(said)}'
    took = words.duration(row["finished"] - row["started"]) if row["finished"] is not None else ""
    cells = (
        (state, "white-space:nowrap"),
        (f"<strong>{_text(row['id'])}</strong>", ""),
        (_text(row["workflow"]), ""),
        (str(row["run"]), ""),
        (words.utc(row["updated"]), "white-space:nowrap"),
        (took, "white-space:nowrap"),
        (_bars(row["bars"]), ""),
        (_text(what(row)), "font-size:12px"),
    )
    inner = "".join(f'<td style="{_CELL};{style}">{cell}</td>' for cell, style in cells)
    return f'<tr style="background-color:transparent">{inner}</tr>'


def _bars(pieces: list[Any]) -> str:
    if not pieces:
        return ""
    boxes, left = [], 0.0
    room = 100 - 1.0 * len(pieces)
    for look, share in pieces:
        wide = 1.0 + share * room
        boxes.append(
            f'<div style="position:absolute;left:{left:.4g}%;width:{max(0.6, wide - 0.6):.4g}%;top:5px;height:9px;'
            f'border-radius:1px;background-color:{_PIECES.get(look, (_GREY, ""))[0]}"></div>'
        )
        left += wide
    told = escape(_told(pieces))
    return (
        f'<div role="img" aria-label="{told}" title="{told}" style="position:relative;width:120px;height:18px">'
        f"{''.join(boxes)}</div>"
        f'<code style="display:none">{_drawn(pieces)}</code>'
    )


def _told(pieces: list[Any]) -> str:
    looks = [look for look, _ in pieces]
    said = {"ok": "executed", "journal": "from journal", "in_doubt": "may have run", "wait": "waited", "undo": "undone"}
    return ", ".join(f"{looks.count(look)} {said.get(look, look)}" for look in _PIECES if look in looks)


def _drawn(pieces: list[Any], columns: int = _COLUMNS) -> str:
    """The brief timeline in characters: every piece has one at the least where there is room for that."""
    if not pieces:
        return ""
    most = pieces if len(pieces) <= columns else [pieces[i * len(pieces) // columns] for i in range(columns)]
    spare = columns - len(most)
    return "".join(_PIECES.get(look, ("", "•"))[1] * (1 + round(share * spare)) for look, share in most)[:columns]


def _text(text: str) -> str:
    return escape(words.clip(text, 200))


# -- text ------------------------------------------------------------------------------------------------------------


def text(view: dict[str, Any], now: int | None = None, columns: int = 0) -> str:
    """Return the table as aligned lines.

    Args:
        view: the instances.
        now: say how long ago things were, for who looks now; None: write times as a file does.
        columns: cut lines to so many; 0: do not.
    """
    rows = view["rows"]
    if not rows:
        return "There are no instances like this."
    family = any(row["parent"] for row in rows)
    head = ["ID", "WORKFLOW", "STATUS", "", "RUN", "LAST EVENT", "TOOK", "STEPS", "NOTEBOOK"]
    table = [[*head, *(["PARENT"] if family else [])], *(_line(row, now, family) for row in rows)]
    said = ["WHAT", *(what({**row, "parent": ""}, now) for row in rows)]
    tells = any(said[1:])
    widths = [max(words.width(line[i]) for line in table) for i in range(len(table[0]))]
    lines = []
    for cells, last in zip(table, said, strict=True):
        line = "  ".join(words.fit(cell, wide) for cell, wide in zip(cells, widths, strict=True))
        line = f"{line}  {last}".rstrip() if tells else line.rstrip()
        lines.append(words.fit(line, columns).rstrip() if columns else line)
    more = view["total"] - len(rows)
    return "\n".join([*lines, *([f"and {more:,} more"] if more > 0 else [])])


def _line(row: dict[str, Any], now: int | None, family: bool) -> list[str]:
    symbol, _ = mark(row["state"])
    when = words.utc(row["updated"]) if now is None else words.age(now - row["updated"])
    end = row["finished"] if row["finished"] is not None else now if row["status"] in {"running", "waiting"} else None
    took = words.duration(end - row["started"]) if end is not None else ""
    notebook = PurePosixPath(row["notebook"]).name if row["notebook"] else ""
    steps, run = _drawn(row["bars"]), str(row["run"])
    cells = [row["id"], row["workflow"], row["status"], symbol, run, when, took, steps, notebook]
    return [words.clip(cell, 60) for cell in [*cells, *([row["parent"]] if family else [])]]
