"""Timelines in JupyterLab on ipykernel 6, which hears a page only between cells: alive then, and until then drawn by the cell."""

from __future__ import annotations

import pytest
from lab import DEADLINE, Lab, eventually
from playwright.sync_api import expect
from test_live_timeline import SETUP, touch

pytest.importorskip("anywidget")
pytestmark = [pytest.mark.kernel, pytest.mark.browser]

SOON = DEADLINE * 1000


@pytest.fixture(scope="module")
def kernel_python(python6: str) -> str:
    return python6


def test_on_ipykernel_6_a_run_is_drawn_while_its_cell_is_busy_and_comes_to_life_at_its_end(lab: Lab) -> None:
    book = lab.open(SETUP, "slow('a')", "import ipykernel; ipykernel.__version__")
    book.run_all(wait=False)
    expect(book.output(1)).to_contain_text("quick", timeout=SOON)
    expect(book.output(1)).to_contain_text("running")
    touch(lab, "a.one")
    expect(book.output(1)).to_contain_text("n=2", timeout=SOON)
    touch(lab, "a.two")
    live = book.output(1).locator(".rn-live")
    expect(live).to_contain_text("completed", timeout=SOON)
    book.wait_for_text("'6.", 2)
    live.locator("[data-id]", has_text="quick").first.click()
    expect(live.locator(".rn-details")).to_contain_text("Input", timeout=SOON)
    eventually(lambda: "completed" in str(book.save().cells[1].outputs), "the file to say how it ended")
    assert "widget-view" not in str(book.save().cells)
    book.is_clean()


def test_on_ipykernel_6_what_runs_in_the_background_is_followed_also_after_a_reload(lab: Lab) -> None:
    book = lab.open(SETUP, "one = slow.start('b')\none", "rn.instances()")
    book.run_all()
    live, table = book.output(1).locator(".rn-live"), book.output(2).locator(".rn-live")
    expect(live).to_contain_text("running", timeout=SOON)
    expect(table).to_contain_text("slow", timeout=SOON)
    touch(lab, "b.one")
    expect(live.locator("[data-id]")).to_have_count(4, timeout=SOON)
    book.save()
    book.load()
    expect(live.locator("[data-id]")).to_have_count(4, timeout=SOON)
    touch(lab, "b.two")
    expect(live).to_contain_text("completed", timeout=SOON)
    expect(table).to_contain_text("completed", timeout=SOON)
    # while a page looks, the static form follows within ten seconds
    eventually(lambda: "completed" in str(book.save().cells[1].outputs), "the file to say how it ended")
    book.restart()
    expect(book.page.locator(".rn-live")).to_have_count(0, timeout=SOON)
    assert "quick" in book.text(1)
    book.is_clean()
