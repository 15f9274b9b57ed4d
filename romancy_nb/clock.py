"""The only place that reads time.

``now_us()`` is wall-clock time for records; ``monotonic()`` is for measuring. Tests and users replace them through
``romancy_nb.testing``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["from_us", "monotonic", "now_us"]

_now_ns: Callable[[], int] = time.time_ns
monotonic: Callable[[], float] = time.monotonic


def now_us() -> int:
    """Return the present as microseconds since 1970 (UTC)."""
    return _now_ns() // 1000


def from_us(us: int) -> datetime:
    """Return *us* microseconds since 1970 as an aware UTC datetime."""
    return datetime.fromtimestamp(us / 1_000_000, UTC)
