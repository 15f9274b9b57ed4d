"""The handle: one instance, wherever it runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from romancy_nb.clock import monotonic
from romancy_nb.core import events as ev
from romancy_nb.definitions import registry
from romancy_nb.errors import AwaitInterrupted, RunInterrupted, RunProblem, Waiting
from romancy_nb.journal.answer import Answer
from romancy_nb.journal.protocol import Row
from romancy_nb.payloads.codec import decode
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import looking, relatives
from romancy_nb.runtime.branching import Branching
from romancy_nb.runtime.heartbeat import heartbeat
from romancy_nb.runtime.hosts import SIGNALS
from romancy_nb.runtime.inbox import Finished, Found
from romancy_nb.runtime.observers import observer
from romancy_nb.runtime.resting import look, notice
from romancy_nb.runtime.standing import head_of, join, rows_of, status_of
from romancy_nb.runtime.tracebacks import throw

if TYPE_CHECKING:
    from romancy_nb.definitions.sending import Receipt
    from romancy_nb.definitions.workflow import Workflow
    from romancy_nb.runtime.checking import Fit
    from romancy_nb.runtime.engine import Engine
    from romancy_nb.runtime.inbox import Resting
    from romancy_nb.runtime.questions import Question

__all__ = ["Instance", "Latch", "decoded", "use_display", "use_living", "use_timeline"]

T = TypeVar("T")

_timeline: Callable[[Instance[Any]], Any] | None = None


def use_timeline(make: Callable[[Instance[Any]], Any]) -> None:
    """Say what draws an instance; the read side and its widgets are rooms above this one."""
    global _timeline
    _timeline = make


_display: Callable[[Instance[Any]], bool] | None = None


def use_display(show: Callable[[Instance[Any]], bool]) -> None:
    """Say what displays an instance that is shown by itself, where that can live; it returns whether it did."""
    global _display
    _display = show


_living: Callable[[Instance[Any]], Any] | None = None


def use_living(make: Callable[[Instance[Any]], Any]) -> None:
    """Say what marimo displays in the place of an instance."""
    global _living
    _living = make


LOOK = 0.25
"""Seconds until a first look whether a run that is waited for waits itself for something outside."""


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


class Instance(Branching[T]):
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
            Waiting: in a notebook, without a timeout: it waits for something outside, and the kernel is to be free for that.
            RunPaused, RunStuck, RunProblem: it cannot end as things are; the message says what to do.
            Whatever the workflow raised.
        """
        __tracebackhide__ = True
        latch, shown = Latch(), timeout is not None
        until = None if timeout is None else monotonic() + timeout
        while True:
            try:
                told = self._engine.ask(lambda engine: join(engine, self.id, latch))
                if told is None:
                    told = latch.get(self._step(until) if shown else LOOK)
            except KeyboardInterrupt:
                raise RunInterrupted(self._goes_on()) from None
            if told is None and not shown:
                shown = self._show_rest()
            if isinstance(told, Finished):
                return self._value(told)
            if until is not None and monotonic() >= until:
                raise TimeoutError(f"Instance {self.id} has not ended after {timeout:g} s; it is {self.status}.")

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        __tracebackhide__ = True
        loop = asyncio.get_running_loop()
        latch, shown = Latch(), False
        wake = asyncio.Event()
        latch.on_tell = lambda: loop.call_soon_threadsafe(wake.set)
        with heartbeat():
            while True:
                told = self._engine.ask(lambda engine: join(engine, self.id, latch))
                # a run of another process tells us nothing by itself
                look_again = loop.call_later(1.0 if shown else LOOK, wake.set)
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
                shown = shown or self._show_rest()

    def _show_rest(self) -> bool:
        """If the run waits for something outside, show what for; in a notebook the cell does not wait for that (N5)."""
        resting: Resting | None = self._engine.ask(lambda engine: look(engine, self.id))
        if resting is None:
            return False
        if observer().waits(self, resting):
            raise Waiting(notice(self.workflow_name, self.id, resting), self.id, resting.questions)
        return True

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

    @property
    def parent(self) -> Instance[Any] | None:
        """The instance whose workflow began this one as its child; None where no workflow did."""
        above = self._engine.ask(lambda engine: relatives.parent(engine, self.id))
        return Instance(self._engine, above.instance, above.workflow) if above is not None else None

    def children(self) -> list[Instance[Any]]:
        """Return the children that the newest run began, in the order in which it did."""
        found = self._engine.ask(lambda engine: relatives.children(engine, self.id))
        return [Instance(self._engine, head.instance, head.workflow) for head in found]

    def runs(self) -> Answer:
        """Return the instance's runs, oldest first."""
        query = "select * from runs where instance_id = ? order by run"
        return Answer(self._engine.ask(lambda engine: engine.journal.query(query, [self.id])))

    def rows(self) -> list[Row]:
        """Return the newest run's history as the journal keeps it, binary parts described and not read."""
        return list(self._engine.ask(lambda engine: rows_of(engine, self.id)))

    def _look(self) -> looking.Found:
        """The newest run as it is just now, for what shows it."""
        found: looking.Found = self._engine.ask(lambda engine: looking.find(engine, self.id, None))
        return found

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

    def send(self, event: str, payload: object = None, *, event_id: str | None = None) -> Receipt:
        """Send an event to the instance. See ``rn.send``.

        >>> order.send("payment.completed", {"amount": 12.5})  # doctest: +SKIP
        """
        from romancy_nb.definitions.sending import send

        return send(self.id, event, payload, event_id=event_id)

    def answer(self, value: object, question: str | None = None) -> Receipt:
        """Answer what the instance asks (``rn.ask``). The first answer counts.

        Args:
            value: the answer; it must fit the question's type.
            question: which, by its text or the name of its event; None: the only one.

        Raises:
            AlreadyAnswered: somebody was first; the message says who, when and what.
            EventRefused: it does not fit; the message says where and why.
            RunProblem: nothing is asked, or several things are.

        Example:
            >>> expense.answer({"approved": True, "note": "fine"})  # doctest: +SKIP
        """
        from romancy_nb.runtime import sending

        return sending.answer(self._engine, self.id, value, question)

    def questions(self) -> list[Question]:
        """Return what the instance asks people and nobody has answered, oldest first."""
        from romancy_nb.runtime.questions import open_questions

        found: list[Question] = self._engine.ask(
            lambda engine: open_questions(engine, [head_of(engine, self.id).instance])
        )
        return found

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
        """Say what became of a call in doubt (it was started, and nobody knows how it ended). Returns self.

        One that is ``at_most_once`` waits for that; any other is executed again unless a person says how it ended.

        Args:
            step: number, place or name of the call; None: the only one, of those that are ``at_most_once`` if there are any.
            outcome: "executed", and its *result* counts; "not_executed": it is executed when the run goes on; "failed":
                the workflow gets *result*, an exception or a text.
            note: why; kept with the name of who decided.

        Raises:
            RunProblem: no such call is in doubt, or it is still being executed here.

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

    def _ipython_display_(self) -> None:
        if _display is None or not _display(self):
            raise NotImplementedError  # IPython asks for the forms below

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        shown: dict[str, Any] = self.timeline()._repr_mimebundle_()
        return shown

    def _display_(self) -> Any:
        """marimo asks for this before any other form."""
        return self.timeline() if _living is None else _living(self)

    def __repr__(self) -> str:
        return f"<Instance {self.id} of {self.workflow_name}: {self.status}>"


def started(message: Any) -> Found:
    """Return *message* when it says that a run was found; raise what it says otherwise."""
    if isinstance(message, Finished) and message.error is not None:
        raise message.error
    assert isinstance(message, Found)
    return message
