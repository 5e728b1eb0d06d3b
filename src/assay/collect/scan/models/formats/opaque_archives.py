"""Archives that nothing here can open: they are told of, and never count as looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.telling import SUPPLY, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

_KINDS = {b"Rar!\x1a\x07": "rar", b"MSCF\0\0\0\0": "cab", b"xar!": "xar"}


class OpaqueArchive:
    """An archive of a kind that cannot be opened here."""

    name = "archive"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the mark at the beginning."""
        return head.startswith(tuple(_KINDS))

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """That it was not opened."""
        file.seek(0)
        head = file.read(8)
        kind = next((kind for mark, kind in _KINDS.items() if head.startswith(mark)), "unknown")
        yield tell(
            scan,
            "archive/opaque",
            Tier.UNREADABLE,
            Severity.MEDIUM,
            f"archives of the kind {kind} cannot be opened: nothing inside was looked at",
            atlas=SUPPLY,
            mitigation="Unpack it in a place where nothing loads it, and scan what comes out.",
        )
