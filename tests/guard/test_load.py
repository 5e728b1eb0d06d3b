"""Files of real libraries: loaded when somebody trusted vouches for them and they run nothing, else not at all."""

from __future__ import annotations

import datetime
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest
import safetensors.torch
import torch
from sklearn.linear_model import LogisticRegression

import assay
import assay.load
from assay.api.signers import SignWith
from assay.config import Config
from assay.errors import AssayError, DocumentError, RejectedError, UndecidedError, UsageError
from assay.evidence import keys
from assay.guard.load import pickles
from assay.load import Loading


def _model() -> LogisticRegression:
    return LogisticRegression().fit([[0.0], [1.0], [2.0]], [0, 1, 1])


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, torch.Tensor):
        return bool(torch.equal(found, wanted))
    if isinstance(wanted, numpy.ndarray):
        return type(found) is numpy.ndarray and found.dtype == wanted.dtype and found.tolist() == wanted.tolist()
    if isinstance(wanted, LogisticRegression):
        return bool((found.coef_ == wanted.coef_).all())
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(found[name], wanted[name]) for name in wanted)
    return bool(found == wanted)


STATE = {"weight": torch.arange(12.0).reshape(3, 4), "bias": torch.zeros(3, dtype=torch.bfloat16)}
MODEL = _model()
PLAIN = {"threshold": 0.5, "labels": ["no", "yes"], "day": datetime.date(2026, 1, 1)}
FORTRAN = numpy.asfortranarray(numpy.arange(6).reshape(2, 3))
OBJECTS = numpy.array([[1, "a"], [None, 2.5]], dtype=object)

CASES: dict[str, tuple[Callable[..., Any], Callable[[Path], Any], Any]] = {
    "state.pt": (assay.load.torch, lambda path: torch.save(STATE, path), STATE),
    "old.pt": (
        assay.load.torch,
        lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False),
        STATE,
    ),
    "model.joblib": (assay.load.joblib, lambda path: joblib.dump(MODEL, path), MODEL),
    "model.joblib.gz": (assay.load.joblib, lambda path: joblib.dump(MODEL, path, compress=("gzip", 3)), MODEL),
    "objects.joblib": (assay.load.joblib, lambda path: joblib.dump({"x": OBJECTS, "y": FORTRAN}, path), None),
    "model.pkl": (assay.load.pickle, lambda path: path.write_bytes(pickle.dumps(MODEL)), MODEL),
    "plain.pkl": (assay.load.pickle, lambda path: path.write_bytes(pickle.dumps(PLAIN)), PLAIN),
    "old.pkl": (assay.load.pickle, lambda path: path.write_bytes(pickle.dumps(PLAIN, protocol=0)), PLAIN),
    "a.npy": (assay.load.numpy, lambda path: numpy.save(path, FORTRAN), FORTRAN),
    "objects.npy": (assay.load.numpy, lambda path: numpy.save(path, OBJECTS, allow_pickle=True), OBJECTS),
    "a.npz": (
        assay.load.numpy,
        lambda path: numpy.savez_compressed(path, x=FORTRAN, y=OBJECTS),
        {"x": FORTRAN, "y": OBJECTS},
    ),
    "m.safetensors": (assay.load.safetensors, lambda path: safetensors.torch.save_file(STATE, path), STATE),
}


@pytest.mark.parametrize("name", CASES)
def test_honest_files_load_as_their_libraries_load_them(place: Any, name: str) -> None:
    load, write, wanted = CASES[name]
    path = place.root / name
    write(path)
    with pytest.raises(UndecidedError):
        load(path, how=place.how)
    place.sign(path)
    found = load(path, how=place.how)
    assert _same(found, {"x": OBJECTS, "y": FORTRAN} if wanted is None else wanted)
    assert _same(load(path, how=place.cached()), found)
    # Any other bytes are refused, whichever they are.
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for how in (place.how, place.cached()):
        with pytest.raises(RejectedError, match="is not loaded"):
            load(path, how=how)


def test_another_signer_does_not_count(place: Any) -> None:
    path = place.root / "x.pkl"
    path.write_bytes(pickle.dumps(PLAIN))
    place.sign(path)
    other = place.root / "other.pub"
    other.write_bytes(keys.generate().public.pem)
    with pytest.raises(RejectedError):
        assay.load.pickle(path, how=replace(place.how, trust=replace(place.how.trust, keys=(str(other),))))


def _attacks(place: Any) -> dict[str, Callable[[Path], Any]]:
    attack = place.attack()
    objects = numpy.array([attack, 1], dtype=object)
    return {
        "pickle": lambda path: path.write_bytes(pickle.dumps(attack)),
        "torch": lambda path: torch.save({"w": attack}, path),
        "joblib": lambda path: joblib.dump([MODEL, attack], path, compress=3),
        "joblib objects": lambda path: joblib.dump({"x": objects}, path),
        "numpy": lambda path: path.with_suffix(".npy").write_bytes(_npy(objects)) and path.write_bytes(_npy(objects)),
    }


def _npy(array: Any) -> bytes:
    import io

    file = io.BytesIO()
    numpy.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["pickle", "torch", "joblib", "joblib objects", "numpy"])
def test_a_signed_attack_does_not_run(place: Any, kind: str) -> None:
    """A signer can be careless: the signature says who, the scan says what."""
    path = place.root / "model.bin"
    _attacks(place)[kind](path)
    place.sign(path)
    load = getattr(assay.load, kind.split()[0])
    with pytest.raises(RejectedError, match="is not loaded"):
        load(path, how=place.how)
    with pytest.raises(RejectedError):
        load(path, how=place.cached())
    assert not place.marker.exists()


def test_what_is_not_listed_needs_to_be_allowed_by_name(place: Any) -> None:
    path = place.root / "own.pkl"
    data = b"\x80\x04\x95\x27\x00\x00\x00\x00\x00\x00\x00\x8c\x0bwave_unkown\x94\x8c\x05Thing\x94\x93\x94."
    path.write_bytes(data.replace(b"\x27", bytes([len(data) - 11]), 1))
    place.sign(path)
    with pytest.raises(RejectedError, match="unknown"):
        assay.load.pickle(path, how=place.how)
    with pytest.raises(DocumentError, match="wave_unkown"):  # allowed, and not installed
        assay.load.pickle(path, allow=["wave_unkown.Thing"], how=place.how)
    for name in ("os.system", "builtins.eval", "posix.system"):
        with pytest.raises(UsageError, match="cannot be allowed"):
            assay.load.pickle(path, allow=[name], how=place.how)
    with pytest.raises(UsageError, match="not the full name"):
        assay.load.pickle(path, allow=["*"], how=place.how)


def _looked_through(place: Any, path: Path, **options: Any) -> list[str]:
    """Files that were scanned on the way of a load."""
    guard = assay.load.guard_of(replace(place.how, **options))
    looked: list[str] = []

    def inspect(target: Any, rules: Any) -> Any:
        looked.extend(target.names)
        return guard.inspect(target, rules)

    assert pickles.pickle(replace(guard, inspect=inspect), path) == PLAIN
    return looked


def test_a_signed_scan_is_not_made_again(place: Any) -> None:
    path = place.root / "m.pkl"
    path.write_bytes(pickle.dumps(PLAIN))
    place.sign(path)

    def scan(key: Path) -> None:
        choice = SignWith(key=str(key))
        made = assay.scan(str(path), output="attest", signer_choice=choice, directory=place.store, config=Config())
        assert made.exit_code == 0

    assert _looked_through(place, path) == ["m.pkl"]
    other = keys.generate()
    (place.root / "other.pem").write_bytes(other.pem(None))
    scan(place.root / "other.pem")
    assert _looked_through(place, path) == ["m.pkl"]  # somebody nobody trusts
    scan(place.root / "key.pem")
    assert _looked_through(place, path) == []
    path.write_bytes(pickle.dumps(PLAIN, protocol=3))
    place.sign(path)
    assert _looked_through(place, path) == ["m.pkl"]  # other bytes


def test_what_an_earlier_load_looked_through(place: Any) -> None:
    path = place.root / "m.pkl"
    path.write_bytes(pickle.dumps(PLAIN))
    place.sign(path)
    assert _looked_through(place, path) == ["m.pkl"]  # without the cache nothing is remembered
    assert _looked_through(place, path, trust_cache=True) == ["m.pkl"]
    assert _looked_through(place, path, trust_cache=True) == []
    assert _looked_through(place, path) == ["m.pkl"]
    assert _looked_through(place, path, trust_cache=True, allow=("a.B",)) == ["m.pkl"]  # other rules
    path.write_bytes(pickle.dumps(place.attack()))
    place.sign(path)
    for _ in range(2):
        with pytest.raises(RejectedError, match="is not loaded"):
            assay.load.pickle(path, how=place.cached())
    assert not place.marker.exists()


def test_a_signed_scan_that_found_something_helps_nobody(place: Any) -> None:
    path = place.root / "m.pkl"
    path.write_bytes(pickle.dumps(place.attack()))
    place.sign(path)
    choice = SignWith(key=str(place.root / "key.pem"))
    assay.scan(str(path), output="attest", signer_choice=choice, directory=place.store, config=Config())
    with pytest.raises(RejectedError, match="is not loaded"):
        assay.load.pickle(path, how=place.how)
    assert not place.marker.exists()


def test_torchscript_is_a_program(place: Any) -> None:
    class Module(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    path = place.root / "script.pt"
    torch.jit.save(torch.jit.trace(Module(), torch.zeros(2)), str(path))
    place.sign(path)
    with pytest.raises(RejectedError):
        assay.load.torch(path, how=place.how)


def test_weights_only_adds_pytorchs_own_list(place: Any) -> None:
    path = place.root / "m.pt"
    torch.save(STATE, path)
    place.sign(path)
    assert _same(assay.load.torch(path, weights_only=True, how=place.how), STATE)


def test_tensors_outlive_the_load_and_are_private(place: Any) -> None:
    path = place.root / "m.pt"
    torch.save(STATE, path)
    place.sign(path)
    before = path.read_bytes()
    found = assay.load.torch(path, how=place.how)
    found["weight"] += 1
    path.write_bytes(bytes(len(before)))
    assert torch.equal(found["weight"], STATE["weight"] + 1)


def test_a_file_of_a_signed_folder(place: Any) -> None:
    folder = place.root / "model"
    folder.mkdir()
    (folder / "m.pkl").write_bytes(pickle.dumps(PLAIN))
    (folder / "other.bin").write_bytes(b"x" * 100)
    place.sign(folder)
    how = place.how
    with pytest.raises(UndecidedError):
        assay.load.pickle(folder / "m.pkl", how=how)
    assert assay.load.pickle(folder / "m.pkl", target=str(folder), how=how) == PLAIN
    (folder / "other.bin").write_bytes(b"y" * 100)  # not what is loaded
    assert assay.load.pickle(folder / "m.pkl", target=f"dir:{folder}", how=how) == PLAIN
    (folder / "m.pkl").write_bytes(pickle.dumps(PLAIN | {"threshold": 0.75}))
    with pytest.raises(RejectedError):
        assay.load.pickle(folder / "m.pkl", target=str(folder), how=how)
    with pytest.raises(AssayError, match="does not lie in"):
        assay.load.pickle(place.root / "m.pkl", target=str(folder), how=how)


def test_a_policy_decides_about_the_whole_folder(place: Any) -> None:
    policy = place.root / "policy.yml"
    policy.write_text(
        """
assay-policy: 1
id: signed
controls:
- id: c
  rules:
  - {id: signed, require: {evidence: model-signature, signed-by: trusted}}
  # Almost the gate 'load', at which nobody but assay asks: for 'assay policy check' to tell, no reason not to load.
  - {id: scanned, when: {gate: upload}, require: {evidence: scan}}
"""
    )
    folder = place.root / "model"
    folder.mkdir()
    (folder / "m.pkl").write_bytes(pickle.dumps(PLAIN))
    (folder / "other.bin").write_bytes(b"x" * 100)
    place.sign(folder)
    how = replace(place.how, policy=str(policy))
    assert assay.load.pickle(folder / "m.pkl", target=str(folder), how=how) == PLAIN
    (folder / "other.bin").write_bytes(b"y" * 100)
    with pytest.raises(AssayError, match="is not loaded"):
        assay.load.pickle(folder / "m.pkl", target=str(folder), how=how)


def test_onnx_with_its_external_data(place: Any) -> None:
    weights = onnx.numpy_helper.from_array(numpy.arange(400, dtype=numpy.float32), "w")
    graph = onnx.helper.make_graph([], "g", [], [], [weights])
    model = onnx.helper.make_model(graph)
    folder = place.root / "model"
    folder.mkdir()
    onnx.save_model(model, str(folder / "m.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0)
    place.sign(folder)
    place.sign(folder / "m.onnx", signature=str(place.root / "m.sig"))
    with pytest.raises(DocumentError, match="weights in other files"):
        assay.load.onnx(folder / "m.onnx", how=place.how)
    found = assay.load.onnx(folder / "m.onnx", target=str(folder), how=place.how)
    assert onnx.numpy_helper.to_array(found.graph.initializer[0]).tolist() == list(range(400))
    (folder / "w.bin").write_bytes(bytes(1600))
    with pytest.raises(RejectedError):
        assay.load.onnx(folder / "m.onnx", target=str(folder), how=place.how)


def test_onnx_that_reaches_out_of_its_folder(place: Any) -> None:
    folder = place.root / "model"
    folder.mkdir()
    (place.root / "secret").write_bytes(bytes(4))
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    (folder / "m.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    place.sign(folder)
    with pytest.raises(RejectedError):
        assay.load.onnx(folder / "m.onnx", target=str(folder), how=place.how)


def test_two_arrays_of_one_name(place: Any) -> None:
    path = place.root / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", _npy(numpy.arange(3)))
        with pytest.warns(UserWarning):
            archive.writestr("x.npy", _npy(numpy.arange(4)))
    place.sign(path)
    with pytest.raises(AssayError):
        assay.load.numpy(path, how=place.how)


def test_what_cannot_be_loaded_says_so_in_a_sentence(place: Any) -> None:
    with pytest.raises(AssayError, match="no-such"):
        assay.load.pickle(place.root / "no-such.pkl", how=place.how)
    with pytest.raises(AssayError, match="folder"):
        assay.load.pickle(place.root, how=place.how)
    with pytest.raises(UsageError, match="framework"):
        assay.load.safetensors(place.root / "x", framework="jax", how=place.how)
    with pytest.raises(RejectedError, match="trust_remote_code"):
        assay.load.transformers(place.root, cls=object, trust_remote_code=True, how=place.how)
    assert Loading().trust_cache is False
