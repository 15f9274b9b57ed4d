"""What running steps report, for other processes: a file beside the journal while something is reported, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from romancy_nb.runtime import ownership, reported
from romancy_nb.runtime.taps import Taps


def until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(reported, "PACE", 0.02)
    return str(tmp_path / "journal.duckdb")


def files(where: str) -> list[str]:
    return sorted(file.name for file in Path(where).parent.iterdir())


def test_another_process_reads_what_is_reported_and_the_file_goes_with_the_last_report(where: str) -> None:
    token = ownership.my_token("abcd1234")
    taps = Taps(where, token)
    assert files(where) == []
    taps.reports.report(7, "0:1", 3, 8, "pages \u2028 <b>")
    until(lambda: reported.read(where, token, 7))
    assert reported.read(where, token, 7) == taps.reports.of(7)
    assert reported.read(where, token, 8) == reported.read(where, ownership.my_token("beef5678"), 7) == {}
    taps.reports.report(7, "0:1", float("nan"), None, "")
    until(lambda: reported.read(where, token, 7)["0:1"][1] is None)
    taps.reports.over(7, "0:1")
    until(lambda: files(where) == [])
    taps.reports.report(7, "0:2", 1, 2, "")
    until(lambda: reported.read(where, token, 7))
    taps.close()
    assert files(where) == []
    taps.reports.report(7, "0:2", 2, 2, "")
    time.sleep(0.1)
    assert files(where) == []


def test_what_a_killed_process_left_is_read_by_nobody_and_swept_away(where: str) -> None:
    program = "from romancy_nb.runtime import ownership; print(ownership.my_token('dead0000'))"
    gone = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    left = Path(f"{where}.progress-dead0000")
    left.write_text(json.dumps({"owner": gone, "runs": {"1": {"0:0": [1, 2, "", 1, 1, 1]}}}))
    Path(f"{where}.progress-notours").write_text("{")
    taps = Taps(where, ownership.my_token("abcd1234"))
    taps.reports.report(7, "0:1", 3, 8, "")
    until(lambda: not left.exists())
    assert Path(f"{where}.progress-notours").exists()
    taps.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"runs": 3}',
        '{"runs": {"7": 3}}',
        '{"runs": {"7": {"0:1": [1]}}}',
        '{"runs": {"7": {"0:1": [[], 1, 1, 1, 1, 1]}}}',
        '{"runs": {"7": {"0:1": [1, 2, "", 1e999, 1, 1]}}}',
        '{"runs": ' + "[" * 100_000,
    ],
)
def test_a_file_that_is_not_ours_tells_nothing(where: str, text: str) -> None:
    token = ownership.my_token("abcd1234")
    Path(f"{where}.progress-abcd1234").write_text(text)
    assert reported.read(where, token, 7) == {}


def test_a_token_from_a_journal_leads_to_no_other_file(where: str) -> None:
    Path(where).parent.joinpath("journal.duckdb.progress-").mkdir()
    Path(where).parent.joinpath("secret").write_text('{"runs": {"7": {"0:1": [1, 2, "", 1, 1, 1]}}}')
    for nonce in ("/../secret", "", "x", "a" * 99, None):
        assert reported.read(where, json.dumps({"engine": nonce}), 7) == {}
    for owner in ("", "[]", "3", "no json"):
        assert reported.read(where, owner, 7) == {}
    assert reported.read("postgresql://host/db", ownership.my_token("abcd1234"), 7) == {}
