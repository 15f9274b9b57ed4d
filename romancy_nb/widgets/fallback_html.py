"""The static HTML timeline: what stays in the notebook file, for people without a kernel.

What its readers let through decides what it is made of:

- JupyterLab, in a notebook that is not trusted, drops ``<svg>``, ``<style>``, scripts, ``role`` and ``aria-*``, and of
  inline styles everything but known properties with plain values: a colour has to be ``#hex`` or ``rgba()``, since
  ``var(--jp-…)`` and ``currentColor`` do not get through (its ``sanitizer.ts``). So there is one set of middle tones
  that works on white and on black, and text has the page's own colour.
- GitHub drops ``style`` altogether. So it is a table that reads well bare, and each row carries its bar a second time,
  in characters, under ``display:none``: where styles are dropped, that comes to light.

Nothing depends on colour: every look has a symbol, and titles say what bars show.
"""

from __future__ import annotations

from html import escape
from typing import Final

from romancy_nb.widgets.axis import Axis, Segment, axis_of, segments
from romancy_nb.widgets.fallback_text import FOLDED, NO_STEPS, bar
from romancy_nb.widgets.marks import MARKS, Gap, legend, look_of, note, run_mark, shown_rows, spent, summary, title
from romancy_nb.widgets.outputs import folded
from romancy_nb.widgets.snapshot import Attempt, Snapshot, Step
from romancy_nb.words import duration, utc

__all__ = ["html"]

_LIMIT: Final = 300_000
_COLUMNS: Final = 24
_ATTEMPTS: Final = 6

_GREEN, _BLUE, _RED, _AMBER, _VIOLET, _GREY = "#2da44e", "#3b82f6", "#e5484d", "#c98a00", "#a56de2", "#8b949e"
_ORANGE: Final = "#d9730d"
_COLOURS: Final = {
    "ok": _GREEN,
    "journal": _GREY,
    "failed": _RED,
    "running": _BLUE,
    "waiting": _AMBER,
    "in_doubt": _VIOLET,
    "cancelled": _GREY,
    "undo": _ORANGE,
    "compensating": _ORANGE,
    "compensated": _ORANGE,
    "compensation_failed": _RED,
    "completed": _GREEN,
    "paused": _AMBER,
    "interrupted": _VIOLET,
    "stuck": _RED,
}
_BARS: Final = {
    "ok": f"background-color:{_GREEN}",
    "journal": "background-color:rgba(139,148,158,0.4);border:1px solid #8b949e",
    "failed": f"background-color:{_RED}",
    "running": f"background-color:{_BLUE}",
    "unknown": f"border:1px dashed {_VIOLET};background-color:rgba(165,109,226,0.25)",
    "cancelled": f"border:1px dotted {_GREY}",
    "wait": f"background-color:{_AMBER}",
    "undo": f"border:1px solid {_ORANGE};background:repeating-linear-gradient(135deg,{_ORANGE} 0 4px,transparent 4px 8px)",
}
_MEANING: Final = {
    "ok": "executed",
    "journal": "from journal",
    "failed": "failed",
    "running": "running",
    "unknown": "may have run",
    "cancelled": "cancelled",
    "wait": "waiting",
    "undo": "undoes",
}
_OUTCOMES: Final = {"unknown": "may have run", "abandoned": "left running"}
_RULE: Final = "1px solid rgba(128,128,128,0.25)"
_FAINT: Final = "opacity:0.65"
_CELL: Final = f"text-align:left;vertical-align:top;padding:3px 10px 3px 0;border:0;border-top:{_RULE}"


def html(view: Snapshot, rows: int = 120, *, pictures: bool = True) -> str:
    """Return the timeline of *view* as one ``<div>`` without scripts, style sheets or references, at most 300 kB.

    A run of more than *rows* steps is shown like in ``text``: its ends, what went wrong, and how many rows
    are left out.
    """
    while True:
        made = _document(view, rows, pictures)
        if len(made.encode()) <= _LIMIT or (rows <= 6 and not pictures):
            return made
        if pictures:
            pictures = False
        else:
            rows = rows * 2 // 3


def _document(view: Snapshot, rows: int, pictures: bool) -> str:
    body = _table(view, rows, pictures) if view.steps else f'<div style="margin-top:8px;{_FAINT}">{NO_STEPS}</div>'
    return (
        '<div style="font-family:system-ui,sans-serif;font-size:13px;line-height:1.45;max-width:980px;padding:4px 0">'
        f"{_head(view)}{body}</div>"
    )


def _tint(colour: str, alpha: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


# -- head ------------------------------------------------------------------------------------------------------------


def _head(view: Snapshot) -> str:
    colour = _COLOURS.get(view.status, _GREY)
    badge = (
        f"padding:1px 9px;border-radius:10px;border:1px solid {_tint(colour, '0.6')};"
        f"background-color:{_tint(colour, '0.16')};white-space:nowrap"
    )
    said = " · ".join(summary(view))
    result = f" → <code>{_text(view.output)}</code>" if view.output not in {"", "None"} else ""
    call = f"<code>{_text(view.workflow)}({_text(view.input)})</code>"
    parts = [
        f'<div><strong style="font-size:15px">{_text(view.workflow)}</strong> &nbsp;'
        f'<span style="{badge}">{run_mark(view.status)} {_text(view.words)}</span> &nbsp;'
        f'<span style="{_FAINT}">{_text(title(view))}</span></div>',
        f'<div style="margin-top:3px">{_text(said)}</div>',
        f'<div style="margin-top:1px;overflow-wrap:break-word;{_FAINT};font-size:12px">'
        f"{call}{result}<br>{_text(view.instance)} · started {utc(view.started)}</div>",
    ]
    if view.problem or view.hint:
        between = "<br>" if view.problem and view.hint else ""
        parts.append(
            f'<div style="margin-top:6px;padding:3px 10px;border-left:3px solid {colour};'
            f'background-color:{_tint(colour, "0.1")};overflow-wrap:break-word">'
            f"{_text(view.problem)}{between}{_text(view.hint)}</div>"
        )
    return "".join(parts)


def _text(text: str) -> str:
    return escape(text, quote=True)


# -- table -----------------------------------------------------------------------------------------------------------


def _table(view: Snapshot, limit: int, pictures: bool) -> str:
    axis = axis_of(view)
    head = f"text-align:left;font-weight:normal;padding:3px 10px 3px 0;border:0;{_FAINT};font-size:12px;"
    ruler = f'Timeline <span style="float:right">{duration(axis.end - axis.start)}</span>'
    folds = _folds(axis)
    rows = "".join(
        _gap_row(row) if isinstance(row, Gap) else _row(row, view, axis, folds, pictures)
        for row in shown_rows(view.steps, limit)
    )
    columns = (("Step", "width:42%"), (ruler, ""), ("Time", "text-align:right;width:10%"), ("Note", "width:16%"))
    headings = "".join(f'<th scope="col" style="{head}{style}">{said}</th>' for said, style in columns)
    return (
        f'<table aria-label="steps of {_text(view.workflow)}" style="border-collapse:collapse;width:100%;'
        'table-layout:fixed;margin:8px 0 4px 0;border:0;font-size:13px"><thead style="border:0">'
        f'<tr style="border:0;background-color:transparent">{headings}</tr></thead>'
        f"<tbody>{rows}</tbody></table>{_legend(view, axis)}"
    )


def _row(step: Step, view: Snapshot, axis: Axis, folds: str, pictures: bool) -> str:
    colour = _COLOURS[look_of(step)]
    said = note(step)
    loud = step.status in {"failed", "in_doubt"}
    remark = f"<strong>{_text(said)}</strong>" if loud else _text(said)
    return (
        '<tr style="background-color:transparent">'
        f'<td style="{_CELL}">{_step(step, colour, pictures)}</td>'
        f'<td style="{_CELL}">{_track(step, view, axis, folds)}</td>'
        f'<td style="{_CELL};text-align:right;white-space:nowrap">{_text(spent(step, view.as_of))}</td>'
        f'<td style="{_CELL};font-size:12px;{"" if loud else _FAINT}">{remark}</td></tr>'
    )


def _gap_row(gap: Gap) -> str:
    cell = f'<td colspan="4" style="{_CELL};{_FAINT}">⋮ {_text(gap.words)}</td>'
    return f'<tr style="background-color:transparent">{cell}</tr>'


def _track(step: Step, view: Snapshot, axis: Axis, folds: str) -> str:
    """The bar twice: as boxes, and in characters for where styles are dropped."""
    pieces = "".join(_box(piece) for piece in segments(step, axis, view.as_of))
    drawn = bar(step, axis, view.as_of, _COLUMNS).rstrip().replace(" ", "\u2007")
    told = _text(_told(step, view))
    return (
        f'<div role="img" aria-label="{told}" title="{told}" style="position:relative;height:18px">'
        f"{folds}{pieces}</div>"
        f'<code style="display:none">{drawn}</code>'
    )


def _box(piece: Segment) -> str:
    wide = max(3 if piece.look == "unknown" else 0.6, (piece.right - piece.left) * 100)
    left = min(piece.left * 100, 100 - wide)
    line = (
        "top:8px;height:2px;"
        if piece.look == "wait"
        else "top:3px;height:12px;border-radius:2px;box-sizing:border-box;"
    )
    return f'<div style="position:absolute;left:{left:.4g}%;width:{wide:.4g}%;{line}{_BARS[piece.look]}"></div>'


def _folds(axis: Axis) -> str:
    return "".join(
        f'<div style="position:absolute;left:{left * 100:.4g}%;width:{(right - left) * 100:.4g}%;top:-3px;height:24px;'
        f'border-left:1px dashed {_GREY};border-right:1px dashed {_GREY};box-sizing:border-box;opacity:0.6"></div>'
        for left, right, _ in axis.marks()
    )


def _told(step: Step, view: Snapshot) -> str:
    """What the bar shows, for whoever cannot see it."""
    took = spent(step, view.as_of)
    return f"{step.name}: {note(step) or 'executed'}{', ' + took if took else ''}"


# -- one step --------------------------------------------------------------------------------------------------------


def _step(step: Step, colour: str, pictures: bool) -> str:
    nested = "&nbsp;" * 4 * (min(step.depth, 8) - 1) + "↳ " if step.depth else ""
    hint = f'<span style="{_FAINT}">({_text(step.input)})</span>' if step.input else ""
    summary_ = (
        f'{nested}<span style="color:{colour}" title="{_text(_MEANING.get(look_of(step), step.status))}">'
        f"{MARKS[look_of(step)]}</span> <strong>{_text(step.name)}</strong>{hint}"
    )
    facts = _facts(step)
    if step.outputs:
        facts.insert(-1, folded(step.outputs, pictures=pictures))
    return (
        '<details style="overflow-wrap:break-word"><summary style="cursor:pointer;white-space:nowrap;overflow:hidden;'
        f'text-overflow:ellipsis">{summary_}</summary><div style="padding:2px 0 6px 16px;font-size:12px">'
        f"{'<br>'.join(facts)}</div></details>"
    )


def _facts(step: Step) -> list[str]:
    """What stands under a step when it is unfolded."""
    facts = [
        f'<span style="{_FAINT}">{label}</span> <code>{_text(content)}</code>'
        for label, content in (
            ("input", "" if step.kind == "timer" else step.input),
            ("result", step.output),
            ("error", step.error),
        )
        if content
    ]
    if len(step.attempts) > 1 or step.status == "in_doubt":
        left_out = len(step.attempts) - _ATTEMPTS
        if left_out > 0:
            facts.append(f"… {left_out:,} earlier attempts")
        facts += [_attempt(attempt) for attempt in step.attempts[-_ATTEMPTS:]]
    where = f"step {step.seq}, call {_text(step.call)}, {utc(step.started)}"
    facts.append(f'<span style="{_FAINT}">{where}</span>')
    return facts


def _attempt(attempt: Attempt) -> str:
    took = f", {duration(attempt.finished - attempt.started)}" if attempt.finished is not None else ""
    error = f" <code>{_text(attempt.error)}</code>" if attempt.error else ""
    return f"attempt {attempt.number}: {_OUTCOMES.get(attempt.outcome, attempt.outcome)}{took}{error}"


def _legend(view: Snapshot, axis: Axis) -> str:
    said = [
        f'<span style="white-space:nowrap"><span style="color:{_COLOURS[look]}">{mark}</span> {meaning}</span>'
        for look, mark, meaning in ((look, MARKS[look], meaning) for look, meaning in _looks(view))
    ]
    folds = ", ".join(duration(us) for _, _, us in axis.marks())
    if folds:
        said.append(f"{FOLDED} folded, nothing ran: {folds}")
    return f'<div style="{_FAINT};font-size:12px">{" &nbsp; ".join(said)}</div>'


def _looks(view: Snapshot) -> list[tuple[str, str]]:
    by_mark = {mark: look for look, mark in MARKS.items()}
    return [(by_mark[mark], meaning) for mark, meaning in legend(view)]
