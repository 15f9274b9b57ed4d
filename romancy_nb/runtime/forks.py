"""A fork is made: the history of a run up to a step becomes another instance, which goes on from there (R16, R17).

What the fork begins with is worked out and played to the workflow's code before anything is written. Then it is one commit, of a
run that nobody advances yet; whoever dies behind it leaves an instance that is interrupted, and that a call takes up like any
other.
"""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.clock import now_us
from romancy_nb.core import forks
from romancy_nb.core.ledger import NOTEBOOK
from romancy_nb.core.replay import Call, Numbered
from romancy_nb.definitions import registry
from romancy_nb.definitions.ambient import check_id
from romancy_nb.errors import RunProblem, WrongArguments
from romancy_nb.journal.protocol import Head, Row
from romancy_nb.payloads.payload import Payload
from romancy_nb.runtime import fits, given, launch, starts
from romancy_nb.runtime.cellcall import start_of
from romancy_nb.runtime.instance import Latch
from romancy_nb.runtime.standing import head_of

if TYPE_CHECKING:
    from romancy_nb.definitions.ambient import Request
    from romancy_nb.definitions.workflow import Workflow
    from romancy_nb.runtime.engine import Engine

__all__ = ["Step", "fork", "forked_from"]

Step = int | str
"""A step by its number, its place, or the name of what it calls."""

SECONDS: Final = 10.0
"""How long the workflow's code may take to come to the step."""


def fork(
    engine: Engine, instance: str, at: Step | None, edits: Mapping[Step, Any] | None, instance_id: str | None
) -> str:
    """Fork an instance, and return the id of the fork. See ``Instance.fork``."""
    head, rows = engine.ask(lambda engine: _load(engine, instance))
    workflow = _workflow(head, rows)
    if edits is not None and not isinstance(edits, Mapping):
        raise WrongArguments(f"edits={edits!r:.100}: it takes a dict of steps and results, such as {{5: value}}.")
    found = [(forks.find(rows, step), value) for step, value in (edits or {}).items()]
    begins = _begins(rows, at, [call for call, _ in found], instance)
    for call, _ in found:
        if call.seq >= begins:
            raise RunProblem(
                f"Step {call.seq}, {call.describe()}, is done anew by a fork at {begins}, so an edit of its result is lost. "
                f"Fork behind it, for example at={forks.next_step(rows, call)}."
            )
    payloads = {call.intent.call: _encoded(call, value) for call, value in found}
    if instance_id:
        check_id(instance_id)
    origin = forks.Origin(head.run, instance, head.number, begins, instance_id or _new_id(head.workflow), now_us())
    made = forks.forked(rows, payloads, origin, _facts(engine, workflow, rows, head, origin.fork))
    numbered = list(enumerate(made, 1))
    verdict = fits.play(workflow, head.digest, numbered, SECONDS)
    if verdict.fits is not True:
        cause = " An edited result may be why." if payloads else ""
        raise RunProblem(
            f"Instance {instance} was not forked at step {begins}: what {head.workflow} does now does not fit what is recorded "
            f"up to there: {verdict.says}{cause} Fork before the place where they part, or put the code back."
        )
    _write(engine, origin.fork, numbered)
    launch.resume(engine, origin.fork, strict=True)
    return origin.fork


def forked_from(engine: Engine, instance: str) -> tuple[str, int, int] | None:
    """Return the instance, run and step that an instance was forked from."""
    head = head_of(engine, instance)
    known = (engine.journal.load(head.run, parts=False)[0].event.meta or {}).get("forked_from")
    return (str(known[0]), int(known[1]), int(known[2])) if known else None


# -- before anything is written ------------------------------------------------------------------------------------------------


def _load(engine: Engine, instance: str) -> tuple[Head, list[Numbered]]:
    head = head_of(engine, instance)
    return head, [(row.seq, row.event) for row in engine.journal.load(head.run)]


def _workflow(head: Head, rows: list[Numbered]) -> Workflow[..., Any]:
    if head.workflow == NOTEBOOK:
        raise RunProblem(
            f"Instance {head.instance} is a notebook: it has no code that could be played to a step, so it cannot be forked."
        )
    workflow: Workflow[..., Any] | None = registry.find("workflow", head.workflow)
    if workflow is None:
        raise RunProblem(
            f"Workflow {head.workflow} is not defined here. Run the cell that defines it, then fork {head.instance}."
        )
    if starts.is_forgotten(rows) or rows[0][1].payload is None:
        raise RunProblem(f"What instance {head.instance} recorded was forgotten, so there is nothing to fork.")
    return workflow


def _begins(rows: list[Numbered], at: Step | None, edited: list[Call], instance: str) -> int:
    if at is not None:
        return forks.find(rows, at).seq
    if not edited:
        raise WrongArguments(
            f"fork() needs a step to begin at, or results to edit: rn.instance({instance!r}).fork(at=7), or "
            ".fork(edits={5: value}), which begins at the step behind that one. `.steps()` has the numbers."
        )
    return forks.next_step(rows, min(edited, key=lambda call: call.outcome_seq or call.seq))


def _encoded(call: Call, value: Any) -> Payload:
    """Return the edited result of a step.

    Raises:
        NotJournalable, EventRefused, WrongArguments: it does not fit; the message says why.
        RunProblem: the step has no result.
    """
    forks.editable(call)
    return given.encoded(call.intent, value, f"the edited result of step {call.seq}, {call.intent.name}")


def _new_id(workflow: str) -> str:
    return f"{workflow}~{token_hex(4)}"


def _facts(engine: Engine, workflow: Any, rows: list[Numbered], head: Head, fork: str) -> dict[str, Any]:
    from romancy_nb.definitions.ambient import Request

    request: Request = Request(workflow, workflow.recall(rows[0][1].payload, head.digest), fork)
    start = start_of(request, Latch())
    facts: dict[str, Any] = {
        "code": start.code,
        "reads": start.reads,
        "owner": engine.token,
        "versions": starts.versions(),
    }
    if start.notebook:
        facts["notebook"] = start.notebook
    if start.cell:
        facts["cell"] = start.cell
    return facts


# -- the commit ------------------------------------------------------------------------------------------------------------------


def _write(engine: Engine, fork: str, rows: list[Numbered]) -> None:
    def write(engine: Engine) -> None:
        if engine.journal.heads([fork]):
            raise WrongArguments(f"There is an instance {fork!r} already. Choose another instance_id for the fork.")
        key = starts.new_run_key(now_us())
        engine.add_rows([Row(key, seq, event) for seq, event in rows])
        engine.commit_now()
        engine.channels.note(key, [event for _, event in rows])

    engine.ask(write)
