"""Files that must not change while they are read, and polars' errors as sentences that name the file.

Size, time stamp and inode are compared before and after: rows of two states of a file are rows of none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import polars as pl

from assay.errors import AssayError, ChangedError, DocumentError, UsageError


class Steady:
    """One file's state when reading began."""

    __slots__ = ("_before", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._before = self._look()

    def _look(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read: {error.strerror}") from None
        return found.st_size, found.st_mtime_ns, found.st_ino

    @property
    def size(self) -> int:
        """Bytes."""
        return self._before[0]

    def check(self) -> None:
        """Raise `ChangedError` if it is not the same file with the same contents any more."""
        if self._look() != self._before:
            raise ChangedError(
                f"{self.path} changed while it was read", hint="wait until it is written, or take a finished copy"
            )


@contextlib.contextmanager
def told(path: str, what: str) -> Iterator[None]:
    """Errors of polars and of the system as `DocumentError` about ``path``, which is not readable as ``what``."""
    try:
        yield
    except AssayError:
        raise
    except pl.exceptions.PanicException:
        raise DocumentError(
            f"{path} cannot be read as {what}: it is damaged", hint="was it written to its end?"
        ) from None
    except (pl.exceptions.PolarsError, OSError, ValueError, OverflowError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DocumentError(f"{path} cannot be read as {what}: {reason[:300]}") from None
