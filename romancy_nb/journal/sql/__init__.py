"""SQL lives in ``.sql`` files; this reads it.

A file of queries holds entries like the following, each with one sentence that says what it answers::

    -- name: newest
    -- The newest event of every run.
    select ...
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["migrations", "queries", "text"]

_HERE = Path(__file__).parent


def text(dialect: str, name: str) -> str:
    """Return the text of one file, such as ``text("duckdb", "schema.sql")``."""
    return (_HERE / dialect / name).read_text("utf-8")


@cache
def queries(dialect: str) -> dict[str, str]:
    """Return the named queries of *dialect*: name -> SQL without its comments."""
    found: dict[str, str] = {}
    for entry in text(dialect, "queries.sql").split("-- name: ")[1:]:
        name, _, rest = entry.partition("\n")
        lines = [line for line in rest.splitlines() if not line.lstrip().startswith("--")]
        found[name.strip()] = "\n".join(lines).strip().rstrip(";")
    return found


@cache
def migrations(dialect: str) -> dict[int, str]:
    """Return the migrations of *dialect*: number -> SQL, in order, without gaps from 1."""
    files = sorted((_HERE / dialect / "migrations").glob("[0-9]*.sql"))
    found = {int(file.name.split("_", 1)[0]): file.read_text("utf-8") for file in files}
    assert list(found) == list(range(1, len(found) + 1)), f"gap in the migrations of {dialect}: {list(found)}"
    return found
