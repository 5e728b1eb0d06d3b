"""Formats, recognised by what the bytes are: every scanner whose format a file could be read as is run on it.

An extension decides nothing: it only speaks for formats without a mark of their own, and a file whose name promises
another format than its bytes are is a finding. A scanner's module is imported when the first file is looked at.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import BinaryIO, cast

from assay.collect.scan.models.interface import FormatScanner

EDGE = 64 * 1024
"""Bytes of ``head`` and ``tail``."""

CARRIERS: tuple[str, ...] = (
    "torch:TorchZip",
    "torch:TorchPackage",
    "numpy:NumpyArchive",
    "skops:SkopsArchive",
    "zips:ZipScanner",
    "torch_legacy:TorchTar",
    "tars:TarScanner",
    "torch_legacy:TorchLegacy",
    "joblib:JoblibPickle",
    "joblib:JoblibZFile",
    "pickles:PickleScanner",
    "numpy:NumpyArray",
    "compressed:CompressedScanner",
    "sevenzip:SevenZip",
    "opaque_archives:OpaqueArchive",
    "executorch:ExecuTorchScanner",
    "flax:FlaxScanner",
    "nemo:YamlConfig",
)
"""Containers and what carries pickles, ``module:Class`` in this package; the first that recognises a file names it."""

OTHERS: tuple[str, ...] = (
    "safetensors:Safetensors",
    "weights:NumpyWeights",
    "gguf:Gguf",
    "hdf5:Hdf5",
    "keras:KerasConfig",
    "tensorflow:TensorFlowGraph",
    "onnx:Onnx",
    "pmml:Pmml",
    "openvino:OpenVino",
    "boosters:XGBoost",
    "boosters:LightGbm",
    "boosters:CatBoost",
    "opaque:CompiledModel",
    "opaque:TensorFlowLite",
    "executables:Executable",
    "media:Media",
    "huggingface:HuggingFaceConfig",
    "notebooks:Notebook",
    "python_source:PythonSource",
)
"""The other formats, likewise."""


@cache
def scanners() -> tuple[FormatScanner, ...]:
    """One scanner for every format. They hold no state."""
    found = []
    for entry in CARRIERS + OTHERS:
        module, _, name = entry.partition(":")
        found.append(cast(FormatScanner, getattr(import_module(f"{__name__}.{module}"), name)()))
    return tuple(found)


def edges(file: BinaryIO, size: int) -> tuple[bytes, bytes]:
    """The first and the last `EDGE` bytes of a file."""
    file.seek(0)
    head = file.read(min(EDGE, size))
    if size <= EDGE:
        return head, head
    file.seek(size - EDGE)
    return head, file.read(EDGE)


def detect(file: BinaryIO, size: int, path: str) -> list[FormatScanner]:
    """Every scanner that the file is for, by its content. None for an empty file.

    Raises `OSError` where it cannot be read, and `assay.errors.DocumentError` where a view of something packed breaks.
    """
    if size <= 0:
        return []
    head, tail = edges(file, size)
    return [scanner for scanner in scanners() if _recognises(scanner, head, tail, file, size, path)]


def _recognises(scanner: FormatScanner, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
    try:
        return scanner.recognises(head, tail, file, size, path)
    except Exception:  # what one scanner cannot look at must not keep the others from it: it says so when it is run
        return True
