"""Views of runs to draw in a browser: from histories, as the kernel sends them."""

from __future__ import annotations

from typing import Any

from romancy_nb.core import events as ev
from romancy_nb.widgets.snapshot import Snapshot, snapshot
from romancy_nb.widgets.wire import view_json

from .histories import HOUR, S, Story, T, many, order

__all__ = ["branches", "hostile", "order_view", "saga", "snap", "steps", "view", "working"]


def snap(story: Story, *, now: int = 0, alive: bool = False) -> Snapshot:
    return snapshot(story.rows(), now=now, alive=alive)


def view(story: Story, *, now: int = 0, alive: bool = False) -> dict[str, Any]:
    return view_json(snap(story, now=now, alive=alive))


def order_view() -> dict[str, Any]:
    return view(order())


def steps(number: int) -> dict[str, Any]:
    return view(many(number))


def saga() -> Story:
    """Four steps, the last of which failed; three of them are undone, the last first, and one undo was tried twice."""
    story = Story("book_trip", {"customer": "ada"})
    for number, (name, took) in enumerate((("book_flight", 2), ("book_hotel", 1), ("book_car", 3))):
        story.step(f"0:{number}", name, T + number * 3 * S, took * S, {"customer": "ada"}, value=f"{name}-7")
    story.asks("0:3", "charge_card", T + 9 * S, {"amount": 1290})
    declined = {"type": "shop.Declined", "message": "no money left"}
    story.add(ev.ATTEMPT_FAILED, T + 10 * S, "0:3", attempt=1, value=declined, next_at=T + 12 * S)
    story.add(ev.ATTEMPT_STARTED, T + 12 * S, "0:3", attempt=2)
    story.add(ev.ACTIVITY_FAILED, T + 13 * S, "0:3", attempt=2, value=declined)
    story.add(ev.RUN_COMPENSATING, T + 13 * S, value=declined)
    for number, (place, name) in enumerate((("0:2", "drop_car"), ("0:1", "drop_hotel"), ("0:0", "drop_flight"))):
        at, call = T + (13 + 3 * number) * S, f"undo:{place}"
        story.add(ev.COMPENSATION_SCHEDULED, at, call, name, value={"customer": "ada"})
        if number == 1:
            story.add(ev.ATTEMPT_FAILED, at + S // 2, call, attempt=1, value=declined, next_at=at + S)
            story.add(ev.ATTEMPT_STARTED, at + S, call, attempt=2)
        story.add(ev.COMPENSATION_COMPLETED, at + 2 * S, call, attempt=1 + (number == 1), value=None)
    return story.add(ev.RUN_COMPENSATED, T + 22 * S, value=declined)


def branches() -> Story:
    """Three branches at once between two steps, and a long night that nothing ran in."""
    story = Story("digest")
    story.step("0:0", "list_feeds", T, S, {}, value=["a", "b", "c"])
    for number, took in enumerate((2, 4, 3)):
        story.step(f"0.{number}:0", "fetch", T + S, took * S, {"url": f"https://feed.example/{number}"}, value="…")
    for number, took in enumerate((2, 4, 3)):
        story.step(f"0.{number}:1", "summarise", T + (1 + took) * S, 2 * S, {"text": "…"}, value="short")
    story.add(ev.TIMER_STARTED, T + 8 * S, "0:1", "sleep", due=T + 8 * S + 9 * HOUR, delay=9 * 3600.0)
    story.add(ev.TIMER_FIRED, T + 8 * S + 9 * HOUR, "0:1")
    story.step("0:2", "send_mail", T + 9 * HOUR + 8 * S, 2 * S, {"to": "ada"})
    return story.ends(T + 9 * HOUR + 10 * S)


def working() -> Story:
    """A run that is going on: one step done, one being tried again, one that waits for its next attempt, a timer."""
    story = Story("crawl", {"site": "example.org"})
    story.step("0:0", "robots", T, S, {"site": "example.org"}, value={"allow": True})
    story.asks("0.0:0", "pages", T + S, {"limit": 400})
    story.asks("0.1:0", "sitemap", T + S, {"depth": 3})
    gone = {"type": "builtins.TimeoutError", "message": "no answer within 2 s"}
    story.add(ev.ATTEMPT_FAILED, T + 3 * S, "0.1:0", attempt=1, value=gone, next_at=T + 40 * S)
    story.add(ev.TIMER_STARTED, T + S, "0.2:0", "sleep", due=T + 60 * S, delay=59.0)
    return story


EVIL = '<img src=x onerror="window.caught=1"><script>window.caught=1</script>'


def hostile() -> Story:
    """Names and texts with script in them, wherever a history has texts."""
    story = Story(f"w{EVIL}", {EVIL: EVIL})
    story.step("0:0", EVIL, T, S, {EVIL: EVIL}, value=EVIL)
    story.asks("0:1", f"a{EVIL}", T + S, {"x": EVIL})
    story.add(ev.ACTIVITY_FAILED, T + 2 * S, "0:1", attempt=1, value={"type": f"m.{EVIL}", "message": EVIL})
    return story.add(ev.RUN_FAILED, T + 2 * S, value={"type": f"m.{EVIL}", "message": EVIL})
