"""What several rooms of runtime tests ask for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty import SLACK, usable


@pytest.fixture
def and_afterwards_the_process_is_usable(journal: Path) -> Iterator[None]:
    yield
    started = time.monotonic()
    assert usable.start(int(time.monotonic() * 1e6)).result(10)
    assert time.monotonic() - started < 5 * SLACK
