"""What a run looks like without a kernel: static HTML, a text timeline, and JSON for programs, in one mimebundle."""

from __future__ import annotations

from typing import Any, Final

from romancy_nb.widgets.fallback_html import html
from romancy_nb.widgets.fallback_text import text
from romancy_nb.widgets.history import history_json
from romancy_nb.widgets.layout import Layout
from romancy_nb.widgets.snapshot import Snapshot

__all__ = ["HISTORY_MIME", "history_json", "html", "mimebundle", "text"]

HISTORY_MIME: Final = "application/vnd.romancy.history+json"


def mimebundle(view: Snapshot, *, live: bool = False, pictures: bool = True) -> dict[str, Any]:
    """Return *view* in the three static forms, ready to be displayed and saved.

    Args:
        view: the run.
        live: keep what is true only of the call being shown (``origin_now``). The last update of a display leaves it
            out, so that running a notebook twice saves the same bytes (N7).
        pictures: embed small pictures that steps displayed; a call leaves them out, since they stand above.
    """
    shown = view if live else view.saved()
    layout = Layout(shown)
    return {
        "text/plain": text(shown, layout=layout),
        "text/html": html(shown, pictures=pictures, layout=layout),
        HISTORY_MIME: history_json(shown),
    }
