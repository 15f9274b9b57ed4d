"""The command line as people meet it: in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from served import cli, environment, program

from romancy_nb import doctor

ROOT = Path(__file__).parents[1]

MAKE = """
import romancy_nb as rn

@rn.activity
def double(number: int) -> int:
    return 2 * number

@rn.activity(retry=rn.RetryPolicy(max_attempts=1))
def fail(text: str) -> None:
    raise ValueError(text)

@rn.workflow
def doubling(numbers: list[int]) -> list[int]:
    return [double(number) for number in numbers]

@rn.workflow
def failing() -> None:
    fail("it's broken")

rn.connect("journal.duckdb")
doubling.start([1, 2], instance_id="first-one").result()
doubling.start([3], instance_id="first-two").result()
doubling.start([4], instance_id="it's").result()
try:
    failing.start(instance_id="broken").result()
except Exception:
    pass
rn.disconnect()
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a journal of four instances."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "make.py").write_text(MAKE)
    made = program(folder / "make.py")
    assert made.returncode == 0, made.stderr
    return folder


def ask(room: Path, *arguments: str) -> str:
    done = cli(room, *arguments, "--journal", "journal.duckdb")
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask_json(room: Path, *arguments: str) -> Any:
    return json.loads(ask(room, *arguments, "--json"))


def test_version_is_quick_and_imports_nothing_heavy(tmp_path: Path) -> None:
    done = cli(tmp_path, "--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "romancy-nb")
    code = (
        "import sys\nfrom romancy_nb.cli import main\n"
        "try: main(['--version'])\nexcept SystemExit: pass\n"
        "print(sorted({'duckdb', 'IPython', 'nbclient', 'pandas'} & sys.modules.keys()))"
    )
    seen = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    ).stdout
    assert seen.splitlines()[1] == "[]"


@pytest.mark.parametrize("arguments", [[], ["dance"], ["ls", "--sideways"], ["show"]])
def test_wrong_usage_is_exit_code_2(tmp_path: Path, arguments: list[str]) -> None:
    done = cli(tmp_path, *arguments)
    assert done.returncode == 2
    assert "usage: romancy-nb" in done.stderr


def test_a_status_that_does_not_exist_is_wrong_usage(room: Path) -> None:
    done = cli(room, "ls", "--journal", "journal.duckdb", "--status", "happy")
    assert done.returncode == 2
    assert "completed" in done.stderr, "it names those that exist"


@pytest.mark.parametrize("arguments", [["ls"], ["show", "x"]])
def test_looking_where_there_is_no_journal_says_so_and_makes_none(tmp_path: Path, arguments: list[str]) -> None:
    for more in ([], ["--journal", "elsewhere.duckdb"]):
        done = cli(tmp_path, *arguments, *more)
        assert (done.returncode, done.stdout) == (1, "")
        assert "There is no journal at" in done.stderr
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_journal_is_refused_in_one_paragraph(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database\n" * 100)
    done = cli(tmp_path, "ls", "--journal", "notes.txt")
    assert done.returncode == 1
    assert "notes.txt" in done.stderr
    assert "Traceback" not in done.stderr


def test_ls_lists_newest_first(room: Path) -> None:
    lines = ask(room, "ls").splitlines()
    assert lines[0].split()[:3] == ["ID", "WORKFLOW", "STATUS"]
    assert [line.split()[0] for line in lines[1:]] == ["broken", "it's", "first-two", "first-one"]
    assert lines[1].split()[1:3] == ["failing", "failed"]


def test_ls_selects(room: Path) -> None:
    assert [row["instance_id"] for row in ask_json(room, "ls", "--status", "failed")] == ["broken"]
    assert len(ask_json(room, "ls", "--workflow", "doubling")) == 3
    assert "no instances that are like this" in ask(room, "ls", "--status", "paused")


def test_ls_json_is_for_programs(room: Path) -> None:
    first = ask_json(room, "ls")[-1]
    assert first.keys() >= {"instance_id", "workflow", "status", "run", "created_at", "updated_at", "notebook"}
    assert (first["instance_id"], first["status"], first["run"]) == ("first-one", "completed", 1)


def test_ls_finds_the_journal_by_the_environment(room: Path, tmp_path: Path) -> None:
    done = cli(tmp_path, "ls", ROMANCY_JOURNAL=str(room / "journal.duckdb"))
    assert done.returncode == 0, done.stderr
    assert "first-one" in done.stdout


def test_ls_into_a_pipe_that_closes_is_quiet(room: Path) -> None:
    line = f"{sys.executable} -m romancy_nb.cli ls --journal journal.duckdb | true"
    done = subprocess.run(
        ["sh", "-c", line], cwd=room, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""


def test_show_draws_the_timeline(room: Path) -> None:
    shown = ask(room, "show", "first-one")
    assert "doubling" in shown
    assert shown.count("double") >= 2
    assert "it's broken" in ask(room, "show", "broken")


@pytest.mark.parametrize(("wanted", "found"), [("first-o", "first-one"), ("it's", "it's"), ("…-two", "first-two")])
def test_show_takes_enough_of_the_id(room: Path, wanted: str, found: str) -> None:
    assert ask_json(room, "show", wanted)["instance_id"] == found


@pytest.mark.parametrize(
    ("wanted", "says"), [("first", "first-one"), ("second", "romancy-nb ls"), ("", "romancy-nb ls")]
)
def test_show_refuses_what_is_unclear(room: Path, wanted: str, says: str) -> None:
    done = cli(room, "show", wanted, "--journal", "journal.duckdb")
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr


def test_show_json_has_runs_and_steps(room: Path) -> None:
    shown = ask_json(room, "show", "first-one")
    assert [run["status"] for run in shown["runs"]] == ["completed"]
    assert shown["runs"][0]["output"] == [2, 4]
    assert [(step["name"], step["output"]) for step in shown["steps"]] == [("double", 2), ("double", 4)]


def test_doctor_without_a_journal(tmp_path: Path) -> None:
    done = cli(tmp_path, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    for wanted in ("duckdb", "pydantic", sys.executable, ".romancy", "not there yet"):
        assert wanted in done.stdout
    assert list(tmp_path.iterdir()) == [], "looking makes nothing"


def test_doctor_reads_the_journal(room: Path) -> None:
    facts = ask_json(room, "doctor")
    assert facts["journal"]["file"] == str((room / "journal.duckdb").resolve())
    assert facts["journal"]["held by"] == "nobody"
    assert facts["journal"]["instances"] == "3 completed, 1 failed"
    assert facts["problems"] == []


def test_doctor_names_who_holds_the_journal(tmp_path: Path) -> None:
    code = (
        "import time, romancy_nb as rn\n"
        "from romancy_nb.journal.on_duckdb import DuckDBJournal\n"
        "import os\nfrom pathlib import Path\n"
        "journal = DuckDBJournal(Path('j.duckdb').resolve(), holder={'pid': os.getpid(), 'notebook': 'my.ipynb', 'user': ''})\n"
        "journal.acquire(5); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            before = time.monotonic()
            done = cli(tmp_path, "doctor", "--json", "--journal", "j.duckdb")
            facts = json.loads(done.stdout)
            assert str(holder.pid) in facts["journal"]["held by"]
            assert "my.ipynb" in facts["journal"]["held by"]
            assert time.monotonic() - before < 10, "it does not wait for the holder"
        finally:
            holder.kill()


def test_doctor_tells_what_is_wrong_with_a_file_that_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database\n" * 100)
    done = cli(tmp_path, "doctor", "--journal", "notes.txt")
    assert done.returncode == 1
    assert "Problem: The journal cannot be opened." in done.stdout
    assert (tmp_path / "notes.txt").read_text() == "not a database\n" * 100


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_file_system_is_named_also_for_a_path_that_is_not_there_yet(tmp_path: Path) -> None:
    assert doctor.file_system(tmp_path / "a" / "b") == doctor.file_system(tmp_path) is not None


# -- check -------------------------------------------------------------------------------------------------------------

FLOWS = """
import dataclasses, os
import romancy_nb as rn

@dataclasses.dataclass
class Item:
    name: str

@rn.activity
def reserve(item: Item) -> Item:
    if os.environ.get("KILL"):
        os.kill(os.getpid(), 9)
    return item

@rn.workflow
def order(item: Item) -> str:
    return reserve(item).name

if __name__ == "__main__":
    order.run(Item("lamp"), instance_id="order-1")
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A program that was killed in its only step."""
    (tmp_path / "flows.py").write_text(FLOWS)
    ended = subprocess.run(
        [sys.executable, "flows.py"],
        cwd=tmp_path,
        env=environment(KILL="1", ROMANCY_JOURNAL="journal.duckdb"),
        capture_output=True,
    )
    assert ended.returncode == -9, ended
    return tmp_path


def test_check_says_whether_recorded_runs_fit_a_file(killed: Path) -> None:
    fits = cli(killed, "check", "flows.py", "--journal", "journal.duckdb")
    assert (fits.returncode, fits.stderr) == (0, "")
    assert fits.stdout.startswith("1 recorded run: fits. Nothing was executed or written.\n  order order-1"), (
        fits.stdout
    )
    (killed / "flows.py").write_text(FLOWS.replace("reserve(item).name", 'reserve(Item("desk")).name'))
    parts = cli(killed, "check", "flows.py", "--journal", "journal.duckdb")
    assert parts.returncode == 1
    assert "does not fit" in parts.stdout and "desk" in parts.stdout and "order() changed" in parts.stdout
    as_json = cli(killed, "check", "flows.py", "--journal", "journal.duckdb", "--json", "--all", "--workflow", "order")
    assert as_json.returncode == 1
    (row,) = json.loads(as_json.stdout)
    assert (row["instance"], row["fits"], row["status"]) == ("order-1", False, "interrupted")


def test_check_starts_nothing(killed: Path) -> None:
    (killed / "flows.py").write_text(FLOWS.replace('if __name__ == "__main__":', "if True:"))
    refused = cli(killed, "check", "flows.py", "--journal", "journal.duckdb")
    assert refused.returncode == 1 and "calls workflow order at its top level" in refused.stderr
    book = cli(killed, "check", "book.ipynb", "--journal", "journal.duckdb")
    assert book.returncode == 1 and "%romancy check" in book.stderr
    unknown = cli(killed, "check", "flows_that_are_not", "--journal", "journal.duckdb")
    assert unknown.returncode == 1 and "cannot be loaded" in unknown.stderr
