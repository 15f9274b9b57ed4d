"""Events over HTTP: what is taken, what is refused with which words, and that nothing else waits for the journal."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

import romancy_nb as rn
from romancy_nb.integrations.asgi import App, events_app
from romancy_nb.runtime import engine

ROOT = Path(__file__).parents[2]


class Payment(BaseModel):
    amount: float
    note: str = ""


@rn.workflow(name="asgi.paid")
def paid(n: int) -> Any:
    return rn.wait_event("payment.completed", type=Payment)


@rn.workflow(name="asgi.raw")
def raw(n: int) -> bytes:
    return rn.wait_event("raw", type=bytes)


@rn.workflow(name="asgi.text")
def text(n: int) -> str:
    return rn.wait_event("text", type=str)


@rn.workflow(name="asgi.asks")
def asks(n: int) -> bool:
    return rn.ask("Ready?")


def waiting(flow: Any, name: str) -> Any:
    handle = flow.start(1, instance_id=name)
    while handle.status != "waiting":
        pass
    return handle


def event(**more: Any) -> dict[str, Any]:
    known = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "payment.completed", "subject": "p-1"}
    return {**known, "data": {"amount": 5}, **more}


def post(
    body: Any,
    *,
    app: App | None = None,
    kind: str = "application/cloudevents+json",
    path: str = "/events",
    **headers: str,
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return request("POST", path, app=app, content=content, headers=sent)


def request(method: str, path: str, *, app: App | None = None, **options: Any) -> httpx.Response:
    async def work() -> httpx.Response:
        transport = httpx.ASGITransport(app=app or events_app())  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, **options)

    return asyncio.run(work())


# -- taken ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["application/cloudevents+json", "application/json", "application/JSON; charset=utf-8"]
)
def test_an_event_is_received_and_says_who_sent_it(journal: Path, kind: str) -> None:
    handle = waiting(paid, "p-1")
    answer = post(event(), kind=kind)
    assert (answer.status_code, answer.json()["status"]) == (202, "delivered")
    assert "goes on here" in answer.json()["says"]
    assert handle.result(20) == Payment(amount=5)
    received = next(row.event for row in handle.rows() if row.event.kind == "event_received")
    assert received.meta is not None and (received.meta["via"], received.meta["by"]) == ("http", "/shop")


def test_the_same_event_again_is_no_event_also_after_the_end(journal: Path) -> None:
    handle = waiting(paid, "p-1")
    assert post(event()).status_code == 202
    handle.result(20)
    again = post(event())
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    assert post(event(source="/other")).status_code == 409, "the same id of another source is another event"


def test_the_extension_names_the_instance_before_the_subject(journal: Path) -> None:
    handle = waiting(paid, "p-1")
    assert post(event(romancyinstance="p-1", subject="blob.txt")).status_code == 202
    assert handle.result(20).amount == 5


def test_an_event_that_nobody_awaits_yet_is_kept(journal: Path) -> None:
    waiting(paid, "p-1")
    answer = post(event(type="later"))
    assert (answer.status_code, answer.json()["status"]) == (202, "kept")


def test_a_question_is_answered_once(journal: Path) -> None:
    handle = waiting(asks, "a-1")
    assert post(event(type="ready", subject="a-1", data=True)).status_code == 202
    assert handle.result(20) is True
    assert post(event(type="ready", subject="a-1", data=False, id="e2")).status_code == 409


def test_binary_data_is_for_who_awaits_bytes(journal: Path) -> None:
    handle = waiting(raw, "r-1")
    body = event(type="raw", subject="r-1", data_base64="AP8=")
    del body["data"]
    assert post(body).status_code == 202
    assert handle.result(20) == b"\x00\xff"
    waiting(paid, "p-1")
    refused = post({**body, "type": "payment.completed", "subject": "p-1"})
    assert refused.status_code == 422
    rn.disconnect()
    assert post({**body, "type": "payment.completed", "subject": "p-1"}).status_code == 422, "by the schema alone"


def test_binary_mode_has_its_attributes_in_headers(journal: Path) -> None:
    handle = waiting(paid, "p-1")
    attributes = {"ce_specversion": "1.0", "ce_id": "e1", "ce_source": "/shop", "ce_subject": "p-1"}
    answer = post({"amount": 7}, kind="application/json", ce_type="payment.completed", **attributes)
    assert answer.status_code == 202
    assert handle.result(20).amount == 7
    texts = waiting(text, "t-1")
    attributes["ce_subject"] = "t%2D1"
    assert post("größer".encode(), kind="text/plain", ce_type="text", **attributes).status_code == 202
    assert texts.result(20) == "größer"
    raws = waiting(raw, "r-1")
    attributes["ce_subject"] = "r-1"
    assert post(b"\x00\x01", kind="application/octet-stream", ce_type="raw", **attributes).status_code == 202
    assert raws.result(20) == b"\x00\x01"


def test_a_batch_is_answered_one_by_one(journal: Path) -> None:
    handles = [waiting(paid, f"p-{n}") for n in (1, 2)]
    kind = "application/cloudevents-batch+json"
    body = [event(), event(subject="p-2"), event(subject="nobody"), {"specversion": "1.0"}]
    answer = post(body, kind=kind)
    assert answer.status_code == 207
    assert [each["status_code"] for each in answer.json()["results"]] == [202, 202, 404, 400]
    assert answer.json()["results"][3]["at"] == "3.source"
    assert [handle.result(20).amount for handle in handles] == [5, 5]
    assert post(body[:2], kind=kind).status_code == 200, "all of it had come before"
    assert post({}, kind=kind).status_code == 400


# -- refused ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": None}, "specversion"),
        ({"id": ""}, "id"),
        ({"id": 7}, "id"),
        ({"source": None}, "source"),
        ({"source": "a b"}, "source"),
        ({"type": None}, "type"),
        ({"subject": None}, "romancyinstance"),
        ({"Upper": "case"}, "Upper"),
        ({"data_base64": "AA=="}, "data_base64"),
        ({"data": None, "data_base64": "?"}, "data_base64"),
    ],
)
def test_what_is_no_cloudevent_is_told_where(journal: Path, change: dict[str, Any], at: str) -> None:
    waiting(paid, "p-1")
    body = event(**change)
    if change.get("data", 0) is None:
        del body["data"]
    answer = post({key: value for key, value in body.items() if value is not None})
    assert (answer.status_code, answer.json()["at"]) == (400, at)


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe", b"[1]", b'"x"', b'{"a": NaN}', b"[" * 100_000, b"1" * 5000, b""], ids=range(8)
)
def test_what_is_no_json_object_is_malformed(journal: Path, body: bytes) -> None:
    assert post(body).status_code == 400


def test_data_that_does_not_fit_is_told_by_field_by_the_type_and_by_the_schema(journal: Path) -> None:
    waiting(paid, "p-1")
    for _ in range(2):
        answer = post(event(data={"amount": "$5", "note": 1}))
        assert answer.status_code == 422
        assert {problem["at"] for problem in answer.json()["problems"]} == {"amount", "note"}
        rn.disconnect()  # the second time nobody here knows the type


def test_an_unknown_instance_path_method_and_type(journal: Path) -> None:
    waiting(paid, "p-1")
    assert post(event(subject="nobody")).status_code == 404
    assert post(event(), path="/else").status_code == 404
    wrong = request("GET", "/events")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert request("HEAD", "/events").content == b""
    assert post(event(), kind="application/xml").status_code == 415
    assert post(event(), kind="").status_code == 415
    assert post(event(), path="/events/").status_code == 202


def test_a_finished_or_cancelled_instance_takes_nothing(journal: Path) -> None:
    handle = waiting(paid, "p-1")
    handle.cancel()
    with pytest.raises(Exception, match="cancel"):
        handle.result(20)
    answer = post(event())
    assert answer.status_code == 409 and "cancelled" in answer.json()["error"]


def test_the_token_is_asked_for(journal: Path) -> None:
    handle = waiting(paid, "p-1")
    app = events_app(token="s3crét")
    for given in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cr"}, {"authorization": "s3cr"}):
        refused = post(event(), app=app, **given)
        assert refused.status_code == 401 and refused.headers["www-authenticate"].startswith("Bearer")
        assert "s3cr" not in refused.text
    content = json.dumps(event()).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer s3crét".encode()}
    assert request("POST", "/events", app=app, content=content, headers=headers).status_code == 202
    assert handle.result(20).amount == 5
    with pytest.raises(ValueError, match="empty token"):
        events_app(token="")


def test_what_is_too_large_is_not_read_to_its_end(journal: Path) -> None:
    app = events_app(max_bytes=1000)
    answers: list[dict[str, Any]] = []
    given = 0

    async def receive() -> dict[str, Any]:
        nonlocal given
        given += 1
        return {"type": "http.request", "body": b"x" * 400, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        answers.append(message)

    scope = {"type": "http", "method": "POST", "path": "/events", "headers": [(b"content-type", b"application/json")]}
    asyncio.run(app(scope, receive, send))
    assert answers[0]["status"] == 413 and given == 3
    scope["headers"] += [(b"content-length", b"1001")]
    asyncio.run(app(scope, receive, send))
    assert answers[2]["status"] == 413 and given == 3, "the length alone says it"


def test_a_busy_journal_holds_up_nobody_else_and_asks_to_come_again(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting(paid, "p-1")
    rn.disconnect()
    monkeypatch.setattr(engine, "PATIENCE", 0.8)
    hold = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, f"{journal}.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"

        async def work() -> tuple[httpx.Response, float]:
            transport = httpx.ASGITransport(app=events_app())  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://here", timeout=30) as client:
                busy = asyncio.create_task(client.post("/events", json=event()))
                await asyncio.sleep(0.1)
                began = time.monotonic()
                assert (await client.get("/else")).status_code == 404
                quick = time.monotonic() - began
                return await busy, quick

        answer, quick = asyncio.run(work())
    finally:
        holder.communicate("\n", timeout=10)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert quick < 0.3
    assert post(event()).status_code == 202, "later it is taken"


# -- a server ----------------------------------------------------------------------------------------------------------------

SERVED = """
import romancy_nb as rn
from romancy_nb.integrations.asgi import events_app
app = events_app(token="t")
"""


def test_a_real_server_in_another_process_takes_an_event_for_a_run_of_this_one(journal: Path, tmp_path: Path) -> None:
    handle = waiting(paid, "p-1")
    (tmp_path / "served.py").write_text(SERVED)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "served:app", "--port", str(port), "--log-level", "warning"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 30
        while True:
            try:
                answer = httpx.post(
                    f"http://127.0.0.1:{port}/events", json=event(), headers={"authorization": "Bearer t"}, timeout=20
                )
                break
            except httpx.ConnectError:
                assert server.poll() is None and time.monotonic() < until
                time.sleep(0.05)
        assert (answer.status_code, answer.json()["status"]) == (202, "posted"), answer.text
        assert handle.result(20).amount == 5
        big = httpx.post(
            f"http://127.0.0.1:{port}/events",
            content=b"x" * 2_000_000,
            headers={"content-type": "application/json", "authorization": "Bearer t"},
            timeout=20,
        )
        assert big.status_code == 413
    finally:
        server.terminate()
        said = server.communicate(timeout=20)[1]
    assert "Traceback" not in said and "ASGI" not in said, said
