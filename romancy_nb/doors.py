"""What comes in by the command line: answers and events, and an instance that goes on here. Each returns what is said about it."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from romancy_nb import clock, words
from romancy_nb.core import events as ev
from romancy_nb.core.transitions import ACTIVE
from romancy_nb.errors import RomancyError, WrongArguments
from romancy_nb.runtime import awaited, launch, resting, typed
from romancy_nb.runtime.awaited import Standing
from romancy_nb.runtime.questions import Question
from romancy_nb.runtime.standing import head_of

if TYPE_CHECKING:
    from romancy_nb import Instance

__all__ = ["TEMPFAIL", "answer", "as_dict", "fork", "named", "questions", "resume", "send", "waits"]

TEMPFAIL: Final = 75
"""The exit code (EX_TEMPFAIL) that says: try again later."""
_VIA: Final = "command line"
_LOOK: Final = 0.5


def questions(journal: str | None) -> list[str]:
    """Return what is asked in the current journal, and how it is answered, two lines a question.

    Args:
        journal: as it was named on the command line; goes into the lines that answer.
    """
    found: list[Standing] = launch.current().ask(awaited.standing)
    asked = sorted(((each, one) for each in found for one in each.questions), key=lambda pair: pair[1].asked_at)
    return [line for each, one in asked for line in _asked(each, one, journal)]


def waits(found: Iterable[Standing], journal: str | None) -> list[str]:
    """Return what runs wait for, and how each thing is brought."""
    lines: list[str] = []
    for each in found:
        who = f"{each.workflow} {each.instance}"
        for one in each.questions:
            lines += _asked(each, one, journal)
        for wait in each.waits:
            if wait.what == "event":
                payload = shlex.quote(typed.expected(wait.schema))
                lines.append(f"{who} waits for event {wait.name!r}")
                lines.append(
                    f"    romancy-nb send {shlex.quote(each.instance)} {shlex.quote(wait.name)} {payload}{_where(journal)}"
                )
            elif wait.what == "message":
                channel = wait.name.removeprefix(ev.CHANNEL)
                lines.append(
                    f"{who} waits for a message on {'any channel' if channel == '*' else f'channel {channel!r}'}"
                )
        if each.timer is not None:
            lines.append(f"{who} has a timer that is due {words.moment(each.timer, clock.now_us())}")
    return lines


def _asked(found: Standing, asked: Question, journal: str | None) -> list[str]:
    now = clock.now_us()
    several = len({each.event for each in found.questions}) > 1
    which = f" --question {shlex.quote(asked.event)}" if several else ""
    value = typed.expected(asked.schema)
    value = value if all(char.isalnum() or char in "|_-" for char in value) else shlex.quote(value)
    return [
        f"{asked.workflow} {asked.instance_id} asks: {asked.question} ({words.age(now - asked.asked_at)}{typed.until(asked, now)})",
        f"    romancy-nb answer {shlex.quote(asked.instance_id)}{which} {value}{_where(journal)}",
    ]


def _where(journal: str | None) -> str:
    return f" --journal {shlex.quote(journal)}" if journal else ""


def as_dict(asked: Question) -> dict[str, Any]:
    """Return a question for programs."""
    return {
        "instance_id": asked.instance_id,
        "workflow": asked.workflow,
        "event": asked.event,
        "question": asked.question,
        "schema": asked.schema,
        "default": asked.default if asked.has_default else None,
        "asked_at": asked.asked_at,
        "due": asked.due,
    }


def answer(instance: Instance[Any], text: str, question: str | None) -> tuple[str, dict[str, Any]]:
    """Answer what *instance* asks with what *text* means.

    Raises:
        RomancyError: it does not fit, somebody was first, or nothing is asked.
    """
    asked, value, receipt = typed.answer(launch.current(), instance.id, text, question, via=_VIA)
    said = f"{asked.question} {words.clip(typed.shown(value), 80)}. {receipt.says}"
    return said, {"question": asked.question, "answer": value, **_facts(receipt)}


def send(instance: Instance[Any], event: str, text: str, event_id: str | None) -> tuple[str, dict[str, Any]]:
    """Send an event that carries what *text* means."""
    receipt = typed.send(launch.current(), instance.id, event, text, event_id=event_id, via=_VIA)
    return receipt.says, _facts(receipt)


def _facts(receipt: Any) -> dict[str, Any]:
    return {
        name: getattr(receipt, name) for name in ("instance_id", "event", "event_id", "status", "duplicate", "says")
    }


def resume(instance: Instance[Any], journal: str | None, *, strict: bool) -> tuple[int, str, dict[str, Any]]:
    """Go on with *instance* in this process until it ends, or waits for something outside.

    Returns:
        The exit code, what is said, and the same for programs.

    Raises:
        RomancyError: it cannot go on, or what its workflow raised.
    """
    instance.resume(strict=strict)
    return _to_its_end(instance, journal)


def fork(
    instance: Instance[Any], journal: str | None, at: str | None, edits: Sequence[str], instance_id: str | None
) -> tuple[int, str, dict[str, Any]]:
    """Fork *instance*, and go on with the fork in this process until it ends, or waits for something outside.

    Args:
        edits: each ``STEP=VALUE``.

    Returns:
        As ``resume``.

    Raises:
        RomancyError: it cannot be forked so, or what its workflow raised.
    """
    if at is None and not edits:
        raise WrongArguments(
            f"A fork needs a step to begin at, --at STEP, or a result to go on with instead, --edit STEP=JSON. The steps of "
            f"{instance.id} are {words.clip(', '.join(f'{step.seq} {step.name}' for step in instance.timeline().view.steps), 300)}."
        )
    wanted: dict[int | str, Any] = {}
    for edit in edits:
        step, found, text = edit.partition("=")
        if not found or not step or not text:
            raise WrongArguments(f"--edit {edit!r}: it takes STEP=VALUE, for example --edit 5='{{\"price\": 80}}'.")
        wanted[_step(step)] = typed.value_of(text, None)
    made = instance.fork(None if at is None else _step(at), wanted or None, instance_id=instance_id)
    code, said, facts = _to_its_end(made, journal)
    return code, said, {**facts, "forked_from": list(made.forked_from or ())}


def _step(word: str) -> int | str:
    return int(word) if word.isdecimal() else word


def _to_its_end(instance: Instance[Any], journal: str | None) -> tuple[int, str, dict[str, Any]]:
    engine = launch.current()
    facts: dict[str, Any] = {"instance_id": instance.id}
    try:
        while instance.status in ACTIVE:
            with contextlib.suppress(TimeoutError):  # also one of the workflow's own: it is asked for below
                instance.result(timeout=_LOOK)
            found = engine.ask(lambda engine: _rests(engine, instance.id))
            if found is not None:
                lines = waits([found], journal)
                said = [*lines, "It is kept. When that has come, resume it again."]
                return TEMPFAIL, "\n".join(said), {**facts, "status": "waiting", "waits_for": lines}
        result = words.clip(repr(instance.result()), 200)
    except RomancyError:
        raise
    except Exception as error:
        raise RomancyError(f"{instance.workflow_name} {instance.id} failed: {type(error).__name__}: {error}") from error
    ended = f"{instance.workflow_name} {instance.id} is {instance.status}: {result}"
    return 0, ended, {**facts, "status": instance.status, "result": result}


def _rests(engine: Any, instance: str) -> Standing | None:
    """Return how the run stands if it waits for something that could take any time. Runs on the engine's thread."""
    live = engine.newest.get(instance)
    if live is None or not resting.rests(engine, live):
        return None
    return awaited.standings(engine, [head_of(engine, instance)])[0]


def named(journal: Path, given: str | None) -> str | None:
    """Return how a journal has to be named on the command line, so that it is found from here; None: it is without."""
    from romancy_nb import doctor

    if given is not None:
        return given
    where, _ = doctor.where_is_the_journal(None)
    return None if isinstance(where, Path) and where.resolve() == journal.resolve() else str(journal)
