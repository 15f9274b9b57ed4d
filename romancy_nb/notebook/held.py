"""What a call prints where nobody reads along, held back until something else is put out (N7).

ipykernel sends what stands in its buffers five times a second, and nbclient, and so every headless execution, makes an output
of each message. Where the clock cuts a stream is chance. So in such a cell text of one stream is kept together, and goes to
the cell as one message when the other stream, a display, or the cell's own code has something to say, when the cell ends, or
every so many characters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from romancy_nb.notebook import identity
from romancy_nb.runtime import streams

__all__ = ["Held", "begin", "let_go", "nobody_reads"]

_CHUNK: Final = 1 << 20
"""Characters after which text is sent in any case, so that memory has an end: counted, so the same in every execution."""

_holding: dict[Held, None] = {}


def nobody_reads() -> bool:
    """Is the cell that runs executed by nbclient or its like: sent without a cell's id, by somebody who takes no input?"""
    try:
        parent: Any = identity.shell().get_parent()
        return identity.cell_id() is None and parent["content"]["allow_stdin"] is False
    except (AttributeError, KeyError, TypeError):
        return False


class Held:
    """Text of one stream that has not been sent.

    Args:
        send: sends a stream's text as one message. Whoever calls a method of this holds the lock under which *send* may be called.
        locked: has something done under that lock.
    """

    def __init__(self, send: Callable[[str, str], None], locked: Callable[[Callable[[], None]], None]) -> None:
        self._send, self._locked = send, locked
        self.name = ""
        self._texts: list[str] = []
        self._size = 0
        self.over = False

    @property
    def text(self) -> str:
        """What is held."""
        return "".join(self._texts)

    def add(self, name: str, text: str) -> None:
        """Take *text* for stream *name*."""
        if name != self.name:
            self.release()
        self.name = name
        self._texts.append(text)
        self._size += len(text)
        while self._size >= _CHUNK:
            whole = self.text
            self._send(name, whole[:_CHUNK])
            self._texts, self._size = [whole[_CHUNK:]], len(whole) - _CHUNK

    def release(self) -> None:
        """Send what is held."""
        text, self._texts, self._size = self.text, [], 0
        if text:
            self._send(self.name, text)

    def let_go(self) -> None:
        """Send what is held, from anywhere."""
        if self._size:
            self._locked(self.release)

    def end(self) -> None:
        """The cell is over: from now on nothing is held."""

        def work() -> None:
            self.over = True
            self.release()

        self._locked(work)


def begin(held: Held) -> None:
    """Hold text back until the cell that runs is over."""
    _holding[held] = None
    if let_go not in streams.BEFORE:
        streams.BEFORE.append(let_go)
    streams.install()
    events = identity.shell().events
    if end not in events.callbacks["post_execute"]:
        events.register("post_execute", end)


def let_go() -> None:
    """Send all that is held, because something else is about to be sent."""
    for held in list(_holding):
        held.let_go()


def end() -> None:
    """Hold nothing any more: the cell is over."""
    while _holding:
        _holding.popitem()[0].end()
    if let_go in streams.BEFORE:
        streams.BEFORE.remove(let_go)
    shell = identity.shell()
    if shell is not None and end in shell.events.callbacks["post_execute"]:
        shell.events.unregister("post_execute", end)
