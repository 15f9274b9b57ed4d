"""What ``%romancy`` alone answers: what runs, what waits for you, and one next command for each (N6).

In plain words (N9): nobody has to know what the engine calls things to know what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Final

from romancy_nb import clock, words
from romancy_nb.core import events as ev
from romancy_nb.core.ledger import NOTEBOOK
from romancy_nb.journal.protocol import Head
from romancy_nb.notebook import answering
from romancy_nb.runtime import launch, typed
from romancy_nb.runtime.awaited import Standing as Stands
from romancy_nb.runtime.awaited import standings
from romancy_nb.runtime.engine import Engine
from romancy_nb.runtime.filters import Filter
from romancy_nb.runtime.standing import called, status_of
from romancy_nb.words import quoted

__all__ = ["Item", "Standing", "look"]

_MOST: Final = 20
"""Instances that are listed; the rest is counted."""
_RECENT: Final = 24 * 3600 * 1_000_000
_RUNS: Final = frozenset({"running", "waiting", "compensating"})
_ASKS: Final = ("asks", "awaits")


@dataclass(frozen=True, slots=True)
class Item:
    """One instance that wants attention.

    Attributes:
        instance: its id.
        workflow: its workflow's name.
        status: as people read it, such as running, paused, interrupted; "asks" or "awaits" for what comes from outside.
        says: what is the matter, in plain words.
        next: one command or step that goes on from there.
    """

    instance: str
    workflow: str
    status: str
    says: str
    next: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What runs and what waits for you. Shows itself as text and as a table."""

    where: str
    instances: int
    items: tuple[Item, ...]
    more: int = 0

    @property
    def asking(self) -> list[Item]:
        """What waits for an answer, and then what waits for an event."""
        return [item for item in self.items if item.status in _ASKS]

    @property
    def running(self) -> list[Item]:
        """What goes on by itself."""
        return [item for item in self.items if item.status in _RUNS]

    @property
    def yours(self) -> list[Item]:
        """What waits for a person."""
        return [item for item in self.items if item.status not in _RUNS and item.status not in _ASKS]

    def __repr__(self) -> str:
        lines = [f"journal {self.where} ({words.count(self.instances, 'instance')})"]
        for title, items in self._parts():
            if items:
                lines += ["", f"{title}:"]
                for item in items:
                    lines += [f"  {item.workflow} {item.instance}: {item.says}", f"      {item.next}"]
        if self.more:
            lines += ["", f"and {self.more} more: %romancy ls"]
        if not self.items:
            lines += ["", _nothing(self.instances)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [f"<div>journal {escape(self.where)} ({words.count(self.instances, 'instance')})</div>"]
        cell = 'style="text-align: left; padding: 2px 12px 2px 0"'
        for title, items in self._parts():
            rows = "".join(
                f"<tr><td {cell}>{escape(item.workflow)} {escape(item.instance)}</td><td {cell}>{escape(item.says)}</td>"
                f"<td {cell}><code>{escape(item.next)}</code></td></tr>"
                for item in items
            )
            if rows:
                parts.append(f"<div><b>{title}</b></div><table>{rows}</table>")
        if self.more:
            parts.append(f"<div>and {self.more} more: <code>%romancy ls</code></div>")
        if not self.items:
            parts.append(f"<div>{escape(_nothing(self.instances))}</div>")
        return "".join(parts) + (_living() if self.items else "")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from romancy_nb.notebook import pages

        if self.items:
            pages.look()
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _parts(self) -> list[tuple[str, list[Item]]]:
        return [
            ("Waits for an answer or an event", self.asking),
            ("Runs", self.running),
            ("Waits for you", self.yours),
        ]


def _living() -> str:
    """Where a page comes to life, the same as a table that goes on: what runs and what wants somebody, each opened in place."""
    anchor = escape(Filter(open=True).anchor())
    return (
        f'<div data-romancy-live="{anchor}"><span style="opacity:0.7"><code>%romancy ls</code> lists all.</span></div>'
    )


def _nothing(instances: int) -> str:
    if instances:
        return "Nothing runs, and nothing waits for you. %romancy ls lists what there was."
    return "Nothing runs, and nothing waits for you. %romancy help says what there is to say here."


def look() -> Standing:
    """Return how things stand in the current journal."""
    standing: Standing = launch.current().ask(_look)
    return standing


def _look(engine: Engine) -> Standing:
    """Runs on the engine's thread."""
    now = clock.now_us()
    heads = [head for head in engine.journal.unfinished() if head.workflow != NOTEBOOK]
    asking = {run for (run,) in engine.journal.asking([head.run for head in heads])}
    heads.sort(key=lambda head: (head.run not in asking, -head.updated))
    listed = heads[:_MOST]
    found = list(zip(listed, standings(engine, listed), strict=True))
    answering.remember([each for _, each in found])
    items = [item for _, each in found for item in _asked(each, now)]
    items += [item for _, each in found for item in _awaited(each)]
    told = {item.instance for item in items}
    for head, stands in found:
        item = _item(engine, head, stands, now)
        if item.instance not in told or item.status not in {"waiting", "interrupted"}:
            items.append(item)
    failed = engine.journal.query(
        "select instance_id, workflow, updated_at from instances where status = 'failed' "
        "and updated_at > make_timestamptz(?) order by updated_at desc limit 5",
        [now - _RECENT],
    )
    for instance, workflow, updated in failed.rows:
        ago = words.age(now - round(updated.timestamp() * 1_000_000))
        items.append(
            Item(
                instance,
                workflow,
                "failed",
                f"failed {ago}",
                f"%romancy show {quoted(instance)} says why; {_again(workflow)}",
            )
        )
    gave_up = engine.journal.query(
        "select instance_id, workflow from instances where status = 'compensation_failed' order by updated_at desc limit 20"
    )
    for instance, workflow in gave_up.rows:
        says = "an undo of it failed for good, and the rest waits behind it"
        items.insert(
            0,
            Item(
                instance,
                workflow,
                "compensation_failed",
                says,
                f"%romancy compensate {quoted(instance)} tries it again",
            ),
        )
    total = len(engine.journal.known())
    return Standing(engine.journal.where, total, tuple(items), max(0, len(heads) - _MOST))


def _asked(found: Stands, now: int) -> list[Item]:
    """What the run asks people, each with the line that answers it."""
    return [
        Item(
            found.instance,
            found.workflow,
            "asks",
            f"asks: {asked.question} ({words.age(now - asked.asked_at)}{typed.until(asked, now)})",
            answering.how(asked, found) + answering.acts(found),
        )
        for asked in found.questions
    ]


def _awaited(found: Stands) -> list[Item]:
    """The events that the run waits for, each with the line that sends it."""
    items = []
    for wait in found.waits:
        match wait.what:
            case "event":
                says = f"waits for event {wait.name!r}"
                line = f"%romancy send {quoted(found.instance)} {wait.name} {typed.expected(wait.schema)}"
            case "message":
                channel = wait.name.removeprefix(ev.CHANNEL)
                says = "waits for a message" + (f" on channel {channel!r}" if wait.name != ev.ANY_CHANNEL else "")
                line = f"rn.publish({channel!r}, ...)" if wait.name != ev.ANY_CHANNEL else "rn.publish(CHANNEL, ...)"
            case _:
                continue
        items.append(Item(found.instance, found.workflow, "awaits", says, line + answering.acts(found)))
    return items


def _item(engine: Engine, head: Head, stands: Stands, now: int) -> Item:
    status, _ = status_of(engine, head.instance)
    ago = words.age(now - head.updated)
    here = head.instance in engine.newest
    show = f"%romancy show {quoted(head.instance)}"
    match status:
        case "running" if here:
            says, then = f"running here, for {words.duration(now - head.started)}{_in_flight(engine, head)}", show
        case "running":
            says, then = f"running in another process, last heard of {ago}", show
        case "waiting":
            says, then = f"waits for {_for(stands)}{'' if here else ' in another process'}", show
        case "compensating":
            says, then = "its steps are being undone", show
        case "paused":
            says, then = _paused(engine, head, ago)
        case "interrupted" if head.status == "compensating":
            says = f"its undo was interrupted {ago}; what is undone is kept"
            then = f"%romancy resume {quoted(head.instance)}, or calling {called(head.workflow)} again, goes on with it"
        case "interrupted":
            says = f"its kernel ended {ago} while it ran; what completed is kept"
            then = f"{_again(head.workflow)}, or %romancy resume {quoted(head.instance)}"
        case "stuck":
            says = f"its code no longer fits its history, {ago}; nothing is lost"
            then = (
                f"%romancy check {quoted(head.instance)} says where; {_again(head.workflow)} and keeps what still fits"
            )
        case _:
            says, then = f"{status.replace('_', ' ')} {ago}", show
    return Item(head.instance, head.workflow, status, says, then)


def _for(stands: Stands) -> str:
    """What it waits for that nobody has to bring."""
    children = stands.children
    if not children or stands.due is not None:
        return "a timer"
    return f"its child {children[0]}" if len(children) == 1 else f"{len(children)} children, such as {children[0]}"


def _again(workflow: str) -> str:
    return f"calling {called(workflow)} again goes on"


def _in_flight(engine: Engine, head: Head) -> str:
    names = [call.command.name for call in engine.newest[head.instance].calls.values()]
    return f", in {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if names else ""


def _paused(engine: Engine, head: Head, ago: str) -> tuple[str, str]:
    """What paused it, and what goes on from there."""
    reason = ""
    for row in reversed(engine.journal.load(head.run, parts=False)):
        if row.event.kind == ev.RUN_PAUSED:
            reason = str((row.event.meta or {}).get("reason", ""))
            break
    resume = f"{_again(head.workflow)}, or %romancy resume {quoted(head.instance)}"
    match reason:
        case "error":
            return (
                f"paused {ago} by an error in its code",
                f"%romancy show {quoted(head.instance)} says which; mend it, then call it",
            )
        case "doubt":
            return (
                f"paused {ago}: a step may have run, and nobody knows how it ended",
                f"%romancy show {quoted(head.instance)} says which; %romancy resolve {quoted(head.instance)} STEP … answers",
            )
        case _:
            return f"stopped {ago}", resume
