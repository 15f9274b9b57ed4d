"""The whole path in real kernels: define in cells, run, die, run all cells again."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernels import Kernel, eventually

pytestmark = [pytest.mark.kernel, pytest.mark.crash]


def cells(kernel: Kernel, *, hold: str = "") -> list[str]:
    """The notebook's cells. While the file *hold* is there, ``charge`` does not return."""
    return [
        f"import os, time\nEFFECTS = {str(kernel.effects)!r}\n",
        "%load_ext romancy_nb",
        "def effect(name):\n    with open(EFFECTS, 'a') as file:\n        file.write(name + '\\n')",
        "%%romancy_activity --retries 1\n"
        "def reserve(item: str) -> str:\n    effect(f'reserve-{item}')\n    return item.upper()\n"
        "def charge(amount: int) -> int:\n    effect(f'charge-{amount}')\n"
        f"    while os.path.exists({hold!r}): time.sleep(0.02)\n    return amount * 2\n",
        "%%romancy_workflow\n"
        "def order(items: list) -> dict:\n    found = [reserve(item) for item in items]\n"
        "    paid = charge(len(found))\n    return {'found': found, 'paid': paid, 'sent': reserve('box')}\n",
        "order(['a', 'b', 'c'])",
    ]


def run_all(kernel: Kernel, notebook: list[str]) -> list[str]:
    """Restart-and-run-all without the restart; what each cell printed."""
    return [kernel.ok(cell).text for cell in notebook]


def test_after_a_kill_in_the_middle_run_all_executes_only_what_is_missing(own: Kernel, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    notebook = cells(own, hold=str(hold))
    for cell in notebook[:-1]:
        own.ok(cell)
    own.send(notebook[-1])
    eventually(lambda: "charge-3" in own.done(), "charge in flight")
    own.kill()
    before = own.done()
    assert before == ["reserve-a", "reserve-b", "reserve-c", "charge-3"]

    hold.unlink()
    own.again()
    shown = run_all(own, notebook)
    journal = own.cwd / ".romancy" / "journal.duckdb"
    assert f"journal {journal} (1 instance)" in shown[1]
    assert "interrupted: order order-" in shown[1]
    assert "call order again to go on" in shown[1]
    assert "Resumed the run that was interrupted" in shown[-1]
    assert "from journal: 3, executed: 2" in shown[-1]
    assert "'sent': 'BOX'" in shown[-1]
    # the one in flight at the kill may be executed again; everything else exactly once
    assert own.done() == [*before, "charge-3", "reserve-box"]


def test_run_all_twice_executes_nothing_and_shows_the_same_result(own: Kernel) -> None:
    notebook = cells(own)
    first = run_all(own, notebook)
    assert f"journal {own.cwd / '.romancy' / 'journal.duckdb'} (new)" in first[1]
    assert "Started (order" in first[-1]
    done = own.done()

    own.restart()
    second = run_all(own, notebook)
    assert "(1 instance)" in second[1]
    assert "interrupted" not in second[1]
    assert "Returned the result of" in second[-1]
    assert "Nothing was executed" in second[-1]
    assert own.done() == done == ["reserve-a", "reserve-b", "reserve-c", "charge-3", "reserve-box"]
    assert first[-1].splitlines()[-2:] == second[-1].splitlines()[-2:]


def test_a_background_run_of_a_killed_kernel_waits_for_the_next_call(own: Kernel, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    notebook = cells(own, hold=str(hold))
    for cell in notebook[:-1]:
        own.ok(cell)
    own.ok("h = order.start(['a'])")
    eventually(lambda: "charge-1" in own.done(), "charge in flight")
    own.kill()
    hold.unlink()
    own.again()
    for cell in notebook[:-1]:
        own.ok(cell)
    assert own.value("[each.status for each in rn.instances()]") == ["interrupted"]
    assert own.value("len(rn.instances('interrupted')), len(rn.instances('running'))") == (1, 0)
    assert own.done() == ["reserve-a", "charge-1"], "nothing moves by itself (R15)"
    assert own.value("rn.instances()[0].resume().result(10)") == {"found": ["A"], "paid": 2, "sent": "BOX"}
    assert own.done() == ["reserve-a", "charge-1", "charge-1", "reserve-box"]


def test_the_restart_button_while_a_run_is_in_flight_loses_nothing(own: Kernel, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    notebook = cells(own, hold=str(hold))
    for cell in notebook[:-1]:
        own.ok(cell)
    own.ok("h = order.start(['a'])")
    eventually(lambda: "charge-1" in own.done(), "charge in flight")
    own.restart()
    hold.unlink()
    for cell in notebook[:-1]:
        own.ok(cell)
    again = own.ok("order(['a'])")
    assert "Resumed" in again.stdout
    assert own.done().count("reserve-a") == 1


def test_the_variable_names_the_journal(python: str, tmp_path: Path) -> None:
    named = tmp_path / "elsewhere" / "mine.duckdb"
    kernel = Kernel(python, tmp_path, ROMANCY_JOURNAL=str(named))
    try:
        assert f"journal {named} (new)" in kernel.ok("%load_ext romancy_nb").stdout
        kernel.ok("import os\nos.chdir('/')")
        assert kernel.value("str(rn.connect().path)") == str(named)
    finally:
        kernel.close()
    assert not (tmp_path / ".romancy").exists()


def test_the_journal_is_where_the_notebook_is_and_stays_there(python: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "notebooks").mkdir(parents=True)
    (project / ".git").mkdir()
    (project / ".romancy").mkdir()
    kernel = Kernel(python, tmp_path, JPY_SESSION_NAME=str(project / "notebooks" / "one.ipynb"))
    try:
        said = kernel.ok("%load_ext romancy_nb").stdout
        assert f"journal {project / '.romancy' / 'journal.duckdb'} (new)" in said
        kernel.ok("import os\nos.chdir('/')\n@rn.workflow\ndef flow() -> int: return 1\nflow()")
        assert kernel.value("rn.instances().df().notebook[0]") == str(project / "notebooks" / "one.ipynb")
    finally:
        kernel.close()
    assert (project / ".romancy" / "journal.duckdb").exists()
