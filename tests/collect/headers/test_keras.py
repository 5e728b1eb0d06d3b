"""Keras's archives and HDF5 files: samples that Keras wrote, files built by the specification, and hostile ones."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.headers import hdf5
from assay.collect.headers.interface import ModelFile
from assay.collect.headers.keras import KerasReader

SAMPLES = Path(__file__).parents[2] / "data/models/keras"


def read(path: Path) -> ModelFile:
    with open(path, "rb") as file:
        assert KerasReader().recognises(path.name, file.read(4096))
        file.seek(0)
        return KerasReader().read(path.name, file, path.stat().st_size)


def read_bytes(data: bytes, path: str = "model.keras") -> ModelFile:
    return KerasReader().read(path, io.BytesIO(data), len(data))


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", compression) as written:
        for name, data in members.items():
            written.writestr(name, data)
    return memory.getvalue()


def members(sample: str) -> dict[str, bytes]:
    with zipfile.ZipFile(SAMPLES / sample) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_an_archive_that_keras_wrote() -> None:
    found = read(SAMPLES / "trained.keras")
    assert found.format == "keras"
    assert found.architecture == "Sequential"
    assert found.parameters == 23  # what Keras counts; the optimiser's state is listed and not counted
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in found.tensors[:4]] == [
        ("layers/dense/vars/0", "f32", (4, 3)),
        ("layers/dense/vars/1", "f32", (3,)),
        ("layers/dense_1/vars/0", "f32", (3, 2)),
        ("layers/dense_1/vars/1", "f32", (2,)),
    ]
    assert found.metadata == {
        "keras_version": "3.15.1",
        "name": "tiny",
        "layers": "4",
        "layer_types": "Dense: 2, Dropout: 1, InputLayer: 1",
        "input_shape": "[None, 4]",
        "optimizer": "Adam",
        "loss": "mse",
        "training_state": "10",
    }
    assert not found.warnings


def test_a_legacy_file_that_keras_wrote() -> None:
    found = read(SAMPLES / "trained.h5")
    assert found.format == "hdf5"
    assert found.architecture == "Sequential"
    assert found.parameters == 23
    assert found.tensors[1].name == "model_weights/hidden/tiny/hidden/kernel"
    assert found.metadata["keras_version"] == "3.15.1"
    assert found.metadata["backend"] == "jax"
    assert not found.warnings


def test_weights_alone() -> None:
    found = read(SAMPLES / "trained.weights.h5")
    assert (found.format, found.architecture, found.parameters) == ("hdf5", None, 23)


def test_quantised() -> None:
    found = read(SAMPLES / "int8.keras")
    assert found.quantisation == "int8"
    assert found.tensors[0].dtype == "i8"


def test_compressed_weights_and_a_file_that_is_no_plain_file() -> None:
    plain = read(SAMPLES / "trained.keras")
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert read_bytes(archive(members("trained.keras"), compression)).tensors == plain.tensors


def test_without_h5py_the_configuration_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)  # what an import that fails leaves behind
    found = read(SAMPLES / "trained.keras")
    assert found.architecture == "Sequential"
    assert found.parameters is None
    assert found.warnings == ("trained.keras: model.weights.h5: the weights in HDF5 needs the extra 'keras'",)
    assert "extra 'keras'" in read(SAMPLES / "trained.h5").warnings[0]


def test_old_and_nested_configurations(tmp_path: Path) -> None:
    inner = {"class_name": "Functional", "config": {"layers": [{"class_name": "Lambda", "config": {}}]}}
    wrapped = {"class_name": "TimeDistributed", "config": {"layer": {"class_name": "Dense", "config": {}}}}
    own = {"class_name": "Mine", "module": None, "registered_name": "Custom>Mine", "config": None}
    config = {"class_name": "Sequential", "config": [inner, wrapped, own, 3, {"class_name": 7}]}
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
    found = read(tmp_path / "old.h5")
    assert found.metadata["layer_types"] == "?: 1, Dense: 1, Functional: 1, Lambda: 1, Mine: 1, TimeDistributed: 1"
    assert found.metadata["registered"] == "Custom>Mine"
    assert not found.warnings


def test_types_that_hdf5_lacks(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "types.h5", "w") as file:
        half = file.create_dataset("vars/0", data=np.zeros((2, 3), "uint16"))
        half.attrs["dtype"] = "bfloat16"
        file.create_dataset("vars/1", data=np.zeros(2, "float16"))
        file.create_dataset("vars/2", data=np.zeros(2, bool))
        file.create_dataset("vars/3", data=h5py.Empty("f4"))
        file.create_dataset("vars/4", data=["text"], dtype=h5py.string_dtype())
    found = read(tmp_path / "types.h5")
    assert [tensor.dtype for tensor in found.tensors] == ["bf16", "f16", "bool", "object"]
    assert "vars/3 is empty" in found.warnings[0]


def test_many_layers_and_a_user_block(tmp_path: Path) -> None:
    # Creation order tracked and more than eight members: links move to HDF5's dense storage.
    with h5py.File(tmp_path / "wide.h5", "w", userblock_size=512, track_order=True) as file:
        for i in range(300):
            file.create_dataset(f"layers/dense_{i}/vars/0", data=np.zeros((2, 2), "float32"))
    found = read(tmp_path / "wide.h5")
    assert len(found.tensors) == 300
    assert found.parameters == 1200


def test_links_out_of_the_file_are_told_of_and_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file.create_dataset("key", data=np.zeros(9))
    fifo = tmp_path / "fifo.h5"
    os.mkfifo(fifo)  # whoever opens it waits for ever
    (tmp_path / "raw.bin").write_bytes(bytes(72))
    with h5py.File(tmp_path / "links.h5", "w", libver="latest") as file:
        file["a"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/key")
        file["b"] = h5py.SoftLink("/c")
        file.create_dataset("c", (9,), "f8", external=[(str(tmp_path / "raw.bin"), 0, 72)])
        layout = h5py.VirtualLayout((9, 9), "f8", maxshape=(None, 9))
        source = h5py.VirtualSource(str(fifo), "key", (9, 9), maxshape=(None, 9))
        layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
        file.create_virtual_dataset("d", layout)
        file.create_group("e")["back"] = file["/"]
        file["f"] = h5py.ExternalLink(str(fifo), "/key")
    found = read(tmp_path / "links.h5")
    assert [tensor.name for tensor in found.tensors] == ["c"]
    assert sorted(warning.removeprefix("links.h5: ") for warning in found.warnings) == [
        "a is an external link and was not followed",
        "b is a soft link and was not followed",
        "c keeps its data outside of this file",
        "d is made of datasets in other files and was not read",
        "f is an external link and was not followed",
    ]


def test_groups_nested_too_deeply(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        file.create_dataset("/".join("g" * 100) + "/x", data=np.zeros(2))
    assert "nested too deeply" in read(tmp_path / "deep.h5").warnings[0]


def test_a_file_that_crashes_the_library() -> None:
    # Found by changing bytes at random: HDF5 in h5py 3.16 ends with a segmentation fault while it reads an attribute.
    changed = bytearray((SAMPLES / "trained.h5").read_bytes())
    source = random.Random(289)
    for _ in range(source.choice((1, 2, 4, 16, 64))):
        position = source.randrange(len(changed)) if source.random() < 0.5 else source.randrange(4096)
        changed[position] = source.choice((0, 255, source.randrange(256)))
    found = read_bytes(bytes(changed), "model.h5")
    assert found.format == "hdf5"
    assert found.parameters is None
    assert found.warnings


def test_an_answer_that_is_no_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The listing process may have been taken over: what it says is read like any other untrusted document.
    for script, says in (
        ("print('{\"tensors\": 7}')", "no usable answer"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed on it (SIGSEGV)"),
        ("raise SystemExit(3)", "exit code 3"),
    ):
        (tmp_path / "hdf5_child.py").write_text(script)
        monkeypatch.setattr(hdf5, "PROGRAM", str(tmp_path / "hdf5_child.py"))
        assert says in read(SAMPLES / "trained.h5").warnings[0]


def test_hostile_archives() -> None:
    good = members("trained.keras")
    assert "nested too deeply" in read_bytes(archive({**good, "config.json": b"[" * 100_000})).warnings[0]
    bomb = archive({**good, "config.json": b" " * (17 << 20)}, zipfile.ZIP_DEFLATED)
    assert "more than" in read_bytes(bomb).warnings[0]
    twice = read_bytes(archive({**good, "config.json": b'{"class_name": "A", "class_name": "B"}'}))
    assert "has the key 'class_name' twice" in twice.warnings[0]
    assert "no JSON object" in read_bytes(archive({**good, "config.json": b"[]"})).warnings[0]
    assert "has no weights" in read_bytes(archive({"config.json": b"{}", "metadata.json": b"{}"})).warnings[0]
    assert "broken zip" in read_bytes(b"PK\x03\x04" + bytes(100)).warnings[0]


def test_a_stored_member_that_reaches_beyond_the_archive() -> None:
    data = bytearray(archive(members("trained.keras")))
    entry = data.rindex(b"PK\x01\x02", 0, data.rindex(b"model.weights.h5"))
    struct.pack_into("<II", data, entry + 20, 1 << 30, 1 << 30)
    assert "reaches beyond the archive" in read_bytes(bytes(data)).warnings[0]


def test_other_archives_are_no_models() -> None:
    other = archive({"config.json": b'{"a": 1}', "data.txt": b""})
    assert not KerasReader().recognises("x.zip", other[:4096])
    assert KerasReader().recognises("x.bin", archive(members("trained.keras"))[:4096])


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_change_of_bytes_is_a_traceback(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(["trained.keras", "trained.h5", "int8.keras"]))
    changed = bytearray((SAMPLES / sample).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(changed[: data.draw(st.integers(1, len(changed)))])
    KerasReader().recognises(sample, cut[:4096])
    assert read_bytes(cut, sample).path == sample
