"""``%config Romancy``: the settings as IPython's own configuration has them, and the table that ``%romancy config`` shows."""

from __future__ import annotations

import sys
from html import escape
from typing import Any, Final

from traitlets import Bool, Int, Unicode
from traitlets.config import Configurable

from romancy_nb import settings
from romancy_nb.errors import RomancyError, paragraph
from romancy_nb.runtime import launch
from romancy_nb.settings import Source

__all__ = ["Romancy", "Table", "install", "remove"]

_KINDS: Final[dict[type, Any]] = {str: Unicode, bool: Bool, int: Int}


def _traits() -> dict[str, Any]:
    return {
        each.name: _KINDS[type(each.default)](each.default, help=each.text).tag(config=True)
        for each in settings.SETTINGS.values()
    }


class Romancy(type("Settings", (Configurable,), _traits())):  # type: ignore[misc]
    """The settings of romancy_nb in this kernel: ``%config Romancy.journal = "shared/journal.duckdb"``.

    What is set here comes before the environment (``ROMANCY_JOURNAL``) and ``[tool.romancy_nb]`` in ``pyproject.toml``; an
    empty text takes it back.
    """

    _quiet = True

    def __init__(self, shell: Any) -> None:
        super().__init__(parent=shell)  # what ipython_config.py says is set by this
        section = shell.config.get("Romancy", {})
        for name in settings.SETTINGS:
            if name in section:
                settings.override(name, getattr(self, name))
        self._show()
        self._quiet = False
        self.observe(self._changed, names=list(settings.SETTINGS))

    def _show(self) -> None:
        """Have the traits show what holds, wherever it comes from."""
        before, self._quiet = self._quiet, True
        try:
            for name in settings.SETTINGS:
                setattr(self, name, settings.get(name))
        finally:
            self._quiet = before

    def _changed(self, change: Any) -> None:
        if self._quiet:
            return
        name, value = change["name"], change["new"]
        held, source = settings.find(name)
        where = launch.location().path if launch.connected() is not None else None
        try:
            if value == "":
                settings.drop(name)
            else:
                settings.override(name, value)
            _apply(name)
        except (RomancyError, ValueError) as problem:
            # raised from here it would become a line in the log; and what does not work must not stay
            settings.drop(name)
            if source.kind == "config":
                settings.override(name, held)
            if where is not None:
                launch.connect(where)
            print("\n".join(paragraph(problem)), file=sys.stderr)
        self._show()


def _apply(name: str) -> None:
    """Let a new setting count at once where a journal is open."""
    if launch.connected() is None:
        return
    if name == "journal":
        where = launch.connect()
        print(f"journal {where.path} ({where.why})")
    elif name == "namespace":
        launch.connect(launch.location().path, namespace=settings.get(name))


def install(shell: Any) -> None:
    """Have ``%config`` know the settings. Doing it twice is harmless."""
    remove(shell)
    shell.configurables.append(Romancy(shell))


def remove(shell: Any) -> None:
    """Take them away again, and what was set with them."""
    kept = [each for each in shell.configurables if type(each).__module__ != __name__]
    if len(kept) != len(shell.configurables):
        shell.configurables[:] = kept
        for name in settings.SETTINGS:
            settings.drop(name)


class Table:
    """All settings with their values and where each comes from."""

    def __init__(self, rows: list[tuple[str, Any, Source]]) -> None:
        self.rows = rows

    def _cells(self) -> list[tuple[str, str, str, str]]:
        return [(name, repr(value), source.text, settings.SETTINGS[name].text) for name, value, source in self.rows]

    def __repr__(self) -> str:
        lines = [("setting", "value", "from", "what it does"), *self._cells()]
        widths = [max(len(line[column]) for line in lines) for column in range(3)]
        shown = [
            "  ".join([*(f"{text:<{width}}" for text, width in zip(line, widths, strict=False)), line[3]])
            for line in lines
        ]
        return "\n".join([*shown, "", _HOW])

    def _repr_html_(self) -> str:
        left = 'style="text-align: left"'
        head = "".join(f"<th {left}>{name}</th>" for name in ("setting", "value", "from", "what it does"))
        body = "".join(
            "<tr>" + "".join(f"<td {left}>{escape(text)}</td>" for text in line) + "</tr>" for line in self._cells()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><div>{escape(_HOW)}</div>"


_HOW: Final = (
    "Set one here: %config Romancy.show = False. For every kernel: the environment variable ROMANCY_SHOW. For the project: "
    "show = false under [tool.romancy_nb] in pyproject.toml."
)
