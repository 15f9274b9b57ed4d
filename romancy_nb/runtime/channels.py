"""Channels from the engine's side: who has subscribed, and bringing each message to its receivers in the commit that publishes it.

A broadcast message becomes a row of every subscriber's history, or a letter to the process that advances it. A message for
competing subscribers goes to one that awaits it here and now; else it is queued: a letter that is addressed to the channel, and
that the first of them to ask takes out of the journal's inbox with the commit that makes it a row of its history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from secrets import randbits, token_hex
from typing import TYPE_CHECKING

from romancy_nb import words
from romancy_nb.clock import now_us
from romancy_nb.core import events as ev
from romancy_nb.core.events import Event
from romancy_nb.definitions.channels import Published
from romancy_nb.journal.protocol import Head, Letter, Row
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import outside, ownership

if TYPE_CHECKING:
    from romancy_nb.runtime.live import LiveRun
    from romancy_nb.runtime.state import State

__all__ = ["QUEUED", "Channels", "distribute", "give_back", "offer", "publish", "published"]

QUEUED = "queued"
"""The kind of a letter that is addressed to a channel."""
_GONE = frozenset({"completed", "cancelled", "compensated", "recurred"})


class Channels:
    """What the engine knows of channels; all of it can be read again from the journal.

    Attributes:
        queues: messages for competing subscribers that nobody has asked for, by channel.
        stale: the journal may know more.
    """

    def __init__(self) -> None:
        self.queues: dict[str, deque[Letter]] = {}
        self.stale = True
        self._subscribers: dict[str, dict[int, str]] = {}
        self._served: dict[int, int] = {}

    def note(self, run: int, rows: Iterable[Event]) -> None:
        """A run has journaled *rows*: remember what it subscribes to."""
        for row in rows:
            if row.kind == ev.SUBSCRIBED:
                self._subscribers.setdefault(row.name, {})[run] = str((row.meta or {}).get("mode", "broadcast"))

    def read(self, engine: State) -> None:
        """Read from the journal who has subscribed to what, and what is queued."""
        if self.stale:
            self._subscribers, self.queues, self.stale = {}, {}, False
            for run, channel, mode in engine.journal.subscriptions():
                self._subscribers.setdefault(channel, {})[run] = mode
            for row in engine.unwritten():
                self.note(row.run, [row.event])
            for letter in engine.journal.letters():
                if letter.kind == QUEUED and not engine.is_taken(letter):
                    self.queue(letter)

    def queue(self, letter: Letter) -> None:
        """There is a message that nobody has asked for."""
        assert letter.event is not None
        self.queues.setdefault(letter.event.name, deque()).append(letter)

    def next_of(self, waiting: Sequence[LiveRun]) -> LiveRun:
        """Return the one of *waiting* that had its last message the longest ago."""
        chosen = min(waiting, key=lambda run: self._served.get(run.key, 0))
        self._served[chosen.key] = max(self._served.values(), default=0) + 1
        return chosen

    def of(self, engine: State, channel: str) -> list[tuple[Head, str]]:
        """Return the runs that have subscribed to *channel* and have not ended, with their modes."""
        self.read(engine)
        runs = self._subscribers.get(channel, {})
        heads = engine.journal.run_heads(list(runs))
        newest = engine.journal.heads([head.instance for head in heads.values()])
        found = []
        for run, mode in list(runs.items()):
            head = heads.get(run)
            if head is None:
                if run in engine.live:  # its first rows are written with this turn
                    found.append((_unwritten(engine.live[run]), mode))
            elif newest[head.instance].run != run or head.status in _GONE:
                del runs[run]
                self._served.pop(run, None)
            elif head.status not in {"failed", "compensation_failed", "compensating"}:
                found.append((head, mode))
        return found


def _unwritten(run: LiveRun) -> Head:
    return Head(
        run.key, run.instance, run.number, run.workflow.name, run.digest, run.code, "running", "", run.epoch, 0, 0, 0
    )


def publish(engine: State, channel: str, payload: Payload, by: str) -> Published:
    """Publish a message that comes from outside of workflow code. Durable when this returns."""
    engine.hold()
    engine.commit_now()
    receivers = _bring(engine, Event(ev.EVENT_ARRIVED, now_us(), "", "", token_hex(12), "", 0, payload), channel, by)
    engine.commit_now()
    if receivers:
        says = f"{words.count(receivers, 'subscriber')} of {channel} {'has' if receivers == 1 else 'have'} it."
    else:
        says = f"Nobody has subscribed to {channel}, so nobody gets it."
    return Published(channel, receivers, says)


def published(engine: State, run: LiveRun, rows: Sequence[Event]) -> None:
    """The code of *run* has subscribed or published with *rows*, which are written with this turn: so is what comes of it."""
    for row in rows:
        if row.kind == ev.SUBSCRIBED:
            engine.channels.read(engine)
            engine.channels.note(run.key, [row])
            run.subscribed[row.name] = str((row.meta or {}).get("mode", "broadcast"))
        elif row.kind == ev.MESSAGE_PUBLISHED and not (row.meta or {}).get("reused"):
            message = Event(ev.EVENT_ARRIVED, row.at, "", "", f"{run.key}/{row.call}", "", 0, row.payload)
            _bring(engine, message, row.name, run.instance)


def _bring(engine: State, message: Event, channel: str, by: str) -> int:
    """Bring a message to its receivers, with this turn. Returns how many have it, one in whose queue it is included."""
    receivers, competing = 0, []
    for head, mode in engine.channels.of(engine, channel):
        event = message._replace(name=ev.CHANNEL + channel, meta={"by": by, "via": "channel"})
        if mode == "competing":
            competing.append(head)
            continue
        _bring_to(engine, head, event)
        receivers += 1
    if competing:
        event = message._replace(name=ev.CHANNEL + channel, meta={"by": by, "via": "channel", "mode": "competing"})
        letter = Letter(randbits(62), 0, QUEUED, {"channel": channel}, event)
        waiting = [engine.live[head.run] for head in competing if _awaits(engine.live.get(head.run), event.name)]
        if waiting:
            outside.arrive(engine, engine.channels.next_of(waiting), event)
        else:
            engine.post(letter)
            engine.channels.queue(letter)
        receivers += 1
    return receivers


def _awaits(run: LiveRun | None, name: str) -> bool:
    if run is None or run.finished or run.host is None or run.status == "paused":
        return False
    return bool(run.awaiting.get(name) or run.awaiting.get(ev.ANY_CHANNEL))


def _bring_to(engine: State, head: Head, event: Event) -> None:
    live = engine.live.get(head.run)
    if live is not None and not live.finished and live.status != "paused":
        outside.arrive(engine, live, event)
    elif live is None and head.status in {"running", "waiting"} and ownership.alive(head.owner, engine.other_engines()):
        engine.post(Letter(randbits(62), head.run, "event", {}, event))
    elif live is not None and not live.finished:
        engine.record(live, [event])
    else:
        engine.add_rows([Row(head.run, engine.next_seq(head), event)])


def offer(engine: State, run: LiveRun, name: str) -> None:
    """The code of *run* awaits a message: give it the first that is queued for competing subscribers.

    The journal is held, so nobody else takes any.
    """
    known = engine.channels
    known.read(engine)
    for each in [name] if name != ev.ANY_CHANNEL else list(known.queues):
        queue = known.queues.get(each)
        subscribers = (
            {head.run: mode for head, mode in known.of(engine, each.removeprefix(ev.CHANNEL))} if queue else {}
        )
        if not queue or subscribers.get(run.key) != "competing":
            continue
        letter = queue.popleft()
        if not queue:
            del known.queues[each]
        assert letter.event is not None
        engine.take(letter, run.key)
        outside.arrive(engine, run, letter.event._replace(at=now_us()))
        return


def distribute(engine: State, channel: str) -> None:
    """Another process has queued a message: is there somebody here who awaits it?"""
    engine.channels.read(engine)
    for head, mode in engine.channels.of(engine, channel):
        run = engine.live.get(head.run)
        if mode == "competing" and run is not None and _awaits(run, ev.CHANNEL + channel):
            offer(engine, run, ev.CHANNEL + channel)


def give_back(engine: State, run: LiveRun) -> None:
    """The run ends: what came to it as one of several competing subscribers and it has not received goes to another."""
    for name, arrivals in run.arrivals.items():
        for _, event in arrivals:
            if (event.meta or {}).get("mode") == "competing":
                letter = Letter(randbits(62), 0, QUEUED, {"channel": name.removeprefix(ev.CHANNEL)}, event)
                engine.post(letter)
                engine.channels.queue(letter)
