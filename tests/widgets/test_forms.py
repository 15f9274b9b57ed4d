"""A question as a form: what it shows while it is open, and what afterwards; as text and as static HTML."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from romancy_nb.definitions.asked import question_schema, validate_answer
from romancy_nb.widgets.form_html import NO_FORM, html, mimebundle
from romancy_nb.widgets.forms import form_of, saved, text

from .histories import HOUR, S, T
from .test_fallback import ALLOWED, HOSTILE, Reader


@dataclass(frozen=True)
class Question:
    question: str = "Approve the refund?"
    schema: dict[str, Any] | None = None
    instance_id: str = "order-7"
    workflow: str = "order_workflow"
    event: str = "approve-the-refund"
    place: str = "0:3"
    default: Any = None
    has_default: bool = False
    asked_at: int = T
    due: int | None = None
    status: str = "open"
    answer: Any = None
    by: str = ""
    via: str = ""
    at: int = 0

    def answered(self, answer: Any, by: str = "ada", via: str = "command line") -> Question:
        return replace(self, status="answered", answer=answer, by=by, via=via, at=T + HOUR)


class Decision(BaseModel):
    approved: bool
    amount: int = Field(ge=1, le=500, description="in euro")
    reason: Literal["late", "broken"] = "late"
    api_key: str = ""


BOOL = Question(schema={"type": "boolean"})
MODEL = Question(schema=question_schema(Decision))
ODD = HOSTILE + "\u202e\u0000\n" + "%romancy crash; $(rm) `id`"


def test_an_open_question_says_what_is_asked_until_when_and_what_counts_then() -> None:
    form = form_of(replace(BOOL, due=T + HOUR, default=False, has_default=True))
    assert text(form).splitlines() == [
        "? Approve the refund?",
        "  order_workflow · order-7 · asked 2026-11-21 17:02 UTC · open until 2026-11-21 18:02 UTC; then the answer is no",
        "  Answer: yes or no",
        "  Answer it",
        "    in a notebook  %romancy send order-7 approve-the-refund true",
        "    in a terminal  romancy-nb send order-7 approve-the-refund true",
        "    in Python      rn.instance('order-7').answer(True, question='approve-the-refund')",
    ]
    read = Reader(html(form))
    for said in (
        "Approve the refund?",
        "waits for an answer",
        "open until 2026-11-21 18:02 UTC",
        "yes or no",
        "%romancy send order-7",
    ):
        assert said in read.text


def test_a_question_without_a_default_says_that_nobody_waits_for_ever() -> None:
    assert "then nobody waits for it any more" in text(form_of(replace(BOOL, due=T + HOUR)))


def test_a_model_is_asked_for_field_by_field() -> None:
    form = form_of(MODEL)
    assert [each.name for each in form.fields] == ["approved", "amount", "reason", "api_key"]
    for shown in (text(form), Reader(html(form)).text):
        for said in ("Approved", "yes or no", "a whole number, 1 to 500", "in euro", "one of late, broken"):
            assert said in shown


def test_the_commands_carry_an_answer_that_fits_whatever_the_shell_does_with_it() -> None:
    (_, magic), (_, shell), (_, python) = form_of(replace(MODEL, instance_id="a b'c", event="x y")).ways
    words = shlex.split(shell)
    assert words[:4] == ["romancy-nb", "send", "a b'c", "x y"]
    assert validate_answer(Decision, json.loads(words[4])).amount == 1
    assert magic.startswith("%romancy send ") and shlex.split(magic)[2:4] == ["a b'c", "x y"]
    compile(python, "cell", "exec")


@pytest.mark.parametrize(
    ("via", "said"),
    [
        ("widget", "answered by ada in the notebook, 2026-11-21 18:02 UTC"),
        ("python", "answered by ada from Python, 2026-11-21 18:02 UTC"),
        ("command line", "answered by ada on the command line, 2026-11-21 18:02 UTC"),
        ("http", "answered by ada over HTTP, 2026-11-21 18:02 UTC"),
        ("pigeon", "answered by ada via pigeon, 2026-11-21 18:02 UTC"),
    ],
)
def test_afterwards_it_says_who_answered_what_when_and_how(via: str, said: str) -> None:
    form = form_of(BOOL.answered(True, via=via))
    assert saved(form.ended) == said
    assert text(form).splitlines()[-1] == f"  {said}: yes"
    read = Reader(html(form))
    assert said in read.text and "yes" in read.text
    assert "Answer it from anywhere" not in read.text


def test_an_answer_with_fields_is_shown_under_their_labels_and_secrets_are_not() -> None:
    form = form_of(MODEL.answered({"approved": True, "amount": 20, "api_key": "hunter2", "more": [1]}))
    assert form.answers == (("Approved", "yes"), ("Amount", "20"), ("Api Key", "•••"), ("more", "[1]"))
    assert "hunter2" not in json.dumps([mimebundle(form), form.data()])


def test_an_answer_that_was_journaled_as_an_instance_is_shown_by_its_fields() -> None:
    form = form_of(MODEL.answered({"$type": "__main__.Decision", "fields": {"approved": False}}))
    assert form.answers == (("Approved", "no"),)


def test_what_nobody_answered_says_so() -> None:
    form = form_of(replace(BOOL, status="over", default=False, has_default=True))
    assert saved(form.ended) == "nobody answered; the default was no"
    assert "not asked any more" in Reader(html(form)).text


def test_hostile_texts_are_only_text() -> None:
    schema = {
        "type": "object",
        "title": HOSTILE,
        "description": HOSTILE,
        "properties": {
            HOSTILE: {"enum": [HOSTILE, "b"], "description": HOSTILE},
            "t": {"type": "string", "pattern": HOSTILE},
        },
    }
    asked = Question(ODD, schema, ODD, ODD, ODD, default=HOSTILE, has_default=True, due=T + S)
    for form in (
        form_of(asked),
        form_of(asked.answered({HOSTILE: HOSTILE}, HOSTILE, HOSTILE)),
        form_of(replace(asked, status="over")),
    ):
        page = html(form, hint=HOSTILE)
        read = Reader(page)
        assert read.tags <= ALLOWED
        assert {name for name, _ in read.attributes} <= {"style", "aria-label", "colspan"}
        assert HOSTILE in read.text
        assert not re.search("[\u202e\x00]", page + text(form) + json.dumps(form.data(), ensure_ascii=False))
        assert not any("url(" in value or "var(" in value for name, value in read.attributes if name == "style")


def test_a_very_large_question_stays_small() -> None:
    schema = {"type": "object", "properties": {f"f{i}": {"enum": [f"v{j}" for j in range(2000)]} for i in range(300)}}
    form = form_of(Question("why? " * 100_000, schema, answer=None))
    assert len(html(form)) < 100_000
    assert len(text(form)) < 100_000
    assert "240 more fields" in text(form)
    done = form_of(Question("?", schema).answered({f"f{i}": "x" * 10_000 for i in range(3000)}))
    assert len(html(done)) < 100_000


def test_the_same_question_gives_the_same_bytes() -> None:
    asked = MODEL.answered({"approved": True, "amount": 1})
    assert mimebundle(form_of(asked)) == mimebundle(form_of(asked))


def test_where_no_live_form_can_be_shown_it_says_how_to_get_one() -> None:
    assert NO_FORM in Reader(html(form_of(BOOL), hint=NO_FORM)).text
    assert NO_FORM not in html(form_of(BOOL.answered(True)), hint=NO_FORM)


def test_what_goes_to_the_browser_is_json_with_times_in_milliseconds() -> None:
    data = form_of(replace(MODEL, due=T + HOUR)).data()
    assert json.loads(json.dumps(data)) == data
    assert data["when"] == [
        "asked ",
        T // 1000,
        " · open until ",
        (T + HOUR) // 1000,
        "; then nobody waits for it any more",
    ]
    assert [each["kind"] for each in data["root"]["fields"]] == ["boolean", "integer", "choice", "text"]
