"""``%romancy retry`` and ``code``: what a timeline's buttons do with one step, as a line of a notebook."""

from __future__ import annotations

from typing import Any

from IPython.core.error import UsageError

from romancy_nb.core import events as ev
from romancy_nb.definitions import registry
from romancy_nb.errors import RunProblem
from romancy_nb.journal.protocol import Row
from romancy_nb.notebook import acting
from romancy_nb.notebook.decisions import step_of
from romancy_nb.runtime.called import read_call
from romancy_nb.runtime.instance import Instance
from romancy_nb.words import quoted

__all__ = ["code", "place_of", "retry"]

_SHOWN = 5


def retry(found: Instance[Any], words: tuple[str, ...]) -> None:
    """Execute a failed step of *found* again; *words* may name it, else it is the one that failed last."""
    __tracebackhide__ = True
    rows = found.rows()
    place = place_of(found, rows, words[0]) if words else _failed(found, rows)
    print(f"{acting.perform(found, 'retry', place)} %romancy show {quoted(found.id)} shows how far it is.")


def code(found: Instance[Any], words: tuple[str, ...]) -> None:
    """Print a step of *found* as Python.

    Raises:
        UsageError: no step is named.
    """
    __tracebackhide__ = True
    if not words:
        raise UsageError("Which step? %romancy code ID STEP: its number, place or name. .steps() lists them.")
    print(acting.code(found, "code", place_of(found, found.rows(), words[0])))


def place_of(found: Instance[Any], rows: list[Row], word: str) -> str:
    """Return the place of the step that *word* names: its number, its place, or what it calls.

    Raises:
        RunProblem: there is none, or there are several.
    """
    intents = [row for row in rows if row.event.kind in ev.INTENTS | {ev.COMPENSATION_SCHEDULED} and row.event.call]
    step = step_of(word)
    exact = [row.event.call for row in intents if step in {row.seq, row.event.call}]
    fitting = exact or [row.event.call for row in intents if registry.answers_to(row.event.name, word)]
    places = list(dict.fromkeys(fitting))
    if len(places) == 1:
        return places[0]
    if not places:
        raise RunProblem(f"Instance {found.id} has no step {word!r}. `.steps()` lists them.")
    shown = ", ".join(places[:_SHOWN]) + (", …" if len(places) > _SHOWN else "")
    raise RunProblem(f"Instance {found.id} has {len(places)} steps {word!r}, at {shown}. Say which, by its place.")


def _failed(found: Instance[Any], rows: list[Row]) -> str:
    """The step that failed last, or is in doubt."""
    for row in reversed(rows):
        if row.event.kind in {ev.ACTIVITY_FAILED, ev.COMPENSATION_FAILED, ev.ATTEMPT_FAILED, ev.ATTEMPT_STARTED}:
            call = read_call(rows, row.event.call)
            if call is not None and not call.ok:
                return call.intent.call
    raise RunProblem(
        f"No step of instance {found.id} has failed. %romancy resume {quoted(found.id)} goes on where it stopped."
    )
