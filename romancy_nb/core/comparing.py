"""Which step of one run is which of another: by place, name and inputs first, as a replay finds calls (C6)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from romancy_nb.core import events as ev
from romancy_nb.core.replay import Call, Numbered, collect, without_void
from romancy_nb.payloads.payload import Payload

__all__ = ["Facts", "facts_of", "in_order", "match", "what_differs"]

_OWN_RESULT: Final = frozenset({ev.SIDE_EFFECT, ev.MESSAGE_PUBLISHED})


@dataclass(frozen=True, slots=True)
class Facts:
    """What of a step can differ.

    Attributes:
        kind, name: of its intent.
        digest: of its inputs.
        code: fingerprint of what was called.
        ok: how it came out; None: not yet, or it was given up.
        result: of it, as it is in the journal.
        attempts: how many it took.
        edited: a person replaced its result.
    """

    kind: str
    name: str
    digest: str
    code: str
    ok: bool | None
    result: Payload | None
    attempts: int
    edited: bool


def facts_of(rows: Sequence[Numbered]) -> dict[str, Facts]:
    """Return the facts of each step of a run, by its place; those of undos have places of their own."""
    calls, _ = collect(without_void(rows))
    found = {place: _facts(call) for place, call in calls.items()}
    for _, event in rows:
        if event.kind == ev.COMPENSATION_SCHEDULED:
            inputs = event.payload.text if event.payload is not None else ""
            found[event.call] = Facts(event.kind, event.name, inputs, event.code, None, None, 0, False)
        elif event.kind in {ev.COMPENSATION_COMPLETED, ev.COMPENSATION_FAILED} and event.call in found:
            before, ok = found[event.call], event.kind == ev.COMPENSATION_COMPLETED
            found[event.call] = Facts(
                before.kind, before.name, before.digest, before.code, ok, event.payload, event.attempt, False
            )
    return found


def _facts(call: Call) -> Facts:
    event, outcome = call.intent, call.outcome or call.waiting
    meta = event.meta or {}
    ok: bool | None = None
    result = None
    if event.kind in _OWN_RESULT:
        ok, result = bool(meta.get("ok", True)), event.payload
    elif outcome is not None:
        failed = outcome.kind in {ev.ACTIVITY_FAILED, ev.CHILD_FAILED}
        ok = bool((outcome.meta or {}).get("ok")) if outcome.kind == ev.OUTCOME_RECORDED else not failed
        result = outcome.payload
    attempts = max(call.attempts, outcome.attempt if outcome is not None else 0)
    return Facts(event.kind, event.name, event.digest, event.code, ok, result, attempts, bool(meta.get("edited")))


def match(here: dict[str, Facts], there: dict[str, Facts]) -> list[tuple[str, str]]:
    """Return the pairs of places of what is the same step in both.

    By place, name and inputs first; then what has moved, by name and inputs; then what stands at the same place under the same name
    with other inputs.
    """
    pairs: list[tuple[str, str]] = []
    left, right = dict(here), dict(there)

    def take(one: str, other: str) -> None:
        pairs.append((one, other))
        del left[one], right[other]

    def same(place: str, facts: Facts, with_inputs: bool) -> bool:
        known = right.get(place)
        alike = known is not None and (known.kind, known.name) == (facts.kind, facts.name)
        return alike and (not with_inputs or (known is not None and known.digest == facts.digest))

    for place, facts in list(left.items()):
        if same(place, facts, True):
            take(place, place)
    free: dict[Hashable, list[str]] = {}
    for place, facts in right.items():
        free.setdefault((facts.kind, facts.name, facts.digest), []).append(place)
    for place, facts in list(left.items()):
        equal = free.get((facts.kind, facts.name, facts.digest))
        if equal:
            take(place, equal.pop(0))
    for place, facts in list(left.items()):
        if same(place, facts, False):
            take(place, place)
    return pairs


def what_differs(here: Facts, there: Facts) -> list[str]:
    """Return what of a step differs, but for how long it took: "input", "output", "error", "outcome", "attempts", "code"."""
    found: list[str] = []
    if here.digest != there.digest:
        found.append("input")
    if here.ok != there.ok:
        found.append("outcome")
    elif here.result != there.result:
        found.append("error" if here.ok is False else "output")
    if max(here.attempts, 1) != max(there.attempts, 1):
        found.append("attempts")
    if here.code != there.code:
        found.append("code")
    return found


def in_order(here: Iterable[str], there: Sequence[str], pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the places of both in one order: that of *here*, and what is only there behind what stands before it there."""
    partner = dict(pairs)
    back = {other: one for one, other in partner.items()}
    behind: dict[str, list[str]] = {}
    last = ""
    for place in there:
        if place in back:
            last = back[place]
        else:
            behind.setdefault(last, []).append(place)
    rows = [("", place) for place in behind.get("", ())]
    for place in here:
        rows.append((place, partner.get(place, "")))
        rows += [("", other) for other in behind.get(place, ())]
    return rows
