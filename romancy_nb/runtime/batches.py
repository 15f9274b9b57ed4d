"""Maps that are made outside of workflow code: the instance whose steps are the rows, and an instance for each row."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from romancy_nb import words
from romancy_nb.clock import monotonic
from romancy_nb.core import events as ev
from romancy_nb.core.commands import Outcome
from romancy_nb.core.replay import without_void
from romancy_nb.definitions.ambient import Request
from romancy_nb.errors import RowsFailed, RunInterrupted, Waiting
from romancy_nb.payloads.payload import NULL, is_forgotten
from romancy_nb.runtime import hosts, launch, starts
from romancy_nb.runtime.cellcall import LET_GO, CellCall, start_of
from romancy_nb.runtime.inbox import Finished, Found, Interrupt, Paused, Resting, Start
from romancy_nb.runtime.instance import decoded
from romancy_nb.runtime.observers import observer
from romancy_nb.runtime.progress import Meter
from romancy_nb.runtime.standing import head_of
from romancy_nb.runtime.tracebacks import without_our_frames

if TYPE_CHECKING:
    from romancy_nb.runtime.engine import Engine

__all__ = ["run_instances", "run_steps"]

Ended = tuple[str, Any, BaseException | None]
"""Id of an instance, its result, its error."""


# -- the steps of one instance -----------------------------------------------------------------------------------------


def run_steps(request: Request) -> tuple[str, list[tuple[Outcome, str]]]:
    """Run the instance of a map; return its id, and outcome and place of each of its calls, in order.

    What they came to is read from the journal, whoever ran it: this call, another cell, another process.

    Raises:
        RunInterrupted: Stop was pressed: the run is paused, and the same call goes on.
        ExceptionGroup: rows failed, and the map was to raise.
    """
    __tracebackhide__ = True
    engine = launch.current()
    call = _MapCall(engine, request)
    with suppress(RowsFailed):
        call.run()
    instance = call.instance_id
    outcomes: list[tuple[Outcome, str]] = engine.ask(lambda engine: _outcomes(engine, instance))
    call.say(outcomes)
    return instance, outcomes


class _MapCall(CellCall):
    """The call of a map: the batch that it returns is what there is to see, and no timeline of thousands of steps."""

    has_timeline = False

    @property
    def instance_id(self) -> str:
        assert self._handle is not None
        return self._handle.id

    def _ended(self, error: BaseException | None) -> None:
        if isinstance(error, RunInterrupted):
            self._observer.batch_ended("")

    def say(self, outcomes: Sequence[tuple[Outcome, str]]) -> None:
        failed = sum(not outcome.ok for outcome, _ in outcomes)
        self._observer.batch_ended(_standing(self._request.workflow.name, len(outcomes), failed))


def _outcomes(engine: Engine, instance: str) -> list[tuple[Outcome, str]]:
    """On the engine's thread: the calls of the newest run, in the order in which they were made."""
    rows = [(row.seq, row.event) for row in engine.journal.load(head_of(engine, instance).run)]
    found: dict[str, Outcome | None] = {}
    for _, event in without_void(rows):
        if event.kind == ev.ACTIVITY_SCHEDULED:
            found[event.call] = None
        elif event.kind in {ev.ACTIVITY_COMPLETED, ev.ACTIVITY_FAILED}:
            found[event.call] = Outcome(event.kind == ev.ACTIVITY_COMPLETED, event.payload or NULL)
    return [(outcome, place) for place, outcome in found.items() if outcome is not None]


def _standing(name: str, rows: int, failed: int) -> str:
    """The line that history has for a batch that is over (N7)."""
    again = "The same call tries those again, alone." if failed else "The same call executes nothing."
    lost = f", {failed:,} failed" if failed else ""
    return f"{name}: {words.count(rows, 'row')}, {rows - failed:,} completed{lost}. {again}"


# -- an instance for each row ------------------------------------------------------------------------------------------


def run_instances(requests: Sequence[Request], concurrency: int, *, total: int, failed: int) -> list[Ended]:
    """Run all of them in the background, so many at a time, and wait here.

    Args:
        requests: of one workflow.
        concurrency: how many are unfinished at the same time, at most.
        total: rows of the batch, for the progress.
        failed: rows that failed already.

    Raises:
        RunInterrupted: Stop was pressed: what ran is paused, and the same call goes on.
        Waiting: in a notebook: all that is left waits for something outside.
    """
    __tracebackhide__ = True
    if not requests:
        return []
    return _Instances(launch.current(), requests, concurrency, total, failed).run()


class _Row:
    """Waits for the instance of one row."""

    def __init__(self, index: int, host: hosts.CellHost) -> None:
        self.index = index
        self.interrupts = 0  # a waiter that has this is told when the run rests
        self._host = host

    def tell(self, message: Any) -> None:
        self._host.tell((self.index, message))


class _Instances:
    """The instances of one ``workflow.map``."""

    def __init__(self, engine: Engine, requests: Sequence[Request], concurrency: int, total: int, failed: int) -> None:
        self._engine = engine
        self._requests = requests
        self._concurrency = concurrency
        self._total = total
        self._failed = failed
        self._done = total - len(requests)
        self._host = hosts.CellHost()
        self._host.on_stop = self._stop
        self._observer = observer()
        self._meter = Meter(self._observer.progress)
        self._workflow = requests[0].workflow
        self._first = start_of(requests[0], self._host, told=self._observer)
        self._ids = [starts.derived_id(each, engine.namespace) for each in requests]
        self._ends: list[Ended | None] = [None] * len(requests)
        self._open: dict[int, Start] = {}
        self._rests: set[int] = set()
        self._stopping = False

    def run(self) -> list[Ended]:
        __tracebackhide__ = True
        todo = iter(self._recorded())
        with self._host.catching_stop():
            more = True
            while True:
                while more and len(self._open) - len(self._rests) < self._concurrency and not self._stopping:
                    index = next(todo, None)
                    if index is None:
                        more = False
                    else:
                        self._begin(index)
                if not self._open:
                    break
                self._take(self._host.next())
                while not self._host.queue.empty():
                    self._take(self._host.next(0))
                if self._host.interrupts:
                    raise self._stopped()
                if self._rests and len(self._rests) == len(self._open) and not more and self._observer.frees_kernel:
                    raise self._waiting()
        ends = [each for each in self._ends if each is not None]
        self._observer.batch_ended(_standing(self._workflow.name, self._total, self._failed))
        return ends

    # -- before it begins ----------------------------------------------------------------------------------------------

    def _recorded(self) -> list[int]:
        """Take what is recorded as it is, without running the code of thousands of runs against it; return what is left."""
        code = self._first.code
        found: dict[int, Finished] = self._engine.ask(lambda engine: _completed(engine, self._ids, code))
        for index, end in found.items():
            self._end(index, end)
        return [index for index in range(len(self._requests)) if index not in found]

    def _begin(self, index: int) -> None:
        start = replace(self._first, request=self._requests[index], waiter=_Row(index, self._host), since=monotonic())
        self._open[index] = start
        self._engine.inbox.put(start)

    # -- while it runs -------------------------------------------------------------------------------------------------

    def _take(self, told: Any) -> None:
        if not isinstance(told, tuple):
            return
        index, message = told
        if isinstance(message, Found):
            self._ids[index] = message.run.instance
            self._rests.discard(index)
        elif isinstance(message, Resting):
            self._rests.add(index)
        elif isinstance(message, Finished) and index in self._open:
            del self._open[index]
            self._rests.discard(index)
            self._end(index, message)

    def _end(self, index: int, end: Finished) -> None:
        value: Any = None
        error = end.error
        if error is None:
            try:
                value = decoded(self._workflow, self._workflow.name, end.payload)
            except Exception as misfit:  # one that cannot be restored here stops no other
                error = misfit
        if error is not None:
            without_our_frames(error)
        self._ends[index] = (self._ids[index], value, error)
        self._done += 1
        self._failed += error is not None
        self._meter(self._workflow.name, self._done, self._failed, self._total)

    # -- when it does not go on ----------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """In the signal handler: nothing more is begun, and what runs is paused."""
        if not self._stopping:
            self._stopping = True
            for start in list(self._open.values()):
                start.abandoned = True
                self._engine.inbox.put(Interrupt(start, self._host))

    def _stopped(self) -> RunInterrupted:
        self._stop()
        host, first, until, left = self._host, self._host.interrupts, monotonic() + LET_GO, len(self._open)
        while left and host.interrupts == first and (wait := until - monotonic()) > 0:
            message = host.next(wait)
            left -= isinstance(message, Paused)
            if isinstance(message, tuple):
                self._take(message)
        self._observer.batch_ended("")
        done = f"{self._done:,} of {words.count(self._total, 'row')} done"
        return RunInterrupted(f"Stopped {self._workflow.name}.map: {done}. Run the same call again to go on from here.")

    def _waiting(self) -> Waiting:
        self._observer.batch_ended("")
        waits = words.count(len(self._rests), "row")
        return Waiting(
            f"{self._workflow.name}.map: {self._done:,} of {words.count(self._total, 'row')} done; {waits} "
            f"wait{'s' if len(self._rests) == 1 else ''} for something outside and {'goes' if len(self._rests) == 1 else 'go'} on "
            "in the background. `%romancy` lists what for; run this cell again for the results.",
            self._ids[min(self._rests)],
        )


def _completed(engine: Engine, ids: Sequence[str], code: str) -> dict[int, Finished]:
    """On the engine's thread: the results of those that have completed with this code."""
    heads = engine.journal.heads([each for each in dict.fromkeys(ids) if each not in engine.newest])
    done = {key: head.run for key, head in heads.items() if head.status == "completed" and head.code == code}
    results = engine.journal.results(list(done.values()))
    found = {index: results[done[each]] for index, each in enumerate(ids) if done.get(each) in results}
    return {index: Finished(payload) for index, payload in found.items() if not is_forgotten(payload.text)}
