"""Figures that an activity makes with pyplot: kept apart from everybody else's, captured at its end, and closed (N4).

pyplot has one list of figures and one current figure for the whole process, so activities in threads would draw into each
other's, and IPython's inline backend would show those of all at the end of whichever cell runs. Here each figure is
marked with the attempt that made it, and pyplot's registry shows everybody only his own.
"""

from __future__ import annotations

import io
import sys
from typing import Any

from romancy_nb.runtime.capture import CAPTURE, Capture

__all__ = ["collect", "separate"]

_OWNER = "_romancy_attempt"
_NEEDED = ("figs", "get_active", "get_all_fig_managers", "_set_new_active_manager", "destroy_all", "destroy")


def separate(owner: Capture | None = None) -> bool:
    """Let pyplot's registry, where it is loaded, tell the figures of attempts apart; those there are belong to *owner*.

    Returns whether it does: a pyplot with another registry than we know is left alone. Cheap when it is done.
    """
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    registry = getattr(helpers, "Gcf", None)
    if registry is None:
        return False
    known = vars(registry).get(_OWNER)
    if known is None:
        known = all(hasattr(registry, name) for name in _NEEDED)
        if known:
            _change(registry, owner)
        setattr(registry, _OWNER, known)
    return bool(known)


def _change(registry: Any, owner: Capture | None) -> None:
    get_active, get_all = registry.get_active, registry.get_all_fig_managers
    set_new, destroy_all = registry._set_new_active_manager, registry.destroy_all
    for manager in get_all():
        vars(manager)[_OWNER] = owner

    def mine() -> list[Any]:
        owner = CAPTURE.get()
        return [manager for manager in get_all() if vars(manager).get(_OWNER) is owner]

    def active(cls: Any) -> Any:
        manager = get_active()
        if manager is None or vars(manager).get(_OWNER) is CAPTURE.get():
            return manager
        return next(reversed(mine()), None)

    def new(cls: Any, manager: Any) -> None:
        vars(manager)[_OWNER] = CAPTURE.get()
        taken = registry.figs.get(manager.num)
        if taken is not None and taken is not manager:  # two threads counted at the same moment
            manager.num = max(registry.figs) + 1
        set_new(manager)

    def destroy(cls: Any) -> None:
        own = mine()
        if len(own) == len(registry.figs):
            destroy_all()
        else:
            for manager in own:
                registry.destroy(manager)

    registry.get_active = classmethod(active)
    registry.get_all_fig_managers = classmethod(lambda cls: mine())
    registry._set_new_active_manager = classmethod(new)
    registry.destroy_all = classmethod(destroy)


def collect(capture: Capture) -> None:
    """Capture the figures that the attempt of this context has left open, as PNG, and close them."""
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    # imported by this very attempt, it holds no figures but those of attempts
    if helpers is None or not helpers.Gcf.figs or not separate(capture):
        return
    for manager in helpers.Gcf.get_all_fig_managers():
        figure = manager.canvas.figure
        try:
            picture = io.BytesIO()
            figure.savefig(picture, format="png", bbox_inches="tight")
            # an interactive canvas that was displayed gives way to how it looks in the end
            shown = capture.displayed_as(getattr(manager.canvas, "model_id", None))
            place = {"display_id": shown} if shown else {}
            capture.display({"image/png": picture.getvalue(), "text/plain": repr(figure)}, {}, place, bool(shown))
        except Exception as error:  # a figure that cannot be drawn is no reason to lose the result
            capture.write("stderr", f"A figure of this step cannot be drawn: {error}\n")
        finally:
            helpers.Gcf.destroy(manager)
