"""``romancy-nb doctor``: what somebody who helps you would ask for, found without starting or changing anything.

``examine()`` returns the findings as data; the command line prints them. The journal is not opened while somebody holds
it, and none is made where there is none.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from romancy_nb import __version__
from romancy_nb.errors import RomancyError

__all__ = ["Findings", "examine", "where_is_the_journal"]

_NEEDED: Final = ("duckdb", "greenlet", "pydantic")
_OPTIONAL: Final = (
    *("ipykernel", "ipython", "jupyter_client", "jupyterlab", "notebook", "nbclient", "nbformat"),
    *("anywidget", "ipywidgets", "pandas", "polars", "pyarrow", "numpy", "pillow"),
)
_TOLD_BY_FRONTENDS: Final = ("ROMANCY_JOURNAL", "JPY_SESSION_NAME", "JPY_PARENT_PID", "VSCODE_PID", "COLAB_RELEASE_TAG")
_NETWORK: Final = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "fuse.sshfs",
    "lustre",
    "gpfs",
    "ceph",
    "glusterfs",
    "afs",
)


@dataclass(slots=True)
class Findings:
    """What was found: sections of named facts, what may become a problem, and what is one."""

    sections: dict[str, dict[str, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able data."""
        return {**self.sections, "warnings": self.warnings, "problems": self.problems}

    def __str__(self) -> str:
        lines: list[str] = []
        for title, facts in self.sections.items():
            lines.append(title)
            width = max((len(name) for name in facts), default=0)
            lines += [f"  {name:<{width}}  {value}" for name, value in facts.items()]
        told = [f"Problem: {text}" for text in self.problems] + [f"Warning: {text}" for text in self.warnings]
        return "\n".join([*lines, "", *(told or ["Nothing is wrong."])])


def examine(journal: str | None = None) -> Findings:
    """Look at this installation, at the journal that would be used here (or *journal*), and at what Jupyter tells."""
    findings = Findings()
    findings.sections["romancy_nb"] = {
        "version": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
    }
    findings.sections["packages"] = dict(_packages(findings.problems))
    findings.sections["journal"] = dict(_about_journal(journal, findings))
    findings.sections["kernels"] = dict(_kernels())
    findings.sections["frontend"] = dict(_frontend())
    return findings


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _packages(problems: list[str]) -> Iterator[tuple[str, str]]:
    for name in _NEEDED:
        version = _version(name)
        if version is None:
            problems.append(f"{name} is missing. Install it with: pip install {name}")
        yield name, version or "missing"
    for name in _OPTIONAL:
        if version := _version(name):
            yield name, version


def where_is_the_journal(given: str | None) -> tuple[Path | str, str]:
    """Return the journal's file, whether it exists or not, and why it is that one. A text is a URL."""
    from romancy_nb.journal.locate import named_journal
    from romancy_nb.runtime import launch

    if given is not None:
        return named_journal(given, "").path, "named with --journal"
    found = launch.location() if launch.connected() is not None else launch.chosen(None)
    return found.path, found.why


def _about_journal(given: str | None, findings: Findings) -> Iterator[tuple[str, str]]:
    path, why = where_is_the_journal(given)
    if not isinstance(path, Path):
        findings.problems.append(f"The journal is {why} as a URL. This version knows files only.")
        return
    yield "file", str(path)
    yield "why there", why
    if (kind := file_system(path)) is not None:
        yield "file system", kind
        if kind in _NETWORK:
            findings.warnings.append(
                f"The journal is on {kind}: file locks of network file systems cannot be relied upon."
            )
    if not path.exists():
        yield "size", "not there yet: it is made when romancy_nb is first used here"
        return
    yield "size", f"{path.stat().st_size / 1e6:.1f} MB"
    holder = holder_of(path)
    yield "held by", holder or "nobody"
    if holder is None or _is_ours(path):
        yield from _inside(path, findings.problems)


def _inside(path: Path, problems: list[str]) -> Iterator[tuple[str, str]]:
    """Open the journal, which nobody else holds, as any user of it would."""
    import romancy_nb as rn
    from romancy_nb.journal.migrate import latest

    already = _is_ours(path)
    try:
        if not already:
            rn.connect(str(path))
        try:
            rows = rn.sql("SELECT status, count(*) FROM instances GROUP BY status ORDER BY status").fetchall()
        finally:
            if not already:
                rn.disconnect()
    except RomancyError as problem:
        problems.append(f"The journal cannot be opened. {problem}")
    else:
        yield "schema", f"version {latest()}"  # whatever it was, connecting has brought it up to ours
        yield "instances", ", ".join(f"{count} {status}" for status, count in rows) or "none"


def _is_ours(path: Path) -> bool:
    """Is this the journal that this process works with?"""
    from romancy_nb.runtime import launch

    return launch.connected() is not None and launch.location().path == path


def holder_of(path: Path) -> str | None:
    """Who holds the journal at *path* at this moment, in words; None when nobody does.

    Who holds it says so in the lock file. One who was killed could not take that back, so the process is looked for.
    """
    from romancy_nb.journal.locking import FileLock

    facts = FileLock(path, {}).read_holder()
    if not facts or not _exists(facts.get("pid")):
        return None
    notebook = f", notebook {facts['notebook']}" if facts.get("notebook") else ""
    return f"process {facts['pid']}{notebook}"


def _exists(pid: object) -> bool:
    """Is there such a process? In doubt, yes."""
    if not isinstance(pid, int) or sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def file_system(path: Path) -> str | None:
    """The kind of file system that *path* is or would be on, where the system tells (Linux)."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8")
    except OSError:
        return None
    existing = next(parent for parent in (path, *path.parents) if parent.exists()).resolve()
    best: tuple[int, str | None] = (-1, None)
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ")
        # later lines lie over earlier ones, so of equal mount points the last is the one that is seen
        if existing.is_relative_to(point) and len(point) >= best[0]:
            best = (len(point), after.split()[0])
    return best[1]


def _kernels() -> Iterator[tuple[str, str]]:
    """The kernels that Jupyter would offer."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager
    except ImportError:
        yield "none", "jupyter_client is not installed here"
        return
    for name, spec in sorted(KernelSpecManager().get_all_specs().items()):
        command = spec["spec"]["argv"][0] if spec["spec"]["argv"] else ""
        # by path and not by file: the pythons of all environments are links to one and the same
        same = command in ("python", "python3") or Path(command).absolute() == Path(sys.executable).absolute()
        yield name, f"{command} (this Python)" if same else command
    if not KernelSpecManager().find_kernel_specs():
        yield "none", "no kernel is installed: pip install ipykernel"


def _frontend() -> Iterator[tuple[str, str]]:
    """Where this runs, as far as frontends tell: a kernel sees what its Jupyter set."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    yield "runs in", f"IPython ({type(shell).__name__})" if shell is not None else "a plain Python process"
    for name in _TOLD_BY_FRONTENDS:
        if value := os.environ.get(name):
            yield name, value
