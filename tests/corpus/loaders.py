"""The real loaders, by name: what a user calls, with the settings under which the file works.

They run attacks. Only `corpus.proving` calls them, in a forked process with limits and an empty working folder.
"""

from __future__ import annotations

import gc
import io
import pathlib
import pickle
import resource
import runpy
import shutil
import signal
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress


def _whole(path: str) -> object:
    with open(path, "rb") as file:
        return pickle.loads(file.read())


def _file(path: str) -> object:
    with open(path, "rb") as file:
        return pickle.load(file)


def _exact(path: str) -> object:
    with open(path, "rb") as file:
        return pickle.Unpickler(io.BytesIO(file.read())).load()


def _any(path: str) -> object:
    for loader in (_whole, _file):
        with suppress(Exception):
            loader(path)
    return _exact(path)


def _repeat(path: str) -> object:
    values = []
    with open(path, "rb") as file, suppress(EOFError):
        while True:
            values.append(pickle.load(file))
    return values


def _limited(path: str) -> object:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    signal.setitimer(signal.ITIMER_PROF, 0.4)
    return _file(path)


def _encoded(encoding: str) -> Callable[[str], object]:
    def load(path: str) -> object:
        with open(path, "rb") as file:
            return pickle.load(file, encoding=encoding)

    return load


def _torch(path: str) -> object:
    import torch

    return torch.load(path, map_location="cpu", weights_only=False)


def _torch_weights(path: str) -> object:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def _torch_package(path: str) -> object:
    from torch.package import PackageImporter

    return PackageImporter(path).load_pickle("model", "model.pkl")


def _torchscript(path: str) -> object:
    import torch

    return torch.jit.load(path)


def _joblib(path: str) -> object:
    import joblib

    return joblib.load(path)


def _numpy(path: str) -> object:
    import numpy

    loaded = numpy.load(path, allow_pickle=True)
    return {key: loaded[key] for key in loaded.files} if hasattr(loaded, "files") else loaded


def _pandas(path: str) -> object:
    import pandas

    return pandas.read_pickle(path)


def _zip_member(path: str) -> object:
    """What tools do that read ``data.pkl`` with `zipfile`: the last entry of a name wins."""
    with zipfile.ZipFile(path) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".pkl"))
        return pickle.loads(archive.read(member))


def _archive(path: str) -> object:
    """Unpack an archive as the standard library does and load every pickle in it, again and again."""
    for depth in range(6):
        kind = "zip" if zipfile.is_zipfile(path) else "tar" if tarfile.is_tarfile(path) else ""
        if not kind:
            break
        folder = f"unpacked-{depth}"
        shutil.unpack_archive(path, folder, kind)
        path = str(next(item for item in sorted(pathlib.Path(folder).rglob("*")) if item.is_file()))
    return _any(path)


def _decompressed(path: str) -> object:
    import bz2
    import gzip
    import lzma

    with open(path, "rb") as file:
        data = file.read()
    for _ in range(6):
        for opener in (gzip.decompress, bz2.decompress, lzma.decompress):
            with suppress(Exception):
                data = opener(data)
                break
        else:
            break
    return pickle.loads(data)


def _python(path: str) -> object:
    """Import the module, as ``trust_remote_code`` does."""
    return runpy.run_path(path)


def _notebook(path: str) -> object:
    """Run the code cells in order; shell lines as the kernel does."""
    import json
    import os

    with open(path, encoding="utf-8") as file:
        cells = json.load(file)["cells"]
    scope: dict[str, object] = {"display": lambda *_: None}
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        if source.startswith(("%%bash", "%%sh", "%%script")):
            os.system(source.split("\n", 1)[1])
            continue
        for line in source.splitlines():
            if line.startswith(("!", "%sx ", "%system ")):
                os.system(line[1:] if line.startswith("!") else line.split(" ", 1)[1])
        plain = "\n".join(line for line in source.splitlines() if not line.startswith(("!", "%")))
        exec(plain, scope)
    return scope


def _template(template: str) -> object:
    """As ``llama-cpp-python`` rendered chat templates before CVE-2024-34359."""
    import jinja2

    environment = jinja2.Environment(loader=jinja2.BaseLoader())
    return environment.from_string(template).render(messages=[{"role": "user", "content": "hi"}], bos_token="<s>")


def _gguf(path: str) -> object:
    import gguf

    fields = gguf.GGUFReader(path).fields
    templates = [
        name for name in fields if name.startswith("tokenizer.chat_template") and not name.endswith("templates")
    ]
    return [_template(bytes(fields[name].parts[-1]).decode()) for name in templates]


def _config_template(path: str) -> object:
    import json

    with open(path, encoding="utf-8") as file:
        text = file.read()
    if not path.endswith(".json"):
        return _template(text)
    value = json.loads(text)["chat_template"]
    return [_template(item["template"]) for item in value] if isinstance(value, list) else _template(value)


def _gguf_plain(path: str) -> object:
    import gguf

    return [tensor.name for tensor in gguf.GGUFReader(path).tensors]


def _safetensors(path: str) -> object:
    from safetensors.numpy import load_file

    return load_file(path)


def _onnx(path: str) -> object:
    import onnx

    return onnx.load(path, load_external_data=False)


def _xgboost(path: str) -> object:
    import xgboost

    return xgboost.Booster(model_file=path)


def _lightgbm(path: str) -> object:
    import lightgbm

    return lightgbm.Booster(model_file=path)


def _catboost(path: str) -> object:
    import catboost

    return catboost.CatBoost().load_model(path, format="json" if path.endswith(".json") else "cbm")


def _h5py(path: str) -> object:
    import h5py

    with h5py.File(path) as file:
        found: list[str] = []
        file.visit(found.append)
        return found, dict(file.attrs)


def _pillow(path: str) -> object:
    from PIL import Image

    with Image.open(path) as image:
        return image.load()


def _json(path: str) -> object:
    import json

    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _shell(path: str) -> object:
    import os

    os.chmod(path, 0o755)
    return os.spawnv(os.P_WAIT, path, [path])


LOADERS: dict[str, Callable[[str], object]] = {
    "pickle": _any,
    "pickle.file": _file,
    "pickle.exact": _exact,
    "pickle.repeat": _repeat,
    "pickle.limited": _limited,
    "pickle.utf8": _encoded("utf-8"),
    "pickle.latin1": _encoded("latin1"),
    "torch": _torch,
    "torch.weights": _torch_weights,
    "torch.package": _torch_package,
    "torchscript": _torchscript,
    "joblib": _joblib,
    "numpy": _numpy,
    "pandas": _pandas,
    "zip.member": _zip_member,
    "archive": _archive,
    "decompressed": _decompressed,
    "python": _python,
    "notebook": _notebook,
    "gguf": _gguf,
    "gguf.plain": _gguf_plain,
    "template": _config_template,
    "safetensors": _safetensors,
    "onnx": _onnx,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
    "h5py": _h5py,
    "pillow": _pillow,
    "json": _json,
    "executable": _shell,
}

HEAVY = (
    "numpy",
    "joblib",
    "pandas",
    "sklearn.linear_model",
    "sympy",
    "torch",
    "xgboost",
    "lightgbm",
    "catboost",
    "h5py",
    "onnx",
    "gguf",
    "safetensors.numpy",
    "PIL.Image",
    "jinja2.nativetypes",
    "scipy.stats",
)
"""Imported once before forking, for the samples that need any of them."""


def warm() -> None:
    """Import what most loaders import, so that each forked child starts with it."""
    for module in HEAVY:
        with suppress(ImportError):
            __import__(module)
    with suppress(ImportError):
        from corpus.honest_sklearn import estimators

        list(estimators())
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page of it
    gc.disable()
