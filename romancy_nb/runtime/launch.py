"""The one current journal, and how calls of workflows reach its engine."""

from __future__ import annotations

import atexit
import getpass
import os
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from romancy_nb import settings
from romancy_nb.clock import now_us
from romancy_nb.core.commands import Outcome
from romancy_nb.core.ledger import NOTEBOOK
from romancy_nb.core.transitions import ACTIVE
from romancy_nb.definitions import registry
from romancy_nb.definitions.ambient import Request
from romancy_nb.definitions.channels import Published
from romancy_nb.definitions.sending import Receipt
from romancy_nb.errors import JournalError, RunProblem
from romancy_nb.journal.answer import Answer
from romancy_nb.journal.locate import Location, find_journal, named_journal
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import endings, ownership
from romancy_nb.runtime.cellcall import CellCall, start_of
from romancy_nb.runtime.engine import Engine
from romancy_nb.runtime.filters import Filter
from romancy_nb.runtime.inbox import Found
from romancy_nb.runtime.instance import Instance, Latch, started
from romancy_nb.runtime.instances import Instances, find
from romancy_nb.runtime.observers import observer
from romancy_nb.runtime.questions import Question, open_questions
from romancy_nb.runtime.standing import head_of, status_of

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
    "questions",
    "resume",
    "sql",
    "start",
]

_current: Engine | None = None
_location: Location | None = None
_lock = threading.Lock()
_parents: Engine | None = None  # in a forked child: has no thread here; kept, so that nothing of it is collected


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
    if str(url) == ":memory:":
        raise JournalError(
            "A journal in memory would be gone with this process, and everything in it. Give rn.connect a path."
        )
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


def looked_at() -> Engine:
    """Return the engine of the current journal, for who only looks: that makes no journal and connects to none.

    Raises:
        RunProblem: there is none.
    """
    engine = connected()
    if engine is None:
        raise RunProblem("No journal is connected here just now. rn.connect() opens one.")
    return engine


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
    status: str | Sequence[str] | None = None,
    workflow: str | Sequence[str] | None = None,
    *,
    since: datetime | timedelta | str | None = None,
    until: datetime | timedelta | str | None = None,
    text: str = "",
    limit: int | None = None,
) -> Instances:
    """Return the instances of the current journal, newest first; shown as a table, those that want somebody come first.

    Args:
        status: one or several of the statuses; also "asks" (a person is to answer) and "in_doubt".
        workflow: the name of a workflow, or several.
        since: only those that something happened to since then: a datetime, a date, or how long ago, such as ``"2h"``.
        until: only those that nothing happened to since then.
        text: only those that have it in their id, workflow, inputs or error.
        limit: how many at most.

    Raises:
        ValueError: there is no such status, or that is no time.

    >>> rn.instances(["failed", "stuck"], since="7d", text="order-7")  # doctest: +SKIP
    """
    return find(current(), Filter.of(status, workflow, since, until, text, limit))


def sql(query: str) -> Answer:
    """Answer a SELECT over the journal's public views: instances, runs, steps, attempts, compensations, limits, events.

    >>> rn.sql("select name, count(*) from steps group by name").df()  # doctest: +SKIP
    """
    return Answer(current().ask(lambda engine: engine.journal.query(query)))


def questions() -> list[Question]:
    """Return what the instances of the current journal ask people and nobody has answered, oldest first.

    >>> [(each.instance_id, each.question) for each in rn.questions()]  # doctest: +SKIP
    [('expense-17', 'Approve the expense?')]
    """
    found: list[Question] = current().ask(open_questions)
    return found


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
    engine.code_kept.clear()  # what is executed anew keeps its code anew
    runs = [each.run for each in engine.journal.runs(instance_id)]
    shrunk = engine.journal.forget(runs, now_us())
    engine.taps.forgotten(runs)
    return shrunk


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
    start = start_of(Request(workflow, inputs, instance_id), latch)
    start.strict = strict
    engine.inbox.put(start)
    return started(latch.get())


class EngineLauncher:
    """How ``Workflow`` reaches the current engine."""

    def start(self, request: Request) -> Instance[Any]:
        engine, latch, told = current(), Latch(), observer()
        start = start_of(request, latch, told=told)
        if start.output is None or start.output.through:
            start.progress = None  # a line that is drawn over would meet what else is written there by then
        engine.inbox.put(start)
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

    def send(
        self, instance_id: str, event: str, payload: object, event_id: str | None, via: str, by: str | None
    ) -> Receipt:
        from romancy_nb.runtime import sending

        return sending.send(current(), instance_id, event, payload, event_id=event_id, via=via, by=by)

    def schedule(self, request: Request) -> Instance[Any]:
        from romancy_nb.runtime import schedules

        schedules.replace(current(), request)
        return self.start(request)

    def run_steps(self, request: Request) -> tuple[str, list[tuple[Outcome, str]]]:
        __tracebackhide__ = True
        from romancy_nb.runtime import batches

        return batches.run_steps(request)

    def run_instances(
        self, requests: Sequence[Request], concurrency: int, *, total: int, failed: int
    ) -> list[tuple[str, Any, BaseException | None]]:
        __tracebackhide__ = True
        from romancy_nb.runtime import batches

        return batches.run_instances(requests, concurrency, total=total, failed=failed)

    def publish(self, channel: str, payload: Payload) -> Published:
        from romancy_nb.runtime import channels

        by = _user()
        found: Published = current().ask(lambda engine: channels.publish(engine, channel, payload, by))
        return found

    async def run_async(self, request: Request) -> Any:
        __tracebackhide__ = True
        return await CellCall(current(), request).run_async()


def _after_fork() -> None:
    global _current, _location, _lock, _parents
    if _current is not None and not _current.stopped:
        _current, _location, _lock, _parents = None, None, threading.Lock(), _current


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
