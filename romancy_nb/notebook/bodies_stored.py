"""What the journal knows of an earlier run of a cell's body: the notebook's variables that it read, and where they came from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from romancy_nb.errors import CannotRestore
from romancy_nb.payloads.fields import decode_fields
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import launch, starts

if TYPE_CHECKING:
    from romancy_nb.core.events import Event
    from romancy_nb.definitions.ambient import Request
    from romancy_nb.runtime.engine import Engine

__all__ = ["Stored", "instance_of", "origins", "recorded"]

_LONGEST = 60
"""Characters of a line that says where a name came from."""


@dataclass(slots=True)
class Stored:
    """What the start of the newest run has.

    Attributes:
        values: variables by name, decoded.
        origins: names that the notebook had and whose values were not kept, each with the line that made it, or "".
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)


def instance_of(request: Request) -> str | None:
    """Return the id of the instance that *request* finds or would make; None: a new one."""
    found: str | None = launch.current().ask(lambda engine: _instance(engine, request))
    return found


def _instance(engine: Engine, request: Request) -> str | None:
    if request.instance_id is not None:
        return request.instance_id
    derived = starts.derived_id(request, engine.namespace)
    if not request.new:
        return derived
    mine = [head for head in engine.journal.unfinished() if head.instance.startswith(derived + "-")]
    return max(mine, key=lambda head: head.started).instance if mine and request.new is True else None


def recorded(request: Request, workflow: str, names: list[str]) -> Stored:
    """Return what the journal has of *names*, which an earlier run of the instance read."""

    def ask(engine: Engine) -> Event | None:
        instance = _instance(engine, request)
        head = engine.journal.heads([instance]).get(instance) if instance is not None else None
        if head is None or head.workflow != workflow:
            return None
        return engine.journal.load(head.run)[0].event

    start = launch.current().ask(ask)
    if start is None or start.payload is None:
        return Stored()
    found = Stored(origins=dict((start.meta or {}).get("names", {})))
    for name, payload in _fields(start.payload).items():
        if name in names:
            try:
                found.values[name] = decode_fields(payload, {}, what=f"workflow {workflow}")[0][name]
            except CannotRestore:
                found.origins.setdefault(name, "")  # of a class that is not defined here yet
    return found


def _fields(payload: Payload) -> dict[str, Payload]:
    """The fields of the start's payload, each as a payload of its own: one that cannot be restored spoils no other."""
    from romancy_nb.payloads.text import dumps, loads

    return {name: Payload(dumps({name: value}), payload.parts) for name, value in loads(payload.text).items()}


def origins(shell: Any, names: list[str]) -> dict[str, str]:
    """Return for each of *names* the line of the notebook that bound it last, or "" where that is not to be found."""
    history = [str(each) for each in shell.user_ns.get("In", ())]
    return {name: _line(history, name) for name in names}


def _line(history: list[str], name: str) -> str:
    word = re.escape(name)
    binds = re.compile(
        rf"(?m)^[ \t]*(?:(?:async[ ]+)?def[ ]+{word}\b|class[ ]+{word}\b|{word}[ ]*[=:,]|.*,[ ]*{word}[ ]*=|"
        rf"(?:from|import)\b.*\b{word}\b|with\b.*\bas[ ]+{word}\b|for[ ]+.*\b{word}\b.*\bin\b).*$"
    )
    for text in reversed(history):
        if found := binds.search(text):
            line = found[0].strip()
            return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
    return ""
