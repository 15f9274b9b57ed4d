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


def outside() -> Story:
    """A question that was answered at the second try, a wait that is open, channels, an armed undo and a child."""
    story = Story()
    story.add(ev.SUBSCRIBED, T, "0:0", "orders", mode="broadcast")
    ask = {"question": "Approve the refund?", "schema": {"type": "boolean"}, "due": T + 9 * HOUR}
    story.add(ev.WAIT_STARTED, T + S, "0:1", "approve", value=ask, what="ask")
    story.add(ev.EVENT_ARRIVED, T + 2 * S, "", "approve", value="maybe", by="bo", via="http")
    story.add(ev.EVENT_REFUSED, T + 2 * S, "", "approve", arrived=4, why="'maybe' is no boolean")
    story.add(ev.EVENT_ARRIVED, T + HOUR, "", "approve", value=True, by="ana", via="widget")
    story.add(ev.EVENT_RECEIVED, T + HOUR, "0:1", "approve", value=True, arrived=6, by="ana", via="widget")
    story.add(ev.MESSAGE_PUBLISHED, T + HOUR, "0:2", "orders", value={"id": 7})
    story.add(ev.COMPENSATION_ARMED, T + HOUR, "0:3", "cancel_hotel", value={"room": 3})
    story.add(ev.CHILD_STARTED, T + HOUR, "0:4", "ship", value={}, instance="ship-1")
    return story.add(ev.WAIT_STARTED, T + HOUR + S, "0:5", "channel:orders", value={"schema": {}}, what="message")


def undone() -> Story:
    """Two steps that were undone, the last one first, after a third one failed; one undo gave up."""
    story = Story()
    error = {"type": "shop.Declined", "message": "no funds"}
    for number, name in enumerate(("flight", "hotel")):
        story.step(f"0:{number}", name, T + number * S, S, {"n": number}, value=1, undo={"name": f"cancel_{name}"})
    story.asks("0:2", "charge", T + 2 * S)
    story.add(ev.ACTIVITY_FAILED, T + 3 * S, "0:2", attempt=1, value=error)
    story.add(ev.RUN_COMPENSATING, T + 3 * S, value=error, why="failed")
    for number, name in ((1, "hotel"), (0, "flight")):
        story.add(ev.COMPENSATION_SCHEDULED, T + 4 * S, f"undo:0:{number}", f"cancel_{name}", value={"n": number})
    story.add(ev.COMPENSATION_COMPLETED, T + 5 * S, "undo:0:1", attempt=1, value=None)
    story.add(ev.COMPENSATION_FAILED, T + 5 * S, "undo:0:0", attempt=2, value=error)
    return story.add(ev.RUN_COMPENSATION_FAILED, T + 6 * S, value=error, place="0:0")
