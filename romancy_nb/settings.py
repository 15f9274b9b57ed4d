"""Settings: what a person chose, and where.

In this order: ``%config Romancy.<name>`` in the notebook; the environment variable ``ROMANCY_<NAME>``; the table
``[tool.romancy_nb]`` in the nearest ``pyproject.toml``; the default. A value that cannot be used is named once, in the log
(which a notebook shows), and the next source counts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

__all__ = ["SETTINGS", "Setting", "Source", "clear", "drop", "find", "get", "look_from", "override"]

log = logging.getLogger("romancy_nb")

TABLE: Final = "tool.romancy_nb"
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: as in ``%config Romancy.<name>`` and in ``pyproject.toml``.
        default: what holds when nobody says anything; its type is the setting's.
        text: what it does, for people.
        choices: what a text may be; empty: anything.
    """

    name: str
    default: str | int | bool
    text: str
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable of this setting."""
        return f"ROMANCY_{self.name.upper()}"

    @property
    def wants(self) -> str:
        """What a value has to be, in words."""
        match self.default:
            case bool():
                return "true or false"
            case int():
                return "a whole number from 0 up"
            case _:
                return " or ".join(self.choices) or "a text"

    def accept(self, value: Any) -> str | int | bool:
        """Return *value*, as TOML or Python has it, as a value of this setting.

        Raises:
            ValueError: it is none.
        """
        match self.default:
            case bool() if isinstance(value, bool):
                return value
            case bool():
                pass
            case int() if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return value
            case str() if isinstance(value, str | os.PathLike) and self._may_be(os.fspath(value)):
                return os.fspath(value)
        raise ValueError(f"{value!r} is not {self.wants}")

    def parse(self, text: str) -> str | int | bool:
        """Return the *text* of an environment variable as a value of this setting.

        Raises:
            ValueError: it is none.
        """
        match self.default:
            case bool() if text.lower() in _TRUE | _FALSE:
                return text.lower() in _TRUE
            case int() if not isinstance(self.default, bool) and text.isascii() and text.isdigit():
                return int(text)
            case str() if self._may_be(text):
                return text
        raise ValueError(f"{text!r} is not {self.wants}")

    def _may_be(self, text: str) -> bool:
        return not self.choices or text in self.choices


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from.

    Attributes:
        kind: config, environment, pyproject or default.
        text: the same for people, with the variable's name or the file.
        folder: of the file, to which a relative path in it refers.
    """

    kind: str
    text: str
    folder: Path | None = None


SETTINGS: Final[dict[str, Setting]] = {
    each.name: each
    for each in (
        Setting("journal", "", "the journal's file; empty: the project's .romancy/journal.duckdb"),
        Setting("namespace", "", "goes into the ids of instances, so that people who share a journal stay apart"),
        Setting("show", True, "show the timeline at the end of a call"),
        Setting(
            "embed",
            "preview",
            "what a notebook file has of inputs and results: preview (at most 120 characters of each) or full",
            ("preview", "full"),
        ),
        Setting("capture_limit", 262_144, "bytes of an activity's output that are kept with its step"),
    )
}
"""All settings, by name."""

_DEFAULT: Final = Source("default", "default")
_overrides: dict[str, Any] = {}
_file: list[tuple[Path | None, dict[str, Any]]] = []
"""The nearest pyproject.toml and what its table holds, once it was read."""
_start: list[Path] = []
_told: set[tuple[str, str]] = set()


def get(name: str) -> Any:
    """Return the value of the setting *name*."""
    return find(name)[0]


def find(name: str) -> tuple[Any, Source]:
    """Return the value of the setting *name* and where it comes from."""
    setting = SETTINGS[name]
    if name in _overrides:
        return _overrides[name], Source("config", f"%config Romancy.{name}")
    text = os.environ.get(setting.variable, "").strip()
    if text:
        value = _usable(setting.variable, f"the environment variable {setting.variable}", lambda: setting.parse(text))
        if value is not None:
            return value, Source("environment", f"${setting.variable}")
    path, table = _pyproject()
    if path is not None and name in table:
        return table[name], Source("pyproject", f"[{TABLE}] in {path}", path.parent)
    return setting.default, _DEFAULT


def override(name: str, value: Any) -> None:
    """Set *name* for this process, above all other sources.

    Raises:
        ValueError: the value cannot be used.
    """
    _overrides[name] = SETTINGS[name].accept(value)


def drop(name: str) -> None:
    """Take back what ``override`` set."""
    _overrides.pop(name, None)


def look_from(folder: Path | None) -> None:
    """Look for ``pyproject.toml`` from *folder* upwards (None: the working directory); what was read before is read again."""
    _start[:] = [folder if folder is not None else Path.cwd()]
    _file.clear()


def clear() -> None:
    """Forget everything but the defaults and the environment: what was overridden, read, and complained about."""
    for kept in (_overrides, _file, _start, _told):
        kept.clear()


def _pyproject() -> tuple[Path | None, dict[str, Any]]:
    """The nearest ``pyproject.toml`` and those of its settings that can be used; read once."""
    if not _file:
        start = (_start[0] if _start else Path.cwd()).absolute()
        path = next((each for folder in (start, *start.parents) if (each := folder / "pyproject.toml").is_file()), None)
        _file.append((path, dict(_read(path)) if path is not None else {}))
    return _file[0]


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    import tomllib

    try:
        table: Any = tomllib.loads(path.read_text("utf-8"))
        for part in TABLE.split("."):
            table = table.get(part, {})
        items = list(table.items())
    except (OSError, ValueError) as problem:  # both of tomllib's and of the decoder's are ValueErrors
        _tell(str(path), "", f"{path} cannot be read ({problem}); its settings for romancy_nb do not count.")
        return
    except AttributeError:
        _tell(str(path), "", f"[{TABLE}] in {path} is no table of settings; it does not count.")
        return
    for key, value in items:
        setting = SETTINGS.get(key)
        if setting is None:
            known = ", ".join(SETTINGS)
            _tell(str(path), key, f"[{TABLE}] in {path} has a key {key}, which is no setting. There are {known}.")
            continue
        usable = _usable(f"{path}:{key}", f"{key} in [{TABLE}] of {path}", partial(setting.accept, value))
        if usable is not None:
            yield key, usable


def _usable(mark: str, what: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except ValueError as problem:
        _tell(mark, "", f"{what} does not count: {problem}.")
        return None


def _tell(where: str, key: str, text: str) -> None:
    """Say it once; a notebook shows warnings of the log on its own."""
    if (where, key) not in _told:
        _told.add((where, key))
        log.warning("romancy_nb: %s", text)
