"""pandas: frames, series, indexes and scalars.

Arrow keeps most frames exactly. Which ones it keeps is not guessed: the first rows of the written table are read back, and
when dtypes, column labels or index came back otherwise (object columns, labels of mixed types, categories of objects),
the frame is written column by column instead, objects as JSON.
"""

from __future__ import annotations

from typing import Any, Final

from romancy_nb.payloads.tables import (
    array_bytes,
    array_of,
    arrow_bytes,
    arrow_table,
    need_pyarrow,
    shown_columns,
)
from romancy_nb.payloads.tree import Lost, Reader, Unkept, Writer, Writes

__all__ = ["read_arrow", "read_pandas", "writer_for"]

_INDEXES: Final = frozenset(
    {
        "CategoricalIndex",
        "DatetimeIndex",
        "Index",
        "IntervalIndex",
        "MultiIndex",
        "PeriodIndex",
        "RangeIndex",
        "TimedeltaIndex",
    }
)


def writer_for(name: str) -> Writes | None:
    """Return how to write the pandas class called *name*."""
    if name in _INDEXES:
        return lambda out, value: {"$type": "pandas", "as": "Index", "index": write_index(out, value)}
    kinds: dict[str, Writes] = {
        "DataFrame": write_frame,
        "Series": _write_series,
        "Timestamp": _write_timestamp,
        "Timedelta": _write_timedelta,
        "NaTType": lambda out, value: {"$type": "pandas", "as": "NaT"},
        "NAType": lambda out, value: {"$type": "pandas", "as": "NA"},
    }
    return kinds.get(name)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise Lost(
            "it is a pandas value, and pandas is not installed. Install it: pip install romancy_nb[frames]"
        ) from error
    return pandas


# -- frames ------------------------------------------------------------------------------------------------------------


def write_frame(out: Writer, frame: Any, kind: str = "DataFrame") -> Any:
    """Return the document of a pandas frame (or of a series as a frame of one column)."""
    pyarrow = need_pyarrow(frame)
    bare = frame
    if frame.attrs:
        bare = frame.copy(deep=False)
        bare.attrs = {}
    about: dict[str, Any] = {"as": f"pandas.{kind}", "rows": len(frame), "columns": shown_columns(frame.columns)}
    if frame.attrs:
        about["attrs"] = out.any(frame.attrs)
    if getattr(frame.index, "freq", None) is not None:
        about["freq"] = frame.index.freq.freqstr
    # pyarrow warns about labels of several types, and makes texts of them
    one_kind = len(set(map(type, bare.columns))) <= 1
    if one_kind and not any(_is_object(dtype) for dtype in (*bare.dtypes, bare.index.dtype)):
        try:
            table = pyarrow.Table.from_pandas(bare)
            if _same_shape(table.slice(0, 5).to_pandas(), bare.iloc[:5]):
                return out.part("arrow", arrow_bytes(table), **about)
        except Exception:
            pass  # something that Arrow does not know; column by column it may be kept, or the error names the column
    return {"$type": "pandas", **about, **_by_column(out, bare)}


def _is_object(dtype: Any) -> bool:
    return bool(dtype.kind == "O" and dtype.name == "object")


def _same_shape(restored: Any, frame: Any) -> bool:
    """Whether Arrow gives back *frame* as it is: labels, dtypes, names."""
    return bool(
        list(restored.dtypes) == list(frame.dtypes)
        and _same_index(restored.columns, frame.columns)
        and _same_index(restored.index, frame.index)
    )


def _same_index(restored: Any, index: Any) -> bool:
    if type(restored) is not type(index) or list(restored.names) != list(index.names):
        return False
    if hasattr(index, "levels"):
        if any(a.dtype != b.dtype for a, b in zip(restored.levels, index.levels, strict=True)):
            return False
    elif restored.dtype != index.dtype:
        return False
    return bool(restored.equals(index)) and [type(x) for x in restored] == [type(x) for x in index]


def _by_column(out: Writer, frame: Any) -> dict[str, Any]:
    out.enter(frame)
    data = []
    for position in range(frame.shape[1]):
        column = frame.iloc[:, position]
        try:
            data.append(write_values(out, column.array))
        except Unkept as error:
            error.inside(frame, f"[{column.name!r:.80}]")
            raise
    document = {"data": data, "labels": write_index(out, frame.columns), "index": write_index(out, frame.index)}
    out.depth -= 1
    return document


def _write_series(out: Writer, series: Any) -> Any:
    frame = series.to_frame(name="value")
    frame.attrs = series.attrs
    return {**write_frame(out, frame, "Series"), "name": out.any(series.name)}


def read_arrow(document: dict[str, Any], table: Any, source: Reader) -> Any:
    """Return the pandas value that *document* describes and Arrow kept as *table*."""
    _pandas()
    return _finish(document, table.to_pandas(), source)


def read_pandas(source: Reader, document: dict[str, Any]) -> Any:
    """Return the pandas value of a document with ``"$type": "pandas"``."""
    pandas = _pandas()
    kind = document["as"]
    if kind == "NaT":
        return pandas.NaT
    if kind == "NA":
        return pandas.NA
    if kind == "Timestamp":
        stamp = pandas.Timestamp(document["value"]).as_unit(document["unit"])
        zone = source.any(document["zone"])
        return stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone)
    if kind == "Timedelta":
        return pandas.Timedelta(document["value"], unit=document["unit"]).as_unit(document["unit"])
    if kind == "Index":
        return read_index(source, document["index"])
    index = read_index(source, document["index"])
    columns = {
        position: pandas.Series(read_values(source, held), index=index, dtype=_dtype(held))
        for position, held in enumerate(document["data"])
    }
    frame = pandas.DataFrame(columns, index=index)
    frame.columns = read_index(source, document["labels"])
    return _finish(document, frame, source)


def _dtype(document: dict[str, Any]) -> Any:
    """The dtype to insist on: pandas would make texts of objects that are all texts."""
    return object if document["dtype"] == "object" else None


def _finish(document: dict[str, Any], frame: Any, source: Reader) -> Any:
    if "freq" in document and hasattr(frame.index, "freq"):
        frame.index.freq = document["freq"]
    value = frame
    if document["as"] == "pandas.Series":
        value = frame.iloc[:, 0]
        value.name = source.any(document["name"])
    if "attrs" in document:
        value.attrs = source.any(document["attrs"])
    return value


# -- indexes and single columns ----------------------------------------------------------------------------------------


def write_index(out: Writer, index: Any) -> dict[str, Any]:
    """Return the document of a pandas index."""
    names = [out.any(name) for name in index.names]
    kind = type(index).__name__
    if kind == "RangeIndex":
        return {"names": names, "range": [index.start, index.stop, index.step]}
    if kind == "MultiIndex":
        levels = [write_index(out, level) for level in index.levels]
        codes = [out.any(array) for array in map(_integers, index.codes)]
        return {"names": names, "levels": levels, "codes": codes}
    document = {"names": names, **write_values(out, index.array)}
    if getattr(index, "freq", None) is not None:
        document["freq"] = index.freq.freqstr
    return document


def _integers(array: Any) -> Any:
    import numpy

    return numpy.asarray(array)


def read_index(source: Reader, document: dict[str, Any]) -> Any:
    """Return the pandas index of *document*."""
    pandas = _pandas()
    names = [source.any(name) for name in document["names"]]
    if "range" in document:
        return pandas.RangeIndex(*document["range"], name=names[0])
    if "levels" in document:
        levels = [read_index(source, level) for level in document["levels"]]
        codes = [source.any(held) for held in document["codes"]]
        return pandas.MultiIndex(levels=levels, codes=codes, names=names, verify_integrity=False)
    index = pandas.Index(read_values(source, document), name=names[0], dtype=_dtype(document), tupleize_cols=False)
    if "freq" in document:
        index.freq = document["freq"]
    return index


def bare(array: Any) -> Any:
    """Return the numpy array inside *array* where pandas merely wraps one."""
    return array.to_numpy() if type(array).__name__ in ("NumpyExtensionArray", "PandasArray") else array


def write_values(out: Writer, array: Any) -> dict[str, Any]:
    """Return the document of one column: objects as JSON, codes and categories, .npy, or Arrow."""
    array = bare(array)
    dtype = array.dtype
    if _is_object(dtype):
        return {"dtype": "object", "values": out.items(array, array.tolist())}
    if type(array).__module__ == "numpy":
        return {"dtype": str(dtype), "array": out.part("npy", array_bytes(array))}
    if dtype.name == "category":
        return {
            "dtype": "category",
            "codes": out.part("npy", array_bytes(array.codes)),
            "categories": write_index(out, array.categories),
            "ordered": bool(array.ordered),
        }
    pandas, pyarrow = _pandas(), need_pyarrow(array)
    frame = pandas.DataFrame({"value": array}, copy=False)
    try:
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        kept = table.slice(0, 5).to_pandas()["value"].dtype
    except Exception as error:
        raise Unkept(
            array, f"of dtype {dtype} is unknown to Arrow ({error})", "Convert it with .astype(...)."
        ) from error
    if kept != dtype:
        raise Unkept(array, f"of dtype {dtype} would come back as {kept}", f"Convert it with .astype({str(kept)!r}).")
    return {"dtype": str(dtype), "values": out.part("arrow", arrow_bytes(table))}


def read_values(source: Reader, document: dict[str, Any]) -> Any:
    """Return the array of one column."""
    pandas = _pandas()
    if document["dtype"] == "object":
        import numpy

        values = source.any(document["values"])
        array = numpy.empty(len(values), dtype=object)
        for position, value in enumerate(values):  # not array[:] = values: that would spread nested lists
            array[position] = value
        return array
    if document["dtype"] == "category":
        codes = array_of(source.data(document["codes"]))
        categories = read_index(source, document["categories"])
        return pandas.Categorical.from_codes(codes, categories=categories, ordered=document["ordered"])
    if "array" in document:
        return array_of(source.data(document["array"]))
    return arrow_table(source.data(document["values"])).to_pandas()["value"].array


# -- scalars -----------------------------------------------------------------------------------------------------------


def _write_timestamp(out: Writer, value: Any) -> Any:
    zone = None if value.tz is None else out.any(value.tz)
    naive = value if value.tz is None else value.tz_convert("UTC").tz_localize(None)
    return {"$type": "pandas", "as": "Timestamp", "value": naive.isoformat(), "unit": value.unit, "zone": zone}


def _write_timedelta(out: Writer, value: Any) -> Any:
    return {"$type": "pandas", "as": "Timedelta", "value": int(value.as_unit(value.unit)._value), "unit": value.unit}
