"""Who is told what a call does: one small protocol, chosen by where the call is made (N8)."""

# pyright: reportReturnType=false
# (in a protocol the docstring is the whole body, as in journal/protocol.py)

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from romancy_nb.runtime.inbox import Resting
    from romancy_nb.runtime.instance import Instance

__all__ = ["Console", "Observer", "Outlet", "how_to_answer", "observer", "redraw", "use_observer"]

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

    def shows(self, instance: Instance[Any]) -> None:
        """From here on there may be a timeline of the run that the call waits for."""

    def ended(self, instance: Instance[Any], error: BaseException | None) -> None:
        """The call returns or raises now."""

    def left(self, instance: Instance[Any]) -> None:
        """A run that nobody waits for has come to its end. Called on the engine's thread: must return at once."""

    def notice(self, line: str) -> None:
        """Something that the person should know."""

    def waits(self, instance: Instance[Any], resting: Resting) -> bool:
        """The run waits for something outside: show what for. Is the cell to end now, so that the kernel is free (N5)?"""
        ...

    def progress(self, line: str) -> None:
        """How far a map is: *line* stands in the place of the one before."""

    def batch_ended(self, line: str) -> None:
        """A map is over: *line*, which follows from history, is what stays. "": it was stopped, or waits."""

    @property
    def frees_kernel(self) -> bool:
        """Is a cell to end when all that it waits for rests (N5)?"""
        ...

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

    def __init__(self) -> None:
        self._drawn = 0  # columns of the line of progress that stands there
        self._over = False

    @property
    def attached(self) -> bool:
        return bool(getattr(sys, "ps1", None)) or sys.flags.interactive == 1

    def found(self, instance: Instance[Any], action: str, line: str) -> None:
        self.notice(line)

    def shows(self, instance: Instance[Any]) -> None:
        pass

    def ended(self, instance: Instance[Any], error: BaseException | None) -> None:
        self.batch_ended("")

    def left(self, instance: Instance[Any]) -> None:
        pass

    def waits(self, instance: Instance[Any], resting: Resting) -> bool:
        for line in how_to_answer(resting):
            print(line, file=sys.stderr) if sys.stderr is not None else log.info("%s", line)
        return False

    @property
    def frees_kernel(self) -> bool:
        return False

    def progress(self, line: str) -> None:
        if self._over:
            return
        if sys.stderr is not None and sys.stderr.isatty():
            self._drawn = redraw(sys.stderr, line, self._drawn)
        else:
            log.debug("%s", line)

    def batch_ended(self, line: str) -> None:
        self._over = True
        if self._drawn and sys.stderr is not None:
            redraw(sys.stderr, "", self._drawn)
            self._drawn = 0
        if line:
            self.notice(line)

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


def how_to_answer(resting: Resting) -> list[str]:
    """Say what a run waits for, and how that can be brought from a terminal, a line each."""
    from romancy_nb.runtime.typed import expected

    lines = []
    several = len({each.event for each in resting.questions}) > 1
    for each in resting.questions:
        which = f" --question {each.event}" if several else ""
        how = f"romancy-nb answer {each.instance_id}{which} {expected(each.schema)}"
        lines.append(f"{each.workflow} asks: {each.question} Answer with {how}")
    for waiting, workflow, name in resting.events:
        how = f"rn.send({waiting!r}, {name!r}, ...), or romancy-nb send {waiting} {name} JSON"
        lines.append(f"{workflow} waits for event {name!r}. Send it with {how}")
    return lines


def redraw(stream: Any, line: str, drawn: int) -> int:
    """Draw *line* over one of *drawn* columns; return how many it has itself."""
    line = line[: max(10, shutil.get_terminal_size().columns - 1)]
    stream.write("\r" + line.ljust(drawn) + ("" if line else "\r"))
    stream.flush()
    return len(line)


_choose: Callable[[], Observer] = Console


def use_observer(choose: Callable[[], Observer]) -> None:
    """Say who is told; *choose* is asked at each call."""
    global _choose
    _choose = choose


def observer() -> Observer:
    """Return who is told about a call that is made here and now."""
    return _choose()
