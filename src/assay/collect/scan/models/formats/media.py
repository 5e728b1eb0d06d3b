"""Pictures, sounds and documents beside a model that carry a program: a pickle that a second loader takes out of them.

Nothing is known of these formats but how they begin. A file in which no program is found is not a model at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.pickle_walk import plausible
from assay.collect.scan.models.formats.telling import APPENDED, hand_on
from assay.collect.scan.models.interface import Finding, Scan

_HEADS = re.compile(
    rb"GIF8|\x89PNG|\xff\xd8\xff|%PDF|RIFF|BM|II\*\0|MM\0\*|OggS|fLaC|ID3|....ftyp|\x00\x00\x01\x00", re.DOTALL
)
_BEGINS = re.compile(rb"\x80[\x02-\x05](?=\x95.{6}\0\0|[\x8c\x8dXc()\]}K\x85-\x87\x8f\x96BC])", re.DOTALL)

LONGEST = 32 << 20
"""Bytes that are searched, at the beginning and at the end together."""

MOST = 64
"""Programs that are looked into."""


class Media:
    """A picture, a sound or a document with a program in it."""

    name = "media"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By its first bytes, and only with something in it that could be a program."""
        return _HEADS.match(head) is not None and next(_programs(file, size), None) is not None

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What the programs would do."""
        for count, offset in enumerate(_programs(file, size)):
            if count >= MOST:
                return
            yield from hand_on(file, offset, size, APPENDED, scan)


def _programs(file: BinaryIO, size: int) -> Iterator[int]:
    half = LONGEST // 2
    for start, length in ((0, min(size, half)), (max(half, size - half), max(0, min(half, size - half)))):
        file.seek(start)
        for match in _BEGINS.finditer(file.read(length)):
            offset = start + match.start()
            if plausible(file, size, offset):
                yield offset
