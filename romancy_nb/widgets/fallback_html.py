"""The static HTML timeline: what stays in the notebook file, for people without a kernel.

What its readers let through decides what it is made of:

- JupyterLab, in a notebook that is not trusted, drops ``<svg>``, ``<style>``, scripts, ``role`` and ``aria-*``, and of
  inline styles everything but known properties with plain values: a colour has to be ``#hex`` or ``rgba()``, since
  ``var(--jp-…)`` and ``currentColor`` do not get through (its ``sanitizer.ts``). So there is one set of middle tones
  that works on white and on black, and text has the page's own colour.
- GitHub drops ``style`` altogether. So it is a table that reads well bare, and each row carries its bar a second time,
  in characters, under ``display:none``: where styles are dropped, that comes to light.

The rows are made in ``html_rows``. The outermost element says which run it is (``data-romancy-live``), so that a page with a
kernel puts the living display in its place.

Nothing depends on colour: every look has a symbol, and titles say what bars show.
"""

from __future__ import annotations

from typing import Final

from romancy_nb.widgets.axis import Axis
from romancy_nb.widgets.fallback_text import FOLDED, no_steps
from romancy_nb.widgets.html_rows import COLOURS, FAINT, GREY, NARROWEST, Rows, text_of, tint
from romancy_nb.widgets.layout import Layout
from romancy_nb.widgets.marks import MARKS, legend, other_runs, run_mark, summary, title
from romancy_nb.widgets.snapshot import Snapshot
from romancy_nb.words import duration, utc

__all__ = ["anchor", "html"]

_LIMIT: Final = 300_000


def html(view: Snapshot, rows: int = 120, *, pictures: bool = True, layout: Layout | None = None) -> str:
    """Return the timeline of *view* as one ``<div>`` without scripts, style sheets or references, at most 300 kB.

    A run of more than *rows* steps is shown like in ``text``: its ends, what went wrong, and how many rows
    are left out. Whoever has the *layout* of *view* gives it.
    """
    layout = layout or Layout(view)
    whole = True
    while True:
        drawn = Rows(view, layout, layout.axis, pictures, whole).html(rows)
        made = _document(view, layout.axis, drawn)
        if len(made.encode()) <= _LIMIT or (rows <= 6 and not pictures and not whole):
            return made
        if pictures:
            pictures = False
        elif rows > 40 or (rows > 6 and not whole):
            rows = rows * 2 // 3
        else:
            whole = False


def _document(view: Snapshot, axis: Axis, rows: str) -> str:
    body = _table(view, axis, rows) if view.steps else f'<div style="margin-top:8px;{FAINT}">{no_steps(view)}</div>'
    return (
        f'<div data-romancy-live="{text_of(view.anchor)}" '
        'style="font-family:system-ui,sans-serif;font-size:13px;line-height:1.45;max-width:980px;padding:4px 0">'
        f"{_head(view)}{body}</div>"
    )


def anchor(instance: str, number: int) -> str:
    """Return what a display of this run is found by, when it comes to life; a function of history (N7)."""
    return f"timeline:{instance}:{number}"


# -- head ------------------------------------------------------------------------------------------------------------


def _head(view: Snapshot) -> str:
    colour = COLOURS.get(view.status, GREY)
    badge = (
        f"padding:1px 9px;border-radius:10px;border:1px solid {tint(colour, '0.6')};"
        f"background-color:{tint(colour, '0.16')};white-space:nowrap"
    )
    said = " · ".join(summary(view))
    result = f" → <code>{text_of(view.output)}</code>" if view.output not in {"", "None"} else ""
    call = f"<code>{text_of(view.workflow)}({text_of(view.input)})</code>"
    parts = [
        f'<div><strong style="font-size:15px">{text_of(view.workflow)}</strong> &nbsp;'
        f'<span style="{badge}">{run_mark(view.status)} {text_of(view.words)}</span> &nbsp;'
        f'<span style="{FAINT}">{text_of(title(view))}</span></div>',
        f'<div style="margin-top:3px">{text_of(said)}</div>',
        f'<div style="margin-top:1px;overflow-wrap:break-word;{FAINT};font-size:12px">'
        f"{call}{result}<br>{text_of(view.instance)} · started {utc(view.started)}</div>",
    ]
    if view.problem or view.hint:
        between = "<br>" if view.problem and view.hint else ""
        parts.append(
            f'<div style="margin-top:6px;padding:3px 10px;border-left:3px solid {colour};'
            f'background-color:{tint(colour, "0.1")};overflow-wrap:break-word">'
            f"{text_of(view.problem)}{between}{text_of(view.hint)}</div>"
        )
    if others := other_runs(view):
        parts.append(f'<div style="margin-top:3px;font-size:12px;{FAINT}">{text_of(others)}</div>')
    return "".join(parts)


# -- table -----------------------------------------------------------------------------------------------------------


def _table(view: Snapshot, axis: Axis, rows: str) -> str:
    head = f"text-align:left;font-weight:normal;padding:3px 10px 3px 0;border:0;{FAINT};font-size:12px;"
    ruler = f'Timeline <span style="float:right">{duration(axis.end - axis.start)}</span>'
    columns = (("Step", "width:42%"), (ruler, ""), ("Time", "text-align:right;width:10%"), ("Note", "width:16%"))
    headings = "".join(f'<th scope="col" style="{head}{style}">{said}</th>' for said, style in columns)
    return (
        f'<div style="overflow-x:auto"><table aria-label="steps of {text_of(view.workflow)}" '
        f'style="border-collapse:collapse;width:100%;min-width:{NARROWEST};table-layout:fixed;'
        'margin:8px 0 4px 0;border:0;font-size:13px"><thead style="border:0">'
        f'<tr style="border:0;background-color:transparent">{headings}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{_legend(view, axis)}"
    )


def _legend(view: Snapshot, axis: Axis) -> str:
    said = [
        f'<span style="white-space:nowrap"><span style="color:{COLOURS[look]}">{mark}</span> '
        f'<span style="{FAINT}">{meaning}</span></span>'
        for look, mark, meaning in ((look, MARKS[look], meaning) for look, meaning in _looks(view))
    ]
    folds = ", ".join(duration(us) for _, _, us in axis.marks())
    if folds:
        said.append(f'<span style="{FAINT}">{FOLDED} folded, nothing ran: {folds}</span>')
    return f'<div style="font-size:12px">{" &nbsp; ".join(said)}</div>'


def _looks(view: Snapshot) -> list[tuple[str, str]]:
    by_mark = {mark: look for look, mark in MARKS.items()}
    return [(by_mark[mark], meaning) for mark, meaning in legend(view)]
