"""The magics: parse the line, call one function, return what it returns."""

from __future__ import annotations

import ast
import io
import tokenize
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
    words = _words(line)
    position = 0
    while position < len(words):
        start, text = words[position]
        position += 1
        if text in {"--run", "--start"}:
            found.mode, found.call = text[2:], line[start + len(text) :].strip()
            break
        if not text.startswith("--"):
            if found.name:
                raise UsageError(f"{text!r} is not expected here. Options first, then one name.")
            found.name = text
            continue
        option = text[2:]
        if option in flags:
            found.options[option] = "True"
        elif option in valued:
            if position >= len(words):
                raise UsageError(f"--{option} needs a value.")
            found.options[option] = words[position][1]
            position += 1
        else:
            known = ", ".join(f"--{name}" for name in sorted(valued | flags))
            raise UsageError(f"There is no option --{option}. There are {known}.")
    return found


def _words(line: str) -> list[tuple[int, str]]:
    """Split at spaces that stand outside brackets and quotes; (column, text) of each word."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(line).readline))
    except (tokenize.TokenError, SyntaxError, IndentationError) as error:
        raise UsageError(f"Quotes or brackets on this line do not close: {line.strip()}") from error
    words: list[tuple[int, str]] = []
    depth, end = 0, -1
    for token in tokens:
        if token.type in {tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER, tokenize.INDENT, tokenize.DEDENT}:
            continue
        column, stop = token.start[1], token.end[1]
        if depth == 0 and column != end:
            words.append((column, ""))
        words[-1] = (words[-1][0], line[words[-1][0] : stop])
        depth += (token.string in "([{" and token.type == tokenize.OP) - (
            token.string in ")]}" and token.type == tokenize.OP
        )
        end = stop
    return words


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
        made, helpers = cells.define(self.shell, cell, wrap, f"%%{magic} {line}".rstrip())
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
        text = f"__romancy_arguments__({parsed.call})"
        collect = {"__romancy_arguments__": lambda *args, **kwargs: (args, kwargs)}
        args, kwargs = eval(compile(text, f"<--{parsed.mode}>", "eval"), {**self._namespace, **collect})
        method = workflow.run if parsed.mode == "run" else workflow.start
        return method(*args, **options, **kwargs)

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
