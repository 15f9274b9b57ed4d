"""A journaled value as a person looks into it: a JSON tree, a table, a picture, or a description. No code of the value's runs.

Only the document is read, and of the binary parts those that libraries of a fixed list read without executing anything: the first
rows of an Arrow table, a PNG as it is. What was redacted shows as ``•••``, also where only a name says that it is a secret.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from romancy_nb.payloads.payload import NOTES, Part, Payload, is_forgotten
from romancy_nb.payloads.redact import is_secret

__all__ = ["MOST", "Val", "nothing", "shown", "shown_inputs", "text_value"]

Val = dict[str, Any]
"""``{"kind": "json" | "table" | "image" | "text" | "none", …}``."""

MOST: Final = 50_000
"""Characters of JSON that a value may take."""
HIDDEN: Final = "•••"

_PARSED: Final = 2_000_000
_PART: Final = 20_000_000
_PICTURE: Final = 45_000  # bytes, which base64 makes a third more
_ROWS: Final = 20
_COLUMNS: Final = 30
_CELL: Final = 200
_DEEPEST: Final = 12
_LIMITS: Final = ((200, 8_000), (50, 1_000), (12, 200), (4, 60))
_REDACTED: Final = re.compile(r'\{\s*"\$redacted"\s*:.*?(?:\}|$)')
_PLAIN: Final = frozenset({"date", "datetime", "time", "Decimal", "Fraction", "UUID", "timedelta", "float", "complex"})
_PATHS: Final = frozenset({"PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"})

Fetch = Callable[[str], bytes | None]
"""Returns the data of the part with this digest; None: it was left where it is."""


def nothing() -> Val:
    """Return what stands where there is no value."""
    return {"kind": "none"}


def text_value(text: str, most: int = MOST) -> Val:
    """Return a text as a value, cut to *most* characters."""
    return {"kind": "text", "text": text[:most], "truncated": len(text) > most}


def shown(payload: Payload | None, fetch: Fetch | None = None) -> Val:
    """Return what is shown of one value.

    Args:
        payload: the value; None: there is none.
        fetch: gets binary parts whose data was not loaded; None: they are described only.

    Example:
        >>> shown(Payload('{"amount": 3, "api_key": {"$redacted": "api_key"}}'))["value"]
        {'amount': 3, 'api_key': '•••'}
    """
    return _shown(payload, fetch, inputs=False)


def shown_inputs(payload: Payload | None, fetch: Fetch | None = None) -> Val:
    """Return what is shown of a call's arguments; a table or picture that is the only one stands for itself."""
    return _shown(payload, fetch, inputs=True)


def _shown(payload: Payload | None, fetch: Fetch | None, *, inputs: bool) -> Val:
    if payload is None:
        return nothing()
    if is_forgotten(payload.text):
        return text_value("forgotten")
    try:
        document = json.loads(payload.text) if len(payload.text) <= _PARSED else None
    except (ValueError, RecursionError):
        document = None
    if document is None and payload.text != "null":
        cut = text_value(_REDACTED.sub(HIDDEN, payload.text[:MOST]))
        return {**cut, "truncated": len(payload.text) > MOST}
    source = _Source(payload.parts, fetch)
    if inputs and isinstance(document, dict) and len(document) == 1 and not _is_tagged(document):
        (name, only), *_ = document.items()
        whole = None if is_secret(name) else _whole(only, source)
        if whole is not None:
            return {**whole, "name": name}
    return _whole(document, source) or _tree(document, source)


@dataclass(frozen=True, slots=True)
class _Source:
    """The parts of a payload."""

    parts: tuple[Part, ...]
    fetch: Fetch | None

    def part(self, document: dict[str, Any]) -> Part | None:
        index = document.get("$part")
        return self.parts[index] if isinstance(index, int) and 0 <= index < len(self.parts) else None

    def data(self, document: dict[str, Any], most: int) -> bytes | None:
        """The bytes of the part that *document* stands for, unless it is too large to be worth it."""
        part = self.part(document)
        if part is None or part.size > most:
            return None
        if part.data is not None:
            return part.data
        return self.fetch(part.digest) if self.fetch is not None else None


def _is_tagged(document: dict[str, Any]) -> bool:
    first = next(iter(document), "")
    return first[:1] == "$" and first not in NOTES


# -- the whole value: a table, a picture, an array ------------------------------------------------------------------------


def _whole(document: Any, source: _Source) -> Val | None:
    """Return how a value that is no tree is shown; None: it is one."""
    if not isinstance(document, dict) or not _is_tagged(document):
        return None
    if document.get("$type") == "pandas" and isinstance(document.get("data"), list):
        return _by_column(document, source)
    if "$part" not in document:
        return text_value(text) if (text := _long_text(document)) else None
    codec = document.get("codec")
    try:
        if codec == "arrow" and (data := source.data(document, _PART)) is not None:
            return _arrow(data)
        if codec == "png" and (data := source.data(document, _PICTURE)) is not None:
            return {"kind": "image", "mime": "image/png", "data": base64.b64encode(data).decode("ascii")}
        if codec == "npy" and (data := source.data(document, 100_000)) is not None:
            return text_value(f"{_described(document, source)}\n{_array(data)}", 4_000)
        if codec == "bytes" and (data := source.data(document, _PART)) is not None:
            return text_value(f"{_described(document, source)}\n{_hexadecimal(data)}", 4_000)
    except Exception as error:  # a part that its library does not take: say so, and show the rest
        return text_value(f"{_described(document, source)}\nIt cannot be shown: {type(error).__name__}: {error}", 4_000)
    return text_value(_described(document, source))


def _long_text(document: dict[str, Any]) -> str:
    """A text that JSON cannot hold as it is."""
    escaped = document.get("escaped") if document.get("$type") == "str" else None
    return escaped if isinstance(escaped, str) else ""


def _arrow(data: bytes) -> Val:
    from romancy_nb.payloads.tables import arrow_table

    table = arrow_table(data)
    names = [str(name) for name in table.column_names]
    columns = [_texts(table.column(index).slice(0, _ROWS)) for index in range(min(len(names), _COLUMNS))]
    return _table(names, columns, [table.num_rows, table.num_columns])


def _texts(column: Any) -> list[Any]:
    """The values of an Arrow column, read without pandas."""
    values = []
    for scalar in column:
        try:
            value = scalar.as_py()
        except Exception:  # nanoseconds need pandas
            value = str(scalar)
        values.append(_cell(value))
    return values


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 1 << 53:
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    text = str(value)
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


def _table(names: list[str], columns: list[list[Any]], shape: list[int]) -> Val:
    hidden = [is_secret(name) for name in names]
    rows = [
        [HIDDEN if hide and value is not None else value for value, hide in zip(row, hidden, strict=False)]
        for row in zip(*columns, strict=False)
    ]
    while len(rows) > 1 and len(json.dumps(rows, ensure_ascii=False)) > MOST:
        rows = rows[: len(rows) // 2]
    shown = [name if len(name) <= _CELL else name[: _CELL - 1] + "…" for name in names[:_COLUMNS]]
    return {"kind": "table", "columns": shown, "rows": rows, "shape": shape}


def _by_column(document: dict[str, Any], source: _Source) -> Val:
    """A pandas frame whose columns were written one by one, objects among them as JSON."""
    names = [str(name) for name in _listed(document, "columns")]
    columns: list[list[Any]] = []
    for held in document["data"][:_COLUMNS]:
        values = held.get("values") if isinstance(held, dict) else None
        if isinstance(values, list):
            columns.append([_cell(_tell(value)) for value in values[:_ROWS]])
        else:
            columns.append(_column(held, source))
    names += [f"column {number + 1}" for number in range(len(names), len(document["data"]))]
    rows = document.get("rows")
    return _table(names, columns, [rows if isinstance(rows, int) else 0, len(document["data"])])


def _column(held: Any, source: _Source) -> list[Any]:
    """The first values of a column that is an array or a table by itself."""
    try:
        if isinstance(held, dict) and "array" in held and (data := source.data(held["array"], _PART)) is not None:
            from romancy_nb.payloads.tables import array_of

            return [_cell(value.item() if hasattr(value, "item") else value) for value in array_of(data)[:_ROWS]]
        if isinstance(held, dict) and "values" in held and (data := source.data(held["values"], _PART)) is not None:
            return [row[0] for row in _arrow(data)["rows"]]
    except Exception:
        pass
    return ["…"] * _ROWS


def _tell(value: Any) -> Any:
    return _told(value, _Source((), None), _Budget(20, _CELL), 0) if isinstance(value, dict | list) else value


def _array(data: bytes) -> str:
    import numpy

    from romancy_nb.payloads.tables import array_of

    return str(numpy.array2string(array_of(data), threshold=200, edgeitems=4, max_line_width=100))


def _hexadecimal(data: bytes) -> str:
    lines = []
    for start in range(0, min(len(data), 256), 16):
        piece = data[start : start + 16]
        readable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{piece.hex(' '):<47}  {readable}")
    return "\n".join(lines) + ("\n…" if len(data) > 256 else "")


def _listed(document: dict[str, Any], name: str) -> list[Any]:
    found = document.get(name)
    return found if isinstance(found, list) else []


def _described(document: dict[str, Any], source: _Source) -> str:
    """A binary part in words: ``table of 3 rows, 2 columns (a, b)``, ``array of float64, 3 × 4``.

    What only looks like a part may hold anything.
    """
    part, codec = source.part(document), document.get("codec")
    bytes_ = part.size if part is not None else document.get("size", 0)
    size = f"{bytes_:,} bytes" if isinstance(bytes_, int) else "bytes"
    shape = " × ".join(str(each) for each in _listed(document, "shape") if isinstance(each, int))
    if codec == "arrow":
        names = [str(name) for name in _listed(document, "columns")]
        return f"{document.get('as', 'table')} of {document.get('rows', '?')} rows: {', '.join(names)[:_CELL]} ({size})"
    if codec == "npy":
        return f"array of {document.get('dtype', '?')}, {shape or 'one value'} ({size})"
    if codec in ("png", "image"):
        return f"image, {shape} ({size})"
    if codec == "bytes":
        return f"{document.get('as', 'bytes')} ({size})"
    return f"{document.get('type', 'a value')} kept by codec {codec} ({size})"


# -- trees ---------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Budget:
    """How much of a tree is told: items of a list or dict, characters of a text, and all in all."""

    items: int
    characters: int
    left: int = 6_000
    cut: bool = False


def _tree(document: Any, source: _Source) -> Val:
    told: Any = None
    budget = _Budget(0, 0)
    for items, characters in _LIMITS:
        budget = _Budget(items, characters)
        told = _told(document, source, budget, 0)
        if len(json.dumps(told, ensure_ascii=False)) <= MOST:
            break
        budget.cut = True
    if isinstance(told, str) and "\n" in told:
        return {"kind": "text", "text": told, "truncated": budget.cut}
    return {"kind": "json", "value": told, "truncated": budget.cut or budget.items != _LIMITS[0][0]}


def _told(document: Any, source: _Source, budget: _Budget, depth: int) -> Any:
    budget.left -= 1
    if document is None or isinstance(document, bool | float):
        return document
    if isinstance(document, int):
        return document if abs(document) < 1 << 53 else str(document)  # a browser has no larger ones
    if isinstance(document, str):
        if len(document) <= budget.characters:
            return document
        budget.cut = True
        return f"{document[: budget.characters]}… ({len(document) - budget.characters:,} more characters)"
    if depth > _DEEPEST or budget.left <= 0:
        budget.cut = True
        return "…"
    if isinstance(document, list):
        return _list(document, source, budget, depth)
    if _is_tagged(document):
        return _tagged(document, source, budget, depth)
    return _members(document, source, budget, depth)


def _list(items: list[Any], source: _Source, budget: _Budget, depth: int) -> list[Any]:
    told = [_told(item, source, budget, depth + 1) for item in items[: budget.items]]
    if len(items) > budget.items:
        budget.cut = True
        told.append(f"… {len(items) - budget.items:,} more")
    return told


def _pairs(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values, without what the journal notes of a model."""
    for key, item in document.items():
        if key == "$extra" and isinstance(item, dict):
            yield from item.items()
        elif key not in NOTES:
            yield key, item


def _members(document: dict[str, Any], source: _Source, budget: _Budget, depth: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for key, item in _pairs(document):
        if len(told) >= budget.items:
            budget.cut = True
            told["…"] = f"{len(document) - len(told):,} more"
            break
        short = key if len(key) <= _CELL else key[: _CELL - 1] + "…"
        told[short] = HIDDEN if _hides(key, item) else _told(item, source, budget, depth + 1)
    return told


def _hides(name: str, item: Any) -> bool:
    return item is not None and is_secret(name, item)


def _tagged(document: dict[str, Any], source: _Source, budget: _Budget, depth: int) -> Any:
    """What JSON cannot say by itself."""
    if "$redacted" in document:
        return HIDDEN
    if "$part" in document:
        return f"<{_described(document, source)}>"
    if "$value" in document:
        return _told(document["$value"], source, budget, depth + 1)
    name = document.get("$type")
    if not isinstance(name, str):
        return _members({key.lstrip("$"): item for key, item in document.items()}, source, budget, depth)
    short = name.rpartition(".")[2].rpartition(":")[2]
    rest = {key: item for key, item in document.items() if key != "$type"}
    items = rest.get("items")
    if short in {"dict", "OrderedDict", "Counter", "defaultdict"} and isinstance(items, list):
        pairs = [pair for pair in items if isinstance(pair, list) and len(pair) == 2]
        keyed = {_key(_told(pair[0], source, budget, depth + 1)): pair[1] for pair in pairs[: budget.items + 1]}
        return _members(keyed, source, budget, depth)
    if isinstance(items, list):
        told = _list(items, source, budget, depth)
        return told if short in {"tuple", "list", "deque"} else {short: told}
    if name in _PLAIN | _PATHS and isinstance(rest.get("value"), str):
        zone = f" [{rest['zone']}]" if isinstance(rest.get("zone"), str) else ""
        return f"{rest['value']}{zone}"
    if name == "str":
        return _told(str(rest.get("escaped", "")), source, budget, depth)
    if "base64" in rest:
        return f"<{short}, {_length(rest['base64'])} bytes>"
    if name == "numpy" and "value" in rest:
        return rest.get("shown", _told(rest["value"], source, budget, depth + 1))
    if name == "pandas" and "value" in rest:
        return f"{rest.get('as')} {rest['value']}"
    inner = rest.get("fields", rest)
    return {short: _told(inner, source, budget, depth + 1) if not isinstance(inner, dict) or _is_tagged(inner) else
            _members(inner, source, budget, depth + 1)}  # fmt: skip


def _key(told: Any) -> str:
    return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)


def _length(encoded: Any) -> int:
    return len(encoded) * 3 // 4 - encoded[-2:].count("=") if isinstance(encoded, str) else 0
