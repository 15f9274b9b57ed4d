"""Settings: where a value comes from, and what becomes of one that cannot be used."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from romancy_nb import settings


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with an empty ``pyproject.toml``, in whose folder ``notebooks`` the settings are looked for."""
    for setting in settings.SETTINGS.values():
        monkeypatch.delenv(setting.variable, raising=False)
    folder = tmp_path / "notebooks" / "deep"
    folder.mkdir(parents=True)
    settings.clear()
    (tmp_path / "pyproject.toml").write_text("")
    settings.look_from(folder)
    yield tmp_path
    settings.clear()


def write(project: Path, text: str) -> None:
    (project / "pyproject.toml").write_text(text, "utf-8")
    settings.look_from(project / "notebooks" / "deep")


def test_config_comes_before_environment_before_pyproject_before_default(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.find("capture_limit") == (262_144, settings.Source("default", "default"))
    write(project, "[tool.romancy_nb]\ncapture_limit = 3\n")
    value, source = settings.find("capture_limit")
    assert (value, source.kind, source.folder) == (3, "pyproject", project)
    assert str(project / "pyproject.toml") in source.text
    monkeypatch.setenv("ROMANCY_CAPTURE_LIMIT", "2")
    assert settings.find("capture_limit") == (2, settings.Source("environment", "$ROMANCY_CAPTURE_LIMIT"))
    settings.override("capture_limit", 1)
    assert settings.find("capture_limit") == (1, settings.Source("config", "%config Romancy.capture_limit"))
    settings.drop("capture_limit")
    assert settings.get("capture_limit") == 2


@pytest.mark.parametrize(
    ("text", "value"), [("0", False), ("no", False), ("OFF", False), ("1", True), ("true", True), ("Yes", True)]
)
def test_the_environment_says_yes_and_no_in_the_usual_words(
    monkeypatch: pytest.MonkeyPatch, text: str, value: bool
) -> None:
    monkeypatch.setenv("ROMANCY_SHOW", text)
    assert settings.get("show") is value


def test_the_nearest_pyproject_counts(project: Path) -> None:
    write(project, "[tool.romancy_nb]\nshow = false\nnamespace = 'far'\n")
    (project / "notebooks" / "pyproject.toml").write_text("[tool.romancy_nb]\nnamespace = 'near'\n")
    settings.look_from(project / "notebooks" / "deep")
    assert settings.get("namespace") == "near"
    assert settings.get("show") is True


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[tool.romancy_nb]\njurnal = 'x'\nshow = false", ["jurnal", "journal, namespace"]),
        ("[tool.romancy_nb]\nshow = false\ncapture_limit = 'many'", ["capture_limit", "'many'", "a whole number"]),
        ("[tool.romancy_nb]\nshow = false\ncapture_limit = -1", ["capture_limit", "-1"]),
        ("[tool.romancy_nb]\nshow = false\nnamespace = true", ["namespace", "True", "a text"]),
        ("[tool.romancy_nb]\nshow = false\nembed = 'all'", ["embed", "'all'", "preview or full"]),
    ],
)
def test_what_cannot_be_used_is_named_once_and_the_rest_counts(
    project: Path, caplog: pytest.LogCaptureFixture, text: str, named: list[str]
) -> None:
    write(project, text)
    assert settings.get("show") is False
    assert [settings.get("capture_limit") for _ in range(3)] == [262_144] * 3
    settings.look_from(project / "notebooks" / "deep")  # as %reload_ext does
    assert settings.get("show") is False
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1, said
    for part in (str(project / "pyproject.toml"), *named):
        assert part in said[0]
    assert "\n" not in said[0]


@pytest.mark.parametrize("text", ["[tool.romancy_nb\n", "\xff", "[tool]\nromancy_nb = 3", "tool = 3"])
def test_a_file_that_cannot_be_read_is_a_warning_and_no_failure(
    project: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    (project / "pyproject.toml").write_bytes(text.encode("latin-1"))
    settings.look_from(project / "notebooks" / "deep")
    assert settings.get("show") is True
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(project / "pyproject.toml") in caplog.text


def test_a_bad_variable_is_named_once_and_the_next_source_counts(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(project, "[tool.romancy_nb]\ncapture_limit = 3\n")
    monkeypatch.setenv("ROMANCY_CAPTURE_LIMIT", "lots")
    assert [settings.get("capture_limit") for _ in range(3)] == [3, 3, 3]
    assert caplog.text.count("ROMANCY_CAPTURE_LIMIT") == 1
    assert "'lots' is not a whole number" in caplog.text


def test_what_is_set_by_hand_is_checked() -> None:
    with pytest.raises(ValueError, match="is not true or false"):
        settings.override("show", "no")


def test_a_journal_in_pyproject_lies_beside_that_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from romancy_nb.runtime import launch

    monkeypatch.setenv("ROMANCY_JOURNAL", "")
    write(project, "[tool.romancy_nb]\njournal = 'data/j.duckdb'\n")
    found = launch.chosen(project / "notebooks" / "deep")
    assert found.path == project / "data" / "j.duckdb"
    assert "pyproject.toml" in found.why
    monkeypatch.setenv("ROMANCY_JOURNAL", str(project / "other.duckdb"))
    assert launch.chosen(None).path == project / "other.duckdb"


def test_importing_the_package_reads_no_settings() -> None:
    code = (
        "import sys, romancy_nb; from romancy_nb import settings; "
        "sys.exit(bool({'tomllib', 'traitlets', 'IPython'} & set(sys.modules)) or bool(settings._file))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
