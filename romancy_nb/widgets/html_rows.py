"""The rows of the static HTML timeline: each with its name, its bar, its time and what there is to say of it."""

from __future__ import annotations

from html import escape
from typing import Final

from romancy_nb.widgets.axis import Axis, Segment
from romancy_nb.widgets.fallback_text import bar, gauge, pieces_of
from romancy_nb.widgets.layout import Gap, Heading, Lane, Layout
from romancy_nb.widgets.marks import (
    MARKS,
    heading,
    look_of,
    look_of_branch,
    note,
    note_of_branch,
    progress_words,
    spent,
)
from romancy_nb.widgets.outputs import folded
from romancy_nb.widgets.snapshot import Attempt, Progress, Snapshot, Step
from romancy_nb.words import duration, utc

__all__ = ["CELL", "COLOURS", "FAINT", "GREY", "NARROWEST", "Rows", "text_of", "tint"]

_COLUMNS: Final = 24
_ATTEMPTS: Final = 6
_IN_A_FOLD: Final = 40

_GREEN, _BLUE, _RED, _AMBER, _VIOLET, GREY = "#2da44e", "#3b82f6", "#e5484d", "#c98a00", "#a56de2", "#8b949e"
_ORANGE: Final = "#d9730d"
COLOURS: Final = {
    "ok": _GREEN,
    "journal": GREY,
    "failed": _RED,
    "running": _BLUE,
    "waiting": _AMBER,
    "in_doubt": _VIOLET,
    "cancelled": GREY,
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
    "cancelled": f"border:1px dotted {GREY}",
    "wait": f"border:1px solid {_AMBER};background-color:rgba(201,138,0,0.2);"
    f"background:repeating-linear-gradient(135deg,{_AMBER} 0 1px,transparent 1px 5px)",
    "undo": f"border:1px solid {_ORANGE};background-color:rgba(217,115,13,0.3);"
    f"background:repeating-linear-gradient(135deg,{_ORANGE} 0 4px,transparent 4px 8px)",
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
FAINT: Final = "opacity:0.65"
NARROWEST: Final = "440px"
"""A table in a narrower place is scrolled sideways: times and notes would lie over each other."""
CELL: Final = f"text-align:left;vertical-align:top;padding:3px 10px 3px 0;border:0;border-top:{_RULE}"


def text_of(text: str) -> str:
    """Return *text* as HTML, also within quotes."""
    return escape(text, quote=True)


def tint(colour: str, alpha: str) -> str:
    """Return *colour* with a share of its strength."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


class Rows:
    """Draws the rows of *layout* on *axis*.

    Args:
        view: the run.
        layout: which rows there are.
        axis: of time.
        pictures: embed small pictures that steps displayed.
        whole: show whole values where the view has them.
    """

    def __init__(self, view: Snapshot, layout: Layout, axis: Axis, pictures: bool, whole: bool = True) -> None:
        self._view = view
        self._layout = layout
        self._axis = axis
        self._pictures = pictures
        self._whole = whole
        self._folds = _folds(axis)

    def html(self, limit: int) -> str:
        """Return at most about *limit* of them."""
        made = []
        for row in self._layout.lines(limit):
            if isinstance(row, Gap):
                made.append(_across(f"⋮ {text_of(row.words)}"))
            elif isinstance(row, Lane):
                made.append(_across(f"<strong>{MARKS['undo']} {text_of(row.words)}</strong>"))
            elif isinstance(row, Heading):
                made.append(self._branch(row))
            else:
                made.append(self._row(row))
        return "".join(made)

    def _row(self, step: Step) -> str:
        loud = step.status in {"failed", "in_doubt"}
        said = text_of(self._layout.note(step))
        return self._cells(
            self._step(step),
            self._track(step, self._told(step)),
            spent(step, self._view.as_of),
            f"<strong>{said}</strong>" if loud else said,
            loud,
        )

    def _branch(self, row: Heading) -> str:
        branch = row.branch
        look = look_of_branch(branch)
        nested = "&nbsp;" * 4 * min(branch.depth, 8)
        label = f"{nested}{_mark(look)} <strong>{text_of(heading(branch))}</strong>"
        said = note_of_branch(branch)
        took = "" if branch.finished is None else duration(branch.finished - branch.started)
        track = self._track(row, f"{heading(branch)}: {said}") if row.folded else ""
        loud = branch.status in {"failed", "in_doubt"}
        return self._cells(
            self._folded(row, label) if row.folded else f"<div>{label}</div>", track, took, text_of(said), loud
        )

    def _folded(self, row: Heading, label: str) -> str:
        """A long branch: its steps stand in its own row, to be unfolded."""
        steps = row.branch.steps
        lines = [
            f"{_mark(look_of(step))} {text_of(self._layout.label(step))} "
            f'<span style="{FAINT}">{text_of(_joined(spent(step, self._view.as_of), self._layout.note(step)))}</span>'
            for step in _notable(steps)
        ]
        if len(steps) > len(lines):
            lines.append(f"⋮ {len(steps) - len(lines):,} more")
        return _details(label, "<br>".join(lines))

    def _cells(self, name: str, track: str, took: str, said: str, loud: bool) -> str:
        return (
            '<tr style="background-color:transparent">'
            f'<td style="{CELL}">{name}</td>'
            f'<td style="{CELL}">{track}</td>'
            f'<td style="{CELL};text-align:right;white-space:nowrap">{text_of(took)}</td>'
            f'<td style="{CELL};font-size:12px;overflow-wrap:break-word;{"" if loud else FAINT}">{said}</td></tr>'
        )

    def _track(self, row: Step | Heading, told: str) -> str:
        """The bar twice: as boxes, and in characters for where styles are dropped."""
        pieces = "".join(_box(piece) for piece in pieces_of(row, self._axis, self._view.as_of))
        drawn = bar(row, self._axis, self._view.as_of, _COLUMNS).rstrip().replace(" ", "\u2007")
        said = text_of(told)
        return (
            f'<div role="img" aria-label="{said}" title="{said}" style="position:relative;height:18px">'
            f"{self._folds}{pieces}</div>"
            f'<code style="display:none">{drawn}</code>'
        )

    def _told(self, step: Step) -> str:
        """What the bar shows, for whoever cannot see it."""
        took = spent(step, self._view.as_of)
        return f"{step.name}: {note(step) or 'executed'}{', ' + took if took else ''}"

    def _step(self, step: Step) -> str:
        nested = "&nbsp;" * 4 * (min(step.depth, 8) - 1) + "↳ " if step.depth else ""
        label = f"{nested}{_mark(look_of(step))} {self._called(step)}"
        facts = _facts(step, self._whole)
        if step.outputs:
            facts.insert(-1, folded(step.outputs, pictures=self._pictures))
        gauged = _gauge(step.progress) if step.progress is not None else ""
        return _details(label, "<br>".join(facts)) + gauged

    def _called(self, step: Step) -> str:
        """The step as it is called, its name in bold."""
        label = self._layout.label(step)
        if not label.startswith(f"{step.name}("):
            return f"<strong>{text_of(label)}</strong>"
        rest = label[len(step.name) :].removeprefix("()")
        return f"<strong>{text_of(step.name)}</strong>" + (
            f'<span style="{FAINT}">{text_of(rest)}</span>' if rest else ""
        )


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _notable(steps: tuple[Step, ...]) -> list[Step]:
    """The steps that are listed of a long branch: the first ones, and what went wrong or is open."""
    first = steps[: _IN_A_FOLD // 2]
    rest = [step for step in steps[len(first) :] if step.status != "completed"]
    room = _IN_A_FOLD - len(first)
    shown = {step.call for step in [*first, *(rest or steps[len(first) :])[:room]]}
    return [step for step in steps if step.call in shown]


def _mark(look: str) -> str:
    return f'<span style="color:{COLOURS[look]}" title="{_MEANING.get(look, look)}">{MARKS[look]}</span>'


def _details(label: str, content: str) -> str:
    return (
        '<details style="overflow-wrap:break-word"><summary style="cursor:pointer;white-space:nowrap;overflow:hidden;'
        f'text-overflow:ellipsis">{label}</summary><div style="padding:2px 0 6px 16px;font-size:12px">'
        f"{content}</div></details>"
    )


def _across(content: str) -> str:
    cell = f'<td colspan="4" style="{CELL};{FAINT}">{content}</td>'
    return f'<tr style="background-color:transparent">{cell}</tr>'


def _gauge(progress: Progress) -> str:
    """How far a running step says it is: a bar, the same in characters, and in words."""
    share = min(1.0, max(0.0, progress.done / progress.total)) if progress.total else 0.0
    bar_ = (
        '<div style="height:4px;margin:2px 0;border-radius:2px;background-color:rgba(128,128,128,0.25)">'
        f'<div style="height:4px;border-radius:2px;width:{share * 100:.4g}%;background-color:{_BLUE}"></div></div>'
        f'<code style="display:none">{gauge(progress)}</code>'
    )
    words = f'<div style="font-size:12px;{FAINT}">{text_of(progress_words(progress))}</div>'
    return (bar_ if progress.total else "") + words


def _box(piece: Segment) -> str:
    wide = max(3 if piece.look == "unknown" else 0.6, (piece.right - piece.left) * 100)
    left = min(piece.left * 100, 100 - wide)
    line = (
        "top:5px;height:8px;border-radius:2px;box-sizing:border-box;"
        if piece.look == "wait"
        else "top:3px;height:12px;border-radius:2px;box-sizing:border-box;"
    )
    return f'<div style="position:absolute;left:{left:.4g}%;width:{wide:.4g}%;{line}{_BARS[piece.look]}"></div>'


def _folds(axis: Axis) -> str:
    return "".join(
        f'<div style="position:absolute;left:{left * 100:.4g}%;width:{(right - left) * 100:.4g}%;top:-3px;height:24px;'
        f'border-left:1px dashed {GREY};border-right:1px dashed {GREY};box-sizing:border-box;opacity:0.6"></div>'
        for left, right, _ in axis.marks()
    )


def _facts(step: Step, whole: bool) -> list[str]:
    """What stands under a step when it is unfolded."""
    given, came = (step.whole_input, step.whole_output) if whole else ("", "")
    facts = [
        f'<span style="{FAINT}">{text_of(label)}</span> <code>{text_of(content)}</code>'
        for label, content in (
            ("question", step.question),
            ("input", "" if step.kind == "timer" else given or step.input),
            ("result", came or step.output),
            ("error", step.error),
            ("child", step.child),
            ("did not fit", step.refused),
            *step.attributes,
        )
        if content
    ]
    if len(step.attempts) > 1 or step.status == "in_doubt":
        left_out = len(step.attempts) - _ATTEMPTS
        if left_out > 0:
            facts.append(f"… {left_out:,} earlier attempts")
        facts += [_attempt(attempt) for attempt in step.attempts[-_ATTEMPTS:]]
    where = f"step {step.seq}, call {text_of(step.call)}, {utc(step.started)}"
    facts.append(f'<span style="{FAINT}">{where}</span>')
    return facts


def _attempt(attempt: Attempt) -> str:
    took = f", {duration(attempt.finished - attempt.started)}" if attempt.finished is not None else ""
    error = f" <code>{text_of(attempt.error)}</code>" if attempt.error else ""
    return f"attempt {attempt.number}: {_OUTCOMES.get(attempt.outcome, attempt.outcome)}{took}{error}"
