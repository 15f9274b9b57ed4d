"""Which instances are listed: a filter that can be written down, so that a display says what it shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlencode

from romancy_nb.core.transitions import STATUSES

if TYPE_CHECKING:
    from romancy_nb.runtime.listing import Fact

__all__ = ["PREFIX", "SHOWN", "STATES", "Filter", "moment_of"]

PREFIX: Final = "instances:"
SHOWN: Final = STATUSES | {"interrupted"}
"""The statuses that people read."""
STATES: Final = SHOWN | {"asks", "in_doubt"}
"""The same, and what says more than a status: a person is to answer; a step may have run."""
_UNITS: Final = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which instances are meant. Empty: all of them.

    Attributes:
        states: statuses, and "asks" (it waits for a person) or "in_doubt".
        workflows: names.
        since, until: when it was last touched: not before, and before (µs, or how long ago: ``"2h"``).
        text: stands in its id, its workflow's name, its inputs or its error, whatever the case.
        limit: how many at most, the newest.
        open: only what goes on or wants somebody.
    """

    states: tuple[str, ...] = ()
    workflows: tuple[str, ...] = ()
    since: int | str | None = None
    until: int | str | None = None
    text: str = ""
    limit: int | None = None
    open: bool = False

    @classmethod
    def of(
        cls,
        status: str | Sequence[str] | None = None,
        workflow: str | Sequence[str] | None = None,
        since: datetime | timedelta | str | int | None = None,
        until: datetime | timedelta | str | int | None = None,
        text: str = "",
        limit: int | None = None,
    ) -> Filter:
        """Return the filter that these words mean.

        Raises:
            ValueError: there is no such status, or that is no time, or a limit that lets nothing through.
        """
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise ValueError(f"{limit!r} is no limit: it is how many are listed at most, a whole number from 1.")
        if not isinstance(text, str):
            raise ValueError(f"text={text!r} is no text.")
        states, workflows = _several(status), _several(workflow)
        for name in states:
            if name not in STATES:
                raise ValueError(f"{name!r} is no status; there are {', '.join(sorted(STATES))}.")
        return cls(states, workflows, _written(since), _written(until), text, limit)

    def at(self, now: int) -> Filter:
        """Return the same with points in time for what is so long ago."""
        return replace(self, since=moment_of(self.since, now), until=moment_of(self.until, now))

    def takes(self, fact: Fact, mentioned: Collection[int]) -> bool:
        """Is *fact* meant? *mentioned*: keys of the runs whose inputs or error hold the text. Needs ``at`` first."""
        if self.open and fact.group > 1:
            return False
        if self.states and fact.state not in self.states and fact.status not in self.states:
            return False
        if self.workflows and fact.workflow not in self.workflows:
            return False
        since, until = self.since, self.until
        if (isinstance(since, int) and fact.updated < since) or (isinstance(until, int) and fact.updated >= until):
            return False
        if not self.text or fact.key in mentioned:
            return True
        sought = self.text.casefold()
        return sought in fact.instance.casefold() or sought in fact.workflow.casefold()

    def any_state(self) -> Filter:
        """Return the same for every state."""
        return replace(self, states=())

    # -- written down --------------------------------------------------------------------------------------------

    def anchor(self) -> str:
        """Return what names a display of these instances: equal filters, equal anchors."""
        pairs: list[tuple[str, str]] = [("status", name) for name in sorted(set(self.states))]
        pairs += [("workflow", name) for name in sorted(set(self.workflows))]
        for name, value in (("since", self.since), ("until", self.until), ("text", self.text), ("limit", self.limit)):
            if value not in (None, ""):
                pairs.append((name, str(value)))
        pairs += [("open", "1")] if self.open else []
        return PREFIX + urlencode(pairs, quote_via=quote)

    @classmethod
    def of_anchor(cls, anchor: str) -> Filter:
        """Return the filter that ``anchor`` wrote down; what cannot be read counts for nothing."""
        pairs = parse_qsl(anchor.removeprefix(PREFIX), keep_blank_values=False)
        return cls.of_json(
            {**dict(pairs), **{name: [v for n, v in pairs if n == name] for name in ("status", "workflow")}}
        )

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Filter:
        """Return the filter that a page asks for; what makes no sense counts for nothing."""
        states = tuple(str(each) for each in found.get("status") or () if each in STATES)
        workflows = tuple(str(each) for each in found.get("workflow") or ())
        since, until = _readable(found.get("since")), _readable(found.get("until"))
        limit = _readable(found.get("limit"))
        text, open_ = str(found.get("text") or ""), bool(found.get("open"))
        return cls(states, workflows, since, until, text, limit if isinstance(limit, int) else None, open_)


def moment_of(when: datetime | timedelta | str | int | None, now: int) -> int | None:
    """Return a point in time as µs: a datetime, how long ago (``"2h"``, a timedelta), an ISO date or time, or µs.

    Raises:
        ValueError: it is none of these.

    >>> moment_of("90min", 10_000_000_000), moment_of("1970-01-02T00:00Z", 0)
    (4600000000, 86400000000)
    """
    match when:
        case None:
            return None
        case int():
            return when
        case timedelta():
            return now - round(when.total_seconds() * 1_000_000)
        case datetime():
            aware = when if when.tzinfo is not None else when.astimezone()
            return round((aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)
    if not isinstance(when, str):
        raise ValueError(f"{when!r} is no time: a text such as '2h' or '2026-11-21' is, a datetime or a timedelta.")
    number = when.strip().rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = when.strip()[len(number) :].strip()
    try:
        if unit in _UNITS:
            return now - round(float(number) * _UNITS[unit] * 1_000_000)
        return moment_of(datetime.fromisoformat(when), now)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{when!r} is no time. Say how long ago it is (30min, 2h, 7d), or a date or time such as 2026-11-21 or "
            "2026-11-21T17:02."
        ) from None


def _several(names: str | Sequence[str] | None) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) else names or ()
    if not isinstance(found, Sequence) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{names!r} is neither a name nor a list of names.")
    return tuple(found)


def _written(when: datetime | timedelta | str | int | None) -> int | str | None:
    """What is relative stays so, that the same call writes the same; the rest is a point in time."""
    if isinstance(when, timedelta):
        return f"{round(when.total_seconds())}s"
    moment = moment_of(when, 0)
    return when.strip() if isinstance(when, str) and moment is not None and moment <= 0 else moment


def _readable(value: Any) -> int | str | None:
    """A number, or what ``moment_of`` reads; None for everything else."""
    try:
        return int(value)
    except (TypeError, ValueError):
        pass
    try:
        return _written(value) if isinstance(value, str) and value else None
    except ValueError:
        return None
