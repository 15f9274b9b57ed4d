"""What running steps report of themselves, for other processes: a small file beside the journal, while something is reported.

Reports are no history (they are not journaled, and a file that is gone takes nothing with it). Whoever looks at a run of another
process, as ``romancy-nb show ID --follow`` does, reads them from the file that the run's owner keeps there. Steps that take less
than a second never touch the disk.
"""

from __future__ import annotations

import json
import logging
import re
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from romancy_nb.runtime import ownership
from romancy_nb.runtime.ownership import Owner

__all__ = ["Report", "ReportFile", "read"]

log = logging.getLogger("romancy_nb")

PACE: Final = 1.0
"""Seconds between two writes."""
_NONCE: Final = re.compile(r"[0-9a-f]{4,32}")
_TEXT: Final = 500
_LARGEST: Final = 5_000_000
_LATEST: Final = 2**63
_UNREADABLE: Final = (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)

Report = tuple[float, float | None, str, int, int, float]
"""How far an activity says it is: done, of how much in all, in words; when it said so, when it first did, and how much was done
then. Times are µs of a clock that only goes on."""


def _file(where: str, owner: Owner) -> Path | None:
    """Where the engine with this token writes; None: the journal is no file, or the token names none."""
    with suppress(ValueError, AttributeError):
        nonce = str(json.loads(owner).get("engine", ""))
        if "://" not in where and _NONCE.fullmatch(nonce):
            return Path(f"{where}.progress-{nonce}")
    return None


class ReportFile:
    """The file of one engine. It is there only while steps report something.

    Args:
        where: the journal's file; nothing is written beside a journal that is none.
        owner: token of the engine, whose nonce names the file.
        reports: returns what is reported now, by run and place.
    """

    def __init__(self, where: str, owner: Owner, reports: Callable[[], dict[int, dict[str, Report]]]) -> None:
        self._path = _file(where, owner)
        self._owner = owner
        self._reports = reports
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def changed(self) -> None:
        """Something is reported. Called as often as anybody likes, on any thread."""
        if self._thread is None and self._path is not None and not self._stop.is_set():
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._main, name="romancy reports", daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """Take the file away; nothing is written any more."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _main(self) -> None:
        written = ""
        while not self._stop.wait(PACE):
            try:
                text = self._text()
                if text and text != written:
                    self._write(text, first=not written)
                    written = text
            except Exception as problem:  # a progress that others do not see is worth no more than this
                log.debug("what steps report is not written: %s", problem)
            with self._lock:
                if not self._reports():
                    self._thread = None
                    break
        if self._path is not None:
            for file in (self._path, self._draft(self._path)):  # of a full disk, the latter is left
                with suppress(OSError):
                    file.unlink(missing_ok=True)

    @staticmethod
    def _draft(path: Path) -> Path:
        return path.with_name(path.name + ".new")

    def _text(self) -> str:
        told = self._reports()
        if not told:
            return ""
        runs = {
            run: {place: [*report[:2], report[2][:_TEXT], *report[3:]] for place, report in steps.items()}
            for run, steps in told.items()
        }
        return json.dumps({"owner": self._owner, "runs": runs})

    def _write(self, text: str, *, first: bool) -> None:
        assert self._path is not None
        if first:
            _sweep(self._path)
        draft = self._draft(self._path)
        draft.write_text(text, "utf-8")
        draft.replace(self._path)


def _sweep(own: Path) -> None:
    """Take away what engines that were killed have left."""
    stem = own.name.rpartition("-")[0]
    for file in own.parent.glob(f"{stem}-*"):
        with suppress(*_UNREADABLE):
            if file.name != own.name and not ownership.alive(_content(file)["owner"]):
                file.unlink(missing_ok=True)


def _content(file: Path) -> Any:
    """Return what stands in such a file, which somebody else may have made."""
    found = file.stat()
    if found.st_size > _LARGEST or not stat.S_ISREG(found.st_mode):  # a pipe would never end
        raise ValueError("no file of ours")
    return json.loads(file.read_text("utf-8"))


def read(where: str, owner: Owner, run: int) -> dict[str, Report]:
    """Return what the steps of a run report that *owner* advances, by place; empty where nothing is known."""
    file = _file(where, owner)
    if file is None:
        return {}
    try:
        steps = _content(file)["runs"].get(str(run), {})
        return {str(place): _report(*told) for place, told in steps.items()}
    except _UNREADABLE:
        return {}  # there is none, or it is not ours


def _report(done: Any, total: Any, text: Any, at: Any, first_at: Any, first_done: Any) -> Report:
    times = int(at), int(first_at)
    if not all(0 <= each < _LATEST for each in times):
        raise ValueError("no times of a clock")
    return float(done), None if total is None else float(total), str(text), *times, float(first_done)
