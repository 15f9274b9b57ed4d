"""Who may have the journal file: our own lock, and the bell that asks for it (D1, D2).

DuckDB locks its file too, with a POSIX record lock. Such a lock belongs to the *process* and falls as soon as anything
in that process opens and closes the file: a backup tool, ``open(path).read()`` in a cell. A second process then gets
in, and the first one's next checkpoint erases what it wrote, without an error. So ownership is ours: an ``flock`` on a
file that nobody has a reason to open, ``journal.duckdb.lock``, taken before DuckDB opens and given back after it
closed.

Rules of this file:

- In one process the lock file is open at most once at a time; ``_claimed`` sees to it.
- The lock file is never deleted, and after locking we check that its name still leads to what we locked: somebody may
  have removed the whole folder meanwhile.
- It holds one line of JSON about its holder while it is held and nothing otherwise, so that who is refused can say by
  whom.
- Who waits touches ``journal.duckdb.bell``. The holder sees that with one ``os.stat`` between two turns, and lets go.
- Fairness: a holder hears the bell only after ``MIN_HOLD`` (taking and letting go cost 5 ms; a tenth of a second makes it
  worth it), and who let go because of a bell stands back until somebody took the lock, or ``STAND_BACK`` passed.
- After ``os.fork`` the child gives up its copy of the lock without releasing it: the lock is the parent's.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from romancy_nb import clock
from romancy_nb.errors import JournalBusy, JournalError, JournalUnwritable

__all__ = ["MIN_HOLD", "STAND_BACK", "FileLock", "look", "which"]

MIN_HOLD: Final = 0.1
"""Seconds for which a holder does not hear the bell."""
STAND_BACK: Final = 0.05
"""Seconds for which a former holder lets others go first."""
_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.02
_RING_EVERY: Final = 0.05
_WINDOWS_BYTE: Final = 0x7FFF0000  # msvcrt locks a byte range; far behind the text, so that others can read it

_claimed: dict[str, FileLock] = {}  # strong: who is dropped without give_back holds the file still, and is named
_claiming = threading.Lock()

if sys.platform == "win32":  # pragma: no cover - exercised on Windows only
    import msvcrt

    def _try_lock(fd: int) -> bool:
        os.lseek(fd, _WINDOWS_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(fd: int) -> None:
        os.lseek(fd, _WINDOWS_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        # explicitly, not by closing: a forked child that has not run our hook yet shares the description
        fcntl.flock(fd, fcntl.LOCK_UN)


class FileLock:
    """The right to open one journal file. Used from one thread."""

    def __init__(self, journal: Path, holder: Mapping[str, Any]) -> None:
        """
        Args:
            journal: the journal's real path; the lock and the bell stand beside it.
            holder: facts about this process for those who are refused, JSON-able: pid, notebook, since.
        """
        self.journal = journal
        self.path = journal.with_name(journal.name + ".lock")
        self.bell = journal.with_name(journal.name + ".bell")
        self._holder = dict(holder)
        self._fd: int | None = None
        self._since = 0.0
        self._bell_then = 0
        self._left: tuple[int, int] | None = None  # the lock file's stat when we let go for somebody
        self._rang = -_RING_EVERY

    @property
    def held(self) -> bool:
        return self._fd is not None

    def take(self, wait: float | None) -> None:
        """Take the lock, waiting up to *wait* seconds (None: for ever) and ringing meanwhile.

        Raises:
            JournalBusy: another process has it still; says which, since when, and what to do.
            JournalError: another journal object of this very process has it.
            JournalUnwritable: the lock file cannot be made.
        """
        started = clock.monotonic()
        deadline = None if wait is None else started + wait
        self._stand_back(deadline)
        self._claim()
        try:
            pause = _FIRST_PAUSE
            while not self._attempt():
                now = clock.monotonic()
                if deadline is not None and now >= deadline:
                    raise JournalBusy(self._busy(now - started))
                self.ring()
                time.sleep(pause if deadline is None else min(pause, max(deadline - now, 0.0005)))
                pause = min(pause * 1.5, _LONGEST_PAUSE)
        except BaseException:
            self._disown()
            raise
        self._since = clock.monotonic()
        self._bell_then = self._bell_now()

    def give_back(self) -> None:
        """Release the lock. Harmless when it is not held."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        rung = self._bell_now() != self._bell_then
        try:
            os.ftruncate(fd, 0)
            stat = os.fstat(fd)
            self._left = (stat.st_mtime_ns, stat.st_size) if rung else None
            _unlock(fd)
        finally:
            os.close(fd)
            with _claiming:
                if _claimed.get(str(self.journal)) is self:
                    del _claimed[str(self.journal)]

    def wanted(self) -> bool:
        """True when somebody rang since we took the lock, and we have had it for ``MIN_HOLD``. One ``stat``."""
        return clock.monotonic() - self._since >= MIN_HOLD and self._bell_now() != self._bell_then

    def ring(self) -> None:
        """Ask the holder to let go; at most every 50 ms."""
        now = clock.monotonic()
        if now - self._rang < _RING_EVERY:
            return
        self._rang = now
        # a bell that cannot be rung only makes the wait longer; stamps are as coarse as 4 ms, so a ring that falls
        # together with the holder's look is heard the next time
        with suppress(OSError):
            self.bell.touch()

    def abandon(self) -> None:
        """In a forked child: forget the lock, which is the parent's."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def read_holder(self) -> dict[str, Any]:
        """What the lock file says of its holder; empty when nobody says anything."""
        try:
            facts = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    # -- inside ------------------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        with _claiming:
            other = _claimed.get(str(self.journal))
            if other is not None and other is not self:
                raise JournalError(
                    f"This process has the journal {self.journal} open already, through another connection object. "
                    "Use that one, or disconnect it first (rn.disconnect())."
                )
            _claimed[str(self.journal)] = self

    def _disown(self) -> None:
        with _claiming:
            if self._fd is None and _claimed.get(str(self.journal)) is self:
                del _claimed[str(self.journal)]

    def _attempt(self) -> bool:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as error:
            raise JournalUnwritable(
                f"The journal {self.journal} cannot be used: its lock file {self.path.name} cannot be written there "
                f"({error.strerror}). Make the folder writable, or keep the journal elsewhere: "
                "rn.connect('/some/path/journal.duckdb') or the environment variable ROMANCY_JOURNAL."
            ) from error
        try:
            if not _try_lock(fd) or not self._still_there(fd):
                os.close(fd)
                return False
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            os.write(fd, json.dumps(self._holder, default=str).encode() + b"\n")
        except OSError as error:
            os.close(fd)
            raise JournalUnwritable(f"The lock file {self.path} cannot be used: {error.strerror}.") from error
        self._fd = fd
        return True

    def _still_there(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), self.path.stat())
        except FileNotFoundError:
            return False

    def _stand_back(self, deadline: float | None) -> None:
        """After letting go for somebody: give them the time to come in, unless they are in already."""
        left, self._left = self._left, None
        if left is None:
            return
        until = clock.monotonic() + STAND_BACK
        if deadline is not None:
            until = min(until, deadline)
        while clock.monotonic() < until:
            try:
                stat = self.path.stat()
            except OSError:
                return
            if (stat.st_mtime_ns, stat.st_size) != left:
                return
            time.sleep(_FIRST_PAUSE)

    def _bell_now(self) -> int:
        try:
            return self.bell.stat().st_mtime_ns
        except OSError:
            return 0

    def _busy(self, waited: float) -> str:
        facts = self.read_holder()
        who = "another process"
        if facts:
            notebook = facts.get("notebook")
            who = f"{notebook} (process {facts.get('pid', '?')})" if notebook else f"process {facts.get('pid', '?')}"
            if facts.get("since"):
                who += f", running since {facts['since']}"
        return (
            f"The journal {self.journal} is in use by {who}; waited {waited:.1f} s for it. "
            "Nothing is lost. Try again when its cell has finished, or shut that kernel down, or use another journal "
            "here: rn.connect('other.duckdb') or the environment variable ROMANCY_JOURNAL."
        )


def _after_fork() -> None:
    """The child's side of a fork: it owns no journal."""
    global _claiming
    _claiming = threading.Lock()
    for lock in list(_claimed.values()):
        lock.abandon()
    _claimed.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def which(path: Path) -> tuple[int, int] | None:
    """Return which file has the name *path* now; None: none has."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def look(path: Path) -> tuple[Any, ...]:
    """Return what the journal at *path* looks like from outside. ``stat`` does not open it (D1)."""
    seen: list[Any] = []
    for each in (path, Path(f"{path}.wal")):
        try:
            stat = each.stat()
        except OSError:
            seen.append(None)
        else:
            seen.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(seen)
