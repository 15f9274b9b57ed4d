"""The demo's ledger service, over real HTTP: what it appends, what it refuses, and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from romancy_nb.demo import LedgerService, start_ledger
from romancy_nb.demo.ledger import read_entries
from romancy_nb.errors import RomancyError


@pytest.fixture
def service(tmp_path: Path) -> Iterator[LedgerService]:
    running = LedgerService(tmp_path / "ledger.jsonl", latency=0)
    yield running
    running.stop()


def post(service: LedgerService, effect: str, body: Any, key: str | None = None) -> tuple[int, dict[str, Any], bool]:
    """POST *body* (bytes as they are); return status, answer, and whether it was answered from its key."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{service.url}/{effect}", data, {} if key is None else {"Idempotency-Key": key})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer), answer.headers.get("Idempotent-Replayed") == "true"
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal), False


def overview(service: LedgerService) -> dict[str, Any]:
    with urllib.request.urlopen(f"{service.url}/ledger", timeout=10) as answer:
        result: dict[str, Any] = json.load(answer)
    return result


def gone(pid: int, within: float = 5.0) -> bool:
    """Does the process end within that time? (A zombie, whose parent is yet to collect it, has ended.)"""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_each_effect_is_one_line_and_answers_with_its_number(service: LedgerService) -> None:
    assert post(service, "reserve", {"order": "A-1"}, "k1") == (200, {"reservation_id": "R-0001"}, False)
    assert post(service, "charge", {"order": "A-1", "amount": 12.5}, "k2") == (200, {"charge_id": "C-0002"}, False)
    assert post(service, "ship", {"order": "A-1"}, "k3") == (200, {"tracking_no": "T-0003"}, False)
    lines = service.ledger.read_text().splitlines()
    assert [(e["effect"], e["order"], e["amount"], e["key"]) for e in map(json.loads, lines)] == [
        ("reserve", "A-1", None, "k1"),
        ("charge", "A-1", 12.5, "k2"),
        ("ship", "A-1", None, "k3"),
    ]
    assert overview(service) == {"entries": read_entries(service.ledger), "repeated": 0, "repeats": []}


def test_a_known_key_gets_the_first_answer_and_is_counted_apart(service: LedgerService) -> None:
    first = post(service, "charge", {"order": "A-1", "amount": 5}, "k")
    assert post(service, "charge", {"order": "A-1", "amount": 5.0}, "k") == (200, first[1], True)
    seen = overview(service)
    assert (len(seen["entries"]), seen["repeated"]) == (1, 1)
    assert seen["repeats"] == [{"effect": "charge", "order": "A-1", "key": "k"}]


def test_without_a_key_everything_happens_again(service: LedgerService) -> None:
    for _ in range(2):
        assert post(service, "ship", {"order": "A-1"})[0] == 200
    assert len(read_entries(service.ledger)) == 2


def test_a_key_used_for_something_else_is_refused(service: LedgerService) -> None:
    post(service, "charge", {"order": "A-1", "amount": 5}, "k")
    assert post(service, "charge", {"order": "A-1", "amount": 6}, "k")[0] == 422
    assert post(service, "ship", {"order": "A-1"}, "k")[0] == 422
    assert len(read_entries(service.ledger)) == 1


@pytest.mark.parametrize(
    ("effect", "body", "status"),
    [
        ("teleport", {"order": "A-1"}, 404),
        ("", {"order": "A-1"}, 404),
        ("charge", b"not json", 400),
        ("charge", b"\xff\xfe", 400),
        ("charge", b"[" * 60_000, 400),
        ("charge", [1], 400),
        ("charge", {}, 400),
        ("charge", {"order": ""}, 400),
        ("charge", {"order": 7}, 400),
        ("charge", {"order": "x" * 201}, 400),
        ("charge", {"order": "A-1", "amount": "5"}, 400),
        ("charge", {"order": "A-1", "amount": True}, 400),
        ("charge", {"order": "A-1", "amount": -1}, 400),
        ("charge", b'{"order": "A-1", "amount": NaN}', 400),
        ("charge", b'{"order": "A-1", "amount": 1e999}', 400),
        ("charge", b'{"order": "A-1", "amount": 1' + b"0" * 400 + b"}", 400),
        ("charge", b" " * 70_000, 413),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(service: LedgerService, effect: str, body: Any, status: int) -> None:
    code, answer, _ = post(service, effect, body)
    assert code == status
    assert answer["error"]
    assert read_entries(service.ledger) == []
    assert post(service, "ship", {"order": "A-1"})[0] == 200, "it still serves"


def test_a_lone_surrogate_does_not_break_the_ledger(service: LedgerService) -> None:
    assert post(service, "ship", b'{"order": "\\ud800"}', "k")[0] == 200
    assert read_entries(service.ledger)[0]["order"] == "\ud800"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_other_methods_are_refused(service: LedgerService, method: str) -> None:
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=10)
    connection.request(method, "/charge", b"{}")
    assert connection.getresponse().status == 405
    connection.close()


def test_a_body_without_a_length_is_refused(service: LedgerService) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as wire:
        wire.sendall(b"POST /ship HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.recv(100).split()[1] == b"411"


def test_a_body_that_ends_early_is_refused(service: LedgerService) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as wire:
        wire.sendall(b'POST /ship HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"order": "A-1"}')
        wire.shutdown(socket.SHUT_WR)
        assert wire.recv(100).split()[1] == b"400"
    assert read_entries(service.ledger) == []


def test_the_same_key_from_many_threads_at_once_has_one_effect(service: LedgerService) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: post(service, "ship", {"order": "A-1"}, "k"), range(32)))
    assert {answer[1]["tracking_no"] for answer in answers} == {"T-0001"}
    assert (len(read_entries(service.ledger)), overview(service)["repeated"]) == (1, 31)


def test_the_effect_stands_before_the_answer_comes(tmp_path: Path) -> None:
    service = LedgerService(tmp_path / "ledger.jsonl", latency=1.0)
    try:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(post, service, "ship", {"order": "A-1"}, "k")
            until = time.monotonic() + 5
            while not read_entries(service.ledger) and time.monotonic() < until:
                time.sleep(0.005)
            assert not answer.done()
            assert answer.result()[0] == 200
    finally:
        service.stop()


def test_a_restarted_service_knows_its_keys_and_cuts_off_a_torn_line(tmp_path: Path) -> None:
    first = LedgerService(tmp_path / "ledger.jsonl", latency=0)
    post(first, "reserve", {"order": "A-1"}, "k1")
    first.stop()
    with first.ledger.open("ab") as file:
        file.write(b'{"effect": "char')
    second = LedgerService(tmp_path / "ledger.jsonl", latency=0)
    try:
        assert post(second, "reserve", {"order": "A-1"}, "k1") == (200, {"reservation_id": "R-0001"}, True)
        post(second, "ship", {"order": "A-1"}, "k2")
    finally:
        second.stop()
    assert [entry["effect"] for entry in read_entries(second.ledger)] == ["reserve", "ship"]


def test_what_was_answered_survives_sigkill_of_the_service(tmp_path: Path) -> None:
    service = LedgerService(tmp_path / "ledger.jsonl", latency=0)
    for n in range(20):
        assert post(service, "ship", {"order": f"A-{n}"}, f"k{n}")[0] == 200
    os.kill(service.pid, signal.SIGKILL)
    service.stop()
    assert len(read_entries(service.ledger)) == 20


def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "ledger.jsonl"
    for text in ('{"a": 1}\n', "hello\n"):
        other.write_text(text)
        with pytest.raises(RomancyError, match="ended at once"):
            LedgerService(other)
        assert other.read_text() == text


@pytest.mark.skipif(sys.platform == "win32", reason="no flock there")
def test_a_second_service_on_the_same_ledger_is_refused(service: LedgerService) -> None:
    with pytest.raises(RomancyError, match="another ledger service"):
        LedgerService(service.ledger)


@pytest.mark.crash
def test_it_ends_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import time; from romancy_nb.demo import LedgerService; from pathlib import Path\n"
        "print(LedgerService(Path('ledger.jsonl')).pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    assert gone(pid)


def test_start_ledger_uses_the_service_it_is_told_of(service: LedgerService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROMANCY_DEMO_URL", service.url)
    assert start_ledger() == service.url


def test_start_ledger_starts_one_service_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from romancy_nb import demo

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROMANCY_DEMO_URL", "")
    url = start_ledger()
    try:
        assert start_ledger() == url
        assert (tmp_path / "ledger.jsonl").exists()
    finally:
        demo._of_this_kernel.pop().stop()
