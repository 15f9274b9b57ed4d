"""``@rn.workflow``: a deterministic function that calls activities."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from romancy_nb.core.activation import Body
from romancy_nb.core.context import Ambient, ambient
from romancy_nb.definitions import helptext, registry
from romancy_nb.definitions.activity import Activity
from romancy_nb.definitions.ambient import ACTIVITY, Context, Handle, Request, TakesContext, launcher
from romancy_nb.definitions.fingerprint import Fingerprint, fingerprint
from romancy_nb.definitions.options import WorkflowOptions
from romancy_nb.definitions.pending import NotAwaited
from romancy_nb.definitions.signature import Inputs, Signature
from romancy_nb.errors import DefinitionError, WrongPlace
from romancy_nb.payloads.payload import Payload

__all__ = ["Workflow", "as_workflow", "workflow"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

New = bool | Literal["always"]
"""Another instance of the same call: see ``Workflow.start``."""

_RESERVED = {"instance_id", "new", "redo"}


class Workflow(Generic[P, R_co]):
    """A durable function. Made by ``@rn.workflow``.

    Calling it runs it here, shows its timeline and returns the result (``await`` it when it is ``async def``). The same
    call again is the same instance: what is recorded is not executed again. ``start`` runs it in the background.

    Attributes:
        name: what it is called in the journal.
        function: the plain function.
        options: of the decorator.
    """

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
        self._refuse_inside()
        request = self.request(args, kwargs, site=_site())
        if self.signature.is_async:
            return cast(R_co, NotAwaited(launcher().run_async(request), f"workflow {self.name}", self.__name__))
        return cast(R_co, launcher().run(request))

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
    def start(
        self,
        *args: Any,
        instance_id: Any = None,
        new: Any = False,
        redo: Any = (),
        **kwargs: Any,
    ) -> Handle[Any]:
        """Run it in the background.

        Args:
            *args, **kwargs: the workflow's own.
            instance_id: the instance's id; derived from name and inputs unless given.
            new: True: another instance, unless an unfinished one was made by this very call: that goes on (R10).
                "always": another instance without looking.
            redo: names of activities to execute again although their results are recorded.

        Returns:
            The ``Instance``.

        Raises:
            WrongArguments: they do not fit the function.
            InputsDiffer: that id is taken with other inputs.
        """
        self._refuse_inside()
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
                f"Workflow {self.name} was called inside workflow {found.workflow_name}. Child workflows are not part of "
                f"this version; call the plain function as `{self.name}.function(...)` to make its steps part of this run."
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
