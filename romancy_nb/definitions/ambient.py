"""Where am I, and who starts things: the ports between what the user writes and the engine.

``core.context.ambient()`` knows whether workflow code is running here. This file adds the other side, activities
(``ActivityFacts`` in a context variable, which an activity's own threads and tasks rightly copy), and the ``Launcher``
through which definitions start workflows without knowing the engine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, Protocol, TypeVar, runtime_checkable
from uuid import uuid4

from romancy_nb.core.context import Ambient, ambient
from romancy_nb.errors import WrongArguments, WrongPlace

if TYPE_CHECKING:
    from romancy_nb.core.commands import ActivityCommand, Outcome
    from romancy_nb.definitions.channels import Published
    from romancy_nb.definitions.sending import Receipt
    from romancy_nb.definitions.signature import Inputs
    from romancy_nb.definitions.workflow import Workflow
    from romancy_nb.payloads.payload import Payload

__all__ = [
    "ACTIVITY",
    "ActivityFacts",
    "CellPort",
    "Context",
    "DatabaseResult",
    "DatabaseSession",
    "Handle",
    "Launcher",
    "Request",
    "TakesContext",
    "cell_port",
    "check_id",
    "context",
    "launcher",
    "use_cells",
    "use_launcher",
]

_UNTYPED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


@dataclass(slots=True)
class ActivityFacts:
    """What an activity can know of the attempt it is."""

    instance_id: str = ""
    workflow_name: str = ""
    run: int = 0
    attempt: int = 1
    idempotency_key: str = field(default_factory=lambda: uuid4().hex)
    report_progress: Callable[[float, float | None, str], None] | None = None
    report_log: Callable[[str], None] | None = None
    open_session: Callable[[], DatabaseSession] | None = None
    session: DatabaseSession | None = None
    enter: Callable[[], None] | None = None
    """Called in the context that the activity runs in, before it: leads what it prints to where the run was called."""


class DatabaseSession(Protocol):
    """What ``ctx.session`` is; see ``runtime.sessions.Session``."""

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] | None = None) -> DatabaseResult: ...
    def sql(self, query: str, parameters: Sequence[Any] | dict[str, Any] | None = None) -> DatabaseResult: ...
    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None: ...
    def register(self, name: str, frame: Any) -> None: ...
    def append(self, table: str, frame: Any) -> None: ...


class DatabaseResult(Protocol):
    """What a statement of a session answered; see ``runtime.sessions.Result``."""

    columns: tuple[str, ...]

    def fetchall(self) -> list[tuple[Any, ...]]: ...
    def fetchone(self) -> tuple[Any, ...] | None: ...
    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...
    def df(self) -> Any: ...
    def arrow(self) -> Any: ...


ACTIVITY: ContextVar[ActivityFacts | None] = ContextVar("romancy_activity", default=None)


class Context:
    """The run, as its workflow code or one of its activities sees it; from ``rn.context()`` or a first parameter ``ctx``.

    Attributes:
        instance_id (str): the instance's id.
        workflow_name (str): the workflow's name.
        run (int): number of the run, from 1.
        is_replaying (bool): workflow code only: is what happens now known from the journal?
        attempt (int): activities only: number of this attempt, from 1.
        idempotency_key (str): activities only: the same for all attempts of one call, on every kernel (A4). Send it along
            (``Idempotency-Key: …``) so that a call in flight at a crash has its effect once.

    Asking for what the place does not have raises ``errors.WrongPlace``.
    """

    def __init__(self, *, run_ambient: Ambient | None = None, facts: ActivityFacts | None = None) -> None:
        self._ambient = run_ambient
        self._facts = facts

    @property
    def instance_id(self) -> str:
        return (self._ambient or self._known()).instance_id

    @property
    def workflow_name(self) -> str:
        return (self._ambient or self._known()).workflow_name

    @property
    def run(self) -> int:
        return (self._ambient or self._known()).run

    @property
    def is_replaying(self) -> bool:
        return self._ambient.replaying if self._ambient is not None else False

    @property
    def attempt(self) -> int:
        return self._activity("attempt").attempt

    @property
    def idempotency_key(self) -> str:
        return self._activity("idempotency_key").idempotency_key

    @property
    def idempotency_headers(self) -> dict[str, str]:
        """Activities only: the key as an HTTP header, ``{"Idempotency-Key": ...}``, to be sent along with a request."""
        return {"Idempotency-Key": self.idempotency_key}

    @property
    def session(self) -> DatabaseSession:
        """Activities only: the journal's own database. What is written through it commits with the step's record (S1).

        Raises:
            WrongPlace: the activity is called as a plain function, so there is no step; or it runs on an ``executor=``.

        Example:
            >>> @rn.activity  # doctest: +SKIP
            ... def book(ctx, order: str, amount: float) -> None:
            ...     ctx.session.execute("insert into ledger values (?, ?)", [order, amount])
        """
        facts = self._activity("session")
        if facts.session is None:
            if facts.open_session is None and facts.instance_id:
                raise WrongPlace(
                    "ctx.session belongs to the process that has the journal, and this activity runs on an executor=, which may "
                    "be another one. Leave executor= away, or return the rows and write them in an activity of their own."
                )
            if facts.open_session is None:
                raise WrongPlace(
                    "ctx.session belongs to a step of a workflow or durable notebook; this activity is called as a plain "
                    "function, so there is no record that its writes could commit with."
                )
            facts.session = facts.open_session()
        return facts.session

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Report how far the activity is, for the timeline. Not journaled."""
        report = self._activity("progress").report_progress
        if report is not None:
            report(done, total, text)

    def log(self, text: object) -> None:
        """Write a line that belongs to this step."""
        report = self._activity("log").report_log
        if report is not None:
            report(str(text))

    def _known(self) -> ActivityFacts:
        assert self._facts is not None
        return self._facts

    def _activity(self, name: str) -> ActivityFacts:
        if self._facts is None:
            raise WrongPlace(
                f"ctx.{name} belongs to activities; this is workflow code. Use it inside a function marked @rn.activity."
            )
        return self._facts

    def __repr__(self) -> str:
        return f"<Context {self.workflow_name} {self.instance_id} run {self.run}>"


class TakesContext(Protocol[P, T_co]):
    """A function that wants the context: its first parameter is *named* ``ctx``.

    Type-checkers go by the name as the runtime does. ``Callable[Concatenate[Context, P], T]`` would not do: every function
    whose first parameter is ``object``, ``Any`` or not annotated fits that as well, and would lose that parameter.
    """

    def __call__(self, ctx: Context, *args: P.args, **kwargs: P.kwargs) -> T_co: ...


def context() -> Context:
    """Return the context of the workflow or activity that is running here.

    Raises:
        WrongPlace: neither is.
    """
    found = ambient()
    if found is not None:
        found.check()
        return Context(run_ambient=found)
    facts = ACTIVITY.get()
    if facts is None:
        raise WrongPlace("rn.context() works inside a workflow or an activity; neither is running here.")
    return Context(facts=facts)


@dataclass(frozen=True, slots=True)
class Request:
    """A wish to run a workflow.

    Attributes:
        workflow: the definition.
        inputs: validated and encoded.
        instance_id: None: derived from workflow and inputs.
        new: True: another instance, but go on with the newest unfinished one made by this very call (R10); "always".
        redo: names of activities whose recorded results are not to be reused (R5).
        site: file and line of the call, which makes "this very call" mean something.
        facts: what else the first row of a run is to tell of the call.
    """

    workflow: Workflow[Any, Any]
    inputs: Inputs
    instance_id: str | None = None
    new: bool | Literal["always"] = False
    redo: Sequence[str] = ()
    site: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.instance_id is not None:
            check_id(self.instance_id)


def check_id(instance_id: object) -> None:
    """Refuse what could not be found again as an id: the journal keeps text, and its rows are lines.

    Raises:
        WrongArguments: it is no text, or has a character in it that nobody can type.
    """
    if not isinstance(instance_id, str):
        raise WrongArguments(
            f"instance_id is a text, not {type(instance_id).__name__}: instance_id={str(instance_id)!r}."
        )
    if found := _UNTYPED.search(instance_id):
        raise WrongArguments(
            f"The instance_id {ascii(instance_id)[:120]} has the character {found[0]!a} in it, which nobody can type to "
            "find the instance again. Leave out control characters and halves of surrogate pairs."
        )


@runtime_checkable
class Handle(Protocol[T_co]):
    """What ``workflow.start(...)`` returns; to type-checkers this is ``rn.Instance``."""

    @property
    def id(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def run(self) -> int: ...
    @property
    def workflow_name(self) -> str: ...
    def result(self, timeout: float | None = None) -> T_co: ...
    def __await__(self) -> Generator[Any, None, T_co]: ...
    def history(self) -> Any: ...
    def steps(self) -> Any: ...
    def runs(self) -> Any: ...
    def timeline(self) -> Any: ...
    def rows(self) -> list[Any]: ...
    def cancel(self, reason: str = "") -> Handle[T_co]: ...
    def compensate(self, step: int | str | None = None, action: str = "retry", note: str = "") -> Handle[T_co]: ...
    def resolve(self, step: int | str | None, outcome: str, result: object = None, note: str = "") -> Handle[T_co]: ...
    def resume(self, *, strict: bool = False) -> Handle[T_co]: ...
    def fork(
        self,
        at: int | str | None = None,
        edits: Mapping[int | str, Any] | None = None,
        *,
        instance_id: str | None = None,
    ) -> Handle[T_co]: ...
    @property
    def forked_from(self) -> tuple[str, int, int] | None: ...
    def diff(self, other: Any = None) -> Any: ...
    def send(self, event: str, payload: object = None, *, event_id: str | None = None) -> Receipt: ...
    def answer(self, value: object, question: str | None = None) -> Receipt: ...
    def questions(self) -> list[Any]: ...
    def check(self, code: Any = None, *, seconds: float = 10.0) -> Any: ...


class Launcher(Protocol):
    """How definitions start workflows."""

    def start(self, request: Request) -> Handle[Any]:
        """Start (or find) the instance in the background."""
        ...

    def run(self, request: Request) -> Any:
        """Start (or find) it, wait for it here, show it, and return the result."""
        ...

    def run_async(self, request: Request) -> Coroutine[Any, Any, Any]:
        """The same for ``await``."""
        ...

    def send(
        self, instance_id: str, event: str, payload: object, event_id: str | None, via: str, by: str | None
    ) -> Receipt:
        """Send an event to an instance."""
        ...

    def schedule(self, request: Request) -> Handle[Any]:
        """Start (or find) a schedule, and end one of the same name that has other times."""
        ...

    def run_steps(self, request: Request) -> tuple[str, list[tuple[Outcome, str]]]:
        """Run the workflow of a map here; return its instance and, in the order of its calls, outcome and place of each."""
        ...

    def run_instances(
        self, requests: Sequence[Request], concurrency: int, *, total: int, failed: int
    ) -> list[tuple[str, Any, BaseException | None]]:
        """Run all of them, so many at a time, and wait; return id, result and error of each.

        *total* and *failed* are for the progress that is shown: how many rows there are, and how many never get here.
        """
        ...

    def publish(self, channel: str, payload: Payload) -> Published:
        """Publish a message on a channel."""
        ...


_launcher: Callable[[], Launcher] | None = None


def use_launcher(make: Callable[[], Launcher]) -> None:
    """Say who starts workflows; *make* is called at each start, so that importing the engine can wait until then."""
    global _launcher
    _launcher = make


def launcher() -> Launcher:
    """Return who starts workflows."""
    assert _launcher is not None, "import romancy_nb first"
    return _launcher()


class CellPort(Protocol):
    """The cell of a durable notebook that makes an activity call (R14)."""

    def call(self, command: ActivityCommand) -> Outcome:
        """Make the call and wait for what it comes to."""
        ...

    def call_async(self, command: ActivityCommand) -> Coroutine[Any, Any, Outcome]:
        """The same for ``await``."""
        ...


_cells: Callable[[], CellPort | None] | None = None


def use_cells(find: Callable[[], CellPort | None] | None) -> None:
    """Say how the cell is found that a call outside any workflow belongs to; None: such calls are plain again."""
    global _cells
    _cells = find


def cell_port() -> CellPort | None:
    """Return the cell whose step a call made here is, or None: it is the plain function."""
    return _cells() if _cells is not None else None
