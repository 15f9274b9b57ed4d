"""Two runs side by side as static HTML: what stays in the notebook file. What a file lets through is told in ``fallback_html``."""

from __future__ import annotations

from html import escape
from typing import Final

from romancy_nb.widgets.axis import Axis, Segment, segments
from romancy_nb.widgets.compare_text import MARKS, cost_of, said, summary
from romancy_nb.widgets.html_rows import NARROWEST
from romancy_nb.widgets.marks import run_mark
from romancy_nb.widgets.pairing import Pair, Pairs, shown, took
from romancy_nb.widgets.snapshot import Snapshot, Step
from romancy_nb.words import count, duration

__all__ = ["html"]

_LIMIT: Final = 300_000
_ROWS: Final = 120
_GREEN, _BLUE, _RED, _AMBER, _VIOLET, _GREY = "#2da44e", "#3b82f6", "#e5484d", "#c98a00", "#a56de2", "#8b949e"
_ORANGE: Final = "#d9730d"
_BARS: Final = {
    "ok": f"background-color:{_GREEN}",
    "journal": f"background-color:rgba(139,148,158,0.4);border:1px solid {_GREY}",
    "failed": f"background-color:{_RED}",
    "running": f"background-color:{_BLUE}",
    "unknown": f"border:1px dashed {_VIOLET};background-color:rgba(165,109,226,0.25)",
    "cancelled": f"border:1px dotted {_GREY}",
    "wait": f"background-color:{_AMBER}",
    "undo": f"border:1px solid {_ORANGE};background-color:rgba(217,115,13,0.3)",
}
_COLOURS: Final = {"same": _GREY, "changed": _AMBER, "here": _BLUE, "there": _VIOLET}
_FAINT: Final = "opacity:0.65"
_RULE: Final = "1px solid rgba(128,128,128,0.25)"
_CELL: Final = f"text-align:left;vertical-align:top;padding:3px 10px 3px 0;border:0;border-top:{_RULE}"


def html(found: Pairs, rows: int = _ROWS) -> str:
    """Return both runs as one ``<div>`` without scripts, style sheets or references, at most 300 kB."""
    while True:
        made = _document(found, rows)
        if len(made.encode()) <= _LIMIT or rows <= 6:
            return made
        rows = rows * 2 // 3


def _document(found: Pairs, rows: int) -> str:
    body = _table(found, rows) if found.pairs else f'<div style="{_FAINT}">Neither has a step.</div>'
    return (
        f'<div data-romancy-live="{_text(found.anchor)}" style="font-family:system-ui,sans-serif;font-size:13px;'
        f'line-height:1.45;max-width:980px;padding:4px 0">{_head(found)}{body}</div>'
    )


def _text(text: str) -> str:
    return escape(text, quote=True)


def _head(found: Pairs) -> str:
    sides = "".join(
        f'<div style="margin-top:2px;overflow-wrap:break-word"><strong>{_text(title)}</strong> {run_mark(view.status)} '
        f"{_text(view.words)}, took {duration(took(view))}, {count(len(view.steps), 'step')}"
        f"{', ' + _text(cost_of(view)) if cost_of(view) else ''}"
        f"{' → <code>' + _text(view.output) + '</code>' if view.output not in {'', 'None'} else ''}"
        f"{' <span style=' + chr(34) + 'color:' + _RED + chr(34) + '>' + _text(view.problem) + '</span>' if view.problem else ''}"
        "</div>"
        for title, view in zip(found.titles(), (found.here, found.there), strict=True)
    )
    return f'<div><strong style="font-size:15px">{_text(found.here.workflow)}</strong> &nbsp;{_text(summary(found))}</div>{sides}'


def _table(found: Pairs, limit: int) -> str:
    axis, (here, there) = found.axis, found.moved
    rows = shown(found.pairs, limit)
    lanes = [_lanes(rows, axis, view, right) for view, right in ((here, False), (there, True))]
    head = f"text-align:left;font-weight:normal;padding:3px 10px 3px 0;border:0;{_FAINT};font-size:12px;"
    one, other = (_text(title) for title in found.titles())
    ruler = f'Time: {one} above {other} <span style="float:right">{duration(axis.end - axis.start)}</span>'
    columns = (("Step", "width:30%"), (ruler, ""), ("Took", "width:9%;text-align:right"), ("What differs", "width:27%"))
    headings = "".join(f'<th scope="col" style="{head}{style}">{told}</th>' for told, style in columns)
    body = "".join(
        f'<tr style="background-color:transparent"><td colspan="4" style="{_CELL};{_FAINT}">⋮ {row:,} more steps</td></tr>'
        if isinstance(row, int)
        else _row(row, found, axis, lanes)
        for row in rows
    )
    return (
        f'<div style="overflow-x:auto"><table aria-label="{one} and {other}, step by step" '
        f'style="border-collapse:collapse;width:100%;min-width:{NARROWEST};table-layout:fixed;'
        f'margin:8px 0 4px 0;border:0;font-size:13px"><thead style="border:0"><tr style="border:0;background-color:transparent">'
        f"{headings}</tr></thead><tbody>{body}</tbody></table></div>{_legend(found)}"
    )


def _lanes(rows: list[Pair | int], axis: Axis, view: Snapshot, right: bool) -> dict[str, list[Segment]]:
    """The bars of those steps of one side that are shown, by place."""
    pairs = [row for row in rows if not isinstance(row, int)]
    wanted = {step.call for pair in pairs if (step := pair.there if right else pair.here) is not None}
    return {step.call: segments(step, axis, view.as_of) for step in view.steps if step.call in wanted}


def _row(pair: Pair, found: Pairs, axis: Axis, lanes: list[dict[str, list[Segment]]]) -> str:
    both = ((pair.here, found.here), (pair.there, found.there))
    tracks = "".join(
        _track(lane.get(step.call, []) if step else [], axis) for (step, _), lane in zip(both, lanes, strict=True)
    )
    times = "<br>".join(_text(_spent(step, view)) or "&nbsp;" for step, view in both)
    told = _text(said(pair, found.titles()))
    faint = f";{_FAINT}" if pair.verdict == "same" else ""
    return (
        f'<tr style="background-color:transparent"><td style="{_CELL}{faint}">{_step(pair, found)}</td>'
        f'<td style="{_CELL}">{tracks}</td>'
        f'<td style="{_CELL};text-align:right;white-space:nowrap;font-size:11px;line-height:1.3">{times}</td>'
        f'<td style="{_CELL};font-size:12px;overflow-wrap:break-word">{told}</td></tr>'
    )


def _spent(step: Step | None, view: Snapshot) -> str:
    us = step.spent(view.as_of) if step is not None and step.kind != "side_effect" else None
    return "" if us is None else duration(us)


def _track(pieces: list[Segment], axis: Axis) -> str:
    boxes = "".join(_box(piece) for piece in pieces)
    folds = "".join(
        f'<div style="position:absolute;left:{left * 100:.4g}%;width:{(right - left) * 100:.4g}%;top:0;height:13px;'
        f'border-left:1px dashed {_GREY};border-right:1px dashed {_GREY};box-sizing:border-box;opacity:0.5"></div>'
        for left, right, _ in axis.marks()
    )
    return f'<div style="position:relative;height:13px">{folds}{boxes}</div>'


def _box(piece: Segment) -> str:
    wide = max(3 if piece.look == "unknown" else 0.6, (piece.right - piece.left) * 100)
    left = min(piece.left * 100, 100 - wide)
    line = (
        "top:6px;height:2px;" if piece.look == "wait" else "top:2px;height:9px;border-radius:2px;box-sizing:border-box;"
    )
    return f'<div style="position:absolute;left:{left:.4g}%;width:{wide:.4g}%;{line}{_BARS.get(piece.look, "")}"></div>'


def _step(pair: Pair, found: Pairs) -> str:
    facts = []
    for title, step in zip(found.titles(), (pair.here, pair.there), strict=True):
        if step is None:
            continue
        pieces = [
            f"{label} <code>{_text(content)}</code>"
            for label, content in (("input", step.input), ("result", step.output), ("error", step.error))
            if content
        ]
        facts.append(f"<em>{_text(title)}</em>, step {step.seq}: {'; '.join(pieces) or _text(step.status)}")
    nested = "&nbsp;" * 3 * min(pair.step.depth, 8)
    mark = f'<span style="color:{_COLOURS[pair.verdict]}" title="{pair.verdict}">{MARKS[pair.verdict]}</span>'
    return (
        '<details style="overflow-wrap:break-word"><summary style="cursor:pointer;white-space:nowrap;overflow:hidden;'
        f'text-overflow:ellipsis">{nested}{mark} <strong>{_text(pair.step.name)}</strong></summary>'
        f'<div style="padding:2px 0 6px 16px;font-size:12px">{"<br>".join(facts)}</div></details>'
    )


def _legend(found: Pairs) -> str:
    one, other = (_text(title) for title in found.titles())
    words = {"same": "same", "changed": "changed", "here": f"only {one}", "there": f"only {other}"}
    told = " &nbsp; ".join(
        f'<span style="white-space:nowrap"><span style="color:{_COLOURS[v]}">{MARKS[v]}</span> '
        f'<span style="{_FAINT}">{words[v]}</span></span>'
        for v in MARKS
        if found.counts[v]
    )
    return f'<div style="font-size:12px">{told}</div>'
