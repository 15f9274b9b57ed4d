"""Spans of time as they are given to waits: seconds, or a timedelta."""

from __future__ import annotations

import math
from datetime import timedelta
from numbers import Real
from typing import Any

from romancy_nb.core.tasks import LAST
from romancy_nb.errors import WrongArguments

__all__ = ["Seconds", "checked_seconds", "checked_timeout"]

Seconds = float | timedelta


def checked_seconds(value: Any, now: float, what: str) -> float:
    """Return a span that begins at *now*, in seconds.

    Args:
        value: as it was given.
        now: seconds since 1970.
        what: stands before it in the error: ``rn.sleep``.

    Raises:
        WrongArguments: it is none, or ends after the year 9999.
    """
    given = value.total_seconds() if isinstance(value, timedelta) else value
    seconds = float(given) if isinstance(given, Real) and not isinstance(given, bool) else math.nan
    if math.isnan(seconds):
        raise WrongArguments(f"{what} takes seconds, or a timedelta; this is {value!r}.")
    if now + seconds > LAST:
        raise WrongArguments(f"{what} takes seconds that are over before the year 9999 is; this is {value!r}.")
    return seconds


def checked_timeout(value: Any, now: float, what: str) -> float | None:
    """Return the time that a wait may take at most, in seconds; None: for ever.

    Raises:
        WrongArguments: it is no time from *now* on.
    """
    if value is None:
        return None
    try:
        seconds = checked_seconds(value, now, what)
    except WrongArguments as error:
        raise WrongArguments(f"{error} None waits for ever.") from None
    if seconds < 0:
        raise WrongArguments(
            f"{what} takes seconds from now on, or a timedelta; this is {value!r}. None waits for ever."
        )
    return seconds
