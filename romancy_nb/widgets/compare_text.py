"""Two runs side by side in text, and the words that the other forms share."""

from __future__ import annotations

from typing import Final

from romancy_nb.widgets.costs import sum_of
from romancy_nb.widgets.costs import words as cost_words
from romancy_nb.widgets.pairing import Pair, Pairs, shown, took
from romancy_nb.widgets.snapshot import Snapshot
from romancy_nb.words import clip, count, duration, fit

__all__ = ["MARKS", "cost_of", "said", "summary", "text"]

MARKS: Final = {"same": "=", "changed": "≠", "here": "◧", "there": "◨"}
_LINES: Final = 60


def cost_of(view: Snapshot) -> str:
    """Return what the steps of a run cost together, in words; empty where none says so."""
    return cost_words(sum_of(step.cost for step in view.steps))


def said(pair: Pair, titles: tuple[str, str]) -> str:
    """Return what there is to say about a pair in a few words."""
    if pair.verdict in {"here", "there"}:
        only = f"only {titles[0] if pair.verdict == 'here' else titles[1]}"
        return f"{only}, edited" if pair.edited else only
    words = ["edited"] if pair.edited else []
    one, other = pair.here, pair.there
    assert one is not None and other is not None
    for what in pair.what:
        if what == "input":
            words.append(f"input {clip(one.input, 40)} → {clip(other.input, 40)}")
        elif what == "output":
            words.append(f"result {clip(one.output, 40)} → {clip(other.output, 40)}")
        elif what == "error":
            words.append(f"error {clip(one.error, 60)} → {clip(other.error, 60)}")
        elif what == "outcome":
            words.append(f"{one.status.replace('_', ' ')} → {other.status.replace('_', ' ')}")
        elif what == "attempts":
            words.append(f"{max(one.tries, 1)} → {count(max(other.tries, 1), 'attempt')}")
        else:
            words.append({"code": "other code", "duration": "duration"}[what])
    return ", ".join(words)


def summary(found: Pairs) -> str:
    """Return the counts in words."""
    titles, counts = found.titles(), found.counts
    pieces = [f"{counts['same']:,} same", f"{counts['changed']:,} changed"]
    pieces += [f"{counts[v]:,} only {title}" for v, title in zip(("here", "there"), titles, strict=True) if counts[v]]
    return " · ".join(pieces)


def text(found: Pairs) -> str:
    """Return both runs as text: what differs first when there is too much of it."""
    titles = found.titles()
    lines = [f"{found.here.workflow}: {titles[0]} and {titles[1]}", summary(found)]
    for title, view in zip(titles, (found.here, found.there), strict=True):
        cost = f", {cost_of(view)}" if cost_of(view) else ""
        result = f" → {view.output}" if view.output else ""
        lines.append(
            f"  {title}: {view.words}, took {duration(took(view))}, {count(len(view.steps), 'step')}{cost}{result}"
        )
    lines.append("")
    for row in shown(found.pairs, _LINES):
        if isinstance(row, int):
            lines.append(f"  ⋮ {row:,} more steps")
            continue
        spent = [
            step.spent(view.as_of) if step else None
            for step, view in ((row.here, found.here), (row.there, found.there))
        ]
        times = "".join(fit("" if us is None else duration(us), 9).rjust(10) for us in spent)
        lines.append(f"{MARKS[row.verdict]} {fit(row.step.name, 30)}{times}  {said(row, titles)}".rstrip())
    return "\n".join(lines)
