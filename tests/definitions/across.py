"""Prints fingerprints of many kinds of code as JSON. Run by ``test_fingerprint_across_versions.py`` on every Python."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from cells import notebook  # noqa: E402

from romancy_nb.definitions.fingerprint import fingerprint  # noqa: E402

CELLS = '''
import asyncio, enum, functools, json, os.path
from collections import namedtuple
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, Optional, Protocol, TypedDict, TypeVar

from pydantic import BaseModel, Field

T = TypeVar("T")
Mode = Literal["a", "b"]
Maybe = Optional[int]
Either = int | str
LIMITS = {"b": 2, "a": [1, 2.5, None]}
NAMES = {"x", "y", "zebra", "apple", "kiwi"}
FROZEN = frozenset({"p", "q", ("r", 1)})
Point = namedtuple("Point", "x y", defaults=[0])

class Color(enum.Enum):
    RED = 1
    BLUE = "b"

class Flag(enum.IntFlag):
    A = 1
    B = 2

@dataclass(frozen=True, slots=True)
class Item:
    name: str
    tags: list[str] = field(default_factory=list)
    count: int = 3
    def total(self) -> int:
        "doc"
        return self.count * LIMITS["b"]

class Row(NamedTuple):
    a: int
    b: str = "x"
    def both(self): return self.a, self.b

class Shape(TypedDict, total=False):
    side: float

class Sized(Protocol):
    def size(self) -> int: ...

class Box(Generic[T]):
    limit = 3
    __slots__ = ("value",)
    def __init__(self, value: T) -> None:
        self.value = value
    @property
    def double(self): return self.value * 2
    @staticmethod
    def make(x): return Box(x)
    @classmethod
    def of(cls, *xs): return [cls(x) for x in xs]
    @functools.cached_property
    def lazy(self): return 1

class Answer(BaseModel):
    """What the model says."""
    text: str
    score: float = Field(0.5, ge=0, le=1, description="how sure")
    tags: list[Color] = Field(default_factory=list)
    def short(self) -> str: return self.text[:10]

DEFAULT = Item("d", ["x"], 4)

def helper(x): return helper2(x) if x else [y for y in NAMES if y != x]
def helper2(x): return helper(x - 1)

def fstrings(w, x, a=1, *, b="é", c=1e400, d=-0.0, e=10**30):
    """doc"""
    return (f"", f"{x}", f"a{x!r:>{w}}b" "c" f"d{x=}" f"{{}}", f"{x:%Y-%m}", f"{x!s}{w:{a}.{b}}", f"{x:}", "a" "b" f"c",
            f"""{
                x
            }""", f"{x['k']}", rf"\\d{x}", f"{lambda_:=^10}" if (lambda_ := 1) else None, f"{x,}", f"{'q'}{x}", f"{x}" f"{w}")

def statements(*args, **kw):
    global counter
    x: int = 1
    y: Color
    with open("f") as f, (open("g")) as g:
        pass
    try:
        import os as o
        from . import z
    except* ValueError as e:
        raise RuntimeError from e
    for i, *rest in args:
        if (n := len(rest)) > 10: break
    else:
        del x
    while True: continue
    match x:
        case {"a": 1, **r}: pass
        case [1, 2, *_] | Item(name="n", count=3) | None | "s" | -1: pass
        case Color.RED if x: return
        case _: ...
    return [*args, {**kw}, x[1:2, ::3], ..., b"by", 1j, True, None, "\\N{BULLET}\\ud800", 0xFF, not x, x if y else -x]

async def waits(x):
    async with x as y:
        async for z in y: yield_ = await z
    return [i async for i in x if await i], (lambda *a, k=1, **q: a), {k: v for k, v in x}, asyncio.sleep

def scopes(n):
    total = 0
    def inner(m):
        nonlocal total
        total += m + n + len(FROZEN)
        class Local(Base if False else object):
            attr = LIMITS
            def method(self): return __class__, super().x, attr
        return Local
    return [inner(LIMITS["a"]) for LIMITS in ({"a": 1},)], json.dumps, os.path.join

def closures():
    key = {"z": 1, "y": [2]}
    def used(x, f=helper): return key, f(x)
    return used

used = closures()

def uses(i: Item, a: "Answer", m: Mode = "a", o: Maybe = None, e: Either = 1, d=DEFAULT) -> Box[Row]:
    return Color.RED, Flag.A, Point, Shape, Sized, T, TABLE["f"], functools.reduce, helper(i), undefined_name
TABLE = {"f": helper, "g": [lambda x: x + 1, lambda x: x * 2], "p": functools.partial(helper, 3, k=[1])}

@functools.lru_cache(maxsize=None)
def cached(x): return helper(x)

def wrap(f):
    @functools.wraps(f)
    def wrapper(*a, **k): return f(*a, **k)
    return wrapper

@wrap
def wrapped(x): return LIMITS
'''

if sys.version_info >= (3, 12) and "--new" in sys.argv:
    CELLS += "\ndef generic[K: int](x: K) -> K: return x\n"

if __name__ == "__main__":
    book = notebook(CELLS)
    names = ["fstrings", "statements", "waits", "scopes", "used", "uses", "helper", "cached", "wrapped"]
    found = {name: fingerprint(book[name]) for name in names}
    print(json.dumps({name: [each.digest, each.reads, each.unwatched] for name, each in found.items()}, sort_keys=True))
