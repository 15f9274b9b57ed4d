"""The same calls without a notebook's frontend: nbclient, IPython in a terminal, plain Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from kernels import ROOT
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

SCRIPT = """
import sys
import romancy_nb as rn

@rn.activity
def step(x: int) -> int:
    with open({effects!r}, "a") as file:
        file.write("step\\n")
    return x + 1

@rn.workflow
def flow(x: int) -> int:
    return step(x)

print("result", flow(1))
"""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROMANCY_", "JPY_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **more}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(effects=str(tmp_path / "effects")))
    return path


def effects(tmp_path: Path) -> int:
    return len((tmp_path / "effects").read_text().split())


def execute(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(IPYTHONDIR=str(cwd / "ipython"), JUPYTER_PLATFORM_DIRS="1"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


# -- plain Python ------------------------------------------------------------------------------------------------------


def test_a_script_says_nothing_of_its_own_when_nobody_looks(script: Path, tmp_path: Path) -> None:
    for _ in range(2):
        done = execute(str(script), cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "result 2\n", "")
    assert effects(tmp_path) == 1
    assert (tmp_path / ".romancy" / "journal.duckdb").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_script_says_the_line_on_stderr_in_a_terminal(script: Path, tmp_path: Path) -> None:
    import pty

    leader, follower = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=follower,
        text=True,
    )
    out, _ = running.communicate(timeout=60)
    os.close(follower)
    said = os.read(leader, 10_000).decode()
    os.close(leader)
    assert out == "result 2\n"
    assert said.startswith("Started (flow, id ")


def test_a_script_whose_workflow_has_a_slip_fails_with_the_persons_lines(tmp_path: Path) -> None:
    (tmp_path / "slip.py").write_text(
        "import romancy_nb as rn\n@rn.workflow\ndef flow():\n    return {}['nope']\nflow()\n"
    )
    done = execute("slip.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "return {}['nope']" in done.stderr
    assert done.stderr.strip().endswith("KeyError: 'nope'")
    assert "activation.py" not in done.stderr


# -- IPython -----------------------------------------------------------------------------------------------------------


def test_ipython_runs_a_script_file_and_shows_the_timeline_as_text(script: Path, tmp_path: Path) -> None:
    done = execute("-m", "IPython", "--simple-prompt", "--no-banner", str(script), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Started (flow" in done.stdout
    assert "step(x=1)" in done.stdout
    assert "result 2" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_ipython_c_with_the_magics_works(tmp_path: Path) -> None:
    code = (
        "%load_ext romancy_nb\n"
        "get_ipython().run_cell_magic('romancy_activity', '', 'def step(x: int) -> int: return x + 1\\n')\n"
        "get_ipython().run_cell_magic('romancy_workflow', '--run 1', 'def flow(x: int) -> int: return step(x)\\n')\n"
    )
    done = execute("-m", "IPython", "--simple-prompt", "--no-banner", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"journal {tmp_path / '.romancy' / 'journal.duckdb'} (new)" in done.stdout
    assert "activities: step" in done.stdout
    assert "workflows: flow" in done.stdout
    assert "Started (flow" in done.stdout


def test_an_ipython_ipy_file_with_magic_cells_resumes_like_a_notebook(tmp_path: Path) -> None:
    (tmp_path / "book.ipy").write_text(
        "%load_ext romancy_nb\n@rn.activity\ndef step(x: int) -> int:\n    return x + 1\n"
        "@rn.workflow\nasync def flow(x: int) -> int:\n    return await step(x)\nprint('result', flow.run(1))\n"
    )
    first = execute("-m", "IPython", "--simple-prompt", "--no-banner", "book.ipy", cwd=tmp_path)
    assert "result 2" in first.stdout, first.stdout + first.stderr
    second = execute("-m", "IPython", "--simple-prompt", "--no-banner", "book.ipy", cwd=tmp_path)
    assert "result 2" in second.stdout
    assert "Nothing was executed" in second.stdout


# -- nbclient, as papermill and nbmake use it ----------------------------------------------------------------------------


class _Here(KernelSpecManager):  # type: ignore[misc, unused-ignore]
    python = sys.executable

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [self.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python", language="python")


class _Client(NotebookClient):  # type: ignore[misc, unused-ignore]
    def create_kernel_manager(self) -> AsyncKernelManager:
        self.km = AsyncKernelManager(kernel_spec_manager=_Here(), kernel_name="python3")
        return self.km


def notebook(*cells: str) -> nbformat.NotebookNode:
    found = nbformat.v4.new_notebook()
    found.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    return found


def outputs(book: nbformat.NotebookNode) -> str:
    return "\n".join(
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for cell in book.cells
        for output in cell.get("outputs", [])
    )


CELLS = (
    "%load_ext romancy_nb",
    "%%romancy_activity\ndef step(x: int) -> int:\n    open('effects', 'a').write('step ')\n    return x + 1\n",
    "%%romancy_workflow --run 1\ndef flow(x: int) -> int:\n    return step(x)\n",
)


@pytest.mark.kernel
def test_a_headless_execution_keeps_its_journal_in_its_working_directory(tmp_path: Path) -> None:
    room = tmp_path / "room"
    room.mkdir()
    for _ in range(2):
        book = notebook(*CELLS)
        _Client(book, resources={"metadata": {"path": str(room)}}).execute(env=environment())
        assert "The same call returns it and executes nothing" in outputs(book)
        assert f"journal {room / '.romancy' / 'journal.duckdb'}" in outputs(book)
        nbformat.validate(book)
    assert (room / "effects").read_text() == "step "


@pytest.mark.kernel
def test_a_headless_execution_stops_at_the_cell_that_pauses(tmp_path: Path) -> None:
    book = notebook(
        *CELLS[:2],
        "%%romancy_workflow --run 1\ndef flow(x: int) -> int:\n    return [step(x)][5]\n",
        "print('not reached')",
    )
    with pytest.raises(CellExecutionError) as caught:
        _Client(book, resources={"metadata": {"path": str(tmp_path)}}).execute(env=environment())
    assert caught.value.ename == "IndexError"
    assert "romancy_nb/" not in str(caught.value)
    assert "not reached" not in outputs(book)
