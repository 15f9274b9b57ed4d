"""Questions as forms below the cells whose runs ask, as long as somebody may look at them (N5).

A form stays live after its cell has ended: it takes an answer whatever other cells do, and says who answered, how and when, also
where that was somebody else. What the kernel's memory says of the run is looked at once a second by the attendant
(``attending.py``); only when a question is open no more, history is asked what became of it.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Final

from romancy_nb.errors import RunProblem
from romancy_nb.notebook.outlet import CellOutlet, settle_later
from romancy_nb.runtime import launch, sending
from romancy_nb.runtime.engine import Engine
from romancy_nb.runtime.questions import Question, all_questions, asked_by
from romancy_nb.runtime.standing import head_of
from romancy_nb.widgets import form_html
from romancy_nb.widgets.forms import Form, form_of
from romancy_nb.widgets.live_form import LiveForm, live_form

__all__ = ["close_all", "look", "place", "shown", "shows"]

FORMS: Final = 20
"""So many forms are shown in one cell; what there is besides is counted."""


class QuestionCard:
    """Shows *question* in the cell of *outlet*, as it is when this is made.

    Attributes:
        question: as it was last seen.
        outlet: of the cell.
        where: the journal.
        over: is the question open no more, and shown so?
    """

    def __init__(self, question: Question, outlet: CellOutlet, where: str, answered: Callable[[], None]) -> None:
        self.question, self.outlet, self.where, self._answered = question, outlet, where, answered
        self._form: Form = form_of(question)
        self._live: LiveForm | None = outlet.within(lambda: live_form(self._form, self._answer, run=_elsewhere))
        if self._live is None:
            bundle, more = form_html.mimebundle(self._form, hint=form_html.NO_FORM), {}
        else:
            bundle, more = outlet.within(self._live.mimebundle)
        self._display = outlet.place(bundle, more)
        self.over = False

    def show(self, question: Question) -> None:
        """Show what has become of the question; once it is open no more, the file is soon to hold its static form."""
        form = form_of(question)
        if form != self._form:
            self.question, self._form = question, form
            if self._live is not None:
                live = self._live
                self.outlet.within(lambda: live.show(form))
        if form.status != "open":
            self.over = True
            settle_later(self)

    def settle_now(self) -> None:
        """Leave what a file can keep, and take the live form away."""
        self.write_down()
        self.leave()

    def write_down(self) -> None:
        """Leave what a file can keep: no view of a widget, which no other kernel could load (N7)."""
        self.outlet.replace(self._display, form_html.mimebundle(self._form), {})

    def leave(self) -> None:
        """Take the live form away, if there is one."""
        live, self._live = self._live, None
        if live is not None:
            with suppress(Exception):  # the page or the kernel is ending
                self.outlet.within(live.close)

    def _answer(self, value: Any) -> str:
        """Answer it; on a thread of its own."""
        engine = launch.current()
        if engine.journal.where != self.where:
            raise RunProblem(f"This question is of the journal {self.where}. rn.connect() that one, then answer again.")
        asked = self.question
        said = sending.answer(engine, asked.instance_id, value, asked.place, via="widget").says
        self._answered()
        return said


_cards: list[QuestionCard] = []
_order = threading.RLock()


def place(questions: Sequence[Question], outlet: CellOutlet, answered: Callable[[], None]) -> None:
    """Show *questions* with forms in the cell of *outlet*; *answered* is called when one has been.

    Forms that an earlier execution of the same cell has left open are given up: what they showed is gone with the cell's output.
    """
    where = launch.current().journal.where
    with _order:
        for old in [each for each in _cards if each.outlet is not outlet and each.outlet.cell == outlet.cell]:
            _forget(old)
            old.leave()
        for question in questions[:FORMS]:
            if not any(each.outlet is outlet and each.question.key == question.key for each in _cards):
                _cards.append(QuestionCard(question, outlet, where, answered))
    if len(questions) > FORMS:
        outlet.say(f"and {len(questions) - FORMS:,} more questions: rn.questions() lists them all")


def shown() -> bool:
    """Is there a form that a look may change?"""
    return bool(_cards)


def shows(question: Question) -> bool:
    """Does a cell show the form of *question*?"""
    return any(each.question.key == question.key for each in list(_cards))


def look(answered: Callable[[], None]) -> None:
    """Show what has become of the questions, and what else the same runs ask; called on the attendant's thread."""
    engine = launch.connected()
    if engine is None:
        return
    with _order:
        cards = [each for each in _cards if each.where == engine.journal.where]
    for card in cards:
        if not card.over:
            _see(engine, card)
        if card.over:
            _follow(engine, card, answered)


def _see(engine: Engine, card: QuestionCard) -> None:
    """Show what became of the question of *card*, if it is open no more."""
    if any(each.key == card.question.key for each in _asked_now(engine, card.question)):
        return
    became = _became(engine, card.question)
    if became is not None and became.status != "open":
        with _order:
            card.show(became)


def _follow(engine: Engine, card: QuestionCard, answered: Callable[[], None]) -> None:
    """Show in the same cell what the run of *card* asks after it; that may take the run a while."""
    # Asked before the forms are counted: what the run asks in between is found by the next look.
    goes_on = engine.advanced(card.question.instance_id) is not None
    more = [each for each in _asked_now(engine, card.question) if not shows(each)]
    if more:
        place(more, card.outlet, answered)
    if more or not goes_on:
        with _order:
            _forget(card)


def _asked_now(engine: Engine, one: Question) -> list[Question]:
    """What the run of this kernel asks just now, as memory has it; another process may be the one that knows."""
    run = engine.newest.get(one.instance_id)
    if run is None or run.finished:
        return []
    return asked_by(run)


def _became(engine: Engine, one: Question) -> Question | None:
    """What history says of the question."""
    found: list[Question] = engine.ask(lambda engine: all_questions(engine, head_of(engine, one.instance_id)))
    return next((each for each in found if each.key == one.key), None)


def _forget(card: QuestionCard) -> None:
    if card in _cards:
        _cards.remove(card)


def close_all() -> None:
    """The extension is taken out: what the file keeps of open questions is their static form."""
    with _order:
        cards, _cards[:] = list(_cards), []
    for card in cards:
        with suppress(Exception):
            card.settle_now()


@atexit.register
def _at_exit() -> None:
    """The kernel ends: the same, but a page forgets the widgets of a kernel that goes, so it is told nothing of them."""
    for card in list(_cards):
        with suppress(Exception):
            card.write_down()


def _elsewhere(work: Callable[[], None]) -> None:
    """Leave the kernel's threads free, whatever an answer waits for."""
    threading.Thread(target=copy_context().run, args=(work,), name="romancy answer", daemon=True).start()
