"""Events over HTTP: a small ASGI app that takes CloudEvents 1.0 and sends them to instances.

It needs no framework, and runs in any ASGI server with asyncio, alone or mounted in another app::

    # events.py; then: uvicorn events:app
    from romancy_nb.integrations.asgi import events_app

    app = events_app(token=os.environ["EVENTS_TOKEN"])

An event goes to the instance that its attribute ``romancyinstance``, else its ``subject``, names. Its ``type`` is the event's
name, its ``data`` what it carries; ``source`` and ``id`` together make sending it again no event, so whoever sends may try
again until it gets an answer. The app uses the current journal: call ``rn.connect(path)`` first for another one.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import romancy_nb as rn
from romancy_nb import errors

__all__ = ["events_app"]

log = logging.getLogger("romancy_nb")

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_ONE: Final = frozenset({"application/cloudevents+json", "application/json"})
_BATCH: Final = "application/cloudevents-batch+json"
_ATTRIBUTE: Final = re.compile(r"[a-z0-9]{1,64}")
_RETRY: Final = 2
"""Seconds after which to try again when the journal is busy."""


class _Refused(Exception):
    """The answer to a request that is not taken."""

    def __init__(self, status: int, message: str, *, headers: Iterable[tuple[str, str]] = (), **more: Any) -> None:
        super().__init__(message)
        self.status, self.headers, self.body = status, tuple(headers), {"error": message, **more}


@dataclass(frozen=True, slots=True)
class _CloudEvent:
    """A CloudEvent, as far as it concerns us."""

    id: str
    source: str
    type: str
    instance: str
    data: Any


def events_app(*, token: str | None = None, path: str = "/events", max_bytes: int = 1_000_000) -> App:
    """Return the app.

    It answers in JSON: 202 accepted (``status`` is delivered, kept or posted; ``says`` who acts on it), 200 the same event had
    come before, 400 no CloudEvent (``at`` says where), 401 without the token, 404 no such instance or path, 405 no POST, 409 the
    instance has ended or the question is answered, 413 too large, 415 another content type, 422 the data does not fit
    (``problems`` by field), 503 the journal is busy. A batch is answered with a list in ``results``: 202 when all were taken,
    else 207 or 503.

    Args:
        token: which ``Authorization: Bearer`` must bring; None: anybody may send.
        path: where the app takes events.
        max_bytes: how long a request may be.

    Returns:
        An ASGI 3 application.

    Example:
        >>> app = events_app(token="s3cret")  # doctest: +SKIP
    """
    if token is not None and not token:
        raise ValueError("events_app(token=''): an empty token protects nothing. None means that anybody may send.")
    wanted = "/" + path.strip("/")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "lifespan":
                await _lifespan(receive, send)
            case "http":
                await _http(scope, receive, send, token, wanted, max_bytes)
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1000})
            case other:
                raise ValueError(f"events_app speaks HTTP, and not {other!r}")

    return app


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _http(scope: Scope, receive: Receive, send: Send, token: str | None, path: str, max_bytes: int) -> None:
    headers: tuple[tuple[str, str], ...] = ()
    try:
        status, body = await _answer(scope, receive, token, path, max_bytes)
    except _Refused as refused:
        status, body, headers = refused.status, refused.body, refused.headers
    except _Gone:
        return
    except Exception:
        log.exception("an event that came over HTTP could not be handled")
        status, body = 500, {"error": "The event could not be handled. The log of the server says why."}
    if status == 503:
        headers = (*headers, ("retry-after", str(_RETRY)))
    text = json.dumps(body, ensure_ascii=True).encode()
    sent = [("content-type", "application/json"), ("content-length", str(len(text))), *headers]
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else text})


async def _answer(
    scope: Scope, receive: Receive, token: str | None, path: str, max_bytes: int
) -> tuple[int, dict[str, Any]]:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        headers[key] = f"{headers[key]},{value.decode('latin-1')}" if key in headers else value.decode("latin-1")
    here = scope["path"]
    root = scope.get("root_path", "").rstrip("/")
    if root and here.startswith(f"{root}/"):
        here = here[len(root) :]
    if "/" + here.strip("/") != path:
        raise _Refused(404, f"There is nothing here. Events are taken at {path}.")
    if token is not None:
        _check_token(headers.get("authorization", ""), token)
    if scope["method"] != "POST":
        raise _Refused(405, "Events are sent with POST.", headers=[("allow", "POST")])
    read = _reader(headers)
    if read is None:
        raise _Refused(
            415,
            "A CloudEvent is expected: application/cloudevents+json or application/json, a batch as "
            "application/cloudevents-batch+json, or any content type with ce- headers.",
            headers=[("accept-post", ", ".join((*sorted(_ONE), _BATCH)))],
        )
    events = read(await _body(receive, headers, max_bytes))
    if isinstance(events, _CloudEvent):
        return await _taken(events)
    results = []
    for position, each in enumerate(events):
        status, body = await _one_of_batch(each)
        results.append({"index": position, "status_code": status, **body})
    codes = {result["status_code"] for result in results}
    busy = any(code >= 500 for code in codes)
    overall = 503 if busy else 207 if codes - {200, 202} else 202 if 202 in codes or not codes else 200
    return overall, {"results": results}


async def _one_of_batch(event: _CloudEvent | _Refused) -> tuple[int, dict[str, Any]]:
    try:
        if isinstance(event, _Refused):
            raise event
        return await _taken(event)
    except _Refused as refused:
        return refused.status, refused.body


def _check_token(given: str, token: str) -> None:
    scheme, _, value = given.partition(" ")
    fits = hmac.compare_digest(value.strip().encode("latin-1", "replace"), token.encode())
    if scheme.lower() != "bearer" or not fits:
        challenge = ("www-authenticate", "Bearer" if not given else 'Bearer error="invalid_token"')
        raise _Refused(401, "Authorization: Bearer with the token of this server is expected.", headers=[challenge])


class _Gone(Exception):
    """The client hung up."""


async def _body(receive: Receive, headers: Mapping[str, str], max_bytes: int) -> bytes:
    """Read the request, and no more of it than is allowed."""
    too_large = _Refused(
        413, f"An event may have {max_bytes} bytes, and this one is longer.", headers=[("connection", "close")]
    )
    said = headers.get("content-length", "")
    if said.isascii() and said.isdecimal() and (len(said) > 18 or int(said) > max_bytes):
        raise too_large
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            raise too_large
        if not message.get("more_body", False):
            return b"".join(parts)


# -- CloudEvents ---------------------------------------------------------------------------------------------------------


def _reader(
    headers: Mapping[str, str],
) -> Callable[[bytes], _CloudEvent | list[_CloudEvent | _Refused]] | None:
    """Return what makes events of the body; None: the content type is none of ours."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _BATCH:
        return _batch
    if "ce-specversion" in headers and kind not in {"application/cloudevents+json"}:
        return lambda body: _binary(headers, kind, body)
    if kind in _ONE:
        return lambda body: _structured(_json(body), "")
    return None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise _Refused(400, f"The body is not UTF-8: byte {error.start}.", at=f"byte {error.start}") from None
    except json.JSONDecodeError as error:
        at = f"line {error.lineno} column {error.colno}"
        raise _Refused(400, f"The body is no JSON: {error.msg} at {at}.", at=at) from None
    except (ValueError, RecursionError) as error:
        raise _Refused(400, f"The body is no JSON that can be read: {error}.", at="") from None


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _batch(body: bytes) -> list[_CloudEvent | _Refused]:
    found = _json(body)
    if not isinstance(found, list):
        raise _Refused(400, "A batch is a JSON list of CloudEvents.", at="")
    events: list[_CloudEvent | _Refused] = []
    for position, each in enumerate(found):
        try:
            events.append(_structured(each, f"{position}."))
        except _Refused as refused:
            events.append(refused)
    return events


def _structured(document: Any, at: str) -> _CloudEvent:
    if not isinstance(document, dict):
        raise _Refused(400, "A CloudEvent is a JSON object.", at=at.rstrip("."))
    for name in document:
        if not _ATTRIBUTE.fullmatch(name) and name != "data_base64":
            raise _Refused(
                400, f"{name!r} is no name of a CloudEvents attribute: lower-case letters and digits.", at=f"{at}{name}"
            )
    data = document.get("data")
    if "data_base64" in document:
        if "data" in document:
            raise _Refused(400, "An event has data or data_base64, not both.", at=f"{at}data_base64")
        try:
            data = base64.b64decode(document["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise _Refused(400, "data_base64 is no base64 text.", at=f"{at}data_base64") from None
    return _event(document, data, at)


def _binary(headers: Mapping[str, str], kind: str, body: bytes) -> _CloudEvent:
    """The mode in which attributes are headers, and the body is the data."""
    attributes: dict[str, Any] = {}
    for name, value in headers.items():
        if name.startswith("ce-"):
            attributes[name[3:]] = unquote(value)
    data: Any = body
    if not body:
        data = None
    elif kind in {"", "application/json"} or kind.endswith("+json"):
        data = _json(body)
    elif kind.startswith("text/"):
        try:
            data = body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _Refused(400, f"The body is not UTF-8: byte {error.start}.", at=f"byte {error.start}") from None
    return _event(attributes, data, "ce-")


def _event(attributes: Mapping[str, Any], data: Any, at: str) -> _CloudEvent:
    """Check the attributes that count here."""

    def text(name: str, *, needed: bool = True) -> str:
        value = attributes.get(name)
        if value is None and not needed:
            return ""
        if not isinstance(value, str) or not value.strip():
            what = "is missing" if value is None else f"is a text that is not empty, and not {json.dumps(value)[:60]}"
            raise _Refused(400, f"The attribute {name} {what}.", at=f"{at}{name}")
        return value

    version = text("specversion")
    if version != "1.0":
        raise _Refused(400, f"CloudEvents 1.0 is understood, and not {version!r}.", at=f"{at}specversion")
    source = text("source")
    if re.search(r"\s", source):
        raise _Refused(400, "The attribute source is a URI or a part of one: it has no spaces.", at=f"{at}source")
    instance = text("romancyinstance", needed=False) or text("subject", needed=False)
    if not instance:
        raise _Refused(
            400, "Nothing says which instance it is for: set romancyinstance, or subject.", at=f"{at}romancyinstance"
        )
    return _CloudEvent(text("id"), source, text("type"), instance, data)


async def _taken(event: _CloudEvent) -> tuple[int, dict[str, Any]]:
    """Send the event, in a thread: whoever else talks to the server does not wait for the journal."""
    try:
        receipt = await asyncio.to_thread(
            rn.send,
            event.instance,
            event.type,
            event.data,
            event_id=f"{event.source} {event.id}",
            via="http",
            by=event.source,
        )
    except errors.InstanceNotFound:
        raise _Refused(404, f"There is no instance {event.instance!r}.") from None
    except (errors.AlreadyAnswered, errors.RunProblem) as error:  # it has ended, or cannot receive anything
        raise _Refused(409, str(error)) from None
    except errors.EventRefused as error:
        problems = [{"at": at, "why": why} for at, why in error.problems]
        raise _Refused(422, str(error), problems=problems) from None
    except errors.NotJournalable as error:
        raise _Refused(422, str(error), problems=[]) from None
    except errors.WrongArguments as error:
        raise _Refused(400, str(error), at="type") from None
    except errors.JournalError as error:
        log.warning("an event that came over HTTP has to come again: %s", error)
        raise _Refused(503, "The journal cannot be used just now. Send the event again.") from None
    told = {"status": "duplicate" if receipt.duplicate else receipt.status, "says": receipt.says}
    return (200 if receipt.duplicate else 202), {"instance": receipt.instance_id, "event": receipt.event, **told}
