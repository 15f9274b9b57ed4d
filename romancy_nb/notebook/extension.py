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
    from romancy_nb.notebook import asked, completion, config, edits, hints, line_form, stubs
    from romancy_nb.notebook.commands import RomancyCommands
    from romancy_nb.notebook.magics import RomancyMagics

    stubs.remove(shell)
    _forget_magics(shell)
    shell.register_magics(RomancyMagics, RomancyCommands)
    _register_aliases(shell)
    line_form.install(shell)
    _unwatch(shell)
    shell.events.register("post_run_cell", edits.after_cell)
    shell.events.register("pre_run_cell", asked.before_cell)
    shell.events.register("post_run_cell", asked.after_cell)
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
    for event in ("pre_run_cell", "post_run_cell"):
        for callback in list(shell.events.callbacks[event]):
            if getattr(callback, "__module__", "") in {"romancy_nb.notebook.edits", "romancy_nb.notebook.asked"}:
                shell.events.unregister(event, callback)


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
    from romancy_nb.runtime.standing import called

    try:
        opening.wait()
        where = launch.location()
        engine = launch.current()
        left, more, count = engine.ask(_left_lying)
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
    for status, found in left:
        lines.append(f"  {status}: {found.workflow} {found.instance}; call {called(found.workflow)} again to go on")
        lines += [f"      {line}" for line in _meanwhile(found)]
    if more:
        lines.append(f"  and {more} more: %romancy lists them")
    greet("\n".join(lines), lasting)


def _left_lying(engine: Any) -> tuple[list[tuple[str, Any]], int, int]:
    """Return the runs that nobody advances, how many more there are, and how many instances. Runs on the engine's thread."""
    from romancy_nb.runtime.awaited import standings
    from romancy_nb.runtime.standing import status_of

    heads = engine.journal.unfinished()
    statuses = {head.instance: status_of(engine, head.instance)[0] for head in heads[:10]}
    found = standings(engine, [h for h in heads[:10] if statuses[h.instance] in {"interrupted", "paused", "stuck"}])
    lying = [(statuses[each.instance], each) for each in found]
    return lying, max(0, len(heads) - 10), len(engine.journal.known())


def _meanwhile(found: Any) -> list[str]:
    """What a run that nobody advances waits for, when it is due, and what has come meanwhile (R15)."""
    from romancy_nb import clock, words
    from romancy_nb.notebook import answering
    from romancy_nb.runtime import typed

    now = clock.now_us()
    lines = []
    for each in found.arrived:
        by = f" by {each.by}" if each.by else ""
        when = words.moment(each.at, now) if each.at else "just now"
        if each.question:
            lines.append(f"{each.question} {words.clip(typed.shown(each.answer), 60)} (answered{by}, {when})")
        else:
            lines.append(f"event {each.name!r} has come{by}, {when}")
    for asked in found.questions:
        lines.append(f"{asked.question} {answering.how(asked, found)}{typed.until(asked, now)}")
    lines += [f"waits for event {wait.name!r}" for wait in found.waits if wait.what == "event"]
    if found.timer is not None:
        over = "was due" if found.timer <= now else "is due"
        lines.append(f"a timer {over} {words.moment(found.timer, now)}")
    return lines


def _warm_up() -> None:
    """Import what the first call needs while the person is still typing."""
    import pydantic  # noqa: F401
