"""A comparison in a notebook: where a page looks it comes to life, like a timeline (N7)."""

from __future__ import annotations

from typing import Any

from romancy_nb.widgets import compare as of_widgets

__all__ = ["compare", "provider"]


def _engine() -> Any:
    from romancy_nb.runtime import launch

    return launch.current()


provider = of_widgets.Provider(_engine)
"""Answers the pages of this kernel that show a comparison."""


class _Shown(of_widgets.Comparison):
    """A comparison that tells the pages of this kernel when it is displayed."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from romancy_nb.notebook import pages

        pages.look()
        return super()._repr_mimebundle_(include, exclude)


def compare(one: Any, other: Any = None) -> of_widgets.Comparison:
    """Compare two instances, or two runs of one. See ``Instance.diff``."""
    return _Shown.of(one, other)
