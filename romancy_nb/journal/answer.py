"""What a query answers with: rows that are there already, and the data frame of your choice."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from romancy_nb.journal.protocol import Table
from romancy_nb.words import clip, fit, width

__all__ = ["Answer"]

_SHOWN = 20
_CELL = "text-align:left;vertical-align:top;padding:2px 8px"  # marimo has none of its own


class Answer:
    """The answer to ``rn.sql``, ``Instance.steps()`` and the like; nothing is read later.

    Attributes:
        columns: names.
        types: DuckDB's names of the types.
    """

    def __init__(self, table: Table) -> None:
        self.columns = table.columns
        self.types = table.types
        self._rows = table.rows

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows as tuples."""
        return list(self._rows)

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the first row, or None when there is none."""
        return self._rows[0] if self._rows else None

    def dicts(self) -> list[dict[str, Any]]:
        """Return all rows as dictionaries."""
        return [dict(zip(self.columns, row, strict=True)) for row in self._rows]

    def df(self) -> Any:
        """Return a pandas DataFrame. Raises ImportError with the remedy when pandas is missing."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("`.df()` needs pandas: pip install 'romancy_nb[frames]'") from error
        return pd.DataFrame(self._rows, columns=list(self.columns))

    def arrow(self) -> Any:
        """Return a pyarrow Table. Raises ImportError with the remedy when pyarrow is missing."""
        try:
            import pyarrow as pa
        except ImportError as error:
            raise ImportError("`.arrow()` needs pyarrow: pip install 'romancy_nb[frames]'") from error
        return pa.table({name: [row[i] for row in self._rows] for i, name in enumerate(self.columns)})

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        shown = [[_cell(value) for value in row] for row in self._rows[:_SHOWN]]
        rows = [[clip(name, 60) for name in self.columns], *shown]
        widths = [max(width(row[i]) for row in rows) for i in range(len(self.columns))]
        lines = ["  ".join(fit(text, wide) for text, wide in zip(row, widths, strict=True)).rstrip() for row in rows]
        if len(self._rows) > _SHOWN:
            lines.append(f"… {len(self._rows) - _SHOWN} more rows")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f'<th style="{_CELL}">{escape(clip(name, 60))}</th>' for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f'<td style="{_CELL}">{escape(_cell(value))}</td>' for value in row) + "</tr>"
            for row in self._rows[:_SHOWN]
        )
        more = f"<p>… {len(self._rows) - _SHOWN} more rows</p>" if len(self._rows) > _SHOWN else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<div style="overflow-x:auto">{table}</div>{more}'


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:%Y-%m-%d %H:%M:%S}" if hasattr(value, "strftime") else str(value)
    return clip(" ".join(text.split()), 60)
