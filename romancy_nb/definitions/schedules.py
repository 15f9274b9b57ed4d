"""Schedules: a workflow that is started again and again, while a kernel or a worker lives.

A schedule is an instance of a workflow of ours, which sleeps until the next fire time, starts the workflow as an instance of its
own and goes on in a new run. So all that a schedule must not forget (the last fire time, that it was cancelled) is history like
any other, and what a fire time starts has an id that follows from the schedule and that time: each starts it once, whatever dies in
between, and no schedule takes what another one started for its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from romancy_nb.core.context import ambient
from romancy_nb.definitions import registry
from romancy_nb.definitions.helpers import now, sleep_until
from romancy_nb.definitions.options import WorkflowOptions
from romancy_nb.definitions.recurring import recur
from romancy_nb.definitions.seconds import checked_seconds
from romancy_nb.errors import DefinitionError, RunStuck, WrongArguments

if TYPE_CHECKING:
    from romancy_nb.definitions.workflow import Workflow

__all__ = ["NAME", "Plan", "fire_times", "planned", "schedule_workflow"]

NAME: Final = "romancy.schedule"
"""The workflow that schedules are instances of."""
AT: Final = "scheduled_at"
"""A parameter of this name of the scheduled workflow gets the fire time."""
_MOST: Final = 100
"""Fire times that are made up for in one turn."""
_LEAST: Final = 0.1
"""Seconds between two fire times: each is a run, and one that follows at once leaves no time for anything else."""
_LATE: Final = timedelta(seconds=60)
"""A fire time that is over by no more than this is not missed."""

CatchUp = Literal["one", "all", "skip"]


class Plan(TypedDict):
    """When a schedule fires: by *cron* in *timezone*, or *every* so many seconds. *name* tells it from equal ones."""

    workflow: str
    name: str
    cron: str
    every: float
    timezone: str
    catch_up: str


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one waking comes to: the times to start the workflow for, and the last that is dealt with."""

    fires: list[datetime]
    last: datetime


def planned(
    workflow: str,
    cron: str | None,
    every: float | timedelta | None,
    catch_up: CatchUp,
    name: str | None,
    timezone: str | None,
) -> Plan:
    """Return the plan of a schedule, checked.

    Raises:
        DefinitionError: it says no times, or not so that they can be understood.
    """
    if (cron is None) == (every is None):
        raise DefinitionError(
            f'{workflow}.schedule takes either cron="0 9 * * MON-FRI" or every=3600 (seconds, or a timedelta); '
            f"{'both are' if cron is not None else 'none is'} given."
        )
    if catch_up not in {"one", "all", "skip"}:
        raise DefinitionError(f'{workflow}.schedule(catch_up={catch_up!r}): "one", "all" or "skip" is expected.')
    seconds = _interval(workflow, every) if every is not None else 0.0
    if timezone is not None:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise DefinitionError(
                f"{workflow}.schedule(timezone={timezone!r}): there is no such time zone. A name such as "
                '"Europe/Vienna" is expected.'
            ) from None
    plan = Plan(
        workflow=workflow,
        name=name or "",
        cron=cron or "",
        every=seconds,
        timezone=timezone or "UTC",
        catch_up=catch_up,
    )
    if cron is not None:
        _check_cron(workflow, cron, plan)
    return plan


def _interval(workflow: str, every: Any) -> float:
    """Return *every* in seconds."""
    what = f"{workflow}.schedule(every={every!r})"
    try:
        seconds = checked_seconds(every, now().timestamp(), what)
    except WrongArguments as error:
        raise DefinitionError(str(error)) from None
    if seconds < _LEAST:
        raise DefinitionError(f"{what}: {_LEAST:g} seconds or more, or a timedelta, are expected.")
    return seconds


def _check_cron(workflow: str, cron: Any, plan: Plan) -> None:
    from cronsim import CronSimError

    why = "that is no text" if not isinstance(cron, str) else f"number of fields: {len(cron.split())}"
    if isinstance(cron, str) and len(cron.split()) == 5:
        try:
            next(fire_times(plan, datetime(2026, 1, 1, tzinfo=UTC)), None)
            return
        except CronSimError as error:
            why = str(error)
    raise DefinitionError(
        f"{workflow}.schedule(cron={cron!r}): {why}. Five fields are expected: minute, hour, day of the "
        'month, month, day of the week, as in "30 9 * * MON-FRI".'
    )


def fire_times(plan: Plan, since: datetime) -> Iterator[datetime]:
    """Yield the fire times after *since*, in UTC.

    Local times that a change to summer time leaves out are fired right after it; those that come twice are fired once.

    Args:
        plan: of the schedule.
        since: the last fire time, or when the schedule began.
    """
    if plan["every"]:
        step = timedelta(seconds=plan["every"])
        due = since
        while True:
            due += step
            yield due
    from cronsim import CronSim

    for due in CronSim(plan["cron"], since.astimezone(ZoneInfo(plan["timezone"]))):
        yield due.astimezone(UTC)


def _turn(plan: Plan, last: datetime, present: datetime) -> _Turn | None:
    """Decide what to start at *present*, the last fire time that was dealt with being *last*."""
    passed: list[datetime] = []
    for due in fire_times(plan, last):
        if due > present or (plan["catch_up"] == "all" and len(passed) == _MOST):
            break
        passed.append(due)
        if len(passed) > _MOST:
            del passed[0]
    if not passed:
        return None
    newest = passed[-1]
    if plan["catch_up"] == "all":
        return _Turn(passed, newest)
    if plan["catch_up"] == "skip" and present - newest > _LATE:
        return _Turn([], newest)
    return _Turn([newest], newest)


def _schedule(plan: Plan, args: list[Any], kwargs: dict[str, Any], last: datetime | None = None) -> None:
    """One turn of a schedule: wait for the next fire time, start what is to be started, go on."""
    begun = last or now()
    due = next(fire_times(plan, begun), None)
    if due is None:
        return  # a date that never comes
    sleep_until(due)
    turn = _turn(plan, begun, max(now(), due))
    assert turn is not None
    for at in turn.fires:
        target = _target(plan)
        given = {AT: at} if AT in target.signature.fields else {}
        target.start(*args, detach=True, instance_id=_started_id(plan, at), **kwargs, **given)
    recur(plan, args, kwargs, turn.last, compensations="drop")


def _started_id(plan: Plan, at: datetime) -> str:
    """Return the id of what this schedule starts for the fire time *at*; at its end stands which schedule that is."""
    found = ambient()
    assert found is not None
    moment = f"{at:%Y%m%dT%H%M%S}"
    if plan["every"] and plan["every"] < 1:
        moment += f".{at.microsecond:06d}"
    parts = [plan["workflow"], plan["name"], moment, found.instance_id.removeprefix(f"{NAME}-")]
    return "-".join(part for part in parts if part)


def _target(plan: Plan) -> Workflow[..., Any]:
    target: Workflow[..., Any] | None = registry.find("workflow", plan["workflow"])
    if target is None:
        raise RunStuck(
            f"The schedule of {plan['workflow']} is due, and that workflow is not defined here. Run the cell that defines it, and "
            "then the one with the schedule: it goes on."
        )
    return target


def schedule_workflow() -> Workflow[..., Any]:
    """Return the workflow that schedules are instances of; defined when it is first needed."""
    from romancy_nb.definitions.workflow import Workflow

    found = registry.find("workflow", NAME)
    return found if found is not None else Workflow(_schedule, NAME, WorkflowOptions())
