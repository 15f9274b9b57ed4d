"""``@rn.compensation``: a function that undoes one completed activity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from romancy_nb.definitions.activity import Compensation, as_compensation
from romancy_nb.definitions.ambient import TakesContext
from romancy_nb.definitions.limits import Limit
from romancy_nb.definitions.options import ActivityOptions, RetryPolicy

__all__ = ["compensation"]

P = ParamSpec("P")
R = TypeVar("R")


class CompensationDecorator(Protocol):
    """``rn.compensation(...)`` with options: wraps a function."""

    @overload
    def __call__(self, function: TakesContext[P, R], /) -> Compensation[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Compensation[P, R]: ...


@overload
def compensation(function: TakesContext[P, R], /) -> Compensation[P, R]: ...
@overload
def compensation(function: Callable[P, R], /) -> Compensation[P, R]: ...
@overload
def compensation(
    *,
    name: str | None = None,
    retry: RetryPolicy | int | None = None,
    timeout: float | None = None,
    executor: Any = None,
    limit: Limit | str | Sequence[Limit | str] | None = None,
) -> CompensationDecorator: ...
def compensation(function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Make a function a compensation: it undoes a completed activity when its workflow fails or is cancelled.

    It is executed at least once, so it has to bear being executed again: send ``rn.context().idempotency_key`` along.

    Args:
        function: ``def`` or ``async def``. Its parameters are named like the activity's; ``result`` gets what that returned.
        name: what it is called in the journal; the function's name unless given.
        retry: a ``RetryPolicy``, or how many attempts at most. When they are used up, the undo waits for a person.
        timeout: seconds that one attempt may take.
        executor, limit: as for activities.

    Returns:
        A ``Compensation``, called like the function.

    Raises:
        DefinitionError: it is no plain function, or an option is wrong.

    Example:
        >>> @rn.compensation  # doctest: +SKIP
        ... def cancel_flight(passenger: str, result: str) -> None: ...
        >>> @rn.activity(compensation=cancel_flight)  # doctest: +SKIP
        ... def book_flight(passenger: str) -> str: ...
    """
    checked = ActivityOptions(**{key: value for key, value in options.items() if value is not None})
    if function is None:
        return lambda wrapped: as_compensation(wrapped, name, checked)
    return as_compensation(function, name, checked)
