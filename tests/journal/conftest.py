from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from romancy_nb.journal.on_duckdb import DuckDBJournal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".romancy" / "journal.duckdb"


@pytest.fixture
def journal(path: Path) -> Iterator[DuckDBJournal]:
    journal = DuckDBJournal(path)
    journal.acquire(5)
    yield journal
    journal.release()
