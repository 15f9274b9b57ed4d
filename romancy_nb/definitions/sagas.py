"""Undo that workflow code asks for itself: one-off compensations, and blocks that are undone when they fail."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
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
    found.arm(target.name, inputs.digest, inputs.payload, lambda: target.code(found), str(target.__module__))


class saga:
    """A part of a workflow that is undone by itself when it fails: ``with rn.saga():``, or ``async with`` in ``async def``.

    When the block is left by an exception, the calls in it that have completed and have a compensation are undone, the
    last first; then the exception goes on, and the workflow may catch it and do something else. A call that was still in
    flight is waited for, and undone with the rest. Neither a deadline of the code (``asyncio.timeout``) nor a failed sibling
    breaks the undo off. What completed before a ``pivot=True`` activity did stands.

    Raises:
        CompensationFailed: an undo failed for good. The run then fails, and tries it once more with all the others.

    Example:
        >>> with rn.saga():  # doctest: +SKIP
        ...     seat = reserve_seat(flight)
        ...     charge(card, seat.price)
    """

    def __init__(self) -> None:
        self._blocks: list[list[Done]] = []

    def __enter__(self) -> saga:
        found = ambient()
        if found is not None and not found.is_sync():
            raise WrongPlace("In an `async def` workflow write `async with rn.saga():`.")
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        found, block = self._close(error)
        if found is None:
            return
        while flying := _flying(block):
            found.wait(asyncio.gather(*flying, return_exceptions=True))
        for done in _in_order(found, block):
            _check(done, found.wait(found.schedule(_command(found, done))), error)

    async def __aenter__(self) -> saga:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        found, block = self._close(error)
        if found is None:
            return
        told: asyncio.CancelledError | None = None
        while flying := _flying(block):
            told = await _to_the_end(found, flying) or told
        for done in _in_order(found, block):
            undo = found.schedule(_command(found, done))
            told = await _to_the_end(found, [undo]) or told
            _check(done, undo.result(), error)
        if told is not None:
            raise told

    def _open(self) -> None:
        if ambient() is not None:
            block: list[Done] = []
            self._blocks.append(block)
            OPEN_SAGAS.set((*OPEN_SAGAS.get(), block))

    def _close(self, error: BaseException | None) -> tuple[Ambient | None, list[Done]]:
        """Leave the block; return what was done in it, and the run if that is to be undone."""
        if not self._blocks:
            return None, []
        # several tasks may be in a block of this object, each in its own; a generator may be closed in another context
        opened = OPEN_SAGAS.get()
        mine = [each for each in opened if any(each is block for block in self._blocks)]
        block = mine[-1] if mine else self._blocks[-1]
        self._blocks = [each for each in self._blocks if each is not block]
        OPEN_SAGAS.set(tuple(each for each in opened if each is not block))
        found = ambient()
        if error is None or found is None or found.dead or isinstance(error, (RunPutDown, GeneratorExit)):
            return None, block
        return found, block


def _flying(block: list[Done]) -> list[CallFuture]:
    return [each for each in block if isinstance(each, CallFuture) and not each.done()]


def _in_order(found: Ambient, block: list[Done]) -> list[Done]:
    """What is to be undone, the last first: nothing that completed before a point of no return did (U1)."""
    done = [each for each in block if each.settled > found.pivoted and not each.undone]
    return sorted(done, key=lambda each: each.settled, reverse=True)


async def _to_the_end(found: Ambient, calls: Sequence[asyncio.Future[Any]]) -> asyncio.CancelledError | None:
    """Wait for *calls*, though the task may be cancelled meanwhile: by a deadline, or because a sibling failed.

    Returns:
        That cancellation, which the block owes to the task when all is undone. One of the run itself is raised at once: the
        undo of the run does the rest.
    """
    told = None
    while waiting := [each for each in calls if not each.done()]:
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError as error:
            if found.cancelled:
                for each in waiting:
                    each.cancel()
                raise
            told = error
    return told


def _command(found: Ambient, done: Done) -> ActivityCommand:
    """Return the call that undoes *done*."""
    target: Compensation[..., Any] | None
    if isinstance(done, ArmedUndo):
        target, inputs, extra = registry.find("compensation", done.name, done.module), done.payload, None
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
