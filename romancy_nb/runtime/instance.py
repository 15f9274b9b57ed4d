"""The handle: one instance, wherever it runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from romancy_nb.clock import monotonic
from romancy_nb.core import events as ev
from romancy_nb.core.ledger import NOTEBOOK
from romancy_nb.core.transitions import ACTIVE
from romancy_nb.definitions import registry
from romancy_nb.errors import AwaitInterrupted, InstanceNotFound, RunInterrupted, RunPaused, RunProblem
from romancy_nb.journal.answer import Answer
from romancy_nb.journal.protocol import Head, Row
from romancy_nb.payloads.codec import decode
from romancy_nb.payloads.failures import add_note, decode_failure
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import ownership, parting
from romancy_nb.runtime.heartbeat import heartbeat
from romancy_nb.runtime.hosts import SIGNALS
from romancy_nb.runtime.inbox import Finished, Found
from romancy_nb.runtime.takeup import TakeUp
from romancy_nb.runtime.tracebacks import throw

if TYPE_CHECKING:
    from romancy_nb.definitions.workflow import Workflow
    from romancy_nb.runtime.checking import Fit
    from romancy_nb.runtime.engine import Engine

__all__ = ["Instance", "Instances", "Latch", "decoded", "use_timeline"]

T = TypeVar("T")

_timeline: Callable[[Instance[Any]], Any] | None = None


def use_timeline(make: Callable[[Instance[Any]], Any]) -> None:
    """Say what draws an instance; the read side and its widgets are rooms above this one."""
    global _timeline
    _timeline = make


class Latch:
    """A waiter that keeps what it is told; ``get`` waits for the next message."""

    def __init__(self) -> None:
        self.messages: SimpleQueue[Any] = SimpleQueue()
        self.on_tell: Callable[[], object] | None = None

    def tell(self, message: Any) -> None:
        self.messages.put(message)
        if self.on_tell is not None:
            self.on_tell()

    def get(self, timeout: float | None = None) -> Any:
        """Return the next message; None after *timeout* seconds. Stop interrupts the wait."""
        until = None if timeout is None else monotonic() + timeout
        while True:
            left = None if until is None else max(0.0, until - monotonic())
            left = SIGNALS if left is None else min(left, SIGNALS)
            try:
                return self.messages.get(timeout=left)
            except Empty:
                if until is not None and monotonic() >= until:
                    return None


def decoded(workflow: Workflow[Any, Any] | None, name: str, payload: Payload | None) -> Any:
    """Return a run's result as its workflow's annotation says, or by itself where the workflow is not defined here."""
    if payload is None:
        return None
    if workflow is not None:
        return workflow.signature.decode_result(payload)
    return decode(payload, what=f"the result of workflow {name}")


class Instance(Generic[T]):
    """One workflow with one set of inputs. It shows itself as its timeline.

    Attributes:
        id (str): stable; derived from the workflow and its inputs unless you gave one.
        workflow_name (str): the workflow's name.
        run (int): number of the newest run, from 1.
        status (str): running, waiting, paused, stuck, completed, failed, cancelled …, or "interrupted": running without a
            living owner; the same call resumes it.
    """

    def __init__(
        self, engine: Engine, instance_id: str, workflow_name: str, workflow: Workflow[Any, Any] | None = None
    ) -> None:
        self._engine = engine
        self.id = instance_id
        self.workflow_name = workflow_name
        self._workflow = workflow

    # -- state ----------------------------------------------------------

    @property
    def status(self) -> str:
        return str(self._engine.ask(lambda engine: status_of(engine, self.id)[0]))

    @property
    def run(self) -> int:
        return int(self._engine.ask(lambda engine: status_of(engine, self.id)[1]))

    # -- result ----------------------------------------------------------

    def result(self, timeout: float | None = None) -> T:
        """Wait until the run has ended and return its result.

        Args:
            timeout: seconds; None waits for ever. Stop ends the waiting and leaves the run alone.

        Raises:
            TimeoutError: it has not ended by then.
            RunPaused, RunStuck, RunProblem: it cannot end as things are; the message says what to do.
            Whatever the workflow raised.
        """
        __tracebackhide__ = True
        latch = Latch()
        until = None if timeout is None else monotonic() + timeout
        while True:
            try:
                told = self._engine.ask(lambda engine: join(engine, self.id, latch))
                if told is None:
                    told = latch.get(self._step(until))
            except KeyboardInterrupt:
                raise RunInterrupted(self._goes_on()) from None
            if isinstance(told, Finished):
                return self._value(told)
            if until is not None and monotonic() >= until:
                raise TimeoutError(f"Instance {self.id} has not ended after {timeout:g} s; it is {self.status}.")

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        __tracebackhide__ = True
        loop = asyncio.get_running_loop()
        latch = Latch()
        wake = asyncio.Event()
        latch.on_tell = lambda: loop.call_soon_threadsafe(wake.set)
        with heartbeat():
            while True:
                told = self._engine.ask(lambda engine: join(engine, self.id, latch))
                look_again = loop.call_later(1.0, wake.set)  # a run of another process tells us nothing by itself
                try:
                    if told is None:
                        await wake.wait()
                        wake.clear()
                        told = latch.get(0)
                except asyncio.CancelledError:
                    raise AwaitInterrupted(self._goes_on()) from None
                finally:
                    look_again.cancel()
                if isinstance(told, Finished):
                    return self._value(told)

    def _step(self, until: float | None) -> float:
        """Look again once a second: a run of another process tells us nothing by itself."""
        return 1.0 if until is None else max(0.0, min(1.0, until - monotonic()))

    def _goes_on(self) -> str:
        return f"Stopped waiting. Instance {self.id} goes on in the background."

    def _value(self, told: Finished) -> T:
        __tracebackhide__ = True
        if told.error is not None:
            throw(told.error)
        workflow = self._workflow or registry.find("workflow", self.workflow_name)
        value: T = decoded(workflow, self.workflow_name, told.payload)
        return value

    # -- what happened ----------------------------------------------------------

    def history(self) -> Answer:
        """Return the newest run's history, an event a row."""
        return self._answer("select * from events where instance_id = ? and run = ? order by seq")

    def steps(self) -> Answer:
        """Return the newest run's steps: activity calls, timers and side effects, in order."""
        return self._answer("select * from steps where instance_id = ? and run = ? order by seq")

    def outputs(self, seq: int | None = None) -> list[dict[str, Any]]:
        """Return what the activities of the newest run printed and displayed, as Jupyter has outputs, in order.

        Args:
            seq: of the step (see ``steps()``); None: all of them.

        >>> [o["text"] for o in order.outputs() if o["output_type"] == "stream"]  # doctest: +SKIP
        ['reserved a lamp\\n']
        """
        rows = self.rows()
        place = next((row.event.call for row in rows if row.seq == seq), None)
        found = [
            row.event.payload.text
            for row in rows
            if row.event.kind == ev.ATTEMPT_OUTPUT
            and row.event.payload is not None
            and (seq is None or row.event.call == place)
        ]
        return [output for text in found for output in json.loads(text)]

    def runs(self) -> Answer:
        """Return the instance's runs, oldest first."""
        query = "select * from runs where instance_id = ? order by run"
        return Answer(self._engine.ask(lambda engine: engine.journal.query(query, [self.id])))

    def rows(self) -> list[Row]:
        """Return the newest run's history as the journal keeps it, binary parts described and not read."""
        return list(self._engine.ask(lambda engine: _rows(engine, self.id)))

    def timeline(self) -> Any:
        """Return what shows the newest run as a timeline: in a notebook, or as text with ``print``."""
        assert _timeline is not None, "import romancy_nb first"
        return _timeline(self)

    def locals(self) -> dict[str, Any]:
        """Return the names that the body of a cell has bound so far, while its run is paused or failed (N3).

        Raises:
            RunProblem: no execution of it is known in this kernel, or the workflow is a function.
        """
        workflow = self._workflow or registry.find("workflow", self.workflow_name)
        found: dict[str, Any] | None = workflow.locals(self.id) if workflow is not None else None
        if found is None:
            raise RunProblem(
                f"The variables of instance {self.id} are not known here: only the body of a cell that ran in this kernel and "
                f"has not completed keeps them. It is {self.status}; run its cell again."
            )
        return found

    def resume(self, *, strict: bool = False) -> Instance[T]:
        """Take the run up again in the background where it stopped, and return self.

        Args:
            strict: this very run goes on, also after an edit; where the code no longer fits its history it becomes stuck,
                and nothing is executed. Without it, edited code makes a new run, which reuses what is unchanged.

        Raises:
            RunProblem: its workflow is not defined here, or there is nothing to resume.
        """
        from romancy_nb.runtime.launch import resume

        resume(self._engine, self.id, strict=strict)
        return self

    def cancel(self, reason: str = "") -> Instance[T]:
        """Cancel the instance, and return self: a journaled request, which its code gets as CancelledError where it waits.

        The code may clean up and call activities for that; then what it did is undone, and the instance is `cancelled`.
        Cancelling it again does nothing more.

        Args:
            reason: kept in the journal and told to whoever asks for the result.

        Raises:
            RunProblem: it has ended otherwise, or is being undone; the message says what can be done.

        Example:
            >>> order.cancel("the customer called").result()  # doctest: +SKIP
        """
        from romancy_nb.runtime import deciding

        deciding.cancel(self._engine, self.id, reason)
        return self

    def compensate(self, step: int | str | None = None, action: str = "retry", note: str = "") -> Instance[T]:
        """Undo what the instance did, or decide about an undo that gave up; goes on in the background. Returns self.

        Args:
            step: of the undo that gave up: number, place or name of the call or of its compensation. None: the one there is;
                for an instance that is not being undone, everything that it did.
            action: "retry" the compensation; "skip" it, its effect stands; "done", a person has undone it.
            note: why; kept with the name of who decided.

        Raises:
            RunProblem: it runs, or has been undone.

        Example:
            >>> trip.compensate("cancel_hotel", "done", note="by telephone").status  # doctest: +SKIP
            'compensated'
        """
        from romancy_nb.runtime import deciding

        deciding.compensate(self._engine, self.id, step, action, note)
        return self

    def resolve(self, step: int | str | None, outcome: str, result: object = None, note: str = "") -> Instance[T]:
        """Say what became of a call in doubt (``at_most_once``, started, and nobody knows how it ended). Returns self.

        Args:
            step: number, place or name of the call; None: the only one.
            outcome: "executed", and its *result* counts; "not_executed": it is executed when the run goes on; "failed":
                the workflow gets *result*, an exception or a text.
            note: why; kept with the name of who decided.

        Raises:
            RunProblem: no such call is in doubt.

        Example:
            >>> order.resolve("charge", "executed", "ch-77").resume().result()  # doctest: +SKIP
        """
        from romancy_nb.runtime import deciding

        deciding.resolve(self._engine, self.id, step, outcome, result, note)
        return self

    def check(self, code: Workflow[Any, Any] | None = None, *, seconds: float = 10.0) -> Fit:
        """Play the newest run to the workflow as it is defined now, and say whether they still fit.

        Nothing is executed and nothing is written; the workflow's own code runs, as on every replay. See ``rn.check``.

        Args:
            code: another workflow to play it to, for example one that is to replace it.
            seconds: how long the code may take.

        Returns:
            The row of ``rn.check`` for this instance: true when it fits, and a sentence as text.

        >>> order.check()  # doctest: +SKIP
        """
        from romancy_nb.runtime.checking import check_instance

        return check_instance(self._engine, self.id, code, seconds)

    def _answer(self, query: str) -> Answer:
        def ask(engine: Engine) -> Any:
            return engine.journal.query(query, [self.id, status_of(engine, self.id)[1]])

        return Answer(self._engine.ask(ask))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        shown: dict[str, Any] = self.timeline()._repr_mimebundle_()
        return shown

    def __repr__(self) -> str:
        return f"<Instance {self.id} of {self.workflow_name}: {self.status}>"


class Instances(list[Instance[Any]]):
    """A list of instances that shows itself as a table."""

    def __init__(self, instances: list[Instance[Any]], answer: Answer) -> None:
        super().__init__(instances)
        self._answer = answer

    def df(self) -> Any:
        """Return the instances as a pandas DataFrame."""
        return self._answer.df()

    def arrow(self) -> Any:
        """Return the instances as a pyarrow Table."""
        return self._answer.arrow()

    def __repr__(self) -> str:
        return repr(self._answer)

    def _repr_html_(self) -> str:
        return self._answer._repr_html_()


# -- on the engine's thread ----------------------------------------------------------


def head_of(engine: Engine, instance: str) -> Head:
    """Return what the journal knows of the newest run.

    Raises:
        InstanceNotFound: nothing.
    """
    head = engine.journal.heads([instance]).get(instance)
    if head is None:
        raise InstanceNotFound(
            f"No instance {instance!r} in {engine.journal.where}. `rn.instances()` lists what there is; another journal is "
            "opened with rn.connect(path)."
        )
    return head


def status_of(engine: Engine, instance: str) -> tuple[str, int]:
    """Return status and number of the newest run, as a person reads them."""
    live = engine.newest.get(instance)
    if live is not None and live.ledger is not None:
        return "running" if live.calls else "waiting", live.number
    if live is not None and not live.replay_only:
        if live.status == "running" and live.timers and not live.calls and not live.pending and not live.busy:
            return "waiting", live.number
        return ("interrupted" if live.undo is not None and live.status == "paused" else live.status), live.number
    head = head_of(engine, instance)
    if head.workflow == NOTEBOOK:
        return "waiting", head.number
    if head.status in ACTIVE and not ownership.alive(head.owner, engine.other_engines()):
        return "interrupted", head.number
    return head.status, head.number


def join(engine: Engine, instance: str, latch: Latch) -> Finished | None:
    """Wait with *latch* for a run that is advanced here; else say how it stands. None: wait."""
    live = engine.newest.get(instance)
    if live is not None and live.ledger is not None:
        return Finished(error=_no_result(instance))
    if live is not None and not live.finished and live.status != "paused":
        if latch not in live.waiters:
            live.waiters.append(latch)
        return None
    if live is not None and live.trouble is not None:
        return Finished(error=live.trouble)
    head = head_of(engine, instance)
    if head.workflow == NOTEBOOK:
        return Finished(error=_no_result(instance))
    outcome = TakeUp(engine).outcome(head.run)
    if outcome is not None:
        return outcome
    if head.status in ACTIVE:
        if ownership.alive(head.owner, engine.other_engines()):
            return None
        told = _why_undo_rests(engine, head) if head.status == "compensating" else ""
        problem: RunProblem = RunPaused(
            told or f"Instance {instance} was interrupted and nobody runs it. Call {_again(head)} to go on."
        )
    elif head.status == "stuck":
        problem = parting.recorded(instance, head.workflow, (row.event for row in engine.journal.load(head.run)))
    elif head.status == "paused":
        slip = _why_paused(engine, head)
        if slip is not None:
            return Finished(error=slip)
        problem = RunPaused(f"Instance {instance} is paused. Call {_again(head)} to go on.")
    else:
        problem = RunProblem(f"Instance {instance} is {head.status}.")
    return Finished(error=problem)


def _no_result(instance: str) -> RunProblem:
    return RunProblem(f"Instance {instance} is a notebook: its cells have results, and it has none. See .steps().")


def _why_paused(engine: Engine, head: Head) -> BaseException | None:
    """Return the error or the doubt that paused the run: who waits is told what who waited live was told."""
    for row in reversed(engine.journal.load(head.run)):
        event = row.event
        if event.kind == ev.RUN_PAUSED:
            reason = (event.meta or {}).get("reason")
            if reason not in {"error", "doubt"} or event.payload is None:
                return None
            error = decode_failure(event.payload)
            if reason == "doubt":
                return error  # it says itself what to do next
            add_note(error, f"Instance {head.instance} is paused. Mend the code and call {_again(head)} to go on.")
            return error
    return None


def _why_undo_rests(engine: Engine, head: Head) -> str:
    """Return what was said when the undo was let go of: it was stopped, or lacks a compensation."""
    last = engine.journal.load(head.run, parts=False)[-1].event
    return str((last.meta or {}).get("message", "")) if last.kind == ev.RUN_UNDO_PAUSED else ""


def _again(head: Head) -> str:
    return f"{head.workflow}(...) again, or `.resume()`,"


def _rows(engine: Engine, instance: str) -> list[Row]:
    live = engine.newest.get(instance)
    key = live.key if live is not None else head_of(engine, instance).run
    return engine.journal.load(key, parts=False)


def started(message: Any) -> Found:
    """Return *message* when it says that a run was found; raise what it says otherwise."""
    if isinstance(message, Finished) and message.error is not None:
        raise message.error
    assert isinstance(message, Found)
    return message
