"""docs/architecture.md says what the code does: the decision table, the views' columns; and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from romancy_nb.core.transitions import STATUSES, Action, Owner, decide

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "architecture.md"
BEGIN, END = "<!-- decide: begin -->", "<!-- decide: end -->"
ORDER = (
    None, "completed", "failed", "running", "waiting", "paused", "stuck", "cancelled", "compensating", "compensated",
    "compensation_failed", "recurred",
)  # fmt: skip
ALIVE: tuple[Owner, ...] = ("here", "elsewhere")


def table() -> str:
    """Return the decision table as the page has to print it. Print this to mend the page."""
    lines = ["| latest run | its owner | nothing was edited | something was edited |", "|---|---|---|---|"]
    for status in ORDER:
        answers = {owner: answer(status, owner) for owner in (*ALIVE, "nobody")}
        assert answers["here"] == answers["elsewhere"], f"{status}: the page has one row for living owners"
        shown = "(none)" if status is None else f"`{status}`"
        if answers["here"] == answers["nobody"]:
            owner = "-" if status is None else "any"
            lines.append(f"| {shown} | {owner} | {answers['nobody']} |")
        else:
            lines.append(f"| {shown} | gone | {answers['nobody']} |")
            lines.append(f"| {shown} | alive | {answers['here']} |")
    return "\n".join(lines)


def answer(status: str | None, owner: Owner) -> str:
    same, edited = decide(status, False, owner), decide(status, True, owner)
    return f"{same.value} | {'the same' if edited is same else edited.value}"


def test_the_table_has_every_status() -> None:
    assert set(ORDER) - {None} == STATUSES


def test_the_page_prints_what_decide_answers() -> None:
    text = PAGE.read_text("utf-8")
    printed = text.partition(BEGIN)[2].partition(END)[0].strip()
    assert printed == table(), f"docs/architecture.md has to hold, between its markers:\n\n{table()}"


def test_every_action_stands_in_the_table() -> None:
    assert [action.name for action in Action if action.value not in table()] == []


def test_the_page_lists_the_columns_of_the_views() -> None:
    duckdb = pytest.importorskip("duckdb")
    from romancy_nb.journal import sql

    with duckdb.connect() as connection:
        for text in (*sql.migrations("duckdb").values(), sql.text("duckdb", "schema.sql")):
            connection.execute(text)
        for view in ("instances", "runs", "steps", "attempts", "compensations", "limits", "events"):
            row = re.search(rf"^\| `{view}` \|[^|]*\| ([^|]*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
            assert row, f"no row for {view}"
            described = connection.execute(f"describe romancy.{view}").fetchall()
            assert row[1].split(", ") == [column[0] for column in described], view


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


def test_every_tag_in_code_and_documents_is_explained_or_named_as_missing() -> None:
    tag = re.compile(r"\b([CXAERUSDPN]\d{1,2})\b")
    known = set(tag.findall((DOCS / "semantics.md").read_text("utf-8")))
    assert set(tag.findall(PAGE.read_text("utf-8"))) <= known
    in_brackets = re.compile(r"\(((?:[CXAERUSDPN]\d{1,2}(?:, )?)+)\)")
    for path in sorted((DOCS.parent / "romancy_nb").rglob("*.py")):
        for group in in_brackets.findall(path.read_text("utf-8")):
            assert set(group.split(", ")) <= known, f"{path.name} names {group}, which docs/semantics.md does not have"
