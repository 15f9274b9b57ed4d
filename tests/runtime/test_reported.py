"""What running steps report, for other processes: a file beside the journal while something is reported, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from processes import until

from romancy_nb.runtime import ownership, reported
from romancy_nb.runtime.taps import Taps
from romancy_nb.widgets.marks import progress_words
from romancy_nb.widgets.steps import progress_of


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


@pytest.mark.parametrize(
    "told",
    [
        '[1e308, 1e-308, "x", 9e18, 1, -1e308]',
        '[1, 2, "x", -1, 4, 5]',
        f'[1e300, 1e300, "x", {10**400}, 1, 0]',
        '[1e308, 1e308, "x", 2, 1, -1e308]',
        '[1e-300, 1e300, "x", 20000000, 1, 0]',
    ],
)
def test_whatever_stands_in_the_file_can_be_shown(where: str, told: str) -> None:
    owner = ownership.my_token("abcd1234")
    Path(f"{where}.progress-abcd1234").write_text('{"runs": {"1": {"0:0": ' + told + "}}}", "utf-8")
    for report in reported.read(where, owner, 1).values():
        progress = progress_of(report)
        assert progress_words(progress)
        json.dumps([progress.done, progress.total, progress.rate, progress.left_us], allow_nan=False)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_a_pipe_in_the_place_of_the_file_is_waited_for_by_nobody(where: str) -> None:
    owner = ownership.my_token("abcd1234")
    os.mkfifo(f"{where}.progress-abcd1234")
    found: list[Any] = []
    reader = threading.Thread(target=lambda: found.append(reported.read(where, owner, 1)), daemon=True)
    reader.start()
    reader.join(5)
    assert found == [{}]


def test_numbers_of_any_sort_are_reported_and_what_is_none_is_left_out(where: str) -> None:
    taps = Taps(where, ownership.my_token("abcd1234"))
    report = taps.reports.report
    report(1, "0:0", Decimal(3), Fraction(9, 2), 7)  # type: ignore[arg-type]
    for wrong in ("half", None, 10**400, [1]):
        report(1, "0:1", wrong, None, "")  # type: ignore[arg-type]
    assert [told[:3] for told in taps.reports.of(1).values()] == [(3.0, 4.5, "7")]
    until(lambda: files(where))
    taps.reports.over(1, "0:0")
    taps.close()


@pytest.mark.parametrize("strange", ["[]", "{}", '{"owner": 5}', '{"owner": "[]"}', "null", "half a wo", "["], ids=repr)
def test_what_others_have_put_beside_the_journal_keeps_nobody_from_reporting(where: str, strange: str) -> None:
    Path(f"{where}.progress-strange").write_text(strange, "utf-8")
    owner = ownership.my_token("abcd1234")
    taps = Taps(where, owner)
    taps.reports.report(1, "0:0", 1, 2, "")
    until(lambda: reported.read(where, owner, 1))
    taps.close()
    assert not Path(f"{where}.progress-abcd1234").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_a_pipe_beside_the_journal_keeps_nobody_from_reporting(where: str) -> None:
    os.mkfifo(f"{where}.progress-strange")
    owner = ownership.my_token("abcd1234")
    taps = Taps(where, owner)
    taps.reports.report(1, "0:0", 1, 2, "")
    until(lambda: reported.read(where, owner, 1))
    taps.close()


def test_a_full_disk_leaves_no_draft_behind(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Path, *_: Any) -> None:
        file.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    taps = Taps(where, ownership.my_token("abcd1234"))
    taps.reports.report(1, "0:0", 1, 2, "")
    until(lambda: files(where))
    taps.close()
    assert files(where) == []
