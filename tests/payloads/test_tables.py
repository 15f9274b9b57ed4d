"""Frames, arrays and images come back as they were, alone and inside other values; so do their digests."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from romancy_nb.errors import CannotRestore, NotJournalable
from romancy_nb.payloads.codec import canonical_digest, decode, encode

from .things import Point, back

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")
Image = pytest.importorskip("PIL.Image")

ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.eye(3)),
    np.array(5.0),
    np.array([], dtype="f4"),
    np.array(["a", "bc"]),
    np.array(["2024-05-01", "NaT"], dtype="M8[ns]"),
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    np.arange(3, dtype=">i2"),
]
SCALARS = [
    np.int64(3),
    np.uint8(3),
    np.float32(1.1),
    np.float64("inf"),
    np.bool_(True),
    np.str_("a"),
    np.bytes_(b"a"),
    np.complex64(1j),
    np.longdouble("1.1"),
    np.datetime64("2024-05-01", "D"),
    np.datetime64("2024-05-01T00:00:00.5", "ns"),
    np.timedelta64(3, "h"),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda x: str(x.dtype))
def test_an_array_keeps_its_dtype_and_shape(array: Any) -> None:
    restored = back({"a": (1, array)})["a"][1]
    assert type(restored) is np.ndarray
    assert restored.dtype == array.dtype
    assert restored.shape == array.shape
    assert restored.tobytes() == array.tobytes()
    assert canonical_digest(restored) == canonical_digest(array)


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda x: type(x).__name__)
def test_a_scalar_of_numpy_stays_one(scalar: Any) -> None:
    for restored in (back(scalar), back([scalar], list[float])[0], back(Point(scalar)).x):
        assert type(restored) is type(scalar)
        assert restored.dtype == scalar.dtype
        assert restored == scalar


def test_what_is_binary_is_described_where_it_stands() -> None:
    payload = encode({"a": np.zeros((2, 3)), "df": pd.DataFrame({"x": [1, 2]})}, what="the result")
    document = json.loads(payload.text)
    assert document["a"] == {"$part": 0, "codec": "npy", "size": 176, "shape": [2, 3], "dtype": "float64"}
    assert document["df"]["rows"] == 2
    assert document["df"]["columns"] == ["x"]
    assert [part.codec for part in payload.parts] == ["npy", "arrow"]


FRAMES = {
    "plain": pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, float("nan")]}),
    "labels of two types": pd.DataFrame({1: [1.5], "z": [2]}),
    "labels twice": pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "number labels": pd.DataFrame(np.eye(2)),
    "dates with a zone": pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2024", periods=2, tz="Europe/Berlin")),
    "label levels": pd.DataFrame(np.eye(2), columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
    "index levels": pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([("x", 1)], names=["k", None])),
    "ordered categories": pd.DataFrame({"c": pd.Categorical([3, 1, 3], categories=[3, 1], ordered=True)}),
    "text categories": pd.DataFrame({"c": pd.Categorical(["b", None, "a"])}),
    "objects": pd.DataFrame({"o": [(1, 2), {"a": {1}}], "d": [date(2024, 1, 1), None]}),
    "objects that are texts": pd.DataFrame({"o": pd.Series(["a", None], dtype=object)}),
    "nothing": pd.DataFrame(),
    "no rows": pd.DataFrame(columns=["a", "b"]),
    "no columns": pd.DataFrame(index=[1, 2]),
    "missing integers": pd.DataFrame({"i": pd.array([1, None], dtype="Int64"), "b": pd.array([True, None])}),
    "periods": pd.DataFrame({"p": pd.period_range("2024", periods=2, freq="M")}),
    "intervals": pd.DataFrame({"i": pd.interval_range(0, 2)}),
    "durations": pd.DataFrame({"t": pd.to_timedelta([1, 2], unit="s")}),
    "named index": pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="key")),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_keeps_columns_dtypes_and_index(name: str) -> None:
    frame = FRAMES[name]
    restored = back({"rows": [frame]})["rows"][0]
    pd.testing.assert_frame_equal(restored, frame, check_freq=True)
    assert canonical_digest(restored) == canonical_digest(frame)


def test_a_frame_keeps_what_was_noted_on_it() -> None:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["source"] = ("file", 1)
    assert back(frame).attrs == {"source": ("file", 1)}


@pytest.mark.parametrize(
    "series",
    [
        pd.Series([1, 2], name="x"),
        pd.Series([1.5]),
        pd.Series(["a"], name=("t", 1)),
        pd.Series([[1], [2, 3]]),
        pd.Series([1, 2], index=["a", "b"], dtype="int8"),
    ],
    ids=lambda x: str(x.dtype),
)
def test_a_series_keeps_its_name(series: Any) -> None:
    restored = back(series)
    pd.testing.assert_series_equal(restored, series)
    assert canonical_digest(restored) == canonical_digest(series)


@pytest.mark.parametrize(
    "index",
    [
        pd.Index([1, 2]),
        pd.RangeIndex(1, 9, 2, name="r"),
        pd.date_range("2024", periods=3, freq="D"),
        pd.MultiIndex.from_product([[1, 2], ["a"]]),
        pd.Index([1, "a"]),
        pd.Index([(1, 2), (3,)], tupleize_cols=False),
        pd.CategoricalIndex(["a", "b"]),
    ],
    ids=lambda x: type(x).__name__,
)
def test_an_index_stays_one(index: Any) -> None:
    pd.testing.assert_index_equal(back(index), index, exact=True)


@pytest.mark.parametrize(
    "scalar",
    [
        pd.Timestamp("2024-01-01 12:00:00.123456789", tz="Europe/Berlin"),
        pd.Timestamp("2024-01-01"),
        pd.Timedelta("1s"),
        pd.NaT,
        pd.NA,
    ],
    ids=str,
)
def test_a_scalar_of_pandas_stays_one(scalar: Any) -> None:
    restored = back([scalar])[0]
    assert type(restored) is type(scalar)
    assert str(restored) == str(scalar)
    assert getattr(restored, "unit", None) == getattr(scalar, "unit", None)


def test_a_digest_goes_by_values_and_labels() -> None:
    digests = {canonical_digest(frame) for frame in FRAMES.values()}
    assert len(digests) >= len(FRAMES) - 2
    one = pd.DataFrame({"a": [1, 2]})
    assert canonical_digest(one) != canonical_digest(pd.DataFrame({"a": [1, 3]}))
    assert canonical_digest(one) != canonical_digest(pd.DataFrame({"b": [1, 2]}))
    texts = pd.Series(["a", "b"])
    assert canonical_digest(texts) == canonical_digest(texts.astype("category"))
    assert canonical_digest(texts) == canonical_digest(texts.astype(object))
    assert canonical_digest(np.array([1, 2])) != canonical_digest(np.array([1.0, 2.0]))
    assert canonical_digest(np.arange(6).reshape(2, 3)) != canonical_digest(np.arange(6).reshape(3, 2))
    assert canonical_digest(np.arange(3, dtype=">i4")) == canonical_digest(np.arange(3, dtype="<i4"))


def test_polars_and_arrow_tables_stay_what_they_are() -> None:
    frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [[1], [2]], "d": [date(2024, 1, 1)] * 2})
    assert back(frame).equals(frame)
    assert back(frame).schema == frame.schema
    assert canonical_digest(back(frame)) == canonical_digest(frame)
    series = pl.Series("q", ["a", "b"], dtype=pl.Categorical)
    assert back(series).equals(series)
    table = pa.table({"a": [1, 2]}, metadata={"k": "v"})
    assert back(table).equals(table, check_metadata=True)
    batch = table.to_batches()[0]
    assert type(back(batch)) is pa.RecordBatch
    assert back(batch).equals(batch)
    assert back(batch.slice(0, 0)).num_rows == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F"])
def test_an_image_keeps_its_mode_and_every_pixel(mode: str) -> None:
    image = Image.linear_gradient("L").resize((7, 5)).convert("RGB").convert(mode)
    restored = back({"figure": image})["figure"]
    assert (restored.mode, restored.size) == (image.mode, image.size)
    assert restored.tobytes() == image.tobytes()
    assert restored == image
    assert canonical_digest(restored) == canonical_digest(image)


REFUSED: list[tuple[Any, str]] = [
    (np.array([object()]), "has dtype object"),
    (np.ma.array([1]), "MaskedArray"),
    (pd.DataFrame({"a": [1, object()]}), r"result\['a'\]\[1\], a object"),
    (pl.DataFrame({"a": [object()]}), r"result\['a'\], .*Python objects"),
]


@pytest.mark.parametrize(("value", "words"), REFUSED, ids=lambda x: type(x).__name__)
def test_what_would_need_pickle_is_refused(value: Any, words: str) -> None:
    with pytest.raises(NotJournalable, match=words):
        encode(value, what="the result")


def test_without_pyarrow_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = encode(pd.DataFrame({"a": [1]}), what="the result")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotJournalable, match=r"pip install romancy_nb\[frames\]"):
        encode(pd.DataFrame({"a": [1]}), what="the result")
    with pytest.raises(CannotRestore, match=r"pip install romancy_nb\[frames\]"):
        decode(payload, what="the result")


def test_plain_values_load_no_library() -> None:
    program = (
        "import sys\n"
        "from romancy_nb.payloads.codec import encode, decode, canonical_digest\n"
        "from romancy_nb.payloads.failures import encode_failure, decode_failure\n"
        "v = {'a': [1, (2,), {3}]}\n"
        "assert decode(encode(v, dict, what='r'), dict, what='r') == v and canonical_digest(v)\n"
        "decode_failure(encode_failure(ValueError(1)))\n"
        "print([m for m in ('pydantic', 'numpy', 'pandas', 'pyarrow', 'polars', 'PIL') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
