"""ExecuTorch programs (``.pte``): a flatbuffer with operators and blobs that a backend runs. Nobody can see through it.

It runs no Python, and what its delegates do cannot be told from the outside; that is said, and nothing else claimed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.telling import SUPPLY, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

_MARK = re.compile(rb"ET\d\d")


class ExecuTorchScanner:
    """A program."""

    name = "executorch"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the flatbuffer's file identifier."""
        root = int.from_bytes(head[:4], "little")
        return _MARK.fullmatch(head[4:8]) is not None and 8 <= root < size

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """That it is opaque."""
        yield tell(
            scan, "executorch/opaque", Tier.UNKNOWN, Severity.LOW,
            "it is a compiled ExecuTorch program, which cannot be seen through", atlas=SUPPLY,
            mitigation="Build it yourself from a model that was scanned.",
        )  # fmt: skip
