"""Reads ONNX models through the wire format alone: producer, operator sets, inputs, outputs, initialisers.

Weights (``raw_data`` and its siblings) are passed over by seeking. It never opens the external files that a
model names, and says so when such a name leads out of the model's folder. Source:
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import io
from collections import Counter
from typing import BinaryIO

from assay.collect.headers import protobuf as wire
from assay.collect.headers.interface import ModelFile, Tensor
from assay.collect.headers.reading import MAX_NAME, MAX_TENSORS, checked_shape, failed, short, total
from assay.collect.headers.values import counts, names
from assay.errors import DocumentError

TYPES = {
    1: "f32", 2: "u8", 3: "i8", 4: "u16", 5: "i16", 6: "i32", 7: "i64", 8: "string", 9: "bool", 10: "f16",
    11: "f64", 12: "u32", 13: "u64", 14: "c64", 15: "c128", 16: "bf16", 17: "f8_e4m3fn", 18: "f8_e4m3fnuz",
    19: "f8_e5m2", 20: "f8_e5m2fnuz", 21: "u4", 22: "i4", 23: "f4_e2m1", 24: "f8_e8m0", 25: "u2", 26: "i2",
    27: "f6_e2m3", 28: "f6_e3m2",
}  # fmt: skip
"""``TensorProto.DataType``."""

_MODEL_FIELDS = {1: wire.VARINT, 5: wire.VARINT} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), wire.LENGTH)
"""``ModelProto``'s fields with their wire types."""

_QUANTISING = (
    "Quantize",
    "Dequantize",
    "DynamicQuantize",
    "QLinear",
    "MatMulNBits",
    "MatMulInteger",
    "ConvInteger",
)
_MAX_TEXT = 64 * 1024
_NARROW = ("u8", "i8", "u4", "i4", "u2", "i2", "f8_e4m3fn", "f8_e5m2", "f4_e2m1")


class OnnxReader:
    """``.onnx``."""

    def recognises(self, path: str, head: bytes) -> bool:
        """By name, or when the head reads as fields of a ``ModelProto`` up to its graph or an operator
        set.
        """
        if path.endswith(".onnx"):
            return True
        if not head.startswith(b"\x08"):  # the IR version comes first in what every exporter writes
            return False
        try:
            for field in wire.fields(io.BytesIO(head), 0, 1 << 62, limits=wire.Limits(fields=64)):
                if _MODEL_FIELDS.get(field.number) != field.wire:
                    return False
                if field.number in (7, 8):
                    return True
        except DocumentError:
            pass
        return False

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile:
        """Initialisers of the graph, of its subgraphs and, as functions have none, their constants."""
        model = _Model(file)
        problem = None
        try:
            model.read(size)
        except DocumentError as error:
            problem = error.message
        if problem and not model.facts and not model.tensors:
            return failed(path, "onnx", problem)
        warnings = [problem] if problem else [] if model.graphs else ["it has no graph"]
        if model.outside:
            warnings.append(f"external data outside of the model's folder: {names(model.outside)}")
        return ModelFile(
            path,
            "onnx",
            architecture=model.graph_name or None,
            tensors=model.tensors,
            parameters=total(model.tensors),
            quantisation=_quantisation(model),
            metadata=short([*model.facts, *model.summary(), *model.properties]),
            warnings=tuple(f"{path}: {warning}" for warning in warnings),
        )


class _Model:
    """What a walk over one model gathers."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._limits = wire.Limits()
        self.facts: list[tuple[str, object]] = []
        self.properties: list[tuple[str, object]] = []
        self.graph_name = ""
        self.graphs = 0
        self.tensors: list[Tensor] = []
        self.operators: Counter[str] = Counter()
        self.opsets: list[str] = []
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.external: dict[str, None] = {}
        self.outside: list[str] = []

    def _fields(self, start: int, end: int) -> list[wire.Field]:
        return list(wire.fields(self._file, start, end, limits=self._limits))

    def _text(self, field: wire.Field) -> str:
        length = field.end - field.start
        return wire.text(self._file, field) if length <= _MAX_TEXT else f"({length} bytes)"

    def read(self, size: int) -> None:
        """Walk the model; what was gathered before a `DocumentError` stays."""
        plain = {1: "ir_version", 2: "producer_name", 3: "producer_version", 4: "domain", 5: "model_version"}
        for field in wire.fields(self._file, 0, size, limits=self._limits):
            if field.number in plain:
                value = wire.signed(field.value) if field.wire == wire.VARINT else self._text(field)
                self.facts.append((plain[field.number], value))
            elif field.number == 7:
                self._graph(field, "", outermost=True)
            elif field.number == 8:
                self._opset(field)
            elif field.number == 14:
                key, value = self._pair(field)
                self.properties.append((f"metadata.{key}", value))
            elif field.number == 20:
                self._training(field)
            elif field.number == 25:
                self._function(field)

    def summary(self) -> list[tuple[str, object]]:
        """Facts that are only known at the end."""
        initialised = {tensor.name for tensor in self.tensors}
        inputs = [text for text in self.inputs if text.split(": ")[0] not in initialised]
        pairs = [
            ("opsets", names(self.opsets)),
            ("inputs", names(inputs)),
            ("outputs", names(self.outputs)),
            ("operators", counts(self.operators)),
            ("external_data", names(self.external)),
        ]
        return [(key, value) for key, value in pairs if value]

    def _graph(self, message: wire.Field, prefix: str, *, outermost: bool = False) -> None:
        self.graphs += message.wire == wire.LENGTH
        with self._limits.deeper():
            for field in wire.fields(self._file, message.start, message.end, limits=self._limits):
                if field.number == 1:
                    self._node(field, prefix, constants=False)
                elif field.number == 2 and outermost:
                    self.graph_name = self._text(field)[:MAX_NAME]
                elif field.number == 5:
                    self._tensor(field, prefix)
                elif field.number == 15:
                    self._sparse(field, prefix)
                elif field.number in (11, 12) and outermost:
                    into = self.inputs if field.number == 11 else self.outputs
                    if len(into) < 1000:
                        into.append(self._value(field))

    def _node(self, message: wire.Field, prefix: str, *, constants: bool) -> None:
        name, operator, domain, attributes = "", "", "", []
        for field in self._fields(message.start, message.end):
            if field.number == 2 and not name:
                name = self._text(field)[:MAX_NAME]
            elif field.number == 4:
                operator = self._text(field)[:100]
            elif field.number == 7:
                domain = self._text(field)[:100]
            elif field.number == 5:
                attributes.append(field)
        if len(self.operators) < 1000 or operator in self.operators:
            self.operators[f"{domain}.{operator}" if domain else operator] += 1
        for attribute in attributes:
            for field in wire.fields(self._file, attribute.start, attribute.end, limits=self._limits):
                if field.number in (6, 11):
                    self._graph(field, f"{prefix}{name}/")
                elif field.number == 5 and constants and operator == "Constant":
                    self._tensor(field, prefix, name)

    def _function(self, message: wire.Field) -> None:
        name, nodes = "", []
        for field in self._fields(message.start, message.end):
            if field.number == 1:
                name = self._text(field)[:MAX_NAME]
            elif field.number == 7:
                nodes.append(field)
        with self._limits.deeper():
            for node in nodes:
                self._node(node, f"{name}/", constants=True)

    def _training(self, message: wire.Field) -> None:
        for field in wire.fields(self._file, message.start, message.end, limits=self._limits):
            if field.number in (1, 2):
                self._graph(field, "training/")

    def _sparse(self, message: wire.Field, prefix: str) -> None:
        for field in wire.fields(self._file, message.start, message.end, limits=self._limits):
            if field.number == 1:  # the values that are not zero; their indices are no parameters
                self._tensor(field, prefix)

    def _tensor(self, message: wire.Field, prefix: str, name: str = "") -> None:
        if len(self.tensors) >= MAX_TENSORS:
            raise DocumentError(f"there are more than {MAX_TENSORS} initialisers")
        dimensions: list[int] = []
        kind = 0
        for field in wire.fields(self._file, message.start, message.end, limits=self._limits):
            if field.number == 1 and len(dimensions) <= 64:
                dimensions += wire.integers(self._file, field, limit=1024)
            elif field.number == 2:
                kind = field.value
            elif field.number == 8:
                name = name or self._text(field)
            elif field.number == 13:
                self._external(field)
        shape = checked_shape(dimensions)
        self.tensors.append(Tensor((prefix + name)[:MAX_NAME], TYPES.get(kind, f"onnx-{kind}"), shape))

    def _external(self, message: wire.Field) -> None:
        key, location = self._pair(message)
        if key != "location" or location in self.external or len(self.external) >= 1000:
            return
        self.external[location[:MAX_NAME]] = None
        parts = location.replace("\\", "/").split("/")
        if ".." in parts or location.startswith(("/", "\\")) or ":" in parts[0]:
            self.outside.append(location[:MAX_NAME])

    def _pair(self, message: wire.Field) -> tuple[str, str]:
        """A ``StringStringEntryProto``."""
        key = value = ""
        for field in wire.fields(self._file, message.start, message.end, limits=self._limits):
            if field.number == 1:
                key = self._text(field)[:MAX_NAME]
            elif field.number == 2:
                value = self._text(field)
        return key, value

    def _opset(self, message: wire.Field) -> None:
        domain, version = "ai.onnx", 0
        for field in wire.fields(self._file, message.start, message.end, limits=self._limits):
            if field.number == 1:
                domain = self._text(field)[:200] or domain
            elif field.number == 2:
                version = wire.signed(field.value)
        if len(self.opsets) < 1000:
            self.opsets.append(f"{domain} {version}")

    def _value(self, message: wire.Field) -> str:
        """``name: f32[batch,3,224,224]`` for a ``ValueInfoProto``; other types than tensors by name alone."""
        name, written = "", ""
        for field in wire.fields(self._file, message.start, message.end, limits=self._limits):
            if field.number == 1:
                name = self._text(field)[:200]
            elif field.number == 2:
                for kind in wire.fields(self._file, field.start, field.end, limits=self._limits):
                    if kind.number == 1:
                        written = ": " + self._tensor_type(kind)
        return name + written

    def _tensor_type(self, message: wire.Field) -> str:
        element, dimensions = "", []
        for field in wire.fields(self._file, message.start, message.end, limits=self._limits):
            if field.number == 1:
                element = TYPES.get(field.value, f"onnx-{field.value}")
            elif field.number == 2:
                for dimension in self._fields(field.start, field.end)[:64]:
                    dimensions.append(self._dimension(dimension))
        return f"{element}[{','.join(dimensions)}]"

    def _dimension(self, message: wire.Field) -> str:
        for field in wire.fields(self._file, message.start, message.end, limits=self._limits):
            if field.number == 1:
                return str(wire.signed(field.value))
            if field.number == 2:
                return self._text(field)[:40]
        return "?"


def _quantisation(model: _Model) -> str | None:
    """The narrow type that holds most of the weights, in a model whose operators quantise."""
    if not any(operator.split(".")[-1].startswith(_QUANTISING) for operator in model.operators):
        return None
    held: Counter[str] = Counter()
    for tensor in model.tensors:
        if tensor.dtype in _NARROW:
            held[tensor.dtype] += tensor.parameters
    return max(held, key=lambda dtype: held[dtype], default=None)
