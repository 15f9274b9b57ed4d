"""The canonical form of frames, arrays and images: by their values, not by how they are stored."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from romancy_nb.payloads import canonical
from romancy_nb.payloads.payload import content_digest
from romancy_nb.payloads.text import sorted_dumps
from romancy_nb.payloads.tree import Unkept

__all__ = ["form_of"]

_NUMBERS: Final = frozenset("biufcmMSU")


def form_of(value: Any, depth: int) -> Any:
    """Return the canonical form of *value*, or None when it is of a class that this file does not know."""
    kind = type(value)
    room, name = kind.__module__.partition(".")[0], kind.__name__
    if room == "numpy":
        return _numpy(value, name, depth)
    if room == "pandas":
        return _pandas(value, name, depth)
    if room == "polars" and name in ("DataFrame", "Series"):
        return _frame_of("polars", value if name == "DataFrame" else value.to_frame(), depth)
    if room == "pyarrow" and name in ("Table", "RecordBatch"):
        return _frame_of("pyarrow", value, depth)
    if room == "PIL" and hasattr(value, "tobytes") and hasattr(value, "mode"):
        palette = None if value.palette is None else content_digest(bytes(value.palette.palette))
        return _tag("image", value.mode, list(value.size), content_digest(value.tobytes()), palette)
    return None


def _tag(name: str, *held: Any) -> dict[str, Any]:
    return {"$": [name, *held]}


# -- numpy -------------------------------------------------------------------------------------------------------------


def _numpy(value: Any, name: str, depth: int) -> Any:
    import numpy as np

    if name == "ndarray":
        return _tag("array", list(value.shape), *_array(value, depth))
    if isinstance(value, np.generic):
        return _tag("scalar", *_array(np.asarray(value), depth))
    return None


def _array(array: Any, depth: int) -> list[Any]:
    """Return [dtype, digest of the values], the same on every machine."""
    import numpy as np

    if array.dtype.kind in _NUMBERS or (array.dtype.kind == "V" and not array.dtype.hasobject):
        little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        return [_dtype(little.dtype), content_digest(little.tobytes())]
    return _objects(array.ravel().tolist(), depth)


def _dtype(dtype: Any) -> Any:
    """``int32`` is not everywhere the same letter; kind and size are."""
    if dtype.kind == "V":
        return repr(dtype.descr)
    return dtype.str[1:] if dtype.kind in "mMSU" else f"{dtype.kind}{dtype.itemsize}"


def _objects(values: list[Any], depth: int) -> list[Any]:
    """Return [name, digest] of Python values; a missing value is None, whatever its column calls it."""
    kinds = set(map(type, values))
    if kinds <= {str, type(None)}:
        hashed = blake2b(digest_size=16)
        hashed.update(",".join(["-" if value is None else str(len(value)) for value in values]).encode())
        hashed.update(b"|")
        hashed.update("".join([value for value in values if value is not None]).encode("utf-8", "surrogatepass"))
        return ["texts", hashed.hexdigest()]
    out = []
    try:
        for value in values:
            out.append(canonical.form(value, depth + 1))
    except Unkept as error:
        error.inside(values, f"[{len(out)}]")
        raise
    return ["objects", content_digest(sorted_dumps(out).encode("utf-8", "surrogatepass"))]


# -- pandas ------------------------------------------------------------------------------------------------------------


def _pandas(value: Any, name: str, depth: int) -> Any:
    import pandas

    if name in ("NaTType", "NAType"):
        return _tag("pandas", name)
    if name == "Timestamp":
        zone = None if value.tz is None else str(value.tz)
        naive = value if value.tz is None else value.tz_convert("UTC").tz_localize(None)
        return _tag("Timestamp", naive.as_unit("ns").isoformat(), zone)
    if name == "Timedelta":
        return _tag("Timedelta", value.as_unit("ns").isoformat())
    if name in ("Period", "Interval"):
        return _tag(name, str(value), str(getattr(value, "freqstr", getattr(value, "closed", ""))))
    if isinstance(value, pandas.DataFrame):
        columns = []
        for position in range(value.shape[1]):
            column = value.iloc[:, position]
            try:
                columns.append(_column(column.array, depth))
            except Unkept as error:
                error.inside(value, f"[{column.name!r:.80}]")
                raise
        return _tag("frame", _index(value.columns, depth), _index(value.index, depth), columns)
    if isinstance(value, pandas.Series):
        label = canonical.form(value.name, depth + 1)
        return _tag("series", label, _index(value.index, depth), _column(value.array, depth))
    if isinstance(value, pandas.Index):
        return _tag("index", *_index(value, depth))
    return None


def _index(index: Any, depth: int) -> list[Any]:
    names = [canonical.form(name, depth + 1) for name in index.names]
    if hasattr(index, "levels"):
        return [names, *(_column(index.get_level_values(level).array, depth) for level in range(index.nlevels))]
    return [names, _column(index.array, depth)]


def _column(array: Any, depth: int) -> list[Any]:
    import pandas

    from romancy_nb.payloads.frames import bare

    array = bare(array)
    dtype = array.dtype
    if type(array).__module__ == "numpy" and array.dtype.kind in _NUMBERS:
        return _array(array, depth)
    zone = getattr(dtype, "tz", None)
    if zone is not None:
        return [str(zone), *_array(array.tz_convert("UTC").tz_localize(None).to_numpy(), depth)]
    kind = getattr(dtype, "kind", "O")
    if kind in "mM" and type(array).__module__.startswith("pandas"):
        return _array(array.to_numpy(), depth)
    missing = pandas.isna(array)
    if kind in "biuf" and type(dtype).__name__ not in ("CategoricalDtype", "SparseDtype", "ArrowDtype"):
        plain = array.copy()
        plain[missing] = False if kind == "b" else 0
        numbers = _array(plain.to_numpy(dtype=dtype.numpy_dtype), depth)
        return [*numbers, content_digest(missing.tobytes())] if missing.any() else numbers
    values = list(array)
    return _objects(
        [None if gone is True else value for value, gone in zip(values, missing.tolist(), strict=True)], depth
    )


# -- polars and arrow --------------------------------------------------------------------------------------------------


def _frame_of(library: str, frame: Any, depth: int) -> Any:
    names = list(frame.columns) if library == "polars" else list(frame.schema.names)
    columns: list[Any] = []
    for position, name in enumerate(names):
        column = frame[name] if library == "polars" else frame.column(position)
        dtype = str(column.dtype if library == "polars" else column.type)
        clean = column.null_count() == 0 if library == "polars" else column.null_count == 0
        try:
            if clean and any(dtype.lower().startswith(start) for start in ("int", "uint", "float", "double")):
                columns.append([dtype, *_array(column.to_numpy(), depth)])
            else:
                values = column.to_list() if library == "polars" else column.to_pylist()
                columns.append([dtype, *_objects(values, depth)])
        except Unkept as error:
            error.inside(frame, f"[{name!r:.80}]")
            raise
    return _tag(library, names, columns)
