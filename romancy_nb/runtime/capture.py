"""What an attempt puts out, kept within limits (N4): streams line by line, displays as they are.

One ``Capture`` belongs to one attempt. The context that the attempt runs in names it, and ``streams`` leads there whatever
is written or displayed in that context. What it holds becomes rows of history. Where the call was made in a notebook, an
``Outlet`` stands for the output of that cell, and a capture shows itself there in one of two ways:

- it *has the floor*, because nothing else of its run executes: each line goes to the cell when it is complete;
- else it is shown when its outcome is delivered. So what a cell holds at the end follows from history alone (N7),
  however the lines of fifty activities were mixed while they ran.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from base64 import b64encode
from collections import deque
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from itertools import groupby
from secrets import token_hex
from typing import Any, Final, NamedTuple

from romancy_nb.payloads.payload import Payload, document
from romancy_nb.runtime.observers import Outlet
from romancy_nb.runtime.screen import Line

__all__ = ["CAPTURE", "LIMIT", "Capture", "Part"]

LIMIT: Final = 256 * 1024
"""Bytes that are kept of an attempt: half from its beginning, half from its end."""
PATIENCE: Final = 0.2
"""Seconds that the engine waits for an attempt that is just writing."""
_LONGEST: Final = 32 * 1024
_HALF: Final = re.compile("[\ud800-\udfff]")
_OURS: Final = "romancy-widget-"
_VIEW: Final = "application/vnd.jupyter.widget-view+json"

Output = dict[str, Any]

CAPTURE: ContextVar[Capture | None] = ContextVar("romancy_capture", default=None)
"""The capture of the attempt that runs in this context."""


class Part(NamedTuple):
    """Outputs on their way to history.

    Attributes:
        payload: what is journaled.
        live: it stands in the cell already.
        shows: what a cell is given, where that is more than what is journaled.
    """

    payload: Payload
    live: bool
    shows: Payload


class Capture:
    """What one attempt has put out since it began.

    Args:
        outlet: the output of the cell that made the call; None: everything goes through at once, as if nobody listened, and
            so it does where the outlet says so.
        floor: nothing else of the run executes, so that lines can go to the cell as they come.
    """

    __slots__ = (
        "_cut",
        "_head",
        "_lines",
        "_lock",
        "_parts",
        "_room",
        "_tail",
        "_tail_size",
        "_through",
        "floor",
        "name",
        "outlet",
        "over",
    )

    def __init__(self, outlet: Outlet | None = None, floor: bool = False, name: str = "") -> None:
        self.outlet = outlet if outlet is not None and not outlet.through else None
        self._through = outlet is not None and outlet.through
        self.floor = (floor and self.outlet is not None) or self._through
        self.name = name
        self.over = False
        self._lock = threading.Lock()
        self._lines: dict[str, Line] = {}
        self._head: list[Output] = []
        self._tail: deque[Output] = deque()
        self._tail_size = 0
        self._cut = 0
        self._room = LIMIT // 2
        self._parts: list[Part] = []

    # -- in the attempt's context ----------------------------------------------------------

    def write(self, name: str, text: str) -> bool:
        """Take *text* for stream *name*. False: it has to go where it would have gone without us, too."""
        text = _whole(text)
        with self._lock:
            if self.over:
                return False
            other = self._lines.get("stderr" if name == "stdout" else "stdout")
            if other is not None and other.text and not other.redrawn:
                self._release(other)
            line = self._lines.get(name)
            if line is None:
                line = self._lines[name] = Line(name)
            done = line.write(text)
            if done:
                self._add_text(name, done)
            if len(line.text) > _LONGEST:
                self._release(line)
        if self.outlet is not None and (line.text or not self.floor):
            self.outlet.touched(self)
        return self.outlet is not None

    def display(
        self, data: Mapping[str, Any], metadata: Mapping[str, Any], transient: Mapping[str, Any], update: bool
    ) -> bool:
        """Take something displayed. False as in ``write``."""
        bundle = {mime: _plain(content) for mime, content in data.items()}
        output: Output = {"output_type": "display_data", "data": bundle, "metadata": _jsonable(metadata)}
        if transient:
            output["transient"] = _jsonable(transient)
        elif _VIEW in bundle and self.outlet is not None:
            output["transient"] = {
                "display_id": f"{_OURS}{token_hex(8)}"
            }  # the widget gives way to its text in the end
        with self._lock:
            if self.over:
                return False
            for line in self._lines.values():
                if line.text and not line.redrawn:
                    self._release(line)
            if not (update and self._replace(output)):
                if update:
                    output["output_type"] = "update_display_data"
                self._add(output, _size(output))
        if self.outlet is not None:
            self.outlet.touched(self)
        return self.outlet is not None

    def displayed_as(self, model: str | None) -> str:
        """Return the id of the display that shows the widget with this model, or nothing."""
        with self._lock:
            found = [o for o in [*self._head, *self._tail] if model and _model(o) == model]
        return str(found[-1].get("transient", {}).get("display_id", "")) if found else ""

    def clear(self) -> bool:
        """Forget what has not been shown yet: ``clear_output`` in an activity clears that, not the whole cell."""
        with self._lock:
            if self.over:
                return False
            self._close_floor()
            self._head, self._cut, self._tail_size = [], 0, 0
            self._tail.clear()
            self._lines.clear()
        if self.outlet is not None:
            self.outlet.touched(self)
        return self.outlet is not None

    # -- for the engine and the dispatcher ----------------------------------------------------------

    def lose_floor(self) -> Part | None:
        """Something else of the run happens now: from here on this is shown with its outcome. Returns what was shown."""
        if not self.floor or not self._lock.acquire(timeout=PATIENCE):
            return None
        try:
            self._close_floor()
            parts, self._parts = self._parts, []
        finally:
            self._lock.release()
        return parts[0] if parts else None

    def move(self, outlet: Outlet | None) -> Part | None:
        """Another cell waits for the attempt now: what comes from here on is shown there. Returns what was shown before."""
        part = self.lose_floor()
        before, self.outlet = self.outlet, outlet if not self._through else None
        if before is not None and before is not self.outlet:
            before.left(self)
        return part

    def take(self) -> list[Part]:
        """Return what was put out so far and not taken before."""
        if not (self._lines or self._head or self._tail or self._parts):
            return []
        with self._lock:
            for line in self._lines.values():
                self._release(line)
            self._lines.clear()
            self._end_part()
            parts, self._parts = self._parts, []
        return parts

    def finish(self) -> list[Part]:
        """The attempt is over: return what is left. What is written from now on goes its own way."""
        parts = self.take()
        self.over = True
        if self.outlet is not None and parts:
            self.outlet.left(self)
        return parts

    def unseen(self) -> list[Output]:
        """Return what stands nowhere in the cell yet, for a live view of it."""
        with self._lock:
            shown = [] if self.floor else [*self._head, *self._note(), *self._tail]
            return _merged([*shown, *(_stream(line.name, line.text) for line in self._lines.values() if line.text)])

    # -- inside, with the lock ----------------------------------------------------------

    def _release(self, line: Line) -> None:
        text = line.take()
        if text:
            self._add_text(line.name, text)

    def _add_text(self, name: str, text: str) -> None:
        size = len(text) if text.isascii() else len(text.encode(errors="replace"))
        if not self._tail and size > self._room > 0:
            head, text = text[: self._room], text[self._room :]
            self._add(_stream(name, head), self._room)
            size = len(text)
        self._add(_stream(name, text), size)

    def _add(self, output: Output, size: int) -> None:
        if not self._tail and size <= self._room:
            self._room -= size
            self._head.append(output)
            if self.floor and self.outlet is not None:
                self.outlet.show([output])
            return
        self._room = 0
        if output["output_type"] != "stream" and size > LIMIT // 2:
            output = {**output, "large": size}
            size = 200
        elif size > LIMIT // 2:
            text = output["text"]
            self._cut += len(text) - LIMIT // 2
            output, size = _stream(output["name"], text[-LIMIT // 2 :]), LIMIT // 2
        self._tail.append({**output, "size": size})
        self._tail_size += size
        while self._tail_size > LIMIT // 2:
            gone = self._tail.popleft()
            self._tail_size -= gone["size"]
            self._cut += gone["size"]

    def _replace(self, output: Output) -> bool:
        """Put an update in the place of what it updates."""
        wanted = output.get("transient", {}).get("display_id")
        for known in [*self._head, *self._tail]:
            if wanted is not None and known.get("transient", {}).get("display_id") == wanted:
                known["data"], known["metadata"] = output["data"], output["metadata"]
                if self.floor and self.outlet is not None:
                    self.outlet.show([{**output, "output_type": "update_display_data"}])
                return True
        return False

    def _close_floor(self) -> None:
        if self.floor:
            if self._head:
                self._parts.append(_part(self._head, True))
            self._head = []
            self.floor = self._through

    def _note(self) -> list[Output]:
        name = next((o["name"] for o in reversed(self._head) if o["output_type"] == "stream"), "stdout")
        return [_stream(name, f"\n… {self._cut:,} bytes of output left out …\n")] if self._cut else []

    def _end_part(self) -> None:
        rest = [*self._note(), *self._tail]
        for output in self._head if self.floor else ():
            if _VIEW in output.get("data", ()) and self.outlet is not None:
                self.outlet.show([{**output, **_without_view(output), "output_type": "update_display_data"}])
        if rest and self.floor and self.outlet is not None:
            self.outlet.show(_merged(map(_shown, rest)))
        if self._head or rest:
            self._parts.append(_part([*self._head, *rest], self.floor))
        self._head, self._cut, self._tail_size = [], 0, 0
        self._tail.clear()


def _stream(name: str, text: str) -> Output:
    return {"output_type": "stream", "name": name, "text": text}


def _merged(outputs: Iterable[Output]) -> list[Output]:
    """Return *outputs* with text of one stream that follows text of the same joined: once, since lines may be many."""
    found: list[Output] = []
    for name, run in groupby(outputs, lambda output: output.get("name")):
        texts = list(run)
        found += texts if name is None else [_stream(name, "".join(output["text"] for output in texts))]
    return found


def _shown(output: Output) -> Output:
    return {key: value for key, value in output.items() if key not in {"size", "large"}}


def _kept(output: Output) -> Output:
    """Return what is journaled of an output: no live widgets, and of what is too large that it was there."""
    if output["output_type"] == "stream":
        return _shown(output)
    output = _without_view(output)
    data = output["data"]
    if "large" in output:
        what = next((mime for mime in data if mime != "text/plain"), "text/plain")
        return _stream("stdout", f"[{what}, {output['large']:,} bytes: shown when it was made, too large to keep]\n")
    return _shown(output)


def _without_view(output: Output) -> Output:
    """A live widget means nothing to the next kernel: what stays is how it looks as text by now."""
    data = {mime: content for mime, content in output["data"].items() if mime != _VIEW}
    widgets = getattr(sys.modules.get("ipywidgets.widgets.widget"), "_instances", {})
    widget = widgets.get(_model(output))
    if widget is not None and "text/plain" in data:
        data["text/plain"] = repr(widget)
    kept = {**output, "data": data}
    if str(output.get("transient", {}).get("display_id", "")).startswith(_OURS):
        del kept["transient"]
    return kept


def _model(output: Output) -> Any:
    return (output.get("data", {}).get(_VIEW) or {}).get("model_id")


def _part(outputs: list[Output], live: bool) -> Part:
    kept, shown = _merged(map(_kept, outputs)), _merged(map(_shown, outputs))
    payload = Payload(document(kept))
    large = any("large" in output for output in outputs)
    return Part(payload, live, Payload(document(shown)) if large and not live else payload)


def _plain(content: Any) -> Any:
    """Binary content as Jupyter sends it."""
    return b64encode(content).decode("ascii") if isinstance(content, bytes) else _jsonable(content)


def _whole(text: str) -> str:
    """Halves of surrogate pairs, as in names of files that are not UTF-8, are text for no file, browser or database."""
    return text if text.isascii() else _HALF.sub("\ufffd", text)


def _jsonable(content: Any) -> Any:
    if isinstance(content, str):
        return _whole(content)
    return json.loads(json.dumps(content, default=str))


def _size(output: Output) -> int:
    return sum(len(c) if isinstance(c, str) else len(json.dumps(c)) for c in output["data"].values())
