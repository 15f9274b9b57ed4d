"""What a subcommand of ``%romancy`` is, and the words that stood behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Command", "Words"]


@dataclass(frozen=True, slots=True)
class Words:
    """What stood behind a subcommand, taken apart.

    Attributes:
        text: as it stood there.
        words: without the options.
        options: those that were given; True for those without a value.
    """

    text: str
    words: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand.

    Attributes:
        run: is given the shell and the words behind it; what it returns is the cell's result.
        usage: what follows its name.
        text: what it does, one line.
        example: of a use, without ``%romancy``.
        flags: options without a value.
        valued: options with one.
        most: how many words it takes besides options; None: the rest of the line as it stands.
        completes: what its words are: "id", "checked", "status", "command", "view" or "path", and "event" or "answer" behind an id.
    """

    run: Callable[[Any, Words], Any]
    usage: str
    text: str
    example: str
    flags: tuple[str, ...] = ()
    valued: tuple[str, ...] = ()
    most: int | None = 0
    completes: tuple[str, ...] = ()
