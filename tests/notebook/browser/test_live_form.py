"""The live form in JupyterLab: filled in and sent by a person, on the newest kernels and on ipykernel 6.

Cells make questions with ``ask``; ``taken`` holds what Python was given. The last test asks with a real workflow.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Book, Lab, Server, eventually
from playwright.sync_api import BrowserContext, Locator, expect

pytest.importorskip("anywidget")
pytestmark = [pytest.mark.kernel, pytest.mark.browser]

SETUP = """
import dataclasses, datetime as dt, enum, threading
from types import SimpleNamespace
from typing import Annotated, Literal, Optional
from IPython.display import HTML, display
from pydantic import BaseModel, Field, field_validator
from romancy_nb.definitions.asked import question_schema, validate_answer
from romancy_nb.widgets.form_html import html
from romancy_nb.widgets.forms import form_of
from romancy_nb.widgets.live_form import live_form

T = 1_795_280_520_000_000
taken, threads = [], []

def question(text, type, **more):
    facts = dict(instance_id="order-7", workflow="order_workflow", event="approve", place="0:3", default=None, has_default=False,
                 asked_at=T, due=None, status="open", answer=None, by="", via="", at=0)
    return SimpleNamespace(question=text, schema=question_schema(type), **{**facts, **more})

def answered(text, type, value, via):
    return form_of(question(text, type, status="answered", answer=value, by="ada", via=via, at=T + 60_000_000))

def ask(text, type, **more):
    def answer(value):
        threads.append(threading.current_thread() is threading.main_thread())
        validate_answer(type, value)
        taken.append(value)
        live.show(answered(text, type, value, "widget"))
        return "Recorded."
    live = live_form(form_of(question(text, type, **more)), answer)
    return live
"""
MODEL = """
class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"

class Line(BaseModel):
    item: str = Field(min_length=2)
    amount: float = Field(gt=0)

class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int

class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str = Field(max_length=20)

class Everything(BaseModel):
    approved: bool
    colour: Colour
    country: Literal["AT", "BE", "CH", "DE", "DK", "ES", "FR", "IT"]
    count: int = Field(ge=1, le=9, description="how many")
    share: float = Field(lt=1)
    code: str = Field(pattern="^[A-Z]{2}")
    story: str = Field(max_length=2000)
    day: dt.date
    hour: dt.time
    moment: dt.datetime
    extras: set[Literal["late", "broken"]] = set()
    lines: list[Line] = []
    place: tuple[int, str]
    pet: Cat | Dog
    note: Optional[str] = None
    line: Optional[Line] = None
    free: dict[str, int] = {}
"""


@pytest.fixture(scope="module", params=["ipykernel of this Python", "ipykernel 6"])
def kernel_python(request: pytest.FixtureRequest) -> str:
    if request.param == "ipykernel 6":
        found: str = request.getfixturevalue("python6")
        return found
    return sys.executable


@pytest.fixture(scope="module")
def shared(jupyter: Server, browser: BrowserContext) -> Iterator[Book]:
    """One notebook for all tests; each adds cells of its own."""
    lab = Lab(jupyter, browser)
    made = lab.open(SETUP)
    made.run_all()
    yield made
    lab.close()


@pytest.fixture
def book(shared: Book) -> Iterator[Book]:
    """The notebook, in which nothing was answered yet. Its complaints are looked at in the end."""
    run(shared, "taken.clear()")
    yield shared
    shared.is_clean()


def run(book: Book, source: str) -> Locator:
    """Run *source* in a cell of its own and return the form that it shows."""
    index = book.insert(source)
    book.run(index)
    return book.output(index).locator(".romancy-form").first


def value(book: Book, expression: str) -> str:
    index = book.insert(f"print('=', ascii({expression}))")
    book.run(index)
    book.wait_for_text("= ", index)
    return book.text(index).strip().removeprefix("= ")


def send(form: Locator) -> None:
    form.get_by_role("button", name="Send answer").click()


def test_a_person_answers_and_every_view_shows_who_what_and_when(book: Book) -> None:
    form = run(book, "live = ask('Approve the refund?', bool)\nlive")
    second = run(book, "live")
    expect(form.get_by_role("heading", name="Approve the refund?")).to_be_visible()
    expect(form).to_contain_text("waits for an answer")
    form.get_by_label("yes").check()
    send(form)
    for each in (form, second):
        expect(each).to_contain_text("answered by ada in the notebook")
        expect(each.locator(".rn-answer")).to_have_text("yes")
        expect(each.get_by_role("button")).to_have_count(0)
    assert value(book, "taken") == "[True]"


def test_an_answer_from_elsewhere_is_shown_and_a_reloaded_page_shows_it_too(book: Book) -> None:
    form = run(book, "live = ask('Approve the refund?', bool)\nlive")
    run(book, "live.show(answered('Approve the refund?', bool, False, 'command line'))")
    expect(form).to_contain_text("answered by ada on the command line")
    book.save()
    book.load()
    again = book.page.locator(".romancy-form").last
    expect(again).to_contain_text("answered by ada on the command line")


def test_a_form_in_a_reloaded_page_can_be_filled_in(book: Book) -> None:
    run(book, "live = ask('Approve the refund?', bool)\nlive").wait_for()
    book.save()
    book.load()
    form = book.page.locator(".romancy-form").last
    form.get_by_label("no", exact=True).check()
    send(form)
    expect(form).to_contain_text("answered by ada in the notebook")


def test_every_kind_of_field_is_filled_in_and_arrives_as_json(book: Book) -> None:
    run(book, MODEL)
    form = run(book, "ask('Everything', Everything)")
    form.get_by_role("group", name="Approved").get_by_label("no").check()
    form.get_by_role("group", name="Colour").get_by_label("blue").check()
    form.get_by_label("Country").select_option("DK")
    form.get_by_label("Count", exact=True).fill("7")
    form.get_by_label("Share").fill("0.25")
    form.get_by_label("Code").fill("AB1")
    form.get_by_label("Story").fill("first\nsecond")
    form.get_by_label("Day").fill("2026-11-21")
    form.get_by_label("Hour").fill("17:02")
    form.get_by_label("Moment", exact=True).fill("2026-11-21T17:02")
    form.get_by_label("Moment: time zone").select_option("Z")
    form.get_by_role("group", name="Extras").get_by_label("late").check()
    lines = form.get_by_role("group", name="Lines")
    for item, amount in (("lamp", "1.5"), ("gone", "1"), ("desk", "2")):
        lines.get_by_role("button", name="Add an entry").click()
        lines.get_by_label("Item").last.fill(item)
        lines.get_by_label("Amount").last.fill(amount)
    lines.get_by_role("button", name="Remove entry 2 of Lines").click()
    place = form.get_by_role("group", name="Place")
    place.get_by_label("1", exact=True).fill("3")
    place.get_by_label("2", exact=True).fill("left")
    pet = form.get_by_role("group", name="Pet")
    pet.get_by_label("Pet: which kind").select_option("Dog")
    pet.get_by_label("Name").fill("Rex")
    form.get_by_label("Free").fill('{"a": 1}')
    send(form)
    expect(form).to_contain_text("answered by ada")
    assert eval(value(book, "taken[-1]")) == {
        "approved": False,
        "colour": "blue",
        "country": "DK",
        "count": 7,
        "share": 0.25,
        "code": "AB1",
        "story": "first\nsecond",
        "day": "2026-11-21",
        "hour": "17:02",
        "moment": "2026-11-21T17:02Z",
        "extras": ["late"],
        "lines": [{"item": "lamp", "amount": 1.5}, {"item": "desk", "amount": 2}],
        "place": [3, "left"],
        "pet": {"kind": "dog", "name": "Rex"},
        "line": None,
        "free": {"a": 1},
        "note": None,
    }


def test_every_field_has_a_name_for_those_who_do_not_see_it(book: Book) -> None:
    run(book, MODEL)
    form = run(book, "ask('Everything', Everything)")
    form.get_by_label("fill in").check()
    form.get_by_role("button", name="Add an entry").click()
    nameless = form.evaluate(
        """form => [...form.querySelectorAll('input, select, textarea, button, fieldset, section')].filter(each => {
            const named = each.labels?.length || each.getAttribute('aria-label') || each.querySelector(':scope > legend')
                || each.tagName === 'BUTTON' && each.textContent || each.hasAttribute('aria-labelledby');
            return !named;
        }).map(each => each.outerHTML)"""
    )
    assert nameless == []


def test_forms_on_one_page_do_not_take_each_others_labels(book: Book) -> None:
    forms = [run(book, f"ask('Number {number}', bool)") for number in range(2)]
    forms[1].get_by_text("yes", exact=True).click()
    expect(forms[1].get_by_label("yes")).to_be_checked()
    expect(forms[0].get_by_label("yes")).not_to_be_checked()
    ids = book.page.locator(".romancy-form [id]").evaluate_all("found => found.map(each => each.id)")
    assert len(ids) == len(set(ids))


def test_what_does_not_fit_is_said_beside_the_field_and_not_sent(book: Book) -> None:
    run(book, MODEL)
    form = run(book, "ask('A line', Line)")
    form.get_by_label("Item").fill("x")
    form.get_by_label("Amount").fill("0")
    send(form)
    for label, said in (("Item", "must have at least 2 characters"), ("Amount", "must be more than 0")):
        field = form.get_by_label(label)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_accessible_description(
            f"{said} {field.locator('..').locator('.rn-help').inner_text()}".strip()
        )
    expect(form.get_by_label("Item")).to_be_focused()
    expect(form.get_by_role("status")).to_contain_text("2 fields need another look")
    assert value(book, "taken") == "[]"
    form.get_by_label("Item").fill("lamp")
    form.get_by_label("Amount").fill("3")
    form.get_by_label("Amount").press("Enter")
    expect(form).to_contain_text("answered by ada")


def test_what_python_says_is_shown_beside_the_field_and_the_form_can_be_sent_again(book: Book) -> None:
    form = run(
        book,
        "class Even(BaseModel):\n    number: int\n    @field_validator('number')\n    @classmethod\n    def even(cls, value):\n"
        "        if value % 2: raise ValueError('an odd number will not do')\n        return value\n"
        "class Outer(BaseModel):\n    evens: list[Even]\nask('Even numbers', Outer)",
    )
    form.get_by_role("button", name="Add an entry").click()
    form.get_by_role("button", name="Add an entry").click()
    form.get_by_label("Number", exact=True).first.fill("2")
    form.get_by_label("Number", exact=True).last.fill("3")
    send(form)
    expect(form.get_by_text("an odd number will not do")).to_be_visible()
    expect(form.get_by_label("Number", exact=True).last).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_label("Number", exact=True).last).to_be_focused()
    expect(form.get_by_label("Number", exact=True).first).not_to_have_attribute("aria-invalid", "true")
    form.get_by_label("Number", exact=True).last.fill("4")
    send(form)
    expect(form).to_contain_text("answered by ada")
    assert value(book, "taken[-1]") == "{'evens': [{'number': 2}, {'number': 4}]}"


def test_an_error_that_belongs_to_no_field_is_shown_and_nothing_is_lost(book: Book) -> None:
    form = run(
        book,
        "def broken(value): raise RuntimeError('the journal is on fire')\nlive_form(form_of(question('Why?', str)), broken)",
    )
    form.get_by_label("Your answer").fill("because")
    send(form)
    expect(form.get_by_role("status")).to_have_text("RuntimeError: the journal is on fire")
    expect(form.get_by_role("button", name="Send answer")).to_be_enabled()
    expect(form.get_by_label("Your answer")).to_have_value("because")


def test_the_button_is_off_while_the_answer_is_on_its_way(book: Book) -> None:
    form = run(
        book,
        "gate = threading.Event()\nlive = live_form(form_of(question('Why?', bool)), lambda value: 'It is written.',\n"
        "    run=lambda work: threading.Thread(target=lambda: (gate.wait(30), work()), daemon=True).start())\nlive",
    )
    form.get_by_label("yes").check()
    send(form)
    expect(form.get_by_role("button", name="Send answer")).to_be_disabled()
    expect(form.get_by_role("status")).to_contain_text("In a terminal it counts at once")
    run(book, "gate.set()")
    expect(form.get_by_role("status")).to_have_text("It is written.")


def test_an_answer_that_comes_while_a_cell_is_busy_is_taken_at_the_latest_when_it_ends(
    book: Book, kernel_python: str
) -> None:
    form = run(book, "import time, ipykernel\nask('Approve?', bool)")
    old = value(book, "ipykernel.version_info[0] < 7") == "True"
    busy = book.insert(
        "seen = len(taken)\nend = time.monotonic() + 4\nwhile time.monotonic() < end: time.sleep(0.05)\n"
        "print('while it ran:', len(taken) - seen)"
    )
    book.run(busy, wait=False)
    eventually(book.busy, "the cell to run")
    form.get_by_label("yes").check()
    send(form)
    expect(form).to_contain_text("answered by ada")
    book.idle()
    book.wait_for_text("while it ran:", busy)
    assert book.text(busy).strip() == f"while it ran: {0 if old else 1}"
    assert value(book, "taken") == "[True]"


def test_keys_belong_to_the_form_and_not_to_the_notebook(book: Book) -> None:
    form = run(book, "ask('Approve?', bool)")
    cells = book.page.locator(".jp-Notebook .jp-Cell").count()
    form.get_by_label("yes").focus()
    for key in ("a", "b", "d", "d", "x", "ArrowRight"):
        book.page.keyboard.press(key)
    expect(form.get_by_label("no", exact=True)).to_be_checked()
    book.page.keyboard.press("Tab")
    expect(form.get_by_role("button", name="Send answer")).to_be_focused()
    book.page.keyboard.press("Enter")
    expect(form).to_contain_text("answered by ada")
    assert book.page.locator(".jp-Notebook .jp-Cell").count() == cells
    assert value(book, "taken") == "[False]"


def test_texts_from_elsewhere_are_only_text(book: Book) -> None:
    run(
        book,
        "EVIL = '<img src=x onerror=\"window.caught=1\"><script>window.caught=1</script>'\n"
        "schema = {'type': 'object', 'title': EVIL, 'description': EVIL, 'properties': {\n"
        "    EVIL: {'enum': [EVIL, 'b'], 'description': EVIL, 'title': EVIL}, 'p': {'type': 'string', 'pattern': EVIL}}}\n"
        "evil = question(EVIL, bool, instance_id=EVIL, workflow=EVIL, event=EVIL)\nevil.schema = schema",
    )
    form = run(book, "live = live_form(form_of(evil), lambda value: EVIL)\nlive")
    expect(form.get_by_role("heading")).to_contain_text("<script>")
    send(form)
    expect(form.get_by_role("status")).to_contain_text("<img")
    run(book, "live.show(answered(EVIL, bool, EVIL, EVIL))")
    expect(form.locator(".rn-answer")).to_contain_text("<img")
    assert form.locator("img, script").count() == 0
    assert book.page.evaluate("window.caught === undefined")


def test_the_question_of_a_workflow_is_answered_here_and_its_run_goes_on(book: Book, tmp_path: Path) -> None:
    run(
        book,
        "import time\nimport romancy_nb as rn\n@rn.workflow\ndef refund(order):\n"
        "    return 'paid' if rn.ask(f'Refund {order}?') else 'kept'",
    )
    form = run(
        book,
        f"rn.connect({str(tmp_path / 'journal.duckdb')!r})\nhandle = refund.start('order 7')\n"
        "while not (asked := rn.questions()): time.sleep(0.01)\n"
        "live_form(form_of(asked[0]), lambda value: handle.answer(value, question=asked[0].event).says)",
    )
    expect(form.get_by_role("heading", name="Refund order 7?")).to_be_visible()
    form.get_by_label("yes").check()
    send(form)
    expect(form.get_by_role("status")).not_to_have_text("Sending…")
    assert value(book, "handle.result(10)") == "'paid'"
