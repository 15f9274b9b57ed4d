"""``%romancy``: one line magic with subcommands. Each takes its words apart, calls one function, and shows what it returns.

A new subcommand is a function and a line in ``COMMANDS``; help, completion and "did you mean" follow from that.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from romancy_nb import settings
from romancy_nb.definitions.workflow import Workflow
from romancy_nb.errors import InstanceNotFound
from romancy_nb.notebook import decisions
from romancy_nb.runtime import launch
from romancy_nb.runtime.instance import Instance

__all__ = ["COMMANDS", "Command", "RomancyCommands", "split"]


@dataclass(frozen=True, slots=True)
class Words:
    """What stood behind a subcommand, taken apart.

    Attributes:
        text: as it stood there.
        words: without the options.
        options: those that were given; True for those without a value.
    """

    text: str
    words: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand.

    Attributes:
        run: is given the shell and the words behind it; what it returns is the cell's result.
        usage: what follows its name.
        text: what it does, one line.
        example: of a use, without ``%romancy``.
        flags: options without a value.
        valued: options with one.
        most: how many words it takes besides options; None: the rest of the line as it stands.
        completes: what its words are: "id", "checked", "status", "command", "view" or "path".
    """

    run: Callable[[Any, Words], Any]
    usage: str
    text: str
    example: str
    flags: tuple[str, ...] = ()
    valued: tuple[str, ...] = ()
    most: int | None = 0
    completes: tuple[str, ...] = ()


@magics_class
class RomancyCommands(Magics):
    """``%romancy``."""

    @no_var_expand
    @line_magic
    def romancy(self, line: str) -> Any:
        """See what runs and what waits for you, and act on it.

        %romancy alone is the one to remember: it lists what runs, what stopped, and the next command for each.

            %romancy                                    what runs, what waits for you
            %romancy ls [STATUS|WORKFLOW]               the instances of the journal, newest first
            %romancy show ID                            the timeline of one instance
            %romancy check [WORKFLOW|ID] [--all]        which recorded runs still fit the code as it is now; executes nothing
            %romancy resume ID                          go on in the background where it stopped
            %romancy cancel ID [REASON]                 cancel it, and undo what it did
            %romancy compensate ID [STEP ACTION]        undo it, or decide about an undo that gave up
            %romancy resolve ID STEP OUTCOME [RESULT]   say what became of a step in doubt
            %romancy forget ID                          remove what an instance recorded, and give the space back
            %romancy sql QUERY                          ask the journal: instances, runs, steps, attempts, events
            %romancy connect [PATH] [--namespace N]     use another journal
            %romancy notebook [NAME] [--fresh]          make activity calls of this notebook's cells durable steps
            %romancy config                             all settings, and where each comes from
            %romancy doctor                             versions, the journal, who holds it, what Jupyter tells
            %romancy crash [--after N] [--yes]          kill this kernel at the next step, to see what survives
            %romancy help [SUBCOMMAND]                  more on each

        An ID may be shortened to its beginning or its end. Examples:

            %romancy ls paused
            %romancy show order-7
            %romancy sql select name, count(*) from steps group by name
        """
        __tracebackhide__ = True
        name, _, rest = line.strip().partition(" ")
        if not name:
            from romancy_nb.notebook import standing

            return standing.look()
        command = COMMANDS.get(name)
        if command is None:
            raise UsageError(_unknown(name, "%romancy help lists what there is."))
        return command.run(self.shell, split(name, command, rest.strip()))


def _unknown(name: str, else_: str) -> str:
    near = difflib.get_close_matches(name, COMMANDS, 1, 0.5)
    hint = f"Did you mean %romancy {near[0]}? " if near else ""
    return f"There is no %romancy {name}. {hint}{else_}"


def split(name: str, command: Command, text: str) -> Words:
    """Take apart what follows a subcommand: words, which may be quoted, and its options.

    Raises:
        UsageError: an unknown option, a missing value, too many words, quotes that do not close.
    """
    if command.most is None:
        return Words(text)
    words, options = [], {}
    found = re.findall(r"""("[^"]*"|'[^']*'|[^\s"']\S*|["'].*)""", text)
    pending = iter(found)
    for word in pending:
        if word[0] in "\"'" and (len(word) < 2 or word[-1] != word[0]):
            raise UsageError(f"%romancy {name}: the quotes on this line do not close: {text}")
        if not word.startswith("--"):
            words.append(word[1:-1] if word[0] in "\"'" else word)
        elif word[2:] in command.flags:
            options[word[2:]] = True
        elif word[2:] in command.valued:
            value = next(pending, None)
            if value is None:
                raise UsageError(f"%romancy {name}: {word} needs a value. {_usage(name, command)}")
            options[word[2:]] = value.strip("\"'")
        else:
            raise UsageError(f"%romancy {name} has no option {word}. {_usage(name, command)}")
    if len(words) > command.most:
        raise UsageError(f"%romancy {name}: {words[command.most]!r} is not expected. {_usage(name, command)}")
    return Words(text, tuple(words), options)


def _usage(name: str, command: Command) -> str:
    return f"Usage: %romancy {name} {command.usage}".rstrip()


# -- finding instances -------------------------------------------------------------------------------------------------


def _instance(shell: Any, name: str, words: Words) -> Instance[Any]:
    """Return the instance that is meant: by its id, by a variable that holds it, or by the id's beginning or end.

    Raises:
        UsageError: none is named.
        InstanceNotFound: none or several fit.
    """
    if not words.words:
        raise UsageError(f"Which instance? {_usage(name, COMMANDS[name])}. %romancy ls lists them.")
    wanted = words.words[0]
    engine = launch.current()
    known: list[str] = engine.ask(lambda engine: (engine.journal.unfinished(), engine.journal.known())[1])
    if wanted in known:
        return launch.instance(wanted)
    named = shell.user_ns.get(wanted)
    if isinstance(named, Instance):
        return named
    part = wanted.strip("…")
    fitting = [each for each in known if part and (each.startswith(part) or each.endswith(part))]
    if len(fitting) == 1:
        return launch.instance(fitting[0])
    if not fitting:
        near = difflib.get_close_matches(wanted, known, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise InstanceNotFound(
            f"No instance has the id {wanted!r}, or one that begins or ends so, in {engine.journal.where}.{hint} %romancy ls "
            "lists what there is."
        )
    shown = ", ".join(reversed(fitting[-5:])) + (", …" if len(fitting) > 5 else "")
    raise InstanceNotFound(f"{len(fitting)} instances fit {wanted!r}: {shown}. Say more of the id.")


# -- subcommands -------------------------------------------------------------------------------------------------------


def _connect(shell: Any, words: Words) -> None:
    where = launch.connect(
        words.words[0] if words.words else None,
        namespace=words.options.get("namespace"),
        adopt=bool(words.options.get("adopt")),
    )
    print(f"journal {where.path} ({where.why})")


def _ls(shell: Any, words: Words) -> Any:
    wanted = words.words[0] if words.words else None
    if wanted is None:
        found, what = launch.instances(), "instances"
    elif wanted in statuses():
        found, what = launch.instances(wanted), f"{wanted} instances"
    else:
        found, what = launch.instances(workflow=wanted), f"instances of {wanted}"
        if not found and (near := difflib.get_close_matches(wanted, [*statuses(), *workflows()], 1)):
            print(f"There are no instances of {wanted}. Did you mean %romancy ls {near[0]}?")
            return None
    if found:
        return found
    print(f"The journal {launch.location().path} holds no {what}.")
    return None


def statuses() -> list[str]:
    """Return the words that ``%romancy ls`` takes for a status."""
    from romancy_nb.core.transitions import STATUSES

    return sorted(STATUSES | {"interrupted"})


def workflows() -> list[str]:
    """Return the names of the workflows that are defined here."""
    from romancy_nb.definitions import registry

    return registry.names("workflow")


def _show(shell: Any, words: Words) -> Instance[Any]:
    return _instance(shell, "show", words)


def _resume(shell: Any, words: Words) -> None:
    __tracebackhide__ = True
    found = _instance(shell, "resume", words)
    found.resume()
    print(
        f"{found.workflow_name} {found.id} goes on in the background. %romancy show {found.id} shows how far it is; calling "
        f"{found.workflow_name} again waits for its result."
    )


def _cancel(shell: Any, words: Words) -> None:
    __tracebackhide__ = True
    decisions.cancel(_instance(shell, "cancel", words), words.words[1:])


def _compensate(shell: Any, words: Words) -> None:
    __tracebackhide__ = True
    decisions.compensate(_instance(shell, "compensate", words), words.words[1:], str(words.options.get("note", "")))


def _resolve(shell: Any, words: Words) -> None:
    __tracebackhide__ = True
    found = _instance(shell, "resolve", words)
    decisions.resolve(found, words.words[1:], str(words.options.get("note", "")), shell.user_ns)


def _check(shell: Any, words: Words) -> Any:
    __tracebackhide__ = True
    from romancy_nb.runtime import checking

    finished = bool(words.options.get("all"))
    if not words.words:
        return checking.check(finished=finished)
    wanted = words.words[0]
    named = shell.user_ns.get(wanted)
    if isinstance(named, Workflow):
        return checking.check(named, finished=finished)
    if wanted in workflows():
        return checking.check(wanted, finished=finished)
    try:
        return checking.Check([_instance(shell, "check", words).check()])
    except InstanceNotFound as problem:
        near = difflib.get_close_matches(wanted, workflows(), 1)
        hint = f" Did you mean %romancy check {near[0]}?" if near else ""
        raise InstanceNotFound(f"No workflow named {wanted!r} is defined here.{hint} {problem}") from None


def _forget(shell: Any, words: Words) -> None:
    __tracebackhide__ = True
    found = _instance(shell, "forget", words)
    back = launch.forget(found)
    from romancy_nb.widgets import preview

    given = f"; the journal's file is {preview.size(back)} smaller" if back > 0 else ""
    print(
        f"Forgotten: inputs, results and errors of {found.id}{given}. Calling {found.workflow_name} again executes everything."
    )


def _sql(shell: Any, words: Words) -> Any:
    __tracebackhide__ = True
    if not words.text:
        raise UsageError(
            "%romancy sql QUERY: one SELECT over instances, runs, steps, attempts, compensations and events. For example: "
            "%romancy sql select name, count(*) from steps group by name"
        )
    answer = launch.sql(words.text)
    try:
        return answer.df()
    except ImportError:
        return answer  # shows itself as a table, too


def _config(shell: Any, words: Words) -> Any:
    from romancy_nb.notebook.config import Table

    return Table([(name, *settings.find(name)) for name in settings.SETTINGS])


def _doctor(shell: Any, words: Words) -> None:
    from romancy_nb import doctor

    print(doctor.examine())


def _notebook(shell: Any, words: Words) -> None:
    from romancy_nb.notebook.durable import durable_notebook

    __tracebackhide__ = True
    durable_notebook(words.words[0] if words.words else None, fresh=bool(words.options.get("fresh")))


def _crash(shell: Any, words: Words) -> None:
    from romancy_nb.notebook import crash

    __tracebackhide__ = True
    if words.options.get("off"):
        print("Taken back." if crash.disarm() else "Nothing was to crash.")
        return
    after = words.options.get("after", "0")
    if not after.isdecimal():
        raise UsageError(f"%romancy crash --after N takes a whole number of steps, not {after!r}.")
    crash.arm(int(after), ask=not words.options.get("yes"))


def _help(shell: Any, words: Words) -> None:
    if not words.words:
        width = max(len(f"{name} {command.usage}") for name, command in COMMANDS.items())
        print("%romancy alone shows what runs and what waits for you. Besides there are:\n")
        for known, each in COMMANDS.items():
            print(f"  %romancy {f'{known} {each.usage}':<{width}}  {each.text}")
        print("\nAnd %%romancy_activity and %%romancy_workflow on top of a cell: %%romancy_workflow? says how.")
        return
    name = words.words[0]
    command = COMMANDS.get(name)
    if command is None:
        raise UsageError(_unknown(name, "%romancy help lists what there is."))
    print(f"%romancy {name} {command.usage}".rstrip())
    print(f"    {command.text}\n\nExample:\n    %romancy {command.example}")


def options_of(command: Command) -> Sequence[str]:
    """Return a subcommand's options as they are typed."""
    return [f"--{name}" for name in (*command.flags, *command.valued)]


COMMANDS: Final[dict[str, Command]] = {
    "connect": Command(
        _connect,
        "[PATH] [--namespace N] [--adopt]",
        "use another journal; without PATH the project's own",
        "connect shared/journal.duckdb",
        ("adopt",),
        ("namespace",),
        1,
        ("path",),
    ),
    "notebook": Command(
        _notebook,
        "[NAME] [--fresh]",
        "make activity calls of this notebook's cells durable steps",
        "notebook analysis",
        ("fresh",),
        most=1,
    ),
    "ls": Command(
        _ls, "[STATUS|WORKFLOW]", "list the instances, newest first", "ls paused", most=1, completes=("status",)
    ),
    "show": Command(_show, "ID", "show the timeline of an instance", "show order-7", most=1, completes=("id",)),
    "check": Command(
        _check,
        "[WORKFLOW|ID] [--all]",
        "play unfinished runs (all: ended ones, too) to the code as it is now: which still fit? executes nothing",
        "check order",
        ("all",),
        most=1,
        completes=("checked",),
    ),
    "resume": Command(
        _resume, "ID", "go on in the background where it stopped", "resume order-7", most=1, completes=("id",)
    ),
    "cancel": Command(
        _cancel,
        "ID [REASON]",
        "cancel an instance: its code may clean up, then what it did is undone",
        'cancel order-7 "the customer called"',
        most=2,
        completes=("id",),
    ),
    "compensate": Command(
        _compensate,
        "ID [STEP retry|skip|done] [--note TEXT]",
        "undo what an instance did, or decide about an undo that gave up",
        'compensate order-7 cancel_hotel done --note "by telephone"',
        valued=("note",),
        most=3,
        completes=("id",),
    ),
    "resolve": Command(
        _resolve,
        "ID STEP executed [RESULT] | not_executed | failed [ERROR] [--note TEXT]",
        "say what became of a step in doubt",
        "resolve order-7 charge executed \"'ch-77'\"",
        valued=("note",),
        most=4,
        completes=("id",),
    ),
    "forget": Command(
        _forget,
        "ID",
        "remove what an instance recorded for good, and give the space back",
        "forget order-7",
        most=1,
        completes=("id",),
    ),
    "sql": Command(
        _sql,
        "QUERY",
        "ask the journal: instances, runs, steps, attempts, events",
        "sql select name, count(*) from steps group by name",
        most=None,
        completes=("view",),
    ),
    "config": Command(_config, "", "show all settings and where each comes from", "config"),
    "doctor": Command(_doctor, "", "look at versions, the journal, who holds it, and what Jupyter tells", "doctor"),
    "crash": Command(
        _crash,
        "[--after N] [--yes | --off]",
        "kill this kernel at the next step, or after N executed ones, to see what survives",
        "crash --after 2",
        ("yes", "off"),
        ("after",),
    ),
    "help": Command(_help, "[SUBCOMMAND]", "say more on a subcommand", "help ls", most=1, completes=("command",)),
}
"""The subcommands by name, in the order in which help lists them."""
