"""Completion of what stands on the lines of our magics, through Jupyter's own completion.

A matcher of IPython's is asked at each Tab. It looks at the line only, and at names that are in memory: it never opens the
journal, asks the engine nothing, and is quick with any number of instances.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import MethodType
from typing import Any, Final

from romancy_nb.definitions import registry
from romancy_nb.notebook import answering
from romancy_nb.notebook.commands import COMMANDS, options_of
from romancy_nb.notebook.listed import statuses
from romancy_nb.notebook.magics import OPTIONS
from romancy_nb.runtime import awaited, launch, typed

__all__ = ["complete", "install", "remove"]

_LINE: Final = re.compile(r"\s*(%{1,2})(\w+)\s(.*)$", re.DOTALL)
_ALIASES: Final = {"activity": "romancy_activity", "workflow": "romancy_workflow"}
_VIEWS: Final = ("instances", "runs", "steps", "attempts", "compensations", "limits", "events")
_VALUES: Final[dict[str, tuple[str, ...]]] = {
    "delivery": ("at_least_once", "at_most_once"),
    "reuse": ("inputs", "prefix", "never"),
    "on_failure": ("compensate", "pause"),
    "compensate_if": ("completed", "started"),
    "on_doubt": ("ask", "fail", "compensate"),
    "executor": ('"main"',),
}
_MOST: Final = 200
"""Completions that are offered at once; who types one more letter sees others."""


def complete(line: str, ours: Iterable[str] = OPTIONS) -> tuple[str, list[str]] | None:
    """Return what may stand at the end of *line*.

    Args:
        line: the line up to the cursor.
        ours: names of the cell magics that are ours.

    Returns:
        What was typed of the word so far, and the words that it may become; None: the line is none of ours, or Python
        stands there.

    >>> complete("%romancy do")
    ('do', ['doctor'])
    """
    found = _LINE.match(line)
    if found is None:
        return None
    _, magic, rest = found.groups()
    before, word = _last_word(rest)
    if magic == "romancy":
        offered = _of_command(before, word)
    elif magic in ours:
        offered = _of_cell_magic(_ALIASES.get(magic, magic), before, word)
    else:
        return None
    if offered is None:
        return None
    return word, [each for each in offered if each.startswith(word)][:_MOST]


def _last_word(text: str) -> tuple[list[str], str]:
    words = text.split()
    return (words, "") if not text or text[-1].isspace() else (words[:-1], words[-1])


def _of_command(before: list[str], word: str) -> Iterable[str] | None:
    if not before:
        return COMMANDS
    command = COMMANDS.get(before[0])
    if command is None:
        return None
    if before[-1] in options_of(command) and before[-1][2:] in command.valued:
        named = _without_options(before[1:-1])
        if before[-1] == "--question" and named:
            return dict.fromkeys(each.name for each in _awaited(named[0]) if each.what == "ask")
        return []
    if word.startswith("-"):
        return [each for each in options_of(command) if each not in before]
    given = len([each for each in before[1:] if not each.startswith("-")])
    if command.most is not None and given >= command.most:
        return options_of(command) if not word else []
    match command.completes:
        case ("id",):
            return _instances(word)
        case ("id", what):
            return _behind_id(what, _without_options(before[1:]), word)
        case ("checked",):
            return [*registry.names("workflow"), *_instances(word)]
        case ("status",):
            return [*registry.names("workflow"), *statuses()]
        case ("command",):
            return COMMANDS
        case ("view",):
            return _VIEWS if before[-1].lower() in {"from", "join"} else None
        case _:
            return None if command.completes else options_of(command)


def _without_options(words: list[str]) -> list[str]:
    """The words besides options and their values."""
    return [
        each
        for position, each in enumerate(words)
        if not each.startswith("--") and not (position and words[position - 1].startswith("--"))
    ]


def _behind_id(what: str, words: list[str], word: str) -> Iterable[str] | None:
    """What stands behind ``%romancy send`` and ``answer``: an id, the events that it awaits or the words that answer it."""
    if not words:
        return _instances(word)
    if len(words) > 1:
        return None  # JSON, or Python
    waits = _awaited(words[0])
    if what == "event":
        return dict.fromkeys(each.name for each in waits if each.what != "message")
    found = [each.schema for each in waits if each.what == "ask"]
    offered = [offer for schema in found for offer in _answers(schema)]
    return dict.fromkeys(offered) if offered else None


def _answers(schema: Any) -> list[str]:
    yes_no = typed.expected(schema) == "yes|no"
    return ["yes", "no"] if yes_no else typed.choices(schema)


def _awaited(wanted: str) -> list[awaited.Wait]:
    """What an instance awaits, as far as it is in memory: it runs here, or somebody has just looked."""
    engine = launch.connected()
    part = wanted.strip("…")
    if engine is None or not part:
        return []
    known = list(dict.fromkeys([*engine.newest, *answering.seen]))
    fitting = [wanted] if wanted in known else [each for each in known if each.startswith(part) or each.endswith(part)]
    if len(fitting) != 1:
        return []
    return awaited.waits_here(engine, fitting[0]) or answering.seen.get(fitting[0], [])


def _of_cell_magic(magic: str, before: list[str], word: str) -> Iterable[str] | None:
    valued, flags = OPTIONS[magic]
    named = [each for position, each in enumerate(before) if not _is_option_or_value(before, position, valued)]
    if named or {"--run", "--start"} & set(before):
        return None  # inputs and the inside of a call are Python
    last = before[-1][2:] if before else ""
    if last in valued and before[-1].startswith("--"):
        match last:
            case "id":
                return _instances(word)
            case "redo":
                begun, comma, _ = word.rpartition(",")
                return [f"{begun}{comma}{name}" for name in registry.names("activity")]
            case _:
                return _VALUES.get(last)
    options = [f"--{name}" for name in sorted(valued | flags) if f"--{name}" not in before]
    if magic == "romancy_workflow":
        options += ["--run", "--start"]
    return options if not word or word.startswith("-") else None


def _is_option_or_value(words: list[str], position: int, valued: set[str]) -> bool:
    word = words[position]
    return word.startswith("--") or (position > 0 and words[position - 1][2:] in valued)


def _instances(word: str) -> list[str]:
    """Ids that begin so, newest first, of the journal that is open here."""
    engine = launch.connected()
    if engine is None:
        return []
    live = list(engine.newest)
    known = engine.journal.known()
    found = [each for each in reversed(live) if each.startswith(word)]
    seen = set(found)
    for each in reversed(known):
        if len(found) >= _MOST:
            break
        if each.startswith(word) and each not in seen:
            found.append(each)
    return found


class _Matcher:
    """What IPython asks. A class, so that its like can be found again and taken away."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.matcher_identifier = "romancy"
        self.matcher_priority = 100
        self.matcher_api_version = 2
        self.__qualname__ = "romancy"

    def __call__(self, context: Any) -> Any:
        from IPython.core.completer import SimpleCompletion

        lines = context.full_text.split("\n")
        line = lines[context.cursor_line] if context.cursor_line < len(lines) else ""
        magics = self._shell.magics_manager.magics["cell"]
        ours = [
            name
            for name in (*OPTIONS, *_ALIASES)
            if isinstance(found := magics.get(name), MethodType)
            and type(found.__self__).__module__.startswith("romancy_nb.")
        ]
        line = line[: context.cursor_position]
        found = complete(line, ours)
        if found is None:
            completer = self._shell.Completer
            if completer.use_jedi and _is_line_of(line, ours):
                # jedi takes the magic for Python that is no Python, and finds nothing
                return {**completer.python_matcher(context), "suppress": True}
            return {"completions": [], "suppress": False}
        word, offered = found
        return {
            "completions": _Only(SimpleCompletion(text=each, type="romancy") for each in offered),
            "matched_fragment": word,
            "suppress": True,
            "ordered": True,
        }


class _Only(list[Any]):
    """Our completions, and nobody else's: IPython keeps others back only for who has at least one."""

    def __len__(self) -> int:
        return super().__len__() or 1


def _is_line_of(line: str, ours: Iterable[str]) -> bool:
    found = _LINE.match(line)
    return found is not None and found[2] in ours


def install(shell: Any) -> None:
    """Have *shell*'s completer ask us. Doing it twice is harmless."""
    remove(shell)
    matchers = getattr(getattr(shell, "Completer", None), "custom_matchers", None)
    if matchers is not None:  # IPython 8.6 has them first; before, nothing is completed
        matchers.append(_Matcher(shell))


def remove(shell: Any) -> None:
    """Have it ask us no more."""
    matchers = getattr(getattr(shell, "Completer", None), "custom_matchers", None)
    if matchers is not None:
        matchers[:] = [each for each in matchers if type(each).__module__ != __name__]
