"""Undo that workflow code asks for itself: one-off compensations, and blocks that are undone when they fail."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from contextvars import Token
from types import TracebackType
from typing import Any, ParamSpec

from romancy_nb.core.calls import OPEN_SAGAS, ArmedUndo, CallFuture
from romancy_nb.core.commands import ActivityCommand, Outcome
from romancy_nb.core.context import Ambient, ambient
from romancy_nb.definitions import registry
from romancy_nb.definitions.activity import Compensation, as_compensation
from romancy_nb.definitions.ambient import ACTIVITY
from romancy_nb.definitions.undo import undo_inputs
from romancy_nb.errors import CompensationFailed, RunPutDown, WrongPlace
from romancy_nb.payloads.failures import decode_failure
from romancy_nb.payloads.payload import NULL, Payload

__all__ = ["compensate_with", "saga"]

P = ParamSpec("P")

Done = CallFuture | ArmedUndo


def compensate_with(function: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
    """Arm an undo for the rest of this run: if it fails or is cancelled, ``function(*args, **kwargs)`` is executed.

    For what no activity's own ``compensation=`` covers. It takes its turn among the others, in reverse order; it is
    journaled where it stands, and not awaited.

    Args:
        function: best one marked ``@rn.compensation``, so that another kernel finds it by its name.
        *args, **kwargs: its arguments; journaled.

    Raises:
        WrongPlace: called in an activity. Outside any workflow it does nothing.

    Example:
        >>> rn.compensate_with(delete_folder, path)  # doctest: +SKIP
    """
    found = ambient()
    if found is None:
        if ACTIVITY.get() is not None:
            raise WrongPlace("rn.compensate_with belongs into workflow code; this is an activity.")
        return
    found.check()
    target = as_compensation(function)
    signature = target.signature
    inputs = signature.encode_inputs(signature.validate(signature.bind(args, kwargs)))
    found.arm(target.name, inputs.digest, inputs.payload, lambda: target.code(found))


class saga:
    """A part of a workflow that is undone by itself when it fails: ``with rn.saga():``, or ``async with`` in ``async def``.

    When the block is left by an exception, the calls in it that have completed and have a compensation are undone, the
    last first; then the exception goes on, and the workflow may catch it and do something else. A call that was still in
    flight is waited for, and undone with the rest.

    Raises:
        CompensationFailed: an undo failed for good. The run then fails, and tries it once more with all the others.

    Example:
        >>> with rn.saga():  # doctest: +SKIP
        ...     seat = reserve_seat(flight)
        ...     charge(card, seat.price)
    """

    def __init__(self) -> None:
        self._done: list[Done] = []
        self._token: Token[tuple[list[Done], ...]] | None = None

    def __enter__(self) -> saga:
        found = ambient()
        if found is not None and not found.is_sync():
            raise WrongPlace("In an `async def` workflow write `async with rn.saga():`.")
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        found = self._close(error)
        if found is None:
            return
        while flying := self._flying():
            found.wait(asyncio.gather(*flying, return_exceptions=True))
        for done in self._in_order():
            _check(done, found.wait(found.schedule(_command(found, done))), error)

    async def __aenter__(self) -> saga:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        found = self._close(error)
        if found is None:
            return
        while flying := self._flying():
            await asyncio.gather(*flying, return_exceptions=True)
        for done in self._in_order():
            _check(done, await found.schedule(_command(found, done)), error)

    def _open(self) -> None:
        if ambient() is not None:
            self._token = OPEN_SAGAS.set((*OPEN_SAGAS.get(), self._done))

    def _close(self, error: BaseException | None) -> Ambient | None:
        """Leave the block; return the run if the block is to be undone."""
        if self._token is None:
            return None
        OPEN_SAGAS.reset(self._token)
        self._token = None
        found = ambient()
        if error is None or found is None or found.dead or isinstance(error, (RunPutDown, GeneratorExit)):
            return None
        return found

    def _flying(self) -> list[CallFuture]:
        return [each for each in self._done if isinstance(each, CallFuture) and not each.done()]

    def _in_order(self) -> list[Done]:
        done = [each for each in self._done if each.settled and not each.undone]
        return sorted(done, key=lambda each: each.settled, reverse=True)


def _command(found: Ambient, done: Done) -> ActivityCommand:
    """Return the call that undoes *done*."""
    target: Compensation[..., Any] | None
    if isinstance(done, ArmedUndo):
        target, inputs, extra = registry.find("compensation", done.name), done.payload, None
    else:
        command, outcome = done.command, done.result()
        target, extra = command.target.undo.compensation, command.extra
        inputs = undo_inputs(command.payload, command.undo or {}, outcome.payload)
    assert target is not None
    return _as_command(found, target, inputs, extra, done.place)


def _as_command(
    found: Ambient, target: Compensation[..., Any], inputs: Payload, extra: Any, place: str
) -> ActivityCommand:
    return ActivityCommand(
        target.name,
        f"undo {place}",
        inputs,
        lambda: target.code(found),
        target,
        "never",
        extra=extra,
        context=contextvars.copy_context(),
        undoes=place,
    )


def _check(done: Done, outcome: Outcome, error: BaseException | None) -> None:
    if outcome.ok:
        done.undone = True
        return
    cause = outcome.live if outcome.payload is NULL and outcome.live is not None else decode_failure(outcome.payload)
    raise CompensationFailed(
        f"An undo of the rn.saga block (of call {done.place}) failed: {type(cause).__name__}: {cause}. The run fails, and tries it "
        f"again. The block was left by {type(error).__name__}: {error}."
    ) from cause
