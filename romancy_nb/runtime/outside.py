"""What a run awaits from outside, from the engine's side: events that somebody sends, and children (``children``).

An event that arrives is a row of the run's history at once (``event_arrived``), whoever awaits it and whenever; so nothing
that was acknowledged can be lost. Handing it to the code that awaits it is a second row, which names the first. What is between
the two is worked out from history each time a run is taken up: a process that dies there delivers it once all the same.
"""

from __future__ import annotations

import base64
import json
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core.commands import Delivery, OpenOutside, Report
from romancy_nb.core.events import Event
from romancy_nb.core.replay import Numbered
from romancy_nb.definitions.misfits import check_against_schema
from romancy_nb.payloads.codec import canonical_digest
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime.questions import asks, schema_in

if TYPE_CHECKING:
    from romancy_nb.runtime.live import LiveRun
    from romancy_nb.runtime.state import State

__all__ = [
    "arrive",
    "carried",
    "given_up",
    "handed_on",
    "mark",
    "match",
    "misfits",
    "opened",
    "prepare",
    "put_back",
    "returned",
    "unconsumed",
]

log = logging.getLogger("romancy_nb")


def unconsumed(rows: Iterable[Numbered]) -> list[Numbered]:
    """Return the events that have arrived in a run and that nothing has received, in the order in which they came."""
    left: dict[int, Event] = {}
    for seq, event in rows:
        if event.kind == ev.EVENT_ARRIVED:
            left[seq] = event
        elif event.kind in {ev.EVENT_RECEIVED, ev.EVENT_REFUSED}:
            left.pop(int((event.meta or {}).get("arrived", 0)), None)
    return list(left.items())


def carried(rows: Sequence[Numbered]) -> list[Event]:
    """Return the rows with which a new run of the instance begins, so that nothing is lost on the way.

    They are what has arrived and nobody has received, and the subscriptions of the run before.
    """
    modes = {event.name: event for _, event in rows if event.kind == ev.SUBSCRIBED}
    kept = [event._replace(call="") for event in modes.values()] + [event for _, event in unconsumed(rows)]
    return [event._replace(meta={**_told(event), "carried": True}) for event in kept]


def handed_on(run: LiveRun, now: int) -> list[Event]:
    """Return the same rows for a run that goes on in a new one, without looking into its history."""
    put_back(run, [*run.sent, *run.pending])
    kept = [
        Event(ev.SUBSCRIBED, now, name=name, digest=mode, meta={"mode": mode}) for name, mode in run.subscribed.items()
    ]
    arrived = sorted((seq, event) for queue in run.arrivals.values() for seq, event in queue)
    kept += [event for _, event in arrived]
    return [event._replace(meta={**_told(event), "carried": True}) for event in kept]


def prepare(run: LiveRun, rows: Sequence[Numbered]) -> None:
    """Know again what has arrived for *run*, whose history is *rows*."""
    run.subscribed = {
        event.name: str((event.meta or {}).get("mode", "broadcast")) for _, event in rows if event.kind == ev.SUBSCRIBED
    }
    on_their_way = {(each.facts or {}).get("arrived") for each in (*run.sent, *run.pending)}
    run.asked = {event.name for _, event in rows if event.kind == ev.WAIT_STARTED and asks(event.meta)}
    since = [each for queue in run.arrivals.values() for each in queue if each[0] > rows[-1][0]]
    run.arrivals, run.outside, run.awaiting = {}, {}, {}
    for seq, event in [*unconsumed(rows), *sorted(since)]:  # also what came when the rows had been read already
        if seq not in on_their_way:
            run.arrivals.setdefault(event.name, deque()).append((seq, event))


def opened(engine: State, run: LiveRun, each: OpenOutside) -> None:
    """The code awaits something from outside."""
    run.outside[each.place] = each
    if each.command.kind != ev.WAIT_STARTED:
        return
    name = each.command.name
    if asks(each.facts):
        run.asked.add(name)
    run.awaiting.setdefault(name, deque()).append(each.place)
    if name == ev.ANY_CHANNEL:  # the oldest message, of whatever channel
        messages = [(queue[0][0], known) for known, queue in run.arrivals.items() if known.startswith(ev.CHANNEL)]
        matched = bool(messages) and match(engine, run, min(messages)[1])
    else:
        matched = match(engine, run, name)
    if not matched and name.startswith(ev.CHANNEL):
        engine.offer(run, name)


def given_up(engine: State, run: LiveRun, place: str) -> None:
    """The code does not await it any more."""
    each = run.outside.pop(place, None)
    if each is not None and each.command.kind == ev.WAIT_STARTED:
        _forget(run, each)


def arrive(engine: State, run: LiveRun, event: Event) -> bool:
    """Journal that *event* has arrived for a run that is advanced here, and hand it over if it is awaited.

    Returns:
        Was it awaited?
    """
    if run.opening:  # it begins with that
        engine.record(run, run.opening)
        run.opening = []
    number = run.next_seq
    engine.record(run, [event])
    run.arrivals.setdefault(event.name, deque()).append((number, event))
    return match(engine, run, event.name)


def match(engine: State, run: LiveRun, name: str) -> bool:
    """Bring what has arrived under *name* to what awaits it: both in the order in which they came."""
    arrivals, matched = run.arrivals.get(name), False
    while arrivals and run.host is not None and run.status != "paused":
        places = run.awaiting.get(name) or (run.awaiting.get(ev.ANY_CHANNEL) if name.startswith(ev.CHANNEL) else None)
        if not places:
            break
        each = run.outside[places[0]]
        number, event = arrivals.popleft()
        why = _misfit(each, event)
        if why:
            engine.record(run, [Event(ev.EVENT_REFUSED, now_us(), name=name, meta={"arrived": number, "why": why})])
            log.warning("event %s of %s does not fit what awaits it, and is put aside: %s", name, run.instance, why)
            continue
        _forget(run, each)
        del run.outside[each.place]
        facts = {"arrived": number, "event_id": event.digest, "name": name, **_told(event)}
        run.pending.append(Delivery(ev.EVENT_RECEIVED, each.place, now_us(), payload=event.payload, facts=facts))
        engine.make_ready(run)
        matched = True
    if arrivals is not None and not arrivals:
        del run.arrivals[name]
    return matched


def returned(engine: State, run: LiveRun, sent: Sequence[Delivery], report: Report) -> None:
    """Events that came when their wait had just been given up go to the next that awaits them, before any that came later.

    Args:
        engine: of the run.
        run: whose code has told of an activation.
        sent: what that activation was given; what has come meanwhile is in ``run.pending``.
        report: what it told.
    """
    received = {row.call for row in report.rows if row.kind == ev.EVENT_RECEIVED}
    void = set(report.cancelled_outside)
    late = [each for each in run.pending if each.kind == ev.EVENT_RECEIVED and each.place in void]
    if late:
        run.pending = [each for each in run.pending if each not in late]
    names = put_back(run, [each for each in sent if each.place not in received] + late)
    for name in sorted(names, key=lambda name: run.arrivals[name][0][0]):
        match(engine, run, name)


def put_back(run: LiveRun, deliveries: Sequence[Delivery]) -> set[str]:
    """Events on their way to code that did not get them have arrived, and no more. Returns their names."""
    names = set()
    for each in reversed([each for each in deliveries if each.kind == ev.EVENT_RECEIVED]):
        facts = dict(each.facts or {})
        number, name, event_id = int(facts.pop("arrived")), str(facts.pop("name")), str(facts.pop("event_id"))
        event = Event(ev.EVENT_ARRIVED, each.at, "", name, event_id, "", 0, each.payload, facts)
        run.arrivals.setdefault(name, deque()).appendleft((number, event))
        names.add(name)
    return names


def _told(event: Event) -> dict[str, object]:
    """The facts of an event that stay with it."""
    return {key: value for key, value in (event.meta or {}).items() if key in {"by", "via", "mode", "checked"}}


def _misfit(each: OpenOutside, event: Event) -> str:
    """Return why the event, which may have been sent when nobody awaited it, does not fit; nothing when it does."""
    if event.payload is None or each.command.payload is None:
        return ""
    schema, checked = schema_in(each.command.payload), (event.meta or {}).get("checked")
    if checked is not None and checked == mark(schema):
        return ""
    return "; ".join(f"{path or 'it'} {why}" for path, why in misfits(schema, event.payload)[:3])


def mark(schema: dict[str, Any] | None) -> str:
    """Return the mark of an event that the type with this *schema* has taken.

    Such an event is journaled as the type has it, by the names of its fields and not by their aliases, and is not checked again.
    """
    return canonical_digest(["awaited", schema])


def misfits(schema: dict[str, Any] | None, payload: Payload) -> list[tuple[str, str]]:
    """Return what of *payload* does not fit *schema*: (path of the field, what is wrong). Only the schema decides, no code."""
    if schema is None or payload.parts:
        return []
    try:
        value = _plain(json.loads(payload.text)) if '"$' in payload.text else json.loads(payload.text)
    except _SaysItself:
        return []
    if '"$' in payload.text and '"binary"' in json.dumps(schema) and _has_bytes(value):
        return []
    return check_against_schema(schema, value)


class _SaysItself(Exception):
    """The value says itself what it is: it was journaled as an object of a class."""


def _plain(document: Any) -> Any:
    """Return the JSON that was sent: keys and texts that look like our own marks were wrapped when it was journaled."""
    if isinstance(document, list):
        return [_plain(each) for each in document]
    if not isinstance(document, dict):
        return document
    match document.get("$type"):
        case "dict":
            return {str(key): _plain(each) for key, each in document["items"]}
        case "str":
            return str(document["escaped"])
        case "bytes":
            return base64.b64decode(document["base64"])
    if any(key.startswith("$") for key in document):
        raise _SaysItself
    return {key: _plain(each) for key, each in document.items()}


def _has_bytes(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_bytes, value.values()))
    return isinstance(value, bytes) or (isinstance(value, list) and any(map(_has_bytes, value)))


def _forget(run: LiveRun, each: OpenOutside) -> None:
    places = run.awaiting.get(each.command.name)
    if places is not None and each.place in places:
        places.remove(each.place)
        if not places:
            del run.awaiting[each.command.name]
