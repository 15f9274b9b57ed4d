"""An ordinary notebook made durable by one line: activity calls of its cells are steps (R14)."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from romancy_nb import clock, words
from romancy_nb.core.commands import ActivityCommand, Outcome
from romancy_nb.core.ledger import NOTEBOOK, Answer, Asked
from romancy_nb.definitions.ambient import use_cells
from romancy_nb.errors import RunProblem
from romancy_nb.notebook import identity
from romancy_nb.notebook.output import greet
from romancy_nb.runtime import cellcalls, launch
from romancy_nb.runtime.instance import Instance
from romancy_nb.runtime.notebooks import id_of

__all__ = ["close", "durable_notebook", "fresh"]

_executions = itertools.count(1)
_fresh: ContextVar[bool] = ContextVar("romancy_fresh", default=False)
_here: ContextVar[_CellRun | None] = ContextVar("romancy_cell", default=None)
_open: list[_Book] = []
"""The one notebook that is durable in this kernel."""


@dataclass(slots=True, eq=False)
class _CellRun:
    """One execution of a cell, as far as its code has not ended. It is found through the context, so that what a task or
    callback of the cell calls after that, and what threads call, is plain."""

    book: _Book
    key: str
    number: int = field(default_factory=lambda: next(_executions))
    over: bool = False
    answers: list[Answer] = field(default_factory=list)
    _exists: set[str] | None = None

    def call(self, command: ActivityCommand) -> Outcome:
        __tracebackhide__ = True
        return self._took(cellcalls.wait(self.book.instance, self._asked(command)))

    async def call_async(self, command: ActivityCommand) -> Outcome:
        __tracebackhide__ = True
        return self._took(await cellcalls.wait_async(self.book.instance, self._asked(command)))

    def _asked(self, command: ActivityCommand) -> Asked:
        return Asked(self.key, self.number, command, _fresh.get(), self._gone)

    def _took(self, answer: Answer) -> Outcome:
        self.answers.append(answer)
        return answer.outcome

    def _gone(self, cell: str) -> bool:
        """Does no such cell exist any more? Only the saved file can say so."""
        if cell in self.book.executed:
            return False
        if self._exists is None:
            self._exists = _cells_of(self.book.path)
        return bool(self._exists) and cell not in self._exists


class _Book:
    """The notebook while it is durable."""

    def __init__(self, shell: Any, name: str, path: str | None) -> None:
        self.shell = shell
        self.name = name
        self.path = path
        self.instance = id_of(name)
        self.executed: set[str] = set()
        self.current: _CellRun | None = None

    def begin(self, source: str) -> None:
        """A cell begins."""
        found = identity.cell_id()
        key = f"id:{found}" if found else _source_key(source)
        self.executed.add(key)
        self.current = _CellRun(self, key)
        _here.set(self.current)

    def end(self) -> None:
        """The cell has ended."""
        run, self.current = self.current, None
        if run is not None:
            run.over = True
            if run.answers:
                greet(_summary(self.name, run.answers), _lasting(self.name, run.answers))

    # IPython calls these
    def pre_run_cell(self, info: Any) -> None:
        self.begin(str(info.raw_cell))

    def post_run_cell(self, result: Any) -> None:
        self.end()


def durable_notebook(name: str | None = None, *, fresh: bool = False) -> Instance[Any]:
    """Make activity calls of this notebook's cells steps: executed once, and answered from the journal after that.

    A call belongs to the cell that makes it, and is found again by activity, code, inputs and its number among equal calls
    of one execution of the cell. So running a cell again, or all of them in a new kernel, executes what is new.

    Args:
        name: of the notebook in the journal; the stem of its file unless given.
        fresh: begin a new run, in which everything is executed anew.

    Returns:
        The notebook's instance; ``.timeline()`` and ``.steps()`` show what its cells did.

    Raises:
        RunProblem: no name is given and the notebook's file is not known; or this is no notebook.
        RunHeldElsewhere: the notebook is open in another kernel.

    Example:
        >>> rn.durable_notebook()  # doctest: +SKIP
        notebook analysis: new. Activity calls in cells are steps from here on.
    """
    shell = identity.shell()
    if shell is None:
        raise RunProblem(
            "Only a notebook (or IPython) has cells. In a script, make a function that calls the activities a @rn.workflow."
        )
    path = identity.notebook_path()
    if name is None and path is None:
        raise RunProblem("This notebook's file is not known here, so give it a name: %romancy notebook NAME.")
    chosen = name or _free_name(Path(path or "").stem, path)
    head = launch.current().ask(lambda engine: engine.open_notebook(chosen, path, fresh=fresh))
    known = _open[0] if _open else None
    if known is None or known.name != chosen or known.shell is not shell:
        close()
        book = _Book(shell, chosen, path)
        shell.events.register("pre_run_cell", book.pre_run_cell)
        shell.events.register("post_run_cell", book.post_run_cell)
        _open.append(book)
        use_cells(_cell)
        book.begin(_source_now(shell))
    greet(_opened(chosen, head, fresh), f"notebook {chosen}: activity calls in cells are steps.")
    return Instance(launch.current(), id_of(chosen), NOTEBOOK)


def close() -> None:
    """Make activity calls of cells plain again."""
    use_cells(None)
    while _open:
        book = _open.pop()
        for event, callback in (("pre_run_cell", book.pre_run_cell), ("post_run_cell", book.post_run_cell)):
            with contextlib.suppress(ValueError):
                book.shell.events.unregister(event, callback)
        book.end()


@contextlib.contextmanager
def fresh() -> Iterator[None]:
    """Within this, activity calls of a durable notebook's cells execute although their results are recorded.

    >>> with rn.fresh():  # doctest: +SKIP
    ...     rates = fetch_rates()
    """
    token = _fresh.set(True)
    try:
        yield
    finally:
        _fresh.reset(token)


def _cell() -> _CellRun | None:
    found = _here.get()
    return None if found is None or found.over else found


# -- names and cells ---------------------------------------------------------------------------------------------------


def _free_name(stem: str, path: str | None) -> str:
    """The stem, or with a mark when another notebook of that name, which still exists, has it (R12)."""

    def recorded(engine: Any) -> str | None:
        head = engine.journal.heads([id_of(stem)]).get(id_of(stem))
        if head is None:
            return None
        meta = engine.journal.load(head.run, parts=False)[0].event.meta or {}
        return str(meta.get("notebook") or "") or None

    other = launch.current().ask(recorded)
    if path is None or other is None or _same_file(other, path) or not Path(other).is_file():
        return stem
    marked = f"{stem}-{blake2b(str(Path(path).resolve()).encode(), digest_size=3).hexdigest()}"
    print(f"The name {stem} belongs to {other}, so this notebook is {marked} in the journal.")
    return marked


def _same_file(one: str, other: str) -> bool:
    return Path(one).resolve() == Path(other).resolve()


def _source_key(source: str) -> str:
    return f"src:{blake2b(source.strip().encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def _source_now(shell: Any) -> str:
    """The text of the cell that runs now."""
    try:
        return str(shell.get_parent()["content"]["code"])
    except (AttributeError, KeyError, TypeError):
        history = getattr(shell.history_manager, "input_hist_raw", [])
        return str(history[-1]) if history else ""


def _cells_of(path: str | None) -> set[str]:
    """Keys of the cells in the saved notebook; empty when it cannot be read."""
    try:
        cells = json.loads(Path(path or "").read_text(encoding="utf-8"))["cells"]
        found = set()
        for cell in cells:
            source = cell["source"]
            found.add(_source_key(source if isinstance(source, str) else "".join(source)))
            found.add(f"id:{cell.get('id')}")
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return found


# -- what is said ------------------------------------------------------------------------------------------------------


def _opened(name: str, head: Any, fresh: bool) -> str:
    if head is None:
        return f"notebook {name}: new. Activity calls in cells are steps from here on."
    when = words.moment(head.updated, clock.now_us())
    if fresh:
        return (
            f"notebook {name}: a new run; what was recorded until {when} stays as it is, and everything executes anew."
        )
    return (
        f"notebook {name}: goes on with what was recorded until {when}. A cell that runs again executes only what is new. "
        "To execute everything anew: %romancy notebook --fresh."
    )


def _lasting(name: str, answers: list[Answer]) -> str:
    """The line that stays in the file: it follows from history, however often the cell is run (N7)."""
    took = words.duration(sum(answer.took for answer in answers))
    return f"{name}: {words.count(len(answers), 'step')}, recorded {words.utc(max(answer.at for answer in answers))}, {took}"


def _summary(name: str, answers: list[Answer]) -> str:
    """``analysis: 3 from journal (saved 41 s), 1 executed``."""
    known = [answer for answer in answers if answer.from_journal]
    parts = []
    if known:
        saved = words.duration(sum(answer.took for answer in known))
        parts.append(f"{len(known)} from journal (saved {saved})")
    if len(known) < len(answers):
        parts.append(f"{len(answers) - len(known)} executed")
    return f"{name}: {', '.join(parts)}"
