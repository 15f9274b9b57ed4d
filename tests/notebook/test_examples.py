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
import served
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from kernels import ROOT
from nbclient import NotebookClient

import romancy_nb as rn

NOTEBOOKS = ["durable_notebook.ipynb", "cell_workflow.ipynb"]
ALL = [*NOTEBOOKS, "saga.ipynb", "batch.ipynb", "approval.ipynb"]


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


def test_the_batch_example_run_again_saves_the_same_bytes_and_executes_nothing_but_what_failed(tmp_path: Path) -> None:
    shutil.copy(ROOT / "notebooks" / "batch.ipynb", tmp_path)
    outputs, booked = [], []
    for _ in range(2):
        outputs.append(run_all(tmp_path / "batch.ipynb"))
        entries = [json.loads(line) for line in (tmp_path / "batch.jsonl").read_text().splitlines()]
        booked.append(Counter(entry["order"] for entry in entries if entry["effect"] == "book"))
        paid = Counter(entry["order"] for entry in entries if entry["effect"] == "pay")
        cancelled = Counter(entry["order"] for entry in entries if entry["effect"] == "cancel")
        assert booked[-1] == paid + cancelled and len(paid) == 80 and max(paid.values()) == 1
    assert outputs[0] == outputs[1]
    refused = booked[1] - booked[0]
    assert set(refused) == {"B-081", "B-082", "B-083", "B-084"}  # they were undone, and are tried again
    rn.connect(tmp_path / ".romancy" / "journal.duckdb")
    executed = "select count(*) from steps where name = '{}' and origin = 'executed'"
    assert rn.sql(executed.format("digest")).fetchall() == [(5_000,)]
    assert rn.sql(executed.format("measure")).fetchall() == [
        (10 + 4 + 4,)
    ]  # all, the mended four, and the old code's four again
    rn.disconnect()


def command(room: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return served.cli(room, *arguments, IPYTHONDIR=str(room / "ipython"))


def test_the_approval_example_waits_for_two_people_in_turn_and_pays_once(tmp_path: Path) -> None:
    """Each answer comes from a process of its own, while no kernel runs; the manager's time for Ben is over meanwhile."""
    shutil.copy(ROOT / "notebooks" / "approval.ipynb", tmp_path)
    first = command(tmp_path, "run", "approval.ipynb")
    assert first.returncode == 75 and "Ana spent 84.50" in first.stdout, first.stdout + first.stderr
    assert command(tmp_path, "answer", "train", '{"verdict": "perhaps"}').returncode == 1
    assert command(tmp_path, "answer", "train", '{"verdict": "approve"}').returncode == 0
    asked = ""
    while "The manager is silent. Ben" not in asked:  # asked once his three seconds are over
        again = command(tmp_path, "run", "approval.ipynb")
        assert again.returncode == 75, again.stdout + again.stderr
        asked = again.stdout
    assert command(tmp_path, "answer", "chair", '{"verdict": "approve", "share": 50}').returncode == 0
    saved = []
    for _ in range(2):
        done = command(tmp_path, "run", "approval.ipynb")
        assert done.returncode == 0, done.stdout + done.stderr
        saved.append((tmp_path / "approval.ipynb").read_bytes())
    assert saved[0] == saved[1]
    paid = [json.loads(line) for line in (tmp_path / "payments.jsonl").read_text().splitlines()]
    assert [(each["who"], each["amount"]) for each in paid] == [("Ana", 84.5), ("Ben", 120.0)]


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
