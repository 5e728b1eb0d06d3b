"""What joblib writes: a pickle with raw arrays between its opcodes, and the older files with a header of their own.

Compressed ones are found by whatever unpacks them. Joblib's reader takes from the file exactly what it needs, which
decides what a program means on some Pythons, so that it is always run that way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.compressed import zlib_decoder
from assay.collect.scan.models.formats.pickle_walk import plausible
from assay.collect.scan.models.formats.pickles import programs
from assay.collect.scan.models.formats.views import unpack
from assay.collect.scan.models.interface import Finding, Scan
from assay.errors import DocumentError

_ZFILE = re.compile(rb"ZF0x[0-9a-fA-F]{1,16} *")


class JoblibPickle:
    """``joblib.dump`` without compression, or what was unpacked of it."""

    name = "joblib"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """A pickle that names joblib's wrapper of arrays early on."""
        return b"joblib.numpy_pickle" in head[:4096] and plausible(file, size)

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """Everything that the programs would do."""
        file.seek(0)
        yield from programs(file, size, scan, exact=True)


class JoblibZFile:
    """``joblib.dump(compress=…)`` before 0.10: a header with the length, then zlib. Source: numpy_pickle_compat."""

    name = "joblib-zfile"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the header."""
        return _ZFILE.match(head) is not None

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """Unpack it and scan what comes out, as a pickle whatever it looks like."""
        file.seek(0)
        match = _ZFILE.match(file.read(32))
        start = match.end() if match else 0
        data, unpacked, problem = unpack(lambda: zlib_decoder(file, start, size), scan.charge)
        yield from scan.inner(data, "unpacked.pkl", unpacked)
        if problem:
            raise DocumentError(problem)
