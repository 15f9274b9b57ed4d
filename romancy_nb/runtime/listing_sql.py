"""The questions that a list of instances asks the journal. Each is one statement, whatever the number of instances."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from romancy_nb.core import events as ev
from romancy_nb.journal.protocol import Journal
from romancy_nb.words import clip

__all__ = ["EXTENT", "SEGMENTS", "TOUCHED", "Waits", "bars", "facts", "mentions", "problems", "waits"]

SEGMENTS: Final = 24
"""Pieces of a brief timeline, at most."""

EXTENT: Final = (
    "select count(*), coalesce(max(rowid), -1) + 1, (select run from history_rows where rowid = 0) from history_rows"
)
TOUCHED: Final = """
select distinct instance_id from run_starts where run_key in (select run from history_rows where rowid >= ?)
"""

_FACTS: Final = """
select
    run_key, instance_id, number, coalesce(workflow, ''), status,
    epoch_us(min(started_at) over (partition by instance_id)),
    epoch_us(started_at), epoch_us(updated_at),
    case when ended then epoch_us(last_at) end,
    coalesce(owner, ''), coalesce(notebook, ''), coalesce(parent, ''),
    last_kind = 'run_paused' and coalesce(last_meta ->> '$.reason', '') = 'doubt'
from run_facts
{where}
qualify number = max(number) over (partition by instance_id)
"""


def facts(journal: Journal, instances: Sequence[str] | None) -> list[tuple[Any, ...]]:
    """Return a row for the newest run of each of *instances*, or of all: the fields of ``listing.Fact``, in order."""
    if instances is None:
        return journal.query(_FACTS.format(where="")).rows
    if not instances:
        return []
    return journal.query(_FACTS.format(where=f"where instance_id in ({_marks(instances)})"), list(instances)).rows


# -- what is waited for ------------------------------------------------------------------------------------------------

_WAITS: Final = f"""
select run_key, any_value(kind) filter (where opens), any_value(name) filter (where opens),
       any_value(meta ->> '$.what') filter (where opens), any_value((meta ->> '$.due')::bigint) filter (where opens),
       any_value(meta ->> '$.instance') filter (where opens), any_value(payload ->> '$.question') filter (where opens),
       min(seq)
from (
    select *, kind in ('{ev.TIMER_STARTED}', '{ev.WAIT_STARTED}', '{ev.CHILD_STARTED}') as opens
    from event_payloads
    where run_key in ({{marks}}) and kind in (
        '{ev.TIMER_STARTED}', '{ev.TIMER_FIRED}', '{ev.TIMER_CANCELLED}',
        '{ev.WAIT_STARTED}', '{ev.EVENT_RECEIVED}', '{ev.WAIT_CANCELLED}',
        '{ev.CHILD_STARTED}', '{ev.CHILD_COMPLETED}', '{ev.CHILD_FAILED}', '{ev.CHILD_CANCELLED}'
    )
)
group by run_key, call
having bool_and(opens)
order by run_key, min(seq)
"""
_ARRIVED: Final = f"""
select run_key, name from event_fields
where run_key in ({{marks}}) and kind = '{ev.EVENT_ARRIVED}' and (run_key, seq) not in (
    select (run_key, coalesce((meta ->> '$.arrived')::bigint, 0)) from event_fields
    where run_key in ({{marks}}) and kind in ('{ev.EVENT_RECEIVED}', '{ev.EVENT_REFUSED}')
)
"""


@dataclass(slots=True)
class Waits:
    """What a run waits for: whether a person is asked, what to say of it, and when its next timer is due (µs)."""

    asks: bool = False
    says: str = ""
    due: int | None = None


def waits(journal: Journal, runs: Sequence[int]) -> dict[int, Waits]:
    """Return what those of *runs* (keys) wait for that wait for anything."""
    if not runs:
        return {}
    marks = _marks(runs)
    found: dict[int, list[tuple[Any, ...]]] = {}
    for run, *wait in journal.query(_WAITS.format(marks=marks), list(runs)).rows:
        found.setdefault(run, []).append(tuple(wait))
    there: dict[int, list[str]] = {}
    if any(wait[0] == ev.WAIT_STARTED for each in found.values() for wait in each):
        for run, name in journal.query(_ARRIVED.format(marks=marks), [*runs, *runs]).rows:
            there.setdefault(run, []).append(name)
    return {run: _told(each, there.get(run, [])) for run, each in found.items()}


def _told(open_: list[tuple[Any, ...]], there: list[str]) -> Waits:
    asked, awaited = [], []
    due: int | None = None
    for kind, name, what, until, child, question, _ in open_:
        if kind == ev.TIMER_STARTED:
            due = until if due is None else min(due, until or due)
        elif kind == ev.CHILD_STARTED:
            awaited.append(f"waits for {name} {child or ''}".rstrip())
        elif name in there:
            there.remove(name)  # it has come, and the code has not got it yet
        elif what == "ask":
            asked.append(f"asks: {question or name}")
        elif what == "message":
            channel = name.removeprefix(ev.CHANNEL)
            awaited.append(
                "waits for a message on any channel" if channel == "*" else f"waits for a message on {channel}"
            )
        else:
            awaited.append(f"waits for event {name}")
    said = asked or awaited
    more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    return Waits(bool(asked), clip(said[0], 160) + more if said else "", due)


# -- what went wrong ---------------------------------------------------------------------------------------------------

_PROBLEMS: Final = """
select run_key, arg_max(kind, seq), arg_max_null(meta, seq), arg_max_null(payload, seq)
from event_payloads
where run_key in ({marks}) and starts_with(kind, 'run_') and kind <> 'run_started' and kind <> 'run_resumed'
group by run_key
"""


def problems(journal: Journal, runs: Sequence[int]) -> dict[int, str]:
    """Return in a line what the last word of each of *runs* (keys) says was the matter."""
    found: dict[int, str] = {}
    if not runs:
        return found
    for run, kind, meta, payload in journal.query(_PROBLEMS.format(marks=_marks(runs)), list(runs)).rows:
        facts, error = _parsed(meta), _parsed(payload)
        if "message" in error or "type" in error:
            name = str(error.get("type", "")).rpartition(".")[2]
            said = f"{name}: {error.get('message', '')}".strip(": ")
        elif kind == ev.RUN_STUCK:
            said = str(facts.get("message", ""))
        else:
            by = f" (by {facts['by']})" if facts.get("by") else ""
            reason = "" if kind == ev.RUN_PAUSED else str(facts.get("reason") or "")
            said = f"{reason}{by}" if reason else ""
        found[run] = clip(said, 160)
    return found


def _parsed(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# -- brief timelines ---------------------------------------------------------------------------------------------------

_INTENTS: Final = (
    *(ev.ACTIVITY_SCHEDULED, ev.CHILD_STARTED, ev.SIDE_EFFECT, ev.SUBSCRIBED, ev.MESSAGE_PUBLISHED),
    *(ev.TIMER_STARTED, ev.WAIT_STARTED, ev.COMPENSATION_SCHEDULED),
)
_POINTS: Final = (ev.SIDE_EFFECT, ev.SUBSCRIBED, ev.MESSAGE_PUBLISHED)
_PASSED: Final = (ev.TIMER_STARTED, ev.WAIT_STARTED)
_FAILED: Final = (ev.ACTIVITY_FAILED, ev.CHILD_FAILED, ev.COMPENSATION_FAILED)
_GIVEN_UP: Final = (ev.CALL_CANCELLED, ev.TIMER_CANCELLED, ev.WAIT_CANCELLED, ev.CHILD_CANCELLED)
_ENDS: Final = (
    *(*_FAILED, *_GIVEN_UP, ev.ACTIVITY_COMPLETED, ev.CHILD_COMPLETED, ev.COMPENSATION_COMPLETED),
    *(ev.COMPENSATION_RESOLVED, ev.OUTCOME_RECORDED, ev.TIMER_FIRED, ev.EVENT_RECEIVED),
)


def _in(kinds: Sequence[str]) -> str:
    return "(" + ", ".join(f"'{kind}'" for kind in kinds) + ")"


_LOOKS: Final = ("journal", "ok", "wait", "cancelled", "undo", "waiting", "open", "failed")
"""Of the pieces of a brief timeline; a piece that stands for several steps has the last of theirs."""
_BARS: Final = f"""
with calls as (
    select
        run,
        min(seq) filter (where kind in {_in(_INTENTS)}) as opened,
        any_value(kind) filter (where kind in {_in(_INTENTS)}) as what,
        arg_max(kind, seq) as last, min(stamp) as began, max(stamp) filter (where kind in {_in(_ENDS)}) as ended,
        bool_or(reused) as reused, arg_max(kind, seq) filter (where kind in {_in(_ENDS)}) as came
    from (
        select run, seq, kind, split_part(body, e'\\t', 1)::bigint as stamp, split_part(body, e'\\t', 3) as call,
               kind = '{ev.ACTIVITY_SCHEDULED}' and contains(split_part(body, e'\\t', 8), '"reused":') as reused
        from history_rows
        where run in ({{marks}}) and (kind in {_in(_INTENTS)} or kind in {_in(_ENDS)})
    )
    group by run, call
    having opened is not null
),
numbered as (
    select
        run,
        case
            when what in {_in(_POINTS)} then 1
            when came is null or last in {_in(_INTENTS)} then
                case when what in {_in((*_PASSED, ev.CHILD_STARTED))} then 5 else 6 end
            when came in {_in(_FAILED)} then 7
            when came in {_in(_GIVEN_UP)} then 3
            when what in {_in(_PASSED)} then 2
            when what = '{ev.COMPENSATION_SCHEDULED}' then 4
            when reused then 0
            else 1
        end as look,
        case when what in {_in(_POINTS)} then 0 else greatest(0, coalesce(ended, ?, began) - began) end as took,
        ntile({SEGMENTS}) over (partition by run order by opened) as piece
    from calls
)
select run, piece, max(look), sum(took)::bigint
from numbered
group by run, piece
order by run, piece
"""


def bars(journal: Journal, runs: Sequence[int], now: int | None) -> dict[int, list[tuple[str, float]]]:
    """Return a brief timeline of each of *runs* (keys): looks, and which share of the time each took.

    A run of more than ``SEGMENTS`` steps has one piece for several, which looks like the worst of them. "open" is an activity that
    has no outcome: it runs, or may have run.
    """
    found: dict[int, list[tuple[str, int]]] = {}
    if runs:
        for run, _, look, took in journal.query(_BARS.format(marks=_marks(runs)), [*runs, now]).rows:
            found.setdefault(run, []).append((_LOOKS[look], int(took or 0)))
    return {run: _shares(pieces) for run, pieces in found.items()}


def _shares(pieces: list[tuple[str, int]]) -> list[tuple[str, float]]:
    total = sum(took for _, took in pieces)
    return [(look, round(took / total, 3) if total else round(1 / len(pieces), 3)) for look, took in pieces]


# -- text --------------------------------------------------------------------------------------------------------------

_MENTIONS: Final = f"""
select distinct run_key from event_payloads
where kind in ('{ev.RUN_STARTED}', '{ev.RUN_FAILED}', '{ev.RUN_PAUSED}', '{ev.RUN_COMPENSATED}', '{ev.RUN_COMPENSATION_FAILED}')
  and contains(lower(payload::varchar), lower(?))
"""


def mentions(journal: Journal, text: str) -> set[int]:
    """Return the keys of the runs whose inputs or error hold *text*, whatever its case."""
    return {run for (run,) in journal.query(_MENTIONS, [text]).rows}


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
