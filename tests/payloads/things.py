"""Classes at the top level of a module, where a journal can find them by name."""

from __future__ import annotations

import enum
from collections import namedtuple
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import pydantic

from romancy_nb.payloads.codec import ANY, decode, encode


def back(value: Any, annotation: Any = ANY) -> Any:
    """Return what replay would give for *value*."""
    return decode(encode(value, annotation, what="the result"), annotation, what="the result")


class Color(enum.Enum):
    RED = "red"
    BLUE = ("a", 1)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    name: str
    tags: tuple[str, ...] = ()


@dataclass
class Loud(Point):
    """Its construction has an effect, which restoring must not repeat."""

    scale: InitVar[int] = 2
    area: float = field(init=False)
    made = 0

    def __post_init__(self, scale: int) -> None:
        self.area = self.x * scale
        self.note = "set beside the fields"
        Loud.made += 1

    @cached_property
    def double(self) -> float:
        return self.area * 2


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


class Pair(NamedTuple):
    left: int
    right: Any = None


Loose = namedtuple("Loose", ["a", "b"])


class Row(TypedDict):
    id: int
    at: datetime


class Order(pydantic.BaseModel):
    id: UUID
    lines: list[Line] = []
    at: datetime | None = None


class Line(pydantic.BaseModel):
    item: str
    price: float


class Special(Line):
    gift: bool = True


class Doubling(pydantic.BaseModel):
    n: int
    anything: Any = None

    @pydantic.field_validator("n")
    @classmethod
    def twice(cls, n: int) -> int:
        return n * 2


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: int
    _secret_state: list[int] = pydantic.PrivateAttr(default_factory=list)


class UserId(int):
    pass


class Client:
    """Nothing that could be journaled."""
