"""``formats``: in which file formats a model may lie, by what the bill of materials read from the files themselves.

A file whose name promises a model and whose format nobody recognised is wrong too: it is what an unusual loader takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta

from assay.errors import DocumentError
from assay.policy.checks import bom
from assay.policy.checks.arguments import Arguments, Unknown, Words, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import first, show, told
from assay.policy.verdict import Violation

FORMAT = "assay:model:format"
"""Property that a bill of ours gives to model files and models."""
_SUFFIXES = (
    ".pkl", ".pickle", ".p", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill", ".cloudpickle", ".model", ".npy",
    ".npz", ".h5", ".hdf5", ".keras", ".pb", ".tflite", ".onnx", ".ort", ".gguf", ".ggml", ".safetensors", ".msgpack",
    ".mar", ".nemo", ".pte", ".mlmodel", ".engine", ".plan", ".skops", ".cbm", ".ubj", ".llamafile",
)  # fmt: skip
"""Endings of names that loaders of models look for."""


class Formats(Arguments, frozen=True):
    """File formats of models: ``safetensors``, ``gguf``, ``onnx``, ``pickle``, ``pytorch-*``, ``joblib``, …"""

    allow: Annotated[Words, Meta(description="Every model file must be of one of these formats (globs).")] = ()
    deny: Annotated[Words, Meta(description="No file may be of one of these formats (globs).")] = ()
    unknown: Annotated[
        Unknown, Meta(description="Whether a file named like a model may be of no format that is recognised.")
    ] = "fail"


class _Check:
    name = "formats"
    types: tuple[str, ...] = bom.CYCLONEDX_TYPES
    schema = schema(Formats)

    def prepare(self, arguments: Any, place: str) -> Formats:
        """See `Check.prepare`."""
        read = convert(Formats, arguments, place)
        if not (read.allow or read.deny):
            raise DocumentError(f"{place}: neither allow nor deny is given")
        return read

    def violations(self, document: Document, arguments: Formats) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(bom.read(document), arguments))


def _wrong(bill: bom.Bill, wanted: Formats) -> Iterator[Violation]:
    yield from bill.problems
    seen = False
    for part in [*([bill.target] if bill.target is not None else []), *bill.parts]:
        formats = list(bom.properties(part.raw, FORMAT))
        seen = seen or bool(formats)
        for name in formats:
            details = {"file": part.name[:500], "format": name[:200]}
            if pattern := first(wanted.deny, name):
                yield Violation(f"{part.title} is {show(name)}, denied by {pattern}", part.path, details)
            elif wanted.allow and not first(wanted.allow, name):
                yield Violation(f"{part.title} is {show(name)}, not on the allow list", part.path, details)
        if not formats and part.kind == "file" and wanted.unknown == "fail" and part.name.lower().endswith(_SUFFIXES):
            text = f"{part.title} is named like a model and of no format that was recognised"
            yield Violation(text, part.path, {"file": part.name[:500]})
    if not seen:
        yield Violation("the bill names no model format", "components")


CHECK = _Check()
