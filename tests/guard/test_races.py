"""A process that never rests swaps the file under every loader: what is loaded is what was signed, or nothing is."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest
import safetensors.numpy
import torch

import assay.load
from assay.errors import AssayError

VALUE = numpy.arange(3000, dtype=numpy.float32)
OTHER = VALUE + 1


def _onnx(path: Path, value: Any) -> None:
    graph = onnx.helper.make_graph([], "g", [], [], [onnx.numpy_helper.from_array(value, "w")])
    onnx.save_model(onnx.helper.make_model(graph), str(path))


def _onnx_value(model: Any) -> Any:
    return onnx.numpy_helper.to_array(model.graph.initializer[0])


Load = Callable[..., Any]
LOADERS: dict[str, tuple[Load, Callable[[Path, Any], Any], Callable[[Any], Any]]] = {
    "pickle": (assay.load.pickle, lambda path, value: path.write_bytes(pickle.dumps(value)), lambda found: found),
    "joblib": (assay.load.joblib, lambda path, value: joblib.dump(value, path), lambda found: found),
    "numpy": (
        assay.load.numpy,
        lambda path, value: path.write_bytes(_npy(value)),
        lambda found: found,
    ),
    "torch": (
        assay.load.torch,
        lambda path, value: torch.save(torch.from_numpy(value) if isinstance(value, numpy.ndarray) else value, path),
        lambda found: found.numpy(),
    ),
    "safetensors": (
        assay.load.safetensors,
        lambda path, value: safetensors.numpy.save_file({"w": value}, path),
        lambda found: found["w"].numpy().copy(),
    ),
    "onnx": (assay.load.onnx, _onnx, _onnx_value),
}


def _npy(value: Any) -> bytes:
    import io

    file = io.BytesIO()
    numpy.save(file, value, allow_pickle=True)
    return file.getvalue()


SWAPS = """
import mmap, os, sys
path, good, evil, way = sys.argv[1:]
bytes_of = [open(name, "rb").read() for name in (evil, good)]
size = os.path.getsize(good)
def clear():
    if os.path.lexists(path + ".tmp"):
        os.unlink(path + ".tmp")
def in_place(data):
    with open(path, "r+b") as file:
        file.write(data[:size].ljust(size, b"\\0"))
def renamed(data):
    with open(path + ".tmp", "wb") as file:
        file.write(data)
    os.rename(path + ".tmp", path)
def linked(data):
    clear()
    os.symlink(evil if data is bytes_of[0] else good, path + ".tmp")
    os.rename(path + ".tmp", path)
def hard(data):
    clear()  # of two names of one file, rename(2) leaves both
    os.link(evil if data is bytes_of[0] else good, path + ".tmp")
    os.rename(path + ".tmp", path)
def truncated(data):
    os.truncate(path, 10)
    in_place(data)
def sparse(data):
    in_place(data)
    os.truncate(path, size + 100_000)
    os.truncate(path, size)
def mapped(data):
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), size) as mapping:
        mapping[:] = data[:size].ljust(size, b"\\0")
def special(data):
    clear()
    if data is bytes_of[0]:
        os.mkfifo(path + ".tmp")
        os.rename(path + ".tmp", path)
    else:
        renamed(data)
print("ready", flush=True)
while True:
    for data in bytes_of:
        globals()[way](data)
"""


@contextmanager
def _swapping(path: Path, good: Path, evil: Path, way: str) -> Iterator[None]:
    command = [sys.executable, "-c", SWAPS, str(path), str(good), str(evil), way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as attacker:
        assert attacker.stdout is not None and attacker.stdout.readline() == b"ready\n"
        try:
            yield
            assert attacker.poll() is None, attacker.stderr and attacker.stderr.read().decode()
        finally:
            attacker.kill()


WAYS = ["in_place", "renamed", "linked", "hard", "truncated", "sparse", "mapped", "special"]


@pytest.mark.parametrize("name", LOADERS)
def test_a_process_that_never_rests(place: Any, name: str) -> None:
    load, write, value_of = LOADERS[name]
    good, evil, path = place.root / "good", place.root / "evil", place.root / f"m.{name}"
    write(good, VALUE)
    write(path, VALUE)
    place.sign(path)
    assert numpy.array_equal(value_of(load(path, how=place.how)), VALUE)
    if name in ("safetensors", "onnx"):
        write(evil, OTHER)
    else:
        write(evil, place.attack() if name != "numpy" else numpy.array([place.attack(), 1], dtype=object))
    for way in WAYS if name == "pickle" else ("in_place", "renamed", "special"):
        path.unlink()
        path.write_bytes(good.read_bytes())
        with _swapping(path, good, evil, way):
            for _ in range(3):
                try:
                    found = load(path, how=place.how)
                except AssayError:
                    continue
                assert numpy.array_equal(value_of(found), VALUE), (name, way)
    assert not place.marker.exists()


class Reading:
    """What transformers' classes are to the loader: something with `from_pretrained` that opens files by their path."""

    @staticmethod
    def from_pretrained(path: str, *, trust_remote_code: bool) -> dict[str, bytes]:
        assert not trust_remote_code
        found = {}
        for folder, _, names in os.walk(path):
            for name in names:
                full = os.path.join(folder, name)
                with open(full, "rb") as file:
                    found[os.path.relpath(full, path)] = file.read()
        return found


FILES = {"config.json": b'{"model_type": "bert"}', "nested/merges.txt": b"a b\n"}


def _model(folder: Path, value: Any) -> Path:
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    safetensors.numpy.save_file({"w": value}, folder / "model.safetensors")
    return folder


FOLDERS = """
import os, sys
path, other = sys.argv[1:]
print("ready", flush=True)
while True:
    os.rename(path, path + ".away")
    os.rename(other, path)
    os.rename(path, other)
    os.rename(path + ".away", path)
"""


def test_a_model_folder_that_is_swapped(place: Any) -> None:
    folder, other = _model(place.root / "model", VALUE), _model(place.root / "other", OTHER)
    place.sign(folder)
    wanted = Reading.from_pretrained(str(folder), trust_remote_code=False)
    assert assay.load.transformers(folder, cls=Reading, how=place.how) == wanted
    command = [sys.executable, "-c", FOLDERS, str(folder), str(other)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as attacker:
        assert attacker.stdout is not None and attacker.stdout.readline() == b"ready\n"
        try:
            for _ in range(25):
                try:
                    found = assay.load.transformers(str(folder), cls=Reading, how=place.how)
                except AssayError:
                    continue
                assert found == wanted
        finally:
            attacker.kill()


def test_a_folder_that_brings_code(place: Any) -> None:
    folder = _model(place.root / "model", VALUE)
    (folder / "config.json").write_text('{"model_type": "bert", "auto_map": {"AutoModel": "modeling.Evil"}}')
    (folder / "modeling.py").write_text(f"import os\nos.mkdir({str(place.marker)!r})\n")
    place.sign(folder)
    with pytest.raises(AssayError, match="auto_map"):
        assay.load.transformers(folder, cls=Reading, how=place.how)
    assert not place.marker.exists()


@pytest.mark.parametrize("what", ["fifo", "device", "link to device", "folder", "socket"])
def test_what_is_no_file_is_refused_at_once(place: Any, what: str) -> None:
    import socket

    path = place.root / "m.pkl"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "link to device":
        path.symlink_to("/dev/zero")
    elif what == "device":
        path = Path("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    for load in (assay.load.pickle, assay.load.torch, assay.load.safetensors, assay.load.onnx):
        with pytest.raises(AssayError):
            load(path, how=place.how)


def test_hdf5_resolves_links_and_is_copied_instead(place: Any) -> None:
    import h5py

    from assay.guard.load.folders import admitted_file

    path = place.root / "m.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["w"] = VALUE
    place.sign(path)
    with admitted_file(assay.load.guard_of(place.how), path) as held:
        path.write_bytes(b"something else")
        with h5py.File(held) as file:
            assert numpy.array_equal(file["w"][:], VALUE)
        assert os.path.basename(held) == path.name
    assert not os.path.exists(held)
