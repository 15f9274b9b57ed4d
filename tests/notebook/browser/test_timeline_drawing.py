"""How a timeline is drawn and used, without a kernel: its view comes from a history, and a test answers what it asks.

Pictures of it are kept where ``ROMANCY_SCREENSHOTS`` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from canvas import Canvas
from playwright.sync_api import Page, expect

from romancy_nb.widgets.axis import axis_of, segments
from romancy_nb.words import duration
from tests.widgets import drawn
from tests.widgets.histories import HOUR, S, T, order, undone

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def only_page(browser: BrowserContext) -> Iterator[Page]:
    made = browser.new_page()
    yield made
    made.close()


@pytest.fixture
def canvas(only_page: Page, tmp_path: Path) -> Iterator[Canvas]:
    made = Canvas(only_page, tmp_path)
    made.load()
    yield made
    assert made.complaints == []
    made.leave()


def row(page: Page, id: str) -> Any:
    return page.locator(f'.rn-trow[data-id="{id}"]')


def looks(page: Page, id: str) -> list[str]:
    found: list[str] = row(page, id).locator(".rn-piece").evaluate_all("all => all.map(each => each.dataset.look)")
    return found


def nothing(**more: Any) -> dict[str, Any]:
    none = {"kind": "none"}
    return {"input": none, "output": none, "error": None, "attempts": [], "outputs": [], "code": None,
            "timing": [], "key": "", "attributes": [], "question": None, "wait": None, **more}  # fmt: skip


@pytest.mark.parametrize(
    ("colour", "dark"),
    [("rgb(230, 232, 235)", "true"), ("rgb(28, 30, 33)", "false"), ("color(srgb 0.92 0.93 0.93)", "true"),
     ("color(display-p3 0.1 0.1 0.1)", "false"), ("oklch(0.9 0.02 250)", "true"), ("lab(12 0 0)", "false")],
)  # fmt: skip
def test_a_dark_frontend_is_known_by_its_text_in_whichever_notation_a_colour_is(
    canvas: Canvas, colour: str, dark: str
) -> None:
    canvas.page.evaluate("document.body.removeAttribute('data-jp-theme-light')")
    canvas.page.evaluate("colour => { document.querySelector('#root').style.color = colour }", colour)
    canvas.draw(drawn.view(order()))
    assert canvas.page.locator("[data-dark]").first.get_attribute("data-dark") == dark


# -- the axis ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["order", "saga", "branches", "working"])
def test_the_axis_and_the_bars_are_those_of_the_static_form(canvas: Canvas, name: str) -> None:
    story = order() if name == "order" else getattr(drawn, name)()
    live = name == "working"
    snap = drawn.snap(story, now=T + 30 * S if live else 0, alive=live)
    view = drawn.view(story, now=T + 30 * S if live else 0, alive=live)
    there = canvas.page.evaluate(
        """view => {
            const axis = romancy.timelineAxis(romancy.timelineSpans(view.rows, view.started), view.as_of);
            const pieces = Object.fromEntries(view.rows.map(row => [row.id, romancy.timelinePieces(row, axis, view.as_of)]));
            return {start: axis.start, end: axis.end, folds: axis.folds, knots: axis.knots, pieces};
        }""",
        view,
    )
    axis = axis_of(snap)
    assert (there["start"], there["end"]) == (axis.start, axis.end)
    assert [tuple(fold) for fold in there["folds"]] == list(axis.folds)
    for (time, share), (there_time, there_share) in zip(axis.knots, there["knots"], strict=True):
        assert (there_time, there_share) == (time, pytest.approx(share))
    for step in snap.steps:
        here = [(piece.look, piece.left, piece.right) for piece in segments(step, axis, snap.as_of)]
        drawn_there = [tuple(piece[:3]) for piece in there["pieces"][step.call]]
        assert drawn_there == [(look, pytest.approx(a), pytest.approx(b)) for look, a, b in here], step.call


def test_durations_have_the_words_of_python(canvas: Canvas) -> None:
    spans = [0, 250, 3_000, 999_400, 1_240_000, 9_949_999, 41_400_000, 303_000_000, 7_500_000_000, 300 * HOUR]
    assert canvas.page.evaluate("all => all.map(romancy.duration)", spans) == [duration(us) for us in spans]


# -- what is to be seen -----------------------------------------------------------------------------------------------


def test_attempts_the_wait_between_them_and_what_came_from_the_journal_are_told_apart(canvas: Canvas) -> None:
    canvas.draw(drawn.order_view())
    page = canvas.page
    assert looks(page, "0:0") == ["journal"]
    assert looks(page, "0:2") == ["failed", "wait", "failed", "wait", "ok"]
    assert looks(page, "0:3") == ["wait"]
    expect(page.locator(".rn-gap")).to_have_count(2)
    expect(page.locator(".rn-badge-of")).to_have_text("✓ completed")
    expect(page.locator(".rn-summary")).to_contain_text("2 from journal · 2 executed")
    expect(row(page, "0:2").locator(".rn-track")).to_have_attribute(
        "aria-label", "charge(amount=250, key=•••): executed, attempt 3, 3 attempts, 6.0 s"
    )
    canvas.picture("timeline-order")


def test_the_undo_lane_stands_below_and_each_undo_is_tied_to_what_it_undoes(canvas: Canvas) -> None:
    canvas.draw(drawn.view(drawn.saga()))
    page = canvas.page
    names = page.locator(".rn-trow .rn-name").all_inner_texts()
    assert names == [
        "book_flight", "book_hotel", "book_car", "charge_card", "Undone, the last first", "drop_car", "drop_hotel", "drop_flight",
    ]  # fmt: skip
    assert looks(page, "undo:0:1") == ["failed", "wait", "undo"]
    expect(row(page, "0:1").locator(".rn-note")).to_have_text("undone ↩")
    row(page, "undo:0:1").hover()
    assert page.locator(".rn-tied").evaluate_all("all => all.map(each => each.dataset.id)") == ["0:1", "undo:0:1"]
    expect(page.locator(".rn-tie")).to_be_visible()
    canvas.picture("timeline-undo")
    row(page, "0:0").focus()
    assert page.locator(".rn-tied").evaluate_all("all => all.map(each => each.dataset.id)") == ["0:0", "undo:0:0"]
    row(page, "lane:undo").locator(".rn-twist").click()
    expect(page.locator(".rn-trow")).to_have_count(5)


def test_a_step_whose_undo_failed_is_not_said_to_be_undone(canvas: Canvas) -> None:
    canvas.draw(drawn.view(undone()))
    expect(row(canvas.page, "0:1").locator(".rn-note")).to_have_text("undone ↩")
    expect(row(canvas.page, "0:0").locator(".rn-note")).to_have_text("")
    assert "undone" not in (row(canvas.page, "0:0").locator(".rn-track").get_attribute("aria-label") or "")


def test_running_bars_grow_by_the_browsers_clock_and_stop_when_the_run_ends(canvas: Canvas) -> None:
    view = drawn.view(drawn.working(), now=T + 30 * S, alive=True)
    pages = next(each for each in view["rows"] if each["name"] == "pages")
    pages["progress"] = {"done": 120, "total": 400, "text": "pages", "rate": 4.2, "left_us": 67 * S}
    canvas.draw(view)
    page = canvas.page
    expect(row(page, "0.0:0").locator(".rn-note")).to_contain_text("120 of 400, 4.2/s, 1 min 07 s left: pages")
    before = row(page, "0:0").locator(".rn-piece").bounding_box()["width"]  # type: ignore[index]
    page.wait_for_function(
        "before => document.querySelector('.rn-trow[data-id=\"0:0\"] .rn-piece').getBoundingClientRect().width < before - 0.2",
        arg=before,
    )
    canvas.picture("timeline-working")
    done = {**pages, "status": "completed", "look": "ok", "note": "", "finished": T + 31 * S, "progress": None}
    done["attempts"] = [[1, T + S, T + 31 * S, "ok"]]
    canvas.update(
        rows={pages["id"]: done},
        set={"status": "failed", "words": "failed", "live": False, "finished": T + 32 * S, "as_of": T + 32 * S},
    )
    expect(page.locator(".rn-badge-of")).to_have_text("✗ failed")
    expect(page.locator(".rn-hear")).to_have_text("crawl, run 1: failed")
    assert looks(page, pages["id"]) == ["ok"]


# -- many rows --------------------------------------------------------------------------------------------------------


def test_ten_thousand_rows_are_drawn_at_once_and_scroll_without_dropped_work(canvas: Canvas) -> None:
    page = canvas.page
    page.evaluate("text => { window.big = JSON.parse(text) }", json.dumps(drawn.steps(10_000)))
    took = page.evaluate(
        """async () => {
            const began = performance.now();
            window.draw("timeline", window.big);
            document.querySelector(".rn-scroll").getBoundingClientRect();
            return performance.now() - began;
        }"""
    )
    assert took < 2000
    assert page.locator(".rn-trow").count() < 60
    page.locator(".rn-trow").first.focus()
    page.keyboard.press("End")
    expect(row(page, "0.9999:0")).to_be_focused()
    expect(page.locator(".rn-scroll")).to_have_attribute("aria-rowcount", "10001")
    expect(row(page, "0.9999:0")).to_have_attribute("aria-rowindex", "10001")
    usual = page.evaluate(
        """async () => {
            const scroll = document.querySelector(".rn-scroll");
            const all = [];
            for (let place = 0; place < 60; place++) {
                const began = performance.now();
                scroll.scrollTop = place * 4000;
                scroll.dispatchEvent(new Event("scroll"));
                scroll.getBoundingClientRect();
                all.push(performance.now() - began);
                if (place % 10 === 0) {
                    const middle = scroll.getBoundingClientRect();
                    const at = document.elementFromPoint(middle.left + 60, middle.top + middle.height / 2);
                    if (!at.closest(".rn-trow")) throw new Error(`nothing is drawn at ${place}`);
                }
            }
            return all.sort((a, b) => a - b)[30];
        }"""
    )
    assert usual < 100  # ms, also where others work beside this


def test_a_change_draws_its_row_and_no_other(canvas: Canvas) -> None:
    view = drawn.steps(1000)
    canvas.draw(view)
    page = canvas.page
    row(page, "0.3:0").focus()
    page.evaluate(
        """() => {
            window.touched = new Set();
            window.kept = document.querySelector('.rn-trow[data-id="0.3:0"]');
            new MutationObserver(all => all.forEach(each => {
                const row = (each.target.closest ? each.target : each.target.parentElement).closest(".rn-trow");
                if (row) window.touched.add(row.dataset.id);
            })).observe(
                document.querySelector(".rn-space"), {subtree: true, childList: true, attributes: true, characterData: true}
            );
        }"""
    )
    changed = {**view["rows"][5], "status": "failed", "look": "failed", "note": "failed"}
    canvas.update(rows={"0.5:0": changed})
    expect(row(page, "0.5:0").locator(".rn-mark")).to_have_text("✗")
    assert page.evaluate("() => [...window.touched]") == ["0.5:0"]
    fresh = {**view["rows"][5], "id": "0.1000:0", "name": "late", "label": "late()"}
    canvas.update(rows={"0.1000:0": fresh}, append=["0.1000:0"], gone=["0.0:0"])
    expect(page.locator(".rn-scroll")).to_have_attribute("aria-rowcount", "1001")
    expect(row(page, "0.0:0")).to_have_count(0)
    expect(row(page, "0.3:0")).to_be_focused()
    assert page.evaluate("() => window.kept.isConnected")
    page.keyboard.press("End")
    expect(row(page, "0.1000:0")).to_be_focused()


# -- the keyboard, search and zoom ------------------------------------------------------------------------------------


def test_everything_is_reached_by_keyboard_and_keys_do_not_get_out(canvas: Canvas) -> None:
    canvas.draw(drawn.view(drawn.branches()), details=nothing())
    page = canvas.page
    page.evaluate(
        "() => { window.out = []; document.addEventListener('keydown', event => window.out.push(event.key)) }"
    )
    row(page, "0:0").focus()
    page.keyboard.press("ArrowDown")
    expect(row(page, "branch:0.0")).to_be_focused()
    expect(page.locator(".rn-trow[tabindex='0']")).to_have_count(1)
    page.keyboard.press("ArrowLeft")
    expect(row(page, "branch:0.0")).to_have_attribute("aria-expanded", "false")
    expect(row(page, "0.0:0")).to_have_count(0)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(row(page, "0.0:0")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(row(page, "branch:0.0")).to_be_focused()
    page.keyboard.press("End")
    expect(row(page, "0:2")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".rn-details")).to_be_visible()
    assert canvas.asked() == [["details", {"id": "0:2"}]]
    page.keyboard.press("Escape")
    expect(page.locator(".rn-details")).to_be_hidden()
    expect(row(page, "0:2")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Search steps")).to_be_focused()
    page.keyboard.type("summa")
    assert page.locator(".rn-trow[data-kind=activity] .rn-name").all_inner_texts() == ["summarise"] * 3
    expect(page.locator(".rn-count")).to_have_text("3 of 9 steps")
    page.keyboard.press("Escape")
    expect(page.locator(".rn-trow")).to_have_count(12)
    assert page.evaluate("() => window.out") == []


def test_a_status_is_chosen_and_what_is_zoomed_to_comes_near(canvas: Canvas) -> None:
    canvas.draw(drawn.view(drawn.saga()))
    page = canvas.page
    page.get_by_role("button", name="failed").click()
    assert page.locator(".rn-trow .rn-name").all_inner_texts() == ["charge_card"]
    page.get_by_role("button", name="failed").click()
    bar = row(page, "0:1").locator(".rn-piece")
    before = bar.bounding_box()
    assert before is not None
    page.mouse.move(before["x"] + before["width"] / 2, before["y"] + 4)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -240)
    page.keyboard.up("Control")
    page.wait_for_function(
        "width => document.querySelector('.rn-trow[data-id=\"0:1\"] .rn-piece').getBoundingClientRect().width > width * 1.4",
        arg=before["width"],
    )
    near = bar.bounding_box()
    assert near is not None
    assert abs(near["x"] + near["width"] / 2 - before["x"] - before["width"] / 2) < near["width"] / 4
    page.mouse.down()
    page.mouse.move(before["x"] + 60, before["y"] + 4, steps=4)
    page.mouse.up()
    assert bar.bounding_box()["x"] > near["x"] + 20  # type: ignore[index]
    expect(page.locator(".rn-details")).to_be_hidden()
    row(page, "0:1").focus()
    page.keyboard.press("0")
    assert bar.bounding_box()["width"] == pytest.approx(before["width"], abs=0.5)  # type: ignore[index]


# -- details and acting -----------------------------------------------------------------------------------------------


def test_details_show_values_errors_code_and_how_to_act(canvas: Canvas) -> None:
    value = {"customer": "ada", "lines": [{"item": "lamp"}], "many": list(range(200))}
    trace = 'Traceback (most recent call last):\n  File "cell 3", line 4, in charge_card\nshop.Declined: no money left'
    found = nothing(
        input={"kind": "json", "value": value, "truncated": False},
        output={"kind": "table", "columns": ["item", "price"], "rows": [["lamp", 40.5]], "shape": [7, 2]},
        error={"type": "shop.Declined", "message": "no money left", "traceback": trace},
        attempts=[
            {"number": n, "started": T, "finished": T + S, "outcome": "failed", "error": "shop.Declined: no"}
            for n in (1, 2)
        ],
        outputs=[{"kind": "text", "name": "stdout", "text": "asking the bank", "mime": "text/plain"}],
        code={"then": "a", "now": "b", "diff": "--- then\n+++ now\n-a\n+b", "changed": True, "reads": []},
        key="order-7/0:3",
        attributes=[["model", "m-1"]],
    )  # fmt: skip
    view = drawn.view(drawn.saga())
    next(each for each in view["rows"] if each["id"] == "0:3")["actions"] = ["retry", "code"]  # as before it was undone
    canvas.draw(
        view,
        details=found,
        act={"said": "It is tried again."},
        code={"code": "rn.instance('order-7').retry()"},
    )
    page = canvas.page
    row(page, "0:3").click()
    panel = page.get_by_role("region", name="charge_card(amount=1290)")
    for text in (
        "no money left",
        "asking the bank",
        "It was edited since this step ran.",
        "order-7/0:3",
        "m-1",
        "7 rows × 2 columns, the first 1 shown",
    ):
        expect(panel.get_by_text(text).first).to_be_visible()
    panel.get_by_text("many:").click()
    expect(panel.get_by_role("button", name="140 more")).to_be_visible()
    assert panel.locator(".rn-diff [data-line=new]").inner_text() == "+b\n"
    canvas.picture("timeline-details")
    panel.get_by_role("button", name="Retry this step").click()
    expect(panel.get_by_role("status")).to_have_text("It is tried again.")
    panel.get_by_role("button", name="Copy as code").click()
    expect(panel.locator(".rn-extra pre").first).to_have_text("rn.instance('order-7').retry()")
    assert ["act", {"action": "retry", "id": "0:3", "arguments": {}}] in canvas.asked()


def test_a_question_is_answered_in_place_and_what_is_wrong_stands_beside_the_field(canvas: Canvas) -> None:
    view = drawn.order_view()
    view["rows"][2] = {
        **view["rows"][2],
        "kind": "question",
        "label": "Approve?",
        "status": "waiting",
        "look": "waiting",
        "actions": ["answer"],
    }
    field = {"kind": "boolean", "name": "yes", "label": "Yes", "required": True}
    form = {"status": "open", "question": ["Approve?"], "ways": [], "root": {"kind": "object", "fields": [field]}}
    refused = {"fails": "does not fit", "problems": [["yes", "not today"]]}
    canvas.draw(view, details=nothing(question={"text": "Approve?", "form": form}), act=refused)
    page = canvas.page
    row(page, "0:2").click()
    page.get_by_label("yes", exact=True).check()
    canvas.update(
        rows={"0:2": {**view["rows"][2], "note": "waits, 1 answer did not fit", "actions": ["answer", "send"]}}
    )
    expect(page.get_by_label("yes", exact=True)).to_be_checked()
    page.get_by_role("button", name="Send answer").click()
    expect(page.locator(".rn-problem").get_by_text("not today")).to_be_visible()
    assert canvas.asked()[-1] == ["act", {"action": "answer", "id": "0:2", "arguments": {"value": {"yes": True}}}]


def test_an_event_is_sent_and_what_cannot_be_taken_back_is_asked_first(canvas: Canvas) -> None:
    view = drawn.view(drawn.working(), now=T + 30 * S, alive=True)
    canvas.draw(view, act={"said": "Asked to cancel."})
    page = canvas.page
    page.get_by_role("button", name="Send an event").click()
    page.get_by_label("Name of the event").fill("go")
    page.get_by_label("What it carries, as JSON").fill("{no")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("This is no JSON")
    page.get_by_label("What it carries, as JSON").fill('{"a": 1}')
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".rn-said-of").first).to_have_text("Asked to cancel.")
    assert canvas.asked() == [["act", {"action": "send", "arguments": {"event": "go", "payload": {"a": 1}}}]]
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.get_by_role("button", name="No")).to_be_focused()
    assert len(canvas.asked()) == 1
    page.locator(".rn-danger").click()
    page.wait_for_function("() => window.asked.length === 2")


def test_a_step_in_doubt_is_settled_and_a_fork_given_another_result_by_forms_that_can_be_copied_as_code(
    canvas: Canvas,
) -> None:
    view = drawn.view(drawn.working(), alive=False)
    canvas.draw(view, details=nothing(), act={"said": "Noted."}, code={"code": "rn"})
    page = canvas.page
    panel = page.locator(".rn-details")
    row(page, "0.0:0").click()
    page.get_by_role("button", name="Say what became of it").click()
    panel.get_by_label("What became of it").select_option("failed")
    panel.get_by_label("Its result").fill("no money")
    panel.get_by_label("A note").fill("by telephone")
    canvas.picture("timeline-resolve")
    panel.get_by_role("button", name="Copy this as code").click()
    expect(panel.locator("form pre")).to_have_text("rn")
    ran = view["rows"][1]
    canvas.update(rows={"0.0:0": {**ran, "status": "failed", "actions": ["retry", "code"]}})  # while the form is there
    expect(panel.get_by_label("A note")).to_have_value("by telephone")
    panel.get_by_role("button", name="Note it").click()
    expect(page.get_by_role("button", name="Retry this step")).to_be_visible()
    expect(panel.locator(".rn-said-of")).to_have_text("Noted.")
    canvas.update(rows={"0.0:0": ran})
    said = {"outcome": "failed", "note": "by telephone", "resume": True, "text": "no money"}
    assert canvas.asked()[1:3] == [
        [what, {"id": "0.0:0", "action": "resolve", "arguments": said}] for what in ("code", "act")
    ]
    page.get_by_role("button", name="Say what became of it").click()
    panel.get_by_label("What became of it").select_option("not_executed")
    expect(panel.get_by_label("Its result")).to_be_hidden()
    row(page, "0:0").click()
    for text in ("", '{"price": 80}'):
        page.get_by_role("button", name="Fork from here").click()
        panel.get_by_label("Another result").fill(text)
        canvas.picture("timeline-fork")
        panel.get_by_role("button", name="Fork", exact=True).click()
        expect(panel.locator("form")).to_have_count(0)
        given = {"text": text} if text else {}
        assert canvas.asked()[-1] == ["act", {"id": "0:0", "action": "fork", "arguments": given}]


def test_other_runs_are_tabs_and_news_of_the_newest_does_not_disturb_them(canvas: Canvas) -> None:
    newest, first = drawn.order_view(), drawn.view(drawn.saga())
    runs = [
        {"number": n, "status": status, "words": status, "reason": "", "started": T, "finished": T}
        for n, status in ((1, "compensated"), (2, "completed"))
    ]
    newest["runs"] = first["runs"] = runs
    canvas.draw(newest, run=first)
    page = canvas.page
    page.get_by_role("tab", name="run 1").click()
    expect(row(page, "undo:0:1")).to_be_visible()
    canvas.update(set={"words": "changed meanwhile"})
    expect(page.locator(".rn-badge-of")).to_have_text("↩ undone")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".rn-badge-of")).to_have_text("✓ changed meanwhile")
    expect(row(page, "0:4")).to_be_visible()


def test_the_rows_of_a_child_unfold_under_it(canvas: Canvas) -> None:
    view = drawn.order_view()
    view["rows"][2] = {**view["rows"][2], "kind": "child", "child": "sub-1"}
    canvas.draw(view, children=drawn.view(drawn.branches())["rows"])
    page = canvas.page
    row(page, "0:2").focus()
    page.keyboard.press("ArrowRight")
    expect(row(page, "0:2/branch:0.1")).to_have_attribute("aria-level", "2")
    expect(row(page, "0:2")).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".rn-trow")).to_have_count(5)


# -- texts, colours, widths -------------------------------------------------------------------------------------------


def test_texts_from_a_history_are_only_text(canvas: Canvas) -> None:
    evil = drawn.EVIL
    value = {"kind": "json", "value": {evil: [evil]}, "truncated": True}
    found = nothing(
        input=value, output={"kind": "table", "columns": [evil], "rows": [[evil]], "shape": [1, 1]},
        error={"type": evil, "message": evil, "traceback": evil}, key=evil,
        attributes=[[evil, evil]], timing=[[evil, evil]],
        attempts=[{"number": 1, "started": T, "finished": None, "outcome": "failed", "error": evil, "traceback": evil}],
        outputs=[
            {"kind": "html-text", "name": evil, "text": evil, "mime": "text/html"},
            {"kind": "image", "name": "", "mime": "text/html", "data": evil},
        ],
        code={"then": evil, "now": evil, "diff": evil, "changed": True, "reads": [evil]},
    )  # fmt: skip
    canvas.draw({**drawn.view(drawn.hostile()), "notebook": evil, "hint": evil}, details=found, act={"said": evil})
    page = canvas.page
    row(page, "0:1").click()
    expect(page.locator(".rn-detail-body").get_by_text("Idempotency key")).to_be_visible()
    expect(row(page, "0:0").locator(".rn-name")).to_have_text(evil)
    assert page.locator(".rn-timeline :is(img, script, svg)").count() == 0
    assert page.evaluate("() => window.caught === undefined")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_narrow_columns_and_its_texts_can_be_read_in_both_colours(canvas: Canvas, dark: bool) -> None:
    canvas.load(dark=dark, width=420)
    canvas.draw(drawn.view(drawn.saga()), details=nothing(key="k"))
    page = canvas.page
    box = row(page, "0:0")
    name, track = box.locator(".rn-name").bounding_box(), box.locator(".rn-track").bounding_box()
    assert name is not None and track is not None
    assert name["y"] + name["height"] <= track["y"] + 2 and track["width"] > 300
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    row(page, "0:3").click()
    canvas.picture(f"timeline-narrow-{'dark' if dark else 'light'}")
    page.set_viewport_size({"width": 980, "height": 900})
    page.wait_for_function("() => !document.querySelector('.rn-timeline').classList.contains('rn-narrow')")
    page.locator(".rn-summary").hover()
    faint = page.evaluate(_CONTRAST)
    assert faint == []
    canvas.picture(f"timeline-wide-{'dark' if dark else 'light'}")


def test_no_fold_lies_over_a_name_where_names_stand_above_the_bars(canvas: Canvas) -> None:
    canvas.load(width=420)
    canvas.draw(drawn.order_view())
    wash = "all => all.map(each => getComputedStyle(each, '::after').backgroundImage)"
    assert canvas.page.locator(".rn-gap").evaluate_all(wash) == ["none", "none"]
    canvas.picture("timeline-narrow-folds")


_CONTRAST = """() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const over = (colours) => {
        canvas.clearRect(0, 0, 1, 1);
        for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (rgb) => rgb.map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
    const wrong = [];
    for (const node of document.querySelectorAll('.rn-timeline *')) {
        const own = [...node.childNodes].some(each => each.nodeType === 3 && each.textContent.trim());
        if (!own || node.closest('.rn-piece, .rn-hear, .rn-hair') || !node.getClientRects().length) continue;
        const grounds = [];
        for (let each = node; each; each = each.parentElement) grounds.unshift(getComputedStyle(each).backgroundColor);
        const [ground, text] = [light(over(grounds)), light(over([...grounds, getComputedStyle(node).color]))];
        const ratio = (Math.max(ground, text) + 0.05) / (Math.min(ground, text) + 0.05);
        if (ratio < 4.5) wrong.push([node.className, node.textContent, ratio.toFixed(2)]);
    }
    return wrong;
}"""
