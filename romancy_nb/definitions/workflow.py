"""``@rn.workflow``: a deterministic function that calls activities."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from romancy_nb.core.activation import Body
from romancy_nb.core.context import Ambient, ambient
from romancy_nb.definitions import children, helptext, registry
from romancy_nb.definitions.activity import Activity, Bound
from romancy_nb.definitions.ambient import ACTIVITY, Context, Handle, Request, TakesContext, launcher
from romancy_nb.definitions.fingerprint import Fingerprint, fingerprint
from romancy_nb.definitions.options import WorkflowOptions
from romancy_nb.definitions.pending import NotAwaited
from romancy_nb.definitions.signature import Inputs, Signature
from romancy_nb.errors import DefinitionError, WrongArguments, WrongPlace
from romancy_nb.payloads.payload import Payload

if TYPE_CHECKING:
    from romancy_nb.definitions.batches import Batch

__all__ = ["Workflow", "as_workflow", "workflow"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

New = bool | Literal["always"]
"""Another instance of the same call: see ``Workflow.start``."""

_RESERVED = {"instance_id", "new", "redo", "detach"}


class Workflow(Generic[P, R_co]):
    """A durable function. Made by ``@rn.workflow``.

    Calling it runs it here, shows its timeline and returns the result (``await`` it when it is ``async def``). The same
    call again is the same instance: what is recorded is not executed again. ``start`` runs it in the background.

    In another workflow a call is a child: an instance of its own, which belongs to the caller (R13). As with activities, it
    blocks in ``def`` code and is awaited in ``async def`` code, whatever colour it has itself; ``aio`` and ``sync`` are the
    spellings that type-checkers understand for the other colour.

    Attributes:
        name: what it is called in the journal.
        function: the plain function.
        options: of the decorator.
        may_be_child: can it be called in another workflow?
        retries_anew: more than one call of a run may have failed, so a failed run is tried again as a new one.
    """

    may_be_child: ClassVar[bool] = True
    retries_anew: ClassVar[bool] = False

    def __init__(self, function: Callable[..., R_co], name: str | None, options: WorkflowOptions) -> None:
        self.name = name or registry.name_of(function)
        self.function = function
        self.options = options
        self.signature = Signature.of(function, what=f"workflow {self.name}")
        clash = _RESERVED & set(inspect.signature(function).parameters)
        if clash:
            raise DefinitionError(
                f"Workflow {self.name} has a parameter named {sorted(clash)[0]}, which start() uses itself. Rename it."
            )
        self.__name__ = getattr(function, "__name__", self.name)
        self.__qualname__ = getattr(function, "__qualname__", self.name)
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function
        self.__romancy_function__ = function
        registry.register("workflow", self.name, self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        __tracebackhide__ = True
        found = ambient()
        if found is not None:
            called = children.call if found.is_sync() else children.call_async
            return cast(R_co, called(found, self, args, kwargs))
        self._refuse_inside()
        request = self.request(args, kwargs, site=_site())
        if self.signature.is_async:
            return cast(R_co, NotAwaited(launcher().run_async(request), f"workflow {self.name}", self.__name__))
        return cast(R_co, launcher().run(request))

    @overload
    def aio(
        self: Workflow[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[None, None, T]: ...
    @overload
    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[None, None, R_co]: ...
    def aio(self, *args: Any, **kwargs: Any) -> Any:
        """Call it in ``async def`` code: returns a coroutine, also when the workflow is a ``def`` function."""
        found = ambient()
        if found is not None:
            return children.call_async(found, self, args, kwargs)
        self._refuse_inside()
        request = self.request(args, kwargs, site=_site())
        return NotAwaited(launcher().run_async(request), f"workflow {self.name}", f"{self.__name__}.aio")

    @overload
    def sync(self: Workflow[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def sync(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def sync(self, *args: Any, **kwargs: Any) -> Any:
        """Call it in ``def`` code: blocks and returns the value, also when the workflow is ``async def``."""
        __tracebackhide__ = True
        found = ambient()
        if found is not None:
            return children.call(found, self, args, kwargs)
        self._refuse_inside()
        return launcher().run(self.request(args, kwargs, site=_site()))

    @overload
    def bind(self: Workflow[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Bound[T]: ...
    @overload
    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Bound[R_co]: ...
    def bind(self, *args: Any, **kwargs: Any) -> Bound[Any]:
        """Return the call without making it, for ``rn.gather``.

        >>> rn.gather(ship.bind("a"), ship.bind("b"))  # doctest: +SKIP
        """
        return Bound(self, args, kwargs)

    @overload
    def start(self: Workflow[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    @overload
    def start(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R_co]: ...
    # With an option the arguments go unchecked: a ParamSpec cannot be extended by keywords. Each option is required in one
    # overload, so that a wrong call without options fits none of them.
    @overload
    def start(
        self: Workflow[P, Coroutine[Any, Any, T]],
        *args: Any,
        instance_id: str | None,
        new: New = False,
        redo: Sequence[str] = (),
        **kwargs: Any,
    ) -> Handle[T]: ...
    @overload
    def start(
        self, *args: Any, instance_id: str | None, new: New = False, redo: Sequence[str] = (), **kwargs: Any
    ) -> Handle[R_co]: ...
    @overload
    def start(
        self: Workflow[P, Coroutine[Any, Any, T]], *args: Any, new: New, redo: Sequence[str] = (), **kwargs: Any
    ) -> Handle[T]: ...
    @overload
    def start(self, *args: Any, new: New, redo: Sequence[str] = (), **kwargs: Any) -> Handle[R_co]: ...
    @overload
    def start(
        self: Workflow[P, Coroutine[Any, Any, T]], *args: Any, redo: Sequence[str], **kwargs: Any
    ) -> Handle[T]: ...
    @overload
    def start(self, *args: Any, redo: Sequence[str], **kwargs: Any) -> Handle[R_co]: ...
    @overload
    def start(
        self: Workflow[P, Coroutine[Any, Any, T]],
        *args: Any,
        detach: bool,
        instance_id: str | None = None,
        **kwargs: Any,
    ) -> Handle[T]: ...
    @overload
    def start(self, *args: Any, detach: bool, instance_id: str | None = None, **kwargs: Any) -> Handle[R_co]: ...
    def start(
        self,
        *args: Any,
        instance_id: Any = None,
        new: Any = False,
        redo: Any = (),
        detach: Any = False,
        **kwargs: Any,
    ) -> Handle[Any]:
        """Run it in the background. In workflow code: begin a child, and get a handle to wait for it later.

        Args:
            *args, **kwargs: the workflow's own.
            instance_id: the instance's id; derived from name and inputs unless given.
            new: True: another instance, unless an unfinished one was made by this very call: that goes on (R10).
                "always": another instance without looking.
            redo: names of activities to execute again although their results are recorded.
            detach: in workflow code: the child lives on when the workflow that began it has ended, was cancelled or is undone.
                With *instance_id* it is linked only: it may be anybody's instance, and is left alone likewise.

        Returns:
            The ``Instance``; in workflow code a ``ChildHandle``: ``.id``, ``.result()`` (``await`` it in ``async def``),
            ``.cancel()``.

        Raises:
            WrongArguments: they do not fit the function.
            InputsDiffer: that id is taken with other inputs.
            ChildCycle: in workflow code: it would be its own child.
        """
        found = ambient()
        if found is not None:
            if new or redo:
                raise WrongArguments(
                    f"{self.name}.start(...) in workflow {found.workflow_name} takes `detach` and `instance_id`, not `new` or "
                    "`redo`: which child it is follows from where it is begun."
                )
            return cast(Handle[Any], children.start(found, self, args, kwargs, detach, instance_id))
        self._refuse_inside()
        if detach:
            raise WrongPlace(
                f"{self.name}.start(..., detach=True) belongs into workflow code. Here nothing holds it: leave it out."
            )
        return launcher().start(self.request(args, kwargs, instance_id=instance_id, new=new, redo=redo, site=_site()))

    @overload
    def run(
        self: Workflow[P, Coroutine[Any, Any, T]],
        *args: Any,
        instance_id: str | None = None,
        new: New = False,
        redo: Sequence[str] = (),
        **kwargs: Any,
    ) -> T: ...
    @overload
    def run(
        self, *args: Any, instance_id: str | None = None, new: New = False, redo: Sequence[str] = (), **kwargs: Any
    ) -> R_co: ...
    def run(
        self,
        *args: Any,
        instance_id: str | None = None,
        new: New = False,
        redo: Sequence[str] = (),
        **kwargs: Any,
    ) -> Any:
        """Run it here like a call, with the options of ``start``; blocks also for an ``async def`` workflow."""
        __tracebackhide__ = True
        self._refuse_inside()
        return launcher().run(self.request(args, kwargs, instance_id=instance_id, new=new, redo=redo, site=_site()))

    def schedule(
        self,
        *args: Any,
        cron: str | None = None,
        every: float | timedelta | None = None,
        catch_up: Literal["one", "all", "skip"] = "one",
        name: str | None = None,
        timezone: str | None = None,
        **kwargs: Any,
    ) -> Handle[None]:
        """Start it again and again, each time as an instance of its own, while this kernel (or a worker) lives.

        The schedule itself is an instance: it is shown, cancelled and resumed like any other, and the same call again (a cell
        that is run in a new kernel) goes on with it.

        Args:
            *args, **kwargs: of each call. A parameter ``scheduled_at`` that is not given gets the fire time (aware, UTC).
            cron: five fields: minute, hour, day of the month, month, day of the week.
            every: seconds, 0.1 or more, or a timedelta, from when it was first called on.
            catch_up: what becomes of fire times that passed while nothing ran. "one": the last of them is made up for; "all": each
                is; "skip": none.
            name: tells schedules with equal times apart; a schedule of the same name with other times takes its place.
            timezone: in which *cron* is meant, such as "Europe/Vienna"; UTC unless given.

        Returns:
            The schedule's ``Instance``; ``.cancel()`` ends it.

        Raises:
            DefinitionError: the times cannot be understood.

        Example:
            >>> nightly_report.schedule("sales", cron="30 2 * * *", timezone="Europe/Vienna")  # doctest: +SKIP
        """
        from romancy_nb.definitions import schedules

        self._refuse_inside()
        plan = schedules.planned(self.name, cron, every, catch_up, name, timezone)
        self._check_scheduled(args, kwargs)
        return launcher().schedule(schedules.schedule_workflow().request((plan, list(args), kwargs), {}))

    def _check_scheduled(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse now what would be refused at each fire time."""
        from romancy_nb.definitions.schedules import AT

        given = {AT: datetime.now(UTC)} if AT in self.signature.fields and AT not in kwargs else {}
        self.signature.validate(self.signature.bind(args, {**kwargs, **given}))

    @overload
    def map(
        self: Workflow[P, Coroutine[Any, Any, T]],
        rows: Any,
        *,
        columns: Sequence[str] | None = None,
        concurrency: int | None = None,
    ) -> Batch[T]: ...
    @overload
    def map(
        self, rows: Any, *, columns: Sequence[str] | None = None, concurrency: int | None = None
    ) -> Batch[R_co]: ...
    def map(self, rows: Any, *, columns: Sequence[str] | None = None, concurrency: int | None = None) -> Any:
        """Run an instance for every row, many at a time, and return what each came to, in the order of the rows.

        Each is the instance that calling the workflow with the row is: rows that were done before are not executed again, and
        the same map, called again, tries those that failed. A row that fails stops no other.

        Args:
            rows: a data frame (pandas, polars, pyarrow), or an iterable, which is read once. A row of a frame, a dict, a
                dataclass or a model gives the arguments by name, a tuple by position, anything else is the one argument.
            columns: those of the frame's columns, or of the dicts' keys, that are arguments; all, unless given.
            concurrency: how many instances are unfinished at the same time, at most; 64 unless given.

        Returns:
            A ``Batch``: ``.results``, ``.failed``, ``.df()``, ``.retry()``.

        Raises:
            WrongArguments: the rows do not go with the workflow's parameters.

        Example:
            >>> batch = onboard.map(customers, concurrency=16)  # doctest: +SKIP
        """
        __tracebackhide__ = True
        from romancy_nb.definitions.mapping import map_instances

        return map_instances(self, rows, columns, concurrency, _site())

    def request(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        instance_id: str | None = None,
        new: New = False,
        redo: Sequence[str] = (),
        site: str = "",
    ) -> Request:
        """Validate a call and return it as a wish for the engine."""
        signature = self.signature
        inputs = signature.encode_inputs(signature.validate(signature.bind(args, kwargs)))
        return Request(self, inputs, instance_id, new, tuple([redo] if isinstance(redo, str) else redo), site)

    def recall(self, payload: Payload, digest: str) -> Inputs:
        """Return the inputs of a journaled call, whose secrets are gone."""
        return Inputs(payload, digest, {})

    def locals(self, instance_id: str) -> dict[str, Any] | None:
        """Return the variables of an unfinished execution here; None where they are not to be had (functions keep them)."""
        return None

    def body(self, inputs: Inputs) -> Body:
        """Return what an execution runs: the function on the journaled inputs, its result encoded."""

        async def run(found: Ambient) -> Payload:
            args, kwargs = self.signature.decode_inputs(inputs.payload, inputs.secrets)
            if self.signature.takes_context:
                args = (Context(run_ambient=found), *args)
            function = cast(Any, self.function)
            if self.signature.is_async:
                value = await function(*args, **kwargs)
            else:
                value = await found.drive(functools.partial(function, *args, **kwargs))
            return self.signature.encode_result(value, f"the result of workflow {self.name}")

        return run

    def rehearsal(self, inputs: Inputs) -> Body:
        """Return what plays a history without anybody using what comes of it."""
        return self.body(inputs)

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of what the function reads now, transitively (R6)."""
        return fingerprint(self.function)

    def _refuse_inside(self) -> None:
        found = ambient()
        if found is not None:
            found.check()
            raise WrongPlace(
                f"Workflow {self.name} was run inside workflow {found.workflow_name}. Call it as `{self.name}(...)`, or begin it "
                f"with `{self.name}.start(...)`: then it is a child."
            )
        if ACTIVITY.get() is not None:
            raise WrongPlace(
                f"Workflow {self.name} was called inside an activity. Call it from the workflow's caller, or start it with "
                f"`{self.name}.function(...)` in the workflow itself."
            )

    def getdoc(self) -> str:
        """Return what ``?`` shows in IPython: the function's own docstring, the options, and how it is called."""
        return helptext.of_workflow(self.name, self.function, self.options, is_async=self.signature.is_async)

    def __repr__(self) -> str:
        return f"<workflow {self.name}{inspect.signature(self.function)}>"


def _site() -> str:
    """File and line of the user's call."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


class WorkflowDecorator(Protocol):
    """``rn.workflow(...)`` with options: wraps a function."""

    @overload
    def __call__(self, function: TakesContext[P, R], /) -> Workflow[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Workflow[P, R]: ...


@overload
def workflow(function: TakesContext[P, R], /) -> Workflow[P, R]: ...
@overload
def workflow(function: Callable[P, R], /) -> Workflow[P, R]: ...
@overload
def workflow(
    *, name: str | None = None, on_failure: Literal["compensate", "pause"] | None = None, timeout: float | None = None
) -> WorkflowDecorator: ...
def workflow(function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Make a function a workflow: plain Python that coordinates activities and survives the kernel.

    Args:
        function: ``def`` or ``async def``; a first parameter named ``ctx`` receives the context.
        name: what it is called in the journal; the function's name unless given.
        on_failure: "pause": when an activity failed for good, pause instead of failing, so that a mended cell goes on.

    Returns:
        A ``Workflow``, called like the function.

    Raises:
        DefinitionError: it is no plain function, or an option is wrong.
    """
    checked = WorkflowOptions(**{key: value for key, value in options.items() if value is not None})
    if function is None:
        return lambda wrapped: as_workflow(wrapped, name, checked)
    return as_workflow(function, name, checked)


def as_workflow(function: Any, name: str | None, options: WorkflowOptions) -> Workflow[..., Any]:
    """Return *function* as a workflow with these options."""
    if isinstance(function, (Workflow, Activity)):
        raise DefinitionError(
            f"{function.name} has a decorator of romancy_nb already. Use one, with all options on it."
        )
    if isinstance(function, (staticmethod, classmethod, type)) or not callable(function):
        raise DefinitionError(
            f"@rn.workflow takes a function, not {type(function).__name__}. Put it on a module-level `def` or `async def`."
        )
    return Workflow(function, name, options)
