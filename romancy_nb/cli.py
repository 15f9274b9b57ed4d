"""The command line: ``romancy-nb demo | ls | show | cancel | check | doctor``.

Each command parses, calls one thing and prints. Errors of ours are one paragraph on stderr and exit code 1; wrong usage
is exit code 2. Everything is imported when its command needs it, so that ``--version`` and ``--help`` are quick.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from romancy_nb.errors import InstanceNotFound, JournalError, RomancyError, RunCancelled, paragraph

if TYPE_CHECKING:
    from romancy_nb import Instance

__all__ = ["main"]

_INSTANCE_COLUMNS = ("instance_id", "workflow", "status", "run", "created_at", "updated_at", "notebook")
_RUN_COLUMNS = ("run", "reason", "status", "started_at", "finished_at", "input", "output", "error")
_STEP_COLUMNS = (
    *("run", "seq", "call", "kind", "name", "status", "origin", "attempts"),
    *("started_at", "finished_at", "input", "output", "error"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        code: int = options.command(options)
        sys.stdout.flush()
    except RomancyError as problem:
        print("\n".join(paragraph(problem)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone (`romancy-nb ls | head`). Python would complain again as it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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
    ls.set_defaults(command=_ls, usage=ls)

    show = commands.add_parser("show", help="show one instance: its runs and steps")
    show.add_argument("id", metavar="ID", help="the instance id, or enough of its beginning")
    show.set_defaults(command=_show)

    cancel = commands.add_parser("cancel", help="cancel an instance: what it did is undone")
    cancel.add_argument("id", metavar="ID", help="the instance id, or enough of its beginning")
    cancel.add_argument("reason", metavar="REASON", nargs="?", default="", help="kept in the journal")
    cancel.add_argument("--module", metavar="MODULE", help="import this first: it defines the compensations")
    cancel.set_defaults(command=_cancel)
    check = commands.add_parser("check", help="do recorded runs fit the workflows in this code? executes nothing")
    check.add_argument("code", metavar="FILE_OR_MODULE", help="a .py file or the name of a module that defines them")
    check.add_argument("--workflow", help="only runs of this workflow")
    check.add_argument("--all", action="store_true", help="those that have ended, too")
    check.set_defaults(command=_check)

    doctor = commands.add_parser("doctor", help="versions, the journal and who holds it, kernel and frontend facts")
    doctor.set_defaults(command=_doctor)

    for command in (ls, show, cancel, check, doctor):
        command.add_argument("--journal", metavar="PATH", help="the journal's file; else $ROMANCY_JOURNAL or .romancy/")
        command.add_argument("--json", action="store_true", help="print JSON for programs")
    return parser


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
    with _journal(options.journal) as rn:
        try:
            found = rn.instances(status=options.status, workflow=options.workflow)
        except ValueError as problem:
            options.usage.error(str(problem))
            raise
        rows = _instances_as_rows(rn, found)
    if options.status:  # what the journal calls running may be interrupted to those who look
        rows = [row for row in rows if row["status"] == options.status]
    if options.json:
        _print_json(rows)
    elif rows:
        print(_table(rows))
    else:
        chosen = " that are like this" if options.status or options.workflow else ""
        print(f"The journal holds no instances{chosen}.")
    return 0


def _show(options: argparse.Namespace) -> int:
    with _journal(options.journal) as rn:
        instance = _instance(rn, options.id)
        if not options.json:
            print(instance.timeline())
            return 0
        where = f"WHERE instance_id = {_quoted(instance.id)}"
        facts = _instances_as_rows(rn, [instance])[0]
        facts["runs"] = _select(rn, _RUN_COLUMNS, f"runs {where} ORDER BY run")
        facts["steps"] = _select(rn, _STEP_COLUMNS, f"steps {where} ORDER BY run, seq")
    _print_json(facts)
    return 0


def _cancel(options: argparse.Namespace) -> int:
    if options.module:
        import importlib

        sys.path.insert(0, str(Path.cwd()))
        importlib.import_module(options.module)
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
        _print_json({"instance_id": instance.id, "status": status})
    else:
        print("\n".join(textwrap.wrap(said, 100)))
    return 0


def _check(options: argparse.Namespace) -> int:
    from romancy_nb.runtime import definitions_of

    with _journal(options.journal) as rn:
        definitions_of.load(options.code)
        try:
            found = rn.check(options.workflow, finished=options.all)
        except LookupError as problem:
            raise RomancyError(str(problem)) from None
    if options.json:
        _print_json(found.dicts())
    else:
        print(found)
    return 0 if found else 1


def _doctor(options: argparse.Namespace) -> int:
    from romancy_nb import doctor

    findings = doctor.examine(options.journal)
    if options.json:
        _print_json(findings.as_dict())
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
    rows = rn.sql("SELECT instance_id FROM instances ORDER BY updated_at DESC").fetchall()
    ids = [row[0] for row in rows]
    part = wanted.removeprefix("…").removesuffix("…")
    if wanted.startswith("…"):  # as messages shorten it
        fitting = [known for known in ids if known.endswith(part)]
    else:
        fitting = [wanted] if wanted in ids else [known for known in ids if known.startswith(part)]
    if not part or not fitting:
        raise InstanceNotFound(
            f"No instance with the id {wanted!r} in this journal. `romancy-nb ls` lists what there is."
        )
    if len(fitting) > 1:
        shown = ", ".join(fitting[:5]) + (", …" if len(fitting) > 5 else "")
        raise InstanceNotFound(f"{len(fitting)} instances fit {wanted!r}: {shown}. Say more of the id.")
    instance: Instance[Any] = rn.instance(fitting[0])
    return instance


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


def _print_json(value: Any) -> None:
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """*value* as JSON has it: times in ISO form, and columns that hold JSON as what they hold."""
    match value:
        case dict():
            return {
                key: _parsed(item) if key in ("input", "output", "error") else _plain(item)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_plain(item) for item in value]
        case str() | int() | float() | None:
            return value
        case other:
            return other.isoformat() if hasattr(other, "isoformat") else str(other)


def _parsed(text: Any) -> Any:
    if not isinstance(text, str):
        return _plain(text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """The list for people: newest first, as the journal gave it."""
    from romancy_nb.clock import now_us
    from romancy_nb.words import age, fit, width

    now = now_us()
    cells = [("ID", "WORKFLOW", "STATUS", "RUN", "LAST EVENT", "NOTEBOOK")]
    for row in rows:
        ago = age(now - round(row["updated_at"].timestamp() * 1_000_000))
        notebook = Path(row["notebook"]).name if row["notebook"] else ""
        cells.append((row["instance_id"], row["workflow"], row["status"], str(row["run"]), ago, notebook))
    widths = [max(width(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(fit(cell, columns) for cell, columns in zip(line, widths, strict=True)).rstrip() for line in cells
    )


if __name__ == "__main__":
    sys.exit(main())
