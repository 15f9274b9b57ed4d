"""The hub: one connection between a kernel and its pages, for all displays that live (N7).

What is displayed is static and stays so in the file. The hub is a widget's model without a view: its module (``static/hub.js``)
finds in the page what a display says of itself (``data-romancy-live="timeline:order-7"``), and asks here for it. Whoever serves
such an *anchor* sends the whole view, then what changes, as long as a page looks. Without anywidget there is no hub, and displays
stay static.

A kind of anchor is what stands before the first colon; ``serve`` says who answers for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from romancy_nb.errors import EventRefused
from romancy_nb.widgets import modules
from romancy_nb.widgets.live_form import answer_while_busy

__all__ = ["Provider", "Runs", "Send", "connect", "connected", "disconnect", "serve", "view"]

Send = Callable[[dict[str, Any]], None]
"""Sends a message about an anchor to every page. May be called on any thread."""


class Provider(Protocol):
    """Who knows what a kind of anchor shows."""

    def open(self, anchor: str, send: Send) -> bool:
        """A page looks: send the ``whole`` now or soon, then every ``delta``. False: it is not known here.

        A page may ask again for what is open (it was loaded again, or has missed something): it wants the ``whole`` again.
        """
        ...

    def close(self, anchor: str) -> None:
        """No page looks at it any more: send nothing."""

    def ask(self, anchor: str, what: str, arguments: dict[str, Any]) -> Any:
        """Answer a page's question, as JSON; what is raised is told to the person. On a thread of ours: it may take its time."""


class Runs(Protocol):
    """The threads on which messages are handled, so that the kernel is free at once."""

    def soon(self, work: Callable[[], None]) -> None:
        """Call *work* on a thread that may wait for long."""

    def in_order(self, work: Callable[[], None]) -> None:
        """Call *work* after all that was given here before."""


_providers: dict[str, Provider] = {}
_hub: list[Any] = []


def serve(what: str, provider: Provider) -> None:
    """Let *provider* answer for the anchors that begin with *what* and a colon."""
    _providers[what] = provider


def connect(runs: Runs) -> bool:
    """Open the hub of this kernel, unless it is open. False where there is no anywidget: everything stays static.

    Example:
        >>> connect(threads)  # doctest: +SKIP
        >>> display({"text/html": '<div data-romancy-live="timeline:order-7">…</div>'}, raw=True)  # doctest: +SKIP
    """
    made = None if _hub else _class()
    if made is not None:
        _hub.append(made("", runs))
    return bool(_hub)


def connected() -> bool:
    """Is there a hub?"""
    return bool(_hub)


def disconnect() -> None:
    """Close the hub: pages show what is static."""
    while _hub:
        _hub.pop().close()


def view(anchor: str, runs: Runs, still: str = "") -> Any:
    """Return a widget that shows *anchor* by itself, for frontends in which nothing without a view arrives; or None.

    Args:
        anchor: what is shown.
        runs: where a page's messages are handled.
        still: HTML of ours that stands there until a kernel tells, and where none does.
    """
    made = _class()
    return None if made is None else made(anchor, runs, still)


@functools.cache
def _class() -> Any:
    """anywidget and ipywidgets take a while to import, and are not needed where nobody looks."""
    try:
        import anywidget
        import traitlets
    except ImportError:
        return None

    class Hub(anywidget.AnyWidget):
        """What pages and this kernel say to each other about displays."""

        _esm = modules.module(*modules.HUB)
        _css = modules.styles(*modules.TIMELINE_STYLES)
        anchor = traitlets.Unicode("").tag(sync=True)
        still = traitlets.Unicode("").tag(sync=True)

        def __init__(self, anchor: str, runs: Runs, still: str = "") -> None:
            super().__init__(anchor=anchor, still=still)
            self._runs = runs
            self.on_msg(self._heard)
            answer_while_busy(self.comm)

        def _heard(self, _widget: object, message: Any, _buffers: object) -> None:
            if isinstance(message, dict):
                hear(message, self.send, self._runs)

    return Hub


def hear(message: dict[str, Any], send: Send, runs: Runs) -> None:
    """Handle a page's message; at once, as far as this thread is concerned."""
    kind, anchor = message.get("kind"), str(message.get("anchor", ""))
    if kind == "ask":
        runs.soon(lambda: send(_reply(anchor, message)))
    elif kind == "open":
        runs.in_order(lambda: _open(anchor, send))
    elif kind == "close":
        runs.in_order(lambda: _close(anchor, send))
    elif kind == "here":
        runs.in_order(lambda: _still(message.get("anchors")))


def _provider(anchor: str) -> Provider | None:
    return _providers.get(anchor.partition(":")[0])


def _open(anchor: str, send: Send) -> None:
    provider = _provider(anchor)
    known = False
    try:
        known = provider is not None and provider.open(anchor, send)
    finally:
        if not known:
            send({"kind": "gone", "anchor": anchor})


def _close(anchor: str, send: Send) -> None:
    if (provider := _provider(anchor)) is not None:
        provider.close(anchor)
        send({"kind": "closed", "anchor": anchor})  # another page that looks at it asks for it again


def _still(anchors: Any) -> None:
    """A page says what it still shows, for providers that want to know (a page that was closed says nothing)."""
    for anchor in anchors if isinstance(anchors, list) else []:
        told = getattr(_provider(str(anchor)), "here", None)
        if told is not None:
            told(str(anchor))


def _reply(anchor: str, message: dict[str, Any]) -> dict[str, Any]:
    reply: dict[str, Any] = {"kind": "reply", "anchor": anchor, "number": message.get("number"), "problems": []}
    given = message.get("given")  # apart, since what is asked may have a number of its own
    arguments = given if isinstance(given, dict) else {}
    provider, what = _provider(anchor), str(message.get("what", ""))
    try:
        kind = anchor.partition(":")[0]
        if what == "module" and kind in modules.MORE:
            return {**reply, "ok": True, "value": modules.more(kind)}
        if provider is None:
            raise LookupError("This kernel does not know what the display shows. Run its cell again.")
        return {**reply, "ok": True, "value": provider.ask(anchor, what, arguments)}
    except EventRefused as refused:
        return {**reply, "ok": False, "said": str(refused), "problems": [list(each) for each in refused.problems]}
    except Exception as error:  # a person waits for a word, whatever went wrong
        return {**reply, "ok": False, "said": str(error) or type(error).__name__}
