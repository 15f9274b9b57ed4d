"""``romancy-nb fork`` and ``romancy-nb diff``, and what every command does with what it cannot use. In this process."""

from __future__ import annotations

import errno
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import romancy_nb as rn
from romancy_nb import terminal
from romancy_nb.cli import main
from romancy_nb.runtime.streams import detach

executed: list[str] = []


@rn.activity
def priced(item: str) -> int:
    executed.append("priced")
    return len(item)


@rn.activity
def doubled(price: int) -> int:
    executed.append("doubled")
    return 2 * price


@rn.activity(retry=rn.RetryPolicy(max_attempts=1))
def refused(why: str) -> None:
    raise ValueError(why)


@rn.workflow
def quoted(item: str) -> int:
    return doubled(priced(item))


@rn.workflow
def asked(item: str) -> str:
    priced(item)
    return rn.ask("Which \x1b[31mcolour?", type=str)


@rn.workflow
def rejected(why: str) -> None:
    refused(why)


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal") / "journal.duckdb"
    rn.connect(path)
    try:
        for item, name in (("tea", "tea"), ("coffee", "coffee"), ("milk", "7")):
            quoted.start(item, instance_id=name).result()
        with pytest.raises(ValueError, match="no"):
            rejected.start("no \x1b[31mway", instance_id="rejected").result()
    finally:
        rn.disconnect()
    return path


@pytest.fixture
def say(journal: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """Run a command; returns its exit code, and what it wrote to standard output and error."""
    detach()  # what other tests have left on pytest's streams

    def run(*arguments: str) -> tuple[int, str, str]:
        executed.clear()
        code = main([*arguments, "--journal", str(journal)])
        told = capsys.readouterr()
        return code, told.out, told.err

    yield run
    rn.disconnect()


MODULE = ("--module", __name__)


def test_a_fork_goes_on_from_an_edited_result_and_the_original_stays(say: Said) -> None:
    code, out, _ = say("fork", "tea", *MODULE, "--edit", "priced=10", "--id", "dear-tea")
    assert (code, out, executed) == (0, "quoted dear-tea is completed: 20\n", ["doubled"])
    code, out, _ = say("diff", "tea", "dear-tea")
    assert code == 1 and "0 same · 2 changed" in out and "→ 6" in out and "→ 20" in out
    assert say("diff", "dear-tea")[:2] == say("diff", "dear-tea", "tea")[:2], "a fork is compared with its original"
    code, out, _ = say("show", "tea", "--json")
    assert [step["output"] for step in json.loads(out)["steps"]] == [3, 6]


def test_a_fork_at_a_step_executes_that_step_and_says_so_as_json(say: Said) -> None:
    code, out, _ = say("fork", "coffee", *MODULE, "--at", "doubled", "--json")
    told = json.loads(out)
    assert code == 0 and executed == ["doubled"]
    assert (told["status"], told["result"], told["forked_from"][0]) == ("completed", "12", "coffee")
    code, out, _ = say("diff", "coffee", told["instance_id"], "--json")
    assert code == 0 and json.loads(out)["schema"] == "romancy.comparison", out


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ((), "A fork needs a step to begin at, --at STEP"),
        (("--at", "99"), "There is no step 99. Its steps are 2 priced, 4 doubled."),
        (("--at", ""), "There is no step ''."),
        (("--edit", "priced"), "it takes STEP=VALUE"),
        (("--edit", "priced=dear"), "'dear' is not JSON. A text stands in double quotes"),
        (("--edit", 'priced="dear"'), "int is expected"),
        (("--at", "doubled", "--id", "coffee"), "There is an instance 'coffee' already."),
        (("--at", "doubled", "--id", "a\nb"), "which nobody can type to find the instance again"),
        (("--at", "doubled", "--module", "no_such_module"), "no_such_module cannot be loaded"),
    ],
)
def test_what_cannot_be_forked_is_one_sentence_and_writes_nothing(say: Said, wrong: tuple[str, ...], says: str) -> None:
    before = say("ls", "--json")[1]
    code, out, err = say("fork", "tea", *MODULE, *wrong)
    assert (code, out, executed) == (1, "", []) and says in " ".join(err.split())
    assert say("ls", "--json")[1] == before


def test_unlike_workflows_are_compared_and_what_is_not_there_is_named(say: Said) -> None:
    code, out, _ = say("diff", "tea", "rejected")
    assert code == 1 and "2 only tea · 1 only rejected" in out
    assert "has one run, and was not forked" in say("diff", "coffee")[2]
    assert "has no run 3" in say("diff", "tea", "3")[2]
    assert "No instance with the id 'nope'" in say("diff", "tea", "nope")[2]


def test_an_instance_that_is_called_like_a_number_is_meant_before_a_run(say: Said) -> None:
    assert "quoted: tea and 7" in say("diff", "tea", "7")[1]


def test_no_error_that_a_workflow_raised_reaches_the_terminal_as_a_command(say: Said) -> None:
    code, _, err = say("fork", "rejected", *MODULE, "--at", "refused", "--id", "rejected-again")
    assert (code, err) == (1, "RomancyError: rejected rejected-again failed: ValueError: no way\n")


def test_no_question_reaches_the_terminal_as_a_command(journal: Path, say: Said) -> None:
    rn.connect(journal)
    asked.start("it's", instance_id="it's asked")
    rn.disconnect()
    code, out, _ = say("resume", "it's asked", *MODULE)
    assert code == 75 and "\x1b" not in out
    assert """romancy-nb answer 'it'"'"'s asked' TEXT""" in out, "a line that a shell takes as it stands"


def test_cancelling_with_a_module_that_is_not_there_says_so(say: Said) -> None:
    code, _, err = say("cancel", "tea", "--module", "no_such_module")
    assert code == 1 and err.startswith("RomancyError: no_such_module cannot be loaded: ModuleNotFoundError")


@pytest.mark.parametrize("limit", ["0", "-3"])
def test_a_limit_that_lets_nothing_through_is_refused(say: Said, limit: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        say("ls", "--limit", limit)
    assert f"{limit} is no limit" in capsys.readouterr().err


class _Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_below_the_output_is_said_in_one_line(say: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "discard", lambda: None)
    monkeypatch.setattr(sys, "stdout", _Full())
    code, _, err = say("ls")
    assert (code, err) == (1, "OSError: [Errno 28] No space left on device\n")


def test_streams_that_are_closed_or_cannot_encode_our_marks_are_written_to_all_the_same(
    say: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as ascii_only:
        monkeypatch.setattr(sys, "stdout", ascii_only)
        assert say("show", "tea")[0] == 0
    assert "\\u2713 quoted" in (tmp_path / "out").read_text()
    monkeypatch.setattr(sys, "stdout", None)
    assert say("ls")[0] == 0
