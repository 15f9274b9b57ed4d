"""What steps say that they cost: the ``attributes`` that an activity journals with its attempts.

Nobody trusts them: they come from a journal. A cost is a finite number of dollars that is not negative; everything else that is
plain is shown as it is, and nothing is added up but what is known to be a sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from romancy_nb.words import clean, clip, count

__all__ = ["Cost", "sum_of", "told", "total", "words"]

_MICRO: Final = 1_000_000
_DEAREST: Final = 1e12  # dollars: more is no cost
_SHOWN: Final = 12
_COST: Final = "cost_usd"
_TOKENS: Final = "tokens"


@dataclass(frozen=True, slots=True)
class Cost:
    """A sum: whole numbers, so that it is the same in whatever order it is added up.

    Attributes:
        micros: millionths of a dollar; None where nobody said.
        tokens: of language models, in and out; None likewise.
    """

    micros: int | None
    tokens: int | None


def total(attempts: Sequence[Mapping[str, Any]]) -> Cost | None:
    """Return what all *attempts* of a step cost together: a failed one costs, too."""
    if not attempts:
        return None
    dollars = [each for a in attempts if (each := _number(a.get(_COST))) is not None]
    tokens = [each for a in attempts if (each := _tokens(a)) is not None]
    if not dollars and not tokens:
        return None
    return Cost(sum(round(d * _MICRO) for d in dollars) if dollars else None, sum(tokens) if tokens else None)


def sum_of(costs: Iterable[Cost | None]) -> Cost | None:
    """Return the sum of *costs*; None where no step has one."""
    known = [cost for cost in costs if cost is not None]
    if not known:
        return None
    micros = [cost.micros for cost in known if cost.micros is not None]
    tokens = [cost.tokens for cost in known if cost.tokens is not None]
    return Cost(sum(micros) if micros else None, sum(tokens) if tokens else None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and 0 <= number <= _DEAREST else None


def _tokens(attributes: Mapping[str, Any]) -> int | None:
    """``tokens`` is a number, or a dict of them by what they were for."""
    told = attributes.get(_TOKENS)
    parts = list(told.values()) if isinstance(told, dict) else [told]
    numbers = [int(each) for part in parts if (each := _number(part)) is not None]
    return sum(numbers) if numbers else None


def words(cost: Cost | None) -> str:
    """Return a cost in words: ``$0.0123, 1,204 tokens``; empty where there is none.

    >>> [words(Cost(micros, None)) for micros in (0, 30, 12_300, 1_250_000, 1_234_000_000)]
    ['$0', '<$0.0001', '$0.0123', '$1.25', '$1,234.00']
    """
    if cost is None:
        return ""
    said = [] if cost.micros is None else [_dollars(cost.micros)]
    if cost.tokens is not None:
        said.append(count(cost.tokens, "token"))
    return ", ".join(said)


def _dollars(micros: int) -> str:
    if micros == 0:
        return "$0"
    if micros < 100:
        return "<$0.0001"
    return f"${micros / _MICRO:,.2f}" if micros >= _MICRO else f"${micros / _MICRO:.4f}".rstrip("0")


def told(attempts: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Return what the last attempt says of itself, each with a short text, without what the cost says already."""
    if not attempts:
        return ()
    pairs: list[tuple[str, str]] = []
    for key, value in list(attempts[-1].items())[:_SHOWN]:
        if key == _COST or (key == _TOKENS and not isinstance(value, dict)):
            continue
        if isinstance(value, dict):
            shown = ", ".join(f"{clean(str(k))} {clean(str(v))}" for k, v in list(value.items())[:_SHOWN])
        else:
            shown = str(value)
        pairs.append((clip(str(key), 40), clip(shown)))
    return tuple(pairs)
