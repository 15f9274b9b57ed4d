"""A bare page that draws views: what no kernel is needed for is tested here, fast."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from romancy_nb.widgets import modules

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Error, Page

__all__ = ["Canvas"]

_DARK = """:root { --jp-layout-color1: #111; --jp-layout-color2: #212121;
  --jp-content-font-color1: #fff; --jp-content-font-color2: #c2c2c2;
  --jp-border-color1: #616161; --jp-border-color2: #424242; --jp-brand-color1: #64b5f6; color-scheme: dark }"""
_SCRIPT = """
window.romancy = { kinds, timelineSpans, timelineAxis, timelinePieces, duration };
window.asked = [];
window.replies = {};
window.draw = (what, view) => {
  window.shown?.destroy();
  const root = document.querySelector("#root");
  const link = { ask: async (what, given) => {
    window.asked.push([what, given]);
    const reply = window.replies[what];
    if (reply === undefined) throw new Error(`nobody here knows ${what}`);
    if (reply.fails) throw Object.assign(new Error(reply.fails), { problems: reply.problems });
    return reply;
  } };
  window.shown = kinds[what](root, view, link);
};
"""


class Canvas:
    """One page; ``draw`` puts a view on it."""

    def __init__(self, page: Page, room: Path) -> None:
        self.page, self._room = page, room
        self.complaints: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", self._failed)

    def _said(self, said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            self.complaints.append(said.text)

    def _failed(self, error: Error) -> None:
        self.complaints.append(str(error))

    def leave(self) -> None:
        """Let the page go, for another test."""
        self.page.remove_listener("console", self._said)
        self.page.remove_listener("pageerror", self._failed)

    def load(self, *, dark: bool = False, width: int = 980, height: int = 900) -> None:
        """Begin with an empty page."""
        self.page.set_viewport_size({"width": width, "height": height})
        styles = modules.styles(*modules.TIMELINE_STYLES)
        script = modules.module(*modules.TIMELINE) + _SCRIPT
        theme = f"{_DARK} body {{ background: #111 }}" if dark else "body { background: #fff }"
        self.page.set_content(
            f"<!doctype html><html lang=en><head><title>drawn</title><style>{theme}{styles}</style></head>"
            f'<body data-jp-theme-light="{"false" if dark else "true"}"><main><button id=before>before</button>'
            f'<div id=root></div></main><script type="module">{script}</script></body></html>'
        )
        self.page.wait_for_function("() => window.draw !== undefined")

    def draw(self, view: dict[str, Any], what: str = "timeline", **replies: Any) -> None:
        """Draw *view*; what is asked of the kernel is answered from *replies*, and kept in ``asked``."""
        # as one text: playwright takes seconds for ten thousand rows
        self.page.evaluate(
            """text => {
                const it = JSON.parse(text);
                [window.replies, window.asked] = [it.replies, []];
                window.draw(it.what, it.view);
            }""",
            json.dumps({"what": what, "view": view, "replies": replies}),
        )

    def update(self, **delta: Any) -> None:
        """Tell what is drawn a change, as a kernel does."""
        whole = {"set": {}, "rows": {}, "order": None, "append": None, "gone": None, **delta}
        self.page.evaluate("delta => window.shown.update(delta)", whole)

    def asked(self) -> list[list[Any]]:
        """Return what was asked of the kernel."""
        found: list[list[Any]] = self.page.evaluate("() => window.asked")
        return found

    def picture(self, name: str) -> Path:
        """Save what the page looks like, where ``ROMANCY_SCREENSHOTS`` says, and return where."""
        folder = Path(os.environ.get("ROMANCY_SCREENSHOTS", "") or self._room)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        self.page.screenshot(path=str(path))
        return path
