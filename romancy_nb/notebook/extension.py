"""``%load_ext romancy_nb``."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

_MAGICS = ("romancy_activity", "romancy_workflow")


def load_ipython_extension(shell: Any) -> None:
    """Register the magics and say where the journal is and what it holds. Loading twice is harmless."""
    import romancy_nb
    from romancy_nb.notebook import edits, line_form
    from romancy_nb.notebook.magics import RomancyMagics

    romancy_nb._wire()
    shell.register_magics(RomancyMagics)
    line_form.install(shell)
    _unwatch(shell)
    shell.events.register("post_run_cell", edits.after_cell)
    if shell.user_ns.setdefault("rn", romancy_nb) is romancy_nb:
        shell.user_ns_hidden["rn"] = romancy_nb
    try:
        _greet()
    finally:
        # not before: it would take turns with the greeting, which is waited for
        threading.Thread(target=_warm_up, name="romancy warm-up", daemon=True).start()


def unload_ipython_extension(shell: Any) -> None:
    """Remove the magics and the name ``rn``. The journal stays connected: runs go on."""
    from romancy_nb.notebook import durable, line_form, output

    durable.close()
    line_form.remove(shell)
    _unwatch(shell)
    for name in _MAGICS:
        for kind in ("cell", "line"):
            shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop("RomancyMagics", None)
    output.unload()
    if shell.user_ns_hidden.pop("rn", None) is shell.user_ns.get("rn"):
        shell.user_ns.pop("rn", None)


def _unwatch(shell: Any) -> None:
    """Look at no cell any more."""
    for callback in list(shell.events.callbacks["post_run_cell"]):
        if getattr(callback, "__module__", "") == "romancy_nb.notebook.edits":
            shell.events.unregister("post_run_cell", callback)


def _greet() -> None:
    """Print the journal's path in full, what it holds and which runs wait for somebody (D4, R15)."""
    from romancy_nb.errors import RomancyError
    from romancy_nb.journal.locate import thrown_away
    from romancy_nb.notebook.output import greet
    from romancy_nb.runtime import launch
    from romancy_nb.runtime.instance import Instance

    try:
        where = launch.location()
        engine = launch.current()
        heads = engine.ask(lambda engine: engine.journal.unfinished())
        count = engine.ask(lambda engine: engine.journal.query("select count(*) from instances").rows[0][0])
    except RomancyError as error:
        print(f"romancy_nb is loaded, but its journal cannot be opened. {error}")
        return
    lasting = f"romancy_nb: journal {where.path}"
    if (lost := thrown_away(Path(where.path), os.environ)) is not None:
        lasting = f"romancy_nb: {lost}\n{lasting}"
    if where.new and not count:
        greet(f"{lasting} (new)", lasting)
        return
    lines = [f"{lasting} ({count} instance{'s' if count != 1 else ''})"]
    statuses = {head.instance: Instance(engine, head.instance, head.workflow).status for head in heads[:10]}
    for head in heads[:10]:
        if statuses[head.instance] in {"interrupted", "paused", "stuck"}:
            lines.append(
                f"  {statuses[head.instance]}: {head.workflow} {head.instance}; call {head.workflow} again to go on"
            )
    greet("\n".join(lines), lasting)


def _warm_up() -> None:
    """Import what the first call needs while the person is still typing."""
    import pydantic  # noqa: F401
