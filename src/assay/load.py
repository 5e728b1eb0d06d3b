"""`assay.load.torch(path)` and its siblings: load exactly the bytes that evidence vouches for, or nothing.

The front door of `assay.guard.load`: it brings the configuration, the evidence store, the policy and the scanner
together. Trust comes from `assay.yaml` or the arguments, never from what is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from assay.api.anchors import TrustIn
from assay.config import Config
from assay.config import load as load_config
from assay.targets.interface import Options

if TYPE_CHECKING:
    from assay.collect.scan.models.interface import FileResult, Rules
    from assay.guard.load.interface import Guard
    from assay.guard.load.safetensors_files import LazyTensors
    from assay.targets.interface import Target

__all__ = ["Loading", "guard_of", "joblib", "keras", "numpy", "onnx", "pickle", "safetensors", "torch", "transformers"]

Path = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Loading:
    """How loads are judged; the default is what `assay.yaml` says."""

    trust: TrustIn = field(default_factory=TrustIn)
    """Whose signatures count; empty: whoever the configuration or the default names."""
    policy: str | None = None
    """Policy instead of the configuration's; see `assay.decide`."""
    signature: str | None = None
    """A file of evidence, instead of the store."""
    directory: str | None = None
    """Evidence directory."""
    config: Config | None = None
    """Configuration instead of the one that is found."""
    allow: tuple[str, ...] = ()
    """Full names of classes and functions that pickles may use although no list has them."""
    trust_cache: bool = False
    """Take digests of unchanged files from the authenticated cache, and watch such files instead of copying them."""


def torch(
    path: Path,
    map_location: Any = None,
    *,
    weights_only: bool | None = None,
    target: str | None = None,
    allow: Iterable[str] = (),
    how: Loading | None = None,
) -> Any:
    """A PyTorch checkpoint, as `torch.load` gives it; ``target`` is the folder that the evidence is about, if not the
    file. Raises `RejectedError` or `UndecidedError` with the reason, and nothing of the file has run then.
    """
    from assay.guard.load import torch_files

    return torch_files.torch(guard_of(how), path, map_location, target=target, allow=allow, weights_only=weights_only)


def pickle(
    path: Path,
    *,
    encoding: str = "ASCII",
    errors: str = "strict",
    target: str | None = None,
    allow: Iterable[str] = (),
    how: Loading | None = None,
) -> Any:
    """The object in a pickle file; see `torch`."""
    from assay.guard.load import pickles

    return pickles.pickle(guard_of(how), path, target=target, allow=allow, encoding=encoding, errors=errors)


def joblib(path: Path, *, target: str | None = None, allow: Iterable[str] = (), how: Loading | None = None) -> Any:
    """The object in a joblib file; see `torch`."""
    from assay.guard.load import pickles

    return pickles.joblib(guard_of(how), path, target=target, allow=allow)


def numpy(path: Path, *, target: str | None = None, allow: Iterable[str] = (), how: Loading | None = None) -> Any:
    """The array of an ``.npy`` file, or a dictionary of an ``.npz``'s; see `torch`."""
    from assay.guard.load import arrays

    return arrays.numpy(guard_of(how), path, target=target, allow=allow)


def safetensors(
    path: Path,
    *,
    lazy: bool = False,
    framework: str = "torch",
    target: str | None = None,
    how: Loading | None = None,
) -> dict[str, Any] | LazyTensors:
    """All tensors of a file by name; with ``lazy`` an open file, each tensor of which is verified while it is read.

    Lazily, no policy is asked: it is about the whole file. ``framework`` is ``torch`` or ``numpy``.
    """
    from assay.errors import UsageError
    from assay.guard.load import safetensors_files

    if framework not in ("torch", "numpy"):
        raise UsageError(f"unknown framework {framework!r}", hint="torch or numpy")
    if not lazy:
        return safetensors_files.safetensors(guard_of(how), path, target=target, framework=framework)
    how = how or Loading()
    config = how.config if how.config is not None else load_config(None)
    if how.policy is not None or config.policy is not None:
        raise UsageError(
            "a policy is about the whole file, and lazy=True reads parts of it",
            hint="load it with lazy=False, or without a policy: how=Loading(config=Config(...))",
        )
    return safetensors_files.lazy_safetensors(guard_of(how), path, target=target, framework=framework)


def keras(
    path: Path, *, target: str | None = None, allow: Iterable[str] = (), how: Loading | None = None, **options: Any
) -> Any:
    """A Keras model, in safe mode; ``options`` are those of `keras.models.load_model`. See `torch`."""
    from assay.guard.load import folders

    return folders.keras(guard_of(how), path, target=target, allow=allow, **options)


def onnx(path: Path, *, target: str | None = None, allow: Iterable[str] = (), how: Loading | None = None) -> Any:
    """An `onnx.ModelProto`, its external data included; see `torch`."""
    from assay.guard.load import folders

    return folders.onnx(guard_of(how), path, target=target, allow=allow)


def transformers(
    repo_or_path: Path,
    *,
    cls: Any = None,
    revision: str | None = None,
    allow: Iterable[str] = (),
    how: Loading | None = None,
    **options: Any,
) -> Any:
    """``cls.from_pretrained`` of a folder or hub repository whose every file is vouched for; see `torch`."""
    from assay.guard.load import folders

    return folders.transformers(guard_of(how), repo_or_path, cls=cls, revision=revision, allow=allow, **options)


def guard_of(how: Loading | None) -> Guard:
    """The guard that `Loading` describes. Raises `AssayError` for a configuration that cannot be read."""
    from assay.api.judging import Evidence
    from assay.guard.load.interface import Guard

    how = how or Loading()
    config = how.config if how.config is not None else load_config(None)
    evidence = Evidence(how.trust, how.policy, how.signature, how.directory, config)
    rules = _rules(config)
    return Guard(
        evidence.judge(rules.digest),
        rules,
        _inspect,
        evidence.signed,
        Options(trust_cache=how.trust_cache),
        evidence.whole,
        frozenset(how.allow),
    )


def _inspect(target: Target, rules: Rules) -> Sequence[FileResult]:
    from assay.collect.scan.models.run import scan

    return scan(target, rules=rules, cache="off", digests=False).files


def _rules(config: Config) -> Rules:
    """The rules that ship with assay, with the lists that the configuration adds."""
    from assay.collect.scan.models.rules.ruleset import load
    from assay.collect.scan.models.settings import parse
    from assay.files import read_file

    lists = parse(config.scan).allow
    return cast("Rules", load({path: read_file(config.path(path)) for path in lists}))
