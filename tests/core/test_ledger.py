"""A notebook's calls, found again by their cell (R14): without threads or database."""

from __future__ import annotations

from typing import Any

import pytest

from romancy_nb.core import events as ev
from romancy_nb.core.commands import ActivityCommand, Delivery, OpenCall
from romancy_nb.core.events import Event
from romancy_nb.core.invariants import check_history
from romancy_nb.core.ledger import Answer, Asked, Ledger
from romancy_nb.core.replay import Numbered
from romancy_nb.payloads.payload import Payload


class Book:
    """A ledger with its rows, as the engine would keep them."""

    def __init__(self) -> None:
        self.rows: list[Numbered] = [(1, Event(ev.RUN_STARTED, 0, "notebook-a", "notebook", meta={"number": 1}))]
        self.reopen()
        self.now = 0

    def reopen(self) -> None:
        """A new kernel."""
        self.ledger = Ledger(self.rows)

    def write(self, event: Event) -> None:
        self.rows.append((len(self.rows) + 1, event))

    def ask(self, cell: str, execution: int, name: str, digest: str = "d", **more: Any) -> Answer | OpenCall | str:
        self.now += 10
        options = {key: more.pop(key) for key in ("reuse", "at_most_once") if key in more}
        code = more.pop("code", "c")
        command = ActivityCommand(name, digest, Payload("{}"), lambda: code, None, **options)
        found = self.ledger.ask(Asked(cell, execution, command, **more), self.now)
        if isinstance(found, OpenCall):
            self.write(self.ledger.intent(found.place))
        return found

    def settle(self, place: str, text: str = "1", ok: bool = True) -> None:
        self.now += 10
        kind = ev.ACTIVITY_COMPLETED if ok else ev.ACTIVITY_FAILED
        row, _ = self.ledger.settle(Delivery(kind, place, self.now, 1, Payload(text)))
        self.write(row)

    def run(self, cell: str, execution: int, name: str, text: str = "1", **more: Any) -> str:
        """Call it and, when it has to be executed, let it come to *text*. Says what happened."""
        found = self.ask(cell, execution, name, **more)
        if isinstance(found, Answer):
            return f"journal {found.outcome.payload.text}"
        assert isinstance(found, OpenCall)
        self.settle(found.place, text)
        return f"executed {found.place}"


@pytest.fixture
def book() -> Book:
    return Book()


def test_a_cell_that_runs_again_is_answered_from_the_journal_also_in_a_new_kernel(book: Book) -> None:
    assert book.run("A", 1, "ask", "7") == "executed 0.0:0"
    assert book.run("A", 2, "ask") == "journal 7"
    book.reopen()
    assert book.run("A", 1, "ask") == "journal 7"
    check_history(book.rows)


def test_equal_calls_in_one_execution_of_a_cell_are_steps_of_their_own(book: Book) -> None:
    first = [book.run("A", 1, "ask", str(n)) for n in range(5)]
    assert first == [f"executed 0.0:{n}" for n in range(5)]
    book.reopen()
    assert [book.run("A", 2, "ask") for _ in range(6)] == [*(f"journal {n}" for n in range(5)), "executed 0.0:5"]


def test_one_cells_step_never_answers_another_cells_call(book: Book) -> None:
    book.run("A", 1, "ask", "7")
    assert book.run("B", 2, "ask", "8") == "executed 0.1:0"


def test_an_edited_cell_takes_over_what_a_cell_that_is_gone_has_recorded_once(book: Book) -> None:
    book.run("A", 1, "ask", "7")
    assert book.run("B", 2, "ask", gone=lambda cell: cell == "A") == "journal 7"
    assert book.run("C", 3, "ask", "8", gone=lambda cell: cell == "A") == "executed 0.1:0"
    assert book.run("B", 4, "ask") == "journal 7"


def test_edited_code_other_inputs_and_failures_execute(book: Book) -> None:
    book.run("A", 1, "ask", "7")
    assert book.run("A", 2, "ask", "8", code="other") == "executed 0.0:1"
    assert book.run("A", 3, "ask", code="other") == "journal 8"
    assert book.run("A", 4, "ask", digest="e") == "executed 0.0:2"
    failed = book.ask("B", 5, "ask")
    assert isinstance(failed, OpenCall)
    book.settle(failed.place, ok=False)
    assert book.run("B", 6, "ask", "9") == "executed 0.1:1"
    book.reopen()
    assert book.run("B", 7, "ask") == "journal 9"


def test_anew_executes_and_is_what_counts_from_then_on(book: Book) -> None:
    book.run("A", 1, "ask", "7")
    assert book.run("A", 2, "ask", "8", anew=True) == "executed 0.0:1"
    book.reopen()
    assert book.run("A", 3, "ask") == "journal 8"


def test_reuse_never_and_prefix_are_obeyed(book: Book) -> None:
    book.run("A", 1, "ask", reuse="never")
    assert book.run("A", 2, "ask", reuse="never") == "executed 0.0:1"
    book.run("B", 3, "one", "1")
    book.run("B", 3, "two", "2", reuse="prefix")
    assert book.run("B", 4, "one") == "journal 1"
    assert book.run("B", 4, "two", reuse="prefix") == "journal 2"
    assert book.run("B", 5, "one", code="edited").startswith("executed")
    assert book.run("B", 5, "two", reuse="prefix").startswith("executed")


def test_a_call_without_an_outcome_is_found_again_with_its_key(book: Book) -> None:
    found = book.ask("A", 1, "ask")
    assert isinstance(found, OpenCall)
    book.reopen()
    place = book.ask("A", 1, "ask")
    assert place == found.place
    again = book.ledger.again(found.place, found.command)
    assert (again.fresh, again.scope) == (False, found.scope)


def test_the_key_changes_only_when_something_is_executed_anew(book: Book) -> None:
    scopes = []
    for execution, more in enumerate(({}, {"anew": True}, {"code": "edited"})):
        found = book.ask("A", execution, "ask", **more)
        assert isinstance(found, OpenCall)
        scopes.append(found.scope)
        book.settle(found.place)
        book.reopen()
        assert book.ledger.scope(found.place) == found.scope
    assert len(set(scopes)) == 3


def test_an_at_most_once_call_in_doubt_is_known(book: Book) -> None:
    found = book.ask("A", 1, "pay", at_most_once=True)
    assert isinstance(found, OpenCall)
    book.write(Event(ev.ATTEMPT_STARTED, 5, found.place, attempt=1))
    book.reopen()
    assert book.ledger.in_doubt(found.place)


def test_a_recorded_outcome_that_was_not_delivered_answers(book: Book) -> None:
    found = book.ask("A", 1, "ask")
    assert isinstance(found, OpenCall)
    book.write(Event(ev.OUTCOME_RECORDED, 9, found.place, payload=Payload("5"), meta={"ok": True}))
    book.reopen()
    assert book.run("A", 1, "ask") == "journal 5"
