"""The static HTML of a question: what stands in the notebook's file, and where no live form can be shown.

It is made of what every reader lets through, as the timeline is (``fallback_html`` says what that is): no scripts, no style
sheets, no form elements, middle tones that work on white and on black, and sense without any style.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

from romancy_nb.widgets.fields import FormField, expects, parts_of
from romancy_nb.widgets.forms import Form, saved, text
from romancy_nb.words import clip

__all__ = ["NO_FORM", "html", "mimebundle"]

_AMBER, _GREEN, _GREY = (201, 138, 0), (45, 164, 78), (139, 148, 158)
_LOOKS: Final = {"open": (_AMBER, "◷", "waits for an answer"), "answered": (_GREEN, "✓", "answered")}
_FAINT: Final = "opacity:0.65"
_RULE: Final = "border:0;border-top:1px solid rgba(128,128,128,0.25)"
_CELL: Final = f"text-align:left;vertical-align:top;padding:3px 14px 3px 0;{_RULE}"
_ROWS: Final = 60
NO_FORM: Final = "For a form with buttons here: pip install anywidget, then restart the kernel."
"""Says how to get one where anywidget is missing."""


def mimebundle(form: Form, *, hint: str = "") -> dict[str, Any]:
    """Return *form* as text and static HTML. It is a pure function of the form, so a file keeps the same bytes."""
    return {"text/plain": text(form), "text/html": html(form, hint=hint)}


def html(form: Form, *, hint: str = "") -> str:
    """Return *form* as one ``<div>`` without scripts, style sheets or references.

    Args:
        form: the question.
        hint: a line below it, such as ``NO_FORM``.
    """
    colour, mark, words = _LOOKS.get(form.status, (_GREY, "⊘", "not asked any more"))
    badge = (
        f"padding:1px 9px;border-radius:10px;border:1px solid {_tint(colour, 0.6)};"
        f"background-color:{_tint(colour, 0.16)};white-space:nowrap;font-size:12px"
    )
    asked = "<br>".join(_text(line) for line in form.question)
    parts = [
        f'<div style="overflow-wrap:break-word"><strong style="font-size:15px">{asked}</strong> &nbsp;'
        f'<span style="{badge}">{mark} {words}</span></div>',
        f'<div style="margin-top:2px;overflow-wrap:break-word;font-size:12px;{_FAINT}">'
        f"{_text(clip(form.workflow))} · {_text(clip(form.instance))} · {_text(saved(form.when))}</div>",
        _open(form) if form.status == "open" else _ended(form),
        f'<div style="margin-top:6px;font-size:12px;{_FAINT}">{_text(hint)}</div>'
        if hint and form.status == "open"
        else "",
    ]
    return (
        '<div style="font-family:system-ui,sans-serif;font-size:13px;line-height:1.45;max-width:760px;margin:4px 0;'
        f'padding:6px 14px;border-left:3px solid {_tint(colour, 1)};background-color:{_tint(colour, 0.06)}">'
        f"{''.join(parts)}</div>"
    )


def _open(form: Form) -> str:
    commands = "".join(
        f'<div style="margin-top:4px"><span style="{_FAINT}">{_text(where)}</span><br>'
        f'<code style="overflow-wrap:anywhere">{_text(command)}</code></div>'
        for where, command in form.ways
    )
    return (
        f"{_fields(form)}"
        '<details style="margin-top:6px;font-size:12px"><summary style="cursor:pointer">Answer it from anywhere</summary>'
        f'<div style="padding:2px 0 4px 14px">{commands}</div></details>'
    )


def _fields(form: Form) -> str:
    parts = list(parts_of(form.root))
    shown = [(depth, each) for depth, each in parts if depth or form.root.kind != "object"]
    rows = "".join(_field(depth, each) for depth, each in shown[:_ROWS])
    if len(shown) > _ROWS:
        rows += f'<tr><td colspan="2" style="{_CELL};{_FAINT}">⋮ {len(shown) - _ROWS:,} more fields</td></tr>'
    return _table(rows, "what is asked for") if rows else ""


def _field(depth: int, each: FormField) -> str:
    label = each.label or ("Answer" if not depth else "each")
    nested = "&nbsp;" * 4 * (min(depth, 8) - 1) if depth > 1 else ""
    must = "" if each.required else " · may be left out" if not each.has_default else ""
    about = f'<div style="font-size:12px;{_FAINT}">{_text(each.help)}</div>' if each.help else ""
    return _row(f"{nested}{_text(label)}", f"{_text(expects(each))}{must}{about}")


def _ended(form: Form) -> str:
    said = (
        f'<div style="margin-top:6px"><strong>{_text(form.answer)}</strong></div>'
        if form.answer and not form.answers
        else ""
    )
    rows = "".join(_row(_text(label), f"<strong>{_text(value)}</strong>") for label, value in form.answers)
    table = _table(rows, "the answer") if rows else ""
    return f'{said}{table}<div style="margin-top:4px;font-size:12px;overflow-wrap:break-word">{_text(saved(form.ended))}</div>'


def _table(rows: str, label: str) -> str:
    return (
        f'<table aria-label="{label}" style="border-collapse:collapse;margin:6px 0 2px 0;border:0;font-size:13px">'
        f"<tbody>{rows}</tbody></table>"
    )


def _row(left: str, right: str) -> str:
    return (
        f'<tr style="background-color:transparent"><td style="{_CELL};white-space:nowrap;{_FAINT}">{left}</td>'
        f'<td style="{_CELL};overflow-wrap:anywhere">{right}</td></tr>'
    )


def _tint(colour: tuple[int, int, int], alpha: float) -> str:
    red, green, blue = colour
    return f"rgba({red},{green},{blue},{alpha:g})"


def _text(text: str) -> str:
    return escape(text, quote=True)
