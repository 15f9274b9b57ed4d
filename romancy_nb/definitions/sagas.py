"""Undo that workflow code asks for itself: one-off compensations, and blocks that are undone when they fail."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from types import CodeType, ModuleType, NoneType, TracebackType
from typing import Any, ParamSpec

from romancy_nb.core.calls import OPEN_SAGAS, ArmedUndo, CallFuture
from romancy_nb.core.commands import ActivityCommand, Outcome
from romancy_nb.core.context import Ambient, ambient
from romancy_nb.core.pool import says_nothing
from romancy_nb.definitions import registry
from romancy_nb.definitions.activity import Compensation, as_compensation
from romancy_nb.definitions.ambient import ACTIVITY
from romancy_nb.definitions.undo import undo_inputs
from romancy_nb.errors import CompensationFailed, DefinitionError, RunPutDown, WrongPlace
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
        function: best one marked ``@rn.compensation``. It is found by its name, also by another kernel, so it stands outside
            the workflow and uses nothing but its arguments.
        *args, **kwargs: its arguments; journaled.

    Raises:
        WrongPlace: called in an activity. Outside any workflow it does nothing.
        DefinitionError: the function is a method, was made inside the workflow, or uses variables of the code around it.

    Example:
        >>> rn.compensate_with(delete_folder, path)  # doctest: +SKIP
    """
    found = ambient()
    if found is None:
        if ACTIVITY.get() is not None:
            raise WrongPlace("rn.compensate_with belongs into workflow code; this is an activity.")
        return
    found.check()
    _refuse_captured(function, found.workflow_name)
    target = as_compensation(function)
    signature = target.signature
    inputs = signature.encode_inputs(signature.validate(signature.bind(args, kwargs)))
    found.arm(
        target.name,
        target.__module__,
        inputs.digest,
        inputs.payload,
        inputs.secrets or None,
        lambda: target.code(found),
    )


def _refuse_captured(function: Any, workflow: str) -> None:
    """Refuse what its name does not bring back: the last one of that name would be executed in place of all others."""
    plain = getattr(function, "__romancy_function__", function)
    name = getattr(plain, "__qualname__", None) or type(plain).__name__
    code = getattr(plain, "__code__", None)
    if not isinstance(getattr(plain, "__self__", None), (ModuleType, NoneType)):
        why = f"{name} belongs to an object, and an object is not journaled"
    elif code is not None and code.co_freevars and plain is function:
        why = f"{name} uses {', '.join(f'`{each}`' for each in code.co_freevars)} of the code around it"
    elif code is not None and _made_in(code, workflow):
        why = f"{name} is made inside the workflow, and an undo in another kernel runs none of the workflow's code"
    else:
        return
    raise DefinitionError(
        f"rn.compensate_with: {why}. Write the undo as a function at the top level of a cell or module, with "
        f"@rn.compensation, and hand over what it needs: rn.compensate_with({name.rpartition('.')[2]}, ...)."
    )


def _made_in(code: CodeType, workflow: str) -> bool:
    found = registry.find("workflow", workflow)
    inner = [found.function.__code__] if found is not None else []
    while inner:
        consts = [each for each in inner.pop().co_consts if isinstance(each, CodeType)]
        if code in consts:
            return True
        inner += consts
    return False


class saga:
    """A part of a workflow that is undone by itself when it fails: ``with rn.saga():``, or ``async with`` in ``async def``.

    When the block is left by an exception, the calls in it that have completed and have a compensation are undone, the
    last first; then the exception goes on, and the workflow may catch it and do something else. A call that was still in
    flight is waited for, and undone with the rest; one that ran out of time is undone if it says ``compensate_if="started"``.
    Neither a deadline of the code (``asyncio.timeout``) nor a failed sibling breaks the undo off. What completed before a
    ``pivot=True`` activity did stands.

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
    """What is to be undone: what may have happened first, then the last completed first; nothing behind a pivot (U1)."""
    left = [each for each in block if not each.undone]
    unsure = [each for each in left if isinstance(each, CallFuture) and _is_unsure(each)]
    done = [each for each in left if each.settled > found.pivoted]
    return [*reversed(unsure), *sorted(done, key=lambda each: each.settled, reverse=True)]


def _is_unsure(call: CallFuture) -> bool:
    """Did it end so that nobody knows whether it had its effect, and is it to be undone in that case, too (U1)?"""
    if (call.command.undo or {}).get("if") != "started" or not call.done() or call.cancelled():
        return False
    outcome: Outcome = call.result()
    return not outcome.ok and says_nothing(outcome.payload)


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
        target, inputs, extra = registry.find("compensation", done.name, done.module), done.payload, done.extra
    else:
        command, outcome = done.command, done.result()
        target, extra = command.target.undo.compensation, command.extra
        inputs = undo_inputs(command.payload, command.undo or {}, outcome.payload if outcome.ok else None)
    assert target is not None
    return _as_command(found, target, inputs, extra, done.place)


def _as_command(
    found: Ambient, target: Compensation[..., Any], inputs: Payload, extra: Any, place: str
) -> ActivityCommand:
    limits = target.limits
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
        limits=None if limits is None else lambda strict: limits(False),  # an undo does not fail for want of a limit
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
