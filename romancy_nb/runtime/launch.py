"""The one current journal, and how calls of workflows reach its engine."""

from __future__ import annotations

import asyncio
import atexit
import getpass
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from romancy_nb.core.transitions import STATUSES
from romancy_nb.definitions import registry
from romancy_nb.definitions.ambient import Request
from romancy_nb.definitions.signature import Inputs
from romancy_nb.errors import JournalError, RunInterrupted, RunProblem
from romancy_nb.journal.answer import Answer
from romancy_nb.journal.locate import Location, find_journal
from romancy_nb.runtime import hosts, ownership
from romancy_nb.runtime.engine import Engine
from romancy_nb.runtime.heartbeat import heartbeat
from romancy_nb.runtime.inbox import Finished, Found, Interrupt, Paused, Start
from romancy_nb.runtime.instance import Instance, Instances, Latch, decoded, head_of, started
from romancy_nb.runtime.live import LiveRun
from romancy_nb.runtime.observers import observer

__all__ = [
    "EngineLauncher",
    "connect",
    "current",
    "disconnect",
    "instance",
    "instances",
    "location",
    "resume",
    "sql",
    "start",
]

_current: Engine | None = None
_location: Location | None = None
_lock = threading.Lock()

LET_GO = 2.0
"""Seconds that a stopped cell waits for what is in flight (A2)."""


def connect(url: str | Path | None = None, *, namespace: str | None = None, adopt: bool = False) -> Location:
    """Choose the journal. Called for you on first use.

    Args:
        url: None: ``$ROMANCY_JOURNAL``, else the project's ``.romancy/journal.duckdb`` (D4). A path: that DuckDB file.
        namespace: goes into derived instance ids, so that people who share a journal do not share instances (R12).
        adopt: take up every run whose owner died and whose workflow is defined here (R15).

    Returns:
        Where the journal is: ``.path``, ``.new``, ``.why``.

    Raises:
        JournalError: it cannot be opened; the message says why and what to do.
    """
    global _current, _location
    if url is not None and str(url).startswith(("postgres://", "postgresql://")):
        raise JournalError("A shared PostgreSQL journal is not part of this version. Use a path, or leave it out.")
    path, _ = observer().provenance()
    where = _at(url) if url is not None else find_journal(Path(path).parent if path else None, os.environ)
    with _lock:
        if _current is not None and not _current.stopped:
            if _location is not None and _location.path == where.path and namespace in (None, _current.namespace):
                return _location
            _current.stop()
        from romancy_nb.journal.on_duckdb import DuckDBJournal

        journal = DuckDBJournal(where.path, holder={"pid": os.getpid(), "notebook": path, "user": _user()})
        _current, _location = Engine(journal, namespace=namespace or ""), where
        engine = _current
    engine.ask(lambda engine: None)  # opens it now: what is wrong with it should be said here
    if adopt:
        for found in engine.ask(lambda engine: _ownerless(engine)):
            if registry.find("workflow", found.workflow) is not None:
                resume(engine, found.instance)
    return where


def _at(url: str | Path) -> Location:
    path = Path(url).expanduser().resolve()
    return Location(path, not path.exists(), "given to rn.connect")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _ownerless(engine: Engine) -> list[Any]:
    return [
        head
        for head in engine.journal.unfinished()
        if head.status == "running"
        and not ownership.alive(head.owner, engine.other_engines())
        and head.instance not in engine.newest
    ]


def disconnect() -> None:
    """Put down what runs here, release the journal and forget it. What is recorded stays; the same calls go on later."""
    global _current, _location
    with _lock:
        engine, _current, _location = _current, None, None
    if engine is not None:
        engine.stop()


# what is recorded does not depend on this; it lets go of the file cleanly when the interpreter has time to
atexit.register(disconnect)


def current() -> Engine:
    """Return the engine of the current journal, connecting to the project's on first use."""
    if _current is None or _current.stopped:
        connect()
    assert _current is not None
    return _current


def location() -> Location:
    """Return where the current journal is."""
    current()
    assert _location is not None
    return _location


def instance(instance_id: str) -> Instance[Any]:
    """Return the instance with this id.

    Raises:
        InstanceNotFound: the journal has none.
    """
    engine = current()
    live = engine.newest.get(instance_id)
    if live is not None:
        return Instance(engine, instance_id, live.workflow.name, live.workflow)
    head = engine.ask(lambda engine: head_of(engine, instance_id))
    return Instance(engine, instance_id, head.workflow)


def instances(
    status: str | Sequence[str] | None = None, workflow: str | None = None, *, limit: int | None = None
) -> Instances:
    """Return the instances of the current journal, newest first.

    Args:
        status: one or several of the statuses.
        workflow: a workflow's name.
        limit: how many at most.

    Raises:
        ValueError: there is no such status.
    """
    engine = current()
    wanted = [status] if isinstance(status, str) else list(status or ())
    for name in wanted:
        if name not in STATUSES | {"interrupted"}:
            raise ValueError(f"{name!r} is no status; there are {', '.join(sorted(STATUSES | {'interrupted'}))}.")
    conditions, values = [], []
    if wanted:
        stored = {"running" if name == "interrupted" else name for name in wanted}
        conditions.append(f"status in ({', '.join('?' * len(stored))})")
        values += sorted(stored)
    if workflow is not None:
        conditions.append("workflow = ?")
        values.append(workflow)
    where = f" where {' and '.join(conditions)}" if conditions else ""
    query = (
        f"select * from instances{where} order by updated_at desc{f' limit {int(limit)}' if limit is not None else ''}"
    )
    answer = Answer(engine.ask(lambda engine: engine.journal.query(query, values)))
    column = {name: position for position, name in enumerate(answer.columns)}
    found = [Instance[Any](engine, row[column["instance_id"]], row[column["workflow"]]) for row in answer]
    return Instances(found, answer)


def sql(query: str) -> Answer:
    """Answer a SELECT over the journal's public views: instances, runs, steps, attempts, compensations, events.

    >>> rn.sql("select name, count(*) from steps group by name").df()  # doctest: +SKIP
    """
    return Answer(current().ask(lambda engine: engine.journal.query(query)))


def start(
    name: str, *args: Any, instance_id: str | None = None, new: Any = False, redo: Sequence[str] = (), **kwargs: Any
) -> Instance[Any]:
    """Start a workflow by its name, in the background. See ``Workflow.start``.

    Raises:
        LookupError: no workflow of that name is defined here.
    """
    workflow = registry.find("workflow", name)
    if workflow is None:
        raise LookupError(
            f"No workflow named {name!r} is defined here. Run the cell (or import the module) that defines it."
        )
    found: Instance[Any] = workflow.start(*args, instance_id=instance_id, new=new, redo=redo, **kwargs)
    return found


def resume(engine: Engine, instance_id: str) -> Found:
    """Take a run up again in the background."""
    head = engine.ask(lambda engine: head_of(engine, instance_id))
    workflow = registry.find("workflow", head.workflow)
    if workflow is None:
        raise RunProblem(
            f"Workflow {head.workflow} is not defined here. Run the cell that defines it, then resume {instance_id}."
        )
    if head.status in {"completed", "cancelled"}:
        raise RunProblem(f"Instance {instance_id} is {head.status}; there is nothing to resume.")
    row = engine.ask(lambda engine: engine.journal.load(head.run)[0])
    inputs = Inputs(row.event.payload, head.digest, {})
    latch = Latch()
    engine.inbox.put(_start(Request(workflow, inputs, instance_id), latch))
    return started(latch.get())


def _start(request: Request, waiter: Any, host: hosts.Host | None = None) -> Start:
    told = observer()
    prints = request.workflow.fingerprint()
    notebook, cell = told.provenance()
    return Start(request, prints.digest, dict(prints.reads), waiter, host, told.attached, notebook, cell)


class EngineLauncher:
    """How ``Workflow`` reaches the current engine."""

    def start(self, request: Request) -> Instance[Any]:
        engine, latch = current(), Latch()
        engine.inbox.put(_start(request, latch))
        found = started(latch.get())
        handle = Instance[Any](engine, found.run.instance, request.workflow.name, request.workflow)
        observer().found(handle, found.what, found.line)
        return handle

    def run(self, request: Request) -> Any:
        return CellCall(current(), request).run()

    async def run_async(self, request: Request) -> Any:
        return await CellCall(current(), request).run_async()


class CellCall:
    """A call that waits where it is made, and lends its thread to the run (X1)."""

    def __init__(self, engine: Engine, request: Request) -> None:
        self._engine = engine
        self._request = request
        self._host = hosts.CellHost()
        self._run: LiveRun | None = None
        self._handle: Instance[Any] | None = None
        self._observer = observer()

    def run(self) -> Any:
        """Wait on this thread; Stop pauses the run durably."""
        host = self._host
        with host.catching_stop():
            self._engine.inbox.put(_start(self._request, host, host))
            while True:
                told = self._take(host.next())
                if told is not None:
                    return self._finish(told)
                if host.interrupts:
                    raise self._interrupted()

    async def run_async(self) -> Any:
        """Wait on the kernel's loop; activations run on it too, between its other callbacks."""
        loop, host = asyncio.get_running_loop(), self._host
        wake = asyncio.Event()
        host.on_put = lambda: loop.call_soon_threadsafe(wake.set)
        self._engine.inbox.put(_start(self._request, host, host))
        try:
            with heartbeat():
                while True:
                    wake.clear()
                    message = host.next(0)
                    if message is None:
                        await wake.wait()
                        continue
                    told = self._take(message)
                    if told is not None:
                        return self._finish(told)
        except (asyncio.CancelledError, KeyboardInterrupt):
            host.interrupts += 1
            self._observer.notice(str(self._interrupted()))
            raise

    def _take(self, message: Any) -> Finished | None:
        if isinstance(message, Finished):
            return message
        if isinstance(message, Found):
            self._run = message.run
            self._handle = Instance(
                self._engine, message.run.instance, self._request.workflow.name, self._request.workflow
            )
            self._observer.found(self._handle, message.what, message.line)
        elif callable(message):
            message()
        return None

    def _finish(self, told: Finished) -> Any:
        self._drain()
        if self._handle is not None:
            self._observer.ended(self._handle, told.error)
        if told.error is not None:
            raise told.error
        return decoded(self._request.workflow, self._request.workflow.name, told.payload)

    def _drain(self) -> None:
        """Do what is still queued for this thread: executions to be put down."""
        while (message := self._host.next(0)) is not None:
            if callable(message):
                message()

    def _interrupted(self) -> RunInterrupted:
        """Pause the run durably and put its execution down; a second Stop lets go at once."""
        host, run = self._host, self._run
        first = host.interrupts
        if run is None:  # the engine has not said yet which run it is
            message = host.next(1.0)
            while message is not None and not isinstance(message, (Found, Finished)):
                message = host.next(1.0)
            run = message.run if isinstance(message, Found) else None
        if run is None:
            return RunInterrupted("Stopped before the run began. Nothing was executed.")
        if run.host is not host and run.status != "paused" and run.start is not None and run.start.host is not host:
            return RunInterrupted(f"Stopped waiting. Instance {run.instance} goes on in the background.")
        self._engine.inbox.put(Interrupt(run, host))
        paused: Paused | None = None
        while paused is None and host.interrupts == first:
            message = host.next(LET_GO)
            if message is None:
                break
            if isinstance(message, Paused):
                paused = message
            elif callable(message):
                message()
        self._drain()
        if run.execution is not None:
            run.execution.put_down()
        if self._handle is not None:
            self._observer.ended(self._handle, RunInterrupted())
        if paused is None:
            return RunInterrupted(
                f"Stopped at once. Instance {run.instance} may not be recorded as paused yet; run the cell again."
            )
        flying = (
            f" In flight: {', '.join(paused.in_flight)}; their outcome is recorded if it still comes."
            if paused.in_flight
            else ""
        )
        done = (
            f"{paused.done} executed step{'s' if paused.done != 1 else ''} of this call recorded"
            if paused.done
            else "nothing lost"
        )
        return RunInterrupted(
            f"Paused {paused.instance_id}: {done}.{flying} Run the same call again to go on from here."
        )
