"""``%romancy send``, ``answer`` and ``questions``: what comes from outside, as a line of a notebook."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Final

from IPython.core.error import UsageError

from romancy_nb import clock, words
from romancy_nb.notebook import asked
from romancy_nb.runtime import awaited, launch, typed
from romancy_nb.runtime.awaited import Standing
from romancy_nb.runtime.instance import Instance
from romancy_nb.runtime.questions import Question
from romancy_nb.words import quoted

__all__ = ["Questions", "answer", "evaluator", "how", "questions", "remember", "seen", "send", "taken_apart"]

_VIA: Final = "magic"
_OPTION: Final = re.compile(r"--(\S+)\s+(\"[^\"]*\"|'[^']*'|\S+)\s*")
_WORD: Final = re.compile(r"(\"[^\"]*\"|'[^']*'|\S+)\s*")

seen: dict[str, list[awaited.Wait]] = {}
"""What instances that nobody runs here awaited when somebody looked last: completion offers it."""


def taken_apart(text: str, name: str, usage: str, most: int, option: str) -> tuple[list[str], str, str]:
    """Take *text* apart: up to *most* words, the value of ``--option`` somewhere among them, and the rest as it stands.

    Raises:
        UsageError: an unknown option, or one without a value.

    >>> taken_apart('order-7 paid --event-id e1 {"amount": 1}', "send", "", 2, "event-id")
    (['order-7', 'paid'], 'e1', '{"amount": 1}')
    >>> taken_apart('"order 7" paid "a text"', "send", "", 2, "event-id")
    (['order 7', 'paid'], '', '"a text"')
    """
    found: list[str] = []
    given = ""
    rest = text.strip()
    while rest:
        if rest.startswith("--"):
            option_found = _OPTION.match(rest)
            if option_found is None or option_found[1] != option:
                raise UsageError(
                    f"%romancy {name}: {rest.split()[0]} is no option, or lacks its value. Usage: %romancy {name} {usage}"
                )
            given, rest = option_found[2].strip("\"'"), rest[option_found.end() :]
        elif len(found) < most:
            word = _WORD.match(rest)
            assert word is not None
            found.append(unquoted(word[1]))
            rest = rest[word.end() :]
        else:
            break
    return found, given, rest.rstrip()


def unquoted(word: str) -> str:
    """Return *word* without the quotes around it."""
    return word[1:-1] if len(word) > 1 and word[0] in "\"'" and word[-1] == word[0] else word


def evaluator(namespace: dict[str, Any]) -> Callable[[str], Any]:
    """Return what evaluates Python in the notebook, as any cell does."""
    return lambda text: eval(compile(text, "<the value>", "eval"), namespace)


def send(found: Instance[Any], event: str, text: str, event_id: str, namespace: dict[str, Any]) -> None:
    """Send an event to *found*; *text* is JSON or Python."""
    __tracebackhide__ = True
    receipt = typed.send(
        launch.current(), found.id, event, text, event_id=event_id or None, via=_VIA, evaluate=evaluator(namespace)
    )
    print(receipt.says)


def answer(found: Instance[Any], text: str, question: str, namespace: dict[str, Any]) -> None:
    """Answer what *found* asks; *text* is a plain word, JSON or Python. Without it, say what would fit."""
    __tracebackhide__ = True
    try:
        one, value, receipt = typed.answer(
            launch.current(), found.id, text, question or None, via=_VIA, evaluate=evaluator(namespace)
        )
    except typed.NoValue as nothing:
        print(f"{nothing} %romancy answer {quoted(found.id)} ...")
        return
    print(f"{one.question} {words.clip(typed.shown(value), 80)}. {receipt.says}")


def questions() -> Questions:
    """Return what is asked in the current journal, as a table that says how each is answered."""
    found: list[Standing] = launch.current().ask(awaited.standing)
    remember(found)
    return Questions([(each, one) for each in found for one in each.questions])


def remember(found: Sequence[Standing]) -> None:
    """Keep in memory what was seen, so that Tab can offer it."""
    for each in found:
        asked.seen(each.questions)
    seen.clear()
    seen.update({each.instance: list(each.waits) for each in found})


def how(one: Question, standing: Standing) -> str:
    """Return the line that answers *one*."""
    return asked.line_for(one, standing.questions)


class Questions(Sequence[Question]):
    """Open questions, oldest first. Shows itself as text and as a table."""

    def __init__(self, found: list[tuple[Standing, Question]]) -> None:
        self._found = sorted(found, key=lambda pair: pair[1].asked_at)

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, index: Any) -> Any:
        return [one for _, one in self._found][index]

    def _lines(self) -> list[tuple[str, str, str]]:
        now = clock.now_us()
        return [
            (
                f"{one.workflow} {one.instance_id}",
                f"{one.question} (asked {words.age(now - one.asked_at)}{typed.until(one, now)})",
                how(one, each) + acts(each),
            )
            for each, one in self._found
        ]

    def __repr__(self) -> str:
        if not self._found:
            return "Nobody is asked anything."
        return "\n".join(f"{who}: {what}\n    {line}" for who, what, line in self._lines())

    def _repr_html_(self) -> str:
        if not self._found:
            return "<div>Nobody is asked anything.</div>"
        cell = 'style="text-align: left; padding: 2px 12px 2px 0"'
        rows = "".join(
            f"<tr><td {cell}>{escape(who)}</td><td {cell}>{escape(what)}</td><td {cell}><code>{escape(line)}</code></td></tr>"
            for who, what, line in self._lines()
        )
        return f"<table>{rows}</table>"


def acts(found: Standing) -> str:
    """Where nobody runs the instance, say who has to (R15)."""
    if found.owner != "nobody":
        return ""
    where = f"run {found.notebook}, or " if found.notebook else ""
    return f"  (nobody runs it just now: {where}call {found.workflow} again)"
