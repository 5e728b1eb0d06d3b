"""The NumPy reader against numpy's own files, and against headers made to hurt."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np
import pytest

from assay.collect.headers.interface import ModelFile, Tensor
from assay.collect.headers.numpy import NumpyReader, element
from assay.errors import DocumentError


def read(data: bytes, path: str = "a.npy") -> ModelFile:
    return NumpyReader().read(path, io.BytesIO(data), len(data))


def saved(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.zeros((3, 4), "<f4"), "f32"),
        (np.zeros((3, 4), ">f8", order="F"), "f64"),
        (np.zeros(3, "?"), "bool"),
        (np.zeros(3, "u2"), "u16"),
        (np.zeros(3, "c16"), "c128"),
        (np.zeros(3, "U5"), "str"),
        (np.zeros(3, "S5"), "bytes"),
        (np.zeros(3, "M8[ns]"), "datetime64"),
        (np.zeros(2, [("a", "f4", (2,)), ("b", "U3")]), "struct"),
        (np.zeros((), "f2"), "f16"),
        (np.zeros((0, 7), "i1"), "i8"),
    ],
)
def test_reads_what_numpy_writes(array: Any, dtype: str) -> None:
    data = saved(array)
    assert NumpyReader().recognises("x", data[:4096])
    model = read(data)
    assert list(model.tensors) == [Tensor("", dtype, array.shape)]
    assert (model.parameters, model.warnings) == (array.size, ())


def test_pickled_objects_are_a_warning() -> None:
    assert "pickled Python objects" in read(saved(np.array([{}]))).warnings[0]
    fields = np.zeros(1, [("a", "f4"), ("b", "O")])
    assert "pickled Python objects" in read(saved(fields)).warnings[0]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_archives(save: Any) -> None:
    out = io.BytesIO()
    save(out, first=np.zeros((2, 2)), second=np.zeros(3, "i4"))
    data = out.getvalue()
    assert NumpyReader().recognises("weights", data[:4096])
    model = read(data, "w.npz")
    assert list(model.tensors) == [Tensor("first", "f64", (2, 2)), Tensor("second", "i32", (3,))]
    assert model.warnings == ()


def npy(header: bytes, version: int = 1, data: bytes = b"") -> bytes:
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(header)) + header + data


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x93NUMPY", "cut off"),
        (npy(GOOD.encode(), 9), "version 1, 2 or 3"),
        (npy(b" " * 20_000), "more than 10000"),
        (npy(b"(" * 9000), "not a Python literal"),
        (npy(b"-" * 9000 + b"1"), "not a Python literal"),
        (npy(b"9" * 9000), "not a Python literal"),
        (npy(b"__import__('os')"), "not a Python literal"),
        (npy(b"\x00"), "not a Python literal"),
        (npy(b"{'descr': '<f4'}"), "must have descr"),
        (npy(GOOD.replace("(1,)", "[1]").encode()), "not a tuple"),
        (npy(GOOD.replace("(1,)", "(-1,)").encode()), "non-negative"),
        (npy(GOOD.replace("(1,)", "('a',)").encode()), "non-negative"),
        (npy(GOOD.replace("<f4", "<q4").encode()), "unknown NumPy dtype"),
        (npy(GOOD.replace("'<f4'", "3").encode()), "neither a string nor a list"),
        (npy(GOOD.replace("'<f4'", "[1]").encode()), "malformed field"),
        (npy(GOOD.encode(), data=b"12345"), "does not have the size"),
    ],
)
def test_broken_headers_are_warnings(data: bytes, complaint: str) -> None:
    assert complaint in read(data).warnings[0]


def test_broken_archives_are_warnings() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.npy", saved(np.zeros(3)) + b"extra")
        archive.writestr("run.py", "print()")
        archive.writestr("b.npy", b"nothing")
    model = read(out.getvalue(), "w.npz")
    assert not model.tensors
    assert [warning.split(": ", 1)[1] for warning in model.warnings] == [
        "'a.npy': does not have the size that its header says",
        "'run.py' is not an array",
        "'b.npy': the array's header is cut off",
    ]


def test_element_names() -> None:
    assert element("<f8") == ("f64", 8)
    assert element("U7") == ("str", 28)
    assert element("O") == ("object", None)
    for code in ("", "f3", "x4", "<f8[", "V" * 100):
        with pytest.raises(DocumentError):
            element(code)
