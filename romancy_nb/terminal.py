"""What the command line writes: to streams that take it, and nothing that a terminal obeys."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from romancy_nb import words

__all__ = ["discard", "print_json", "say", "writable"]


def writable() -> None:
    """See to it that whatever there is to say can be written, where the streams are closed or cannot encode our marks, too."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def discard() -> None:
    """What is still buffered for standard output goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str, stream: TextIO | None = None) -> None:
    """Print *text*, in which what others wrote may stand: nothing in it reaches the terminal as a command."""
    print("\n".join(map(words.clean, text.split("\n"))), file=stream)


def print_json(value: Any) -> None:
    """Print *value* for programs."""
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """*value* as JSON has it: times in ISO form, and columns that hold JSON as what they hold."""
    match value:
        case dict():
            return {
                key: _parsed(item) if key in ("input", "output", "error") else _plain(item)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_plain(item) for item in value]
        case str() | int() | float() | None:
            return value
        case other:
            return other.isoformat() if hasattr(other, "isoformat") else str(other)


def _parsed(text: Any) -> Any:
    if not isinstance(text, str):
        return _plain(text)
    try:
        return json.loads(text)
    except ValueError:
        return text
