"""Where the journal is (D4).

In this order: what ``$ROMANCY_JOURNAL`` says; the nearest ``.romancy/`` from the notebook's folder upwards, up to the
root of the repository it lies in; else a new ``.romancy/`` in that folder. Decided once, when the package is first
used: two cells of one notebook must not end up with two journals because a cell changed the working directory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["FILE", "FOLDER", "VARIABLE", "Location", "find_journal", "named_journal", "thrown_away"]

VARIABLE: Final = "ROMANCY_JOURNAL"
FOLDER: Final = ".romancy"
FILE: Final = "journal.duckdb"
_PASSWORD: Final = re.compile(r"^(\w[\w+.-]*://[^:/@]*):[^/]*@")


@dataclass(frozen=True, slots=True, repr=False)
class Location:
    """Where a journal is, or will be.

    Attributes:
        path: the file, absolute; or the URL as it stands, for a shared journal.
        new: True when nothing is there yet.
        why: one clause for people: what made it this one.
    """

    path: Path | str
    new: bool
    why: str

    def __repr__(self) -> str:
        """Say it as a cell shows it whose last line connects."""
        new = "new, " if self.new and not self.why.startswith("new") else ""
        where = _PASSWORD.sub(r"\1:•••@", str(self.path))
        return f"Journal {where} ({new}{self.why})"


def find_journal(start: Path | None, env: Mapping[str, str]) -> Location:
    """Find the journal for a notebook in the folder *start* (None: the working directory).

    Reads the file system, changes nothing. Folders above *start* are searched only inside a repository (something
    called ``.git`` marks its root): a ``.romancy/`` in the home directory must not swallow every project below it.
    """
    named = env.get(VARIABLE, "").strip()
    if named:
        return named_journal(named, f"named by ${VARIABLE}")
    here = (start if start is not None else Path.cwd()).absolute()
    for folder in _searched(here):
        candidate = folder / FOLDER
        if candidate.is_dir():
            why = "this folder's" if folder == here else f"found in {folder}"
            return Location(candidate / FILE, not (candidate / FILE).exists(), why)
    return Location(here / FOLDER / FILE, True, "new in this folder")


def named_journal(named: str, why: str, folder: Path | None = None) -> Location:
    """Return the location that somebody named; a relative path refers to *folder* (None: the working directory)."""
    if "://" in named:
        return Location(named, False, why)
    path = (folder if folder is not None else Path.cwd()).absolute() / Path(named).expanduser()
    if path.is_dir():  # a folder is a natural thing to name; the file in it is meant
        path = path / FILE
    return Location(path, not path.exists(), why)


def _searched(here: Path) -> list[Path]:
    """*here* and, when it lies in a repository, the folders above it up to the repository's root."""
    above: list[Path] = []
    for folder in (here, *here.parents):
        above.append(folder)
        if (folder / ".git").exists():
            return above
    return [here]


_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


def thrown_away(path: Path, env: Mapping[str, str], mounts: str | None = None) -> str | None:
    """Return what is known to throw the disk under *path* away, with what to do; None where nothing is known.

    Args:
        path: of the journal.
        env: the process's environment.
        mounts: the text of ``/proc/mounts``; read here unless given.
    """
    place = str(path)
    if "COLAB_RELEASE_TAG" in env and not place.startswith("/content/drive/"):
        return (
            "Colab throws this disk away with the machine. To keep the journal: from google.colab import drive; "
            "drive.mount('/content/drive'); rn.connect('/content/drive/MyDrive/journal.duckdb')."
        )
    if "BINDER_SERVICE_HOST" in env or "BINDER_LAUNCH_HOST" in env:
        return "Binder throws this disk away with the session: download the journal before you leave."
    if env.get("KAGGLE_KERNEL_RUN_TYPE") and not place.startswith("/kaggle/working"):
        return "Kaggle keeps only /kaggle/working: rn.connect('/kaggle/working/journal.duckdb')."
    if _file_system(path, mounts) in _IN_MEMORY:
        return "This folder is in memory and gone after a restart: rn.connect('a/path/on/disk.duckdb')."
    return None


def _file_system(path: Path, mounts: str | None) -> str:
    """The kind of file system that *path* is on, where Linux tells."""
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        if len(point) >= len(best) and path.is_relative_to(point):
            best, kind = point, fields[2]
    return kind
