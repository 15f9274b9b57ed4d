"""Two notebooks in one folder with the same names; renamed and copied ones; ``%cd`` (R12, D4), in real kernels."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernels import Kernel

CELL = """%load_ext romancy_nb
@rn.activity
def get(x):
    open('EFFECTS', 'a').write('x')
    return x * FACTOR
@rn.workflow
def flow(x): return get(x)
flow(2)"""


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Callable[[str], Kernel]]:
    kernels: list[Kernel] = []

    def start(name: str) -> Kernel:
        path = tmp_path / f"{name}.ipynb"
        path.touch()
        kernels.append(Kernel(sys.executable, tmp_path, JPY_SESSION_NAME=str(path)))
        return kernels[-1]

    yield start
    for kernel in kernels:
        kernel.close()


def cell(factor: int) -> str:
    return CELL.replace("FACTOR", str(factor))


def test_two_notebooks_with_the_same_names_and_other_code_have_instances_of_their_own(
    notebook: Callable[[str], Kernel], tmp_path: Path
) -> None:
    one, two = notebook("one"), notebook("two")
    assert one.ok(cell(2)).result == "4"
    first = two.ok(cell(3))
    assert first.result == "6"
    assert "one.ipynb has an instance of this call with other code" in first.stdout
    for kernel, factor in ((one, 2), (two, 3), (one, 2)):
        again = kernel.ok(cell(factor))
        assert "Nothing was executed" in again.stdout and "The record is of" not in again.stdout
    assert (tmp_path / "EFFECTS").read_text() == "xx"


def test_a_copied_notebook_goes_on_with_the_record_and_says_whose_it_is(notebook: Callable[[str], Kernel]) -> None:
    notebook("one").ok(cell(2))
    shown = notebook("copy").ok(cell(2)).stdout
    assert "Nothing was executed" in shown
    assert "The record is of" in shown and "one.ipynb" in shown


def test_a_renamed_notebook_goes_on_with_the_record_also_when_it_is_edited(
    notebook: Callable[[str], Kernel], tmp_path: Path
) -> None:
    notebook("one").ok(cell(2))
    (tmp_path / "one.ipynb").unlink()
    renamed = notebook("renamed")
    assert "The record is of" in renamed.ok(cell(2)).stdout
    assert "Run 2" in renamed.ok(cell(5)).stdout


def test_a_changed_directory_moves_neither_journal_nor_notebook(tmp_path: Path) -> None:
    kernel = Kernel(sys.executable, tmp_path, JPY_SESSION_NAME="study.ipynb")
    try:
        kernel.ok("%cd /")
        kernel.ok("%load_ext romancy_nb")
        assert kernel.value("str(rn.connect().path)") == str(tmp_path / ".romancy" / "journal.duckdb")
        kernel.ok("@rn.workflow\ndef flow(): return 1\nflow();")
        assert kernel.value("rn.sql('select notebook from instances').fetchall()[0][0]") == str(
            tmp_path / "study.ipynb"
        )
    finally:
        kernel.close()
