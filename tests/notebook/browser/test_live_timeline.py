"""Timelines in JupyterLab while their runs go on: alive in the page, static in the file at every moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from lab import DEADLINE, Book, Lab, Server, eventually
from playwright.sync_api import BrowserContext, expect

pytest.importorskip("anywidget")
pytestmark = [pytest.mark.kernel, pytest.mark.browser]

SETUP = """
%load_ext romancy_nb
import asyncio, os, time
from pathlib import Path

@rn.activity
async def step(ctx, gate: str) -> str:
    ctx.progress(1, 4, "first quarter")
    while not os.path.exists(gate):
        await asyncio.sleep(0.02)
    return gate

@rn.activity
def quick(n: int) -> int:
    return n

@rn.workflow
def slow(name: str) -> str:
    quick(1)
    print("printed by the workflow")
    step(f"{name}.one")
    quick(2)
    return step(f"{name}.two")
"""


@pytest.fixture(scope="module")
def lab(jupyter: Server, browser: BrowserContext) -> Iterator[Lab]:
    made = Lab(jupyter, browser)
    yield made
    made.close()


def touch(lab: Lab, name: str) -> None:
    (lab.server.root / name).touch()


def rows(book: Book, cell: int) -> Any:
    return book.output(cell).locator(".rn-live [data-id]")


def static(book: Book) -> str:
    """What the file holds now, with a look at what must never be in it."""
    saved = book.save()
    assert "widget-view" not in str(saved.cells) and "widgets" not in saved.metadata
    return str(saved.cells)


def runs(book: Book, cell: int) -> bool:
    """Is the cell being executed? The kernel's own status is idle as soon as a page's question was answered."""
    return "[*]" in book.cell(cell).locator(".jp-InputPrompt").inner_text()


def test_a_run_is_seen_while_its_cell_is_busy(lab: Lab) -> None:
    book = lab.open(SETUP, "slow('a')")
    book.run_all(wait=False)
    live = book.output(1).locator(".rn-live")
    expect(live).to_contain_text("step", timeout=DEADLINE * 1000)
    expect(live).to_contain_text("quick")
    assert runs(book, 1)
    where = book.text(1)
    assert where.index("quick") < where.index("printed by the workflow")
    static(book)
    touch(lab, "a.one")
    expect(rows(book, 1)).to_have_count(4)
    static(book)
    touch(lab, "a.two")
    expect(book.output(1).locator(".rn-live")).to_contain_text("completed", timeout=DEADLINE * 1000)
    eventually(lambda: "completed" in static(book), "the file to say how it ended")
    book.is_clean()


def test_an_instance_of_the_background_is_followed_in_two_views_until_the_kernel_goes(lab: Lab) -> None:
    book = lab.open(SETUP, "one = slow.start('b')\none", "rn.instance(one.id)")
    book.run_all()
    for cell in (1, 2):
        expect(book.output(cell).locator(".rn-live")).to_contain_text("step", timeout=DEADLINE * 1000)
    touch(lab, "b.one")
    for cell in (1, 2):
        expect(rows(book, cell)).to_have_count(4)
    # what is static follows a moment later, and a page that is loaded again begins with what the file has
    eventually(
        lambda: all("n=2" in str(cell.outputs) for cell in book.save().cells[1:]), "both cells of the file to say it"
    )
    book.load()
    for cell in (1, 2):
        expect(rows(book, cell)).to_have_count(4, timeout=DEADLINE * 1000)
    book.restart()
    expect(book.page.locator(".rn-live")).to_have_count(0)
    assert "quick" in book.text(1) and "quick" in book.text(2)
    book.run_all()
    touch(lab, "b.two")
    for cell in (1, 2):
        expect(book.output(cell).locator(".rn-live")).to_contain_text("completed", timeout=DEADLINE * 1000)
    eventually(lambda: static(book).count("completed") >= 4, "the file to say how it ended, in both cells")
    book.is_clean()
