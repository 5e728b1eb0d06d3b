"""The product's sentences, as functions: `bom`, `attest`, `sign`, `verify`, `decide`, `report`, …

Each one resolves a target, calls the floors beneath, and returns values. They print nothing and ask nothing but a
passphrase through the function they are given; the command line adds words and exit codes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.api.attesting import attest as attest
    from assay.api.deciding import decide as decide
    from assay.api.describing import bom as bom
    from assay.api.keeping import open_store as open_store
    from assay.api.poisoning import examine as examine
    from assay.api.reporting import report as report
    from assay.api.scanning import scan as scan
    from assay.api.signing import sign as sign
    from assay.api.verifying import verify as verify

_HOME = {
    "attest": "attesting",
    "bom": "describing",
    "decide": "deciding",
    "examine": "poisoning",
    "open_store": "keeping",
    "report": "reporting",
    "scan": "scanning",
    "sign": "signing",
    "verify": "verifying",
}

__all__ = ["attest", "bom", "decide", "examine", "open_store", "report", "scan", "sign", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'assay.api' has no attribute {name!r}")
    return getattr(import_module(f"assay.api.{_HOME[name]}"), name)
