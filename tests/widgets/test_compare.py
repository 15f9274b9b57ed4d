"""Two runs side by side: which steps are the same, what of them changed, and the forms that show it."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from romancy_nb.core import comparing
from romancy_nb.core import events as ev
from romancy_nb.core.comparing import Facts
from romancy_nb.core.events import Event
from romancy_nb.journal.protocol import Row
from romancy_nb.payloads.payload import Payload
from romancy_nb.widgets import compare, compare_text, pairing
from romancy_nb.widgets.compare import Comparison

START = 1_700_000_000_000_000
S = 1_000_000
NASTY = '<script>alert("x")</script>'


def run(steps: list[tuple[str, str, Any, Any]], instance: str = "a", start: int = START, **meta: Any) -> list[Row]:
    """A run whose steps, one after the other, are (place, name, input, result); each takes a second."""
    events = [Event(ev.RUN_STARTED, start, instance, "cmp_shop", payload=Payload("{}"), meta={"number": 1, **meta})]
    for number, (place, name, given, result) in enumerate(steps):
        at = start + number * S
        digest, payload = json.dumps(given), Payload(json.dumps(given))
        events.append(Event(ev.ACTIVITY_SCHEDULED, at, place, name, digest, "c1", 0, payload))
        events.append(Event(ev.ACTIVITY_COMPLETED, at + S, place, attempt=1, payload=Payload(json.dumps(result))))
    events.append(Event(ev.RUN_COMPLETED, start + len(steps) * S, payload=Payload('"done"')))
    return [Row(1, seq, event) for seq, event in enumerate(events, 1)]


def compared(here: list[Row], there: list[Row]) -> Comparison:
    return Comparison(*pairing.pairs_of(here, there, now=START))


def told(found: Comparison) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(pair.step.name, pair.verdict, pair.what) for pair in found.pairs]


def test_steps_are_paired_by_place_name_and_inputs_then_by_name_and_inputs_then_by_place_and_name() -> None:
    here = run([("0:0", "a", {"x": 1}, 1), ("0:1", "b", {"x": 1}, 2), ("0:2", "c", {"x": 1}, 3), ("0:3", "old", {}, 4)])
    there = run(
        [("0:0", "new", {}, 0), ("0:1", "a", {"x": 1}, 1), ("0:2", "c", {"x": 2}, 9), ("0:3", "b", {"x": 1}, 7)], "b"
    )
    assert told(compared(here, there)) == [
        ("new", "there", ()),
        ("a", "same", ()),
        ("b", "changed", ("output",)),
        ("c", "changed", ("input", "output")),
        ("old", "here", ()),
    ]


def test_what_changed_is_named_input_output_outcome_error_attempts_code_and_a_duration_that_one_would_notice() -> None:
    same = Facts("k", "n", "d", "c", True, Payload("1"), 1, False)
    assert comparing.what_differs(same, same) == []
    for field, value, what in (
        ("digest", "e", ["input"]),
        ("result", Payload("2"), ["output"]),
        ("ok", False, ["outcome"]),
        ("attempts", 3, ["attempts"]),
        ("code", "d", ["code"]),
    ):
        known = {
            name: getattr(same, name)
            for name in ("kind", "name", "digest", "code", "ok", "result", "attempts", "edited")
        }
        assert comparing.what_differs(same, Facts(**{**known, field: value})) == what
    here, there = run([("0:0", "a", 1, 1)]), run([("0:0", "a", 1, 1)], "b")
    slow = [row._replace(event=row.event._replace(at=row.event.at + 9 * S)) if row.seq == 3 else row for row in there]
    assert told(compared(here, slow)) == [("a", "changed", ("duration",))]
    hardly = [
        row._replace(event=row.event._replace(at=row.event.at + S // 20)) if row.seq == 3 else row for row in there
    ]
    assert compared(here, hardly).same


def test_both_are_on_one_axis_that_begins_with_each_and_a_fork_goes_on_right_behind_what_it_took_over() -> None:
    here = run([("0:0", "a", 1, 1), ("0:1", "b", 1, 1)])
    later = START + 86_400 * S
    rows = [row.event for row in run([("0:0", "a", 1, 1), ("0:1", "b", 1, 2)], "fork", later)]
    taken = [event._replace(at=event.at - 86_400 * S, meta={"reused": [1, 2]}) for event in rows[1:3]]
    own = [event._replace(at=event.at - S) for event in rows[3:]]
    fork = [Row(2, seq, event) for seq, event in enumerate([rows[0], *taken, *own], 1)]
    found = compared(here, fork)
    axis = found.axis
    assert (axis.start, axis.end) == (0, 2 * S) and axis.folds == ()
    first, second = (view.steps for view in found.moved)
    assert [(step.started, step.finished) for step in first] == [(step.started, step.finished) for step in second]
    assert told(found) == [("a", "same", ()), ("b", "changed", ("output",))]


def test_every_form_says_the_same_and_nothing_of_a_journal_gets_into_a_page_as_markup() -> None:
    here = run([("0:0", NASTY, NASTY, NASTY), ("0:1", "b", 1, 1)], NASTY)
    there = run([("0:0", NASTY, NASTY, "other"), ("0:1", "c", 1, 1)], "b:1")
    found = compared(here, there)
    assert found.counts == {"same": 0, "changed": 1, "here": 1, "there": 1} and not found.same
    bundle = found._repr_mimebundle_()
    page = bundle["text/html"]
    assert "<script" not in page and "&lt;script&gt;" in page and "only b:1" in page
    assert re.match(r'<div data-romancy-live="compare:[^":<]+:1:b%3A1:1"', page)
    assert compare.find(found.anchor) == ((NASTY, 1), ("b:1", 1)) and compare.find("compare:x") is None
    text = bundle["text/plain"]
    assert compare_text.summary(found) in text and "\x1b" not in text and "only b:1" in text
    document = json.loads(json.dumps(found.as_dict()))
    assert [row["verdict"] for row in document["rows"]] == [pair.verdict for pair in found.pairs]
    assert document["here"]["took_us"] == 2 * S and document["rows"][0]["changed"] == ["output"]
    frame = pytest.importorskip("pandas") and found.df()
    assert list(frame["verdict"]) == ["changed", "there", "here"] and frame["here_took_us"][0] == S
    live = compare.view_json(found)
    assert [row["verdict"] for row in live["rows"]] == [pair.verdict for pair in found.pairs]
    assert all(
        0 <= left <= right <= 1
        for row in live["rows"]
        for side in row["sides"]
        if side
        for _, left, right in side["bar"]
    )


def test_of_thousands_of_steps_those_that_differ_are_shown_and_it_takes_no_time() -> None:
    here = run([(f"0:{n}", "a", n, n) for n in range(4_000)])
    there = run([(f"0:{n}", "a", n, -1 if n == 2_000 else n) for n in range(4_000)], "b")
    begun = time.process_time()
    found = compared(here, there)
    page, live = found._repr_mimebundle_()["text/html"], json.dumps(compare.view_json(found))
    assert time.process_time() - begun < 5.0
    assert len(page) < 300_000 and "2000" in page and "more steps" in page
    assert len(live) < 1_600_000
    assert "≠ a" in str(found)


def test_two_empty_runs_are_the_same() -> None:
    found = compared(run([]), run([], "b"))
    assert found.same and "Neither has a step" in found._repr_mimebundle_()["text/html"]
