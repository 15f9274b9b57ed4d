"""The example notebooks: they run, run again from the journal to the same bytes, and other tools can read them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from kernels import ROOT
from nbclient import NotebookClient

import romancy_nb as rn

NOTEBOOKS = ["durable_notebook.ipynb", "cell_workflow.ipynb"]
ALL = [*NOTEBOOKS, "saga.ipynb"]


class _Here(KernelSpecManager):  # type: ignore[misc, unused-ignore]
    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python", language="python")


def run_all(path: Path) -> str:
    """Execute the notebook in a fresh kernel and return its outputs as they are saved."""
    book = nbformat.read(path, as_version=4)
    manager = AsyncKernelManager(kernel_spec_manager=_Here(), kernel_name="python3")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROMANCY_", "JPY_"))}
    client = NotebookClient(book, km=manager, timeout=120, resources={"metadata": {"path": str(path.parent)}})
    try:
        client.execute(env={**kept, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(path.parent / "ipython")})
    finally:
        asyncio.run(manager.shutdown_kernel(now=True))
    return json.dumps([cell.get("outputs", []) for cell in book.cells], sort_keys=True)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_an_example_run_again_executes_nothing_and_saves_the_same_bytes(name: str, tmp_path: Path) -> None:
    for source in (ROOT / "notebooks").glob("*.csv"):
        shutil.copy(source, tmp_path)
    shutil.copy(ROOT / "notebooks" / name, tmp_path)
    first = run_all(tmp_path / name)
    rn.disconnect()
    rn.connect(tmp_path / ".romancy" / "journal.duckdb")
    events = rn.sql("select count(*) from events where kind not like 'run_%'").fetchall()
    rn.disconnect()
    again = run_all(tmp_path / name)
    rn.connect(tmp_path / ".romancy" / "journal.duckdb")
    assert rn.sql("select count(*) from events where kind not like 'run_%'").fetchall() == events
    rn.disconnect()
    assert again == first


def test_every_trip_of_the_saga_example_that_failed_leaves_the_ledger_balanced_also_when_run_again(
    tmp_path: Path,
) -> None:
    shutil.copy(ROOT / "notebooks" / "saga.ipynb", tmp_path)
    for _ in range(2):
        run_all(tmp_path / "saga.ipynb")
        standing: Counter[str] = Counter()
        for line in (tmp_path / "trips.jsonl").read_text().splitlines():
            entry = json.loads(line)
            standing[entry["order"].split(":")[0]] += 1 if entry["effect"] in {"book", "pay"} else -1
        assert standing == {"Turin": 0, "Lagos": 0, "Quito": 0, "Genoa": 1, "Kyoto": 4}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("tool", [["ruff", "check"], ["ruff", "format", "--check"], ["black", "--check", "-l", "120"]])
def test_linters_and_formatters_see_ordinary_python(name: str, tool: list[str]) -> None:
    pytest.importorskip(tool[0])
    done = subprocess.run(
        [sys.executable, "-m", *tool, str(ROOT / "notebooks" / name)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ALL)
def test_an_example_is_saved_executed(name: str) -> None:
    book = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert any("text/html" in output.get("data", {}) for cell in code for output in cell.outputs)
