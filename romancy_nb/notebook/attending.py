"""What is said of a call while it takes its time, and a sign of life while runs go on with no cell busy (N5, N6).

One thread looks once a second at the calls that cells wait for and at the forms that they show, and once in a while at the runs of
the background. It reads what the engine keeps in memory, asks it nothing, and is right about some moment just now.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.clock import monotonic, now_us
from romancy_nb.notebook import question_card
from romancy_nb.runtime import launch, resting

if TYPE_CHECKING:
    from romancy_nb.notebook.outlet import CellOutlet
    from romancy_nb.runtime.instance import Instance
    from romancy_nb.runtime.live import LiveRun

__all__ = ["keep_alive", "leave", "look_now", "stop", "watch"]

PACE: Final = 1.0
BUSY = 60.0
"""Seconds after which a call is told how to be made without the kernel being busy."""
ALIVE = 50.0
"""Seconds between two signs of life; servers cull kernels after minutes without one."""


@dataclass(slots=True)
class _Call:
    """A call that a cell waits for."""

    instance: Instance[Any]
    since: float = field(default_factory=monotonic)
    told: bool = False


_calls: dict[CellOutlet, _Call] = {}
_work = threading.Event()
_threads: list[threading.Thread] = []


def watch(instance: Instance[Any], outlet: CellOutlet) -> None:
    """From here on a cell may be waiting for *instance*; *outlet* is its output."""
    _calls[outlet] = _Call(instance)
    keep_alive()
    _work.set()


def leave(outlet: CellOutlet) -> None:
    """It does not wait any more."""
    if _calls.pop(outlet, None) is not None:
        outlet.passing("")


def keep_alive() -> None:
    """Begin to look after runs; once is enough."""
    if not _threads or not _threads[0].is_alive():
        _threads[:] = [threading.Thread(target=_look_after, name="romancy attendant", daemon=True)]
        _threads[0].start()


def look_now() -> None:
    """Something has changed: do not wait for the next second."""
    _work.set()


def stop() -> None:
    """Look after nothing any more."""
    _calls.clear()
    _threads.clear()
    _work.set()
    question_card.close_all()


def _look_after() -> None:
    me, last = threading.current_thread(), monotonic()
    while _threads and _threads[0] is me:
        _work.wait(PACE if _calls or question_card.shown() else ALIVE)
        _work.clear()
        with suppress(Exception):  # the journal may be held or let go of just now: the next second tells
            question_card.look(look_now)
        if not _calls and monotonic() - last < ALIVE:
            continue
        with suppress(Exception):  # what cannot be shown is not worth a word, and memory may change while it is read
            for outlet, call in list(_calls.items()):
                _look(outlet, call)
        if monotonic() - last >= ALIVE:
            last = monotonic()
            with suppress(Exception):
                _sign_of_life()


def _look(outlet: CellOutlet, call: _Call) -> None:
    run = call.instance._engine.newest.get(call.instance.id)
    if run is None or run.finished or not _waited_for(run):
        if monotonic() - call.since > PACE:
            leave(outlet)
        return
    outlet.passing(_countdown(run))
    if not call.told and monotonic() - call.since >= BUSY:
        call.told = True
        outlet.say(
            "This takes more than a minute. To have the kernel free: press Stop, then "
            f"{call.instance.workflow_name}.start(...), or --start in the place of --run, goes on in the background. In a "
            f"terminal, romancy-nb show {call.instance.id} shows how far it is."
        )


def _waited_for(run: LiveRun) -> bool:
    """Does a cell wait for it?"""
    return any(hasattr(waiter, "interrupts") for waiter in list(run.waiters))


def _countdown(run: LiveRun) -> str:
    """Return how long it is until a timer is due that nothing else is done before."""
    due = resting.next_due(run)
    if due is None or run.calls or run.busy or run.pending:
        return ""
    left = -(-(due - now_us()) // 1_000_000)
    if not 0 < left <= resting.NEAR:
        return ""
    names = [repr(each.command.name) for each in list(run.outside.values())]
    return f"waits for {' and '.join(names[:3])}, for {left} s at most" if names else f"goes on in {left} s"


def _sign_of_life() -> None:
    """An update of an output is what servers take for activity."""
    from romancy_nb.notebook.outlet import CellOutlet

    engine = launch.connected()
    for run in list(engine.live.values()) if engine is not None else ():
        goes_on = run.ledger is None and not run.finished and (run.calls or run.busy or run.timers)
        if goes_on and isinstance(run.outlet, CellOutlet):
            run.outlet.alive()
            return
