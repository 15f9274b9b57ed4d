"""``rn.limit``: how many calls of the activities that share it execute at once, and how many begin in a second (A8).

A limit is known by its name. What it allows may change while calls wait for it: the same name again with other figures
is the limit from then on, for what waits as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from romancy_nb.errors import DefinitionError

__all__ = ["Limit", "facts_of", "find", "limit", "listeners", "names_of"]

listeners: list[Callable[[str], object]] = []
"""Who is told the name of each limit that is defined, as soon as it is."""

_limits: dict[str, Limit] = {}


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit as ``rn.limit`` defined it.

    Attributes:
        name: what it is called, in the journal too.
        concurrency: how many attempts execute at once, at most; None: any number.
        per_second: how many attempts begin in a second, at most; None: any number.
    """

    name: str
    concurrency: int | None = None
    per_second: float | None = None

    def facts(self) -> dict[str, Any]:
        """Return the limit as the journal has it."""
        figures = {"concurrency": self.concurrency, "per_second": self.per_second}
        return {"name": self.name, **{key: value for key, value in figures.items() if value is not None}}

    def __str__(self) -> str:
        said = [f"{self.concurrency} at once"] if self.concurrency is not None else []
        said += [f"{self.per_second:g} per second"] if self.per_second is not None else []
        return f"{self.name} ({', '.join(said)})"


def limit(name: str, *, concurrency: int | None = None, per_second: float | None = None) -> Limit:
    """Define a limit that activities share: ``@rn.activity(limit=...)``.

    All runs of this process that use a journal wait for it in one queue, first come, first served; a call that waits takes no
    thread. The same name again with other figures changes the limit, also for the calls that wait.

    Args:
        name: what it is called.
        concurrency: how many attempts execute at once, at most.
        per_second: how many attempts begin in a second, at most; they are spread evenly over it.

    Returns:
        The limit, for ``limit=``; its name does as well.

    Raises:
        DefinitionError: a figure is wrong, or there is none.

    Example:
        >>> openai = limit("openai", concurrency=4, per_second=2.5)
        >>> str(openai)
        'openai (4 at once, 2.5 per second)'
    """
    if not isinstance(name, str) or not name.strip():
        raise _wrong(name, concurrency, per_second, "A limit has a name, which is a text that is not empty")
    if concurrency is None and per_second is None:
        raise _wrong(name, concurrency, per_second, "A limit needs concurrency=, per_second= or both")
    if concurrency is not None and (
        not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1
    ):
        raise _wrong(name, concurrency, per_second, "concurrency= takes a whole number from 1 up")
    if per_second is not None and not _is_rate(per_second):
        raise _wrong(name, concurrency, per_second, "per_second= takes a number above 0 (0.5: one in two seconds)")
    found = _limits[name] = Limit(name, concurrency, None if per_second is None else float(per_second))
    for tell in listeners:
        tell(name)
    return found


def _is_rate(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _wrong(name: object, concurrency: object, per_second: object, why: str) -> DefinitionError:
    given = {"concurrency": concurrency, "per_second": per_second}
    wrong = ", ".join([repr(name), *(f"{key}={value!r}" for key, value in given.items() if value is not None)])
    called = name if isinstance(name, str) and name.strip() else "openai"
    return DefinitionError(
        f"{why}.\n    wrong:  rn.limit({wrong})\n"
        f'    right:  rn.limit("{called}", concurrency=4)    or    rn.limit("{called}", per_second=2.5)'
    )


def find(name: str) -> Limit | None:
    """Return the limit called *name* as it is defined now, or None."""
    return _limits.get(name)


def names_of(given: Any) -> tuple[str, ...] | None:
    """Return the names of the limits that ``limit=`` was given: one or several, as limits or names. None: it is neither."""
    each: list[Any] = [given] if isinstance(given, (str, Limit)) or not isinstance(given, Iterable) else list(given)
    names: list[str] = []
    for item in each:
        name = item.name if isinstance(item, Limit) else item
        if not isinstance(name, str) or not name.strip():
            return None
        names.append(name)
    return tuple(dict.fromkeys(names)) or None


def facts_of(activity: str, names: Iterable[str], strict: bool) -> tuple[dict[str, Any], ...]:
    """Return limits as the journal has them.

    Args:
        activity: whose they are.
        names: of the limits.
        strict: False: what is not defined here is left out.

    Raises:
        DefinitionError: one of them is not defined.
    """
    found = []
    for name in names:
        known = _limits.get(name)
        if known is not None:
            found.append(known.facts())
        elif strict:
            defined = ", ".join(sorted(_limits)) or "none"
            raise DefinitionError(
                f'Activity {activity} has limit="{name}", and no limit of that name is defined here (defined: {defined}). Run '
                f'the cell that defines it, or put this line above the call: rn.limit("{name}", concurrency=4)'
            )
    return tuple(found)
