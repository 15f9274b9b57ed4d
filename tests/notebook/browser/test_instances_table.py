"""The table of instances in JupyterLab: ten thousand of them, looked through by a person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from filled import HOSTILE, T0, fill, history
from lab import Book, Lab, Server, eventually
from playwright.sync_api import BrowserContext, Locator, expect

pytest.importorskip("anywidget")
pytestmark = [pytest.mark.kernel, pytest.mark.browser]

COUNT = 10_000
PATIENCE = 30_000
"""ms that a busy machine may take; a frame takes a few."""


@pytest.fixture(scope="module")
def journal_10k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "journal.duckdb"
    hostile = history(7, "failed", T0 + 10**13, name=HOSTILE, workflow=HOSTILE)
    fill(path, COUNT, (10**6, hostile))
    return path


@pytest.fixture(scope="module")
def book(jupyter: Server, browser: BrowserContext, journal_10k: Path) -> Iterator[Book]:
    lab = Lab(jupyter, browser)
    made = lab.open(
        f"%load_ext romancy_nb\nimport romancy_nb as rn\nrn.connect({str(journal_10k)!r})\n"
        "@rn.workflow\ndef brand_new(name): return name",
        "rn.instances()",
    )
    made.run_all()
    expect.set_options(timeout=PATIENCE)
    made.complaints.clear()  # of the server's own start
    yield made
    expect.set_options(timeout=5_000)
    lab.close()


@pytest.fixture
def table(book: Book) -> Iterator[Locator]:
    found = book.output(1).locator(".rn-instances")
    found.wait_for()
    yield found
    assert book.page.evaluate("() => window.hacked") is None, "a name from the journal was run as a script"
    book.is_clean()


def rows(table: Locator) -> Locator:
    return table.locator(".rn-inner > .rn-irow[data-id]")


def test_ten_thousand_scroll_and_the_page_holds_only_what_is_seen(book: Book, table: Locator) -> None:
    expect(table.locator(".rn-count")).to_have_text(f"{COUNT + 1:,} instances")
    expect(table.locator(".rn-igroup").first).to_contain_text("Wants somebody")
    first = rows(table).first
    assert first.locator(".rn-badge").get_attribute("data-state") == "compensation_failed"
    expect(first).to_contain_text("no van for")
    assert rows(table).count() < 60
    book.screenshot("instances-light", table)
    book.is_accessible(".rn-instances")
    scroller = table.locator(".rn-scroller")
    slowest = scroller.evaluate(
        """async (node) => {
            let slowest = 0;
            for (let i = 1; i <= 40; i++) {
                const began = performance.now();
                node.scrollTop = node.scrollHeight * i / 40;
                await new Promise(requestAnimationFrame);
                await new Promise(requestAnimationFrame);
                slowest = Math.max(slowest, performance.now() - began);
            }
            return slowest;
        }"""
    )
    assert slowest < 3_000, f"a frame took {slowest:.0f} ms"
    expect(table.locator("[data-id='invoice-00000']")).to_be_visible()
    assert rows(table).count() < 60
    scroller.focus()
    book.page.keyboard.press("Home")
    expect(first).to_be_visible()


def test_filters_count_what_they_would_show(book: Book, table: Locator) -> None:
    table.locator(".rn-chip[data-state='stuck']").click()
    expect(table.locator(".rn-count")).to_have_text(f"25 of {COUNT + 1:,}")
    assert set(rows(table).locator(".rn-badge").evaluate_all("all => all.map(each => each.dataset.state)")) == {"stuck"}
    table.get_by_label("Workflow").select_option("order_workflow")
    expect(table.locator(".rn-count")).to_contain_text("of 3,334")
    table.locator(".rn-chip[data-state='stuck']").click()
    table.get_by_label("Search instances").fill("lamp 77")  # stands in their inputs only
    expect(table.locator(".rn-count")).to_have_text("36 instances")
    table.get_by_label("Workflow").select_option("")
    table.get_by_label("Search instances").fill("<script>")
    expect(table.locator(".rn-count")).to_have_text("1 instances")
    expect(rows(table).first).to_contain_text("<script>window.hacked")
    table.get_by_label("Search instances").fill("")
    table.get_by_role("button", name="Instance", exact=True).click()
    expect(rows(table).nth(1)).to_have_attribute("data-id", "invoice-00000")
    expect(table.locator("[aria-sort='ascending']")).to_have_text("Instance")
    table.get_by_role("button", name="Instance", exact=True).click()
    table.get_by_role("button", name="Instance", exact=True).click()
    expect(table.locator("[aria-sort]")).to_have_count(0)
    expect(rows(table).first.locator(".rn-badge")).to_have_attribute("data-state", "compensation_failed")


def test_one_is_opened_in_place_by_the_keyboard(book: Book, table: Locator) -> None:
    scroller = table.locator(".rn-scroller")
    scroller.focus()
    book.page.keyboard.press("Home")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        book.page.keyboard.press(key)
    opened = rows(table).nth(2)
    expect(opened).to_have_attribute("aria-expanded", "true")
    name = opened.get_attribute("data-id")
    timeline = table.locator(".rn-opened .rn-timeline")
    expect(timeline).to_contain_text("reserve")
    above, below = opened.bounding_box(), timeline.bounding_box()
    assert above and below and below["y"] >= above["y"] + above["height"] - 1, "it stands under its row"
    book.screenshot("instances-opened", table)
    scroller.focus()
    book.page.keyboard.press("Escape")
    expect(table.locator(".rn-opened")).to_be_hidden()
    expect(table.locator(f"[data-id='{name}']")).to_have_attribute("aria-expanded", "false")


def test_what_is_new_appears_by_itself_and_all_can_be_read_narrow_and_dark(book: Book, table: Locator) -> None:
    book.run(book.insert("brand_new.start('x', instance_id='brand-new').result(30)"))
    expect(table.locator(".rn-count")).to_have_text(f"{COUNT + 2:,} instances")
    table.get_by_label("Time of the last event").select_option("1h")
    expect(rows(table).last).to_be_visible()
    table.get_by_label("Search instances").fill("brand-new")
    expect(rows(table).first).to_contain_text("brand-new")
    table.get_by_label("Search instances").fill("")
    table.get_by_label("Time of the last event").select_option("")
    expect(table.locator(".rn-count")).to_have_text(f"{COUNT + 2:,} instances")
    book.theme(dark=True)
    book.screenshot("instances-dark", table)
    book.is_accessible(".rn-instances")
    book.page.set_viewport_size({"width": 620, "height": 900})
    book.command("application:toggle-left-area")
    expect(table).to_have_attribute("data-narrow", "true")
    book.screenshot("instances-narrow", table)
    book.is_accessible(".rn-instances")
    box = table.bounding_box()
    assert box and table.evaluate("node => node.scrollWidth <= node.clientWidth + 1"), "nothing is cut at the side"
    saved = eventually(lambda: str(book.save().cells[1].outputs), "the notebook to be saved")
    assert "and 9,951 more" in saved
    assert "<script>" not in saved
