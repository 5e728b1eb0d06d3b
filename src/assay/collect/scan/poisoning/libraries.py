"""The one place that reaches for scikit-learn and SciPy: they are in the extra ``poisoning``, and slow to import."""

from __future__ import annotations

import importlib
from typing import Any

from assay.errors import MissingExtraError


def library(name: str) -> Any:
    """A module of NumPy, SciPy or scikit-learn. Raises `MissingExtraError`."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtraError("the scan for poisoned data", "poisoning") from None
