"""Tensors that are verified one by one: what is read is as signed, and nothing else is read."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import blake3
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import assay.load
from assay.errors import AssayError, RejectedError, UndecidedError, UsageError
from assay.guard.load.safetensors_files import LazyTensors
from assay.guard.load.target import hold
from assay.targets.interface import SEGMENT, Options

TENSORS = {f"layer{i}": torch.full((SEGMENT // 4,), float(i)) for i in range(6)} | {
    "half": torch.ones(3, 5, dtype=torch.bfloat16),
    "none": torch.zeros(0, 4),
    "small": torch.tensor([True, False]),
}


def _write(place: Any) -> Path:
    path: Path = place.root / "m.safetensors"
    safetensors.torch.save_file(TENSORS, path, metadata={"format": "pt"})
    return place.sign(path)


def _offset(path: Path, name: str) -> int:
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return 8 + length + int(json.loads(data[8 : 8 + length])[name]["data_offsets"][0])


def test_every_tensor_as_the_library_reads_it(place: Any) -> None:
    with assay.load.safetensors(_write(place), lazy=True, how=place.how) as found:
        assert found.keys() == sorted(TENSORS) and found.metadata == {"format": "pt"}
        for name in found:
            assert torch.equal(found.get_tensor(name), TENSORS[name]) and name in found
            assert found.get_tensor(name).dtype == TENSORS[name].dtype
        with pytest.raises(KeyError):
            found.get_tensor("no such")


def test_only_what_is_needed_is_read_and_it_alone_must_be_right(place: Any) -> None:
    path = _write(place)
    at = _offset(path, "layer3") + SEGMENT // 2
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"\x99")
    with assay.load.safetensors(path, lazy=True, how=place.how) as found:
        assert torch.equal(found.get_tensor("layer0"), TENSORS["layer0"])
        assert found.verified <= 3 * SEGMENT
        with pytest.raises(RejectedError, match="not as signed between byte"):
            found.get_tensor("layer3")
    with pytest.raises(RejectedError):
        assay.load.safetensors(path, how=place.how)


def _read() -> int:
    """Bytes that this process has asked the kernel for."""
    (line,) = (line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar:"))
    return int(line.split()[1])


def test_of_a_gigabyte_only_what_is_touched_is_read(place: Any) -> None:
    each, count = 64 << 20, 16
    header = {
        f"layer{i}": {"dtype": "U8", "shape": [each], "data_offsets": [i * each, (i + 1) * each]} for i in range(count)
    }
    header["bias"] = {"dtype": "F32", "shape": [2], "data_offsets": [count * each, count * each + 8]}
    text = json.dumps(header).encode()
    path = place.root / "m.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.seek(count * each, 1)
        file.write(struct.pack("<2f", 1, 2))
    place.sign(path)
    before = _read()
    with assay.load.safetensors(path, lazy=True, how=place.how) as found:
        assert found.get_tensor("bias").tolist() == [1, 2]
        assert found.verified <= 3 * SEGMENT  # the header's, and the one or two that hold the tensor
        assert int(found.get_tensor("layer9").sum()) == 0
        assert found.verified <= 3 * SEGMENT + each + 2 * SEGMENT
    assert _read() - before < each + 6 * SEGMENT


def test_a_change_while_it_is_open_is_noticed(place: Any) -> None:
    path = _write(place)
    with assay.load.safetensors(path, lazy=True, how=place.how) as found:
        first = found.get_tensor("layer0")
        at = _offset(path, "layer5") + 100
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(b"\x99")
        with pytest.raises(RejectedError):
            found.get_tensor("layer5")
        assert torch.equal(first, TENSORS["layer0"])
        path.write_bytes(b"short")
        with pytest.raises(RejectedError):
            found.get_tensor("layer4")


def test_header_and_signer_count(place: Any) -> None:
    path = _write(place)
    with open(path, "r+b") as file:
        file.seek(20)
        file.write(b"X")
    with pytest.raises(RejectedError, match="first"):
        assay.load.safetensors(path, lazy=True, how=place.how)
    other = place.root / "other.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, other)
    with pytest.raises(UndecidedError, match="segment digests"):
        assay.load.safetensors(other, lazy=True, how=place.how)
    with pytest.raises(UsageError, match="policy"):
        assay.load.safetensors(other, lazy=True, how=replace(place.how, policy="builtin:ml-baseline"))


def test_in_a_signed_folder_and_as_numpy(place: Any) -> None:
    folder = place.root / "model"
    folder.mkdir()
    for i in range(2):
        safetensors.torch.save_file({"a": torch.arange(4) + i}, folder / f"m-{i}.safetensors")
    place.sign(folder)
    for i in range(2):
        with assay.load.safetensors(
            folder / f"m-{i}.safetensors", lazy=True, framework="numpy", target=str(folder), how=place.how
        ) as found:
            assert found.get_tensor("a").tolist() == [i, 1 + i, 2 + i, 3 + i]


@contextmanager
def _opened(path: Path, data: bytes) -> Iterator[LazyTensors]:
    """A file that is signed as it is."""
    path.write_bytes(data)
    digests = b"".join(blake3.blake3(data[i : i + SEGMENT]).digest() for i in range(0, max(1, len(data)), SEGMENT))
    with hold(f"file:{path}", Options(), lambda names: names) as thing:
        yield LazyTensors(thing, thing.held(path.name), [digests], path.name, "torch")


_numbers = st.one_of(st.integers(-3, 40), st.just(2**63), st.none(), st.text(max_size=2))
_entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "BOOL", "F8_E4M3", "C64", "X", ""]),
        "shape": st.lists(_numbers, max_size=3),
        "data_offsets": st.lists(_numbers, max_size=3),
    }
)


@settings(max_examples=150, deadline=None)
@given(
    header=st.one_of(
        st.dictionaries(st.text(max_size=3), st.one_of(_entries, _numbers), max_size=3).map(json.dumps),
        st.text(max_size=30),
    ),
    length=st.one_of(st.none(), st.integers(0, 2**64 - 1)),
    rest=st.binary(max_size=40),
)
def test_any_header_gives_tensors_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, header: str, length: int | None, rest: bytes
) -> None:
    text = header.encode()
    data = struct.pack("<Q", len(text) if length is None else length) + text + rest
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    try:
        with _opened(path, data) as found:
            for name in found:
                found.get_tensor(name)
    except AssayError as error:
        assert error.message
