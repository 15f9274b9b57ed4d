"""What a call shows in the notebook: the line that says what happened, and the timeline (N8)."""

from __future__ import annotations

import sys
from typing import Any

from romancy_nb.notebook import identity
from romancy_nb.notebook.outlet import CellOutlet
from romancy_nb.runtime import streams
from romancy_nb.runtime.instance import Instance
from romancy_nb.runtime.observers import Console, Observer, Outlet

__all__ = ["Card", "observer"]


class Card:
    """A notebook cell: a line first, the timeline at the end."""

    attached = True

    def found(self, instance: Instance[Any], action: str, line: str) -> None:
        self.notice(line)

    def ended(self, instance: Instance[Any], error: BaseException | None) -> None:
        from IPython.display import display

        try:
            display(instance.timeline()._repr_mimebundle_(), raw=True)  # type: ignore[no-untyped-call]
        except Exception as problem:
            # the timeline is never worth the result
            self.notice(f"(The timeline cannot be shown: {problem})")

    def notice(self, line: str) -> None:
        sys.stdout.write(f"{line}\n")  # in one piece: activities print from other threads
        sys.stdout.flush()

    def provenance(self) -> tuple[str | None, str | None]:
        return identity.notebook_path(), identity.cell_id()

    def output(self) -> Outlet | None:
        """Threads and loops of ours print into the calling cell, not into the one that runs by then (N4)."""
        streams.attach_publisher(getattr(identity.shell(), "display_pub", None))
        return CellOutlet()


class Terminal(Card):
    """IPython in a terminal: the same as text."""

    def ended(self, instance: Instance[Any], error: BaseException | None) -> None:
        print(instance.timeline())

    def output(self) -> Outlet | None:
        streams.attach_publisher(getattr(identity.shell(), "display_pub", None))
        return None


def observer() -> Observer:
    """Return who shows a call that is made here."""
    running = identity.shell()
    if running is None:
        return Console()
    return Card() if getattr(running, "kernel", None) is not None else Terminal()
