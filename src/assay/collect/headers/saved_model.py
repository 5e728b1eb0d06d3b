"""Reads TensorFlow's SavedModel: ``saved_model.pb``, and the index of a checkpoint for its variables.

Each of the two files is one model file: the first states graphs, signatures and versions, the second the variables'
types and shapes. No data shard is opened, no graph is built, and TensorFlow is never imported.
Source: TensorFlow's ``core/protobuf/{saved_model,meta_graph,tensor_bundle}.proto`` and ``core/framework/*.proto``.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from assay.collect.headers import protobuf
from assay.collect.headers.interface import ModelFile, Tensor
from assay.collect.headers.protobuf import Field, Limits, fields, signed, text
from assay.collect.headers.reading import MAX_NAME, MAX_TENSORS, checked_shape, clean, failed, total
from assay.collect.headers.sstable import Table
from assay.collect.headers.values import counts, known, names
from assay.errors import DocumentError

_DTYPES = {
    1: "f32", 2: "f64", 3: "i32", 4: "u8", 5: "i16", 6: "i8", 7: "string", 8: "c64", 9: "i64", 10: "bool",
    11: "qi8", 12: "qu8", 13: "qi32", 14: "bf16", 15: "qi16", 16: "qu16", 17: "u16", 18: "c128", 19: "f16",
    20: "resource", 21: "variant", 22: "u32", 23: "u64", 24: "f8_e5m2", 25: "f8_e4m3fn", 29: "i4", 30: "u4",
}  # fmt: skip
"""``DataType`` in TensorFlow's ``core/framework/types.proto``."""

_NO_NUMBERS = frozenset({"string", "resource", "variant"})
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_TRAINING = (".OPTIMIZER_SLOT", "optimizer/", "_optimizer/", "save_counter", "keras_api/metrics/")
"""What marks a variable as the training's state, not the model's."""


class SavedModelReader:
    """``saved_model.pb`` and ``variables.index``."""

    def recognises(self, path: str, head: bytes) -> bool:
        """By name and first bytes: neither file has a magic number at its start."""
        if path.endswith(".index"):
            return head.startswith(b"\0\0") and b"\x08" in head[3:8]  # an empty key, then the bundle's header
        return path.rsplit("/", 1)[-1] == "saved_model.pb" and head[:1] in (b"\x08", b"\x12")

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile:
        """Graphs, signatures and versions, or the variables."""
        return _read_index(path, file, size) if path.endswith(".index") else _read_graphs(path, file, size)


@dataclass(slots=True)
class _Found:
    """What one walk over ``saved_model.pb`` collects."""

    tags: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    producers: set[str] = field(default_factory=set)
    ops: Counter[str] = field(default_factory=Counter)
    graphs: int = 0
    functions: int = 0
    schema: int | None = None


def _read_graphs(path: str, file: BinaryIO, size: int) -> ModelFile:
    found, warnings = _Found(), []
    try:
        for part in fields(file, 0, size, limits=(limits := Limits())):
            if part.number == 1 and part.wire == protobuf.VARINT:
                found.schema = signed(part.value)
            elif part.number == 2:
                found.graphs += 1
                _meta_graph(file, part, limits, found)
    except DocumentError as error:
        warnings.append(f"{path}: {error.message}; what follows was not read")
    if not found.graphs:
        warnings.append(f"{path}: holds no graph")
    return ModelFile(
        path,
        "saved-model",
        metadata=known(
            schema_version=found.schema,
            graphs=found.graphs,
            tags=names(found.tags),
            signatures=names(found.signatures),
            tensorflow_version=names(sorted(found.versions)),
            producer=names(sorted(found.producers)),
            functions=found.functions,
            nodes=sum(found.ops.values()),
            ops=counts(found.ops),
        ),
        warnings=tuple(warnings),
    )


def _meta_graph(file: BinaryIO, graph: Field, limits: Limits, found: _Found) -> None:
    for part in _inside(file, graph, limits):
        if part.number == 1:  # meta_info_def
            for info in _inside(file, part, limits):
                if info.number == 4 and len(found.tags) < 64:
                    found.tags.append(text(file, info, limit=1024))
                elif info.number == 5:
                    found.versions.add(text(file, info, limit=1024))
        elif part.number == 2:  # graph_def
            _graph(file, part, limits, found)
        elif part.number == 5:  # signature_def: a map
            found.signatures.extend(_signature(file, part, limits) if len(found.signatures) < 64 else ())


def _graph(file: BinaryIO, graph: Field, limits: Limits, found: _Found) -> None:
    for part in _inside(file, graph, limits):
        if part.number == 1:
            _node(file, part, limits, found)
        elif part.number == 2:  # library
            for function in _inside(file, part, limits):
                if function.number == 1:
                    found.functions += 1
                    for inner in _inside(file, function, limits):
                        if inner.number == 3:
                            _node(file, inner, limits, found)
        elif part.number == 4:  # versions
            for version in _inside(file, part, limits):
                if version.number == 1 and len(found.producers) < 64:
                    found.producers.add(str(signed(version.value)))


def _node(file: BinaryIO, node: Field, limits: Limits, found: _Found) -> None:
    for part in _inside(file, node, limits):
        if part.number == 2:
            op = text(file, part, limit=1024)
            # Beyond this many kinds, new ones are no operations of TensorFlow's.
            found.ops[clean(op) if op in found.ops or len(found.ops) < 10_000 else "…"] += 1
            return


def _signature(file: BinaryIO, entry: Field, limits: Limits) -> list[str]:
    """One entry of ``signature_def`` as ``name(inputs) -> outputs``."""
    name, sides = "", {1: list[str](), 2: list[str]()}
    for part in _inside(file, entry, limits):
        if part.number == 1:
            name = text(file, part, limit=1024)
        elif part.number == 2:
            for side in _inside(file, part, limits):
                if side.number in sides and len(sides[side.number]) < 16:
                    sides[side.number].append(_argument(file, side, limits))
    if name == "__saved_model_init_op":
        return []
    return [f"{name}({', '.join(sorted(sides[1]))}) -> {', '.join(sorted(sides[2]))}"]


def _argument(file: BinaryIO, entry: Field, limits: Limits) -> str:
    name, dtype = "", 0
    for part in _inside(file, entry, limits):
        if part.number == 1:
            name = text(file, part, limit=1024)
        elif part.number == 2:
            for info in _inside(file, part, limits):
                if info.number == 2:
                    dtype = info.value
    return f"{name}: {_DTYPES.get(dtype, dtype)}"


def _inside(file: BinaryIO, part: Field, limits: Limits) -> Iterator[Field]:
    """The fields of a message; a field of another kind in its place has none."""
    if part.wire == protobuf.LENGTH:
        yield from fields(file, part.start, part.end, limits=limits)


def _read_index(path: str, file: BinaryIO, size: int) -> ModelFile:
    tensors: list[Tensor] = []
    model_state: list[Tensor] = []
    others, shards, warnings = Counter[str](), None, []
    try:
        table = Table(file, size)
        for key, value in table.entries():
            if not key:
                shards = _header(value)
            elif not key.startswith(b"\0"):  # that is a slice of a partitioned variable, which has its own entry
                tensor = _variable(key, value)
                if tensor.dtype in _NO_NUMBERS:
                    others[tensor.dtype] += 1
                    continue
                if len(tensors) >= MAX_TENSORS:
                    raise DocumentError(f"has more than {MAX_TENSORS} variables")
                tensors.append(tensor)
                if not any(mark in tensor.name for mark in _TRAINING):
                    model_state.append(tensor)
        if table.compressed:
            warnings.append(f"{path}: {table.compressed} compressed blocks were not read; variables are missing here")
    except DocumentError as error:
        if not tensors:
            return failed(path, "tensorflow-checkpoint", error.message)
        warnings.append(f"{path}: {error.message}; the variables that follow were not read")
    return ModelFile(
        path,
        "tensorflow-checkpoint",
        tensors=tuple(tensors),
        parameters=None if warnings else total(model_state),
        metadata=known(shards=shards, other_entries=counts(others), training_state=len(tensors) - len(model_state)),
        warnings=tuple(warnings),
    )


def _header(value: bytes) -> int | None:
    for part in fields(io.BytesIO(value), 0, len(value), limits=Limits()):
        if part.number == 1:
            return part.value
    return None


def _variable(key: bytes, value: bytes) -> Tensor:
    """A ``BundleEntryProto``."""
    file, limits = io.BytesIO(value), Limits(fields=10_000)
    dtype, shape = 0, list[int]()
    for part in fields(file, 0, len(value), limits=limits):
        if part.number == 1:
            dtype = part.value
        elif part.number == 2:
            for dimension in _inside(file, part, limits):
                if dimension.number == 2:
                    sizes = [signed(size.value) for size in _inside(file, dimension, limits) if size.number == 1]
                    shape.append(sizes[-1] if sizes else 0)
    name = key.decode("utf-8", "replace").removesuffix(_SUFFIX)
    return Tensor(name[:MAX_NAME], _DTYPES.get(dtype, f"tensorflow-{dtype}"), checked_shape(shape))
