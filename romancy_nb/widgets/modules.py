"""The browser's modules: put together from the files of ``static/``, as they stand, without a build step.

A front-end is handed one text as an ES module, so files cannot import each other. Instead they are put one after another, those
that others use first. The head of a file may say

- ``// gives: make, fresh``: the names that later files may use; everything else in the file is its own affair. A file without such
  a line (the last of a module, which exports it) stands open.

Nothing is fetched, minified or changed but for that, so what a browser's debugger shows is what stands here.
"""

from __future__ import annotations

import functools
import re
from importlib.resources import files
from typing import Final

__all__ = ["FORM", "FORM_STYLES", "HUB", "MORE", "TIMELINE", "TIMELINE_STYLES", "module", "more", "styles"]

FORM: Final = ("dom.js", "fields.js", "form.js")
"""The live form of a question by itself."""
FORM_STYLES: Final = ("form.css",)
TIMELINE: Final = (
    "dom.js",
    "fields.js",
    "timeline_axis.js",
    "timeline_store.js",
    "timeline_rows.js",
    "timeline_zoom.js",
    "timeline_keys.js",
    "timeline_head.js",
    "timeline_values.js",
    "timeline_details.js",
    "timeline.js",
)
"""What draws a timeline, without what connects it to a kernel: that comes after these, last."""
TIMELINE_STYLES: Final = ("tokens.css", "form.css", "timeline.css")
HUB: Final = (*TIMELINE, "hub.js")
"""What every page is given: timelines, and what connects displays to a kernel."""
MORE: Final = frozenset({"instances", "compare"})
"""Kinds of displays whose drawing is fetched when a page has the first of them: ``instances.js`` and its style sheet, and so on."""

_GIVES: Final = re.compile(r"^// gives: (.+)\n", re.MULTILINE)
_HEAD: Final = re.compile(r"\A// module:[^\n]*\n")


@functools.cache
def module(*names: str) -> str:
    """Return the files *names* of ``static/`` as one ES module, in this order."""
    return "\n".join(_closed(_text(name)) for name in names)


@functools.cache
def styles(*names: str) -> str:
    """Return the style sheets *names* of ``static/`` as one."""
    return "\n".join(_text(name) for name in names)


def more(what: str) -> dict[str, str]:
    """Return the module that draws the displays of a kind of ``MORE``, whose default export is ``kinds``, and its styles."""
    return {
        "text": module("dom.js", f"{what}.js") + "\nexport default kinds;\n",
        "styles": styles("tokens.css", f"{what}.css"),
    }


def _text(name: str) -> str:
    return (files("romancy_nb.widgets") / "static" / name).read_text("utf-8")


def _closed(text: str) -> str:
    """Keep what a file does not give to others out of their way."""
    text = _HEAD.sub("", text)
    given = ", ".join(name.strip() for found in _GIVES.findall(text) for name in found.split(",") if name.strip())
    return f"const {{ {given} }} = (() => {{\n{text}\nreturn {{ {given} }};\n}})();\n" if given else text
