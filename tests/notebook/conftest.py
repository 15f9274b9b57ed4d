"""Kernels for the tests of this room: the one of this interpreter, and an older one when ROMANCY_KERNEL6 is set.

``ROMANCY_KERNEL6`` names a Python with ipykernel 6; with the value ``make`` the session makes such an environment.
On it run the tests of what it does differently (``DIFFERS``); with ``ROMANCY_KERNELS=all`` every test does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernels import EFFECTS, Kernel

PARTS = [
    "ipykernel==6.31.0",
    "duckdb>=2.0",
    "greenlet",
    "pydantic",
    "pandas",
    "pyarrow",
    "matplotlib",
    "jsonschema",
    "anywidget",
]

DIFFERS = {"test_stop.py", "test_output.py", "test_waiting.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The older kernel takes as long again: by default it is asked for what it does in its own way."""
    if os.environ.get("ROMANCY_KERNELS") == "all":
        return
    skipped = pytest.mark.skip(
        reason="the older kernel does this as the newer one: ROMANCY_KERNELS=all runs it on both"
    )
    for item in items:
        if "ipykernel 6" in item.name and item.path.name not in DIFFERS:
            item.add_marker(skipped)


@pytest.fixture(scope="session")
def python6(tmp_path_factory: pytest.TempPathFactory) -> str:
    named = os.environ.get("ROMANCY_KERNEL6", "")
    if not named:
        pytest.skip("ROMANCY_KERNEL6 names no Python with ipykernel 6")
    if named != "make":
        return named
    room = tmp_path_factory.mktemp("kernel6") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(room)], check=True)
    subprocess.run([str(room / "bin" / "python"), "-m", "pip", "install", "-q", *PARTS], check=True)
    return str(room / "bin" / "python")


@pytest.fixture(scope="session", params=["ipykernel of this Python", "ipykernel 6"])
def python(request: pytest.FixtureRequest) -> str:
    """The interpreter of the kernels."""
    if request.param == "ipykernel 6":
        found: str = request.getfixturevalue("python6")
        return found
    return sys.executable


@pytest.fixture(scope="session")
def shared(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel for all tests that neither kill nor restart it."""
    kernel = Kernel(python, tmp_path_factory.mktemp("kernel"), ROMANCY_JOURNAL="")
    kernel.ok("import asyncio, os, sys, threading, time\nimport romancy_nb as rn")
    yield kernel
    kernel.close()


@pytest.fixture
def book(shared: Kernel, tmp_path: Path) -> Kernel:
    """The shared kernel with a journal of its own and ``effect(name)``, which writes a line to a file."""
    shared.effects = tmp_path / "effects"
    shared.ok(
        f"rn.connect({str(tmp_path / 'journal.duckdb')!r})\nEFFECTS = {str(shared.effects)!r}\n{EFFECTS}\n"
        "%reload_ext romancy_nb"
    )
    return shared


@pytest.fixture
def own(python: str, tmp_path: Path) -> Iterator[Kernel]:
    """A kernel that the test may kill. Its working directory is empty."""
    room = tmp_path / "project"
    room.mkdir()
    kernel = Kernel(python, room)
    kernel.effects = tmp_path / "effects"
    yield kernel
    kernel.close()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """IPython in this process, without a kernel."""
    from IPython.core.interactiveshell import InteractiveShell

    import romancy_nb as rn

    monkeypatch.setenv("ROMANCY_JOURNAL", str(tmp_path / "journal.duckdb"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    rn.disconnect()
    InteractiveShell.clear_instance()
    found = InteractiveShell.instance(user_module=types.ModuleType("notebook"))
    found.history_manager.enabled = False
    yield found
    InteractiveShell.clear_instance()
    for prompt in ("ps1", "ps2", "ps3"):
        vars(sys).pop(prompt, None)  # IPython sets them, and they tell that a person is there (E4)
    rn.disconnect()
