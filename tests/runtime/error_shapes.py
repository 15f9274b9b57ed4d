"""Errors of every shape that people's code raises, made from a recipe; and a portrait of one, to compare by.

A recipe is plain data, so it travels as an activity's argument: ``raise_it(recipe)`` raises what it describes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from romancy_nb import errors

Pick = Callable[[int], int]
"""Given n, returns a number below n."""


class Colour(enum.Enum):
    RED = "red"


class Declined(Exception):
    def __init__(self, amount: int, *, reason: str) -> None:
        super().__init__(f"declined {amount}")
        self.amount, self.reason = amount, reason


class Odd(Exception):
    __slots__ = ("code", "extra", "unset")

    def __new__(cls, code: int, other: int = 0) -> Odd:
        made = super().__new__(cls, code)
        made.code, made.extra = code, None
        return made


@dataclasses.dataclass
class Record(Exception):
    """Has an ``__eq__`` and therefore no hash."""

    code: int
    tags: list[str]


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Falsy(Exception):
    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0


class Quarrelsome(Exception):
    """Raises at whatever it is asked, except by ``repr``."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        raise RuntimeError("str")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("getattr")

    def __reduce__(self) -> Any:
        raise RuntimeError("reduce")


class Sealed(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("sealed")


class Shadowed(Exception):
    @property
    def code(self) -> int:
        return 7


class Outer:
    class Inner(ValueError):
        pass


class Terminal(errors.TerminalError):
    pass


class Several(ExceptionGroup):
    def derive(self, excs: Any) -> Several:
        return Several(self.message, excs)


class Signal(BaseException):
    pass


class Holding(Exception):
    def __init__(self, held: Any) -> None:
        super().__init__("holding", held)
        self.held = held


def _local() -> BaseException:
    class Local(Exception):
        pass

    return Local("made in a function")


def _shadowed() -> BaseException:
    error = Shadowed("shadowed")
    vars(error)["code"] = 9
    return error


MAKERS: list[Callable[[Any], BaseException]] = [
    ValueError,
    lambda x: KeyError(x, Colour.RED),
    lambda x: OSError(2, "No such file", f"/tmp/{x}"),
    lambda x: ConnectionResetError(104, "reset"),
    lambda x: UnicodeDecodeError("utf-8", b"\xff", 0, 1, str(x)),
    lambda x: ImportError("no", name=str(x), path="p"),
    lambda x: SyntaxError("bad", ("file.py", 3, 1, "x = (", 3, 5)),
    lambda x: json.JSONDecodeError("expected", "{", 1),
    lambda x: AttributeError("no attribute", name="a", obj=None),
    lambda x: StopIteration(x),
    lambda x: StopAsyncIteration(x),
    lambda x: SystemExit(x),
    lambda x: KeyboardInterrupt(x),
    lambda x: GeneratorExit(x),
    lambda x: asyncio.CancelledError(x),
    lambda x: TimeoutError(x),
    lambda x: RecursionError(x),
    lambda x: MemoryError(x),
    lambda x: Signal(x),
    lambda x: Declined(3, reason=str(x)),
    lambda x: Odd(4, 5),
    lambda x: Record(1, [str(x)]),
    lambda x: Frozen(2),
    lambda x: Falsy(x),
    lambda x: Quarrelsome(x),
    lambda x: Sealed(x),
    lambda x: _shadowed(),
    lambda x: Outer.Inner(x),
    lambda x: Terminal(str(x)),
    lambda x: Holding(threading.Lock()),
    lambda x: _local(),
    lambda x: errors.ActivityError("stands in", original="some.Thing"),
    lambda x: errors.RunPutDown(x),
    lambda x: errors.RunInterrupted(x),
    lambda x: errors.AwaitInterrupted(x),
    lambda x: errors.HistoryMismatch("parted", expected="a", asked="b", what="w"),
    lambda x: errors.RunStuck("stuck"),
    lambda x: errors.WrongPlace("place"),
]
VALUES: list[Any] = ["text", 0, 1.5, None, True, [1, {"a": [2]}], "é\u2028", "a" * 300, {"k": "v"}, ""]


def recipe(pick: Pick, depth: int = 0) -> dict[str, Any]:
    """Return a recipe made by chance."""
    made: dict[str, Any] = {"maker": pick(len(MAKERS)), "value": VALUES[pick(len(VALUES))]}
    if depth < 3 and pick(4) == 0:
        made["members"] = [recipe(pick, depth + 1) for _ in range(1 + pick(3))]
        made["group"] = pick(2)
    if pick(3) == 0:
        made["notes"] = ["a note", "and\nanother"][: 1 + pick(2)]
    if pick(3) == 0:
        made["attributes"] = {name: VALUES[pick(len(VALUES))] for name in ("status", "body", "code")[: 1 + pick(3)]}
    if depth < 3 and pick(3) == 0:
        made["cause"] = recipe(pick, depth + 1)
    if depth < 3 and pick(3) == 0:
        made["context"] = recipe(pick, depth + 1)
    if pick(5) == 0:
        made["suppress"] = True
    return made


def make(told: dict[str, Any]) -> BaseException:
    """Return the error of a recipe."""
    if "members" in told:
        members = [make(each) for each in told["members"]]
        ordinary = all(isinstance(each, Exception) for each in members)
        kind: Any = Several if told["group"] and ordinary else BaseExceptionGroup
        error: BaseException = kind("several", members)
    else:
        error = MAKERS[told["maker"]](told["value"])
    for note in told.get("notes", ()):
        _try(lambda note=note: error.add_note(note))
    for name, value in told.get("attributes", {}).items():
        _try(lambda name=name, value=value: setattr(error, name, value))
    if "context" in told:
        object.__setattr__(error, "__context__", make(told["context"]))
    if "cause" in told:
        object.__setattr__(error, "__cause__", make(told["cause"]))
    if "suppress" in told:
        object.__setattr__(error, "__suppress_context__", True)
    return error


def _try(change: Callable[[], Any]) -> None:
    try:
        change()
    except Exception:
        pass


def raise_it(told: dict[str, Any]) -> NoReturn:
    """Raise the error of a recipe, with the context that the recipe says."""
    raise make(told)


def portrait(error: BaseException | None, depth: int = 0, *, traceback: bool = True) -> Any:
    """Return all that a person's code can see of an error, as plain data."""
    if error is None or depth > 8:
        return None
    held = object.__getattribute__(error, "__dict__")
    seen: dict[str, Any] = {
        "class": f"{type(error).__module__}.{type(error).__qualname__}",
        "bases": [each.__name__ for each in type(error).__mro__],
        "args": [_shown(each, depth) for each in error.args]
        if not isinstance(error, BaseExceptionGroup)
        else error.message,
        "attributes": {name: _shown(value, depth) for name, value in sorted(held.items()) if not name.startswith("__")},
        "members": {
            name: _shown(_get(error, name), depth)
            for name in (
                *("errno", "strerror", "filename", "start", "reason", "name", "path", "lineno", "text", "value"),
                *("code", "extra", "unset"),
            )
        },
        "notes": list(held.get("__notes__", ())),
        "text": _text(error),
        "suppress": error.__suppress_context__,
        "cause": portrait(error.__cause__, depth + 1, traceback=traceback),
        "context": portrait(error.__context__, depth + 1, traceback=traceback),
    }
    if isinstance(error, BaseExceptionGroup):
        seen["group"] = [portrait(each, depth + 1, traceback=traceback) for each in error.exceptions]
    if isinstance(error, errors.ActivityError):
        seen["original"] = error.original
    if traceback:
        seen["traceback"] = held.get("__romancy_traceback__", "")
    return seen


def _shown(value: Any, depth: int) -> Any:
    return portrait(value, depth + 1) if isinstance(value, BaseException) else f"{type(value).__name__} {value!r}"


def _get(error: BaseException, name: str) -> Any:
    try:
        return getattr(error, name)
    except Exception as failed:
        return f"raises {type(failed).__name__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failed:
        return f"raises {type(failed).__name__}"
