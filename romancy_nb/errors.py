"""Every error a person can meet, in one tree.

::

    RomancyError                      anything this package says no to
    +-- DefinitionError               a decorator was used wrongly
    +-- WrongArguments                a call does not fit the function's signature or annotations
    +-- WrongPlace                    a call on the wrong thread, loop or side of a workflow
    +-- UnawaitedCall                 an activity call whose coroutine was never awaited (C1)
    +-- NotJournalable                a value that no codec can keep
    +-- CannotRestore                 a journaled value that no longer fits what is defined here
    +-- InstanceNotFound              no instance with that id in this journal
    +-- InputsDiffer                  one instance id, two different inputs
    +-- ChildCycle                    a workflow would be its own child, or stands too deep below another (R13)
    +-- RunProblem                    a run that cannot give a result now
    |   +-- RunPaused                 it stopped on purpose and resumes on request
    |   +-- RunStuck                  its code no longer fits its history
    |   +-- RunCancelled              somebody cancelled it
    |   |   +-- RunTimedOut           it took longer than its ``timeout=`` (also a TimeoutError)
    |   +-- CompensationFailed        a compensation gave up: a person decides
    |   +-- RunHeldElsewhere          another live process owns it
    |   +-- InstanceEnded             it has ended, so it awaits nothing any more
    +-- RowsFailed                    rows of a map failed; the same call tries them again
    +-- EventRefused                  an event does not fit what awaits it
    |   +-- AlreadyAnswered           the question has an answer
    +-- HistoryMismatch               what parted code and history, with the diff (C6)
    +-- ActivityError                 an activity's error whose own class cannot be rebuilt here (E2, E3)
    +-- TerminalError                 raise it in an activity: never retried
    +-- SessionError                  an activity asks its database session for what that does not do
    +-- AttemptTimeout                an attempt took longer than ``timeout=`` (also a TimeoutError)
    +-- JournalError                  the database
        +-- JournalBusy               another process holds the file
        +-- JournalNewer              written by a newer romancy_nb
        +-- NotAJournal               the file is something else
        +-- JournalDamaged            the file cannot be read
        +-- JournalUnwritable         read-only folder, full disk

    RunInterrupted (KeyboardInterrupt)   Stop: the run is paused durably
    AwaitInterrupted (asyncio.CancelledError)   the same for a cell that awaits
    RunRecurs (BaseException)            the code goes on in a new run (``rn.recur``)
    Waiting (BaseException)              the notice with which a cell ends while its run waits for something outside (N5)
    RunPutDown (BaseException)           tells code of an execution that was put down to let go (X3)

``RunPutDown`` is a ``BaseException`` because user code that says ``except Exception`` around a wait must not swallow it:
suspending is not a failure. ``RunInterrupted`` is a ``KeyboardInterrupt`` because that is what Stop means to a notebook.

In IPython each shows itself as one paragraph through ``_render_traceback_`` instead of a traceback through our frames.
"""

from __future__ import annotations

import asyncio
import linecache
import textwrap
from collections.abc import Sequence
from typing import Any

__all__ = [
    "ActivityError",
    "AlreadyAnswered",
    "AttemptTimeout",
    "AwaitInterrupted",
    "CannotRestore",
    "ChildCycle",
    "CompensationFailed",
    "DefinitionError",
    "EventRefused",
    "HistoryMismatch",
    "InputsDiffer",
    "InstanceEnded",
    "InstanceNotFound",
    "JournalBusy",
    "JournalDamaged",
    "JournalError",
    "JournalNewer",
    "JournalUnwritable",
    "NotAJournal",
    "NotJournalable",
    "RomancyError",
    "RowsFailed",
    "RunCancelled",
    "RunHeldElsewhere",
    "RunInterrupted",
    "RunPaused",
    "RunProblem",
    "RunPutDown",
    "RunRecurs",
    "RunStuck",
    "RunTimedOut",
    "SessionError",
    "TerminalError",
    "UnawaitedCall",
    "Waiting",
    "WrongArguments",
    "WrongPlace",
]


def paragraph(error: BaseException) -> list[str]:
    """Return *error* as the lines of one readable paragraph: its name, then its message wrapped at 100 columns."""
    lines: list[str] = []
    for part in f"{type(error).__name__}: {error}".splitlines():
        lines.extend(textwrap.wrap(part, 100, break_long_words=False, replace_whitespace=False) or [""])
    return lines


def places(error: BaseException) -> list[str]:
    """Return the lines of the person's functions that led to *error*, each as one line of text; the cell itself is left out."""
    found: list[str] = []
    traceback = error.__traceback__
    while traceback is not None:
        code, number = traceback.tb_frame.f_code, traceback.tb_lineno
        room = str(traceback.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if room not in {"romancy_nb", "IPython", "asyncio", "greenlet"} and code.co_name != "<module>":
            found.append(f"  in {code.co_name}, line {number}: {linecache.getline(code.co_filename, number).strip()}")
        traceback = traceback.tb_next
    return found


class RomancyError(Exception):
    """Base of every error of this package. Its message says what happened, where, and what to do next."""

    def _render_traceback_(self) -> list[str]:
        return [*paragraph(self), *places(self)]


class DefinitionError(RomancyError, TypeError):
    """A decorator was used wrongly."""


class WrongArguments(RomancyError, TypeError):
    """A call does not fit the function's signature or its annotations."""


class WrongPlace(RomancyError, RuntimeError):
    """A call was made on the wrong thread, the wrong loop, or the wrong side of a workflow."""


class UnawaitedCall(RomancyError):
    """An activity was called in an ``async def`` workflow and its coroutine was never awaited."""


class NotJournalable(RomancyError, TypeError):
    """A value that no codec can keep."""


class CannotRestore(RomancyError, ValueError):
    """A journaled value does not fit what is defined here any more."""


class InstanceNotFound(RomancyError, LookupError):
    """No instance with that id in this journal."""


class InputsDiffer(RomancyError, ValueError):
    """The instance id is taken by the same workflow with other inputs."""


class RunProblem(RomancyError):
    """A run cannot give a result now."""


class RunPaused(RunProblem):
    """The run stopped on purpose; it resumes on request."""


class RunStuck(RunProblem):
    """The run's code no longer fits its history. Nothing is lost."""


class RunCancelled(RunProblem):
    """The run was cancelled."""


class RunTimedOut(RunCancelled, TimeoutError):
    """The run took longer than the ``timeout=`` of its workflow, and was cancelled."""


class CompensationFailed(RunProblem):
    """A compensation failed and its retries are used up: the rest of the undo waits for a person."""


class RunHeldElsewhere(RunProblem):
    """Another live process owns the run."""


class InstanceEnded(RunProblem):
    """The instance has ended, or is being undone: it awaits nothing any more."""


class ChildCycle(RomancyError):
    """A workflow would be a child of itself with the same inputs, or stands too deep below another."""


class RowsFailed(RomancyError):
    """Rows of ``rn.map`` failed. The batch that the call returns lists them; the same call tries them again, alone."""


class EventRefused(RomancyError, ValueError):
    """An event does not fit what the instance awaits.

    Attributes:
        problems: (path of the field, what is wrong with it), where that is known.
    """

    def __init__(self, message: str, problems: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class AlreadyAnswered(EventRefused):
    """The question has an answer; the first one counts."""


class HistoryMismatch(RomancyError):
    """What the code asks for is not what its history holds (C6).

    Attributes:
        expected: what history holds, as a short text, or None.
        asked: what the code asks for now, as a short text, or None.
        what: both sides in one sentence.
    """

    def __init__(self, message: str, *, expected: str | None = None, asked: str | None = None, what: str = "") -> None:
        super().__init__(message)
        self.expected = expected
        self.asked = asked
        self.what = what


class ActivityError(RomancyError):
    """Stands in for an activity's error whose own class cannot be rebuilt here.

    Attributes:
        original: the qualified name of the original class, such as ``"requests.exceptions.HTTPError"``.
    """

    def __init__(self, message: str = "", *, original: str = "") -> None:
        super().__init__(message)
        self.original = original


class TerminalError(RomancyError):
    """Raise it in an activity to fail at once: it is never retried, whatever the retry policy says."""

    @property
    def _render_traceback_(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        # it is the person's own error: IPython shows where it was raised, as it does for any other
        raise AttributeError("_render_traceback_")


class SessionError(RomancyError):
    """An activity asks its database session for what that does not do, or asks too late."""


class AttemptTimeout(RomancyError, TimeoutError):
    """One attempt of an activity took longer than its ``timeout=``."""


class JournalError(RomancyError):
    """Something is wrong with the journal's database."""


class JournalBusy(JournalError):
    """Another process holds the journal file."""


class JournalNewer(JournalError):
    """The journal was written by a newer romancy_nb."""


class NotAJournal(JournalError):
    """The file is not a journal of romancy_nb."""


class JournalDamaged(JournalError):
    """The journal file cannot be read."""


class JournalUnwritable(JournalError):
    """The journal cannot be written: a read-only folder, a full disk."""


class RunInterrupted(KeyboardInterrupt):
    """Stop was pressed: the run is paused durably and the same call goes on from there."""

    def _render_traceback_(self) -> list[str]:
        return paragraph(self)


class AwaitInterrupted(asyncio.CancelledError):
    """Stop was pressed in a cell that awaits: as ``RunInterrupted``, in the form in which a task may end."""

    def _render_traceback_(self) -> list[str]:
        return paragraph(self)


class Waiting(BaseException):
    """The run waits for something outside, so the cell ends here, and "Run All" with it. Nothing is lost (N5).

    The run goes on in the background when what it waits for has come; the same cell, run again, picks it up. A BaseException, so
    that code which handles errors of the work itself does not take it for one.

    Attributes:
        instance_id (str): of the instance.
        questions: what it asks a person, if it does.
    """

    def __init__(self, message: str = "", instance_id: str = "", questions: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.instance_id = instance_id
        self.questions = tuple(questions)

    def _render_traceback_(self) -> list[str]:
        return paragraph(self)


class RunRecurs(BaseException):
    """The code goes on in a new run with a fresh history (``rn.recur``): this one ends here.

    It is a BaseException so that ``except Exception`` lets it pass. Code that swallows it gets it again at its next call.
    """

    def __init__(self, request: Any, code: str, reads: dict[str, str], compensations: str) -> None:
        super().__init__("the workflow goes on in a new run")
        self.request = request
        self.code = code
        self.reads = reads
        self.compensations = compensations


class RunPutDown(BaseException):
    """This execution of the run was put down; whatever its code still asks for does not happen (X3).

    It is a BaseException so that ``except Exception`` around a wait lets it pass.
    """
