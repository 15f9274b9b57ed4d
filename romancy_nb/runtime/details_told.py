"""What is told of a step in words: its times, its circumstances, and what it printed and displayed."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any, Final

from romancy_nb import words
from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.journal.protocol import Head
from romancy_nb.runtime.called import Called

__all__ = ["attributes", "outputs", "timing"]

Told = list[list[str]]

_TEXT: Final = 20_000
_PICTURE: Final = 60_000
_PICTURES: Final = 2
_TAG: Final = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_IMAGES: Final = ("image/png", "image/jpeg", "image/gif", "image/webp")


def timing(call: Called) -> Told:
    """Return (label, text) of when it was asked for, how long it waited and took, and when it was over."""
    now, intent = now_us(), call.intent
    told = [["asked for", words.moment(intent.at, now)]]
    if call.tries:
        waited = call.tries[0].started - intent.at
        if waited > 1_000_000:
            told.append(["waited before its first attempt", words.duration(waited)])
        spent = sum(each.finished - each.started for each in call.tries if each.finished is not None)
        if any(each.finished is not None for each in call.tries):
            told.append(["executing", words.duration(spent)])
        pauses = [
            after.started - before.finished
            for before, after in zip(call.tries, call.tries[1:], strict=False)
            if before.finished is not None
        ]
        if pauses:
            told.append(["between attempts", words.duration(sum(max(0, each) for each in pauses))])
    if call.finished is not None:
        told.append(["over", words.moment(call.finished, now)])
        if call.finished > intent.at:
            told.append(["from beginning to end", words.duration(call.finished - intent.at)])
    else:
        told.append(["open for", words.duration(max(0, now - intent.at))])
        due = call.meta.get("due") if intent.kind == ev.TIMER_STARTED else call.next_at
        if isinstance(due, int) and due:
            told.append(["due" if intent.kind == ev.TIMER_STARTED else "next attempt", words.moment(due, now)])
    return told


def attributes(call: Called, head: Head, facts: dict[str, Any]) -> Told:
    """Return (label, text) of what else is known of a step."""
    meta, outcome = call.meta, dict(call.outcome.meta or {}) if call.outcome is not None else {}
    told: list[tuple[str, Any]] = []
    for found in (meta.get("attributes"), outcome.get("attributes")):
        if isinstance(found, dict):
            told += [(str(name), value) for name, value in found.items()]
    if "reused" in meta:
        told.append(("result", "read from an earlier run"))
    if meta.get("delivery") == "at_most_once":
        told.append(("delivery", "at most once"))
    if isinstance(line := meta.get("line"), list) and len(line) == 2:
        told.append(("called in", f"{line[0]}, line {line[1]}"))
    if isinstance(undo := meta.get("undo"), dict):
        told.append(("undone by", undo.get("name", "")))
    if meta.get("pivot"):
        told.append(("pivot", "what completed before it is not undone any more"))
    if meta.get("undoes"):
        told.append(("undoes", meta["undoes"]))
    limits = [str(each.get("name")) for each in meta.get("limit", ()) if isinstance(each, dict)]
    if limits:
        told.append(("limits", ", ".join(limits)))
    if isinstance(meta.get("delay"), int | float):
        told.append(("delay", words.duration(int(meta["delay"] * 1_000_000))))
    if call.intent.kind == ev.CHILD_STARTED or "child" in meta:
        told.append(("instance", meta.get("instance") or meta.get("child", "")))
    told += [(name, outcome[key]) for name, key in (("from", "by"), ("via", "via")) if outcome.get(key)]
    told += [
        (f"decided: {action}", " · ".join(part for part in (by, note) if part))
        for action, note, by, _ in call.decisions
    ]
    versions = facts.get("versions")
    if isinstance(versions, dict):
        told.append(("run began with", ", ".join(f"{name} {version}" for name, version in versions.items())))
    return [[words.clip(label, 80), words.clip(str(value), 500)] for label, value in told if value not in (None, "")]


def outputs(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what it printed and displayed: texts, pictures, and of HTML its text only."""
    told: list[dict[str, Any]] = []
    room, pictures = _TEXT, 0
    for output in found:
        if room <= 0:
            told.append({"kind": "text", "name": "", "text": "… and more", "truncated": True})
            break
        if output.get("output_type") == "stream":
            text = _text(output.get("text"))
            last = told[-1] if told else None
            name = str(output.get("name", "stdout"))
            if last is not None and last["kind"] == "text" and last["name"] == name:
                last["text"] += text[:room]
            else:
                told.append({"kind": "text", "name": name, "text": text[:room]})
            told[-1]["truncated"] = len(text) > room
            room -= len(text)
            continue
        data = output.get("data")
        if not isinstance(data, dict):
            continue
        mime = next((each for each in _IMAGES if each in data), "")
        picture = "".join(_text(data.get(mime)).split()) if mime else ""
        if picture and len(picture) <= _PICTURE and pictures < _PICTURES and _BASE64.fullmatch(picture):
            pictures += 1
            told.append({"kind": "image", "name": "display", "mime": mime, "data": picture})
            continue
        told.append(_display(data, room))
        room -= len(told[-1]["text"])
    return told


_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+=*")


def _display(data: dict[str, Any], room: int) -> dict[str, Any]:
    plain = _text(data.get("text/plain"))
    if "text/html" in data and not plain.strip():
        plain = html.unescape(_TAG.sub(" ", _text(data["text/html"])))
        plain = "\n".join(line.strip() for line in plain.splitlines() if line.strip())
    if not plain:
        plain = f"<{next(iter(data), 'display')}>"
    kind = "html-text" if "text/html" in data else "text"
    return {"kind": kind, "name": "display", "text": plain[:room], "truncated": len(plain) > room}


def _text(value: Any) -> str:
    return "".join(str(each) for each in value) if isinstance(value, list) else str(value) if value is not None else ""
