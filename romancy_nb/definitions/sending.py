"""Sending events to instances: ``rn.send``, from a cell, a program, an activity, or workflow code, where it is a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from romancy_nb.core.context import ambient
from romancy_nb.definitions.activity import Activity
from romancy_nb.definitions.ambient import Context, launcher
from romancy_nb.definitions.options import ActivityOptions, RetryPolicy
from romancy_nb.errors import EventRefused, InstanceEnded, InstanceNotFound, WrongArguments

__all__ = ["Receipt", "send"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an event: it is in the journal, and will be received once.

    Attributes:
        instance_id: where it was sent to.
        event: its name.
        event_id: tells it from others; sending it once more changes nothing.
        status: "delivered": it was awaited, "kept": it is until somebody awaits it, "posted": another process takes it up.
        duplicate: an event with this id had been sent before, so this one was not.
        says: who acts on it, or what has to be done for that; one sentence.
    """

    instance_id: str
    event: str
    event_id: str
    status: str
    duplicate: bool = False
    says: str = ""

    def __repr__(self) -> str:
        return self.says


def send(
    instance_id: Any,
    event: str,
    payload: object = None,
    *,
    event_id: str | None = None,
    via: str = "python",
    by: str | None = None,
) -> Receipt:
    """Send an event to an instance. When this returns, it is in the journal: it is received once, whatever dies meanwhile.

    In workflow code it is a step (await it in ``async def``), which is not repeated on replay.

    Args:
        instance_id: of the instance, or the instance.
        event: its name, as in ``rn.wait_event(name)`` or the name of a question.
        payload: what it carries; it must fit what the instance awaits under that name.
        event_id: makes sending it twice the same as once; unique to this call unless given.
        via: how it came, for who hands on what others send: "python", "http", "command line" or any other word. Kept with it.
        by: who sent it; None: the user of this process.

    Returns:
        A ``Receipt``: it says who acts on the event.

    Raises:
        WrongArguments: *instance_id* is neither an id nor an instance.
        InstanceNotFound: the journal has no such instance.
        InstanceEnded: it has ended, or is being undone: it awaits nothing any more.
        EventRefused: the payload does not fit what is awaited; the message says where and why.
        AlreadyAnswered: the question has an answer.

    Example:
        >>> rn.send("order-7", "payment.completed", {"amount": 12.5}, event_id="evt-1881")  # doctest: +SKIP
    """
    target = instance_id if isinstance(instance_id, str) else getattr(instance_id, "id", None)
    if not isinstance(target, str):
        raise WrongArguments(f"An event is sent to an instance, or to the id of one; this is {instance_id!r}.")
    if ambient() is None:
        return launcher().send(target, event, payload, event_id, via, by)
    return cast(Receipt, _step()(target, event, payload, event_id, via, by))


def _send(
    ctx: Context,
    instance_id: str,
    event: str,
    payload: Any,
    event_id: str | None,
    via: str = "python",
    by: str | None = None,
) -> Any:
    # all attempts of this step send the same event
    return launcher().send(instance_id, event, payload, event_id or f"step-{ctx.idempotency_key}", via, by)


_made: list[Activity[..., Any]] = []


def _step() -> Callable[..., Any]:
    """Return the activity that sends in workflow code; made when it is first needed."""
    if not _made:
        answered = (
            EventRefused,
            InstanceEnded,
            InstanceNotFound,
            WrongArguments,
        )  # another attempt gets the same answer
        _made.append(Activity(_send, "rn.send", ActivityOptions(retry=RetryPolicy(give_up_on=answered))))
    return _made[0]
