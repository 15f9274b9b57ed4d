"""The magics: parse the line, call one function, return what it returns."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, magics_class, no_var_expand

from romancy_nb.definitions.activity import as_activity
from romancy_nb.definitions.options import ActivityOptions, RetryPolicy, WorkflowOptions
from romancy_nb.definitions.workflow import Workflow, as_workflow
from romancy_nb.notebook import cells

__all__ = ["RomancyMagics", "parse"]


@dataclass(slots=True)
class Line:
    """A magic's line, taken apart: options with their Python values' source, and what follows ``--run`` or ``--start``."""

    options: dict[str, str] = field(default_factory=dict)
    name: str = ""
    call: str | None = None
    mode: str = ""


def parse(line: str, valued: set[str], flags: set[str]) -> Line:
    """Take a magic's line apart with Python's tokenizer, so that any expression survives (N2).

    Args:
        line: what follows the magic's name.
        valued: names of options that take a value: one expression without spaces outside brackets and quotes.
        flags: names of options without one. ``--run`` and ``--start`` come last; the rest of the line is the inside of a call.

    Raises:
        UsageError: an unknown option, a missing value, quotes or brackets that do not close.
    """
    found = Line()
    rest = line.lstrip()
    while rest:
        word = rest.split(maxsplit=1)[0]
        rest = rest[len(word) :].lstrip()
        if word in {"--run", "--start"}:
            found.mode, found.call = word[2:], rest.rstrip()
            break
        if not word.startswith("--"):
            if found.name:
                raise UsageError(f"{word!r} is not expected here. Options first, then one name.")
            found.name = word
        elif word[2:] in flags:
            found.options[word[2:]] = "True"
        elif word[2:] in valued:
            if not rest:
                raise UsageError(f"{word} needs a value.")
            value = _value(rest)
            found.options[word[2:]] = value
            rest = rest[len(value) :].lstrip()
        else:
            known = ", ".join(f"--{name}" for name in sorted(valued | flags))
            raise UsageError(f"There is no option {word}. There are {known}.")
    return found


def _value(text: str) -> str:
    """Return what *text* begins with: one word, or one expression when that has quotes or brackets.

    Python itself says where the expression ends: at the first space up to which everything that was opened is closed.
    """
    for end in (*(found.start() for found in re.finditer(r"\s+", text)), len(text)):
        candidate = text[:end]
        if not re.search(r"[\"'(\[{]", candidate):
            return candidate
        try:
            ast.parse(candidate, mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        return candidate
    raise UsageError(f"Quotes or brackets on this line do not close: {text}")


@magics_class
class RomancyMagics(Magics):
    """``%%romancy_activity`` and ``%%romancy_workflow``."""

    @no_var_expand
    @cell_magic
    def romancy_activity(self, line: str, cell: str) -> None:
        """Make the cell's functions activities: their results are journaled.

        %%romancy_activity [--retries N] [--timeout SECONDS] [--delivery at_most_once] [--reuse inputs|prefix|never]

        Functions whose name begins with _ stay plain helpers.
        """
        parsed = parse(line, {"retries", "timeout", "delivery", "reuse", "executor"}, set())
        if parsed.name or parsed.call is not None:
            raise UsageError("%%romancy_activity takes options only; the functions are in the cell.")
        __tracebackhide__ = True
        given: dict[str, Any] = {}
        for name, text in parsed.options.items():
            value: Any = text if name in {"delivery", "reuse"} else self._value(text)
            given["retry" if name == "retries" else name] = (
                RetryPolicy(max_attempts=value) if name == "retries" else value
            )
        options = ActivityOptions(**given)
        self._define(
            "romancy_activity", line, cell, lambda function: as_activity(function, None, options), "activities"
        )

    @no_var_expand
    @cell_magic
    def romancy_workflow(self, line: str, cell: str) -> Any:
        """Make the cell's functions workflows, and run the last of them when asked.

        %%romancy_workflow [--id ID] [--new] [--redo NAME] [--run ARGUMENTS | --start ARGUMENTS]

        --run comes last; what follows is the inside of a call: --run "orders.csv", limit=10
        """
        __tracebackhide__ = True
        parsed = parse(line, {"id", "redo", "on_failure"}, {"new"})
        if parsed.name:
            raise UsageError(
                f"%%romancy_workflow {parsed.name}: a cell whose body is itself the workflow is not part of this version. Leave "
                "the name out and write a function, or use --run to run it at once."
            )
        given: dict[str, Any] = {name: text for name, text in parsed.options.items() if name == "on_failure"}
        options = WorkflowOptions(**given)
        made = self._define(
            "romancy_workflow", line, cell, lambda function: as_workflow(function, None, options), "workflows"
        )
        if parsed.call is None:
            return None
        return self._call(made[-1], parsed)

    def _define(self, magic: str, line: str, cell: str, wrap: Any, what: str) -> list[Any]:
        __tracebackhide__ = True
        try:
            made, helpers = cells.define(self.shell, cell, wrap, f"%%{magic} {line}".rstrip())
        except SyntaxError as error:
            raise cells.CellSyntaxError(self.shell, error) from None
        if not made:
            raise UsageError(f"%%{magic}: there is no function in this cell. Write one: def name(...): ...")
        left = f" (helper{'s' if len(helpers) > 1 else ''}: {', '.join(helpers)})" if helpers else ""
        print(f"{what}: {', '.join(definition.name for definition in made)}{left}")
        return made

    def _call(self, workflow: Workflow[..., Any], parsed: Line) -> Any:
        options: dict[str, Any] = {}
        if "id" in parsed.options:
            options["instance_id"] = str(self._value(parsed.options["id"], word=True))
        if "new" in parsed.options:
            options["new"] = True
        if "redo" in parsed.options:
            options["redo"] = [name for name in parsed.options["redo"].split(",") if name]
        __tracebackhide__ = True
        args, kwargs = self._arguments(parsed)
        method = workflow.run if parsed.mode == "run" else workflow.start
        return method(*args, **options, **kwargs)

    def _arguments(self, parsed: Line) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Evaluate the inside of a call. It is given a line of its own, so that a comment ends with it."""
        __tracebackhide__ = True
        collect = "__romancy_arguments__"
        try:
            tree = ast.parse(f"{collect}({parsed.call}\n)", filename=f"<--{parsed.mode}>", mode="eval")
        except SyntaxError as error:
            raise UsageError(
                f"What follows --{parsed.mode} is not the inside of a call ({error.msg}): {parsed.call}"
            ) from None
        if not (isinstance(tree.body, ast.Call) and isinstance(tree.body.func, ast.Name)):
            raise UsageError(f"What follows --{parsed.mode} is not the inside of one call: {parsed.call}")
        found: tuple[tuple[Any, ...], dict[str, Any]] = eval(
            compile(tree, f"<--{parsed.mode}>", "eval"),
            {**self._namespace, collect: lambda *args, **kwargs: (args, kwargs)},
        )
        return found

    @property
    def _namespace(self) -> dict[str, Any]:
        """The notebook's variables."""
        assert self.shell is not None
        found: dict[str, Any] = self.shell.user_ns
        return found

    def _value(self, text: str, *, word: bool = False) -> Any:
        """Evaluate *text* in the notebook; with *word*, what is no expression stands for itself (``--id order-7``)."""
        try:
            tree = ast.parse(text, mode="eval")
            if word and any(isinstance(n, ast.Name) and n.id not in self._namespace for n in ast.walk(tree)):
                return text
            return eval(compile(tree, "<magic>", "eval"), self._namespace)
        except (SyntaxError, NameError):
            if word:
                return text
            raise
