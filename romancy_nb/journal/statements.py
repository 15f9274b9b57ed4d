"""What a person's SQL would do, asked of DuckDB's own parser before it is executed."""

from __future__ import annotations

__all__ = ["kinds"]


def kinds(sql: str) -> list[tuple[str, str]]:
    """Return kind and text of each statement in *sql*: ``("INSERT", "insert into t values (1)")``.

    Raises:
        duckdb.Error: it is no SQL.
    """
    import duckdb

    return [(statement.type.name, statement.query) for statement in duckdb.extract_statements(sql)]
