"""The live form from Python's side: what a browser sends, and what it is told. What it looks like, the browser's tests say."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from romancy_nb.definitions.asked import validate_answer
from romancy_nb.errors import AlreadyAnswered
from romancy_nb.widgets import live_form as module
from romancy_nb.widgets.forms import form_of
from romancy_nb.widgets.live_form import live_form

from .test_forms import BOOL

pytest.importorskip("anywidget")


def heard(live: Any, message: object) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    live.send = sent.append
    live._handle_custom_msg(message, [])
    return sent


def test_an_answer_that_fits_is_taken() -> None:
    taken: list[Any] = []
    live = live_form(form_of(BOOL), lambda value: taken.append(value) or "Recorded.")  # type: ignore[func-returns-value]
    assert heard(live, {"kind": "answer", "number": "v:1", "value": True}) == [
        {"number": "v:1", "kind": "accepted", "said": "Recorded."}
    ]
    assert taken == [True]


def test_an_answer_that_does_not_fit_comes_back_by_field() -> None:
    live = live_form(form_of(BOOL), lambda value: str(validate_answer(bool, value)))
    (told,) = heard(live, {"kind": "answer", "number": "v:1", "value": "perhaps"})
    assert told["kind"] == "refused"
    assert told["problems"] == [["", "must be yes or no (true, false)"]]


def test_who_comes_second_is_told_and_no_error_is_lost() -> None:
    def late(value: object) -> str:
        raise AlreadyAnswered("ada answered it a minute ago: yes.") if value else ZeroDivisionError("division")

    live = live_form(form_of(BOOL), late)
    assert (
        heard(live, {"kind": "answer", "number": "1", "value": True})[0]["said"] == "ada answered it a minute ago: yes."
    )
    assert heard(live, {"kind": "answer", "number": "2", "value": False})[0]["said"] == "ZeroDivisionError: division"


@pytest.mark.parametrize("message", [None, "answer", {"kind": "strange"}, {}])
def test_other_messages_are_left_alone(message: object) -> None:
    live = live_form(form_of(BOOL), lambda value: pytest.fail("not an answer"))
    assert heard(live, message) == []


def test_a_message_may_be_handled_elsewhere_so_that_the_kernel_is_free_at_once() -> None:
    kept: list[Any] = []
    live: Any = live_form(form_of(BOOL), lambda value: "Recorded.", run=kept.append)
    sent: list[Any] = []
    live.send = sent.append
    live._handle_custom_msg({"kind": "answer", "number": "1", "value": True}, [])
    assert sent == []
    kept[0]()
    assert sent[0]["kind"] == "accepted"


def test_it_is_saved_with_its_static_form_as_it_stands_then() -> None:
    live: Any = live_form(form_of(BOOL), lambda value: "")
    data, _ = live._repr_mimebundle_()
    assert "waits for an answer" in data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in data
    live.show(form_of(BOOL.answered(True)))
    data, _ = live._repr_mimebundle_()
    assert "answered by ada" in data["text/html"] and "answered by ada" in data["text/plain"]
    assert live.form["status"] == "answered"


def test_without_anywidget_there_is_no_live_form(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any) -> Any:
        if name == "anywidget":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", missing)
    module._class.cache_clear()
    try:
        assert live_form(form_of(BOOL), lambda value: "") is None
    finally:
        module._class.cache_clear()
