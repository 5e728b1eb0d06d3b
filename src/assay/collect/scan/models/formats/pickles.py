"""Pickles as files: one program, or several behind one another as some libraries write them.

The engine reads the programs; here is only where they begin, what may follow them, and that bytes behind the last one
which are none do not go unsaid.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.pickle_walk import plausible
from assay.collect.scan.models.formats.telling import APPENDED, HIDING, hand_on, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

MAX_PROGRAMS = 1000
"""Programs of one file that are run."""

ENCODING = "latin1"
"""How strings of Python 2 are read: the one encoding that never fails, so that whatever a loader is told, the scan has
read at least as far. Names that do harm are ASCII in all of them."""


class PickleScanner:
    """A pickle of any protocol."""

    name = "pickle"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By walking its first opcodes."""
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return False  # a persistent id, to whom reads it as a program: none of the loaders of zip archives does
        if head.startswith(LEGACY) or b"joblib.numpy_pickle" in head[:4096]:
            return False  # their own scanners run the same programs
        return plausible(file, size)

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """Everything that the programs would do."""
        file.seek(0)
        yield from programs(file, size, scan, exact=scan.member is not None)


LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first pickle of a legacy torch file: its magic number."""


def programs(file: BinaryIO, size: int, scan: Scan, *, exact: bool) -> Iterator[Finding]:
    """Run the program at the file's position and all that follow it; what follows and is none is a finding."""
    for _ in range(MAX_PROGRAMS):
        before = file.tell()
        yield from scan.pickle(file, size, exact=exact, encoding=ENCODING)
        after = file.tell()
        if after <= before or after >= size or not _stopped(file, after):
            return
        if not plausible(file, size, after):
            yield tell(
                scan,
                "pickle/appended",
                Tier.UNKNOWN,
                Severity.MEDIUM,
                f"{size - after:,} bytes follow the pickle, which no loader of pickles reads",
                offset=after,
                atlas=HIDING,
            )
            yield from hand_on(file, after, size, APPENDED, scan)
            return
        file.seek(after)
    yield tell(
        scan, "pickle/programs", Tier.UNREADABLE, Severity.HIGH, f"there are more than {MAX_PROGRAMS} programs in it"
    )


def _stopped(file: BinaryIO, after: int) -> bool:
    """Whether the program before ``after`` was read to its STOP; the engine has said why where it was not."""
    file.seek(after - 1)
    return file.read(1) == b"."
