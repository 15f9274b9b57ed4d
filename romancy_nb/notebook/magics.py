"""The magics: parse the line, call one function, return what it returns."""

from __future__ import annotations

import ast
import io
import linecache
import re
import tokenize
import types
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any, Final

from IPython.core.displayhook import DisplayHook
from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from romancy_nb.definitions.activity import as_activity
from romancy_nb.definitions.lint import note_of_body
from romancy_nb.definitions.options import ActivityOptions, RetryPolicy, WorkflowOptions
from romancy_nb.definitions.workflow import Workflow, as_workflow
from romancy_nb.notebook import cells
from romancy_nb.notebook.line_form import misplaced

__all__ = ["OPTIONS", "RomancyMagics", "inputs_of", "parse"]

OPTIONS: Final[dict[str, tuple[set[str], set[str]]]] = {
    "romancy_activity": (
        {"retries", "timeout", "compensate", "compensate_if", "delivery", "on_doubt", "reuse", "executor", "limit"},
        {"pivot"},
    ),
    "romancy_workflow": ({"id", "redo", "on_failure", "timeout"}, {"new"}),
}
"""Of each magic: its options with a value, and those without."""
_WORDS: Final = frozenset({"delivery", "reuse", "compensate_if", "on_doubt", "on_failure"})
"""Options whose value is a word and not Python."""


@dataclass(slots=True)
class Line:
    """A magic's line, taken apart: options with their Python values' source, and what follows ``--run`` or ``--start``.

    With a *name*, which makes the cell's body the workflow, *inputs* has the source of each value that follows it.
    """

    options: dict[str, str] = field(default_factory=dict)
    name: str = ""
    inputs: dict[str, str] = field(default_factory=dict)
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
            found.name = word
            if rest.split(maxsplit=1)[:1] == ["--start"]:
                found.mode, rest = "start", rest[len("--start") :]
            found.inputs = inputs_of(rest, word)
            break
        if word[2:] in flags:
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


def inputs_of(text: str, name: str) -> dict[str, str]:
    """Take ``topic="tides" depth=2 + 1`` apart: each value is Python up to the next ``name=`` outside brackets (N2).

    Args:
        text: what follows the NAME.
        name: the NAME, for messages.

    Raises:
        UsageError: it is something else, or quotes or brackets do not close.

    >>> inputs_of('topic="a = b" order=lambda x=1: x  depth=2', "research")
    {'topic': '"a = b"', 'order': 'lambda x=1: x', 'depth': '2'}
    """
    if not name.isidentifier() or iskeyword(name):
        raise UsageError(f"{name!r} is no name for a workflow. {_FORMS}")
    starts = _assignments(text)
    if text.strip() and (not starts or text[: starts[0][0]].strip()):
        word = text.split(maxsplit=1)[0]
        if word in {"--run", "--start"}:
            raise UsageError(f"{word} runs a function of the cell, and with the NAME {name} the body is run. {_FORMS}")
        if not word.startswith("#"):
            raise UsageError(
                f"{word!r} is not expected after the NAME {name}: only inputs, each as name=value. {_FORMS}"
            )
        return {}
    found: dict[str, str] = {}
    position = 0
    while position < len(starts):
        key = starts[position][2]
        for end in range(position + 1, len(starts) + 1):
            limit = starts[end][0] if end < len(starts) else len(text)
            value = text[starts[position][1] : limit].strip()
            if end < len(starts) and value.endswith(","):
                value = value[:-1].rstrip()  # a comma before the next input is none of Python's here
            if _is_expression(value):
                break
        else:
            if _is_open(text[starts[position][1] :]):
                raise UsageError(f"Quotes or brackets on this line do not close: {text.strip()}")
            raise UsageError(
                f"The value of {key} is no Python expression: {text[starts[position][1] :].strip() or 'nothing'}"
            )
        if key in found:
            raise UsageError(f"{key} is given twice.")
        found[key] = value
        position = end
    return found


def _assignments(text: str) -> list[tuple[int, int, str]]:
    """Where ``name=`` stands outside brackets: its start, the end of the ``=``, and the name."""
    found: list[tuple[int, int, str]] = []
    depth, before = 0, None
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.OP:
                depth += (token.string in "([{") - (token.string in ")]}")
                if token.string == "=" and depth == 0 and before is not None and not iskeyword(before.string):
                    found.append((before.start[1], token.end[1], before.string))
            before = token if token.type == tokenize.NAME else None
    except (tokenize.TokenError, SyntaxError):
        raise UsageError(f"Quotes or brackets on this line do not close: {text}") from None
    return found


def _is_expression(text: str) -> bool:
    try:
        ast.parse(f"({text}\n)", mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return bool(text.strip()) and not text.lstrip().startswith("#")


_COLLECT: Final = "__romancy_arguments__"


def _is_open(text: str) -> bool:
    """Does a quote or bracket in *text* not close?"""
    depth = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.ERRORTOKEN and token.string[:1] in "\"'":
                return True
            if token.type == tokenize.OP:
                depth += (token.string in "([{") - (token.string in ")]}")
    except (tokenize.TokenError, SyntaxError):
        return True
    return depth > 0


_FORMS = (
    "The two forms: `%%romancy_workflow NAME topic=...`: the body of the cell is the workflow; "
    "`%%romancy_workflow --run ...`: its functions are, and the last one is run."
)


def _evaluated(code: types.CodeType, namespace: dict[str, Any], text: str) -> Any:
    """What an expression of the magic's line comes to. An error says which it was, and its traceback begins there."""
    __tracebackhide__ = True
    file = code.co_filename
    linecache.cache[file] = (len(text), None, [f"{text}\n"], file)  # or there would be a frame without its line
    try:
        return eval(code, namespace)
    except Exception as error:
        error.add_note(f"This was {text} on the magic's line, which is evaluated in the notebook.")
        raise error.with_traceback(error.__traceback__ and error.__traceback__.tb_next) from None


@magics_class
class RomancyMagics(Magics):
    """``%%romancy_activity`` and ``%%romancy_workflow``."""

    @no_var_expand
    @cell_magic
    def romancy_activity(self, line: str, cell: str) -> None:
        """Make the cell's functions activities: their results are journaled.

        %%romancy_activity [--retries N] [--timeout SECONDS] [--compensate FUNCTION] [--compensate_if started] [--pivot]
                           [--delivery at_most_once] [--on_doubt ask|fail|compensate] [--reuse inputs|prefix|never]
                           [--limit "NAME"]

        Functions whose name begins with _ stay plain helpers. --compensate names what undoes them when a workflow fails.

        Examples:

            %%romancy_activity --retries 3 --timeout 30
            def fetch(url: str) -> str:
                return httpx.get(url).text

            %romancy_activity --delivery at_most_once          (the same on a cell's first line: linters see the cell)
            def charge(amount: int) -> str: ...
        """
        parsed = parse(line, *OPTIONS["romancy_activity"])
        if parsed.name or parsed.call is not None:
            raise UsageError("%%romancy_activity takes options only; the functions are in the cell.")
        __tracebackhide__ = True
        given: dict[str, Any] = {}
        for name, text in parsed.options.items():
            value: Any = text if name in _WORDS else self._value(text)
            if name == "retries":
                given["retry"] = RetryPolicy(max_attempts=value)
            else:
                given["compensation" if name == "compensate" else name] = value
        options = ActivityOptions(**given)
        self._define(
            "romancy_activity", line, cell, lambda function: as_activity(function, None, options), "activities"
        )

    @no_var_expand
    @cell_magic
    def romancy_workflow(self, line: str, cell: str) -> Any:
        """Make the cell's functions workflows, and run the last of them when asked; or make the cell's body one, and run it.

        %%romancy_workflow [--id ID] [--new] [--redo NAME] [--run ARGUMENTS | --start ARGUMENTS]
        %%romancy_workflow [--id ID] [--new] [--redo NAME] NAME [--start] [INPUT=VALUE ...]

        Without a NAME the functions of the cell are workflows. --run comes last; what follows is the inside of a call:
        --run "orders.csv", limit=10

        With a NAME the body of the cell is the workflow: its last expression is the result, and the names that it assigns are
        set in the notebook, from the journal too.

        --id ID gives the instance an id; --new starts another one; --redo a,b executes these activities again; --on_failure pause
        waits for you instead of undoing; --timeout SECONDS cancels a run that takes longer, and undoes it.

        Examples:

            %%romancy_workflow --run "orders.csv", limit=10
            def order_workflow(path: str, limit: int) -> int:
                return len(reserve(path, limit))

            %%romancy_workflow research topic="tides"
            pages = search(topic)
            summary = summarise(pages)
            summary
        """
        __tracebackhide__ = True
        parsed = parse(line, *OPTIONS["romancy_workflow"])
        given: dict[str, Any] = {name: text for name, text in parsed.options.items() if name == "on_failure"}
        if "timeout" in parsed.options:
            given["timeout"] = self._value(parsed.options["timeout"])
        options = WorkflowOptions(**given)
        if parsed.name:
            return self._body(line, cell, parsed, options)
        if parsed.call is not None:
            self._call_tree(parsed)  # what cannot be called is said before anything is defined
        made = self._define(
            "romancy_workflow", line, cell, lambda function: as_workflow(function, None, options), "workflows"
        )
        if parsed.call is None:
            return None
        return self._call(made[-1], parsed)

    @line_magic("romancy_activity")  # type: ignore[arg-type]
    def _activity_line(self, line: str) -> None:
        """The line form of %%romancy_activity, for the first line of a cell."""
        raise misplaced("romancy_activity")

    _activity_line.__doc__ = romancy_activity.__doc__  # type: ignore[assignment]  # help may find either of the two

    @line_magic("romancy_workflow")  # type: ignore[arg-type]
    def _workflow_line(self, line: str) -> None:
        """The line form of %%romancy_workflow, for the first line of a cell."""
        raise misplaced("romancy_workflow")

    _workflow_line.__doc__ = romancy_workflow.__doc__  # type: ignore[assignment]

    def _body(self, line: str, cell: str, parsed: Line, options: WorkflowOptions) -> Any:
        """Run the cell's body as the workflow (N3)."""
        from romancy_nb.notebook.bodies import CellBody

        __tracebackhide__ = True
        inputs: dict[str, Any] = {}
        for name, text in parsed.inputs.items():
            code = compile(ast.parse(text, mode="eval"), "<magic>", "eval")
            inputs[name] = _evaluated(code, self._namespace, f"{name}={text}")
        try:
            body = CellBody(self.shell, parsed.name, cell, f"%%romancy_workflow {line}".rstrip(), options)
        except SyntaxError as error:
            raise cells.CellSyntaxError(self.shell, error) from None
        note = note_of_body(parsed.name, body.tree, self._namespace, is_async=body.is_async)
        if note is not None:
            print(note)
        if body.only_defines:
            print(
                f"note: with the NAME {parsed.name} on the magic's line the body is the workflow, and this one only defines "
                "functions. To make them workflows leave the NAME out."
            )
        if parsed.mode == "start":
            return body.begin(inputs, **self._call_options(parsed))
        value = body.execute(inputs, **self._call_options(parsed))
        # IPython looks for this at the end of what it made of the cell, which is a call of ours
        ends_quietly: Any = getattr(DisplayHook, "semicolon_at_end_of_expression", None)
        return None if ends_quietly is not None and ends_quietly(cell) else value

    def _define(self, magic: str, line: str, cell: str, wrap: Any, what: str) -> list[Any]:
        __tracebackhide__ = True
        try:
            made, helpers = cells.define(self.shell, cell, wrap, f"%%{magic} {line}".rstrip())
        except SyntaxError as error:
            raise cells.CellSyntaxError(self.shell, error) from None
        if not made:
            forms = f" {_FORMS}" if magic == "romancy_workflow" else ""
            raise UsageError(f"%%{magic}: there is no function in this cell. Write one: def name(...): ...{forms}")
        left = f" (helper{'s' if len(helpers) > 1 else ''}: {', '.join(helpers)})" if helpers else ""
        print(f"{what}: {', '.join(definition.name for definition in made)}{left}")
        return made

    def _call_options(self, parsed: Line) -> dict[str, Any]:
        """``--id``, ``--new`` and ``--redo`` as the functions take them."""
        options: dict[str, Any] = {}
        if "id" in parsed.options:
            options["instance_id"] = str(self._value(parsed.options["id"], word=True))
        if "new" in parsed.options:
            options["new"] = True
        if "redo" in parsed.options:
            options["redo"] = [name for name in parsed.options["redo"].split(",") if name]
        return options

    def _call(self, workflow: Workflow[..., Any], parsed: Line) -> Any:
        __tracebackhide__ = True
        options = self._call_options(parsed)
        args, kwargs = self._arguments(parsed)
        method = workflow.run if parsed.mode == "run" else workflow.start
        return method(*args, **options, **kwargs)

    def _arguments(self, parsed: Line) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Evaluate the inside of a call. It is given a line of its own, so that a comment ends with it."""
        __tracebackhide__ = True
        code = compile(RomancyMagics._call_tree(parsed), f"<--{parsed.mode}>", "eval")
        namespace = {**self._namespace, _COLLECT: lambda *args, **kwargs: (args, kwargs)}
        found: tuple[tuple[Any, ...], dict[str, Any]] = _evaluated(code, namespace, f"--{parsed.mode} {parsed.call}")
        return found

    @staticmethod
    def _call_tree(parsed: Line) -> ast.Expression:
        """Return the call whose inside stands on the line, as a syntax tree.

        Raises:
            UsageError: it is none.
        """
        try:
            tree = ast.parse(f"{_COLLECT}({parsed.call}\n)", filename=f"<--{parsed.mode}>", mode="eval")
        except SyntaxError as error:
            if _is_open(parsed.call or ""):
                raise UsageError(
                    f"Quotes or brackets on this line do not close: --{parsed.mode} {parsed.call}"
                ) from None
            raise UsageError(
                f"What follows --{parsed.mode} is not the inside of a call ({error.msg}): {parsed.call}. {_FORMS}"
            ) from None
        if not (isinstance(tree.body, ast.Call) and isinstance(tree.body.func, ast.Name)):
            raise UsageError(f"What follows --{parsed.mode} is not the inside of one call: {parsed.call}")
        return tree

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
