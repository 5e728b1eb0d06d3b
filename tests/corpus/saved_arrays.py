"""Pickles beside raw arrays: joblib in all compressions, NumPy files of objects, frames as pandas reads them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import zlib
from collections.abc import Iterator

from corpus.carrying import lz4_frame, object_npy, tar_of, zstd_frame
from corpus.opcodes import (
    BUILD,
    EVIL,
    POP,
    STOP,
    SYSTEM,
    call,
    dict_of,
    list_of,
    literal,
    name,
    new,
    program,
    text,
)
from corpus.sample import CANARY, Draft, container
from corpus.zip_making import Entry, zip_of


def drafts() -> Iterator[Draft]:
    """All of them."""
    yield from joblibs()
    yield from numpys()
    yield from frames()


def joblibs() -> Iterator[Draft]:
    """Every compression that joblib knows, and what stands beside its raw arrays."""
    compressors = {
        "zlib": zlib.compress,
        "gzip": lambda data: gzip.compress(data, mtime=0),
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    }
    for way, compress in compressors.items():
        for name_ in ("model.joblib", f"model.pkl.{way}"):
            yield container(f"joblib-{way}", name_, compress(EVIL), "joblib")
    yield container("joblib-plain", "model.joblib", EVIL, "joblib")
    yield Draft("joblib-lz4", {"model.joblib": lz4_frame(EVIL)}, family="container", harm="opaque")
    wrapper = name("joblib.numpy_pickle", "NumpyArrayWrapper")

    def array(dtype: str, data: bytes, then: bytes, *, aligned: bool = True) -> bytes:
        state = dict_of(
            text("subclass"),
            name("numpy", "ndarray"),
            text("shape"),
            literal((1,)),
            text("order"),
            text("C"),
            text("dtype"),
            call(name("numpy", "dtype"), text(dtype)),
            text("allow_mmap"),
            literal(False),
            *([text("numpy_array_alignment_bytes"), literal(16)] if aligned else []),
        )
        head = b"\x80\x03" + new(wrapper) + state + BUILD
        padding = b""
        if aligned and dtype != "O":
            size = 16 - (len(head) + 1) % 16
            padding = bytes([size]) + b"\xff" * size
        return head + padding + data + then

    raw = bytes(8)
    yield container("joblib-after-array", "model.joblib", array("f8", raw, POP + SYSTEM + STOP), "joblib")
    yield container(
        "joblib-after-array-unaligned", "model.joblib", array("f8", raw, POP + SYSTEM + STOP, aligned=False), "joblib"
    )
    yield container("joblib-object-array", "model.joblib", array("O", EVIL, STOP), "joblib")
    yield container("joblib-object-array-then", "model.joblib", array("O", _objects(), POP + SYSTEM + STOP), "joblib")
    yield container("joblib-array-hides-stop", "model.joblib", array("f8", STOP * 8, POP + SYSTEM + STOP), "joblib")
    yield container(
        "joblib-after-array-zlib", "model.joblib", zlib.compress(array("f8", raw, POP + SYSTEM + STOP)), "joblib"
    )
    old = program(
        call(name("joblib.numpy_pickle_compat", "ZNDArrayWrapper"), text(CANARY), list_of(), list_of()) + POP + SYSTEM,
        protocol=2,
    )
    yield container(
        "joblib-old-format",
        "model.pkl",
        b"ZF0x" + f"{len(old):x}".encode().ljust(17) + b" " + zlib.compress(old),
        "joblib",
    )
    estimator = (
        new(name("sklearn.linear_model._base", "LinearRegression")) + dict_of(text("fit_intercept"), SYSTEM) + BUILD
    )
    yield container("joblib-in-an-estimator", "model.joblib", zlib.compress(program(estimator)), "joblib")


def _objects() -> bytes:
    import numpy

    return pickle.dumps(numpy.array([None]), 4)


def numpys() -> Iterator[Draft]:
    """Arrays of objects."""
    evil = object_npy(EVIL)
    yield container("npy-objects", "data.npy", evil, "numpy")
    yield container("npy-objects-named", "data.bin", evil, "numpy")
    yield container("npy-pickle", "data.npy", EVIL, "numpy")
    yield container("npy-objects-scalar", "data.npy", object_npy(EVIL, "()"), "numpy")
    yield container(
        "npy-objects-version-2", "data.npy", evil[:6] + b"\x02\x00" + evil[8:10] + b"\0\0" + evil[10:], "numpy"
    )
    structured = evil.replace(b"'|O'", b"[('a', '|O')]")
    size = int.from_bytes(evil[8:10], "little") + 9
    yield container(
        "npy-structured", "data.npy", structured[:8] + size.to_bytes(2, "little") + structured[10:], "numpy"
    )
    for technique, entries in {
        "npz": [Entry("weights.npy", evil)],
        "npz-deflated": [Entry("weights.npy", evil, deflate=True)],
        "npz-second": [Entry("a.npy", object_npy(program(literal([1])))), Entry("b.npy", evil)],
        "npz-without-extension": [Entry("weights", evil)],
        "npz-double": [Entry("a.npy", object_npy(program(literal([1])))), Entry("a.npy", evil)],
    }.items():
        yield container(technique, "data.npz", zip_of(entries), "numpy")


def frames() -> Iterator[Draft]:
    """Compressed pickles as pandas reads them, by extension."""
    long = program(SYSTEM + POP + literal("x" * 400))
    for extension, data in {
        "pkl": EVIL,
        "pkl.gz": gzip.compress(EVIL, mtime=0),
        "pkl.bz2": bz2.compress(EVIL),
        "pkl.xz": lzma.compress(EVIL),
        "pkl.zip": zip_of([Entry("frame.pkl", EVIL, deflate=True)]),
        "pkl.tar": tar_of({"frame.pkl": EVIL}),
        "pkl.tar.gz": tar_of({"frame.pkl": EVIL}, "w:gz"),
    }.items():
        yield container(f"pandas-{extension}", f"frame.{extension}", data, "pandas")
    yield Draft("pickle-zst", {"frame.pkl.zst": zstd_frame(long)}, family="container", harm="opaque")
