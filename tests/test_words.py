"""Times and texts as people read them."""

from __future__ import annotations

import time

import pytest
from widgets.histories import HOUR, S, T

from romancy_nb.payloads.payload import Part, Payload
from romancy_nb.widgets import preview
from romancy_nb.words import age, clean, clip, duration, fit, legible, moment, utc, width, wrapped


@pytest.mark.parametrize(
    ("us", "said"),
    [
        (-5, "0 ms"),
        (0, "0 ms"),
        (999, "<1 ms"),
        (3_400, "3 ms"),
        (999_600, "1.0 s"),
        (1_240_000, "1.2 s"),
        (9_960_000, "10 s"),
        (41_000_000, "41 s"),
        (59_700_000, "1 min 00 s"),
        (3_599_800_000, "1 h 00 min"),
        (7_500 * S, "2 h 05 min"),
        (86_399 * S, "1 d 00 h"),
        (100 * HOUR, "4 d 04 h"),
    ],
)
def test_durations_read_naturally(us: int, said: str) -> None:
    assert duration(us) == said


def test_ages_look_back_and_ahead() -> None:
    assert [age(x * S) for x in (0, 30, 200, 7200, 47 * 3600, 50 * 3600)] == [
        "just now",
        "30 s ago",
        "3 min ago",
        "2 h ago",
        "47 h ago",
        "2 days ago",
    ]
    assert age(-200 * S) == "in 3 min"


def test_moments_are_local_and_saved_times_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = utc(T)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert moment(T, T + S) == "02:02"
        assert moment(T, T + 48 * HOUR) == "22 Nov 02:02"
        assert moment(T, T + 9000 * HOUR) == "22 Nov 2026 02:02"
        assert utc(T) == saved == "2026-11-21 17:02 UTC"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_times_that_no_calendar_has_are_said_in_words(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for far in (253_402_300_800 * S, 10**21, 10**312):
            assert utc(far) == moment(far, T) == "after the year 9999"
            assert utc(-far) == moment(-far, T) == "before the year 1"
        for last in (253_402_128_000 * S, -62_135_510_400 * S):
            assert utc(last)[-3:] == "UTC" and "year" not in moment(last, T)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_texts_lose_what_could_break_or_reorder_the_line() -> None:
    assert clean("a\nb\x1b[31m\u202ec\ud800") == "a bc\ufffd"
    assert (
        clean("\x1b[1;31mred\x1b[0m \x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x1b]open")
        == "red link ]open"
    )
    assert clip("x" * 500) == "x" * 119 + "…"
    assert clip("shown" + "\u200b" * 600 + "hidden") == "shown…"
    assert legible("\x1b[31ma\tb\x1b[0m\r\n\u202ec\x00\n") == "a\tb\nc\n"


@pytest.mark.parametrize("text", ["abc", "机の上のランプ", "e\u0301tude", "x" * 99, "", "👩‍🔬 lab"])
def test_fit_gives_exactly_the_columns_asked_for(text: str) -> None:
    assert width(fit(text, 10)) == 10


@pytest.mark.parametrize(
    "text", ["one two three four", "ValueError: " + "机" * 40 + " end", "x" * 25, "", "e\u0301" * 20]
)
def test_wrapping_keeps_every_letter_and_counts_columns(text: str) -> None:
    lines = wrapped(text, 12, "  ")
    assert all(width(line) <= 12 and line.startswith("  ") for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert wrapped("one two three four", 12, "  ") == ["  one two", "  three four"]


def test_values_are_previewed_as_python_would_write_them() -> None:
    parts = (Part("arrow", "d", None, 1_234_567),)
    text = '{"df": {"$part": 0}, "ok": true, "none": null, "xs": [1, 2.5, "a\\nb"], "k": {"$redacted": "SecretStr"}}'
    assert (
        preview.inputs(Payload(text, parts)) == 'df=<arrow, 1.23 MB>, ok=True, none=None, xs=[1, 2.5, "a\\nb"], k=•••'
    )


def test_what_was_redacted_stays_hidden_in_documents_too_large_to_read() -> None:
    text = '{"key": {"$redacted": "hidden"}, "big": "' + "x" * 200_000 + '"}'
    assert preview.value(Payload(text)).startswith('{"key": •••, "big"')


def test_no_document_breaks_a_preview() -> None:
    for text in (
        "",
        "nonsense",
        "[" * 99_000,
        '{"$part": "x"}',
        '{"$model": 3, "value": {"a": 1}}',
        "[]",
        '{"$x": {"$x": 1}}',
    ):
        for show in (preview.value, preview.inputs, preview.failure):
            assert len(show(Payload(text))) <= 120
