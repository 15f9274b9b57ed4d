"""``@rn.activity``: a function whose result is journaled."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from romancy_nb.core.commands import ActivityCommand, Outcome
from romancy_nb.core.context import Ambient, ambient
from romancy_nb.definitions import helptext, registry
from romancy_nb.definitions.ambient import ACTIVITY, ActivityFacts, CellPort, Context, TakesContext, cell_port
from romancy_nb.definitions.fingerprint import fingerprint
from romancy_nb.definitions.limits import Limit, facts_of
from romancy_nb.definitions.options import ActivityOptions, RetryPolicy
from romancy_nb.definitions.pending import NotAwaited
from romancy_nb.definitions.signature import Inputs, Signature
from romancy_nb.definitions.undo import Undo
from romancy_nb.errors import DefinitionError
from romancy_nb.payloads.failures import decode_failure
from romancy_nb.payloads.payload import NULL

__all__ = ["Activity", "Bound", "Compensation", "activity", "as_activity", "as_compensation", "reported_error"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class Bound(Generic[R_co]):
    """An activity with its arguments, called later: what ``rn.gather`` takes (C2)."""

    def __init__(self, target: Callable[..., R_co], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._target, self._args, self._kwargs = target, args, kwargs

    def __call__(self) -> R_co:
        return self._target(*self._args, **self._kwargs)


class Activity(Generic[P, R_co]):
    """A function whose result is journaled. Made by ``@rn.activity``.

    In a ``def`` workflow a call blocks and returns the value; in an ``async def`` workflow it is awaited, whatever colour
    the function itself has (``aio`` and ``sync`` are the spellings that type-checkers understand for the other colour, C1).
    Outside any workflow, and inside another activity, it is the plain function.

    Attributes:
        name: what it is called in the journal.
        function: the plain function.
        options: retry policy, timeout and the rest.
        undo: how its compensation is bound to it; None: it has none.
        limits: says which limits its calls wait for; None: none.
    """

    kind: Literal["activity", "compensation"] = "activity"

    def __init__(self, function: Callable[..., R_co], name: str | None, options: ActivityOptions) -> None:
        self.name = name or registry.name_of(function)
        self.function = function
        self.options = options
        self.signature = Signature.of(function, what=f"{self.kind} {self.name}")
        given = options.compensation
        doubtful = options.compensate_if == "started" or options.on_doubt == "compensate"
        when: Literal["completed", "started"] = "started" if doubtful else "completed"
        self.undo = None if given is None else Undo(self.signature, as_compensation(given), when)
        self.limits = None if options.limit is None else partial(facts_of, self.name, options.limit)
        self.__name__ = getattr(function, "__name__", self.name)
        self.__qualname__ = getattr(function, "__qualname__", self.name)
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function
        self.__romancy_function__ = function
        registry.register(self.kind, self.name, self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        __tracebackhide__ = True
        found = ambient()
        if found is None:
            result = self._plain(args, kwargs)
            if self.signature.is_async and ACTIVITY.get() is None:
                result = NotAwaited(result, f"activity {self.name}", self.__name__)
            return cast(R_co, result)
        if found.dead:
            found.check()
        if found.is_sync():
            return cast(R_co, self._in_def(found, args, kwargs))
        return cast(R_co, self._in_async(found, args, kwargs))

    # None where a coroutine's type usually has Any: with Any, mypy takes asyncio.gather's overloads for ambiguous
    @overload
    def aio(
        self: Activity[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[None, None, T]: ...
    @overload
    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[None, None, R_co]: ...
    def aio(self, *args: Any, **kwargs: Any) -> Any:
        """Call it in an ``async def`` workflow: returns a coroutine, also when the activity is a ``def`` function."""
        found = ambient()
        if found is not None:
            return self._in_async(found, args, kwargs)
        cell = cell_port() if ACTIVITY.get() is None else None
        return self._awaited_in_cell(cell, args, kwargs) if cell is not None else self._plain_coroutine(args, kwargs)

    @overload
    def sync(self: Activity[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def sync(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def sync(self, *args: Any, **kwargs: Any) -> Any:
        """Call it in a ``def`` workflow: blocks and returns the value, also when the activity is ``async def``."""
        found = ambient()
        if found is not None:
            return self._in_def(found, args, kwargs)
        cell = cell_port() if ACTIVITY.get() is None else None
        if cell is not None:
            return self._in_cell(cell, args, kwargs)
        result = self._plain(args, kwargs)
        return asyncio.run(cast(Coroutine[Any, Any, Any], result)) if self.signature.is_async else result

    @overload
    def bind(self: Activity[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Bound[T]: ...
    @overload
    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Bound[R_co]: ...
    def bind(self, *args: Any, **kwargs: Any) -> Bound[Any]:
        """Return the call without making it, for ``rn.gather``.

        >>> rn.gather(reserve.bind("a"), reserve.bind("b"))  # doctest: +SKIP
        """
        return Bound(self, args, kwargs)

    def code(self, found: Ambient) -> str:
        """The fingerprint of what this activity reads, taken once in an execution (R6, X6)."""
        known = found.codes.get(id(self))
        if known is None:
            known = found.codes[id(self)] = (self, fingerprint(self.function).digest)
        return known[1]

    # -- calls ----------------------------------------------------------

    def _command(self, code: Callable[[], str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActivityCommand:
        signature = self.signature
        arguments = signature.validate(signature.bind(args, kwargs))
        return self.command(code, arguments, signature.encode_inputs(arguments))

    def command(self, code: Callable[[], str], arguments: dict[str, Any], inputs: Inputs) -> ActivityCommand:
        """Return the wish to have it executed, for arguments that were validated and encoded."""
        options = self.options
        return ActivityCommand(
            self.name,
            inputs.digest,
            inputs.payload,
            code,
            self,
            options.reuse,
            options.delivery == "at_most_once",
            inputs.secrets or None,
            contextvars.copy_context(),
            self.undo.facts(arguments) if self.undo is not None else None,
            options.pivot,
            limits=self.limits,
        )

    def _in_def(self, found: Ambient, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found.check()
        return self._value(found, found.wait(found.schedule(self._command(lambda: self.code(found), args, kwargs))))

    def _in_async(self, found: Ambient, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        call = self._awaited(found, args, kwargs)
        found.expect(self.name, call)
        return call

    async def _awaited(self, found: Ambient, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found.check()
        return self._value(found, await found.schedule(self._command(lambda: self.code(found), args, kwargs)))

    def _in_cell(self, cell: CellPort, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A step of a durable notebook (R14)."""
        __tracebackhide__ = True
        return self._value(None, cell.call(self._command(self._code_now, args, kwargs)))

    async def _awaited_in_cell(self, cell: CellPort, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        __tracebackhide__ = True
        return self._value(None, await cell.call_async(self._command(self._code_now, args, kwargs)))

    def _code_now(self) -> str:
        return fingerprint(self.function).digest

    def _value(self, found: Ambient | None, outcome: Outcome) -> Any:
        __tracebackhide__ = True
        if outcome.ok:
            return self.signature.decode_result(outcome.payload)
        raise self.error_of(found, outcome)

    def error_of(self, found: Ambient | None, outcome: Outcome) -> BaseException:
        """Return the error of a call that failed, as the code that made the call gets it (E1, E4)."""
        return reported_error(found, outcome)

    def _plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        __tracebackhide__ = True
        _warn_about_threads(self.name)
        facts = ACTIVITY.get()
        if facts is not None:
            if self.signature.takes_context:
                args = (Context(facts=facts), *args)
            return self.function(*args, **kwargs)
        cell = cell_port()
        if cell is not None:
            called = self._awaited_in_cell if self.signature.is_async else self._in_cell
            return called(cell, args, kwargs)
        if self.signature.is_async:
            return self._plain_coroutine(args, kwargs)
        facts = ActivityFacts()
        token = ACTIVITY.set(facts)
        try:
            if self.signature.takes_context:
                args = (Context(facts=facts), *args)
            return self.function(*args, **kwargs)
        finally:
            ACTIVITY.reset(token)

    async def _plain_coroutine(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        facts = ACTIVITY.get() or ActivityFacts()
        token = ACTIVITY.set(facts)
        try:
            if self.signature.takes_context:
                args = (Context(facts=facts), *args)
            result = cast(Any, self.function)(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result
        finally:
            ACTIVITY.reset(token)

    def __get__(self, instance: object, owner: type | None = None) -> Activity[P, R_co]:
        if instance is not None:
            raise DefinitionError(
                f"Activity {self.name} is a method. Make it a module-level function and hand it what it needs as arguments: "
                "an instance of your class cannot be journaled."
            )
        return self

    def getdoc(self) -> str:
        """Return what ``?`` shows in IPython: the function's own docstring, the options, and how it is called."""
        return helptext.of_activity(self.name, self.function, self.options, is_async=self.signature.is_async)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}{inspect.signature(self.function)}>"


def reported_error(found: Ambient | None, outcome: Outcome) -> BaseException:
    """Return the error that a call came to, as the journal has it (E1); the run knows it for one that was reported (E4)."""
    error = decode_failure(outcome.payload) if outcome.payload is not NULL or outcome.live is None else outcome.live
    if outcome.live is not None:
        BaseException.with_traceback(error, outcome.live.__traceback__)  # also where attributes cannot be set
    if found is not None:
        found.reported.append(error)
    return error


class Compensation(Activity[P, R_co]):
    """A function that undoes an activity. Made by ``@rn.compensation``, named in ``@rn.activity(compensation=...)``.

    Its parameters are named like those of the activity whose undo it is, and get what the activity was called with; one
    named ``result`` gets what it returned. Outside any workflow it is the plain function.
    """

    kind: Literal["activity", "compensation"] = "compensation"


def as_compensation(
    function: Any, name: str | None = None, options: ActivityOptions | None = None
) -> Compensation[..., Any]:
    """Return *function* as a compensation, whatever it was: one already, an activity, or a plain function."""
    if isinstance(function, Compensation):
        return function
    if isinstance(function, Activity):
        return Compensation(function.function, function.name, function.options)
    if isinstance(function, (staticmethod, classmethod, type)) or not callable(function):
        raise DefinitionError(
            f"A compensation is a function, not {type(function).__name__} {getattr(function, '__name__', function)!s}. Put "
            "@rn.compensation on a module-level `def` or `async def`, and name that function."
        )
    return Compensation(function, name, options or ActivityOptions())


_live_threads: dict[int, int] = {}
"""Threads that are inside an activation, by ident: kept by the runtime so that C8 can warn."""
_warned = False


def activations(delta: int) -> None:
    """Tell that an activation begins (+1) or ends (-1) on this thread."""
    ident = threading.get_ident()
    _live_threads[ident] = _live_threads.get(ident, 0) + delta
    if not _live_threads[ident]:
        del _live_threads[ident]


def _warn_about_threads(name: str) -> None:
    """An activity called on a foreign thread while a run is active is not part of that run: say so once (C8)."""
    global _warned
    if _warned or not _live_threads or threading.get_ident() in _live_threads or ACTIVITY.get() is not None:
        return
    if threading.current_thread() is threading.main_thread():
        return
    _warned = True
    frame = sys._getframe(3)
    warnings.warn_explicit(
        f"Activity {name} was called on a thread of its own while a workflow is running. It ran as a plain function and is "
        "not part of the workflow; call it in the workflow itself, several at once with rn.gather.",
        RuntimeWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
    )


class ActivityDecorator(Protocol):
    """``rn.activity(...)`` with options: wraps a function."""

    @overload
    def __call__(self, function: TakesContext[P, R], /) -> Activity[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Activity[P, R]: ...


@overload
def activity(function: TakesContext[P, R], /) -> Activity[P, R]: ...
@overload
def activity(function: Callable[P, R], /) -> Activity[P, R]: ...
@overload
def activity(
    *,
    name: str | None = None,
    retry: RetryPolicy | int | None = None,
    timeout: float | None = None,
    compensation: Callable[..., Any] | None = None,
    compensate_if: Literal["completed", "started"] = "completed",
    pivot: bool = False,
    delivery: Literal["at_least_once", "at_most_once"] = "at_least_once",
    on_doubt: Literal["ask", "fail", "compensate"] | None = None,
    reuse: Literal["inputs", "prefix", "never"] = "inputs",
    executor: Any = None,
    limit: Limit | str | Sequence[Limit | str] | None = None,
) -> ActivityDecorator: ...
def activity(function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Make a function an activity: its result is journaled, executed at least once and recorded exactly once.

    Args:
        function: ``def`` or ``async def``; a first parameter named ``ctx`` receives the context.
        name: what it is called in the journal; the function's name unless given.
        retry: a ``RetryPolicy``, or how many attempts at most (``1``: no retry). Default: 5 attempts in 300 s.
        timeout: seconds that one attempt may take.
        compensation: the function that undoes it, when the workflow fails or is cancelled after it has completed (U2).
        compensate_if: "started": undo it also when nobody knows whether it had its effect.
        pivot: a point of no return: once it has completed, what was done before it is not undone any more.
        delivery: "at_least_once" runs an attempt again whose outcome a crash made unknown; "at_most_once" never does.
        on_doubt: what "at_most_once" does then: "ask" (pause), "fail", "compensate" (fail, and undo it with the rest).
        reuse: "inputs": a new run may use the recorded result when code and inputs are the same; "prefix": only while
            nothing before it was executed anew; "never".
        executor: a ``concurrent.futures.Executor`` for a ``def`` function, or "main": the waiting cell's own thread.
        limit: ``rn.limit(...)``, the name of one, or several: workflows' calls wait for their turn in it (A8).

    Returns:
        An ``Activity``, called like the function.

    Raises:
        DefinitionError: it is no plain function, an option is wrong, or the compensation does not fit it.

    Example:
        >>> @rn.activity(retry=rn.RetryPolicy(max_attempts=3), timeout=10)  # doctest: +SKIP
        ... def charge(order: str, amount: float) -> str: ...
    """
    checked = ActivityOptions(**{key: value for key, value in options.items() if value is not None})
    if function is None:
        return lambda wrapped: as_activity(wrapped, name, checked)
    return as_activity(function, name, checked)


def as_activity(function: Any, name: str | None, options: ActivityOptions) -> Activity[..., Any]:
    """Return *function* as an activity with these options, whatever it was."""
    if isinstance(function, Activity):
        raise DefinitionError(f"{function.name} is an activity already. Use one decorator, with all options on it.")
    if isinstance(function, (staticmethod, classmethod, type)) or not callable(function):
        raise DefinitionError(
            f"@rn.activity takes a function, not {type(function).__name__} {getattr(function, '__name__', '')!s}. "
            "Put it on a module-level `def` or `async def`."
        )
    return Activity(function, name, options)
