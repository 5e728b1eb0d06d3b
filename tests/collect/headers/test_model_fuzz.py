"""Every model reader on random, cut, and mutated bytes: facts or warnings, never an error, never a lone surrogate."""

from __future__ import annotations

import io
import pickle
from functools import cache
from pathlib import Path

import joblib
import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from safetensors.numpy import save

from assay.collect.bom.cards.headers import card_of_header, header_of
from assay.collect.headers.gguf import GgufReader
from assay.collect.headers.interface import ModelFile
from assay.collect.headers.joblib import JoblibReader
from assay.collect.headers.numpy import NumpyReader
from assay.collect.headers.onnx import OnnxReader
from assay.collect.headers.pytorch import PyTorchReader
from assay.collect.headers.safetensors import SafetensorsReader
from assay.errors import DocumentError

SAMPLES = Path(__file__).parents[2] / "data" / "models" / "pytorch"
READERS = (SafetensorsReader, GgufReader, OnnxReader, PyTorchReader, JoblibReader, NumpyReader)
SETTINGS = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


@cache
def seeds() -> dict[type, list[bytes]]:
    """Honest files of every format, small."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    plain, archive, packed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(plain, array)
    np.savez(archive, a=array)
    joblib.dump({"a": array, "b": np.array(["x", None])}, packed)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])],
        [],
        [numpy_helper.from_array(array, "w")],
    )
    gguf = b"GGUF\x03\0\0\0" + (1).to_bytes(8, "little") + (2).to_bytes(8, "little")
    gguf += (4).to_bytes(8, "little") + b"name" + (8).to_bytes(4, "little") + (2).to_bytes(8, "little") + b"ab"
    gguf += (4).to_bytes(8, "little") + b"list" + (9).to_bytes(4, "little") + (8).to_bytes(4, "little")
    gguf += (1).to_bytes(8, "little") + (2).to_bytes(8, "little") + b"ab"
    gguf += (1).to_bytes(8, "little") + b"t" + (1).to_bytes(4, "little") + (8).to_bytes(8, "little") + bytes(12 + 64)
    return {
        SafetensorsReader: [save({"a": array, "b": array[0]}, metadata={"format": "np"})],
        GgufReader: [gguf],
        OnnxReader: [helper.make_model(graph).SerializeToString()],
        PyTorchReader: [path.read_bytes() for path in sorted(SAMPLES.glob("*.pt"))],
        JoblibReader: [packed.getvalue(), *(pickle.dumps({"a": [array, "x" * 300]}, p) for p in range(6))],
        NumpyReader: [plain.getvalue(), archive.getvalue()],
    }


def check(reader: type, data: bytes) -> ModelFile:
    instance = reader()
    assert instance.recognises("any/name", data[:4096]) in (True, False)
    model = instance.read("any/name", io.BytesIO(data), len(data))
    assert isinstance(model, ModelFile)
    msgspec.json.encode(model)  # refuses lone surrogates; nothing in a file may make a document that cannot be written
    for tensor in model.tensors:
        assert all(length >= 0 for length in tensor.shape)
    return model


@pytest.mark.parametrize("reader", READERS)
def test_honest_files_have_no_warnings(reader: type) -> None:
    for data in seeds()[reader]:
        assert check(reader, data).warnings == ()
        assert reader().recognises("any/name", data[:4096]) or data[:1] != b"\x80"


@pytest.mark.parametrize("reader", READERS)
@SETTINGS
@given(data=st.binary(max_size=300))
def test_random_bytes(reader: type, data: bytes) -> None:
    check(reader, data)
    check(reader, seeds()[reader][0][:16] + data)


@pytest.mark.parametrize("reader", READERS)
@SETTINGS
@given(choice=st.data())
def test_mutated_files(reader: type, choice: st.DataObject) -> None:
    data = bytearray(choice.draw(st.sampled_from(seeds()[reader])))
    for _ in range(choice.draw(st.integers(1, 4))):
        at = choice.draw(st.integers(0, len(data) - 1))
        how = choice.draw(st.sampled_from(("set", "cut", "insert", "repeat")))
        if how == "set":
            data[at] = choice.draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF)) | st.integers(0, 255))
        elif how == "cut":
            del data[at : at + choice.draw(st.integers(1, 40))]
        elif how == "insert":
            data[at:at] = choice.draw(st.binary(max_size=9))
        else:
            data[at:at] = data[at : at + choice.draw(st.integers(1, 60))]
        if not data:
            break
    check(reader, bytes(data))


OPCODES = [bytes([code]) for code in range(256)] + [
    b"X\x01\x00\x00\x00a", b"K\x01", b"C\x01a", b"cbuiltins\ndict\n", b"\x8c\x02\xed\xa0", b"V\\ud800\n", b"h\x00",
    b"q\x00",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_sparse_tensor\n", b"ctorch\nFloatStorage\n",
    b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n", b"cnumpy._core.multiarray\n_reconstruct\n", b"cnumpy\ndtype\n",
    b"X\x02\x00\x00\x00f8", b"X\x07\x00\x00\x00storage", b"X\x05\x00\x00\x00shape", b"X\x05\x00\x00\x00dtype",
]  # fmt: skip


@SETTINGS
@given(st.lists(st.sampled_from(OPCODES), max_size=60))
def test_random_opcodes(opcodes: list[bytes]) -> None:
    body = b"".join(opcodes)
    check(JoblibReader, b"\x80\x02" + body + b".")
    check(PyTorchReader, b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.N.N." + body + b".")


YAML = st.lists(
    st.sampled_from(
        ["license", "model-index", "results", "metrics", ": ", "\n", "\n- ", "\n  ", "[", "]", "{", "}", ",", "a",
         "&x ",
         "*x", "!!t ", "'", '"', "|", "#", "\t", "? ", "\\ud800", "\x00", "<<", "0x", "~"]
    ),
    max_size=40,
)  # fmt: skip


@SETTINGS
@given(YAML | st.text(max_size=60))
def test_random_headers(parts: list[str] | str) -> None:
    text = "---\n" + (parts if isinstance(parts, str) else "".join(parts)) + "\n---\n"
    try:
        header = header_of(text)
    except DocumentError:
        return
    if header is not None:
        msgspec.json.encode(card_of_header("README.md", header))
