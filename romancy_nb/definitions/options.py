"""The options of the decorators, checked where they are written.

Each class refuses a wrong option with one sentence: which option, what it was given, what it takes.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, ClassVar, Literal, Self, TypeGuard

from romancy_nb.definitions import limits
from romancy_nb.errors import CannotRestore, DefinitionError, NotJournalable, TerminalError

__all__ = ["NO_RETRY", "ActivityOptions", "RetryPolicy", "WorkflowOptions"]

_HOPELESS = (TerminalError, NotJournalable, CannotRestore)
"""Errors that the next attempt would meet again."""


class _Options:
    """Names an option that does not exist, before the dataclass's own ``TypeError`` does."""

    __slots__ = ()
    title: ClassVar[str]

    def __new__(cls, *_args: Any, **options: Any) -> Self:
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # every subclass is a dataclass
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.5)
                hint = f" Did you mean {near[0]}=?" if near else ""
                raise DefinitionError(f"{cls.title} has no option {name}=.{hint} Its options are {', '.join(known)}.")
        return super().__new__(cls)

    def refuse(self, name: str, takes: str) -> DefinitionError:
        """Return the error for option *name*, whose value is wrong."""
        return DefinitionError(f"{self.title}: {name}={getattr(self, name)!r} is wrong. It takes {takes}.")

    def set(self, name: str, value: Any) -> None:
        """Put a normalised value in the place of the one that was given."""
        object.__setattr__(self, name, value)

    def check_choice(self, name: str, *choices: str | None) -> None:
        """Refuse a value of *name* that is none of *choices*."""
        value = getattr(self, name)
        if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
            raise self.refuse(name, " or ".join("None" if choice is None else f'"{choice}"' for choice in choices))

    def check_seconds(self, name: str, *, above_zero: bool = False, optional: bool = False) -> None:
        """Refuse a value of *name* that is no duration; a ``timedelta`` becomes seconds."""
        value = getattr(self, name)
        if isinstance(value, timedelta):
            value = value.total_seconds()
            self.set(name, value)
        if value is None and optional:
            return
        if not _number(value) or value < 0 or (above_zero and value == 0):
            more = ", or None for no limit" if optional else ""
            raise self.refuse(name, f"seconds {'above 0' if above_zero else 'from 0 up'}{more}")


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class RetryPolicy(_Options):
    """How often a failed activity is tried again, and when.

    Attempts and their back-off are journaled: they go on after a restart. Time in which nobody ran the workflow does
    not count toward ``max_duration`` (A7).

    Attributes:
        max_attempts: how many attempts at most, the first one included; None: no limit.
        initial: seconds before the second attempt.
        backoff: each further wait is this many times the one before.
        maximum: no wait is longer than this many seconds (jitter aside).
        jitter: each wait is longer or shorter by up to this fraction of it, from 0 to 1.
        max_duration: seconds after which no further attempt starts; None: no limit.
        retry_on: the exception class or classes that are worth another attempt.
        give_up_on: classes that are not, although ``retry_on`` has them.

    Raises:
        DefinitionError: an option is wrong.

    Example:
        >>> RetryPolicy(max_attempts=3, retry_on=ConnectionError).retries(ValueError())
        False
    """

    title: ClassVar[str] = "RetryPolicy"

    max_attempts: int | None = 5
    initial: float = 1.0
    backoff: float = 2.0
    maximum: float = 60.0
    jitter: float = 0.1
    max_duration: float | None = 300.0
    retry_on: type[Exception] | tuple[type[Exception], ...] = (Exception,)
    give_up_on: type[Exception] | tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        attempts = self.max_attempts
        if attempts is not None and (not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1):
            raise self.refuse("max_attempts", "a whole number from 1 up (1: no retry), or None for no limit")
        self.check_seconds("initial")
        self.check_seconds("maximum")
        self.check_seconds("max_duration", optional=True)
        if not _number(self.backoff) or self.backoff < 1:
            raise self.refuse("backoff", "a number from 1 up")
        if not _number(self.jitter) or not 0 <= self.jitter <= 1:
            raise self.refuse("jitter", "a number from 0 to 1")
        self._check_classes("retry_on")
        self._check_classes("give_up_on")

    def _check_classes(self, name: str) -> None:
        given: Any = getattr(self, name)
        classes = (given,) if isinstance(given, type) else tuple(given) if isinstance(given, Iterable) else None
        if classes is None or not all(isinstance(each, type) and issubclass(each, Exception) for each in classes):
            raise self.refuse(name, "a subclass of Exception, or a tuple of them")
        self.set(name, classes)

    def delay(self, attempt: int, random01: float) -> float:
        """Return the seconds between attempt number *attempt* (from 1) and the next one.

        Args:
            attempt: the attempt that has failed.
            random01: a random number in [0, 1), which places the wait within its jitter.

        Example:
            >>> RetryPolicy(initial=1, backoff=3, maximum=5).delay(2, 0.5)
            3.0
        """
        try:
            wait = min(self.initial * float(self.backoff) ** (attempt - 1), self.maximum)
        except OverflowError:
            wait = self.maximum if self.initial else 0.0
        return float(wait * (1 + self.jitter * (2 * random01 - 1)))

    def retries(self, error: BaseException) -> bool:
        """Return whether *error* is worth another attempt; how many there were does not matter here.

        ``give_up_on`` wins over ``retry_on``. Never retried: ``TerminalError``, a result that cannot be journaled, a
        secret that is missing, and what is no ``Exception``.
        """
        if not isinstance(error, Exception) or isinstance(error, (_HOPELESS, self.give_up_on)):
            return False
        return isinstance(error, self.retry_on)

    @classmethod
    def none(cls) -> RetryPolicy:
        """Return the policy that never retries."""
        return NO_RETRY


NO_RETRY = RetryPolicy(max_attempts=1)
"""One attempt, no retry."""

_DEFAULT_RETRY = RetryPolicy()


@dataclass(frozen=True)
class ActivityOptions(_Options):
    """What ``@rn.activity(...)`` takes.

    Attributes:
        retry: a ``RetryPolicy``; a whole number means that many attempts at most.
        timeout: seconds (or a ``timedelta``) that one attempt may take; None: no limit.
        delivery: "at_least_once" runs an attempt again whose outcome a crash made unknown, "at_most_once" never does.
        on_doubt: what happens then: "ask" (None means this), "fail" or "compensate".
        reuse: when a new run may use a recorded result (R8): "inputs", "prefix" or "never".
        executor: a ``concurrent.futures.Executor`` for a ``def`` function, or "main": the waiting cell's thread.
        pivot: what completed before this activity did is no longer undone.
        compensation: the function that undoes it.
        compensate_if: "completed", or "started": undo it also when its outcome is unknown.
        limit: names of the limits that its calls wait for (A8); given as one or several of ``rn.limit(...)`` or names.

    Raises:
        DefinitionError: an option is wrong.
    """

    title: ClassVar[str] = "activity"

    retry: RetryPolicy = _DEFAULT_RETRY
    timeout: float | None = None
    delivery: Literal["at_least_once", "at_most_once"] = "at_least_once"
    on_doubt: Literal["ask", "fail", "compensate"] | None = None
    reuse: Literal["inputs", "prefix", "never"] = "inputs"
    executor: Any = None
    pivot: bool = False
    compensation: Any = None
    compensate_if: Literal["completed", "started"] = "completed"
    limit: Any = None

    def __post_init__(self) -> None:
        retry: Any = self.retry
        if isinstance(retry, int) and not isinstance(retry, bool) and retry >= 1:
            self.set("retry", RetryPolicy(max_attempts=retry))
        elif not isinstance(retry, RetryPolicy):
            raise self.refuse("retry", "a RetryPolicy, or how many attempts at most (1: no retry)")
        self.check_seconds("timeout", above_zero=True, optional=True)
        self.check_choice("delivery", "at_least_once", "at_most_once")
        self.check_choice("on_doubt", "ask", "fail", "compensate", None)
        if self.compensation is not None and not callable(self.compensation):
            raise self.refuse("compensation", "a function, best one marked @rn.compensation")
        if self.on_doubt == "compensate" and self.compensation is None:
            raise self.refuse("on_doubt", 'a compensation= beside "compensate"; or "ask" or "fail"')
        self.check_choice("reuse", "inputs", "prefix", "never")
        self.check_choice("compensate_if", "completed", "started")
        if not isinstance(self.pivot, bool):
            raise self.refuse("pivot", "True or False")
        if self.limit is not None:
            names = limits.names_of(self.limit)
            if names is None:
                raise self.refuse(
                    "limit", 'rn.limit("openai", concurrency=4), the name of a limit, or a tuple of these'
                )
            self.set("limit", names)
        if (
            self.executor is not None
            and self.executor != "main"
            and not callable(getattr(self.executor, "submit", None))
        ):
            raise self.refuse("executor", 'a concurrent.futures.Executor, "main" (the waiting cell\'s thread) or None')


@dataclass(frozen=True)
class WorkflowOptions(_Options):
    """What ``@rn.workflow(...)`` takes.

    Attributes:
        on_failure: "compensate": undo what was done; "pause": wait for a person; None: what the failure calls for (E4).
        timeout: seconds (or a ``timedelta``) after which a run is cancelled and undone; None: no limit.

    Raises:
        DefinitionError: an option is wrong.
    """

    title: ClassVar[str] = "workflow"

    on_failure: Literal["compensate", "pause"] | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        self.check_choice("on_failure", "compensate", "pause", None)
        self.check_seconds("timeout", above_zero=True, optional=True)
