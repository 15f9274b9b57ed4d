"""``romancy-nb demo``, run for real: a kernel killed in the middle, and every effect in the ledger exactly once."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest
import served

from romancy_nb.demo import play
from romancy_nb.demo.kernel import KernelRun
from romancy_nb.demo.ledger import EFFECTS, read_entries
from romancy_nb.demo.play import KILL_AFTER
from romancy_nb.demo.report import Journaled, Outcome, summary

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


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    """The text of every output of every cell."""
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


def wait_for_effects(running: subprocess.Popen[str], ledger: Path, count: int) -> None:
    until = time.monotonic() + 90
    while len(read_entries(ledger)) < count:
        assert running.poll() is None, "the demo ended early"
        assert time.monotonic() < until, "the demo does not get on"
        time.sleep(0.02)


@dataclass(frozen=True)
class Played:
    """A demo that was played to its end: where, and what it printed."""

    folder: Path
    said: str


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    room = tmp_path_factory.mktemp("demo")
    done = demo(room, "--dir", "played")
    assert done.returncode == 0, done.stdout + done.stderr
    return Played(room / "played", done.stdout)


@pytest.mark.kernel
@pytest.mark.crash
def test_every_effect_stands_exactly_once_although_the_kernel_was_killed(played: Played) -> None:
    with (played.folder / "orders.csv").open(newline="") as file:
        orders = [row["order"] for row in csv.DictReader(file)]
    entries = read_entries(played.folder / "ledger.jsonl")
    assert Counter((entry["effect"], entry["order"]) for entry in entries) == Counter(
        (effect, order) for order in orders for effect in EFFECTS
    )
    assert len({entry["key"] for entry in entries}) == len(entries), "each effect has a key of its own"

    steps = len(entries) + 1  # and the reading of the file
    found = re.search(r"before the kill +(\d+) steps completed", played.said)
    assert found is not None, played.said
    before = int(found[1])
    assert KILL_AFTER <= before < steps
    assert f"{before} steps from journal, {steps - before} executed" in played.said
    if before == KILL_AFTER:  # else this machine was so busy that the answer came before the kill
        assert "one that may have run: charge" in played.said
        assert "asked twice        charge of A-1006" in played.said
    assert "stands in the ledger exactly once" in played.said


@pytest.mark.kernel
def test_both_notebooks_are_left_behind_to_look_at(played: Played) -> None:
    killed, executed = (
        nbformat.read(played.folder / name, as_version=4) for name in ("quickstart-killed.ipynb", "quickstart.ipynb")
    )
    for notebook in (killed, executed):
        nbformat.validate(notebook)
    assert "36 effects stand in the ledger, 36 of them different" in "\n".join(texts(executed))
    assert "workflows: process_orders" in "\n".join(texts(killed))
    assert "36 effects" not in "\n".join(texts(killed))


@pytest.mark.kernel
def test_the_command_line_reads_what_the_demo_left_behind(played: Played) -> None:
    def ask(*arguments: str) -> str:
        return served.cli(played.folder, *arguments, "--journal", ".romancy/journal.duckdb").stdout

    line = ask("ls").splitlines()[1].split()
    assert line[1:3] + line[4:5] == ["process_orders", "completed", "1"]
    assert "quickstart.ipynb" in ask("ls")
    shown = ask("show", "process_orders")
    assert [name for name in ("read_orders", *EFFECTS) if name not in shown] == []


@pytest.mark.kernel
def test_run_all_afterwards_returns_from_the_journal_and_adds_no_effect(played: Played) -> None:
    before = (played.folder / "ledger.jsonl").read_bytes()
    notebook = nbformat.read(played.folder / "quickstart.ipynb", as_version=4)
    run = KernelRun(
        notebook, cwd=played.folder, env=environment()
    )  # no service is running: the notebook starts its own
    try:
        until = time.monotonic() + 120
        while run.running and time.monotonic() < until:
            time.sleep(0.05)
        assert (run.running, run.failure()) == (False, None)
    finally:
        run.stop()
    assert (played.folder / "ledger.jsonl").read_bytes() == before
    assert "The same call returns it and executes nothing" in "\n".join(texts(notebook))


@pytest.mark.kernel
@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "within"), [("SIGINT", 3.0), ("SIGTERM", 3.0), ("SIGKILL", 6.0)])
def test_no_process_outlives_the_demo(tmp_path: Path, number: str, within: float) -> None:
    running = subprocess.Popen(
        command("--dir", "played"),
        cwd=tmp_path,
        env=environment(),
        text=True,
        start_new_session=True,
    )
    try:
        wait_for_effects(running, tmp_path / "played" / "ledger.jsonl", 3)
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


def test_an_earlier_demo_is_moved_aside_and_not_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        play.prepare(tmp_path / "demo")
        (tmp_path / "demo" / "ledger.jsonl").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "demo.1", "demo.2"]
    assert "is now in demo.2" in capsys.readouterr().out


def outcome(*repeated: tuple[str, str], **changes: Any) -> Outcome:
    """Two steps, killed after the first; *repeated* effects stand in the ledger once more."""
    wanted = frozenset((effect, "A") for effect in EFFECTS)
    facts: dict[str, Any] = {
        "before": Journaled("interrupted", 1, {(1, 1): False}, ("charge",)),
        "after": Journaled("completed", 1, {(1, 1): False, (1, 2): False}, ()),
        "effects": Counter([*wanted, *repeated]),
        "wanted": wanted,
        "repeats": (),
    }
    return Outcome(**(facts | changes))


def test_the_report_is_content_with_exactly_once() -> None:
    good = outcome()
    assert (good.replayed, good.executed_after, list(good.faults())) == (1, 1, [])
    assert "exactly once" in summary(good)


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (outcome(("charge", "A")), "charge of A stands in the ledger 2 times"),
        (outcome(effects={}), "ship of A stands in the ledger 0 times"),
        (outcome(("charge", "B")), "charge of B stands in the ledger 1 times"),
        (outcome(before=Journaled("interrupted", 1, {}, ())), "held no completed step"),
        (outcome(after=Journaled("failed", 1, {(1, 1): False}, ())), "failed, not completed"),
    ],
)
def test_the_report_names_what_is_wrong(bad: Outcome, fault: str) -> None:
    assert [text for text in bad.faults() if fault in text]
    assert "exactly once" not in summary(bad)
    assert "NOT AS IT SHOULD BE" in summary(bad)
