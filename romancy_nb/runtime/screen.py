"""A line of output as a terminal would show it: what a progress bar draws over is gone."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Line"]

_MOVES: Final = re.compile(r"(\r\n|\r|\n|\x1b\[[0-2]?K)")


class Line:
    """The line that a stream is at.

    Attributes:
        name: of the stream.
        text: what stands in the line now.
        redrawn: a carriage return was in it: it may be drawn over again.

    >>> line = Line("stderr")
    >>> line.write("10 %\\r20 %"), line.text
    ('', '20 %')
    >>> line.write("\\r100 %\\ndone"), line.text
    ('100 %\\n', 'done')
    """

    __slots__ = ("_at", "name", "redrawn", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self._reset()

    def _reset(self) -> None:
        self.text, self._at, self.redrawn = "", 0, False

    def write(self, text: str) -> str:
        """Take *text*; return the lines that are complete with it."""
        if "\r" not in text and not self.redrawn:
            done, newline, rest = text.rpartition("\n")
            if not newline:
                self.text += text
                self._at = len(self.text)
                return ""
            done = self.text + done + newline
            self._reset()
            self.text, self._at = rest, len(rest)
            return done
        out = []
        for piece in _MOVES.split(text):
            if piece in {"\n", "\r\n"}:
                out.append(self.take() + "\n")
            elif piece == "\r":
                self._at, self.redrawn = 0, True
            elif piece.endswith("K") and piece.startswith("\x1b["):
                self.text = self.text[: self._at] if "2" not in piece else ""
            elif piece:
                self.text = self.text[: self._at] + piece + self.text[self._at + len(piece) :]
                self._at += len(piece)
        return "".join(out)

    def take(self) -> str:
        """Return what stands in the line, and begin another."""
        text = self.text.rstrip(" ") if self.redrawn else self.text
        self._reset()
        return text
