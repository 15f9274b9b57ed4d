"""What a click on a step shows: values, attempts, outputs, code then and now, times, key. All from the journal, nothing executed.

The engine's thread only reads the rows of the one call, so that it costs the same in a run of ten thousand steps; everything
else is made on the asker's thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.ledger import NOTEBOOK
from romancy_nb.errors import RunProblem
from romancy_nb.journal.protocol import Head, Row
from romancy_nb.payloads.payload import Payload
from romancy_nb.payloads.shown import shown, shown_inputs, text_value
from romancy_nb.payloads.shown_failures import shown_failure
from romancy_nb.runtime import details_code, details_told, keys
from romancy_nb.runtime.called import Called, Try, read_call
from romancy_nb.runtime.questions import asks, form, questions_in
from romancy_nb.runtime.standing import head_of

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine
    from romancy_nb.runtime.instance import Instance

__all__ = ["Found", "details", "find"]

MOST: Final = 200_000
"""Characters that an answer takes at most."""
_PART: Final = 20_000_000
_TRIES: Final = 20
_TRACEBACKS: Final = 40_000
_TOO_LARGE: Final = "It is too large to be shown here."


@dataclass(slots=True)
class Found:
    """One call, and what the journal knows around it.

    Attributes:
        head: of its run.
        facts: of the run's first row.
        call: as its rows tell of it.
        rows: those rows.
        key: the idempotency key that its activity is given; empty where it has none.
        text: what was kept of its code, as JSON; may be empty.
        data: binary parts by digest.
    """

    head: Head
    facts: dict[str, Any]
    call: Called
    rows: list[Row]
    key: str = ""
    text: str = ""
    data: dict[str, bytes] = field(default_factory=dict)


def details(instance: Instance[Any], place: str, run: int | None = None) -> dict[str, Any]:
    """Return what a click on a step shows, as JSON of at most about 200 kB. Any thread may ask.

    Args:
        instance: whose step it is.
        place: of the call: ``"0:3"``, or ``"undo:0:3"`` for its undo.
        run: number of the run; None: the newest.

    Raises:
        RunProblem: the run has no such step.
        InstanceNotFound: there is no such instance.

    Example:
        >>> details(order, "0:0")["input"]  # doctest: +SKIP
        {'kind': 'json', 'value': {'item': 'lamp'}, 'truncated': False}
    """
    found = find(instance, place, run)
    call, fetch = found.call, found.data.get
    question, wait = _awaited(found)
    told = {
        "input": shown_inputs(call.inputs, fetch),
        "output": shown(call.result, fetch),
        "error": shown_failure(call.error),
        "attempts": _attempts(call.tries),
        "outputs": details_told.outputs(call.outputs),
        "code": details_code.code(call, found.text),
        "timing": details_told.timing(call),
        "key": found.key,
        "attributes": details_told.attributes(call, found.head, found.facts),
        "question": question,
        "wait": wait,
    }
    return _limited(told)


def find(instance: Instance[Any], place: str, run: int | None = None, *, parts: bool = True) -> Found:
    """Read one call and what the journal knows around it.

    Args:
        parts: with the data of binary values that are not too large to be looked at.

    Raises:
        RunProblem: the run has no such step.
    """
    found: Found = instance._engine.ask(lambda engine: _find(engine, instance.id, place, run, parts))
    return found


# -- on the engine's thread -----------------------------------------------------------------------------------------------


def _find(engine: Engine, instance: str, place: str, run: int | None, parts: bool) -> Found:
    head = _head(engine, instance, run)
    rows = engine.journal.load(head.run, parts=False, place=place)
    call = read_call(rows, place)
    if call is None or not place:
        raise RunProblem(f"Run {head.number} of instance {instance} has no step at {place!r}.")
    facts = dict(rows[0].event.meta or {}) if rows[0].event.kind == ev.RUN_STARTED else {}
    found = Found(head, facts, call, rows)
    intent = call.intent
    if intent.code:
        found.text = engine.journal.text(details_code.kept_under(intent))
    if parts:
        for payload in (call.inputs, call.result):
            found.data |= _data(engine, payload)
    found.key = _key(engine, found)
    return found


def _head(engine: Engine, instance: str, run: int | None) -> Head:
    newest = head_of(engine, instance)
    if run is None or run == newest.number:
        return newest
    head = next((each for each in engine.journal.runs(instance) if each.number == run), None)
    if head is None:
        raise RunProblem(f"Instance {instance} has no run {run}; its newest is {newest.number}.")
    return head


def _data(engine: Engine, payload: Payload | None) -> dict[str, bytes]:
    """The binary parts that are worth looking into: the first few, and none that is very large."""
    wanted = [part for part in (payload.parts if payload is not None else ())[:8] if part.size <= _PART]
    return {part.digest: engine.journal.part(part.digest) for part in wanted}


def _key(engine: Engine, found: Found) -> str:
    """The key that the activity's context has, or had (A4)."""
    intent, meta, head = found.call.intent, found.call.meta, found.head
    if intent.kind not in {ev.ACTIVITY_SCHEDULED, ev.COMPENSATION_SCHEDULED} or "child" in meta:
        return ""
    if (origin := meta.get("reused")) is not None:
        return _key_of_origin(engine, found, origin)
    redo = frozenset(found.facts.get("redo", ()))
    occurrence, scope, undone = int(meta.get("occurrence", 0)), "", 0
    if intent.kind == ev.COMPENSATION_SCHEDULED:
        scope = keys.undo_scope(intent.call, head.number)
    elif head.workflow == NOTEBOOK:
        scope = _cell_scope(engine, found)
    if head.number > 1:
        undone = _undone(engine, found, occurrence)
    generation = keys.generation_of(intent.name, head.number, redo, keys.turn_of(found.facts), undone)
    return keys.key_of(
        head.instance,
        intent.name,
        intent.digest,
        occurrence,
        generation,
        number=head.number,
        undoes=str(meta.get("undoes", "")),
        scope=scope,
    )


def _key_of_origin(engine: Engine, found: Found, origin: Any) -> str:
    """A call that an earlier run's result answered was executed there, with the key that it had there."""
    run, seq = int(origin[0]), int(origin[1])
    head = engine.journal.run_heads([run]).get(run)
    if head is None:
        return ""
    place = next((row.event.call for row in engine.journal.load(run, parts=False) if row.seq == seq), "")
    try:
        return _find(engine, head.instance, place, head.number, parts=False).key
    except RunProblem:
        return ""


def _undone(engine: Engine, found: Found, occurrence: int) -> int:
    """How often earlier runs have undone this very call."""
    from romancy_nb.runtime import chains

    head, intent = found.head, found.call.intent
    live = engine.newest.get(head.instance)
    wanted = (ev.ACTIVITY_SCHEDULED, intent.name, intent.digest, occurrence)
    if live is not None and live.key == head.run:
        return live.undone.get(wanted) or 0
    histories = chains.answering(engine, head.instance, found.facts, head.number)
    redo = frozenset(found.facts.get("redo", ()))
    return chains.pool(histories, redo).undone.get(wanted) or 0 if histories else 0


def _cell_scope(engine: Engine, found: Found) -> str:
    """Of a notebook's step: its cell, and how many equal calls of that cell had an outcome before (see ``Ledger.scope``)."""
    intent, cell = found.call.intent, str(found.call.meta.get("cell", ""))

    def key(event: ev.Event) -> tuple[str, str, str, int]:
        meta = event.meta or {}
        return str(meta.get("cell", "")), event.name, event.digest, int(meta.get("occurrence", 0))

    mine, settled, before = key(intent), 0, ""
    ended: set[str] = set()
    for row in engine.journal.load(found.head.run, parts=False):
        event = row.event
        if event.kind == ev.ACTIVITY_SCHEDULED and key(event) == mine:
            settled += before in ended
            before = event.call
        elif event.kind in ev.OUTCOMES or event.kind == ev.OUTCOME_RECORDED:
            ended.add(event.call)
        if row.seq >= found.call.seq:
            break
    return f"{cell}\0{settled}"


# -- on the asker's thread ------------------------------------------------------------------------------------------------


def _attempts(tries: list[Try]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    room = _TRACEBACKS
    for number in range(len(tries) - 1, max(-1, len(tries) - 1 - _TRIES), -1):
        each, before = tries[number], tries[number - 1] if number else None
        error = shown_failure(each.error) or {}
        traceback = error.get("traceback", "") if room > 0 else ""
        room -= len(traceback)
        waited = each.started - before.finished if before is not None and before.finished is not None else None
        told.append(
            {
                "number": each.number,
                "started": each.started,
                "finished": each.finished,
                "outcome": each.outcome or "unknown",
                "error": ": ".join(part for part in (error.get("type"), error.get("message")) if part),
                "traceback": traceback,
                "delay_us": max(0, waited) if waited is not None else None,
            }
        )
    return told[::-1]


def _awaited(found: Found) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """What the step waits for: a question with its form, or an event with its schema."""
    intent = found.call.intent
    if intent.kind != ev.WAIT_STARTED:
        return None, None
    if not asks(intent.meta):
        try:
            known = json.loads(intent.payload.text) if intent.payload is not None else {}
        except ValueError:
            known = {}
        return None, {"event": intent.name, "schema": known.get("schema") if isinstance(known, dict) else None}
    asked = questions_in([(row.seq, row.event) for row in found.rows], found.head)
    if not asked:
        return None, None
    one = asked[-1]
    return {"text": one.question, "form": form(one)}, None


def _limited(told: dict[str, Any]) -> dict[str, Any]:
    """Keep an answer within its size: what takes most gives way, and says so."""
    for give_way in (_without_pictures, _without_outputs, _without("output"), _without("input"), _without_tracebacks):
        if len(json.dumps(told, ensure_ascii=False)) <= MOST:
            break
        give_way(told)
    return told


def _without_pictures(told: dict[str, Any]) -> None:
    left_out = {"kind": "text", "name": "display", "text": "<a picture, too large to be shown here>", "truncated": True}
    told["outputs"] = [left_out if each["kind"] == "image" else each for each in told["outputs"]]


def _without_outputs(told: dict[str, Any]) -> None:
    told["outputs"] = [{"name": "", **text_value(_TOO_LARGE)}]


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda told: told.update({name: text_value(_TOO_LARGE)})


def _without_tracebacks(told: dict[str, Any]) -> None:
    told["attempts"] = [{**each, "traceback": ""} for each in told["attempts"]]
