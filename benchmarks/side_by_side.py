"""What the benchmarks share: a fresh folder, a quiet rival, interleaved timing."""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb


def folder() -> Path:
    """Return a new folder on the disk of the working directory (a RAM disk would flatter everyone)."""
    return Path(tempfile.mkdtemp(prefix="romancy-bench-", dir=Path.cwd()))


def bare_append(where: Path) -> Callable[[], None]:
    """Return what appends one bare row durably."""
    connection = duckdb.connect(str(where / "bare.duckdb"))
    connection.execute("create table bare (line varchar)")
    appender = connection.appender("bare")

    def append() -> None:
        appender.append_row("x" * 100)
        appender.flush()

    return append


def dbos(where: Path) -> Any:
    """Return DBOS, configured as by default on a SQLite file and launched; None where it is not installed."""
    try:
        from dbos import DBOS
    except ImportError:
        print("(dbos is not installed: its lines are left out)")
        return None
    logging.disable(logging.WARNING)
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{where}/dbos.sqlite"})
    return DBOS


def seconds(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def show(name: str, samples: list[float], unit: str = "ms", scale: float = 1e3) -> float:
    """Print minimum, median and maximum of *samples* (seconds) and return the median."""
    median = statistics.median(samples)
    spread = f"{min(samples) * scale:.3f} … {max(samples) * scale:.3f}"
    print(f"  {name:<44} {median * scale:8.3f} {unit}   ({spread})")
    return median


def ratio(name: str, value: float, goal: str) -> None:
    print(f"  → {name:<42} {value:8.2f}      goal: {goal}")
