"""``%romancy``: one line magic with subcommands. Each takes its words apart, calls one function, and shows what it returns.

A new subcommand is a function and a line in ``COMMANDS``; help, completion and "did you mean" follow from that.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, Final

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from romancy_nb import settings
from romancy_nb.errors import InstanceNotFound
from romancy_nb.notebook import answering, decisions, histories, listed, steps
from romancy_nb.notebook.command import Command, Words
from romancy_nb.runtime import launch
from romancy_nb.runtime.instance import Instance
from romancy_nb.words import quoted

__all__ = ["COMMANDS", "Command", "RomancyCommands", "split"]


@magics_class
class RomancyCommands(Magics):
    """``%romancy``."""

    @no_var_expand
    @line_magic
    def romancy(self, line: str) -> Any:
        """See what runs and what waits for you, and act on it.

        %romancy alone is the one to remember: it lists what runs, what stopped, and the next command for each.

            %romancy                                    what runs, what waits for you
            %romancy ls [STATUS|WORKFLOW]               the instances of the journal, what wants somebody first
            %romancy show ID                            the timeline of one instance
            %romancy questions                          what is asked, and how each is answered
            %romancy answer ID [VALUE]                  answer what it asks
            %romancy send ID EVENT [JSON]               send it an event
            %romancy check [WORKFLOW|ID] [--all]        which recorded runs still fit the code as it is now; executes nothing
            %romancy fork ID --at STEP [--edit STEP=V]  go on from a step in another instance, with other results
            %romancy diff A [B]                         two instances, or runs, side by side
            %romancy resume ID                          go on in the background where it stopped
            %romancy cancel ID [REASON]                 cancel it, and undo what it did
            %romancy compensate ID [STEP ACTION]        undo it, or decide about an undo that gave up
            %romancy resolve ID STEP OUTCOME [RESULT]   say what became of a step in doubt
            %romancy retry ID [STEP]                    execute a failed step again, and go on
            %romancy code ID STEP                       a step as the Python call that it was, with its inputs
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


def _show(shell: Any, words: Words) -> Instance[Any]:
    return _instance(shell, "show", words)


def _resume(shell: Any, words: Words) -> None:
    __tracebackhide__ = True
    found = _instance(shell, "resume", words)
    found.resume()
    print(
        f"{found.workflow_name} {found.id} goes on in the background. %romancy show {quoted(found.id)} shows how far it is; "
        f"calling {found.workflow_name} again waits for its result."
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


def _retry(shell: Any, words: Words) -> None:
    __tracebackhide__ = True
    steps.retry(_instance(shell, "retry", words), words.words[1:])


def _code(shell: Any, words: Words) -> None:
    __tracebackhide__ = True
    steps.code(_instance(shell, "code", words), words.words[1:])


def _send(shell: Any, words: Words) -> None:
    __tracebackhide__ = True
    usage = COMMANDS["send"].usage
    found, event_id, text = answering.taken_apart(words.text, "send", usage, 2, "event-id")
    instance = _instance(shell, "send", Words(words.text, tuple(found)))
    if len(found) < 2:
        raise UsageError(f"Which event? Usage: %romancy send {usage}")
    answering.send(instance, found[1], text, event_id, shell.user_ns)


def _answer(shell: Any, words: Words) -> None:
    __tracebackhide__ = True
    found, question, text = answering.taken_apart(words.text, "answer", COMMANDS["answer"].usage, 1, "question")
    answering.answer(_instance(shell, "answer", Words(words.text, tuple(found))), text, question, shell.user_ns)


def _questions(shell: Any, words: Words) -> Any:
    __tracebackhide__ = True
    return answering.questions()


def _check(shell: Any, words: Words) -> Any:
    __tracebackhide__ = True
    wanted, finished = words.words[0] if words.words else "", bool(words.options.get("all"))
    return histories.check(
        wanted, finished, shell.user_ns, lambda word: _instance(shell, "check", Words(word, (word,)))
    )


def _fork(shell: Any, words: Words) -> Any:
    __tracebackhide__ = True
    usage = COMMANDS["fork"].usage
    return histories.fork(words.text, usage, shell.user_ns, lambda word: _instance(shell, "fork", Words(word, (word,))))


def _diff(shell: Any, words: Words) -> Any:
    __tracebackhide__ = True
    return histories.diff(words.words, lambda word: _instance(shell, "diff", Words(word, (word,) if word else ())))


def _forget(shell: Any, words: Words) -> None:
    __tracebackhide__ = True
    decisions.forget(_instance(shell, "forget", words))


def _sql(shell: Any, words: Words) -> Any:
    __tracebackhide__ = True
    if not words.text:
        raise UsageError(
            "%romancy sql QUERY: one SELECT over instances, runs, steps, attempts, compensations, limits and events. For example: "
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
    crash.typed(words.options)


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
        listed.ls,
        "[STATUS|WORKFLOW] [--since 2h] [--text T] [--limit N]",
        "list the instances: what wants somebody first, then the newest",
        "ls paused",
        valued=("status", "workflow", "since", "text", "limit"),
        most=1,
        completes=("status",),
    ),
    "show": Command(_show, "ID", "show the timeline of an instance", "show order-7", most=1, completes=("id",)),
    "questions": Command(_questions, "", "list what is asked, and how each is answered", "questions"),
    "answer": Command(
        _answer,
        "ID [--question EVENT] [VALUE]",
        "answer what an instance asks: a plain word, JSON or Python; without VALUE it says what fits",
        "answer expense-17 yes",
        valued=("question",),
        most=None,
        completes=("id", "answer"),
    ),
    "send": Command(
        _send,
        "ID EVENT [--event-id X] [JSON]",
        "send an event, which carries JSON or a Python value; one with the same --event-id is sent once",
        'send order-7 payment.completed {"amount": 12.5}',
        valued=("event-id",),
        most=None,
        completes=("id", "event"),
    ),
    "check": Command(
        _check,
        "[WORKFLOW|ID] [--all]",
        "play unfinished runs (all: ended ones, too) to the code as it is now: which still fit? executes nothing",
        "check order",
        ("all",),
        most=1,
        completes=("checked",),
    ),
    "fork": Command(
        _fork,
        "ID [--at STEP] [--edit STEP=VALUE]… [--id NEW]",
        "go on from a step in a new instance, with edited results (JSON or Python); this one stays as it is",
        'fork order-7 --at charge --edit price={"amount": 80}',
        valued=("at", "edit", "id"),
        most=None,
        completes=("id",),
    ),
    "diff": Command(
        _diff,
        "A [B]",
        "two instances side by side; B may be the number of a run of A; without B what it was forked from, or the run before",
        "diff order-7 order-8",
        most=2,
        completes=("id",),
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
    "retry": Command(
        _retry,
        "ID [STEP]",
        "execute a failed step again and go on; STEP is its number, place or name",
        "retry order-7 charge",
        most=2,
        completes=("id",),
    ),
    "code": Command(
        _code,
        "ID STEP",
        "show a step as the Python call that it was, with its recorded inputs",
        "code order-7 charge",
        most=2,
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
