"""``romancy-nb demo``, run for real: a kernel killed in the middle, and every effect in the ledger exactly once."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import nbformat
import psutil
import pytest

from romancy_nb.demo.ledger import EFFECTS, read_entries
from romancy_nb.demo.play import DEFAULT_DIRECTORY, KILL_AFTER

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"


def environment() -> dict[str, str]:
    """The tests' environment without what would lead the demo elsewhere; this checkout comes first on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROMANCY_", "JPY_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "romancy_nb.cli", "demo", *arguments]


def demo(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment(), capture_output=True, text=True, timeout=240, check=False
    )


def outputs(path: Path) -> list[str]:
    """The text of every output of every cell."""
    notebook = nbformat.read(path, as_version=4)
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
    return found


def gone(process: psutil.Process, within: float) -> bool:
    """Does it end within that time? A zombie has ended."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def wait_for_effects(ledger: Path, count: int) -> None:
    until = time.monotonic() + 60
    while len(read_entries(ledger)) < count:
        assert time.monotonic() < until, "the demo does not get on"
        time.sleep(0.02)


@pytest.mark.kernel
@pytest.mark.crash
def test_every_effect_stands_exactly_once_although_the_kernel_was_killed(tmp_path: Path) -> None:
    done = demo(tmp_path, "--dir", "played")
    assert done.returncode == 0, done.stdout + done.stderr
    room = tmp_path / "played"

    with (room / "orders.csv").open(newline="") as file:
        orders = [row["order"] for row in csv.DictReader(file)]
    entries = read_entries(room / "ledger.jsonl")
    assert Counter((entry["effect"], entry["order"]) for entry in entries) == Counter(
        (effect, order) for order in orders for effect in EFFECTS
    )
    assert len({entry["key"] for entry in entries}) == len(entries), "each effect has a key of its own"

    rest = len(entries) - KILL_AFTER
    assert f"before the kill    {KILL_AFTER} steps completed" in done.stdout
    # the effect that stood when the kernel died was in flight: it is asked for once more, and answered from its key
    assert f"{KILL_AFTER} steps from journal, {rest + 1} executed" in done.stdout
    assert "asked twice        charge of A-1006" in done.stdout
    assert "stands in the ledger exactly once" in done.stdout

    executed = "\n".join(outputs(room / "quickstart.ipynb"))
    assert "36 effects stand in the ledger, 36 of them different" in executed
    assert "36 effects" not in "\n".join(outputs(room / "quickstart-killed.ipynb"))
    assert not (room / "quickstart.ipynb").read_text().count(str(sys.prefix)), "no paths of this machine's Python"


@pytest.mark.kernel
def test_the_command_line_reads_what_the_demo_leaves_behind(tmp_path: Path) -> None:
    assert demo(tmp_path).returncode == 0
    journal = str(Path(DEFAULT_DIRECTORY, ".romancy", "journal.duckdb"))

    def ask(*arguments: str) -> str:
        line = [sys.executable, "-m", "romancy_nb.cli", *arguments, "--journal", journal]
        return subprocess.run(
            line, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=True
        ).stdout

    listed = ask("ls")
    assert "process_orders" in listed
    assert "completed" in listed
    assert "quickstart.ipynb" in listed
    shown = ask("show", "process_orders")
    for name in ("read_orders", *EFFECTS):
        assert name in shown

    again = demo(tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"is now in {DEFAULT_DIRECTORY}.1" in again.stdout


@pytest.mark.kernel
@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "within"), [("SIGINT", 3.0), ("SIGTERM", 3.0), ("SIGKILL", 6.0)])
def test_no_process_outlives_the_demo(tmp_path: Path, number: str, within: float) -> None:
    running = subprocess.Popen(
        command("--dir", "played"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for_effects(tmp_path / "played" / "ledger.jsonl", 3)
        children = psutil.Process(running.pid).children(recursive=True)
        assert len(children) >= 2, "the service and the kernel"
        running.send_signal(getattr(signal, number))
        assert running.wait(timeout=15) != 0
        assert [child for child in children if not gone(child, within)] == []
    finally:
        running.kill()
        running.wait()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    refused = demo(tmp_path, "--dir", ".")
    assert refused.returncode == 1
    assert "is not empty" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_without_jupyter_the_demo_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'nbclient' else find(name, *a)\n"
        "from romancy_nb.cli import main; sys.exit(main(['demo', '--dir', 'played']))"
    )
    refused = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "nbclient" in refused.stderr
    assert "romancy_nb[demo]" in refused.stderr
    assert not (tmp_path / "played").exists()


def test_the_notebook_is_valid_and_has_what_it_needs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor >= 5) == (4, True)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    source = "\n".join(cell.source for cell in notebook.cells)
    for wanted in ("%load_ext romancy_nb", "%%romancy_activity", "%%romancy_workflow", "idempotency_key"):
        assert wanted in source
    assert len(source.split()) < 500, "readable in two minutes"
