"""Which notebook and cell is this: recorded as provenance, never used as a key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

__all__ = ["cell_id", "folder", "notebook_path", "shell"]


def shell() -> Any:
    """Return the running IPython shell, or None."""
    import sys

    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def notebook_path() -> str | None:
    """Return the notebook's path, where the frontend tells: VS Code's variable, the server's, or ours for headless runs."""
    running = shell()
    if running is None:
        return None
    for found in (
        os.environ.get("ROMANCY_NOTEBOOK"),
        running.user_ns.get("__vsc_ipynb_file__"),
        os.environ.get("JPY_SESSION_NAME"),
    ):
        if isinstance(found, str) and found.endswith(".ipynb"):
            return str(folder() / found)  # a relative path is meant from where the kernel began
    return None


def folder() -> Path:
    """Return the folder that the kernel began in, whatever ``%cd`` did since (D4)."""
    began = getattr(shell(), "starting_dir", None)
    return Path(began) if isinstance(began, str) and Path(began).is_dir() else Path.cwd()


def cell_id() -> str | None:
    """Return the id of the cell that runs, where the frontend sends one (nbclient and papermill do not)."""
    running = shell()
    try:
        found = running.get_parent()["metadata"].get("cellId")
    except (AttributeError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None
