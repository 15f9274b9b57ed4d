"""``romancy-nb show ID --follow``: a run of another process, drawn in its own place until it ends or rests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from romancy_nb.cli import main
from romancy_nb.words import width

PROGRAM = """
import pathlib, sys, time, romancy_nb as rn
rn.connect("journal.duckdb")
@rn.activity
def waits(ctx: rn.Context, gate: str) -> str:
    ctx.progress(3, 8, "pages")
    while not pathlib.Path(gate).exists():
        time.sleep(0.02)
    return gate
@rn.workflow
def far(gate: str) -> bool:
    waits(gate)
    return rn.ask("Fine?", type=bool)
far.start("gate", instance_id="far-1")
print("begun", flush=True)
time.sleep(60)
"""


ENDED = """
import romancy_nb as rn
rn.connect("journal.duckdb")
@rn.activity(retry=rn.RetryPolicy(max_attempts=2, initial=0.001))
def 予約する(n: int) -> int:
    if rn.context().attempt == 1:
        raise ValueError
    return n
@rn.workflow
def ended(n: int) -> int:
    return 予約する(n)
ended.start(1, instance_id="ended").result()
"""


@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_a_timeline_is_as_wide_as_the_terminal_and_keeps_its_notes(tmp_path: Path, follow: tuple[str, ...]) -> None:
    pty = pytest.importorskip("pty")
    subprocess.run([sys.executable, "-c", ENDED], cwd=tmp_path, check=True)
    screen, slave = pty.openpty()
    command = [sys.executable, "-m", "romancy_nb.cli", "show", "ended", *follow, "--journal", "journal.duckdb"]
    environment = {**os.environ, "COLUMNS": "70", "LINES": "40"}
    with subprocess.Popen(command, cwd=tmp_path, stdout=slave, stderr=slave, env=environment) as shows:
        os.close(slave)
        seen = b""
        with suppress(OSError):
            while more := os.read(screen, 65_536):
                seen += more
    os.close(screen)
    assert shows.returncode == 0
    lines = seen.decode().splitlines()
    assert any(line.endswith("attempt 2") for line in lines), lines
    assert max(width(line) for line in lines) < 70


def test_follow_draws_over_a_run_of_another_process_with_its_progress_until_it_rests(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    far = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    screen, slave = pty.openpty()
    command = [sys.executable, "-m", "romancy_nb.cli", "show", "far", "--follow", "--journal", "journal.duckdb"]
    try:
        assert far.stdout is not None and far.stdout.readline() == "begun\n"
        follows = subprocess.Popen(command, cwd=tmp_path, stdout=slave, stderr=slave)
        os.close(slave)
        seen = b""
        while b"running" not in seen or b"3 of 8" not in seen or b"\x1b[J" not in seen:
            seen += os.read(screen, 65_536)
        (tmp_path / "gate").touch()
        with suppress(OSError):  # nobody writes there any more
            while more := os.read(screen, 65_536):
                seen += more
        assert follows.wait(30) == 0, seen
        last = seen.decode().rpartition("\x1b[J")[2]
        assert "waiting" in last and "far-1" in last, last
    finally:
        far.kill()
        far.wait()
        os.close(screen)


def test_followed_for_programs_it_is_told_when_it_rests(tmp_path: Path) -> None:
    far = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    command = [
        sys.executable,
        "-m",
        "romancy_nb.cli",
        "show",
        "far",
        "--follow",
        "--json",
        "--journal",
        "journal.duckdb",
    ]
    try:
        assert far.stdout is not None and far.stdout.readline() == "begun\n"
        follows = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            follows.wait(2)
        (tmp_path / "gate").touch()
        told = json.loads(follows.communicate(timeout=30)[0])
        assert [step["status"] for step in told["steps"]] == ["completed", "waiting"]
    finally:
        far.kill()
        far.wait()


def test_a_file_cannot_be_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "book.ipynb").write_text("{}")
    assert main(["show", str(tmp_path / "book.ipynb"), "--follow"]) == 1
    assert "--follow is for instances" in " ".join(capsys.readouterr().err.split())
