"""Channels: messages for whoever has subscribed, among instances and from outside.

Subscribing and publishing in workflow code are over as soon as they are journaled; receiving is a wait like that for an event.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal, TypeVar, overload

from romancy_nb.core import events as ev
from romancy_nb.core.commands import Outcome, OutsideCommand
from romancy_nb.core.context import Ambient, ambient
from romancy_nb.definitions.ambient import launcher
from romancy_nb.definitions.asked import event_schema
from romancy_nb.definitions.seconds import Seconds, checked_timeout
from romancy_nb.definitions.sending import Receipt, send
from romancy_nb.definitions.waits import await_outside, dumped, in_workflow, restored
from romancy_nb.errors import WrongArguments, WrongPlace
from romancy_nb.payloads.codec import ANY, canonical_digest, encode
from romancy_nb.payloads.payload import Payload

__all__ = ["Published", "Subscription", "publish", "receive", "subscribe"]

T = TypeVar("T")
Mode = Literal["broadcast", "competing"]


class _AtOnce:
    """Something that is done when it is called; ``async def`` code may await it all the same."""

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from ()
        return self


class Published(_AtOnce):
    """What became of a message.

    Attributes:
        channel: its channel.
        receivers: how many subscribers have it in their history now; None in workflow code, where it goes out with the step.
        says: the same as a sentence.
    """

    def __init__(self, channel: str, receivers: int | None = None, says: str = "") -> None:
        self.channel, self.receivers, self.says = channel, receivers, says

    def __repr__(self) -> str:
        return self.says or f"published on {self.channel}"


class Subscription(_AtOnce):
    """A channel that this run has subscribed to: ``receive`` gives its next message."""

    def __init__(self, channel: str, mode: Mode) -> None:
        self.channel, self.mode = channel, mode

    def receive(self, *, type: Any = ANY, timeout: Seconds | None = None) -> Any:
        """Return the next message of this channel; see ``rn.receive``."""
        return receive(self.channel, type=type, timeout=timeout)

    def __repr__(self) -> str:
        return f"<subscription to {self.channel}, {self.mode}>"


def subscribe(channel: str, *, mode: Mode = "broadcast") -> Subscription:
    """From here on, messages of *channel* arrive at this instance, whether it awaits them or not.

    Subscribing twice changes nothing but the mode. It lasts until the instance ends, through restarts and ``rn.recur``.

    Args:
        channel: its name; there is nothing to create.
        mode: "broadcast": every subscriber gets every message that is published from here on, in order. "competing": each
            message goes to one of the competing subscribers, and is kept until one of them asks for it.

    Raises:
        WrongPlace: called outside of workflow code.

    Example:
        >>> news = rn.subscribe("news")  # doctest: +SKIP
        >>> first = news.receive(timeout=60)  # doctest: +SKIP
    """
    found = in_workflow("rn.subscribe")
    _check(channel)
    if mode not in {"broadcast", "competing"}:
        raise WrongArguments(f'rn.subscribe(mode={mode!r}): "broadcast" or "competing" is expected.')
    found.record(ev.SUBSCRIBED, channel, mode, None, {"mode": mode})
    found.channels.add(channel)
    return Subscription(channel, mode)


def publish(channel: str, message: object, *, to: Any = None) -> Published | Receipt:
    """Publish a message: in one commit it is in the history of everybody who gets it.

    In workflow code it is journaled with the code's step and never goes out twice; elsewhere it is in the journal when this
    returns. To publish where nobody has subscribed is no error; ``.receivers`` tells.

    Args:
        channel: its name.
        message: what it carries.
        to: the id of an instance, or the instance: the message goes to that one alone, subscribed or not.

    Returns:
        A ``Published``; with *to* what ``rn.send`` returns (in workflow code it is a step, so await it in ``async def``).

    Raises:
        InstanceNotFound, InstanceEnded: with *to*, as ``rn.send``.

    Example:
        >>> rn.publish("news", {"headline": "it works"})  # doctest: +SKIP
        1 subscriber of news has it.
    """
    _check(channel)
    if to is not None:
        return send(to, f"{ev.CHANNEL}{channel}", message)
    found = ambient()
    payload = encode(message, what=f"the message for channel {channel}")
    if found is None:
        return launcher().publish(channel, payload)
    found.check()
    found.record(ev.MESSAGE_PUBLISHED, channel, canonical_digest(message), payload, {})
    return Published(channel)


@overload
def receive(channel: str | None = None, *, type: type[T], timeout: Seconds | None = None) -> T: ...
@overload
def receive(channel: str | None = None, *, type: Any = ..., timeout: Seconds | None = None) -> Any: ...
def receive(channel: str | None = None, *, type: Any = ANY, timeout: Seconds | None = None) -> Any:
    """Wait for the next message, and return it. Blocks in ``def`` code, is awaited in ``async def``.

    Args:
        channel: of one that this run has subscribed to; None: the next of any of them, or one sent to this instance alone.
        type: what it carries; anything that pydantic can validate. None: anything, as it was sent.
        timeout: seconds, or a timedelta; durable.

    Raises:
        TimeoutError: none came in that time.
        WrongPlace: called outside of workflow code, or the run has not subscribed to *channel*.

    Example:
        >>> job = rn.receive("jobs", type=Job, timeout=3600)  # doctest: +SKIP
    """
    found = in_workflow("rn.receive")
    if channel is not None:
        _check(channel)
        _refuse_unsubscribed(found, channel)
    seconds = checked_timeout(timeout, found.loop.now, "rn.receive(timeout=)")
    type = ANY if type is None else type
    schema = event_schema(type)
    name = f"{ev.CHANNEL}{channel}" if channel is not None else ev.ANY_CHANNEL
    digest = canonical_digest(["message", name, schema])
    payload = Payload(dumped({"schema": schema})) if schema is not None else None
    command = OutsideCommand(ev.WAIT_STARTED, name, digest, payload, {"what": "message"}, type)
    where = f"on channel {channel!r}" if channel is not None else "for it"

    def value(outcome: Outcome) -> Any:
        if not outcome.ok:
            raise TimeoutError(f"No message came {where} to {found.instance_id} within {seconds:g} s.")
        return restored(outcome.payload, type, f"a message {where}")

    return await_outside(found, command, seconds, value, "rn.receive(...)")


def _check(channel: str) -> None:
    if not isinstance(channel, str) or not channel.strip() or channel == "*":
        raise WrongArguments(f"A channel has a name, a text that is not empty and not *; this is {channel!r}.")


def _refuse_unsubscribed(found: Ambient, channel: str) -> None:
    if channel not in found.channels:
        known = ", ".join(sorted(found.channels)) or "none"
        raise WrongPlace(
            f"This run waits for messages of channel {channel!r} and has not subscribed to it, so none would come (subscribed to: "
            f"{known}). Write rn.subscribe({channel!r}) before; rn.receive() without a name gets what is sent to this instance "
            "alone."
        )
