"""The safetensors reader against files of the reference implementation, and against broken headers."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from assay.collect.headers import missing_shards, read_models
from assay.collect.headers.interface import ModelFile, Tensor
from assay.collect.headers.safetensors import MAX_HEADER, SafetensorsReader
from collect.bom.folders import target_of


def read(data: bytes) -> ModelFile:
    return SafetensorsReader().read("m.safetensors", io.BytesIO(data), len(data))


def raw(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_reads_what_the_library_writes() -> None:
    data = save(
        {"b": np.zeros((2, 3), np.float32), "a": np.zeros(5, np.int8), "s": np.zeros((), np.float16)},
        metadata={"format": "np", "modelspec.architecture": "Net", "long": "x" * 1000},
    )
    assert SafetensorsReader().recognises("anything.bin", data[:4096])
    model = read(data)
    assert set(model.tensors) == {Tensor("b", "f32", (2, 3)), Tensor("a", "i8", (5,)), Tensor("s", "f16", ())}
    assert model.parameters == 12
    assert model.architecture == "Net"
    assert model.metadata == {"format": "np", "modelspec.architecture": "Net", "long": "(1000 characters)"}
    assert model.warnings == ()


def test_an_empty_model_has_no_parameters() -> None:
    model = read(save({}))
    assert (model.tensors, model.parameters, model.warnings) == ([], None, ())


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "ends within the header's length"),
        (struct.pack("<Q", MAX_HEADER + 1) + b"{}", "more than"),
        (struct.pack("<Q", 50) + b"{}", "reaches beyond the file"),
        (raw(b"{} x"), "not JSON"),
        (raw(b"[" * 10_000), "nested too deeply"),
        (raw(b'{"a": NaN}'), "NaN is not JSON"),
        (raw([]), "not a JSON object"),
        (raw(b"[" + b"0," * 5_000_001 + b"0]"), "too many parts"),
        (raw(b"\xff\xfe"), "not JSON"),
        (raw({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}), "no valid dtype, shape"),
        (raw({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}), "no valid dtype, shape"),
        (raw({"a": {"dtype": "F32", "shape": [1 << 63], "data_offsets": [0, 4]}}), "no valid dtype, shape"),
        (raw({"a": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}}), "no valid dtype, shape"),
        (raw({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}), "no valid dtype, shape"),
        (raw({"a": []}), "no valid dtype, shape"),
        (raw({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 3]}}, b"abc"), "claims 3 bytes"),
        (raw({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, b"abcd"), "unknown dtype"),
        (raw({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"abcde"), "holes, overlaps or extra"),
        (raw({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"abcdefgh"), "holes, overlaps or extra"),
        (raw({"__metadata__": {"a": 1}}), "not a map of strings"),
    ],
)  # fmt: skip
def test_broken_headers_are_warnings(data: bytes, complaint: str) -> None:
    """Each is refused by the reference implementation too."""
    assert any(complaint in warning for warning in read(data).warnings)
    with pytest.raises(SafetensorError):
        deserialize(data)


def test_a_key_that_is_there_twice_is_named() -> None:
    entry = b'"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}'
    model = read(raw(b"{" + entry + b", " + entry + b"}", b"x"))
    assert model.warnings == ("m.safetensors: the header has the key 'a' twice",)


def test_names_that_no_document_can_hold_are_replaced() -> None:
    model = read(raw(b'{"\\ud800": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}', b"x"))
    assert model.tensors[0].name.encode() == b"?"


def test_shards_are_one_entry_each_and_missing_ones_are_named(tmp_path: Any) -> None:
    part = save({"a": np.zeros(2, np.float32)})
    names = ["m/model-00001-of-00003.safetensors", "m/model-00003-of-00003.safetensors"]
    with target_of(tmp_path, {**dict.fromkeys(names, part), "m/notes.txt": b"text"}) as target:
        models = read_models(target)
    assert [model.path for model in models] == names
    assert models[0].warnings == ("shards of this model are missing: m/model-00002-of-00003.safetensors",)
    assert models[1].warnings == ()


def test_absurd_shard_counts_cost_nothing() -> None:
    names = [f"m{i:05}-00001-of-99999.bin" for i in range(2000)]
    assert len(missing_shards(names)) == 2000
    assert missing_shards(["a-00000-of-00002.gguf", "a-00001-of-00002.gguf"]) == {}
