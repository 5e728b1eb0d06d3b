"""The joblib and pickle reader against scikit-learn's own files, and against pickles made to hurt."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assay.collect.headers.interface import ModelFile, Tensor
from assay.collect.headers.joblib import JoblibReader
from assay.collect.headers.pickles import MAX_OPCODES, Budget, Machine
from assay.collect.headers.streams import Stream, Unpacked
from assay.collect.headers.symbols import Call, Table, entries, leaves
from assay.errors import DocumentError

X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.arange(60) % 3


def read(data: bytes, path: str = "m.pkl") -> ModelFile:
    return JoblibReader().read(path, io.BytesIO(data), len(data))


@pytest.fixture(scope="module")
def pipeline() -> Any:
    # Labels as Python strings make joblib put a pickle into the pickle.
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.5)).fit(X, Y.astype(str).astype(object))


def check_pipeline(model: ModelFile) -> None:
    import sklearn

    assert model.warnings == ()
    assert model.architecture == "Pipeline"
    assert model.metadata["sklearn_version"] == sklearn.__version__
    assert model.metadata["steps"] == "standardscaler: StandardScaler, logisticregression: LogisticRegression"
    assert model.metadata["param.logisticregression__C"] == "0.5"
    assert model.metadata["class"] == "sklearn.pipeline.Pipeline"
    found = {tensor.name: (tensor.dtype, tensor.shape) for tensor in model.tensors}
    assert found["steps.1.1.coef_"] == ("f64", (3, 4))
    assert found["steps.0.1.mean_"] == ("f64", (4,))
    assert model.parameters == 12 + 3 + 3 * 4


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_of_every_protocol(pipeline: Any, protocol: int) -> None:
    data = pickle.dumps(pipeline, protocol=protocol)
    assert JoblibReader().recognises("m.pkl", data[:4096])
    assert JoblibReader().recognises("weights", data[:4096]) == (protocol >= 2)
    model = read(data)
    assert model.format == "pickle"
    check_pipeline(model)


@pytest.mark.parametrize("compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_joblib_with_every_compression(pipeline: Any, tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "model"
    joblib.dump(pipeline, path, compress=compress)
    data = path.read_bytes()
    assert JoblibReader().recognises("model", data[:4096])
    model = read(data, "model")
    assert model.format == "joblib"
    assert model.metadata.get("compression") == (compress[0] if compress else None)
    check_pipeline(model)


def test_estimators_inside_of_arrays_and_dictionaries_are_found(tmp_path: Path) -> None:
    forest = RandomForestClassifier(n_estimators=3, max_depth=2, random_state=0).fit(X, Y)
    boosted = GradientBoostingRegressor(n_estimators=4, max_depth=2).fit(X, Y)
    joblib.dump({"model": forest, "names": list("abcd"), "also": boosted}, tmp_path / "m.joblib")
    model = read((tmp_path / "m.joblib").read_bytes(), "m.joblib")
    assert model.warnings == ()
    assert model.architecture == "RandomForestClassifier"
    assert model.metadata["param.n_estimators"] == "3"
    values = [tensor for tensor in model.tensors if tensor.name.endswith(".values")]
    trees = [tree.tree_.value.shape for tree in [*forest.estimators_, *boosted.estimators_.ravel()]]
    assert [tensor.shape for tensor in values] == trees


def test_an_array_that_is_referred_to_twice_counts_once() -> None:
    array = np.zeros(100)
    assert read(pickle.dumps([array, array, np.zeros(7, np.int64)])).parameters == 100


def test_large_arrays_are_passed_over() -> None:
    class Watched(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    data = pickle.dumps({"w": np.zeros(4_000_000)}, protocol=5)
    file = Watched(data)
    model = JoblibReader().read("m.pkl", file, len(data))
    assert list(model.tensors) == [Tensor("w", "f64", (4_000_000,))]
    assert file.count < 200_000


class Hostile:
    """Runs code where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_called_or_imported(tmp_path: Path, protocol: int) -> None:
    model = read(pickle.dumps(Hostile(str(tmp_path / "made")), protocol=protocol))
    assert model.metadata["class"] in ("posix.mkdir", "os.mkdir")
    assert not (tmp_path / "made").exists()
    assert read(b"cthis_module_does_not_exist\nname\n)R.").architecture == "name"


def run(data: bytes, opcodes: int = MAX_OPCODES) -> object:
    return Machine(Stream(io.BytesIO(data)), budget=Budget(opcodes)).run()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x80", "ends within"),
        (b"\x80\x04", "ends within"),
        (b".", "malformed"),
        (b"0.", "malformed"),
        (b"h\x00.", "malformed"),
        (b"(K\x01d.", "malformed"),
        (b"Inan\n.", "malformed"),
        (b"I" + b"9" * 5000 + b"\n.", "malformed"),
        (b"S" + b"x" * 200_000, "too long"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "ends within"),
        (b"B\xff\xff\xff\xff.", "ends within"),
        (b"\x8b\xff\xff\xff\xff.", "ends within"),
        (b"R.", "malformed"),
        (b"t.", "malformed"),
        (b"\xfe", "unknown pickle opcode 0xfe"),
    ],
)
def test_broken_pickles_are_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(DocumentError, match=complaint):
        run(data)
    assert any(complaint in warning for warning in read(data).warnings)


def test_the_number_of_opcodes_is_bounded() -> None:
    assert run(b"N" * 99 + b".", opcodes=100) is None
    with pytest.raises(DocumentError, match="too many opcodes"):
        run(b"N" * 100 + b".", opcodes=100)


def test_tuples_that_double_at_every_step_neither_hang_nor_overflow() -> None:
    """Hashing, comparing or printing such a tuple would take 2**5000 steps."""
    bomb = b"\x80\x02)" + b"2\x86" * 5000
    model = read(bomb + b"\x85Rq\x00}h\x00K\x01s.")
    assert model.tensors == []
    deep = b"]" * 100_000 + b"a" * 99_999 + b"."
    assert "nested too deeply" in read(deep).warnings[0]
    as_key = run(b"}" + bomb[2:] + b"K\x01s.")
    assert isinstance(as_key, Table)


def test_containers_that_hold_themselves_end() -> None:
    assert read(b"]q\x00h\x00a.").warnings == ()
    assert read(b"}q\x00X\x01\x00\x00\x00ah\x00s.").warnings == ()


def test_long_names_do_not_multiply() -> None:
    """One key of 60 kB, used at every level of a deep dictionary, must not become a path of gigabytes."""
    key = b"X" + struct.pack("<I", 60_000) + b"k" * 60_000 + b"q\x01"
    data = b"}" + key + b"}h\x01" * 150 + b"N" + b"s" * 151 + b"."
    with pytest.raises(DocumentError, match="nested too deeply"):
        list(leaves(run(data), lambda value: None, frozenset()))


def test_numbers_are_read_as_unpicklers_read_them() -> None:
    """pickletools refuses the hexadecimal one, Python and C read it."""
    assert run(b"I0x10\n.") == pickle.loads(b"I0x10\n.") == 16
    assert run(b"I01\n.") is pickle.loads(b"I01\n.") is True
    assert run(b"L-5L\n.") == pickle.loads(b"L-5L\n.") == -5


def wrapper(state: bytes) -> bytes:
    return b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(" + state + b"ub"


SHAPE = b"X\x05\x00\x00\x00shape"
DTYPE = b"X\x05\x00\x00\x00dtypecnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (wrapper(b"") + b".", "shape is malformed"),
        (wrapper(SHAPE + b"K\x01\x85" + b"X\x05\x00\x00\x00dtypeN") + b".", "dtype is malformed"),
        (wrapper(SHAPE + b"J\xff\xff\xff\xff\x85" + DTYPE) + b".", "non-negative integers"),
        (wrapper(SHAPE + b"J\xff\xff\xff\x7f\x85" + DTYPE) + b".", "ends within"),
        (wrapper(SHAPE + b"K\x02\x85" + DTYPE) + b"\0" * 15 + b".", "ends within"),
        (wrapper(SHAPE + b"K\x02\x85" + DTYPE.replace(b"f8", b"q8")) + b".", "unknown NumPy dtype"),
        (wrapper(SHAPE + b"K\x02\x85" + DTYPE.replace(b"\2\0\0\0f8", b"\1\0\0\0U")) + b".", "not known"),
        (wrapper(SHAPE + b"K\x01\x85" + DTYPE.replace(b"f8", b"O8")) * 20, "pickles within pickles"),
    ],
)  # fmt: skip
def test_arrays_that_lie_about_their_length_are_warnings(data: bytes, complaint: str) -> None:
    assert any(complaint in warning for warning in read(data).warnings), read(data).warnings


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
}


@pytest.mark.parametrize("kind", PACKERS)
def test_unpacking_is_bounded(kind: str) -> None:
    packed = PACKERS[kind](bytes(3_000_000))
    unpacked = Unpacked(io.BytesIO(packed), kind, limit=2_000_000)
    with pytest.raises(DocumentError, match="more bytes than are read"):
        while unpacked.read(100_000):
            pass
    cut = Unpacked(io.BytesIO(packed[: len(packed) // 2]), kind)
    total = 0
    while data := cut.read(1 << 20):
        assert len(data) <= 1 << 20
        total += len(data)
    assert total < 3_000_000
    with pytest.raises(DocumentError, match="broken"):
        broken = Unpacked(io.BytesIO(packed[:6] + b"\xff" * 4000), kind)
        while broken.read(1 << 20):
            pass


def test_bytes_behind_the_pickle_are_a_warning() -> None:
    assert read(b"N.").warnings == ()
    assert "bytes behind the pickle" in read(b"N.N.").warnings[0]


def test_other_compressed_files_are_not_taken_for_models() -> None:
    assert not JoblibReader().recognises("data.csv.gz", gzip.compress(b"a,b\n1,2\n"))
    assert not JoblibReader().recognises("x.bin", b"\x80\x02zz")
    assert not JoblibReader().recognises("x", b"")


def test_lz4_is_named() -> None:
    head = b"\x04\x22\x4d\x18" + bytes(50)
    assert JoblibReader().recognises("m.joblib", head)
    assert "lz4" in read(head, "m.joblib").warnings[0]


def test_state_of_objects_with_slots_is_read() -> None:
    value = run(pickle.dumps(Slotted(), protocol=4))
    assert isinstance(value, Call)
    assert entries(value) == [("slot", 5)]


class Slotted:
    __slots__ = ("slot",)

    def __init__(self) -> None:
        self.slot = 5
