"""Which frontend shows this notebook, as far as a display has to know: does what has no view arrive there?

JupyterLab and Notebook 7 load the module of a widget as soon as its comm is opened; the hub needs no more. VS Code and Colab load
it when a view of it is displayed. There each display that lives carries a view of its own beside its static forms, until the last
update, which leaves the view out: what is saved then can be read everywhere (N7).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from romancy_nb.notebook import identity
from romancy_nb.widgets import hub

if TYPE_CHECKING:
    from romancy_nb.widgets.hub import Runs

__all__ = ["VIEW_MIME", "needs_view", "view_of"]

VIEW_MIME: Final = "application/vnd.jupyter.widget-view+json"
_TOLD_BY_VSCODE: Final = ("VSCODE_PID", "VSCODE_CWD", "VSCODE_IPC_HOOK_CLI")


def needs_view() -> bool:
    """Return whether a display lives only where a view of it is shown: in VS Code and in Colab."""
    return _in_colab() or _in_vscode()


def _in_colab() -> bool:
    return "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ


def _in_vscode() -> bool:
    """VS Code names the notebook in the kernel. Its environment alone says little: a terminal of VS Code may run JupyterLab.

    Where a server of Jupyter names its notebook to the kernel, the page is the server's; where no cell has an id, nobody looks.
    """
    running = identity.shell()
    if running is not None and "__vsc_ipynb_file__" in getattr(running, "user_ns", {}):
        return True
    if identity.cell_id() is None or "JPY_SESSION_NAME" in os.environ:
        return False
    return any(name in os.environ for name in _TOLD_BY_VSCODE)


def view_of(anchor: str, runs: Runs) -> tuple[dict[str, Any], Any]:
    """Return what goes beside the static forms of a display so that *anchor* lives there, and the widget; or neither.

    The display's last update is static alone, and the widget is closed then.
    """
    widget = None
    with suppress(Exception):  # a frontend without comms is shown what is static
        widget = hub.view(anchor, runs)
    if widget is None:
        return {}, None
    return {VIEW_MIME: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}}, widget
