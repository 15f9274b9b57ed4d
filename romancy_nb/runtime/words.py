"""Times as people say them, for the lines that the engine prints."""

from __future__ import annotations

from romancy_nb import clock

__all__ = ["age", "moment"]


def moment(us: int) -> str:
    """Return "21 Nov 17:02" (local time), with the year when it is not this one and seconds when it is today."""
    then, now = clock.from_us(us).astimezone(), clock.from_us(clock.now_us()).astimezone()
    if then.date() == now.date():
        return f"today {then:%H:%M:%S}"
    year = f" {then.year}" if then.year != now.year else ""
    return f"{then.day} {then:%b}{year} {then:%H:%M}"


def age(us: int) -> str:
    """Return "3 hours ago"."""
    seconds = max(0, clock.now_us() - us) / 1_000_000
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"
