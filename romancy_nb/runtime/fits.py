"""Does a workflow's code, as it is defined now, still fit one recorded history (X6)?

The history is played to the code on a thread of its own, where nobody looks. The code itself runs, as on every replay; no
activity and no side effect is executed and nothing is written. Code that does not come back is broken off.
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.core import events as ev
from romancy_nb.core.rehearsal import Rehearsal
from romancy_nb.definitions.activity import activations
from romancy_nb.definitions.sources import is_users_file
from romancy_nb.errors import CannotRestore, HistoryMismatch, RunPutDown
from romancy_nb.payloads.payload import NULL
from romancy_nb.runtime import asking, hosts, starts, streams

if TYPE_CHECKING:
    from romancy_nb.core.commands import Ended
    from romancy_nb.core.events import Event
    from romancy_nb.core.replay import Numbered
    from romancy_nb.definitions.workflow import Workflow

__all__ = ["Verdict", "play"]

SECRET: Final = '{"$redacted":'
LET_GO: Final = 0.3
"""Seconds that code which was broken off has to let go."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How code stands to a history.

    Attributes:
        fits: None when that could not be found out; *says* tells why.
        says: what happens, in one sentence: where they part, or what the code does when history ends.
        history: where they part: what history holds there; or None.
        code: where they part: what the code asks for instead; or None.
        spins: the code did not come back in time.
    """

    fits: bool | None
    says: str
    history: str | None = None
    code: str | None = None
    spins: bool = False


def play(workflow: Workflow[..., Any], digest: str, rows: list[Numbered], seconds: float) -> Verdict:
    """Play a recorded run to *workflow* and say whether they fit.

    Args:
        workflow: in whose code the run is looked at.
        digest: of the run's inputs.
        rows: its history.
        seconds: how long its code may take.
    """
    streams.install()  # what it prints is not to be seen
    host = hosts.ThreadHost("romancy check")
    playing = _Playing(workflow, digest, rows)
    host.put(playing)
    try:
        return playing.reply.get(timeout=seconds)
    except Empty:
        line = _place(host.line())
        gone = _break_off(host, playing)
        then = "It was broken off." if gone else "It cannot be broken off there and goes on in a thread of its own."
        return Verdict(None, f"its code did not come back within {seconds:g} s: it was at {line}. {then}", spins=True)
    finally:
        host.close()


class _Playing:
    """The work of one thread: play, tell, and unwind the code."""

    def __init__(self, workflow: Workflow[..., Any], digest: str, rows: list[Numbered]) -> None:
        self.workflow, self.digest, self.rows = workflow, digest, rows
        self.reply: SimpleQueue[Verdict] = SimpleQueue()
        self.rehearsal: Rehearsal | None = None
        self.over = threading.Event()

    def __call__(self) -> None:
        asking.guard()
        activations(+1)
        try:
            self.reply.put(self._play())
        except BaseException as error:  # a rehearsal never ends this way unless it was broken off
            self.reply.put(Verdict(None, f"it could not be played: {type(error).__name__}: {error}"))
        finally:
            try:
                if self.rehearsal is not None:
                    self.rehearsal.put_down()
            except RunPutDown:
                pass
            finally:
                activations(-1)
                self.over.set()

    def _play(self) -> Verdict:
        payload = self.rows[0][1].payload
        if starts.is_forgotten(self.rows) or payload is None:
            return Verdict(None, "what it recorded was forgotten, so that the same call executes everything anew.")
        inputs = self.workflow.recall(payload, self.digest)
        self.rehearsal = rehearsal = Rehearsal(self.workflow.rehearsal(inputs), self.rows)
        mismatch, ended = rehearsal.play()
        return _judged(self.rows, mismatch, ended, rehearsal.beyond)


def _judged(rows: list[Numbered], mismatch: HistoryMismatch | None, ended: Ended | None, beyond: str) -> Verdict:
    error = ended.error if ended is not None else None
    if isinstance(error, CannotRestore) and (mismatch is None or mismatch.asked is None):
        secret = SECRET in (rows[0][1].payload or NULL).text  # it is gone, and only a call brings it again (D5)
        return Verdict(None if secret else False, str(error), mismatch.expected if mismatch is not None else None)
    if mismatch is not None:
        raised = f", because it raises {_told(error)}" if error is not None and mismatch.asked is None else ""
        return Verdict(False, f"{mismatch.what}{raised}.", mismatch.expected, mismatch.asked)
    last = rows[-1][1]
    if last.kind in ev.RUN_ENDS:
        return _judged_end(last, ended, beyond)
    if error is not None:
        return Verdict(True, f"then it raises {_told(error)}.")
    return Verdict(True, "then it returns its result." if ended is not None else "")


def _judged_end(last: Event, ended: Ended | None, beyond: str) -> Verdict:
    """The run has ended: so has its code to, here."""
    how = "completed" if last.kind == ev.RUN_COMPLETED else "failed"
    if ended is None:
        what = f"asks for {beyond}" if beyond else "goes on waiting"
        return Verdict(False, f"history ends here, {how}; the code {what}.", f"its end: {how}", beyond or None)
    if how == "completed" and ended.error is not None:
        told = _told(ended.error)
        return Verdict(False, f"history holds a result; the code raises {told}.", "its result", f"raises {told}")
    if how == "failed" and ended.error is None:
        return Verdict(True, "it returns a result now, where it failed.")
    if how == "completed" and last.payload is not None and ended.payload is not None and last.payload != ended.payload:
        return Verdict(True, "its result is another one now.")
    return Verdict(True, "")


def _told(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(".")


# -- code that does not come back ----------------------------------------------------------------------------------


def _place(line: str) -> str:
    """Return "file:line" as a person reads it."""
    file, _, number = line.rpartition(":")
    cell = "/ipykernel_" in file or file.startswith("<ipython-input")
    return f"line {number} of the cell" if cell else line


def _break_off(host: hosts.Host, playing: _Playing) -> bool:
    """Stop the code where it is; return whether it let go. Only the user's code is broken into, never ours."""
    if playing.rehearsal is not None:
        playing.rehearsal.break_off()
    for _ in range(3):
        if is_users_file(host.line().rpartition(":")[0]):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(host.ident), ctypes.py_object(RunPutDown))
        if playing.over.wait(LET_GO):
            return True
    return False
