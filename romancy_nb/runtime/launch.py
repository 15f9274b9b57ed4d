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

from romancy_nb import settings
from romancy_nb.clock import monotonic, now_us
from romancy_nb.core.ledger import NOTEBOOK
from romancy_nb.core.transitions import ACTIVE, STATUSES
from romancy_nb.definitions import registry
from romancy_nb.definitions.ambient import Request
from romancy_nb.errors import AwaitInterrupted, JournalError, RunInterrupted, RunProblem
from romancy_nb.journal.answer import Answer
from romancy_nb.journal.locate import Location, find_journal, named_journal
from romancy_nb.journal.protocol import Table
from romancy_nb.runtime import endings, hosts, ownership, starts, streams
from romancy_nb.runtime.engine import Engine
from romancy_nb.runtime.heartbeat import heartbeat
from romancy_nb.runtime.inbox import Finished, Found, Interrupt, Paused, Start
from romancy_nb.runtime.instance import Instance, Instances, Latch, decoded, head_of, started, status_of
from romancy_nb.runtime.live import LiveRun
from romancy_nb.runtime.observers import Observer, observer
from romancy_nb.runtime.tracebacks import throw

__all__ = [
    "EngineLauncher",
    "chosen",
    "connect",
    "connected",
    "current",
    "disconnect",
    "forget",
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
_parents: Engine | None = None  # in a forked child: has no thread here; kept, so that nothing of it is collected

LET_GO = 2.0
"""Seconds that a stopped cell waits for what is in flight (A2)."""


def connect(url: str | Path | None = None, *, namespace: str | None = None, adopt: bool = False) -> Location:
    """Choose the journal. Called for you on first use.

    Args:
        url: None: what the setting ``journal`` says (``$ROMANCY_JOURNAL`` and others), else the project's
            ``.romancy/journal.duckdb`` (D4). A path: that DuckDB file.
        namespace: goes into derived instance ids, so that people who share a journal do not share instances (R12). None:
            what the setting ``namespace`` says.
        adopt: take up every run whose owner died and whose workflow is defined here (R15).

    Returns:
        Where the journal is: ``.path``, ``.new``, ``.why``.

    Raises:
        JournalError: it cannot be opened; the message says why and what to do.
    """
    global _current, _location
    if _parents is not None:
        raise endings.forked(_parents.journal.where)
    if url is not None and str(url).startswith(("postgres://", "postgresql://")):
        raise JournalError("A shared PostgreSQL journal is not part of this version. Use a path, or leave it out.")
    told = observer()
    path, _ = told.provenance()
    where = _at(url) if url is not None else chosen(Path(path).parent if path else told.folder())
    with _lock:
        if _current is not None and not _current.stopped:
            if _location is not None and _location.path == where.path and namespace in (None, _current.namespace):
                return _location
            _current.stop()
        from romancy_nb.journal.on_duckdb import DuckDBJournal

        journal = DuckDBJournal(where.path, holder={"pid": os.getpid(), "notebook": path, "user": _user()})
        chosen_namespace = namespace if namespace is not None else settings.get("namespace")
        _current, _location = Engine(journal, namespace=chosen_namespace), where
        engine = _current
    engine.ask(lambda engine: None)  # opens it now: what is wrong with it should be said here
    if adopt:
        for found in engine.ask(lambda engine: _ownerless(engine)):
            if registry.find("workflow", found.workflow) is not None:
                resume(engine, found.instance, strict=True)  # nobody is there who could have meant an edit
    return where


def chosen(start: Path | None) -> Location:
    """Return where the journal is unless a call says: what the settings name, else the project's (D4)."""
    named, source = settings.find("journal")
    if named and source.kind in {"config", "pyproject"}:
        return named_journal(named, f"named by {source.text}", source.folder)
    return find_journal(start, os.environ)


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


def connected() -> Engine | None:
    """Return the engine of the current journal if there is one; connects to none."""
    engine = _current
    return None if engine is None or engine.stopped else engine


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
        stored = set(wanted) | (ACTIVE if not ACTIVE.isdisjoint(wanted) or "interrupted" in wanted else set())
        stored.discard("interrupted")  # how a run without a living owner is shown, not kept
        conditions.append(f"status in ({', '.join('?' * len(stored))})")
        values += sorted(stored)
    if workflow is not None:
        conditions.append("workflow = ?")
        values.append(workflow)
    where = f" where {' and '.join(conditions)}" if conditions else ""
    query = f"select * from instances{where} order by updated_at desc"
    table = engine.ask(lambda engine: _as_shown(engine, engine.journal.query(query, values)))
    column = {name: position for position, name in enumerate(table.columns)}
    rows = [row for row in table.rows if not wanted or row[column["status"]] in wanted]
    rows = rows if limit is None else rows[:limit]
    found = [Instance[Any](engine, row[column["instance_id"]], row[column["workflow"]]) for row in rows]
    return Instances(found, Answer(Table(table.columns, table.types, rows)))


def _as_shown(engine: Engine, table: Table) -> Table:
    """Status and owner as a person reads them. Runs on the engine's thread."""
    rows = []
    for row in table.rows:
        shown = dict(zip(table.columns, row, strict=True))
        active = shown["status"] in ACTIVE
        if active:
            shown["status"] = status_of(engine, shown["instance_id"])[0]
        shown["owner"] = ownership.describe(shown["owner"] or "") if active else None
        rows.append(tuple(shown.values()))
    return Table(table.columns, table.types, rows)


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


def forget(found: str | Instance[Any]) -> int:
    """Remove what an instance recorded: inputs, results, errors, and give the space back (D5).

    Its events stay, with names, times and digests, and say "forgotten". The same call executes everything anew.

    Args:
        found: the instance or its id.

    Returns:
        How many bytes the journal's file shrank by.

    Raises:
        InstanceNotFound: the journal has none.
        RunProblem: it is running, here or in another process.

    Example:
        >>> rn.forget("order-7")  # doctest: +SKIP
        262144
    """
    instance_id = found if isinstance(found, str) else found.id
    return int(current().ask(lambda engine: _forget(engine, instance_id)))


def _forget(engine: Engine, instance_id: str) -> int:
    head = head_of(engine, instance_id)
    live = engine.newest.get(instance_id)
    status = status_of(engine, instance_id)[0]
    if (status in ACTIVE and head.workflow != NOTEBOOK) or (live is not None and live.calls):
        raise RunProblem(f"Instance {instance_id} is {status}. Stop it, or wait until it has ended, then forget it.")
    if engine.in_session():
        raise RunProblem(
            f"Nothing of {instance_id} was forgotten: an activity is writing to the journal's database through its session, and "
            "forgetting makes the file anew. Try again when it has completed."
        )
    if live is not None:
        engine.put_down(live)
        engine.forget(live)
    return engine.journal.forget([each.run for each in engine.journal.runs(instance_id)], now_us())


def resume(engine: Engine, instance_id: str, *, strict: bool = False) -> Found:
    """Take a run up again in the background; *strict*: this very run or none."""
    head = engine.ask(lambda engine: head_of(engine, instance_id))
    if head.workflow == NOTEBOOK:
        raise RunProblem(f"Instance {instance_id} is a notebook: run its cells, and they go on with what is recorded.")
    workflow = registry.find("workflow", head.workflow)
    if workflow is None:
        raise RunProblem(
            f"Workflow {head.workflow} is not defined here. Run the cell that defines it, then resume {instance_id}."
        )
    if head.status in {"completed", "cancelled"}:
        raise RunProblem(f"Instance {instance_id} is {head.status}; there is nothing to resume.")
    row = engine.ask(lambda engine: engine.journal.load(head.run)[0])
    inputs = workflow.recall(row.event.payload, head.digest)
    latch = Latch()
    start = _start(Request(workflow, inputs, instance_id), latch)
    start.strict = strict
    engine.inbox.put(start)
    return started(latch.get())


def _start(request: Request, waiter: Any, host: hosts.Host | None = None, told: Observer | None = None) -> Start:
    told = told or observer()
    streams.install()
    prints = request.workflow.fingerprint()
    notebook, cell = told.provenance()
    return Start(request, prints.digest, dict(prints.reads), waiter, host, told.attached, notebook, cell, told.output())


class EngineLauncher:
    """How ``Workflow`` reaches the current engine."""

    def start(self, request: Request) -> Instance[Any]:
        engine, latch, told = current(), Latch(), observer()
        engine.inbox.put(_start(request, latch, told=told))
        found = started(latch.get())
        handle = Instance[Any](engine, found.run.instance, request.workflow.name, request.workflow)
        told.found(handle, found.what, found.line)
        latch.on_tell = lambda: told.left(handle)
        if not latch.messages.empty():  # it has ended meanwhile
            told.left(handle)
        return handle

    def run(self, request: Request) -> Any:
        __tracebackhide__ = True
        return CellCall(current(), request).run()

    async def run_async(self, request: Request) -> Any:
        __tracebackhide__ = True
        return await CellCall(current(), request).run_async()


class CellCall:
    """A call that waits where it is made, and lends its thread to the run (X1)."""

    def __init__(self, engine: Engine, request: Request) -> None:
        self._engine = engine
        self._request = request
        self._host = hosts.CellHost()
        self._host.on_stop = self._stop_pressed
        self._observer = observer()
        self._start = _start(request, self._host, self._host, self._observer)
        self._stopping = False
        self._run: LiveRun | None = None
        self._handle: Instance[Any] | None = None

    def run(self) -> Any:
        """Wait on this thread; Stop pauses the run durably."""
        __tracebackhide__ = True
        host = self._host
        with host.catching_stop():
            self._engine.inbox.put(self._start)
            while True:
                message = host.next()
                if callable(message):
                    host.do(message)
                told = self._take(message)
                if told is not None:
                    self._finish(told)
                    break
                if host.interrupts:
                    raise self._interrupted()
        return self._value(told)

    async def run_async(self) -> Any:
        """Wait on the kernel's loop; activations run on it too, between its other callbacks."""
        __tracebackhide__ = True
        loop, host = asyncio.get_running_loop(), self._host
        wake = asyncio.Event()
        host.on_put = lambda: loop.call_soon_threadsafe(wake.set)
        self._engine.inbox.put(self._start)
        try:
            with heartbeat():
                while True:
                    wake.clear()
                    message = host.next(0)
                    if message is None:
                        await wake.wait()
                        continue
                    if callable(message):
                        with host.catching_stop():  # the kernel's own way would wait for the loop, which is busy here
                            host.do(message)
                    told = self._take(message)
                    if told is not None:
                        self._finish(told)
                        break
                    if host.interrupts:
                        raise AwaitInterrupted(str(self._interrupted()))
        except asyncio.CancelledError as error:
            if isinstance(error, AwaitInterrupted):
                raise
            host.interrupts += 1
            raise AwaitInterrupted(str(self._interrupted())) from None
        return self._value(told)

    def _take(self, message: Any) -> Finished | None:
        if isinstance(message, Finished):
            return message
        if isinstance(message, Found):
            self._run = message.run
            self._handle = Instance(
                self._engine, message.run.instance, self._request.workflow.name, self._request.workflow
            )
            self._observer.found(self._handle, message.what, message.line)
        return None

    def _finish(self, told: Finished) -> None:
        self._drain()
        run = self._run
        if run is not None and run.executed and run.replayed + run.reused:
            self._observer.notice(f"from journal: {run.replayed + run.reused}, executed: {run.executed}")
        for line in starts.effects_that_stand(run, told) if run is not None else ():
            self._observer.notice(line)
        if self._handle is not None:
            self._observer.ended(self._handle, told.error)

    def _value(self, told: Finished) -> Any:
        """Return the result or raise the error, outside of every ``with``: those set attributes of an error that passes."""
        __tracebackhide__ = True
        if told.error is not None:
            throw(told.error)
        return decoded(self._request.workflow, self._request.workflow.name, told.payload)

    def _drain(self) -> None:
        """Do what is still queued for this thread: executions to be put down."""
        while (message := self._host.next(0)) is not None:
            if callable(message):
                self._host.do(message)

    def _stop_pressed(self) -> None:
        """Ask the engine to pause; from a signal handler before user code is broken, so that what comes of that is void."""
        if not self._stopping:
            self._stopping = self._start.abandoned = True
            self._engine.stop_thread(self._host.ident)
            self._engine.inbox.put(Interrupt(self._start, self._host))

    def _interrupted(self) -> RunInterrupted:
        """Wait until the run is paused durably and its execution put down; a second Stop lets go at once."""
        self._stop_pressed()
        host, first, until = self._host, self._host.interrupts, monotonic() + LET_GO
        paused: Paused | None = None
        while paused is None and host.interrupts == first and (left := until - monotonic()) > 0:
            message = host.next(left)
            if isinstance(message, Paused):
                paused = message
            elif isinstance(message, Found):
                self._take(message)
            elif callable(message):
                host.do(message)
        self._drain()
        execution = self._run.execution if self._run is not None and self._run.host in {host, None} else None
        if execution is not None:
            execution.put_down()
        if self._handle is not None and paused is not None and not paused.busy:
            self._observer.ended(self._handle, RunInterrupted())
        return RunInterrupted(endings.stopped(paused, self._run))


def _after_fork() -> None:
    global _current, _location, _lock, _parents
    if _current is not None and not _current.stopped:
        _current, _location, _lock, _parents = None, None, threading.Lock(), _current


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
