"""What stands in the notebook file: text, HTML and JSON, the same bytes for the same history."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from unittest.mock import Mock

import pytest

from romancy_nb.core import events as ev
from romancy_nb.widgets.axis import axis_of, segments
from romancy_nb.widgets.fallback import HISTORY_MIME, history_json, html, mimebundle, text
from romancy_nb.widgets.layout import Gap, shown_rows
from romancy_nb.widgets.marks import MARKS
from romancy_nb.widgets.snapshot import RunLine, Snapshot, snapshot
from romancy_nb.widgets.timeline import Timeline
from romancy_nb.words import width

from .histories import HOUR, S, Story, T, many, order, outside, undone

HOSTILE = "</td></table><script>alert(1)</script>\"'><img src=x onerror=y>"
ALLOWED = {"div", "span", "strong", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "code", "br"}


def seen(story: Story, **how: object) -> Snapshot:
    return snapshot(story.rows(), now=T + 99 * S, **how)  # type: ignore[arg-type]


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that what is opened is closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(source)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag != "br":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_same_rows_give_the_same_bytes_whenever_they_are_drawn() -> None:
    first = mimebundle(snapshot(order().rows(), now=T + 2 * HOUR))
    again = mimebundle(snapshot(order().rows(), now=T + 999 * HOUR, executed_since=99))
    assert json.dumps(first, sort_keys=True) == json.dumps(again, sort_keys=True)
    assert set(first) == {"text/plain", "text/html", HISTORY_MIME}


def test_a_live_display_marks_what_the_repeated_call_read_from_the_journal() -> None:
    story = Story().step("0:0", "a", T, S).ends(T + S)
    live = mimebundle(seen(story, executed_since=9), live=True)
    assert "from journal" in live["text/plain"]
    assert "from journal" not in mimebundle(seen(story, executed_since=9))["text/plain"]


def test_hostile_names_and_values_are_only_text() -> None:
    story = Story(HOSTILE, inputs={HOSTILE: HOSTILE}, reason=HOSTILE)
    story.asks("0:0", HOSTILE, T, {HOSTILE: HOSTILE})
    story.add(ev.ATTEMPT_FAILED, T + S, "0:0", attempt=1, value={"type": "E", "message": HOSTILE})
    story.add(ev.ACTIVITY_FAILED, T + 2 * S, "0:0", attempt=2, value={"type": "E", "message": HOSTILE})
    story.step(HOSTILE, "b", T, S).add(ev.RUN_FAILED, T + 2 * S, value={"type": "E", "message": HOSTILE})
    story.events[0] = story.events[0]._replace(call=HOSTILE)
    read = Reader(html(seen(story)))
    assert read.tags <= ALLOWED
    assert {name for name, _ in read.attributes} <= {
        "style",
        "title",
        "aria-label",
        "role",
        "scope",
        "colspan",
        "data-romancy-live",
    }
    assert HOSTILE in read.text


def test_values_with_lone_surrogates_and_control_characters_can_be_saved() -> None:
    story = Story().step("0:0", "a\x00\x1b]", T, S, {"x": "\ud800\n"}).ends(T + S)
    for made in mimebundle(seen(story)).values():
        json.dumps(made, ensure_ascii=False).encode()


def test_styles_are_those_that_an_untrusted_notebook_keeps() -> None:
    """JupyterLab lets through known properties, and colours as #hex or rgba() only. Where it drops a hatching, a colour stays."""
    styles = ";".join(value for name, value in Reader(html(seen(order()))).attributes if name == "style")
    styles = re.sub(r"(background-color:[^;]+);background:repeating-linear-gradient\([^;]*", r"\1", styles)
    names = {part.partition(":")[0] for part in styles.split(";") if part}
    assert not names & {"gap", "flex", "grid", "inset", "transform", "aspect-ratio", "font-variant-numeric"}
    assert not re.search(r"var\(|currentcolor|inherit|url\(|calc\(|repeating", styles, re.I)
    for colour in re.findall(r"(?:^|;)color:([^;]+)", styles) + re.findall(r"background-color:([^;]+)", styles):
        assert re.fullmatch(r"#[0-9a-f]{6}|rgba\(\d+,\d+,\d+,0\.\d+\)|transparent", colour)


def test_without_styles_each_row_still_shows_its_bar_and_its_symbol() -> None:
    read = Reader(html(seen(order()))).text
    assert "█" in read and "░" in read
    assert MARKS["journal"] in read and MARKS["ok"] in read
    assert "2 from journal · 2 executed · 1 retried · saved 41 s" in read


@pytest.mark.parametrize("inputs", [HOSTILE * 3, "机" * 200])
def test_ten_thousand_steps_stay_under_300_kb_and_say_what_was_left_out(inputs: str) -> None:
    view = seen(many(10_000, inputs))
    made = html(view)
    assert len(made.encode()) <= 300_000
    assert re.search(r"9,\d\d\d more steps: 9,\d\d\d executed", made)
    Reader(made)


def test_a_file_that_is_to_have_whole_values_has_them_where_a_step_is_unfolded() -> None:
    told, answer = "a " * 600 + "end of the question", [{"text": "word " * 500}, "end of the answer"]
    secret = {"$redacted": "str"}
    story = Story().step("0:0", "ask", T, S, {"prompt": told, "key": secret}, value=answer).ends(T + S)
    brief, whole = snapshot(story.rows(), now=T), snapshot(story.rows(), now=T, whole=True)
    assert "end of the" not in html(brief) and brief.steps[0].whole_input == ""
    read = Reader(html(whole)).text
    assert "end of the question" in read and "end of the answer" in read and "•••" in read
    assert [text(brief), history_json(brief)] == [text(whole), history_json(whole)]


def test_whole_values_stay_under_300_kb_and_previews_take_their_place() -> None:
    story = Story()
    for number in range(200):
        story.step(f"0:{number}", "ask", T, S, {"prompt": HOSTILE * 800}, value='"&<' * 4_000)
    made = html(snapshot(story.rows(), now=T, whole=True))
    assert len(made.encode()) <= 300_000
    assert "more steps" in Reader(made).text


def test_a_step_with_a_thousand_attempts_stays_small() -> None:
    story = Story().asks("0:0", "charge", T)
    for number in range(1, 1001):
        story.add(ev.ATTEMPT_STARTED, T + number * S, "0:0", attempt=number)
        error = {"type": "E", "message": "&" * 500}
        story.add(ev.ATTEMPT_FAILED, T + number * S, "0:0", attempt=number, value=error)
    bundle = mimebundle(seen(story))
    assert len(bundle["text/html"].encode()) < 300_000
    assert len(json.dumps(bundle[HISTORY_MIME])) < 20_000


def test_each_outcome_has_its_own_symbol_and_words() -> None:
    story = Story().step("0:0", "old", T, S, reused=[1, 2]).step("0:1", "fresh", T, S)
    story.asks("0:2", "broken", T).add(ev.ACTIVITY_FAILED, T + S, "0:2", attempt=3, value={"type": "E", "message": "m"})
    story.asks("0:3", "lost", T)
    story.add(ev.TIMER_STARTED, T, "0:4", "sleep", due=T + HOUR, delay=3600.0)
    story.asks("0:5", "beaten", T).add(ev.CALL_CANCELLED, T + S, "0:5")
    lines = text(seen(story, alive=False)).splitlines()
    row = {line.split("(")[0].split()[-1]: line for line in lines if re.match(r"\S \w+\(", line)}
    assert "from journal" in row["old"] and row["old"].startswith("↺")
    assert row["fresh"].startswith("✓")
    assert "failed, 3 attempts" in row["broken"] and row["broken"].startswith("✗")
    assert "may have run" in row["lost"] and row["lost"].startswith("?")
    assert "until 18:02 UTC" in row["sleep"] and "2026-11-21" not in row["sleep"]
    assert row["sleep"].startswith("◷")
    assert "cancelled" in row["beaten"] and row["beaten"].startswith("⊘")


def test_screens_never_say_lease_epoch_command_or_digest() -> None:
    for story in (order(), Story().asks("0:0", "a", T), Story().add(ev.RUN_STUCK, T, expected="a", asked="b")):
        bundle = mimebundle(seen(story, alive=False))
        assert not re.search(r"\b(lease|epoch|command|digest)\b", bundle["text/plain"] + bundle["text/html"])


@pytest.mark.parametrize("columns", [20, 60, 80, 100, 200])
@pytest.mark.parametrize("story", [order(), many(1), many(1000), Story("机" * 60).step("0:0", "予約する" * 30, T, 0)])
def test_no_line_of_the_text_is_wider_than_asked(story: Story, columns: int) -> None:
    for line in text(seen(story), columns).splitlines():
        assert width(line) <= max(columns, 60)


def test_in_a_terminal_a_timeline_is_as_wide_as_that_and_in_a_file_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    timeline = Timeline(seen(order()))
    in_files = timeline._repr_mimebundle_()
    monkeypatch.setenv("COLUMNS", "70")
    assert timeline._repr_mimebundle_() == in_files
    monkeypatch.setattr(sys, "stdout", Mock(isatty=lambda: True))
    assert max(width(line) for line in str(timeline).splitlines()) == 69
    assert timeline._repr_mimebundle_()["text/plain"] == str(timeline)
    monkeypatch.setattr(sys, "stdout", None)
    assert str(timeline) == in_files["text/plain"]


def test_an_error_in_wide_letters_is_told_in_full() -> None:
    story = Story().add(ev.RUN_FAILED, T, value={"type": "ValueError", "message": "机" * 100 + "了"})
    assert "".join(text(seen(story), 60).split()).count("机") == 100
    assert all(width(line) <= 60 for line in text(seen(story), 60).splitlines())


@pytest.mark.parametrize(
    ("story", "said"),
    [(Story().ends(T + 3000), "This workflow called no activity."), (Story(), "No activity was called yet.")],
)
def test_a_run_without_steps_says_so(story: Story, said: str) -> None:
    view = seen(story)
    assert said in text(view) and said in html(view)


def test_a_long_run_shows_at_most_60_rows_and_the_failures_in_its_middle() -> None:
    story = many(499)
    story.events.pop()
    story.asks("0.499:0", "broken", T).add(
        ev.ACTIVITY_FAILED, T, "0.499:0", attempt=1, value={"type": "E", "message": ""}
    )
    for number in range(500, 1000):
        story.step(f"0.{number}:0", "simulate", T, S)
    rows = shown_rows(seen(story).steps, 60)
    assert len(rows) <= 60
    assert sum(row.steps if isinstance(row, Gap) else 1 for row in rows) == 1000
    assert "broken" in text(seen(story))


@pytest.mark.parametrize("limit", [1, 6, 7, 60, 120])
@pytest.mark.parametrize("total", [0, 1, 6, 59, 61, 500])
def test_no_row_is_lost_or_shown_twice(total: int, limit: int) -> None:
    rows = shown_rows(seen(many(total)).steps, limit)
    assert sum(row.steps if isinstance(row, Gap) else 1 for row in rows) == total
    assert len(rows) <= max(limit, 6)


# -- branches, the undo lane, what comes from outside -------------------------------------------------------------------


def branches(long: int) -> Story:
    story = Story()
    for place in ("0.0:0", "0.1:0", "0.0:1"):
        story.step(place, "fetch", T, S)
    for number in range(long):
        story.step(f"0.2:{number}", "load", T + number * S, S, {"part": number})
    return story


def test_a_branch_of_several_steps_has_a_heading_and_a_long_one_is_folded() -> None:
    view = seen(branches(12).ends(T + 20 * S))
    lines = [line for line in text(view).splitlines() if "fetch" in line or "load" in line]
    assert [line[:11].rstrip() for line in lines[:4]] == ["✓ ┬ fetch()", "✓   fetch()", "✓   fetch()", "✓   fetch()"]
    assert [line for line in lines if "load" in line] == [lines[-1]]
    assert "load(part=0) and 11 more" in lines[-1] and "12 steps" in lines[-1] and "█" in lines[-1]
    read = Reader(html(view)).text
    assert read.count("load") >= 12 and "fetch() and 1 more" in read


def test_a_branch_in_which_a_step_failed_says_so_in_its_heading() -> None:
    story = branches(9).asks("0.2:9", "broken", T + 9 * S)
    story.add(ev.ACTIVITY_FAILED, T + 10 * S, "0.2:9", attempt=1, value={"type": "E", "message": "m"})
    (line,) = [line for line in text(seen(story)).splitlines() if "load(part=0) and 9 more" in line]
    assert line.startswith("✗") and "9 of 10 steps done, 1 failed" in line
    assert "broken" in html(seen(story))


def test_undos_stand_in_a_lane_of_their_own_below_with_what_they_undo() -> None:
    view = seen(undone())
    lines = text(view).splitlines()
    lane = next(number for number, line in enumerate(lines) if line.startswith("── Undo, last first"))
    assert [line.split("  ")[0] for line in lines[lane + 1 : lane + 3]] == [
        "↩ cancel_hotel(n=1), undoes hotel",
        "✗ cancel_flight(n=0), undoes flight",
    ]
    (hotel,) = [line for line in lines[:lane] if line.startswith("✓ hotel")]
    assert hotel.endswith("undone")
    assert all("cancel_" not in line for line in lines[:lane] if "A person" not in line)
    read = Reader(html(view)).text
    assert read.index("charge") < read.index("Undo, last first") < read.index("cancel_hotel")


def test_questions_waits_channels_and_armed_undos_are_rows() -> None:
    lines = text(seen(outside()), 140).splitlines()
    for said in (
        "✓ subscribe to orders",
        "✓ Approve the refund?",
        'publish to orders: {"id": 7}',
        "undo from here on: cancel_hotel(room=3)",
        "▶ ship()",
        "◷ wait for orders",
    ):
        assert any(said in line for line in lines), said
    assert any("Approve" in line and line.endswith("answered by ana via widget") for line in lines)
    assert "&#x27;maybe&#x27; is no boolean" in html(seen(outside()))


def test_progress_is_shown_while_it_runs_and_never_saved() -> None:
    story = Story().asks("0:0", "train", T)
    view = seen(story, progress={"0:0": (40, 100, HOSTILE, T + 2 * S, T, 0)})
    live = mimebundle(view, live=True)
    assert "▰▰▰▰▱▱▱▱▱▱ 40 of 100, 20/s, 3.0 s left" in live["text/plain"]
    assert "width:40%" in live["text/html"] and HOSTILE in Reader(live["text/html"]).text
    saved = mimebundle(view)
    assert saved == mimebundle(seen(story))
    assert "40 of 100" not in json.dumps(saved)


def test_what_steps_cost_stands_at_each_and_in_the_summary() -> None:
    story = Story().step("0:0", "old", T, S, reused=[1, 2]).asks("0:1", "ask_model", T)
    story.gets(
        "0:1", T + S, "yes", attributes={"cost_usd": 0.0123, "tokens": {"in": 1000, "out": 204}, "model": HOSTILE}
    )
    for made in (text(seen(story), 160), Reader(html(seen(story))).text):
        assert made.count("$0.0123, 1,204 tokens") == 2
    assert "in 1000, out 204" in Reader(html(seen(story))).text


def test_the_other_runs_are_named_where_tabs_would_be() -> None:
    runs = [RunLine(number, "compensation_failed", "start", T, T + S) for number in range(1, 12)]
    view = seen(Story(number=11).ends(T + S), runs=runs)
    assert "Other runs: run 5 undo incomplete, run 6" in text(view) and "and 4 before" in text(view)
    assert "run 11 undo" not in text(view) and "Other runs" in html(view)
    assert "Other runs" not in text(seen(Story().ends(T + S), runs=runs[:1]))


def test_the_page_is_told_which_run_it_is_and_nothing_that_changes_by_itself() -> None:
    story = Story().ends(T + S)
    story.events[0] = story.events[0]._replace(call='a"b<c')
    assert html(seen(story)).startswith('<div data-romancy-live="timeline:a&quot;b&lt;c:1" style=')


@pytest.mark.parametrize("story", [undone(), outside(), branches(500), branches(0)])
@pytest.mark.parametrize("columns", [20, 100])
def test_no_line_of_branches_and_lanes_is_wider_than_asked(story: Story, columns: int) -> None:
    for line in text(seen(story), columns).splitlines():
        assert width(line) <= max(columns, 60)


def test_ten_thousand_steps_in_branches_and_as_many_undos_stay_under_300_kb() -> None:
    story = Story()
    for number in range(2500):
        story.step(f"0.{number}:0", "a", T, S, {"x": HOSTILE}).step(f"0.{number}:1", "b", T, S)
    story.add(ev.RUN_COMPENSATING, T + S, why="failed")
    for number in range(2500):
        story.add(ev.COMPENSATION_SCHEDULED, T + 2 * S, f"undo:0.{number}:0", "u", value={"x": HOSTILE})
        story.add(ev.COMPENSATION_COMPLETED, T + 2 * S, f"undo:0.{number}:0", attempt=1)
    bundle = mimebundle(seen(story))
    assert len(bundle["text/html"].encode()) <= 300_000
    assert len(bundle["text/plain"].splitlines()) < 90
    assert "Undo, last first" in bundle["text/plain"]
    Reader(bundle["text/html"])


# -- the axis --------------------------------------------------------------------------------------------------------


def test_a_night_in_which_nothing_ran_is_folded() -> None:
    view = seen(order())
    axis = axis_of(view)
    assert [b - a for a, b in axis.folds] == [24 * HOUR - 41 * S + 1000, HOUR]
    assert "folded, nothing ran: 23 h 59 min, 1 h 00 min" in text(view)
    charge = segments(view.steps[2], axis, view.as_of)
    assert [piece.look for piece in charge] == ["failed", "wait", "failed", "wait", "ok"]
    assert charge[-1].right - charge[0].left > 0.1


def test_steps_that_follow_each_other_closely_are_drawn_to_scale() -> None:
    view = seen(Story().step("0:0", "a", T, S).step("0:1", "b", T + S, 3 * S).ends(T + 4 * S))
    axis = axis_of(view)
    assert axis.folds == ()
    (first,), (second,) = (segments(step, axis, view.as_of) for step in view.steps)
    assert (first.left, first.right, second.left, second.right) == (0, 0.25, 0.25, 1)


def test_a_run_that_only_waits_is_not_folded_away() -> None:
    story = (
        Story()
        .add(ev.TIMER_STARTED, T, "0:0", "sleep", due=T + HOUR, delay=3600.0)
        .add(ev.TIMER_FIRED, T + HOUR, "0:0")
    )
    assert axis_of(seen(story)).folds == ()


def test_time_on_the_axis_never_goes_back_and_stays_inside() -> None:
    axis = axis_of(seen(order()))
    shares = [axis.at(us) for us in range(axis.start - HOUR, axis.end + HOUR, HOUR // 7)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)


def test_steps_without_any_duration_are_drawn() -> None:
    view = seen(Story().step("0:0", "a", T, 0).step("0:1", "b", T, 0).ends(T))
    assert text(view).count("█") >= 2
    assert html(view)


def test_a_run_that_waits_is_saved_as_the_same_bytes_however_long_it_waits() -> None:
    story = Story().step("0:0", "book", T, S)
    story.add(ev.WAIT_STARTED, T + 2 * S, "0:1", "approve", value={"question": "Approve?", "schema": {}}, what="ask")
    soon, late = (snapshot(story.rows(), now=T + after) for after in (3 * S, 9 * HOUR))
    assert soon.status == "waiting" and mimebundle(soon) == mimebundle(late)
    assert text(soon) != text(late)  # a terminal says for how long
