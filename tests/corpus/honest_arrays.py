"""Honest data: NumPy arrays, pandas frames, SciPy matrices, and what Python programs keep in pickles."""

from __future__ import annotations

import array
import bz2
import collections
import datetime
import decimal
import fractions
import gzip
import io
import lzma
import pathlib
import pickle
import random
import re
import uuid
import zoneinfo
from collections.abc import Iterator
from typing import Any

from corpus.sample import Draft, honest


def drafts() -> Iterator[Draft]:
    """All of them."""
    yield from numpys()
    yield from tables()
    yield from plain()


def numpys() -> Iterator[Draft]:
    """Arrays by type and order, as ``.npy``, ``.npz``, pickle and joblib."""
    import joblib
    import numpy as np

    arrays: dict[str, Any] = {
        dtype: np.arange(12).reshape(3, 4).astype(dtype)
        for dtype in (
            "f8",
            "f4",
            "f2",
            "i8",
            "i4",
            "u1",
            "bool",
            "c16",
            ">f8",
            "U5",
            "S3",
            "datetime64[s]",
            "timedelta64[ms]",
            "O",
        )
    }
    arrays["fortran"] = np.asfortranarray(arrays["f8"])
    arrays["structured"] = np.zeros(3, [("a", "f4"), ("b", "i8", (2,)), ("c", "U4")])
    arrays["records"] = np.rec.array([(1, 2.0), (3, 4.0)], names="a,b")
    arrays["masked"] = np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0])
    arrays["empty"] = np.zeros((0, 3))
    arrays["scalar"] = np.float64(1.5)
    arrays["matrix"] = np.asmatrix([[1.0, 2.0]])
    arrays["ragged"] = np.array([[1], [2, 3]], dtype=object)
    arrays["large"] = np.linspace(0, 1, 30_000)
    for i, (kind, value) in enumerate(arrays.items()):
        yield honest(f"numpy-pickle-{kind}", "array.pkl", pickle.dumps(value, 2 + i % 4), "pickle")
        if kind in ("masked", "records", "matrix"):
            continue
        buffer = io.BytesIO()
        np.save(buffer, value)
        yield honest(f"npy-{kind}", "array.npy", buffer.getvalue(), "numpy", "container")
    for save, name in ((np.savez, "npz"), (np.savez_compressed, "npz-compressed")):
        buffer = io.BytesIO()
        save(buffer, a=arrays["f8"], b=arrays["i4"])
        yield honest(name, "arrays.npz", buffer.getvalue(), "numpy", "container")
    for kind in ("f8", "O", "structured", "datetime64[s]"):
        buffer = io.BytesIO()
        joblib.dump({"array": arrays[kind], "scale": np.float32(2)}, buffer)
        yield honest(f"joblib-array-{kind}", "arrays.joblib", buffer.getvalue(), "joblib", "container")
    yield honest("numpy-generator", "generator.pkl", pickle.dumps(np.random.default_rng(1)), "pickle")
    yield honest("numpy-random-state", "generator.pkl", pickle.dumps(np.random.RandomState(1)), "pickle")
    yield honest("numpy-dtypes", "types.pkl", pickle.dumps([np.dtype("f8"), np.float32, np.int64]), "pickle")


def tables() -> Iterator[Draft]:
    """pandas and SciPy."""
    import numpy as np
    import pandas as pd
    from scipy import interpolate, sparse, spatial, stats

    frame = pd.DataFrame({"a": [1, 2, 3], "b": [1.0, None, 3.0], "c": ["x", "y", "z"]})
    values: dict[str, Any] = {
        "frame": frame,
        "series": frame["b"],
        "categorical": frame["c"].astype("category"),
        "dates": pd.DataFrame({"x": [1, 2]}, index=pd.date_range("2026-01-01", periods=2, tz="UTC")),
        "multi-index": frame.set_index(["a", "c"]),
        "grouped": frame.groupby("c").sum(),
        "nullable": frame.convert_dtypes(),
        "intervals": pd.cut(frame["a"], 2),
        "period": pd.Series(pd.period_range("2026-01", periods=3, freq="M")),
        "timestamp": [pd.Timestamp("2026-01-02"), pd.Timedelta(days=1), pd.NaT],
        "sparse-frame": pd.DataFrame({"x": pd.arrays.SparseArray([0, 0, 1])}),
        "csr": sparse.csr_matrix(np.eye(3)),
        "csc-array": sparse.csc_array(np.eye(3)),
        "coo": sparse.coo_matrix(np.eye(3)),
        "tree": spatial.KDTree(np.eye(3)),
        "spline": interpolate.CubicSpline([0, 1, 2], [0, 1, 4]),
        "interpolator": interpolate.interp1d([0, 1, 2], [0, 1, 4]),
        "distribution": stats.norm(1, 2),
    }
    for i, (kind, value) in enumerate(values.items()):
        yield honest(f"table-{kind}", "table.pkl", pickle.dumps(value, 2 + i % 4), "pickle")
    data = pickle.dumps(frame, 5)
    for extension, packed in (
        ("gz", gzip.compress(data, mtime=0)),
        ("bz2", bz2.compress(data)),
        ("xz", lzma.compress(data)),
    ):
        yield honest(f"pandas-{extension}", f"frame.pkl.{extension}", packed, "pandas", "container")


def plain() -> Iterator[Draft]:
    """The standard library's own values, in every protocol."""
    now = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    values: dict[str, Any] = {
        "dictionary": {
            "weights": [0.1, 0.2],
            "labels": ("a", "b"),
            "n": 10**30,
            "ok": True,
            "none": None,
            "raw": b"\0\1",
        },
        "nested": {str(i): {str(j): [j] * 3 for j in range(5)} for i in range(5)},
        "collections": [
            collections.OrderedDict(a=1),
            collections.Counter("abca"),
            collections.deque([1], 3),
            collections.defaultdict(list, a=[1]),
        ],
        "times": [now, now.date(), now.time(), datetime.timedelta(1), datetime.timezone.utc],  # noqa: UP017
        "zone": datetime.datetime(2026, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC")),
        "numbers": [decimal.Decimal("1.5"), fractions.Fraction(1, 3), complex(1, 2), float("inf"), -1, 1 << 70],
        "sets": [{1, 2}, frozenset("ab"), range(3), slice(1, 2), bytearray(b"x"), Ellipsis],
        "uuid": uuid.UUID(int=5),
        "pattern": re.compile("a+b"),
        "path": pathlib.PurePosixPath("a/b"),
        "array": array.array("d", [1.0, 2.0]),
        "random": random.Random(1),
        "texts": ["ä", "\U0001f600", "", "x" * 300],
        "text-of-code": [
            "os.system('id')",
            "import subprocess",
            "cos\nsystem\n(S'id'\ntR.",
            "__reduce__",
            "eval(input())",
        ],
        "recursive": _recursive(),
    }
    for i, (kind, value) in enumerate(values.items()):
        yield honest(f"plain-{kind}", "data.pkl", pickle.dumps(value, i % 6), "pickle")
        yield honest(f"plain-{kind}", "data.pickle", pickle.dumps(value, (i + 3) % 6), "pickle")


def _recursive() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value
