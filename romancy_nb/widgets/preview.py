"""A journaled value as a line of at most 120 characters. What was redacted shows as ``•••`` and as nothing else.

Only the shape of the JSON text is read (see ``payloads.payload``); no codec runs, so looking at somebody's journal
executes nothing and loads no binary part.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from romancy_nb.payloads.payload import NOTES, Part, Payload, is_forgotten, members
from romancy_nb.words import clip

__all__ = ["LIMIT", "WHOLE", "failure", "inputs", "size", "value"]

LIMIT: Final = 120
WHOLE: Final = 8_000
"""Characters of a value where a file is to have more of it than a preview."""
_HIDDEN: Final = "•••"
_PARSED: Final = 100_000
_REDACTED: Final = re.compile(r'\{\s*"\$redacted"\s*:.*?(?:\}|$)')
_TYPE_KEYS: Final = ("type", "class", "cls", "name")
_TEXT_KEYS: Final = ("message", "text", "str")
_DEEPEST: Final = 6
_BOUND: Final = {"args", "kwargs"}
_NUMBERS: Final = (bool, int, float)


def value(payload: Payload | None, limit: int = LIMIT) -> str:
    """Return a preview of one value."""
    if payload is None:
        return ""
    if is_forgotten(payload.text):
        return "forgotten"
    document = _parse(payload.text)
    if document is _UNREAD:
        return _raw(payload.text, limit)
    return _joined(_pieces(document, _of(payload, limit)), limit)


def inputs(payload: Payload | None, limit: int = LIMIT) -> str:
    """Return a preview of a call's inputs, as they would stand between its parentheses."""
    if payload is None:
        return ""
    if is_forgotten(payload.text):
        return "forgotten"
    document = _parse(payload.text)
    if document is _UNREAD:
        return _raw(payload.text, limit)
    if isinstance(document, dict) and not _tag(document):
        if document.keys() == _BOUND and _is_bound(document):
            return _joined(_arguments(document["args"], document["kwargs"], _of(payload, limit)), limit)
        return _joined(_arguments([], document, _of(payload, limit)), limit)
    return _joined(_pieces(document, _of(payload, limit)), limit)


def failure(payload: Payload | None, limit: int = LIMIT) -> str:
    """Return a preview of an error: ``ValueError: no such item``."""
    if payload is None:
        return ""
    if is_forgotten(payload.text):
        return "forgotten"
    document = _parse(payload.text)
    if isinstance(document, dict) and len(document) == 1:
        inner = next(iter(document.values()))
        document = inner if isinstance(inner, dict) and not _tag(inner) else document
    if isinstance(document, dict):
        kind = next((document[key] for key in _TYPE_KEYS if isinstance(document.get(key), str)), "")
        text = next((document[key] for key in _TEXT_KEYS if isinstance(document.get(key), str)), "")
        arguments = document.get("args")
        if not text and isinstance(arguments, list) and arguments:
            text = _joined(_listed(arguments, _of(payload, limit), 1), limit)
        if kind or text:
            short = kind.rpartition(".")[2].rpartition(":")[2]
            return clip(f"{short}: {text}" if short and text else short or text, limit)
    return clip(document, limit) if isinstance(document, str) else value(payload, limit)


class _Of(NamedTuple):
    """What the values of a payload are written with: its parts, and how many characters of a text are looked at."""

    parts: tuple[Part, ...]
    most: int


def _of(payload: Payload, limit: int) -> _Of:
    return _Of(payload.parts, max(1_000, limit + 1))


class _Unread:
    """Stands for a document that is not JSON or too large to be read for a preview."""


_UNREAD: Final = _Unread()


def _parse(text: str) -> Any:
    if len(text) > _PARSED:
        return _UNREAD
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _UNREAD


def _raw(text: str, limit: int) -> str:
    """Preview text that was not parsed. Its beginning is JSON, so what is redacted in it can still be found."""
    return clip(_REDACTED.sub(_HIDDEN, text[: 20 * limit]) + ("…" if len(text) > 20 * limit else ""), limit)


def _is_bound(document: dict[str, Any]) -> bool:
    return isinstance(document["args"], list) and isinstance(document["kwargs"], dict)


def _joined(pieces: Iterator[str], limit: int) -> str:
    """Join *pieces* until there are more than can be shown: a preview of a large value costs what it shows."""
    taken: list[str] = []
    length = 0
    for piece in pieces:
        taken.append(piece)
        length += len(piece)
        if length > 4 * limit:
            break
    return clip("".join(taken), limit)


def _tag(document: dict[str, Any]) -> str:
    first = next(iter(document), "")
    return first[1:] if first[:1] == "$" and first not in NOTES else ""


def _arguments(args: list[Any], kwargs: dict[str, Any], of: _Of) -> Iterator[str]:
    between = ""
    for item in args:
        yield between
        yield from _pieces(item, of, 1)
        between = ", "
    for key, item in members(kwargs):
        yield f"{between}{key}="
        yield from _pieces(item, of, 1)
        between = ", "


def _plain(document: Any, most: int) -> str | None:
    """Return what has no parts as Python would write it; None for what has some."""
    if isinstance(document, str):
        return json.dumps(document[:most], ensure_ascii=False)
    return repr(document) if document is None or isinstance(document, _NUMBERS) else None


def _pieces(document: Any, of: _Of, depth: int = 0) -> Iterator[str]:
    """Yield *document* as Python would write it, piece by piece."""
    if depth > _DEEPEST:
        yield "…"
    elif (plain := _plain(document, of.most)) is not None:
        yield plain
    elif isinstance(document, list):
        yield "["
        yield from _listed(document, of, depth + 1)
        yield "]"
    elif tag := _tag(document):
        yield from _tagged(tag, document, of, depth)
    else:
        yield "{"
        between = ""
        for key, item in members(document):
            yield f"{between}{json.dumps(key, ensure_ascii=False)}: "
            yield from _pieces(item, of, depth + 1)
            between = ", "
        yield "}"


def _listed(items: list[Any], of: _Of, depth: int) -> Iterator[str]:
    between = ""
    for item in items:
        yield between
        yield from _pieces(item, of, depth)
        between = ", "


def _items(kind: str, document: dict[str, Any]) -> list[Any] | None:
    """Return what such a thing is made of; None where it is none, since somebody else may have written the journal."""
    items = document.get("items")
    if not isinstance(items, list):
        return None
    return items if kind != "dict" or all(isinstance(each, list) and len(each) == 2 for each in items) else None


def _bracketed(kind: str, items: list[Any], of: _Of, depth: int) -> Iterator[str]:
    """What Python writes with brackets of its own and JSON cannot: tuples, sets, dicts with keys that are no texts."""
    if kind == "set" and not items:
        yield "set()"
    elif kind == "dict":
        between = "{"
        for pair in items:
            yield between
            yield from _pieces(pair[0], of, depth)
            yield ": "
            yield from _pieces(pair[1], of, depth)
            between = ", "
        yield "}" if items else "{}"
    else:
        yield "(" if kind == "tuple" else "{"
        yield from _listed(items, of, depth)
        yield "}" if kind == "set" else ",)" if len(items) == 1 else ")"


def _tagged(tag: str, document: dict[str, Any], of: _Of, depth: int) -> Iterator[str]:
    """What JSON cannot say stands as ``{"$tag": …}``: redacted, binary, or a type and its value."""
    held = document[f"${tag}"]
    if tag == "redacted":
        yield _HIDDEN
    elif tag == "part":
        known = isinstance(held, int) and 0 <= held < len(of.parts)
        yield f"<{of.parts[held].codec}, {size(of.parts[held].size)}>" if known else "<binary>"
    elif len(document) == 1:
        yield from _pieces(held, of, depth)
    elif held in ("tuple", "set", "dict") and (items := _items(held, document)) is not None:
        yield from _bracketed(held, items, of, depth + 1)
    else:
        yield f"{held.rpartition('.')[2].rpartition(':')[2]}(" if isinstance(held, str) else f"{tag}("
        rest = {key: item for key, item in document.items() if key != f"${tag}"}
        if len(rest) == 1 and next(iter(rest)) in {"value", "data", "fields"}:
            only = next(iter(rest.values()))
            plain = isinstance(only, dict) and not _tag(only)
            yield from _arguments([], only, of) if plain else _pieces(only, of, depth + 1)
        else:
            yield from _arguments([], rest, of)
        yield ")"


def size(bytes_: int) -> str:
    size = float(bytes_)
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
