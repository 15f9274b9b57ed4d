"""An instance's timeline as an object that shows itself."""

from __future__ import annotations

from typing import Any

from romancy_nb.clock import now_us
from romancy_nb.widgets import fallback
from romancy_nb.widgets.snapshot import Snapshot, snapshot

__all__ = ["Timeline"]


class Timeline:
    """The newest run of an instance: HTML in a notebook, text in a terminal, JSON for programs.

    Attributes:
        view: the view model that all forms are drawn from.
    """

    def __init__(self, view: Snapshot) -> None:
        self.view = view

    @classmethod
    def of(cls, instance: Any) -> Timeline:
        """Return the timeline of *instance* as its journal has it now."""
        alive = instance.status != "interrupted"
        return cls(snapshot(instance.rows(), now=now_us(), alive=alive))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return fallback.mimebundle(self.view)

    def below_its_output(self) -> dict[str, Any]:
        """Return the same for the end of a call's output, where what the steps displayed has been shown."""
        return fallback.mimebundle(self.view, pictures=False)

    def __str__(self) -> str:
        return fallback.text(self.view)

    __repr__ = __str__
