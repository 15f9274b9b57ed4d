"""The command line: ``romancy-nb demo | run | ls | show | diff | fork | questions | answer | send | resume | ...``.

Each command parses, calls one thing and prints. Errors of ours are one paragraph on stderr and exit code 1; wrong usage
is exit code 2. Everything is imported when its command needs it, so that ``--version`` and ``--help`` are quick.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from romancy_nb import terminal, words
from romancy_nb.errors import InstanceNotFound, JournalError, RomancyError, RunCancelled, paragraph

if TYPE_CHECKING:
    from romancy_nb import Instance

__all__ = ["main"]

_PACE = 1.0  # seconds between two drawings of what is followed
_RESTS = frozenset({"wait", "question", "channel"})  # kinds of steps that may wait without end
_ID = "the instance id, or enough of its beginning"
_INSTANCE_COLUMNS = ("instance_id", "workflow", "status", "run", "created_at", "updated_at", "notebook", "parent")
_RUN_COLUMNS = ("run", "reason", "status", "started_at", "finished_at", "input", "output", "error")
_STEP_COLUMNS = (
    *("run", "seq", "call", "kind", "name", "status", "origin", "attempts"),
    *("started_at", "finished_at", "input", "output", "error"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    terminal.writable()
    options = _parser().parse_args(argv)
    try:
        code: int = options.command(options)
        sys.stdout.flush()
    except RomancyError as problem:
        terminal.say("\n".join(paragraph(problem)), sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone (`romancy-nb ls | head`). Python would complain again as it flushes at exit.
        terminal.discard()
        return 1
    except OSError as problem:  # a full disk below what our output goes to, a file that nobody may read
        terminal.say(f"{type(problem).__name__}: {problem}", sys.stderr)
        if problem.errno == errno.ENOSPC:
            terminal.discard()
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="romancy-nb", description="Durable workflows that live in a Jupyter notebook."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")

    demo = commands.add_parser("demo", help="kill a notebook's kernel in the middle, run it again, count the effects")
    demo.add_argument("--dir", type=Path, metavar="DIR", help="where to leave the executed notebook (romancy-demo)")
    demo.set_defaults(command=_demo)

    ls = commands.add_parser("ls", help="list the instances in the journal")
    ls.add_argument("--status", help="only those with this status, such as running, paused, completed, failed")
    ls.add_argument("--workflow", help="only those of this workflow")
    ls.add_argument("--since", metavar="WHEN", help="only those that something happened to since: 2h, 7d, 2026-11-21")
    ls.add_argument("--text", help="only those with this in their id, workflow, inputs or error")
    ls.add_argument("--limit", type=int, metavar="N", help="at most N, the newest")
    ls.set_defaults(command=_ls, usage=ls)

    show = commands.add_parser("show", help="show one instance, or the timelines that stand in a saved notebook")
    show.add_argument("id", metavar="ID_OR_FILE", help=f"{_ID}; or a notebook file, which needs no journal")
    show.add_argument("--cell", metavar="N", type=int, help="of a notebook file: only this cell, the first is 1")
    show.add_argument(
        "--follow", action="store_true", help="draw it again until the run ends, or waits for something outside"
    )
    show.set_defaults(command=_show)

    diff = commands.add_parser("diff", help="two instances, or two runs of one, side by side")
    diff.add_argument("id", metavar="A", help=_ID)
    diff.add_argument("other", metavar="B", nargs="?", help="another, or the number of a run of A; else the run before")
    diff.set_defaults(command=_diff)

    _add_doors(commands)

    cancel = commands.add_parser("cancel", help="cancel an instance: what it did is undone")
    cancel.add_argument("id", metavar="ID", help=_ID)
    cancel.add_argument("reason", metavar="REASON", nargs="?", default="", help="kept in the journal")
    cancel.add_argument("--module", metavar="FILE_OR_MODULE", help="import this first: it defines the compensations")
    cancel.set_defaults(command=_cancel)
    check = commands.add_parser("check", help="do recorded runs fit the workflows in this code? executes nothing")
    check.add_argument("code", metavar="FILE_OR_MODULE", help="a .py file or the name of a module that defines them")
    check.add_argument("--workflow", help="only runs of this workflow")
    check.add_argument("--all", action="store_true", help="those that have ended, too")
    check.set_defaults(command=_check)

    doctor = commands.add_parser("doctor", help="versions, the journal and who holds it, kernel and frontend facts")
    doctor.set_defaults(command=_doctor)

    for name, command in commands.choices.items():
        if name != "demo":
            command.add_argument(
                "--journal", metavar="PATH", help="the journal's file; else $ROMANCY_JOURNAL or .romancy/"
            )
            command.add_argument("--json", action="store_true", help="print JSON for programs")
    return parser


def _add_doors(commands: Any) -> None:
    """The commands by which something comes in, and by which what waits for it goes on."""
    questions = commands.add_parser("questions", help="list what instances ask people, and how each is answered")
    questions.set_defaults(command=_questions)

    answer = commands.add_parser("answer", help="answer what an instance asks")
    answer.add_argument("id", metavar="ID", help=_ID)
    answer.add_argument(
        "value", metavar="VALUE", nargs="?", default="", help="a plain word, or JSON; else what fits is said"
    )
    answer.add_argument("--question", metavar="EVENT", help="which, where it asks several things")
    answer.set_defaults(command=_answer)

    send = commands.add_parser("send", help="send an event to an instance")
    send.add_argument("id", metavar="ID", help=_ID)
    send.add_argument("event", metavar="EVENT", help="its name")
    send.add_argument("payload", metavar="JSON", nargs="?", default="", help="what it carries")
    send.add_argument("--event-id", metavar="X", help="an event with the same id is sent once")
    send.set_defaults(command=_send)

    resume = commands.add_parser(
        "resume", help="go on with an instance here, to its end; exit code 75 when it waits for something outside"
    )
    resume.add_argument("id", metavar="ID", help=_ID)
    resume.add_argument("--module", metavar="FILE_OR_MODULE", required=True, help="defines its workflow")
    resume.add_argument("--strict", action="store_true", help="this very run or none, also after an edit")
    resume.set_defaults(command=_resume)

    fork = commands.add_parser(
        "fork", help="go on from a step in a new instance, here, to its end; the one that is forked stays as it is"
    )
    fork.add_argument("id", metavar="ID", help=_ID)
    fork.add_argument("--at", metavar="STEP", help="the first step to do anew: its number, place or name")
    fork.add_argument("--edit", metavar="STEP=JSON", action="append", default=[], help="a result to go on with instead")
    fork.add_argument("--id", metavar="NEW", dest="new", help="id of the new instance")
    fork.add_argument("--module", metavar="FILE_OR_MODULE", required=True, help="defines its workflow")
    fork.set_defaults(command=_fork)

    run = commands.add_parser(
        "run",
        help="execute a notebook without a frontend; exit code 75 when a cell waits for something outside: run it again",
    )
    run.add_argument("notebook", metavar="NOTEBOOK", type=Path)
    run.add_argument("--output", metavar="PATH", type=Path, help="where to save it executed (in place)")
    run.add_argument("--kernel", metavar="NAME", help="an installed kernel; by default this Python")
    run.set_defaults(command=_run)


class _Version(argparse.Action):
    """``--version`` that looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from romancy_nb import __version__

        print(f"romancy-nb {__version__}")
        parser.exit()


def _demo(options: argparse.Namespace) -> int:
    from romancy_nb.demo.play import DEFAULT_DIRECTORY, play

    return play(options.dir or Path(DEFAULT_DIRECTORY))


def _ls(options: argparse.Namespace) -> int:
    from romancy_nb.clock import now_us

    chosen = {
        "status": options.status,
        "workflow": options.workflow,
        "since": options.since,
        "text": options.text or "",
    }
    now = now_us()
    with _journal(options.journal) as rn:
        try:
            found = rn.instances(**chosen, limit=options.limit)
        except ValueError as problem:
            options.usage.error(str(problem))
            raise
        view = found.view(len(found), now) if not options.json else {}
    if options.json:
        terminal.print_json([{name: row[name] for name in _INSTANCE_COLUMNS} for row in found.answer().dicts()])
    elif found:
        from romancy_nb.widgets import table

        print(table.text(view, now, _columns()))
    else:
        like = " that are like this" if any(chosen.values()) else ""
        print(f"The journal holds no instances{like}.")
    return 0


def _columns() -> int:
    """How many columns the terminal has; 0 where what is printed goes elsewhere, so that nothing is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def _show(options: argparse.Namespace) -> int:
    from romancy_nb.shown import book

    if book.is_file(options.id):
        if options.follow:
            raise RomancyError(f"--follow is for instances, and {options.id} is a file.")
        return _show_file(options)
    if options.cell is not None:
        raise RomancyError(f"--cell is for notebook files, and {options.id} is none.")
    with _journal(options.journal) as rn:
        instance = _instance(rn, options.id)
        if options.follow:
            _follow(instance, draws=not options.json)
        elif not options.json:
            print(instance.timeline())
        if not options.json:
            return 0
        where = f"WHERE instance_id = {_quoted(instance.id)}"
        facts = _instances_as_rows(rn, [instance])[0]
        facts["runs"] = _select(rn, _RUN_COLUMNS, f"runs {where} ORDER BY run")
        facts["steps"] = _select(rn, _STEP_COLUMNS, f"steps {where} ORDER BY run, seq")
    terminal.print_json(facts)
    return 0


def _follow(instance: Instance[Any], *, draws: bool) -> None:
    """Draw the timeline in its own place once a second, whoever advances the run; where no terminal is, once, at the end.

    Without *draws* it only waits for that.
    """
    import time
    from functools import partial

    from romancy_nb import clock
    from romancy_nb.runtime import launch, looking
    from romancy_nb.widgets.following import Following
    from romancy_nb.widgets.timeline import Timeline

    engine, drawn, run = launch.current(), 0, 0
    following = Following(())

    def known(key: int) -> int:
        return following.seq if key == run else 0

    while True:
        found = engine.ask(partial(looking.find, instance=instance.id, number=None, known=known))
        if found.run != run:
            following = Following(found.rows)
        following.take(found.rows)
        following.now_runs(found.runs)
        following.alive, following.progress, run = found.alive, found.progress, found.run
        view = following.snapshot(clock.now_us())
        still_open = [step.kind for step in view.steps if step.status in {"running", "waiting"}]
        over = not view.live or (bool(still_open) and _RESTS.issuperset(still_open))
        if draws and sys.stdout.isatty():
            drawn = _drawn_over(str(Timeline(view)), drawn)
        elif draws and over:
            print(Timeline(view))
        if over:
            return
        time.sleep(_PACE)


def _drawn_over(text: str, lines: int) -> int:
    """Write *text* over the *lines* that were written before; return how many it has."""
    size = shutil.get_terminal_size()
    kept = [words.fit(line, size.columns - 1).rstrip() for line in text.splitlines()]
    if len(kept) >= size.lines:  # what has left the screen cannot be drawn over: the end is what goes on
        kept = [*kept[:2], "…", *kept[-(size.lines - 4) :]]
    sys.stdout.write((f"\x1b[{lines}F\x1b[J" if lines else "") + "\n".join(kept) + "\n")
    sys.stdout.flush()
    return len(kept)


def _diff(options: argparse.Namespace) -> int:
    with _journal(options.journal) as rn:
        one, other = _instance(rn, options.id), options.other
        if other is not None:
            number = other.isdecimal() and len(other) < 5 and other not in _ids(rn)
            other = int(other) if number else _instance(rn, other)
        found = one.diff(other)
        print(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) if options.json else found)
    return 0 if found.same else 1


def _fork(options: argparse.Namespace) -> int:
    import romancy_nb
    from romancy_nb import doors
    from romancy_nb.runtime import definitions_of

    definitions_of.load(options.module, "%romancy fork", then=romancy_nb._launcher)
    with _journal(options.journal) as rn:
        code, said, facts = doors.fork(
            _instance(rn, options.id), options.journal, options.at, options.edit, options.new
        )
    terminal.print_json(facts) if options.json else terminal.say(said)
    return code


def _show_file(options: argparse.Namespace) -> int:
    from romancy_nb.shown import printed

    path = Path(options.id)
    found = printed.chosen(path, options.cell)
    print(printed.as_json(found) if options.json else printed.printed(path, found, options.cell))
    return 0


def _cancel(options: argparse.Namespace) -> int:
    if options.module:
        import romancy_nb
        from romancy_nb.runtime import definitions_of

        definitions_of.load(options.module, "%romancy cancel", then=romancy_nb._launcher)
    with _journal(options.journal) as rn:
        instance = _instance(rn, options.id)
        instance.cancel(options.reason)
        said = ""
        try:
            instance.result()
        except RunCancelled as cancelled:
            said = str(cancelled)
        status = instance.status
    if options.json:
        terminal.print_json({"instance_id": instance.id, "status": status})
    else:
        terminal.say("\n".join(textwrap.wrap(said, 100)))
    return 0


def _questions(options: argparse.Namespace) -> int:
    from romancy_nb import doors

    with _journal(options.journal) as rn:
        found = doors.questions(options.journal)
        if options.json:
            terminal.print_json([doors.as_dict(each) for each in rn.questions()])
        else:
            terminal.say("\n".join(found) or "Nobody is asked anything.")
    return 0


def _answer(options: argparse.Namespace) -> int:
    from romancy_nb import doors

    with _journal(options.journal) as rn:
        said, facts = doors.answer(_instance(rn, options.id), options.value, options.question)
    terminal.print_json(facts) if options.json else terminal.say(said)
    return 0


def _send(options: argparse.Namespace) -> int:
    from romancy_nb import doors

    with _journal(options.journal) as rn:
        said, facts = doors.send(_instance(rn, options.id), options.event, options.payload, options.event_id)
    terminal.print_json(facts) if options.json else terminal.say(said)
    return 0


def _resume(options: argparse.Namespace) -> int:
    import romancy_nb
    from romancy_nb import doors
    from romancy_nb.runtime import definitions_of

    definitions_of.load(options.module, "%romancy resume", then=romancy_nb._launcher)
    with _journal(options.journal) as rn:
        code, said, facts = doors.resume(_instance(rn, options.id), options.journal, strict=options.strict)
    terminal.print_json(facts) if options.json else terminal.say(said)
    return code


def _run(options: argparse.Namespace) -> int:
    from romancy_nb.headless.run import run

    outcome = run(options.notebook, options.output, journal=options.journal, kernel=options.kernel)
    terminal.print_json(outcome.as_dict()) if options.json else print(outcome)
    return outcome.code


def _check(options: argparse.Namespace) -> int:
    from romancy_nb.runtime import definitions_of

    with _journal(options.journal) as rn:
        definitions_of.load(options.code)
        try:
            found = rn.check(options.workflow, finished=options.all)
        except LookupError as problem:
            raise RomancyError(str(problem)) from None
    if options.json:
        terminal.print_json(found.dicts())
    else:
        print(found)
    return 0 if found else 1


def _doctor(options: argparse.Namespace) -> int:
    from romancy_nb import doctor

    findings = doctor.examine(options.journal)
    if options.json:
        terminal.print_json(findings.as_dict())
    else:
        print(findings)
    return 1 if findings.problems else 0


@contextlib.contextmanager
def _journal(path: str | None) -> Iterator[Any]:
    """Open a journal that exists: looking must not make an empty one."""
    import romancy_nb as rn
    from romancy_nb import doctor

    where, why = doctor.where_is_the_journal(path)
    if isinstance(where, Path) and not where.is_file():
        raise JournalError(
            f"There is no journal at {where} ({why}). A notebook makes one when it runs its first workflow; name "
            "another file with --journal PATH."
        )
    rn.connect(str(where))
    try:
        yield rn
    finally:
        rn.disconnect()


def _instance(rn: Any, wanted: str) -> Instance[Any]:
    """Return the instance whose id is *wanted*, or the only one whose id begins or, after "…", ends with it."""
    ids = _ids(rn)
    part = wanted.removeprefix("…").removesuffix("…")
    if wanted.startswith("…") and wanted not in ids:  # as messages shorten it
        fitting = [known for known in ids if known.endswith(part)]
    else:
        fitting = [wanted] if wanted in ids else [known for known in ids if known.startswith(part)]
    if not fitting or (not part and wanted not in ids):
        raise InstanceNotFound(
            f"No instance with the id {wanted!r} in this journal. `romancy-nb ls` lists what there is."
        )
    if len(fitting) > 1:
        shown = ", ".join(fitting[:5]) + (", …" if len(fitting) > 5 else "")
        raise InstanceNotFound(f"{len(fitting)} instances fit {wanted!r}: {shown}. Say more of the id.")
    instance: Instance[Any] = rn.instance(fitting[0])
    return instance


def _ids(rn: Any) -> list[str]:
    return [row[0] for row in rn.sql("SELECT instance_id FROM instances ORDER BY updated_at DESC").fetchall()]


def _instances_as_rows(rn: Any, instances: Sequence[Instance[Any]]) -> list[dict[str, Any]]:
    """The instances with their times. Of those that run, only the handle knows whether their owner lives."""
    rows = {row["instance_id"]: row for row in _select(rn, _INSTANCE_COLUMNS, "instances")}
    for instance in instances:
        if rows[instance.id]["status"] in ("running", "waiting"):
            rows[instance.id]["status"] = instance.status
    return [rows[instance.id] for instance in instances]


def _select(rn: Any, columns: Sequence[str], source: str) -> list[dict[str, Any]]:
    rows = rn.sql(f"SELECT {', '.join(columns)} FROM {source}").fetchall()
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


if __name__ == "__main__":
    sys.exit(main())
