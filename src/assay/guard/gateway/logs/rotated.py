"""What becomes of log files that were rotated away: packed with gzip, and the oldest deleted.

Any process may do it at any time and may die in between: a packed file has its name only when it is complete, and the
plain one is deleted only then. Nothing is touched but files that rotation has named.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import os
import re
import shutil

from assay.files import sync_directory

_CHUNK = 256 << 10
_TIME = r"\.[0-9]{8}T[0-9]{6}\.[0-9]{9}Z(\.gz)?"
"""What rotation adds to a name (`file.LogFile`)."""


def names(path: str) -> list[str]:
    """The rotated files of the log ``path``, newest first; packed and plain ones of the same time once each."""
    folder, name = os.path.split(os.path.abspath(path))
    mine = re.compile(re.escape(name) + _TIME)
    return sorted((os.path.join(folder, one) for one in os.listdir(folder) if mine.fullmatch(one)), reverse=True)


def origin(path: str) -> str:
    """The log that a file is, or was rotated away from."""
    return re.sub(rf"{_TIME}\Z", "", path)


def tidy(path: str, keep: int, *, compress: bool) -> None:
    """Pack what is plain, delete all but the ``keep`` newest. Raises `OSError`; what was not done is done next time."""
    if compress:
        for plain in names(path):
            if not plain.endswith(".gz"):
                _pack(plain)
    times = sorted({name.removesuffix(".gz") for name in names(path)}, reverse=True)
    for old in times[keep:]:
        for name in (old, f"{old}.gz"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def _pack(plain: str) -> None:
    """``plain`` to ``plain.gz``, unless another process does it."""
    try:
        source = open(plain, "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return
    with source:
        try:
            fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if not os.path.exists(plain):
            return  # another process was faster, between our opening and locking it
        folder, name = os.path.split(plain)
        temporary = os.path.join(folder, f".{name}.gz.tmp")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # whoever was packing before has ended
        with open(temporary, "xb") as target:
            os.fchmod(target.fileno(), os.fstat(source.fileno()).st_mode & 0o777)
            with gzip.GzipFile("", "wb", 1, target, mtime=0) as packed:
                shutil.copyfileobj(source, packed, _CHUNK)
            target.flush()
            os.fsync(target.fileno())
        os.rename(temporary, f"{plain}.gz")
        with contextlib.suppress(FileNotFoundError):  # already deleted for its age
            os.unlink(plain)
        sync_directory(folder)
