"""What all tests share: each has a journal of its own and leaves none behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# how long an example takes says something of the machine, and nothing of what is tested
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

ROOT = Path(__file__).parent
LONGEST = ("browser", "typing", "notebook")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each file is for one worker, and those that share a browser are for the same one. The longest come first."""
    for item in items:
        group = "browser" if item.path.parent.name == "browser" else str(item.path.relative_to(ROOT))
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(
        key=lambda item: LONGEST.index(item.path.parent.name) if item.path.parent.name in LONGEST else len(LONGEST)
    )


def pytest_collection_finish() -> None:
    """What pytest and its thousands of tests are made of is not looked through at every garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh journal, connected on first use and disconnected at the end."""
    import romancy_nb as rn

    path = tmp_path / "journal.duckdb"
    monkeypatch.setenv("ROMANCY_JOURNAL", str(path))
    rn.disconnect()
    yield path
    rn.disconnect()


@pytest.fixture(autouse=True, scope="module")
def own_definitions(request: pytest.FixtureRequest) -> None:
    """Let a module's own definitions be the latest of their names: other modules of tests use the same names."""
    from romancy_nb.definitions import registry

    gc.collect()
    gc.freeze()  # and so what earlier modules left
    module = request.module.__name__
    for found in registry._defined.values():
        if module in found:
            found[module] = found.pop(module)
