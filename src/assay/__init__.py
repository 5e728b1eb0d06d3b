"""Signed evidence for machine-learning pipelines.

The functions named here are the product's front door for Python programs; the command line calls the same ones.
They are imported on first use, so that ``import assay`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from assay.api import attest, bom, decide, open_store, report, scan, sign, verify
    from assay.errors import AssayError

__all__ = ["AssayError", "__version__", "attest", "bom", "decide", "open_store", "report", "scan", "sign", "verify"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in ("gateway", "load", "protect"):
        return import_module(f"assay.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'assay' has no attribute {name!r}")
    return getattr(import_module("assay.errors" if name == "AssayError" else "assay.api"), name)
