"""Whole processes under protection: what is not vouched for is neither loaded nor imported."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sysconfig
import time
import venv
from pathlib import Path
from typing import Any

import joblib
import numpy
import pytest
import safetensors.torch
import torch

import assay
from assay.api.signers import SignWith
from assay.cli import protect
from assay.errors import UsageError
from assay.guard.protect import pth
from assay.guard.protect.interface import Mode
from guard.processes import LIBRARIES, Process

LOADS = """
import io, pickle, _pickle
root, marker = {root!r}, {marker!r}
payload = open(root + "/payload.pkl", "rb").read()
class Own(pickle.Unpickler):
    def find_class(self, module, name):
        return super().find_class(module, name)
class Python(pickle._Unpickler):
    pass
attempt("loads", lambda: pickle.loads(payload))
attempt("C loads", lambda: _pickle.loads(payload))
attempt("subclass", lambda: Own(io.BytesIO(payload)).load())
attempt("python", lambda: Python(io.BytesIO(payload)).load())
attempt("stream", lambda: pickle.load(io.BytesIO(payload)))
pickle.loads = _pickle.loads
attempt("put back", lambda: pickle.loads(payload))
attempt("file", lambda: pickle.load(open(root + "/payload.pkl", "rb")))
attempt("unsigned", lambda: pickle.load(open(root + "/unsigned.pkl", "rb")))
def two():
    with open(root + "/two.pkl", "rb") as file:
        return pickle.load(file), pickle.load(file)
attempt("two", two)
attempt("plain", lambda: pickle.loads(pickle.dumps([1, {{"a": (2, None)}}])))
import torch, joblib, numpy, safetensors, safetensors.torch
attempt("torch", lambda: torch.load(root + "/signed.pt")["w"].sum().item())
attempt("torch stream", lambda: torch.load(io.BytesIO(open(root + "/signed.pt", "rb").read()))["w"].sum().item())
attempt("torch unsigned", lambda: torch.load(root + "/unsigned.pt"))
attempt("torch unsigned stream", lambda: torch.load(io.BytesIO(open(root + "/unsigned.pt", "rb").read())))
attempt("joblib", lambda: joblib.load(root + "/signed.joblib"))
attempt("joblib unsigned", lambda: joblib.load(root + "/unsigned.joblib"))
attempt("joblib attack", lambda: joblib.load(root + "/attack.joblib"))
attempt("numpy numbers", lambda: numpy.load(root + "/numbers.npy").tolist())
attempt("numpy unsigned", lambda: numpy.load(root + "/unsigned.npy", allow_pickle=True))
attempt("safetensors", lambda: safetensors.torch.load_file(root + "/signed.safetensors")["w"].sum().item())
attempt("safetensors unsigned", lambda: safetensors.torch.load_file(root + "/unsigned.safetensors"))
def lazily(name):
    with safetensors.safe_open(root + name, "pt") as file:
        return file.get_tensor("w").sum().item()
attempt("safe_open", lambda: lazily("/signed.safetensors"))
attempt("safe_open unsigned", lambda: lazily("/unsigned.safetensors"))
done()
"""


@pytest.fixture
def loads(place: Any) -> str:
    """Files, signed and not, and a script that loads them in every way."""
    root = place.root
    (root / "payload.pkl").write_bytes(pickle.dumps(place.attack()))
    (root / "unsigned.pkl").write_bytes(pickle.dumps([1]))
    (root / "two.pkl").write_bytes(pickle.dumps(["two"]))
    for name, value in (("signed", 2.0), ("unsigned", 3.0)):
        torch.save({"w": torch.full((3,), value)}, root / f"{name}.pt")
        joblib.dump([value], root / f"{name}.joblib")
        safetensors.torch.save_file({"w": torch.full((3,), value)}, root / f"{name}.safetensors")
    joblib.dump([place.attack()], root / "attack.joblib")
    numpy.save(root / "numbers.npy", numpy.arange(3))
    numpy.save(root / "unsigned.npy", numpy.array([1, None], dtype=object), allow_pickle=True)
    for name in ("payload.pkl", "two.pkl", "signed.pt", "signed.joblib", "attack.joblib", "signed.safetensors"):
        place.sign(root / name)
    return LOADS.format(root=str(root), marker=str(place.marker))


def test_loads_are_judged(place: Any, loads: str) -> None:
    found = Process(place).run(loads, "--no-imports")
    for name in ("loads", "C loads", "subclass", "python", "stream", "put back"):
        assert found[name].startswith("RejectedError: a pickle needs"), (name, found[name])
    for name in ("file", "joblib attack"):
        assert found[name].startswith("RejectedError"), (name, found[name])
    for name in (
        "unsigned",
        "torch unsigned",
        "torch unsigned stream",
        "joblib unsigned",
        "numpy unsigned",
        "safetensors unsigned",
        "safe_open unsigned",
    ):
        assert found[name].startswith("UndecidedError"), (name, found[name])
    assert found["two"].startswith(("EOFError", "DocumentError"))
    assert found["plain"] == "[1, {'a': (2, None)}]"
    assert found["torch"] == found["torch stream"] == found["safetensors"] == found["safe_open"] == "6.0"
    assert found["joblib"] == "[2.0]" and found["numpy numbers"] == "[0, 1, 2]"
    assert not place.marker.exists()


def test_warn_and_record_stop_nothing_and_tell(place: Any) -> None:
    (place.root / "unsigned.pkl").write_bytes(pickle.dumps([1]))
    text = f"import pickle\nattempt('x', lambda: pickle.load(open({str(place.root / 'unsigned.pkl')!r}, 'rb')))\ndone()"
    warned = Process(place).finish(text, "--no-imports", "--mode", "warn")
    assert json.loads(warned.stdout) == {"x": "[1]"} and "not vouched for" in warned.stderr
    record = place.root / "record.jsonl"
    found = Process(place).run(text, "--no-imports", "--mode", "record", "--record", str(record))
    assert found == {"x": "[1]"}
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [(line["kind"], line["stopped"]) for line in lines] == [("load", False)]


@pytest.fixture
def environment(place: Any) -> Process:
    """A virtual environment with one attested package."""
    root = place.root / "venv"
    venv.create(root, with_pip=False, symlinks=True)
    site = next(root.glob("lib/python3*/site-packages"))
    package = site / "honest"
    package.mkdir()
    (package / "__init__.py").write_text("from honest.inner import value\n")
    (package / "inner.py").write_text("value = 42\n")
    (package / "late.py").write_text("value = 43\n")
    info = site / "honest-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: honest\nVersion: 1.0\n")
    names = ["honest/__init__.py", "honest/inner.py", "honest/late.py", "honest-1.0.dist-info/METADATA"]
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names) + "honest-1.0.dist-info/RECORD,,\n")
    choice = SignWith(key=str(place.root / "key.pem"))
    assay.bom(f"env:{root}", format="attest", signer_choice=choice, directory=place.store, config=place.how.config)
    made = Process(place, str(root / "bin" / "python"))
    place.site = site
    return made


IMPORTS = """
import importlib, importlib.machinery, importlib.util, py_compile, types
site, extension = {site!r}, {extension!r}
def value(name):
    return importlib.import_module(name).value
def by_path(path):
    spec = importlib.util.spec_from_file_location("other", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.value
attempt("attested", lambda: value("honest"))
attempt("planted", lambda: value("planted"))
attempt("planted inside", lambda: value("honest.planted"))
attempt("beside the script", lambda: value("beside"))
attempt("changed", lambda: value("honest.late"))
attempt("by path", lambda: by_path(site + "/planted.py"))
attempt("compiled", lambda: value("compiled"))
attempt("extension", lambda: importlib.import_module("planted_extension"))
def directly():
    loader = importlib.machinery.ExtensionFileLoader("audioop", extension)
    return loader.create_module(importlib.util.spec_from_file_location("audioop", extension, loader=loader))
attempt("extension directly", directly)
def linked():
    import ctypes
    return ctypes.CDLL(extension)
attempt("ctypes", linked)
attempt("standard library", lambda: importlib.import_module("wave").__name__)
sys.path.insert(0, {link!r})
attempt("by a link", lambda: value("planted"))
attempt("not stoppable", lambda: sys.modules.setdefault("trick", types.SimpleNamespace(value=1)) and value("trick"))
done()
"""


def _imports(place: Any) -> str:
    site = place.site
    for name in ("planted.py", "honest/planted.py"):
        (site / name).write_text("value = 'evil'\n")
    (place.root / "scripts").mkdir(exist_ok=True)
    (place.root / "scripts" / "beside.py").write_text("value = 'mine'\n")
    (site / "honest" / "late.py").write_text("value = 44\n")
    import py_compile

    py_compile.compile(str(site / "planted.py"), cfile=str(site / "compiled.pyc"))
    # Bytecode that says it was made from the honest source.
    source = site / "honest" / "inner.py"
    status = source.stat()
    honest = source.read_text()
    source.write_text("value = 13\n")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    py_compile.compile(str(source))
    source.write_text(honest)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    dynamic = Path(os.__file__).parent / "lib-dynload"
    extension = site / f"planted_extension{suffix}"
    extension.write_bytes((dynamic / f"audioop{suffix}").read_bytes())
    link = place.root / "link"
    link.symlink_to(site)
    return IMPORTS.format(site=str(site), extension=str(extension), link=str(link))


def test_imports_are_attested(place: Any, environment: Process) -> None:
    found = environment.run(_imports(place), "--code", LIBRARIES)
    assert found["attested"] == "42"
    assert found["standard library"] == "'wave'"
    for name in ("planted", "planted inside", "by path", "compiled", "by a link"):
        assert found[name].startswith("NotAttestedError") and "does not list it" in found[name], (name, found[name])
    for name in ("extension", "extension directly", "ctypes"):
        assert found[name].startswith("NotAttestedError"), (name, found[name])
    assert "outside of the attested environment" in found["beside the script"]
    assert "bytes are not the attested ones" in found["changed"]
    assert found["not stoppable"] == "1"  # code that runs already; docs/load.md says so


def test_own_code_is_named(place: Any, environment: Process) -> None:
    (place.root / "scripts").mkdir()
    (place.root / "scripts" / "beside.py").write_text("value = 'mine'\n")
    text = "import beside\nattempt('own', lambda: beside.value)\ndone()"
    found = environment.run(text, "--code", LIBRARIES, "--code", str(place.root / "scripts"))
    assert found == {"own": "'mine'"}
    refused = environment.finish(text, "--code", LIBRARIES)
    assert refused.returncode == 1 and "outside of the attested environment" in refused.stderr


def test_without_evidence_nothing_starts(place: Any, environment: Process) -> None:
    other = place.root / "other"
    other.write_bytes(b"x")
    place.store = str(place.root / "nothing")
    place.sign(other)  # a store with nothing about the environment
    refused = environment.finish("done()")
    assert refused.returncode == 3 and "assay bom env:" in refused.stderr and "Traceback" not in refused.stderr
    assert refused.stdout == ""


def test_an_administrator_protects_every_python(place: Any, environment: Process) -> None:
    config = place.root / "admin.yaml"
    config.write_text(f"evidence: {place.store}\ntrust:\n  - keys: [{place.root / 'key.pub'}]\n")
    payload = place.root / "payload.pkl"
    payload.write_bytes(pickle.dumps(place.attack()))
    command = f"import pickle; print(pickle.loads(open({str(payload)!r}, 'rb').read()))"

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [environment.python, "-c", command], capture_output=True, text=True, env=environment.environment
        )

    path = pth.install(Mode.RECORD, str(config), str(place.site))
    assert path == str(place.site / "assay-protect.pth")
    assert run().returncode == 0 and place.marker.exists()
    place.marker.rmdir()
    pth.install(Mode.ENFORCE, str(config), str(place.site))
    refused = run()
    assert refused.returncode != 0 and not place.marker.exists()
    config.write_text("nonsense: true\n")  # a protection that cannot start lets nothing start
    refused = run()
    assert refused.returncode == 2 and "nonsense" in refused.stderr and "Traceback" not in refused.stderr
    pth.remove(str(place.site))
    with pytest.raises(UsageError, match="nothing is installed"):
        pth.remove(str(place.site))
    with pytest.raises(UsageError, match="absolute"):
        pth.install(Mode.WARN, "assay.yaml", str(place.site))


def test_an_administrators_environment_can_be_worked_in(place: Any, environment: Process) -> None:
    """Every Python of it: what is installed, its programs, own code, a load beside threads, and the way out again."""
    site, programs = place.site, Path(environment.python).parent
    own = place.root / "scripts"
    own.mkdir()
    (own / "train.py").write_text("print('mine')\n")
    (programs / "honest-tool").write_text("from honest import value\nprint(value)\n")
    with (site / "honest-1.0.dist-info" / "RECORD").open("a") as record:
        record.write("../../../bin/honest-tool,,\n")
    choice = SignWith(key=str(place.root / "key.pem"))
    assay.bom(f"env:{programs.parent}", format="attest", signer_choice=choice, directory=place.store)
    (programs / "planted-tool").write_text("print('evil')\n")
    (site / "planted.py").write_text("value = 'evil'\n")
    (place.root / "elsewhere.py").write_text("print('evil')\n")
    saved = place.root / "saved.pkl"
    saved.write_bytes(pickle.dumps([1]))
    place.sign(saved)
    threaded = f"""
import threading, pickle
started, stop = threading.Event(), threading.Event()
thread = threading.Thread(target=lambda: (started.set(), stop.wait()))
thread.start()
started.wait()
try:
    print(pickle.load(open({str(saved)!r}, "rb")))
finally:
    stop.set()
"""
    config = place.root / "admin.yaml"
    config.write_text(f"evidence: {place.store}\ntrust:\n  - keys: [{place.root / 'key.pub'}]\n")

    def run(*words: str) -> str:
        made = subprocess.run(
            [environment.python, *words], capture_output=True, text=True, env=environment.environment, timeout=600
        )
        return made.stdout.strip() if made.returncode == 0 else made.stderr.strip()

    pth.install(Mode.ENFORCE, str(config), str(site), [LIBRARIES, str(own)])
    assert run("-c", "import honest; print(honest.value)") == "42"
    assert run(str(programs / "honest-tool")) == "42"
    assert run(str(own / "train.py")) == "mine"
    assert run("-c", threaded) == "[1]"
    assert "does not list it" in run("-c", "import planted")
    assert "does not list it" in run(str(programs / "planted-tool"))
    assert "outside of the attested environment" in run(str(place.root / "elsewhere.py"))
    run("-m", "assay", "protect", "remove", "--site", str(site))
    assert run(str(place.root / "elsewhere.py")) == "evil"
    with pytest.raises(UsageError, match="absolute"):
        pth.text(Mode.WARN, None, ["src"])


def test_protection_is_for_good(place: Any) -> None:
    text = """
import assay.protect
attempt("again", lambda: assay.protect(mode="warn"))
attempt("mode", lambda: assay.protect.protect("nonsense"))
done()
"""
    found = Process(place).run(text, "--no-imports")
    assert found["again"].startswith("UsageError: this process is protected already")
    assert found["mode"].startswith("UsageError: unknown mode")


def test_the_command_writes_and_removes_the_file(place: Any, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    protect.configure(parser)

    def run(*arguments: str) -> int:
        parsed = parser.parse_args(arguments)
        return int(parsed.run(parsed))

    site = place.root
    assert run("install", "--print", "--mode", "warn", "--config", "x.yaml") == 0
    line = capsys.readouterr().out
    assert line.startswith("import assay.protect; assay.protect.at_startup('warn', '/") and line.count("\n") == 1
    assert run("install", "--site", str(site)) == 0
    assert (site / "assay-protect.pth").read_text() == pth.text(Mode.ENFORCE, None)
    assert run("remove", "--site", str(site)) == 0 and not (site / "assay-protect.pth").exists()


def test_what_is_remembered_of_modules_changes_no_answer(place: Any, environment: Process) -> None:
    """Twice with the cache, then with a module changed, and with a changed module whose time stamps were put back."""
    time.sleep(2.1)  # within two seconds of a change a time stamp proves nothing
    text = """
import importlib
for name in ("inner", "late"):
    attempt(name, lambda: importlib.import_module("honest." + name).value)
done()
"""
    options = ("--trust-cache", "--code", LIBRARIES)
    for _ in range(2):
        assert environment.run(text, *options) == {"inner": "42", "late": "43"}
    kept = list(Path(os.environ["XDG_CACHE_HOME"]).rglob("guard/*"))
    assert len(kept) >= 4  # digests, the list of files, and the code of three modules
    source = place.site / "honest" / "late.py"
    before = source.stat()
    source.write_text("value = 44\n")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = environment.run(text, *options)
    assert found["inner"] == "42" and "bytes are not the attested ones" in found["late"]
    source.write_text("value = 43\n")
    for path in kept:  # a cache that somebody else wrote is no cache
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert environment.run(text, *options) == {"inner": "42", "late": "43"}
