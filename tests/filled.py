"""A journal with many instances of every status, written as rows at once: what lists of them are tried with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.journal.protocol import Batch, Row
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import ownership

__all__ = ["HOSTILE", "KINDS", "T0", "dead", "fill", "history", "instance_id", "journal_at"]

T0: Final = 1_795_000_000_000_000
SECOND: Final = 1_000_000
STEPS: Final = ("reserve", "charge", "ship")
KINDS: Final = (
    *("completed", "completed", "completed", "failed", "completed", "completed", "cancelled", "compensated"),
    *("completed", "completed", "recurring", "completed"),
)
"""What most instances are, in turn."""
RARE: Final = ("compensation_failed", "stuck", "doubt", "paused", "asks", "awaits", "interrupted", "sleeps")
"""What a few are: one in fifty, in turn."""
HOSTILE: Final = "<img src=x onerror=\"window.hacked='yes'\"><script>window.hacked='yes'</script>"
"""A name that would do harm where it is not escaped."""


def dead() -> str:
    """Return the token of a process that has gone."""
    facts = json.loads(ownership.my_token())
    return json.dumps({**facts, "pid": 2_000_000_000, "start": "1"})


def instance_id(number: int) -> str:
    return f"{'order' if number % 3 else 'invoice'}-{number:05d}"


def history(number: int, kind: str, at: int, *, name: str = "", workflow: str = "", owner: str = "") -> list[Event]:
    """Return the history of one instance that ends as *kind* says."""
    flow = workflow or ("order_workflow", "invoice_workflow", "report_workflow")[number % 3]
    facts = {
        "number": 1,
        "reason": "start",
        "owner": owner or dead(),
        "epoch": 1,
        "notebook": f"/n/book{number % 4}.ipynb",
    }
    inputs = Payload(json.dumps({"item": f"lamp {number}"}))
    rows = [Event(ev.RUN_STARTED, at, name or instance_id(number), flow, "d1", "c1", 0, inputs, facts)]
    for step in range(3):
        begun = at + (1 + 3 * step) * SECOND
        rows.append(
            Event(
                ev.ACTIVITY_SCHEDULED,
                begun,
                f"0:{step}",
                ["reserve", "charge", "ship"][step],
                "d",
                "c",
                0,
                Payload("[1]"),
            )
        )
        if step == 2 and kind == "doubt":
            break
        ended, call = begun + 2 * SECOND, f"0:{step}"
        if step == 2 and kind in {"failed", "compensated", "compensation_failed", "paused"}:
            rows.append(
                Event(ev.ACTIVITY_FAILED, ended, call, "ship", attempt=1, payload=_error(f"no van for {number}"))
            )
        else:
            rows.append(Event(ev.ACTIVITY_COMPLETED, ended, call, attempt=1, payload=Payload('"done"')))
    rows += _end(kind, number, at + 12 * SECOND)
    return rows


def _error(text: str) -> Payload:
    return Payload(json.dumps({"type": "ValueError", "module": "builtins", "message": text, "args": [text]}))


def _end(kind: str, number: int, at: int) -> list[Event]:
    error = _error(f"no van for {number}")
    undoing = Event(ev.RUN_COMPENSATING, at, payload=error, meta={"why": "failed"})
    match kind:
        case "completed":
            return [Event(ev.RUN_COMPLETED, at, payload=Payload('"ok"'))]
        case "failed":
            return [Event(ev.RUN_FAILED, at, payload=error)]
        case "cancelled":
            return [Event(ev.RUN_CANCELLED, at, meta={"reason": "the customer called", "by": "ada"})]
        case "compensated":
            return [undoing, Event(ev.RUN_COMPENSATED, at + SECOND, payload=error)]
        case "compensation_failed":
            return [undoing, Event(ev.RUN_COMPENSATION_FAILED, at + SECOND, payload=error, meta={"place": "0:1"})]
        case "stuck":
            return [Event(ev.RUN_STUCK, at, meta={"message": "step 3 was ship, and is send now"})]
        case "doubt":
            return [Event(ev.RUN_PAUSED, at, payload=error, meta={"reason": "doubt"})]
        case "paused":
            return [Event(ev.RUN_PAUSED, at, payload=error, meta={"reason": "error"})]
        case "asks":
            asked = Payload(json.dumps({"question": f"Approve order {number}?", "schema": {"type": "boolean"}}))
            return [Event(ev.WAIT_STARTED, at, "0:3", f"answer:{number}", "d", payload=asked, meta={"what": "ask"})]
        case "awaits":
            return [
                Event(
                    ev.WAIT_STARTED, at, "0:3", "payment.completed", "d", payload=Payload("{}"), meta={"what": "event"}
                )
            ]
        case "sleeps":
            return [Event(ev.TIMER_STARTED, at, "0:3", "sleep", meta={"due": at + 3600 * SECOND})]
        case "interrupted" | "recurring":
            return [Event(ev.RUN_COMPLETED, at, payload=Payload('"ok"'))] if kind == "recurring" else []
    raise ValueError(kind)


def rows(count: int, *, first: int = 0) -> Iterator[Row]:
    for number in range(first, first + count):
        rare = number % 50 == 7
        kind = RARE[(number // 50) % len(RARE)] if rare else KINDS[number % len(KINDS)]
        for seq, event in enumerate(history(number, kind, T0 + number * 60 * SECOND), start=1):
            yield Row(number + 1, seq, event)


def journal_at(path: Path) -> DuckDBJournal:
    """Open a journal to write rows into; ``release`` it in the end."""
    made = DuckDBJournal(path)
    made.acquire(10.0)
    return made


def fill(path: Path, count: int, *more: tuple[int, list[Event]], **options: Any) -> None:
    """Write *count* instances into the journal at *path*, and *more* runs by their keys."""
    journal = journal_at(path)
    every = list(rows(count, **options))
    every += [Row(run, seq, event) for run, events in more for seq, event in enumerate(events, start=1)]
    journal.commit(Batch(1, every))
    journal.release()
