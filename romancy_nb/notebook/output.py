"""What a call shows in the notebook: the line that says what happened, and the timeline (N8)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from romancy_nb import settings
from romancy_nb.notebook import identity
from romancy_nb.runtime.instance import Instance
from romancy_nb.runtime.observers import Console, Observer

__all__ = ["Card", "observer"]


class Card:
    """A notebook cell: a line first, the timeline at the end."""

    attached = True

    def found(self, instance: Instance[Any], action: str, line: str) -> None:
        self.notice(line)

    def ended(self, instance: Instance[Any], error: BaseException | None) -> None:
        from IPython.display import display

        if not settings.get("show"):
            return
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

    def output(self) -> Callable[[], None] | None:
        """Threads and loops of ours print into the calling cell, not into the one that runs by then (N4).

        ipykernel keeps the cell in a context variable of each stream, which is what it looks at first.
        """
        places = (sys.stdout, sys.stderr, getattr(identity.shell(), "display_pub", None))
        found: list[tuple[ContextVar[Any], Any]] = []
        for place in places:
            variable = getattr(place, "_parent_header", None)
            if isinstance(variable, ContextVar):
                found.append((variable, place.parent_header))  # type: ignore[union-attr]

        def lead() -> None:
            for variable, cell in found:
                variable.set(cell)

        return lead if found else None


class Terminal(Card):
    """IPython in a terminal: the same as text."""

    def ended(self, instance: Instance[Any], error: BaseException | None) -> None:
        if settings.get("show"):
            print(instance.timeline())


def observer() -> Observer:
    """Return who shows a call that is made here."""
    running = identity.shell()
    if running is None:
        return Console()
    return Card() if getattr(running, "kernel", None) is not None else Terminal()
