"""The command line's doors: questions, answers, events, an instance that goes on, and notebooks that wait and go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
import served
from served import environment, program

ROOT = Path(__file__).parents[1]

FLOWS = """
import romancy_nb as rn
from pydantic import BaseModel

class Payment(BaseModel):
    amount: float

def effect(name):
    with open("effects", "a") as file:
        file.write(name + "\\n")

@rn.activity
def pay(amount: int) -> str:
    effect(f"pay-{amount}")
    return f"paid {amount}"

@rn.workflow
def expense(amount: int) -> str:
    pay(1)
    return pay(amount) if rn.ask("Approve it?") else "refused"

@rn.workflow
def order(number: int) -> float:
    return rn.wait_event("payment.completed", type=Payment).amount

@rn.workflow
def nap(seconds: float) -> str:
    rn.sleep(seconds)
    return "awake"

@rn.workflow
def late(n: int) -> bool:
    return rn.ask("In time?", timeout=1.0)

@rn.workflow
def two(n: int) -> list[object]:
    return list(rn.gather(lambda: rn.ask("First?"), lambda: rn.ask("Which one?", type=str, name="which")))
"""
MAKE = """
import sys, time
from flows import *
rn.connect("journal.duckdb")
name, call = sys.argv[1], sys.argv[2]
handle = eval(call)
while handle.status != "waiting":
    time.sleep(0.002)
rn.disconnect()
"""


def cli(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return served.cli(cwd, *arguments, USER="ana")


@pytest.fixture
def room(tmp_path: Path) -> Path:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "make.py").write_text(MAKE)
    return tmp_path


def made(room: Path, call: str, name: str) -> None:
    """Leave an instance that waits, and that nobody runs."""
    done = program(room / "make.py", name, f"{call[:-1]}, instance_id={name!r})", USER="ana")
    assert done.returncode == 0, done.stderr


J = ("--journal", "journal.duckdb")


def test_a_question_is_listed_answered_and_gone_on_with(room: Path) -> None:
    made(room, "expense.start(5)", "expense-5")
    listed = cli(room, "questions", *J)
    assert "expense expense-5 asks: Approve it?" in listed.stdout
    assert "romancy-nb answer expense-5 yes|no --journal journal.duckdb" in listed.stdout
    assert json.loads(cli(room, "questions", *J, "--json").stdout)[0]["event"] == "approve-it"
    waits = cli(room, "resume", "exp", "--module", "flows", *J)
    assert waits.returncode == 75 and "Approve it?" in waits.stdout
    empty = cli(room, "answer", "expense-5", *J)
    assert empty.returncode == 1 and "yes|no" in empty.stderr.replace("\n", " ")
    wrong = cli(room, "answer", "expense-5", "perhaps", *J)
    assert wrong.returncode == 1 and "Traceback" not in wrong.stderr
    answered = cli(room, "answer", "expense-5", "yes", *J)
    assert answered.stdout.startswith("Approve it? yes.") and "nobody runs that just now" in answered.stdout
    late = cli(room, "answer", "expense-5", "no", *J)
    assert late.returncode == 1 and "The first answer counts" in late.stderr.replace("\n", " ")
    done = cli(room, "resume", "expense-5", "--module", "flows.py", *J, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["result"] == "'paid 5'"
    assert (room / "effects").read_text().split() == ["pay-1", "pay-5"]
    assert cli(room, "questions", *J).stdout == "Nobody is asked anything.\n"
    over = cli(room, "resume", "expense-5", "--module", "flows", *J)
    assert over.returncode == 1 and "nothing to resume" in over.stderr.replace("\n", " ")


def test_who_answered_and_how_is_kept(room: Path) -> None:
    made(room, "expense.start(5)", "expense-5")
    cli(room, "answer", "expense-5", "no", *J)
    query = "import romancy_nb as rn; rn.connect('journal.duckdb'); print([r.event.meta for r in rn.instance('expense-5').rows()])"
    out = subprocess.run(
        [sys.executable, "-c", query], cwd=room, env=environment(), capture_output=True, text=True
    ).stdout
    assert "'via': 'command line'" in out and "'by': " in out


def test_an_event_is_checked_by_its_schema_and_sent_once_an_id(room: Path) -> None:
    made(room, "order.start(1)", "order-1")
    refused = cli(room, "send", "order-1", "payment.completed", '{"amount": "much"}', *J)
    assert refused.returncode == 1 and "amount" in refused.stderr
    sent = cli(room, "send", "order-1", "payment.completed", '{"amount": 2.5}', "--event-id", "e1", *J, "--json")
    assert json.loads(sent.stdout)["status"] == "kept"
    again = cli(room, "send", "order-1", "payment.completed", '{"amount": 2.5}', "--event-id", "e1", *J)
    assert again.returncode == 0 and "not sent once more" in again.stdout
    assert cli(room, "send", "order-1", "x", "bare", *J).returncode == 1
    assert cli(room, "send", "nobody", "x", *J).returncode == 1
    done = cli(room, "resume", "order-1", "--module", "flows", *J)
    assert done.stdout == "order order-1 is completed: 2.5\n"


def test_of_several_questions_one_is_named(room: Path) -> None:
    made(room, "two.start(1)", "two-1")
    listed = cli(room, "questions", *J).stdout
    assert "romancy-nb answer two-1 --question which TEXT" in listed
    assert cli(room, "answer", "two-1", "yes", *J).returncode == 1
    assert cli(room, "answer", "two-1", "the red one", "--question", "which", *J).returncode == 0
    assert cli(room, "answer", "two-1", "yes", *J).returncode == 0


def test_resuming_waits_for_a_timer_that_is_due_soon_and_not_for_a_far_one(room: Path) -> None:
    made(room, "nap.start(2.0)", "nap-2")
    made(room, "nap.start(5000)", "nap-5000")
    assert cli(room, "resume", "nap-2", "--module", "flows", *J).stdout == "nap nap-2 is completed: 'awake'\n"
    far = cli(room, "resume", "nap-5000", "--module", "flows", *J)
    assert far.returncode == 75 and "a timer that is due" in far.stdout


def test_what_the_workflow_raised_is_said_also_when_it_is_a_timeout(room: Path) -> None:
    made(room, "late.start(1)", "late-1")
    while (done := cli(room, "resume", "late-1", "--module", "flows", *J)).returncode == 75:
        assert "In time?" in done.stdout  # its second is not over yet
    assert done.returncode == 1 and "late late-1 failed: TimeoutError: Nobody answered" in done.stderr.replace(
        "\n", " "
    )


def test_resuming_where_the_workflow_is_not_defined_says_so(room: Path) -> None:
    made(room, "nap.start(5000)", "nap-5000")
    (room / "other.py").write_text("")
    done = cli(room, "resume", "nap-5000", "--module", "other", *J)
    assert done.returncode == 1 and "not defined here" in done.stderr.replace("\n", " ")
    assert cli(room, "resume", "nap-5000", "--module", "absent", *J).returncode == 1


# -- notebooks ---------------------------------------------------------------------------------------------------------------


def notebook(room: Path, *cells: str) -> Path:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    path = room / "book.ipynb"
    nbformat.write(book, path)
    return path


def outputs(path: Path) -> str:
    book: Any = nbformat.read(path, as_version=4)
    return json.dumps([cell.outputs for cell in book.cells])


def test_a_notebook_that_waits_exits_75_and_goes_on_when_it_is_run_again(room: Path) -> None:
    path = notebook(
        room, "%load_ext romancy_nb\nfrom flows import *", "expense.run(7, instance_id='expense-7')", "effect('end')"
    )
    first = cli(room, "run", "book.ipynb")
    assert first.returncode == 75, first.stdout + first.stderr
    assert "book.ipynb waits in code cell 2:" in first.stdout
    assert "romancy-nb answer expense-7 yes|no\n" in first.stdout
    assert "Then: romancy-nb run book.ipynb" in first.stdout
    assert "waits for an answer" in outputs(path)
    again = json.loads(cli(room, "run", "book.ipynb", "--json").stdout)
    assert (again["status"], again["cell"]) == ("waiting", 2)
    told = cli(room, "answer", "expense-7", "yes")
    assert "run " + str(path) in told.stdout.replace("\n", " "), "whoever answers is told which notebook to run"
    done = cli(room, "run", "book.ipynb")
    assert (done.returncode, done.stdout) == (0, "book.ipynb: all cells have run.\n")
    assert (room / "effects").read_text().split() == ["pay-1", "pay-7", "end"]
    assert "'paid 7'" in outputs(path)


def test_the_journal_is_named_where_the_shell_would_find_another_one(room: Path) -> None:
    path = notebook(room, "from flows import *", "expense.run(7, instance_id='expense-7')")
    (room / "elsewhere").mkdir()
    done = cli(room / "elsewhere", "run", str(path), "--output", "out.ipynb", "--journal", "j.duckdb")
    assert done.returncode == 75, done.stdout + done.stderr
    assert "romancy-nb answer expense-7 yes|no --journal j.duckdb" in done.stdout
    assert "--output out.ipynb --journal j.duckdb" in done.stdout
    assert (room / "elsewhere" / "out.ipynb").is_file() and (room / "elsewhere" / "j.duckdb").is_file()
    assert outputs(path) == "[[], []]", "the notebook itself stays as it was"


def test_another_error_exits_1_and_what_has_run_is_saved(room: Path) -> None:
    path = notebook(room, "print('first')", "1 / 0", "print('never')")
    done = cli(room, "run", "book.ipynb")
    assert done.returncode == 1
    assert "failed in code cell 2. ZeroDivisionError: division by zero" in done.stdout
    assert "first" in outputs(path) and "never" not in outputs(path)


@pytest.mark.parametrize(("name", "said"), [("absent.ipynb", "There is no notebook"), ("flows.py", "is no notebook")])
def test_what_is_no_notebook_is_said_in_a_sentence(room: Path, name: str, said: str) -> None:
    done = cli(room, "run", name)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_a_kernel_that_is_not_installed_is_said(room: Path) -> None:
    notebook(room, "1")
    done = cli(room, "run", "book.ipynb", "--kernel", "no-such-kernel")
    assert done.returncode == 1 and "no-such-kernel" in done.stdout


SLOW = """
@rn.activity
def slow(n: int) -> int:
    import time
    effect("slow begins")
    time.sleep(60)
    return n
@rn.workflow
def long(n: int) -> int:
    pay(n)
    return slow(n)
long.run(3, instance_id="long-3")
"""


def test_ctrl_c_leaves_the_run_paused(room: Path) -> None:
    notebook(room, "%load_ext romancy_nb\nfrom flows import *", SLOW, "effect('end')")
    command = [sys.executable, "-m", "romancy_nb.cli", "run", "book.ipynb"]
    running = subprocess.Popen(
        command, cwd=room, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    effects = room / "effects"
    while not (effects.exists() and "slow begins" in effects.read_text()):
        assert running.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, out + err
    assert "was stopped in code cell 2" in out and "Traceback" not in err
    assert json.loads(cli(room, "ls", "--json").stdout)[0]["status"] == "paused"


def test_killed_in_the_middle_it_goes_on_when_it_is_run_again(room: Path) -> None:
    """SIGKILL takes the command; its kernel notices, and nothing that completed is done once more."""
    held = SLOW.replace("time.sleep(60)", "import os\n    while not os.path.exists('go'):\n        time.sleep(0.02)")
    path = notebook(room, "%load_ext romancy_nb\nfrom flows import *", held, "effect('end')")
    before = path.read_bytes()
    command = [sys.executable, "-m", "romancy_nb.cli", "run", "book.ipynb"]
    running = subprocess.Popen(
        command, cwd=room, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    effects = room / "effects"
    until = time.monotonic() + 60
    while not (effects.exists() and "slow begins" in effects.read_text()):
        assert running.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    running.kill()
    running.wait()
    assert path.read_bytes() == before, "the file is whole"
    while json.loads(cli(room, "ls", "--json").stdout)[0]["status"] != "interrupted":
        assert time.monotonic() < until + 60
    (room / "go").touch()
    done = cli(room, "run", "book.ipynb")
    assert done.returncode == 0, done.stdout + done.stderr
    assert effects.read_text().split("\n")[:-1] == ["pay-3", "slow begins", "slow begins", "end"]
    assert [each.name for each in room.glob(".book*")] == []
