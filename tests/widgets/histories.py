"""Histories to draw: written event by event, as the engine journals them."""

from __future__ import annotations

import json
from typing import Any

from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.journal.protocol import Row
from romancy_nb.payloads.payload import Payload

T = 1_795_280_520_000_000  # 2026-11-21 17:02 UTC
S = 1_000_000
HOUR = 3600 * S


def payload(value: Any) -> Payload:
    return Payload(json.dumps(value))


class Story:
    """A run's history that is told from its start."""

    def __init__(self, workflow: str = "order_workflow", inputs: Any = None, **meta: Any) -> None:
        facts = {"number": 1, "reason": "start", "owner": "here", **meta}
        self.events = [Event(ev.RUN_STARTED, T, "order-7", workflow, payload=payload(inputs or {}), meta=facts)]

    def add(self, kind: str, at: int, call: str = "", name: str = "", attempt: int = 0, **more: Any) -> Story:
        value = payload(more.pop("value")) if "value" in more else None
        self.events.append(Event(kind, at, call, name, attempt=attempt, payload=value, meta=more or None))
        return self

    def asks(self, call: str, name: str, at: int, inputs: Any = None, **meta: Any) -> Story:
        return self.add(ev.ACTIVITY_SCHEDULED, at, call, name, value=inputs or {}, **meta)

    def gets(self, call: str, at: int, value: Any = None, attempt: int = 1, **meta: Any) -> Story:
        return self.add(ev.ACTIVITY_COMPLETED, at, call, attempt=attempt, value=value, **meta)

    def step(
        self, call: str, name: str, at: int, took: int, inputs: Any = None, *, value: Any = None, **meta: Any
    ) -> Story:
        self.asks(call, name, at, inputs, **meta)
        return self.gets(call, at + took, value, **({"reused": meta["reused"]} if "reused" in meta else {}))

    def ends(self, at: int, value: Any = None) -> Story:
        return self.add(ev.RUN_COMPLETED, at, value=value)

    def rows(self) -> list[Row]:
        return [Row(1, number, event) for number, event in enumerate(self.events, 1)]


def order() -> Story:
    """Two steps from an earlier run, one that needed three attempts, a timer, and the end."""
    day = 24 * HOUR
    story = Story(inputs={"item1": "lamp", "item2": "desk"}, number=2, reason="edited")
    story.step("0:0", "reserve", T - day, 20 * S, {"item": "lamp"}, value={"price": 40}, reused=[9, 2])
    story.step("0:1", "reserve", T - day + 20 * S, 21 * S, {"item": "desk"}, value={"price": 210}, reused=[9, 4])
    story.asks("0:2", "charge", T + 1000, {"amount": 250, "key": {"$redacted": "token"}})
    declined = {"type": "shop.Declined", "message": "try later"}
    story.add(ev.ATTEMPT_FAILED, T + S, "0:2", attempt=1, value=declined, next_at=T + 2 * S)
    story.add(ev.ATTEMPT_STARTED, T + 2 * S, "0:2", attempt=2)
    story.add(ev.ATTEMPT_FAILED, T + 3 * S, "0:2", attempt=2, value=declined, next_at=T + 5 * S)
    story.add(ev.ATTEMPT_STARTED, T + 5 * S, "0:2", attempt=3)
    story.gets("0:2", T + 6 * S, "ch_1", attempt=3)
    story.add(ev.TIMER_STARTED, T + 6 * S, "0:3", "sleep", due=T + 6 * S + HOUR, delay=3600.0)
    story.add(ev.TIMER_FIRED, T + 6 * S + HOUR, "0:3")
    story.add(ev.SIDE_EFFECT, T + 6 * S + HOUR, "0:4", "pick", value=7, ok=True)
    return story.ends(T + 7 * S + HOUR, {"charge": "ch_1"})


def many(steps: int, text: str = "seed") -> Story:
    story = Story("sweep")
    for number in range(steps):
        story.step(f"0.{number}:0", "simulate", T + number * 1000, 40_000, {text: number}, value=number * number)
    return story.ends(T + steps * 1000 + 40_000)
