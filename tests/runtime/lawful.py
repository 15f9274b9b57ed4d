"""Whether all runs of an instance are histories that the engine may write."""

from __future__ import annotations

from typing import Any

from romancy_nb.core.invariants import check_history


def lawful(handle: Any) -> None:
    """Assert that the history of each run of the instance keeps the rules."""
    engine = handle._engine
    runs = engine.ask(lambda engine: [engine.journal.load(head.run) for head in engine.journal.runs(handle.id)])
    for rows in runs:
        check_history([(row.seq, row.event) for row in rows])
