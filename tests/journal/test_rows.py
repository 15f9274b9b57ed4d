"""An event survives the way into a row and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.journal import rows
from romancy_nb.journal.protocol import Row
from romancy_nb.payloads.payload import Part, Payload

words = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
payloads = st.none() | st.builds(
    Payload,
    words.map(lambda text: rows._dumps(text)),
    st.lists(st.builds(Part, words, words, st.none(), st.integers(0, 9)), max_size=2).map(tuple),
)
metas = st.none() | st.dictionaries(words, st.integers() | words | st.booleans(), min_size=1, max_size=3)


@given(st.builds(Event, words, st.integers(0, 2**62), words, words, words, words, st.integers(0, 99), payloads, metas))
def test_every_event_comes_back_equal(event: Event) -> None:
    run, seq, kind, body = rows.encode(Row(7, 3, event), 42)
    (back,) = rows.decode(run, [(seq, kind, body)], {}, None)
    assert back == Row(7, 3, event)
    assert body.split("\t")[1] == "42"


def test_what_decode_builds_is_an_ordinary_event_that_nobody_can_change() -> None:
    row = Row(1, 1, Event(ev.RUN_STARTED, 1, "a", payload=Payload("1"), meta={"x": 1}))
    (back,) = rows.decode(1, [rows.encode(row, 1)[1:]], {}, None)
    assert [type(back), type(back.event), type(back.event.payload)] == [Row, Event, Payload]
    assert (len(back), len(back.event)) == (len(Row._fields), len(Event._fields))
    with pytest.raises(AttributeError):
        back.event.kind = "x"  # type: ignore[misc]


def test_no_payload_is_not_null() -> None:
    for payload in (None, Payload("null"), Payload('""')):
        encoded = rows.encode(Row(1, 1, Event("k", 1, payload=payload)), 1)
        assert rows.decode(1, [encoded[1:]], {}, None)[0].event.payload == payload


def test_control_characters_in_a_name_cannot_shift_the_fields() -> None:
    encoded = rows.encode(Row(1, 1, Event("k", 1, "a\tb", "n\nm\ud800", payload=Payload("1"))), 1)
    event = rows.decode(1, [encoded[1:]], {}, None)[0].event
    assert (event.call, event.name, event.payload) == ("a�b", "n�m�", Payload("1"))
