"""``romancy-nb run``: a notebook executed without a frontend, which may stop where it waits for somebody, and goes on later.

Cells are executed one after the other by nbclient, in a kernel of their own. When one ends with ``rn.Waiting`` the notebook is
saved so far, the kernel goes, and nothing of it is lost: executed once more, what completed is answered from the journal, and
the cell goes on with what has come meanwhile.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from romancy_nb import doors
from romancy_nb.errors import RomancyError

__all__ = ["Outcome", "run", "told"]

_INTERRUPTS: Final = frozenset({"RunInterrupted", "KeyboardInterrupt", "AwaitInterrupted", "CancelledError"})
_ASK: Final = "__import__('romancy_nb.headless.run', fromlist=['told']).told()"
"""What is asked of the kernel whose cell waits."""


@dataclass(slots=True)
class Outcome:
    """How it ended.

    Attributes:
        notebook: where it was saved.
        status: completed, waiting, failed or interrupted.
        cell: number of the code cell at which it stopped, from 1; 0: it did not.
        says: what happened there.
        waits: what is waited for, and how it is brought.
        again: the command that goes on.
    """

    notebook: str
    status: str
    cell: int = 0
    says: str = ""
    waits: list[str] = field(default_factory=list)
    again: str = ""

    @property
    def code(self) -> int:
        """The exit code."""
        return {"completed": 0, "waiting": doors.TEMPFAIL, "interrupted": 130}.get(self.status, 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the same for programs."""
        return {
            "notebook": self.notebook,
            "status": self.status,
            "cell": self.cell,
            "says": self.says,
            "waits_for": self.waits,
        }

    def __str__(self) -> str:
        match self.status:
            case "completed":
                return f"{self.notebook}: all cells have run."
            case "waiting":
                return "\n".join(
                    [f"{self.notebook} waits in code cell {self.cell}:", *self.waits, f"Then: {self.again}"]
                )
            case "interrupted":
                return f"{self.notebook} was stopped in code cell {self.cell}. {self.says}\nGo on with: {self.again}"
            case _:
                where = f" in code cell {self.cell}" if self.cell else ""
                return f"{self.notebook} failed{where}. {self.says}"


def run(
    notebook: Path, output: Path | None = None, *, journal: str | None = None, kernel: str | None = None
) -> Outcome:
    """Execute *notebook* in a kernel of its own, in its folder, and save it.

    The first Ctrl-C is the Stop button: the cell that runs pauses its run durably. The second one ends the kernel.

    Args:
        notebook: the file.
        output: where to save it executed; None: in place.
        journal: the journal's file; None: as the notebook itself finds it.
        kernel: name of an installed kernel; None: this Python.

    Raises:
        RomancyError: the file is no notebook, or what executes notebooks is not installed.
    """
    try:
        import nbformat

        from romancy_nb.headless.kernel import execute
    except ModuleNotFoundError as missing:
        raise RomancyError(
            f'Executing a notebook needs {missing.name}: install the extra "demo", romancy_nb[demo].'
        ) from None
    if not notebook.is_file():
        raise RomancyError(f"There is no notebook {notebook}.")
    try:
        book: Any = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call, unused-ignore]
    except Exception as error:  # what nbformat raises for a file that is none differs
        raise RomancyError(f"{notebook} is no notebook: {type(error).__name__}: {str(error)[:200]}") from None
    env = {name: value for name, value in os.environ.items() if not name.startswith("JPY_")}
    env["ROMANCY_NOTEBOOK"] = str(notebook.resolve())
    if journal is not None:
        env["ROMANCY_JOURNAL"] = str(Path(journal).resolve())
    outcome = Outcome(str(output or notebook), "completed")
    words = ["romancy-nb", "run", str(notebook)]
    for name, value in (("--output", output), ("--kernel", kernel), ("--journal", journal)):
        words += [name, str(value)] if value is not None else []
    outcome.again = shlex.join(words)
    stopped = execute(book, notebook.resolve().parent, env, kernel, _ASK)
    if stopped is not None:
        outcome.status = _status(stopped.name, stopped.by_hand)
        outcome.cell, outcome.says = stopped.cell, stopped.says
        if outcome.status == "waiting":
            outcome.waits = _from_kernel(stopped.answer, journal)
    _save(book, output or notebook)
    return outcome


def _status(name: str, by_hand: bool) -> str:
    if name == "Waiting":
        return "waiting"
    return "interrupted" if by_hand or name in _INTERRUPTS else "failed"


def _from_kernel(answer: str, journal: str | None) -> list[str]:
    """Return what is waited for, in lines that name the journal where this shell would take another one."""
    try:
        found = json.loads(ast.literal_eval(answer))
    except (ValueError, SyntaxError):  # the kernel has gone
        return []
    named = doors.named(Path(found["journal"]), journal)
    where = f" --journal {shlex.quote(named)}" if named else ""
    return [f"{line}{where}" if line.lstrip().startswith("romancy-nb ") else line for line in found["waits"]]


def told() -> str:
    """Return what the runs of this kernel wait for, as JSON. Called in the kernel whose cell waits."""
    from romancy_nb.runtime import awaited, launch

    found = launch.current().ask(awaited.standing)
    here = [each for each in found if each.owner == "here"]
    return json.dumps({"journal": str(launch.location().path), "waits": doors.waits(here, None)})


def _save(book: Any, path: Path) -> None:
    """Replace the file at once or not at all."""
    import nbformat

    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        nbformat.write(book, beside)  # type: ignore[no-untyped-call, unused-ignore]
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise RomancyError(f"{path} cannot be saved: {error}.") from None
