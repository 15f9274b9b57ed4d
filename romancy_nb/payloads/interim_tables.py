"""Data frames, arrays and images as bytes: Arrow, ``.npy``, PNG.

The libraries are looked at only when they are imported already: whoever has such a value has imported them.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

from romancy_nb.errors import CannotRestore, NotJournalable

__all__ = ["DECODERS", "flatten"]

Binary = tuple[str, bytes, dict[str, Any]]


def flatten(value: Any, path: str) -> Binary | None:
    """Return (codec, bytes, short description) of a frame, array or image; None when *value* is none of these."""
    module = type(value).__module__.partition(".")[0]
    known = _ENCODERS.get(module)
    return known(value, path) if known is not None and module in sys.modules else None


def _numpy(value: Any, path: str) -> Binary | None:
    import numpy as np

    if isinstance(value, np.generic):
        return "npy-scalar", _npy(np.asarray(value), path), {"dtype": str(value.dtype), "value": str(value)}
    if type(value) is np.ndarray:
        return "npy", _npy(value, path), {"dtype": str(value.dtype), "shape": list(value.shape)}
    return None


def _npy(array: Any, path: str) -> bytes:
    import numpy as np

    if array.dtype.hasobject:
        raise NotJournalable(f"{path} is an array of Python objects, which cannot be journaled. Use .tolist() or a real dtype.")
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _load_npy(data: bytes) -> Any:
    import numpy as np

    return np.load(io.BytesIO(data), allow_pickle=False)


def _pandas(value: Any, path: str) -> Binary | None:
    import pandas as pd

    if isinstance(value, pd.Timestamp):
        return None
    pa = _arrow_for(path)
    try:
        if type(value) is pd.DataFrame:
            if not value.columns.is_unique or isinstance(value.columns, pd.MultiIndex):
                raise NotJournalable(f"{path} has column names of several levels, or twice the same. Rename the columns.")
            table = pa.Table.from_pandas(value)
            return "pandas", _ipc(table), {"rows": len(value), "columns": [str(c) for c in value.columns]}
        if type(value) is pd.Series:
            named = value.name is not None
            frame = value.to_frame(name=value.name if named else "0")
            table = pa.Table.from_pandas(frame).replace_schema_metadata(
                {**(pa.Table.from_pandas(frame).schema.metadata or {}), b"romancy.named": b"1" if named else b"0"}
            )
            return "pandas-series", _ipc(table), {"rows": len(value)}
        if isinstance(value, pd.Index):
            return "pandas-index", _ipc(pa.Table.from_pandas(pd.DataFrame(index=value))), {"rows": len(value)}
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise NotJournalable(f"{path} is a data frame with a column that Arrow cannot keep: {error}. Convert that column.") from error
    return None


def _arrow_for(path: str) -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise NotJournalable(f"{path} is a pandas object; journaling it needs pyarrow: pip install 'romancy_nb[frames]'.") from error
    return pa


def _ipc(table: Any) -> bytes:
    import pyarrow as pa

    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _table(data: bytes) -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise CannotRestore("reading it needs pyarrow: pip install 'romancy_nb[frames]'") from error
    return pa.ipc.open_stream(io.BytesIO(data)).read_all()


def _series(data: bytes) -> Any:
    table = _table(data)
    series = table.to_pandas().iloc[:, 0]
    if (table.schema.metadata or {}).get(b"romancy.named") == b"0":
        series.name = None
    return series


def _polars(value: Any, path: str) -> Binary | None:
    import polars as pl

    if isinstance(value, pl.DataFrame):
        file = io.BytesIO()
        value.write_ipc(file)
        return "polars", file.getvalue(), {"rows": value.height, "columns": value.columns}
    if isinstance(value, pl.Series):
        file = io.BytesIO()
        value.to_frame().write_ipc(file)
        return "polars-series", file.getvalue(), {"rows": len(value)}
    return None


def _read_polars(data: bytes) -> Any:
    import polars as pl

    return pl.read_ipc(io.BytesIO(data))


def _pyarrow(value: Any, path: str) -> Binary | None:
    import pyarrow as pa

    if isinstance(value, pa.Table):
        return "arrow", _ipc(value), {"rows": value.num_rows, "columns": value.column_names}
    if isinstance(value, pa.RecordBatch):
        return "arrow-batch", _ipc(pa.Table.from_batches([value])), {"rows": value.num_rows}
    return None


def _batch(data: bytes) -> Any:
    batches = _table(data).combine_chunks().to_batches()
    if not batches:
        raise CannotRestore("an empty record batch has no rows to restore")
    return batches[0]


def _image(value: Any, path: str) -> Binary | None:
    from PIL import Image

    if not isinstance(value, Image.Image):
        return None
    file = io.BytesIO()
    codec = "png" if value.mode in {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"} else "tiff"
    value.save(file, codec.upper())
    return f"image-{codec}", file.getvalue(), {"mode": value.mode, "width": value.width, "height": value.height}


def _read_image(data: bytes) -> Any:
    from PIL import Image

    shown = Image.open(io.BytesIO(data))
    # a plain Image, as most programs hold it, whatever file it came through
    plain = shown.copy()
    plain.format = None
    return plain


_ENCODERS: dict[str, Callable[[Any, str], Binary | None]] = {
    "numpy": _numpy,
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _pyarrow,
    "PIL": _image,
}
DECODERS: dict[str, Callable[[bytes], Any]] = {
    "npy": _load_npy,
    "npy-scalar": lambda data: _load_npy(data)[()],
    "pandas": lambda data: _table(data).to_pandas(),
    "pandas-series": _series,
    "pandas-index": lambda data: _table(data).to_pandas().index,
    "polars": _read_polars,
    "polars-series": lambda data: _read_polars(data).to_series(),
    "arrow": _table,
    "arrow-batch": _batch,
    "image-png": _read_image,
    "image-tiff": _read_image,
}
