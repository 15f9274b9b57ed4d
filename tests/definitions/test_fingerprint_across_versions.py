"""A fingerprint is the same on every Python and under every hash seed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("across.py")


def prints(python: str, seed: int) -> dict[str, Any] | None:
    """Run ``across.py`` on *python*; None where that one has not got what we need."""
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    ended = subprocess.run(
        [python, str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    if ended.returncode and ("ModuleNotFoundError" in ended.stderr or "pyenv" in ended.stderr):
        return None
    assert not ended.returncode, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def pythons(version: str) -> list[str]:
    """Where a Python of that version may be."""
    beside = Path(sys.prefix).parent
    places = [shutil.which(f"python{version}"), *(str(path) for path in beside.glob(f"*/bin/python{version}"))]
    return [place for place in places if place]


@pytest.fixture(scope="module")
def here() -> dict[str, Any]:
    found = prints(sys.executable, 0)
    assert found is not None
    return found


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_python_finds_the_same(version: str, here: dict[str, Any]) -> None:
    for python in pythons(version):
        found = prints(python, 1)
        if found is not None:
            assert found == here
            return
    pytest.skip(f"no Python {version} with our dependencies")


def test_other_hash_seeds_find_the_same(here: dict[str, Any]) -> None:
    for seed in range(1, 7):
        assert prints(sys.executable, seed) == here


def test_what_is_read_is_what_a_person_would_say(here: dict[str, Any]) -> None:
    _, reads, unwatched = here["uses"]
    assert {
        "its code",
        "class Item",
        "Item.total()",
        "helper()",
        "helper2()",
        "NAMES",
        "LIMITS",
        "class Answer",
    } <= set(reads)
    assert {"class Color", "Color.RED", "default of d", "Mode", "class Box", "class Row", "undefined_name"} <= set(
        reads
    )
    assert unwatched == []
    assert set(here["used"][1]) == {"its code", "key", "default of f()", "helper2()", "NAMES"}
