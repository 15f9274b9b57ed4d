"""What stays in a notebook file of runs that ended, failed, wait or are long, wherever the file is read without a kernel.

The notebook is executed in JupyterLab and saved there. What other readers let through differs: JupyterLab strips what it does not
trust, GitHub drops styles, exports are plain pages.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from lab import Book, Lab, Server
from playwright.sync_api import BrowserContext, Locator, Page, expect

pytest.importorskip("anywidget")
pytestmark = [pytest.mark.kernel, pytest.mark.browser]

VIEW = "application/vnd.jupyter.widget-view+json"
HISTORY = "application/vnd.romancy.history+json"
SETUP = """
import time
import romancy_nb as rn
rn.connect("journal.duckdb")
EVIL = "<img src=x onerror=window.caught=1><script>window.caught=1</script>"

@rn.activity(retry=rn.RetryPolicy(max_attempts=3, initial=0.05))
def fetch(topic):
    if topic == "bats" and rn.context().attempt == 1:
        raise OSError("the line is busy " + EVIL)
    print("fetching", topic)
    time.sleep(0.03)
    return f"{len(topic)} pages about {topic}"

@rn.activity
def tidy(pages):
    return EVIL

@rn.activity
def unbook(room):
    return "given back"

@rn.activity(compensation=unbook)
def book(room):
    return room

@rn.activity(retry=rn.RetryPolicy(max_attempts=1))
def pay(amount):
    raise ValueError("the card was refused")

@rn.activity
def count(number):
    return number

@rn.workflow
def research(topics):
    return tidy(rn.gather(*[lambda topic=topic: fetch(topic) for topic in topics]))

@rn.workflow
def trip(room):
    book(room)
    book("the car")
    pay(120)

@rn.workflow
def approval(what):
    fetch(what)
    return rn.wait_event("approved", timeout=86400)

@rn.workflow
def many(n):
    return len(rn.map(count, range(n)))
"""
CELLS = {
    "completed": "research(['owls', 'bats', 'cats'])",
    "undone": "try:\n    trip('room 5')\nexcept ValueError: pass",
    "waiting": (
        "handle = approval.start('foxes')\n"
        "while not rn.sql(\"SELECT 1 FROM steps WHERE status = 'waiting'\").fetchall(): time.sleep(0.05)\n"
        "handle"
    ),
    "long": "many(2000)",
}


@dataclass(frozen=True)
class Saved:
    """The file, and where each run's cell stands in it."""

    path: Path
    book: nbformat.NotebookNode
    cells: dict[str, int]

    def bundle(self, name: str) -> dict[str, Any]:
        """Return the timeline of a cell."""
        outputs = self.book.cells[self.cells[name]].outputs
        (bundle,) = [output.data for output in outputs if HISTORY in output.get("data", {})]
        return dict(bundle)


@pytest.fixture(scope="module")
def executed(jupyter: Server, browser: BrowserContext) -> Iterator[Book]:
    """The notebook in JupyterLab, with the kernel that executed it."""
    lab = Lab(jupyter, browser)
    made = lab.open(SETUP, *CELLS.values(), name="executed")
    made.run_all()
    yield made
    lab.close()


@pytest.fixture(scope="module")
def saved(executed: Book, jupyter: Server) -> Saved:
    """The same notebook, saved once more by another tool: nobody vouches for it."""
    book = executed.save()
    book.metadata["title"] = "read and written elsewhere"
    path = jupyter.root / "elsewhere.ipynb"
    nbformat.write(book, path)
    return Saved(path, book, {name: number for number, name in enumerate(CELLS, 1)})


@pytest.fixture
def page(browser: BrowserContext) -> Iterator[Page]:
    """An empty page that keeps what it asked for and what went wrong."""
    made = browser.new_page()
    made.set_viewport_size({"width": 1000, "height": 900})
    yield made
    made.close()


def shows_all(book: Book, saved: Saved) -> None:
    """Is everything there, and can it be unfolded?"""
    for name, status in (
        ("completed", "completed"),
        ("undone", "undone"),
        ("waiting", "waiting"),
        ("long", "completed"),
    ):
        output = book.output(saved.cells[name])
        expect(output.locator("table[aria-label], table").first).to_be_visible()
        expect(output).to_contain_text(status)
    first = book.output(saved.cells["completed"])
    expect(first.get_by_text("attempt 1: failed")).to_be_hidden()
    first.locator("summary").filter(has_text='fetch(topic="bats")').click()
    expect(first.get_by_text("attempt 1: failed")).to_be_visible()
    expect(first.get_by_text("the line is busy <img src=x").first).to_be_visible()
    long = book.output(saved.cells["long"])
    assert 20 < long.locator("tbody tr").count() <= 150
    expect(long).to_contain_text("more steps: ")
    assert book.page.evaluate("window.caught") is None


def pictures(book: Book, saved: Saved, name: str) -> None:
    """For people who want to see it, and say so by ``ROMANCY_SCREENSHOTS``."""
    for cell in CELLS if os.environ.get("ROMANCY_SCREENSHOTS") else ():
        book.screenshot(f"saved_{name}_{cell}", book.output(saved.cells[cell]))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_fault_in_the_living_timeline(executed: Book, theme: str) -> None:
    executed.theme(dark=theme == "dark")
    living = executed.page.locator(".rn-live")
    expect(living.first).to_be_visible(timeout=30_000)
    expect(living).to_have_count(len(CELLS), timeout=30_000)
    for number, name in enumerate(CELLS, 1):
        if os.environ.get("ROMANCY_SCREENSHOTS"):
            executed.screenshot(f"living_{theme}_{name}", executed.output(number))
    executed.is_accessible(".rn-live")
    executed.is_clean()


def test_nothing_of_it_needs_a_kernel_and_it_is_small(saved: Saved) -> None:
    for name in CELLS:
        bundle = saved.bundle(name)
        assert set(bundle) == {"text/plain", "text/html", HISTORY}
        assert len(json.dumps(bundle)) < 300_000
    assert VIEW not in json.dumps(saved.book.cells)
    assert bundle[HISTORY]["counts"]["executed"] == 2000


def test_jupyterlab_shows_it_whole_in_a_notebook_that_it_does_not_trust(saved: Saved, lab: Lab) -> None:
    book = lab.show(saved.path)
    trusted = "window.jupyterapp.shell.currentWidget.content.widgets.map(each => each.model.trusted)"
    assert not any(book.page.evaluate(trusted)), "the file must not be trusted, or this tests nothing"
    shows_all(book, saved)
    pictures(book, saved, "lab_light")
    book.theme(dark=True)
    pictures(book, saved, "lab_dark")
    book.page.set_viewport_size({"width": 560, "height": 900})
    table = book.output(saved.cells["completed"]).locator("table").last
    narrow = (
        "table => [...table.rows].every(row => [...row.cells].every(cell => cell.scrollWidth <= cell.clientWidth + 1))"
    )
    assert table.evaluate(narrow), "nothing lies over its neighbour"
    pictures(book, saved, "lab_narrow")
    book.is_clean()


def test_notebook_7_shows_it_too_and_what_is_run_there_lives(saved: Saved, lab: Lab) -> None:
    pytest.importorskip("notebook")
    book = lab.show(saved.path, app="notebook")
    shows_all(book, saved)
    pictures(book, saved, "notebook7")
    cell = book.insert(SETUP.replace('"journal.duckdb"', '"another.duckdb"') + "research(['newts'])")
    book.run(cell)
    expect(book.output(cell).locator(".rn-live")).to_contain_text("completed")
    book.is_clean()


def test_an_exported_page_needs_nothing_else_and_has_no_fault_that_axe_finds(
    saved: Saved, page: Page, tmp_path: Path
) -> None:
    nbconvert = pytest.importorskip("nbconvert")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for theme in ("light", "dark"):
        # the page's own frame would fetch these, with or without our outputs
        exporter = nbconvert.HTMLExporter(
            theme=theme, require_js_url="", jquery_url="", mathjax_url="", mermaid_js_url=""
        )
        file = tmp_path / f"{theme}.html"
        file.write_text(exporter.from_notebook_node(saved.book)[0], "utf-8")
        page.goto(file.as_uri())
        tables = page.locator("table").filter(has_text="Timeline")
        expect(tables).to_have_count(len(CELLS))
        expect(tables.first).to_be_visible()
        for cell, table in zip(CELLS, tables.all(), strict=True):
            keep(table, f"saved_exported_{theme}_{cell}")
        found = axe.run(page, context=[".jp-RenderedHTMLCommon table", ".jp-RenderedHTMLCommon details"])
        assert found.violations_count == 0, found.generate_report()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("window.caught") is None


def keep(table: Locator, name: str) -> None:
    """The same of a page that is no notebook."""
    if folder := os.environ.get("ROMANCY_SCREENSHOTS"):
        table.locator("xpath=../..").screenshot(path=str(Path(folder) / f"{name}.png"))


def test_as_markdown_it_is_read_as_text(saved: Saved) -> None:
    nbconvert = pytest.importorskip("nbconvert")
    exporter = nbconvert.MarkdownExporter()
    text, _ = exporter.from_notebook_node(saved.book)
    assert "research" in text and "fetch" in text and "attempt 2" in text


STRIPPED = """html => {
    const parsed = new DOMParser().parseFromString(html, 'text/html');
    for (const each of parsed.querySelectorAll('script, style, svg')) each.remove();
    for (const each of parsed.querySelectorAll('*')) {
        for (const {name} of [...each.attributes]) {
            if (/^(style$|class$|role$|on|data-|aria-)/.test(name)) each.removeAttribute(name);
        }
    }
    document.body.replaceChildren(...parsed.body.childNodes);
}"""


def test_where_styles_are_dropped_the_bars_are_characters(saved: Saved, page: Page) -> None:
    """As GitHub shows notebooks: tables and ``details`` stay, styles and what tells of roles go."""
    for cell in CELLS:
        page.set_content("<main></main>")
        page.evaluate(STRIPPED, saved.bundle(cell)["text/html"])
        bars = page.locator("tbody code").filter(has_text=re.compile("[█░×▓◂─]"))
        expect(bars.first).to_be_visible()
        if cell == "undone":
            said = page.locator("tbody tr").filter(has_text="pay")
            expect(said).to_contain_text("×")
            expect(said).to_contain_text("failed")
        keep(page.locator("table").first, f"saved_bare_{cell}")
    assert page.evaluate("window.caught") is None
