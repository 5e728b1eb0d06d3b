"""PyTorch checkpoints through the gated unpickler, with their tensors mapped from the held bytes.

A TorchScript archive is a program, for which `torch.load` would call another loader: it is refused here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from assay.collect.scan.models.interface import Rules
from assay.errors import MissingLibraryError, RejectedError
from assay.guard.load.gate import Admitted, admitted
from assay.guard.load.interface import Guard
from assay.guard.load.pickles import guarded, unpickler


def torch(
    guard: Guard,
    path: str | os.PathLike[str],
    map_location: Any = None,
    *,
    target: str | None = None,
    allow: Iterable[str] = (),
    weights_only: bool | None = None,
) -> Any:
    """What `torch.load` returns for a checkpoint. With ``weights_only`` PyTorch's own list of names applies too.

    Tensors lie in the held copy, which is in memory as long as one of them is; writing to them changes nothing else.
    """
    try:
        import torch as library
    except ImportError:
        raise MissingLibraryError("loading PyTorch files", "torch") from None
    with admitted(guard, path, target=target, allow=allow) as found:
        return guarded(lambda: _load(library, found, map_location, bool(weights_only)), found.where)


def _load(library: Any, found: Admitted, map_location: Any, weights_only: bool) -> Any:
    zipped = False
    with found.file.open() as file:
        if file.read(4) == b"PK\x03\x04":
            zipped = True
            file.seek(0)
            if "constants.pkl" in library._C.PyTorchFileReader(file).get_all_records():
                raise RejectedError(
                    f"{found.where} is a TorchScript archive, a program", hint="export its weights with state_dict()"
                )
    if zipped:  # by path, PyTorch reads without going through Python
        mapped = found.file.fixed
        return library.load(found.file.path, map_location=map_location, mmap=mapped, **_names(found, weights_only))
    with found.file.open() as file:
        return library.load(file, map_location=map_location, mmap=False, **_names(found, weights_only))


def _names(found: Admitted, weights_only: bool) -> dict[str, Any]:
    if weights_only:
        return {"weights_only": True}
    return {"weights_only": False, "pickle_module": pickle_module(found.rules, found.where)}


def pickle_module(rules: Rules, where: str) -> Any:
    """What stands for the module ``pickle`` in libraries that let one choose."""
    gated = unpickler(rules, where)
    return SimpleNamespace(
        __name__="assay.guard.load.pickles",
        Unpickler=gated,
        load=lambda file, **options: gated(file, **options).load(),
    )
