"""The floor that names things: a target becomes a manifest of resources with digests. It knows nothing of evidence.

The names here are imported on first use, since most commands need few of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.targets.interface import Facts, Manifest, Options, Reference, Resource, Target
    from assay.targets.names import parse
    from assay.targets.registry import SCHEMES, resolve

_HOME = {
    "Facts": "interface",
    "Manifest": "interface",
    "Options": "interface",
    "Reference": "interface",
    "Resource": "interface",
    "Target": "interface",
    "parse": "names",
    "SCHEMES": "registry",
    "resolve": "registry",
}

__all__ = ["SCHEMES", "Facts", "Manifest", "Options", "Reference", "Resource", "Target", "parse", "resolve"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'assay.targets' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"assay.targets.{_HOME[name]}"), name)
