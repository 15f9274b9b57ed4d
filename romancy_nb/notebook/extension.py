"""``%load_ext romancy_nb``."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import MethodType
from typing import Any

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

_PACKAGE = "romancy_nb."
_ALIASES = {"activity": "romancy_activity", "workflow": "romancy_workflow"}


def load_ipython_extension(shell: Any) -> None:
    """Register the magics and say where the journal is and what it holds. Loading twice is harmless."""
    import romancy_nb
    from romancy_nb import settings
    from romancy_nb.definitions import registry
    from romancy_nb.notebook import identity

    romancy_nb._wire()
    notebook = identity.notebook_path()
    settings.look_from(Path(notebook).parent if notebook else identity.folder())
    opening = _Opening()  # the database opens while the rest is imported
    from romancy_nb.notebook import completion, config, edits, hints, line_form, stubs
    from romancy_nb.notebook.commands import RomancyCommands
    from romancy_nb.notebook.magics import RomancyMagics

    stubs.remove(shell)
    _forget_magics(shell)
    shell.register_magics(RomancyMagics, RomancyCommands)
    _register_aliases(shell)
    line_form.install(shell)
    _unwatch(shell)
    shell.events.register("post_run_cell", edits.after_cell)
    completion.install(shell)
    config.install(shell)
    hints.install(shell)
    registry.listeners[:] = [*(each for each in registry.listeners if each is not _note), _note]
    if shell.user_ns.setdefault("rn", romancy_nb) is romancy_nb:
        shell.user_ns_hidden["rn"] = romancy_nb
    try:
        _greet(opening)
    finally:
        # not before: it would take turns with the greeting, which is waited for
        threading.Thread(target=_warm_up, name="romancy warm-up", daemon=True).start()


def unload_ipython_extension(shell: Any) -> None:
    """Remove all that loading added. The journal stays connected: runs go on."""
    from romancy_nb import settings
    from romancy_nb.definitions import registry
    from romancy_nb.notebook import completion, config, crash, durable, hints, line_form, output, stubs
    from romancy_nb.runtime import asking

    crash.disarm()
    registry.listeners[:] = [each for each in registry.listeners if each is not _note]
    hints.remove(shell)
    asking.remove()
    durable.close()
    line_form.remove(shell)
    _unwatch(shell)
    output.unload()
    completion.remove(shell)
    config.remove(shell)
    settings.clear()
    stubs.remove(shell)
    _forget_magics(shell)
    if shell.user_ns_hidden.pop("rn", None) is shell.user_ns.get("rn"):
        shell.user_ns.pop("rn", None)


def _unwatch(shell: Any) -> None:
    """Look at no cell any more."""
    for callback in list(shell.events.callbacks["post_run_cell"]):
        if getattr(callback, "__module__", "") == "romancy_nb.notebook.edits":
            shell.events.unregister("post_run_cell", callback)


def _forget_magics(shell: Any) -> None:
    manager = shell.magics_manager
    for magics in manager.magics.values():
        for name in [name for name, magic in magics.items() if _is_ours(magic)]:
            del magics[name]
    for name in ("RomancyMagics", "RomancyCommands"):
        manager.registry.pop(name, None)
    # IPython enters each class of magics here, and has nothing to take it out again
    shell.configurables[:] = [each for each in shell.configurables if not type(each).__module__.startswith(_PACKAGE)]


def _register_aliases(shell: Any) -> None:
    """``%%activity`` and ``%%workflow``, where nobody has those names (N9)."""
    cell, line = (shell.magics_manager.magics[kind] for kind in ("cell", "line"))
    for alias, name in _ALIASES.items():
        if all(alias not in magics or _is_ours(magics[alias]) for magics in (cell, line)):
            cell[alias], line[alias] = cell[name], line[name]


def _note(kind: str, name: str, definition: Any) -> None:
    """Say what a workflow's code should not ask the world for itself, when it is defined."""
    from romancy_nb.definitions.lint import note_of

    if kind == "workflow" and getattr(definition.function, "__module__", "") == "__main__":
        note = note_of(name, definition.function)
        if note is not None:
            print(note)


def _is_ours(magic: Any) -> bool:
    # IPython's own may be lazy, and asking those for an attribute would load them
    return isinstance(magic, MethodType) and type(magic.__self__).__module__.startswith(_PACKAGE)


class _Opening(threading.Thread):
    """Connects to the journal."""

    def __init__(self) -> None:
        super().__init__(name="romancy opening", daemon=True)
        self.problem: Exception | None = None
        self.start()

    def run(self) -> None:
        from romancy_nb.runtime import launch

        try:
            launch.current()
        except Exception as problem:
            self.problem = problem

    def wait(self) -> None:
        """Wait for it, and raise what it met."""
        self.join()
        if self.problem is not None:
            raise self.problem


def _greet(opening: _Opening) -> None:
    """Print the journal's path in full, what it holds and which runs wait for somebody (D4, R15)."""
    from romancy_nb.errors import RomancyError
    from romancy_nb.journal.locate import thrown_away
    from romancy_nb.notebook.output import greet
    from romancy_nb.runtime import launch
    from romancy_nb.runtime.instance import Instance

    try:
        opening.wait()
        where = launch.location()
        engine = launch.current()
        heads, count = engine.ask(lambda engine: (engine.journal.unfinished(), len(engine.journal.known())))
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
    if len(heads) > 10:
        lines.append(f"  and {len(heads) - 10} more: %romancy lists them")
    greet("\n".join(lines), lasting)


def _warm_up() -> None:
    """Import what the first call needs while the person is still typing."""
    import pydantic  # noqa: F401
