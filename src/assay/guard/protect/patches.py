"""What protection puts in place of the loading functions of libraries, when they are imported.

Each replacement sends a file through a verified load. A stream has no name to find evidence by: its bytes are put
into a private file first, and evidence is found by their digest.
"""

from __future__ import annotations

import functools
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from assay.errors import AssayError, RejectedError
from assay.guard.load import arrays, folders, pickles, safetensors_files, torch_files
from assay.guard.load.held import handed
from assay.guard.load.interface import Guard
from assay.guard.protect.imports import Blocked
from assay.targets.names import shown

MARK = "__assay_original__"
"""Attribute of a replacement: what it replaces."""


class Patches:
    """The replacements, and when they are put in place: `after` by the name of the module."""

    def __init__(self, guard: Guard, blocked: Blocked, targets: tuple[str, ...] = ()) -> None:
        self._guard = guard
        self._blocked = blocked
        self._targets = tuple(os.path.realpath(target.removeprefix("dir:")) for target in targets)
        self.after: dict[str, Callable[[Any], None]] = {
            "pickle": self._pickle,
            "torch.serialization": self._torch,
            "joblib.numpy_pickle": self._joblib,
            "joblib": self._joblib,
            "numpy": self._numpy,
            "safetensors.torch": self._safetensors,
            "safetensors.numpy": self._safetensors,
            "safetensors": self._safe_open,
            "torch": self._torch,
            "keras.models": self._keras,
            "keras.saving": self._keras,
            "transformers.modeling_utils": self._transformers,
            "transformers.dynamic_module_utils": self._brought("get_class_in_module"),
            "torch.hub": self._brought("_load_local"),
            "huggingface_hub": self._hub,
        }
        """Module name to what is done once it is imported."""

    def apply(self) -> None:
        """Patch what is imported already."""
        for name, patch in self.after.items():
            if (module := sys.modules.get(name)) is not None:
                patch(module)

    def _put(self, owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        original = getattr(owner, name, None)
        if original is None or hasattr(original, MARK):
            return
        made = functools.wraps(original)(make(original))
        setattr(made, MARK, original)
        setattr(owner, name, made)

    def _or_else(self, what: Any, load: Callable[[], Any], original: Callable[[], Any]) -> Any:
        """The verified load; where it is refused and the mode lets that pass, the original one."""
        if handed(str(what)):
            return original()  # a library on its way through a verified load, which has judged these very bytes
        try:
            return load()
        except AssayError as error:
            self._blocked("load", str(what), error)  # raises in enforce mode
            return original()

    def _target(self, path: str) -> str | None:
        """The folder that evidence about a file is about: one that was named, or a signed one near above it."""
        real = os.path.realpath(os.path.dirname(os.path.abspath(path)))
        for target in self._targets:
            if (real + "/").startswith(target + "/"):
                return target
        folder = real
        for _ in range(4):
            if os.path.isfile(folder + ".sig") or os.path.isfile(os.path.join(folder, "model.sig")):
                return folder
            folder = os.path.dirname(folder)
        return None

    def _torch(self, module: Any) -> None:
        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def load(f: Any, map_location: Any = None, *rest: Any, weights_only: Any = None, **options: Any) -> Any:
                strict = True if weights_only is None and not rest else bool(weights_only)

                def verified() -> Any:
                    with _path_of(f) as path:
                        return torch_files.torch(
                            self._guard, path, map_location, target=self._target(path), weights_only=strict
                        )

                return self._or_else(
                    _shown(f), verified, lambda: original(f, map_location, *rest, weights_only=weights_only, **options)
                )

            return load

        self._put(module, "load", make)

    def _joblib(self, module: Any) -> None:
        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def load(filename: Any, *rest: Any, **options: Any) -> Any:
                def verified() -> Any:
                    with _path_of(filename) as path:
                        return pickles.joblib(self._guard, path, target=self._target(path))

                return self._or_else(_shown(filename), verified, lambda: original(filename, *rest, **options))

            return load

        self._put(module, "load", make)

    def _numpy(self, module: Any) -> None:
        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def load(file: Any, mmap_mode: Any = None, allow_pickle: bool = False, **options: Any) -> Any:
                if not allow_pickle:
                    return original(file, mmap_mode, False, **options)

                def verified() -> Any:
                    with _path_of(file) as path:
                        if _is_array_file(path):
                            return arrays.numpy(self._guard, path, target=self._target(path))
                        return pickles.pickle(
                            self._guard, path, target=self._target(path), encoding=options.get("encoding", "ASCII")
                        )

                return self._or_else(_shown(file), verified, lambda: original(file, mmap_mode, True, **options))

            return load

        self._put(module, "load", make)

    def _pickle(self, module: Any) -> None:
        """`pickle.load` of a file on disk. All other pickles are held to the allowed names by the audit hook."""

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def load(file: Any, /, **options: Any) -> Any:
                place = _regular(file)
                if place is None or "buffers" in options:
                    return original(file, **options)
                path, offset = place

                def verified() -> Any:
                    made, end = pickles.pickle_at(
                        self._guard,
                        path,
                        offset,
                        target=self._target(path),
                        encoding=options.get("encoding", "ASCII"),
                        errors=options.get("errors", "strict"),
                    )
                    file.seek(end)
                    return made

                return self._or_else(path, verified, lambda: original(file, **options))

            return load

        self._put(module, "load", make)

    def _safetensors(self, module: Any) -> None:
        framework = module.__name__.rpartition(".")[2]

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def load_file(filename: Any, *rest: Any, **options: Any) -> Any:
                def verified() -> Any:
                    made = safetensors_files.safetensors(
                        self._guard, filename, target=self._target(os.fspath(filename)), framework=framework
                    )
                    device = rest[0] if rest else options.get("device", "cpu")
                    return made if device == "cpu" else {name: item.to(device) for name, item in made.items()}

                return self._or_else(filename, verified, lambda: original(filename, *rest, **options))

            return load_file

        self._put(module, "load_file", make)

    def _safe_open(self, module: Any) -> None:
        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def safe_open(filename: Any, *rest: Any, **options: Any) -> Any:
                def verified() -> Any:
                    path = os.fspath(filename)
                    with safetensors_files.held(self._guard, path, target=self._target(path)) as copy:
                        return original(copy, *rest, **options)

                return self._or_else(filename, verified, lambda: original(filename, *rest, **options))

            return safe_open

        self._put(module, "safe_open", make)

    def _keras(self, module: Any) -> None:
        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def load_model(filepath: Any, *rest: Any, **options: Any) -> Any:
                def verified() -> Any:
                    path = os.fspath(filepath)
                    with folders.admitted_file(self._guard, path, target=self._target(path)) as place:
                        return original(place, *rest, **options)

                return self._or_else(filepath, verified, lambda: original(filepath, *rest, **options))

            return load_model

        self._put(module, "load_model", make)

    def _hub(self, module: Any) -> None:
        """A downloaded snapshot is judged as a whole before its path is handed out."""

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def snapshot_download(*rest: Any, **options: Any) -> Any:
                path = original(*rest, **options)

                def verified() -> Any:
                    with folders.admitted_folder(self._guard, path):
                        return path

                return self._or_else(path, verified, lambda: path)

            return snapshot_download

        self._put(module, "snapshot_download", make)

    def _transformers(self, module: Any) -> None:
        owner = module.PreTrainedModel
        bound = owner.__dict__["from_pretrained"].__func__

        def from_pretrained(cls: Any, name: Any, *rest: Any, **options: Any) -> Any:
            def verified() -> Any:
                reference = folders.model_reference(os.fspath(name), options.get("revision"))
                others = {key: value for key, value in options.items() if key != "revision"}
                with folders.admitted_target(self._guard, reference) as found:
                    return bound(cls, found.path, *rest, **others)

            return self._or_else(name, verified, lambda: bound(cls, name, *rest, **options))

        if not hasattr(bound, MARK):
            made = functools.wraps(bound)(from_pretrained)
            setattr(made, MARK, bound)
            owner.from_pretrained = classmethod(made)

    def _brought(self, name: str) -> Callable[[Any], None]:
        """A function that imports code out of a model's repository, which no list allows."""

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def imported(*rest: Any, **options: Any) -> Any:
                what = ", ".join(shown(os.fspath(item)) for item in rest if isinstance(item, (str, os.PathLike)))
                error = RejectedError(
                    f"{what} is code that a model repository brings along, and is not run",
                    hint="install the code as a package, and load the model without trust_remote_code",
                )
                self._blocked("load", what, error)
                return original(*rest, **options)

            return imported

        return lambda module: self._put(module, name, make)


def _shown(file: Any) -> str:
    return str(file) if isinstance(file, (str, os.PathLike)) else str(getattr(file, "name", "a stream"))


def _regular(file: Any) -> tuple[str, int] | None:
    """Path and position of an open regular file that still lies where its name says; None for all else."""
    name = getattr(file, "name", None)
    try:
        if not isinstance(name, (str, bytes)):
            return None
        path = os.path.abspath(os.fsdecode(name))
        status = os.fstat(file.fileno())
        named = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) != (named.st_dev, named.st_ino):
            return None
        return path, file.tell()
    except (AttributeError, OSError, ValueError):
        return None


@contextmanager
def _path_of(file: Any) -> Iterator[str]:
    """A path with the bytes of what a library was given: the path itself, or a private copy of a stream."""
    if isinstance(file, (str, os.PathLike)):
        yield os.fspath(file)
        return
    place = _regular(file)
    if place is not None and place[1] == 0:
        yield place[0]
        return
    with tempfile.TemporaryDirectory(prefix="assay-") as folder:
        copy = os.path.join(folder, os.path.basename(_shown(file)) or "stream")
        with open(copy, "xb") as out:
            shutil.copyfileobj(file, out)
        yield copy


def _is_array_file(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(6).startswith((b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06"))
