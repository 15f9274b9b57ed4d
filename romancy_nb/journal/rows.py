r"""An event as one row of text, and back.

Every field that is not a key goes into one column, separated by tabs, because columns cost: a commit of two rows with
thirteen columns takes 1.7 times as long as a bare one, with four 1.2 times. The order is fixed::

    at  turn  call  name  digest  code  attempt  meta  parts  payload

``meta`` and ``parts`` are JSON or empty. ``payload`` comes last: empty for none (a JSON document never is), ``@`` and a
digest for a text that is kept apart because it is long, else the JSON itself, which contains no raw tab. Views in
``sql/duckdb/schema.sql`` read the same format with ``string_split``: whoever changes it here writes a migration.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from romancy_nb.core.events import Event
from romancy_nb.journal.protocol import Row
from romancy_nb.payloads.payload import FORGOTTEN, Part, Payload, content_digest

__all__ = [
    "LONG_TEXT",
    "PLAIN",
    "TEXT",
    "ZLIB",
    "Stored",
    "codes",
    "decode",
    "encode",
    "pack",
    "references",
    "stored",
    "unpack",
]

LONG_TEXT: Final = 8 * 1024
"""A JSON text of more characters than this is kept apart, once."""
TEXT: Final = "text"
PLAIN: Final = "plain"
ZLIB: Final = "zlib"

_FORGOTTEN: Final = f'\t{{"{FORGOTTEN}":'
_FIELDS: Final = 9  # tabs in a body
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

# A named tuple filled directly, without its constructor in Python: loading is what stands between a person and a resumed
# run, and this is a third of it.
_new = tuple.__new__

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
_loads = json.JSONDecoder().decode
# without looking for spaces around, which we did not write; the attribute is old and public, but not in the stubs
_scan: Callable[[str, int], tuple[Any, int]] = getattr(json.JSONDecoder(), "scan_once")  # noqa: B009


@dataclass(frozen=True, slots=True)
class Stored:
    """Something kept apart from its event: a long JSON text, or a binary part.

    *packing* is ``text`` for JSON (never compressed by us, so that SQL can read it; DuckDB compresses it), and
    ``plain`` or ``zlib`` for the rest.
    """

    digest: str
    codec: str
    data: bytes | None
    size: int
    text: bool


def _clean(field: str) -> str:
    return _UNSAFE.sub("�", field) if _UNSAFE.search(field) else field


def encode(row: Row, turn: int) -> tuple[int, int, str, str]:
    """Return *row* as (run, seq, kind, body)."""
    event = row.event
    payload = event.payload
    parts = text = ""
    if payload is not None:
        text = payload.text
        if len(text) > LONG_TEXT:
            text = "@" + content_digest(text.encode())
        if payload.parts:
            parts = _dumps([{"codec": p.codec, "digest": p.digest, "size": p.size} for p in payload.parts])
    meta = _dumps(event.meta if type(event.meta) is dict else dict(event.meta)) if event.meta else ""
    body = (
        f"{event.at}\t{turn}\t{_clean(event.call)}\t{_clean(event.name)}\t{_clean(event.digest)}\t{_clean(event.code)}"
        f"\t{event.attempt}\t{meta}\t{parts}\t{text}"
    )
    return row.run, row.seq, event.kind, body


def stored(rows: Sequence[Row], texts: Mapping[str, str] | None = None) -> Iterator[Stored]:
    """Yield what *rows* need kept apart, and *texts* by the digests that they are asked for; the same thing may come twice."""
    for digest, text in (texts or {}).items():
        data = text.encode()
        yield Stored(digest, "code", data, len(data), True)
    for row in rows:
        payload = row.event.payload
        if payload is None:
            continue
        if len(payload.text) > LONG_TEXT:
            data = payload.text.encode()
            yield Stored(content_digest(data), "json", data, len(data), True)
        for part in payload.parts:
            yield Stored(part.digest, part.codec, part.data, part.size, False)


def pack(item: Stored, data: bytes) -> tuple[str, str, int, str, bytes]:
    """Return *item* as a row (digest, codec, size, packing, data), compressed where that saves more than a tenth."""
    if item.text:
        return item.digest, item.codec, item.size, TEXT, data
    packed = zlib.compress(data, 1)
    if len(packed) < 0.9 * len(data):
        return item.digest, item.codec, item.size, ZLIB, packed
    return item.digest, item.codec, item.size, PLAIN, data


def unpack(packing: str, data: bytes) -> bytes:
    """Undo :func:`pack`."""
    return zlib.decompress(data) if packing == ZLIB else data


def references(bodies: Sequence[str], *, parts: bool) -> tuple[set[str], set[str]]:
    """Return the digests of (long texts, binary parts) that *bodies* refer to; the latter only with *parts*."""
    texts: set[str] = set()
    binary: set[str] = set()
    for body in bodies:
        if "\t@" not in body and not (parts and "}]\t" in body):
            continue  # almost all of them, and these two looks are ten times as fast as taking the body apart
        *_, described, text = body.split("\t", _FIELDS)
        if text[:1] == "@":
            texts.add(text[1:])
        if parts and described:
            binary.update(p["digest"] for p in _loads(described))
    return texts, binary


def codes(bodies: Sequence[str]) -> set[tuple[str, str]]:
    """Return name and fingerprint of what *bodies* call, unless they are forgotten: code is kept under a digest of these."""
    found = set()
    for body in bodies:
        if _FORGOTTEN in body:
            continue
        _, _, _, name, _, code, _ = body.split("\t", 6)
        if code:
            found.add((name, code))
    return found


def decode(
    run: int,
    rows: Sequence[tuple[int, str, str]],
    texts: Mapping[str, str],
    binary: Mapping[str, bytes] | None,
) -> list[Row]:
    """Return *rows*, each (seq, kind, body), as the history of *run*.

    Args:
        texts: digest -> the long JSON texts that the bodies refer to.
        binary: digest -> the data of binary parts; None leaves the parts described, without data.
    """
    out: list[Row] = []
    add = out.append
    for seq, kind, body in rows:
        at, _, call, name, digest, code, attempt, meta, parts, text = body.split("\t", _FIELDS)
        if not text:
            payload = None
        elif parts or text[0] == "@":
            whole = texts[text[1:]] if text[0] == "@" else text
            payload = Payload(whole, _parts(parts, binary) if parts else ())
        else:
            payload = _new(Payload, (text, ()))
        facts = _scan(meta, 0)[0] if meta else None
        event = _new(Event, (kind, int(at), call, name, digest, code, int(attempt), payload, facts))
        add(_new(Row, (run, seq, event)))
    return out


def _parts(described: str, binary: Mapping[str, bytes] | None) -> tuple[Part, ...]:
    return tuple(
        Part(p["codec"], p["digest"], None if binary is None else binary[p["digest"]], p["size"])
        for p in _loads(described)
    )
