"""Questions of real workflows in JupyterLab: a cell asks, a person answers, whatever happens to page, kernel and other cells."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import ROOT, Book, Lab, Server, eventually
from playwright.sync_api import BrowserContext, Locator, expect

pytest.importorskip("anywidget")
pytestmark = [pytest.mark.kernel, pytest.mark.browser]

VIEW = "application/vnd.jupyter.widget-view+json"
SETUP = """
import time
from typing import Literal
from pydantic import BaseModel, Field
import romancy_nb as rn

class Decision(BaseModel):
    approved: bool
    limit: int = Field(ge=1, le=100)
    note: str = ""

@rn.workflow
def expense(name: str) -> str:
    decision = rn.ask(f"Approve the expense of {name}?", type=Decision)
    return f"{name}: {decision.approved} up to {decision.limit}"
"""


@pytest.fixture(scope="module")
def journal(jupyter: Server) -> Path:
    return jupyter.root / "journal.duckdb"


@pytest.fixture(scope="module")
def shared(jupyter: Server, browser: BrowserContext, journal: Path) -> Iterator[Book]:
    """One notebook for all tests; each adds cells of its own."""
    lab = Lab(jupyter, browser)
    made = lab.open(SETUP + f"rn.connect({str(journal)!r})\n")
    made.run_all()
    yield made
    lab.close()


@pytest.fixture
def book(shared: Book) -> Iterator[Book]:
    yield shared
    shared.is_clean()


def asks(book: Book, name: str) -> tuple[int, Locator]:
    """Run a cell whose run asks; return its number and the form in it."""
    index = book.insert(f"expense({name!r})")
    book.run(index)
    form = form_in(book, index)
    expect(form.get_by_role("heading", name=f"Approve the expense of {name}?")).to_be_visible()
    return index, form


def form_in(book: Book, index: int) -> Locator:
    return book.output(index).locator(".romancy-form").first


def fill(form: Locator, limit: int = 20) -> None:
    form.get_by_role("group", name="Approved").get_by_label("yes").check()
    form.get_by_label("Limit").fill(str(limit))
    form.get_by_role("button", name="Send answer").click()


def value(book: Book, expression: str) -> str:
    index = book.insert(f"print({expression})")
    book.run(index)
    return book.text(index).strip()


def answer_elsewhere(journal: Path, name: str) -> None:
    """Another process answers."""
    program = (
        f"import romancy_nb as rn\nrn.connect({str(journal)!r})\n"
        f"(asked,) = [each for each in rn.questions() if {name!r} in each.question]\n"
        "rn.instance(asked.instance_id).answer({'approved': True, 'limit': 7, 'note': 'from afar'})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_person_answers_in_the_cell_while_another_cell_runs(book: Book) -> None:
    index, form = asks(book, "ada")
    old = value(book, "__import__('ipykernel').version_info[0] < 7") == "True"
    busy = book.insert("end = time.monotonic() + 4\nwhile time.monotonic() < end: time.sleep(0.05)\nprint('over')")
    book.run(busy, wait=False)
    eventually(book.busy, "the cell to run")
    fill(form)
    if not old:
        expect(form).to_contain_text("in the notebook", timeout=3_500)
        assert "over" not in book.text(busy)
    expect(book.output(index)).to_contain_text("in the notebook")
    book.idle()
    expect(book.output(index)).to_contain_text("done: run this cell again to use the result")
    book.run(index)
    book.wait_for_text("'ada: True up to 20'", index)


def test_a_refused_answer_shows_its_problems_and_the_form_stays(book: Book) -> None:
    index, form = asks(book, "bob")
    form.get_by_role("group", name="Approved").get_by_label("no", exact=True).check()
    form.get_by_label("Limit").fill("1000")
    form.get_by_role("button", name="Send answer").click()
    expect(form.get_by_label("Limit")).to_have_attribute("aria-invalid", "true")
    fill(form, 3)
    expect(book.output(index)).to_contain_text("in the notebook")


def test_a_page_that_is_loaded_again_still_has_a_form_that_works(book: Book) -> None:
    index, _ = asks(book, "cyd")
    book.save()
    book.load()
    fill(form_in(book, index))
    expect(book.output(index)).to_contain_text("in the notebook")


def test_an_answer_of_another_process_is_seen_in_the_form_within_seconds(book: Book, journal: Path) -> None:
    index, form = asks(book, "dan")
    answer_elsewhere(journal, "dan")
    expect(book.output(index)).to_contain_text("from Python", timeout=10_000)
    expect(book.output(index)).to_contain_text("from afar")
    expect(form.get_by_role("button", name="Send answer")).to_have_count(0)


def test_a_cancelled_run_asks_nobody_any_more(book: Book) -> None:
    index, _ = asks(book, "eve")
    book.run(book.insert("h = [i for i in rn.instances() if i.status == 'waiting'][0].cancel('no more')"))
    expect(book.output(index)).to_contain_text("not asked any more")
    expect(book.output(index)).to_contain_text("Cancelled")


def test_after_a_restart_the_same_cell_shows_the_form_again_and_the_file_has_no_view_that_cannot_load(
    book: Book, journal: Path
) -> None:
    index, _ = asks(book, "fay")
    book.restart()
    book.run(0)
    book.run(index)
    fill(form_in(book, index))
    expect(book.output(index)).to_contain_text("in the notebook")
    expect(book.output(index)).to_contain_text("done: run this cell again")
    book.run(book.insert("1"))
    expect(form_in(book, index)).to_have_count(0)
    saved = book.save()
    assert VIEW not in json.dumps(saved.cells[index])
    assert "Approve the expense of fay?" in json.dumps(saved.cells[index])
    book.run(index)
    book.wait_for_text("'fay: True up to 20'", index)


def test_a_question_asked_long_after_the_first_appears_below_it_in_the_cell_that_has_ended(book: Book) -> None:
    book.run(
        book.insert(
            "@rn.activity\ndef think():\n    time.sleep(2.5)\n"
            "@rn.workflow\ndef twice(name):\n"
            "    first = rn.ask(f'First, {name}?')\n    think()\n    return [first, rn.ask(f'Second, {name}?')]"
        )
    )
    index = book.insert("twice('gus')")
    book.run(index)
    first = book.output(index).locator(".romancy-form").first
    first.get_by_label("yes").check()
    first.get_by_role("button", name="Send answer").click()
    second = book.output(index).locator(".romancy-form").filter(has_text="Second, gus?")
    second.get_by_label("no", exact=True).check()
    second.get_by_role("button", name="Send answer").click()
    expect(book.output(index)).to_contain_text("done: run this cell again")


def test_forms_look_right_on_light_and_on_dark(book: Book) -> None:
    index, _ = asks(book, "hal")
    book.cell(index).scroll_into_view_if_needed()
    book.screenshot("question_card_light", book.cell(index))
    book.is_accessible(".romancy-form")
    book.theme(dark=True)
    book.screenshot("question_card_dark", book.cell(index))
    book.is_accessible(".romancy-form")
    fill(form_in(book, index))
    expect(book.output(index)).to_contain_text("done: run this cell again")
    book.screenshot("question_card_answered_dark", book.cell(index))
    heights = form_in(book, index).locator("dt").evaluate_all("all => all.map(each => each.offsetHeight)")
    assert len(heights) == 3 and max(heights) < 30, "a label is not broken in its middle"
    book.theme(dark=False)
