"""The output of one cell, for what comes from other threads and after the cell has ended (N4).

ipykernel adds a message to the cell that is named in a context variable of the stream or the publisher, and on its other
threads to whichever cell runs just then. So everything here is written in a context of its own, in which these variables
name the cell that made the call.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any

from romancy_nb.notebook import identity
from romancy_nb.runtime import streams

__all__ = ["CellOutlet"]


class CellOutlet:
    """The output of the cell that runs when this is made."""

    def __init__(self) -> None:
        self._streams = {"stdout": sys.stdout, "stderr": sys.stderr}
        self._publisher = getattr(identity.shell(), "display_pub", None)
        self._write = {name: stream.write for name, stream in self._streams.items()}
        self._publish = getattr(self._publisher, "publish", None)
        self._cells: list[tuple[ContextVar[Any], Any]] = []
        for place in (*self._streams.values(), self._publisher):
            variable = getattr(place, "_parent_header", None)
            if isinstance(variable, ContextVar):
                self._cells.append((variable, place.parent_header))  # type: ignore[union-attr]
        self._order = threading.RLock()
        self._last = ""

    # -- what the runtime asks for ----------------------------------------------------------

    def enter(self) -> None:
        for variable, cell in self._cells:
            variable.set(cell)

    def show(self, outputs: list[dict[str, Any]]) -> None:
        for output in outputs:
            kind = output["output_type"]
            if kind == "stream":
                self.prints(output["name"], output["text"])
            else:
                self._in_cell(
                    self._publish,
                    output["data"],
                    output.get("metadata") or {},
                    transient=output.get("transient") or {},
                    update=kind == "update_display_data",
                )

    def prints(self, name: str, text: str) -> None:
        """Write to a stream; what the other one holds back goes first, so that their order in the file is no accident."""
        with self._order:
            if self._last and self._last != name:
                self._in_cell(self._streams[self._last].flush)
            self._last = name
            self._in_cell(self._write[name], text)

    def displays(self, *args: Any, **options: Any) -> None:
        self._in_cell(self._publish, *args, **options)

    def touched(self, capture: Any) -> None:
        pass

    def _in_cell(self, function: Callable[..., Any], *args: Any, **options: Any) -> None:
        def work() -> None:
            self.enter()
            streams.THROUGH.set(True)
            function(*args, **options)

        with self._order:
            Context().run(work)
