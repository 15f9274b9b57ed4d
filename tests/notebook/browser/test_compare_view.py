"""A comparison in JupyterLab: alive with both lanes, filter and details; static in the file; nothing of a journal is markup."""

from __future__ import annotations

import pytest
from lab import Lab

pytest.importorskip("anywidget")
pytestmark = [pytest.mark.kernel, pytest.mark.browser]

SETUP = """
%load_ext romancy_nb
import romancy_nb as rn, time
@rn.activity
def vw_search(query: str) -> list[str]:
    time.sleep(0.15); return ["cheap", "<b>dear</b>"]
@rn.activity
def vw_rank(found: list[str]) -> str:
    time.sleep(0.1); return found[-1]
@rn.activity
def vw_buy(what: str) -> str:
    time.sleep(0.2); return f"bought {what}"
@rn.activity
def vw_thank(what: str) -> str:
    return f"thanks for {what}"
@rn.workflow
def vw_shopping(query: str) -> str:
    best = vw_rank(vw_search(query))
    got = vw_buy(best)
    return vw_thank(got) if "dear" in got else got
"""
FORK = """
original = vw_shopping.start("a lamp"); original.result()
fork = original.fork(edits={"vw_rank": "cheap"}); fork.result()
original.diff(fork)
"""


def test_a_comparison_lives_filters_shows_details_and_is_static_when_the_kernel_goes(lab: Lab) -> None:
    book = lab.open(SETUP, FORK, "%romancy diff fork")
    book.run_all()
    view = book.output(1).locator(".rn-compare")
    view.wait_for()
    rows = view.locator(".rn-c-row")
    assert [row.get_attribute("class") for row in rows.all()] == [
        "rn-c-row rn-c-same",
        "rn-c-row rn-c-changed",
        "rn-c-row rn-c-changed",
        "rn-c-row rn-c-here",
    ]
    assert "edited, result" in view.inner_text() and "1 same" in view.inner_text()
    assert rows.nth(1).locator(".rn-c-lane").count() == 2 and view.locator(".rn-c-look-ok").count() >= 4
    assert view.locator("b").count() == 0, "what a journal holds is text"
    rows.nth(2).click()
    details = view.locator(".rn-c-details")
    details.locator("code", has_text="bought cheap").wait_for()
    assert "<b>dear</b>" in details.inner_text() and details.locator(".rn-c-differs").count() == 4
    book.screenshot("compare-light", view)
    book.is_accessible(".rn-compare")
    view.locator(".rn-c-list").press("ArrowDown")
    details.get_by_text("does not have this step").wait_for()
    view.get_by_label("only what differs").check()
    view.get_by_text("3 of 4 steps").wait_for()
    view.get_by_label("Find a step").fill("rank")
    view.get_by_text("1 of 4 steps").wait_for()
    view.get_by_label("Find a step").fill("")
    book.theme(dark=True)
    book.screenshot("compare-dark", view)
    book.is_accessible(".rn-compare")
    book.output(2).locator(".rn-compare").wait_for()
    saved = book.save()
    kept = saved.cells[1].outputs[-1]
    assert "data-romancy-live" in kept.data["text/html"] and "widget-view" not in str(saved.cells)
    book.restart()
    view.wait_for(state="detached")
    assert "vw_rank" in book.text(1) and "edited" in book.text(1)
    book.screenshot("compare-static-dark", book.output(1))
    book.theme(dark=False)
    book.screenshot("compare-static-light", book.output(1))
    book.is_clean()
