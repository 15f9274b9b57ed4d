"""Previews of journaled values, as Python would write them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from romancy_nb.payloads.codec import ANY, encode
from romancy_nb.payloads.payload import Payload
from romancy_nb.widgets import preview


@pytest.mark.parametrize(
    "value", [(), (1,), ([0], 5, (None, True)), set(), {3}, {1: (2,), 2: {}}, {"a": {(1, 2): 3}}, [{7}]]
)
def test_a_tuple_a_set_and_a_dict_with_any_keys_are_shown_as_python_writes_them(value: Any) -> None:
    assert preview.value(encode(value, ANY, what="it")) == repr(value).replace("'", '"')


class Inner(BaseModel):
    n: int = 3


class Outer(BaseModel, extra="allow"):
    ok: bool
    note: str = "x"
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Outer(ok=True, inner={}), '{"ok": True, "note": "x", "inner": {"n": 3}}'),  # type: ignore[arg-type]
        (Outer(ok=True, more=1), '{"ok": True, "note": "x", "inner": {"n": 3}, "more": 1}'),  # type: ignore[call-arg]
        (Inner(), '{"n": 3}'),
    ],
)
def test_a_model_is_shown_without_the_notes_of_the_journal(value: BaseModel, shown: str) -> None:
    assert preview.value(encode(value, type(value), what="it")) == shown


@pytest.mark.parametrize("items", [[1], [None], [""], [[]], [{}], [[1]], [["a", 1, 2]]])
def test_a_dict_that_somebody_else_wrote_and_that_is_none_is_shown_as_what_stands_there(items: list[Any]) -> None:
    written = Payload(json.dumps({"args": [{"$type": "dict", "items": items}], "kwargs": {}}))
    assert preview.inputs(written).startswith("dict(items=[") and preview.value(written)


@pytest.mark.parametrize("before", ["", " ", "\n\t", "\r\n "])
@pytest.mark.parametrize("behind", ["", " ", "\n"])
def test_spaces_around_what_was_recorded_change_nothing(before: str, behind: str) -> None:
    text = '{"args": [1, {"$type": "tuple", "items": ["a"]}], "kwargs": {"key": {"$redacted": "x"}}}'
    assert preview.inputs(Payload(before + text + behind)) == '1, ("a",), key=•••'
