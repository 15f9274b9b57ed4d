"""Frames, arrays and images. Their libraries are loaded only by whoever has such a value, live or in a journal.

A value of such a type can only exist if its library is loaded, so that the name of its class's module says enough and
nothing is imported to find out. Reading imports the library from a fixed list; that is no code of the journal's.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

from romancy_nb.payloads.tree import Lost, Reader, Unkept, Writer, Writes

__all__ = ["TABLE_READERS", "PartReads", "reader_for", "writer_for"]

PartReads = Callable[[dict[str, Any], bytes, Reader], Any]
_SHOWN: Final = 20  # column names that the document repeats


def writer_for(value: Any) -> Writes | None:
    """Return how to write *value* if it is of numpy, pandas, polars, pyarrow or Pillow."""
    cls = type(value)
    room = cls.__module__.partition(".")[0]
    name = cls.__name__
    if room == "numpy":
        if name == "ndarray":
            return _write_array
        return _write_numpy_scalar if _is_numpy_scalar(value) else None
    if room == "pandas":
        from romancy_nb.payloads import frames

        return frames.writer_for(name)
    if room == "polars":
        return {"DataFrame": _write_polars, "Series": _write_polars_series}.get(name)
    if room == "pyarrow":
        return _write_arrow if name in ("Table", "RecordBatch") else None
    if room == "PIL":
        return _write_image if hasattr(value, "tobytes") and hasattr(value, "mode") else None
    return None


def reader_for(codec: str) -> PartReads | None:
    """Return how to read a part that *codec* wrote, if it is one of ours."""
    return TABLE_READERS.get(codec)


def _read_bytes(document: dict[str, Any], data: bytes, source: Reader) -> Any:
    return bytearray(data) if document.get("as") == "bytearray" else data


# -- numpy -------------------------------------------------------------------------------------------------------------


def _is_numpy_scalar(value: Any) -> bool:
    import numpy as np

    return isinstance(value, np.generic)


def _write_array(out: Writer, value: Any) -> Any:
    return out.part("npy", array_bytes(value), shape=list(value.shape), dtype=str(value.dtype))


def array_bytes(value: Any) -> bytes:
    """Return the numpy array *value* as a .npy file. Raises Unkept for arrays of Python objects."""
    import numpy as np

    if value.dtype.hasobject:
        raise Unkept(
            value, f"has dtype {value.dtype}", "Convert it: .astype(float), .astype('U') for texts, or .tolist()."
        )
    buffer = io.BytesIO()
    try:
        np.save(buffer, value, allow_pickle=False)
    except ValueError as error:
        raise Unkept(
            value, f"of dtype {value.dtype} cannot be saved ({error})", "Convert it to another dtype."
        ) from error
    return buffer.getvalue()


def array_of(data: bytes) -> Any:
    """Return the array in a .npy file."""
    import numpy as np

    return np.load(io.BytesIO(data), allow_pickle=False)


def _read_array(document: dict[str, Any], data: bytes, source: Reader) -> Any:
    array = array_of(data)
    return array[()] if document.get("as") == "scalar" else array


def _write_numpy_scalar(out: Writer, value: Any) -> Any:
    import numpy as np

    kind, size = value.dtype.kind, value.dtype.itemsize
    if kind in "biu" or (kind == "f" and size <= 8):  # a long double has more digits than a Python float
        return {"$type": "numpy", "dtype": value.dtype.name, "value": out.any(value.item())}
    if kind == "U":
        return {"$type": "numpy", "dtype": "str", "value": out.any(str(value))}
    if kind in "mM":
        return {"$type": "numpy", "dtype": value.dtype.str, "value": int(value.astype("i8")), "shown": str(value)}
    return {**out.part("npy", array_bytes(np.asarray(value))), "as": "scalar"}


def read_numpy_scalar(source: Reader, document: dict[str, Any]) -> Any:
    """Return the numpy scalar of *document*."""
    import numpy as np

    dtype, value = document["dtype"], source.any(document["value"])
    if dtype == "str":
        return np.str_(value)
    if dtype[1:2] in ("M", "m"):
        return np.array(value, "i8").astype(dtype)[()]
    return np.dtype(dtype).type(value)


# -- arrow and polars --------------------------------------------------------------------------------------------------


def need_pyarrow(value: Any = None) -> Any:
    """Return the module pyarrow, or say how to get it."""
    try:
        import pyarrow
    except ImportError as error:
        remedy = "Install it: pip install romancy_nb[frames]"
        if value is None:
            raise Lost(f"it is a table, and reading it needs pyarrow. {remedy}") from error
        raise Unkept(value, "needs pyarrow to be journaled", remedy) from error
    return pyarrow


def arrow_bytes(table: Any) -> bytes:
    """Return a pyarrow *table* as an Arrow IPC stream."""
    pyarrow = need_pyarrow()
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def arrow_table(data: bytes) -> Any:
    """Return the pyarrow table in an Arrow IPC stream."""
    return need_pyarrow().ipc.open_stream(data).read_all()


def shown_columns(names: Any) -> list[str]:
    """Return the first column names as texts, for the document."""
    return [str(name)[:80] for name, _ in zip(names, range(_SHOWN), strict=False)]


def _write_arrow(out: Writer, value: Any) -> Any:
    kind = type(value).__name__
    pyarrow = need_pyarrow(value)
    table = value if kind == "Table" else pyarrow.Table.from_batches([value])
    about = {"as": f"pyarrow.{kind}", "rows": table.num_rows, "columns": shown_columns(table.column_names)}
    return out.part("arrow", arrow_bytes(table), **about)


def _write_polars(out: Writer, value: Any, kind: str = "DataFrame") -> Any:
    for name, dtype in value.schema.items():
        if "Object" in str(dtype):  # polars would write the addresses of the objects
            error = Unkept(value[name], "holds Python objects", "Cast it to another dtype, or return its .to_list().")
            error.inside(value, f"[{name!r}]")
            raise error
    buffer = io.BytesIO()
    value.write_ipc_stream(buffer)
    about = {"as": f"polars.{kind}", "rows": value.height, "columns": shown_columns(value.columns)}
    return out.part("arrow", buffer.getvalue(), **about)


def _write_polars_series(out: Writer, value: Any) -> Any:
    return _write_polars(out, value.to_frame(), "Series")


def _read_arrow(document: dict[str, Any], data: bytes, source: Reader) -> Any:
    kind = document.get("as", "")
    if kind.startswith("polars."):
        try:
            import polars
        except ImportError as error:
            raise Lost("it is a polars frame, and polars is not installed. Install it: pip install polars") from error
        frame = polars.read_ipc_stream(io.BytesIO(data))
        return frame if kind == "polars.DataFrame" else frame.to_series()
    table = arrow_table(data)
    if kind == "pyarrow.RecordBatch":
        return table.combine_chunks().to_batches()[0] if table.num_rows else _empty_batch(table)
    if kind.startswith("pandas."):
        from romancy_nb.payloads import frames

        return frames.read_arrow(document, table, source)
    return table


def _empty_batch(table: Any) -> Any:
    pyarrow = need_pyarrow()
    return pyarrow.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=table.schema)


# -- images ------------------------------------------------------------------------------------------------------------

_PNG_MODES: Final = frozenset({"1", "L", "LA", "RGB", "RGBA"})  # those that PNG gives back exactly


def _write_image(out: Writer, value: Any) -> Any:
    size, mode = list(value.size), value.mode
    if mode in _PNG_MODES and value.width and value.height:
        buffer = io.BytesIO()
        from PIL import Image

        # a bare image of the pixels: what a file of a camera has beside them (EXIF, transparency, frames) is left out
        Image.frombytes(mode, value.size, value.tobytes()).save(buffer, "PNG", compress_level=1)
        return out.part("png", buffer.getvalue(), shape=size, mode=mode)
    palette = None
    if mode in ("P", "PA"):
        held = value.palette
        palette = [held.mode, out.any(bytes(held.palette))]
    transparency = out.any(value.info.get("transparency"))
    return {
        **out.part("image", value.tobytes(), shape=size, mode=mode),
        "palette": palette,
        "transparency": transparency,
    }


def _read_image(document: dict[str, Any], data: bytes, source: Reader) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise Lost("it is an image, and Pillow is not installed. Install it: pip install pillow") from error
    if document["codec"] == "png":
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            return opened.copy() if opened.mode == document["mode"] else opened.convert(document["mode"])
    image = Image.frombytes(document["mode"], tuple(document["shape"]), data)
    if document["palette"] is not None:
        mode, held = document["palette"]
        image.putpalette(source.any(held), mode)
    if document["transparency"] is not None:
        image.info["transparency"] = source.any(document["transparency"])
    return image


TABLE_READERS: Final[dict[str, PartReads]] = {
    "arrow": _read_arrow,
    "bytes": _read_bytes,
    "image": _read_image,
    "npy": _read_array,
    "png": _read_image,
}
