"""Texts as numbers, for the same detectors: by an encoder of the user's own, named as ``module:function``.

The encoder is code that the configuration names, so it is trusted; what it returns is checked, and when it fails the
request is looked at without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from assay.errors import UsageError
from assay.guard.gateway.interface import Table

LONGEST = 20_000
"""Characters of a text that an encoder sees."""


class Encoder:
    """Texts to embeddings."""

    def __init__(self, name: str) -> None:
        """Raises `UsageError` where ``name`` leads to nothing that can be called."""
        module, _, attribute = name.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise UsageError(
                f"detect.encoder: {name[:200]} cannot be imported ({type(error).__name__})",
                hint="write module:function, a function from a list of texts to an array of embeddings",
            ) from None
        if not callable(found):
            raise UsageError(f"detect.encoder: {name[:200]} is no function")
        self._encode: Callable[[list[str]], Any] = found
        self.failed = 0
        """How often it raised, or returned something else than finite embeddings."""

    def table(self, table: Table) -> Table | None:
        """The table's rows with the embeddings of their texts instead of these; None: it failed."""
        count = max((len(values) for values in table.text.values()), default=0)
        texts = [
            "\n".join(str(values[i])[:LONGEST] for values in table.text.values() if i < len(values))
            for i in range(count)
        ]
        try:
            found = np.asarray(self._encode(texts), dtype=np.float64)
        except Exception:
            self.failed += 1  # whatever a stranger's text makes of the user's code
            return None
        if found.ndim != 2 or len(found) != count or not np.isfinite(found).all():
            self.failed += 1
            return None
        given = [i for i in range(table.features.shape[1]) if i >= len(table.names) or table.names[i] not in table.text]
        kept = table.features[:, given] if len(table.features) == count else np.zeros((count, 0))
        return Table(np.hstack([kept, found]))


def words(table: Table, row: int) -> list[str]:
    """The words of a row's texts."""
    return [
        word
        for values in table.text.values()
        if row < len(values)
        for word in str(values[row])[:LONGEST].casefold().split()
    ]
