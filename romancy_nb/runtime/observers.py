"""Who is told what a call does: one small protocol, chosen by where the call is made (N8)."""

# pyright: reportReturnType=false
# (in a protocol the docstring is the whole body, as in journal/protocol.py)

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from romancy_nb.runtime.instance import Instance

__all__ = ["Console", "Observer", "Outlet", "observer", "use_observer"]

log = logging.getLogger("romancy_nb")


class Outlet(Protocol):
    """The output of the cell in which a call was made, for whatever comes from other threads and later (N4).

    Attributes:
        through: what is printed goes to the person at once by itself; only what the journal holds is to be shown here.
    """

    @property
    def through(self) -> bool: ...

    def enter(self) -> None:
        """Lead what the current context writes past us (a C library, a stream that cannot be caught) to the cell."""

    def show(self, outputs: list[dict[str, Any]]) -> None:
        """Add *outputs*, as Jupyter has them, to the cell."""

    def prints(self, name: str, text: str) -> None:
        """Add what workflow code writes to a stream."""

    def displays(self, *args: Any, **options: Any) -> None:
        """Add what workflow code displays; the arguments of IPython's ``publish``."""

    def touched(self, capture: Any) -> None:
        """Something changed in the capture of an attempt that belongs to this cell."""

    def left(self, capture: Any) -> None:
        """That attempt is over, or belongs to another cell now."""


class Observer(Protocol):
    """Shows a call to a person, in the thread that made it."""

    @property
    def attached(self) -> bool:
        """Is there a person who could mend the code and call again (E4)?"""
        ...

    def found(self, instance: Instance[Any], action: str, line: str) -> None:
        """The engine knows what the call does; *line* says it (R11)."""

    def ended(self, instance: Instance[Any], error: BaseException | None) -> None:
        """The call returns or raises now."""

    def left(self, instance: Instance[Any]) -> None:
        """A run that nobody waits for has come to its end. Called on the engine's thread: must return at once."""

    def notice(self, line: str) -> None:
        """Something that the person should know."""

    def provenance(self) -> tuple[str | None, str | None]:
        """Path of the notebook and id of the cell that make the call, where known."""

    def folder(self) -> Path | None:
        """The folder in which the work began; None: the working directory."""
        ...

    def output(self) -> Outlet | None:
        """Return the output of the cell that makes the call; None: prints go where they always go."""
        ...


class Console:
    """A terminal gets a line on standard error; anything else the log."""

    @property
    def attached(self) -> bool:
        return bool(getattr(sys, "ps1", None)) or sys.flags.interactive == 1

    def found(self, instance: Instance[Any], action: str, line: str) -> None:
        self.notice(line)

    def ended(self, instance: Instance[Any], error: BaseException | None) -> None:
        pass

    def left(self, instance: Instance[Any]) -> None:
        pass

    def notice(self, line: str) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            print(line, file=sys.stderr)
        else:
            log.info("%s", line)

    def provenance(self) -> tuple[str | None, str | None]:
        return None, None

    def folder(self) -> Path | None:
        return None

    def output(self) -> Outlet | None:
        return None


_choose: Callable[[], Observer] = Console


def use_observer(choose: Callable[[], Observer]) -> None:
    """Say who is told; *choose* is asked at each call."""
    global _choose
    _choose = choose


def observer() -> Observer:
    """Return who is told about a call that is made here and now."""
    return _choose()
