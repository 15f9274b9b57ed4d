"""The table of instances without a kernel: escaped, readable bare, the same each time, and aligned in a terminal."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from filled import HOSTILE, T0, fill, history

import romancy_nb as rn
from romancy_nb.core.transitions import STATUSES
from romancy_nb.runtime.instances import Instances
from romancy_nb.runtime.listing import ATTENTION
from romancy_nb.widgets import table
from romancy_nb.words import width


@pytest.fixture
def many(journal: Path) -> Instances:
    fill(journal, 120, (10**6, history(7, "failed", T0 + 10**12, name=HOSTILE, workflow=HOSTILE)))
    return rn.instances()


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_state_has_a_mark_and_words() -> None:
    for state in STATUSES | set(ATTENTION):
        mark, said = table.STATES[state]
        assert mark
        assert "_" not in said


def test_the_html_is_whole_escaped_static_and_says_how_many_more(many: Instances) -> None:
    html = many._repr_html_()
    found = Tags()
    found.feed(html)
    assert found.open == []
    assert found.seen <= {"div", "table", "thead", "tbody", "tr", "th", "td", "span", "strong", "em", "code"}
    assert "&lt;script&gt;" in html
    assert "and 71 more" in html
    assert html.startswith('<div data-romancy-live="instances:"')
    assert "Wants somebody" in html
    assert not re.search(r"(?:src|href|on\w+)=\"", html)
    assert html == rn.instances()._repr_html_(), "the same history, the same bytes"


def test_lines_are_aligned_and_cut_to_the_terminal(many: Instances) -> None:
    lines = table.text(many.view(10)).splitlines()
    assert lines[0].split()[:3] == ["ID", "WORKFLOW", "STATUS"]
    column = lines[0].index("STATUS")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines[1:-1])
    assert lines[-1] == "and 111 more"
    assert all(width(line) <= 60 for line in table.text(many.view(10), T0, 60).splitlines())
    assert "There are no instances like this." in repr(rn.instances(text="nowhere"))


def test_a_list_is_a_list_and_shows_what_it_was_when_the_journal_is_gone(many: Instances) -> None:
    assert len(many) == 121
    assert many[0].id == HOSTILE
    assert list(many.df()["instance_id"])[:1] == [HOSTILE]
    rn.disconnect()
    assert "and 71 more" in many._repr_html_()
