"""Ways around the patched functions: each one ends at the gate, or is one of those that docs/load.md owns up to."""

from __future__ import annotations

import gzip
import pickle
import shelve
from typing import Any

import cloudpickle
import joblib
import numpy
import torch

from guard.processes import Process

WAYS = """
import importlib, io, os, shelve, sys
root, marker = {root!r}, {marker!r}
payload = open(root + "/payload.pkl", "rb").read()
def fresh():
    "The C module anew, beside the one that was there."
    del sys.modules["_pickle"]
    return importlib.import_module("_pickle")
attempt("C module anew", lambda: fresh().loads(payload))
def module_anew():
    for name in ("pickle", "_pickle"):
        sys.modules.pop(name, None)
    return importlib.import_module("pickle").loads(payload)
attempt("module anew", module_anew)
def python_only():
    sys.modules["_pickle"] = None
    sys.modules.pop("pickle", None)
    try:
        return importlib.import_module("pickle").loads(payload)
    finally:
        del sys.modules["_pickle"], sys.modules["pickle"]
attempt("pure Python", python_only)
import pickle
attempt("original", lambda: pickle.load.__assay_original__(io.BytesIO(payload)))
attempt("Unpickler", lambda: pickle.Unpickler(io.BytesIO(payload)).load())
class Quiet(pickle.Unpickler):
    def find_class(self, module, name):
        return pickle.Unpickler.find_class(self, module, name)
attempt("subclass", lambda: Quiet(open(root + "/payload.pkl", "rb")).load())
attempt("out of band", lambda: pickle.load(io.BytesIO(payload), buffers=[]))
attempt("descriptor", lambda: pickle.load(open(os.open(root + "/payload.pkl", os.O_RDONLY), "rb")))
def renamed():
    file = open(root + "/signed.pkl", "rb")
    os.rename(root + "/payload2.pkl", root + "/signed.pkl")
    return pickle.load(file)
attempt("swapped after opening", renamed)
def extension():
    import copyreg
    copyreg.add_extension("os", "mkdir", 200)
    return pickle.loads(b"\\x80\\x02\\x82\\xc8" + pickle.dumps((marker,), 2)[2:-1] + b"R.")
attempt("extension registry", extension)
def shelf():
    with shelve.open(root + "/shelf") as found:
        return found["x"]
attempt("shelve", shelf)
import multiprocessing, multiprocessing.reduction
attempt("multiprocessing", lambda: multiprocessing.reduction.ForkingPickler.loads(payload))
def piped():
    ours, theirs = multiprocessing.Pipe()
    ours.send_bytes(payload)
    return theirs.recv()
attempt("pipe", piped)
import pandas
attempt("pandas", lambda: pandas.read_pickle(root + "/payload.pkl"))
attempt("pandas gz", lambda: pandas.read_pickle(root + "/payload.pkl.gz"))
import cloudpickle
attempt("cloudpickle", lambda: cloudpickle.load(open(root + "/payload.pkl", "rb")))
attempt("cloudpickle loads", lambda: cloudpickle.loads(payload))
attempt("cloudpickle function", lambda: cloudpickle.loads(open(root + "/function.pkl", "rb").read())())
import torch, torch.hub
attempt("torch legacy", lambda: torch.serialization._legacy_load(open(root + "/old.pt", "rb"), None, pickle))
attempt("torch without weights_only", lambda: torch.load(root + "/attack.pt", weights_only=False))
attempt("torch original", lambda: torch.load.__assay_original__(root + "/attack.pt", weights_only=False))
attempt("torch hub", lambda: torch.hub.load(root + "/hub", "entry", source="local"))
import numpy
attempt("numpy format", lambda: numpy.lib.format.read_array(open(root + "/o.npy", "rb"), allow_pickle=True))
attempt("numpy member", lambda: numpy.load(root + "/o.npz", allow_pickle=True)["x"])
import joblib, joblib.numpy_pickle
attempt("joblib inner", lambda: joblib.numpy_pickle._unpickle(open(root + "/o.joblib", "rb"), False))
done()
"""


def test_every_way_ends_at_the_gate(place: Any) -> None:
    root = place.root
    payload = pickle.dumps(place.attack())
    for name in ("payload.pkl", "payload2.pkl"):
        (root / name).write_bytes(payload)
    (root / "payload.pkl.gz").write_bytes(gzip.compress(payload))
    (root / "function.pkl").write_bytes(cloudpickle.dumps(lambda: __import__("os").mkdir(str(place.marker))))
    (root / "signed.pkl").write_bytes(pickle.dumps([1]))
    for name in ("payload.pkl", "signed.pkl"):
        place.sign(root / name)
    with shelve.open(str(root / "shelf")) as shelf:
        shelf["x"] = place.attack()
    torch.save(place.attack(), root / "attack.pt")
    torch.save(place.attack(), root / "old.pt", _use_new_zipfile_serialization=False)
    objects = numpy.array([place.attack(), 1], dtype=object)
    numpy.save(root / "o.npy", objects, allow_pickle=True)
    numpy.savez(root / "o.npz", x=objects)
    joblib.dump([place.attack()], root / "o.joblib")
    (root / "hub").mkdir()
    (root / "hub" / "hubconf.py").write_text(f"import os\ndef entry(): os.mkdir({str(place.marker)!r})\n")

    found = Process(place).run(WAYS.format(root=str(root), marker=str(place.marker)), "--no-imports")
    assert found.pop("swapped after opening") == "[1]"  # what was open, and signed, whatever has its name now
    refused = ("RejectedError", "UndecidedError", "UnpicklingError: ")
    assert {name: said for name, said in found.items() if not said.startswith(refused)} == {}
    assert not place.marker.exists()
    assert len(found) == 24
