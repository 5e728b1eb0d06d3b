"""The GGUF reader against files of the gguf package in both byte orders, its tables, and broken files."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from assay.collect.headers.gguf import FILE_TYPES, TYPES, GgufReader
from assay.collect.headers.interface import ModelFile, Tensor


def read(data: bytes) -> ModelFile:
    return GgufReader().read("m.gguf", io.BytesIO(data), len(data))


def written(path: Path, endian: gguf.GGUFEndian = gguf.GGUFEndian.LITTLE) -> bytes:
    writer = gguf.GGUFWriter(path, "llama", endianess=endian)
    writer.add_name("Tiny")
    writer.add_license("apache-2.0")
    writer.add_context_length(512)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_tags(["one", "two"])
    writer.add_token_list([f"token{i}" for i in range(5000)])
    writer.add_token_scores([0.5] * 5000)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    writer.add_chat_template("{{ x }}" * 100)
    writer.add_tensor("embed", np.zeros((3, 32), np.float32))
    quantised = gguf.quantize(np.zeros((2, 64), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("quantised", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.mark.parametrize("endian", [gguf.GGUFEndian.LITTLE, gguf.GGUFEndian.BIG])
def test_reads_what_the_package_writes(tmp_path: Path, endian: gguf.GGUFEndian) -> None:
    data = written(tmp_path / "m.gguf", endian)
    assert GgufReader().recognises("x", data[:4096])
    model = read(data)
    assert model.warnings == ()
    assert model.architecture == "llama"
    assert model.tensors == [Tensor("embed", "f32", (3, 32)), Tensor("quantised", "q8_0", (2, 64))]
    assert model.parameters == 3 * 32 + 2 * 64
    assert model.quantisation == "Q4_K_M"
    assert model.metadata["general.name"] == "Tiny"
    assert model.metadata["general.license"] == "apache-2.0"
    assert model.metadata["general.tags"] == "one, two"
    assert model.metadata["llama.context_length"] == "512"
    assert model.metadata["tokenizer.ggml.tokens"] == "(5000 strings)"
    assert model.metadata["tokenizer.ggml.scores"] == "(5000 numbers)"
    assert model.metadata["tokenizer.ggml.add_bos_token"] == "true"
    assert model.metadata["tokenizer.chat_template"] == "(700 characters)"


def test_tables_are_those_of_the_package() -> None:
    sizes = {int(kind): (kind.name.lower(), *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGMLQuantizationType}
    assert sizes == TYPES
    names = {int(kind): kind.name.split("_", 1)[1] for kind in gguf.LlamaFileType if kind.name != "GUESSED"}
    assert names == FILE_TYPES


def string(text: bytes, width: str = "<Q") -> bytes:
    return struct.pack(width, len(text)) + text


def header(version: int, tensors: int, keys: int, body: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + body


def test_version_1_has_short_lengths() -> None:
    body = string(b"general.architecture", "<I") + struct.pack("<I", 8) + string(b"gpt2", "<I")
    model = read(b"GGUF" + struct.pack("<III", 1, 0, 1) + body)
    assert (model.architecture, model.warnings) == ("gpt2", ())


def entry(key: bytes, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int, body: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + body


def tensor(name: bytes, shape: list[int], kind: int, offset: int) -> bytes:
    return string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"GGUF", "ends within"),
        (header(4, 0, 0), "version 4 is not known"),
        (header(3, 1 << 40, 0), "tensors, more than"),
        (header(3, 0, 1 << 40), "metadata entries, more than"),
        (header(3, 0, 1, struct.pack("<Q", 1 << 60)), "ends within"),
        (header(3, 0, 1, string(b"x" * 2000)), "longer than 1024 bytes"),
        (header(3, 0, 1, entry(b"k", 99, b"")), "unknown type 99"),
        (header(3, 0, 1, entry(b"k", 8, struct.pack("<Q", 1 << 60))), "ends within"),
        (header(3, 0, 1, entry(b"k", 9, array(0, 1 << 60))), "ends within"),
        (header(3, 0, 1, entry(b"k", 9, array(8, 1 << 60))), "too many elements"),
        (header(3, 0, 1, entry(b"k", 9, array(9, 1) * 50)), "nested too deeply"),
        (header(3, 1, 0, string(b"t") + struct.pack("<I", 1000)), "1000 dimensions"),
        (header(3, 1, 0, tensor(b"t", [1 << 63], 0, 0)), "non-negative integers"),
        (header(3, 1, 0, tensor(b"t", [1 << 62] * 8, 0, 0)), "beyond the end of the file"),
        (header(3, 1, 0, tensor(b"t", [1], 77, 0) + bytes(99)), "unknown type"),
        (header(3, 1, 0, tensor(b"t", [1], 0, 1) + bytes(99)), "not aligned"),
        (header(3, 2, 0, tensor(b"t", [9], 0, 0) + tensor(b"u", [9], 0, 32) + bytes(199)), "overlap"),
        (header(3, 2, 0, tensor(b"t", [1], 0, 0) + tensor(b"t", [1], 0, 32) + bytes(99)), "name is there twice"),
        (header(3, 0, 2, entry(b"k", 0, b"1") * 2), "metadata key is there twice"),
        (header(3, 0, 1, entry(b"general.alignment", 4, bytes(4))), "not a sensible number"),
    ],
)  # fmt: skip
def test_broken_files_are_warnings(data: bytes, complaint: str) -> None:
    assert any(complaint in warning for warning in read(data).warnings)


def test_without_a_file_type_the_type_of_most_elements_counts(tmp_path: Path) -> None:
    body = tensor(b"norm", [32], 0, 0) + tensor(b"w", [256, 4], 12, 128)
    assert read(header(3, 2, 0, body + bytes(1000))).quantisation == "Q4_K"
    assert read(header(3, 1, 0, tensor(b"norm", [32], 1, 0) + bytes(1000))).quantisation is None
