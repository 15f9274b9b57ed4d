"""Who owns a run, and is it still alive (D3)."""

from __future__ import annotations

import json
import os
import socket
import sys
from functools import cache
from pathlib import Path
from uuid import uuid4

__all__ = ["Owner", "alive", "describe", "my_token"]

Owner = str
"""A token: JSON text of boot id, pid namespace, host, pid, start time of the process, and a number of the engine in it."""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


@cache
def _boot() -> str:
    return _read("/proc/sys/kernel/random/boot_id")


@cache
def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """Start time of a process, which tells it from a later one with the same pid; empty where unknown."""
    stat = _read(f"/proc/{pid}/stat")
    return stat.rpartition(")")[2].split()[19] if stat else ""


def my_token(nonce: str | None = None) -> Owner:
    """Return the token of this process. Each engine in it has its own *nonce*."""
    facts = {
        "boot": _boot(),
        "ns": _pid_namespace(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "start": _start_of(os.getpid()),
        "engine": nonce or uuid4().hex[:8],
    }
    return json.dumps(facts, separators=(",", ":"))


def alive(token: Owner, live_engines: frozenset[str] = frozenset()) -> bool:
    """Is the owner with this token still there?

    "Gone" is concluded from a pid only within the same boot and pid namespace; anything else counts as alive, since a file
    journal is not shared between machines without a person knowing (the lease of a shared journal decides there, D3).

    Args:
        token: as journaled.
        live_engines: nonces of the engines that run in this process.
    """
    try:
        facts = json.loads(token)
    except ValueError:
        return False
    if facts.get("boot") != _boot() or facts.get("host") != socket.gethostname():
        # another boot of this machine is over; another host cannot be asked
        return bool(facts.get("host") != socket.gethostname())
    if facts.get("ns") != _pid_namespace():
        return True
    pid = int(facts.get("pid", 0))
    if pid == os.getpid():
        return facts.get("engine") in live_engines
    return _exists(pid) and _start_of(pid) == facts.get("start", "")


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, pid)
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def describe(token: Owner) -> str:
    """Return "this process", "process 4711 on this machine" or "process 4711 on HOST"."""
    try:
        facts = json.loads(token)
    except ValueError:
        return "an unknown process"
    own = json.loads(my_token())
    if all(facts.get(name) == own[name] for name in ("boot", "ns", "host", "pid", "start")):
        return "this process"
    where = "this machine" if facts.get("host") == socket.gethostname() else str(facts.get("host"))
    return f"process {facts.get('pid')} on {where}"
