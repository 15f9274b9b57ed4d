"""The service that the quickstart's orders are processed against: three effects and a ledger on disk.

It plays the part of the outside world. ``POST /reserve``, ``/charge`` and ``/ship`` each append one line of JSON to the
ledger, synced to disk, and *then* take a moment to answer: so a client that dies in that moment leaves an effect
behind whose answer it never saw, which is the case that durable execution is about.

As at real payment services, a request whose ``Idempotency-Key`` was seen before is given the first answer again and has
no second effect. It is counted in ``repeated``, apart from the ledger: the ledger alone cannot tell "asked once" from
"asked twice, answered from the key".

Run it with ``python -m romancy_nb.demo.ledger --ledger FILE --ready-file FILE``. It listens on 127.0.0.1 only, on a
port of the system's choice, and writes ``{"url": ..., "pid": ...}`` to the ready file once it answers. With
``--until-stdin-closes`` it ends when the process that holds the other end of its standard input ends, however that
process dies.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final

__all__ = ["EFFECTS", "TRIPS", "Ledger", "LedgerBusy", "Refused", "main", "read_entries"]

EFFECTS: Final = {
    "reserve": ("reservation_id", "R"),
    "charge": ("charge_id", "C"),
    "ship": ("tracking_no", "T"),
}
"""Effect -> the name of the number in its answer, and the letter that number begins with."""
TRIPS: Final = {
    "book": ("booking_id", "B"),
    "cancel": ("cancellation_id", "X"),
    "pay": ("payment_id", "P"),
    "refund": ("refund_id", "F"),
}
"""The effects of the saga notebook: what is booked and paid can be cancelled and refunded."""
_KNOWN: Final = EFFECTS | TRIPS

_FIELDS = {"time", "effect", "order", "amount", "key", "answer"}
_MAX_BODY = 64 * 1024
_MAX_TEXT = 200
_LOCK_PATIENCE = 3.0  # s; a service whose owner was just killed needs a moment to notice


class Refused(Exception):
    """A request that is answered with an error status and changes nothing."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class LedgerBusy(Exception):
    """Another ledger service writes this file; two of them could not know each other's keys."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One valid request for an effect."""

    effect: str
    order: str
    amount: float | None
    key: str

    def same_as(self, entry: dict[str, Any]) -> bool:
        """Is *entry* what this request asks for?"""
        return (self.effect, self.order, self.amount) == (entry["effect"], entry["order"], entry["amount"])


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Return the entries of the ledger at *path*; a last line that was cut off by a crash is not an entry.

    Raises:
        ValueError: the file is something else.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    entries = [json.loads(line) for line in data.split(b"\n")[:-1]]
    if not all(isinstance(entry, dict) and entry.keys() >= _FIELDS for entry in entries):
        raise ValueError(f"{path} is not a ledger")
    return entries


class Ledger:
    """The ledger file, the keys seen, and the count of repeated requests. Safe for threads."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            _lock(self._file, path)
            self.entries = read_entries(path)
        except BaseException:
            os.close(self._file)
            raise
        # What follows the last newline was never answered for: it is not part of the ledger.
        self._size = path.read_bytes().rfind(b"\n") + 1
        os.ftruncate(self._file, self._size)
        self._by_key = {entry["key"]: entry for entry in self.entries if entry["key"]}
        self._mutex = threading.Lock()
        self.repeated: list[dict[str, str]] = []

    def record(self, wanted: Wanted) -> tuple[dict[str, str], bool]:
        """Have the effect, or find that this key had it already. Returns the answer and whether it is a repetition."""
        with self._mutex:
            known = self._by_key.get(wanted.key) if wanted.key else None
            if known is not None:
                if not wanted.same_as(known):
                    raise Refused(422, "this Idempotency-Key was used for another request")
                self.repeated.append({"effect": wanted.effect, "order": wanted.order, "key": wanted.key})
                return dict(known["answer"]), True
            name, letter = _KNOWN[wanted.effect]
            answer = {name: f"{letter}-{len(self.entries) + 1:04d}"}
            entry = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "effect": wanted.effect,
                "order": wanted.order,
                "amount": wanted.amount,
                "key": wanted.key,
                "answer": answer,
            }
            self._append(entry)
            self.entries.append(entry)
            if wanted.key:
                self._by_key[wanted.key] = entry
            return answer, False

    def _append(self, entry: dict[str, Any]) -> None:
        """Write one line and sync it; a line that cannot be written whole is taken back."""
        line = json.dumps(entry).encode() + b"\n"
        try:
            os.lseek(self._file, self._size, os.SEEK_SET)
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError as problem:
            os.ftruncate(self._file, self._size)
            raise Refused(507, f"the ledger cannot be written: {problem.strerror}") from problem
        self._size += len(line)

    def overview(self) -> dict[str, Any]:
        """Return what ``GET /ledger`` answers."""
        with self._mutex:
            return {"entries": list(self.entries), "repeated": len(self.repeated), "repeats": list(self.repeated)}

    def close(self) -> None:
        """Let go of the file."""
        with self._mutex:
            os.close(self._file)


def _lock(file: int, path: Path) -> None:
    """Take the file for this process, waiting a little for one that is about to let go."""
    try:
        import fcntl
    except ImportError:  # Windows: the demo does without
        return
    until = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise LedgerBusy(f"another ledger service is using {path}") from None
            time.sleep(0.05)
        else:
            return


def _amount(value: object) -> float | None:
    """Check an amount of money; None where the effect has none."""
    if value is None:
        return None
    # bool is an int to Python, not to an accountant
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            amount = float(value)
        except OverflowError:
            amount = math.inf
        if math.isfinite(amount) and amount >= 0:
            return amount
    raise Refused(400, '"amount" must be a number that is not negative')


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of five, the default, the sixth of a burst of clients was refused

    def __init__(self, ledger: Ledger, latency: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ledger = ledger
        self.latency = latency

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away in the middle of a request; everything else is a fault of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One request. HTTP/1.0 on purpose, a connection each: what was left unread is never taken for the next request."""

    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = 10  # s without a byte; an idle connection must not keep a thread for ever
    server_version = "romancy-demo-ledger"
    _HELP: ClassVar = f"try GET /ledger, or POST /{', /'.join(_KNOWN)}"

    def do_GET(self) -> None:
        if self.path == "/ledger":
            self._answer(200, self.server.ledger.overview())
        else:
            self._answer(404, {"error": self._HELP})

    def _not_allowed(self) -> None:
        self._answer(405, {"error": self._HELP}, {"Allow": "GET, POST"})

    do_PUT = do_PATCH = do_DELETE = _not_allowed

    def do_POST(self) -> None:
        try:
            wanted = self._wanted()
            answer, again = self.server.ledger.record(wanted)
        except Refused as refusal:
            self._answer(refusal.status, {"error": str(refusal)})
            return
        if not again:
            time.sleep(self.server.latency)  # after the effect: see the module's docstring
        self._answer(200, answer, {"Idempotent-Replayed": "true"} if again else {})

    def _wanted(self) -> Wanted:
        """Read and check the request."""
        effect = self.path.removeprefix("/")
        if effect not in _KNOWN:
            raise Refused(404, self._HELP)
        body = self._body()
        order = body.get("order")
        if not isinstance(order, str) or not order.strip() or len(order) > _MAX_TEXT:
            raise Refused(400, f'"order" must be a text of 1 to {_MAX_TEXT} characters')
        key = self.headers.get("Idempotency-Key", "")
        if len(key) > _MAX_TEXT:
            raise Refused(400, f"an Idempotency-Key has at most {_MAX_TEXT} characters")
        return Wanted(effect, order, _amount(body.get("amount")), key)

    def _body(self) -> dict[str, Any]:
        """Read the request's JSON object."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise Refused(411, "Content-Length is needed")
        if len(length) > 9 or int(length) > _MAX_BODY:
            raise Refused(413, f"a body has at most {_MAX_BODY} bytes")
        data = self.rfile.read(int(length))
        if len(data) < int(length):
            raise Refused(400, "the body ended early")
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            raise Refused(400, "the body is not JSON") from None
        if not isinstance(body, dict):
            raise Refused(400, "the body must be a JSON object")
        return body

    def _answer(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            pass  # the client is gone: in the demo that is the point, not a problem

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the ledger is the log."""


def _stop_when_stdin_closes(server: _Server) -> None:
    """End *server* when nobody holds the other end of standard input any more."""
    while sys.stdin.buffer.read(4096):
        pass
    server.shutdown()


def _write_ready(path: Path, server: _Server) -> None:
    """Tell who waits where the service is; by renaming, so that nobody reads half of it."""
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps({"url": f"http://127.0.0.1:{server.server_port}", "pid": os.getpid()}), "utf-8")
    draft.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the service until it is told to end. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m romancy_nb.demo.ledger", description="The demo's ledger service.")
    parser.add_argument("--ledger", type=Path, required=True, metavar="FILE", help="where the effects are kept")
    parser.add_argument("--ready-file", type=Path, required=True, metavar="FILE", help="told the URL when it answers")
    parser.add_argument("--latency", type=float, default=0.15, metavar="S", help="seconds from effect to answer")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that started it")
    options = parser.parse_args(argv)
    if not 0 <= options.latency <= 60:
        parser.error("--latency must be between 0 and 60 seconds")
    try:
        ledger = Ledger(options.ledger)
    except (LedgerBusy, OSError, ValueError) as problem:
        print(f"The ledger cannot be opened: {problem}", file=sys.stderr)
        return 1
    with _Server(ledger, options.latency) as server:
        if options.until_stdin_closes:
            threading.Thread(target=_stop_when_stdin_closes, args=(server,), daemon=True).start()
        _write_ready(options.ready_file, server)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.1)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # the thread that reads standard input holds its lock; an ordinary exit would trip over it
