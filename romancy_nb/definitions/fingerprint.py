"""What a function reads, as a fingerprint: "edited" means that it changed (R6).

A function's fingerprint is made of pieces, each with a name that a person knows: its own code, each helper that it
calls (and that they call), each class, each plain value among globals, defaults and closures. Two fingerprints that
differ can so be told apart in words: "PROMPT changed". ``reading.py`` finds the pieces.

What is left out, and listed as *unwatched*: what has no digest (a client, a connection), what is over 1 MB, secrets,
and what the functions change themselves (a cache, a counter): that is their state, and an activity that appends to a
list must not look edited by that. Libraries and this package are taken as they are.

The second look is cheap: a fingerprint keeps a list of checks ("is PROMPT still this object?") that say whether
anything can have changed. Mutable values are digested at every look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final

__all__ = ["OWN_CODE", "Fingerprint", "explain", "fingerprint"]

OWN_CODE: Final = "its code"
"""The piece that is the function itself."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a function reads.

    Attributes:
        digest: 32 hexadecimal digits; equal where every piece is equal, on any Python version.
        reads: the pieces: ``"its code"``, ``"helper()"``, ``"PROMPT"``, ``"class Order"``, each with its digest.
        unwatched: names of what it uses and what is not watched.
    """

    digest: str
    reads: dict[str, str]
    unwatched: tuple[str, ...]


def fingerprint(function: Any) -> Fingerprint:
    """Return the fingerprint of *function* as it is now.

    Args:
        function: a function, or an activity or workflow.

    Example:
        >>> PROMPT = "Sum up:"
        >>> def ask(text): return PROMPT + text
        >>> sorted(fingerprint(ask).reads)  # doctest: +SKIP
        ['PROMPT', 'its code']
    """
    if type(function) is not FunctionType:  # a function may have got the attribute from functools.wraps
        function = getattr(function, "__romancy_function__", function)
    known = _known.get(id(function))
    if known is not None and known[0] is function:
        for check in known[2]:
            if not check():
                break
        else:
            return known[1]
    from romancy_nb.definitions.reading import read  # it reads source, and is not needed to define things

    digest, reads, unwatched, checks = read(function)
    found = Fingerprint(digest, reads, unwatched)
    if len(_known) >= 256:
        _known.clear()  # a notebook redefines all day; what is left over must not keep old values alive
    _known[id(function)] = (function, found, checks)
    return found


def explain(old: dict[str, str], new: dict[str, str]) -> str:
    """Say in words how two sets of ``reads`` differ; "" when they do not.

    Example:
        >>> explain({"its code": "1", "PROMPT": "2"}, {"its code": "1", "PROMPT": "3", "clean()": "4"})
        'PROMPT changed, now reads clean()'
    """
    changed = sorted((name for name in old.keys() & new.keys() if old[name] != new[name]), key=_own_first)
    words = [f"{name} changed" for name in changed]
    words += [f"now reads {name}" for name in sorted(new.keys() - old.keys())]
    words += [f"no longer reads {name}" for name in sorted(old.keys() - new.keys())]
    return ", ".join(words if len(words) <= 4 else [*words[:3], f"and {len(words) - 3} more"])


def _own_first(name: str) -> tuple[bool, str]:
    return name != OWN_CODE, name


_known: dict[int, tuple[Any, Fingerprint, list[Callable[[], bool]]]] = {}
"""By id of the function, which the entry keeps alive."""
