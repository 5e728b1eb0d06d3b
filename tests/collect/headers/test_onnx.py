"""The ONNX reader and the wire-format walker beneath it, against models of the onnx package and hostile bytes."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from assay.collect.headers import protobuf as wire
from assay.collect.headers.interface import ModelFile, Tensor
from assay.collect.headers.onnx import TYPES, OnnxReader
from assay.errors import DocumentError


def read(data: bytes) -> ModelFile:
    return OnnxReader().read("m.onnx", io.BytesIO(data), len(data))


def model() -> onnx.ModelProto:
    weights = numpy_helper.from_array(np.zeros((4, 3), np.float32), "w")
    inner = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["y1"])],
        "then",
        [],
        [helper.make_tensor_value_info("y1", TensorProto.FLOAT, [3])],
        [numpy_helper.from_array(np.zeros(3, np.float16), "inner")],
    )
    other = helper.make_graph(
        [helper.make_node("Constant", [], ["y2"], value=numpy_helper.from_array(np.zeros(9, np.float32)))],
        "else",
        [],
        [helper.make_tensor_value_info("y2", TensorProto.FLOAT, [9])],
    )
    external = onnx.TensorProto(name="big", data_type=TensorProto.BFLOAT16, dims=[1000, 1000])
    external.data_location = TensorProto.EXTERNAL
    external.external_data.add(key="location", value="weights.bin")
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("sparse", TensorProto.FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("at", TensorProto.INT64, [2], [0, 3]),
        [10],
    )
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=other),
            helper.make_node("Scale", ["y"], ["v"], domain="mine"),
        ],
        "classifier",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4]),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
        [weights, external, helper.make_tensor("packed", TensorProto.INT64, [3], [1, 2, 3])],
        sparse_initializer=[sparse],
    )
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.zeros((2, 2), np.float64)))
    function = helper.make_function(
        "mine", "Scale", ["a"], ["b"], [constant, helper.make_node("Identity", ["a"], ["b"])],
        [helper.make_opsetid("", 21)],
    )  # fmt: skip
    result = helper.make_model(
        graph,
        producer_name="tests",
        producer_version="1.2",
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("mine", 1)],
        functions=[function],
    )
    helper.set_model_props(result, {"author": "someone", "note": "x" * 70_000})
    return result


def test_reads_what_the_package_writes() -> None:
    data = model().SerializeToString()
    assert OnnxReader().recognises("model.bin", data[:4096])
    found = read(data)
    assert found.warnings == ()
    assert found.architecture == "classifier"
    assert set(found.tensors) == {
        Tensor("w", "f32", (4, 3)),
        Tensor("big", "bf16", (1000, 1000)),
        Tensor("packed", "i64", (3,)),
        Tensor("sparse", "f32", (2,)),
        Tensor("z/inner", "f16", (3,)),
        Tensor("Scale/k", "f64", (2, 2)),
    }
    assert found.parameters == 12 + 1_000_000 + 3 + 2 + 3 + 4
    assert found.metadata["producer_name"] == "tests"
    assert found.metadata["opsets"] == "ai.onnx 21, mine 1"
    assert found.metadata["inputs"] == "x: f32[batch,4]"
    assert found.metadata["outputs"] == "y: f32[?,3]"
    assert found.metadata["external_data"] == "weights.bin"
    assert found.metadata["metadata.author"] == "someone"
    assert found.metadata["metadata.note"] == "(70000 bytes)"
    assert "mine.Scale: 1" in found.metadata["operators"]
    assert found.quantisation is None


def test_types_are_those_of_the_package() -> None:
    known = {number for name, number in TensorProto.DataType.items() if name != "UNDEFINED"}
    assert set(TYPES) == known


def test_quantisation_is_the_narrow_type_of_a_model_that_dequantises() -> None:
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["q", "s"], ["y"])],
        "g",
        [],
        [],
        [numpy_helper.from_array(np.zeros(9, np.int8), "q"), numpy_helper.from_array(np.ones(1, np.float32), "s")],
    )
    assert read(helper.make_model(graph).SerializeToString()).quantisation == "i8"


@pytest.mark.parametrize("location", ["../../etc/passwd", "/etc/passwd", "a/../../b", "C:\\x", "..\\x"])
def test_external_data_outside_of_the_folder_is_a_warning(location: str) -> None:
    hostile = model()
    hostile.graph.initializer[1].external_data[0].value = location
    assert any(
        "outside of the model's folder" in warning and location in warning
        for warning in read(hostile.SerializeToString()).warnings
    )


class Watched(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_weights_are_passed_over() -> None:
    weights = numpy_helper.from_array(np.zeros(8_000_000, np.uint8), "w")
    graph = helper.make_graph([], "g", [], [], [weights])
    data = helper.make_model(graph).SerializeToString()
    file = Watched(data)
    assert OnnxReader().read("m.onnx", file, len(data)).parameters == 8_000_000
    assert file.count < 200_000


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def nested(levels: int) -> bytes:
    graph = b""
    for _ in range(levels):
        graph = message(1, message(5, message(6, graph)))
    return message(7, graph)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "no graph"),
        (b"\x08", "ends within a number"),
        (b"\x80" * 11, "longer than ten bytes"),
        (b"\x00\x01", "field number 0"),
        (b"\x0b", "wire type 3"),
        (b"\x0d\x01", "reaches beyond its message"),
        (message(7, b"")[:1] + varint(1 << 62), "reaches beyond its message"),
        (message(7, message(5, message(1, varint(1)) * 70)), "65 dimensions"),
        (message(7, message(5, b"\x08" + varint((1 << 64) - 1))), "non-negative integers"),
        (b"\x08\x07" + nested(100), "nested too deeply"),
        (b"\x38\x01", "no graph"),
    ],
)
def test_broken_models_are_warnings(data: bytes, complaint: str) -> None:
    warnings = read(data).warnings
    assert complaint in warnings[0]


def test_the_number_of_fields_is_bounded() -> None:
    data = b"\x08\x01" * 100
    with pytest.raises(DocumentError, match="too many fields"):
        list(wire.fields(io.BytesIO(data), 0, len(data), limits=wire.Limits(fields=99)))
    assert len(list(wire.fields(io.BytesIO(data), 0, len(data), limits=wire.Limits(fields=100)))) == 100


def test_payloads_are_read_only_up_to_a_limit() -> None:
    file = io.BytesIO(message(1, b"x" * 100))
    (field,) = wire.fields(file, 0, 102, limits=wire.Limits())
    assert wire.text(file, field) == "x" * 100
    with pytest.raises(DocumentError, match="more than 99"):
        wire.payload(file, field, limit=99)


def test_text_and_other_formats_are_not_taken_for_models() -> None:
    for head in (b"", b"\x08", b"\x08\x01", b"hello", b"\x08\x01\x12\xff\xff\xff\x7f" + bytes(50), b"\x08hello world"):
        assert not OnnxReader().recognises("x.bin", head)
