"""Times and texts as people read them: ``41 s``, ``3 min ago``, ``21 Nov 17:02``. Pure functions, no locale.

Everything takes microseconds. ``moment`` speaks the local time of this machine and is for people who look now;
``utc`` is for what is saved in a file, which must read the same everywhere (N7).
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Final

__all__ = ["age", "clean", "clip", "count", "duration", "fit", "legible", "moment", "quoted", "utc", "width", "wrapped"]

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MS: Final = 1_000
_S: Final = 1_000_000
_MIN: Final = 60 * _S
_HOUR: Final = 60 * _MIN
_DAY: Final = 24 * _HOUR
_FIRST: Final = -62_135_510_400 * _S  # 2 January of the year 1 and 30 December 9999: days that every zone can write
_LAST: Final = 253_402_128_000 * _S
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_CODES: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))"
)  # what colours and titles a terminal
_JOINERS: Final = "\u200d\ufe0f"  # what makes several emoji one


def duration(us: int) -> str:
    """Return how long something took.

    >>> [duration(us) for us in (0, 250, 3_000, 1_240_000, 41_400_000, 303_000_000, 7_500_000_000)]
    ['0 ms', '<1 ms', '3 ms', '1.2 s', '41 s', '5 min 03 s', '2 h 05 min']
    """
    if us <= 0:
        return "0 ms"
    if us < _MS:
        return "<1 ms"
    if us < 999_500:
        return f"{round(us / _MS)} ms"
    if us < 9_950_000:
        return f"{us / _S:.1f} s"
    seconds = round(us / _S)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    minutes = round(us / _MIN)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(us / _HOUR)
    return f"{hours // 24} d {hours % 24:02d} h"


def age(us: int) -> str:
    """Return how long ago something was, given the time since then; negative means it is still to come.

    >>> [age(us) for us in (1, 41_000_000, 190_000_000, 7_300_000_000, 260_000_000_000, -190_000_000)]
    ['just now', '41 s ago', '3 min ago', '2 h ago', '3 days ago', 'in 3 min']
    """
    span = abs(us)
    if span < 5 * _S:
        return "just now"
    if span < _MIN:
        text = f"{span // _S} s"
    elif span < _HOUR:
        text = f"{span // _MIN} min"
    elif span < 2 * _DAY:
        text = f"{span // _HOUR} h"
    else:
        text = f"{span // _DAY} days"
    return f"{text} ago" if us > 0 else f"in {text}"


def moment(us: int, now: int) -> str:
    """Return the point in time *us* in this machine's local time, as short as *now* allows.

    Today it is ``17:02``, this year ``21 Nov 17:02``, else ``21 Nov 2025 17:02``; "after the year 9999" where no calendar goes.
    """
    if not _FIRST <= us <= _LAST:
        return _off_the_calendar(us)
    local, present = _local(us), _local(now)
    clock = f"{local:%H:%M}"
    if local.date() == present.date():
        return clock
    year = "" if local.year == present.year else f" {local.year}"
    return f"{local.day} {_MONTHS[local.month - 1]}{year} {clock}"


def _local(us: int) -> datetime:
    return datetime.fromtimestamp(us / _S, UTC).astimezone()


def utc(us: int) -> str:
    """Return the point in time *us* as it stands in saved files: ``2026-11-21 17:02 UTC``."""
    if not _FIRST <= us <= _LAST:
        return _off_the_calendar(us)
    return f"{datetime.fromtimestamp(us / _S, UTC):%Y-%m-%d %H:%M} UTC"


def _off_the_calendar(us: int) -> str:
    return "after the year 9999" if us > 0 else "before the year 1"


def count(number: int, one: str, many: str = "") -> str:
    """Return ``1 step`` or ``1,200 steps``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def quoted(word: str) -> str:
    """Return *word* as one word of a line of ``%romancy``: in quotes where a person would have to write them.

    >>> quoted("order-7"), quoted("my order"), quoted('12" pipe'), quoted("why?")
    ('order-7', '"my order"', '\'12" pipe\'', '"why?"')
    """
    if word and not any(char.isspace() or char in "'\"?!" for char in word):  # a line that ends with ? asks for help
        return word
    return f"'{word}'" if '"' in word else f'"{word}"'


def clean(text: str) -> str:
    """Return *text* on one line, without characters that hide, reorder or break what stands around them."""
    if text.isascii() and text.isprintable():
        return text
    shown = []
    for char in _CODES.sub("", text) if "\x1b" in text else text:
        if char in "\r\n\t\u2028\u2029":
            shown.append(" ")
        elif char in _JOINERS or unicodedata.category(char) not in _UNSEEN:
            shown.append(char)
        elif unicodedata.category(char) == "Cs":
            shown.append("\ufffd")
    return "".join(shown)


def legible(text: str) -> str:
    """Return *text* with its lines and tabs, each cleaned."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(clean(cell) for cell in line.split("\t")) for line in lines)


def clip(text: str, limit: int = 120) -> str:
    """Return *text* cleaned and cut to *limit* characters, with ``…`` at the end when something is missing."""
    read = 4 * limit + 4
    more, text = len(text) > read, clean(text[:read])
    return text if len(text) <= limit and not more else text[: limit - 1].rstrip() + "…"


def width(text: str) -> int:
    """Return how many columns *text* takes in a terminal."""
    return len(text) if text.isascii() and text.isprintable() else sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, columns: int) -> str:
    """Return *text* cut or padded to exactly *columns* terminal columns."""
    missing = columns - width(text)
    if missing >= 0:
        return text + " " * missing
    kept, used = [], 0
    for char in text:
        if used + _columns(char) > columns - 1:
            break
        kept.append(char)
        used += _columns(char)
    return "".join(kept) + "…" + " " * (columns - 1 - used)


def wrapped(text: str, columns: int, inset: str = "") -> list[str]:
    """Return *text* on lines of at most *columns* terminal columns, each behind *inset*; a word that is longer is broken."""
    lines, room = [""], max(2, columns - width(inset))
    for word in text.split():
        between = " " if lines[-1] else ""
        used = width(lines[-1]) + len(between)
        if used + width(word) <= room or (width(word) > room and used < room - 1):
            lines[-1] += between
        elif between:
            lines.append("")
        for char in word:
            if width(lines[-1]) + _columns(char) > room:
                lines.append("")
            lines[-1] += char
    return [inset + line.rstrip() for line in lines if line]
