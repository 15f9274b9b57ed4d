"""Where notebooks live besides a person's browser: papermill, jupyter execute, nbconvert; and marimo, which has no magics."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from kernels import ROOT

CELLS = {
    "load": "%load_ext romancy_nb",
    "parameters": "x = 1",
    "define": "%%romancy_activity\ndef get(x):\n    open('RAN', 'a').write('x')\n    return x * 2",
    "run": "%%romancy_workflow research n=x\na = get(n)\na",
    "use": "print('a is', a)",
}


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook with a cell of parameters, and a kernelspec of this interpreter."""
    room = tmp_path / "share" / "jupyter" / "kernels" / "here"
    room.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (room / "kernel.json").write_text(
        f'{{"argv": {argv!r}, "display_name": "here", "language": "python"}}'.replace("'", '"')
    )
    book = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "here", "display_name": "here", "language": "python"}}
    )
    for name, source in CELLS.items():
        cell = nbformat.v4.new_code_cell(source)
        cell.metadata["tags"] = [name]
        book.cells.append(cell)
    path = tmp_path / "project" / "study.ipynb"
    path.parent.mkdir()
    nbformat.write(book, path)
    return path


def execute(module: str, *arguments: str, cwd: Path, share: Path | None = None) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROMANCY_", "JPY_"))}
    room = share or cwd.parent
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env={
            **kept,
            "PYTHONPATH": str(ROOT),
            "JUPYTER_PATH": str(room / "share" / "jupyter"),
            "IPYTHONDIR": str(room / "ipython"),
            "HOME": str(room),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def printed(path: Path) -> str:
    found = []
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            found.append(output.get("text") or output.get("data", {}).get("text/plain", "") or output.get("evalue", ""))
    return "\n".join(found)


def test_papermill_runs_a_body_again_from_the_journal_and_its_parameters_count(notebook: Path) -> None:
    pytest.importorskip("papermill")
    room = notebook.parent
    for name, x in (("one", "3"), ("two", "3"), ("three", "4")):
        execute("papermill", "-p", "x", x, notebook.name, f"{name}.ipynb", cwd=room)
        shown = printed(room / f"{name}.ipynb")
        assert f"a is {2 * int(x)}" in " ".join(
            shown.split()
        )  # the kernel's clock may have cut what a plain cell prints
    assert (room / "RAN").read_text() == "xx"


def test_papermill_from_another_directory_uses_that_directorys_journal(notebook: Path) -> None:
    pytest.importorskip("papermill")
    elsewhere = notebook.parent.parent / "elsewhere"
    elsewhere.mkdir()
    execute("papermill", str(notebook), "out.ipynb", cwd=elsewhere)
    assert (elsewhere / ".romancy" / "journal.duckdb").exists()
    execute("papermill", "--cwd", str(notebook.parent), str(notebook), "out.ipynb", cwd=elsewhere)
    assert (notebook.parent / ".romancy" / "journal.duckdb").exists()


def test_nbconvert_and_jupyter_execute_replay_and_their_exports_show_the_timeline(notebook: Path) -> None:
    pytest.importorskip("nbconvert")
    room = notebook.parent
    execute("nbconvert", "--to", "notebook", "--execute", notebook.name, "--output", "one.ipynb", cwd=room)
    execute("jupyter", "execute", notebook.name, "--output=two.ipynb", cwd=room)
    assert (room / "RAN").read_text() == "x"
    execute("nbconvert", "--to", "html", "two.ipynb", cwd=room)
    execute("nbconvert", "--to", "markdown", "two.ipynb", cwd=room)
    for export in ("two.html", "two.md"):
        text = (room / export).read_text()
        assert "research" in text and "completed" in text
    assert not re.search(r"<script[^>]*src=[^>]*romancy", (room / "two.html").read_text())


APP = """
import marimo
app = marimo.App()

@app.cell
def _():
    import romancy_nb as rn
    return (rn,)

@app.cell
def _(rn):
    @rn.activity
    def get(x):
        open("RAN", "a").write("x")
        return x * 2
    @rn.workflow
    def flow(x):
        return get(x)
    @rn.workflow
    async def slow(x):
        return await get(x)
    return flow, slow

@app.cell
def _(flow):
    r = flow(3)
    r
    return (r,)

@app.cell
async def _(slow):
    q = await slow(4)
    q
    return (q,)

@app.cell
def _(flow, r):
    handle = flow.start(5)
    handle.result()
    handle
    return

if __name__ == "__main__":
    app.run()
"""


def test_marimo_runs_workflows_and_shows_instances_also_as_a_script(tmp_path: Path) -> None:
    pytest.importorskip("marimo")
    room = tmp_path / "project"
    room.mkdir()
    (room / "app.py").write_text(APP)
    execute("marimo", "export", "html", "app.py", "-o", "one.html", cwd=room)
    assert (room / "RAN").read_text() == "xxx"
    subprocess.run(
        [sys.executable, "app.py"], cwd=room, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=60
    )
    execute("marimo", "export", "html", "app.py", "-o", "two.html", cwd=room)
    assert (room / "RAN").read_text() == "xxx", "the cell's code is the same in a notebook and in a script"
    assert "1 executed" in (room / "two.html").read_text()
