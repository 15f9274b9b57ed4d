"""mypy --strict and pyright over the public API as it is used (api.py) and over the package itself."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
API = Path(__file__).parent / "api.py"


def check(tool: str, *arguments: str) -> str:
    """Run a checker; return what it complains of, empty when it is content."""
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed: pip install romancy_nb[test]")
    command = [sys.executable, "-m", tool, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


TARGETS = (str(API), str(ROOT / "romancy_nb"))


def test_mypy_is_content() -> None:
    """``--strict`` includes ``warn_unused_ignores``: what api.py marks as wrong has to be an error."""
    complaints = check("mypy", "--strict", *TARGETS)
    assert not complaints, complaints


def test_pyright_is_content() -> None:
    complaints = check("pyright", "--pythonpath", sys.executable, *TARGETS)
    assert not complaints, complaints


def test_a_wrong_use_that_is_no_error_would_be_noticed(tmp_path: Path) -> None:
    """The ignore comments of api.py prove something: on a line without an error both checkers object to them."""
    sample = tmp_path / "sample.py"
    head = "# pyright: basic, reportUnnecessaryTypeIgnoreComment=true\n"
    sample.write_text(f"{head}number: int = 1  # type: ignore[assignment]\n")
    assert "unused-ignore" in check("mypy", "--strict", str(sample))
    assert "reportUnnecessaryTypeIgnoreComment" in check("pyright", "--pythonpath", sys.executable, str(sample))
