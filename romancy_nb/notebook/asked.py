"""Questions in a notebook: below the cell whose run asks, and in one line when a run of the background has asked (N5, N6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from romancy_nb.core import events as ev
from romancy_nb.notebook import attending, question_card
from romancy_nb.runtime import launch, typed
from romancy_nb.runtime.questions import Question, asked_by
from romancy_nb.words import quoted

if TYPE_CHECKING:
    from romancy_nb.notebook.outlet import CellOutlet
    from romancy_nb.runtime.inbox import Resting

__all__ = ["after_cell", "before_cell", "how_to_answer", "line_for", "seen", "show_questions"]

_seen: set[tuple[str, str, int]] = set()
"""Keys of questions that somebody was shown."""
_before: list[Question] = []
"""What was asked in the background, and nobody had seen, when the cell that runs began."""


def show_questions(outlet: CellOutlet, resting: Resting) -> None:
    """Show below the cell what its run waits for, and how each thing is brought."""
    seen(resting.questions)
    for line in how_to_answer(resting):
        outlet.say(line)
    if resting.questions and not outlet.headless:  # a file that nobody reads along is to be the same at once
        question_card.place(resting.questions, outlet, attending.look_now)
        attending.keep_alive()
        attending.look_now()


def how_to_answer(resting: Resting) -> list[str]:
    """Say what a run waits for, and how that can be brought from a cell, a line each."""
    lines = [
        f"{each.workflow} asks: {each.question} Answer with {line_for(each, resting.questions)}"
        for each in resting.questions
    ]
    for waiting, workflow, name in resting.events:
        if name.startswith(ev.CHANNEL):
            lines.append(f"{workflow} waits for a message: rn.publish(...)")
        else:
            lines.append(
                f"{workflow} waits for event {name!r}. Send it with %romancy send {quoted(waiting)} {name} JSON"
            )
    return lines


def line_for(one: Question, of: Sequence[Question]) -> str:
    """Return the line that answers *one* of the questions of an instance."""
    which = f" --question {one.event}" if len({each.event for each in of}) > 1 else ""
    return f"%romancy answer {quoted(one.instance_id)}{which} {typed.expected(one.schema)}"


# -- what the background asks -----------------------------------------------------------------------------------------------


def seen(questions: Iterable[Question]) -> None:
    """These were shown to the person: they are not told of once more."""
    _seen.update(each.key for each in questions)


def _open() -> list[Question]:
    """What runs of this kernel ask just now. Reads memory only, since it is done at every cell."""
    engine = launch.connected()
    runs = list(engine.newest.values()) if engine is not None else []
    return [one for run in runs if run.asked and run.outside and not run.finished for one in asked_by(run)]


def _is_seen(one: Question) -> bool:
    return one.key in _seen or question_card.shows(one)


def before_cell(info: Any) -> None:
    """Note what was asked before the cell: what it asks itself, it shows."""
    _before[:] = [one for one in _open() if not _is_seen(one)]


def after_cell(result: Any) -> None:
    """Say once, in one line, what is still asked and what the cell has not shown. IPython calls it after every cell."""
    if not _before:
        return
    still = {one.key for one in _open() if not _is_seen(one)}
    new = [one for one in _before if one.key in still]
    _before.clear()
    seen(new)
    if len(new) == 1:
        print(f"{new[0].workflow} asks: {new[0].question} Answer with {line_for(new[0], new)}")
    elif new:
        print(f"{len(new)} questions wait for an answer: %romancy lists them.")
