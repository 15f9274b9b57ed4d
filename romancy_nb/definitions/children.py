"""Child workflows: a workflow that is called in a workflow is an instance of its own, which belongs to the caller (R13)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from romancy_nb.core import events as ev
from romancy_nb.core.calls import OPEN_SAGAS, OutsideFuture
from romancy_nb.core.commands import Outcome, OutsideCommand
from romancy_nb.core.context import Ambient
from romancy_nb.core.family import DEEPEST
from romancy_nb.definitions.activity import reported_error
from romancy_nb.definitions.fingerprint import Fingerprint
from romancy_nb.errors import ChildCycle, RunCancelled, WrongArguments, WrongPlace
from romancy_nb.payloads.codec import canonical_digest

if TYPE_CHECKING:
    from romancy_nb.definitions.ambient import Request
    from romancy_nb.definitions.workflow import Workflow

__all__ = ["ChildHandle", "Wanted", "call", "call_async", "start"]

T = TypeVar("T")


@dataclass(slots=True)
class Wanted:
    """What the engine is handed of a child that workflow code asks for; taken where that code runs.

    Attributes:
        request: the call.
        code, reads: the fingerprint of the child as it is now.
        reason: why the code gave it up.
        wished: the code gave it up by name, so also a detached one is cancelled.
    """

    request: Request
    code: str
    reads: dict[str, str]
    reason: str = ""
    wished: bool = False


def call(found: Ambient, workflow: Workflow[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call *workflow* in ``def`` code: a child that is waited for."""
    __tracebackhide__ = True
    command = _command(found, workflow, args, kwargs, False, None)
    return _value(found, workflow, found.wait(found.await_outside(command)))


def call_async(
    found: Ambient, workflow: Workflow[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Coroutine[Any, Any, Any]:
    """Call it in ``async def`` code; it begins when the coroutine is driven (C1)."""

    async def waiting() -> Any:
        __tracebackhide__ = True
        command = _command(found, workflow, args, kwargs, False, None)
        return _value(found, workflow, await found.await_outside(command))

    if found.dead:
        found.check()
    coroutine = waiting()
    found.expect(workflow.name, coroutine, "workflow ")
    return coroutine


def start(
    found: Ambient,
    workflow: Workflow[Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    detach: bool,
    instance_id: str | None,
) -> ChildHandle[Any]:
    """Begin a child that is waited for later, or never."""
    future = found.await_outside(_command(found, workflow, args, kwargs, detach, instance_id))
    return ChildHandle(found, workflow, future)


class ChildHandle(Generic[T]):
    """A child workflow that was begun with ``workflow.start(...)`` in workflow code.

    Unless it is detached, the workflow that began it does not end before it: it ends with it, is cancelled and undone with it.

    Attributes:
        id (str): of the instance: ``rn.instance(handle.id)`` outside of workflow code knows all about it.

    Example:
        >>> report = make_report.start(month)  # doctest: +SKIP
        ... close_books(month)
        ... publish(report.result())
    """

    def __init__(self, found: Ambient, workflow: Workflow[Any, Any], future: OutsideFuture) -> None:
        self._found = found
        self._workflow = workflow
        self._future = future
        self.id = str(future.facts["instance"])
        self.workflow_name = workflow.name

    def result(self, timeout: float | None = None) -> T:
        """Wait in ``def`` code until the child has ended, and return its result. In ``async def`` code ``await`` the handle.

        Args:
            timeout: seconds; durable. The child goes on when they are over.

        Raises:
            TimeoutError: it has not ended by then.
            RunCancelled: this workflow cancelled it.
            Whatever the child raised.
        """
        __tracebackhide__ = True
        found, future = self._found, self._future
        found.check()
        if not future.done():
            told = found.loop.create_future()
            future.add_done_callback(lambda _: _tell(told))
            timer = found.loop.call_later(timeout, _tell, told) if timeout is not None else None
            try:
                found.wait(told)
            finally:
                if timer is not None and not found.dead:
                    timer.cancel()
        if not future.done():
            raise TimeoutError(f"Child {self.id} of {found.instance_id} has not ended after {timeout:g} s.")
        return self._ended()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        __tracebackhide__ = True
        self._found.check()
        if not self._future.done():
            told = self._found.loop.create_future()
            self._future.add_done_callback(lambda _: _tell(told))
            await told  # a deadline, or a sibling's failure, ends the waiting and not the child
        return self._ended()

    def cancel(self, reason: str = "") -> ChildHandle[T]:
        """Cancel the child, detached or not: its code may clean up, then it is undone. Returns self.

        Args:
            reason: told to whoever asks for its result.
        """
        self._found.check()
        wanted = self._future.command.target
        wanted.reason, wanted.wished = reason, True
        self._future.cancel()
        return self

    def _ended(self) -> T:
        __tracebackhide__ = True
        if self._future.cancelled():
            raise RunCancelled(f"Child {self.id} was cancelled by {self._found.instance_id}, which began it.")
        value: T = _value(self._found, self._workflow, self._future.result())
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(
            f"A child's handle in workflow code has .id, .result(), .cancel() and can be awaited; it has no .{name}. Outside of "
            "workflows rn.instance(id) tells the rest."
        )

    def __repr__(self) -> str:
        return f"<child {self.id} of {self._found.instance_id}>"


def _tell(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _value(found: Ambient, workflow: Workflow[Any, Any], outcome: Outcome) -> Any:
    __tracebackhide__ = True
    if outcome.ok:
        return workflow.signature.decode_result(outcome.payload)
    raise reported_error(found, outcome)


def _command(
    found: Ambient,
    workflow: Workflow[Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    detach: bool,
    instance_id: str | None,
) -> OutsideCommand:
    found.check()
    if not workflow.may_be_child:
        raise WrongPlace(
            f"Workflow {workflow.name} is the body of a cell, and cannot be called in workflow {found.workflow_name}. Make it a "
            "function under %%romancy_workflow."
        )
    if instance_id is not None and (not isinstance(instance_id, str) or not instance_id.strip()):
        raise WrongArguments(f"instance_id= takes a text that is not empty; this is {instance_id!r}.")
    if not detach and instance_id is None and OPEN_SAGAS.get():
        raise WrongPlace(
            f"Workflow {workflow.name} was called in a `with rn.saga():` block of {found.workflow_name}, which cannot undo a "
            "child. Call it outside of the block: what it did is undone when the workflow fails. Or start it with detach=True."
        )
    request = workflow.request(args, kwargs)
    _refuse_cycle(found, workflow.name, request.inputs.digest)
    facts: dict[str, Any] = {"detach": True} if detach else {}
    digest = request.inputs.digest
    if instance_id is not None:
        facts |= {"instance": instance_id, "linked": True}
        digest = canonical_digest([digest, instance_id])
    prints = _fingerprint(found, workflow)
    wanted = Wanted(request, prints.digest, dict(prints.reads))
    return OutsideCommand(
        ev.CHILD_STARTED, workflow.name, digest, request.inputs.payload, facts, wanted, lambda: prints.digest
    )


def _fingerprint(found: Ambient, workflow: Workflow[Any, Any]) -> Fingerprint:
    """What the child reads, taken once in an execution (X6)."""
    known = found.known.get(id(workflow))
    if known is None:
        known = found.known[id(workflow)] = (workflow, workflow.fingerprint())
    prints: Fingerprint = known[1]
    return prints


def _refuse_cycle(found: Ambient, name: str, digest: str) -> None:
    """A workflow above this one with the same inputs would come by here again, for ever."""
    above = found.ancestors
    if (name, digest) in above:
        turn = [each for each, _ in above[above.index((name, digest)) :]]
        shown = [*turn[:3], "…", *turn[-2:]] if len(turn) > 6 else turn
        raise ChildCycle(
            f"Workflow {name} would be its own ancestor with the same inputs, and never end: "
            f"{' -> '.join([*shown, name])}. Give each of them inputs of its own, such as what is left to do."
        )
    if len(above) >= DEEPEST:
        raise ChildCycle(
            f"Workflow {name} would be child number {len(above)} below {above[0][0]}, each begun by the one before; {DEEPEST} is "
            f"the limit. Above it: {' -> '.join([*(each for each, _ in above[-3:]), name])}. Use a loop."
        )
